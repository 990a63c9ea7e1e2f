"""Connections that a row's handler opens itself (`Connected`)."""

from __future__ import annotations

import errno
import os
import socket
from selectors import EVENT_WRITE

from ..handlers import Connected, DatagramHandler, Failed
from ..handlers.world import NO_MACHINE, NoMachine
from ..loop.kernel import AGAIN, close, reset_on_close
from ..table.work import does
from .ancillary import passing
from .connected import ConnectedRow
from .stream import stream_row, tune
from .urgent import hears_urgent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handlers import Cause
    from ..handlers.waits import Address
    from ..loop.timers import Timer
    from ..loop.watches import Watch
    from ..table.request import Owner, Request
    from .driven import ChannelRow

"\u00f6".encode("idna")  # imports the codec, for host names that are not ASCII

RETRY = 0.05
"""Seconds until a connection to a Unix path whose accept queue is full is tried again."""


def encoded(host: str) -> bytes:
    """The host name for ``getaddrinfo()``. Raises ``UnicodeError`` for what is no name.

    As bytes, for a str is first encoded by the codec idna, whose import belongs nowhere near a loop.
    """
    return host.encode("ascii") if host.isascii() else host.encode("idna")


def _resolve(network: Any, address: Address, kind: int) -> list[tuple[int, Any]]:
    """The families and socket addresses to try for ``address``, in order. Raises ``OSError``."""
    if not isinstance(address, tuple):
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(f"{address!r}: this host has no Unix sockets")
        return [(socket.AF_UNIX, address)]
    host, port = address[:2]
    found = network.getaddrinfo(encoded(host), port, type=kind)
    return [(family, sockaddr) for family, _, _, _, sockaddr in found]


class Outgoing:
    """The owner of the row of a connection that the handler of another row has opened, and waits for."""

    def __init__(self, opener: Request, connecting: Connecting) -> None:
        self._owner: Owner = opener.owner
        self._connecting: Connecting | None = connecting  # as long as the opener waits

    def failed(self, row: Request) -> None:
        self._owner.failed(row)

    def opened(self, row: Request) -> None:
        """Its handler has begun, or never will: the opener waits no more."""
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.opened(row)

    def released(self, row: Request) -> None:
        self.opened(row)
        if row.is_cut:
            reset_on_close(row.request)
        close(row.request)

    def dismiss(self, row: Request, cause: Cause) -> None:
        raise RuntimeError("a connection that a handler opens is never queued")

    def moved(self, row: Request) -> None:
        """The opener has chosen the peer."""


@does(Connected)
class Connecting:
    """The work of a row that waits for a connection of its own: tries the addresses one by one."""

    def __init__(self, row: Request, wait: Connected) -> None:
        self._row = row
        self._wait = wait
        self._network = row.reactor.network
        self._socket: socket.socket | None = None
        self._watch: Watch | None = None
        self._retry: Timer | None = None
        self._kind = socket.SOCK_DGRAM if isinstance(wait.handler, DatagramHandler) else socket.SOCK_STREAM
        self._opened: ChannelRow | None = None
        self._addresses: list[tuple[int, Any]] = []
        self._claim: NoMachine | None = None  # what the handler has for a machine as long as it has none

    def start(self) -> None:
        self._claim_handler()
        try:
            self._addresses = _resolve(self._network, self._wait.address, self._kind)
        except Exception as error:  # a name that is none can fail in more ways than OSError
            self._failed(error)
        else:
            self._next(OSError("no address"))

    def _claim_handler(self) -> None:
        """Take the handler for this connection. Raises ``ValueError`` if it is another's already."""
        handler: Any = self._wait.handler
        if handler._machine is not NO_MACHINE:
            raise ValueError(f"Connected: this {type(handler).__name__} has a request already; make a new one")
        self._claim = handler._machine = NoMachine()

    def _give_handler_back(self) -> None:
        handler: Any = self._wait.handler
        if self._claim is not None and handler._machine is self._claim:
            handler._machine = NO_MACHINE

    def cancel(self) -> None:
        """Give up: the row waits for something else now."""
        self._give_handler_back()
        self._addresses.clear()
        self._drop()
        if self._opened is not None:
            self._opened.channel.close()

    def _next(self, error: Exception) -> None:
        """Try the next address; when there is none, fail with the ``error`` of the last."""
        self._drop()
        while self._addresses:
            family, address = self._addresses.pop(0)
            try:
                sock = self._socket = self._network.socket(family, self._kind)
                sock.setblocking(False)
                self._prepare(sock)
                try:
                    sock.connect(address)
                except AGAIN as again:
                    self._wait_for(sock, (family, address), again)
                else:
                    self._connected(sock)
                return
            except Exception as refused:  # OSError, or that this is no address at all
                self._drop()
                error = refused
        self._failed(error)

    def _prepare(self, sock: socket.socket) -> None:
        """Do what must be done before the socket is connected."""
        handler = self._wait.handler
        if not isinstance(handler, DatagramHandler):
            hears_urgent(type(handler), sock)
        elif sock.family == getattr(socket, "AF_UNIX", None):
            sock.bind("")  # to an abstract address that the kernel chooses, for answers need one (unix(7), autobind)

    def _wait_for(self, sock: socket.socket, place: tuple[int, Any], error: OSError) -> None:
        if error.errno == errno.EAGAIN:  # the queue at a Unix path is full: nothing is under way, and nothing will tell
            self._addresses.insert(0, place)
            self._retry = self._row.reactor.call_later(RETRY, self._next, error)
        else:
            self._watch = self._row.reactor.watch(sock, EVENT_WRITE, self._writable)

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
        owner = Outgoing(row, self)
        try:
            self._opened = self._make_row(sock, owner)
        except Exception as error:  # a filter could not be made
            self._drop()
            self._failed(error)
            return
        self._socket = None  # the new row's from here on
        row.reactor.adopt(self._opened)
        if self._opened.channel.begun:
            owner.opened(self._opened)  # else when its filters have opened
        elif not self._wait.filters:
            row.reactor.work.finish(row, self, handler)  # its setup() has failed, after all that was waited for

    def _make_row(self, sock: socket.socket, owner: Owner) -> ChannelRow:
        row, handler, filters = self._row, self._wait.handler, self._wait.filters
        if isinstance(handler, DatagramHandler):
            return ConnectedRow(row.reactor, row.server, sock, self._peer(sock), handler, owner, filters, row.driven_by)
        tune(sock)
        sock = self._socket = passing(sock, handler)
        peer: Any = self._peer(sock)
        return stream_row(row.reactor, row.server, sock, peer, handler, owner, filters, row.driven_by)

    def opened(self, opened: Request) -> None:
        """The handler of the connection has begun, or never will."""
        if opened.channel.begun:
            self._row.reactor.work.finish(self._row, self, self._wait.handler)
            return
        reason = opened.reason
        if not isinstance(reason, Exception):
            reason = ConnectionAbortedError(errno.ECONNABORTED, "the connection has ended before its filters opened")
        self._failed(reason)

    def _peer(self, sock: socket.socket) -> Any:
        try:
            return sock.getpeername()
        except OSError:  # gone again already; the row will find out when it reads
            return self._wait.address

    def _failed(self, error: Exception) -> None:
        self._give_handler_back()
        self._row.reactor.work.finish(self._row, self, Failed(self._wait, error))

    def close_copy(self) -> None:
        """In a forked child that has nothing to do with it: close its copy of the socket."""
        if self._socket is not None:
            self._socket.close()

    def _drop(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        sock, self._socket = self._socket, None
        if sock is not None:
            close(sock)
