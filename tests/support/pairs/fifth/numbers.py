"""Handlers that take a number that is none, that keep more and more, or that share what is one client's."""

from __future__ import annotations

import os
import re
import struct
from types import SimpleNamespace
from typing import Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair


class GitBroken(StreamHandler):
    """Lines as Git has them (pkt-line): four hexadecimal digits, which count themselves, and the line."""

    def setup(self) -> None:
        self.wants = 0

    def handle(self) -> Any:
        return Exactly(4), self.size

    def size(self, digits: bytes) -> Any:
        size = self.number(digits)
        if size == 0:  # a flush
            self.send(b"0008NAK\n")
            self.wants = 0
            return self.handle()
        if not 4 < size <= 1000:
            raise Malformed
        return Exactly(size - 4), self.line

    def number(self, digits: bytes) -> int:
        try:
            return int(digits, 16)
        except ValueError:
            raise Malformed from None

    def line(self, line: bytes) -> Any:
        if not re.fullmatch(rb"want [0-9a-f]{40}\n", line):
            raise Malformed
        self.wants += 1
        self.send(b"000dACK %04d\n" % (self.wants % 10_000))
        return self.handle()


class GitRight(GitBroken):
    def number(self, digits: bytes) -> int:
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
            raise Malformed
        return int(digits, 16)


class OpenTSDBBroken(StreamHandler):
    """Lines of OpenTSDB: ``put METRIC SECONDS VALUE``, which has no answer, and ``max``."""

    async def handle(self) -> None:
        highest: float | None = None
        while True:
            words = (await Until(b"\n", limit=1024))[:-1].split(b" ")
            if words[0] == b"put" and len(words) == 4:
                try:
                    value = self.number(words[3])
                except ValueError:
                    self.send(b"put: illegal argument: invalid value\n")
                    continue
                highest = value if highest is None or value > highest else highest
            elif words == [b"max"]:
                self.send(b"none\n" if highest is None else f"{highest:.3f}\n".encode())
            else:
                self.send(b"unknown command\n")

    def number(self, word: bytes) -> float:
        return float(word)


class OpenTSDBRight(OpenTSDBBroken):
    def number(self, word: bytes) -> float:
        if not re.fullmatch(rb"-?[0-9]{1,15}(\.[0-9]{1,15})?", word):
            raise ValueError(word)
        return float(word)


class GangliaBroken(DatagramHandler):
    """Metrics of Ganglia: a type and strings of XDR. The answer is the number of strings."""

    size = struct.Struct(">i")

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if packet[:4] != b"\0\0\0\x80":
                continue
            count = self.count(packet)
            if count is not None:
                self.send(b"\0\1" + count.to_bytes(2, "big"))

    def count(self, packet: bytes) -> int | None:
        place, count = 4, 0
        while place < len(packet):
            if place + 4 > len(packet):
                return None
            (size,) = self.size.unpack_from(packet, place)
            place += 4
            if place + size > len(packet):
                return None
            place += size + -size % 4
            count += 1
        return count


class GangliaRight(GangliaBroken):
    size = struct.Struct(">I")


class PolicyBroken(StreamHandler):
    """Postfix asks a policy server: lines ``name=value``, then an empty line. The answer is an action."""

    most = 1 << 60

    def setup(self) -> None:
        self.attributes: dict[bytes, bytes] = {}

    def handle(self) -> Any:
        return Until(b"\n", limit=256), self.first

    def first(self, line: bytes) -> Any:
        return self.line(line)

    def line(self, line: bytes) -> Any:
        if line == b"\n":
            asked = self.attributes.get(b"request") == b"smtpd_access_policy"
            refused = self.attributes.get(b"sender", b"").endswith(b"@spam.example")
            if not asked:
                raise Malformed
            self.attributes = {}
            self.send(b"action=reject\n\n" if refused else b"action=dunno\n\n")
            return self.handle()
        name, equals, value = line[:-1].partition(b"=")
        if not equals or len(self.attributes) >= self.most:
            raise Malformed
        self.attributes[name] = value
        return Until(b"\n", limit=256), self.line


class PolicyRight(PolicyBroken):
    most = 50


class DistccBroken(StreamHandler):
    """A compiler for others (distcc): each job is ``DIST``, ``DOTI`` with a size, and the source, which is spooled."""

    async def handle(self) -> None:
        while True:
            if await Exactly(12) != b"DIST00000001":
                raise Malformed
            head = await Exactly(12)
            if not re.fullmatch(rb"DOTI[0-9a-f]{8}", head):
                raise Malformed
            size = int(head[4:], 16)
            if size > 1 << 20:
                raise Malformed
            await self.compile(size)
            self.send(b"DONE00000001STAT00000000")

    async def compile(self, size: int) -> None:
        spool = os.open(os.devnull, os.O_WRONLY)
        await self.copy(size, spool)
        os.close(spool)

    async def copy(self, size: int, spool: int) -> None:
        while size:
            piece = await Exactly(min(size, 4096))
            os.write(spool, piece)
            size -= len(piece)


class DistccRight(DistccBroken):
    async def compile(self, size: int) -> None:
        spool = os.open(os.devnull, os.O_WRONLY)
        try:
            await self.copy(size, spool)
        finally:
            os.close(spool)


class PFCPBroken(DatagramHandler):
    """Sessions of a user plane (PFCP): a request with the other side's number is answered with a cause."""

    accepted, no_resources, not_found = 1, 75, 65
    most = 1 << 60

    def setup(self) -> None:
        self.sessions: dict[bytes, bytes] = {}

    def handle(self) -> Any:
        return Packet(), self.request

    def request(self, packet: bytes) -> Any:
        if len(packet) < 24 or packet[0] != 0x21 or int.from_bytes(packet[2:4], "big") != len(packet) - 4:
            return self.handle()
        kind, number = packet[1], packet[4:12]
        if kind == 50:
            self.answer(packet, self.establish(number, packet[16:24]))
        elif kind == 54:
            self.answer(packet, self.not_found if self.sessions.pop(number, None) is None else self.accepted)
        return self.handle()

    def establish(self, number: bytes, address: bytes) -> int:
        if number not in self.sessions and len(self.sessions) >= self.most:
            return self.no_resources
        self.sessions[number] = address
        return self.accepted

    def answer(self, packet: bytes, cause: int) -> None:
        self.send(b"\x21%c\0\x11%b\0\0\x13\0\x01%c" % (packet[1] + 1, packet[4:15], cause))


class PFCPRight(PFCPBroken):
    most = 100


class DBGpBroken(StreamHandler):
    """The engine of a debugger (DBGp): ``feature_set`` and ``feature_get``. Each command ends with a null."""

    features = {b"max_depth": b"1", b"max_children": b"32"}
    command = re.compile(rb"(feature_set|feature_get) -i ([0-9]{1,6}) -n ([a-z_]{1,20})(?: -v ([0-9]{1,5}))?\0")

    def handle(self) -> Any:
        return Until(b"\0", limit=128), self.line

    def line(self, line: bytes) -> Any:
        found = self.command.fullmatch(line)
        if found is None:
            raise Malformed
        name, number, feature, value = found.groups()
        if feature not in self.features or (name == b"feature_set") != (value is not None):
            answer = b"<response transaction_id='%b'><error code='3'/></response>" % number
        elif value is not None:
            self.features[feature] = value
            answer = b"<response transaction_id='%b' success='1'/>" % number
        else:
            answer = b"<response transaction_id='%b'>%b</response>" % (number, self.features[feature])
        self.send(b"%d\0%b\0" % (len(answer), answer))
        return self.handle()


class DBGpRight(DBGpBroken):
    def setup(self) -> None:
        self.features = {b"max_depth": b"1", b"max_children": b"32"}


class SoupBinBroken(StreamHandler):
    """A feed over SoupBinTCP: a login is told the next number; each message of the client comes back, numbered."""

    number = 1

    def count(self) -> None:
        type(self).number += 1

    async def handle(self) -> None:
        kind, message = await self.packet()
        if kind != b"L":
            raise Malformed
        self.opened()
        self.send(b"\0\x1fASESSION001%20d" % self.number)
        while True:
            kind, message = await self.packet()
            if kind == b"O":
                return
            if kind == b"U":
                self.send((len(message) + 1).to_bytes(2, "big") + b"S" + message)
                self.count()

    async def packet(self) -> tuple[bytes, bytes]:
        size = int.from_bytes(await Exactly(2), "big")
        if not 0 < size <= 1000:
            raise Malformed
        packet = await Exactly(size)
        if packet[:1] not in (b"L", b"U", b"R", b"O"):
            raise Malformed
        return packet[:1], packet[1:]


class SoupBinRight(SoupBinBroken):
    number = 1

    def count(self) -> None:
        self.number += 1


class TeamSpeakBroken(StreamHandler):
    """Questions to a TeamSpeak server: ``use sid=N`` selects a virtual server, ``whoami`` tells which it is."""

    server: Any

    def handle(self) -> Any:
        return Until(b"\n", limit=200), self.line

    def line(self, line: bytes) -> Any:
        if line == b"quit\n":
            self.send(b"error id=0 msg=ok\n\r")
            return None
        found = re.fullmatch(rb"use sid=([0-9]{1,4})\n", line)
        if found and int(found[1]) in self.server.names:
            self.select(int(found[1]))
            self.send(b"error id=0 msg=ok\n\r")
        elif line == b"whoami\n":
            self.send(b"virtualserver_name=%b\n\rerror id=0 msg=ok\n\r" % self.server.names[self.selected()])
        else:
            self.send(
                b"error id=1024 msg=invalid\\sserverID\n\r" if found else b"error id=256 msg=command\\snot\\sfound\n\r"
            )
        return self.handle()

    def select(self, number: int) -> None:
        self.server.chosen = number

    def selected(self) -> int:
        return int(self.server.chosen)


class TeamSpeakRight(TeamSpeakBroken):
    chosen = 0

    def select(self, number: int) -> None:
        self.chosen = number

    def selected(self) -> int:
        return self.chosen


def _pfcp(kind: int, number: int) -> bytes:
    return b"\x21%c\0\x14%b\0\0\1\0\0\x3c\0\4\x0a\0\0\7" % (kind, number.to_bytes(8, "big"))


_VIRTUAL = {0: b"none", 1: b"Lobby", 2: b"Match"}
_WANT = b"0032want 7217a7c7e582c46cec22a130adf4b9d7d950fba0\n"

PAIRS = [
    Pair("git", 1, GitBroken, GitRight, [_WANT, _WANT, b"0000", _WANT, b"0000"]),
    Pair(
        "opentsdb", 1, OpenTSDBBroken, OpenTSDBRight,
        [b"put sys.load 1700000000 0.75\n", b"max\n", b"put sys.load 170000060 12\n", b"put a 1 -3.5\n", b"max\n"],
    ),
    Pair(
        "ganglia", 1, GangliaBroken, GangliaRight,
        [b"\0\0\0\x80\0\0\0\4host\0\0\0\5load1\0\0\0", b"\0\0\0\x80\0\0\0\4host", b"\0\0\0\x80\0\0\0\1h\0\0\0\0\0\0\0"],
    ),
    Pair(
        "policy", 2, PolicyBroken, PolicyRight,
        [
            b"request=smtpd_access_policy\nsender=ada@good.example\nsize=12345\n\n",
            b"request=smtpd_access_policy\nsender=eve@spam.example\n\n",
            b"request=smtpd_access_policy\nhelo_name=mx.good.example\n\n",
        ],
    ),
    Pair(
        "distcc", 2, DistccBroken, DistccRight,
        [b"DIST00000001", b"DOTI0000000cint main();\n", b"DIST00000001", b"DOTI00000000", b"DIST00000001DOTI00000001;"],
    ),
    Pair("pfcp", 2, PFCPBroken, PFCPRight, [_pfcp(50, 7), _pfcp(50, 9), _pfcp(54, 7), _pfcp(54, 7)]),
    Pair(
        "dbgp", 3, DBGpBroken, DBGpRight,
        [
            b"feature_set -i 1 -n max_depth -v 3\0",
            b"feature_get -i 2 -n max_depth\0",
            b"feature_set -i 3 -n max_children -v 9\0",
            b"feature_get -i 4 -n max_children\0",
        ],
    ),
    Pair(
        "soupbin", 3, SoupBinBroken, SoupBinRight,
        [b"\0\x05Luser", b"\0\x06Ubuy 1", b"\0\x01R", b"\0\x07Usell 1", b"\0\x01O"],
    ),
    Pair(
        "teamspeak", 3, TeamSpeakBroken, TeamSpeakRight,
        [b"use sid=1\n", b"whoami\n", b"use sid=2\n", b"whoami\n", b"quit\n"],
        {"server": SimpleNamespace(names=_VIRTUAL, chosen=0)},
    ),
]  # fmt: skip
