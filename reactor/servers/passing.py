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
    from ..table.table import RequestTable
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
        self._unsent: deque[tuple[Brief, list[bytes]]] = deque()  # requests that have ended, with their answers
        self._singles = BUSY  # wake-ups in a row since one that found a single packet

    def arrive(self) -> None:
        """Packets have come: take a batch, here or in the general way."""
        service, exchanges = self._service, self._exchanges
        server, reactor = service.server, service.reactor
        rows = len(reactor.table)
        if rows < server.max_requests and self._may_begin(server) and not (
            exchanges.ready or exchanges.tells_calls or reactor.threaded or server.socket.gettimeout()
            or CURRENT.get() is not None
        ):  # fmt: skip
            service.take_attempts += 1
            try:
                self._take(rows)
            except AGAIN:
                return
            except OSError:
                pass  # the general way may meet it again, and knows what to do
            else:
                return  # the selector reports what is left
        if exchanges.arrivals is not None:
            exchanges.arrivals()

    def _may_begin(self, server: Any) -> bool:
        """Whether the server takes requests, without filters or hooks of its own. A handler may change that."""
        return not server.filters and self._exchanges.arrivals is not None and HOOKS.isdisjoint(server.__dict__)

    def _take(self, rows: int) -> None:
        """Take a batch of packets. ``rows``: how many the table has. Raises ``OSError``."""
        exchanges, server, table = self._exchanges, self._service.server, self._service.reactor.table
        sock, size, port, opened = server.socket, server.max_packet_size, exchanges.port, exchanges.opened
        room = min(server.max_requests, server.max_per_peer) - rows
        self._singles += 1
        for number in range(BATCH if self._singles > BUSY else 1):
            if number and (rows >= server.max_requests or not self._may_begin(server)):
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
                self.send(self._service.reactor.time)
                exchanges.take_packet(packet, sock, peer)
            elif self._pass(packet, sock, peer, room):
                continue
            self._service.queue.go_on()
            rows = len(table)
            room = min(server.max_requests, server.max_per_peer) - rows

    def _pass(self, packet: bytes, sock: Any, peer: Any, room: int) -> bool:
        """Run the first turn of a request; if that has ended it, its answer is sent, now or by `send`.

        ``room``: how many rows the table may have more. Returns whether it has none more now.
        """
        reactor, unsent = self._service.reactor, self._unsent
        try:
            handler = self._service.handler()
        except Exception as error:
            self._exchanges.take_packet(packet, sock, peer, error)
            return False
        brief = reactor.table.rowless = Brief(handler, packet, peer, self._exchanges)
        packets = brief.run()
        reactor.table.rowless = None
        if packets is None:
            self.send(reactor.time)  # what waits may be of the same exchange
            self._go_on_with(brief.make_row(), brief)
            return False
        if self._singles <= BUSY and not unsent and not reactor.is_copy:  # it is alone; `send` drops what a copy has
            return self._send(brief, packets, sock, reactor.table)
        unsent.append((brief, packets))
        # Answers through a Unix socket leave one by one: if one is not taken, none passes it.
        if brief.size > SMALL or self._exchanges.port is None:
            return self.send(reactor.time)
        count, now = len(unsent), reactor.time
        if count >= room or not reactor.may_wait(count, now):  # each of them may need a row
            return self.send(now)
        if count == 1:
            reactor.unsent.append(self)
        return True

    def send(self, now: float) -> bool:
        """Send what the requests that have ended have to send. Returns whether none needed a row."""
        reactor, unsent, sock = self._service.reactor, self._unsent, self._service.server.socket
        if reactor.is_copy:  # a handler has forked this child: they are the parent's
            unsent.clear()
        table, needs_none = reactor.table, True
        while unsent:
            brief, packets = unsent.popleft()
            if not self._send(brief, packets, sock, table):
                needs_none = False
        return needs_none

    def _send(self, brief: Brief, packets: list[bytes], sock: Any, table: RequestTable) -> bool:
        """Send the answer of a request that has ended, and count it. Returns whether it needed no row."""
        sent = 0
        try:
            for number, packet in enumerate(packets):  # noqa: B007 - where it has ended, if not at the end
                sock.sendto(packet, DONTWAIT, brief.peer)
                sent += len(packet)
        except OSError as error:
            self._keep(brief, packets[number:], error).total_out += sent
            return False
        table.count_passed(_passed(brief, sent, table))
        return True

    def _keep(self, brief: Brief, packets: list[bytes], error: OSError) -> PacketRow:
        """The row that sends ``packets``, which the kernel has not taken, unless ``error`` is about the first of them.

        It also sends the answers of the same exchange that wait: they must come behind these.
        """
        exchanges, sock, table = self._exchanges, self._service.server.socket, self._service.reactor.table
        key = exchanges.key(brief.packet, sock, brief.peer)
        for later in [later for later in self._unsent if exchanges.key(later[0].packet, sock, later[0].peer) == key]:
            self._unsent.remove(later)
            packets = packets + later[1]
            table.count_passed(_passed(later[0], 0, table))
        brief.keep(packets)
        row = brief.make_row()
        if not (isinstance(error, AGAIN) or error.errno in SHORT or exchanges.may_be_report()):
            row.lost = error
        self._go_on_with(row, brief)
        return row

    def _go_on_with(self, row: PacketRow, brief: Brief) -> None:
        self._service.reactor.guard(row, row.go_on_from, brief)

    def failed(self, error: BaseException) -> None:
        """Raise ``error``, which `send` has raised: it leaves the loop."""
        raise error


def _passed(brief: Brief, sent: int, table: RequestTable) -> Passed:
    """What is counted of a request that needs no row. Breaks the cycle of its handler and ``brief``."""
    kind = brief.handler.__class__
    brief.handler = brief.state = None
    return table.next_serial(), brief.peer, kind, len(brief.packet), sent, brief.principal
