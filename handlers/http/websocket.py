"""`WebSocketHandler`: WebSocket (RFC 6455) on wsproto, which knows the frames; the handshake is a request of HTTP.

Extensions are not negotiated. permessage-deflate (RFC 7692) would let 64 KiB of input become 64 MiB of a message
before its length can be seen, and would hold two windows of 32 KiB for each connection.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from hashlib import sha1

from ..causes import RequestRefused
from ..first import FirstOf
from ..waits import Delay, Exactly, Some
from .handler import HTTPHandler

try:
    from wsproto.connection import Connection, ConnectionState, ConnectionType
    from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
except ImportError as error:
    _missing: ImportError | None = error
else:
    _missing = None

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wsproto.events import Event

    from .exchange import Request, Response

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3

NORMAL, GOING_AWAY, TOO_BIG, NO_STATUS = 1000, 1001, 1009, 1005
"""Status codes of a Close frame (RFC 6455, section 7.4.1); 1005 says that there was none."""

_MOST_AFTER_CLOSE = 1 << 20  # bytes that are read and dropped until the client's Close frame comes


class Closed(RequestRefused):
    """The conversation has ended with a Close frame: ``code`` and ``reason`` (RFC 6455, section 7.1)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(b"", f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.is_clean = False
        """Whether the client has closed it, and without a complaint."""


class WebSocket:
    """The conversation after the handshake. `WebSocketHandler` makes it."""

    def __init__(self, handler: WebSocketHandler, protocol: str | None) -> None:
        self._handler = handler
        self._connection = Connection(ConnectionType.SERVER)
        self._events: Iterator[Event] = iter(())
        self._content = bytearray()  # of a message that has not come whole: not its fragments, which may be empty
        self._was_asked = False  # whether a Ping is under way
        self.protocol = protocol
        """The subprotocol on which client and server have agreed; ``None`` without one."""

    async def receive(self) -> str | bytes:
        """The next message, whole. Pings are answered meanwhile.

        Raises `Closed` when the client has closed the conversation, breaks the protocol (1002), sends what is no
        UTF-8 (1007), or a message longer than `max_message` (1009), or does not answer a Ping (1001). If the stream
        ends without a Close frame, the cause is `EndOfStream`.
        """
        while True:
            for event in self._events:
                message = self._take(event)
                if message is not None:
                    return message
            self._feed(await self._input())

    async def send(self, message: str | bytes) -> None:
        """Send a message, and wait while the client takes no more."""
        if isinstance(message, str):
            self._put(TextMessage(data=message))
        else:
            self._put(BytesMessage(data=message))
        await Exactly(0)  # goes on when the output is below the high-water mark

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the conversation, and wait for the client's Close frame; messages that come before it are dropped."""
        if not self._is(ConnectionState.OPEN):
            return
        self._put(CloseConnection(code=code, reason=reason))
        dropped = 0
        for _ in self._events:
            pass
        while self._is(ConnectionState.LOCAL_CLOSING) and dropped < _MOST_AFTER_CLOSE:
            data = await Some()
            dropped += len(data)
            self._feed(data)
            for _ in self._events:
                pass

    def _is(self, state: ConnectionState) -> bool:
        return self._connection.state is state

    async def _input(self) -> bytes:
        """The next input. After some silence, a Ping asks whether the client is there."""
        silence, some = self._handler.silence, Some()
        while True:
            wait, data = await FirstOf(some, Delay(silence))
            if wait is some:
                self._was_asked = False
                return bytes(data)
            if self._was_asked:
                self._end(GOING_AWAY, "no answer to a ping")
            self._was_asked = True
            self._put(Ping())

    def _feed(self, data: bytes) -> None:
        self._connection.receive_data(data)
        self._events = self._connection.events()

    def _take(self, event: Event) -> str | bytes | None:
        """Take what the client has said. Returns a message that is whole now."""
        if isinstance(event, Message):
            self._content += event.data.encode() if isinstance(event.data, str) else event.data
            if len(self._content) > self._handler.max_message:
                self._end(TOO_BIG, f"a message is longer than {self._handler.max_message} bytes")
            if event.message_finished:
                content, self._content = self._content, bytearray()
                return content.decode() if isinstance(event, TextMessage) else bytes(content)
        elif isinstance(event, Ping):
            self._put(event.response())
        elif isinstance(event, CloseConnection):
            self._put(event.response())
            closed = Closed(event.code, event.reason or "")
            closed.is_clean = event.code in (NORMAL, GOING_AWAY, NO_STATUS)
            raise closed
        return None

    def _end(self, code: int, reason: str) -> None:
        self._put(CloseConnection(code=code, reason=reason))
        raise Closed(code, reason)

    def _put(self, event: Event) -> None:
        self._handler.send(self._connection.send(event))


class WebSocketHandler(HTTPHandler):
    """Answers the handshake of a WebSocket, then calls `converse`. Derive a class and define that.

        class Echo(WebSocketHandler):
            async def converse(self, socket, request):
                while True:
                    await socket.send(await socket.receive())

    Any page may have its visitors' browsers open a WebSocket, with their cookies: where that matters, compare
    ``request.get("Origin")`` in `respond`, before ``super().respond(request, response)``.
    """

    max_message = 1 << 20
    """Bytes of a message; for a longer one the conversation is closed with 1009."""

    silence = 20.0
    """Seconds without input after which a Ping is sent, and after which the client is given up."""

    protocols: Sequence[str] = ()
    """The subprotocols that are spoken here, the best first."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if _missing is not None:
            raise ImportError(f"{cls.__name__} needs wsproto: pip install 'select-reactor[http]'") from _missing

    async def converse(self, socket: WebSocket, request: Request) -> None:
        """The conversation. When it returns, the WebSocket is closed with 1000."""
        raise NotImplementedError(f"{type(self).__name__} must define converse()")

    async def respond(self, request: Request, response: Response) -> None:
        refusal = _why_no_handshake(request)
        if refusal is not None:
            status, why = refusal
            upgrade = [("Upgrade", "websocket"), ("Connection", "Upgrade")] if status == 426 else []
            response.reply(status, f"{why}\n".encode(), [*upgrade, ("Sec-WebSocket-Version", "13")])
            return
        wanted = [name.strip(" \t") for name in (request.get("Sec-WebSocket-Protocol") or "").split(",")]
        protocol = next((name for name in self.protocols if name in wanted), None)
        key = (request.get("Sec-WebSocket-Key") or "").encode()
        response.switch("websocket", [
            ("Sec-WebSocket-Accept", b64encode(sha1(key + _GUID, usedforsecurity=False).digest()).decode()),
            *([] if protocol is None else [("Sec-WebSocket-Protocol", protocol)]),
        ])  # fmt: skip
        socket = WebSocket(self, protocol)
        try:
            await self.converse(socket, request)
            await socket.close()
        except Closed as closed:
            if not closed.is_clean:
                raise


def _why_no_handshake(request: Request) -> tuple[int, str] | None:
    """The status, and why the request does not open a WebSocket (RFC 6455, section 4.2.1); ``None`` if it does."""
    if not (request.has_token("Upgrade", "websocket") and request.has_token("Connection", "upgrade")):
        return 426, "this is for WebSocket"
    if request.method != "GET" or not request.is_1_1 or not request.is_read:
        return 400, "a WebSocket is opened with GET, HTTP/1.1 and no content"
    if request.get("Sec-WebSocket-Version") != "13":
        return 426, "version 13 of WebSocket is spoken here"
    try:
        is_key = len(b64decode(request.get("Sec-WebSocket-Key") or "", validate=True)) == 16
    except (NoBase64, ValueError):
        is_key = False
    return None if is_key else (400, "Sec-WebSocket-Key is 16 bytes in base64")
