"""Who drives a request: a child, a thread, or the loop. The plain mode, the caller, is in ``server``.

A mode overrides `process_request` and nothing that a handler could see: the same class gives the
same bytes in all of them. What is over a mode's bound waits in the table, in line.
"""

from __future__ import annotations

import errno
import os
import socket
from _thread import get_ident, start_new_thread
from selectors import EVENT_READ

from handlers import DatagramHandler, StreamHandler

from .admission import NONE_LEFT, NoneLeft
from .packets import PacketRow, UDPServer
from .request import CALLER, CHILD, LOOP, NO_FORK, NO_THREADS
from .server import nothing
from .stream import TCPServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread
    from typing import Any

    from .children import Hangup, Mailbox
    from .loop import Reactor
    from .request import Request
    from .server import BaseServer

    _Base = TCPServer
else:
    _Base = object


QUEUE = 128  # connections that the kernel keeps for a loop: of those that come at once, more than five are served

BUDGET = 64  # arrivals that one server takes before the other rows have their turn


class SelectMixIn(_Base):
    """The loop drives every request: one thread, no child, and nobody waits for a slow client.

    A blocking handler runs here only if its class declares ``request = <wait>``; any other is
    refused with `TypeError` when the server is made.
    """

    _srv_budget = BUDGET
    _srv_evicts = True

    def _srv_check_handler(self) -> None:
        super()._srv_check_handler()
        from handlers.buffered import buffered  # now, and not with the package: most servers don't need it

        kind = self.RequestHandlerClass
        if not (isinstance(kind, type) and issubclass(kind, (StreamHandler, DatagramHandler))):
            self._srv_handler = buffered(kind, packets=self.socket_type == socket.SOCK_DGRAM)
            self._srv_handler.blocking = staticmethod(_finish_request)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Leave the request to the loop."""
        row = self._srv_known(request, client_address)
        del self._srv_rows[self._srv_key(request)]
        row.driver = LOOP
        self.reactor.adopt(row)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Run a blocking handler over a request that is here whole: it has nothing to wait for. May be overridden."""
        self.RequestHandlerClass(request, client_address, self)

    def _srv_see_through(self, newest: int) -> None:
        # With the connections that it has opened, which are rows of the same server.
        table = self.reactor.table
        self.reactor.run_while(lambda: any(row.server is self and row.serial > newest for row in table))


class ForkingMixIn(_Base):
    """A child process drives each request; see ``socketserver.ForkingMixIn``."""

    timeout = 300
    active_children: set[int] | None = None
    """The pids of the children that have not been reaped."""

    max_children = 40
    """Children that may run at once; more requests wait in the table, each with its descriptor (``max_requests``)."""

    block_on_close = True
    """Whether `server_close` waits for the children."""

    _srv_budget = BUDGET
    _srv_mailbox: Mailbox | None = None  # in a child
    _srv_hangup: Hangup | None = None

    def _srv_check_handler(self) -> None:
        super()._srv_check_handler()
        if not hasattr(os, "fork"):
            raise RuntimeError(f"{type(self).__name__}: {NO_FORK}")

    def _srv_can_begin(self) -> bool:
        return len(self.active_children or ()) < self.max_children and super()._srv_can_begin()

    def _srv_next(self) -> tuple[Any, Any]:
        # What a child needs there must be when a request is taken: else all that there is might be of those in line.
        if self._srv_hangup is None:
            from .children import Hangup  # imported long since, by prepare()

            self._srv_hangup = Hangup(self)
        room = list(os.pipe())
        try:
            if self.socket_type == socket.SOCK_DGRAM:
                room += os.pipe()  # as many as a mailbox takes
            return super()._srv_next()
        finally:
            for end in room:
                os.close(end)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Fork a child that does the request."""
        from .children import Mailbox, heed  # imported long since, by prepare()

        row = self._srv_known(request, client_address)
        mailbox: Mailbox | None = None

        def ended(status: int | None, words: bytes) -> None:
            assert self.active_children is not None
            self.active_children.discard(pid)
            if mailbox is not None:
                mailbox.close()
            heed(row, status, words)
            self._srv_strike(row)

        try:
            if isinstance(row, PacketRow):
                mailbox = Mailbox(self.reactor, row)
            pid = self.reactor.children.fork(ended, keep=row)
        except BaseException as error:
            if mailbox is not None:
                mailbox.close()
            if isinstance(error, OSError) and error.errno in NONE_LEFT:
                raise NoneLeft(*error.args) from error
            raise
        if pid == 0:
            self._srv_child(request, client_address, row, mailbox)
        if self.active_children is None:
            self.active_children = set()
        self.active_children.add(pid)
        del self._srv_rows[self._srv_key(request)]
        row.driver, row.machine = f"{CHILD}{pid}", None  # what it does now, only the child knows
        if mailbox is not None:
            mailbox.open()
        self.close_request(request)

    def _srv_child(self, request: Any, client_address: Any, row: Request, mailbox: Mailbox | None) -> None:
        """In the child: finish the request. Never returns."""
        status = 1
        self._srv_mailbox = mailbox
        try:
            self.finish_request(request, client_address)
            status = 0
        except Exception as error:
            row.error = row.error or error
            self.handle_error(request, client_address)
        finally:
            try:
                self.shutdown_request(request)
                if mailbox is not None:
                    mailbox.give_back()
                self.reactor.children.tell(row)
            finally:
                os._exit(status)

    def _srv_drive(self, inner: Reactor, row: Request) -> None:
        mailbox = self._srv_mailbox
        if mailbox is not None:
            inner.watch(mailbox.child, EVENT_READ, lambda events: mailbox.collect())
        if self._srv_hangup is not None:
            inner.watch(self._srv_hangup, EVENT_READ, lambda events: inner.stop())
        super()._srv_drive(inner, row)

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
        self._srv_begin_to_close()
        if self._srv_hangup is not None:
            self._srv_hangup.ring()
        self.collect_children(blocking=self.block_on_close)
        if self._srv_hangup is not None:
            self._srv_hangup.close()
            self._srv_hangup = None
        super().server_close()


class ThreadingMixIn(_Base):
    """A thread drives each request; see ``socketserver.ThreadingMixIn``."""

    daemon_threads = False
    """Whether the process may end while threads run."""

    block_on_close = True
    """Whether `server_close` waits for the threads that are no daemons."""

    max_threads = 256
    """Threads that may run at once; more requests wait in the table, each with its descriptor (``max_requests``)."""

    _srv_budget = BUDGET
    _threads: Any = ()

    def _srv_check_handler(self) -> None:
        super()._srv_check_handler()
        try:
            start_new_thread(nothing, ())  # only to see that threads can be had
        except RuntimeError as error:
            raise RuntimeError(f"{type(self).__name__}: {NO_THREADS}") from error

    def _srv_listen(self, arrivals: Callable[[], None]) -> None:
        self.reactor.make_wakeup()  # a thread's end is for the next in line, also where nobody calls run() but step()
        super()._srv_listen(arrivals)

    def _srv_can_begin(self) -> bool:
        return len(self._srv_crew) < self.max_threads and super()._srv_can_begin()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread that does the request."""
        from threading import Thread  # imported long since, by prepare()

        if self.block_on_close:
            vars(self).setdefault("_threads", _Threads())
        row = self._srv_known(request, client_address)
        key = self._srv_key(request)
        thread = Thread(target=self._srv_thread, args=(request, client_address, key), daemon=self.daemon_threads)
        row.driver = f"thread {thread.name}"
        self._srv_crew.add(key)
        try:
            thread.start()
        except RuntimeError as error:
            row.driver = CALLER
            self._srv_crew.discard(key)
            raise NoneLeft(errno.EAGAIN, str(error)) from error  # what pthread_create(3) said
        if self.block_on_close:
            self._threads.append(thread)

    def _srv_thread(self, request: Any, client_address: Any, key: int) -> None:
        self._srv_at[get_ident()] = key
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._srv_crew.discard(key)
            was_struck = key not in self._srv_rows  # by a hook that raised when the thread had begun
            self._srv_ended(request)
            if was_struck and self._srv_reactor is not None:
                self._srv_reactor.call_soon(self._srv_go_on)
            del self._srv_at[get_ident()]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread: do the request. May be extended."""
        try:
            self.finish_request(request, client_address)
        except Exception:
            self.handle_error(request, client_address)
        finally:
            self.shutdown_request(request)

    def server_close(self) -> None:
        """Give back what the server holds: cancel its state machines, wait for its threads."""
        self._srv_begin_to_close()
        for thread in self._threads:
            thread.join()
        super().server_close()


class _Threads(list):  # type: ignore[type-arg]
    """The threads that have not ended and must be waited for."""

    def append(self, thread: Thread) -> None:
        self[:] = [old for old in self if old.is_alive()]
        if not thread.daemon:
            super().append(thread)


def _finish_request(request: Any, client_address: Any, server: BaseServer) -> None:
    """What runs a blocking handler; an overridden `finish_request` may give it more arguments."""
    server.finish_request(request, client_address)


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

    request_queue_size = QUEUE


class SelectUDPServer(SelectMixIn, UDPServer):
    """UDP, one loop for all exchanges."""


if hasattr(socket, "AF_UNIX"):
    from .unix import UnixDatagramServer, UnixStreamServer

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

        request_queue_size = QUEUE

    class SelectUnixDatagramServer(SelectMixIn, UnixDatagramServer):
        """Unix datagram sockets, one loop for all exchanges."""
