"""Pairs of the ninth set: answers that depend on how the input was cut into reads."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import StreamHandler
from tests.support.pairs.pair import ANY, Buffered, Malformed, Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handlers.handler import Step


def relp(number: int, command: bytes, data: bytes = b"") -> bytes:
    """A frame of RELP."""
    return b"%d %b %d%b%b\n" % (number, command, len(data), b" " if data else b"", data)


class Relp(Buffered):
    """A server for the reliable event logging protocol (RELP, document of librelp): each record is acknowledged.

    Frames are numbered; a record may have 4096 bytes.
    """

    head = re.compile(rb"([1-9][0-9]{0,8}) ([a-z]{1,32}) (0|[1-9][0-9]{0,8})([ \n])")
    offers = b"relp_version=0\nrelp_software=tests\ncommands=syslog"

    def setup(self) -> None:
        super().setup()
        self.number = 0
        self.is_open = False

    def refuse(self, number: int, text: bytes) -> bool:
        self.send(relp(number, b"rsp", b"500 " + text) + b"0 serverclose 0\n")
        return False

    def take(self) -> bool:
        while self.buffer:
            head = self.head.match(bytes(self.buffer[:54]))
            if head is None:
                return (len(self.buffer) < 54 and 10 not in self.buffer) or self.refuse(self.number + 1, b"no frame")
            number, command, size, begin = int(head[1]), head[2], int(head[3]), head.end()
            is_bare = head[4] == b"\n"
            if size > 4096 or is_bare != (not size) or number != self.number + 1:
                return self.refuse(self.number + 1, b"no frame")
            end = begin + size + 1 if size else begin
            if len(self.buffer) < end:
                return True
            if self.buffer[end - 1] != 10:
                return self.refuse(number, b"no frame")
            data = bytes(self.buffer[begin : end - 1]) if size else b""
            del self.buffer[:end]
            self.number = number % 999_999_999
            if not self.takes(number, command, data):
                return False
        return True

    def takes(self, number: int, command: bytes, data: bytes) -> bool:
        """Answer a frame. Whether more may follow."""
        if command == b"open" and not self.is_open:
            if b"relp_version=0" not in data.split(b"\n"):
                return self.refuse(number, b"version is not supported")
            self.is_open = True
            self.send(relp(number, b"rsp", b"200 OK\n" + self.offers))
        elif command == b"syslog" and self.is_open and data:
            self.send(relp(number, b"rsp", b"200 OK"))
        elif command == b"close" and self.is_open and not data:
            self.send(relp(number, b"rsp") + b"0 serverclose 0\n")
            return False
        else:
            return self.refuse(number, b"no such command")
        return True


class RelpHolds(Relp):
    def more(self, data: bytes) -> Step:
        if len(self.buffer) + len(data) > 8192:
            self.refuse(self.number + 1, b"too much")
            return None
        return super().more(data)


def frame(data: bytes) -> bytes:
    """A frame of ZooKeeper."""
    return len(data).to_bytes(4, "big") + data


def asked(number: int, kind: int, path: bytes) -> bytes:
    """A request of ZooKeeper for a node, without a watch."""
    return frame(struct.pack(">iiI", number, kind, len(path)) + path + b"\x00")


class Zookeeper(Buffered):
    """A server of ZooKeeper (ClientCnxn and zookeeper.jute): a session is opened, kept by pings, and nodes are read."""

    nodes = {b"/": b"", b"/zookeeper": b"", b"/config": b"limit=7", b"/config/size": b"12"}

    def setup(self) -> None:
        super().setup()
        self.greeted = self.closed = False

    def frames(self) -> Iterator[bytes]:
        """The whole frames in the buffer."""
        while len(self.buffer) >= 4:
            size = int.from_bytes(self.buffer[:4], "big")
            if not 8 <= size <= 1024:
                raise Malformed("no frame")
            if len(self.buffer) < 4 + size:
                return
            data = bytes(self.buffer[4 : 4 + size])
            del self.buffer[: 4 + size]
            yield data

    def parsed(self, data: bytes) -> tuple[int, int, bytes]:
        """The number and the kind of a request, and its path; kind 0 opens the session, for a time."""
        if not self.greeted:
            if len(data) not in (44, 45) or data[44:] not in (b"", b"\x00", b"\x01"):
                raise Malformed("no connect request")
            version, _, time, session, size = struct.unpack_from(">iqiqi", data)
            if version or size != 16 or session or time <= 0:
                raise Malformed("no connect request")
            self.greeted = True
            return min(max(time, 4_000), 40_000), 0, data[44:]
        number, kind = struct.unpack_from(">ii", data)
        if len(data) == 8 and (number == -2 if kind == 11 else kind == -11 and number >= 0):
            return number, kind, b""
        path = data[12:-1]
        if kind not in (3, 4) or len(data) < 14 or int.from_bytes(data[8:12], "big") != len(path) or number < 0:
            raise Malformed("no request")
        if data[-1] or not re.fullmatch(rb"/|(?:/[!-.0-~]+)+", path):
            raise Malformed("no path")
        return number, kind, path

    def answer(self, number: int, kind: int, path: bytes) -> None:
        if kind == 0:
            self.send(frame(struct.pack(">iiqi", 0, number, 0x1_0000_0001, 16) + bytes(16) + bytes(len(path))))
            return
        error, said = 0, b""
        if kind in (3, 4) and path not in self.nodes:
            error = -101
        elif kind in (3, 4):
            value, inside = self.nodes[path], path.rstrip(b"/") + b"/"
            below = sum(
                name.startswith(inside) and b"/" not in name[len(inside) :] and name != path for name in self.nodes
            )
            stat = struct.pack(">qqqqiiiqiiq", 1, 1, 0, 0, 0, 0, 0, 0, len(value), below, 1)
            said = (len(value).to_bytes(4, "big") + value if kind == 4 else b"") + stat
        self.send(frame(struct.pack(">iqi", number, 1, error) + said))
        self.closed = kind == -11

    def requests(self) -> Iterator[tuple[int, int, bytes]]:
        return map(self.parsed, self.frames())

    def take(self) -> bool:
        try:
            for request in self.requests():
                self.answer(*request)
                if self.closed:
                    return False
        except Malformed:
            self.send(frame(struct.pack(">iqi", 0, 1, -5)))
            return False
        return True


class ZookeeperInTurn(Zookeeper):
    def requests(self) -> Iterator[tuple[int, int, bytes]]:
        return iter([self.parsed(data) for data in self.frames()])


def check_of(data: bytes) -> int:
    """The CRC-8 of EnOcean, with the polynomial 0x07."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def telegram(kind: int, data: bytes, optional: bytes = b"") -> bytes:
    """A packet of ESP3."""
    head = struct.pack(">HBB", len(data), len(optional), kind)
    return b"U" + head + bytes([check_of(head)]) + data + optional + bytes([check_of(data + optional)])


class Enocean(StreamHandler):
    """A radio module of EnOcean behind a serial line (ESP3, section 1): commands of the host have a response.

    A host, or noise on the line, may begin anywhere: packets begin where a sync byte has a head with the right check.
    """

    timeout = 60.0
    request_timeout = 30.0
    version = b"\x02\x0b\x01\x00\x02\x06\x03\x00\x01\x9a\x02\x03\x45\x4f\x01\x03" + b"GATEWAYCTRL".ljust(16, b"\x00")

    def setup(self) -> None:
        self.held = bytearray()

    def handle(self) -> Step:
        return ANY, self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def more(self, data: bytes) -> Step:
        self.held += data
        while (found := self.packet()) is not None:
            self.one_by_one += 1
            self.answer(*found)
        return (ANY, self.more) if self.held else (ANY, self.first)

    def lost(self) -> None:
        """The sync byte at the beginning was none: go to the next."""
        del self.held[:1]

    def packet(self) -> tuple[int, bytes] | None:
        """The kind and the data of the next whole packet."""
        while True:
            start = self.held.find(b"U")
            del self.held[: start if start >= 0 else len(self.held)]
            if len(self.held) < 6:
                return None
            size, more, kind = struct.unpack_from(">HBB", self.held, 1)
            if check_of(self.held[1:5]) != self.held[5] or not 0 < size <= 512 or more > 64:
                self.lost()
                continue
            end = 6 + size + more
            if len(self.held) <= end:
                return None
            data, check = bytes(self.held[6:end]), self.held[end]
            del self.held[: end + 1]
            if check_of(data) == check:
                return kind, data[:size] if not more else b""

    def answer(self, kind: int, data: bytes) -> None:
        """Answer a common command; a response, or what came by radio, has no answer."""
        if kind != 5:
            return
        if data == b"\x03":
            self.send(telegram(2, b"\x00" + self.version))
        elif data == b"\x08":
            self.send(telegram(2, b"\x00\xff\x9b\x2c\x80", b"\x0a"))
        elif data[:1] in (b"\x03", b"\x08", b""):
            self.send(telegram(2, b"\x03"))
        else:
            self.send(telegram(2, b"\x02"))


class EnoceanClears(Enocean):
    def lost(self) -> None:
        self.held.clear()


CONNECT = frame(struct.pack(">iqiqi", 0, 0, 10_000, 0, 16) + bytes(16) + b"\x00")

PAIRS = [
    Pair(
        "relp", 6, RelpHolds, Relp,
        [
            relp(1, b"open", b"relp_version=0\nrelp_software=tests\ncommands=syslog"),
            relp(2, b"syslog", b"<13>Jan  1 00:00:00 host test: one"), relp(3, b"syslog", b"<13>two\nlines"),
            relp(4, b"close"),
        ],
    ),
    Pair(
        "zookeeper", 6, ZookeeperInTurn, Zookeeper,
        [
            CONNECT, frame(struct.pack(">ii", -2, 11)), asked(1, 4, b"/config"), asked(2, 3, b"/"),
            asked(3, 4, b"/none"), asked(4, 3, b"/config/size"), frame(struct.pack(">ii", 5, -11)),
        ],
    ),
    Pair(
        "enocean", 6, EnoceanClears, Enocean,
        [
            telegram(5, b"\x03"), telegram(1, b"\xf6\x50\x00\x2a\xbc\xde\x30", b"\x03\xff\xff\xff\xff\x40\x00"),
            telegram(5, b"\x08"), telegram(5, b"\x02\x00"), telegram(5, b"\x05\x01"),
        ],
    ),
]  # fmt: skip
