"""`BaseServer`: the names and the contract of ``socketserver.BaseServer``. Its parts are in `service`."""

from __future__ import annotations

from socket import SOCK_DGRAM

from ..table.ends import log_error
from ..table.preparing import prepare
from .intake import intake_of
from .kinds import is_ours
from .service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

    from ..table.reactor import Reactor
    from ..table.request import Request
    from .intake import Intake
    from .periodic import Periodic


class BaseServer:
    """The base class of all servers, with the contract of ``socketserver.BaseServer``.

    ``reactor`` is the loop to serve on; several servers may share one. By default a server makes its own loop when it
    begins to serve.
    """

    timeout: float | None = None
    """Seconds after which `handle_request` gives up and calls `handle_timeout`."""

    max_requests = 65_536
    """Open rows of the reactor at which no more requests are taken: see ``at_limit``."""

    max_per_peer = 65_536
    """Open rows of one host at which further requests of that host are closed unread."""

    at_limit = "pause"
    """What becomes of new requests at ``max_requests``. ``"pause"``: they wait in the kernel. ``"refuse"``: they are
    closed unread. ``"evict"``: where the loop drives the rows (in select mode, and for blocking handlers that declare
    ``request`` in fork and thread mode) the row that has been idle longest ends with `Cancelled` and makes room;
    elsewhere a row can't be ended from outside, and new requests wait."""

    _srv: Service

    def __init__(self, server_address: Any, RequestHandlerClass: Any, *, reactor: Reactor | None = None) -> None:
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        has_packets = getattr(self, "socket_type", None) == SOCK_DGRAM
        self._srv = Service(self, reactor, intake_of(type(self), _intake(has_packets)))
        prepare()

    @property
    def reactor(self) -> Reactor:
        """The loop that this server serves on."""
        return self._srv.reactor

    def server_activate(self) -> None:
        """Called by the constructor to begin listening. May be overridden."""

    # Serving

    def start_serving(self) -> None:
        """Take requests from now on, whenever the reactor runs.

        `serve_forever` calls it, and so does the constructor with ``reactor=``.
        """
        self._srv.serving.start()

    def stop_serving(self) -> None:
        """Take no more requests. Open requests go on; new ones wait in the kernel.

        A datagram server has one socket for all, so packets of its open exchanges wait there, too. `Reactor.drain`
        takes them.
        """
        self._srv.serving.stop()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`, until the reactor is stopped, or, after `stop_serving`, until no request is open.

        ``poll_interval`` matters only if `service_actions` is overridden: it is then called at least once in so many
        seconds. Otherwise the loop does not poll.
        """
        self._srv.serving.serve_forever(None if is_ours(self.service_actions) else poll_interval)

    def shutdown(self) -> None:
        """End `serve_forever`, or a `handle_request` that waits, and wait until it has returned.

        It does not wait in the thread that serves, where that would be a deadlock, nor when the server does not serve:
        then the next `serve_forever` returns at once.
        """
        self._srv.serving.shutdown()

    def handle_request(self) -> None:
        """Take one request, wait for it if need be, and process it.

        If no request comes within ``timeout`` seconds (or the socket's timeout, if that is shorter), it calls
        `handle_timeout`. In select mode it returns when the request has ended, or so many seconds after the request
        has come; the next call goes on with the request then. `shutdown`, `server_close` and `Reactor.stop` end it. A
        blocking handler in the plain mode may call it, to wait for another client.
        """
        self._srv.serving.handle_request()

    def service_actions(self) -> None:
        """Called by `serve_forever` after every batch of events. May be overridden."""

    def call_every(self, seconds: float, call: Callable[..., object], *arguments: Any) -> Periodic:
        """Call ``call(*arguments)`` every ``seconds`` while the server takes requests, until it is closed.

        It runs in the loop (in the thread of `serve_forever`; in no child; in the plain mode not while a request is
        served), so it must not block. What it raises goes to `handle_error`, with ``None`` for the request, and the
        calls go on. A call that could not be made in time is left out. Returns an object with ``cancel()``. Raises
        ``ValueError`` for ``seconds`` that are not positive, and on a server that is closed. Call it before the server
        serves, or in its thread.
        """
        return self._srv.serving.call_every(seconds, call, arguments)

    def handle_timeout(self) -> None:
        """Called when `handle_request` has taken no request in time. May be overridden."""

    # The way of a request: the hooks of socketserver

    def get_request(self) -> tuple[Any, Any]:
        """Take a request from the socket: ``(request, client_address)``. Raises ``OSError`` if there is none."""
        raise NotImplementedError

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to process the request. May be overridden; the default is true."""
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve the request to its end, then return. The mix-ins of the other modes override this.

        May be overridden, for example to give the request to a pool of threads. The request stays in the table until
        `shutdown_request` or `close_request` is called.
        """
        self._srv.process_here(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve the request to its end, in the thread or child that calls this.

        A blocking handler does so in its constructor; for a state machine, a loop of its own is run.
        """
        self._srv.finish(request, client_address)

    def fork_request(self, request: Any) -> int:
        """For a blocking handler's ``handle()``: fork, and let the child finish the request.

        Returns the child's pid in the parent, where ``handle()`` should now return: the connection
        stays open for the child. Returns 0 in the child, which exits when ``handle()`` returns there.
        Raises `RuntimeError` where there is no fork, and in select mode (use `Forked` there).
        """
        return self._srv.heirs.fork(self._srv.hand.find(request))

    def row_of(self, request: Any) -> Request | None:
        """The row of a request that a hook or a blocking handler was given; ``None`` if it has none."""
        return self._srv.hand.find(request)

    def shutdown_request(self, request: Any) -> None:
        """Shut down the connection for writing, and close the request."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Close the request. May be extended."""
        self._srv.closed(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while an exception that a handler raised is being handled. May be overridden.

        The default logs the exception with its traceback and, in ``extra``, the row (`Request.record`); where the
        program has not configured ``logging``, that is printed on standard error. An exception that this hook raises
        is logged too, except ``KeyboardInterrupt`` and ``SystemExit``, which leave `serve_forever`.
        """
        log_error(self._srv.hand.find(request), client_address)

    # The end

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Give open requests ``seconds`` to finish, then close the server. Returns the rows that had to be cancelled.

        See `Reactor.drain`. Connections in the accept queue are taken first, then the listener is closed. May be called
        from another thread while `serve_forever` runs, which it ends. Raises `RuntimeError` in a handler or a hook of
        this server and while a shared loop runs; the server goes on then. A blocking handler can't get a cause: its
        connection is shut down, and in fork mode its child is killed. In the plain mode the call waits until such a
        handler has returned.
        """
        unfinished = self._srv.drain(seconds)
        self.server_close()
        return unfinished

    def reason_of(self, request: Any) -> BaseException | None:
        """Why the connection has ended with which ``request`` came. For the handler of the request, in its `finish`.

        ``None`` if it goes on, or nothing is wrong. See `BaseRequestHandler.reason`, which is also what `handle` has
        raised; a handler class that is not derived from that can call this.
        """
        row = self._srv.hand.find(request)
        return None if row is None else row.reason

    @property
    def is_draining(self) -> bool:
        """Whether `drain` has begun, so that a handler can tell its client that it takes no other request."""
        return self._srv.is_draining

    def server_close(self) -> None:
        """Cancel the server's requests, close its own loop. Handlers can't call it. May be extended."""
        self._srv.serving.in_loop(self._srv.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.server_close()


def _intake(has_packets: bool) -> type[Intake]:
    """What takes arrivals, imported with the first server of its kind: most programs have servers of one kind."""
    if has_packets:
        from .exchanges import Exchanges

        return Exchanges
    from .connections import Connections

    return Connections
