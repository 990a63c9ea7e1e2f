"""Bytes that a handler copies: of four times as much input they may not be sixteen times as many.

Whoever makes a copy allocates it: so this counts what ``work`` does not see, a ``join`` of all parts at each part, a
``decode`` of all that is held, a sum of bytes that grows by one item after another.
"""

from __future__ import annotations

import re
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from ..inputs.pieces import replaced
from ..inputs.stretched import filled
from ..running.copying import copies
from ..running.report import fail
from ..running.schedule import END
from ..running.snippets import literal
from .lists import SPOTS, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..inputs.holding import Holding
    from ..inputs.tried import Tried
    from ..running.schedule import Schedule

LINEAR = 6
"""The factor by which work, and copies, may grow when the input grows by 4. Linear work grows by 4, quadratic by 16."""

DOUBLED = LINEAR**0.5
"""The same when the input grows by 2."""

MUCH = 1 << 20
"""Bytes: what copies less harms nobody, however fast that has grown."""

LINE = 4_000
"""Bytes of a list in a line whose elements come again: some lines may not be longer."""

CONTENT = 16_384
"""Bytes of a piece, with its length before it, whose content comes again."""

LONG, ENOUGH = 4_000, 64
"""Of a short schedule of more than so many bytes it copies enough if so many times as many were much.

Of sixteen times as many some may not count, because they come few at a time.
"""

FEWEST = 16
"""Times that something has to come; four times fewer have to be some."""

_LIST = re.compile(rb"(?<![^\s,;])[^\s,;]+([,;][0-9A-Za-z*][0-9A-Za-z*:.=_-]*)")
"""Where a list in a line begins, with commas or semicolons between its elements: up to the second one."""


class Growing(NamedTuple):
    """A schedule of any length."""

    build: Callable[[int], Schedule]
    times: int
    """What is built with it is long, and a fourth of it short."""


def refuse_copies(tried: Tried, held: Iterable[Holding]) -> None:
    """Fail if four times as much input makes the handler copy far more than four times as many bytes."""
    for growing in _growing(tried, held):
        if growing.times >= FEWEST and _is_steep(tried, growing):
            _fail(tried, growing)


def _growing(tried: Tried, held: Iterable[Holding]) -> Iterator[Growing]:
    """What may come in any length: pieces that are held, elements of a list in a line, and what a length counts."""
    for one in held:
        yield Growing(one.schedule, one.times)
    for place, match in islice(_lists(tried.pieces), SPOTS):
        yield Growing(partial(_lengthened, tried, place, match), LINE // len(match[1]))
    for piece in filled(tried):
        yield Growing(piece.schedule, min(CONTENT // len(piece.letter), piece.most))


def _lists(pieces: list[bytes]) -> Iterator[tuple[int, re.Match[bytes]]]:
    """Lists in lines, each with the piece that it is in, and of those that are alike the first."""
    found = [(place, match) for place, piece in enumerate(pieces) for match in _LIST.finditer(piece)]
    distinct = {shape(match[0]): (place, match) for place, match in reversed(found)}
    return reversed(distinct.values())


def _lengthened(tried: Tried, place: int, match: re.Match[bytes], count: int) -> Schedule:
    """The conversation in which the second element of a list comes so many times more, with what is before it."""
    return tried.whole(replaced(tried.pieces, place, match.end(), match.end(), match[1] * count))


def _is_steep(tried: Tried, growing: Growing) -> bool:
    """Whether it copies much of the long schedule, and far more than of the short one; and again, if it takes more.

    A handler that copies no more than a bound at a time may do so from some length on: it grows once.
    """
    short = growing.build(growing.times // 4)
    run, few = copies(tried, short)
    if run.error is not None or (_size(short) > LONG and few * ENOUGH < MUCH):
        return False
    run, many = copies(tried, growing.build(growing.times))
    if run.error is not None or many < max(MUCH, LINEAR * few):
        return False
    longer = growing.build(2 * growing.times)
    run, more = copies(tried, longer)
    is_bounded = more <= many or (run.finished and END not in longer)
    return run.error is not None or more > DOUBLED * many or is_bounded


def _size(schedule: Schedule) -> int:
    """The bytes that it brings."""
    return sum(len(step) for step in schedule if isinstance(step, bytes))


def _fail(tried: Tried, growing: Growing) -> NoReturn:
    """Fail because of what it copies of the long schedule."""
    schedules = [growing.build(growing.times // 4), growing.build(growing.times)]
    few, many = (copies(tried, schedule)[1] for schedule in schedules)
    times, size = many / max(few, 1), _size(schedules[1])
    fault = (
        f"of four times as many bytes it copies {times:.0f} times as many: {many} bytes for {size}, so it copies what "
        "it holds, or has answered, again and again"
    )
    short, long = (tried.call("copied", tried.text, literal([*tried.before, *schedule])) for schedule in schedules)
    code = f"short = {short}\nlong = {long}\nassert long < max({LINEAR} * short, {MUCH:_})"
    fail(tried, fault, "works_linearly", code)
