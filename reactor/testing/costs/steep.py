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

from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

from ..running.counting import EndlessLoop, longest_text
from ..running.courses import FEWEST, RUNS, TOGETHER, Course, Taken, factor_of
from ..running.evidence import fault_of
from ..running.report import fail
from ..running.run import played

if TYPE_CHECKING:
    from ..inputs.tried import Tried
    from ..running.schedule import Schedule

STEEP = 3.0
"""The factor from which on a handler is accused: the cost of the last messages, by that of those at a sixteenth."""

TWICE = 2.0
"""The factor that the printed test allows; that of a right handler is about 1."""

MORE = 5e-6
"""Seconds that a message has to cost more in the end; 16,384 such messages have cost at least 40 ms too much."""

SUSPICIOUS = 1.4
"""The factor from which on more messages come than usual."""

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


FIRST, KEEPS = 2, 8
"""Measurements between which the handler shows whether it keeps something."""


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


def _grows(windows: list[Taken]) -> bool:
    """Whether the cost grows all the while. What a bound ends does not, nor does what is slower once."""
    for seconds in [cost.seconds for cost in windows], [cost.seconds / (cost.reference or 1.0) for cost in windows]:
        first, quarter, half, last = seconds
        more = last - first
        if more > 0 and last - half > more / 5 and half - quarter > more / 20:
            return True
    return False


def _is_steep(windows: list[Taken], factor: float = STEEP) -> bool:
    return factor_of(windows) > factor and windows[-1].seconds - windows[0].seconds > MORE * TOGETHER


class Seen(NamedTuple):
    """What a request has shown that got messages of which its handler keeps something."""

    messages: int
    """Their number."""
    windows: list[Taken]
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
    return factor_of(windows) < SUSPICIOUS and (count >= OFTEN or taken > SHORT)
