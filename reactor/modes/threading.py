"""Thread mode: a thread drives each request."""

from __future__ import annotations

import errno
import logging  # noqa: F401 - prints the traceback of one thread whole, see `loop.log`
import socket
from _thread import start_new_thread
from functools import partial
from threading import Thread, current_thread

from ..loop.kernel import NoneLeft, is_final
from ..loop.timers import nothing
from ..servers.hooks import call_hook, end_request
from ..servers.mode import Mode, register_mode
from ..servers.tcp import TCPServer
from ..servers.udp import UDPServer
from ..table.request import CALLER, ENDED, DrivenBy
from .mixin import ModeMixIn
from .select import BATCH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..servers.service import Service
    from ..table.request import Request

    _Base = TCPServer
else:
    _Base = ModeMixIn

THREAD = DrivenBy("thread")
"""A thread is about to drive the row, and says its name then."""

NO_THREADS = "this host can't start a thread; take the Select, the Forking or the plain server class, and not Threaded"


class ThreadMode(Mode):
    """A thread drives each request, in a loop of its own."""

    batch, in_turn = BATCH, False
    work = "thread"
    bound = ("max_threads", "threads")

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._busy: set[Request] = set()  # the rows that threads drive
        self.threads: list[Thread] = []
        """The threads for which ``server_close()`` waits."""

    def adapt(self, handler: Any) -> Any:
        try:
            start_new_thread(nothing, ())  # to find out now whether the host has threads
        except RuntimeError as error:
            raise RuntimeError(f"{type(self.service.server).__name__}: {NO_THREADS}") from error
        return super().adapt(handler)

    def may_begin(self) -> bool:
        if self.loop_drives:
            return True  # a thread is for a whole request: see `start_thread`
        return len(self._busy) < int(self.service.server.max_threads)

    def listen(self) -> None:
        self.service.reactor.make_wakeup()  # the end of a thread must wake the loop, so that a queued request begins

    def process(self, row: Request, request: Any, client_address: Any) -> None:
        if self.loop_drives:
            self.service.leave_to_loop(row)
        else:
            self._start(row, self.service.server.process_request_thread, request, client_address)

    def process_directly(self, request: Any, client_address: Any, row: Request) -> None:
        self._start(row, self._serve_directly, request, client_address, row)

    def _serve_directly(self, request: Any, client_address: Any, row: Request) -> None:
        """As `ThreadingMixIn.process_request_thread`."""
        service = self.service
        try:
            service.direct.handle(request, client_address, row)
        except Exception:
            call_hook(service.server, "handle_error", request, client_address)
        finally:
            service.direct.close(request, row)

    def _start(self, row: Request, serve: Callable[..., object], *arguments: Any) -> None:
        """Have a thread call ``serve(*arguments)``, which begin with the request and the client's address."""
        row.driven_by = THREAD
        self._busy.add(row)
        try:
            self.in_thread(partial(self._run, row, serve, *arguments))
        except RuntimeError as error:
            row.driven_by = CALLER
            self._busy.discard(row)
            if is_final(error):
                raise
            raise NoneLeft(errno.EAGAIN, str(error)) from error  # EAGAIN: the error of pthread_create(3)

    def start_thread(self, work: Callable[[], object]) -> None:
        server = self.service.server
        thread = Thread(target=work, daemon=server.daemon_threads)
        thread.start()
        if server.block_on_close and not thread.daemon:
            self.threads[:] = [old for old in self.threads if old.is_alive()]
            self.threads.append(thread)

    def _run(
        self, row: Request, serve: Callable[..., object], request: Any, client_address: Any, *more: Request
    ) -> None:
        service = self.service
        row.driven_by = DrivenBy.in_thread(current_thread().name)
        with service.hand.at(row):
            try:
                serve(request, client_address, *more)
            except Exception as error:
                if row.stage is ENDED:
                    raise
                service.fail(row, request, client_address, error)
            finally:
                self._busy.discard(row)
                early = row.stage is ENDED  # by a hook, which could not make room for another thread
                service.ended(row)
                if not row.driven_by.pid and (early or row.stage is not ENDED):  # else fork_request() has it
                    service.strike(row)

    def close(self) -> None:
        super().close()
        for thread in list(self.threads):
            thread.join()


class ThreadingMixIn(_Base):
    """A thread drives each request; see ``socketserver.ThreadingMixIn``.

    A thread that has ended a request takes the next one, if it comes within half a second, because to start a thread
    takes longer than a short request. Each request has an empty context (``contextvars``), as in a new thread; what a
    handler leaves in a ``threading.local`` is there in later requests. For a new thread each time, override
    ``process_request()``: have the thread call ``process_request_thread()``.

    For a blocking handler that declares ``request``, the loop waits until a request is whole, and a thread answers it.
    """

    daemon_threads = False
    """Whether the process may end while threads run."""

    block_on_close = True
    """Whether `server_close` waits for the threads that are not daemons."""

    max_threads = 256
    """Threads that may run at once; more requests wait in the table, each with its descriptor (``max_requests``).

    That requests wait is logged as a warning, which says what to do."""

    @property
    def _threads(self) -> list[Thread]:  # the name in socketserver; CPython's tests use it
        mode: Any = self._srv.mode
        threads: list[Thread] = mode.threads
        return threads

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread that serves the request."""
        self._srv.process(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread: serve the request. May be extended."""
        try:
            self._srv.do(request, client_address)
        except Exception:
            call_hook(self, "handle_error", request, client_address)
        finally:
            end_request(self, request)

    def server_close(self) -> None:
        """Cancel the server's state machines, and wait for its threads (``block_on_close``)."""
        super().server_close()


register_mode(ThreadingMixIn, ThreadMode)


class ThreadingTCPServer(ThreadingMixIn, TCPServer):
    """TCP, a thread for each connection."""


class ThreadingUDPServer(ThreadingMixIn, UDPServer):
    """UDP, a thread for each exchange."""


if hasattr(socket, "AF_UNIX"):
    from ..servers.unix import UnixDatagramServer, UnixStreamServer

    class ThreadingUnixStreamServer(ThreadingMixIn, UnixStreamServer):
        """Unix stream sockets, a thread for each connection."""

    class ThreadingUnixDatagramServer(ThreadingMixIn, UnixDatagramServer):
        """Unix datagram sockets, a thread for each exchange."""
