"""Pairs of the tenth set: how long one message may take."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step


def packets(kind: int, content: bytes, size: int = 4088) -> bytes:
    """A message of TDS in packets with ``size`` bytes of content each."""
    parts = []
    for at in range(0, len(content), size):
        part = content[at : at + size]
        parts.append(struct.pack(">BBHHBB", kind, at + size >= len(content), len(part) + 8, 0, 1, 0) + part)
    return b"".join(parts)


def batch(text: str) -> bytes:
    """The content of a batch: a header for the transaction, then the text."""
    return struct.pack("<IIHQI", 22, 18, 2, 0, 1) + text.encode("utf-16-le")


class Tds(StreamHandler):
    """A database server (MS-TDS 2.2): prelogin, then SQL batches; a message is in one packet or in several."""

    timeout = 60.0
    request_timeout = 30.0
    most = 16_384

    async def packet(self) -> tuple[int, bool, bytes]:
        """The kind of the message, whether this is its last packet, and the content."""
        kind, status, size, spid, _, window = struct.unpack(">BBHHBB", await Exactly(8))
        if status > 1 or not 8 < size <= 4096 or spid or window:
            raise Malformed("no packet")
        return kind, status == 1, await Exactly(size - 8)

    async def message(self) -> tuple[int, bytes]:
        self.one_by_one += 1
        kind, is_last, content = await self.packet()
        parts, size = [content], len(content)
        while not is_last:
            following, is_last, content = await self.packet()
            size += len(content)
            if following != kind or size > self.most:
                raise Malformed("no message")
            parts.append(content)
        return kind, b"".join(parts)

    def is_prelogin(self, content: bytes) -> bool:
        """Whether the client gives its version and does not ask for encryption."""
        found, at = {}, 0
        while at + 5 <= len(content) and content[at] != 0xFF:
            option, offset, size = struct.unpack_from(">BHH", content, at)
            if option in found or option > 6 or offset + size > len(content):
                return False
            found[option] = content[offset : offset + size]
            at += 5
        ended = content[at : at + 1] == b"\xff"
        return ended and len(found.get(0, b"")) == 6 and found.get(1) in (b"\x00", b"\x02")

    def run(self, content: bytes) -> bytes:
        """The tokens that answer a batch."""
        if content[:22] != batch(""):
            raise Malformed("no headers")
        try:
            text = content[22:].decode("utf-16-le")
        except UnicodeDecodeError:
            raise Malformed("no text") from None
        if text == "SELECT @@TRANCOUNT":
            return b"\x81\x01\x00" + bytes(6) + b"\x38\x00\xd1" + bytes(4) + struct.pack("<BHHQ", 0xFD, 0x10, 0xC1, 1)
        if text == "SET NOCOUNT ON":
            return struct.pack("<BHHQ", 0xFD, 0, 0xF9, 0)
        said = "Incorrect syntax"
        error = struct.pack("<IBBH", 102, 1, 15, len(said)) + said.encode("utf-16-le") + b"\x00\x00\x01\x00\x00\x00"
        return b"\xaa" + struct.pack("<H", len(error)) + error + struct.pack("<BHHQ", 0xFD, 2, 0, 0)

    async def handle(self) -> None:
        kind, content = await self.message()
        if kind != 0x12 or not self.is_prelogin(content):
            raise Malformed("no prelogin")
        self.send(packets(4, b"\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x10\x00\x00\x00\x00\x00\x02"))
        self.opened()
        while True:
            kind, content = await self.message()
            if kind != 1:
                raise Malformed("no batch")
            self.send(packets(4, self.run(content)))


class TdsBroken(Tds):
    async def packet(self) -> tuple[int, bool, bytes]:
        self.one_by_one += 1
        return await super().packet()


NAME = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(data) + bytes([number])


def taken(data: bytes, at: int) -> tuple[int, int]:
    """The varint at that place, and the place behind it."""
    number = 0
    for index, byte in enumerate(data[at : at + 10]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80 and number < 1 << 64:
            return number, at + index + 1
    raise Malformed("no varint")


def protobuf(data: bytes) -> dict[int, int | bytes]:
    """The fields of a message by their numbers; the last of those with one number."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        tag, at = taken(data, at)
        if tag & 7 == 0:
            found[tag >> 3], at = taken(data, at)
        elif tag & 7 in (1, 2, 5):
            size, at = taken(data, at) if tag & 7 == 2 else (8 if tag & 7 == 1 else 4, at)
            if size > len(data) - at:
                raise Malformed("no field")
            found[tag >> 3] = data[at : at + size]
            at += size
        else:
            raise Malformed("no type")
    if any(not 0 < number < 1 << 29 for number in found):
        raise Malformed("no number")
    return found


def said(kind: int, data: bytes) -> bytes:
    """A message of Mumble."""
    return struct.pack(">HI", kind, len(data)) + data


class Mumble(StreamHandler):
    """The control channel of a voice server (Mumble 1.4): versions, a login, pings, which may come at any time."""

    timeout = 30.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.kind, self.name = 0, b""

    def handle(self) -> Step:
        self.send(said(0, b"\x08" + varint(0x010400)))
        return Exactly(6), self.head

    def head(self, data: bytes) -> Step:
        self.kind, size = struct.unpack(">HI", data)
        if self.kind > 25 or size > 1024:
            raise Malformed("no message")
        return Exactly(size), self.body

    def body(self, data: bytes) -> Step:
        given = protobuf(data)
        if self.kind == 3:
            stamp = given.get(1, 0)
            if isinstance(stamp, bytes):
                raise Malformed("no timestamp")
            self.send(said(3, b"\x08" + varint(stamp)))
        elif self.kind == 2 and not self.name:
            name = given.get(1, b"")
            if isinstance(name, int) or not NAME.fullmatch(name):
                self.send(said(4, b"\x08\x02"))
                return None
            self.name = name
            self.send(said(5, b"\x08\x01"))
            self.opened()
        elif self.kind or self.name:
            raise Malformed("unexpected")
        return self.following()

    def following(self) -> Step:
        self.one_by_one += 1
        return Exactly(6), self.head


class MumbleRight(Mumble):
    def following(self) -> Step:
        if self.name:
            self.one_by_one += 1
        return Exactly(6), self.head


LINE = re.compile(rb"([A-Za-z][A-Za-z-]{0,31}): ([!-~](?:[ -~]{0,510}[!-~])?)")
SIZES = {b"demo:/pool/ed.deb": 55_240, b"demo:/pool/vi.deb": 1_080_000}


class AptMethod(StreamHandler):
    """An acquire method of APT (its method interface): stanzas with the configuration, and URIs that are wanted."""

    timeout = 60.0
    stanza_time = 30.0

    def setup(self) -> None:
        self.due = 0.0

    def left(self) -> float:
        """Seconds that the next line may take."""
        return max(0.0, self.due - self.now())

    async def stanza(self) -> dict[bytes, bytes]:
        """The fields behind the first line. The configuration has many, which are not kept."""
        self.due = self.now() + self.stanza_time
        found: dict[bytes, bytes] = {}
        for _ in range(2_000):
            line = (await Until(b"\n", limit=640, timeout=self.left()))[:-1]
            if not line:
                return found
            matched = LINE.fullmatch(line)
            if matched is None:
                raise Malformed("no field")
            name = matched[1].lower()
            if name != b"config-item":
                if name in found or len(found) >= 16:
                    raise Malformed("too many fields")
                found[name] = matched[2]
        raise Malformed("too many lines")

    def acquire(self, given: dict[bytes, bytes]) -> None:
        uri, name = given.get(b"uri", b""), given.get(b"filename", b"")
        if not uri or b" " in uri or not name.startswith(b"/"):
            raise Malformed("no URI")
        if uri in SIZES:
            self.send(b"200 URI Start\nURI: %b\nSize: %d\n\n" % (uri, SIZES[uri]))
            self.send(b"201 URI Done\nURI: %b\nFilename: %b\nSize: %d\n\n" % (uri, name, SIZES[uri]))
        else:
            self.send(b"400 URI Failure\nURI: %b\nMessage: Not found\n\n" % uri)

    async def handle(self) -> None:
        self.send(b"100 Capabilities\nVersion: 1.2\nSend-Config: true\n\n")
        while True:
            first = await Until(b"\n", limit=64)
            if first not in (b"600 URI Acquire\n", b"601 Configuration\n"):
                self.send(b"401 General Failure\nMessage: Unknown message\n\n")
                return
            given = await self.stanza()
            if first.startswith(b"600"):
                self.acquire(given)


class AptMethodBroken(AptMethod):
    def left(self) -> float:
        self.due = self.now() + self.stanza_time
        return self.stanza_time


PRELOGIN = b"\x00\x00\x0b\x00\x06\x01\x00\x11\x00\x01\xff\x11\x00\x00\x00\x00\x00\x02"

PAIRS = [
    Pair(
        "tds", 7, TdsBroken, Tds,
        [
            packets(0x12, PRELOGIN),
            packets(1, batch("SET NOCOUNT ON")),
            packets(1, batch("SELECT @@TRANCOUNT"), 32),
            packets(1, batch("SELEKT 1")),
        ],
    ),
    Pair(
        "mumble", 7, Mumble, MumbleRight,
        [
            said(0, b"\x08" + varint(0x010305)),
            said(3, b"\x08" + varint(1_700_000_000)),
            said(2, b"\x0a\x03ada\x12\x00"),
            said(3, b"\x08" + varint(1_700_000_005) + b"\x35\x00\x00\x80\x3f"),
        ],
    ),
    Pair(
        "apt-method", 7, AptMethodBroken, AptMethod,
        [
            b"601 Configuration\nConfig-Item: APT::Architecture=amd64\nConfig-Item: Dir::Cache=/var/cache/apt\n\n",
            b"600 URI Acquire\nURI: demo:/pool/ed.deb\nFilename: /var/cache/apt/ed.deb\n\n",
            b"600 URI Acquire\nURI: demo:/pool/no.deb\nFilename: /var/cache/apt/no.deb\n\n",
        ],
    ),
]  # fmt: skip
