"""Blocking handlers in select mode: run over a request that is here whole, the reply sent by the loop.

The loop can't wait inside ``handle()``. A class that says with ``request = <wait>`` when a whole
request is here becomes the last state of a little state machine, which has what a blocking handler
expects of a socket. Imported when such a server is made.
"""

from __future__ import annotations

from io import BufferedReader, BytesIO, RawIOBase, UnsupportedOperation

from .blocking import SocketWriter
from .handler import DatagramHandler, StreamHandler
from .waits import Packet, StreamWait, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .handler import Step


def buffered(blocking: Any, packets: bool) -> type[StreamHandler] | type[DatagramHandler]:
    """The state machine that runs the blocking handler class over a request that is here whole.

    ``packets`` says whether the server's socket is one of datagrams. Raises `TypeError` for a
    class that does not say with ``request = <wait>`` when a whole request is here.
    """
    wait = getattr(blocking, "request", None)
    name = getattr(blocking, "__name__", repr(blocking))
    if not isinstance(wait, Packet if packets else StreamWait):
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
        "__doc__": blocking.__doc__,
        "__module__": blocking.__module__,
    }
    if getattr(blocking, "timeout", None) is not None:
        members["timeout"] = blocking.timeout
    return type(name, (_BufferedPacket if packets else _BufferedStream,), members)


class _BufferedStream(StreamHandler):
    blocking: Any
    request: Wait

    def handle(self) -> Step:
        return self.request, self.whole

    def whole(self, data: bytes) -> Step:
        self.blocking(_Connection(self, data), self.peer, self.server)
        return None


class _BufferedPacket(DatagramHandler):
    blocking: Any
    request: Wait

    def handle(self) -> Step:
        return self.request, self.whole

    def whole(self, packet: bytes) -> Step:
        self.blocking((packet, _PacketSocket(self)), self.peer, self.server)
        return None


class _Connection:
    """What a blocking handler has for a socket in select mode: the request's bytes, the row's output."""

    def __init__(self, handler: StreamHandler, data: bytes) -> None:
        self._handler = handler
        self._held = BytesIO(data)
        self._timeout: float | None = None

    def makefile(self, mode: str = "r", buffering: int = -1) -> Any:
        """``"rb"`` and ``"wb"`` as ``socket.makefile`` has them."""
        if mode == "rb":
            return BufferedReader(_Input(self._held)) if buffering else _Input(self._held)
        if mode == "wb":
            return SocketWriter(self)  # whatever the buffering: the row is the buffer
        raise UnsupportedOperation(f"makefile({mode!r}) in select mode: only 'rb' and 'wb'")

    def recv(self, limit: int, flags: int = 0) -> bytes:
        return self._held.read(limit)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._handler.send(data)

    def send(self, data: Any, flags: int = 0) -> int:
        self._handler.send(data)
        return memoryview(data).nbytes

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds  # the loop keeps the time: nothing here can block

    def gettimeout(self) -> float | None:
        return self._timeout

    def setsockopt(self, level: int, option: int, value: object) -> None:
        """Accepted and not needed: the reply leaves in one piece."""

    def getpeername(self) -> Any:
        return self._handler.peer

    def getsockname(self) -> Any:
        return self._handler.server.server_address

    def shutdown(self, how: int) -> None:
        self._handler.send_eof()

    def close(self) -> None:
        """The loop closes the connection when the reply has been sent."""

    def fileno(self) -> int:
        raise UnsupportedOperation("in select mode the loop has the descriptor, not the handler")


class _Input(RawIOBase):
    """One file of several over the same bytes; closing it closes no other."""

    def __init__(self, held: BytesIO) -> None:
        self._held = held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._held.readinto(buffer)


class _PacketSocket:
    """What a blocking datagram handler has for the server's socket in select mode."""

    def __init__(self, handler: DatagramHandler) -> None:
        self._handler = handler

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        if not flags_and_address:
            raise TypeError("sendto() takes the packet, perhaps flags, and an address")
        if flags_and_address[-1] != self._handler.peer:
            raise UnsupportedOperation(
                f"in select mode a reply goes to {self._handler.peer!r}, who asked, not to {flags_and_address[-1]!r}"
            )
        self._handler.send(data)
        return memoryview(data).nbytes
