"""Pairs of handlers, broken and right: deadlines, duplicates, the largest that is allowed."""

from __future__ import annotations

import struct
from hashlib import sha256

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

# 7: deadlines


class Clamd(StreamHandler):
    """A session of ClamAV. Broken: each byte of a command has the time of the whole command."""

    async def handle(self) -> None:
        number = 0
        while True:
            command = await self.command()
            if command == b"zEND\x00" or not command:
                return
            if command == b"zIDSESSION\x00":
                continue
            number += 1
            answers = {b"zPING\x00": b"PONG", b"zVERSION\x00": b"ClamAV 1.4.1"}
            self.send(b"%d: %b\x00" % (number, answers.get(command, b"UNKNOWN COMMAND")))

    async def command(self) -> bytes:
        """The next command; none if it is too long."""
        command = await Exactly(1, timeout=30)
        while command[-1]:
            if len(command) == 128:
                return b""
            command += await Exactly(1, timeout=30)
        return command


class ClamdRight(Clamd):
    async def command(self) -> bytes:
        return await Until(b"\x00", limit=128, timeout=30)


class X11(StreamHandler):
    """The X Window System. Broken: each word of a request has the time of the whole request."""

    timeout = 20

    async def handle(self) -> None:
        head = await Exactly(12)
        order = {0x6C: "<", 0x42: ">"}.get(head[0])
        if order is None:
            return
        major, _, name, data = struct.unpack(order + "4H", head[2:10])
        if major != 11 or name > 64 or data > 64:
            self.send(b"\x00\x00" + struct.pack(order + "3H", 11, 0, 0))
            return
        await Exactly(-(-name // 4) * 4 + -(-data // 4) * 4)
        self.send(b"\x01\x00" + struct.pack(order + "3H", 11, 0, 8) + bytes(32))
        self.opened()
        number = 0
        while True:
            opcode, _, words = struct.unpack(order + "BBH", await Exactly(4))
            if not words:
                return
            await self.skip(words - 1)
            number = (number + 1) & 0xFFFF
            if opcode == 43:  # GetInputFocus
                self.send(b"\x01\x01" + struct.pack(order + "HI", number, 0) + bytes(24))
            elif opcode != 127:
                self.send(b"\x00\x01" + struct.pack(order + "HIHB", number, 0, 0, opcode) + bytes(21))

    async def skip(self, words: int) -> None:
        for _ in range(words):
            await Exactly(4)


class X11Right(X11):
    async def skip(self, words: int) -> None:
        await Exactly(4 * words)


def bitcoin(command: bytes, payload: bytes = b"") -> bytes:
    """A message of Bitcoin's network."""
    digest = sha256(sha256(payload).digest()).digest()[:4]
    return b"\xf9\xbe\xb4\xd9" + struct.pack("<12sI", command, len(payload)) + digest + payload


class Bitcoin(StreamHandler):
    """Messages of Bitcoin. Broken: whatever comes of a payload begins its time anew."""

    timeout = 60

    async def handle(self) -> None:
        while True:
            head = await Exactly(24)
            magic, command, size, digest = struct.unpack("<4s12sI4s", head)
            if magic != b"\xf9\xbe\xb4\xd9" or size > 4096:
                return
            payload = await self.payload(size)
            if sha256(sha256(payload).digest()).digest()[:4] != digest:
                return
            if command.rstrip(b"\x00") == b"version":
                self.send(bitcoin(b"verack"))
            elif command.rstrip(b"\x00") == b"ping":
                self.send(bitcoin(b"pong", payload))

    async def payload(self, size: int) -> bytes:
        payload = b""
        while len(payload) < size:
            payload += await Some(limit=size - len(payload))
        return payload


class BitcoinRight(Bitcoin):
    async def payload(self, size: int) -> bytes:
        return await Exactly(size)


# 8: duplicates

IAX = 6
HANGUP, PING, PONG, ACK, INVAL, LAGRQ, LAGRP, POKE = 5, 2, 3, 4, 10, 11, 12, 30


def iax(source: int, kind: int, subclass: int, stamp: int = 0) -> bytes:
    """A full frame of IAX2."""
    return struct.pack("!HHI4B", 0x8000 | source, 0, stamp, 0, 0, kind, subclass)


class Iax2(DatagramHandler):
    """IAX2 (RFC 5456). Broken: an acknowledgement is acknowledged."""

    unanswered: tuple[int, ...] = ()

    def handle(self) -> Step:
        return Packet(), self.frame

    def frame(self, packet: bytes) -> Step:
        if len(packet) < 12 or not packet[0] & 0x80:
            return None
        source, stamp, kind, subclass = struct.unpack("!H2xI2x2B", packet[:12])
        if kind == IAX and subclass in self.unanswered:
            return None
        answer = {PING: PONG, POKE: PONG, LAGRQ: LAGRP}.get(subclass, ACK) if kind == IAX else ACK
        self.send(struct.pack("!HHI4B", 0x8001, source & 0x7FFF, stamp, 0, packet[8] + 1 & 0xFF, IAX, answer))
        return None


class Iax2Right(Iax2):
    unanswered = ACK, INVAL


HEADER = b"\x81\x0a"


def bacnet(apdu: bytes) -> bytes:
    """A packet of BACnet/IP."""
    return HEADER + (6 + len(apdu)).to_bytes(2, "big") + b"\x01\x04" + apdu


class Bacnet(DatagramHandler):
    """An answer of BACnet in segments. Broken: an acknowledgement that comes twice counts for the next segment."""

    async def handle(self) -> None:
        request = await Packet()
        if len(request) < 10 or request != bacnet(request[6:]) or request[6] & 0xF2 != 0x02 or request[9] != 14:
            return
        for number in range(3):
            more = 0x3C if number < 2 else 0x38
            if not await self.deliver(request[8], number, bytes([more, request[8], number, 1, 14]) + bytes(20)):
                return

    async def deliver(self, invoke: int, number: int, segment: bytes) -> bool:
        """Send a segment until it is acknowledged. Whether it is."""
        for _ in range(3):
            self.send(bacnet(segment))
            try:
                for _ in range(8):
                    if self.acknowledges(await Packet(timeout=2), invoke, number):
                        return True
            except TimedOut:
                continue
            return False
        return False

    def acknowledges(self, packet: bytes, invoke: int, number: int) -> bool:
        return len(packet) == 10 and packet[:8] == bacnet(bytes([0x40, invoke, 0, 1]))[:8]


class BacnetRight(Bacnet):
    def acknowledges(self, packet: bytes, invoke: int, number: int) -> bool:
        return packet == bacnet(bytes([0x40, invoke, number, 1]))


def block(number: int, data: bytes) -> bytes:
    """A block of XMODEM."""
    data = data.ljust(128, b"\x1a")
    return bytes([1, number, 255 - number]) + data + bytes([sum(data) % 256])


class Xmodem(StreamHandler):
    """The receiver of XMODEM. Broken: the errors of all blocks are counted, not those of one."""

    timeout = 10

    def setup(self) -> None:
        self.errors, self.number = 0, 0

    def handle(self) -> Step:
        self.send(b"\x15")
        return Exactly(1), self.begin

    def begin(self, first: bytes) -> Step:
        if first == b"\x04":
            self.send(b"\x06")
            return None
        if first == b"\x18":
            return None
        if first != b"\x01":
            self.send(b"\x18\x18")
            return None
        return Exactly(131), self.block

    def block(self, data: bytes) -> Step:
        number, inverse, content = data[0], data[1], data[2:-1]
        if number ^ inverse != 255 or sum(content) % 256 != data[-1] or (number - self.number) % 256 > 1:
            self.errors += 1
            if self.errors == 4:
                self.send(b"\x18\x18")
                return None
            self.send(b"\x15")
            return Exactly(1), self.begin
        self.number = number
        self.accepted()
        self.send(b"\x06")
        return Exactly(1), self.begin

    def accepted(self) -> None:
        pass


class XmodemRight(Xmodem):
    def accepted(self) -> None:
        self.errors = 0


# 9: the largest


class Nats(StreamHandler):
    """NATS. Broken: the end of line behind a payload is not counted in the limit, so the largest two are cut off."""

    largest = 1024
    room = 0
    timeout = 60

    async def handle(self) -> None:
        self.send(b'INFO {"max_payload":1024}\r\n')
        while True:
            words = (await Until(b"\r\n", limit=512))[:-2].split(b" ")
            if words[0] == b"CONNECT":
                self.send(b"+OK\r\n")
            elif words == [b"PING"]:
                self.send(b"PONG\r\n")
            elif words[0] == b"PUB" and len(words) == 3 and words[2].isdigit() and len(words[2]) < 9:
                if int(words[2]) > self.largest:
                    self.send(b"-ERR 'Maximum Payload Violation'\r\n")
                    return
                payload = await Exactly(int(words[2]) + 2, limit=self.largest + self.room)
                if payload[-2:] != b"\r\n":
                    self.send(b"-ERR 'Unknown Protocol Operation'\r\n")
                    return
                self.send(b"+OK\r\n")
            elif words != [b"PONG"]:
                self.send(b"-ERR 'Unknown Protocol Operation'\r\n")
                return


class NatsRight(Nats):
    room = 2


GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03REP"


class Zmtp(StreamHandler):
    """ZMTP 3.0, which sends each message back. Broken: a body of 256 bytes is sent as a short frame."""

    longest = 256

    async def handle(self) -> None:
        self.send(GREETING)
        greeting = await Exactly(64, timeout=10)
        if greeting[:1] != b"\xff" or greeting[9:11] != b"\x7f\x03" or greeting[12:16] != b"NULL":
            return
        self.send(READY)
        self.opened()
        while True:
            flags = (await Exactly(1))[0]
            if flags & 0xF8 or flags & 5 == 5:
                return
            size = int.from_bytes(await Exactly(8 if flags & 2 else 1), "big")
            if size > 4096:
                return
            body = await Exactly(size)
            if not flags & 4:
                self.send(self.frame(flags & 1, body))

    def frame(self, more: int, body: bytes) -> bytes:
        if len(body) <= self.longest:
            return bytes([more, len(body)]) + body
        return bytes([more | 2]) + len(body).to_bytes(8, "big") + body


class ZmtpRight(Zmtp):
    longest = 255


def rip(*entries: bytes) -> bytes:
    """A request of RIP."""
    return b"\x01\x02\x00\x00" + b"".join(entries)


def route(family: int, address: bytes, metric: int) -> bytes:
    return struct.pack("!HH4s4s4sI", family, 0, address, b"\xff\xff\xff\x00", bytes(4), metric)


class Rip(DatagramHandler):
    """RIP 2 (RFC 2453). Broken: the answer has no room for the header and the 25 entries that are allowed."""

    room = 500
    routes: tuple[tuple[bytes, int], ...] = ((b"\xc0\x00\x02\x00", 1), (b"\xc6\x33\x64\x00", 3))

    async def handle(self) -> None:
        packet = await Packet()
        number, rest = divmod(len(packet) - 4, 20)
        if packet[:4] != rip() or rest or not 1 <= number <= 25:
            return
        answer = bytearray(self.room)
        answer[:4] = b"\x02\x02\x00\x00"
        entries = [packet[place : place + 20] for place in range(4, len(packet), 20)]
        if number == 1 and entries[0][:2] == bytes(2) and entries[0][-4:] == b"\x00\x00\x00\x10":
            entries = [route(2, address, 16) for address, _ in self.routes]
        for index, entry in enumerate(entries):
            metric = dict(self.routes).get(entry[4:8], 16)
            struct.pack_into("!16sI", answer, 4 + 20 * index, entry[:16], metric)
        self.send(answer[: 4 + 20 * len(entries)])


class RipRight(Rip):
    room = 504


X11_SETUP = b"l\x00\x0b\x00\x00\x00\x12\x00\x10\x00\x00\x00MIT-MAGIC-COOKIE-1\x00\x00" + bytes(16)
READ = bacnet(b"\x02\x05\x07\x0e\x0c\x00\x80\x00\x01\x1e\x09\x08\x1f")

PAIRS = [
    Pair("clamd", 7, Clamd, ClamdRight, [b"zIDSESSION\x00", b"zPING\x00", b"zVERSION\x00", b"zEND\x00"]),
    Pair("x11", 7, X11, X11Right,
         [X11_SETUP, b"\x2b\x00\x01\x00", b"\x7f\x00\x03\x00" + bytes(8), b"\x01\x18\x04\x00" + bytes(12)]),
    Pair("bitcoin", 7, Bitcoin, BitcoinRight,
         [bitcoin(b"version", bytes(86)), bitcoin(b"verack"), bitcoin(b"ping", b"12345678"),
          bitcoin(b"ping", b"abcdefgh")]),
    Pair("iax2", 8, Iax2, Iax2Right,
         [iax(3, IAX, POKE), iax(3, IAX, PING, 20), iax(4, IAX, LAGRQ, 40), iax(3, IAX, HANGUP, 60)]),
    Pair("bacnet", 8, Bacnet, BacnetRight,
         [READ, *(bacnet(bytes([0x40, 7, number, 1])) for number in range(3))]),
    Pair("xmodem", 8, Xmodem, XmodemRight, [block(1, b"one"), block(2, b"two"), block(3, b"three"), b"\x04"]),
    Pair("nats", 9, Nats, NatsRight,
         [b'CONNECT {"verbose":true}\r\n', b"PUB news 5\r\nhello\r\n", b"PING\r\n", b"PUB news 0\r\n\r\n"]),
    Pair("zmtp", 9, Zmtp, ZmtpRight,
         [GREETING, READY.replace(b"REP", b"REQ"), b"\x01\x00\x00\x05hello",
          b"\x02" + (300).to_bytes(8, "big") + bytes(300)]),
    Pair("rip", 9, Rip, RipRight,
         [rip(route(0, bytes(4), 16)), rip(route(2, b"\xc0\x00\x02\x00", 16)),
          rip(route(2, b"\xc6\x33\x64\x00", 16), route(2, b"\x0a\x00\x00\x00", 16))]),
]  # fmt: skip
