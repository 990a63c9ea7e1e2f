"""The real time for which a handler blocks: its states sleep, or wait for a file, a lock or another process.

A check runs a handler thousands of times, so a state that sleeps for 2 ms would keep it busy for minutes; and in a loop
nobody else is served meanwhile. `time_limit` ends the check. It counts only the time in which the thread gave up the
processor by itself, so a slow or a busy machine does not end a check.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...handlers import Machine

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


class Blocked(BaseException):
    """A check has taken longer than `SECONDS` or `OUTSIDE` allow. Not an ``Exception``, so no handler catches it."""


class _Spent:
    """The time that one check has spent, by what it was spent in."""

    def __init__(self) -> None:
        self.states: dict[str, list[float]] = {}
        self.functions: dict[str, list[float]] = {}

    def blocked(self, state: str, seconds: float) -> None:
        times = self.states.setdefault(state, [])
        times.append(seconds)
        if sum(times) > SECONDS:
            raise Blocked(
                f"{state} blocks: {sum(times):.1f} seconds of real time in {len(times):,} calls. In a loop nobody else "
                f"is served meanwhile: wait with Delay(seconds), or have Threaded(function) or Forked(function) do it"
            )

    def worked(self, wait: str, seconds: float) -> None:
        times = self.functions.setdefault(wait, [])
        times.append(seconds)
        if sum(times) > OUTSIDE:
            raise Blocked(
                f"the function of {wait} has taken {sum(times):.0f} seconds of real time in {len(times):,} calls, so "
                f"the check would take too long: give it a function that answers at once"
            )


_spent: _Spent | None = None


@contextmanager
def time_limit() -> Iterator[None]:
    """Within the ``with`` block, runs raise `Blocked` when a handler has blocked too long. Inner blocks add to it."""
    global _spent
    before = _spent
    _spent = _Spent() if before is None else before
    try:
        yield
    finally:
        _spent = before


@contextmanager
def working(wait: object) -> Iterator[None]:
    """A function of ``wait`` runs."""
    begun = perf_counter()
    yield
    if _spent is not None:
        _spent.worked(repr(wait), perf_counter() - begun)


@cache
def timed(machine: Any) -> type[Machine]:
    """A subclass of ``machine`` that measures how long the states of its handler block."""

    class Timed(machine):  # type: ignore[misc]
        __slots__ = ()

        def _step(self, call: Any, argument: object) -> None:
            spent = _spent
            if spent is None:
                super()._step(call, argument)
                return
            state = self._where(call)
            before = _waits()
            begun, used = perf_counter(), thread_time()
            try:
                super()._step(call, argument)
            finally:
                seconds = perf_counter() - begun - (thread_time() - used)
                if seconds > _SHORTEST if _OF_THREAD is None else _waits() > before:
                    spent.blocked(state, seconds)

    Timed.__name__ = machine.__name__  # which messages mention
    return Timed


def _waits() -> int:
    """How often this thread has given up the processor by itself (``ru_nvcsw`` of getrusage(2))."""
    return 0 if _OF_THREAD is None else resource.getrusage(_OF_THREAD).ru_nvcsw
