"""`Mode`: what drives the requests of a server. The base class is the contract of a mode, and is also the plain mode.

A mode never changes what a handler sees. The other modes are in the room ``modes``; each registers itself for its
mix-in.
"""

from __future__ import annotations

from contextlib import nullcontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from ..table.reactor import Reactor
    from ..table.request import Request
    from .service import Service

_modes: dict[type, type[Mode]] = {}


class Mode:
    """The plain mode: the caller of ``serve_forever()`` drives each request until it has ended."""

    batch = 1
    """Arrivals that are taken before other rows have their turn. Here 1, because each is driven to its end first."""

    evicts = False
    """Whether a row that is served can be ended from outside, to make room for another."""

    is_loop = False
    """Whether the server's loop drives the requests."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._told = False  # whether `waits_for` has logged

    def waits_for(self, bound: str, what: str) -> bool:
        """Requests wait because the server's attribute ``bound`` is reached: log that once. Returns false."""
        if not self._told:
            self._told = True
            self.service.admission.tell(
                f"requests wait: all {bound} = %d {what} are busy; raise {bound}, or take a Select server class, "
                "where a silent client delays no other",
                getattr(self.service.server, bound),
            )
        return False

    def adapt(self, handler: Any) -> Any:
        """The handler class that is used for ``handler``. Raises `TypeError` or `RuntimeError` if the mode has none."""
        return handler

    def may_begin(self) -> bool:
        """Whether one more request may begin."""
        return True

    def room(self) -> AbstractContextManager[object]:
        """A context in which a request is taken from the socket. Raises ``OSError`` if the request could not begin."""
        return nullcontext()

    def listen(self) -> None:
        """The server begins to take requests."""

    def process(self, row: Request, request: Any, client_address: Any) -> None:
        """Serve the request, or have a child, a thread or the loop serve it. An exception ends the request."""
        self.service.process_here(request, client_address)

    def alongside(self, inner: Reactor) -> None:
        """The loop ``inner`` is about to drive a request: have it watch what the mode must hear meanwhile."""

    def is_through(self, newest: int) -> bool:
        """Whether ``handle_request()`` may return: the requests that it has taken have serials over ``newest``.

        Here it may when they have begun.
        """
        return not self.service.queue

    def close(self) -> None:
        """The server closes."""


def register_mode(mixin: type, mode: type[Mode]) -> None:
    """Have servers that are derived from ``mixin`` driven by ``mode``."""
    _modes[mixin] = mode


def mode_of(server: type) -> type[Mode]:
    """The mode of a server class."""
    return next((_modes[base] for base in server.__mro__ if base in _modes), Mode)
