"""`Whole`: the object that a blocking handler has in place of the socket when its request has come whole.

It has the calls of a socket (`Face`). Input is the request, nothing behind it; output goes to whatever drives the
connection. It also has the handler's decision whether the connection goes on with another request.
"""

from __future__ import annotations

import errno
from io import BufferedReader

from ..files import SMALL
from .face import _SHUT_RD, Face

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import IO, Any, TypeAlias

    from ..handler import StreamHandler

    Send: TypeAlias = Callable[[memoryview, float | None], None]
    """``send(octets, timeout)`` sends all octets. It waits while the client takes none, ``timeout`` seconds at most
    (``None``: the time that the handler class declares). Raises ``OSError``."""


class Whole(Face):
    """The calls of a connected stream socket, over one whole ``request`` of the connection of ``handler``.

    ``send`` takes the output. Without it the row holds all output until ``handle()`` has returned, at most
    ``max_output`` bytes.
    """

    def __init__(self, handler: StreamHandler, request: bytes, send: Send | None = None) -> None:
        super().__init__(handler, request)
        self._send = send
        self.goes_on = False
        """Whether the connection goes on with the next request when the handler has returned."""
        self.begun = False
        """Whether ``handle_one_request()`` has been called, which handlers of ``http.server`` have."""
        self._is_polled = self._has_replied = False
        self.rest: Generator[object, None, object] | None = None
        """What sends the rest of the reply when ``handle()`` has returned: see `leave`."""
        self.error: Exception | None = None
        """Why the request can't be answered rightly, whatever the handler does with the exception."""

    @property
    def place(self) -> str:
        """Where `handle` runs: ``"thread"``, ``"fork"``, ``"here"``; ``""`` in the loop. See `Answered`."""
        return getattr(self._handler, "work", "")

    def now(self) -> float:
        """The time of day in seconds since 1970-01-01 00:00 UTC."""
        return self._handler.now()

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send all of ``data``; see `Face.sendall`."""
        self._require_output(flags)
        with memoryview(data) as view, view.cast("B") as octets:
            if self._send is None:
                self._hold(octets)
            else:
                self._has_replied = self._has_replied or bool(octets)
                self._send(octets, self._timeout)

    def send(self, data: Any, flags: int = 0) -> int:
        """`sendall`. Return the number of bytes."""
        self.sendall(data, flags)
        with memoryview(data) as view:
            return view.nbytes

    def _hold(self, octets: memoryview) -> None:
        """Have the row hold the output. Raises ``OSError`` beyond ``max_output``; all output is dropped then."""
        machine, most = self._handler._machine, self._handler.max_output
        if machine.held_out + len(octets) > most:
            name = type(self._handler).__name__
            self.error = self.error or OSError(
                errno.ENOBUFS,
                f"the reply is longer than {most} bytes ({name}.max_output), and the loop holds it whole until "
                f'handle() has returned: declare work = "thread" or "fork" on {name}, which sends while it writes, '
                f"or raise max_output",
            )
            machine.drop_output()
            self._has_replied = False
        if self.error is not None:
            raise self.error
        self._has_replied = self._has_replied or bool(octets)
        self._handler.send(octets)

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int | None = None) -> int:
        """Send ``count`` bytes of a binary ``file``; see `Face.sendfile`. The loop holds the file, not its bytes."""
        size = None if count is not None and count <= 0 else self.hold_file(file, offset, count)
        return super().sendfile(file, offset, count) if size is None else size

    def hold_file(self, file: IO[bytes], offset: int | None = None, count: int | None = None) -> int | None:
        """Have the row hold ``count`` bytes of ``file``, from where it is read next if there is no ``offset``.

        Returns the number of bytes; ``None`` if this is not in the loop, or the file has to be read: it is small, or no
        regular file.
        """
        handler: Any = self._handler
        if self._send is not None or handler.copy_of is None or self.error is not None:
            return None
        self._require_output(0)
        copy = handler.copy_of(file)
        if copy is None:
            return None
        start = file.tell() if offset is None else offset
        left = max(0, copy.seek(0, 2) - start)
        size: int = left if count is None else min(left, count)
        if size <= SMALL:
            copy.close()
            file.seek(start)  # the copy has moved it
            return None
        self._has_replied = True
        handler.send_file(copy, start, size)
        file.seek(start + size)
        return size

    def leave(self, rest: Generator[object, None, object]) -> None:
        """Send the rest of the reply by ``rest``, each step of which sends a piece.

        In the loop that begins when ``handle()`` has returned, and a step waits until the client has taken the pieces
        before, but for `Handler.high_water` bytes. Elsewhere it is done now, for there a write waits for the client.
        """
        if self._send is None:
            self.rest = rest
        else:
            for _ in rest:
                pass

    def reply_instead(self, answer: bytes) -> None:
        """The handler has failed for `error`: send ``answer``, unless a part of its reply is on its way."""
        if not answer or self._has_replied:
            return
        if self._send is None:
            self._handler.send(answer)
        else:
            try:
                self._send(memoryview(answer), self._timeout)
            except OSError:
                pass  # the client takes nothing any more

    def shutdown(self, how: int) -> None:
        """End the input or the output, as `Face.shutdown` does.

        A handler that has been told the end of its request, and keeps its connection, ends no output.
        """
        if how == _SHUT_RD or not self.goes_on:
            super().shutdown(how)

    def _end_output(self) -> None:
        self._shut_out = True  # the connection ends when the handler has returned, after what was sent before

    def keep(self, handler: Any) -> None:
        """The blocking ``handler`` has answered: the connection goes on if its ``close_connection`` is false."""
        self.goes_on = not getattr(handler, "close_connection", True)

    @property
    def is_kept(self) -> bool:
        """Whether the connection goes on: the handler wants to, and has not closed it."""
        return self.goes_on and not self._closed and not self._shut_out and self.error is None

    def _buffered_reader(self, raw: Any, size: int) -> BufferedReader:
        return _WholeReader(self, raw, size)

    def fileno(self) -> int:
        """A descriptor for a selector to wait for input: always readable, because the input has come, and its end.

        So once it is asked for, ``read(n)`` beyond the end of the request returns what there is. It is not the
        descriptor of the connection: to write to it fails.
        """
        ended_input = getattr(self._handler, "ended_input", None)
        if ended_input is None:
            return super().fileno()
        self._is_polled = True
        number: int = ended_input()
        return number

    def fell_short(self, wanted: int, got: int) -> None:
        """``read(wanted)`` has found only ``got`` bytes. Raises ``EOFError``, unless the stream has ended there."""
        machine = self._handler._machine
        if self._is_polled or (machine.ended and not machine.held_in):
            return
        name = type(self._handler).__name__
        self.error = EOFError(
            f"{name} reads {wanted} bytes, and {got} bytes are left of its request: {name}.request takes less of the "
            f"stream than handle() reads"
        )
        raise self.error


class _WholeReader(BufferedReader):
    """The file ``rfile``. Where a socket's file would wait for more bytes of the request, it raises ``EOFError``."""

    def __init__(self, face: Whole, raw: Any, size: int) -> None:
        super().__init__(raw, size)
        self._face = face

    def read(self, size: int | None = -1) -> bytes:
        """Read ``size`` bytes; all that are left for ``None`` and -1."""
        data = super().read(size)
        if size is not None and len(data) < size:
            self._face.fell_short(size, len(data))
        return data

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as ``buffer`` takes."""
        count = super().readinto(buffer)
        with memoryview(buffer) as view:
            if count < view.nbytes:
                self._face.fell_short(view.nbytes, count)
        return count
