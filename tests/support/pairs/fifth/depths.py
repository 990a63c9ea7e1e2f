"""Handlers that recurse as deep as the message, that swallow a cause, or that care how much came in one read."""

from __future__ import annotations

import re
from typing import Any

from handlers import DatagramHandler, Exactly, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair


class SNMPBroken(DatagramHandler):
    """Questions of SNMP: BER, whose constructed values have values in them. The answer is their number."""

    deepest = 1 << 60

    def handle(self) -> Any:
        return Packet(), self.request

    def request(self, packet: bytes) -> Any:
        if len(packet) < 5 or packet[0] != 0x30:
            return self.handle()
        try:
            values = self.values(packet, 0)
        except Malformed:
            return self.handle()
        self.send(b"\xa2\2" + values.to_bytes(2, "big"))
        return self.handle()

    def values(self, data: bytes, depth: int) -> int:
        """How many values there are."""
        if depth > self.deepest:
            raise Malformed
        place = count = 0
        while place < len(data):
            if place + 2 > len(data):
                raise Malformed
            tag, size = data[place], data[place + 1]
            place += 2
            if size == 0x82:
                size = int.from_bytes(data[place : place + 2], "big")
                place += 2
            elif size > 127:
                raise Malformed
            if place + size > len(data):
                raise Malformed
            count += 1 + (self.values(data[place : place + size], depth + 1) if tag & 0x20 else 0)
            place += size
        return count


class SNMPRight(SNMPBroken):
    deepest = 8


class SubversionBroken(StreamHandler):
    """Commands of Subversion: words, numbers and lists, each followed by a space. The answer counts the words."""

    deepest = 1 << 60

    async def handle(self) -> None:
        while True:
            self.items = 0
            await self.item(await Until(b" ", limit=64), 0)
            self.send(b"( success ( %d ) ) " % self.items)

    async def item(self, token: bytes, depth: int) -> None:
        self.items += 1
        if self.items > 5000 or depth > self.deepest:
            raise Malformed
        if token == b"( ":
            while (inner := await Until(b" ", limit=64)) != b") ":
                await self.item(inner, depth + 1)
        elif not re.fullmatch(rb"[a-z0-9-]+ ", token):
            raise Malformed


class SubversionRight(SubversionBroken):
    deepest = 16


class ErlangBroken(StreamHandler):
    """Messages between nodes of Erlang: a size, 131 and a term. The answer is the number of terms in it."""

    deepest = 1 << 60

    def handle(self) -> Any:
        return Exactly(4), self.size

    def size(self, data: bytes) -> Any:
        size = int.from_bytes(data, "big")
        if size == 0:  # a tick
            self.send(bytes(4))
            return self.handle()
        if size > 60_000:
            raise Malformed
        return Exactly(size), self.message

    def message(self, data: bytes) -> Any:
        self.terms = 0
        if data[0] != 131 or self.term(data, 1, 0) != len(data):
            raise Malformed
        self.send(b"\0\0\0\3" + self.terms.to_bytes(3, "big"))
        return self.handle()

    def term(self, data: bytes, place: int, depth: int) -> int:
        """Where the term ends that begins at ``place``."""
        if place + 2 > len(data) or depth > self.deepest:
            raise Malformed
        kind, size = data[place], data[place + 1]
        self.terms += 1
        place += 2
        if kind == 119:  # a short atom
            return place + size
        if kind == 104:  # a tuple
            for _ in range(size):
                place = self.term(data, place, depth + 1)
        elif kind != 97:  # a small number
            raise Malformed
        return place


class ErlangRight(ErlangBroken):
    deepest = 20


class EPPBroken(StreamHandler):
    """A registry of names (EPP): frames of a size, which counts itself, and XML. The answer is a result code."""

    async def handle(self) -> None:
        while True:
            try:
                code = self.code(await self.frame())
            except Exception:
                code = 2001
            result = b"<epp><result code='%d'/></epp>" % code
            self.send((len(result) + 4).to_bytes(4, "big") + result)

    async def frame(self) -> bytes:
        size = int.from_bytes(await Exactly(4), "big")
        if size < 4:
            raise Malformed
        return await Exactly(size - 4, limit=8192)

    def code(self, frame: bytes) -> int:
        found = re.fullmatch(r"<epp><(hello|check|info)>([a-z0-9.-]{0,64})</\1></epp>", frame.decode("ascii"))
        if found is None:
            raise ValueError("no command")
        return 1000 if found[2] else 2003


class EPPRight(EPPBroken):
    async def handle(self) -> None:
        while True:
            frame = await self.frame()
            try:
                code = self.code(frame)
            except ValueError:
                code = 2001
            result = b"<epp><result code='%d'/></epp>" % code
            self.send((len(result) + 4).to_bytes(4, "big") + result)


class BFDBroken(DatagramHandler):
    """The liveliness of a path (BFD): each poll is answered with our state. A silent peer is forgotten."""

    timeout = 3

    async def handle(self) -> None:
        state = 1
        while state:
            state = await self.turn(state)

    async def turn(self, state: int) -> int:
        """The next state; 0: the conversation is over."""
        try:
            packet = await Packet()
            state = self.next(state, packet)
            self.answer(state, packet)
        except Exception:
            pass
        return state

    def next(self, state: int, packet: bytes) -> int:
        if len(packet) != 24 or packet[0] >> 5 != 1 or packet[3] != 24 or packet[4:8] == bytes(4):
            raise ValueError("no packet of BFD")
        theirs = packet[1] >> 6
        if theirs == 0 or state == 1:
            return {0: 1, 1: 2, 2: 3, 3: 1}[theirs]
        return 3 if theirs >= 2 else state

    def answer(self, state: int, packet: bytes) -> None:
        if packet[1] & 0x20:  # a poll; the answer is final
            self.send(b"\x20%c\3\x18" % (state << 6 | 0x10) + packet[8:12] + packet[4:8] + packet[12:24])


class BFDRight(BFDBroken):
    async def turn(self, state: int) -> int:
        try:
            packet = await Packet()
            state = self.next(state, packet)
            self.answer(state, packet)
        except TimedOut:
            return 0
        except ValueError:
            pass
        return state


class JDWPBroken(StreamHandler):
    """The debugger of a Java machine (JDWP): a handshake, then commands with a size, a number and a command."""

    async def handle(self) -> None:
        if await Exactly(14) != b"JDWP-Handshake":
            raise Malformed
        self.send(b"JDWP-Handshake")
        self.opened()
        while True:
            head = await Exactly(11)
            size = int.from_bytes(head[:4], "big")
            if size < 11 or head[8]:
                raise Malformed
            self.answer(head[4:8], *await self.outcome(head[9:11], size - 11))

    async def outcome(self, command: bytes, size: int) -> tuple[int, bytes]:
        try:
            return 0, self.run(command, await Exactly(size, limit=4096, timeout=5))
        except Exception:
            return 113, b""

    def run(self, command: bytes, data: bytes) -> bytes:
        if command == b"\1\x01":
            return b"\0\0\0\3jvm"
        if command == b"\1\x0b":  # a string is made, and has the number of its characters
            return len(data[4:].decode("utf-8")).to_bytes(8, "big")
        raise LookupError(command)

    def answer(self, number: bytes, error: int, data: bytes) -> None:
        self.send((11 + len(data)).to_bytes(4, "big") + number + b"\x80" + error.to_bytes(2, "big") + data)


class JDWPRight(JDWPBroken):
    async def outcome(self, command: bytes, size: int) -> tuple[int, bytes]:
        data = await Exactly(size, limit=4096, timeout=5)
        try:
            return 0, self.run(command, data)
        except (LookupError, ValueError):
            return 113, b""


class SonicBroken(StreamHandler):
    """A search index (Sonic): lines of at most 1024 bytes, of which one read may bring several."""

    def setup(self) -> None:
        self.held = b""
        self.pushed = 0

    def handle(self) -> Any:
        return Some(), self.first

    def first(self, data: bytes) -> Any:
        return self.came(data)

    def came(self, data: bytes) -> Any:
        self.held += data
        if len(self.held) > 1024:
            return self.refuse()
        *lines, self.held = self.held.split(b"\r\n")
        for line in lines:
            self.line(line)
        return (Some(), self.came) if self.held else self.handle()

    def line(self, line: bytes) -> None:
        if line.startswith(b"PUSH "):
            self.pushed += 1
            self.send(b"OK\r\n")
        elif line == b"COUNT":
            self.send(b"RESULT %d\r\n" % self.pushed)
        else:
            self.send(b"ERR unknown_command\r\n")

    def refuse(self) -> Any:
        self.send(b"ENDED buffer_overflow\r\n")
        return None


class SonicRight(SonicBroken):
    def came(self, data: bytes) -> Any:
        self.held += data
        *lines, self.held = self.held.split(b"\r\n")
        for line in lines:
            if len(line) > 1022:
                return self.refuse()
            self.line(line)
        if len(self.held.removesuffix(b"\r")) > 1022:
            return self.refuse()
        return (Some(), self.came) if self.held else self.handle()


class RiakBroken(StreamHandler):
    """A store of keys (Riak): frames of a size, a code and a key. All frames of a read are answered in one write."""

    def setup(self) -> None:
        self.held = b""

    def handle(self) -> Any:
        return Some(), self.first

    def first(self, data: bytes) -> Any:
        return self.came(data)

    def came(self, data: bytes) -> Any:
        self.held += data
        answers: list[bytes] = []
        place = 0
        while len(self.held) >= place + 4:
            size = int.from_bytes(self.held[place : place + 4], "big")
            if not 0 < size <= 1000:
                self.send(b"".join(answers))
                raise Malformed
            if len(self.held) < place + 4 + size:
                break
            code, key = self.held[place + 4], self.held[place + 5 : place + 4 + size]
            place += 4 + size
            if code == 1:
                answers.append(b"\0\0\0\1\2")
            elif code == 9:
                answers.append((1 + len(key)).to_bytes(4, "big") + b"\x0a" + key)
            else:
                self.unknown(answers, b"\0\0\0\6\0no %02x" % code)
        self.send(b"".join(answers))
        self.held = self.held[place:]
        return (Some(), self.came) if self.held else self.handle()

    def unknown(self, answers: list[bytes], error: bytes) -> None:
        self.send(error)


class RiakRight(RiakBroken):
    def unknown(self, answers: list[bytes], error: bytes) -> None:
        answers.append(error)


class NMEABroken(StreamHandler):
    """Sentences of a receiver (NMEA 0183): ``$``, words, ``*`` and a sum. Each is confirmed, or said to be wrong."""

    def handle(self) -> Any:
        return Until(b"\r\n", limit=82), self.sentence

    def sentence(self, line: bytes) -> Any:
        found = re.fullmatch(rb"\$([A-Z]{5},[ -)+-~]*)\*([0-9A-F]{2})\r\n", line)
        if found is None or int(found[2], 16) != self.sum(found[1]):
            self.wrong()
        else:
            self.say(b"PMTKA," + found[1][:5])
        return self.handle()

    def wrong(self) -> None:
        self.take_held()  # to begin anew with the next sentence
        self.say(b"PMTKE,1")

    def say(self, words: bytes) -> None:
        self.send(b"$%b*%02X\r\n" % (words, self.sum(words)))

    def sum(self, words: bytes) -> int:
        total = 0
        for byte in words:
            total ^= byte
        return total


class NMEARight(NMEABroken):
    def wrong(self) -> None:
        self.say(b"PMTKE,1")


_EPP = [b"<epp><hello></hello></epp>", b"<epp><check>a.example</check></epp>", b"<epp><info>b.example</info></epp>"]

PAIRS = [
    Pair(
        "snmp", 4, SNMPBroken, SNMPRight,
        [b"\x30\3\2\1\1", b"\x30\x0a\2\1\1\4\5\xa0\xa0\xa0\xa0\xa0", b"\x30\x08\xa0\6\2\1\7\2\1\0"],
    ),
    Pair(
        "subversion", 4, SubversionBroken, SubversionRight,
        [b"( 2 ( edit-pipeline svndiff1 ) ) ", b"( get-latest-rev ( ) ) ", b"( get-dir ( trunk 7 ( kind size ) ) ) "],
    ),
    Pair(
        "erlang", 4, ErlangBroken, ErlangRight,
        [b"\0\0\0\x0b\x83h\2w\4pinga\1", bytes(4), b"\0\0\0\7\x83h\2a\1a\2", b"\0\0\0\x09\x83h\2h\1a\7a\2"],
    ),
    Pair("epp", 5, EPPBroken, EPPRight, [(len(xml) + 4).to_bytes(4, "big") + xml for xml in _EPP]),
    Pair(
        "bfd", 5, BFDBroken, BFDRight,
        [b"\x20%c\3\x18\0\0\0\7" % (state << 6 | 0x20) + b"\0\0\0\0" + b"\0\x0f\x42\x40" * 3 for state in (1, 2, 3, 3)],
    ),
    Pair(
        "jdwp", 5, JDWPBroken, JDWPRight,
        [
            b"JDWP-Handshake",
            b"\0\0\0\x0b\0\0\0\1\0\1\x01",
            b"\0\0\0\x14\0\0\0\2\0\1\x0b\0\0\0\5hello",
            b"\0\0\0\x0b\0\0\0\3\0\1\x02",
        ],
    ),
    Pair(
        "sonic", 6, SonicBroken, SonicRight,
        [b"PUSH messages ada 1 hello\r\n", b"COUNT\r\n", b"PUSH messages ada 2 world\r\n", b"COUNT\r\n"],
    ),
    Pair("riak", 6, RiakBroken, RiakRight, [b"\0\0\0\1\1", b"\0\0\0\4\x09key", b"\0\0\0\2\x63x", b"\0\0\0\1\1"]),
    Pair(
        "nmea", 6, NMEABroken, NMEARight,
        [b"$GPGLL,4916.45,N,12311.12,W,225444,A*31\r\n", b"$GPZDA,201530.00,04,07,2002*60\r\n", b"$GPTXT,01*75\r\n"],
    ),
]  # fmt: skip
