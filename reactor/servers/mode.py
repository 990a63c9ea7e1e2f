"""`Mode`: what drives the requests of a server. The base class is the contract of a mode, and is also the plain mode.

A mode never changes what a handler sees. The other modes are in the room ``modes``; each registers itself for its
mix-in.
"""

from __future__ import annotations

from socket import SOCK_DGRAM

from ..handlers import Handler
from .kinds import is_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..table.reactor import Reactor
    from ..table.request import Request
    from ..table.work import Pool
    from .crew import Crew
    from .service import Service

_modes: dict[type, type[Mode]] = {}


class Mode:
    """The plain mode: the caller of ``serve_forever()`` drives each request until it has ended."""

    batch = 1
    """Arrivals that are taken, or queued requests that begin, before other rows have their turn."""

    in_turn = True
    """Whether each request is driven to its end before the next one is taken. Then time bounds a batch, too."""

    loop_drives = False
    """Whether the loop drives the rows. Then one that is served can be ended from outside, to make room for another."""

    bound = ("", "")
    """The server's attribute that bounds the requests which have begun, and what drives them. Here there is none."""

    is_framed = False
    """Whether a state machine runs the blocking handler of streams over requests that have come whole."""

    work = "here"
    """Where a blocking handler with a framing answers its whole request: see `handlers.blocking.framing.Answered`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._told = False  # whether `tell_of_waiting` has logged
        self._crew: Crew | None = None

    def tell_of_waiting(self) -> None:
        """Log once that a request waits, because `bound` is reached."""
        if not self._told:
            self._told = True
            bound, what = self.bound
            self.service.admission.tell(
                f"requests wait: all {bound} = %d {what} are busy; raise {bound}, or declare on the handler class when "
                "a whole request is here (request = ...), or take a Select server class: then a silent client delays "
                "no other",
                getattr(self.service.server, bound),
            )

    def adapt(self, handler: Any) -> Any:
        """Settle how the mode serves ``handler``: sets `loop_drives` and `is_framed`, and returns the class to use.

        Called once, when the server is made. Raises `TypeError` or `RuntimeError` if the mode can't serve it.
        """
        if is_kind(handler, Handler):
            return handler
        from .framed import has_framing, tell_unkept  # here, as in other methods: most servers have state machines

        if not has_framing(handler) or getattr(self.service.server, "socket_type", None) == SOCK_DGRAM:
            tell_unkept(handler)
            return handler
        self.loop_drives = self.work != "here"
        return self.framed(handler, self.work)

    def framed(self, handler: Any, work: str) -> Any:
        """Have the blocking ``handler`` run over requests that have come whole; returns what runs it.

        Sets `is_framed`, and the ``RequestHandlerClass`` of the server, which makes the handlers from then on.
        """
        from .framed import framed_by

        server = self.service.server
        packets = server.socket_type == SOCK_DGRAM
        adapted = framed_by(handler, packets, work)
        server.RequestHandlerClass = adapted.made_by
        self.is_framed = not packets
        return adapted

    def pool(self, work: str) -> Pool:
        """The pool of threads or children in which handlers answer whole requests: that of the server's `bound`.

        A server without one takes the pool of the reactor.
        """
        server, pools = self.service.server, self.service.reactor.work
        bound, what = self.bound
        if not bound:
            return pools.threads() if work == "thread" else pools.children()
        limit = int(getattr(server, bound))
        return pools.pool(f"{what} of server {id(self.service)}", limit, f"{type(server).__name__}.{bound}")

    def in_thread(self, work: Callable[[], object]) -> None:
        """Have a thread call ``work()``, in which a handler answers a whole request. Raises `RuntimeError`."""
        if self._crew is None:
            from .crew import Crew

            self._crew = Crew(self.start_thread)
        self._crew.do(work)

    def start_thread(self, work: Callable[[], object]) -> None:
        """Start a thread that calls ``work()``."""
        from threading import Thread

        Thread(target=work, daemon=True).start()

    def child_began(self, pid: int) -> None:
        """A child answers a whole request."""

    def child_ended(self, pid: int) -> None:
        """That child has been reaped."""

    def may_begin(self) -> bool:
        """Whether one more request may begin."""
        return True

    def take(self) -> None:
        """Take one arrival (`Intake.take`). Raises ``OSError`` also if its request could not begin."""
        self.service.intake.take()

    def listen(self) -> None:
        """The server begins to take requests."""

    def process(self, row: Request, request: Any, client_address: Any) -> None:
        """Serve the request, or have a child, a thread or the loop serve it. An exception ends the request."""
        self.service.process_here(request, client_address)

    serves_directly = True
    """Whether a connection may go the direct way: see `direct.Direct`."""

    def process_directly(self, request: Any, client_address: Any, row: Request) -> None:
        """As `process`, where the hooks of the server are the default ones, and the loop does not drive the request."""
        direct = self.service.direct
        direct.handle(request, client_address, row)
        direct.finish(request, row)

    def alongside(self, inner: Reactor) -> None:
        """The loop ``inner`` is about to drive a request: have it watch what the mode must hear meanwhile."""

    def is_through(self, newest: int) -> bool:
        """Whether ``handle_request()`` may return: the requests that it has taken have serials over ``newest``.

        It may when they have begun; where the loop drives them, when they have ended.
        """
        if not self.loop_drives:
            return not self.service.queue
        # The connections that a request has opened are rows of the same server, so they count too.
        server = self.service.server
        return not any(row.server is server and row.serial > newest for row in self.service.reactor.table)

    def drain(self) -> None:
        """The server begins to drain."""

    def close(self) -> None:
        """The server closes."""
        if self._crew is not None:
            self._crew.dismiss()


def register_mode(mixin: type, mode: type[Mode]) -> None:
    """Have servers that are derived from ``mixin`` driven by ``mode``."""
    _modes[mixin] = mode


def mode_of(server: type) -> type[Mode]:
    """The mode of a server class."""
    return next((_modes[base] for base in server.__mro__ if base in _modes), Mode)
