"""The blocking request handlers of ``socketserver``, with ``rfile`` and ``wfile``.

They run unchanged in the modes in which a request may block: plain, fork and thread. A class that declares ``request``,
a wait or a framing that says when a whole request has come, runs in select mode too. It gets each request whole, in
every mode: the loop waits for it, so that a slow client holds no thread and no child. If ``close_connection`` is false
afterwards, the connection goes on with the next request, for which a new object is made.

`face`      the calls of a socket, for handlers that do not get the socket
`whole`     the same, over a request that has come whole
`framing`   when a request is whole
`buffered`  the state machine that runs a blocking handler over whole requests
"""

from __future__ import annotations

from io import BufferedIOBase, BytesIO
from types import CoroutineType

from ..wait import Wait
from ..waits import Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The same on every system with TCP. They are in `socket`, which may not be imported here.
_IPPROTO_TCP, _TCP_NODELAY = 6, 1


class _Reason:
    """The attribute ``reason``. A class may have another of that name, and an object may set one."""

    def __get__(self, handler: Any, kind: type | None = None) -> Any:
        if handler is None:
            return self
        reason_of = getattr(handler.server, "reason_of", None)
        return (reason_of and reason_of(handler.request)) or handler._raised


class BaseRequestHandler:
    """Base class of blocking handlers, as in ``socketserver``. Derive a class and define `handle`.

    An instance is made for each request. The constructor sets ``request`` (for a stream the
    connected socket, for a datagram ``(packet, socket)``), ``client_address`` and ``server``,
    and calls `setup`, `handle` and, whatever `handle` raises, `finish`.
    """

    request: Any = None
    """On the class: when a whole request is here, a wait or a framing (see `framing`)."""

    work: str | None = None
    """On the class, with ``request``: where select mode runs `handle`.

    ``None``: in the loop. While `handle` runs there the loop can't send, and `handle` can't wait for its client. So the
    loop holds the reply until `handle` has returned, and a reply of more than ``max_output`` bytes is an error that is
    logged: the write that passes it raises ``OSError`` (ENOBUFS), nothing of the reply is sent, a client of HTTP gets
    500, and the connection ends. Two kinds of reply have any length there, too, and are sent as the client takes them:
    a regular file that is passed to ``connection.sendfile()``, or that ``SimpleHTTPRequestHandler`` sends, which the
    row holds and not its bytes; and what a WSGI application returns (`handlers.http.wsgi`), whose next piece is asked
    for when the client has taken the pieces before.

    ``"thread"`` or ``"fork"``: in a thread or a child, where a write waits for the client past ``high_water``, so that
    any reply may have any length."""

    close_connection: bool
    """With ``request``: if it is false when `handle` has returned, the connection goes on with the next request."""

    reason: Any = _Reason()
    """In `finish`: why the request ends: the cause for which its connection has ended meanwhile (a `Cause`), or else
    what `handle` has raised. ``None`` if nothing is wrong.

    An object handles one request. A connection that goes on ends at a wait of the framing, which gets the cause there.
    A child whose connection has ended is killed, and calls no `finish`."""

    _raised: BaseException | None = None

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        self.request = request
        self.client_address = client_address
        self.server = server
        self.setup()
        try:
            returned = self.handle()
            if returned is not None:
                _refuse_step(self, returned)
        except BaseException as error:
            self._raised = error
            raise
        finally:
            try:
                self.finish()
            finally:
                self._raised = None  # its traceback leads back to this object

    def setup(self) -> None:
        """Called before `handle`."""

    def handle(self) -> Any:
        """Handle the request; the connection ends when this returns (see `close_connection`)."""

    def finish(self) -> None:
        """Called after `handle`, if `setup` had succeeded."""


class StreamRequestHandler(BaseRequestHandler):
    """A handler for stream sockets, with the files ``self.rfile`` and ``self.wfile``."""

    rbufsize = -1
    """Size of the buffer of ``rfile`` in bytes; -1: ``io.DEFAULT_BUFFER_SIZE``, 0: no buffer."""

    wbufsize = 0
    """Size of the buffer of ``wfile`` in bytes; 0: each write is sent at once."""

    timeout: float | None = None
    """Seconds that a blocking call may take; ``None``: no bound (with ``request``: `Handler.timeout`).

    With ``request``, the client has this time for each 64 KiB of a reply, in every mode."""

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
            pass  # the peer has gone, so the rest of the reply can't be sent
        finally:
            self.rfile.close()


class DatagramRequestHandler(BaseRequestHandler):
    """A handler for datagrams: ``self.rfile`` has the packet, ``self.wfile`` takes the one reply.

    A packet is a whole request, so this class also runs in select mode.
    """

    request: Any = Packet()

    def setup(self) -> None:
        self.packet, self.socket = self.request
        self.rfile = BytesIO(self.packet)
        self.wfile = BytesIO()

    def finish(self) -> None:
        self.socket.sendto(self.wfile.getvalue(), self.client_address)


class SocketWriter(BufferedIOBase):
    """A ``wfile`` without a buffer: when ``write()`` returns, the kernel has taken all of the data."""

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
    """Raise `TypeError` if ``handle()`` has returned a step: nothing would run it."""
    if isinstance(returned, CoroutineType):
        returned.close()
    elif not (isinstance(returned, tuple) and returned and isinstance(returned[0], Wait)):
        return
    raise TypeError(
        f"{type(handler).__name__}.handle() returned a step, but {type(handler).__name__} is a blocking "
        f"handler: derive it (and what it is mixed with) from StreamHandler or DatagramHandler"
    )
