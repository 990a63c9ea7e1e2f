"""`http_request`: the framing of HTTP/1.1 for blocking handlers: those of ``http.server``, and all derived from them.

The handler gets a request that is whole and that it can read by its Content-Length, the only length that the handlers
of ``http.server``, ``wsgiref`` and ``xmlrpc`` know. So a chunked body is joined, and the head then says its length. The
framing itself sends 100 (Continue) to a client that waits for it, and takes Expect out of the head; a handler's
``handle_expect_100()`` is not called.

The handler parses the head a second time, by ``parse_request()`` of its own class. That costs time, but classes extend
or replace that method and what it sets (``headers`` is of the class ``MessageClass``), and each version of Python has
its own: to set the same from the fields that are known here would be a copy of it. Both read the same bytes, and the
framing has refused what they could read differently.

What is malformed or too long is answered with 400, 408, 413, 414, 431, 501 or 505, and the connection ends. Whether it
goes on after an answer is the handler's decision, as in ``http.server``: ``protocol_version = "HTTP/1.1"``.
"""

from __future__ import annotations

import re

from ..causes import LimitPassed, RequestRefused, TimedOut
from ..wait import StreamWait
from ..waits import Exactly, Until
from .message import (
    ChunkedBody,
    Malformed,
    plain_request,
    read_body,
    read_fields,
    read_request_line,
    refusal,
    unchunked,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..causes import Cause
    from .message import Body, Fields, RequestLine

_END = re.compile(rb"\n\r\n|(?<!\r)\n")

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

TOO_LONG = {
    414: "the request line is too long",
    431: "the header or trailer section is too long",
    413: "the request is too long",
}
"""Why a request is refused where a wait has passed its limit."""


async def http_request(row: Any, *, max_head: int = 65_536, max_fields: int = 100) -> bytes | None:
    """The framing of an HTTP/1.1 request: ``request = http_request`` on a blocking handler class.

    ``max_head`` is in bytes, of the request line and the header section; and of a trailer section. ``max_fields`` is a
    number of field lines. ``request = functools.partial(http_request, max_head=8_192)`` declares others than these. The
    whole request has at most ``max_request`` bytes, which the handler class may declare.
    """
    coming = Coming(row, max_head, max_fields)
    try:
        return await coming.whole()
    except (Malformed, LimitPassed, TimedOut) as fault:
        raise coming.refused(fault) from None


class Coming:
    """A request that comes, and how far it has come."""

    __slots__ = ("_max_fields", "_max_head", "_row", "fields", "has_begun", "line", "request_line", "too_long")

    def __init__(self, row: Any, max_head: int, max_fields: int) -> None:
        self._row = row
        self._max_head = max_head
        self._max_fields = max_fields
        self.has_begun = False
        self.line = b""
        self.request_line: RequestLine | None = None
        self.fields: Fields = []
        self.too_long = 414
        """The status code of the answer if the part that comes now is too long."""

    def refused(self, fault: Malformed | LimitPassed | TimedOut) -> Cause:
        """The cause to raise for a request that can't be taken: with an answer, unless none has begun."""
        if isinstance(fault, Malformed):
            status, why = fault.status, fault.why
        elif isinstance(fault, LimitPassed):
            if fault.wait is None:
                return fault  # of a bound that the request has not passed, such as ``max_output``
            status, why = self.too_long, TOO_LONG[self.too_long]
        elif self.has_begun or self._row.held_in:
            status, why = 408, "the request has not come in time"
        else:
            return fault  # there is no request that an answer could be for
        return RequestRefused(self._answer(status, why), f"{status}: {why}")

    def _answer(self, status: int, why: str) -> bytes:
        is_head = self.request_line is not None and self.request_line.method == b"HEAD"
        return refusal(status, why, self._row.now(), has_content=not is_head)

    def unanswered(self) -> bytes:
        """The answer if the handler's reply can't be sent."""
        return self._answer(500, "the server has failed")

    async def head(self) -> tuple[Body, int]:
        """Take the request line and the header section. Returns how the body comes, and the bytes taken."""
        first = await Until(b"\n", limit=self._max_head)
        self.has_begun = True
        # An empty line before the request is ignored (RFC 9112, section 2.2).
        self.line = line = await Until(b"\n", limit=self._max_head) if first == b"\r\n" else first
        self.request_line = request_line = read_request_line(line)
        self.too_long = 431
        section = await Section(limit=max(self._max_head - len(line), 2))
        self.fields = read_fields(section, self._max_fields)
        body = read_body(request_line, self.fields)
        body.is_plain = body.is_plain and line is first
        self.too_long = 413
        return body, len(line) + len(section)

    async def whole(self) -> bytes | None:
        """The request, as a framing returns it."""
        row = self._row
        body, taken = await self.head()
        room = row.max_request - taken
        if (body.length or 0) > room:
            raise Malformed(413, TOO_LONG[413])
        if body.is_awaited:
            row.send(CONTINUE)
        content: bytes | bytearray = b""
        if body.length is None:
            content = await self._chunked(room)
        elif body.length:
            content = await Exactly(body.length, limit=room)
        row.if_unanswered(self.unanswered)
        return None if body.is_plain else plain_request(self.line, self.fields, content)

    async def _chunked(self, room: int) -> bytearray:
        """The content of a chunked body."""
        body = ChunkedBody()
        chunks = await Chunks(body, limit=max(room, 1))
        if body.fault:
            raise Malformed(400, body.fault)
        await self.trailers()
        return unchunked(chunks)

    async def trailers(self) -> None:
        """Take the trailer section of a chunked body, which is read and dropped (RFC 9110, section 6.5.1)."""
        self.too_long = 431
        read_fields(await Section(limit=self._max_head), self._max_fields)


class Section(StreamWait):
    """A header or trailer section, up to its empty line. A line that ends in LF alone ends it too, and is refused."""

    __slots__ = ()

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        if held[start : start + 2] == b"\r\n":
            return start + 2
        found = _END.search(held, max(start, scanned - 2), start + self.limit)
        if found is not None:
            return found.end()
        if len(held) - start >= self.limit:
            raise LimitPassed(self)
        return -1


class Chunks(StreamWait):
    """A chunked body up to its trailer section, which ``body`` reads. What is malformed ends it too."""

    __slots__ = ("body",)

    def __init__(self, body: ChunkedBody, limit: int) -> None:
        super().__init__(limit)
        self.body = body

    def find(self, held: bytes | bytearray, start: int, scanned: int, ended: bool) -> int:
        end = self.body.find(held, start)
        if self.body.needed > self.limit:
            raise LimitPassed(self)
        return end
