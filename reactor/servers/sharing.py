"""`Share`: what a worker takes of the connections to a listener that other workers, processes or threads, serve too.

The kernel wakes one of the workers that sleep for a new connection (``EPOLLEXCLUSIVE``), and it is always the first
that has registered: while that one is not busy, it would get every connection, and keep it. So the workers tell each
other how many rows they have, in memory that they share. One that has more than its share takes its listener out of the
selector, and puts it back behind the others', as soon as its rows have ended or after `PAUSE` seconds. Then it takes
one connection at a time: a worker that does not come to accept() must not keep connections from being served.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .base import BaseServer
    from .service import Service

PAUSE = 0.001
"""Seconds for which a worker with more than its share leaves connections to the others."""

ABSENT = 1 << 62
"""The number of rows of a worker that takes none."""


def share_listeners(servers: Iterable[BaseServer], counts: memoryview, place: int) -> None:
    """From now on ``servers``, which serve on one loop, share their listeners with other workers: see `Share`."""
    for server in servers:
        service = server._srv
        if service.intake.is_listener:
            service.serving.stop()
            service.serving.share = Share(service, counts, place)
        service.serving.start()
        counts[place] = len(service.reactor.table)


class Share:
    """The share of one worker. ``counts`` has the numbers of rows of all workers, at ``place`` its own."""

    def __init__(self, service: Service, counts: memoryview, place: int) -> None:
        self._service = service
        self._counts = counts
        self._place = place
        self.paused = False
        """Whether connections are left to the others for now."""
        self._has_left = False

    def note(self) -> None:
        """Rows have come or gone: tell the others, and look whether the share has changed."""
        if self._has_left:
            return
        rows = self._counts[self._place] = len(self._service.reactor.table)
        least = min(self._counts)
        is_over = rows - least > 1 + (least >> 3)
        if is_over and not self.paused:
            self._pause()
        elif self.paused and not is_over:
            self._go_on()

    def leave(self) -> None:
        """This worker takes no more connections."""
        self._has_left, self.paused = True, False
        self._counts[self._place] = ABSENT

    def _pause(self) -> None:
        source = self._service.source
        if source is not None and source.open:
            self.paused = True
            source.pause()
            self._service.reactor.call_later(PAUSE, self._go_on)

    def _go_on(self) -> None:
        source = self._service.source
        if self.paused and source is not None:
            self.paused = False
            source.look_again()
