"""Pairs of handlers, broken and right: what is never forgotten, and what others feel."""

from __future__ import annotations

import json
import re
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers import Step

LINE = Until(b"\r\n", limit=1024)


# 2: many small pieces, of which nothing is forgotten


class BrokerBroken(StreamHandler):
    """STOMP 1.0: CONNECT, SEND with a receipt, DISCONNECT."""

    async def handle(self) -> None:
        while True:
            command = await Until(b"\n", limit=64)
            headers = await self.headers()
            if headers is None:
                self.send(b"ERROR\nmessage:too many headers\n\n\0")
                return
            await Until(b"\0", limit=4096)
            if command == b"CONNECT\n":
                self.send(b"CONNECTED\nsession:1\n\n\0")
            elif command != b"DISCONNECT\n" and (command != b"SEND\n" or b"destination" not in headers):
                self.send(b"ERROR\nmessage:not here\n\n\0")
                return
            if b"receipt" in headers:
                self.send(b"RECEIPT\nreceipt-id:%b\n\n\0" % headers[b"receipt"])
            if command == b"DISCONNECT\n":
                return

    def header(self, line: bytes, headers: dict[bytes, bytes]) -> None:
        """Keep the header of a line, if it is well formed. Of several with one name the first counts."""
        found = re.fullmatch(rb"([a-z-]{1,32}):([^\0-\x1f]*)\n", line)
        if found:
            headers.setdefault(found[1], found[2])

    async def headers(self) -> dict[bytes, bytes] | None:
        headers: dict[bytes, bytes] = {}
        while (line := await Until(b"\n", limit=256)) != b"\n":
            self.header(line, headers)
        return headers


class BrokerRight(BrokerBroken):
    async def headers(self) -> dict[bytes, bytes] | None:
        headers: dict[bytes, bytes] = {}
        for _ in range(32):
            if (line := await Until(b"\n", limit=256)) == b"\n":
                return headers
            self.header(line, headers)
        return None


class MinerBroken(StreamHandler):
    """Stratum: a miner subscribes, is authorized and submits shares. The server sends new jobs to all its miners."""

    server: Any

    def handle(self) -> Step:
        return Until(b"\n", limit=1024), self.line

    def line(self, line: bytes) -> Step:
        try:
            request = json.loads(line.decode())
            number, method = request["id"], request["method"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        if type(number) is not int or abs(number) > 1 << 31:
            return None
        if method == "mining.subscribe":
            self.server.miners.add(self)
            self.answer(number, [[["mining.notify", "1"]], "08000002", 4])
        elif method == "mining.authorize":
            self.answer(number, True)
        elif method == "mining.submit":
            self.answer(number, self in self.server.miners)
        else:
            return None
        return self.handle()

    def answer(self, number: int, result: object) -> None:
        self.send(json.dumps({"id": number, "result": result, "error": None}).encode() + b"\n")


class MinerRight(MinerBroken):
    def finish(self) -> None:
        self.server.miners.discard(self)


class OptionsBroken(DatagramHandler):
    """SIP over UDP (RFC 3261): OPTIONS. A request that comes again gets the answer that it got before."""

    server: Any

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        if len(packet) > 1300 or not re.fullmatch(rb"OPTIONS sip:[a-z.]+ SIP/2\.0\r\n([!-~][ -~]*\r\n)+\r\n", packet):
            return None
        wanted = rb"\r\n((?i:%b): [ -~]+)(?=\r\n)"
        found = [re.search(wanted % name, packet) for name in (b"via", b"from", b"to", b"call-id", b"cseq")]
        headers = [match[1] for match in found if match]
        branch = re.search(rb";branch=z9hG4bK([0-9A-Za-z.]{1,32})$", headers[0]) if len(headers) == 5 else None
        if branch:
            key = self.peer, branch[1]
            answered = self.server.answered
            if key not in answered:
                self.remember(key, b"SIP/2.0 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n" % b"\r\n".join(headers))
            self.send(answered[key])
        return None

    def remember(self, key: object, answer: bytes) -> None:
        self.server.answered[key] = answer


class OptionsRight(OptionsBroken):
    def remember(self, key: object, answer: bytes) -> None:
        while len(self.server.answered) >= 16:
            del self.server.answered[next(iter(self.server.answered))]
        self.server.answered[key] = answer


def options(branch: bytes, number: int) -> bytes:
    """A request by SIP."""
    return (
        b"OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP a.example;branch=z9hG4bK%b\r\nFrom: <sip:a@a.example>\r\n"
        b"To: <sip:example.com>\r\nCall-ID: %d@a.example\r\nCSeq: %d OPTIONS\r\n\r\n" % (branch, number, number)
    )


# 3: what one client changes and another feels


class WorkerBroken(StreamHandler):
    """Gearman: what a worker says of its abilities, and the job that it gets."""

    abilities: set[bytes] = set()
    kind = 0

    def handle(self) -> Step:
        return Exactly(12), self.header

    def header(self, data: bytes) -> Step:
        magic, self.kind, size = struct.unpack(">4sII", data)
        return (Exactly(size), self.packet) if magic == b"\0REQ" and size <= 256 else None

    def packet(self, data: bytes) -> Step:
        if self.kind == 1 and len(self.abilities) < 16:
            self.abilities.add(data)
        elif self.kind == 2:
            self.abilities.discard(data)
        elif self.kind == 9 and b"reverse" in self.abilities:
            self.answer(11, b"H:1\0reverse\0hello")
        elif self.kind == 9:
            self.answer(10, b"")
        elif self.kind == 16:
            self.answer(17, data)
        else:
            self.answer(19, b"1\0not here")
        return self.handle()

    def answer(self, kind: int, data: bytes) -> None:
        self.send(struct.pack(">4sII", b"\0RES", kind, len(data)) + data)


class WorkerRight(WorkerBroken):
    def setup(self) -> None:
        self.abilities = set()


def asked(kind: int, data: bytes = b"") -> bytes:
    """A packet of Gearman."""
    return struct.pack(">4sII", b"\0REQ", kind, len(data)) + data


chosen = {"mime": False}


class WordsBroken(StreamHandler):
    """DICT (RFC 2229): definitions, with OPTION MIME."""

    words = {b"ping": b"a packet that comes back", b"pong": b"the packet that has come back"}

    def handle(self) -> Step:
        self.send(b"220 dict <mime>\r\n")
        return LINE, self.command

    @property
    def options(self) -> dict[str, bool]:
        return chosen

    def command(self, line: bytes) -> Step:
        verb, *rest = line[:-2].split(b" ")
        if verb == b"QUIT":
            self.send(b"221 bye\r\n")
            return None
        if verb == b"OPTION" and rest == [b"MIME"]:
            self.options["mime"] = True
            self.send(b"250 ok\r\n")
        elif verb == b"DEFINE" and len(rest) == 2 and rest[1] in self.words:
            blank = b"\r\n" if self.options["mime"] else b""
            self.send(
                b'150 1\r\n151 "%b" here "here"\r\n%b%b\r\n.\r\n250 ok\r\n' % (rest[1], blank, self.words[rest[1]])
            )
        else:
            self.send(b"552 no match\r\n" if verb == b"DEFINE" else b"500 not here\r\n")
        return LINE, self.command


class WordsRight(WordsBroken):
    def setup(self) -> None:
        self.own = {"mime": False}

    @property
    def options(self) -> dict[str, bool]:
        return self.own


class ScreenBroken(StreamHandler):
    """RFB 3.8 (RFC 6143): a screen of two pixels."""

    server: Any
    bits = 32

    def formats(self, bits: int) -> None:
        self.server.bits = bits

    def pixel(self) -> int:
        """The bytes of a pixel."""
        return int(self.server.bits) // 8

    async def handle(self) -> None:
        self.send(b"RFB 003.008\n")
        if await Exactly(12) != b"RFB 003.008\n":
            return
        self.send(b"\x01\x01")
        if await Exactly(1) != b"\x01":
            return
        self.send(bytes(4))
        await Exactly(1)
        self.send(struct.pack(">HHBBBBHHHBBB3xI", 2, 1, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0, 2) + b"ab")
        self.opened()
        while True:
            kind = await Exactly(1)
            if kind == b"\0":
                wanted = await Exactly(19)
                if wanted[3] not in (8, 16, 32):
                    return
                self.formats(wanted[3])
            elif kind == b"\x03":
                await Exactly(9)
                self.send(struct.pack(">BxHHHHHi", 0, 1, 0, 0, 2, 1, 0) + bytes(2 * self.pixel()))
            else:
                return


class ScreenRight(ScreenBroken):
    def formats(self, bits: int) -> None:
        self.bits = bits

    def pixel(self) -> int:
        return self.bits // 8


PAIRS = [
    Pair(
        "broker", 2, BrokerBroken, BrokerRight,
        [b"CONNECT\nlogin:ada\n\n\0", b"SEND\ndestination:/a\nreceipt:1\n\nhello\0", b"SEND\ndestination:/b\n\nyou\0",
         b"DISCONNECT\nreceipt:2\n\n\0"],
    ),
    Pair(
        "miner", 2, MinerBroken, MinerRight,
        [b'{"id": 1, "method": "mining.subscribe", "params": []}\n',
         b'{"id": 2, "method": "mining.authorize", "params": ["ada", "x"]}\n',
         b'{"id": 3, "method": "mining.submit", "params": ["ada", "1", "00"]}\n'],
        {"server": SimpleNamespace(miners=set())},
    ),
    Pair(
        "options", 2, OptionsBroken, OptionsRight,
        [options(b"a1", 1), options(b"a2", 2), options(b"a2", 2)],
        {"server": SimpleNamespace(answered={})},
    ),
    Pair("worker", 3, WorkerBroken, WorkerRight, [asked(1, b"reverse"), asked(9), asked(16, b"there?")]),
    Pair(
        "words", 3, WordsBroken, WordsRight,
        [b"OPTION MIME\r\n", b"DEFINE here ping\r\n", b"DEFINE here pang\r\n", b"QUIT\r\n"],
    ),
    Pair(
        "screen", 3, ScreenBroken, ScreenRight,
        [b"RFB 003.008\n", b"\x01", b"\x01", struct.pack(">B3xBBBBHHHBBB3x", 0, 8, 8, 0, 1, 7, 7, 3, 0, 3, 6),
         struct.pack(">BBHHHH", 3, 0, 0, 0, 2, 1)],
        {"server": SimpleNamespace(bits=32)},
    ),
]  # fmt: skip
