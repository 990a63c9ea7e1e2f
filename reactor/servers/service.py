"""`Service`: the parts of one server, and the way of a request through them, from its arrival to its end.

    the socket is readable -> `Arrivals.take` -> intake.take() -> `admit` -> the table -> the queue -> `begin`
    -> server.process_request() -> `process` -> the mode drives the row -> `ended`, or the loop releases the row

`serving` decides when requests are taken; `in_hand` finds the row for the request that a hook is given.
"""

from __future__ import annotations

from _thread import RLock
from functools import cached_property
from selectors import EVENT_READ

from ..handlers import Cause, Handler
from ..loop.kernel import AGAIN, NoneLeft, credentials, shut_down
from ..loop.timers import NEVER
from ..rows.blocking import BlockingRow
from ..rows.shared import shared
from ..table.ends import forget_frames
from ..table.reactor import Reactor
from ..table.request import CALLER, ENDED, LOOP, SERVING, DrivenBy, Request
from .admission import PUT_OFF, Admission
from .arrivals import Arrivals
from .direct import Direct
from .heirs import Heirs
from .hooks import call_hook, end_request, note_error
from .in_hand import CURRENT, InHand
from .inners import Inners
from .kinds import is_face, is_kind, refuse_made
from .mode import mode_of
from .queue import RequestQueue
from .serving import Serving
from .wrapped import shake_hands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, TypeVar

    from ..rows.shared import SharedSocket
    from .exchanges import Exchanges
    from .intake import Intake
    from .unix import BoundPath

    Result = TypeVar("Result")


BRIEF = 0.1
"""Seconds. If the last byte of a connection went in or out so soon after its arrival, the next connection is read when
it has come: its request is probably there, and the connection may end before the selector has to know of it."""


class Service:
    """The parts of one server; it is also the owner of the server's rows (`table.request.Owner`)."""

    def __init__(self, server: Any, reactor: Reactor | None, make_intake: Callable[[Service], Intake]) -> None:
        self.server = server
        self.is_shared = reactor is not None
        """Whether the user has given the loop to the server, so that other servers may use it too."""
        self._reactor = reactor
        self._making = RLock()  # reentrant, for a signal handler may ask for the loop while this thread makes it
        self.mode = mode_of(type(server))(self)
        self.handler: Any = self.mode.adapt(server.RequestHandlerClass)
        """The handler class; in select mode it may be an adapter of the class that the user has given."""
        self._is_machine = is_kind(self.handler, Handler)
        self.is_framed = self.mode.is_framed
        """Whether a state machine runs the blocking handler of streams over requests that have come whole."""
        if not (self._is_machine and self.mode.loop_drives) or self.is_framed:
            from ..table import posted  # noqa: F401 - for requests that a thread drives
            from . import answers, words  # noqa: F401 - for blocking handlers, and for their `fork_request()`
        self.intake = make_intake(self)
        self.admission = Admission(self)
        self.direct = Direct(self)
        self.queue = RequestQueue(self.may_begin, self.begin, self.give_back, self.mode.batch)
        self.closing = False
        self.hand = InHand(server)
        """The rows for which hooks may be called."""
        self.serving = Serving(self)
        self._inners = Inners(self)
        self.heirs = Heirs(self)
        """The children that go on with a request of their blocking handler."""
        self.holding = False
        """Whether no request begins for now."""
        self.is_draining = False
        self.drain_until = NEVER
        """The time of the loop's clock at which a drain cancels the open requests."""
        self.take_attempts = 0
        """How often it was tried to take a request, so far."""
        self.arrivals = Arrivals(self)
        self.is_brief = False  # whether the last connection was short: then the next is read when it has come
        self.bound_path: BoundPath | None = None
        """The Unix path that the server has made."""
        self.networks: Any = None
        """The networks that `access.AccessMixIn` lets in."""
        if reactor is not None:
            reactor.descriptors.add(self)

    @cached_property
    def reactor(self) -> Reactor:
        """The loop that the server serves on. The first thread that asks for it makes it."""
        with self._making:
            if self._reactor is None:
                reactor = Reactor()
                self._reactor = self._reactor or reactor  # a signal handler may have made one meanwhile
                if self._reactor is reactor:
                    reactor.descriptors.add(self)
                else:
                    reactor.close()
            return self._reactor

    def _forget_reactor(self) -> None:
        """The server's own loop is closed: a server that serves again makes another one."""
        self._reactor = None
        vars(self).pop("reactor", None)

    @property
    def source(self) -> SharedSocket | None:
        """The server's socket as the loop knows it; ``None`` without a loop, and when the socket is closed."""
        return None if self._reactor is None or self.server.fileno() < 0 else self.open_source()

    def open_source(self) -> SharedSocket:
        """The server's socket as the loop knows it. Raises ``ValueError`` when the socket is closed."""
        if self.server.fileno() < 0:
            raise ValueError(f"{type(self.server).__name__} can't serve: its socket is closed")
        return shared(self.reactor, self.server, self.server)

    @property
    def exchanges(self) -> Exchanges:
        """The intake of a datagram server."""
        intake: Any = self.intake
        exchanges: Exchanges = intake
        return exchanges

    @property
    def filters(self) -> Sequence[Callable[[Any], Any]]:
        """What makes the filters of the next connection, or of the next exchange of datagrams."""
        make: Callable[[], Sequence[Callable[[Any], Any]]] | None = getattr(self.server, "connection_filters", None)
        return () if make is None else make()

    @property
    def is_copy(self) -> bool:
        """Whether this is the copy of a server in a child that the user has forked: it only closes descriptors."""
        reactor = self._reactor
        return reactor is not None and reactor.is_copy and not reactor.is_child

    @property
    def has_reactor(self) -> bool:
        """Whether the server has a loop now: it makes its own when it begins to serve, and closes it."""
        return self._reactor is not None

    # What arrives

    def take(self, take: Callable[[], object] | None = None) -> bool:
        """Take one request if there is one, by ``take()`` or as the mode does. Returns whether there may be another."""
        self.take_attempts += 1
        try:
            (take or self.mode.take)()
        except AGAIN:
            return False
        except OSError as error:
            if error.errno in PUT_OFF:
                self.admission.run_short(error)
            return isinstance(error, ConnectionError)  # the client has left before accept(); others may be there
        if self.queue.rows:
            self.queue.go_on()
        return True

    def has_room(self) -> bool:
        """Whether one more request may be taken."""
        return len(self.reactor.table) < self.server.max_requests and self.intake.has_room()

    def may_begin(self) -> bool:
        """Whether a request that has been taken, and waits, may begin."""
        if self.closing or self.holding or not self.heirs.may_grow:
            return False
        if self.mode.may_begin():
            return True
        self.mode.tell_of_waiting()
        return False

    def admit(self, request: Any, client_address: Any, make_row: Callable[[], Request]) -> Request | None:
        """Check a new request and put its row into the table and the queue. Returns ``None`` if it is refused."""
        row = self.attempt(self.hand, self._check, request, client_address, make_row)
        if row is not None:
            self.queue.enter(row)
        return row

    def _check(self, request: Any, client_address: Any, make_row: Callable[[], Request]) -> Request | None:
        refused = self.admission.refuses(request, client_address)
        return None if refused else self._enter(request, client_address, make_row)

    def _enter(self, request: Any, client_address: Any, make_row: Callable[[], Request]) -> Request:
        error: BaseException | None = None
        try:
            row = make_row()
        except BaseException as failure:  # the handler's constructor has raised; the table still shows the request
            row = self.blocking_row(request, client_address)
            row.error = error = failure
        self.hand.keep(request, row)
        row.stage = SERVING  # until it is queued, which a request that the program has made never is
        self.reactor.table.add(row)
        if error is not None:
            raise error
        return row

    def begin(self, row: Request) -> None:
        """Begin the request of a row that was queued."""
        self.attempt(row, self.server.process_request, row.request, row.peer)

    def attempt(
        self, at: Request | InHand, call: Callable[..., Result], request: Any, client_address: Any, *more: Any
    ) -> Result | None:
        """Call ``call(request, client_address, *more)`` with the current row ``at``.

        If it raises, ``handle_error()`` is called, and the request ends.
        """
        before = CURRENT.set(at)
        try:
            return call(request, client_address, *more)
        except BaseException as error:
            self.fail(self.hand.find(request), request, client_address, error)
            return None
        finally:
            CURRENT.reset(before)

    def fail(self, row: Request | None, request: Any, client_address: Any, error: BaseException) -> None:
        """A hook or a handler has raised ``error``, which is handled now. Call ``handle_error()``, end the request.

        Raised again: `NoneLeft` (the request begins later), what ends the program, all in a child that a handler forks.
        """
        if isinstance(error, NoneLeft):
            self.admission.tell("can't begin requests for now: %s", error)
        if isinstance(error, NoneLeft) or self.is_copy:
            raise error
        note_error(row, error)
        try:
            if not isinstance(error, (KeyboardInterrupt, SystemExit)):
                call_hook(self.server, "handle_error", request, client_address)
        finally:
            end_request(self.server, request)
            if row is not None:
                self.ended(row)
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise error

    # The rows that hooks are about

    def known(self, request: Any, client_address: Any) -> Request:
        """The row of a request. It is made if there is none: a hook of the user's may have made the request."""
        row = self.hand.find(request)
        return row or self._enter(request, client_address, lambda: self.intake.make_row(request, client_address))

    def blocking_row(self, request: Any, client_address: Any) -> Request:
        """The row of a request that a blocking handler serves on its own socket."""
        row = BlockingRow(self.reactor, self.server, request, client_address, self)
        row.credentials = credentials(request)
        return row

    # What becomes of a request

    def process(self, request: Any, client_address: Any) -> None:
        """``process_request()`` of a mix-in: the mode serves the request."""
        self.mode.process(self.known(request, client_address), request, client_address)

    def do(self, request: Any, client_address: Any) -> None:
        """Call ``finish_request()``; for a blocking handler behind filters, with the face of its connection."""
        row = self.hand.find(request)
        try:
            if self.is_framed:
                self._finish_row(request, client_address)
            elif row is not None and row.has_face:
                self._finish_row(request, client_address, self.server.finish_request)
            else:
                self.server.finish_request(request, client_address)
        except BaseException as error:
            note_error(row, error)
            raise

    def process_here(self, request: Any, client_address: Any) -> None:
        """Serve the request to its end, then return."""
        row = self.known(request, client_address)
        self.do(request, client_address)
        self.server.shutdown_request(request)
        self.ended(row)

    def leave_to_loop(self, row: Any) -> None:
        """Select mode: the loop drives the row from now on."""
        self.hand.drop(row)
        row.driven_by = LOOP
        reactor = self.reactor
        reactor.adopt(row)
        if self.is_brief and row.channel.wants_input:
            reactor.guard(row, row.ready, EVENT_READ, reactor.time)
            reactor.guard(row, row.settle, reactor.time)  # now: the client can go on while others are accepted
            self.is_brief = row.total_in > 0

    def leave_to_child(self, row: Request, pid: int) -> None:
        """Fork mode: the child drives the row from now on, so the parent has no channel for it."""
        self.hand.drop(row)
        row.driven_by, row.channel = DrivenBy.child(pid), None

    def finish(self, request: Any, client_address: Any) -> None:
        """``finish_request()``: serve the request to its end in the thread or child that calls this."""
        if self.is_framed and self.hand.is_within_answer:
            self.reactor.blocking(self._make_blocking, request, client_address)
        elif self._is_machine:
            self._finish_row(request, client_address)
        elif self.filters and not is_face(request):
            self._finish_row(request, client_address, self.finish_blocking)
        else:
            self.finish_blocking(request, client_address)

    def _finish_row(
        self, request: Any, client_address: Any, blocking: Callable[[Any, Any], object] | None = None
    ) -> None:
        """Drive the row of a request to its end, in a loop of its own.

        A blocking handler behind filters is run by ``blocking(face, peer)``.
        """
        is_new = self.hand.find(request) is None  # a user's pool has wrapped the request: only this call has the row
        row: Any = self.known(request, client_address)
        inner = self._inners.take()
        try:
            if blocking is None:
                self._inners.drive(inner, lambda: inner.drive(row))
            else:
                with self.hand.at(row):
                    self._inners.drive(inner, lambda: row.serve(inner, lambda face: blocking(face, row.peer)))
        except ConnectionError as lost:
            if not row.overlooks(lost):
                raise
        finally:
            self._inners.leave(inner)
            if is_new:
                self.ended(row)
        error = row.reason if row.error is None else row.error  # of a state's misuse of the row, or a call's answer()
        if isinstance(error, BaseException) and not isinstance(error, Cause) and not row.overlooks(error):
            raise error

    def finish_blocking(self, request: Any, client_address: Any) -> None:
        """Make the blocking handler, which serves the request on its own socket."""
        try:
            self.reactor.blocking(self._make_blocking, request, client_address)
        except BaseException as error:
            note_error(self.hand.find(request), error)
            raise

    def _make_blocking(self, request: Any, client_address: Any) -> None:
        shake_hands(request)
        maker = self.server.RequestHandlerClass
        refuse_made(maker(request, client_address, self.server), maker)

    def ended(self, row: Request) -> None:
        """This process has finished the request; a child of `fork_request()` may go on with it."""
        if self.heirs.is_child:
            self.heirs.leave(row)
        if self.hand.drop(row) and not row.driven_by.pid:
            self.strike(row)

    def closed(self, request: Any) -> None:
        """``close_request()`` was called: a request that the caller drives has ended."""
        row = self.hand.find(request)
        if row is not None and row.driven_by is CALLER:
            self.ended(row)

    def give_back(self, row: Request) -> None:
        """End the request of a row that was queued and will never begin."""
        try:
            with self.hand.at(row):
                end_request(self.server, row.request)
        finally:
            self.ended(row)

    def strike(self, row: Request) -> None:
        """Remove the row of a request that has ended from the table. May be called from any thread."""
        reactor = self._reactor
        if reactor is not None:
            reactor.table.remove(row)  # before the stage changes: the table records the stage in which it ended
        row.stage = ENDED
        if row.channel is not None or row.rare is not None or row.counted:
            row.forget()
            forget_frames(row.whole_reason)
            if reactor is not None:
                reactor.budget.let_go(row)
        if reactor is not None and self.serving.awaits_end(reactor):
            reactor.call_soon(self._make_room, row)

    def _make_room(self, row: Request) -> None:
        """A request has ended: begin queued requests, then accept others."""
        if self._reactor is not None:
            self.intake.over(row)
            self.queue.look_again()
            self._reactor.make_room()

    # The owner of the server's rows: see `table.request.Owner`

    def failed(self, row: Request) -> None:
        if row.owner is not self or row.driven_by is LOOP:  # else finish() raises it, and its caller reports it
            with self.hand.at(row):
                call_hook(self.server, "handle_error", row.request, row.peer)
            forget_frames(row.whole_reason)

    def released(self, row: Request) -> None:
        if row.driven_by is LOOP:
            before = CURRENT.set(row)
            try:
                end_request(self.server, row.request)
            finally:
                CURRENT.reset(before)
            self.intake.over(row)
            self.is_brief = self.intake.is_listener and row.progress - row.created < BRIEF and row.total_in > 0
            return
        # The thread or child closes the connection after those that the request has opened; for the peer it ends now.
        try:
            if hasattr(row.request, "shutdown"):
                shut_down(row.request, row.is_cut)
        except OSError:
            pass  # the client has gone first

    def dismiss(self, row: Request, cause: Cause) -> None:
        self.queue.dismiss(row, cause)

    def opened(self, row: Request) -> None:
        """Nothing to do: no request waits for the filters of an accepted connection to open."""

    def moved(self, row: Request) -> None:
        self.admission.moved(row)

    # The end

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Give open requests ``seconds`` to finish; then shut down the connections of blocking handlers."""
        with self.serving.overdue():
            unfinished = self.reactor.drain(seconds, self.server)
        for row in self.reactor.table:
            if row.server is self.server:
                row.break_off()
        return unfinished

    def close(self) -> None:
        """Cancel the server's requests, and close its own loop."""
        if self._reactor is not None and self.is_copy:
            self._reactor.close()
            self._forget_reactor()
            return
        if not self.closing:
            self.begin_to_close()
        self.direct.finish_lingering()
        if self.is_framed and self.mode.loop_drives:
            from .answers import finish_answers

            finish_answers(self)
        self.mode.close()
        self._inners.close()
        reactor, server = self._reactor, self.server
        if reactor is not None:
            reactor.cancel([row for row in reactor.table if row.server is server and reactor.may_cancel(row)])
            reactor.descriptors.discard(self)
            if not self.is_shared:
                reactor.close()
                self._forget_reactor()

    def close_socket(self) -> None:
        """Close the server's socket. Remove its Unix path, unless another process has the socket open."""
        source = self.source
        if source is not None:
            source.release()
        self.server.socket.close()
        if self.bound_path is not None and self.bound_path.remove():
            self.bound_path = None

    def begin_to_close(self) -> None:
        """Let no further request begin, and cancel the requests that other threads drive."""
        if self.serving.is_elsewhere and not self.hand.is_within:
            self.serving.shutdown()  # users of socketserver need not call it themselves
        if self._reactor is not None and (self.hand.is_within or not self.is_shared):
            self._reactor.require_rest("server_close()")
        self.serving.stop()
        self.closing = True
        self.queue.close()
        self._inners.stop()

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copy of the server's socket, which would keep the address in use."""
        self.serving.forget_threads()
        if self.intake.is_listener or keep is None or getattr(keep, "server", None) is not self.server:
            self.server.socket.close()
