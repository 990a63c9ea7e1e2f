"""A WebSocket echo (RFC 6455) on wsproto, which knows the protocol and no network: pip install 'select-reactor[http]'.

python3 examples/websocket.py [PORT]      then, elsewhere: python3 -m websockets ws://127.0.0.1:7080

A message is echoed as it comes, frame by frame, so one of any size holds little memory. A client that has not said
anything for a while is sent a ping, and is closed if it does not answer: the handler waits for input or time, whichever
comes first (`FirstOf`).
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

if __package__ is None:  # run from a checkout, with nothing installed
    sys.path.insert(0, f"{sys.path[0]}/..")

try:
    from wsproto import ConnectionType, WSConnection
    from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Request, TextMessage
    from wsproto.utilities import LocalProtocolError, RemoteProtocolError
except ImportError as error:
    raise ImportError(f"the WebSocket example needs wsproto: pip install 'wsproto>=1.2' ({error})") from error

from handlers import Delay, FirstOf, LimitPassed, Some, StreamHandler, TimedOut, Until
from reactor import SelectTCPServer

if TYPE_CHECKING:
    from wsproto.events import Event

PROTOCOL_ERROR = 1002
GOING_AWAY = 1001


class Echo(StreamHandler):
    """One connection."""

    timeout = 10.0
    """Seconds for the handshake, from the connection to its last byte, and for the peer to take what is sent."""

    max_head = 16_384
    """Bytes of the handshake."""

    silence = 20.0
    """Seconds without input after which a ping is sent, and after which the client is given up."""

    def setup(self) -> None:
        self.protocol = WSConnection(ConnectionType.SERVER)
        self.asked = False  # whether a ping is under way

    async def handle(self) -> None:
        try:
            head = await Until(b"\r\n\r\n", limit=self.max_head)
        except TimedOut:
            self.send(refusal("408 Request Timeout"))
            raise
        except LimitPassed:
            self.send(refusal("431 Request Header Fields Too Large"))
            raise
        if self.take(head):
            await self.converse()

    async def converse(self) -> None:
        """Take frames until one of the two closes."""
        while True:
            some = Some()
            wait, data = await FirstOf(some, Delay(self.silence))
            if wait is some:
                self.asked = False
                if not self.take(data):
                    return
            elif self.asked:
                self.tell(CloseConnection(code=GOING_AWAY))
                return
            else:
                self.asked = True
                self.tell(Ping())

    def take(self, data: bytes) -> bool:
        """Take input. Whether more may follow."""
        try:
            self.protocol.receive_data(data)
            return all(map(self.answer, self.protocol.events()))
        except RemoteProtocolError as error:
            self.refuse(error.event_hint or CloseConnection(code=PROTOCOL_ERROR))
        except UnicodeDecodeError:  # wsproto expects ASCII in the headers of the handshake
            self.refuse(CloseConnection(code=PROTOCOL_ERROR))
        return False

    def refuse(self, hint: Event) -> None:
        """Tell the client that it does not speak the protocol."""
        try:
            self.tell(hint)
        except LocalProtocolError:  # it was not even HTTP
            self.send(refusal("400 Bad Request"))

    def answer(self, event: Event) -> bool:
        """Answer what the client has said. Whether more may follow."""
        if isinstance(event, Request):
            self.tell(AcceptConnection())
        elif isinstance(event, TextMessage):
            self.tell(TextMessage(data=event.data, message_finished=event.message_finished))
        elif isinstance(event, BytesMessage):
            self.tell(BytesMessage(data=bytes(event.data), message_finished=event.message_finished))
        elif isinstance(event, Ping):
            self.tell(event.response())
        elif isinstance(event, CloseConnection):
            self.tell(event.response())
            return False
        return True

    def tell(self, event: Event) -> None:
        self.send(self.protocol.send(event))


def refusal(status: str) -> bytes:
    """The answer to what is no handshake."""
    return f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode()


class Server(SelectTCPServer):
    allow_reuse_address = True


def main(port: str = "7080") -> None:
    with Server(("127.0.0.1", int(port)), Echo) as server:
        signal.signal(signal.SIGINT, lambda *_: server.shutdown())
        print("listening on {}:{}".format(*server.server_address), file=sys.stderr, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
