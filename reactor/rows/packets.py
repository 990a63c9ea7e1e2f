"""`Exchange`, the packets of one peer of a datagram socket, and `PacketRow`, the row of one request of an exchange.

One socket serves all peers. Input: `servers.exchanges.Exchanges` reads the socket and puts each packet into its
`Exchange`, from which the row takes it. Output: the row sends by the shared socket. A packet that the kernel does not
take now waits in the row.
"""

from __future__ import annotations

from collections import deque

from ..handlers import Cancelled, DatagramMachine, Reset
from ..handlers.filter import chain
from ..loop.kernel import AGAIN, DONTWAIT, SHORT, at_once
from ..table.request import CALLER, LOOP, Stage
from .brief import FINISH, Brief
from .driven import ChannelRow
from .shared import shared

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers import DatagramHandler
    from ..handlers.channel import PacketChannel
    from ..table.reactor import Reactor
    from ..table.request import Owner

RETRIES = 8
"""Times that a packet is sent again after an error that may be a report on another packet."""

PENDING = 256
"""Packets of one exchange that may wait until a request takes them: about as many as a socket's buffer holds."""


class Exchange:
    """The packets of one exchange that no request has taken yet, in order, and the row of its open request.

    One thread puts packets; the same thread or another takes them.
    """

    __slots__ = ("_came", "_taken", "begins", "key", "may_be_report", "peer", "pending", "row")

    def __init__(
        self, key: Any, peer: Any, may_be_report: Callable[[], bool], begins: Callable[[bytes], bool] | None = None
    ) -> None:
        self.key = key
        self.peer = peer
        self.may_be_report = may_be_report
        """Called after an error of ``sendto()``: whether it may be a report on another packet. Reads that report."""
        self.begins = begins
        """Whether a packet begins the next request and ends the open one; ``None`` if no packet does."""
        self.pending: deque[tuple[bytes, Any]] = deque()
        """Each packet, with the socket for the answers."""
        self.row: PacketRow | None = None
        self._came = self._taken = 0  # bytes; only one thread writes each of the two

    @property
    def held(self) -> int:
        """Bytes of the packets that are pending."""
        return self._came - self._taken

    def is_at_next(self) -> bool:
        """Whether there is a pending packet and the first one begins the next request of the exchange."""
        return self.begins is not None and bool(self.pending) and self.begins(self.pending[0][0])

    def put(self, packet: bytes, sock: Any) -> bool:
        """Add a packet at the end; ``False`` if there are too many."""
        if len(self.pending) >= PENDING:
            return False
        self._came += len(packet)
        self.pending.append((packet, sock))
        return True

    def put_back(self, packet: bytes, sock: Any) -> None:
        """Put a packet that was taken and not used back in front of the others."""
        self._came += len(packet)
        self.pending.appendleft((packet, sock))

    def take(self) -> bytes:
        """Remove and return the first packet."""
        packet, _ = self.pending.popleft()
        self._taken += len(packet)
        return packet

    def clear(self) -> int:
        """Drop all packets. Returns their number."""
        count = 0
        while self.pending:
            self.take()
            count += 1
        return count

    def want(self) -> None:
        """The request waits for a packet and there is none. A subclass may fetch one; here nothing is to be done."""


class PacketRow(ChannelRow):
    """The row of one request of an exchange. It takes a packet only when its handler waits for one."""

    __slots__ = ("_request", "exchange", "has_first", "lost", "pass_report", "sent", "socket", "wake")
    channel: PacketChannel

    def __init__(
        self, reactor: Reactor, server: Any, request: tuple[bytes, socket.socket], peer: Any,
        handler: DatagramHandler, owner: Owner, exchange: Exchange, filters: Sequence[Callable[[Any], Any]] = (),
    ) -> None:  # fmt: skip
        super().__init__(reactor, server, peer, owner, CALLER)
        self.channel = DatagramMachine(handler, self)
        if filters:
            self.channel = chain(self.channel, filters)
        self._request = request
        self.socket = request[1]
        self.exchange = exchange
        """The exchange that has the packets. At the beginning its first packet is the one that opened the request."""
        self.has_first = False
        """Whether the packet that opened the request has been taken."""
        self.sent: bytes | None = None
        """The packet that was sent last. A report must quote it."""
        self.lost: OSError | None = None
        """The error that the network has reported."""
        self.wake: Callable[[], object] | None = None
        """Called when a packet or a report has come; ``None`` until a loop drives the row."""
        self.pass_report: Callable[[OSError, bytes], object] | None = None
        """Passes a report to the child that drives the row: only the child knows what was sent last."""

    @property
    def request(self) -> tuple[bytes, socket.socket]:
        return self._request

    @property
    def held_in(self) -> int:
        """Bytes of input held, including the pending packets."""
        return super().held_in + self.exchange.held

    @property
    def has_sent_all(self) -> bool:
        """Whether the next request of the exchange may begin although this row is open: all its packets are sent."""
        return self.driven_by is LOOP and self.channel.finished and not self.channel.outbox

    def is_repeated(self, packet: bytes) -> bool:
        """Whether the packet has come again before it was answered. One is kept where a child drives the row."""
        is_open = self.channel is not None and self.sent is None
        return packet == self.request[0] and (is_open or bool(self.exchange.pending))

    def release(self) -> None:
        source: Any = self.reactor.sources.get(self.socket.fileno())
        if source is not None:
            source.forget(self)
        super().release()

    def forget(self) -> None:
        super().forget()
        self.wake = None

    def start(self) -> None:
        """Let the handler begin, and give it the packet that opened the request."""
        self.wake = self.touched
        channel, now = self.channel, self.reactor.time
        packet = self.take_first()  # first: if setup() raises, the packets behind this one are for the next request
        channel.advance()
        if channel.finished:
            return
        self._take(packet, now)
        if channel.outbox:  # at once: the next request of the exchange may begin in this batch
            self.flush(now)

    def go_on_from(self, brief: Brief) -> None:
        """Go on with a request whose first turn has been run by ``brief``."""
        channel: Any = self.channel
        channel.take_over(brief.state, brief.step, brief.error, brief.begun(), brief.place == FINISH)
        now = self.reactor.time
        if brief.taken:
            self.total_in += len(brief.packet)
        elif not channel.finished:
            self._take(brief.packet, now)
        if self.lost is not None:
            self.lose(Reset(self.lost))
        elif channel.outbox:
            self.flush(now)

    def take_first(self) -> bytes:
        """Take the packet that opened the request out of the exchange, whether or not the handler waits for it."""
        self.has_first = True
        return self.exchange.take()

    def arrived(self) -> None:
        """Another packet of the exchange is pending."""
        wake = self.wake  # once: the thread that drives the row may release it now
        if wake is not None:
            wake()
        elif self.stage is Stage.QUEUED and self in self.reactor.table:
            self.weigh()

    def reported(self, error: OSError, quoted: bytes) -> None:
        """The network reports (ICMP) that a packet which begins with ``quoted`` did not reach the peer.

        May be called from another thread. A report that does not quote what this request has sent last may be forged,
        or about an earlier request: it is ignored (RFC 8085, section 5.2).
        """
        sent = self.sent
        if self.pass_report is not None:
            self.pass_report(error, quoted)
        elif sent is not None and (sent.startswith(quoted) if quoted else not sent):
            self.lost = error
            wake = self.wake
            if wake is not None:
                wake()

    def settle(self, now: float) -> None:
        channel = self.channel
        if self.lost is not None and not channel.finished:
            self.lose(Reset(self.lost))
            return
        exchange = self.exchange
        while exchange.pending:
            if exchange.is_at_next():
                self.lose(Cancelled("the peer has begun its next request"))
                return
            if not channel.wants_input:
                break
            self._take(exchange.take(), now)
        self.go_on(now)
        if exchange.pending:
            self.weigh()
        if channel.wants_input:
            if exchange.pending:  # `go_on` has satisfied another wait: the loop above has to run again
                self.touched()
            else:
                exchange.want()
        if channel.outbox:
            shared(self.reactor, self.socket).send_later(self)
        elif channel.finished:
            self.reactor.end(self)

    def _take(self, packet: bytes, now: float) -> None:
        self.progress = now
        self.total_in += len(packet)
        self.channel.feed(packet)

    def flush(self, now: float) -> None:
        channel = self.channel
        if not self.peer:  # an unnamed Unix socket, to which nothing can be sent
            self.lose(Reset(OSError("the peer has no address to answer to")))
        retries = RETRIES
        while channel.outbox:
            packet = channel.outbox[0]
            before, self.sent = self.sent, packet  # now: another thread may read a report before the call returns
            try:
                at_once(self.socket, lambda: self.socket.sendto(packet, DONTWAIT, self.peer))  # noqa: B023
            except AGAIN:
                self.sent = before
                break
            except OSError as error:
                self.sent = before
                if error.errno in SHORT:
                    shared(self.reactor, self.socket).retry_later()
                    break
                if not retries or not self.exchange.may_be_report():
                    self.lose(Reset(error))
                    return
                retries -= 1
                continue
            self.progress = now
            self.total_out += len(packet)
            channel.sent()
        self.check_output()
