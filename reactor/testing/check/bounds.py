"""The property of bounds: each wait has one, and so has what a request holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Exactly, Wait
from ..inputs.budget import COSTLY, FEW, Budget
from ..inputs.choices import each, one_of
from ..inputs.pieces import singly
from ..inputs.shortening import minimal
from ..inputs.strategies import smallest
from ..inputs.tried import Tried
from ..running.counting import held
from ..running.evidence import fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.spreading import places, thinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule
    from ..running.subject import Subject

KEPT = 65_536
"""Bytes that a handler may keep in its own buffers by default (64 KiB)."""

FLOOD = 4_096
"""Bytes that one round of a flood brings."""

SINGLY = 48
"""The most damaged conversations that come byte by byte to show each wait."""

LARGEST = 64
"""The most places of a conversation at which a byte is as large as may be."""


class Flood(NamedTuple):
    """The run of a flood."""

    run: Run
    size: int
    """Bytes that it holds."""
    bound: int
    """Bytes that it may hold."""

    @property
    def is_fault(self) -> bool:
        """Whether the handler has raised, or holds too much."""
        return self.run.error is not None or self.size > self.bound


@held_in_time
def stays_in_bounds(
    kind: Any, conversation: bytes | Iterable[bytes], *,
    world: World | None = None, kept: int = KEPT, examples: int | None = None,
) -> None:  # fmt: skip
    """Every wait has a limit and a timeout, and the bytes that a request holds stay bounded, however many come.

    A request may hold (see `held`) ``kept`` bytes, plus the largest limit of a wait, plus the bytes of one round of
    input. A limit over the handler's ``max_output`` counts as none, and so does a timeout over a year. The property
    looks at the waits of the conversation and of damaged conversations.
    """
    tried = Tried(kind, conversation, world)
    _waits_in_bounds(tried, examples)

    def flood(start: int, filler: bytes) -> Flood:
        return _flooded(tried, tried.first(start), filler, kept)

    def attempt(start: int, filler: bytes) -> tuple[bool, int]:
        made = flood(start, filler)
        return made.is_fault, made.run.cost

    floods = each(tried.lengths, one_of(tried.fillers))
    found = smallest(tried, floods, Budget(COSTLY, attempt).is_faulty, examples, FEW)
    if found is not None:
        run, size, bound = flood(*found)
        if run.error is None:
            code = f"{run.code()}\nassert held({run.name}) <= {bound}"
            fault = f"it holds {size} bytes, and the more come, the more it holds"
            fail(tried, fault, "stays_in_bounds", code, remedy=f"kept={2 * size} (bytes)")
        fail(tried, fault_of(run, ""), "stays_in_bounds", run.code())


def _waits_in_bounds(tried: Tried, examples: int | None) -> None:
    """Fail for a wait without a bound, in the conversation or in a damaged one."""

    def passing(schedule: Schedule) -> Run | None:
        """The run that has such a wait. If the input arrives in one piece the handler may never wait for it."""
        runs = (played(tried, steps) for steps in (schedule, singly(schedule, tried.packets)))
        return next((run for run in runs if run.unbounded is not None), None)

    def passes(schedule: Schedule) -> bool:
        return played(tried, singly(schedule, tried.packets)).unbounded is not None

    def ends_in_one(schedule: Schedule) -> bool:
        """Whether it has one when nothing more comes; to see what it waits for before costs many times as much."""
        return played(tried, schedule).unbounded is not None

    stops: Iterator[Schedule] = ([*tried.first(place)] for place in places(tried.length))
    found = next(filter(passes if passes([*tried.pieces]) else ends_in_one, stops), None)
    if found is None:
        hostile = next(filter(ends_in_one, tried.largest(LARGEST)), None)
        if hostile is None:
            hostile = tried.harm(ends_in_one, examples, FEW)
        if hostile is None:
            hostile = next(filter(passes, thinned(list(tried.slips()), tried.afforded(SINGLY))), None)
        found = None if hostile is None else minimal(hostile, passes, tried.packets, damaged=True)
    if found is not None and (run := passing(found)) is not None and run.unbounded is not None:
        calls, lack, bound = run.unbounded
        fail(tried, lack, "stays_in_bounds", f"{run.code(calls)}\nassert {bound}")


def _flooded(subject: Subject, start: list[bytes], flood: bytes, kept: int) -> Flood:
    """The run of a flood.

    The flood stops when twice as many bytes do not make the handler hold more. Then the stream ends.
    """
    run = Run(subject)
    flow = [flood] * (FLOOD // max(16, len(flood))) if subject.packets else [flood * (FLOOD // len(flood) or 1)]
    brought = sum(map(len, flow))
    limit, sizes = 0, [0]
    for piece in start:
        run.step(piece)
    while not run.over and run.unbounded is None:
        for piece in flow:
            run.step(piece)
        run.drain()
        limit = max(limit, limit_of(run.wait))
        sizes.append(held(run.machine))
        if sizes[-1] > kept + limit + brought:
            run.close()
            return Flood(run, sizes[-1], kept + limit + brought)
        feeds = len(sizes) - 1
        if feeds > 1 and sizes[-1] - sizes[feeds // 2] <= brought * (feeds - feeds // 2) // 32:
            break
    if not subject.packets:
        run.step(END)
    run.finish(to_the_end=True)
    run.close()
    return Flood(run, sizes[-1] if run.error is not None else 0, kept + limit + brought)


def limit_of(wait: Wait | None) -> int:
    """The bytes that the machine holds for a wait at most."""
    limit: int = getattr(wait, "limit", 0)
    return min(limit, wait.n) if isinstance(wait, Exactly) else limit
