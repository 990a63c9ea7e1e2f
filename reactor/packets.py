"""Datagrams: the row of one exchange with one peer, and the server that sorts packets by their peer.

One socket serves all peers: what comes is sorted by the peer's address (`UDPServer`), what goes
out goes through that socket. A packet that the kernel does not take now waits in its row, and
the socket's `Port` asks for writability on behalf of all its rows.
"""

from __future__ import annotations

import socket
from collections import deque

from handlers import DatagramHandler, DatagramMachine, Reset

from .server import BUDGET, BaseServer, TCPServer, is_kind
from .stream import AGAIN
from .table import CALLER, LOOP, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Reactor

_BACKLOG = 64  # packets that come while their time has not, kept for later
_AGAIN = 0.05  # seconds until one of them is tried again where there was no room
DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
"""Flag that makes one call non-blocking and leaves the socket as the handlers expect it."""


class PacketRow(Request):
    """The row of one exchange with one peer of a datagram socket."""

    __slots__ = ("first", "mail", "socket", "wake")
    machine: DatagramMachine

    def __init__(
        self, reactor: Reactor, server: Any, request: tuple[bytes, socket.socket], peer: Any,
        handler: DatagramHandler, driver: str,
    ) -> None:  # fmt: skip
        super().__init__(reactor, server, peer, DatagramMachine(handler, self), driver)
        self.first, self.socket = request
        self.mail = deque((self.first,))
        """Packets that have come and that the row's own loop has not yet collected."""
        self.wake: Callable[[], object] | None = None
        """Tells whoever drives the row that there is mail; ``None`` until somebody does."""

    def request(self) -> tuple[bytes, socket.socket]:
        return self.first, self.socket

    def released(self) -> None:
        super().released()
        port = self.reactor.ports.get(self.socket.fileno())
        if port is not None:
            port.forget(self)
        if self.driver == LOOP:
            self.server.exchange_over(self)

    def start(self) -> None:
        """Let the handler begin; the packet that opened the exchange is in the mail."""
        self.wake = self.touched
        self.machine.advance()

    def deliver(self, packet: bytes) -> None:
        """Another packet of this peer has come; where the row has fallen far behind, it is dropped."""
        if len(self.mail) < DatagramMachine.max_packets:
            self.mail.append(packet)
            if self.wake is not None:
                self.wake()

    def settle(self, now: float) -> None:
        machine = self.machine
        while self.mail and machine.wants_input:  # what it does not wait for stays here, and may begin the next request
            packet = self.mail.popleft()
            self.progress = now
            self.total_in += len(packet)
            machine.feed(packet)
        if machine.outbox:
            self._flush(now)
        if machine.blocked:
            machine.advance()
        if machine.fresh:
            self.took_turn(now)
        if machine.outbox:
            self.reactor.port(self.socket).send_later(self)
        elif machine.finished:
            self.reactor.end(self)

    def _flush(self, now: float) -> None:
        machine = self.machine
        if not self.peer:  # a Unix socket without a name: it can be heard, not answered
            self.drop(Reset(OSError("the peer has no address to answer to")))
        while machine.outbox:
            packet = machine.outbox[0]
            try:
                self.socket.sendto(packet, DONTWAIT, self.peer)
            except AGAIN:
                break
            except OSError as error:
                self.drop(Reset(error))
                return
            self.progress = now
            self.total_out += len(packet)
            machine.sent()
        self.check_output()


class UDPServer(TCPServer):
    """A server of datagram sockets, in the plain mode; see ``socketserver.UDPServer``.

    A request is ``(packet, socket)``. For a `DatagramHandler`, the packets of one peer go to one
    request for as long as it is open.
    """

    socket_type = socket.SOCK_DGRAM
    max_packet_size = 8192
    """Bytes of a packet that are taken; the kernel cuts off the rest."""

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True, *,
        reactor: Reactor | None = None,
    ) -> None:  # fmt: skip
        self._exchanges: dict[Any, PacketRow] = {}
        self._backlog: deque[tuple[Any, Any]] = deque()
        super().__init__(server_address, RequestHandlerClass, bind_and_activate, reactor=reactor)

    def server_activate(self) -> None:
        """Nothing to do: a datagram socket doesn't listen."""

    def get_request(self) -> tuple[Any, Any]:
        """Take a packet: ``((packet, socket), client_address)``."""
        if self._backlog:
            return self._backlog.popleft()
        packet, client_address = self.socket.recvfrom(self.max_packet_size, DONTWAIT)
        return (packet, self.socket), client_address

    def shutdown_request(self, request: Any) -> None:
        """Nothing to end: the socket is the server's."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Nothing to close: the socket is the server's."""

    def _listen(self, arrivals: Callable[[], None]) -> None:
        # Blocking handlers share this socket: it stays as they expect it, unless it has a timeout, for then
        # Python itself waits in spite of the flag.
        if DONTWAIT and self.socket.gettimeout() is None:
            BaseServer._listen(self, arrivals)
        else:
            super()._listen(arrivals)

    def _begin(self, request: Any, client_address: Any) -> None:
        row = self._exchanges.get(client_address) if client_address else None
        if row is None:
            super()._begin(request, client_address)
        else:
            row.deliver(request[0])

    def _row(self, request: Any, client_address: Any) -> Request:
        if not is_kind(self._handler, DatagramHandler):
            return super()._row(request, client_address)
        row = PacketRow(self.reactor, self, request, client_address, self._handler(), CALLER)
        if client_address:  # a nameless Unix peer can't be told from another
            self._exchanges[client_address] = row
        return row

    def _strike(self, row: Request) -> None:
        super()._strike(row)
        if isinstance(row, PacketRow) and self._reactor is not None:
            self._reactor.call_soon(self.exchange_over, row)

    def exchange_over(self, row: PacketRow) -> None:
        """The next packet of this peer begins a new request; so do those that came too late for this one."""
        if self._exchanges.get(row.peer) is row:
            del self._exchanges[row.peer]
        for packet in row.mail:
            self._keep_for_later((packet, self.socket), row.peer)
        row.mail.clear()

    def _keep_for_later(self, request: Any, client_address: Any) -> None:
        if len(self._backlog) < _BACKLOG:
            self._backlog.append((request, client_address))
            self.reactor.call_soon(self._backlogged)

    def _backlogged(self) -> None:
        if self._backlog and self.socket.fileno() >= 0:
            if self._has_room():
                self._handle_request_noblock()
            else:
                self.reactor.call_later(_AGAIN, self._backlogged)

    def _drive(self, inner: Reactor, row: Request) -> None:
        """While the caller is in one exchange, the packets of other peers are kept for later."""

        def sort(packet: bytes, peer: Any) -> None:
            if peer == row.peer and isinstance(row, PacketRow):
                row.deliver(packet)
            else:
                self._keep_for_later((packet, self.socket), peer)

        def arrivals() -> None:
            for _ in range(BUDGET):
                try:
                    packet, peer = self.socket.recvfrom(self.max_packet_size, DONTWAIT)
                except OSError:
                    return
                sort(packet, peer)

        backlog, self._backlog = self._backlog, deque()
        for request, peer in backlog:  # some may have been kept for just this exchange
            sort(request[0], peer)
        inner.port(self).listen(arrivals)
        try:
            super()._drive(inner, row)
        finally:
            inner.port(self).close()


if hasattr(socket, "AF_UNIX"):

    class UnixDatagramServer(UDPServer):
        """A server of Unix datagram sockets, in the plain mode."""

        address_family = socket.AF_UNIX
