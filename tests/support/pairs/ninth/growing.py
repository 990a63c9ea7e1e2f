"""Pairs of the ninth set: what grows for as long as a client goes on."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

FUNCTION = re.compile(rb"[!-~]{1,64}")


def job(kind: int, data: bytes = b"", magic: bytes = b"\x00REQ") -> bytes:
    """A packet of Gearman."""
    return magic + struct.pack(">II", kind, len(data)) + data


class Gearman(StreamHandler):
    """A job server of Gearman (its document PROTOCOL): workers say what they can do and ask for jobs; there is none."""

    timeout = 120.0
    request_timeout = 30.0
    most_functions: float = float("inf")

    def setup(self) -> None:
        self.functions: dict[bytes, int] = {}

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(12), self.head

    def head(self, data: bytes) -> Step:
        magic, self.kind, size = struct.unpack(">4sII", data)
        if magic != b"\x00REQ":
            return self.refuse(b"INVALID_MAGIC", b"no request")
        if size > 4096:
            return self.refuse(b"TOO_BIG", b"packet is too long")
        return Exactly(size), self.packet

    def refuse(self, code: bytes, text: bytes) -> Step:
        self.send(job(19, code + b"\x00" + text, b"\x00RES"))
        return None

    def packet(self, data: bytes) -> Step:
        name, nul, seconds = data.partition(b"\x00")
        if self.kind == 16:
            self.send(job(17, data, b"\x00RES"))
        elif self.kind == 1 and not nul and FUNCTION.fullmatch(name):
            return self.can_do(name, 0)
        elif self.kind == 23 and FUNCTION.fullmatch(name) and re.fullmatch(rb"[0-9]{1,6}", seconds):
            return self.can_do(name, int(seconds))
        elif self.kind == 2 and not nul and FUNCTION.fullmatch(name):
            self.functions.pop(name, None)
        elif self.kind == 3 and not data:
            self.functions.clear()
        elif self.kind == 9 and not data:
            self.send(job(10, magic=b"\x00RES"))
        elif self.kind != 4 or data:
            return self.refuse(b"INVALID_PACKET", b"no such packet")
        return self.handle()

    def can_do(self, name: bytes, seconds: int) -> Step:
        if name not in self.functions and len(self.functions) >= self.most_functions:
            return self.refuse(b"TOO_MANY", b"too many functions")
        self.functions[name] = seconds
        return self.handle()


class GearmanRight(Gearman):
    most_functions = 64


def agentx(kind: int, session: int, packet: int, payload: bytes = b"") -> bytes:
    """A message of AgentX, in network byte order."""
    return struct.pack(">BBBBIIII", 1, kind, 0x10, 0, session, 0, packet, len(payload)) + payload


def identifier(*numbers: int) -> bytes:
    """An object identifier below 1.3.6.1 and the first of ``numbers``, as AgentX encodes it."""
    first, *others = numbers
    return struct.pack(">BBBB", len(others), first, 0, 0) + b"".join(number.to_bytes(4, "big") for number in others)


class Agentx(StreamHandler):
    """A master agent (RFC 2741): subagents open sessions, register subtrees, and close their sessions again."""

    timeout = 120.0
    request_timeout = 30.0
    most_sessions, most_subtrees = 8, 16

    def setup(self) -> None:
        self.last = 0
        self.sessions: set[int] = set()
        self.subtrees: dict[int, set[bytes]] = {}

    def oid(self, payload: bytes) -> bytes:
        """The object identifier that ``payload`` begins with, as it is encoded."""
        if len(payload) < 4 or payload[2] or payload[3] or payload[0] > 32 or len(payload) < 4 + 4 * payload[0]:
            raise Malformed("no object identifier")
        return payload[: 4 + 4 * payload[0]]

    def open(self, payload: bytes) -> tuple[int, int]:
        """The number of the new session, and an error."""
        described = payload[4 + len(self.oid(payload[4:])) :]
        size = int.from_bytes(described[:4], "big")
        if len(described) < 4 or any(payload[1:4]) or size > 256 or len(described) != 4 + (size + 3) // 4 * 4:
            raise Malformed("no open message")
        if len(self.sessions) >= self.most_sessions:
            return 0, 256
        self.last = self.last % 0xFFFF_FFFF + 1
        self.sessions.add(self.last)
        self.subtrees[self.last] = set()
        return self.last, 0

    def register(self, session: int, payload: bytes) -> int:
        subtree = self.oid(payload[4:])
        if len(payload) != 4 + len(subtree) or payload[2] or payload[3]:
            raise Malformed("no register message")
        if any(subtree in self.subtrees[other] for other in self.sessions):
            return 263
        if len(self.subtrees[session]) >= self.most_subtrees:
            return 267
        self.subtrees[session].add(subtree)
        return 0

    def closed(self, session: int) -> None:
        self.sessions.discard(session)
        del self.subtrees[session]

    def answer(self, kind: int, session: int, payload: bytes) -> tuple[int, int]:
        """The session and the error that the response has."""
        if kind == 1:
            return self.open(payload)
        if session not in self.sessions:
            return session, 257
        if kind == 2 and len(payload) == 4 and 1 <= payload[0] <= 6 and not any(payload[1:]):
            self.closed(session)
        elif kind == 3:
            return session, self.register(session, payload)
        elif kind != 13 or payload:
            raise Malformed("no such message")
        return session, 0

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            version, kind, flags, zero, session, _, packet, size = struct.unpack(">BBBBIIII", await Exactly(20))
            if version != 1 or flags != 0x10 or zero or size % 4 or size > 1024:
                return
            payload = await Exactly(size)
            try:
                session, error = self.answer(kind, session, payload)
            except Malformed:
                error = 266
            self.send(agentx(18, session, packet, struct.pack(">IHH", 0, error, 0)))
            if error == 266:
                return


class AgentxLeaves(Agentx):
    def closed(self, session: int) -> None:
        self.sessions.discard(session)


class Gena(StreamHandler):
    """The events of a UPnP device (UPnP Device Architecture 1.1, section 4): SUBSCRIBE, the renewal, UNSUBSCRIBE.

    A value may go on in the next line, if that begins with a space or a tab (RFC 2616, section 4.2).
    """

    timeout = 60.0
    request_timeout = 30.0
    reasons = {200: b"OK", 400: b"Bad Request", 404: b"Not Found", 412: b"Precondition Failed", 503: b"Unavailable"}

    def setup(self) -> None:
        self.count = 0
        self.subscribers: set[bytes] = set()

    def answer(self, status: int, more: bytes = b"") -> None:
        self.send(b"HTTP/1.1 %d %b\r\n%bContent-Length: 0\r\n\r\n" % (status, self.reasons[status], more))

    def is_full(self, fields: dict[bytes, bytes], lines: int) -> bool:
        return len(fields) >= 24

    async def fields(self) -> dict[bytes, bytes]:
        """The fields of a head, by their names in lower case."""
        found: dict[bytes, bytes] = {}
        name, lines = b"", 0
        while line := (await Until(b"\r\n", limit=512))[:-2]:
            if self.is_full(found, lines) or not re.fullmatch(rb"[\t -~]+", line):
                raise Malformed("no head")
            lines += 1
            if line[:1] in (b" ", b"\t"):
                if not name:
                    raise Malformed("a line that continues nothing")
                found[name] = (found[name] + b" " + line.strip(b" \t")).strip()
                continue
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or not re.fullmatch(rb"[a-z0-9-]{1,32}", name) or name in found:
                raise Malformed("no field")
            found[name] = value.strip(b" \t")
        return found

    def subscribe(self, fields: dict[bytes, bytes]) -> None:
        time = re.fullmatch(rb"Second-([0-9]{1,6})", fields.get(b"timeout", b"Second-1800"))
        if time is None:
            self.answer(400)
            return
        if b"sid" not in fields:
            called = re.fullmatch(rb"<http://[!-;=?-~]{1,256}>", fields.get(b"callback", b""))
            if not called or fields.get(b"nt") != b"upnp:event":
                self.answer(412)
                return
            if len(self.subscribers) >= 8:
                self.answer(503)
                return
            self.count += 1
            name = b"uuid:5f9ec1b3-ed59-79bb-0000-%012d" % self.count
            self.subscribers.add(name)
        elif b"callback" in fields or b"nt" in fields:
            self.answer(400)
            return
        else:
            name = fields[b"sid"]
            if name not in self.subscribers:
                self.answer(412)
                return
        seconds = min(max(int(time[1]), 60), 1800)
        self.answer(200, b"SID: %b\r\nTIMEOUT: Second-%d\r\n" % (name, seconds))

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            start = re.fullmatch(rb"([A-Z]{1,16}) ([!-~]{1,256}) HTTP/1\.1\r\n", await Until(b"\r\n", limit=512))
            try:
                if start is None:
                    raise Malformed("no request line")
                fields = await self.fields()
                if not fields.get(b"host") or b"content-length" in fields or b"transfer-encoding" in fields:
                    raise Malformed("no host, or content")
            except Malformed:
                self.answer(400)
                return
            if start[2] != b"/event/switch":
                self.answer(404)
            elif start[1] == b"SUBSCRIBE":
                self.subscribe(fields)
            elif start[1] != b"UNSUBSCRIBE" or b"callback" in fields or b"nt" in fields:
                self.answer(400)
            elif fields.get(b"sid") not in self.subscribers:
                self.answer(412)
            else:
                self.subscribers.discard(fields[b"sid"])
                self.answer(200)
            if fields.get(b"connection", b"").lower() == b"close":
                return


class GenaRight(Gena):
    def is_full(self, fields: dict[bytes, bytes], lines: int) -> bool:
        return lines >= 24


def event(method: bytes, *lines: bytes) -> bytes:
    """A request for the events of a switch."""
    return b"\r\n".join((method + b" /event/switch HTTP/1.1", b"HOST: 192.0.2.7:49153", *lines, b"", b""))


PAIRS = [
    Pair(
        "gearman", 2, Gearman, GearmanRight,
        [
            job(16, b"are you there?"), job(1, b"reverse"), job(23, b"resize\x0030"), job(9), job(2, b"resize"), job(4),
            job(9), job(3), job(16, b"\x00"),
        ],
    ),
    Pair(
        "agentx", 2, AgentxLeaves, Agentx,
        [
            agentx(1, 0, 1, bytes(4) + identifier(4, 1, 8072) + b"\x00\x00\x00\x04test"),
            agentx(3, 1, 2, b"\x00\x7f\x00\x00" + identifier(2, 1, 25)), agentx(13, 1, 3),
            agentx(3, 1, 4, b"\x00\x7f\x00\x00" + identifier(2, 1, 25)), agentx(2, 1, 5, b"\x05\x00\x00\x00"),
            agentx(13, 1, 6), agentx(1, 0, 7, bytes(4) + identifier(4, 1, 8072) + bytes(4)),
            agentx(3, 2, 8, b"\x00\x7f\x00\x00" + identifier(2, 1, 25)),
        ],
    ),
    Pair(
        "gena", 2, Gena, GenaRight,
        [
            event(b"SUBSCRIBE", b"CALLBACK: <http://192.0.2.9:80/cb>", b"NT:", b" upnp:event", b"TIMEOUT: Second-300"),
            event(b"SUBSCRIBE", b"SID: uuid:5f9ec1b3-ed59-79bb-0000-000000000001"),
            event(b"SUBSCRIBE", b"NT: upnp:event"),
            event(b"UNSUBSCRIBE", b"SID: uuid:5f9ec1b3-ed59-79bb-0000-000000000001"),
            event(b"UNSUBSCRIBE", b"SID: uuid:5f9ec1b3-ed59-79bb-0000-000000000001", b"Connection: close"),
        ],
    ),
]  # fmt: skip
