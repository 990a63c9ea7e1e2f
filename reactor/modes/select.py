"""Select mode: the loop drives every request. The servers of other sockets are in `select_udp` and `select_unix`."""

from __future__ import annotations

from ..handlers import DatagramHandler, StreamHandler
from ..servers.kinds import class_of, is_kind
from ..servers.mode import Mode, register_mode
from ..servers.tcp import QUEUE, TCPServer
from .mixin import ModeMixIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request

    _Base = TCPServer
else:
    _Base = ModeMixIn

BATCH = 64
"""Arrivals that one server takes before the other rows have their turn."""


class SelectMode(Mode):
    """The loop drives every request."""

    batch, in_turn = BATCH, False
    loop_drives = True
    work = ""

    def adapt(self, handler: Any) -> Any:
        if is_kind(handler, StreamHandler) or is_kind(handler, DatagramHandler):
            return handler
        work = getattr(class_of(handler), "work", None)
        if not isinstance(work, str):
            work = ""  # none is declared; a method of that name is none either
        elif work not in ("thread", "fork"):
            raise ValueError(f'{class_of(handler).__name__}.work is "thread" or "fork", or not declared, not {work!r}')
        return self.framed(handler, work)

    def process(self, row: Request, request: Any, client_address: Any) -> None:
        self.service.leave_to_loop(row)


class SelectMixIn(_Base):
    """The loop drives every request, in one thread and no child; a slow client delays no other.

    A blocking handler runs here only if its class declares ``request``, a wait or a framing; any other is refused with
    `TypeError` when the server is made. With ``work = "thread"`` or ``"fork"`` on the class, it answers a whole request
    in a thread or a child.
    """

    def process_request(self, request: Any, client_address: Any) -> None:
        """Leave the request to the loop."""
        self._srv.process(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run a blocking handler over a request that has come whole: it waits for nothing. May be overridden."""
        self.RequestHandlerClass(request, client_address, self)


register_mode(SelectMixIn, SelectMode)


class SelectTCPServer(SelectMixIn, TCPServer):
    """TCP, one loop for all connections."""

    request_queue_size = QUEUE
