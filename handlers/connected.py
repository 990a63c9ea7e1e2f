"""`Connected`: a connection that a handler opens. A reactor is ready for it if this is imported."""

from __future__ import annotations

from .saying import safe_repr
from .waits import Outside
from .world import NO_MACHINE, NoMachine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from typing import Any

    from .handler import DatagramHandler, StreamHandler
    from .wait import Wait
    from .waits import Address, MakeFilter, MakePacketFilter


class Connected(Outside):
    """Until a connection that this handler opens is established; the result is ``handler``, which runs it.

    ``address`` is ``(host, port)`` or a Unix path, as in ``socketserver``. ``handler`` is a `StreamHandler` or a
    `DatagramHandler`; it has a row of its own, and begins when the connection is established. If ``connect(2)`` fails,
    the cause is `Failed`, with the ``OSError`` as its ``error``.

    A `DatagramHandler` has a socket of its own, connected to ``address``, so it gets packets of that peer only; it
    begins without one. That nobody receives at the port (ICMP) is the cause `Reset` of its request, with a
    ``ConnectionRefusedError``; an answer that does not come is `TimedOut`.

    A host name is looked up with ``getaddrinfo``, which blocks; where that matters, use a numeric address, or those
    that `reactor.names.resolve` finds.

    ``filters`` are callables that make the filters of the connection (see `handlers.filter`); the first is next to the
    socket.
    """

    __slots__ = ("address", "filters", "handler")

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Wait, Any, Any]: ...

    def __init__(
        self, address: Address, handler: StreamHandler | DatagramHandler, timeout: float | None = None, *,
        filters: Sequence[MakeFilter | MakePacketFilter] = (),
    ) -> None:  # fmt: skip
        super().__init__(timeout)
        if isinstance(handler, type) or not hasattr(handler, "handle"):
            raise TypeError(f"Connected: handler is an instance of a handler class, not {handler!r}")
        if not isinstance(getattr(handler, "_machine", NO_MACHINE), NoMachine):
            raise ValueError(f"Connected: this {type(handler).__name__} has a request already; make a new one")
        self.address = address
        self.handler = handler
        self.filters = tuple(filters)

    def _said(self) -> tuple[object, ...]:
        return (self.address, self.handler, self.filters)

    def __repr__(self) -> str:
        return f"Connected({safe_repr(self.address)})"
