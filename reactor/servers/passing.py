"""`Passing`: the short way of a datagram request, which passes without a row.

    recvfrom() -> the handler, in its first turn (`rows.brief.Brief`) -> sendto(), together with others -> counted

Taken for granted here: the loop drives the requests, all hooks are the package's own, no filters, no worker processes,
room in the table, and requests may begin now. `Passing.arrive` looks at that before each batch. A packet of an exchange
that is open, a handler that does not end in its first turn or raises, and an answer that the kernel does not take leave
this way at once: `Exchanges` has the general way.
"""

from __future__ import annotations

from collections import deque

from ..loop.kernel import AGAIN, DONTWAIT, SHORT
from ..rows.brief import Brief
from ..rows.stream import SMALL
from .in_hand import CURRENT
from .kinds import HOOKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..rows.packets import PacketRow
    from ..table.request import Passed
    from .exchanges import Exchanges
    from .service import Service

BATCH = 64
"""Packets that are taken before other rows have their turn."""

BUSY = 8
"""Wake-ups in a row, after one that found a single packet, that take one packet and do not look for a second: a look in
vain costs as much as a fifth of a request."""


class Passing:
    """Takes packets from the socket of one server, and passes the requests that end in their first turn."""

    def __init__(self, service: Service, exchanges: Exchanges) -> None:
        self._service = service
        self._exchanges = exchanges
        self._ended: deque[tuple[Brief, list[bytes]]] = deque()  # requests, with the packets that they send
        self._singles = BUSY  # wake-ups in a row since one that found a single packet

    def arrive(self) -> None:
        """Packets have come: take a batch, here or in the general way."""
        service = self._service
        rows = len(service.reactor.table)
        if rows < service.server.max_requests and self._is_open():
            service.take_attempts += 1
            try:
                self._take(rows)
            except AGAIN:
                return
            except OSError:
                pass  # the general way may meet it again, and knows what to do
            else:
                return  # the selector reports what is left
        self._exchanges.take_generally()

    def _is_open(self) -> bool:
        """Whether requests may begin now and end in the same turn. A program may change the answer at any time."""
        service, server, exchanges = self._service, self._service.server, self._exchanges
        return self._is_plain(server) and not (
            exchanges.ready or exchanges.tells_calls or service.reactor.threaded
            or CURRENT.get() is not None or server.socket.gettimeout()
        )  # fmt: skip

    def _is_plain(self, server: Any) -> bool:
        """Whether the server takes requests, without filters or hooks of its own. A handler may change that."""
        is_bare = not server.filters and vars(server).keys().isdisjoint(HOOKS)
        return is_bare and self._exchanges.takes_requests

    def _take(self, rows: int) -> None:
        """Take a batch of packets. ``rows``: how many the table has. Raises ``OSError``."""
        exchanges, server, table = self._exchanges, self._service.server, self._service.reactor.table
        sock, size, port, opened = server.socket, server.max_packet_size, exchanges.port, exchanges.opened
        self._singles += 1
        try:
            for number in range(BATCH if self._singles > BUSY else 1):
                if number and (rows >= server.max_requests or not self._is_plain(server)):
                    return
                try:
                    packet, peer = sock.recvfrom(size + 1, DONTWAIT)
                except OSError as error:
                    if number and isinstance(error, AGAIN):
                        self._singles = 0 if number == 1 else BUSY
                        return
                    exchanges.look_for_reports(error)
                    raise
                if len(packet) > size:
                    self._service.admission.cut(peer, size)
                    continue
                if port is not None and peer[1] == port and exchanges.is_own(peer):
                    continue
                if not peer or rows >= server.max_per_peer or (opened and exchanges.key(packet, sock, peer) in opened):
                    self._answer(sock)
                    exchanges.take_packet(packet, sock, peer)
                elif self._pass(packet, sock, peer):
                    continue
                self._service.queue.go_on()
                rows = len(table)
        finally:
            if self._ended:
                self._answer(sock)

    def _pass(self, packet: bytes, sock: Any, peer: Any) -> bool:
        """Run the first turn of a request. Returns whether it has ended; `_answer` sends what it has to send."""
        reactor, ended = self._service.reactor, self._ended
        try:
            handler = self._service.handler()
        except Exception as error:
            self._exchanges.take_packet(packet, sock, peer, error)
            return False
        brief = reactor.table.rowless = Brief(handler, packet, peer, self._exchanges)
        packets = brief.run()
        reactor.table.rowless = None
        if packets is None:
            self._answer(sock)
            self._go_on_with(brief.make_row(), brief)
            return False
        ended.append((brief, packets))
        is_alone = self._singles <= BUSY
        # A Unix socket keeps the order of all packets, also where it takes one and not the next.
        is_urgent = is_alone or brief.size > SMALL or self._exchanges.port is None
        if is_urgent or not reactor.may_wait(len(ended), reactor.time):
            self._answer(sock)
        return True

    def _answer(self, sock: Any) -> None:
        """Send what the requests that have ended have to send, and count them.

        Called before a row can send: the exchange of the row may be that of such a request.
        """
        table = self._service.reactor.table
        passed: list[Passed] = []
        while self._ended:
            brief, packets = self._ended.popleft()
            sent = 0
            try:
                for number, packet in enumerate(packets):  # noqa: B007 - where it has ended, if not at the end
                    sock.sendto(packet, DONTWAIT, brief.peer)
                    sent += len(packet)
            except OSError as error:  # a row sends the others, if the error is not about this packet
                brief.keep(packets[number:])
                row = brief.make_row()
                row.total_out += sent
                if not (isinstance(error, AGAIN) or error.errno in SHORT or self._exchanges.may_be_report()):
                    row.lost = error
                self._go_on_with(row, brief)
            else:
                kind = brief.handler.__class__
                brief.handler = brief.state = None  # they and the request refer to each other
                passed.append((table.next_serial(), brief.peer, kind, brief.principal, len(brief.packet), sent))
        if passed:
            table.count_passed(passed)

    def _go_on_with(self, row: PacketRow, brief: Brief) -> None:
        self._service.reactor.guard(row, row.go_on_from, brief)
