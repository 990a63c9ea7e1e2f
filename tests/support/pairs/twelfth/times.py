"""Pairs of the kind 7: a time that begins anew with each piece that comes."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from handlers import Exactly, LimitPassed, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

if TYPE_CHECKING:
    from handlers import Cause, Step

BYTE = Exactly(1)

# Bodies in chunks

UPLOAD_HEAD = Until(b"\r\n\r\n", limit=8192)
UPLOAD = re.compile(rb"(?:POST|PUT) /[!-~]* HTTP/1\.1")
CHUNK_LINE = Until(b"\r\n", limit=64)
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,6})(?:;[!-~]*)?\r\n")
CRLF = Exactly(2)
MAX_UPLOAD = 1 << 20
REFUSALS = {413: b"413 Content Too Large", 417: b"417 Expectation Failed"}


class Chunked(StreamHandler):
    """Uploads in chunks (RFC 9112, section 7.1); the answer is the size of the body, and its CRC."""

    timeout = 20

    def setup(self) -> None:
        self.one_by_one = 0

    async def handle(self) -> None:
        while True:
            line, *lines = (await UPLOAD_HEAD)[:-4].split(b"\r\n")
            found = fields(lines)
            self.check(line, found)
            if b"expect" in found:
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            answer = b"%d %08x\n" % await self.body()
            self.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
            if found.get(b"connection", b"").lower() == b"close":
                return
            self.one_by_one += 1

    def check(self, line: bytes, found: dict[bytes, bytes]) -> None:
        """Raise `Malformed` unless the head is that of an upload in chunks."""
        if UPLOAD.fullmatch(line) is None or not found.get(b"host") or b"content-length" in found:
            raise Malformed(400)
        if found.get(b"transfer-encoding", b"").lower() != b"chunked":
            raise Malformed(400)
        if found.get(b"expect", b"100-continue").lower() != b"100-continue":
            raise Malformed(417)

    async def body(self) -> tuple[int, int]:
        """Take the chunks, and the empty line behind the last. The size of the body, and its CRC."""
        total = crc = 0
        while True:
            matched = CHUNK_SIZE.fullmatch(await CHUNK_LINE)
            if matched is None:
                raise Malformed(400)
            size = int(matched[1], 16)
            total += size
            if total > MAX_UPLOAD:
                raise Malformed(413)
            left = size
            while left:
                piece = await Some(left)
                crc = zlib.crc32(piece, crc)
                left -= len(piece)
            if await CRLF != b"\r\n":  # there are no trailers here
                raise Malformed(400)
            if not size:
                return total, crc

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            status = REFUSALS.get(cause.args[0], b"400 Bad Request")
            self.send(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)


class ChunkedRight(Chunked):
    """Uploads in chunks (RFC 9112, section 7.1); the answer is the size of the body, and its CRC."""

    request_timeout = 60


# MQTT

CONNECT, SUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x82, 0xC0, 0xE0
CONNECT_HEAD = b"\0\4MQTT\4\2"  # version 3.1.1, a clean session, no will, no password
MAX_PACKET = 65_536
MAX_FILTERS = 100


def is_filter(wanted: str) -> bool:
    """Whether each wildcard is a level of its own, and # the last."""
    levels = wanted.split("/")
    return (
        bool(wanted)
        and "#" not in levels[:-1]
        and all(len(level) == 1 or not set(level) & set("+#") for level in levels)
    )


class Mqtt(StreamHandler):
    """A broker for one client (MQTT 3.1.1): it takes messages of QoS 0 and 1, and grants subscriptions."""

    timeout = 90
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0
        self.is_connected = False

    def handle(self) -> Step:
        return BYTE, self.kind

    def kind(self, byte: bytes) -> Step:
        self.first, self.size, self.shift = byte[0], 0, 0
        return BYTE, self.length

    def length(self, byte: bytes) -> Step:
        self.size |= (byte[0] & 0x7F) << self.shift
        self.shift += 7
        if byte[0] & 0x80 and self.shift < 28:
            return BYTE, self.length
        if byte[0] & 0x80 or (byte[0] == 0 and self.shift > 7) or self.size > MAX_PACKET:
            raise Malformed("length")
        self.packet = bytearray()
        return self.rest()

    def rest(self) -> Step:
        """Wait for what is left of the packet."""
        left = self.size - len(self.packet)
        return (Some(left), self.piece) if left else self.whole()

    def piece(self, data: bytes) -> Step:
        self.packet += data
        self.one_by_one += 1  # the client is there
        return self.rest()

    def whole(self) -> Step:
        body, first = bytes(self.packet), self.first
        if (first == CONNECT) == self.is_connected:
            raise Malformed("CONNECT comes first, and once")
        if first in (PINGREQ, DISCONNECT) and body:
            raise Malformed("length")
        if first == DISCONNECT:
            return None
        if first == CONNECT:
            self.send(self.connect(body))
        elif first == SUBSCRIBE:
            self.send(self.subscribe(body))
        elif first == PINGREQ:
            self.send(b"\xd0\0")
        elif first >> 4 == 3:
            self.send(self.publish(body))
        else:
            raise Malformed("type")
        self.one_by_one += 1
        return self.handle()

    def connect(self, body: bytes) -> bytes:
        if not body.startswith(CONNECT_HEAD) or self.text(body, 10)[1] != len(body):
            raise Malformed("CONNECT")
        self.is_connected = True
        return b"\x20\2\0\0"

    def publish(self, body: bytes) -> bytes:
        quality = self.first >> 1 & 3
        topic, at = self.text(body, 0)
        if quality > 1 or (self.first & 8 and not quality) or not topic or "+" in topic or "#" in topic:
            raise Malformed("PUBLISH")
        return b"\x40\2" + self.identifier(body, at) if quality else b""

    def subscribe(self, body: bytes) -> bytes:
        granted, at = bytearray(), 2
        while at < len(body):
            wanted, at = self.text(body, at)
            quality = body[at : at + 1]
            if not is_filter(wanted) or quality not in (b"\0", b"\1", b"\2"):
                raise Malformed("filter")
            granted.append(min(quality[0], 1))
            at += 1
        if not 1 <= len(granted) <= MAX_FILTERS:
            raise Malformed("filters")
        return b"\x90%c%b%b" % (2 + len(granted), self.identifier(body, 0), granted)

    @staticmethod
    def identifier(body: bytes, at: int) -> bytes:
        """The packet identifier, which is not 0."""
        identifier = body[at : at + 2]
        if len(identifier) != 2 or identifier == b"\0\0":
            raise Malformed("identifier")
        return identifier

    @staticmethod
    def text(body: bytes, at: int) -> tuple[str, int]:
        """The string that begins at ``at``, and where it ends."""
        end = at + 2 + int.from_bytes(body[at : at + 2], "big")
        if end > len(body):
            raise Malformed("string")
        try:
            text = body[at + 2 : end].decode()
        except UnicodeDecodeError:
            raise Malformed("string") from None
        if "\0" in text:
            raise Malformed("string")
        return text, end


class MqttRight(Mqtt):
    """A broker for one client (MQTT 3.1.1): it takes messages of QoS 0 and 1, and grants subscriptions."""

    def piece(self, data: bytes) -> Step:
        self.packet += data
        return self.rest()


# STOMP

STOMP_HEAD = Until(b"\n\n", limit=4096)
STOMP_FIELD = re.compile(r"((?:[^\\:\r\0]|\\[nc\\])+):((?:[^\\:\r\0]|\\[nc\\])*)")
MAX_BODY = 65_536
MAX_SUBSCRIPTIONS = 16
NEEDED = {
    "CONNECT": ("accept-version", "host"),
    "SEND": ("destination",),
    "SUBSCRIBE": ("destination", "id"),
    "UNSUBSCRIBE": ("id",),
    "DISCONNECT": (),
}


class Stomp(StreamHandler):
    """A broker for one client (STOMP 1.1), which gets the messages that it has subscribed to."""

    timeout = 30

    def setup(self) -> None:
        self.subscriptions: dict[str, str] = {}
        self.is_connected = False
        self.messages = 0

    async def handle(self) -> None:
        while True:
            first = await BYTE
            if first == b"\n":  # lines may come between frames
                continue
            command, found = self.parse(first + await STOMP_HEAD)
            self.act(command, found, await self.body(found))
            if "receipt" in found and command != "CONNECT":
                self.put("RECEIPT", {"receipt-id": found["receipt"]})
            if command == "DISCONNECT":
                return

    def parse(self, head: bytes) -> tuple[str, dict[str, str]]:
        """The command and the fields; of several with one name the first counts (STOMP 1.1, "Repeated Headers")."""
        try:
            command, *lines = head[:-2].decode().split("\n")
        except UnicodeDecodeError:
            raise Malformed("encoding") from None
        found: dict[str, str] = {}
        for line in lines:
            matched = STOMP_FIELD.fullmatch(line)
            if matched is None:
                raise Malformed("field")
            found.setdefault(matched[1], matched[2])
        if command not in NEEDED or not all(map(found.get, NEEDED[command])):
            raise Malformed("command")
        if (command == "CONNECT") == self.is_connected:
            raise Malformed("CONNECT comes first, and once")
        return command, found

    async def body(self, found: dict[str, str]) -> bytes:
        """The body, which a NUL follows."""
        size = found.get("content-length")
        if size is None:
            return await self.text()
        if re.fullmatch("[0-9]{1,6}", size) is None or int(size) > MAX_BODY:
            raise Malformed("content-length")
        body = await Exactly(int(size) + 1)
        if body[-1:] != b"\0":
            raise Malformed("no NUL")
        return body[:-1]

    async def text(self) -> bytes:
        """A body without a length."""
        text = bytearray()
        while (byte := await BYTE) != b"\0":
            text += byte
            if len(text) > MAX_BODY:
                raise Malformed("the body is too long")
        return bytes(text)

    def act(self, command: str, found: dict[str, str], body: bytes) -> None:
        if body and command != "SEND":
            raise Malformed("body")
        if command == "CONNECT":
            if "1.1" not in found["accept-version"].split(","):
                raise Malformed("version")
            self.is_connected = True
            self.put("CONNECTED", {"version": "1.1"})
        elif command == "SUBSCRIBE":
            if found["id"] in self.subscriptions or len(self.subscriptions) == MAX_SUBSCRIPTIONS:
                raise Malformed("subscription")
            self.subscriptions[found["id"]] = found["destination"]
        elif command == "UNSUBSCRIBE":
            if self.subscriptions.pop(found["id"], None) is None:
                raise Malformed("no subscription")
        elif command == "SEND":
            self.messages += 1
            for subscription, destination in self.subscriptions.items():
                if destination == found["destination"]:
                    named = {"subscription": subscription, "message-id": self.messages, "destination": destination}
                    self.put("MESSAGE", {**named, "content-length": len(body)}, body)

    def put(self, command: str, found: dict[str, object], body: bytes = b"") -> None:
        lines = [command, *(f"{name}:{value}" for name, value in found.items())]
        self.send("\n".join(lines).encode() + b"\n\n" + body + b"\0\n")

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            self.put("ERROR", {"message": "malformed frame"})


class StompRight(Stomp):
    """A broker for one client (STOMP 1.1), which gets the messages that it has subscribed to."""

    async def text(self) -> bytes:
        """A body without a length."""
        return (await Until(b"\0", limit=MAX_BODY + 1))[:-1]


def string(text: bytes) -> bytes:
    return len(text).to_bytes(2, "big") + text


def packet(first: int, body: bytes = b"") -> bytes:
    size = len(body)
    return bytes([first, size] if size < 128 else [first, size & 127 | 128, size >> 7]) + body


PAIRS = [
    Pair(
        "chunked-upload",
        7,
        Chunked,
        ChunkedRight,
        [
            b"POST /notes HTTP/1.1\r\nHost: files.example\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n",
            (
                b"PUT /photo.jpg HTTP/1.1\r\nHost: files.example\r\nTransfer-Encoding: chunked\r\n"
                b"Content-Type: image/jpeg\r\nExpect: 100-continue\r\n\r\n"
            ),
            b"40\r\n" + bytes(range(64)) + b"\r\n",
            b"1A;part=2\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
            (
                b"POST /last HTTP/1.1\r\nHost: files.example\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
                b"1\r\n.\r\n0\r\n\r\n"
            ),
        ],
    ),
    Pair(
        "mqtt-broker",
        7,
        Mqtt,
        MqttRight,
        [
            packet(CONNECT, CONNECT_HEAD + b"\0\x3c" + string(b"sensor")),
            packet(SUBSCRIBE, b"\0\1" + string(b"rooms/+/light") + b"\1" + string(b"alarms/#") + b"\2"),
            packet(0x32, string(b"rooms/kitchen") + b"\0\2" + b"21.5 C"),
            packet(0x30, string(b"rooms/hall") + b"19.0 C") + packet(PINGREQ),
            packet(0x32, string(b"rooms/hall") + b"\0\3" + b"19.25 C, 40 %\n" * 12),
            packet(PINGREQ),
            packet(DISCONNECT),
        ],
    ),
    Pair(
        "stomp-queue",
        7,
        Stomp,
        StompRight,
        [
            b"CONNECT\naccept-version:1.0,1.1\nhost:broker.example\n\n\0\n",
            b"SUBSCRIBE\nid:0\ndestination:/queue/orders\nreceipt:r1\n\n\0\n",
            b"SEND\ndestination:/queue/orders\ncontent-type:text/plain\n\ntwo pounds of apples\0\n",
            b"SEND\ndestination:/queue/orders\ncontent-length:5\n\na\0b\0c\0\n",
            b"SEND\ndestination:/queue/others\nreceipt:r2\n\nnobody hears this\0",
            b"UNSUBSCRIBE\nid:0\n\n\0DISCONNECT\nreceipt:r3\n\n\0",
        ],
    ),
]
