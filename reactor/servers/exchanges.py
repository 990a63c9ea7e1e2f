"""`Exchanges`: takes packets from a datagram socket and sorts them by exchange.

An exchange is all packets of one peer to one of the server's addresses that have the same `DatagramHandler.key`. The
exchange (`rows.packets.Exchange`) holds its packets, in order, until a request takes them, each once: the open request
while it waits for a packet, else the next request of the exchange. A blocking handler takes one packet, so for it each
packet is a request.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from functools import cached_property, partial

from ..handlers import Cause, DatagramHandler
from ..handlers.duplicates import NoDuplicates
from ..loop.kernel import AGAIN, DONTWAIT, at_once
from ..loop.log import ERROR, log
from ..rows.ancillary import (
    SPACE,
    WILDCARDS,
    CalledSocket,
    called,
    is_local,
    make_room_for_unread,
    reports,
    tell_calls,
    tell_errors,
)
from ..rows.packets import PENDING, Exchange, PacketRow
from ..rows.shared import shared
from ..table.request import ENDED, LOOP
from .hooks import reraise
from .kinds import class_of, has_default_hooks, is_kind, is_ours, takes_at_once
from .passing import BATCH, Passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..loop.timers import Timer
    from ..rows.brief import Brief
    from ..table.reactor import Reactor
    from ..table.request import Request
    from .service import Service

LOOK_AGAIN = 0.05
"""Seconds until the next request of an exchange is tried again after the table had no room for it."""


class Datagram(tuple):  # type: ignore[type-arg]
    """A request of a datagram server: ``(packet, socket)``. Two are equal only if they are the same object."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other if isinstance(other, Datagram) else tuple.__eq__(self, other)


def key_of(handler: Any, packet: bytes) -> Any:
    """The `DatagramHandler.key` of a packet. ``None`` if that raises, or is not hashable, which is logged."""
    kind = class_of(handler)
    try:
        key = kind.key(packet)
        hash(key)
    except Exception:
        log(ERROR, "%s.key() has raised; the packet has no key", kind.__name__, raised=True)
        return None
    return key


class Exchanges:
    """Takes packets, one at a time, with the server's ``get_request()``, and sorts them by exchange."""

    is_listener = False

    def __init__(self, service: Service) -> None:
        self._service = service
        self.opened: dict[Any, Exchange] = {}
        """The open exchanges by `key`."""
        self._of_peer: dict[Any, set[Exchange]] = {}  # the open ones by address, where a peer may have several
        self.ready: deque[Exchange] = deque()
        """Exchanges with packets and no request, in the order of arrival."""
        self.arrivals: Callable[[], object] | None = None
        """Takes arrivals in the general way. ``None`` while no requests are taken; packets of open exchanges may be."""
        self._equipped: socket.socket | None = None  # the socket whose options `equip` has set
        self._local: tuple[Any, ...] | None = None  # the address that it is bound to; None for a Unix socket
        self.port: int | None = None
        """The port of that address."""
        self.tells_calls = False
        """Whether the kernel tells the address that each packet was sent to."""
        self._tells_errors = False  # whether it tells ICMP errors
        self._turn: Timer | None = None  # the call of `_go_on` that is due in the next step
        self._retry: Timer | None = None  # or later
        self._in_vain = 0  # the number of the last attempt that found no packet

    @property
    def server(self) -> Any:
        return self._service.server

    @property
    def _sorts(self) -> bool:
        return is_kind(self._service.handler, DatagramHandler)

    def equip(self) -> None:
        """Set the socket options that have the kernel tell the address called, and ICMP errors."""
        server = self._service.server
        self._equipped = server.socket
        self._local = _bound_address(server.socket)
        self.port = None if self._local is None else self._local[1]
        make_room_for_unread(server.socket)
        self.tells_calls = is_ours(server.get_request) and tell_calls(server.socket)
        # Not for blocking handlers: the error of one peer's packet would be raised by sendto() to another.
        self._tells_errors = self._sorts and tell_errors(server.socket)

    # Listening

    def has_room(self) -> bool:
        # Past this, packets stay in the kernel's buffer, which drops those that it has no room for.
        return len(self._service.queue) < PENDING

    def listen(self, arrivals: Callable[[], object]) -> None:
        sock = self._service.server.socket
        if self._equipped is not sock:  # the user has bound it, and not server_bind()
            self.equip()
        source = self._service.open_source()
        takes_many = arrivals == self._service.arrivals.take and takes_at_once(self._service.server)
        source.listen(self._passing.arrive if takes_many and self._may_pass else arrivals, self.pause)
        self.arrivals = arrivals
        for timer in self._turn, self._retry:  # of the loop on which the server has served before
            if timer is not None:
                timer.cancel()
        self._turn = self._retry = None
        if self.ready:
            self._go_on_soon()

    def unlisten(self) -> None:
        self.arrivals = None
        if "_passing" in vars(self):
            self._passing.send(self._service.reactor.time)  # before the socket may be closed
        source = self._service.source
        if source is not None:
            source.close()

    def timeout(self) -> float | None:
        timeout: float | None = self._service.server.socket.gettimeout()
        return timeout

    def pause(self) -> None:
        self.arrivals = None
        source = self._service.source
        if source is None:
            return
        if self._sorts and not self._service.serving.leaves_arrivals:
            source.listen(self._sort_arrivals)
        else:
            source.pause()

    def wait_for_room(self) -> None:
        if self.opened:  # open exchanges wait for their packets
            self._sort_arrivals()
            return
        source = self._service.source
        if source is not None:
            source.pause_until_room()

    def alongside(self, inner: Reactor) -> None:
        shared(inner, self._service.server, self._service.server).listen(self._sort_arrivals)

    # Taking

    def take(self) -> None:
        if self.ready:
            self._begin(self.ready.popleft())
            return
        request, client_address = self._receive()
        if not self.is_own(client_address):
            self._take_one(Datagram(request) if type(request) is tuple else request, client_address)

    def take_packet(self, packet: bytes, sock: socket.socket, peer: Any, failed: Exception | None = None) -> None:
        """Sort a packet, and begin a request for it if its exchange has none.

        ``failed``: what the constructor of the handler has raised; the request ends for it.
        """
        self._take_one(Datagram((packet, sock)), peer, failed)

    def _take_one(self, request: Any, client_address: Any, failed: Exception | None = None) -> None:
        if not self._sorts:
            self._service.admit(request, client_address, lambda: self.make_row(request, client_address))
        else:
            exchange = self._sort(request, client_address)
            if exchange is not None:
                self._begin(exchange, request, failed)

    @cached_property
    def _passing(self) -> Passing:
        return Passing(self._service, self)

    @cached_property
    def _may_pass(self) -> bool:
        """Whether the loop drives the requests, and no hook of the user's is to be called for each."""
        service = self._service
        is_plain = has_default_hooks(service.server) and is_ours(service.server.connection_filters)
        return is_plain and type(self) is Exchanges and service.mode.loop_drives and self._sorts

    def enter(self, brief: Brief) -> PacketRow:
        """Put the row of a request that has begun without one into the table."""
        service, reactor = self._service, self._service.reactor
        request: Any = Datagram((brief.packet, service.server.socket))
        exchange = self._new(self.key(brief.packet, request[1], brief.peer), brief.peer)
        self._remember(exchange)
        row = exchange.row = PacketRow(reactor, service.server, request, brief.peer, brief.handler, service, exchange)
        if brief.principal is not None:
            row.principal = brief.principal
        row.has_first, row.wake, row.driven_by = True, row.touched, LOOP
        row.begin(reactor)
        reactor.table.add(row)
        reactor.settle_soon(row)
        return row

    def receive(self) -> tuple[Any, Any]:
        """``get_request()``: take a packet. Raises ``OSError`` if there is none, or it is too long."""
        server = self._service.server
        size: int = server.max_packet_size
        sock: Any = server.socket
        if self.tells_calls:
            packet, ancillary, _, client_address = at_once(sock, lambda: sock.recvmsg(size + 1, SPACE, DONTWAIT))
            answering = called(sock, ancillary, client_address)
        else:
            packet, client_address = at_once(sock, lambda: sock.recvfrom(size + 1, DONTWAIT))
            answering = sock
        if len(packet) > size:
            self._service.admission.cut(client_address, size)
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return Datagram((packet, answering)), client_address

    def _receive(self) -> tuple[Any, Any]:
        service = self._service
        try:
            request, client_address = service.server.get_request()
        except OSError as error:
            self.look_for_reports(error)
            raise
        return request, client_address

    def look_for_reports(self, error: OSError) -> None:
        """An attempt to take a packet has failed. After two in a row the socket is ready because it has an error."""
        attempts = self._service.take_attempts
        if not isinstance(error, AGAIN) or attempts == self._in_vain + 1:
            self._read_reports()
        self._in_vain = attempts

    def is_own(self, peer: Any) -> bool:
        """Whether ``peer`` is the address of this socket. Such a packet is counted, and the caller drops it.

        It is forged, or the server has sent it to itself; each answer would be the next request, for ever.
        """
        local = self._local
        if local is None or not isinstance(peer, tuple) or peer[1:2] != local[1:2]:
            return False
        if peer[0] != local[0] and not (local[0] in WILDCARDS and is_local(peer)):
            return False
        self._service.reactor.table.count_refused("own address")
        return True

    def _sort(self, request: Any, peer: Any) -> Exchange | None:
        """Put a packet into its exchange. Returns the exchange if a request is to begin for it now."""
        packet, sock = request
        key = self.key(packet, sock, peer)
        return self._put(request, peer, key, self._find(key))

    def _find(self, key: Any) -> Exchange | None:
        """The open exchange with this key."""
        exchange = self.opened.get(key)
        if exchange is not None and exchange.row is not None and exchange.row.stage is ENDED:
            self.over(exchange.row)  # first: what is dropped with its request came before the packet that is sorted
            exchange = self.opened.get(key)
        return exchange

    def _put(self, request: Any, peer: Any, key: Any, exchange: Exchange | None) -> Exchange | None:
        """`_sort`, where the exchange with the ``key`` has been found, or there is none."""
        packet, sock = request
        if exchange is None:
            exchange = self._new(key, peer)
            if peer:  # a nameless Unix peer can't be told from another
                self._remember(exchange)
        row = exchange.row
        if row is not None and row.is_repeated(packet) and is_kind(self._service.handler, NoDuplicates):
            self._service.reactor.table.count_refused("duplicate")
            return None
        is_free = not exchange.pending and (row is None or row.has_sent_all)
        if not exchange.put(packet, sock):
            self._service.reactor.table.count_refused("backlog")
        elif is_free:
            exchange.row = None
            return exchange
        elif row is not None:
            row.arrived()
        return None

    def _new(self, key: Any, peer: Any) -> Exchange:
        return Exchange(key, peer, self.may_be_report)

    def key(self, packet: bytes, sock: Any, peer: Any) -> Any:
        address = (peer, sock.local) if sock.__class__ is CalledSocket else peer
        return (address, key_of(self._service.handler, packet)) if self._has_keys else address

    @property
    def _has_keys(self) -> bool:
        return class_of(self._service.handler).key is not DatagramHandler.key

    def _remember(self, exchange: Exchange) -> None:
        self.opened[exchange.key] = exchange
        if self._has_keys:
            self._of_peer.setdefault(exchange.key[0], set()).add(exchange)

    def _forget(self, exchange: Exchange) -> None:
        if self.opened.get(exchange.key) is not exchange:
            return
        del self.opened[exchange.key]
        if self._has_keys:
            address = exchange.key[0]
            self._of_peer[address].discard(exchange)
            if not self._of_peer[address]:
                del self._of_peer[address]

    def _begin(self, exchange: Exchange, request: Any = None, failed: Exception | None = None) -> None:
        """Begin a request for the first packet of an exchange."""
        if request is None:
            request = Datagram(exchange.pending[0])
        make_row = partial(self._row, request, exchange) if failed is None else partial(reraise, failed)
        row = self._service.admit(request, exchange.peer, make_row)
        if row is None and exchange.row is None:  # refused
            exchange.take()
            self._close_or_wait(exchange)

    def make_row(self, request: Any, client_address: Any) -> Request:
        if not self._sorts:
            return self._service.blocking_row(request, client_address)
        exchange = self._new(None, client_address)
        exchange.put(*request)
        return self._row(request, exchange)

    def _row(self, request: Any, exchange: Exchange) -> PacketRow:
        service = self._service
        row = PacketRow(
            service.reactor, service.server, request, exchange.peer, self._handler(), service, exchange, service.filters
        )
        exchange.row = row
        return row

    def _handler(self) -> DatagramHandler:
        """The handler of the next request."""
        handler: DatagramHandler = self._service.handler()
        return handler

    def over(self, row: Request) -> None:
        if isinstance(row, PacketRow) and row.exchange.row is row:
            exchange = row.exchange
            exchange.row = None
            if not row.has_first:  # the request never began
                if isinstance(row.error, Cause):  # it was ended in the queue: for the budget, or cancelled
                    for _ in range(exchange.clear()):
                        self._service.reactor.table.count_refused("backlog")
                else:
                    exchange.take()
            self._close_or_wait(exchange)

    def _close_or_wait(self, exchange: Exchange) -> None:
        if exchange.pending:
            self._make_ready(exchange)
        else:
            self._forget(exchange)

    def _make_ready(self, exchange: Exchange) -> None:
        self.ready.append(exchange)
        self._go_on_soon()

    def _go_on_soon(self) -> None:
        """Have `_go_on` called in the next step, once, however many exchanges are ready: it takes a whole batch."""
        if self._turn is None and self.arrivals is not None:
            self._turn = self._service.reactor.call_soon(self._go_on)

    def _go_on(self) -> None:
        """Begin requests for exchanges whose packets came while no request could begin for them."""
        self._turn = None
        if not self.ready or self.arrivals is None:
            return
        if self._service.has_room():
            try:
                self.arrivals()
            finally:  # also if a hook has raised
                self._go_on_soon()  # there may be more
        elif self._retry is None:
            self._retry = self._service.reactor.call_later(LOOK_AGAIN, self._look_again)

    def _look_again(self) -> None:
        self._retry = None
        self._go_on_soon()

    def _sort_arrivals(self) -> None:
        """Sort packets while no request may begin: packets that would begin a request are held."""
        for number in range(BATCH):
            try:
                request, peer = self.receive()
            except OSError as error:  # noqa: PERF203
                again = isinstance(error, AGAIN)
                if not (again and number):
                    self._read_reports()
                if again:
                    return
            else:
                exchange = None if self.is_own(peer) else self._sort(request, peer)
                if exchange is not None:
                    self._keep(exchange)

    def _keep(self, exchange: Exchange) -> None:
        if len(self.ready) < PENDING:
            self._make_ready(exchange)
            return
        exchange.take()
        self._forget(exchange)
        self._service.reactor.table.count_refused("backlog")

    # ICMP errors

    def may_be_report(self) -> bool:
        """``sendmsg()`` has failed: whether the error may be an ICMP error about another packet.

        If so, the error queue of the socket is read soon.
        """
        if self._tells_errors:
            self._service.reactor.call_soon(self._read_reports)
        return self._tells_errors

    def _read_reports(self) -> None:
        if self._tells_errors:
            for error, sock, peer, quoted in reports(self._service.server.socket, BATCH):
                if error.errno == errno.EMSGSIZE:
                    continue  # the kernel has noted the smaller MTU, and fragments the next packet
                address = (peer, sock.local) if sock.__class__ is CalledSocket else peer
                for exchange in self._of(address):
                    if exchange.row is not None:
                        exchange.row.reported(error, quoted)

    def _of(self, address: Any) -> list[Exchange]:
        """The open exchanges of one peer."""
        if self._has_keys:
            return list(self._of_peer.get(address, ()))
        return [self.opened[address]] if address in self.opened else []


def _bound_address(sock: socket.socket) -> tuple[Any, ...] | None:
    """The address of an IP socket; ``None`` for a Unix socket, and on WASI before ``bind(2)``."""
    try:
        address = sock.getsockname()
    except OSError:  # WASI, before bind(2)
        return None
    return address if isinstance(address, tuple) else None
