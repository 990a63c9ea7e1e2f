"""`BaseServer`: the names and the contract of ``socketserver.BaseServer``. Its parts are in `service`."""

from __future__ import annotations

from socket import SOCK_DGRAM

from ..table.ends import log_error
from ..table.preparing import prepare
from .connections import Connections
from .exchanges import Exchanges
from .kinds import is_ours
from .service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from ..table.reactor import Reactor


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

    _srv: Service

    def __init__(self, server_address: Any, RequestHandlerClass: Any, *, reactor: Reactor | None = None) -> None:
        prepare()
        self.server_address = server_address
        self.RequestHandlerClass = RequestHandlerClass
        has_packets = getattr(self, "socket_type", None) == SOCK_DGRAM
        self._srv = Service(self, reactor, Exchanges if has_packets else Connections)

    @property
    def reactor(self) -> Reactor:
        """The loop that this server serves on."""
        return self._srv.reactor

    def server_activate(self) -> None:
        """Called by the constructor to begin listening. May be overridden."""

    # Serving

    def start_serving(self) -> None:
        """Take requests from now on, whenever the reactor runs.

        `serve_forever` does it itself, and so does the constructor with ``reactor=``.
        """
        self._srv.serving.start()

    def stop_serving(self) -> None:
        """Take no more requests; those that are open go on. What arrives waits in the kernel."""
        self._srv.serving.stop()

    def serve_forever(self, poll_interval: float = 0.5) -> None:
        """Serve until `shutdown`, until the reactor is stopped, or, after `stop_serving`, until nothing is open.

        Nothing is polled: ``poll_interval``, in seconds, is only how often an overridden
        `service_actions` is called at least.
        """
        self._srv.serving.serve_forever(None if is_ours(self.service_actions) else poll_interval)

    def shutdown(self) -> None:
        """End `serve_forever`, or a `handle_request` that waits, and wait until it has ended.

        Called where waiting would be for ever (in the thread that serves, or when nobody serves), it
        does not wait: a `serve_forever` that comes later returns at once.
        """
        self._srv.serving.shutdown()

    def handle_request(self) -> None:
        """Take one request, wait for it if need be, and process it.

        Gives up after ``timeout`` seconds (or the socket's own timeout, if that is shorter) and calls
        `handle_timeout`. In select mode it returns when that request has ended, or as many seconds after it has come;
        the next call goes on with it then. `shutdown`, `server_close` and `Reactor.stop` end it. A blocking handler
        in the plain mode may call it, to wait for another client.
        """
        self._srv.serving.handle_request()

    def service_actions(self) -> None:
        """Called by `serve_forever` after every batch of events. May be overridden."""

    def handle_timeout(self) -> None:
        """Called when `handle_request` gives up. May be overridden."""

    # The way of a request: what socketserver lets a server override

    def get_request(self) -> tuple[Any, Any]:
        """Take a request from the socket: ``(request, client_address)``. Raises ``OSError`` if there is none."""
        raise NotImplementedError

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether to process the request. May be overridden; the default says yes to all."""
        return True

    def process_request(self, request: Any, client_address: Any) -> None:
        """Finish the request before anything else is done. Here the modes differ.

        May be overridden, to hand the request to a pool of threads for one: it stays in the table until
        `shutdown_request` or `close_request`.
        """
        self._srv.process_here(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Do the request to its end, in whatever caller, child or thread this is called.

        A blocking handler does it all in its constructor; a state machine is driven by a loop of its own.
        """
        self._srv.finish(request, client_address)

    def fork_request(self, request: Any) -> int:
        """For a blocking handler's ``handle()``: fork, and let the child finish the request.

        Returns the child's pid in the parent, where ``handle()`` should now return: the connection
        stays open for the child. Returns 0 in the child, which exits when its ``handle()`` returns.
        Raises `RuntimeError` where there is no fork, and in select mode (use `Forked` there).
        """
        return self._srv.heirs.fork(self._srv.hand.find(request))

    def shutdown_request(self, request: Any) -> None:
        """End the connection in an orderly way, and close the request."""
        self.close_request(request)

    def close_request(self, request: Any) -> None:
        """Give back what the request holds. May be extended."""
        self._srv.closed(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Called while an exception that a handler raised is being handled. May be overridden.

        What it raises itself is logged, but for ``KeyboardInterrupt`` and ``SystemExit``, which leave `serve_forever`.
        The default logs it with its traceback, the row (`Request.record`) in ``extra``, and goes on. Where nothing
        has configured ``logging``, that is printed on standard error.
        """
        log_error(self._srv.hand.find(request), client_address)

    # The end

    def drain(self, seconds: float) -> list[dict[str, Any]]:
        """Give what is open ``seconds`` to finish, then close; what did not is returned.

        See `Reactor.drain`. Connections that the kernel has completed are taken first, then listening ends. May be
        called from another thread while `serve_forever` runs, which it ends. Raises `RuntimeError` from a handler or a
        hook of this server, and while a shared loop runs; the server goes on then. A blocking handler
        can't be told of a cause: the connection that it waits for is shut down, the child that it is in is killed.
        """
        unfinished = self._srv.drain(seconds)
        self.server_close()
        return unfinished

    def server_close(self) -> None:
        """After `shutdown`: cancel the server's requests, close its own loop. Not for handlers. May be extended."""
        self._srv.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.server_close()
