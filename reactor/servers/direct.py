"""`Direct`: the direct way of a connection, where nothing unusual is declared.

    accept -> the first turn, without a row -> counted, closed
                                            -> the row goes on
    accept -> the row, in the table -> the loop
                                    -> a blocking handler on the socket -> shut down, linger, close -> `Service.ended`

In plain mode the loop does the lingering and the close, where it goes on (`Direct.finish`).

After a connection that was short, the next is expected to be (`Service.is_brief`): if its request ends in its first
turn (`rows.rowless`), it needs no row.

It is for connections that the loop drives, and for blocking handlers in plain and thread mode. The general way
(`Service.admit`, `Service.begin`, and the hooks) does the same in more than twice as many calls. `is_open` says what is
taken for granted for each connection: a plain listener, default hooks, no filters, no worker processes, room in the
table, and that the request may begin now. What is unusual after that goes the general way: a connection that a limit of
its host refuses, an exception, a host without another thread.
"""

from __future__ import annotations

from functools import partial
from socket import socket

from ..handlers import StreamHandler
from ..loop.kernel import NoneLeft, close, credentials, shut_down
from ..rows.blocking import BlockingRow
from ..rows.lingering import Lingering, linger, unacknowledged_data
from ..table.request import SERVING, Stage
from .hooks import note_error, reraise
from .in_hand import CURRENT
from .kinds import OF_INSTANCE, are_default, class_of, is_kind, refuse_made

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..rows.rowless import Rowless
    from ..table.request import Request
    from .service import Service

MOST_LINGERING = 64
"""Connections of a server in plain mode that linger in the loop at once; the thread of the server waits for others."""


class Direct:
    """Leads the connections of one server the direct way."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._is_machine = is_kind(service.handler, StreamHandler)
        is_led = service.mode.loop_drives or not self._is_machine
        self._default_hooks: tuple[Any, ...] = ()  # those of the server's class when they were last found to be default
        self._lingering: dict[Lingering, None] = {}  # the connections that `finish` has left to the loop
        self._is_possible = is_led and service.intake.is_listener and service.mode.serves_directly
        self._rowless_class: type[Rowless] | None = None
        is_plain = self._is_possible and self._is_machine and not service.is_framed
        if is_plain and class_of(service.handler).urgent is StreamHandler.urgent:
            from ..rows.rowless import Rowless  # now, because the host may have no descriptor left for a file later

            self._rowless_class = Rowless

    def is_open(self) -> bool:
        """Whether the next connection may go the direct way. A program may change the answer at any time."""
        service, server = self._service, self._service.server
        if not self._is_possible or type(getattr(server, "socket", None)) is not socket:  # else none is wrapped
            return False
        kind = type(server)
        hooks = (
            kind.get_request, kind.verify_request, kind.process_request, kind.finish_request, kind.shutdown_request,
            kind.close_request, getattr(kind, "connection_filters", None),
            getattr(kind, "process_request_thread", None),
        )  # fmt: skip
        if hooks != self._default_hooks:  # most often the same objects, which are not looked at any further
            if not are_default(*hooks):
                return False
            self._default_hooks = hooks
        return (
            OF_INSTANCE.isdisjoint(vars(server))
            and not server.filters
            and service.serving.share is None
            and not service.queue.rows
            and not (service.closing or service.holding or service.heirs.count)
            and len(service.reactor.table) < server.max_requests
            and service.mode.may_begin()
        )  # fmt: skip

    def take(self) -> None:
        """Take one connection, and serve it or have it served. Raises ``OSError`` as ``accept()``."""
        service, server, reactor = self._service, self._service.server, self._service.reactor
        request, peer = server.get_request()
        bound = server.max_per_peer
        if bound < server.max_requests and reactor.table.count_of(peer) >= bound:
            service.admit(request, peer, lambda: service.intake.make_row(request, peer))
            return
        rowless_class = self._rowless_class
        if service.is_brief and rowless_class is not None and not reactor.threaded and type(request) is socket:
            self._pass(rowless_class, request, peer)
            return
        row = None
        before = CURRENT.set(service.hand)  # while the handler of a state machine is made
        try:
            row = self._make_row(request, peer)
            CURRENT.set(row)
            reactor.table.add(row)
            if service.mode.loop_drives:
                service.leave_to_loop(row)
            else:
                service.mode.process_directly(request, peer, row)
        except BaseException as error:
            if row is None:  # the constructor has raised
                service.admit(request, peer, partial(reraise, error))
            else:
                self._fail(row, request, peer, error)
        finally:
            CURRENT.reset(before)

    def _pass(self, rowless_class: type[Rowless], request: socket, peer: Any) -> None:
        """Serve a connection whose request may end at once, and then needs no row."""
        service, server, reactor = self._service, self._service.server, self._service.reactor
        before = CURRENT.set(service.hand)
        try:
            try:
                rowless = rowless_class(service.handler(), reactor, server, request, peer, service)
            except BaseException as error:  # the constructor has raised
                service.admit(request, peer, partial(reraise, error))
                return
            reactor.table.rowless = rowless
            try:
                passed = rowless.run()
            finally:
                reactor.table.rowless = None
            service.is_brief = rowless.total_in > 0
            if passed is not None:
                reactor.table.count_passed(passed)
                try:
                    shut_down(request, is_cut=False)
                except OSError:
                    pass  # the client has closed or reset it first
                close(request)
        finally:
            CURRENT.reset(before)

    def _make_row(self, request: Any, peer: Any) -> Request:
        service = self._service
        if self._is_machine:
            intake: Any = service.intake
            made: Request = intake.machine_row(request, peer)
            return made
        row = BlockingRow(service.reactor, service.server, request, peer, service)
        if type(peer) is not tuple:  # a Unix socket
            row.credentials = credentials(request)
        row.stage = SERVING
        service.hand.keep(request, row)
        return row

    def _fail(self, row: Request, request: Any, peer: Any, error: BaseException) -> None:
        try:
            self._service.fail(row, request, peer, error)
        except NoneLeft:
            self._service.queue.put_back(row)

    def handle(self, request: Any, peer: Any, row: Request) -> None:
        """Make the handler, which serves the request."""
        server = self._service.server
        maker = server.RequestHandlerClass
        try:
            made = self._service.reactor.blocking(maker, request, peer, server)
            if not isinstance(maker, type):
                refuse_made(made, maker)
        except BaseException as error:
            note_error(row, error)
            raise

    def close(self, request: Any, row: Request) -> None:
        """The handler has ended: close the connection, unless a child goes on with it."""
        self.shut_down(row, request)
        close(request)

    def finish(self, request: Any, row: Request) -> None:
        """As `close`, in the thread of the loop: the request ends now or, where ``serve_forever()`` goes on, later."""
        left = self._shut(row, request)
        if left:
            if self._linger_later(request, row, left):
                return
            self._service.reactor.blocking(linger, request, left)
        close(request)
        self._service.ended(row)

    def shut_down(self, row: Request | None, request: Any) -> None:
        """A request is about to be closed: shut it down. Linger, if a blocking handler has served it in this thread."""
        left = self._shut(row, request)
        if left:
            self._service.reactor.blocking(linger, request, left)

    def _shut(self, row: Request | None, request: Any) -> int:
        """Shut down a request that is about to be closed. Returns the bytes for which it must linger first."""
        if row is not None and row.driven_by.pid:
            return 0  # a child still uses the connection
        try:
            shut_down(request, row is not None and row.is_cut)
        except OSError:
            return 0  # the client has closed or reset it first
        if not isinstance(row, BlockingRow) or row.stage is not SERVING:
            return 0
        if row.error is None or isinstance(row.error, Exception):  # else the process ends
            return unacknowledged_data(request)
        return 0

    def _linger_later(self, request: Any, row: Request, left: int) -> bool:
        """Have the loop close the connection when it need not linger any more. Returns whether the loop does."""
        service = self._service
        reactor = service.reactor
        if service.is_shared or reactor.awaits_ends or reactor.is_copy or len(self._lingering) >= MOST_LINGERING:
            return False  # the loop may not go on, or is the parent's

        def ended(lingering: Lingering) -> None:
            del self._lingering[lingering]
            close(request)
            service.ended(row)

        try:
            self._lingering[Lingering(reactor, request, left, ended)] = None
        except (OSError, ValueError):  # the selector takes no more descriptors, or no number so high
            return False
        row.stage = Stage.LINGERING
        return True

    def finish_lingering(self) -> None:
        """The loop does not go on: wait for the connections that linger, and close them."""
        for lingering in list(self._lingering):
            lingering.finish()
