"""Virtual time: the clock of a simulated world, and the queue of events that are due in it."""

from __future__ import annotations

from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCH = 1_000_000_000.0
"""The time of day at which every world begins: 2001-09-09 01:46:40 UTC."""


class Clock:
    """A clock for a `Reactor`, with virtual seconds, and the events that are due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epoch = EPOCH
        """The time of day when the world began, in seconds since 1970-01-01 00:00 UTC. A fault may change it."""
        self.stepping = False
        """Whether a reactor makes a step now."""
        self.changes: list[Callable[[], object]] = []
        """What is called after this step."""
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0  # events planned so far: those due at the same time happen in the order of planning

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self.now

    def time(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return self.epoch + self.now

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Plan an event: ``call(*arguments)`` is called when the clock reaches ``when``."""
        self._count += 1
        heappush(self._queue, (when, self._count, call, arguments))

    def between(self, call: Callable[[], object]) -> None:
        """Call ``call()`` between two steps of a reactor: now, or after this step."""
        if self.stepping:
            self.changes.append(call)
        else:
            call()

    def next(self) -> float:
        """When the next event is due; ``inf`` if there is none."""
        return self._queue[0][0] if self._queue else inf

    def pass_to(self, when: float) -> None:
        """Set the clock forward to ``when``, and make all events happen that are due until then."""
        queue = self._queue
        while queue and queue[0][0] <= when:
            due, _, call, arguments = heappop(queue)
            if due > self.now:
                self.now = due
            call(*arguments)
        if when > self.now:
            self.now = when
