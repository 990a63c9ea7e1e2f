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

    def enter(self, row: Request, step: Callable[[], object]) -> None:
        """Have ``step()`` called in one of the next batches, if ``row`` is in the table then."""
        self._waiting.append((row, step))
        if len(self._waiting) == 1:
            self._reactor.call_soon(self._go_on)

    def _go_on(self) -> None:
        reactor = self._reactor
        for _ in range(min(STEPS, len(self._waiting))):
            row, step = self._waiting.popleft()
            if row in reactor.table:
                reactor.guard(row, step)
                reactor.settle_soon(row)
        if self._waiting:
            reactor.call_soon(self._go_on)
