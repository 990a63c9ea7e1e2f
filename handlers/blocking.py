"""The request handlers of ``socketserver``: blocking, with ``rfile`` and ``wfile``.

They run unchanged where something may block for them: the caller, a child, a thread. The loop
can't wait inside ``handle()``, so in select mode a class says with ``request = <wait>`` when a
whole request is here; `buffered` then runs it over the bytes held, and the loop sends its reply.
"""

from __future__ import annotations

from io import BufferedIOBase, BufferedReader, BufferedWriter, BytesIO, RawIOBase, UnsupportedOperation
from types import CoroutineType

from .handler import DatagramHandler, StreamHandler
from .waits import Packet, StreamWait, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .handler import Step

# The same on every system that has TCP; `socket`, where they stand, may not be imported here.
_IPPROTO_TCP, _TCP_NODELAY = 6, 1


class BaseRequestHandler:
    """Base class of blocking handlers, as in ``socketserver``: derive and define `handle`.

    An instance is made for each request. The constructor sets ``request`` (for a stream the
    connected socket, for a datagram ``(packet, socket)``), ``client_address`` and ``server``,
    and calls `setup`, `handle` and, whatever `handle` raises, `finish`.
    """

    request: Any = None
    """On a class: the wait that says when a whole request is here, for select mode."""

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        try:
            _refuse_step(self, self.handle())
        finally:
            self.finish()

    def setup(self) -> None:
        """Called before `handle`."""

    def handle(self) -> Any:
        """Do all that the request needs; the connection ends when it returns."""

    def finish(self) -> None:
        """Called after `handle`, if `setup` had succeeded."""


class StreamRequestHandler(BaseRequestHandler):
    """Define ``self.rfile`` and ``self.wfile`` for stream sockets."""

    rbufsize = -1
    """Buffer of ``rfile`` in bytes; -1 is ``io.DEFAULT_BUFFER_SIZE``, 0 none."""

    wbufsize = 0
    """Buffer of ``wfile`` in bytes; with 0 every write leaves at once."""

    timeout: float | None = None
    """Seconds that any one blocking call may take; ``None`` for ever (in select mode, the loop's default)."""

    disable_nagle_algorithm = False
    """Whether to set ``TCP_NODELAY``; worth it only with a ``wbufsize``."""

    def setup(self) -> None:
        self.connection = self.request
        if self.timeout is not None:
            self.connection.settimeout(self.timeout)
        if self.disable_nagle_algorithm:
            self.connection.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, True)
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile: Any
        if self.wbufsize == 0:
            self.wfile = _SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)

    def finish(self) -> None:
        if not self.wfile.closed:
            try:
                self.wfile.flush()
            except OSError:
                pass  # the peer has gone; what else could be done with the rest of the reply
        self.wfile.close()
        self.rfile.close()


class DatagramRequestHandler(BaseRequestHandler):
    """Define ``self.rfile`` and ``self.wfile`` for datagrams: the packet, and the one reply.

    A packet is a whole request, so this class runs in select mode as it is.
    """

    request: Any = Packet()

    def setup(self) -> None:
        self.packet, self.socket = self.request
        self.rfile = BytesIO(self.packet)
        self.wfile = BytesIO()

    def finish(self) -> None:
        self.socket.sendto(self.wfile.getvalue(), self.client_address)


class _SocketWriter(BufferedIOBase):
    """A ``wfile`` without a buffer: a write has left, whole, when it returns."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._sock.sendall(data)
        with memoryview(data) as view:
            return view.nbytes

    def fileno(self) -> int:
        number: int = self._sock.fileno()
        return number


def _refuse_step(handler: BaseRequestHandler, returned: object) -> None:
    """A step that nobody takes is a protocol that silently does not run: say so."""
    if isinstance(returned, CoroutineType):
        returned.close()
    elif not (isinstance(returned, tuple) and returned and isinstance(returned[0], Wait)):
        return
    raise TypeError(
        f"{type(handler).__name__}.handle() returned a step, but {type(handler).__name__} is a blocking "
        f"handler: derive it (and what it is mixed with) from StreamHandler or DatagramHandler"
    )


# In select mode


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
    members = {"blocking": blocking, "__doc__": blocking.__doc__, "__module__": blocking.__module__}
    if getattr(blocking, "timeout", None) is not None:
        members["timeout"] = blocking.timeout
    return type(name, (_BufferedPacket if packets else _BufferedStream,), members)


class _BufferedStream(StreamHandler):
    blocking: Any

    def handle(self) -> Step:
        return self.blocking.request, self.whole

    def whole(self, data: bytes) -> Step:
        self.blocking(_Connection(self, data), self.peer, self.server)
        return None


class _BufferedPacket(DatagramHandler):
    blocking: Any

    def handle(self) -> Step:
        return self.blocking.request, self.whole

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
            return BufferedReader(self._held) if buffering else self._held
        if mode == "wb":
            return BufferedWriter(_Output(self._handler), *([buffering] if buffering > 0 else []))
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


class _Output(RawIOBase):
    def __init__(self, handler: StreamHandler) -> None:
        self._handler = handler

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._handler.send(data)
        return memoryview(data).nbytes


class _PacketSocket:
    """What a blocking datagram handler has for the server's socket in select mode."""

    def __init__(self, handler: DatagramHandler) -> None:
        self._handler = handler

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        if flags_and_address[-1] != self._handler.peer:
            raise UnsupportedOperation(
                f"in select mode a reply goes to {self._handler.peer!r}, who asked, not to {flags_and_address[-1]!r}"
            )
        self._handler.send(data)
        return memoryview(data).nbytes
