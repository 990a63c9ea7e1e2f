"""`Steps`: the queue of costly steps of filters, such as those of a TLS handshake.

A few steps are done in each batch, so that many handshakes at once do not delay the other rows.
"""

from __future__ import annotations

from _weakref import proxy
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .reactor import Reactor
    from .request import Request

STEPS = 8
"""Costly steps in one batch. A step of a TLS handshake takes about one millisecond at most."""


class Steps:
    """The costly steps that the rows of one loop have queued, in order."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Reactor = proxy(reactor)  # the reactor refers to this object: no cycle
        self._waiting: deque[tuple[Request, Callable[[], object]]] = deque()
        self._batch: int | None = None  # the number of the last batch in which steps were done
        self._done = 0  # the number of steps done in that batch

    def enter(self, row: Request, step: Callable[[], object]) -> bool:
        """Have ``step()`` called in one of the next batches, if ``row`` is in the table then.

        Returns ``False`` if no step waits and this batch allows one more: then the caller does the step now.
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
        batch = self._reactor.batches  # not its time: the next batch may have the same
        if self._batch != batch:
            self._batch, self._done = batch, 0
        return STEPS - self._done

    def _go_on(self) -> None:
        reactor = self._reactor
        try:
            for _ in range(min(self._left(), len(self._waiting))):
                row, step = self._waiting.popleft()
                if row in reactor.table:
                    self._done += 1
                    reactor.guard(row, step)
                    reactor.settle_soon(row)
        finally:
            if self._waiting:  # also after a KeyboardInterrupt: the loop may be run again
                reactor.call_soon(self._go_on)
