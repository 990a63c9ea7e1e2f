"""`Associations`: takes DTLS packets from a datagram socket, and lets in only peers that have proved their address.

    a ClientHello    -> `Door`: its cookie is valid -> a new row for the association: the filter DTLS, `Association`
                     -> `Door`: no valid cookie     -> answered with a cookie; nothing is stored
    any other packet -> of an open association      -> its row -> plain packet -> the row of a request (`InnerRow`)
                     -> of an unknown peer          -> dropped and counted

An association outlives its requests. Its row has the keys, and is what the loop, a thread or a child drives. Each
exchange of plain packets in it is a request with a row of its own, as each exchange of plain UDP is in `exchanges`.
"""

from __future__ import annotations

from ..handlers import Cancelled, Cause, DatagramHandler, EndOfStream, Packet, TimedOut
from ..handlers.datagrams import Packets
from ..loop.kernel import DONTWAIT, at_once
from ..rows.driven import CallRow
from ..rows.filters.dtls import Door, is_hello
from ..rows.packets import PENDING, Exchange, PacketRow
from .exchanges import Exchanges, key_of
from .hooks import call_hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any

    from ..rows.driven import ChannelRow
    from ..table.request import Request
    from .service import Service

OPEN = 64
"""Requests that one association may have open; a packet that would begin one more is dropped."""


class Peer(Exchange):
    """The packets of one peer."""

    __slots__ = ("issued",)
    issued: int
    """The time, in microseconds, at which the cookie was made with which the association has begun."""


class Associations(Exchanges):
    """Takes packets from the socket and sorts them by peer; each peer has one association at a time."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._door: Door | None = None

    @property
    def _has_keys(self) -> bool:
        return False  # `DatagramHandler.key` is for plain packets: `Association` calls it

    def _sort(self, request: Any, peer: Any) -> Exchange | None:
        packet, sock = request
        key = self.key(packet, sock, peer)
        known: Any = self._find(key)
        if not is_hello(packet):
            if known is None or known.row is None or known.row.has_sent_all:
                self._service.reactor.table.count_refused("no association")
                return None
            return self._put(request, peer, key, known)
        issued = self._look(packet, sock, peer)
        # A hello with the cookie that has begun the association, or an older one, is a duplicate or a replay. One with
        # a newer cookie comes from a peer that has lost the association (RFC 6347, section 4.2.8).
        if not issued or (known is not None and (issued <= known.issued or len(known.pending) >= PENDING)):
            return None
        new = self._put(request, peer, key, known)
        self.opened[key].issued = issued  # type: ignore[attr-defined]
        return new

    def _look(self, packet: bytes, sock: Any, peer: Any) -> int:
        """The time at which the cookie in a ClientHello was made; 0 if none is valid, and the peer is sent one."""
        service = self._service
        if not peer:
            return 0  # an unnamed Unix socket, to which nothing can be sent
        if self._door is None:
            self._door = Door(service.reactor.clock.monotonic)
        try:
            issued, answer = self._door.look(service.server.context, packet, peer)
        except ValueError:  # a context that was assigned later can't serve DTLS
            call_hook(service.server, "handle_error", (packet, sock), peer)
            return 0
        if answer:
            try:
                at_once(sock, lambda: sock.sendto(answer, DONTWAIT, peer))
            except OSError:
                pass  # lost, as any packet may be: the peer sends its ClientHello again
        return issued

    def _new(self, key: Any, peer: Any) -> Exchange:
        return Peer(key, peer, self.may_be_report, is_hello)

    def _handler(self) -> DatagramHandler:
        service = self._service
        return Association(service.handler, service.server.association_timeout)

    def _row(self, request: Any, exchange: Exchange) -> PacketRow:
        row = super()._row(request, exchange)
        row.channel.handler.row = row  # type: ignore[attr-defined]
        return row

    def _close_or_wait(self, exchange: Exchange) -> None:
        while exchange.pending and not exchange.is_at_next():
            exchange.take()  # a record of the association that has ended: no other association can decrypt it
        super()._close_or_wait(exchange)


class Association(DatagramHandler):
    """The handler of an association: begins a request for each exchange of plain packets, and owns their rows."""

    timeout = None
    row: ChannelRow
    """The row of the association."""

    def __init__(self, make: Callable[[], DatagramHandler], silence: float) -> None:
        self._make = make
        self._silence = silence  # seconds
        self._open: dict[Hashable, InnerRow] = {}  # the requests by `DatagramHandler.key`

    async def handle(self) -> None:
        """Take packets until the peer ends the association, or sends nothing for too long and no request is open."""
        while True:
            try:
                packet = await Packet(timeout=self._silence)
            except TimedOut:  # noqa: PERF203
                if not self._open:
                    raise
            except EndOfStream as end:
                self._cancel(end)
                return
            else:
                self._sort(packet)

    def finish(self) -> None:
        """End the requests. Their last output is sent before close_notify, because the filter sends that later."""
        reason = self.reason
        self._cancel(reason if isinstance(reason, Cause) else Cancelled("the association has ended"))

    def _sort(self, packet: bytes) -> None:
        key = key_of(self._make, packet)
        row = self._open.get(key)
        if row is None and len(self._open) < OPEN:
            pending = Packets()
            pending.put(packet)
            self._begin(key, pending)
        elif row is None or len(row.pending) >= PENDING:
            self.row.reactor.table.count_refused("backlog")
        else:
            row.pending.put(packet)
            if row.has_sent_all:
                self._begin(key, row.pending)
            else:
                row.touched()

    def _begin(self, key: Hashable, pending: Packets) -> None:
        """Begin a request with the first packet for which the constructor of the handler does not raise."""
        while pending:
            try:
                handler = self._make()
            except Exception:  # noqa: PERF203
                pending.take()
                call_hook(self.row.server, "handle_error", self.row.request, self.row.peer)
            else:
                row = self._open[key] = InnerRow(self.row, self, handler, key, pending)
                self.row.reactor.adopt(row)
                return
        self._open.pop(key, None)

    def _cancel(self, cause: Cause) -> None:
        rows, self._open = self._open, {}
        for row in rows.values():
            row.cancel(cause)

    # The owner of the rows of the requests: see `table.request.Owner`

    def failed(self, row: Request) -> None:
        """The handler of a request has raised an exception."""
        self.row.owner.failed(row)

    def released(self, row: Any) -> None:
        """A request has ended: the packets that it has not taken begin the next request."""
        if row.key in self._open and self._open[row.key] is row:
            self._begin(row.key, row.pending)

    def dismiss(self, row: Request, cause: Cause) -> None:
        """A request in an association is never queued."""

    def opened(self, row: Request) -> None:
        """A request in an association has no filters; the association has them."""

    def moved(self, row: Request) -> None:
        """A request in an association has the peer of the association."""


class InnerRow(CallRow):
    """The row of a request in an association. It takes a packet only when its handler waits for one."""

    __slots__ = ("key", "pending")

    def __init__(
        self, parent: ChannelRow, association: Association, handler: DatagramHandler, key: Hashable, pending: Packets
    ) -> None:
        super().__init__(parent, association, handler, pending.take(), association.send)
        self.key = key
        self.pending = pending
        """Packets that have come and that the handler has not taken, in order."""

    @property
    def has_sent_all(self) -> bool:
        """Whether the request has ended and has sent all its packets, so that the next request may begin."""
        return self.channel.finished and not self.channel.outbox

    @property
    def held_in(self) -> int:
        return super().held_in + self.pending.weight

    def start(self) -> None:
        super().start()
        if self.channel.outbox:  # at once: the next request may begin in this batch
            self.flush(self.reactor.time)

    def settle(self, now: float) -> None:
        channel, pending = self.channel, self.pending
        while pending and channel.wants_input:
            packet = pending.take()
            self.progress = now
            self.total_in += len(packet)
            channel.feed(packet)
        super().settle(now)
        if pending:
            self.weigh()
            if channel.wants_input:
                self.touched()
