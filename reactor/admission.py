"""Who is let in, and who must wait: for room in the table, for a child or a thread, for what the host has run out of.

For whom there is no room, waits in the kernel: the listening socket is out of the selector until there is, so
that nobody spins; or is refused: closed unread, and counted. Who is let in is in the table, and its request begins
when it is its turn (`Line`).
"""

from __future__ import annotations

import errno
import logging
from collections import OrderedDict

from handlers import Cancelled

from .request import CALLER, IN_LINE
from .sources import SHORT
from .timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import Cause

    from .request import Request
    from .server import BaseServer

_SILENCE = 60  # seconds for which the same is not told of again
_NOTED = 1_024  # rows that may make room until the table is looked at again
_PAUSE = 0.1  # seconds until it is tried again where the host has run out of something

NONE_LEFT = SHORT | {errno.EAGAIN}
"""For which errors of ``fork(2)`` and ``pthread_create(3)`` there may be a child, or a thread, later."""

PUT_OFF = SHORT | {getattr(errno, name) for name in ("EBADF", "EINVAL", "ENOTSOCK") if hasattr(errno, name)}
"""For which errors of ``accept()`` arrivals are put off: what has run out, and a socket that listens no more, for
one that somebody has shut down is always ready."""

POLICIES = "pause", "refuse", "evict"
"""What `BaseServer.at_limit` may be."""


class NoneLeft(OSError):
    """The host has no child, or thread, to give just now; ``errno`` says of what it has run out."""


class Admission:
    """Lets requests in to one server, within its bounds."""

    def __init__(self, server: BaseServer) -> None:
        if server.at_limit not in POLICIES:
            raise ValueError(f"{type(server).__name__}.at_limit is one of {POLICIES}, not {server.at_limit!r}")
        self._server = server
        self._told: dict[str, float] = {}  # when something was last said
        self._idlest: list[tuple[float, int]] = []  # when a row last moved, and its serial; the idlest last

    def is_closed(self) -> bool:
        """Whether what arrives must wait in the kernel; it will be looked at when there is room."""
        server = self._server
        if server._srv_has_room() or server.at_limit == "refuse" or (server.at_limit == "evict" and server._srv_evicts):
            return False
        server._srv_full()
        return True

    def wait_for_room(self) -> None:
        """Leave arrivals in the kernel until a request has ended."""
        port = self._server.reactor.port(self._server)
        port.pause_until_room()
        if self._server._srv_has_room():  # made by a thread in the meantime, which can't have seen the pause
            port.look_again()

    def let_in(self, request: Any, client_address: Any) -> None:
        """Enter a request that has come in the table, and in line; or refuse it."""
        server = self._server
        refusal = self._refusal(client_address)
        if not refusal and not server.verify_request(request, client_address):
            refusal = "verify_request"
        if refusal:
            server.reactor.table.count_refused(refusal)
            server.shutdown_request(request)
        else:
            server._srv_line.enter(server._srv_enter(request, client_address), request, client_address)

    def _refusal(self, client_address: Any) -> str:
        """The name of the bound for which a request that has come is not taken; ``""`` if it is."""
        server = self._server
        if server.reactor.table.count_of(client_address) >= server.max_per_peer:
            return "max_per_peer"
        if server._srv_has_room() or (server.at_limit == "evict" and self._evict()):
            return ""
        return "max_requests"

    def _evict(self) -> bool:
        """End the row of the server that has been idle longest; whether there was one."""
        row = self._idlest_noted()
        if row is None:
            self._note_idlest()
            row = self._idlest_noted()
        if row is not None:
            row.evict(Cancelled("evicted: idle longest when another request came"))
        return row is not None

    def _idlest_noted(self) -> Request | None:
        table = self._server.reactor.table
        while self._idlest:
            progress, serial = self._idlest.pop()
            row = table.get(serial)
            if row is not None and row.progress == progress and not row.lingering:
                return row  # it has not moved since, and all others have moved later
        return None

    def _note_idlest(self) -> None:
        """Look at the whole table, which is long when it is full, and note enough for many arrivals."""
        server = self._server
        rows = [row for row in server.reactor.table if row.server is server and row.machine and not row.lingering]
        rows.sort(key=lambda row: row.progress)
        self._idlest = [(row.progress, row.serial) for row in reversed(rows[:_NOTED])]

    def run_short(self, error: OSError) -> None:
        """Nothing can be taken for now: look again when a request has given something back, or after a while."""
        server, reactor = self._server, self._server.reactor
        port = reactor.port(server)
        port.pause_until_room()
        reactor.call_later(_PAUSE, port.look_again)
        self.tell("takes no requests for now: %s", error)

    def cut(self, client_address: Any, size: int) -> None:
        """A packet of the peer is longer than the ``size`` bytes that the server takes, so it is not taken at all."""
        self._server.reactor.table.count_refused("truncated")
        self.tell("drops a packet of more than %d bytes (max_packet_size), of %s", size, client_address)

    def tell(self, text: str, *arguments: Any) -> None:
        """Log it, if that has not been done just now."""
        server = self._server
        now = server.reactor.clock.monotonic()
        if now - self._told.get(text, -NEVER) >= _SILENCE:
            self._told[text] = now
            told = f"%s at %s {text}"
            logging.getLogger(__package__).warning(told, type(server).__name__, server.server_address, *arguments)


class Line:
    """The requests of one server that are in the table and have not begun, in the order of their arrival.

    In select and plain mode each begins at once; in the others it waits while all children, or threads, are at others.
    """

    def __init__(self, server: BaseServer) -> None:
        self._server = server
        self._waiting: OrderedDict[int, tuple[Any, Any]] = OrderedDict()  # the request and its address, by the serial
        self._short = False  # whether the host could give no child, or thread, just now

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, row: Request, request: Any, client_address: Any, last: bool = True) -> None:
        """Have the request wait for its turn, after the others or before them."""
        row.driver = IN_LINE
        self._waiting[row.serial] = request, client_address
        self._waiting.move_to_end(row.serial, last)
        if not self._moves():
            row.weigh()  # the last thing: that may be too much, and the row is out of the line again

    def go_on(self) -> None:
        """Begin those whose turn it is, as many as are taken in one batch."""
        for _ in range(self._server._srv_budget):
            if not self._waiting or not self._moves():
                return
            _, (request, client_address) = self._waiting.popitem(last=False)
            self._server._srv_attempt(self._begin, request, client_address)
        if self._waiting:
            self._server.reactor.call_soon(self.go_on)

    def look_again(self) -> None:
        """Something has come free: `go_on`, even if the host was short."""
        self._short = False
        self.go_on()

    def dismiss(self, row: Request, cause: Cause) -> None:
        """End a request for which it is not its turn yet, and never will be."""
        request, _ = self._waiting.pop(row.serial)
        row.error = cause
        self._server.reactor.budget.let_go(row)
        try:
            self._server.shutdown_request(request)
        finally:
            self._server._srv_ended(request)

    def close(self) -> None:
        """The server closes: none of them will begin."""
        for request, _ in list(self._waiting.values()):
            self.dismiss(self._server._srv_rows[id(request)], Cancelled())

    def _begin(self, request: Any, client_address: Any) -> None:
        server = self._server
        row = server._srv_rows[id(request)]
        row.driver = CALLER
        server.reactor.budget.let_go(row)  # what it holds is not held in line any more
        try:
            server.process_request(request, client_address)
        except NoneLeft as error:
            self._short = True
            self.enter(row, request, client_address, last=False)
            server.reactor.call_later(_PAUSE, self.look_again)
            server._srv_admission.tell("can't begin requests for now: %s", error)

    def _moves(self) -> bool:
        return not self._short and self._server._srv_can_begin()
