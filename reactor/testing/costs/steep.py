"""Processor time that a message costs, which grows with all that came before: work of functions in C.

``item in items`` goes over all items, and so do a sum, a copy and a join, wherever the handler keeps them: in an
attribute, in a local variable or elsewhere. No line of Python tells of them. So one request gets very many messages,
and the processor time that each few of them cost is measured. A right handler takes as long for the last as for the
first, so no two runs of different length need be compared.

A busy machine makes everything slower, for some milliseconds or for long. So of some messages in a row the fastest
count, the machine has some work of always the same size to do in between, and what is found has to be found again,
each time, before a handler is accused.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack, suppress
from time import thread_time
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from ..running.counting import EndlessLoop, held, largest_number, longest_text
from ..running.evidence import fault_of
from ..running.report import fail
from ..running.run import Run, played
from ..running.schedule import Take
from ..running.subject import Subject
from ..running.surroundings import no_collection
from ..running.tracing import untold
from ..running.watching import watched

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from ...handlers import World
    from ..inputs.tried import Tried
    from ..running.schedule import Schedule

STEEP = 3.0
"""The factor from which on a handler is accused: the cost of the last messages, by that of those at a sixteenth."""

TWICE = 2.0
"""The factor that the printed test allows; that of a right handler is about 1."""

COSTLY = 5e-6
"""Seconds that a message has to cost more in the end; 16,384 such messages have cost at least 40 ms too much."""

SUSPICIOUS = 1.4
"""The factor from which on more messages come than usual."""

TOGETHER = 32
"""Messages that are measured together."""

OFTEN = 16_384
"""The times that a message comes if the time that it takes is not suspicious."""

MOST = 65_536
"""The most times."""

MANY = 4_096
"""The fewest times after which a handler is accused, unless it has taken `SHORT`: what keeps less has a bound."""

SHORT = 0.3
"""Seconds of processor time after which there are no more messages for a handler that is not suspicious."""

LONG = 0.75
"""The same for one that is."""

FEWEST = 32
"""Measurements without which nothing is told."""

RUNS = 3
"""The further requests, each of which has to show the fault; and the runs of which the fastest counts."""

LARGE = 1 << 20
"""Bytes of output, or packets, that the client takes at once."""

FIRST, KEEPS = 2, 8
"""Measurements between which the handler shows whether it keeps something."""

_PARTS = [b"part"] * 500


class Growing(Protocol):
    """Messages that come again and again."""

    @property
    def begun(self) -> list[bytes]:
        """What comes before them."""

    def pieces(self, count: int) -> list[bytes]:
        """The messages number ``count`` and the following ones: so many as are measured together."""

    def code(self, tried: Tried) -> str:
        """The source text of a function ``said(count)`` that returns them."""

    def told(self, count: int) -> str:
        """So many of them, in words."""


class Cost(NamedTuple):
    """What some pieces have cost."""

    seconds: float
    """The processor time."""
    reference: float
    """That of a work of always the same size, just before."""

    def least(self, other: Cost) -> Cost:
        """The smaller ones."""
        return Cost(min(self.seconds, other.seconds), min(self.reference, other.reference))


class Course:
    """One request that gets more and more pieces: a ``with`` block, within which nobody collects garbage."""

    def __init__(self, subject: Subject, begun: Iterable[bytes] = ()) -> None:
        self.costs: list[Cost] = []
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
            self.costs.append(Cost(thread_time() - begun, begun - reference))
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

    def windows(self) -> list[Cost]:
        """The smallest costs at a sixteenth, a quarter and a half of the way, and in the end."""
        ends = [len(self.costs) // part for part in (16, 4, 2, 1)]
        width = max(1, len(self.costs) // 32)
        return [_least(self.costs[end - width : end]) for end in ends]

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


def _least(costs: list[Cost]) -> Cost:
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
    return _factor(_together([_course(subject, given) for _ in range(RUNS)]))


def _course(subject: Subject, pieces: list[bytes]) -> list[Cost]:
    """The costs of some places of one request; none if it does not take all pieces."""
    size = max(1, len(pieces) // 128)
    with Course(subject) as course:
        for at in range(0, len(pieces), size):
            if not course.feed(pieces[at : at + size]):
                break
    return course.windows() if len(course.costs) >= FEWEST else []


def _together(runs: list[list[Cost]]) -> list[Cost]:
    """In each place the smallest costs of all runs."""
    return [_least(list(costs)) for costs in zip(*runs, strict=False)]


def _factor(windows: list[Cost]) -> float:
    """How many times as much the last pieces cost as the first ones, if the machine is as busy then as before."""
    if not windows or not windows[0].seconds:
        return 1.0
    first, last = windows[0], windows[-1]
    busier = last.reference / first.reference if first.reference else 1.0
    return last.seconds / first.seconds / max(1.0, busier)


def _grows(windows: list[Cost]) -> bool:
    """Whether the cost grows all the while. What a bound ends does not, nor does what is slower once."""
    for seconds in [cost.seconds for cost in windows], [cost.seconds / (cost.reference or 1.0) for cost in windows]:
        first, quarter, half, last = seconds
        more = last - first
        if more > 0 and last - half > more / 5 and half - quarter > more / 20:
            return True
    return False


def _is_steep(windows: list[Cost], factor: float = STEEP) -> bool:
    return _factor(windows) > factor and windows[-1].seconds - windows[0].seconds > COSTLY * TOGETHER


class Seen(NamedTuple):
    """What a request has shown that got messages of which its handler keeps something."""

    messages: int
    """Their number."""
    windows: list[Cost]
    """What they have cost: see `Course.windows`."""
    is_steep: bool
    """Whether the last of them have cost far more than the first, and more and more all the while."""
    largest: str
    """The largest container that the handler has, in words; empty if it has none."""
    text: int
    """The bytes of the longest text that it has."""


def refuse_steep(tried: Tried, growing: Growing) -> Seen | None:
    """Fail if the last messages take far longer than the first ones, in several requests one after another.

    Returns what the first request has shown; ``None`` if the handler keeps nothing.
    """
    first = found = _seen(tried, growing)
    for _ in range(RUNS):
        if found is not None and found.is_steep:
            found = _seen(tried, growing, keeps=True)
    if found is not None and found.is_steep:
        _refuse(tried, growing, found)
    return first


def _refuse(tried: Tried, growing: Growing, found: Seen) -> NoReturn:
    short, long = (found.windows[place].seconds / TOGETHER * 1e6 for place in (0, -1))
    has = f", and it has {found.largest}" if found.largest else ""
    fault = (
        f"of {growing.told(found.messages)} the last take it {long:.0f} microseconds of processor time each, and those "
        f"at a sixteenth {short:.0f}: each costs the more, the more of them came before{has}"
    )
    call = tried.call("slowdown", tried.text, f"said({found.messages})")
    fail(tried, fault, "works_linearly", f"{growing.code(tried)}\n\nassert {call} < {TWICE:g}")


def _seen(tried: Tried, growing: Growing, keeps: bool = False) -> Seen | None:
    """What a request shows. A further one may keep nothing more, if all requests have what they keep in common."""
    with Course(tried, growing.begun) as course:
        before = 0
        while course.feed(pieces := growing.pieces(len(course.costs) * TOGETHER)):
            done = len(course.costs)
            if done == FIRST:
                before = course.kept()
            elif done == KEEPS and not keeps and course.kept() - before < (KEEPS - FIRST) * TOGETHER // 2:
                return None
            if done >= FEWEST and done % (1 << done.bit_length() - 3) == 0 and _is_enough(course):
                break
        if isinstance(course.run.error, EndlessLoop):
            _refuse_endless(tried, [*growing.begun, *pieces])
        if len(course.costs) < FEWEST:
            return None
        largest, text = course.largest(), longest_text(course.run.machine)
    windows, count = course.windows(), len(course.costs) * TOGETHER
    is_steep = _is_steep(windows) and _grows(windows) and (count >= MANY or course.taken() > SHORT)
    return Seen(count, windows, is_steep and not course.sends_all(), largest, text)


def _refuse_endless(tried: Tried, schedule: Schedule) -> None:
    """Fail if the handler, which a busy machine may have made slow, does not return here where lines are counted."""
    run = played(tried, schedule)
    if isinstance(run.error, EndlessLoop):
        fail(tried, fault_of(run, ""), "works_linearly", run.code())


def _is_enough(course: Course) -> bool:
    """Whether no more messages need come."""
    count, taken, windows = len(course.costs) * TOGETHER, course.taken(), course.windows()
    if _is_steep(windows, 2 * STEEP) and _grows(windows) and count >= MANY:
        return True
    if taken > (2 * LONG if _is_steep(windows) else LONG) or count >= MOST:
        return True
    return _factor(windows) < SUSPICIOUS and (count >= OFTEN or taken > SHORT)
