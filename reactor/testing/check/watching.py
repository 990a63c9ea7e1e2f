"""What a check watches while a handler runs: the time for which it blocks, and coroutines that it does not await.

A state blocks if it sleeps, or waits for a file, a lock or another process. In a loop no other row is served meanwhile.
A check runs a handler thousands of times, so a state that sleeps for 2 ms would make the check last for minutes:
`time_limit` ends it. Only the time in which the thread has given up the processor by itself counts, so a slow or busy
machine ends no check.
"""

from __future__ import annotations

import warnings
from collections import Counter
from contextlib import contextmanager
from functools import lru_cache
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from ...handlers import StreamMachine
from ...handlers.blocking.buffered import BufferedPacket, BufferedStream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...handlers import Cause, Machine

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

SECONDS = 2.0
"""Seconds of real time for which the states of a handler may block, in all runs of one check together."""

OUTSIDE = 20.0
"""Seconds of real time that the functions of `Forked` and `Threaded` may take, in all runs of one check together."""

_OF_THREAD = getattr(resource, "RUSAGE_THREAD", None)  # only Linux counts for a thread
_SHORTEST = 0.001  # seconds; where nobody counts how often a thread waited, less may be another process's turn


class Unfit(BaseException):
    """Ends a check: the handler blocks too long, or drops a coroutine. Not an ``Exception``: no handler catches it."""


class _Spent:
    """The time that one check has spent, by what it was spent in."""

    def __init__(self) -> None:
        self._states: Counter[str] = Counter()
        self._functions: Counter[str] = Counter()
        self.unawaited: list[str] = []
        """What Python warns of: each says which coroutine was never awaited."""

    def blocked(self, state: str, seconds: float) -> None:
        self._states[state] += seconds  # type: ignore[assignment]
        total = sum(self._states.values())
        if total > SECONDS:
            [(worst, _)] = self._states.most_common(1)
            raise Unfit(
                f"{worst} blocks: the handler has blocked for {total:.1f} seconds of real time in the states that were "
                f"tried. In a loop nobody else is served meanwhile: wait with Delay(seconds), or have "
                f"Threaded(function) or Forked(function) do it"
            )

    def refuse_unawaited(self) -> None:
        """Raise `Unfit` if a coroutine of the handler was never awaited."""
        if self.unawaited:
            raise Unfit(f"{self.unawaited[0]}, so it never ran: await it, or return it as the next step")

    def worked(self, wait: str, seconds: float) -> None:
        self._functions[wait] += seconds  # type: ignore[assignment]
        total = sum(self._functions.values())
        if total > OUTSIDE:
            [(worst, _)] = self._functions.most_common(1)
            raise Unfit(
                f"the function of {worst} takes too long to try the handler often: {total:.0f} seconds of real time so "
                f"far; give it a function that answers at once"
            )


_spent: _Spent | None = None


@contextmanager
def time_limit() -> Iterator[None]:
    """Within the ``with`` block, runs raise `Unfit` for what they watch. The times of inner blocks add up."""
    global _spent
    if _spent is not None:
        yield
        return
    _spent = spent = _Spent()
    try:
        with _warnings_into(spent.unawaited):
            yield
            spent.refuse_unawaited()
    finally:
        _spent = None


@contextmanager
def _warnings_into(unawaited: list[str]) -> Iterator[None]:
    """Within the ``with`` block, Python's warnings of coroutines that were never awaited go into the list."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", "coroutine .* was never awaited", RuntimeWarning)
        show = warnings.showwarning

        def show_or_keep(message: Any, category: type[Warning], *details: Any, **named: Any) -> None:
            if issubclass(category, RuntimeWarning) and "was never awaited" in str(message):
                unawaited.append(str(message).partition("\n")[0])
            else:
                show(message, category, *details, **named)

        warnings.showwarning = show_or_keep
        yield


@contextmanager
def working(wait: object) -> Iterator[None]:
    """A function of ``wait`` runs."""
    begun = perf_counter()
    yield
    if _spent is not None:
        _spent.worked(repr(wait), perf_counter() - begun)


@lru_cache(maxsize=16)
def timed(machine: Any) -> type[Machine]:
    """A subclass of ``machine`` that measures how long the states of its handler block."""

    class Timed(machine):  # type: ignore[misc]
        __slots__ = ()

        if issubclass(machine, StreamMachine):
            feed = machine._feed_slowly

        def _step(self, call: Any, argument: object, reason: Cause | None = None) -> None:
            spent = _spent
            if spent is None:
                super()._step(call, argument, reason)
                return
            state = self._where(call)
            before = _waits()
            begun, used = perf_counter(), thread_time()
            try:
                super()._step(call, argument, reason)
                spent.refuse_unawaited()
            finally:
                seconds = perf_counter() - begun - (thread_time() - used)
                if seconds > _SHORTEST if _OF_THREAD is None else _waits() > before:
                    is_blocking_kind = isinstance(self.handler, (BufferedStream, BufferedPacket))
                    spent.blocked(f"{type(self.handler).__name__}.handle" if is_blocking_kind else state, seconds)

    Timed.__name__ = machine.__name__  # which messages mention
    return Timed


def _waits() -> int:
    """How often this thread has given up the processor by itself (``ru_nvcsw`` of getrusage(2))."""
    return 0 if _OF_THREAD is None else resource.getrusage(_OF_THREAD).ru_nvcsw
