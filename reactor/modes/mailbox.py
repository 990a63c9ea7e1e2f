"""What leads from the parent to its children: the hang-up, and the mailbox by which packets reach a child."""

from __future__ import annotations

import errno
import os
import socket
from selectors import EVENT_READ, EVENT_WRITE

from ..loop.kernel import AGAIN, SHORT
from ..rows.packets import Exchange

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..loop.watches import Watch
    from ..rows.packets import PacketRow
    from ..table.reactor import Reactor

RETRY = 0.05
"""Seconds until a packet is sent to the child again for which the host was short of memory."""

WANT, UNUSED = b"W", b"U"
"""What a child sends: `WANT` for each packet that its request waits for, `UNUSED` before one that it gives back."""


class Hangup:
    """A pipe with nothing in it until the server closes: then its children cancel what they are at.

    The children have both ends, so they go on if the parent just vanishes.
    """

    def __init__(self, server: Any, reactor: Reactor) -> None:
        self._server = server
        self._descriptors = reactor.descriptors
        self._reader, self._writer = os.pipe()
        self._descriptors.add(self)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._reader

    def ring(self) -> None:
        """Tell all children. Nobody reads the byte, so every child sees it."""
        os.write(self._writer, b"x")

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copies, if it is not one of the server's."""
        if getattr(keep, "server", None) is not self._server:
            self.close()

    def close(self) -> None:
        """Close both ends."""
        self._descriptors.discard(self)
        os.close(self._reader)
        os.close(self._writer)


class RemoteExchange(Exchange):
    """In a child: the packets of the exchange are with the parent, which sends one for each that is wanted."""

    __slots__ = ("_asked", "_mailbox")

    def __init__(self, exchange: Exchange, mailbox: Mailbox) -> None:
        super().__init__(exchange.key, exchange.peer, exchange.may_be_report)
        self._mailbox = mailbox
        self._asked = False
        self.put(*exchange.pending[0])  # the packet that opened the exchange is the child's already

    def want(self) -> None:
        if not self._asked:
            self._asked = self._mailbox.ask()

    def receive(self, packet: bytes, sock: Any) -> None:
        """The packet that was asked for has come."""
        self._asked = False
        self.put(packet, sock)


class Mailbox:
    """Hands the packets of one exchange to the child that drives its request, each when the child asks for it.

    Each process could read the server's socket, but only one gets each packet; so the parent reads, and keeps what the
    child has not asked for. Each message to the child begins with a byte: 0, and the packet; or the errno of a report
    (ICMP), and what the report quotes.
    """

    def __init__(self, reactor: Reactor, row: PacketRow) -> None:
        self._reactor = reactor
        self._row = row
        self._exchange = row.exchange
        self._size: int = 1 + row.server.max_packet_size
        self._wanted = 0  # packets that the child has asked for
        self._watch: Watch | None = None
        self._parent, self.child = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._parent.setblocking(False)
        self.child.setblocking(False)
        reactor.descriptors.add(self)

    # In the parent

    def open(self) -> None:
        """The child has begun, with its copy of the first packet."""
        self._row.open()
        self._row.wake = self._post
        self._row.pass_report = self._pass_report
        self._watch = self._reactor.watch(self._parent, EVENT_READ, self._ready)

    def _ready(self, events: int) -> None:
        for message in self._messages(self._parent):
            if message == WANT:
                self._wanted += 1
            else:
                self._exchange.put_back(message[1:], self._row.socket)
        self._post()

    def _post(self) -> None:
        exchange = self._exchange
        try:
            while self._wanted and exchange.pending:
                self._parent.send(b"\0" + exchange.pending[0][0])
                exchange.take()
                self._wanted -= 1
        except AGAIN:
            self._watch_for(EVENT_READ | EVENT_WRITE)
        except OSError as error:
            if error.errno not in SHORT:
                raise
            self._watch_for(EVENT_READ)  # it can be written, so that would spin
            self._reactor.call_later(RETRY, self._post_again)
        else:
            self._watch_for(EVENT_READ)

    def _pass_report(self, error: OSError, quoted: bytes) -> None:
        """Tell the child of a report; where it can't be told now, the report is lost, as any ICMP error may be."""
        try:
            self._parent.send(bytes([error.errno or errno.EIO]) + quoted)
        except OSError:
            pass

    def _post_again(self) -> None:
        if self._row.wake is not None:  # else the child has ended in the meantime
            self._post()

    def _watch_for(self, events: int) -> None:
        if self._watch is not None:
            self._watch.modify(events)

    def close(self) -> None:
        """The child has ended: take back a packet that it has not used."""
        unused = [message[1:] for message in self._messages(self.child) if not message[0]]
        unused += [message[1:] for message in self._messages(self._parent) if message != WANT]
        for packet in reversed(unused):
            self._exchange.put_back(packet, self._row.socket)
        self.give_up()

    def give_up(self) -> None:
        """Close both ends."""
        self._row.wake = self._row.pass_report = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._reactor.descriptors.discard(self)
        self._parent.close()
        self.child.close()

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copy of the parent's end; both, if the child is another's."""
        self._parent.close()
        if keep is not self._row:
            self.child.close()

    # In the child

    def be_child(self) -> None:
        """The row's packets come from the parent from here on."""
        self._row.exchange = self._exchange = RemoteExchange(self._exchange, self)

    def ask(self) -> bool:
        """Ask the parent for a packet; whether it was asked."""
        try:
            self.child.send(WANT)
        except OSError:
            return False
        return True

    def collect(self) -> None:
        """Deliver what has come."""
        exchange: Any = self._exchange
        for message in self._messages(self.child):
            if message[0]:
                self._row.reported(OSError(message[0], os.strerror(message[0])), message[1:])
            else:
                exchange.receive(message[1:], self._row.socket)
                self._row.arrived()

    def give_back(self) -> None:
        """At the child's end: a packet that came too late for this request belongs to the next."""
        exchange = self._exchange
        if not self._row.opened:
            exchange.take()
        try:
            while exchange.pending:
                self.child.send(UNUSED + exchange.take())
        except OSError:
            pass  # the parent has gone, or the host has no memory

    def _messages(self, end: socket.socket) -> list[bytes]:
        messages = []
        try:
            while True:
                messages.append(end.recv(self._size))
        except AGAIN:
            return messages
