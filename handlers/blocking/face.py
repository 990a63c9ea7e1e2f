"""`Face`: an object with the calls of a socket, for blocking handlers that do not get the socket.

It stands for a request that has come whole (`whole.Whole`), or for a connection with filters, whose bytes the handler
reads and writes as they come: ``recv()`` and ``sendall()`` wait while a *pump* drives the row. Each call does what a
socket's call does, or raises an error that names the remedy; none is accepted and ignored.
"""

from __future__ import annotations

import errno
import io
import math

from ..causes import Reset
from ..channel import ENDING
from ..handler import StreamHandler
from ..wait import LIMIT, StreamWait
from ..waits import Delay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import IO, Any, TypeAlias

    from typing_extensions import Self

    from ..handler import Step

    Pump: TypeAlias = Callable[[Callable[[], bool], float | None], bool]
    """``pump(condition, timeout)`` drives the row until ``condition()`` is true, and returns ``True``.

    ``condition`` is called first, and again each time the row has been settled; it may queue output. ``pump`` returns
    ``False`` when ``timeout`` seconds have passed, or when the row has ended. With 0 it does what can be done at once;
    with ``None`` there is no bound.
    """

# These are in `socket`, which may not be imported here. They are the same in Linux, the BSDs, macOS and Windows.
_MSG_PEEK = 0x2  # <sys/socket.h>; winsock2.h
_SHUT_RD, _SHUT_WR, _SHUT_RDWR = 0, 1, 2  # <sys/socket.h>; SD_RECEIVE, SD_SEND, SD_BOTH of winsock2.h
_TCP_NODELAY = 6, 1  # the protocol number of TCP (IANA), and <netinet/tcp.h>

_CHUNK = 65_536  # bytes that sendall() queues at a time, before it waits until they have left


class Face:
    """The calls of a connected stream socket (see `socket`) for a blocking handler, over the row of ``handler``.

    ``held`` is the input that has come. Without a ``pump`` that is all of it.
    """

    def __init__(self, handler: StreamHandler, held: bytes = b"", pump: Pump | None = None) -> None:
        self._handler = handler
        self._pump = pump
        self._held = bytearray(held)
        self._input_ended = pump is None
        self._timeout: float | None = None
        self._shut_in = self._shut_out = False
        self._files = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of the connection with {self._handler.peer!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Input

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Return up to ``bufsize`` bytes, ``b""`` at the end of the stream. The only flag is ``MSG_PEEK``."""
        if flags & ~_MSG_PEEK:
            raise self._unsupported(f"recv(flags={flags:#x})", "the only flag here is MSG_PEEK")
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        self._require_open()
        if bufsize:
            self._wait_for_input()
        data = bytes(self._held[:bufsize])
        if not flags:
            self._take(len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """`recv` into ``buffer``, at most ``nbytes`` if that is not 0. Return the number of bytes."""
        with memoryview(buffer) as view, view.cast("B") as octets:
            if nbytes < 0 or nbytes > len(octets):
                raise ValueError(f"recv_into: nbytes is 0 to {len(octets)}, the size of the buffer, not {nbytes}")
            data = self.recv(nbytes or len(octets), flags)
            octets[: len(data)] = data
        return len(data)

    def _wait_for_input(self) -> None:
        self._wait(lambda: bool(self._held) or self._input_ended or self._shut_in)
        if not self._held and not self._input_ended and not self._shut_in:
            raise self._ended_error()

    def _take(self, size: int) -> None:
        del self._held[:size]
        if isinstance(self._handler, Passive):
            self._handler.took()

    # Output

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of ``data``. It has left when this returns, except for a request that has come whole (`Whole`).

        After a timeout it is not known how much has left, as with a socket.
        """
        self._require_output(flags)
        with memoryview(data) as view, view.cast("B") as octets:
            size, place = len(octets), 0

            def has_left() -> bool:
                nonlocal place
                if self._has_output():
                    return False
                if place == size:
                    return True
                self._handler.send(octets[place : place + _CHUNK])
                place = min(place + _CHUNK, size)
                return False

            self._wait(has_left)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send the beginning of ``data``, 64 KiB at most, when what was sent before has left. Return its bytes.

        So a file with a buffer knows after a timeout what is still to be sent, as it does with a socket.
        """
        if self._pump is None:
            self.sendall(data, flags)
            with memoryview(data) as view:
                return view.nbytes
        self._require_output(flags)
        self._wait(lambda: not self._has_output())
        self._require_output(flags)  # the row may have ended meanwhile
        machine = self._handler._machine
        with memoryview(data) as view, view.cast("B") as octets:
            self._handler.send(octets[:_CHUNK])
            self._pump(lambda: not self._has_output() or machine.finished, self._timeout)
            return min(len(octets), _CHUNK)

    def sendmsg(self, buffers: Iterable[Any], ancdata: Iterable[Any] = (), flags: int = 0, address: Any = None) -> int:
        """`send` the joined buffers. Ancillary data and an address are refused."""
        if tuple(ancdata):
            raise self._unsupported("sendmsg() with ancillary data", "a StreamHandler passes it by send_descriptors()")
        if address is not None:
            raise self._unsupported("sendmsg() with an address", "the connection has one peer")
        return self.send(b"".join(buffers), flags)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send ``count`` bytes of a binary ``file`` from ``offset``; ``None``: up to its end. Return their number."""
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("file should be opened in binary mode")
        if count is not None and count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
        if offset:
            file.seek(offset)
        sent = 0
        while data := file.read(_CHUNK if count is None else min(_CHUNK, count - sent)):
            self.sendall(data)
            sent += len(data)
        if hasattr(file, "seek"):
            file.seek(offset + sent)
        return sent

    def _has_output(self) -> bool:
        return bool(self._handler._machine.outbox)

    def _require_output(self, flags: int) -> None:
        if flags:
            raise self._unsupported(f"send(flags={flags:#x})", "there are no flags here")
        self._require_open()
        if self._shut_out or (self._handler._machine.finished and self._handler._machine.reason is None):
            raise BrokenPipeError(errno.EPIPE, "the output has been shut down")
        if self._handler._machine.finished:
            raise self._ended_error()

    # Time

    def settimeout(self, timeout: float | None) -> None:
        """Set the seconds that a call may wait; ``None``: no bound, 0: it does not wait."""
        if timeout is not None and not timeout >= 0:
            raise ValueError("Timeout value out of range")
        self._timeout = timeout

    def gettimeout(self) -> float | None:
        """The timeout that `settimeout` has set."""
        return self._timeout

    timeout = property(gettimeout)

    def setblocking(self, flag: bool) -> None:
        """``settimeout(None)`` or ``settimeout(0)``."""
        self.settimeout(None if flag else 0.0)

    def getblocking(self) -> bool:
        """Whether a call may wait."""
        return self._timeout != 0

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Drive the row until ``condition()`` is true or the row has ended. Raises ``TimeoutError``."""
        machine = self._handler._machine
        if self._pump is None or self._pump(lambda: condition() or machine.finished, self._timeout):
            return
        if machine.finished:
            return
        if self._timeout == 0:
            raise BlockingIOError(errno.EAGAIN, "the call would wait")
        raise TimeoutError("timed out")

    # The end

    def shutdown(self, how: int) -> None:
        """End the input (``SHUT_RD``), the output (``SHUT_WR``) or both; input that has come can still be read."""
        if how not in (_SHUT_RD, _SHUT_WR, _SHUT_RDWR):
            raise OSError(errno.EINVAL, f"shutdown: how is SHUT_RD, SHUT_WR or SHUT_RDWR, not {how!r}")
        self._require_open()
        if how != _SHUT_WR:
            self._shut_in = True
        if how != _SHUT_RD:
            self._end_output()

    def close(self) -> None:
        """Close the connection; it ends when all files from `makefile` have been closed too."""
        self._closed = True
        if not self._files:
            self._really_close()

    def _really_close(self) -> None:
        self._shut_in = True
        self._end_output()

    def _end_output(self) -> None:
        if not self._shut_out:
            self._shut_out = True
            self._handler.send_eof()
            if self._pump is not None:
                self._pump(lambda: self._handler._machine.output is not ENDING, 0)

    def _is_closed(self) -> bool:
        return self._closed and not self._files

    def _require_open(self) -> None:
        if self._is_closed():
            raise OSError(errno.EBADF, "the connection has been closed")

    def _ended_error(self) -> OSError:
        """The error that a call raises when the request has ended."""
        reason = self._handler._machine.reason
        if isinstance(reason, Reset):
            return reason.error
        return ConnectionAbortedError(errno.ECONNABORTED, f"the request has ended: {reason}")

    # Files

    def makefile(
        self, mode: str = "r", buffering: int | None = None, *,
        encoding: str | None = None, errors: str | None = None, newline: str | None = None,
    ) -> Any:  # fmt: skip
        """Return a file for the connection; see ``socket.makefile``."""
        if not set(mode) <= {"r", "w", "b"}:
            raise ValueError(f"invalid mode {mode!r} (only r, w, b allowed)")
        self._require_open()
        reads, writes = "r" in mode or "w" not in mode, "w" in mode
        raw = _File(self, reads, writes)
        if buffering == 0:
            if "b" not in mode:
                raise ValueError("unbuffered streams must be binary")
            return raw
        size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
        buffer: Any
        if reads and writes:
            buffer = io.BufferedRWPair(raw, raw, size)
        elif reads:
            buffer = self._buffered_reader(raw, size)
        else:
            buffer = io.BufferedWriter(raw, size)
        if "b" in mode:
            return buffer
        text = io.TextIOWrapper(buffer, encoding, errors, newline)
        text.mode = mode  # type: ignore[misc]
        return text

    def _buffered_reader(self, raw: io.RawIOBase, size: int) -> io.BufferedReader:
        return io.BufferedReader(raw, size)

    # The socket itself

    def getpeername(self) -> Any:
        """The peer's address; a filter may have changed it to the address in a PROXY header."""
        return self._handler.peer

    @property
    def principal(self) -> Any:
        """The name of the peer, if a filter or the handler has authenticated it; else ``None``."""
        return self._handler.principal

    @principal.setter
    def principal(self, name: Any) -> None:
        self._handler.principal = name

    @property
    def secured(self) -> Any:
        """The protocol that protects the connection, such as ``"tls1.3"``; else ``None``."""
        return self._handler.secured

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """See `Handler.peer_certificate`."""
        return self._handler.peer_certificate

    @property
    def alpn(self) -> str | None:
        """See `Handler.alpn`."""
        return self._handler.alpn

    @property
    def proxy_header(self) -> Any:
        """See `Handler.proxy_header`."""
        return self._handler.proxy_header

    def getsockname(self) -> Any:
        """The address of this side."""
        sock = self._socket()
        return self._handler.server.server_address if sock is None else sock.getsockname()

    def getsockopt(self, level: int, option: int, *buflen: int) -> Any:
        """An option of the connection's socket."""
        return self._require_socket("getsockopt()").getsockopt(level, option, *buflen)

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        """Set an option of the connection's socket."""
        if self._socket() is None and (level, option) == _TCP_NODELAY:
            return  # without a socket, a reply leaves in one piece anyway
        self._require_socket("setsockopt()").setsockopt(level, option, *value)

    def fileno(self) -> int:
        """Refused: what is read or written on the descriptor would bypass this object and the filters."""
        raise self._unsupported("fileno()", "use the calls and files of this connection")

    def detach(self) -> int:
        """Refused, as is `fileno`."""
        raise self._unsupported("detach()", "the row closes the descriptor when the request has ended")

    def dup(self) -> Any:
        """Refused, as is `fileno`."""
        raise self._unsupported("dup()", "makefile() gives several files over one connection")

    def __getattr__(self, name: str) -> Any:
        """``family``, ``type`` and ``proto`` of the socket. Raises `AttributeError` for all other names."""
        if name in ("family", "type", "proto") and self._socket() is not None:
            return getattr(self._socket(), name)
        raise AttributeError(f"{name}: a socket may have this attribute, this connection has not; {self._remedy()}")

    def _socket(self) -> Any:
        return self._handler._machine.driver.socket

    def _require_socket(self, what: str) -> Any:
        sock = self._socket()
        if sock is None:
            raise self._unsupported(what, "there is no socket behind this connection")
        return sock

    def _unsupported(self, what: str, why: str) -> io.UnsupportedOperation:
        return io.UnsupportedOperation(f"{what} is not supported here: {why}; {self._remedy()}")

    def _remedy(self) -> str:
        if self._pump is None:
            return "the loop has the socket (without request, the Forking, Threading and plain server classes give it)"
        return "the bytes of the socket are those in front of the filters (a server without filters gives the socket)"


class _File(io.RawIOBase):
    """A file without a buffer. Several may share a connection; closing one closes no other."""

    def __init__(self, face: Face, reads: bool, writes: bool) -> None:
        self._face = face
        self._reads = reads
        self._writes = writes
        face._files += 1

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def readinto(self, buffer: Any) -> int | None:
        try:
            return self._face.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: Any) -> int | None:
        try:
            return self._face.send(data)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        return Face.fileno(self._face)  # refused, even where a connection has a descriptor for selectors

    def close(self) -> None:
        if self.closed:
            return
        super().close()
        face = self._face
        face._files -= 1
        if face._is_closed():
            face._really_close()


class _More(StreamWait):
    """The bytes that have come, at most ``limit``; ``b""`` at the end of the stream."""

    __slots__ = ()

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        end = min(len(held), start + self.limit)
        return end if end > start or ended else -1


_MORE = _More()
_REST = Delay(math.inf)  # until a call of the face needs more, or the request is done


def _ended_pump(condition: Callable[[], bool], timeout: float | None) -> bool:
    """The pump of a row that has ended."""
    return condition()


class Passive(StreamHandler):
    """The handler of a row that serves a blocking handler behind filters: it takes input for its `face`.

    The driver of the row makes this handler with the ``pump``, drives the row until this handler has begun, runs the
    blocking handler on `face`, calls `done`, and drives the row until all output has been sent.
    """

    timeout = None  # each call of the face has its own timeout

    def __init__(self, pump: Pump) -> None:
        self.face: Any = Face(self, pump=pump)
        """``None`` when the row has released the request."""
        self._is_done = False

    @property
    def held(self) -> int:
        """Bytes of input that the blocking handler has not read yet."""
        return 0 if self.face is None else len(self.face._held)

    def forget(self) -> None:
        """The row has released the request: drop all references that lead back to this handler or to the row."""
        if self.face is not None:
            self.face._pump = _ended_pump
            self.face = None

    def handle(self) -> Step:
        """Take input while less than `LIMIT` bytes of it are held."""
        face = self.face
        if self._is_done:
            return None
        if face._input_ended or len(face._held) >= LIMIT:
            return _REST, self._rested
        return _MORE, self._took

    def _took(self, data: bytes | None) -> Step:
        if data:
            self.face._held += data
        elif data is not None:
            self.face._input_ended = True
        return self.handle()

    def _rested(self, _: None) -> Step:
        return self.handle()

    def took(self) -> None:
        """The blocking handler has read some input: take more."""
        if self._machine.wait is _REST and not self.face._input_ended and len(self.face._held) < LIMIT:
            self._go_on()

    def done(self) -> None:
        """The blocking handler has returned: end the request. Its output still leaves."""
        self._is_done = True
        if not self._machine.finished:
            self._go_on()

    def _go_on(self) -> None:
        machine = self._machine
        machine.resume(None)
        machine.driver.touched()
