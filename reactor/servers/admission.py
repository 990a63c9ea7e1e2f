"""Admission: a request is let in while the table has room for it and the host has descriptors and memory for it.

At the limit, a request waits in the kernel: the listening socket is taken out of the selector until there is room, so
that the loop does not spin. Or the request is refused: it is closed unread and counted. A request that is let in is a
row of the table, and begins when it is its turn (`queue.RequestQueue`).
"""

from __future__ import annotations

import errno

from ..handlers import Cancelled
from ..loop.kernel import SHORT
from ..loop.log import WARNING, log
from ..loop.timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request
    from .service import Service

SILENCE = 60
"""Seconds for which the same text is not logged again."""

NOTED = 1_024
"""Idle rows that one look at the table notes, to be evicted one after the other."""

PAUSE = 0.1
"""Seconds until ``accept()`` is tried again after the host had no descriptor or memory for it."""

PUT_OFF = SHORT | {getattr(errno, name) for name in ("EBADF", "EINVAL", "ENOTSOCK") if hasattr(errno, name)}
"""The errors of ``accept()`` after which the listener pauses: shortages, and a listener that was shut down, which the
selector always reports as ready."""

POLICIES = "pause", "refuse", "evict"
"""What `BaseServer.at_limit` may be."""


class Admission:
    """Lets requests in to one server, within its bounds."""

    def __init__(self, service: Service) -> None:
        server = service.server
        if server.at_limit not in POLICIES:
            raise ValueError(f"{type(server).__name__}.at_limit is one of {POLICIES}, not {server.at_limit!r}")
        self._service = service
        self._told: dict[str, float] = {}  # when each text was last logged
        self._idlest: list[tuple[float, int]] = []  # (time of its last progress, serial) of rows; the idlest last

    def is_closed(self) -> bool:
        """Whether arrivals must wait in the kernel. If so, the listener pauses until there is room."""
        service = self._service
        share = service.serving.share
        if share is not None and share.paused:
            return True
        at_limit = service.server.at_limit
        if service.has_room() or at_limit == "refuse" or (at_limit == "evict" and service.mode.loop_drives):
            return False
        self.wait_for_room()
        return True

    def wait_for_room(self) -> None:
        """Leave arrivals in the kernel until a request has ended."""
        self._service.intake.wait_for_room()
        if self._service.has_room():  # a thread has made room since the check, before it could see the pause
            self._service.open_source().look_again()
        elif not self._service.reactor.table:  # no request ends, so the program must have set a bound to 0 for a time
            self._service.reactor.call_later(PAUSE, self._service.open_source().look_again)

    def refuses(self, request: Any, client_address: Any) -> bool:
        """Whether a new request is refused; then it is counted and closed."""
        server = self._service.server
        refusal = self._refusal(client_address)
        if not refusal and not server.verify_request(request, client_address):
            refusal = "verify_request"
        if not refusal:
            return False
        self._service.reactor.table.count_refused(refusal)
        server.shutdown_request(request)
        return True

    def _refusal(self, client_address: Any) -> str:
        """The name of the bound for which a new request is refused; ``""`` if it is let in."""
        service = self._service
        if service.reactor.table.count_of(client_address) >= service.server.max_per_peer:
            return "max_per_peer"
        if service.has_room() or (service.server.at_limit == "evict" and self._evict()):
            return ""
        return "max_requests"

    def moved(self, row: Request) -> None:
        """A filter has changed the peer of the row: check ``max_per_peer`` and ``verify_request()`` for the new peer.

        A child checks its copy of the table, which lacks the requests that came after the fork; the parent's row gets
        the new peer when the child ends. Raises `Cancelled` if the peer is refused.
        """
        service = self._service
        refusal = ""
        if service.reactor.table.count_of(row.peer) > service.server.max_per_peer:  # the row is counted already
            refusal = "max_per_peer"
        else:
            with service.hand.at(row):
                if not service.server.verify_request(row.request, row.peer):
                    refusal = "verify_request"
        if refusal:
            row.refused(refusal)
            raise Cancelled(f"refused: {refusal}")

    def _evict(self) -> bool:
        """End the row of this server that has been idle longest. Returns whether there was such a row."""
        row = self._idlest_noted()
        if row is None:
            self._note_idlest()
            row = self._idlest_noted()
        if row is not None:
            row.lose(Cancelled("evicted: idle longest when another request came"))
        return row is not None

    def _idlest_noted(self) -> Request | None:
        table = self._service.reactor.table
        while self._idlest:
            progress, serial = self._idlest.pop()
            row = table.get(serial)
            if row is not None and row.progress == progress and not row.lingering:
                return row  # no progress since the row was noted; all others have made progress later
        return None

    def _note_idlest(self) -> None:
        """Look through the whole table, which is long at the limit, and note idle rows for many arrivals."""
        table = self._service.reactor.table
        rows = [row for row in table if row.owner is self._service and row.channel and not row.lingering]
        rows.sort(key=lambda row: row.progress)
        self._idlest = [(row.progress, row.serial) for row in reversed(rows[:NOTED])]

    def run_short(self, error: OSError) -> None:
        """The host is short: take no requests until one has ended, or for `PAUSE` seconds."""
        source = self._service.open_source()
        source.pause_until_room()
        self._service.reactor.call_later(PAUSE, source.look_again)
        self.tell("takes no requests for now: %s", error)

    def cut(self, client_address: Any, size: int) -> None:
        """Count and log a packet that is longer than the ``size`` bytes that the server takes; it is dropped."""
        self._service.reactor.table.count_refused("truncated")
        self.tell("drops a packet of more than %d bytes (max_packet_size), of %s", size, client_address)

    def tell(self, text: str, *arguments: Any) -> None:
        """Log a warning, unless the same text was logged in the last `SILENCE` seconds."""
        server, now = self._service.server, self._service.reactor.clock.monotonic()
        if now - self._told.get(text, -NEVER) >= SILENCE:
            self._told[text] = now
            told = f"%s at %s {text}"
            log(WARNING, told, type(server).__name__, server.server_address, *arguments)
