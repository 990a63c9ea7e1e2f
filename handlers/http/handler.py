"""`HTTPHandler`: a server of HTTP/1.1 as a state machine, which holds neither a request nor a response whole."""

from __future__ import annotations

from ..causes import Cause, Failed, LimitPassed, RequestRefused, TimedOut
from ..handler import StreamHandler
from ..refusal import Refusing
from .exchange import Request, Response
from .framing import Coming
from .message import Malformed, refusal


class HTTPHandler(Refusing, StreamHandler):  # type: ignore[override]
    """A connection of HTTP/1.1 (RFC 9112). Derive a class and define `respond`.

    The connection goes on with the next request, in order; a client may send several at once. What is malformed, too
    long or too slow is answered with 400, 408, 413, 414, 431, 501 or 505, and ends the connection. ``timeout`` is for
    the head of a request, for each piece of content, and for the time between requests; a class that is to bound the
    time of slow content declares ``min_rate`` too.

    >>> from handlers import StreamMachine, World
    >>> from handlers.http import HTTPHandler
    >>> class Upper(HTTPHandler):
    ...     async def respond(self, request, response):
    ...         piece = await request.read()
    ...         response.begin(200, [("Content-Type", "text/plain")])
    ...         while piece:
    ...             await response.write(piece.upper())
    ...             piece = await request.read()
    >>> machine = StreamMachine(Upper(), World(now=lambda: 0.0))
    >>> _ = machine.feed(b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 3\\r\\n\\r\\nabc")
    >>> head, _, content = machine.read().partition(b"\\r\\n\\r\\n")
    >>> content
    b'3\\r\\nABC\\r\\n0\\r\\n\\r\\n'
    """

    __slots__ = ("_number",)
    timeout = 30.0
    ends_when_idle = True

    max_head = 65_536
    """Bytes of the request line and the header section; and of a trailer section."""

    max_fields = 100
    """Field lines of a request."""

    async def respond(self, request: Request, response: Response) -> None:
        """Answer the request. Called for each; the response ends when it returns.

        A client that waits for 100 (Continue) gets it at the first ``await request.read()``; so that comes before
        ``response.begin()`` if the content is wanted. For an exception, the answer is 500 if none has begun; the
        connection ends.
        """
        raise NotImplementedError(f"{type(self).__name__} must define respond()")

    async def handle(self) -> None:
        self._number = 1
        while await self._exchange():
            self._number += 1

    async def _exchange(self) -> bool:
        """Answer one request. Returns whether the connection goes on."""
        coming = Coming(self, self.max_head, self.max_fields)
        try:
            body, _ = await coming.head()
        except (Malformed, LimitPassed, TimedOut) as fault:
            raise coming.refused(fault) from None
        request = Request(self, coming, body)
        response = Response(self, request)
        try:
            await self.respond(request, response)
            response.end()
            if response.is_kept:
                await request.skip()
        except Exception as error:
            if response.has_begun and isinstance(error, RequestRefused):
                error.answer = b""  # there is one answer already, or a part of it
            if not response.has_begun and _is_failure(error):
                self.send(refusal(500, "the server has failed", self.now(), has_content=response.has_content))
            raise
        if not request.is_read:
            raise RequestRefused(b"", "the content of the request was not read")
        return response.is_kept


def _is_failure(error: Exception) -> bool:
    """Whether the handler has failed, and not the client or the connection."""
    return not isinstance(error, Cause) or isinstance(error, (Failed, LimitPassed, TimedOut))
