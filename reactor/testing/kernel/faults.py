"""The kinds of fault that a simulated kernel can inject, and the plans that say which ones it injects, and when.

Everything random in a world is a question to its plan: does this call, or this packet, suffer a fault, and how? A
plan answers from a seed, which is fast, or from a list of faults. It records the faults that it injects as such a list,
so a run that a seed has found can be played again and made smaller, fault by fault.
"""

from __future__ import annotations

import os
from bisect import bisect
from functools import cache
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from hypothesis.strategies import SearchStrategy

    _AnyFault = TypeVar("_AnyFault")

SHORT_READ = "short read"
"""``recv`` returns fewer bytes than there are; the amount is how many it returns."""

SHORT_WRITE = "short write"
"""``send`` takes fewer bytes than there is room for; the amount is how many it takes."""

AGAIN = "again"
"""A call on a socket that is ready raises ``EAGAIN``."""

INTERRUPTED = "interrupted"
"""A signal interrupts a call (``EINTR``); an interrupted ``select`` returns no event."""

SPURIOUS = "spurious"
"""``select`` reports a descriptor that is not ready; the amount says which one."""

ORDER = "order"
"""``select`` reports events in another order; the amount says which event is first."""

BROKEN = "broken"
"""The connection breaks; the amount says which of `BROKEN_ERRORS` the call raises."""

ABORTED = "aborted"
"""A connection is gone before it is accepted (``ECONNABORTED``)."""

EXHAUSTED = "exhausted"
"""The host cannot provide a new socket; the amount says which of `EXHAUSTED_ERRORS` the call raises."""

REFUSED = "refused"
"""A connection is refused (``ECONNREFUSED``), although there is a listener."""

DELAYED = "delayed"
"""Data takes longer to arrive; the amount is the number of milliseconds.

Later data of the same stream is delayed with it. Data of other connections may overtake it.
"""

TORN = "torn"
"""Bytes of one ``send`` arrive in two parts, 10 ms apart; the amount is the length of the first part."""

LOST = "lost"
"""A datagram is lost."""

REPEATED = "repeated"
"""A datagram arrives twice."""

OVERTAKEN = "overtaken"
"""A datagram arrives later, so later datagrams overtake it; the amount is the number of milliseconds."""

TRUNCATED = "truncated"
"""A datagram loses its end; the amount is the number of bytes that are left."""

FULL = "full"
"""A datagram cannot be sent, because the host has no buffer space (``ENOBUFS``)."""

JUMP = "jump"
"""Time jumps forward, as on a host that was suspended; the amount is the number of tenths of a second."""

SET = "set"
"""The time of day is set, by as many hours as the amount says: an odd amount forward, an even amount back."""

NEVER = 1 << 60
"""A number of chances that no run reaches."""

BROKEN_ERRORS = "ECONNRESET", "ETIMEDOUT", "EHOSTUNREACH", "ENETDOWN"
EXHAUSTED_ERRORS = "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"

RATES: Mapping[str, float] = {
    SHORT_READ: 0.6, SHORT_WRITE: 0.6, AGAIN: 0.2, INTERRUPTED: 0.1, SPURIOUS: 0.2, ORDER: 0.3,
    BROKEN: 0.004, ABORTED: 0.05, EXHAUSTED: 0.15, REFUSED: 0.02, DELAYED: 0.15, TORN: 0.2,
    LOST: 0.1, REPEATED: 0.1, OVERTAKEN: 0.15, TRUNCATED: 0.05, FULL: 0.03, JUMP: 0.01, SET: 0.01,
}  # fmt: skip
"""Every kind of fault, and the share of the chances that become faults, from 0 to 1."""

MOST = 0.9
"""The highest rate that is used. With 1 a call would fail for ever."""


class Fault(NamedTuple):
    """One fault: the ``nth`` chance for a fault of this ``kind``, counted from 0, becomes a fault."""

    kind: str
    nth: int
    amount: int = 1
    """Its meaning depends on the kind. 1 is the first error, the fewest bytes, the shortest time."""


class Plan:
    """A plan without faults, and the base of the plans that have some."""

    def __init__(self) -> None:
        self.injected: list[Fault] = []
        """The faults so far. A `Listed` plan with this list injects the same ones again."""

    def draw(self, kind: str, most: int = 1) -> int:
        """One chance for a fault of this kind: 0 for none, else the amount of the fault, from 1 to ``most``."""
        return 0


class Seeded(Plan):
    """Random faults. The same seed gives the same faults on every version of Python.

    A seed also decides how frequent each kind is: absent, rarer than ``rates`` says, as frequent, or more frequent. So
    a fault of the loop that one kind hides shows with a seed that lacks this kind. With ``moods=False`` every kind is
    as frequent as ``rates`` says. Raises `ValueError` for rates that `check_rates` refuses.
    """

    def __init__(self, seed: int, rates: Mapping[str, float] = RATES, *, moods: bool = True) -> None:
        super().__init__()
        check_rates(rates, RATES)
        # Only Random.random() gives the same numbers in every version of Python. Most chances do not become faults
        # and must be cheap, so a random number says how many chances pass before the next fault.
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
_AHEAD = 50  # chances that one random number decides


@cache
def _odds(rate: float) -> list[float]:
    """The probabilities that at least one of the first 1, 2, 3, ... chances becomes a fault."""
    odds, none = [], 1.0
    for _ in range(_AHEAD):
        none *= 1.0 - min(rate, MOST)
        odds.append(1.0 - none)
    return odds


class Listed(Plan):
    """The faults of a list and no others. An amount that is too large for its chance is reduced.

    Raises `TypeError` or `ValueError` for an item that is no valid `Fault`.
    """

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


def fewest(faults: Sequence[_AnyFault], fails: Callable[[list[_AnyFault]], bool]) -> list[_AnyFault]:
    """A shorter list of faults, with smaller amounts, that still ``fails``. It need not be the shortest one.

    ``faults`` is a list that fails, such as `Plan.injected` of a run with a seed, or one with `Crash` and `Cut`, too.

    >>> from reactor.testing.kernel.faults import Fault, fewest
    >>> faults = [Fault("again", nth) for nth in range(9)] + [Fault("short read", 4, 70)]
    >>> fewest(faults, lambda faults: ("short read", 4) in [fault[:2] for fault in faults])
    [Fault(kind='short read', nth=4, amount=1)]
    """
    left = list(faults)
    size = len(left)
    while size:
        end = len(left)  # from the last to the first: later faults depend on earlier ones
        while end > 0:
            fewer = left[: max(0, end - size)] + left[end:]
            if fails(fewer):
                left = fewer
            end -= size
        size //= 2
    for place, fault in enumerate(left):
        if not isinstance(fault, Fault):
            continue
        for amount in (1, fault.amount // 2):
            lesser = [*left[:place], fault._replace(amount=amount), *left[place + 1 :]]
            if 0 < amount < fault.amount and fails(lesser):
                left = lesser
                break
    return left


def plans(most: int = 12, kinds: Sequence[str] = tuple(RATES)) -> SearchStrategy[list[Fault]]:
    """A Hypothesis strategy for lists of up to ``most`` faults of these ``kinds``, as `World` takes them.

    Shrinks to few and early faults with small amounts. Raises `ValueError` for a kind that there is not.
    """
    from hypothesis import strategies as st

    for kind in kinds:
        _check_kind(kind, RATES)
    fault = st.builds(Fault, st.sampled_from(kinds), st.integers(0, 40), st.integers(1, 1000))
    return st.lists(fault, max_size=most, unique_by=lambda fault: fault[:2])


def check_rates(rates: Mapping[str, float], possible: Mapping[str, float]) -> None:
    """Raise `ValueError` for a kind of fault that is not among the ``possible``, or a rate that is not from 0 to 1."""
    for kind, rate in rates.items():
        _check_kind(kind, possible)
        if not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
            raise ValueError(f"the rate of {kind!r} is a number from 0 to 1, not {rate!r}")


def _check_kind(kind: str, possible: Mapping[str, float]) -> None:
    if kind not in possible:
        raise ValueError(f"there is no fault {kind!r} here; there are {', '.join(map(repr, possible))}")


def _check_fault(fault: Fault) -> None:
    if not isinstance(fault, tuple) or len(fault) != 3:
        raise TypeError(f"a list of faults contains Fault(kind, nth, amount), not {fault!r}")
    _check_kind(fault.kind, RATES)
    if fault.nth < 0 or fault.amount < 1:
        raise ValueError(f"nth counts from 0, and the amount of a fault is at least 1: {fault!r}")


def failure(number: int) -> OSError:
    """The exception for an ``errno``: an ``OSError``, or the subclass that Python has for it."""
    return OSError(number, _strerror(number))


_strerror = cache(os.strerror)
