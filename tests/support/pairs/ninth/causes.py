"""Pairs of the ninth set: causes that are taken for others, or for none."""

from __future__ import annotations

import re
import struct

from handlers import Cause, DatagramHandler, EndOfStream, Exactly, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Malformed, Pair


class Rcp(StreamHandler):
    """The side of rcp(1) that takes files (``rcp -t``): a line with mode, size and name, then the content and a NUL."""

    timeout = 30.0
    request_timeout = 60.0
    line = re.compile(rb"C0[0-7]{3} (0|[1-9][0-9]{0,9}) ([!-.0-~](?:[ -.0-~]{0,126}[!-.0-~])?)")

    def setup(self) -> None:
        self.files: dict[bytes, int] = {}

    async def content(self, size: int) -> bytes:
        data = await Exactly(size + 1)
        if data[size]:
            raise Malformed("the content is not whole")
        return data[:size]

    async def handle(self) -> None:
        self.send(b"\x00")
        while True:
            self.one_by_one += 1
            said = (await Until(b"\n", limit=256))[:-1]
            if said[:1] == b"\x01":
                continue
            if said[:1] == b"\x02":
                return
            line = self.line.fullmatch(said)
            if line is None or line[2] in (b".", b".."):
                self.send(b"\x01rcp: protocol error: expected control record\n")
                return
            size, name = int(line[1]), line[2]
            if size > 65_536 or (name not in self.files and len(self.files) >= 64):
                self.send(b"\x01rcp: no space left on device\n")
                return
            self.send(b"\x00")
            self.files[name] = len(await self.content(size))
            self.send(b"\x00")


class RcpTakesAll(Rcp):
    async def content(self, size: int) -> bytes:
        try:
            return await super().content(size)
        except EndOfStream as end:
            return end.partial[:size]


def pcep(kind: int, *objects: bytes) -> bytes:
    """A message of PCEP."""
    body = b"".join(objects)
    return struct.pack(">BBH", 0x20, kind, 4 + len(body)) + body


def part(kind: int, body: bytes, flags: int = 0x10) -> bytes:
    """An object of PCEP."""
    return struct.pack(">BBH", kind, flags, 4 + len(body)) + body


class Pcep(StreamHandler):
    """A path computation element (RFC 5440): sessions are opened and kept alive; a request for a path has a reply.

    When its peer is silent it says `Keepalive`; after three of these it closes the session.
    """

    timeout = 30.0
    request_timeout = 30.0
    passing: tuple[type[Cause], ...] = (TimedOut,)
    paths = {b"\xc0\x00\x02\x01\xc0\x00\x02\x02": b"\xc0\x00\x02\x09"}

    def setup(self) -> None:
        self.silent = 0

    def close_session(self, why: int) -> None:
        self.send(pcep(7, part(15, bytes([0, 0, 0, why]))))

    async def body(self, head: bytes) -> dict[int, bytes]:
        """The bodies of the objects of a message, by their classes."""
        size = int.from_bytes(head[2:], "big")
        if head[0] != 0x20 or size < 4 or size % 4 or size > 512:
            raise Malformed("no message")
        data, at = await Exactly(size - 4), 0
        found: dict[int, bytes] = {}
        while at < len(data):
            kind, flags, size = struct.unpack_from(">BBH", data, at)
            if flags & ~3 != 0x10 or size < 4 or size % 4 or at + size > len(data) or kind in found:
                raise Malformed("no object")
            found[kind] = data[at + 4 : at + size]
            at += size
        return found

    async def is_open(self) -> bool:
        """Whether the peer has opened a session, and taken ours."""
        head = await Exactly(4)
        found = await self.body(head)
        if head[1] != 1 or found.keys() != {1} or len(found[1]) != 4 or found[1][0] != 0x20:
            return False
        self.send(pcep(2))
        head = await Exactly(4)
        return head[1] == 2 and not await self.body(head)

    async def head(self) -> bytes:
        """The head of the next message; empty if the session was kept alive instead."""
        try:
            head = await Exactly(4)
        except self.passing:
            self.silent += 1
            if self.silent > 3:
                self.close_session(2)
                raise
            self.send(pcep(2))
            return b""
        self.silent = 0
        return head

    def reply(self, found: dict[int, bytes]) -> None:
        request, ends = found.get(2, b""), found.get(4, b"")
        if found.keys() != {2, 4} or len(request) != 8 or len(ends) != 8 or any(request[:4]):
            raise Malformed("no request")
        if ends in self.paths:
            hops = (b"\x01\x08" + hop + b"\x20\x00" for hop in (self.paths[ends], ends[4:]))
            self.send(pcep(4, part(2, request), part(7, b"".join(hops))))
        else:
            self.send(pcep(4, part(2, request), part(3, bytes(4))))

    async def handle(self) -> None:
        self.send(pcep(1, part(1, b"\x20\x1e\x78\x01")))
        try:
            is_open = await self.is_open()
        except Malformed:
            is_open = False
        if not is_open:
            self.send(pcep(6, part(13, b"\x00\x00\x01\x01")))
            return
        self.opened()
        while True:
            self.one_by_one += 1
            head = b""
            while not head:
                head = await self.head()
            try:
                found = await self.body(head)
                if head[1] == 3:
                    self.reply(found)
                elif head[1] == 7 and found.keys() == {15} and len(found[15]) == 4:
                    return
                elif head[1] != 2 or found:
                    raise Malformed("no such message")
            except Malformed:
                self.close_session(3)
                return


class PcepGoesOn(Pcep):
    passing = (Cause,)


def gvcp(command: int, number: int, payload: bytes = b"", flags: int = 1) -> bytes:
    """A command of GVCP."""
    return struct.pack(">BBHHH", 0x42, flags, command, len(payload), number) + payload


class Gvcp(DatagramHandler):
    """The control of a camera (GigE Vision 2.0, GVCP): registers are read and written; a trigger raises an event.

    An event is sent again while nobody acknowledges it, as the register for the retransmissions of messages says.
    """

    timeout = 30.0
    repeats: float = 3
    trigger = 0xB000
    event_time = 0.5

    def setup(self) -> None:
        self.registers = {0x0000: 0x0002_0000, 0x0B1C: 3, 0x0A00: 2, self.trigger: 0}
        self.event = b""
        self.left: float = 0
        self.number = 0
        self.last = self.last_answer = b""

    async def packet(self) -> bytes:
        """The next packet; empty if the time of an event was over instead."""
        try:
            return await Packet(timeout=self.event_time if self.event else None)
        except TimedOut:
            if not self.event:
                raise
        if self.left <= 0:
            self.event = b""
        else:
            self.left -= 1
            self.send(self.event)
        return b""

    def read(self, payload: bytes) -> tuple[int, bytes]:
        addresses = [address for (address,) in struct.iter_unpack(">I", payload)]
        if not all(address in self.registers for address in addresses):
            return 0x8003, b""
        return 0, b"".join(self.registers[address].to_bytes(4, "big") for address in addresses)

    def write(self, payload: bytes) -> tuple[int, bytes]:
        address, value = struct.unpack(">II", payload)
        if address not in self.registers:
            return 0x8003, bytes(4)
        if address != self.trigger:
            return 0x8004, bytes(4)
        if value != 1:
            return 0x8002, bytes(4)
        if self.event:
            return 0x8007, bytes(4)
        self.number = self.number % 0xFFFF + 1
        self.event = gvcp(0xC0, self.number, struct.pack(">HHHHQ", 0, 0x9001, 0xFFFF, 0, 0))
        self.left = self.repeats
        return 0, b"\x00\x00\x00\x01"

    def answer(self, command: int, payload: bytes) -> tuple[int, bytes]:
        if command == 0x80 and payload and len(payload) <= 64 and len(payload) % 4 == 0:
            return self.read(payload)
        if command == 0x82 and len(payload) == 8:
            return self.write(payload)
        return (0x8002, b"") if command in (0x80, 0x82) else (0x8001, b"")

    async def handle(self) -> None:
        while True:
            packet = await self.packet()
            if self.event and packet == struct.pack(">HHHH", 0, 0xC1, 0, self.number):
                self.event = b""
                continue
            if len(packet) < 8 or packet[0] != 0x42 or packet[1] > 1:
                continue
            command, size, number = struct.unpack_from(">HHH", packet, 2)
            if size != len(packet) - 8 or not number or command % 2:
                continue
            if packet == self.last:
                if packet[1]:
                    self.send(self.last_answer)
                continue
            pending = self.event
            status, said = self.answer(command, packet[8:])
            self.last, self.last_answer = packet, struct.pack(">HHHH", status, command + 1, len(said), number) + said
            if packet[1]:
                self.send(self.last_answer)
            if self.event != pending:
                self.send(self.event)


class GvcpForEver(Gvcp):
    repeats = float("inf")


ENDS = b"\xc0\x00\x02\x01\xc0\x00\x02\x02"

PAIRS = [
    Pair(
        "rcp", 5, RcpTakesAll, Rcp,
        [
            b"C0644 6 notes.txt\n", b"hello\n\x00", b"C0600 0 empty\n", b"\x00", b"\x01rcp: x: is a directory\n",
            b"C0755 3 a b\n", b"ab\n\x00",
        ],
    ),
    Pair(
        "pcep", 5, PcepGoesOn, Pcep,
        [
            pcep(1, part(1, b"\x20\x1e\x78\x05")), pcep(2),
            pcep(3, part(2, b"\x00\x00\x00\x00\x00\x00\x00\x07"), part(4, ENDS)), pcep(2),
            pcep(3, part(2, b"\x00\x00\x00\x00\x00\x00\x00\x08", 0x12), part(4, ENDS[::-1])),
            pcep(7, part(15, b"\x00\x00\x00\x01")),
        ],
    ),
    Pair(
        "gvcp", 5, GvcpForEver, Gvcp,
        [
            gvcp(0x80, 1, b"\x00\x00\x00\x00\x00\x00\x0b\x1c"), gvcp(0x82, 2, b"\x00\x00\xb0\x00\x00\x00\x00\x01"),
            struct.pack(">HHHH", 0, 0xC1, 0, 1), gvcp(0x82, 3, b"\x00\x00\x0a\x00\x00\x00\x00\x01"), gvcp(0x06, 4),
            gvcp(0x80, 5, b"\x00\x00\x00\x04"),
        ],
    ),
]  # fmt: skip
