"""What goes wrong in a simulated world, and when: the plan of its faults.

All chance in a world is a question to its plan: may this go wrong now, and how? A plan answers
from a seed, which is fast, or from a list of faults. What it has injected is such a list too, so a
run that a seed has found is played again, and made smaller, fault by fault.
"""

from __future__ import annotations

import os
from bisect import bisect
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hypothesis.strategies import SearchStrategy

SHORT_READ = "short read"
"""``recv`` gives fewer bytes than are there; the amount is how many."""

SHORT_WRITE = "short write"
"""``send`` takes fewer bytes than there is room for; the amount is how many."""

AGAIN = "again"
"""A call on a socket that is ready would block after all (``EAGAIN``)."""

INTERRUPTED = "interrupted"
"""A signal interrupts a call (``EINTR``); a ``select`` returns with no event."""

SPURIOUS = "spurious"
"""``select`` reports a descriptor that is not ready; the amount says which of them."""

ORDER = "order"
"""``select`` reports in another order: it begins with the event that the amount says."""

BROKEN = "broken"
"""The connection breaks; the amount says which of `BROKEN_ERRORS` a call on it raises."""

ABORTED = "aborted"
"""A client is gone before it is accepted (``ECONNABORTED``)."""

EXHAUSTED = "exhausted"
"""A new socket can't be had; the amount says which of `EXHAUSTED_ERRORS` is raised."""

REFUSED = "refused"
"""A connection is refused (``ECONNREFUSED``), although somebody listens."""

DELAYED = "delayed"
"""What is sent is on its way for longer, by as many milliseconds as the amount says.

What follows it in the same stream is delayed with it; other connections overtake it.
"""

TORN = "torn"
"""What is sent arrives in two parts, 10 ms apart; the amount is the length of the first."""

LOST = "lost"
"""A datagram is lost."""

REPEATED = "repeated"
"""A datagram arrives twice."""

OVERTAKEN = "overtaken"
"""A datagram arrives later, by as many milliseconds as the amount says; what follows it overtakes it."""

TRUNCATED = "truncated"
"""A datagram loses its end; the amount is how many bytes are left."""

FULL = "full"
"""A datagram can't be sent, for the host is short of room (``ENOBUFS``)."""

JUMP = "jump"
"""Time jumps forward, by as many tenths of a second as the amount says, as on a host that slept."""

SET = "set"
"""Somebody sets the time of day, by as many hours as the amount says: forth with an odd one, back with an even one."""

NEVER = 1 << 60
"""Chances to come that are more than there will be."""

BROKEN_ERRORS = "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENETDOWN"
EXHAUSTED_ERRORS = "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"

RATES: Mapping[str, float] = {
    SHORT_READ: 0.6, SHORT_WRITE: 0.6, AGAIN: 0.2, INTERRUPTED: 0.1, SPURIOUS: 0.2, ORDER: 0.3,
    BROKEN: 0.004, ABORTED: 0.05, EXHAUSTED: 0.15, REFUSED: 0.02, DELAYED: 0.15, TORN: 0.2,
    LOST: 0.1, REPEATED: 0.1, OVERTAKEN: 0.15, TRUNCATED: 0.05, FULL: 0.03, JUMP: 0.01, SET: 0.01,
}  # fmt: skip
"""Every kind of fault, and how often what may go wrong does, from 0 to 1."""


MOST = 0.9
"""The highest rate there is: what always goes wrong never gets any further."""


class Fault(NamedTuple):
    """One fault: the ``nth`` chance (counted from 0) for this ``kind`` to go wrong is taken."""

    kind: str
    nth: int
    amount: int = 1
    """How; its meaning is the kind's. 1 is the first error, the fewest bytes, the shortest time."""


class Plan:
    """No faults at all; what the plans with faults have in common."""

    def __init__(self) -> None:
        self.injected: list[Fault] = []
        """The faults so far. `Listed` with this list does the same again."""

    def draw(self, kind: str, most: int = 1) -> int:
        """Whether this chance to go wrong is taken: 0 for no, else how, from 1 to ``most``."""
        return 0


class Seeded(Plan):
    """Faults by chance. The same seed gives the same faults on every Python.

    Not every seed has every kind of fault: each kind is left out, rarer, as often as ``rates`` says,
    or more frequent. What one kind would hide, a seed without that kind shows. With ``moods=False``
    every kind is as frequent as ``rates`` says.
    """

    def __init__(self, seed: int, rates: Mapping[str, float] = RATES, *, moods: bool = True) -> None:
        super().__init__()
        check_rates(rates, RATES)
        # Of Random, only random() is the same for ever. Most chances are not taken, and must cost
        # little: so the dice do not say whether the next is, but how many are passed by before that.
        self._random = random = Random(seed).random
        mood = {kind: _MOODS[int(random() * len(_MOODS))] if moods else 1.0 for kind in RATES}
        self._odds = {kind: _odds(rates.get(kind, 0.0) * mood[kind]) for kind in RATES}
        self._left = {kind: self._pass_by(kind) for kind in RATES}
        self._next = dict(self._left)

    def draw(self, kind: str, most: int = 1) -> int:
        left = self._left
        more = left[kind]
        if more:
            left[kind] = more - 1
            return 0
        nth = self._next[kind]
        amount = 1 + int(self._random() * most)
        self.injected.append(Fault(kind, nth, amount))
        more = left[kind] = self._pass_by(kind)
        self._next[kind] = nth + more + 1
        return amount

    def _pass_by(self, kind: str) -> int:
        odds, passed = self._odds[kind], 0
        if not odds[-1]:
            return NEVER
        while (some := bisect(odds, self._random())) == len(odds):
            passed += some
        return passed + some


_MOODS = 0.0, 0.3, 1.0, 1.0, 2.0
_AHEAD = 50  # chances that one throw of the dice looks ahead


@cache
def _odds(rate: float) -> list[float]:
    """How probable it is that a chance is taken before so many have been passed by."""
    odds, none = [], 1.0
    for _ in range(_AHEAD):
        none *= 1.0 - min(rate, MOST)
        odds.append(1.0 - none)
    return odds


class Listed(Plan):
    """The faults of a list and no others. An amount too large for its chance is cut to fit."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        super().__init__()
        faults = list(faults)
        for fault in faults:
            _check_fault(fault)
        self._amounts = {(fault.kind, fault.nth): fault.amount for fault in faults}
        self._chances = dict.fromkeys(RATES, 0)

    def draw(self, kind: str, most: int = 1) -> int:
        nth = self._chances[kind]
        self._chances[kind] = nth + 1
        amount = min(self._amounts.get((kind, nth), 0), most)
        if amount:
            self.injected.append(Fault(kind, nth, amount))
        return amount


def fewest(faults: Sequence[Fault], fails: Callable[[list[Fault]], bool]) -> list[Fault]:
    """The smallest list of faults, as far as leaving out and lessening can find it, with which it still ``fails``.

    ``faults`` is a list with which it fails, such as the `Plan.injected` of a seed.

    >>> from reactor.testing.faults import Fault, fewest
    >>> faults = [Fault("again", nth) for nth in range(9)] + [Fault("short read", 4, 70)]
    >>> fewest(faults, lambda faults: ("short read", 4) in [fault[:2] for fault in faults])
    [Fault(kind='short read', nth=4, amount=1)]
    """
    left = list(faults)
    size = len(left)
    while size:
        end = len(left)  # from the last to the first: what comes later depends on what came before
        while end > 0:
            fewer = left[: max(0, end - size)] + left[end:]
            if fails(fewer):
                left = fewer
            end -= size
        size //= 2
    for place, fault in enumerate(left):
        for amount in (1, fault.amount // 2):
            lesser = [*left[:place], fault._replace(amount=amount), *left[place + 1 :]]
            if 0 < amount < left[place].amount and fails(lesser):
                left = lesser
    return left


def plans(most: int = 12, kinds: Sequence[str] = tuple(RATES)) -> SearchStrategy[list[Fault]]:
    """A Hypothesis strategy: lists of up to ``most`` faults of these ``kinds``, for ``World(faults)``.

    Shrinks to few faults, early ones, and the least of their kind.
    """
    from hypothesis import strategies as st

    for kind in kinds:
        _check_kind(kind, RATES)
    fault = st.builds(Fault, st.sampled_from(kinds), st.integers(0, 40), st.integers(1, 1000))
    return st.lists(fault, max_size=most, unique_by=lambda fault: fault[:2])


def check_rates(rates: Mapping[str, float], possible: Mapping[str, float]) -> None:
    """Raise `ValueError` for a kind of fault that is not ``possible``, or a rate that is no part of 1."""
    for kind, rate in rates.items():
        _check_kind(kind, possible)
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ValueError(f"the rate of {kind!r} is a number from 0 to 1, not {rate!r}")


def _check_kind(kind: str, possible: Mapping[str, float]) -> None:
    if kind not in possible:
        raise ValueError(f"there is no fault {kind!r} here; there are {', '.join(map(repr, possible))}")


def _check_fault(fault: Fault) -> None:
    if not isinstance(fault, tuple) or len(fault) != 3:
        raise TypeError(f"a list of faults has Fault(kind, nth, amount), not {fault!r}")
    _check_kind(fault.kind, RATES)
    if fault.nth < 0 or fault.amount < 1:
        raise ValueError(f"nth counts from 0, and the amount of a fault is at least 1: {fault!r}")


def failure(number: int) -> OSError:
    """The ``OSError`` of an ``errno``, of the class that Python has for it."""
    return OSError(number, _strerror(number))


_strerror = cache(os.strerror)
