"""`TCPServer`: the names and the contract of ``socketserver.TCPServer``."""

from __future__ import annotations

import socket
import sys

from ..handlers import DatagramHandler, Handler, StreamHandler
from ..loop.kernel import INET, accept, at_once, close
from ..rows.stream import tune
from ..rows.urgent import hears_urgent
from .base import BaseServer
from .kinds import class_of, is_kind, require_class

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..handlers.waits import MakeFilter
    from ..table.reactor import Reactor


QUEUE = 128
"""Length of the accept queue where the loop drives the connections: it accepts many of them at once."""

INHERITED = sys.platform != "linux"
"""Whether ``accept(2)`` may copy O_NONBLOCK from the listener, as on the BSDs."""


class TCPServer(BaseServer):
    """A server of stream sockets, in the plain mode; see ``socketserver.TCPServer``, whose contract this is."""

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM
    request_queue_size = 5
    """Length of the accept queue: connections that the kernel keeps until they are accepted (``listen(2)``).

    Where the loop drives the connections, it is `QUEUE` unless a derived class or the server says a length."""

    allow_reuse_address = False
    allow_reuse_port = False

    filters: Sequence[MakeFilter] = ()
    """Makes the filters of each connection (see `handlers.filter`); the first one is next to the socket.

    They stand in front of any handler, in every mode. A blocking handler gets a `Face` in place of the socket then."""

    keepalive = 60
    """Seconds without input after which the kernel sends keep-alive probes to a state machine's peer (``tcp(7)``)."""

    user_timeout = 120
    """Seconds for which data sent to that peer may stay unacknowledged (``TCP_USER_TIMEOUT``, RFC 5482)."""

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True, *,
        reactor: Reactor | None = None,
    ) -> None:  # fmt: skip
        _refuse_wrong_kind(self, RequestHandlerClass)
        super().__init__(server_address, RequestHandlerClass, reactor=reactor)
        network = socket if reactor is None else reactor.network
        self.socket: socket.socket = network.socket(self.address_family, self.socket_type)
        if self.address_family == INET[-1] and hasattr(socket, "IPV6_V6ONLY"):  # here, so that server_bind() can set it
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # [::] takes IPv4 clients too
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
                if reactor is not None:
                    self.start_serving()
            except BaseException:
                self.server_close()
                raise

    def server_bind(self) -> None:
        """Bind the socket. May be overridden."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.allow_reuse_port and hasattr(socket, "SO_REUSEPORT") and self.address_family in INET:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        set_options(self, self.socket)
        if is_listening(self.socket):
            return  # it is inherited, and its accept queue has the length that its maker has given
        said_by = next(kind for kind in type(self).__mro__ if "request_queue_size" in vars(kind))
        is_default = said_by is TCPServer and "request_queue_size" not in vars(self)
        self.socket.listen(QUEUE if is_default and self._srv.mode.loop_drives else self.request_queue_size)

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        if self._srv.is_copy:  # the open requests are the parent's
            self.server_close()
            return []
        self._srv.serving.begin_to_drain(seconds)
        return super().drain(seconds)

    def server_close(self) -> None:
        super().server_close()
        self._srv.serving.in_loop(self._srv.close_socket)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection: ``(socket, client_address)``."""
        sock = self.socket
        connection, client_address = at_once(sock, accept, sock) if sock.gettimeout() else accept(sock)
        if INHERITED or type(sock) is not socket.socket:
            inherits = sock.gettimeout() or not is_kind(self.RequestHandlerClass, Handler)
            if inherits and socket.getdefaulttimeout() is None:
                connection.setblocking(True)
        return connection, client_address

    def connection_filters(self) -> Sequence[MakeFilter]:
        """Makes the filters of the next connection: `filters`. A mix-in may put others in front of them."""
        return self.filters

    def shutdown_request(self, request: Any) -> None:
        """Shut down the connection for writing, and close it."""
        self._srv.direct.shut_down(self._srv.hand.find(request), request)
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close this process's end of the connection."""
        close(request)
        self._srv.closed(request)


def set_options(server: TCPServer, sock: socket.socket) -> None:
    """Set the options that the connections of the server have, on its listener, or on a connection."""
    handler = class_of(server._srv.handler)
    if is_kind(handler, Handler):  # a blocking handler sets its options itself
        tune(sock, server.keepalive, server.user_timeout)
    if is_kind(handler, StreamHandler):
        hears_urgent(handler, sock)


def is_listening(sock: Any) -> bool:
    """Whether it is a real socket that listens."""
    return isinstance(sock, socket.socket) and bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def _refuse_wrong_kind(server: TCPServer, handler: Any) -> None:
    """Raise `TypeError` for what is no handler class, or for a handler or a filter of other sockets: all would fail."""
    require_class(handler)
    packets = server.socket_type == socket.SOCK_DGRAM
    wrong, right = (StreamHandler, "DatagramHandler") if packets else (DatagramHandler, "StreamHandler")
    if is_kind(handler, wrong):
        raise TypeError(
            f"{class_of(handler).__name__} is a {wrong.__name__}, but {type(server).__name__} has "
            f"{'datagram' if packets else 'stream'} sockets: it serves a {right} or a blocking handler"
        )
    if server.connection_filters():
        _refuse_wrong_filter(server, handler, packets)


def _refuse_wrong_filter(server: TCPServer, handler: Any, packets: bool) -> None:
    from ..handlers.filter import Filter  # here, because most servers have no filters
    from ..handlers.packet_filter import PacketFilter

    wrong_filter, right_filter = (Filter, "PacketFilter") if packets else (PacketFilter, "Filter")
    for make in server.connection_filters():
        if is_kind(make, wrong_filter):
            raise TypeError(
                f"{class_of(make).__name__} is a filter of {'streams' if packets else 'packets'}, but "
                f"{type(server).__name__} has {'datagram' if packets else 'stream'} sockets: take a {right_filter}, or "
                f"a server of {'streams' if packets else 'datagrams'}"
            )
        if packets and not is_kind(handler, DatagramHandler):
            name = getattr(class_of(make), "__name__", make)
            raise TypeError(
                f"{type(server).__name__} has the filter {name}, which a blocking handler of datagrams goes round, "
                f"because it sends by the server's socket: serve a DatagramHandler, or take the filters away"
            )
