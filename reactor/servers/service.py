"""The parts of one server, behind its one private attribute: the way of a request from its arrival to its end.

    the socket is readable -> `arrivals` -> intake.take() -> `admit` -> the table -> the queue -> `begin`
    -> server.process_request() -> `process` -> the mode drives the row -> `ended`, or the loop releases it

When requests are taken at all is for `serving` to say, and which row a hook is about, `in_hand`.
"""

from __future__ import annotations

from socket import SHUT_WR

from ..handlers import Cause, Handler
from ..handlers.blocking.face import Face
from ..loop.kernel import AGAIN, NoneLeft
from ..loop.timers import NEVER
from ..rows.ancillary import credentials
from ..rows.blocking import BlockingRow
from ..rows.face import FaceRow
from ..rows.lingering import linger
from ..rows.shared import shared
from ..table.ends import forget_frames
from ..table.reactor import Reactor
from ..table.request import CALLER, LOOP, DrivenBy, Request, Stage
from .admission import PUT_OFF, Admission
from .heirs import Heirs
from .hooks import call_hook, end_request
from .in_hand import InHand
from .kinds import is_kind, is_ours
from .mode import mode_of
from .queue import RequestQueue
from .serving import Serving
from .wrapped import shake_hands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..rows.shared import SharedSocket
    from .exchanges import Exchanges
    from .intake import Intake
    from .unix import BoundPath


class Service:
    """What runs one server."""

    def __init__(self, server: Any, reactor: Reactor | None, make_intake: Callable[[Service], Intake]) -> None:
        self.server = server
        self.is_shared = reactor is not None
        """Whether the loop was given to the server, and may serve others."""
        self._reactor = reactor
        self.mode = mode_of(type(server))(self)
        self.handler: Any = self.mode.adapt(server.RequestHandlerClass)
        """What runs a request: in select mode not always the class that was given."""
        self.intake = make_intake(self)
        self.admission = Admission(self)
        self.queue = RequestQueue(self.may_begin, self.begin, self.give_back, self.mode.batch)
        self.closing = False
        self.hand = InHand(server)
        """The rows that hooks may be called for."""
        self.serving = Serving(self)
        self._inners: set[Reactor] = set()  # the loops of requests that other threads drive
        self.heirs = Heirs(self)
        """The children that go on with a request of their blocking handler."""
        self.holding = False
        """Whether no request begins for now."""
        self.drain_until = NEVER
        """When a drain cancels what is open, by the loop's clock."""
        self.taken = 0
        """Attempts to take a request, until now."""

        self.bound_path: BoundPath | None = None
        """The Unix path that the server has made."""
        self.networks: Any = None
        """The networks that `access.AccessMixIn` lets in."""
        if reactor is not None:
            reactor.descriptors.add(self)

    @property
    def reactor(self) -> Reactor:
        """The loop that the server serves on."""
        if self._reactor is None:
            self._reactor = Reactor()
            self._reactor.descriptors.add(self)
        return self._reactor

    @property
    def source(self) -> SharedSocket | None:
        """The server's socket in its loop; ``None`` before it is looked at, and when it is closed."""
        if self._reactor is None or self.server.fileno() < 0:
            return None
        return shared(self._reactor, self.server, self.server)

    def open_source(self) -> SharedSocket:
        """The server's socket in its loop. Raises ``ValueError`` when it is closed."""
        if self.server.fileno() < 0:
            raise ValueError(f"{type(self.server).__name__} can't serve: its socket is closed")
        return shared(self.reactor, self.server, self.server)

    @property
    def exchanges(self) -> Exchanges:
        """What takes packets, in a datagram server."""
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
        """Whether this is a forked child's copy of a server: it closes descriptors, and does nothing else."""
        reactor = self._reactor
        return reactor is not None and reactor.is_copy and not reactor.children.is_child

    @property
    def has_reactor(self) -> bool:
        """Whether there is a loop, yet and still."""
        return self._reactor is not None

    # What arrives

    def arrivals(self) -> None:
        """Take what has arrived, as much as fits in one batch; one arrival by an overridden hook, which may wait."""
        for _ in range(self.mode.batch if is_ours(self.server.get_request) else 1):
            if self.admission.is_closed() or not self.take():
                return

    def take(self) -> bool:
        """Take one request if there is one. Whether there may be another."""
        self.taken += 1
        try:
            with self.mode.room():
                is_more = self.intake.take()
        except AGAIN:
            return False
        except OSError as error:
            if error.errno in PUT_OFF:
                self.admission.run_short(error)
            return isinstance(error, ConnectionError)  # that client has gone; the next may be there
        self.queue.go_on()
        return is_more

    def has_room(self) -> bool:
        """Whether one more request may be taken."""
        return len(self.reactor.table) < self.server.max_requests and self.intake.has_room()

    def may_begin(self) -> bool:
        """Whether one more request that has been taken may begin."""
        return not self.closing and not self.holding and self.heirs.may_grow and self.mode.may_begin()

    def admit(self, request: Any, client_address: Any, make_row: Callable[[], Request]) -> Request | None:
        """Let a request that has come in: its row is in the table, and in the queue. Refused: ``None``."""
        row: Request | None = None

        def enter() -> None:
            nonlocal row
            refusal = self.admission.refusal(client_address)
            if not refusal and not self.server.verify_request(request, client_address):
                refusal = "verify_request"
            if refusal:
                self.reactor.table.count_refused(refusal)
                self.server.shutdown_request(request)
                return
            row = self._enter(request, client_address, make_row)
            self.queue.enter(row)

        self._attempt(enter, request, client_address, None)
        return row

    def _enter(self, request: Any, client_address: Any, make_row: Callable[[], Request]) -> Request:
        error: BaseException | None = None
        try:
            row = make_row()
        except BaseException as failure:  # the handler can't be made, but the request has come, and is told of
            error = failure
            row = self.blocking_row(request, client_address)
            row.error = error
        self.hand.keep(request, row)
        self.reactor.table.add(row)
        if error is not None:
            raise error
        return row

    def begin(self, row: Request) -> None:
        """It is the turn of a row that was queued."""
        request, client_address = row.request, row.peer
        self._attempt(lambda: self.server.process_request(request, client_address), request, client_address, row)

    def _attempt(self, call: Callable[[], object], request: Any, client_address: Any, row: Request | None) -> None:
        """Do something for the request. If it raises, ``handle_error()`` is called, and the request has ended."""
        with self.hand.at(row):
            self._try(call, request, client_address)

    def _try(self, call: Callable[[], object], request: Any, client_address: Any) -> None:
        try:
            call()
        except NoneLeft as error:
            self.admission.tell("can't begin requests for now: %s", error)
            raise
        except BaseException as error:
            row = self.hand.find(request)
            self._break(row, request, client_address, error)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise

    def _break(self, row: Request | None, request: Any, client_address: Any, error: BaseException) -> None:
        """A hook, or a handler, has raised ``error``, which is being handled: tell, and end the request."""
        if row is not None:
            row.error = error
        try:
            if not isinstance(error, (KeyboardInterrupt, SystemExit)):
                call_hook(self.server, "handle_error", request, client_address)
        finally:
            self.heirs.note_failure()
            end_request(self.server, request)
            if row is not None:
                self.ended(row)

    # The rows that hooks are about

    def known(self, request: Any, client_address: Any) -> Request:
        """The row of a request, made if there is none: a hook of the user's may have brought the request."""
        row = self.hand.find(request)
        if row is None:
            row = self._enter(request, client_address, lambda: self.intake.make_row(request, client_address))
        return row

    def blocking_row(self, request: Any, client_address: Any) -> Request:
        """The row of a request that a blocking handler does by itself."""
        row = BlockingRow(self.reactor, self.server, request, client_address, self)
        row.credentials = credentials(request)
        return row

    # What becomes of a request

    def process(self, request: Any, client_address: Any) -> None:
        """``process_request()`` of a mix-in: leave the request to the mode."""
        self.mode.process(self.known(request, client_address), request, client_address)

    def do(self, request: Any, client_address: Any) -> None:
        """Call ``finish_request()``; for a blocking handler behind filters, with the face of its connection."""
        if isinstance(self.hand.find(request), FaceRow):
            self._finish_row(request, client_address, self.server.finish_request)
        else:
            self.server.finish_request(request, client_address)

    def process_here(self, request: Any, client_address: Any) -> None:
        """Do the request to its end before anything else is done."""
        row = self.known(request, client_address)
        self.do(request, client_address)
        self.server.shutdown_request(request)
        self.ended(row)

    def leave_to_loop(self, row: Request) -> None:
        """Select mode: the loop drives the row from here on, and no hook has its request in hand."""
        self.hand.drop(row)
        row.driven_by = LOOP
        self.reactor.adopt(row)

    def leave_to_child(self, row: Request, pid: int) -> None:
        """Fork mode: what the row does from here on, only the child knows."""
        self.hand.drop(row)
        row.driven_by, row.channel = DrivenBy.child(pid), None

    def finish(self, request: Any, client_address: Any) -> None:
        """``finish_request()``: do the request to its end, in whatever caller, child or thread this is called."""
        server = self.server
        if is_kind(server.RequestHandlerClass, Handler):
            self._finish_row(request, client_address)
        elif self.filters and not isinstance(request, Face):
            self._finish_row(request, client_address, self._finish_blocking)
        else:
            self._finish_blocking(request, client_address)

    def _finish_row(
        self, request: Any, client_address: Any, blocking: Callable[[Any, Any], object] | None = None
    ) -> None:
        """Drive the row of a request to its end. ``blocking``, with the face and the peer, is what its handler does."""
        is_new = self.hand.find(request) is None  # a pool's, that has wrapped it: nothing else knows of this row
        row: Any = self.known(request, client_address)
        inner = self.reactor.inside()
        try:
            if blocking is None:
                self._drive(inner, lambda: inner.drive(row))
            else:
                with self.hand.at(row):
                    self._drive(inner, lambda: row.serve(inner, lambda face: blocking(face, row.peer)))
        finally:
            inner.close()
            if is_new:
                self.ended(row)
        error = row.error or row.reason  # the first is what a state asked for in vain, or what an answer has raised
        if isinstance(error, BaseException) and not isinstance(error, Cause):
            raise error

    def _finish_blocking(self, request: Any, client_address: Any) -> None:
        server = self.server
        try:
            self.reactor.blocking(shake_hands, request)
            self.reactor.blocking(server.RequestHandlerClass, request, client_address, server)
        except BaseException as error:
            row = self.hand.find(request)
            if row is not None:
                row.error = row.error or error  # why the connection was broken off, not what came of that
            raise

    def _drive(self, inner: Reactor, drive: Callable[[], None]) -> None:
        """Have ``drive()`` drive a row in ``inner``, which a stop of the server's own loop in this thread stops too."""
        outer = self.reactor
        self.mode.alongside(inner)
        if self.drain_until != NEVER:
            inner.call_at(self.drain_until, inner.stop)
        if not outer.working_here:
            inner.threaded = True
            inner.make_wakeup()
            self._inners.add(inner)
            if self.closing:
                inner.stop()
            try:
                drive()
            finally:
                self._inners.discard(inner)
            return
        if not outer.is_copy:
            self.intake.alongside(inner)
        before, outer.inner = outer.inner, inner
        try:
            if outer.stopping:
                inner.stop()
            drive()
        finally:
            outer.inner = before

    def ended(self, row: Request) -> None:
        """This process has done with the request; a child of its handler may go on with it."""
        self.heirs.leave(row)
        if self.hand.drop(row) and not row.driven_by.pid:
            self.strike(row)

    def linger(self, request: Any) -> None:
        """A request is about to be closed: wait for its peer, if a blocking handler has done it in this thread."""
        row = self.hand.find(request)
        if not isinstance(row, BlockingRow) or row.stage is not Stage.SERVING:
            return
        if row.error is None or isinstance(row.error, Exception):  # else the process is told to end
            self.reactor.blocking(linger, request)

    def closed(self, request: Any) -> None:
        """``close_request()`` was called: a request that the caller drives has ended."""
        row = self.hand.find(request)
        if row is not None and row.driven_by is CALLER:
            self.ended(row)

    def give_back(self, row: Request) -> None:
        """A row that was queued never begins."""
        try:
            with self.hand.at(row):
                end_request(self.server, row.request)
        finally:
            self.ended(row)

    def strike(self, row: Request) -> None:
        """Strike the row of a request that has ended from the table. May be called from any thread."""
        reactor = self._reactor
        if reactor is not None:
            reactor.table.remove(row)  # which records the stage in which it ended
        row.stage = Stage.ENDED
        row.forget()
        forget_frames(row.reason)
        if reactor is not None:
            reactor.budget.let_go(row)
            reactor.call_soon(self._make_room, row)

    def _make_room(self, row: Request) -> None:
        """A request has ended: there may be room for others, those that are in the table first."""
        if self._reactor is not None:
            self.intake.over(row)
            self.queue.look_again()
            self._reactor.make_room()

    # The owner of the server's rows: see `table.request.Owner`

    def failed(self, row: Request) -> None:
        if row.owner is not self or row.driven_by is LOOP:  # else finish() raises it, for handle_error()
            with self.hand.at(row):
                call_hook(self.server, "handle_error", row.request, row.peer)
            forget_frames(row.reason)

    def released(self, row: Request) -> None:
        if row.driven_by is LOOP:
            with self.hand.at(row):
                end_request(self.server, row.request)
            self.intake.over(row)
            return
        # Its driver closes the connection, after any connections that the request has opened: the end comes now.
        shutdown = getattr(row.request, "shutdown", None)
        try:
            if shutdown is not None:
                shutdown(SHUT_WR)
        except OSError:
            pass  # the client has gone first

    def dismiss(self, row: Request, cause: Cause) -> None:
        self.queue.dismiss(row, cause)

    def opened(self, row: Request) -> None:
        """Whoever connects does not wait for that."""

    def moved(self, row: Request) -> None:
        self.admission.moved(row)

    # The end

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Give what is open ``seconds`` to finish; a blocking handler's connection is shut down then."""
        unfinished = self.reactor.drain(seconds, self.server)
        for row in self.reactor.table:
            if row.server is self.server and isinstance(row, (BlockingRow, FaceRow)):
                row.break_off()
        return unfinished

    def close(self) -> None:
        """Cancel the server's requests, and close its own loop."""
        if self._reactor is not None and self.is_copy:
            self._reactor.close()
            self._reactor = None
            return
        if not self.closing:
            self.begin_to_close()
        self.mode.close()
        reactor, server = self._reactor, self.server
        if reactor is not None:
            reactor.cancel([row for row in reactor.table if row.server is server and row.reactor is reactor])
            reactor.descriptors.discard(self)
            if not self.is_shared:
                reactor.close()
                self._reactor = None

    def close_socket(self) -> None:
        """Close the server's socket, and remove the Unix path that was made for it, unless others have the socket."""
        source = self.source
        if source is not None:
            source.release()
        self.server.socket.close()
        if self.bound_path is not None and self.bound_path.remove():
            self.bound_path = None

    def begin_to_close(self) -> None:
        """Let no further request begin, and have those that other threads drive cancelled."""
        if self.serving.is_elsewhere and not self.hand.is_within:
            self.serving.shutdown()  # which socketserver's users may leave out
        if self._reactor is not None and (self.hand.is_within or not self.is_shared):
            self._reactor.require_rest("server_close()")
        self.serving.stop()
        self.closing = True
        self.queue.close()
        for inner in list(self._inners):
            inner.stop()

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copy of the socket, which would keep its address taken."""
        self.serving.forget_threads()
        if self.intake.is_listener or keep is None or getattr(keep, "server", None) is not self.server:
            self.server.socket.close()
