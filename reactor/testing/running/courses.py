"""The processor time of the pieces of a long request, one after another: `slowdown`.

A busy machine makes everything slower, for some milliseconds or for long. So of some pieces in a row the fastest
count, and the machine has some work of always the same size to do in between.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from time import thread_time
from typing import TYPE_CHECKING, Any, NamedTuple

from .counting import EndlessLoop, held, largest_number
from .run import Run
from .schedule import Take
from .subject import Subject
from .surroundings import no_collection
from .tracing import untold
from .watching import watched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from ...handlers import World

TOGETHER = 32
"""Messages that are measured together."""

FEWEST = 32
"""Measurements without which nothing is told."""

RUNS = 3
"""The further requests, each of which has to show the fault; and the runs of which the fastest counts."""

LARGE = 1 << 20
"""Bytes of output, or packets, that the client takes at once."""

_PARTS = [b"part"] * 500


class Taken(NamedTuple):
    """What some pieces have cost."""

    seconds: float
    """The processor time."""
    reference: float
    """That of a work of always the same size, just before."""

    def least(self, other: Taken) -> Taken:
        """The smaller ones."""
        return Taken(min(self.seconds, other.seconds), min(self.reference, other.reference))


class Course:
    """One request that gets more and more pieces: a ``with`` block, within which nobody collects garbage."""

    def __init__(self, subject: Subject, begun: Iterable[bytes] = ()) -> None:
        self.costs: list[Taken] = []
        """What the pieces of each call of `feed` have cost."""
        self.sent: list[int] = []
        """The bytes of output that each call of it has brought."""
        self._subject, self._begun = subject, begun

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            entered.enter_context(no_collection())
            entered.enter_context(untold())
            self._blocks = sys.getallocatedblocks()
            self.run = Run(self._subject, counts=False)
            entered.callback(self.run.close)
            self._fed = self.run.fed
            self._feed(self._begun)
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.close()

    def feed(self, pieces: Iterable[bytes]) -> bool:
        """Measure what these cost. Whether the handler has taken all of them, and takes more."""
        reference = thread_time()
        for _ in range(4):
            b"".join(_PARTS)
        begun = thread_time()
        takes_more = self._feed(pieces)
        if takes_more:
            self.costs.append(Taken(thread_time() - begun, begun - reference))
            output = self.run.output
            self.sent.append(sum(map(len, output)) if self._subject.packets else len(output))
        self.run.forget()
        return takes_more

    def _feed(self, pieces: Iterable[bytes]) -> bool:
        run, is_stream = self.run, not self._subject.packets
        with suppress(EndlessLoop), watched(f"{self._subject.name}.handle"):
            for piece in pieces:
                self._fed += len(piece) if is_stream else 1
                run.step(piece)
            while run.machine.outbox and not run.over:
                run.step(Take(LARGE))
        return run.fed == self._fed and not run.over

    def taken(self) -> float:
        """The seconds of processor time so far."""
        return sum(cost.seconds for cost in self.costs)

    def sends_all(self) -> bool:
        """Whether its answers become longer, so that it may take longer for them."""
        return self.sent[-1] > 2 * self.sent[len(self.sent) // 16 - 1]

    def kept(self) -> int:
        """About the bytes that the handler has, and the objects that are new in the process."""
        machine = self.run.machine
        return held(machine) + largest_number(machine) + sys.getallocatedblocks() - self._blocks

    def windows(self) -> list[Taken]:
        """The smallest costs at a sixteenth, a quarter and a half of the way, and in the end."""
        ends = [len(self.costs) // part for part in (16, 4, 2, 1)]
        width = max(1, len(self.costs) // 32)
        return [least_of(self.costs[end - width : end]) for end in ends]

    def largest(self) -> str:
        """The name and the length of the largest container that the handler has, in words; empty if it has none."""
        machine: Any = self.run.machine
        values = dict(getattr(machine.handler, "__dict__", {}))
        coroutine = machine.state
        while (frame := getattr(coroutine, "cr_frame", None)) is not None:
            values.update(frame.f_locals)
            coroutine = coroutine.cr_await
        sizes = [(len(value), name) for name, value in values.items() if hasattr(type(value), "__len__")]
        size, name = max(sizes, default=(0, ""))
        return f"{name!r}, a {type(values[name]).__name__} of {size}" if size > TOGETHER else ""


def least_of(costs: list[Taken]) -> Taken:
    found = costs[0]
    for cost in costs:
        found = found.least(cost)
    return found


def slowdown(kind: Any, pieces: Iterable[bytes], world: World | None = None) -> float:
    """How many times as long as at a sixteenth of the way the last of ``pieces`` take the handler class ``kind``.

    One request gets all of them, which should be at least some hundred. The processor time of the thread is measured,
    some runs are made, and the fastest one counts in each place. A handler whose work is linear takes as long in the
    end as before, so it is about 1.

    >>> from handlers.services import Echo
    >>> factor = slowdown(Echo, [b"one"] * 512)
    """
    given, subject = list(pieces), Subject(kind, world)
    return factor_of(together([_course(subject, given) for _ in range(RUNS)]))


def _course(subject: Subject, pieces: list[bytes]) -> list[Taken]:
    """The costs of some places of one request; none if it does not take all pieces."""
    size = max(1, len(pieces) // 128)
    with Course(subject) as course:
        for at in range(0, len(pieces), size):
            if not course.feed(pieces[at : at + size]):
                break
    return course.windows() if len(course.costs) >= FEWEST else []


def together(runs: list[list[Taken]]) -> list[Taken]:
    """In each place the smallest costs of all runs."""
    return [least_of(list(costs)) for costs in zip(*runs, strict=False)]


def factor_of(windows: list[Taken]) -> float:
    """How many times as much the last pieces cost as the first ones, if the machine is as busy then as before."""
    if not windows or not windows[0].seconds:
        return 1.0
    first, last = windows[0], windows[-1]
    busier = last.reference / first.reference if first.reference else 1.0
    return last.seconds / first.seconds / max(1.0, busier)
