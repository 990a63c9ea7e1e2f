"""`Arrivals`: takes what has arrived at the socket of a server, in batches.

`BatchSize` says how many a server tries to take in one batch of the loop. To find that there is no other arrival costs
about as much as to take one. So as many are taken as the last time, and twice as many if there are more in the very
next batch. Where that was tried in vain, because the clients come one after the other, more such batches must pass
before the next attempt.
"""

from __future__ import annotations

from ..loop.loop import PROMPT
from .kinds import is_ours, takes_at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .service import Service

TURNS = 16
"""Connections that a server in plain mode serves to their ends in one batch of the loop, if that takes less than
`PROMPT`: a step of the loop costs a third of what a short connection costs."""

PATIENT = 8
"""Batches, each right after the one before, after which more arrivals are tried in any case."""


class Arrivals:
    """The arrivals of one server."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._size = BatchSize()

    def take(self) -> None:
        """Take arrivals, up to the mode's batch; only one if ``get_request()`` may wait for the next.

        In plain mode, where each is served to its end, a short connection may be followed by another.
        """
        service = self._service
        mode, server, source, direct = service.mode, service.server, service.source, service.direct
        in_turn = mode.in_turn and service.intake.is_listener and is_ours(server.service_actions)
        most = self._size.expect(service.reactor.batches, TURNS if in_turn else mode.batch)
        for taken in range(most if most == 1 or takes_at_once(server) else 1):
            if taken and in_turn and not self._may_go_on():
                return
            if direct.is_open():
                is_more = service.take(direct.take)
            else:
                is_more = not service.admission.is_closed() and service.take()
            if not is_more or not (source is None or source.open):  # it may be closed by `stop_serving()` of a handler
                self._size.exhausted(taken)
                return

    def _may_go_on(self) -> bool:
        """Plain mode: whether another connection may be served before the loop looks at everything else."""
        serving, reactor = self._service.serving, self._service.reactor
        is_ending = serving.is_asked_to_end or reactor.stopping
        return not is_ending and reactor.clock.monotonic() - reactor.time < PROMPT


class BatchSize:
    """The number of arrivals that one server expects."""

    def __init__(self) -> None:
        self._expected = 1
        self._filled = -1  # the batch in which so many have been taken
        self._series = 0  # the batches before this one that were such and right after each other
        self._patience = 1  # the length of the series after which more arrivals are tried

    def expect(self, batch: int, most: int) -> int:
        """The number of arrivals to take in the batch with this number, at most ``most``."""
        self._series = self._series + 1 if batch == self._filled + 1 else 0
        if self._series >= (self._patience if self._expected == 1 else 1):
            self._expected = min(2 * self._expected, most)
        self._filled = batch
        return self._expected

    def exhausted(self, taken: int) -> None:
        """After ``taken`` arrivals there was none."""
        self._patience = min(2 * self._patience, PATIENT) if taken == 1 and self._expected == 2 else 1
        self._expected, self._filled = taken or 1, -1
