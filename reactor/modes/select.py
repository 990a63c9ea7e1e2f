"""Select mode: the loop drives every request."""

from __future__ import annotations

import socket

from ..handlers import DatagramHandler, StreamHandler
from ..servers.kinds import is_kind
from ..servers.mode import Mode, register_mode
from ..servers.tcp import TCPServer
from ..servers.udp import UDPServer
from .mixin import ModeMixIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request

    _Base = TCPServer
else:
    _Base = ModeMixIn

QUEUE = 128
"""Length of the accept queue of a server whose loop accepts many connections at once."""

BATCH = 64
"""Arrivals that one server takes before the other rows have their turn."""


class SelectMode(Mode):
    """The loop drives every request."""

    batch = BATCH
    evicts = True
    is_loop = True

    def adapt(self, handler: Any) -> Any:
        if is_kind(handler, StreamHandler) or is_kind(handler, DatagramHandler):
            return handler
        from ..handlers.blocking.buffered import buffered  # here, because most servers don't need it

        server = self.service.server
        adapted: Any = buffered(handler, packets=server.socket_type == socket.SOCK_DGRAM)
        adapted.blocking = staticmethod(_finish_request)
        return adapted

    def process(self, row: Request, request: Any, client_address: Any) -> None:
        self.service.leave_to_loop(row)

    def is_through(self, newest: int) -> bool:
        # The connections that a request has opened are rows of the same server, so they count too.
        server = self.service.server
        return not any(row.server is server and row.serial > newest for row in self.service.reactor.table)


class SelectMixIn(_Base):
    """The loop drives every request, in one thread and no child; a slow client delays no other.

    A blocking handler runs here only if its class declares ``request = <wait>``; any other is
    refused with `TypeError` when the server is made.
    """

    def process_request(self, request: Any, client_address: Any) -> None:
        """Leave the request to the loop."""
        self._srv.process(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run a blocking handler over a request that has come whole: it waits for nothing. May be overridden."""
        self.RequestHandlerClass(request, client_address, self)


def _finish_request(request: Any, client_address: Any, server: TCPServer) -> None:
    """Make the blocking handler by `finish_request`, which may be overridden to give it more arguments."""
    server.finish_request(request, client_address)


register_mode(SelectMixIn, SelectMode)


class SelectTCPServer(SelectMixIn, TCPServer):
    """TCP, one loop for all connections."""

    request_queue_size = QUEUE


class SelectUDPServer(SelectMixIn, UDPServer):
    """UDP, one loop for all exchanges."""


if hasattr(socket, "AF_UNIX"):
    from ..servers.unix import UnixDatagramServer, UnixStreamServer

    class SelectUnixStreamServer(SelectMixIn, UnixStreamServer):
        """Unix stream sockets, one loop for all connections."""

        request_queue_size = QUEUE

    class SelectUnixDatagramServer(SelectMixIn, UnixDatagramServer):
        """Unix datagram sockets, one loop for all exchanges."""
