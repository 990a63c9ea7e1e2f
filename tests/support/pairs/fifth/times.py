"""Handlers whose deadline begins anew with each byte, that take a packet twice, or that are one off at the largest."""

from __future__ import annotations

import re
from typing import Any

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair


class LCDprocBroken(StreamHandler):
    """A small display (LCDproc): lines of at most 256 bytes, each within ten seconds of its first byte."""

    async def handle(self) -> None:
        while True:
            line = await Exactly(1)
            if line != b"\n":
                line += await self.rest()
            if line == b"hello\n":
                self.send(b"connect LCDproc 0.5.7 protocol 0.3 lcd wid 20 hgt 4\n")
            elif re.fullmatch(rb"(client|screen|widget)_(add|set)( [!-~]{1,40}){1,5}\n", line):
                self.send(b"success\n")
            else:
                self.send(b"huh? Invalid command\n")

    async def rest(self) -> bytes:
        line = bytearray()
        while line[-1:] != b"\n":
            if len(line) == 255:
                raise Malformed
            line += await Exactly(1, timeout=10)
        return bytes(line)


class LCDprocRight(LCDprocBroken):
    async def rest(self) -> bytes:
        return await Until(b"\n", limit=255, timeout=10)


class DBusBroken(StreamHandler):
    """The authentication of D-Bus: a null, then lines. Each line must come within five seconds."""

    name = b""

    def handle(self) -> Any:
        return Exactly(1), self.null

    def null(self, data: bytes) -> Any:
        if data != b"\0":
            raise Malformed
        self.held = b""
        return self.wait()

    def wait(self) -> Any:
        return Some(limit=512, timeout=5), self.came

    def came(self, data: bytes) -> Any:
        *lines, self.held = (self.held + data).split(b"\r\n")
        for line in lines:
            if len(line) > 510:
                raise Malformed
            if not self.answer(line):
                return None
        if len(self.held.removesuffix(b"\r")) > 510:
            raise Malformed
        return self.wait()

    def answer(self, line: bytes) -> bool:
        """False: the conversation is over."""
        if re.fullmatch(rb"AUTH EXTERNAL ([0-9a-f]{2}){1,10}", line):
            self.name = line[14:]
            self.send(b"OK 1234deadbeef\r\n")
        elif line == b"NEGOTIATE_UNIX_FD" and self.name:
            self.send(b"AGREE_UNIX_FD\r\n")
        elif line == b"BEGIN" and self.name:
            self.send(b"hello " + self.name)
            return False
        else:
            self.send(b"REJECTED EXTERNAL\r\n")
        return True


class DBusRight(DBusBroken):
    def wait(self) -> Any:
        return Until(b"\r\n", limit=512, timeout=5), self.came


class BitTorrentBroken(StreamHandler):
    """A peer of BitTorrent: a handshake of 68 bytes within ten seconds, then messages with a size and a kind."""

    async def handle(self) -> None:
        hello = await self.hello()
        if hello[:20] != b"\x13BitTorrent protocol":
            raise Malformed
        self.send(hello[:48] + b"-RE0001-000000000000")
        self.opened()
        while True:
            size = int.from_bytes(await Exactly(4), "big")
            if size > 1000:
                raise Malformed
            message = await Exactly(size, timeout=10)
            if message[:1] == b"\2":  # interested
                self.send(b"\0\0\0\1\1")  # not choked
            elif message[:1] == b"\4" and size == 5:  # have
                self.send(b"\0\0\0\5\4" + message[1:])

    async def hello(self) -> bytes:
        hello = b""
        while len(hello) < 68:
            hello += await Some(68 - len(hello), timeout=10)
        return hello


class BitTorrentRight(BitTorrentBroken):
    async def hello(self) -> bytes:
        return await Exactly(68, timeout=10)


class ConsoleBroken(DatagramHandler):
    """The serial console of a machine (IPMI SOL): a packet of output follows each acknowledgement of the last one."""

    output = b"Linux 6.1 (ttyS0)\n\nlogin: "

    async def handle(self) -> None:
        sent = 0
        while True:
            packet = await Packet()
            if len(packet) != 20 or packet[:8] != b"\x06\0\xff\7SOL\0":
                continue
            if self.is_next(packet[9], sent) and packet[9] < 4:
                sent = packet[9] + 1
                chars = self.output[8 * sent - 8 : 8 * sent].ljust(8, b"\0")
                self.send(b"\x06\0\xff\7SOL\1%c\0\0\0" % sent + chars)

    def is_next(self, acknowledged: int, sent: int) -> bool:
        return True


class ConsoleRight(ConsoleBroken):
    def is_next(self, acknowledged: int, sent: int) -> bool:
        return acknowledged == sent


class L2TPBroken(DatagramHandler):
    """The control connection of a tunnel (L2TP): each Hello is acknowledged; after three silent minutes it is over."""

    timeout = 60

    async def handle(self) -> None:
        missed = 0
        while missed < 3:
            try:
                packet = await Packet()
            except TimedOut:
                missed += 1
                continue
            missed = self.heard(missed)
            if len(packet) != 20 or packet[:4] != b"\xc8\2\0\x14" or packet[12:] != b"\x80\x08\0\0\0\0\0\6":
                continue
            following = (int.from_bytes(packet[8:10], "big") + 1) % 65536
            self.send(b"\xc8\2\0\x0c" + packet[4:8] + packet[10:12] + following.to_bytes(2, "big"))

    def heard(self, missed: int) -> int:
        return missed


class L2TPRight(L2TPBroken):
    def heard(self, missed: int) -> int:
        return 0


class RTCPBroken(DatagramHandler):
    """The members of a conference (RTCP): they report and leave. The answer is how often one may report."""

    def setup(self) -> None:
        self.known: set[bytes] = set()
        self.members = 1  # the conference itself

    def handle(self) -> Any:
        return Packet(), self.report

    def report(self, packet: bytes) -> Any:
        if len(packet) < 12 or packet[0] >> 6 != 2 or packet[1] not in (201, 203):
            return self.handle()
        member = packet[4:8]
        if packet[1] == 203:
            self.leave(member)
        elif member not in self.known and len(self.known) < 50:
            self.known.add(member)
            self.members += 1
        self.send(b"\x80\xcc\0\2" + member + (5000 // self.members).to_bytes(4, "big"))
        return self.handle()

    def leave(self, member: bytes) -> None:
        self.known.discard(member)
        self.members -= 1


class RTCPRight(RTCPBroken):
    def leave(self, member: bytes) -> None:
        if member in self.known:
            self.known.discard(member)
            self.members -= 1


class S7Broken(StreamHandler):
    """Questions to a controller (S7 over TPKT): four bytes, of which two are the size of all. The answer is longer."""

    largest = 0xFFFF

    def handle(self) -> Any:
        return Exactly(4), self.head

    def head(self, head: bytes) -> Any:
        size = int.from_bytes(head[2:], "big")
        if head[:2] != b"\3\0" or not 4 + 10 <= size <= self.largest:
            raise Malformed
        return Exactly(size - 4), self.job

    def job(self, data: bytes) -> Any:
        if data[:5] != b"\2\xf0\x80\x32\1":
            raise Malformed
        answer = b"\2\xf0\x80\x32\3" + data[5:10] + b"\0\0" + data[10:]  # no error
        self.send(b"\3\0" + (len(answer) + 4).to_bytes(2, "big") + answer)
        return self.handle()


class S7Right(S7Broken):
    largest = 0xFFFF - 2


class SLPBroken(DatagramHandler):
    """Questions for a service (SLP): its type has a place of 64 bytes, in which a null ends it."""

    longest = 64

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) < 16 or packet[:2] != b"\2\1":
                continue
            size = int.from_bytes(packet[12:14], "big")
            kind = packet[14 : 14 + size]
            if size > self.longest or len(packet) != 14 + size + 2 or 0 in kind:
                continue
            place = bytearray(64)
            place[:size] = kind
            place[size] = 0
            known = place[: place.index(0)] == b"service:printer"
            self.send(b"\2\2\0\0\x10" + packet[5:12] + b"\0\0\0" + bytes([known]))


class SLPRight(SLPBroken):
    longest = 63


class SSDBBroken(StreamHandler):
    """A store of keys (SSDB): a request is lines with a size, each with a line of that size, and an empty line."""

    largest = 1024
    limit = 1024

    async def handle(self) -> None:
        while True:
            words = [await self.word(await Until(b"\n", limit=8))]
            while (size := await Until(b"\n", limit=8)) != b"\n":
                if len(words) == 5:
                    raise Malformed
                words.append(await self.word(size))
            answer = [b"ok", words[1]] if words[0] == b"get" and len(words) == 2 else [b"client_error"]
            self.send(b"".join(b"%d\n%b\n" % (len(word), word) for word in answer) + b"\n")

    async def word(self, line: bytes) -> bytes:
        if not re.fullmatch(rb"(0|[1-9][0-9]{0,3})\n", line) or int(line) > self.largest:
            raise Malformed
        word = await Exactly(int(line) + 1, limit=self.limit)
        if word[-1:] != b"\n":
            raise Malformed
        return word[:-1]


class SSDBRight(SSDBBroken):
    limit = 1025


def _sol(sequence: int, acknowledged: int) -> bytes:
    return b"\x06\0\xff\7SOL\0%c%c\0\0" % (sequence, acknowledged) + bytes(8)


def _hello(sequence: int) -> bytes:
    return b"\xc8\2\0\x14\0\7\0\0\0%c\0\1\x80\x08\0\0\0\0\0\6" % sequence


def _slp(kind: bytes, number: int) -> bytes:
    return b"\2\1\0\0%c\0\0\0\0\0\0%c\0%c%b\0\0" % (16 + len(kind), number, len(kind), kind)


PAIRS = [
    Pair(
        "lcdproc", 7, LCDprocBroken, LCDprocRight,
        [b"hello\n", b"client_set name clock\n", b"screen_add one\n", b"output on\n"],
    ),
    Pair(
        "dbus", 7, DBusBroken, DBusRight,
        [b"\0", b"AUTH EXTERNAL 31303030\r\n", b"NEGOTIATE_UNIX_FD\r\n", b"BEGIN\r\n"],
    ),
    Pair(
        "bittorrent", 7, BitTorrentBroken, BitTorrentRight,
        [b"\x13BitTorrent protocol" + bytes(8) + b"hp" * 20, b"\0\0\0\1\2", b"\0\0\0\0", b"\0\0\0\5\4\0\0\0\7"],
    ),
    Pair("console", 8, ConsoleBroken, ConsoleRight, [_sol(1, 0), _sol(0, 1), _sol(0, 2), _sol(0, 3)]),
    Pair("l2tp", 8, L2TPBroken, L2TPRight, [_hello(1), _hello(2), _hello(3)]),
    Pair(
        "rtcp", 8, RTCPBroken, RTCPRight,
        [b"\x80\xc9\0\2\0\0\0\1" + bytes(4), b"\x80\xc9\0\2\0\0\0\1" + bytes(4), b"\x81\xcb\0\2\0\0\0\1" + bytes(4)],
    ),
    Pair(
        "s7", 9, S7Broken, S7Right,
        [
            b"\3\0\0\x13\2\xf0\x80\x32\1\0\0\0\1\0\0\0\x02\x04\x01",
            b"\3\0\0\x0e\2\xf0\x80\x32\1\0\0\0\2\0",
            b"\3\0\0\x11\2\xf0\x80\x32\1\0\0\0\3\0\0\xf0\0",
        ],
    ),
    Pair(
        "slp", 9, SLPBroken, SLPRight,
        [_slp(b"service:printer", 1), _slp(b"service:scanner", 2), _slp(b"service:printer", 3)],
    ),
    Pair(
        "ssdb", 9, SSDBBroken, SSDBRight,
        [b"3\nget\n5\ncolor\n\n", b"4\nping\n\n", b"3\nget\n0\n\n\n"],
    ),
]  # fmt: skip
