"""Pairs of handlers, broken and right: smuggling, quadratic work, what is forgotten or blocks."""

from __future__ import annotations

import json
import struct
import time
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

from handlers import DatagramHandler, Delay, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from handlers import Step

# 10: smuggling


def mllp(*segments: bytes) -> bytes:
    return b"\x0b" + b"".join(segment + b"\r" for segment in segments) + b"\x1c\r"


class Mllp(StreamHandler):
    """HL7 over MLLP. Broken: a byte FS ends a message, whatever follows it."""

    timeout = 60

    async def handle(self) -> None:
        while True:
            if await Exactly(1) != b"\x0b":
                return
            fields = (await self.block()).partition(b"\r")[0].split(b"|")
            if fields[0] != b"MSH" or len(fields) < 12:
                self.send(mllp(b"MSH|^~\\&|||||||ACK||P|2.3", b"MSA|AR|"))
                return
            number = fields[9] if fields[9].isalnum() and len(fields[9]) <= 20 else b""
            code = b"AA" if number else b"AE"
            self.send(mllp(b"MSH|^~\\&|||||||ACK|%b|P|2.3" % number, b"MSA|%b|%b" % (code, number)))

    async def block(self) -> bytes:
        """The rest of a message."""
        content = await Until(b"\x1c", limit=8192)
        await Exactly(1)
        return content[:-1]


class MllpRight(Mllp):
    async def block(self) -> bytes:
        return (await Until(b"\x1c\r", limit=8192))[:-2]


class Msnp(StreamHandler):
    """The notification server of MSN messenger. Broken: a name is decoded, and sent back without its escapes."""

    def handle(self) -> Step:
        return Until(b"\r\n", limit=512), self.command

    def command(self, line: bytes) -> Step:
        verb, number, *words = line.split() + [b"", b""][len(line.split()) :]
        if verb == b"OUT":
            self.send(b"OUT\r\n")
            return None
        if not number.isdigit() or len(number) > 9:
            return None
        if verb == b"VER" and b"MSNP8" in words:
            self.send(b"VER %b MSNP8\r\n" % number)
        elif verb == b"CHG" and words[:1] in ([b"NLN"], [b"BSY"], [b"AWY"]):
            self.send(b"CHG %b %b\r\n" % (number, words[0]))
        elif verb == b"REA" and len(words) == 2:
            name = unquote_to_bytes(words[1])
            if len(name) > 129:
                self.send(b"209 %b\r\n" % number)
            else:
                self.send(b"REA %b 17 %b %b\r\n" % (number, words[0], self.escaped(name)))
        else:
            self.send(b"200 %b\r\n" % number)
        return self.handle()

    def escaped(self, name: bytes) -> bytes:
        return name


class MsnpRight(Msnp):
    def escaped(self, name: bytes) -> bytes:
        return quote_from_bytes(name).encode()


TARGETS = ("upnp:rootdevice", "urn:schemas-upnp-org:device:MediaServer:1")


class Ssdp(DatagramHandler):
    """The search of SSDP. Broken: what `str.splitlines` takes for the end of a line ends a header."""

    async def handle(self) -> None:
        text = (await Packet()).decode("latin-1")
        if not text.endswith("\r\n\r\n"):
            return
        first, *lines = self.lines(text[:-4])
        headers = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                return
            headers[name.upper()] = value.strip(" \t")
        if first != "M-SEARCH * HTTP/1.1" or headers.get("MAN") != '"ssdp:discover"':
            return
        for target in TARGETS if headers.get("ST") == "ssdp:all" else TARGETS[:1]:
            if headers.get("ST") in ("ssdp:all", target):
                self.send(f"HTTP/1.1 200 OK\r\nEXT:\r\nST: {target}\r\nUSN: uuid:1::{target}\r\n\r\n".encode())

    def lines(self, text: str) -> list[str]:
        return text.splitlines() or [""]


class SsdpRight(Ssdp):
    def lines(self, text: str) -> list[str]:
        return text.split("\r\n")


# 11: work


def avp(code: int, data: bytes) -> bytes:
    """An attribute of Diameter."""
    return struct.pack("!II", code, 0x4000_0000 | (8 + len(data))) + data + bytes(-len(data) % 4)


def diameter(code: int, *avps: bytes) -> bytes:
    """A request of Diameter."""
    body = b"".join(avps)
    return struct.pack("!IIIII", 0x0100_0000 | (20 + len(body)), 0x8000_0000 | code, 0, 1, 1) + body


class Diameter(StreamHandler):
    """Diameter (RFC 6733). Broken: each attribute that is taken copies all that follow."""

    timeout = 30

    async def handle(self) -> None:
        while True:
            head = await Exactly(20)
            first, second, *numbers = struct.unpack("!5I", head)
            size = first & 0xFFFFFF
            if first >> 24 != 1 or not 20 <= size <= 500_000 or size % 4:
                return
            codes = self.codes(await Exactly(size - 20))
            if not second & 0x8000_0000:
                continue
            result = 5014 if codes is None else 2001 if 264 in codes else 5005
            answer = avp(268, result.to_bytes(4, "big")) + avp(264, b"peer.example")
            self.send(struct.pack("!5I", 0x0100_0000 | (20 + len(answer)), second & 0xFFFFFF, *numbers) + answer)
            if second & 0xFFFFFF == 282:
                return

    def codes(self, body: bytes) -> set[int] | None:
        """The codes of the attributes; ``None`` if they can't be read."""
        codes: set[int] = set()
        while body:
            size = int.from_bytes(body[5:8], "big")
            if size < 8 or size > len(body):
                return None
            if len(codes) < 100:
                codes.add(int.from_bytes(body[:4], "big"))
            body = body[size + -size % 4 :]
        return codes


class DiameterRight(Diameter):
    def codes(self, body: bytes) -> set[int] | None:
        codes: set[int] = set()
        place = 0
        while place < len(body):
            size = int.from_bytes(body[place + 5 : place + 8], "big")
            if size < 8 or size > len(body) - place:
                return None
            if len(codes) < 100:
                codes.add(int.from_bytes(body[place : place + 4], "big"))
            place += size + -size % 4
        return codes


def rtmp(kind: int, data: bytes) -> bytes:
    """A message of RTMP, in chunks."""
    chunks = [data[place : place + 128] for place in range(0, len(data), 128)]
    return struct.pack("!B3s3sB4s", 3, bytes(3), len(data).to_bytes(3, "big"), kind, bytes(4)) + b"\xc3".join(chunks)


class Rtmp(StreamHandler):
    """RTMP. Broken: each chunk copies all chunks before."""

    timeout = 30

    async def handle(self) -> None:
        total = 0
        if await Exactly(1) != b"\x03":
            return
        self.send(b"\x03" + bytes(1536) + await Exactly(1536))
        await Exactly(1536)
        self.opened()
        while True:
            head = await Exactly(12)
            size, kind = int.from_bytes(head[4:7], "big"), head[7]
            if head[0] != 3 or not 1 <= size <= 1 << 20 or kind not in (8, 9, 20):
                return
            message = await self.message(size)
            if message is None:
                return
            total += len(message)
            self.send(rtmp(3, (total & 0xFFFF_FFFF).to_bytes(4, "big")))

    async def message(self, size: int) -> bytes | None:
        """The content of a message; ``None`` if its chunks can't be read."""
        message = await Exactly(min(128, size))
        while len(message) < size:
            if await Exactly(1) != b"\xc3":
                return None
            message = message + await Exactly(min(128, size - len(message)))
        return message


class RtmpRight(Rtmp):
    async def message(self, size: int) -> bytes | None:
        message = bytearray(await Exactly(min(128, size)))
        while len(message) < size:
            if await Exactly(1) != b"\xc3":
                return None
            message += await Exactly(min(128, size - len(message)))
        return bytes(message)


class Stratum(StreamHandler):
    """Stratum, for miners. Broken: a share is looked up among all shares, one after another."""

    shares: Collection[str]

    def setup(self) -> None:
        self.shares = []

    async def handle(self) -> None:
        while True:
            line = await Until(b"\n", limit=256)
            try:
                asked = json.loads(line)
            except ValueError:
                return
            if not isinstance(asked, dict) or type(asked.get("id")) is not int:
                return
            result, error = self.answer(asked.get("method"), asked.get("params"))
            self.send(json.dumps({"id": asked["id"], "result": result, "error": error}).encode() + b"\n")

    def answer(self, method: Any, params: Any) -> tuple[Any, Any]:
        if method == "mining.subscribe":
            return [[], "08000002", 4], None
        if method == "mining.authorize":
            return True, None
        if method != "mining.submit" or not isinstance(params, list) or len(params) != 5:
            return None, [20, "Other/Unknown", None]
        share = "".join(map(str, params[1:]))
        if share in self.shares:
            return None, [22, "Duplicate share", None]
        if len(self.shares) == 20_000:
            return None, [20, "Too many shares", None]
        self.add(share)
        return True, None

    def add(self, share: str) -> None:
        self.shares.append(share)  # type: ignore[attr-defined]


class StratumRight(Stratum):
    def setup(self) -> None:
        self.shares = set()

    def add(self, share: str) -> None:
        self.shares.add(share)  # type: ignore[attr-defined]


# 12: what is forgotten, or blocks


class Gtp(DatagramHandler):
    """The echo of GTP. Broken: a ``return`` is missing, so a request of another version has two answers."""

    def handle(self) -> Step:
        return Packet(), self.message

    def message(self, packet: bytes) -> Step:
        if len(packet) < 12 or int.from_bytes(packet[2:4], "big") != len(packet) - 8 or packet[1] in (2, 3):
            return None
        if packet[0] >> 5 != 1:
            self.send(b"\x32\x03\x00\x04" + packet[4:8] + packet[8:12])
            if self.is_done():
                return None
        if packet[1] == 1:
            self.send(b"\x32\x02\x00\x06" + bytes(4) + packet[8:10] + b"\x00\x00\x0e\x01")
        return None

    def is_done(self) -> bool:
        return False


class GtpRight(Gtp):
    def is_done(self) -> bool:
        return True


def cql(opcode: int, stream: int, body: bytes = b"") -> bytes:
    """A frame of Cassandra's native protocol."""
    return struct.pack("!BBHBI", 4, 0, stream, opcode, len(body)) + body


class Cassandra(StreamHandler):
    """Cassandra's native protocol. Broken: nobody awaits the coroutine that skips what is too long."""

    timeout = 30

    async def handle(self) -> None:
        while True:
            version, _, stream, opcode, size = struct.unpack("!BBHBI", await Exactly(9))
            if version != 4 or size > 1 << 20:
                return
            if size > 4096:
                await self.refuse(stream, size)
                continue
            await Exactly(size)
            if opcode == 5:
                self.send(struct.pack("!BBHBIH", 0x84, 0, stream, 6, 2, 0))
            elif opcode == 1:
                self.send(struct.pack("!BBHBI", 0x84, 0, stream, 2, 0))
            elif opcode == 7:
                self.send(struct.pack("!BBHBII", 0x84, 0, stream, 8, 4, 1))
            else:
                self.error(stream, b"unknown opcode")

    def error(self, stream: int, text: bytes) -> None:
        self.send(struct.pack("!BBHBIIH", 0x84, 0, stream, 0, 6 + len(text), 10, len(text)) + text)

    async def refuse(self, stream: int, size: int) -> None:
        self.error(stream, b"too long")
        self.skip(size)  # type: ignore[unused-coroutine]

    async def skip(self, size: int) -> None:
        while size:
            size -= len(await Exactly(min(size, 4096)))


class CassandraRight(Cassandra):
    async def refuse(self, stream: int, size: int) -> None:
        self.error(stream, b"too long")
        await self.skip(size)


class Ami(StreamHandler):
    """The manager of Asterisk. Broken: a wrong password makes the thread sleep."""

    timeout = 60

    async def handle(self) -> None:
        self.send(b"Asterisk Call Manager/5.0\r\n")
        may = False
        while True:
            lines = (await Until(b"\r\n\r\n", limit=2048))[:-4].split(b"\r\n")
            pairs = [line.partition(b":") for line in lines]
            fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
            action, number = fields.get(b"action", b"").lower(), fields.get(b"actionid", b"")
            tail = b"ActionID: %b\r\n\r\n" % number if number.isalnum() else b"\r\n"
            if action == b"logoff":
                self.send(b"Response: Goodbye\r\n" + tail)
                return
            if action == b"login":
                may = (fields.get(b"username"), fields.get(b"secret")) == (b"ada", b"sesame")
                if not may:
                    await self.slow_down()
                    self.send(b"Response: Error\r\nMessage: Authentication failed\r\n" + tail)
                    return
                self.send(b"Response: Success\r\n" + tail)
            elif not may:
                self.send(b"Response: Error\r\nMessage: Permission denied\r\n" + tail)
                return
            elif action == b"ping":
                self.send(b"Response: Success\r\nPing: Pong\r\n" + tail)
            else:
                self.send(b"Response: Error\r\nMessage: Invalid/unknown command\r\n" + tail)

    async def slow_down(self) -> None:
        time.sleep(3)


class AmiRight(Ami):
    async def slow_down(self) -> None:
        await Delay(3)


HL7 = b"MSH|^~\\&|LAB|A|EHR|B|20240101||ORU^R01|%b|P|2.3"
SEARCH = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\nST: %b\r\n\r\n'
SUBMIT = b'{"id":%d,"method":"mining.submit","params":["ada","7","00000001","504e86ed","%b"]}\n'

PAIRS = [
    Pair("mllp", 10, Mllp, MllpRight,
         [mllp(HL7 % b"1", b"PID|1||42"), mllp(HL7 % b"2", b"OBX|1|NM|GLU||5.5"), mllp(HL7 % b"3")]),
    Pair("msnp", 10, Msnp, MsnpRight,
         [b"VER 1 MSNP8 CVR0\r\n", b"CHG 2 NLN\r\n", b"REA 3 ada@x.example Ada\r\n", b"OUT\r\n"]),
    Pair("ssdp", 10, Ssdp, SsdpRight,
         [SEARCH % b"ssdp:all", SEARCH % b"upnp:rootdevice", SEARCH % b"urn:other"]),
    Pair("diameter", 11, Diameter, DiameterRight,
         [diameter(257, avp(264, b"a.example"), avp(296, b"example"), avp(257, b"\x00\x01\xc0\x00\x02\x01")),
          diameter(280, avp(264, b"a.example"), avp(296, b"example")),
          diameter(282, avp(264, b"a.example"), avp(273, bytes(4)))]),
    Pair("rtmp", 11, Rtmp, RtmpRight,
         [b"\x03" + bytes(1536), bytes(1536), rtmp(20, b"connect" + bytes(200)), rtmp(9, bytes(300))],
         {"kept": 3 << 20}),
    Pair("stratum", 11, Stratum, StratumRight,
         [b'{"id":1,"method":"mining.subscribe","params":[]}\n',
          b'{"id":2,"method":"mining.authorize","params":["ada","x"]}\n',
          SUBMIT % (3, b"b2957c02"), SUBMIT % (4, b"b2957c03"), SUBMIT % (5, b"b2957c02")],
         {"kept": 8 << 20}),
    Pair("gtp", 12, Gtp, GtpRight,
         [b"\x32\x01\x00\x04" + bytes(4) + struct.pack("!HH", number, 0) for number in (1, 2, 3)]),
    Pair("cassandra", 12, Cassandra, CassandraRight,
         [cql(5, 1), cql(1, 2, b"\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0"),
          cql(7, 3, b"\x00\x00\x00\x08SELECT 1\x00\x01\x00")]),
    Pair("ami", 12, Ami, AmiRight,
         [b"Action: Login\r\nUsername: ada\r\nSecret: sesame\r\n\r\n", b"Action: Ping\r\nActionID: 7\r\n\r\n",
          b"Action: Frob\r\n\r\n", b"Action: Logoff\r\n\r\n"]),
]  # fmt: skip
