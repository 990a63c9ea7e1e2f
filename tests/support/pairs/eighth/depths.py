"""Pairs of the eighth set: what one client leaves to the next, recursion; and registers."""

from __future__ import annotations

import re
from collections import deque
from hashlib import blake2b
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from handlers.handler import Step


class Malformed(Exception):
    """The message can't be read."""


PLACE = re.compile(rb"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]")
HEIGHT = re.compile(rb"[+-][0-8][0-9]\*[0-5][0-9]")


class Telescope(StreamHandler):
    """The commands of a Meade LX200: Sr and Sd set the target, MS turns to it, GR and GD tell where it is."""

    timeout = 60.0
    target = {b"r": b"00:00:00", b"d": b"+00*00"}

    def handle(self) -> Step:
        return Until(b"#", limit=32), self.command

    def command(self, data: bytes) -> Step:
        verb, value = data[:3], data[3:-1]
        if data == b":GVP#":
            self.send(b"LX2001#")
        elif data in (b":GR#", b":GD#"):
            self.send(self.target[verb[2:].lower()] + b"#")
        elif verb in (b":Sr", b":Sd"):
            if (PLACE if verb == b":Sr" else HEIGHT).fullmatch(value):
                self.target[verb[2:]] = value
                self.send(b"1")
            else:
                self.send(b"0")
        elif data == b":MS#":
            self.send(b"0")
        return self.handle()


class TelescopeRight(Telescope):
    def setup(self) -> None:
        self.target = {b"r": b"00:00:00", b"d": b"+00*00"}


def ticket(transaction: bytes) -> bytes:
    """The number of a connection."""
    return blake2b(transaction, digest_size=8, key=b"a secret of the tracker").digest()


class Tracker(DatagramHandler):
    """A tracker of BitTorrent over UDP (BEP 15): connect brings a number, with which one may scrape."""

    timeout = 60.0
    connections: deque[bytes] = deque(maxlen=16)

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            action, transaction = packet[8:12], packet[12:16]
            if len(packet) < 16:
                continue
            if packet[:12] == b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00":
                if len(packet) == 16:
                    self.connections.append(ticket(transaction))
                    self.send(b"\x00\x00\x00\x00" + transaction + ticket(transaction))
                continue
            if packet[:8] not in self.connections:
                self.send(b"\x00\x00\x00\x03" + transaction + b"not connected")
                continue
            hashes, rest = divmod(len(packet) - 16, 20)
            if action != b"\x00\x00\x00\x02" or rest or not 1 <= hashes <= 74:
                self.send(b"\x00\x00\x00\x03" + transaction + b"malformed")
                continue
            self.send(b"\x00\x00\x00\x02" + transaction + b"\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x02" * hashes)


class TrackerRight(Tracker):
    def setup(self) -> None:
        self.connections = deque(maxlen=16)


def padded(text: bytes) -> bytes:
    """A string of OSC: with a null, up to a multiple of four bytes."""
    return text + b"\0" * (4 - len(text) % 4)


class Osc(DatagramHandler):
    """A synthesizer with OSC 1.0: the answer to a packet is the number of messages in it, bundles included."""

    timeout = 60.0
    deepest: float = float("inf")

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            try:
                count = self.messages(packet, 0, len(packet), 0)
                self.send(padded(b"/played") + padded(b",i") + count.to_bytes(4, "big"))
            except Malformed:
                self.send(padded(b"/malformed") + padded(b","))

    def messages(self, packet: bytes, place: int, end: int, depth: int) -> int:
        """The messages in the element from ``place`` to ``end``."""
        if depth > self.deepest or (end - place) % 4 or end - place < 8:
            raise Malformed
        if packet[place : place + 8] != b"#bundle\0":
            address = packet[place:end].partition(b"\0")[0]
            tags = packet[place + len(padded(address)) : end]
            if not address.startswith(b"/") or not tags.startswith(b","):
                raise Malformed
            return 1
        if end - place < 16:
            raise Malformed
        place, total = place + 16, 0
        while place < end:
            size = int.from_bytes(packet[place : place + 4], "big")
            if size > end - place - 4:
                raise Malformed
            total += self.messages(packet, place + 4, place + 4 + size, depth + 1)
            place += 4 + size
        return total


class OscRight(Osc):
    deepest = 16


def bundle(*elements: bytes) -> bytes:
    """A bundle of OSC."""
    return b"#bundle\0" + b"\0" * 7 + b"\1" + b"".join(len(each).to_bytes(4, "big") + each for each in elements)


class Hessian(StreamHandler):
    """Calls of Hessian 1.0: the answer is the number of values in the arguments."""

    timeout = 60.0
    request_timeout = 30.0
    deepest: float = float("inf")

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            try:
                if await Exactly(4) != b"c\x01\x00m":
                    raise Malformed
                name = await Exactly(int.from_bytes(await Exactly(2), "big"))
                count = await self.values(0)
            except Malformed:
                self.send(b"r\x01\x00fS\x00\x04codeS\x00\x11ProtocolExceptionzz")
                return
            if name == b"count":
                self.send(b"r\x01\x00I" + min(count, 0x7FFF_FFFF).to_bytes(4, "big") + b"z")
            else:
                self.send(b"r\x01\x00fS\x00\x04codeS\x00\x15NoSuchMethodExceptionzz")

    async def values(self, depth: int) -> int:
        """The number of values up to the ``z`` that ends a call, a list or a map."""
        if depth > self.deepest:
            raise Malformed
        count = 0
        while (tag := await Exactly(1)) != b"z":
            count += 1
            if tag in b"VM":
                count += await self.values(depth + 1)
            elif tag in b"SX":
                await Exactly(int.from_bytes(await Exactly(2), "big"))
            elif tag in b"IR":
                await Exactly(4)
            elif tag in b"LDd":
                await Exactly(8)
            elif tag not in b"NTF":
                raise Malformed
        return count


class HessianRight(Hessian):
    deepest = 24


class Acap(StreamHandler):
    """ACAP (RFC 2244), a book of addresses: SEARCH with AND, OR, NOT, ALL and EQUAL."""

    timeout = 60.0
    deepest: float = float("inf")
    book = ({b"cn": b"ada", b"l": b"london"}, {b"cn": b"emmy", b"l": b"erlangen"}, {b"cn": b"grace", b"l": b"york"})

    async def handle(self) -> None:
        self.send(b'* ACAP (IMPLEMENTATION "book 1")\r\n')
        while True:
            words = iter((await Until(b"\r\n", limit=8192))[:-2].split(b" "))
            tag, command = next(words), next(words, b"").upper()
            if not tag.isalnum() or len(tag) > 16:
                self.send(b'* BAD "tag"\r\n')
            elif command == b"NOOP":
                self.send(tag + b' OK "done"\r\n')
            elif command == b"LOGOUT":
                self.send(b'* BYE "see you"\r\n' + tag + b' OK "done"\r\n')
                return
            elif command == b"SEARCH":
                self.search(tag, list(words))
            else:
                self.send(tag + b' BAD "command"\r\n')

    def search(self, tag: bytes, words: list[bytes]) -> None:
        found = []
        try:
            for entry in self.book:
                rest = iter(words)
                if self.matches(rest, entry, 0):
                    found.append(entry)
                if next(rest, None) is not None:
                    raise Malformed
        except Malformed:
            self.send(tag + b' BAD "criterion"\r\n')
            return
        for entry in found:
            self.send(tag + b' ENTRY "/book/%b"\r\n' % entry[b"cn"])
        self.send(tag + b' OK "found %d"\r\n' % len(found))

    def matches(self, words: Iterator[bytes], entry: dict[bytes, bytes], depth: int) -> bool:
        if depth > self.deepest:
            raise Malformed
        word = next(words, b"").upper()
        if word == b"ALL":
            return True
        if word == b"NOT":
            return not self.matches(words, entry, depth + 1)
        if word in (b"AND", b"OR"):
            one, other = self.matches(words, entry, depth + 1), self.matches(words, entry, depth + 1)
            return one and other if word == b"AND" else one or other
        name, order, value = (next(words, b"").strip(b'"') for _ in range(3))
        if word != b"EQUAL" or order != b"i;octet":
            raise Malformed
        return entry.get(name) == value


class AcapRight(Acap):
    deepest = 20


def slmp(command: int, content: bytes) -> bytes:
    """A request of SLMP, in binary, with a 3E frame."""
    content = b"\x10\0" + command.to_bytes(2, "little") + b"\0\0" + content
    return b"\x50\0\0\xff\xff\x03\0" + len(content).to_bytes(2, "little") + content


class Slmp(StreamHandler):
    """A controller of Mitsubishi (SLMP): 0401 reads words of its data registers, 1401 writes them."""

    timeout = 60.0
    request_timeout = 20.0
    beyond = 65

    def setup(self) -> None:
        self.words = [0] * 64

    def handle(self) -> Step:
        self.one_by_one += 1
        return Exactly(9), self.header

    def header(self, data: bytes) -> Step:
        size = int.from_bytes(data[7:], "little")
        if data[:2] != b"\x50\0" or not 6 <= size <= 512:
            return None
        return Exactly(size), self.request

    def request(self, content: bytes) -> Step:
        command, rest = int.from_bytes(content[2:4], "little"), content[12:]
        head, points = int.from_bytes(content[6:9], "little"), int.from_bytes(content[10:12], "little")
        if command not in (0x0401, 0x1401) or content[4:6] != b"\0\0":
            self.respond(0xC059)
        elif len(content) < 12 or content[9] != 0xA8 or len(rest) != (2 * points if command == 0x1401 else 0):
            self.respond(0xC061)
        elif not points or head + points - 1 >= self.beyond:
            self.respond(0xC056)
        elif command == 0x0401:
            self.respond(0, b"".join(self.words[head + place].to_bytes(2, "little") for place in range(points)))
        else:
            for place in range(points):
                self.words[head + place] = int.from_bytes(rest[2 * place : 2 * place + 2], "little")
            self.respond(0)
        return self.handle()

    def respond(self, code: int, data: bytes = b"") -> None:
        size = (2 + len(data)).to_bytes(2, "little")
        self.send(b"\xd0\0\0\xff\xff\x03\0" + size + code.to_bytes(2, "little") + data)


class SlmpRight(Slmp):
    beyond = 64


PAIRS = [
    Pair(
        "telescope", 3, Telescope, TelescopeRight,
        [b":GVP#", b":GR#", b":Sr06:45:09#", b":Sd-16*43#", b":MS#", b":GR#", b":GD#"],
    ),
    Pair(
        "tracker", 3, Tracker, TrackerRight,
        [
            b"\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00\x00\x00\x30\x39",
            ticket(b"\x00\x00\x30\x39") + b"\x00\x00\x00\x02\x00\x00\x30\x3a" + b"h" * 20,
            ticket(b"\x00\x00\x30\x39") + b"\x00\x00\x00\x02\x00\x00\x30\x3b" + b"g" * 40,
        ],
    ),
    Pair(
        "osc", 4, Osc, OscRight,
        [
            padded(b"/note") + padded(b",i") + b"\0\0\0\x45",
            bundle(padded(b"/note") + padded(b",i") + b"\0\0\0\x40", padded(b"/stop") + padded(b",")),
            bundle(bundle(padded(b"/note") + padded(b",f") + b"\x43\xdc\0\0"), padded(b"/stop") + padded(b",")),
        ],
    ),
    Pair(
        "hessian", 4, Hessian, HessianRight,
        [
            b"c\x01\x00m\x00\x05countI\x00\x00\x00\x07S\x00\x03abcz",
            b"c\x01\x00m\x00\x05countVI\x00\x00\x00\x01VTFzNzMS\x00\x01kNzz",
            b"c\x01\x00m\x00\x04pingz",
        ],
    ),
    Pair(
        "acap", 4, Acap, AcapRight,
        [
            b"a1 NOOP\r\n",
            b"a2 SEARCH ALL\r\n",
            b'a3 SEARCH AND NOT EQUAL "cn" "i;octet" "ada" NOT EQUAL "l" "i;octet" "york"\r\n',
            b"a4 LOGOUT\r\n",
        ],
    ),
    Pair(
        "slmp", 9, Slmp, SlmpRight,
        [
            slmp(0x1401, b"\x3c\0\0\xa8\x02\0\x34\x12\x78\x56"),
            slmp(0x0401, b"\x3c\0\0\xa8\x04\0"),
            slmp(0x0401, b"\0\0\0\xa8\x01\0"),
        ],
    ),
]  # fmt: skip
