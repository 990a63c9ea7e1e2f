"""Schedules made shorter: what Hypothesis leaves, which does not replace one kind of step by another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..running.spreading import PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..running.schedule import Schedule


def minimal(schedule: Schedule, breaks: Callable[[Schedule], bool], packets: bool, damaged: bool = False) -> Schedule:
    """``schedule``, made shorter as long as it ``breaks``: no schedule with one cut or one step less breaks.

    Bytes are left out only at the end, or anywhere if the schedule is ``damaged``. Hypothesis shrinks most of the way,
    but it does not replace one kind of step by another.
    """
    for _ in range(PLACES):
        less = next(filter(breaks, _smaller(schedule, packets, damaged)), None)
        if less is None:
            break
        schedule = less
    return schedule


def _smaller(schedule: Schedule, packets: bool, damaged: bool) -> Iterator[Schedule]:
    last = max((place for place, step in enumerate(schedule) if isinstance(step, bytes)), default=-1)
    for place, step in enumerate(schedule):
        before, after = schedule[:place], schedule[place + 1 :]
        if not isinstance(step, bytes):
            yield [*before, *after]
            continue
        if after and isinstance(after[0], bytes) and not packets:
            yield [*before, step + after[0], *after[1:]]
        if damaged or place == last:
            yield [*before, *after]
            if damaged:
                yield from ([*before, less, *after] for less in _less(step))
            elif len(step) > 1 and not packets:
                yield [*before, step[:-1], *after]


def _less(data: bytes) -> Iterator[bytes]:
    """``data`` without one of its halves, without one of its quarters, and so on down to single bytes."""
    size = len(data) // 2
    while size:
        yield from (data[:place] + data[place + size :] for place in range(0, len(data), size))
        size //= 2
