"""Costly steps of filters, such as those of a handshake: a few in a batch, so that many do not hold up others."""

from __future__ import annotations

from _weakref import proxy
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .reactor import Reactor
    from .request import Request

STEPS = 8
"""Costly steps in one batch. A step of a TLS handshake takes up to about a millisecond."""


class Steps:
    """The costly steps that rows of one loop ask for, in the order of asking."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Reactor = proxy(reactor)  # which refers to this: no cycle
        self._waiting: deque[tuple[Request, Callable[[], object]]] = deque()
        self._batch = 0.0  # the time of the batch that steps were done in last,
        self._done = 0  # and how many

    def enter(self, row: Request, step: Callable[[], object]) -> bool:
        """Have ``step()`` called in one of the next batches, if ``row`` is in the table then.

        ``False`` if no other step waits, and few were done in this batch: the caller does it now.
        """
        if not self._waiting and self._left():
            self._done += 1
            return False
        self._waiting.append((row, step))
        if len(self._waiting) == 1:
            self._reactor.call_soon(self._go_on)
        return True

    def _left(self) -> int:
        """How many steps may still be done in this batch."""
        if self._batch != self._reactor.time:
            self._batch, self._done = self._reactor.time, 0
        return STEPS - self._done

    def _go_on(self) -> None:
        reactor = self._reactor
        for _ in range(min(self._left(), len(self._waiting))):
            row, step = self._waiting.popleft()
            if row in reactor.table:
                self._done += 1
                reactor.guard(row, step)
                reactor.settle_soon(row)
        if self._waiting:
            reactor.call_soon(self._go_on)
