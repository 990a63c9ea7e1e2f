"""Readiness of a stream socket ↔ the machine of its row; and connections that rows open themselves.

A row reads once for each readiness, and one system call takes all output that a read has caused:
send first, ask for writability only for what is left. Readiness is a hint; a call that would
block after all changes nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from selectors import EVENT_READ, EVENT_WRITE

from handlers import Failed, Reset, StreamMachine
from handlers.machine import ENDED, ENDING

from .table import Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import Connected, StreamHandler
    from handlers.waits import Address

    from .loop import Reactor
    from .sources import Watch

READ_SIZE = 65_536
"""Bytes that one read of one row may take before the other rows have their turn."""

AGAIN = (BlockingIOError, InterruptedError)
"""What says that a call would have blocked, or was interrupted: nothing has happened, try later."""


class StreamRow(Request):
    """The row of a connected stream socket."""

    __slots__ = ("mask", "socket")
    machine: StreamMachine

    def __init__(
        self, reactor: Reactor, server: Any, sock: socket.socket, peer: Any, handler: StreamHandler, driver: str
    ) -> None:
        super().__init__(reactor, server, peer, StreamMachine(handler, self), driver)
        self.socket = sock
        self.mask = 0

    def fileno(self) -> int:
        return self.socket.fileno()

    def request(self) -> socket.socket:
        return self.socket

    def close_copy(self) -> None:
        self.socket.close()

    def start(self) -> None:
        """Let the handler begin."""
        try:
            self.socket.setblocking(False)
        except OSError as error:  # closed already, by a hook of the server
            self.drop(Reset(error))
        else:
            self.machine.advance()

    def ready(self, events: int, now: float) -> None:
        """The selector says that the socket can be read or written."""
        machine = self.machine
        if events & EVENT_READ and machine.wants_input:
            try:
                data = self.socket.recv(READ_SIZE)
            except AGAIN:
                pass
            except OSError as error:
                self.drop(Reset(error))
            else:
                if data:
                    self.progress = now
                    self.total_in += len(data)
                    machine.feed(data)
                else:
                    machine.end()
        self.settle(now)

    def settle(self, now: float) -> None:
        machine = self.machine
        if machine.outbox:
            self._flush(now)
        if machine.blocked:
            machine.advance()
        if machine.fresh:
            self.took_turn(now)
        mask = EVENT_READ if machine.wants_input else 0
        if machine.outbox:
            mask |= EVENT_WRITE
        elif machine.output == ENDING or machine.finished:
            self._output_ended()
        if mask != self.mask:
            self.reactor.table.want(self, mask)

    def _flush(self, now: float) -> None:
        machine = self.machine
        outbox = machine.outbox
        assert outbox is not None
        try:
            count = self.socket.send(outbox)
        except AGAIN:
            count = 0
        except OSError as error:
            self.drop(Reset(error))
            return
        if count:
            self.progress = now
            self.total_out += count
            machine.sent(count)
            if machine.finished:
                self.deadline = now + machine.patience  # it still takes what it is sent: more time for the rest
        self.check_output()

    def _output_ended(self) -> None:
        """All that the handler has to say has been sent."""
        if self.machine.finished:
            self.reactor.end(self)
        else:
            self.machine.output = ENDED
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as error:
                self.drop(Reset(error))


class OutgoingRow(StreamRow):
    """The row of a connection that another row's handler has opened (`Connected`)."""

    __slots__ = ()

    def failed(self, error: Exception) -> None:
        self.server.handle_error(self.socket, self.peer)

    def released(self) -> None:
        self.socket.close()


def _resolve(network: Any, address: Address) -> list[tuple[int, Any]]:
    """The families and socket addresses to try for ``address``, in order. Raises ``OSError``."""
    if not isinstance(address, tuple):
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(f"{address!r}: this host has no Unix sockets")
        return [(socket.AF_UNIX, address)]
    host, port = address[:2]
    # As bytes, for a str is first encoded by the codec idna, whose import belongs nowhere near a loop.
    encoded = host.encode("ascii") if host.isascii() else host.encode("idna")
    found = network.getaddrinfo(encoded, port, type=socket.SOCK_STREAM)
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


class Connecting:
    """The job of a row that waits for a connection of its own: tries the addresses one by one."""

    def __init__(self, row: Request, wait: Connected) -> None:
        self._row = row
        self._wait = wait
        self._network = row.reactor.network
        self._socket: socket.socket | None = None
        self._watch: Watch | None = None
        self._opened: OutgoingRow | None = None
        self._addresses: list[tuple[int, Any]] = []

    def start(self) -> None:
        try:
            self._addresses = _resolve(self._network, self._wait.address)
        except OSError as error:
            self._failed(error)
        else:
            self._next(OSError("no address"))

    def cancel(self) -> None:
        """Give up: the row waits for something else now."""
        self._addresses.clear()
        self._drop()
        if self._opened is not None:
            self._opened.machine.close()

    def _next(self, error: OSError) -> None:
        """Try the next address; when there is none, fail with the ``error`` of the last."""
        self._drop()
        while self._addresses:
            family, address = self._addresses.pop(0)
            try:
                sock = self._socket = self._network.socket(family, socket.SOCK_STREAM)
                sock.setblocking(False)
                try:
                    sock.connect(address)
                except AGAIN:
                    self._watch = self._row.reactor.watch(sock, EVENT_WRITE, self._writable)
                else:
                    self._connected(sock)
                return
            except OSError as refused:
                self._drop()
                error = refused
        self._failed(error)

    def _writable(self, events: int) -> None:
        sock = self._socket
        assert sock is not None
        try:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise OSError(number, os.strerror(number))
            sock.getpeername()  # not connected yet after all: a spurious wake-up
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                self._next(error)
        else:
            self._connected(sock)

    def _connected(self, sock: socket.socket) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        row, handler = self._row, self._wait.handler
        self._socket = None  # the new row's from here on
        self._opened = OutgoingRow(row.reactor, row.server, sock, self._peer(sock), handler, row.driver)
        row.reactor.adopt(self._opened)
        row.reactor.finish_job(row, self, handler)

    def _peer(self, sock: socket.socket) -> Any:
        try:
            return sock.getpeername()
        except OSError:  # gone again already; the row will find out when it reads
            return self._wait.address

    def _failed(self, error: OSError) -> None:
        self._row.reactor.finish_job(self._row, self, Failed(self._wait, error))

    def _drop(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
