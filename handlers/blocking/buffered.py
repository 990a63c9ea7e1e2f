"""`buffered`: runs a blocking handler in select mode, over a request that has come whole; the loop sends the reply.

The loop can't wait inside ``handle()``. So a small state machine waits for the wait ``request`` of the class, then runs
the blocking handler with a `Face` in place of the socket. Imported when such a server is made.
"""

from __future__ import annotations

from io import UnsupportedOperation
from types import FunctionType

from ..handler import DatagramHandler, StreamHandler
from ..waits import Packet, StreamWait, Threaded, Wait
from .face import Face

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handler import Step


def buffered(blocking: Any, packets: bool) -> type[StreamHandler] | type[DatagramHandler]:
    """The state machine that runs the blocking handler class over a request that has come whole.

    ``packets``: whether the server has a datagram socket. Raises `TypeError` for a class that does not declare
    ``request = <wait>``, the wait that a whole request satisfies.
    """
    kind_of_handler = blocking
    while hasattr(kind_of_handler, "func"):  # a functools.partial of a class
        kind_of_handler = kind_of_handler.func
    wait = getattr(kind_of_handler, "request", None)
    name = getattr(kind_of_handler, "__name__", repr(blocking))
    if not isinstance(wait, Packet if packets else StreamWait):
        if isinstance(kind_of_handler, FunctionType):
            raise TypeError(
                f"{kind_of_handler.__qualname__} is a function, and in select mode the server looks at the handler "
                f"class before the first request: give it the class, or functools.partial(Class, ...) where the "
                f"class takes more arguments; the Forking, the Threading and the plain server class take a function "
                f"that makes a blocking handler"
            )
        example = "Packet()" if packets else r'Until(b"\r\n", limit=512)'
        kind = "DatagramHandler" if packets else "StreamHandler"
        raise TypeError(
            f"{name} is a blocking handler, and in select mode nothing may block. Three ways out: "
            f"(1) declare on the class when a whole request is here, such as request = {example}; "
            f"(2) take a mode that may block: the Forking, the Threading or the plain server class; "
            f"(3) derive it from {kind} and write it as a state machine"
        )
    members = {
        "blocking": staticmethod(blocking),
        "request": wait,
        "threaded": bool(getattr(kind_of_handler, "threaded", False)),
        "__doc__": kind_of_handler.__doc__,
        "__module__": kind_of_handler.__module__,
    }
    if getattr(kind_of_handler, "timeout", None) is not None:
        members["timeout"] = kind_of_handler.timeout
    return type(name, (BufferedPacket if packets else BufferedStream,), members)


class BufferedStream(StreamHandler):
    """Runs a blocking handler over a request of a stream."""

    blocking: Any
    request: Wait
    threaded: bool

    def handle(self) -> Step:
        return self.request, self.whole

    def whole(self, data: bytes) -> Step:
        return _run(self, Face(self, data))


class BufferedPacket(DatagramHandler):
    """Runs a blocking handler over a packet."""

    blocking: Any
    request: Wait
    threaded: bool

    def handle(self) -> Step:
        return self.request, self.whole

    def whole(self, packet: bytes) -> Step:
        return _run(self, (packet, _PacketSocket(self)))


def _run(handler: BufferedStream | BufferedPacket, request: Any) -> Step:
    """Run the blocking handler; in a thread, if it wants that."""
    if not handler.threaded:
        handler.blocking(request, handler.peer, handler.server)
        return None
    return Threaded(_error_of, handler.blocking, request, handler.peer, handler.server), _end_for


def _error_of(call: Any, *arguments: Any) -> Exception | None:
    try:
        call(*arguments)
    except Exception as error:
        return error
    return None


def _end_for(error: Exception | None) -> Step:
    """The thread has ended: raise what the blocking handler has raised."""
    if error is not None:
        raise error
    return None


class _PacketSocket:
    """Stands for the server's socket, in select mode, for a blocking datagram handler."""

    def __init__(self, handler: DatagramHandler) -> None:
        self._handler = handler

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """Send ``data``, one packet, to the peer: ``sendto(data, address)`` or ``sendto(data, flags, address)``."""
        if not flags_and_address:
            raise TypeError("sendto() takes a packet, optional flags, and an address")
        *flags, address = flags_and_address
        if any(flags):
            raise UnsupportedOperation(f"in select mode sendto() has no flags, and was given {flags[0]:#x}")
        if address != self._handler.peer:
            raise UnsupportedOperation(
                f"in select mode a reply goes to the peer of the request, {self._handler.peer!r}, not to {address!r}"
            )
        self._handler.send(data)
        return memoryview(data).nbytes

    def getsockname(self) -> Any:
        """The server's address."""
        return self._handler.server.server_address

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{name}: a socket has this attribute; the object that stands for it in select mode has not "
            f"(the Forking, Threading and plain server classes give the socket)"
        )
