"""How a parent reaches its children: a bell that they all hear, and a mailbox for packets to one child."""

from __future__ import annotations

import errno
import os
import socket
from selectors import EVENT_READ, EVENT_WRITE

from ..handlers.duplicates import NoDuplicates
from ..loop.kernel import AGAIN, SHORT
from ..rows.packets import Exchange
from ..servers.kinds import class_of, is_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..loop.watches import Watch
    from ..rows.packets import PacketRow
    from ..table.reactor import Reactor

RETRY = 0.05
"""Seconds until a packet is sent to the child again after the host had no memory for it."""

WANT, UNUSED, ANSWERED = b"W", b"U", b"A"
"""What a child sends: `WANT` for each packet that its request waits for, `UNUSED` and a packet that it gives back, and
for `NoDuplicates`, `ANSWERED` and the packet that it has sent."""


class Bell:
    """A pipe that becomes readable, for all children of a server at once, when the parent rings.

    The children have copies of both ends, so the end of the parent does not ring: they go on if it dies.
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
        """Tell all children. No child reads the byte, so the pipe is readable in all of them."""
        os.write(self._writer, b"x")

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copies, unless the child serves a request of this server."""
        if getattr(keep, "server", None) is not self._server:
            self.close()

    def close(self) -> None:
        """Close both ends."""
        self._descriptors.discard(self)
        os.close(self._reader)
        os.close(self._writer)


class RemoteExchange(Exchange):
    """In a child: an exchange whose packets the parent holds; it sends one each time that the child asks for one."""

    __slots__ = ("_asked", "_mailbox")

    def __init__(self, exchange: Exchange, mailbox: Mailbox) -> None:
        super().__init__(exchange.key, exchange.peer, exchange.may_be_report, exchange.begins)
        self._mailbox = mailbox
        self._asked = False
        self.put(*exchange.pending[0])  # the child has its copy of the packet that opened the exchange

    def want(self) -> None:
        if not self._asked:
            self._asked = self._mailbox.ask()

    def receive(self, packet: bytes, sock: Any) -> None:
        """Take the packet that was asked for."""
        self._asked = False
        self.put(packet, sock)


class Mailbox:
    """Sends the packets of one exchange to the child that drives its request, one each time that the child asks.

    Parent and child share the server's socket, but only one process gets each packet. So only the parent reads the
    socket, and it holds the packets that the child has not asked for. A message to the child is a byte and data: 0 and
    a packet, or the errno of an ICMP error and the packet that the error quotes.
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
        """The child has begun; it has its copy of the first packet."""
        self._row.take_first()
        self._row.wake = self._post
        self._row.pass_report = self._pass_report
        self._watch = self._reactor.watch(self._parent, EVENT_READ, self._ready)

    def _ready(self, events: int) -> None:
        for packet in self._unused():
            self._exchange.put_back(packet, self._row.socket)
        self._post()

    def _unused(self) -> list[bytes]:
        """Take note of what the child has sent; the packets that it gives back."""
        unused = []
        for message in self._messages(self._parent):
            if message == WANT:
                self._wanted += 1
            elif message[:1] == ANSWERED:
                row = self._row
                kind = class_of(row.server.RequestHandlerClass)
                kind.answered(row.server, row.peer, row.request[0], message[1:], row.now())
            else:
                unused.append(message[1:])
        return unused

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
            self._watch_for(EVENT_READ)  # not EVENT_WRITE: the socket is writable, so the loop would spin
            self._reactor.call_later(RETRY, self._post_again)
        else:
            self._watch_for(EVENT_READ)

    def _pass_report(self, error: OSError, quoted: bytes) -> None:
        """Send an ICMP error to the child. If that fails, the error is lost, as any ICMP error may be."""
        try:
            self._parent.send(bytes([error.errno or errno.EIO]) + quoted)
        except OSError:
            pass

    def _post_again(self) -> None:
        if self._row.wake is not None:  # else the child has ended meanwhile
            self._post()

    def _watch_for(self, events: int) -> None:
        if self._watch is not None:
            self._watch.modify(events)

    def close(self) -> None:
        """The child has ended: take back the packets that it has not used."""
        unused = [message[1:] for message in self._messages(self.child) if not message[0]]
        for packet in reversed(unused + self._unused()):
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
        """In a forked child: close the copy of the parent's end; both ends if the child serves another request."""
        self._parent.close()
        if keep is not self._row:
            self.child.close()

    # In the child

    def be_child(self) -> None:
        """The row's packets come from the parent from here on."""
        self._row.exchange = self._exchange = RemoteExchange(self._exchange, self)

    def ask(self) -> bool:
        """Ask the parent for a packet. Returns whether the message was sent."""
        try:
            self.child.send(WANT)
        except OSError:
            return False
        return True

    def collect(self) -> None:
        """Deliver the messages that have come."""
        exchange: Any = self._exchange
        for message in self._messages(self.child):
            if message[0]:
                self._row.reported(OSError(message[0], os.strerror(message[0])), message[1:])
            else:
                exchange.receive(message[1:], self._row.socket)
                self._row.arrived()

    def give_back(self) -> None:
        """The child ends: give packets that this request has not taken back to the parent, for the next request."""
        exchange, row = self._exchange, self._row
        if not row.has_first:
            exchange.take()
        try:
            if row.sent is not None and row.reason is None and is_kind(row.server.RequestHandlerClass, NoDuplicates):
                self.child.send(ANSWERED + row.sent)
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
