"""Datagrams: the row of one exchange with one peer, and the server that sorts packets by their peer.

One socket serves all peers: what comes is sorted by the peer's address (`UDPServer`), what goes
out goes through that socket. A packet that the kernel does not take now waits in its row, and
the socket's `Port` asks for writability on behalf of all its rows.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque

from handlers import DatagramHandler, DatagramMachine, Reset

from .ancillary import DONTWAIT, SPACE, CalledSocket, called, reports, tell_calls, tell_errors
from .request import CALLER, IN_LINE, LOOP, Request
from .server import BaseServer, is_kind, is_ours
from .sources import AGAIN, SHORT
from .stream import TCPServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Reactor
    from .timers import Timer

_BUDGET = 64  # packets taken before anything else has its turn
_BACKLOG = 256  # packets whose time has not come, in line or kept for later: about what a kernel's buffer takes
_AGAIN = 0.05  # seconds until one of them is tried again where there was no room
_RETRIES = 8  # times that a packet is sent again which may only have been told what became of others


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
        return super().held_in + sum(map(len, self.mail))

    def start(self) -> None:
        """Let the handler begin; the packet that opened the exchange is in the mail."""
        self.wake = self.touched
        self.machine.advance()

    def deliver(self, packet: bytes) -> None:
        """Another packet of this peer has come; where the row has fallen far behind, it is dropped, and counted."""
        if len(self.mail) >= DatagramMachine.max_packets:
            self.server.reactor.table.count_refused("backlog")
            return
        self.mail.append(packet)
        if self.wake is not None:
            self.wake()
        elif self.driver == IN_LINE and self in self.reactor.table:  # one that has begun weighs itself
            self.weigh()

    def lose(self, error: OSError) -> None:
        """The network reports that the peer can't be reached. May be called from another thread."""
        self.error = Reset(error)
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
        if isinstance(self.error, Reset):
            self.drop(self.error)
            return
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
        retries = _RETRIES
        while machine.outbox:
            packet = machine.outbox[0]
            try:
                self.socket.sendto(packet, DONTWAIT, self.peer)
            except AGAIN:
                break
            except OSError as error:
                if error.errno in SHORT:
                    self.reactor.port(self.socket).hold()
                    break
                if not retries or not self.server.hears_reports():
                    self.drop(Reset(error))
                    return
                retries -= 1
                continue
            self.progress = now
            self.total_out += len(packet)
            machine.sent()
        self.check_output()


class UDPServer(TCPServer):
    """A server of datagram sockets, in the plain mode; see ``socketserver.UDPServer``.

    A request is ``(packet, socket)``, the packet whole. For a `DatagramHandler`, the packets of one peer
    to one of the server's addresses go to one request for as long as it is open.

    A server that is bound to a wildcard answers from the address that was called; so does a blocking
    handler that sends by the socket of its request. Where the network reports that a peer can't be
    reached (ICMP), its request ends with `Reset`; blocking handlers don't hear of that.
    """

    socket_type = socket.SOCK_DGRAM
    max_packet_size = 65_536
    """Bytes that a packet may have (UDP allows 65,527). A longer one is dropped, counted as ``"truncated"`` in
    `RequestTable.refused`, and told of in the log, once a minute at most."""

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True, *,
        reactor: Reactor | None = None,
    ) -> None:  # fmt: skip
        self._srv_exchanges: dict[Any, PacketRow] = {}  # by _srv_exchange()
        self._srv_equipped: socket.socket | None = None  # that which has been asked to tell of
        self._srv_calls = False  # the addresses called,
        self._srv_reports = False  # and the peers that can't be reached
        self._srv_vain = 0  # which attempt to take a packet was the last in vain
        self._srv_backlog: deque[tuple[Any, Any]] = deque()
        self._srv_retry: Timer | None = None  # when that is looked at again
        self._srv_taking: Callable[[], None] | None = None  # what takes requests now, if anything does
        super().__init__(server_address, RequestHandlerClass, bind_and_activate, reactor=reactor)

    def server_bind(self) -> None:
        """Bind the socket. May be overridden."""
        self._srv_equip()  # first, because the kernel notes with each packet as it comes who was called
        super().server_bind()
        self._srv_equip()

    def _srv_equip(self) -> None:
        """Have the socket tell what is of use here, besides the data."""
        self._srv_equipped = self.socket
        self._srv_calls = is_ours(self.get_request) and tell_calls(self.socket)
        # Not for blocking handlers: their sendto() would fail for what became of others' packets.
        self._srv_reports = is_kind(self._srv_handler, DatagramHandler) and tell_errors(self.socket)

    def server_activate(self) -> None:
        """Nothing to do: a datagram socket doesn't listen."""

    def get_request(self) -> tuple[Any, Any]:
        """Take one: ``((packet, socket), client_address)``. Raises ``OSError`` if there is none, or it is too long."""
        size, sock = self.max_packet_size, self.socket
        if self._srv_calls:
            packet, ancillary, _, client_address = sock.recvmsg(size + 1, SPACE, DONTWAIT)
            sock = called(sock, ancillary)
        else:
            packet, client_address = sock.recvfrom(size + 1, DONTWAIT)
        if len(packet) > size:
            self._srv_admission.cut(client_address, size)
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return (packet, sock), client_address

    def shutdown_request(self, request: Any) -> None:
        """Nothing to end: the socket is the server's."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """The packet is done with; the socket is the server's."""
        self._srv_closed(request)

    def _srv_listen(self, arrivals: Callable[[], None]) -> None:
        self._srv_budget = type(self)._srv_budget if is_ours(self.get_request) else 1  # somebody's own may block
        if self._srv_equipped is not self.socket:  # one that somebody else has bound
            self._srv_equip()
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
        row = self._srv_exchanges.get(_exchange(request[1], client_address))
        if row is None:
            super()._srv_begin(request, client_address)
        else:
            row.deliver(request[0])

    def _srv_row(self, request: Any, client_address: Any) -> Request:
        if not is_kind(self._srv_handler, DatagramHandler):
            return super()._srv_row(request, client_address)
        row = PacketRow(self.reactor, self, request, client_address, self._srv_handler(), CALLER)
        if client_address:  # a nameless Unix peer can't be told from another
            self._srv_exchanges[_exchange(request[1], client_address)] = row
        return row

    def _srv_strike(self, row: Request) -> None:
        super()._srv_strike(row)
        if isinstance(row, PacketRow) and self._srv_reactor is not None:
            self._srv_reactor.call_soon(self.exchange_over, row)

    def exchange_over(self, row: PacketRow) -> None:
        """The next packet of this peer begins a new request; so do those that came too late for this one."""
        exchange = _exchange(row.socket, row.peer)
        if self._srv_exchanges.get(exchange) is row:
            del self._srv_exchanges[exchange]
        if row.driver != IN_LINE:  # in which it would only come back, whose packets were too many
            for packet in row.leftover():
                self._srv_keep_for_later((packet, row.socket), row.peer)
        row.mail.clear()
        self._srv_backlogged()  # there is room

    def _srv_keep_for_later(self, request: Any, client_address: Any) -> None:
        if len(self._srv_backlog) == _BACKLOG:
            self.reactor.table.count_refused("backlog")
            return
        self._srv_backlog.append((request, client_address))
        self._srv_look(0)

    def _srv_look(self, seconds: float) -> None:
        """Look at what was kept for later, in so many seconds."""
        if self._srv_retry is not None:
            self._srv_retry.cancel()
        self._srv_retry = self.reactor.call_later(seconds, self._srv_backlogged)

    def _srv_next(self) -> tuple[Any, Any]:
        if self._srv_backlog:
            return self._srv_backlog.popleft()
        try:
            return super()._srv_next()
        except OSError as error:
            # After an attempt in vain, one more means that it was something else that woke the loop.
            if not isinstance(error, AGAIN) or self._srv_taken == self._srv_vain + 1:
                self._srv_read_reports()
            self._srv_vain = self._srv_taken
            raise

    def hears_reports(self) -> bool:
        """A packet could not be sent; whether that may be a report on another one. If so, it is read soon."""
        if self._srv_reports:
            self.reactor.call_soon(self._srv_read_reports)
        return self._srv_reports

    def _srv_read_reports(self) -> None:
        if self._srv_reports:
            for error, sock, peer in reports(self.socket, _BUDGET):
                row = self._srv_exchanges.get(_exchange(sock, peer))
                if row is not None and error.errno != errno.EMSGSIZE:  # that one goes in pieces the next time
                    row.lose(error)

    def _srv_backlogged(self) -> None:
        if self._srv_backlog and self._srv_taking is not None:
            if self._srv_has_room():
                self._srv_taking()
                self._srv_look(0)  # there may be more
            else:
                self._srv_look(_AGAIN)

    def _srv_has_room(self) -> bool:
        # In line, packets would be held that the kernel would have dropped.
        return len(self._srv_line) < _BACKLOG and super()._srv_has_room()

    def _srv_full(self) -> None:
        if self._srv_exchanges:  # which wait for packets of theirs
            self._srv_sort_backlog()
            self._srv_sort_arrivals()
        else:
            super()._srv_full()

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
            self._srv_sort(request, peer)

    def _srv_sort_arrivals(self) -> None:
        """Take packets while no further request may begin: those that begin one are kept for later."""
        for number in range(_BUDGET):
            try:
                request, peer = UDPServer.get_request(self)
            except OSError as error:  # noqa: PERF203
                again = isinstance(error, AGAIN)
                if not (again and number):
                    self._srv_read_reports()
                if again:
                    return
            else:
                self._srv_sort(request, peer)

    def _srv_sort(self, request: Any, peer: Any) -> None:
        row = self._srv_exchanges.get(_exchange(request[1], peer))
        if row is None:
            self._srv_keep_for_later(request, peer)
        else:
            row.deliver(request[0])


def _exchange(sock: Any, peer: Any) -> Any:
    """What tells one exchange from another: the peer, and the address that it called where there are several.

    For peers without a name it is the same, and none of them is ever looked up by it.
    """
    return (peer, sock.local) if sock.__class__ is CalledSocket else peer
