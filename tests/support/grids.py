"""`grid`: a test for each combination of several parameters. In the few that are fast each pair of values meets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

import pytest


def grid(*, together: int = 2, **axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize with all combinations of the values. Those are marked as slow that no pair of values needs.

    ``together``: how many values of different parameters must meet in a fast test; with 1 each value is in one.
    """
    values = [list(axis) for axis in axes.values()]
    few = set(covering([len(axis) for axis in values], together))
    cases = []
    for places in product(*(range(len(axis)) for axis in values)):
        case = [axis[place] for axis, place in zip(values, places, strict=True)]
        marks = [] if places in few else [pytest.mark.slow]
        cases.append(pytest.param(*case, marks=marks, id="-".join(map(_name, case))))
    return pytest.mark.parametrize(list(axes), cases)


def covering(sizes: Sequence[int], together: int) -> list[tuple[int, ...]]:
    """Few combinations of places on axes of these sizes: any ``together`` places on as many axes are in one of them."""

    def groups(places: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
        return set(combinations(enumerate(places), together))

    left = {places: groups(places) for places in product(*map(range, sizes))}
    missing = {group for found in left.values() for group in found}
    found = []
    while missing:
        best = max(left, key=lambda places: len(missing & left[places]))
        missing -= left.pop(best)
        found.append(best)
    return found


def _name(value: Any) -> str:
    """What a value is called: the name of a class, or of the handler of a case."""
    return str(getattr(getattr(value, "handler", value), "__name__", value))
