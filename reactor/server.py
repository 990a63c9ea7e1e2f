"""Servers: a socket, a handler class and a mode. The names and the contract are ``socketserver``'s.

A server takes what arrives (`get_request`, `verify_request`), enters it in the table, and leaves
it to `process_request`, where one mode differs from another. Here is the plain mode: the caller
drives the request until it has ended, in `finish_request`. The others are in ``modes``.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from _thread import RLock, get_ident

from handlers import Cause, DatagramHandler, StreamHandler

from .loop import Reactor, prepare
from .stream import AGAIN, StreamRow
from .table import CALLER, BlockingRow, Request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

BUDGET = 64  # arrivals that one server takes before the other rows have their turn
_SHORT = {
    getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") if hasattr(errno, name)
}  # what the host has run out of; it can only come back with time
_UNSET = object()
_PAUSE = 0.1  # seconds until arrivals are looked at again after that


class BaseServer:
    """What all servers have in common; see ``socketserver.BaseServer``, whose contract this is.

    ``reactor`` is the loop to serve on, which several servers may share; by default a server makes
    one of its own when it begins to serve.
    """

    timeout: float | None = None
    """Seconds after which `handle_request` gives up and calls `handle_timeout`."""

    max_requests = 65_536
    """Open rows at which no more requests are taken: what arrives waits in the kernel."""

    def __init__(self, server_address: Any, RequestHandlerClass: Any, *, reactor: Reactor | None = None) -> None:
        prepare()
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        self._handler = RequestHandlerClass  # what runs a request: in select mode not always what was given
        self._reactor = reactor
        self._shared = reactor is not None
        self._rows: dict[int, Request] = {}  # by id() of the request, from its arrival to its end
        self._handed_over: set[int] = set()  # the requests, by id(), that a child of their handler's goes on with
        self._is_child = False
        self._taken = 0
        self._own_timeout: Any = _UNSET  # the socket's, while it must not block
        self._shutdown_request = False
        self._serving = RLock()  # so that shutdown() in the thread that serves can't wait for itself
        self._server_thread = 0

    @property
    def reactor(self) -> Reactor:
        """The loop that this server serves on."""
        if self._reactor is None:
            self._reactor = Reactor()
        return self._reactor

    def server_activate(self) -> None:
        """Called by the constructor to begin listening. May be overridden."""

    # Serving

    def start_serving(self) -> None:
        """Take requests from now on, whenever the reactor runs.

        `serve_forever` does it itself, and so does the constructor with ``reactor=``.
        """
        if not self.reactor.port(self).open:
            self._listen(self._arrivals)

    def stop_serving(self) -> None:
        """Take no more requests; those that are open go on. What arrives waits in the kernel."""
        self._unlisten()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`, until the reactor is stopped, or, after `stop_serving`, until nothing is open.

        Nothing is polled: ``poll_interval``, in seconds, is only how often an overridden
        `service_actions` is called at least.
        """
        if self._server_thread == get_ident():
            raise RuntimeError("serve_forever() is already running in this thread")
        interval = poll_interval if self._has_service_actions() else None
        with self._serving:
            self._server_thread = get_ident()
            self.start_serving()
            try:
                self.reactor.run_while(self._going_on, interval)
            finally:
                self._shutdown_request = False
                self._server_thread = 0
                if not self._shared:
                    self.stop_serving()

    def _going_on(self) -> bool:
        if not self._shutdown_request:
            self.service_actions()
        return not self._shutdown_request and self.reactor.busy

    def shutdown(self) -> None:
        """End `serve_forever`, and wait until it has ended.

        Called where waiting would be for ever (in the thread that serves, or when nobody serves), it
        does not wait: a `serve_forever` that comes later returns at once.
        """
        self._shutdown_request = True
        reactor = self._reactor
        if reactor is not None:
            reactor.call_soon(_nothing)  # wakes it
        with self._serving:
            pass

    def handle_request(self) -> None:
        """Take one request, wait for it if need be, and process it.

        Gives up after ``timeout`` seconds (or the socket's own timeout, if that is shorter) and calls
        `handle_timeout`. In select mode it returns when that request has ended.
        """
        deadline = self._deadline()
        was_open, taken = self.reactor.port(self).open, self._taken
        self._listen(self._one_arrival)
        try:
            while self._taken == taken:
                left = None if deadline is None else deadline - self.reactor.clock.monotonic()
                if left is not None and left < 0:
                    self.handle_timeout()
                    return
                self.reactor.step(left)
            self._see_through()
        finally:
            self._unlisten()
            if was_open:
                self.start_serving()

    def _listen(self, arrivals: Callable[[], None]) -> None:
        self.reactor.port(self).listen(arrivals)

    def _unlisten(self) -> None:
        if self._reactor is not None:
            self._reactor.port(self).close()

    def service_actions(self) -> None:
        """Called by `serve_forever` after every batch of events. May be overridden."""

    def handle_timeout(self) -> None:
        """Called when `handle_request` gives up. May be overridden."""

    def _has_service_actions(self) -> bool:
        return getattr(type(self).service_actions, "__module__", "").partition(".")[0] != __package__

    def _deadline(self) -> float | None:
        timeouts = [seconds for seconds in (self._socket_timeout(), self.timeout) if seconds is not None]
        return self.reactor.clock.monotonic() + min(timeouts) if timeouts else None

    def _socket_timeout(self) -> float | None:
        return None

    def _see_through(self) -> None:
        """What `handle_request` still has to do when the request has been taken."""

    # What arrives

    def _arrivals(self) -> None:
        for _ in range(BUDGET):
            if not self._has_room():
                self._wait_for_room()
                return
            if not self._handle_request_noblock():
                return

    def _one_arrival(self) -> None:
        if self._has_room():
            self.reactor.port(self).pause()
            self._handle_request_noblock()
        else:
            self._wait_for_room()

    def _has_room(self) -> bool:
        """Whether one more request may be taken."""
        return len(self.reactor.table) < self.max_requests

    def _wait_for_room(self) -> None:
        port = self.reactor.port(self)
        port.pause_until_room()
        if self._has_room():  # made by a thread in the meantime, which can't have seen the pause
            port.resume()

    def _handle_request_noblock(self) -> bool:
        """Take one request if one is there. Whether there may be another."""
        self._taken += 1
        try:
            request, client_address = self.get_request()
        except AGAIN:
            return False
        except OSError as error:
            if error.errno in _SHORT:
                port = self.reactor.port(self)
                port.pause()
                self.reactor.call_later(_PAUSE, port.resume)
            return isinstance(error, ConnectionError)  # that one has gone; the next may be there
        self._begin(request, client_address)
        return True

    def get_request(self) -> tuple[Any, Any]:
        """Take a request from the socket: ``(request, client_address)``. Raises ``OSError`` if there is none."""
        raise NotImplementedError

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to process the request. May be overridden; the default says yes to all."""
        return True

    def _begin(self, request: Any, client_address: Any) -> None:
        """Enter the request in the table and process it."""
        try:
            if not self.verify_request(request, client_address):
                self.shutdown_request(request)
                return
            self._enter(request, client_address)
            self.process_request(request, client_address)
        except BaseException as error:
            try:
                if not isinstance(error, Exception):
                    raise
                self.handle_error(request, client_address)
            finally:
                self.shutdown_request(request)
                self._ended(request, status=1)
        row = self._rows.get(id(request))
        if row is not None and row.driver == CALLER:  # an overridden process_request() has put it off
            self._ended(request)

    def _enter(self, request: Any, client_address: Any) -> Request:
        row = self._rows[id(request)] = self._row(request, client_address)
        self.reactor.table.add(row)
        return row

    def _row(self, request: Any, client_address: Any) -> Request:
        if is_kind(self._handler, StreamHandler):
            return StreamRow(self.reactor, self, request, client_address, self._handler(), CALLER)
        return BlockingRow(self.reactor, self, request, client_address)

    # What becomes of it

    def process_request(self, request: Any, client_address: Any) -> None:
        """Finish the request before anything else is done. Here the modes differ."""
        self.finish_request(request, client_address)
        self.shutdown_request(request)
        self._ended(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the request to its end, in whatever caller, child or thread this is called.

        A blocking handler does it all in its constructor; a state machine is driven by a loop of its own.
        """
        row = self._rows.get(id(request))
        if row is None:  # an overridden process_request() has put it off
            row = self._enter(request, client_address)
            try:
                self._finish(row, request, client_address)
            finally:
                self._ended(request)
        else:
            self._finish(row, request, client_address)

    def _finish(self, row: Request, request: Any, client_address: Any) -> None:
        if row.machine is None:
            self.RequestHandlerClass(request, client_address, self)
            return
        inner = self.reactor.inside()
        try:
            self._drive(inner, row)
        finally:
            inner.close()
        if isinstance(row.machine.reason, Exception) and not isinstance(row.machine.reason, Cause):
            raise row.machine.reason

    def _drive(self, inner: Reactor, row: Request) -> None:
        """Drive ``row`` in ``inner``; a `Reactor.stop` of the server's loop stops that one too."""
        outer = self.reactor
        before, outer.inner = outer.inner, inner
        try:
            inner.drive(row)
        finally:
            outer.inner = before

    def fork_request(self, request: Any) -> int:
        """For a blocking handler's ``handle()``: fork, and let the child finish the request.

        Returns the child's pid in the parent, where ``handle()`` should now return: the connection
        stays open for the child. Returns 0 in the child, which exits when its ``handle()`` returns.
        Raises `RuntimeError` where there is no fork, and in select mode (use `Forked` there).
        """
        row = self._rows.get(id(request))
        if row is None:
            raise RuntimeError("fork_request() takes self.request, and not in select mode: there, wait for Forked()")
        pid = self.reactor.children.fork(lambda status: self._strike(row), keep=row)
        if pid:
            self._handed_over.add(id(request))
            row.driver = f"child {pid}"
        else:
            self._is_child = True
        return pid

    def _ended(self, request: Any, status: int = 0) -> None:
        """This process has done with the request; a child of its handler may go on with it."""
        row = self._rows.pop(id(request), None)
        if self._is_child:
            os._exit(status)
        if id(request) in self._handed_over:
            self._handed_over.discard(id(request))
        elif row is not None:
            self._strike(row)

    def _strike(self, row: Request) -> None:
        """Strike the row of a request that has ended. May be called from another thread."""
        reactor = self._reactor
        if reactor is not None:
            reactor.table.remove(row)
            reactor.call_soon(reactor.make_room)

    def shutdown_request(self, request: Any) -> None:
        """End the connection in an orderly way, and close the request."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Give back what the request holds. May be overridden."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while an exception that a handler raised is being handled. May be overridden.

        The default prints a traceback on standard error and goes on.
        """
        import traceback  # imported long since, by prepare()

        print("-" * 40, file=sys.stderr)
        print("Exception occurred during processing of request from", client_address, file=sys.stderr)
        traceback.print_exc()
        print("-" * 40, file=sys.stderr)

    # The end

    def server_close(self) -> None:
        """Give back what the server holds: cancel its requests, close its own loop. May be extended."""
        reactor = self._reactor
        if reactor is not None:
            reactor.cancel([row for row in reactor.table if row.server is self and row.reactor is reactor])
            if not self._shared:
                reactor.close()
                self._reactor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server_close()


class TCPServer(BaseServer):
    """A server of stream sockets, in the plain mode; see ``socketserver.TCPServer``, whose contract this is."""

    address_family: int = socket.AF_INET
    socket_type: int = socket.SOCK_STREAM
    request_queue_size = 5
    """Connections that the kernel keeps for the server until it accepts them (``listen(2)``)."""

    allow_reuse_address = False
    allow_reuse_port = False

    def __init__(
        self, server_address: Any, RequestHandlerClass: Any, bind_and_activate: bool = True, *,
        reactor: Reactor | None = None,
    ) -> None:  # fmt: skip
        super().__init__(server_address, RequestHandlerClass, reactor=reactor)
        self._check_handler()
        network = socket if reactor is None else reactor.network
        self.socket: socket.socket = network.socket(self.address_family, self.socket_type)
        if bind_and_activate:
            try:
                self.server_bind()
                self.server_activate()
                if reactor is not None:
                    self.start_serving()
            except BaseException:
                self.server_close()
                raise

    def _check_handler(self) -> None:
        """Raise now what would otherwise fail on every request."""
        packets = self.socket_type == socket.SOCK_DGRAM
        wrong, right = (StreamHandler, "DatagramHandler") if packets else (DatagramHandler, "StreamHandler")
        if is_kind(self.RequestHandlerClass, wrong):
            raise TypeError(
                f"{self.RequestHandlerClass.__name__} is a {wrong.__name__}, but {type(self).__name__} has "
                f"{'datagram' if packets else 'stream'} sockets: it serves a {right} or a blocking handler"
            )

    def server_bind(self) -> None:
        """Bind the socket. May be overridden."""
        if self.allow_reuse_address and hasattr(socket, "SO_REUSEADDR"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.allow_reuse_port and hasattr(socket, "SO_REUSEPORT"):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if self.address_family == getattr(socket, "AF_INET6", None) and hasattr(socket, "IPV6_V6ONLY"):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # on [::], IPv4 clients too
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def server_activate(self) -> None:
        self.socket.listen(self.request_queue_size)

    def server_close(self) -> None:
        self._unlisten()
        super().server_close()
        self.socket.close()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.socket.fileno()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection: ``(socket, client_address)``."""
        return self.socket.accept()

    def shutdown_request(self, request: Any) -> None:
        """End the stream to the client and close the connection."""
        if id(request) not in self._handed_over:  # else it is still the child's
            try:
                request.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # the client has gone first
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close this process's end of the connection."""
        request.close()

    def _socket_timeout(self) -> float | None:
        return self.socket.gettimeout()

    def _listen(self, arrivals: Callable[[], None]) -> None:
        if self._own_timeout is _UNSET:  # a client that goes before it is accepted must not block the loop
            self._own_timeout = self.socket.gettimeout()
            self.socket.settimeout(0)
        super()._listen(arrivals)

    def _unlisten(self) -> None:
        super()._unlisten()
        if self._own_timeout is not _UNSET:
            self.socket.settimeout(self._own_timeout)
            self._own_timeout = _UNSET


def is_kind(handler: Any, kind: type) -> bool:
    """Whether ``handler`` is a class of that kind; ``socketserver`` takes any callable as a handler."""
    return isinstance(handler, type) and issubclass(handler, kind)


def _nothing() -> None:
    """What is called to wake a loop."""


if hasattr(socket, "AF_UNIX"):

    class UnixStreamServer(TCPServer):
        """A server of Unix stream sockets, in the plain mode. An address that begins with NUL is abstract."""

        address_family = socket.AF_UNIX
