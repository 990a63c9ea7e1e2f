"""Pairs of handlers, broken and right: numbers, the largest that is allowed, ends that only look like ends."""

from __future__ import annotations

import hashlib
import re
import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers import Step

COMMAND = Until(b"\r\n", limit=512)


# 1: numbers


class NewsBroken(StreamHandler):
    """NNTP (RFC 3977): STAT by number."""

    def handle(self) -> Step:
        self.send(b"200 news\r\n")
        return COMMAND, self.command

    def command(self, line: bytes) -> Step:
        verb, _, argument = line[:-2].partition(b" ")
        if verb.upper() == b"QUIT":
            self.send(b"205 bye\r\n")
            return None
        self.send(self.stat(argument.decode("utf-8", "replace")) if verb.upper() == b"STAT" else b"500 what?\r\n")
        return COMMAND, self.command

    def stat(self, argument: str) -> bytes:
        if not argument.isdigit():
            return b"501 syntax error\r\n"
        return self.article(int(argument))

    def article(self, number: int) -> bytes:
        if not 1 <= number <= 30:
            return b"423 no article with that number\r\n"
        return b"223 %d <%d@example>\r\n" % (number, number)


class NewsRight(NewsBroken):
    def stat(self, argument: str) -> bytes:
        if not re.fullmatch("[0-9]{1,16}", argument):
            return b"501 syntax error\r\n"
        return self.article(int(argument))


def fix(body: bytes) -> bytes:
    """A message of FIX: its head, ``body``, and the sum of both."""
    head = b"8=FIX.4.2\x019=%d\x01" % len(body)
    return head + body + b"10=%03d\x01" % (sum(head + body) % 256)


class OrdersBroken(StreamHandler):
    """FIX 4.2: test requests, heartbeats and the logout."""

    length = b""

    def handle(self) -> Step:
        return Until(b"\x01", limit=16), self.begun

    def begun(self, field: bytes) -> Step:
        return (Until(b"\x01", limit=16), self.sized) if field == b"8=FIX.4.2\x01" else None

    def sized(self, field: bytes) -> Step:
        self.length = field
        size = self.number(field[2:-1])
        if field[:2] != b"9=" or size is None or size > 4096:
            return None
        return Exactly(size + 7), self.message

    def number(self, digits: bytes) -> int | None:
        try:
            return int(digits)
        except ValueError:
            return None

    def message(self, data: bytes) -> Step:
        body = data[:-7]
        kind, _, rest = body.partition(b"\x01")
        total = sum(b"8=FIX.4.2\x01" + self.length + body) % 256
        if data[-7:] != b"10=%03d\x01" % total:
            return None
        if kind == b"35=1" and re.fullmatch(rb"112=[0-9A-Za-z]{1,32}\x01", rest):
            self.send(fix(b"35=0\x01" + rest))
        elif kind == b"35=5":
            self.send(fix(b"35=5\x01"))
            return None
        return self.handle()


class OrdersRight(OrdersBroken):
    def number(self, digits: bytes) -> int | None:
        return int(digits) if re.fullmatch(rb"[0-9]{1,4}", digits) else None


CALLED = b"\xff\xff\xff\xff"


class MasterBroken(DatagramHandler):
    """The master server of Quake III: the servers of a version of the protocol."""

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        name, *words = packet[4:].rstrip(b"\n").split(b" ")
        if packet[:4] == CALLED and name == b"getservers" and words:
            servers = {66: b"", 68: b"\\\x7f\0\0\1\x6d\x38"}.get(self.version(words[0]))
            if servers is not None:
                self.send(CALLED + b"getserversResponse" + servers + b"\\EOT\0\0\0")
        return None

    def version(self, word: bytes) -> int:
        try:
            return int(word)
        except ValueError:
            return 0


class MasterRight(MasterBroken):
    def version(self, word: bytes) -> int:
        return int(word) if re.fullmatch(rb"[1-9][0-9]{0,3}", word) else 0


# 9: the largest that is allowed


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    """A frame of AMQP."""
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


class QueuesBroken(StreamHandler):
    """AMQP 0-9-1: heartbeats, and bodies, which come back."""

    FRAME_MAX = 4096

    async def handle(self) -> None:
        if await Exactly(8) != b"AMQP\0\0\x09\x01":
            self.send(b"AMQP\0\0\x09\x01")
            return
        self.send(frame(8, 0, b""))
        self.opened()
        while True:
            kind, channel, size = struct.unpack(">BHI", await Exactly(7))
            if size > self.FRAME_MAX or kind not in (3, 8):
                self.send(frame(1, 0, struct.pack(">HHH", 10, 50, 501)))
                return
            payload = await self.payload(size)
            if payload[-1] != 0xCE:
                self.send(frame(1, 0, struct.pack(">HHH", 10, 50, 501)))
                return
            self.send(frame(kind, channel, payload[:-1]))

    async def payload(self, size: int) -> bytes:
        return await Exactly(size + 1, limit=self.FRAME_MAX)


class QueuesRight(QueuesBroken):
    async def payload(self, size: int) -> bytes:
        return await Exactly(size + 1, limit=self.FRAME_MAX + 1)


class RegistersBroken(StreamHandler):
    """Modbus over TCP: reads holding registers."""

    most = 128
    head = b""

    def handle(self) -> Step:
        return Exactly(7), self.header

    def header(self, data: bytes) -> Step:
        self.head = data
        _, protocol, size, _ = struct.unpack(">HHHB", data)
        return (Exactly(size - 1), self.request) if protocol == 0 and 2 <= size <= 254 else None

    def request(self, data: bytes) -> Step:
        if data[0] != 3:
            answer = bytes([data[0] | 0x80, 1])
        elif len(data) != 5:
            answer = b"\x83\x03"
        else:
            first, count = struct.unpack(">HH", data[1:])
            answer = self.read(first, count)
        self.send(self.head[:4] + struct.pack(">HB", len(answer) + 1, self.head[6]) + answer)
        return self.handle()

    def read(self, first: int, count: int) -> bytes:
        if not 1 <= count <= self.most:
            return b"\x83\x03"
        if first + count > 0x10000:
            return b"\x83\x02"
        return bytes([3, 2 * count]) + b"".join(struct.pack(">H", place) for place in range(first, first + count))


class RegistersRight(RegistersBroken):
    most = 125


class AccessBroken(DatagramHandler):
    """RADIUS (RFC 2865): greets who gives a name."""

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        if len(packet) < 20 or packet[0] != 1 or not 20 <= int.from_bytes(packet[2:4], "big") <= len(packet):
            return None
        name, place, end = None, 20, int.from_bytes(packet[2:4], "big")
        while place < end:
            size = packet[place + 1] if place + 1 < end else 0
            if size < 2 or place + size > end:
                return None
            if packet[place] == 1:
                name = packet[place + 2 : place + size]
            place += size
        code, attributes = (3, b"") if name is None else (2, self.message(b"Hello, " + name))
        head = bytes([code, packet[1]]) + (20 + len(attributes)).to_bytes(2, "big")
        self.send(head + hashlib.md5(head + packet[4:20] + attributes + b"secret").digest() + attributes)
        return None

    def message(self, text: bytes) -> bytes:
        return bytes([18, len(text) + 2]) + text


class AccessRight(AccessBroken):
    def message(self, text: bytes) -> bytes:
        text = text[:253]
        return bytes([18, len(text) + 2]) + text


def access(number: int, *attributes: bytes) -> bytes:
    """A request of RADIUS."""
    rest = bytes(range(16)) + b"".join(bytes([1, len(value) + 2]) + value for value in attributes)
    return bytes([1, number]) + (4 + len(rest)).to_bytes(2, "big") + rest


# 10: ends that only look like ends


class DeliveryBroken(StreamHandler):
    """LMTP (RFC 2033): an answer for each recipient."""

    async def handle(self) -> None:
        self.send(b"220 lmtp\r\n")
        recipients = 0
        while (verb := (await COMMAND)[:-2].partition(b" ")[0].upper()) != b"QUIT":
            if verb in (b"LHLO", b"MAIL", b"RSET"):
                recipients = 0
                self.send(b"250 OK\r\n")
            elif verb == b"RCPT" and recipients < 100:
                recipients += 1
                self.send(b"250 OK\r\n")
            elif verb == b"DATA" and recipients:
                self.send(b"354 go on\r\n")
                size = await self.text()
                self.send((b"250 %d bytes\r\n" % size if size <= 10_000 else b"552 too long\r\n") * recipients)
                recipients = 0
            else:
                self.send(b"503 not now\r\n")
        self.send(b"221 bye\r\n")

    async def text(self) -> int:
        size = 0
        while (line := await Until(b"\n", limit=1000)).rstrip(b"\r\n") != b".":
            size = min(size + len(line), 10_001)
        return size


class DeliveryRight(DeliveryBroken):
    async def text(self) -> int:
        size = 0
        while (line := await Until(b"\r\n", limit=1000)) != b".\r\n":
            size = min(size + len(line), 10_001)
        return size


class ControlBroken(StreamHandler):
    """The control port of Tor: SETCONF and GETCONF of two words."""

    names = (b"Nickname", b"ContactInfo")

    def setup(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def handle(self) -> Step:
        return COMMAND, self.command

    def command(self, line: bytes) -> Step:
        verb, _, rest = line[:-2].partition(b" ")
        name, equals, value = rest.partition(b"=")
        if re.search(rb"[\x00-\x1f\x7f]", line[:-2]):
            self.send(b"513 syntax error\r\n")
        elif verb == b"QUIT":
            self.send(b"250 closing connection\r\n")
            return None
        elif verb not in (b"SETCONF", b"GETCONF") or name not in self.names:
            self.send(b"510 Unrecognized\r\n")
        elif verb == b"GETCONF":
            self.send(b"250 %b=%b\r\n" % (name, self.told(self.values.get(name, b""))))
        elif equals and re.fullmatch(rb'[^"\\ ]*|"(?:[^"\\]|\\.)*"', value):
            self.values[name] = self.meant(value)
            self.send(b"250 OK\r\n")
        else:
            self.send(b"513 syntax error\r\n")
        return self.handle()

    def meant(self, value: bytes) -> bytes:
        """What a word or a quoted string with escapes means."""
        if value[:1] != b'"':
            return value
        escapes = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
        return re.sub(rb"\\(.)", lambda found: escapes.get(found[1], found[1]), value[1:-1])

    def told(self, value: bytes) -> bytes:
        return value


class ControlRight(ControlBroken):
    def told(self, value: bytes) -> bytes:
        if not re.search(rb'["\\\s]', value):
            return value
        escapes = {b"\n": rb"\n", b"\r": rb"\r", b"\t": rb"\t"}
        return b'"%b"' % re.sub(rb'["\\\n\r\t]', lambda found: escapes.get(found[0], b"\\" + found[0]), value)


class SearchBroken(DatagramHandler):
    """SSDP: the search for devices."""

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        first, *lines = self.lines(packet)
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or name.upper() in headers:
                return None
            headers[name.upper()] = value.strip(" ")
        target = headers.get("ST")
        if first == "M-SEARCH * HTTP/1.1" and headers.get("MAN") == '"ssdp:discover"' and target in self.targets:
            self.send(f"HTTP/1.1 200 OK\r\nST: {target}\r\nUSN: uuid:1::{target}\r\n\r\n".encode())
        return None

    targets = ("ssdp:all", "upnp:rootdevice")

    def lines(self, packet: bytes) -> list[str]:
        return [line for line in packet.decode("latin-1").splitlines() if line] or [""]


class SearchRight(SearchBroken):
    def lines(self, packet: bytes) -> list[str]:
        if not re.fullmatch(rb"(?:[\t -~\x80-\xff]+\r\n)+\r\n", packet):
            return [""]
        return packet[:-4].decode("latin-1").split("\r\n")


def search(target: bytes) -> bytes:
    """A search by SSDP."""
    return (
        b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: %b\r\n'
        b"USER-AGENT: a/1 b/2\r\n\r\n" % target
    )


PAIRS = [
    Pair("news", 1, NewsBroken, NewsRight, [b"STAT 1\r\n", b"STAT 30\r\n", b"STAT 31\r\n", b"QUIT\r\n"]),
    Pair(
        "orders", 1, OrdersBroken, OrdersRight,
        [fix(b"35=0\x01"), fix(b"35=1\x01112=alive\x01"), fix(b"35=0\x0158=nothing\x01"), fix(b"35=5\x01")],
    ),
    Pair(
        "master", 1, MasterBroken, MasterRight,
        [CALLED + b"getservers 68 empty full\n", CALLED + b"getservers 66", CALLED + b"getservers 71 empty"],
    ),
    Pair(
        "queues", 9, QueuesBroken, QueuesRight,
        [b"AMQP\0\0\x09\x01", frame(8, 0, b""), frame(3, 1, b"hello"), frame(3, 2, b"")],
    ),
    Pair(
        "registers", 9, RegistersBroken, RegistersRight,
        [bytes.fromhex(text) for text in ("000100000006010300100002", "000200000006010300000008", "0003000000020107")],
    ),
    Pair("access", 9, AccessBroken, AccessRight, [access(1, b"ada"), access(2), access(3, b"grace")]),
    Pair(
        "delivery", 10, DeliveryBroken, DeliveryRight,
        [b"LHLO here\r\n", b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n", b"hello\r\n.\r\n", b"QUIT\r\n"],
    ),
    Pair(
        "control", 10, ControlBroken, ControlRight,
        [b"SETCONF Nickname=ada\r\n", b"GETCONF Nickname\r\n", b'SETCONF ContactInfo="ada"\r\n',
         b"GETCONF ContactInfo\r\n", b"QUIT\r\n"],
    ),
    Pair(
        "search", 10, SearchBroken, SearchRight,
        [search(b"ssdp:all"), search(b"upnp:rootdevice"), search(b"urn:other")],
    ),
]  # fmt: skip
