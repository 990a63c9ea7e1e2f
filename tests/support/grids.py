"""`grid`: a test for every combination of several parameters, of which few are fast: they have each pair of values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from typing import Any

import pytest


def grid(**axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize with all combinations of the values. Those that no pair of values needs are marked as slow."""
    values = [list(axis) for axis in axes.values()]
    few = set(pairwise([len(axis) for axis in values]))
    cases = []
    for places in product(*(range(len(axis)) for axis in values)):
        case = [axis[place] for axis, place in zip(values, places, strict=True)]
        marks = [] if places in few else [pytest.mark.slow]
        cases.append(pytest.param(*case, marks=marks, id="-".join(map(_name, case))))
    return pytest.mark.parametrize(list(axes), cases)


def pairwise(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Few combinations of places on axes of these sizes, so that any two places on two axes are in one of them."""
    left = dict.fromkeys(product(*map(range, sizes)))
    missing = {pair for places in left for pair in _pairs(places)}
    found = []
    while missing:
        best = max(left, key=lambda places: len(missing & _pairs(places)))
        del left[best]
        missing -= _pairs(best)
        found.append(best)
    return found


def _pairs(places: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
    return set(combinations(enumerate(places), 2))


def _name(value: Any) -> str:
    """What a value is called: the name of a class, or of the handler of a case."""
    return str(getattr(getattr(value, "handler", value), "__name__", value))
