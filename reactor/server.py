"""Servers: a socket, a handler class and a mode. The names and the contract are ``socketserver``'s.

A server takes what arrives (`get_request`, `verify_request`), enters it in the table, and leaves
it to `process_request`, where one mode differs from another. Here is the plain mode: the caller
drives the request until it has ended, in `finish_request`. The others are in ``modes``.
"""

from __future__ import annotations

import os
from _thread import RLock, get_ident

from handlers import Cause, Handler

from .admission import PUT_OFF, Admission, Line
from .loop import Reactor, prepare
from .request import CALLER, CHILD, BlockingRow, Request
from .sources import AGAIN
from .timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

UNSET = object()


class BaseServer:
    """What all servers have in common; see ``socketserver.BaseServer``, whose contract this is.

    ``reactor`` is the loop to serve on, which several servers may share; by default a server makes
    one of its own when it begins to serve.
    """

    timeout: float | None = None
    """Seconds after which `handle_request` gives up and calls `handle_timeout`."""

    max_requests = 65_536
    """Open rows of the reactor at which no more requests are taken: see ``at_limit``."""

    max_per_peer = 65_536
    """Open rows of one host at which no more requests of that host are taken: they are closed unread."""

    at_limit = "pause"
    """What becomes of arrivals at ``max_requests``. ``"pause"``: they wait in the kernel. ``"refuse"``: they are
    closed unread. ``"evict"``: in select mode they take the place of the row that has been idle longest, which
    ends with `Cancelled`; in the other modes they wait, for there a row can't be ended from outside."""

    _srv_evicts = False  # whether rows of this mode can be ended for others
    _srv_budget = 1  # arrivals taken in one batch: each takes as long as it takes, and others have their turn between

    def __init__(self, server_address: Any, RequestHandlerClass: Any, *, reactor: Reactor | None = None) -> None:
        prepare()
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        self._srv_handler = RequestHandlerClass  # what runs a request: in select mode not always what was given
        self._srv_reactor = reactor
        self._srv_shared = reactor is not None
        self._srv_rows: dict[int, Request] = {}  # by id() of the request, from its arrival to its end
        self._srv_at: dict[int, int] = {}  # by thread, the id() of the request that it is at
        self._srv_inners: set[Reactor] = set()  # the loops of requests that other threads drive
        self._srv_closing = False
        self._srv_crew: set[int] = set()  # the id() of each request that a thread of this server is at
        self._srv_heirs = 0  # children that go on with a request of their handler's
        self._srv_exit_status: int | None = None  # where this is such a child
        self._srv_taken = 0
        self._srv_admission = Admission(self)
        self._srv_line = Line(self)
        self._srv_own_timeout: Any = UNSET  # the socket's, while it must not block
        self._srv_shutdown_request = False
        self._srv_serving = RLock()  # so that shutdown() in the thread that serves can't wait for itself
        self._srv_serving_thread = 0

    @property
    def reactor(self) -> Reactor:
        """The loop that this server serves on."""
        if self._srv_reactor is None:
            self._srv_reactor = Reactor()
        return self._srv_reactor

    def server_activate(self) -> None:
        """Called by the constructor to begin listening. May be overridden."""

    # Serving

    def start_serving(self) -> None:
        """Take requests from now on, whenever the reactor runs.

        `serve_forever` does it itself, and so does the constructor with ``reactor=``.
        """
        if not self.reactor.port(self).open:
            self._srv_listen(self._srv_arrivals)

    def stop_serving(self) -> None:
        """Take no more requests; those that are open go on. What arrives waits in the kernel."""
        self._srv_unlisten()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`, until the reactor is stopped, or, after `stop_serving`, until nothing is open.

        Nothing is polled: ``poll_interval``, in seconds, is only how often an overridden
        `service_actions` is called at least.
        """
        if get_ident() == self._srv_serving_thread or get_ident() in self._srv_at:
            raise RuntimeError("serve_forever() is running already, and has called what calls it again")
        interval = None if is_ours(self.service_actions) else poll_interval
        with self._srv_serving:
            self._srv_serving_thread = get_ident()
            self.start_serving()
            try:
                self.reactor.run_while(self._srv_going_on, interval)
            finally:
                self._srv_shutdown_request = False
                self._srv_serving_thread = 0
                if not self._srv_shared:
                    self.stop_serving()

    def _srv_going_on(self) -> bool:
        if not self._srv_shutdown_request:
            self.service_actions()
        return not self._srv_shutdown_request and self.reactor.busy

    def shutdown(self) -> None:
        """End `serve_forever`, and wait until it has ended.

        Called where waiting would be for ever (in the thread that serves, or when nobody serves), it
        does not wait: a `serve_forever` that comes later returns at once.
        """
        self._srv_shutdown_request = True
        reactor = self._srv_reactor
        if reactor is not None:
            reactor.call_soon(nothing)  # wakes it
        with self._srv_serving:
            pass

    def handle_request(self) -> None:
        """Take one request, wait for it if need be, and process it.

        Gives up after ``timeout`` seconds (or the socket's own timeout, if that is shorter) and calls
        `handle_timeout`. In select mode it returns when that request has ended. `Reactor.stop` ends it.
        """
        reactor, taken = self.reactor, self._srv_taken
        was_open, deadline = reactor.port(self).open, self._srv_deadline()
        newest = max((row.serial for row in reactor.table), default=0)

        def is_over() -> bool:
            return reactor.clock.monotonic() >= deadline

        self._srv_listen(self._srv_one_arrival)
        timer = None if deadline == NEVER else reactor.call_at(deadline, nothing)
        try:
            reactor.run_while(lambda: self._srv_taken == taken and not is_over())
            if self._srv_taken != taken:
                self._srv_see_through(newest)
            elif is_over():
                self.handle_timeout()
        finally:
            if timer is not None:
                timer.cancel()
            self._srv_unlisten()
            if was_open:
                self.start_serving()

    def _srv_listen(self, arrivals: Callable[[], None]) -> None:
        self.reactor.port(self).listen(arrivals)

    def _srv_unlisten(self) -> None:
        if self._srv_reactor is not None:
            self._srv_reactor.port(self).close()

    def service_actions(self) -> None:
        """Called by `serve_forever` after every batch of events. May be overridden."""

    def handle_timeout(self) -> None:
        """Called when `handle_request` gives up. May be overridden."""

    def _srv_deadline(self, *timeouts: float | None) -> float:
        known = [seconds for seconds in (self.timeout, *timeouts) if seconds is not None]
        return self.reactor.clock.monotonic() + min(known, default=NEVER)

    def _srv_see_through(self, newest: int) -> None:
        """What `handle_request` still has to do when a request has been taken, whose serial is over ``newest``."""
        self.reactor.run_while(lambda: bool(self._srv_line))  # until it has begun

    # What arrives

    def _srv_arrivals(self) -> None:
        for _ in range(self._srv_budget):
            if self._srv_admission.is_closed() or not self._handle_request_noblock():
                return

    def _srv_one_arrival(self) -> None:
        if self._srv_has_room():
            self._srv_enough()
            self._handle_request_noblock()
        else:
            self._srv_full()

    def _srv_full(self) -> None:
        """There is no room for one more request: leave arrivals in the kernel until one has ended."""
        self._srv_admission.wait_for_room()

    def _srv_enough(self) -> None:
        """Take no request for now, but this one."""
        self.reactor.port(self).pause()

    def _srv_has_room(self) -> bool:
        """Whether one more request may be taken."""
        return len(self.reactor.table) < self.max_requests

    def _srv_can_begin(self) -> bool:
        """Whether one more request that has been taken may begin."""
        return not self._srv_closing and (not self._srv_heirs or self._srv_heirs < self.reactor.max_children)

    def _handle_request_noblock(self) -> bool:
        """Take one request if one is there. Whether there may be another."""
        self._srv_taken += 1
        try:
            request, client_address = self._srv_next()
        except AGAIN:
            return False
        except OSError as error:
            if error.errno in PUT_OFF:
                self._srv_admission.run_short(error)
            return isinstance(error, ConnectionError)  # that one has gone; the next may be there
        self._srv_begin(request, client_address)
        return True

    def _srv_next(self) -> tuple[Any, Any]:
        return self.get_request()

    def get_request(self) -> tuple[Any, Any]:
        """Take a request from the socket: ``(request, client_address)``. Raises ``OSError`` if there is none."""
        raise NotImplementedError

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to process the request. May be overridden; the default says yes to all."""
        return True

    def _srv_begin(self, request: Any, client_address: Any) -> None:
        """Enter the request in the table, and process it when it is its turn."""
        self._srv_attempt(self._srv_admission.let_in, request, client_address)
        self._srv_line.go_on()

    def _srv_attempt(self, call: Callable[[Any, Any], object], request: Any, client_address: Any) -> None:
        """Do something for the request. If it raises, `handle_error` is called, and the request has ended."""
        self._srv_at[get_ident()] = id(request)
        try:
            call(request, client_address)
        except BaseException as error:
            try:
                if not isinstance(error, Exception):
                    raise
                row = self._srv_rows.get(self._srv_key(request))
                if row is not None:
                    row.error = error
                self.handle_error(request, client_address)
            finally:
                if self._srv_exit_status is not None:
                    self._srv_exit_status = 1
                self.shutdown_request(request)
                self._srv_ended(request)
        finally:
            self._srv_at.pop(get_ident(), None)

    def _srv_enter(self, request: Any, client_address: Any) -> Request:
        try:
            row = self._srv_row(request, client_address)
        except BaseException as error:  # its handler can't be made, but the request has come, and will be told of
            row = BlockingRow(self.reactor, self, request, client_address)
            row.error = error
        self._srv_rows[id(request)] = row
        self.reactor.table.add(row)
        if row.error is not None:
            raise row.error
        return row

    def _srv_key(self, request: Any) -> int:
        """The key of the request's row: where a hook has wrapped the request, that of the one this thread is at."""
        return id(request) if id(request) in self._srv_rows else self._srv_at.get(get_ident(), 0)

    def _srv_known(self, request: Any, client_address: Any) -> Request:
        """The request's row, made if there is none."""
        return self._srv_rows.get(self._srv_key(request)) or self._srv_enter(request, client_address)

    def _srv_row(self, request: Any, client_address: Any) -> Request:
        return BlockingRow(self.reactor, self, request, client_address)

    # What becomes of it

    def process_request(self, request: Any, client_address: Any) -> None:
        """Finish the request before anything else is done. Here the modes differ.

        May be overridden, to hand the request to a pool of threads for one: it stays in the table until
        `shutdown_request` or `close_request`.
        """
        self.finish_request(request, client_address)
        self.shutdown_request(request)
        self._srv_ended(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the request to its end, in whatever caller, child or thread this is called.

        A blocking handler does it all in its constructor; a state machine is driven by a loop of its own.
        """
        if not is_kind(self.RequestHandlerClass, Handler):
            try:
                self.reactor.blocking(self.RequestHandlerClass, request, client_address, self)
            except BaseException as error:
                row = self._srv_rows.get(self._srv_key(request))
                if row is not None:
                    row.error = row.error or error  # what came of a connection that was broken off is not why it ended
                raise
            return
        is_new = not self._srv_key(request)  # a pool's, that has wrapped it: nobody else knows of this row
        row = self._srv_known(request, client_address)
        inner = self.reactor.inside()
        try:
            self._srv_drive(inner, row)
        finally:
            inner.close()
            if is_new:
                self._srv_ended(request)
        reason = None if row.machine is None else row.machine.reason
        if isinstance(reason, Exception) and not isinstance(reason, Cause):
            raise reason

    def _srv_drive(self, inner: Reactor, row: Request) -> None:
        """Drive ``row`` in ``inner``. In the thread of the server's own loop a stop of that one stops this one too."""
        outer = self.reactor
        if not outer.working_here:
            inner.threaded = True
            inner.make_wakeup()
            self._srv_inners.add(inner)
            if self._srv_closing:
                inner.stop()
            try:
                inner.drive(row)
            finally:
                self._srv_inners.discard(inner)
            return
        before, outer.inner = outer.inner, inner
        try:
            if outer.stopping:
                inner.stop()
            inner.drive(row)
        finally:
            outer.inner = before

    def fork_request(self, request: Any) -> int:
        """For a blocking handler's ``handle()``: fork, and let the child finish the request.

        Returns the child's pid in the parent, where ``handle()`` should now return: the connection
        stays open for the child. Returns 0 in the child, which exits when its ``handle()`` returns.
        Raises `RuntimeError` where there is no fork, and in select mode (use `Forked` there).
        """
        row = self._srv_rows.get(self._srv_key(request))
        if row is None:
            raise RuntimeError("fork_request() takes self.request, and not in select mode: there, wait for Forked()")

        def ended(status: int | None, words: bytes) -> None:
            from .children import heed  # imported long since, by prepare()

            self._srv_heirs -= 1
            heed(row, status, words)
            self._srv_strike(row)

        pid = self.reactor.children.fork(ended, keep=row)
        if pid:
            self._srv_heirs += 1
            row.driver = f"{CHILD}{pid}"
        else:
            self._srv_exit_status = 0
        return pid

    def _srv_forked(self, keep: Request | None) -> None:
        """In a child: let go of what is the parent's, but for what the row ``keep`` needs."""
        self._srv_serving = RLock()  # that of the parent may be held by one of its threads

    def _srv_ended(self, request: Any) -> None:
        """This process has done with the request; a child of its handler may go on with it."""
        row = self._srv_rows.pop(self._srv_key(request), None)
        if self._srv_exit_status is not None:
            try:
                if row is not None:
                    self.reactor.children.tell(row)
            finally:
                os._exit(self._srv_exit_status)
        if row is not None and not row.driver.startswith(CHILD):
            self._srv_strike(row)

    def _srv_closed(self, request: Any) -> None:
        row = self._srv_rows.get(self._srv_key(request))
        if row is not None and row.driver == CALLER:
            self._srv_ended(request)

    def _srv_strike(self, row: Request) -> None:
        """Strike the row of a request that has ended. May be called from another thread."""
        reactor = self._srv_reactor
        if reactor is not None:
            reactor.table.remove(row)
            reactor.call_soon(self._srv_go_on)

    def _srv_go_on(self) -> None:
        """A request has ended: there may be room for others, those that are in the table first."""
        self._srv_line.look_again()
        self.reactor.make_room()

    def shutdown_request(self, request: Any) -> None:
        """End the connection in an orderly way, and close the request."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Give back what the request holds. May be extended."""
        self._srv_closed(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while an exception that a handler raised is being handled. May be overridden.

        The default logs it with its traceback, the row (`Request.obituary`) in ``extra``, and goes on. Where nobody
        has configured ``logging``, that is printed on standard error.
        """
        import logging  # imported long since, by prepare()

        row = self._srv_rows.get(self._srv_key(request))
        told = "Exception occurred during processing of request from %s"
        logging.getLogger(__package__).error(
            told, client_address, exc_info=True, extra={"row": None if row is None else row.obituary()}
        )

    def _srv_failed(self, row: Request) -> None:
        """The handler of a row that the loop drives has raised, what is being handled."""
        request = row.request()
        self._srv_rows[id(request)] = row
        try:
            self.handle_error(request, row.peer)
        finally:
            del self._srv_rows[id(request)]

    # The end

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """After `shutdown`: give what is open ``seconds`` to finish, then close; what did not is returned.

        See `Reactor.drain`. Listening ends first. A blocking handler can't be told of a cause: the connection
        that it waits for is shut down, the child that it is in is killed.
        """
        reactor = self.reactor
        unfinished = reactor.drain(seconds, self)
        for row in reactor.table:
            if row.server is self and isinstance(row, BlockingRow):
                row.break_off()
        self.server_close()
        return unfinished

    def server_close(self) -> None:
        """After `shutdown`: cancel the server's requests, close its own loop. Not for handlers. May be extended."""
        self._srv_begin_to_close()
        reactor = self._srv_reactor
        if reactor is not None:
            reactor.cancel([row for row in reactor.table if row.server is self and row.reactor is reactor])
            if not self._srv_shared:
                reactor.close()
                self._srv_reactor = None

    def _srv_begin_to_close(self) -> None:
        within = get_ident() in self._srv_at
        if self._srv_serving_thread not in (0, get_ident()) and not within:
            self.shutdown()  # which socketserver's users may leave out
        if self._srv_reactor is not None and (within or not self._srv_shared):
            self._srv_reactor.require_rest("server_close()")
        self._srv_unlisten()
        self._srv_closing = True
        self._srv_line.close()
        for inner in list(self._srv_inners):
            inner.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.server_close()


def is_kind(handler: Any, kind: type) -> bool:
    """Whether ``handler`` is a class of that kind; ``socketserver`` takes any callable as a handler."""
    return isinstance(handler, type) and issubclass(handler, kind)


def is_ours(method: Any) -> bool:
    """Whether a server's method is the package's own, and nobody has overridden it."""
    module: str = getattr(method, "__module__", "")
    return module.partition(".")[0] == __package__


def nothing() -> None:
    """What is called where only that something is called matters."""
