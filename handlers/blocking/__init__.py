"""The request handlers of ``socketserver``: blocking, with ``rfile`` and ``wfile``.

They run unchanged where something may block for them: the caller, a child, a thread. The loop
can't wait inside ``handle()``, so in select mode a class says with ``request = <wait>`` when a
whole request is here; ``buffered`` then runs it over the bytes held, and the loop sends its reply.
"""

from __future__ import annotations

from io import BufferedIOBase, BytesIO
from types import CoroutineType

from ..waits import Packet, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
            self.wfile = SocketWriter(self.connection)
        else:
            self.wfile = self.connection.makefile("wb", self.wbufsize)

    def finish(self) -> None:
        try:
            self.wfile.close()  # flushes, and is closed even if that fails
        except OSError:
            pass  # the peer has gone; what else could be done with the rest of the reply
        finally:
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


class SocketWriter(BufferedIOBase):
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
