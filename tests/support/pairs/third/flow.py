"""Pairs of handlers, broken and right: causes that are swallowed, effects of the same read, and deadlines."""

from __future__ import annotations

import re
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Delay, Exactly, FirstOf, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers import Step

LINE = Until(b"\r\n", limit=1024)


# 5: a cause that is swallowed


def lease(kind: int, number: int) -> bytes:
    """A packet of a client of DHCP."""
    return struct.pack(">BBBBI", 1, 1, 6, 0, number) + bytes(228) + b"\x63\x82\x53\x63" + bytes([53, 1, kind, 255])


class LeaseBroken(DatagramHandler):
    """DHCP (RFC 2131): DISCOVER and OFFER, REQUEST and ACK. An offer that is not taken is made again."""

    @staticmethod
    def key(packet: bytes) -> bytes:
        return packet[4:8]

    def kind(self, packet: bytes) -> int:
        """The kind of a message of a client; 0 for anything else."""
        found = packet[236:242] == b"\x63\x82\x53\x63\x35\x01" and packet[0] == 1
        return packet[242] if found and 244 <= len(packet) <= 576 else 0

    def answer(self, packet: bytes, kind: int) -> None:
        address = b"\x0a\0\0" + packet[7:8]
        options = bytes([53, 1, kind, 54, 4, 10, 0, 0, 1, 255])
        self.send(b"\x02" + packet[1:16] + address + packet[20:236] + b"\x63\x82\x53\x63" + options)

    async def handle(self) -> None:
        first = await Packet()
        if self.kind(first) == 3:
            self.answer(first, 5)
        elif self.kind(first) == 1:
            self.answer(first, 2)
            await self.offered(first)

    async def offered(self, first: bytes) -> None:
        while True:
            try:
                packet = await Packet(timeout=4)
                if self.kind(packet) == 3:
                    self.answer(packet, 5)
                    return
            except Exception:  # noqa: PERF203
                self.answer(first, 2)


class LeaseRight(LeaseBroken):
    async def offered(self, first: bytes) -> None:
        for _ in range(4):
            try:
                packet = await Packet(timeout=4)
                if self.kind(packet) == 3:
                    self.answer(packet, 5)
                    return
            except TimedOut:  # noqa: PERF203
                self.answer(first, 2)


class ScriptsBroken(StreamHandler):
    """ManageSieve (RFC 5804): NOOP, HAVESPACE and LOGOUT."""

    wrong: Any = Exception

    async def handle(self) -> None:
        self.send(b'"SIEVE" "fileinto"\r\nOK\r\n')
        going = True
        while going:
            try:
                words = (await LINE)[:-2].decode("ascii").split(" ")
                self.send(self.answer(*words))
                going = words[0] != "LOGOUT"
            except self.wrong:  # noqa: PERF203
                self.send(b'NO "not understood"\r\n')

    def answer(self, verb: str, *words: str) -> bytes:
        if verb in ("NOOP", "LOGOUT") and not words:
            return b"OK\r\n"
        name, size = words
        if verb != "HAVESPACE" or not re.fullmatch('"[a-z]{1,64}"', name) or not re.fullmatch("[0-9]{1,9}", size):
            raise ValueError(verb)
        return b"OK\r\n" if int(size) <= 10_000 else b"NO (QUOTA/MAXSIZE)\r\n"


class ScriptsRight(ScriptsBroken):
    wrong = ValueError


class TubeBroken(StreamHandler):
    """beanstalkd: put and reserve, in a tube of the connection's own that has eight jobs at most."""

    async def handle(self) -> None:
        jobs: deque[bytes] = deque()
        number = 0
        while True:
            line = await Until(b"\r\n", limit=224)
            found = re.fullmatch(rb"put [0-9]{1,9} [0-9]{1,9} [0-9]{1,9} ([0-9]{1,9})\r\n", line)
            if found and (int(found[1]) > 1024 or len(jobs) == 8):
                self.send(b"JOB_TOO_BIG\r\n" if int(found[1]) > 1024 else b"OUT_OF_MEMORY\r\n")
                return
            if found:
                data = await self.job(int(found[1]))
                if data is None:
                    self.send(b"EXPECTED_CRLF\r\n")
                    continue
                number += 1
                jobs.append(data)
                self.send(b"INSERTED %d\r\n" % number)
            elif line == b"reserve-with-timeout 0\r\n":
                self.send(b"RESERVED 1 %d\r\n%b\r\n" % (len(jobs[0]), jobs.popleft()) if jobs else b"TIMED_OUT\r\n")
            elif line == b"quit\r\n":
                return
            else:
                self.send(b"UNKNOWN_COMMAND\r\n")

    async def job(self, size: int) -> bytes | None:
        try:
            data = await Exactly(size + 2)
        except Exception:
            return None
        return data[:-2] if data[-2:] == b"\r\n" else None


class TubeRight(TubeBroken):
    async def job(self, size: int) -> bytes | None:
        data = await Exactly(size + 2)
        return data[:-2] if data[-2:] == b"\r\n" else None


# 6: effects of the same read


class WardBroken(StreamHandler):
    """HL7 in MLLP: each message gets its acknowledgement."""

    largest = 4096

    def setup(self) -> None:
        self.held = bytearray()

    def handle(self) -> Step:
        return Some(), self.more

    def more(self, data: bytes) -> Step:
        start = max(0, len(self.held) - 1)
        self.held += data
        if len(self.held) > self.largest:
            return self.refuse()
        while (end := self.held.find(b"\x1c\r", start)) >= 0:
            message, start = bytes(self.held[:end]), 0
            del self.held[: end + 2]
            self.acknowledge(message)
        return Some(), self.more

    def refuse(self) -> Step:
        self.send(b"\x0bMSH|^~\\&|||||ACK||P|2.3\rMSA|AR|\r\x1c\r")
        return None

    def acknowledge(self, message: bytes) -> None:
        fields = message.split(b"\r")[0].split(b"|")
        number = fields[9] if len(fields) > 9 and fields[0] == b"\x0bMSH" else b""
        code = b"AA" if re.fullmatch(rb"[0-9A-Za-z.-]{1,20}", number) else b"AR"
        self.send(b"\x0bMSH|^~\\&|||||ACK||P|2.3\rMSA|%b|%b\r\x1c\r" % (code, number if code == b"AA" else b""))


class WardRight(WardBroken):
    def more(self, data: bytes) -> Step:
        start = max(0, len(self.held) - 1)
        self.held += data
        while (end := self.held.find(b"\x1c\r", start)) >= 0:
            if end > self.largest:
                return self.refuse()
            message, start = bytes(self.held[:end]), 0
            del self.held[: end + 2]
            self.acknowledge(message)
        return (Some(), self.more) if len(self.held) <= self.largest + 1 else self.refuse()


def admission(number: bytes) -> bytes:
    """A message of HL7."""
    return b"\x0bMSH|^~\\&|WARD|A|LAB|B|20260101||ADT^A01|%b|P|2.3\rPID|1||42\r\x1c\r" % number


class MetaBroken(StreamHandler):
    """The meta commands of memcached: mn and mg, of values that do not change."""

    values = {b"a": b"1", b"b": b"22"}

    def setup(self) -> None:
        self.held = b""

    def handle(self) -> Step:
        return Some(), self.more

    def more(self, data: bytes) -> Step:
        *lines, self.held = (self.held + data).split(b"\r\n")
        answers: list[bytes] = []
        for line in lines:
            verb, *words = line.split(b" ")
            if len(line) > 512:
                self.send(b"".join(answers))
                return None
            if verb == b"mn":
                answers.append(b"MN\r\n")
            elif verb == b"mg" and words and re.fullmatch(rb"[!-~]{1,250}", words[0]):
                value = self.values.get(words[0])
                answers.append(b"EN\r\n" if value is None else b"VA %d\r\n%b\r\n" % (len(value), value))
            else:
                self.complain(b"CLIENT_ERROR bad command line format\r\n", answers)
        self.send(b"".join(answers))
        return (Some(), self.more) if len(self.held) <= 513 else None

    def complain(self, error: bytes, answers: list[bytes]) -> None:
        self.send(error)


class MetaRight(MetaBroken):
    def complain(self, error: bytes, answers: list[bytes]) -> None:
        answers.append(error)


def sentence(text: bytes) -> bytes:
    """A sentence of NMEA 0183."""
    total = 0
    for byte in text:
        total ^= byte
    return b"$%b*%02X\r\n" % (text, total)


class PositionsBroken(StreamHandler):
    """NMEA 0183 over TCP: a sentence is acknowledged, one with a wrong sum is not."""

    def setup(self) -> None:
        self.held = bytearray()

    def handle(self) -> Step:
        return Some(), self.more

    def more(self, data: bytes) -> Step:
        start = max(0, len(self.held) - 1)
        self.held += data
        while (end := self.held.find(b"\r\n", start)) >= 0:
            line, start = bytes(self.held[: end + 2]), 0
            del self.held[: end + 2]
            if len(line) > 82:
                return None
            if re.fullmatch(rb"\$[A-Z]{5}[ -)+-~]*\*[0-9A-F]{2}\r\n", line) and line == sentence(line[1:-5]):
                self.send(sentence(b"PACK," + line[1:6]))
            else:
                self.send(sentence(b"PNAK"))
                self.recover()
        return (Some(), self.more) if len(self.held) <= 81 else None

    def recover(self) -> None:
        self.held.clear()


class PositionsRight(PositionsBroken):
    def recover(self) -> None:
        """The line is dropped already."""


# 7: a deadline that begins anew with each byte


class SpoolerBroken(StreamHandler):
    """LPD (RFC 1179): the state of queues, short and long, and the word to print what waits."""

    async def handle(self) -> None:
        while True:
            line = await self.line()
            found = re.fullmatch(rb"([\x01\x03\x04])([a-z]{1,32})([ -~]*)\n", line)
            if not found:
                return
            if found[1] == b"\x01":
                self.send(b"\0")
            else:
                self.send(b"%b is ready\n" % found[2] + (b"no entries\n" if found[1] == b"\x04" else b""))

    async def line(self) -> bytes:
        line = b""
        while not line.endswith(b"\n"):
            if len(line) == 128:
                return b""
            line += await Exactly(1, timeout=10)
        return line


class SpoolerRight(SpoolerBroken):
    async def line(self) -> bytes:
        return await Until(b"\n", limit=128, timeout=10)


class TablesBroken(StreamHandler):
    """Cassandra's native protocol, version 4: OPTIONS and STARTUP."""

    timeout = 20.0

    async def handle(self) -> None:
        while True:
            version, flags, stream, kind, size = struct.unpack(">BBHBI", await Exactly(9))
            if version != 4 or flags or size > 4096:
                self.send(struct.pack(">BBHBIIH", 0x84, 0, stream, 0, 6, 10, 0))
                return
            body = await self.body(size)
            if kind == 5 and not body:
                self.send(struct.pack(">BBHBIHH", 0x84, 0, stream, 6, 24, 1, 11) + b"CQL_VERSION\0\1\0\5" + b"3.0.0")
            elif kind == 1:
                self.send(struct.pack(">BBHBI", 0x84, 0, stream, 2, 0))
            else:
                self.send(struct.pack(">BBHBIIH", 0x84, 0, stream, 0, 6, 10, 0))

    async def body(self, size: int) -> bytes:
        body = bytearray()
        while len(body) < size:
            body += await Some(limit=size - len(body))
        return bytes(body)


class TablesRight(TablesBroken):
    async def body(self, size: int) -> bytes:
        return await Exactly(size)


LATE = Delay(10)


class ShellBroken(StreamHandler):
    """SSH (RFC 4253): the identification, then packets before the exchange of keys."""

    sequence = 0

    def setup(self) -> None:
        self.text = b""

    def handle(self) -> Step:
        self.send(b"SSH-2.0-third\r\n")
        return FirstOf(Exactly(1), LATE), self.more

    def more(self, result: Any) -> Step:
        wait, data = result
        if wait is LATE or len(self.text) == 255:
            return None
        self.text += data
        if not self.text.endswith(b"\r\n"):
            return FirstOf(Exactly(1), LATE), self.more
        return self.identified(self.text)

    def identified(self, line: bytes) -> Step:
        if not re.fullmatch(rb"SSH-2\.0-[!-~]+( [ -~]+)?\r\n", line):
            return None
        self.opened()
        return self.next()

    def next(self) -> Step:
        return Exactly(4), self.size

    def size(self, data: bytes) -> Step:
        size = int.from_bytes(data, "big")
        return (Exactly(size), self.packet) if 12 <= size <= 2048 and size % 8 == 4 else None

    def packet(self, data: bytes) -> Step:
        if not 4 <= data[0] <= len(data) - 2 or data[1] == 1:
            return None
        if data[1] != 2:
            self.send(struct.pack(">IBBI6x", 12, 6, 3, self.sequence))
        self.sequence = (self.sequence + 1) & 0xFFFF_FFFF
        return self.next()


class ShellRight(ShellBroken):
    def handle(self) -> Step:
        self.send(b"SSH-2.0-third\r\n")
        return FirstOf(Until(b"\r\n", limit=255), LATE), self.more

    def more(self, result: Any) -> Step:
        wait, data = result
        return None if wait is LATE else self.identified(data)


def secure(payload: bytes) -> bytes:
    """A packet of SSH without a cipher."""
    padding = 4 + -(len(payload) + 9) % 8
    return struct.pack(">IB", len(payload) + padding + 1, padding) + payload + bytes(padding)


PAIRS = [
    Pair("lease", 5, LeaseBroken, LeaseRight, [lease(1, 1), lease(3, 1), lease(1, 2), lease(3, 2)]),
    Pair(
        "scripts", 5, ScriptsBroken, ScriptsRight,
        [b"NOOP\r\n", b'HAVESPACE "a" 100\r\n', b'HAVESPACE "a" 100000\r\n', b"LOGOUT\r\n"],
    ),
    Pair(
        "tube", 5, TubeBroken, TubeRight,
        [b"put 1 0 60 5\r\nhello\r\n", b"reserve-with-timeout 0\r\n", b"reserve-with-timeout 0\r\n", b"quit\r\n"],
    ),
    Pair("ward", 6, WardBroken, WardRight, [admission(b"A1"), admission(b"A2"), admission(b"A3")]),
    Pair("meta", 6, MetaBroken, MetaRight, [b"mg a v\r\n", b"mg c v\r\n", b"mn\r\n"]),
    Pair(
        "positions", 6, PositionsBroken, PositionsRight,
        [sentence(b"GPGLL,4916.45,N,12311.12,W"), sentence(b"GPZDA,1,2"), sentence(b"GPGSV,1")],
    ),
    Pair("spooler", 7, SpoolerBroken, SpoolerRight, [b"\x03lp\n", b"\x04lp ada\n", b"\x01lp\n"]),
    Pair(
        "tables", 7, TablesBroken, TablesRight,
        [struct.pack(">BBHBI", 4, 0, 1, 5, 0),
         struct.pack(">BBHBI", 4, 0, 2, 1, 22) + b"\0\1\0\x0bCQL_VERSION\0\x053.0.0",
         struct.pack(">BBHBI", 4, 0, 3, 7, 3) + b"abc"],
    ),
    Pair(
        "shell", 7, ShellBroken, ShellRight,
        [b"SSH-2.0-ada 1\r\n", secure(b"\x02ignored"), secure(b"\x14" + bytes(20)), secure(b"\x01" + bytes(12))],
    ),
]  # fmt: skip
