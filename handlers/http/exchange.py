"""`Request` and `Response`: the two halves of one exchange, whose content comes and goes in pieces."""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus

from ..causes import LimitPassed, TimedOut
from ..waits import Exactly, Some, Until
from .framing import CONTINUE, TOO_LONG
from .message import LONG_CHUNK, LONG_CHUNK_LINE, MAX_CHUNK_LINE, Malformed, chunk_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO, TypeAlias

    from ..handler import StreamHandler
    from .framing import Coming
    from .message import Body

    FieldLines: TypeAlias = Iterable[tuple[str, str]]

PIECE = 65_536
"""Bytes of content that `Request.read` returns at most."""

_FIELD_LINE = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*")
_HEADS: dict[int, str] = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}

_LENGTHS = ("content-length", "transfer-encoding")


class Request:
    """A request whose head has come. Its content is taken from the connection as it is read, and not before."""

    __slots__ = ("_coming", "_handler", "_is_chunked", "_left", "fields", "is_1_1", "is_awaited", "is_read", "method",
                 "target")  # fmt: skip

    def __init__(self, handler: StreamHandler, coming: Coming, body: Body) -> None:
        line = coming.request_line
        assert line is not None  # the head has come
        self._handler = handler
        self._coming = coming
        self._is_chunked = body.length is None
        self._left = body.length or 0  # of the content, or of a chunk
        self.method = line.method.decode()
        """The method; methods are case-sensitive (RFC 9110, section 9.1)."""
        self.target = line.target.decode()
        """The request target as sent: visible ASCII, not decoded (RFC 9112, section 3.2)."""
        self.is_1_1 = line.is_1_1
        self.fields = coming.fields
        """The field lines in their order."""
        self.is_awaited = body.is_awaited
        """Whether the client waits for 100 (Continue) before it sends the content; the first `read` sends it."""
        self.is_read = not self._is_chunked and not self._left
        """Whether all content has been read."""

    def get(self, name: str) -> str | None:
        """The value of a field; of several lines with this name their values as a list, with commas between them."""
        wanted = name.lower().encode()
        values = [value for field, value in self.fields if field.lower() == wanted]
        return b", ".join(values).decode("latin-1") if values else None

    def has_token(self, name: str, token: str) -> bool:
        """Whether the field ``name`` is a list that has ``token``, such as ``close`` in Connection."""
        return has_token(self.get(name) or "", token)

    async def read(self) -> bytes:
        """The next piece of the content, as it comes: 1 to 65,536 bytes; ``b""`` at its end.

        Raises `RequestRefused`, with the answer to be sent, if the content is malformed or does not come in time; and
        `EndOfStream` if the connection ends before the content does.
        """
        if self.is_read:
            return b""
        if self.is_awaited:
            self.is_awaited = False
            self._handler.send(CONTINUE)
        try:
            return await self._next_piece()
        except (Malformed, LimitPassed, TimedOut) as fault:
            raise self._coming.refused(fault) from None

    async def content(self, limit: int = 1 << 20) -> bytes:
        """All of the content. Raises `RequestRefused` with status 413 if it is longer than ``limit``; see `read`."""
        content = bytearray()
        while len(content) + self._left <= limit and (piece := await self.read()):
            content += piece
        if not self.is_read:
            raise self._coming.refused(Malformed(413, TOO_LONG[413]))
        return bytes(content)

    def may_be_skipped(self) -> bool:
        """Whether the rest of the content may be read for no other reason than to get at the next request."""
        return not self.is_awaited and self._left <= PIECE

    async def skip(self) -> None:
        """Read and drop the rest of the content, if it is not much."""
        skipped = 0
        while skipped <= PIECE and (piece := await self.read()):
            skipped += len(piece)

    async def _next_piece(self) -> bytes:
        if self._is_chunked and not self._left:
            try:
                self._left = chunk_size(await Until(b"\n", limit=MAX_CHUNK_LINE))
            except LimitPassed:
                raise Malformed(400, LONG_CHUNK_LINE) from None
            if not self._left:
                await self._coming.trailers()
                self.is_read = True
                return b""
        piece = await Some(min(self._left, PIECE))
        self._left -= len(piece)
        if not self._left:
            if self._is_chunked and await Exactly(2) != b"\r\n":
                raise Malformed(400, LONG_CHUNK)
            self.is_read = not self._is_chunked
        return piece


class Response:
    """The response to one request: `reply` with content that is at hand, or `begin` and then `write` in pieces."""

    __slots__ = ("_handler", "_left", "_request", "_says_close", "has_begun", "has_content", "is_chunked", "is_kept")

    def __init__(self, handler: StreamHandler, request: Request) -> None:
        self._handler = handler
        self._request = request
        self._left: int | None = None  # of the content; None: it ends with the last chunk, or with the connection
        self.has_begun = False
        """Whether the head of the response has been sent."""
        self.has_content = request.method != "HEAD"
        self.is_chunked = False
        goes_on = request.is_1_1 or request.has_token("Connection", "keep-alive")
        self.is_kept = goes_on and not request.has_token("Connection", "close")  # close wins: RFC 9112, section 9.3
        """Whether the connection goes on with the next request; the handler may set it to false before it begins."""
        self._says_close = False  # whether the fields that the handler has given say so

    def reply(self, status: int, content: bytes = b"", fields: FieldLines = ()) -> None:
        """The whole response."""
        self.begin(status, fields, len(content))
        self.put(content)

    def begin(self, status: int, fields: FieldLines = (), length: int | None = None) -> None:
        """Send the head of the response, with ``fields`` and those that belong to the connection.

        ``length`` is that of the content in bytes. If it is not known, the content is chunked, and for a client of
        HTTP/1.0 it ends with the connection. If the client waits for 100 (Continue), or much of the content of the
        request is left, or ``fields`` have ``Connection: close``, the connection ends with the response. Raises
        `ValueError` for a ``status`` that is not from 200 to 599, for what is no length or no field line, and for
        Content-Length and Transfer-Encoding, which are not in ``fields``: two lengths would be a response that two
        recipients read differently (RFC 9112, section 6.3).
        """
        if self.has_begun:
            raise RuntimeError("the response has begun already")
        if not 200 <= status <= 599:
            raise ValueError(f"the status of a final response is from 200 to 599, not {status}; switch() sends 101")
        if length is not None and length < 0:
            raise ValueError(f"the length of the content is a number of bytes, not {length}")
        lines = [_HEADS.get(status) or f"HTTP/1.1 {status} ", *self._lines_of(fields)]
        if not any(line[:5].lower() == "date:" for line in lines):
            lines.append(f"Date: {formatdate(self._handler.now(), usegmt=True)}")
        request = self._request
        is_empty = status in (204, 304)
        if length is None and not is_empty:
            self.is_chunked = request.is_1_1
            self.is_kept = self.is_kept and (request.is_1_1 or not self.has_content)
        if self.is_chunked:
            lines.append("Transfer-Encoding: chunked")
        elif length is not None and not is_empty:
            lines.append(f"Content-Length: {length}")
        is_draining = getattr(self._handler.server, "is_draining", False)
        self.is_kept = self.is_kept and request.may_be_skipped() and not is_draining
        if not self.is_kept and not self._says_close:
            lines.append("Connection: close")
        elif self.is_kept and not request.is_1_1:
            lines.append("Connection: keep-alive")
        self._left = None if is_empty else length
        self.has_content = self.has_content and not is_empty
        self._send_head(lines)

    def _lines_of(self, fields: FieldLines) -> list[str]:
        """The field lines that the handler gives. Raises `ValueError` for those that it may not give."""
        lines = []
        for name, value in fields:
            lines.append(_field_line(name, value))
            if name.lower() in _LENGTHS:
                raise ValueError(f"{name} is not among the fields: begin() is told the length of the content")
            if name.lower() == "connection" and has_token(value, "close"):
                self.is_kept, self._says_close = False, True
        return lines

    def switch(self, protocol: str, fields: FieldLines = ()) -> None:
        """Send 101 (Switching Protocols): from now on the connection speaks ``protocol`` (RFC 9110, section 7.8)."""
        self.is_kept = self.has_content = False
        lines = [_HEADS[101], f"Upgrade: {protocol}", "Connection: Upgrade"]
        self._left = 0
        self._send_head([*lines, *(_field_line(name, value) for name, value in fields)])

    async def write(self, data: bytes) -> None:
        """Send a piece of the content, and wait while the client takes no more. Nothing of it goes out for HEAD.

        Raises `ValueError` for more bytes than `begin` has been told.
        """
        self.put(data)
        await Exactly(0)  # goes on when the output is below the high-water mark

    def send_file(self, file: BinaryIO, offset: int, count: int) -> None:
        """Send ``count`` bytes of ``file`` as content; see `StreamHandler.send_file`. Not for chunked content."""
        if self.is_chunked:
            raise RuntimeError("a part of a file has a length: begin the response with it")
        self._take(count)
        if self.has_content:
            self._handler.send_file(file, offset, count)
        else:
            file.close()

    def end(self) -> None:
        """End the content. Raises `RuntimeError` if it is shorter than `begin` has been told."""
        if not self.has_begun:
            raise RuntimeError("the request has got no response")
        if self.has_content and self._left:
            raise RuntimeError(f"the content is {self._left} bytes shorter than its Content-Length")
        if self.has_content and self.is_chunked:
            self._handler.send(b"0\r\n\r\n")

    def _send_head(self, lines: list[str]) -> None:
        self.has_begun = True
        self._request.is_awaited = False
        self._handler.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def put(self, data: bytes) -> None:
        """Send a piece of the content, without a wait. Raises `ValueError`, as `write` does."""
        self._take(len(data))
        if data and self.has_content:
            self._handler.send(b"%x\r\n%b\r\n" % (len(data), data) if self.is_chunked else data)

    def _take(self, count: int) -> None:
        if not self.has_begun:
            raise RuntimeError("content before the response has begun")
        if self._left is not None:
            if count > self._left:
                raise ValueError(f"the content is longer than its Content-Length, by {count - self._left} bytes")
            self._left -= count


def has_token(value: str, token: str) -> bool:
    """Whether the list ``value`` has ``token``, in letters of either case.

    >>> has_token("keep-alive, Close", "close"), has_token("closed", "close")
    (True, False)
    """
    return token in [part.strip(" \t").lower() for part in value.split(",")]


def _field_line(name: str, value: str) -> str:
    line = f"{name}: {value}"
    if _FIELD_LINE.fullmatch(line) is None:
        raise ValueError(f"no field line of HTTP (RFC 9110, section 5.5): {line!r}")
    return line
