"""Who drives a request: a child, a thread, or the loop. The plain mode, the caller, is in ``server``.

A mode overrides `process_request` and nothing that a handler could see: the same class gives the
same bytes in all of them. What is over a mode's bound waits in the kernel.
"""

from __future__ import annotations

import os
import socket
from _thread import get_ident, start_new_thread
from selectors import EVENT_READ

from handlers import DatagramHandler, StreamHandler

from .packets import PacketRow, UDPServer
from .server import TCPServer
from .table import LOOP, NO_FORK, NO_THREADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread
    from typing import Any

    from handlers import Machine

    from .children import Mailbox
    from .loop import Reactor
    from .table import Request

    _Base = TCPServer
else:
    _Base = object


class SelectMixIn(_Base):
    """The loop drives every request: one thread, no child, and nobody waits for a slow client.

    A blocking handler runs here only if its class declares ``request = <wait>``; any other is
    refused with `TypeError` when the server is made.
    """

    _latest: Any = None

    def _check_handler(self) -> None:
        super()._check_handler()
        from handlers.buffered import buffered  # now, and not with the package: most servers don't need it

        kind = self.RequestHandlerClass
        if not (isinstance(kind, type) and issubclass(kind, (StreamHandler, DatagramHandler))):
            self._handler = buffered(kind, packets=self.socket_type == socket.SOCK_DGRAM)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Leave the request to the loop."""
        row = self._latest = self._rows.pop(id(request))
        row.driver = LOOP
        self.reactor.adopt(row)

    def _see_through(self) -> None:
        # With the connections that it has opened, whose serials come after its own.
        while any(row.server is self and row.serial >= self._latest.serial for row in self.reactor.table):
            self.reactor.step()
        self._latest = None


class ForkingMixIn(_Base):
    """A child process drives each request; see ``socketserver.ForkingMixIn``."""

    timeout = 300
    active_children: set[int] | None = None
    """The pids of the children that have not been reaped."""

    max_children = 40
    """Children at which no more requests are taken: what arrives waits in the kernel."""

    block_on_close = True
    """Whether `server_close` waits for the children."""

    _mailbox: Mailbox | None = None  # in a child
    _closing: tuple[int, int] | None = None  # a pipe with nothing in it, until the server closes

    def _check_handler(self) -> None:
        super()._check_handler()
        if not hasattr(os, "fork"):
            raise RuntimeError(f"{type(self).__name__}: {NO_FORK}")

    def _has_room(self) -> bool:
        return len(self.active_children or ()) < self.max_children and super()._has_room()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child that does the request."""
        from .children import Mailbox  # imported long since, by prepare()

        if self._closing is None:
            self._closing = os.pipe()
        row = self._rows[id(request)]
        mailbox = Mailbox(self.reactor, row) if isinstance(row, PacketRow) else None

        def ended(status: int | None) -> None:
            assert self.active_children is not None
            self.active_children.discard(pid)
            if mailbox is not None:
                mailbox.close()
            self._strike(row)

        pid = self.reactor.children.fork(ended, keep=row)
        if pid == 0:
            self._child(request, client_address, mailbox)
        if self.active_children is None:
            self.active_children = set()
        self.active_children.add(pid)
        del self._rows[id(request)]
        row.driver, row.machine = f"child {pid}", None  # what it does now, only the child knows
        if mailbox is not None:
            mailbox.open()
        self.close_request(request)

    def _child(self, request: Any, client_address: Any, mailbox: Mailbox | None) -> None:
        """In the child: finish the request. Never returns."""
        status = 1
        self._mailbox = mailbox
        try:
            self.finish_request(request, client_address)
            status = 0
        except Exception:
            self.handle_error(request, client_address)
        finally:
            try:
                self.shutdown_request(request)
                if mailbox is not None:
                    mailbox.give_back()
            finally:
                os._exit(status)

    def _drive(self, inner: Reactor, row: Request) -> None:
        mailbox = self._mailbox
        if mailbox is not None:
            inner.watch(mailbox.child, EVENT_READ, lambda events: mailbox.collect())
        if self._closing is not None:
            inner.watch(self._closing[0], EVENT_READ, lambda events: inner.stop())
        inner.drive(row)

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended (with ``blocking``: all, when they have)."""
        for pid in list(self.active_children or ()):
            self.reactor.children.reap(pid, blocking)

    def handle_timeout(self) -> None:
        """Reap what has ended."""
        self.collect_children()

    def service_actions(self) -> None:
        """Reap what has ended. (The loop has done so already; ``socketserver`` does it here.)"""
        self.collect_children()

    def server_close(self) -> None:
        """Give back what the server holds: cancel the children's state machines, wait if ``block_on_close``."""
        self._unlisten()
        if self._closing is not None:
            os.write(self._closing[1], b"x")  # never read, so that every child sees it: its request is cancelled
        self.collect_children(blocking=self.block_on_close)
        if self._closing is not None:
            for end in self._closing:
                os.close(end)
            self._closing = None
        super().server_close()


class ThreadingMixIn(_Base):
    """A thread drives each request; see ``socketserver.ThreadingMixIn``."""

    daemon_threads = False
    """Whether the process may end while threads run."""

    block_on_close = True
    """Whether `server_close` waits for the threads that are no daemons."""

    max_threads = 256
    """Threads at which no more requests are taken: what arrives waits in the kernel."""

    _threads: Any = ()

    def _check_handler(self) -> None:
        super()._check_handler()
        try:
            start_new_thread(_nothing, ())
        except RuntimeError as error:
            raise RuntimeError(f"{type(self).__name__}: {NO_THREADS}") from error
        self._inners: set[Reactor] = set()

    def _has_room(self) -> bool:
        return len(self._rows) < self.max_threads and super()._has_room()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread that does the request."""
        from threading import Thread  # imported long since, by prepare()

        if self.block_on_close:
            vars(self).setdefault("_threads", _Threads())
        thread = Thread(target=self._thread, args=(request, client_address), daemon=self.daemon_threads)
        self._rows[id(request)].driver = f"thread {thread.name}"
        thread.start()
        if self.block_on_close:
            self._threads.append(thread)

    def _thread(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread: do the request. May be extended."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def _drive(self, inner: Reactor, row: Request) -> None:
        assert row.machine is not None
        inner.make_wakeup()
        row.machine.handler._machine = Posted(row.machine, inner)  # type: ignore[assignment]
        self._inners.add(inner)
        try:
            inner.drive(row)
        finally:
            self._inners.discard(inner)

    def server_close(self) -> None:
        """Give back what the server holds: cancel its state machines, wait for its threads."""
        self._unlisten()
        for inner in list(self._inners):
            inner.stop()
        for thread in self._threads:
            thread.join()
        super().server_close()


class _Threads(list):  # type: ignore[type-arg]
    """The threads that have not ended and must be waited for."""

    def append(self, thread: Thread) -> None:
        self[:] = [old for old in self if old.is_alive()]
        if not thread.daemon:
            super().append(thread)


class Posted:
    """A machine in a thread of its own, as handlers in other threads see it: their writes are posted to it."""

    def __init__(self, machine: Machine, reactor: Reactor) -> None:
        self._machine: Any = machine
        self._reactor = reactor
        self._thread = get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if get_ident() == self._thread:
            self._machine.write(data)
        else:
            self._reactor.call_soon(self._machine.write, bytes(data))

    def write_eof(self) -> None:
        self._here(self._machine.write_eof)

    def close(self) -> None:
        self._here(self._machine.close)

    def _here(self, call: Any) -> None:
        if get_ident() == self._thread:
            call()
        else:
            self._reactor.call_soon(call)


def _nothing() -> None:
    """What a thread does that only shows that threads can be had."""


class ForkingTCPServer(ForkingMixIn, TCPServer):
    """TCP, a child for each connection."""


class ForkingUDPServer(ForkingMixIn, UDPServer):
    """UDP, a child for each exchange."""


class ThreadingTCPServer(ThreadingMixIn, TCPServer):
    """TCP, a thread for each connection."""


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    """UDP, a thread for each exchange."""


class SelectTCPServer(SelectMixIn, TCPServer):
    """TCP, one loop for all connections."""


class SelectUDPServer(SelectMixIn, UDPServer):
    """UDP, one loop for all exchanges."""


if hasattr(socket, "AF_UNIX"):
    from .packets import UnixDatagramServer
    from .server import UnixStreamServer

    class ForkingUnixStreamServer(ForkingMixIn, UnixStreamServer):
        """Unix stream sockets, a child for each connection."""

    class ForkingUnixDatagramServer(ForkingMixIn, UnixDatagramServer):
        """Unix datagram sockets, a child for each exchange."""

    class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
        """Unix stream sockets, a thread for each connection."""

    class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
        """Unix datagram sockets, a thread for each exchange."""

    class SelectUnixStreamServer(SelectMixIn, UnixStreamServer):
        """Unix stream sockets, one loop for all connections."""

    class SelectUnixDatagramServer(SelectMixIn, UnixDatagramServer):
        """Unix datagram sockets, one loop for all exchanges."""
