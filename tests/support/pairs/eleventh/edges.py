"""Pairs of the kind 9: the largest that is allowed."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

# ManageSieve

COMMAND = Until(b"\r\n", limit=512)
NAME = rb'"([^"\\\r\n\0]{1,64})"'
NUMBER = rb"(0|[1-9][0-9]{0,8})"
HAVE_SPACE = re.compile(rb"(?i:HAVESPACE) " + NAME + b" " + NUMBER)
PUT_SCRIPT = re.compile(rb"(?i:PUTSCRIPT) " + NAME + rb" \{" + NUMBER + rb"\+\}")
GET_SCRIPT = re.compile(rb"(?i:GETSCRIPT) " + NAME)
MAX_SCRIPTS = 4
MAX_SCRIPT = 8192
"""The octets of a script, at most."""


class Sieve(StreamHandler):
    """Scripts of one user, who is logged in: a part of ManageSieve (RFC 5804)."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.scripts: dict[bytes, bytes] = {}

    async def handle(self) -> None:
        self.send(b'"IMPLEMENTATION" "quiet sieve"\r\n"SIEVE" "fileinto"\r\n"VERSION" "1.0"\r\nOK\r\n')
        while True:
            self.one_by_one += 1
            line = (await COMMAND)[:-2]
            if line.upper() == b"LOGOUT":
                self.send(b"OK\r\n")
                return
            if matched := PUT_SCRIPT.fullmatch(line):
                await self.put(matched[1], int(matched[2]))
            else:
                self.send(self.answer(line))

    def answer(self, line: bytes) -> bytes:
        """The answer to a command without a script."""
        if line.upper() == b"LISTSCRIPTS":
            return b"".join(b'"%b"\r\n' % name for name in self.scripts) + b"OK\r\n"
        if matched := HAVE_SPACE.fullmatch(line):
            if int(matched[2]) > MAX_SCRIPT:
                return b'NO (QUOTA/MAXSIZE) "the script is too large"\r\n'
            return b"OK\r\n" if self.has_place(matched[1]) else b'NO (QUOTA/MAXSCRIPTS) "too many scripts"\r\n'
        if matched := GET_SCRIPT.fullmatch(line):
            script = self.scripts.get(matched[1])
            if script is None:
                return b'NO (NONEXISTENT) "no such script"\r\n'
            return b"{%d}\r\n%b\r\nOK\r\n" % (len(script), script)
        return b'NO "unknown command"\r\n'

    def has_place(self, name: bytes) -> bool:
        return name in self.scripts or len(self.scripts) < MAX_SCRIPTS

    async def put(self, name: bytes, size: int) -> None:
        """Take the script that follows."""
        if not self.is_allowed(size):
            self.send(b'BYE (QUOTA/MAXSIZE) "the script is too large"\r\n')
            raise Malformed("the script is too large")
        data = await Exactly(size + 2)
        if data[-2:] != b"\r\n":
            raise Malformed("no line end after the script")
        if not self.has_place(name):
            self.send(b'NO (QUOTA/MAXSCRIPTS) "too many scripts"\r\n')
            return
        self.scripts[name] = data[:-2]
        self.send(b"OK\r\n")

    def is_allowed(self, size: int) -> bool:
        """Whether a script may have this size."""
        return size < MAX_SCRIPT


class SieveRight(Sieve):
    """Scripts of one user, who is logged in: a part of ManageSieve (RFC 5804)."""

    def is_allowed(self, size: int) -> bool:
        """Whether a script may have this size."""
        return size <= MAX_SCRIPT


# RIP

RIP_HEAD = struct.Struct(">BBH")
ENTRY = struct.Struct(">HHIIII")
MAX_ENTRIES = 25
RIP_REQUEST, RIP_RESPONSE, RIP_VERSION = 1, 2, 2
INTERNET, ANY_FAMILY, INFINITY = 2, 0, 16
ROUTES = {  # the metric of each destination, which is an address and a mask
    (0x0A000000, 0xFF000000): 1,
    (0xC0000200, 0xFFFFFF00): 3,
    (0xC6336400, 0xFFFFFF00): 2,
    (0xCB007100, 0xFFFFFF80): 7,
}


class Rip(DatagramHandler):
    """A router that answers requests for its routes: RIP, version 2 (RFC 2453, 3.9.1)."""

    timeout = 30
    request_timeout = 600

    def handle(self) -> Step:
        return Packet(), self.request

    def request(self, packet: bytes) -> Step:
        count, rest = divmod(len(packet) - RIP_HEAD.size, ENTRY.size)
        if rest or not self.may_have(count):
            return self.handle()
        if RIP_HEAD.unpack_from(packet) != (RIP_REQUEST, RIP_VERSION, 0):
            return self.handle()
        asked = list(ENTRY.iter_unpack(packet[RIP_HEAD.size :]))
        family, *_, metric = asked[0]
        if count == 1 and family == ANY_FAMILY and metric == INFINITY:
            self.respond([(INTERNET, 0, *destination, 0, metric) for destination, metric in ROUTES.items()])
        else:
            self.respond([self.filled(entry) for entry in asked])
        return self.handle()

    def may_have(self, count: int) -> bool:
        """Whether a packet may have so many entries."""
        return 1 <= count < MAX_ENTRIES

    def filled(self, entry: tuple[int, ...]) -> tuple[int, ...]:
        """The entry with the metric of its destination."""
        family, tag, address, mask, hop, _ = entry
        metric = ROUTES.get((address, mask), INFINITY) if family == INTERNET else INFINITY
        return family, tag, address, mask, hop, metric

    def respond(self, entries: list[tuple[int, ...]]) -> None:
        head = RIP_HEAD.pack(RIP_RESPONSE, RIP_VERSION, 0)
        self.send(head + b"".join(ENTRY.pack(*entry) for entry in entries))


class RipRight(Rip):
    """A router that answers requests for its routes: RIP, version 2 (RFC 2453, 3.9.1)."""

    def may_have(self, count: int) -> bool:
        """Whether a packet may have so many entries."""
        return 1 <= count <= MAX_ENTRIES


# GDB

PACKET_SIZE = 0x400
"""The characters of a packet at most, with ``$``, ``#`` and the checksum, as the stub announces it."""
MAX_DATA = PACKET_SIZE - len(b"$#00")
RAM_SIZE = 0x800
CHECKSUM = Exactly(2)
READ = re.compile(rb"m([0-9a-f]{1,8}),([0-9a-f]{1,4})")
WRITE = re.compile(rb"M([0-9a-f]{1,8}),([0-9a-f]{1,4}):((?:[0-9a-f]{2})*)")
HEX_PAIR = re.compile(rb"[0-9a-f]{2}")


class Gdb(StreamHandler):
    """The stub of a small target (GDB Manual, "Remote Serial Protocol"): packets with a sum, and acknowledgements."""

    timeout = 60
    request_timeout = 30
    DATA = Until(b"#", limit=MAX_DATA)

    def setup(self) -> None:
        self.ram = bytearray(RAM_SIZE)
        self.last = b""

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(1), self.begin

    def begin(self, data: bytes) -> Step:
        if data in (b"+", b"-"):
            if data == b"-":
                self.send(self.last)
            return self.handle()
        if data != b"$":
            raise Malformed("no packet")
        return self.DATA, self.data

    def data(self, data: bytes) -> Step:
        self.command = data[:-1]
        return CHECKSUM, self.checksum

    def checksum(self, digits: bytes) -> Step:
        if HEX_PAIR.fullmatch(digits) is None or int(digits, 16) != sum(self.command) & 0xFF:
            self.send(b"-")
            return self.handle()
        answer = self.answer(self.command)
        self.last = b"$%b#%02x" % (answer, sum(answer) & 0xFF)
        self.send(b"+" + self.last)
        return None if self.command == b"D" else self.handle()

    def answer(self, command: bytes) -> bytes:
        if command == b"?":
            return b"S05"
        if command == b"D":
            return b"OK"
        if command.startswith(b"qSupported"):
            return b"PacketSize=%x" % PACKET_SIZE
        if matched := READ.fullmatch(command):
            place, size = int(matched[1], 16), int(matched[2], 16)
            if place + size > RAM_SIZE or size * 2 > MAX_DATA:
                return b"E01"
            return self.ram[place : place + size].hex().encode()
        if matched := WRITE.fullmatch(command):
            place, size, data = int(matched[1], 16), int(matched[2], 16), bytes.fromhex(matched[3].decode())
            if place + size > RAM_SIZE or size != len(data):
                return b"E01"
            self.ram[place : place + size] = data
            return b"OK"
        return b""


class GdbRight(Gdb):
    """The stub of a small target (GDB Manual, "Remote Serial Protocol"): packets with a sum, and acknowledgements."""

    DATA = Until(b"#", limit=MAX_DATA + len(b"#"))


def rip(*entries: tuple[int, ...]) -> bytes:
    """A request for these entries."""
    return RIP_HEAD.pack(RIP_REQUEST, RIP_VERSION, 0) + b"".join(ENTRY.pack(*entry) for entry in entries)


def gdb(command: bytes) -> bytes:
    """What GDB sends for a command."""
    return b"$%b#%02x" % (command, sum(command) & 0xFF)


SCRIPT = b'require "fileinto";\r\nif header :contains "subject" "[list]" {\r\n  fileinto "lists";\r\n}\r\n'

PAIRS = [
    Pair("sieve", 9, Sieve, SieveRight, [
        b'HAVESPACE "lists" %d\r\n' % len(SCRIPT),
        b'PUTSCRIPT "lists" {%d+}\r\n%b\r\n' % (len(SCRIPT), SCRIPT),
        b'PUTSCRIPT "away" {6+}\r\nkeep;\n\r\n',
        b"LISTSCRIPTS\r\n",
        b'GETSCRIPT "lists"\r\n',
        b"LOGOUT\r\n",
    ]),
    Pair("rip-routes", 9, Rip, RipRight, [
        rip((ANY_FAMILY, 0, 0, 0, 0, INFINITY)),
        rip((INTERNET, 0, 0xC0000200, 0xFFFFFF00, 0, 0), (INTERNET, 0, 0xC0A80000, 0xFFFF0000, 0, 0)),
        rip((INTERNET, 0, 0x0A000000, 0xFF000000, 0, 0)),
    ]),
    Pair("gdb-stub", 9, Gdb, GdbRight, [
        gdb(b"qSupported:multiprocess+;swbreak+"),
        b"+" + gdb(b"?"),
        b"+" + gdb(b"M40,4:deadbeef"),
        b"+" + gdb(b"m40,8"),
        b"-+" + gdb(b"m7f0,10"),
        b"+" + gdb(b"D"),
    ]),
]  # fmt: skip
