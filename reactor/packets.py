"""Datagrams: the row of one exchange with one peer, and the server that sorts packets by their peer.

One socket serves all peers: what comes is sorted by the peer's address (`UDPServer`), what goes
out goes through that socket. A packet that the kernel does not take now waits in its row, and
the socket's `Port` asks for writability on behalf of all its rows.
"""

from __future__ import annotations

import socket
from collections import deque

from handlers import DatagramHandler, DatagramMachine, Reset

from .server import BaseServer, is_kind, is_ours
from .sources import AGAIN
from .stream import TCPServer
from .table import CALLER, LOOP, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Reactor

_BUDGET = 64  # packets taken before anything else has its turn
_BACKLOG = 64  # packets that come while their time has not, kept for later
_AGAIN = 0.05  # seconds until one of them is tried again where there was no room
DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
"""Flag that makes one call non-blocking and leaves the socket as the handlers expect it."""


class PacketRow(Request):
    """The row of one exchange with one peer of a datagram socket."""

    __slots__ = ("first", "mail", "opened", "socket", "wake")
    machine: DatagramMachine

    def __init__(
        self, reactor: Reactor, server: Any, request: tuple[bytes, socket.socket], peer: Any,
        handler: DatagramHandler, driver: str,
    ) -> None:  # fmt: skip
        super().__init__(reactor, server, peer, DatagramMachine(handler, self), driver)
        self.first, self.socket = request
        self.mail = deque((self.first,))
        """Packets that have come and that the row's own loop has not yet collected."""
        self.opened = False
        """Whether the handler has taken the packet that opened the exchange."""
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

    @property
    def held_in(self) -> int:
        """Bytes of input held, those of the mail included."""
        return self.machine.held_in + sum(map(len, self.mail))

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

    def leftover(self) -> deque[bytes]:
        """The packets that came too late for this exchange. The one that opened it did not, taken or not."""
        if self.mail and not self.opened:
            self.opened = True
            self.mail.popleft()
        return self.mail

    def settle(self, now: float) -> None:
        machine = self.machine
        while self.mail and machine.wants_input:  # what it does not wait for stays here, and may begin the next request
            packet = self.mail.popleft()
            self.opened = True
            self.progress = now
            self.total_in += len(packet)
            machine.feed(packet)
        self.go_on(now)
        if self.mail:
            self.weigh()
            if machine.wants_input:  # it waited for something else when the mail was looked at
                self.touched()
        if machine.outbox:
            self.reactor.port(self.socket).send_later(self)
        elif machine.finished:
            self.reactor.end(self)

    def flush(self, now: float) -> None:
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
        self._srv_exchanges: dict[Any, PacketRow] = {}
        self._srv_backlog: deque[tuple[Any, Any]] = deque()
        self._srv_taking: Callable[[], None] | None = None  # what takes requests now, if anything does
        super().__init__(server_address, RequestHandlerClass, bind_and_activate, reactor=reactor)

    def server_activate(self) -> None:
        """Nothing to do: a datagram socket doesn't listen."""

    def get_request(self) -> tuple[Any, Any]:
        """Take a packet: ``((packet, socket), client_address)``."""
        packet, client_address = self.socket.recvfrom(self.max_packet_size, DONTWAIT)
        return (packet, self.socket), client_address

    def shutdown_request(self, request: Any) -> None:
        """Nothing to end: the socket is the server's."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """The packet is done with; the socket is the server's."""
        self._srv_closed(request)

    def _srv_listen(self, arrivals: Callable[[], None]) -> None:
        self._srv_budget = type(self)._srv_budget if is_ours(self.get_request) else 1  # somebody's own may block
        # Blocking handlers share this socket: it stays as they expect it, unless it has a timeout, for then
        # Python itself waits in spite of the flag.
        if DONTWAIT and self.socket.gettimeout() is None:
            BaseServer._srv_listen(self, arrivals)
        else:
            super()._srv_listen(arrivals)
        self._srv_taking = arrivals
        self.reactor.call_soon(self._srv_backlogged)

    def _srv_unlisten(self) -> None:
        super()._srv_unlisten()
        self._srv_taking = None

    def _srv_begin(self, request: Any, client_address: Any) -> None:
        row = self._srv_exchanges.get(client_address) if client_address else None
        if row is None:
            super()._srv_begin(request, client_address)
        else:
            row.deliver(request[0])

    def _srv_row(self, request: Any, client_address: Any) -> Request:
        if not is_kind(self._srv_handler, DatagramHandler):
            return super()._srv_row(request, client_address)
        row = PacketRow(self.reactor, self, request, client_address, self._srv_handler(), CALLER)
        if client_address:  # a nameless Unix peer can't be told from another
            self._srv_exchanges[client_address] = row
        return row

    def _srv_strike(self, row: Request) -> None:
        super()._srv_strike(row)
        if isinstance(row, PacketRow) and self._srv_reactor is not None:
            self._srv_reactor.call_soon(self.exchange_over, row)

    def exchange_over(self, row: PacketRow) -> None:
        """The next packet of this peer begins a new request; so do those that came too late for this one."""
        if self._srv_exchanges.get(row.peer) is row:
            del self._srv_exchanges[row.peer]
        for packet in row.leftover():
            self._srv_keep_for_later((packet, self.socket), row.peer)
        row.mail.clear()

    def _srv_keep_for_later(self, request: Any, client_address: Any) -> None:
        if len(self._srv_backlog) < _BACKLOG:
            self._srv_backlog.append((request, client_address))
            self.reactor.call_soon(self._srv_backlogged)

    def _srv_next(self) -> tuple[Any, Any]:
        return self._srv_backlog.popleft() if self._srv_backlog else super()._srv_next()

    def _srv_backlogged(self) -> None:
        if self._srv_backlog and self._srv_taking is not None:
            if self._srv_has_room():
                self._srv_taking()
                self.reactor.call_soon(self._srv_backlogged)  # there may be more
            else:
                self.reactor.call_later(_AGAIN, self._srv_backlogged)

    def _srv_enough(self) -> None:
        self._srv_taking = None
        self.reactor.port(self).listen(self._srv_sort_arrivals)
        self.reactor.call_soon(self._srv_sort_backlog)

    def _srv_drive(self, inner: Reactor, row: Request) -> None:
        if self.reactor.is_copy or not self.reactor.working_here:  # a child, a thread: the loop itself goes on to sort
            super()._srv_drive(inner, row)
            return
        self._srv_sort_backlog()
        inner.port(self).listen(self._srv_sort_arrivals)
        try:
            super()._srv_drive(inner, row)
        finally:
            inner.port(self).close()

    def _srv_sort_backlog(self) -> None:
        """What was kept for later may have been kept for an exchange that is open now."""
        backlog, self._srv_backlog = self._srv_backlog, deque()
        for request, peer in backlog:
            self._srv_sort(request[0], peer)

    def _srv_sort_arrivals(self) -> None:
        """Take packets while no further request may begin: those that begin one are kept for later."""
        for _ in range(_BUDGET):
            try:
                packet, peer = self.socket.recvfrom(self.max_packet_size, DONTWAIT)
            except OSError:
                return
            self._srv_sort(packet, peer)

    def _srv_sort(self, packet: bytes, peer: Any) -> None:
        row = self._srv_exchanges.get(peer) if peer else None
        if row is None:
            self._srv_keep_for_later((packet, self.socket), peer)
        else:
            row.deliver(packet)


if hasattr(socket, "AF_UNIX"):

    class UnixDatagramServer(UDPServer):
        """A server of Unix datagram sockets, in the plain mode."""

        address_family = socket.AF_UNIX
