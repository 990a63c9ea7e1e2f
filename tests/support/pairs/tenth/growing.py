"""Pairs of the tenth set: what grows with the headers, the objects and the mappings of one client."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from handlers import DatagramHandler, Exactly, Packet, StreamHandler
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 1, 2, 3, 4, 6, 7, 8, 9
PROTOCOL_ERROR, FRAME_SIZE_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 1, 6, 9, 11
SETTING_RANGES = {2: (0, 1), 4: (0, 0x7FFFFFFF), 5: (0x4000, 0xFFFFFF)}


class Refused(Exception):
    """The connection ends with an error, whose code is the argument."""


def frame(kind: int, flags: int, stream: int, data: bytes = b"") -> bytes:
    return len(data).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + data


class Http2(StreamHandler):
    """HTTP/2 (RFC 9113) with no bodies, and of HPACK (RFC 7541) only the indexed fields of the static table.

    The header block of a request comes in a HEADERS frame and any number of CONTINUATION frames.
    """

    timeout = 60.0
    request_timeout = 30.0
    most: float = float("inf")

    async def handle(self) -> None:
        self.last = 0
        if await Exactly(len(PREFACE)) != PREFACE:
            return
        self.send(frame(SETTINGS, 0, 0, b"\x00\x01\x00\x00\x00\x00"))
        self.opened()
        is_set = False
        try:
            while True:
                self.one_by_one += 1
                kind, flags, stream, data = await self.frame()
                if not is_set and (kind != SETTINGS or flags & 1):
                    raise Refused(PROTOCOL_ERROR)
                is_set = True
                if kind == GOAWAY and not stream:
                    return
                if kind == HEADERS:
                    if not stream & 1 or stream <= self.last or flags & 0x29 != 1:
                        raise Refused(PROTOCOL_ERROR)
                    self.last = stream
                    self.request(stream, await self.block(flags, stream, data))
                else:
                    self.control(kind, flags, stream, data)
        except Refused as refused:
            self.send(frame(GOAWAY, 0, 0, struct.pack(">II", self.last, refused.args[0])))

    async def frame(self) -> tuple[int, int, int, bytes]:
        head = await Exactly(9)
        size = int.from_bytes(head[:3], "big")
        if size > 0x4000:
            raise Refused(FRAME_SIZE_ERROR)
        return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, await Exactly(size)

    async def block(self, flags: int, stream: int, data: bytes) -> bytes:
        """A whole header block; ``data`` is its beginning."""
        block, cost = bytearray(data), 9 + len(data)
        while cost <= self.most:
            if flags & 4:
                return bytes(block)
            kind, flags, its, data = await self.frame()
            if kind != CONTINUATION or its != stream:
                raise Refused(PROTOCOL_ERROR)
            block += data
            cost += 9 + len(data)
        raise Refused(ENHANCE_YOUR_CALM)

    def control(self, kind: int, flags: int, stream: int, data: bytes) -> None:
        sizes = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
        if len(data) != sizes.get(kind, len(data)):
            raise Refused(FRAME_SIZE_ERROR)
        if kind in (0, 5, CONTINUATION) or (kind in (SETTINGS, PING, GOAWAY)) > (stream == 0):
            raise Refused(PROTOCOL_ERROR)
        if kind in (PRIORITY, RST_STREAM) and (not stream or (kind == RST_STREAM and stream > self.last)):
            raise Refused(PROTOCOL_ERROR)
        if kind == WINDOW_UPDATE and (stream > self.last or not int.from_bytes(data, "big") & 0x7FFFFFFF):
            raise Refused(PROTOCOL_ERROR)
        if kind == PING and not flags & 1:
            self.send(frame(PING, 1, 0, data))
        elif kind == SETTINGS:
            if len(data) % 6 or (flags & 1 and data):
                raise Refused(FRAME_SIZE_ERROR)
            for name, value in struct.iter_unpack(">HI", data):
                least, most = SETTING_RANGES.get(name, (0, 0xFFFFFFFF))
                if not least <= value <= most:
                    raise Refused(PROTOCOL_ERROR)
            if not flags & 1:
                self.send(frame(SETTINGS, 1, 0))

    def request(self, stream: int, block: bytes) -> None:
        if not all(0x81 <= byte <= 0xBD for byte in block):
            raise Refused(COMPRESSION_ERROR)
        numbers = [byte & 0x7F for byte in block]
        if {number & ~1 for number in numbers[:3]} != {2, 4, 6} or min(numbers[3:], default=15) < 15 or 57 in numbers:
            self.send(frame(RST_STREAM, 0, stream, PROTOCOL_ERROR.to_bytes(4, "big")))
        else:
            self.send(frame(HEADERS, 5, stream, b"\x88" if 2 in numbers[:3] else b"\x8d"))


class Http2Right(Http2):
    most = 4096


GLOBALS = {1: (b"wl_compositor", 4), 2: (b"wl_shm", 1)}


def event(sender: int, opcode: int, *arguments: int | bytes) -> bytes:
    """A message of Wayland, in the byte order of little-endian hosts. An argument is a number or a string."""
    data = b""
    for argument in arguments:
        if isinstance(argument, bytes):
            data += struct.pack("<I", len(argument) + 1) + argument + bytes(4 - len(argument) % 4)
        else:
            data += struct.pack("<I", argument)
    return struct.pack("<IHH", sender, opcode, len(data) + 8) + data


class Wayland(StreamHandler):
    """A compositor (the Wayland core protocol): wl_display, with wl_registry, whose globals can be bound."""

    timeout = 60.0
    request_timeout = 30.0
    most: float = float("inf")

    def setup(self) -> None:
        self.objects = {1: b"wl_display"}
        self.serial = 0

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(8), self.header

    def header(self, data: bytes) -> Step:
        self.target, self.opcode, size = struct.unpack("<IHH", data)
        if size % 4 or not 8 <= size <= 4096:
            return self.error(1, 1, b"invalid size")
        return Exactly(size - 8), self.arguments

    def error(self, target: int, code: int, text: bytes) -> None:
        self.send(event(1, 0, target, code, text))

    def arguments(self, data: bytes) -> Step:
        interface = self.objects.get(self.target)
        if interface is None:
            return self.error(1, 0, b"invalid object")
        if interface == b"wl_display" and self.opcode < 2 and len(data) == 4:
            return self.made((b"wl_callback", b"wl_registry")[self.opcode], data)
        if interface == b"wl_registry" and self.opcode == 0 and len(data) >= 16:
            name, version = struct.unpack("<I", data[:4])[0], struct.unpack("<I", data[-8:-4])[0]
            wanted, offered = GLOBALS.get(name, (b"", 0))
            if data[4:-8] == event(0, 0, wanted)[8:] and 0 < version <= offered:
                return self.made(wanted, data[-4:])
        return self.error(self.target, 1, b"invalid method")

    def made(self, interface: bytes, data: bytes) -> Step:
        """A client makes an object, whose number it has chosen."""
        number = int.from_bytes(data, "little")
        if not 2 <= number <= 0xFEFFFFFF or number in self.objects:
            return self.error(1, 0, b"invalid new id")
        if interface == b"wl_callback":
            self.serial = (self.serial + 1) & 0xFFFFFFFF
            self.send(event(number, 0, self.serial) + event(1, 1, number))
            return self.handle()
        if len(self.objects) >= self.most:
            return self.error(1, 2, b"no memory")
        self.objects[number] = interface
        if interface == b"wl_registry":
            for name, (its, version) in GLOBALS.items():
                self.send(event(number, 0, name, its, version))
        elif interface == b"wl_shm":
            self.send(event(number, 0, 0) + event(number, 0, 1))
        return self.handle()


class WaylandRight(Wayland):
    most = 64


class Mapping(NamedTuple):
    """A port of a client, by the port outside."""

    nonce: bytes
    external: int
    lifetime: int


OUTSIDE = bytes(10) + b"\xff\xff\xcb\x00\x71\x05"


class Pcp(DatagramHandler):
    """The Port Control Protocol (RFC 6887), the opcode MAP for TCP and UDP without options, for clients with IPv4.

    A mapping belongs to the nonce that has made it. A client may have eight.
    """

    timeout = 60.0

    def setup(self) -> None:
        self.mappings: dict[bytes, Mapping] = {}

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) < 24 or packet[1] & 0x80:
                continue
            try:
                self.send(self.answered(packet))
            except Refused as refused:
                head = struct.pack(">BBBBII12x", 2, packet[1] | 0x80, 0, refused.args[0], 30, 0)
                self.send(head + packet[24:60] if packet[1] == 1 and len(packet) >= 60 else head)

    def answered(self, packet: bytes) -> bytes:
        if packet[0] != 2:
            raise Refused(1)
        if len(packet) > 1100 or len(packet) % 4:
            raise Refused(3)
        if packet[1] != 1:
            raise Refused(4)
        if len(packet) < 60:
            raise Refused(3)
        if len(packet) > 60:
            raise Refused(5)
        if packet[8:20] != bytes(10) + b"\xff\xff":
            raise Refused(12)
        lifetime, nonce, inside, suggested = self.fields(packet)
        mapping = self.mappings.get(inside)
        if mapping is not None and mapping.lifetime and mapping.nonce != nonce:
            raise Refused(2)
        if not lifetime:
            self.end(inside)
            return struct.pack(">BBBBII12x", 2, 0x81, 0, 0, 0, 0) + packet[24:60]
        taken = {other.external for other in self.mappings.values() if other.lifetime}
        if mapping is not None and mapping.lifetime:
            suggested = mapping.external
        elif len(taken) >= 8:
            raise Refused(10)
        elif suggested < 1024 or suggested in taken:
            suggested = next(port for port in range(40_000, 40_009) if port not in taken)
        self.mappings[inside] = Mapping(nonce, suggested, lifetime)
        head = struct.pack(">BBBBII12x", 2, 0x81, 0, 0, lifetime, 0)
        return head + packet[24:42] + suggested.to_bytes(2, "big") + OUTSIDE

    def fields(self, packet: bytes) -> tuple[int, bytes, bytes, int]:
        """The lifetime, the nonce, the protocol with the port inside, and the port outside that is suggested."""
        if packet[36] not in (6, 17):
            raise Refused(9)
        if packet[40:42] == b"\x00\x00":
            raise Refused(3)
        lifetime = min(int.from_bytes(packet[4:8], "big"), 7200)
        return lifetime, packet[24:36], packet[36:37] + packet[40:42], int.from_bytes(packet[42:44], "big")

    def end(self, inside: bytes) -> None:
        mapping = self.mappings.get(inside)
        if mapping is not None:
            self.mappings[inside] = mapping._replace(lifetime=0)


class PcpRight(Pcp):
    def end(self, inside: bytes) -> None:
        self.mappings.pop(inside, None)


def wanted(port: int, lifetime: int, protocol: int = 6, external: int = 0) -> bytes:
    """A request for a mapping."""
    head = struct.pack(">BB2xI10x6s", 2, 1, lifetime, b"\xff\xff\xc0\x00\x02\x09")
    return head + struct.pack(">12sB3xHH16x", b"twelve bytes", protocol, port, external)


PAIRS = [
    Pair(
        "http2",
        2,
        Http2,
        Http2Right,
        [
            PREFACE,
            frame(SETTINGS, 0, 0, b"\x00\x03\x00\x00\x00\x64"),
            frame(SETTINGS, 1, 0),
            frame(HEADERS, 5, 1, b"\x82\x84\x86"),
            frame(PING, 0, 0, b"12345678"),
            frame(HEADERS, 1, 3, b"\x83\x85") + frame(CONTINUATION, 0, 3, b"\x87") + frame(CONTINUATION, 4, 3, b"\x90"),
        ],
    ),
    Pair(
        "wayland",
        2,
        Wayland,
        WaylandRight,
        [
            event(1, 1, 2),
            event(1, 0, 3),
            event(2, 0, 1, b"wl_compositor", 4, 4),
            event(2, 0, 2, b"wl_shm", 1, 5),
            event(1, 0, 3),
        ],
    ),
    Pair(
        "pcp",
        2,
        Pcp,
        PcpRight,
        [
            wanted(8080, 3600, external=8080),
            wanted(5353, 600, protocol=17),
            wanted(8080, 7200),
            wanted(5353, 0, protocol=17),
            wanted(22, 86_400),
        ],
    ),
]
