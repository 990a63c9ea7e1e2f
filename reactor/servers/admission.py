"""Who is let in: for room in the table, and while the host has what a request takes.

A request for which there is no room waits in the kernel: the listening socket is out of the selector until there is, so
that nothing spins. Or it is refused: closed unread, and counted. A request that is let in is in the table, and begins
when it is its turn (`queue.RequestQueue`).
"""

from __future__ import annotations

import errno
import logging

from ..handlers import Cancelled
from ..loop.kernel import SHORT
from ..loop.timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request
    from .service import Service

SILENCE = 60
"""Seconds for which the same is not logged again."""

NOTED = 1_024
"""Rows that may make room until the table is looked at again."""

PAUSE = 0.1
"""Seconds until arrivals are tried again for which the host had run out of something."""

PUT_OFF = SHORT | {getattr(errno, name) for name in ("EBADF", "EINVAL", "ENOTSOCK") if hasattr(errno, name)}
"""The errors of ``accept()`` after which arrivals are put off: what has run out; and a socket that listens no more, for
one that was shut down is always ready."""

POLICIES = "pause", "refuse", "evict"
"""What `BaseServer.at_limit` may be."""


class Admission:
    """Lets requests in to one server, within its bounds."""

    def __init__(self, service: Service) -> None:
        server = service.server
        if server.at_limit not in POLICIES:
            raise ValueError(f"{type(server).__name__}.at_limit is one of {POLICIES}, not {server.at_limit!r}")
        self._service = service
        self._told: dict[str, float] = {}  # when a text was last logged
        self._idlest: list[tuple[float, int]] = []  # when a row last moved, and its serial; the idlest last

    def is_closed(self) -> bool:
        """Whether what arrives must wait in the kernel; it is looked at again when there is room."""
        service = self._service
        at_limit = service.server.at_limit
        if service.has_room() or at_limit == "refuse" or (at_limit == "evict" and service.mode.evicts):
            return False
        self.wait_for_room()
        return True

    def wait_for_room(self) -> None:
        """Leave arrivals in the kernel until a request has ended."""
        self._service.intake.wait_for_room()
        if self._service.has_room():  # made by a thread in the meantime, which can't have seen the pause
            self._service.open_source().look_again()

    def refusal(self, client_address: Any) -> str:
        """The name of the bound for which a request that has come is not taken; ``""`` if it is."""
        service = self._service
        if service.reactor.table.count_of(client_address) >= service.server.max_per_peer:
            return "max_per_peer"
        if service.has_room() or (service.server.at_limit == "evict" and self._evict()):
            return ""
        return "max_requests"

    def moved(self, row: Request) -> None:
        """Ask of the peer that a filter has found out what was asked of the one that has connected.

        A child asks the table that it has a copy of: it does not know of requests that came after it, and in the
        parent the row is moved when the child ends. Raises `Cancelled` if that peer may not come.
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
        """End the row of the server that has been idle longest; whether there was one."""
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
                return row  # it has not moved since, and all others have moved later
        return None

    def _note_idlest(self) -> None:
        """Look at the whole table, which is long when it is full, and note enough for many arrivals."""
        table = self._service.reactor.table
        rows = [row for row in table if row.owner is self._service and row.channel and not row.lingering]
        rows.sort(key=lambda row: row.progress)
        self._idlest = [(row.progress, row.serial) for row in reversed(rows[:NOTED])]

    def run_short(self, error: OSError) -> None:
        """Nothing can be taken for now: look again when a request has given something back, or after a while."""
        source = self._service.open_source()
        source.pause_until_room()
        self._service.reactor.call_later(PAUSE, source.look_again)
        self.tell("takes no requests for now: %s", error)

    def cut(self, client_address: Any, size: int) -> None:
        """A packet of the peer is longer than the ``size`` bytes that the server takes, so it is not taken at all."""
        self._service.reactor.table.count_refused("truncated")
        self.tell("drops a packet of more than %d bytes (max_packet_size), of %s", size, client_address)

    def tell(self, text: str, *arguments: Any) -> None:
        """Log it, if that has not been done just now."""
        server, now = self._service.server, self._service.reactor.clock.monotonic()
        if now - self._told.get(text, -NEVER) >= SILENCE:
            self._told[text] = now
            told = f"%s at %s {text}"
            logging.getLogger("reactor").warning(told, type(server).__name__, server.server_address, *arguments)
