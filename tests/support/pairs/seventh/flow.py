"""Pairs of the seventh set: recursion, swallowed causes, what came in the same read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, LimitPassed, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step


class Malformed(Exception):
    """The message can't be read."""


class Bolt(StreamHandler):
    """Messages of Bolt, each in one chunk: the answer is the number of values in the message (PackStream)."""

    timeout = 60.0
    deepest: float = float("inf")

    async def handle(self) -> None:
        while True:
            message = await Exactly(int.from_bytes(await Exactly(2), "big"))
            if await Exactly(2) != b"\x00\x00":
                return
            try:
                count, end = self.value(message, 0, 0)
                if end != len(message):
                    raise Malformed
            except (Malformed, IndexError):
                self.send(b"\x00\x02\xb0\x7f\x00\x00")
                return
            self.send(b"\x00\x05\xb1\x70%b\x00\x00" % count.to_bytes(3, "big"))

    def value(self, message: bytes, place: int, depth: int) -> tuple[int, int]:
        """The values in the value at ``place``, itself included, and where it ends."""
        marker, place = message[place], place + 1
        if depth > self.deepest:
            raise Malformed
        if marker < 0x80 or marker in (0xC0, 0xC2, 0xC3):
            return 1, place
        if 0x80 <= marker < 0x90:
            if place + marker - 0x80 > len(message):
                raise Malformed
            return 1, place + marker - 0x80
        if 0x90 <= marker < 0xB0:
            total = 1
            for _ in range((marker & 0x0F) * (1 if marker < 0xA0 else 2)):
                count, place = self.value(message, place, depth + 1)
                total += count
            return total, place
        raise Malformed


class BoltRight(Bolt):
    deepest = 32


class Cbor(DatagramHandler):
    """A meter sends CBOR, one item in a packet; the answer is the sum of its numbers."""

    timeout = 60.0
    deepest: float = float("inf")

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            try:
                total, end = self.item(packet, 0, 0)
            except (IndexError, Malformed):
                self.send(b"\xf7")
                continue
            self.send(b"\x1b" + (total & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "big") if end == len(packet) else b"\xf7")

    def item(self, packet: bytes, place: int, depth: int) -> tuple[int, int]:
        major, value, place = packet[place] >> 5, packet[place] & 31, place + 1
        if value > 24 or depth > self.deepest:
            raise Malformed
        if value == 24:
            value, place = packet[place], place + 1
        if major == 0:
            return value, place
        if major in (2, 3):
            return 0, place + value
        if major not in (4, 6):
            raise Malformed
        total = 0
        for _ in range(value if major == 4 else 1):
            number, place = self.item(packet, place, depth + 1)
            total += number
        return total, place


class CborRight(Cbor):
    deepest = 16


def no_constant(word: str) -> None:
    raise ValueError(word)


class Varlink(StreamHandler):
    """Varlink: calls in JSON, each with a null byte behind it."""

    timeout = 60.0
    mistakes: tuple[type[Exception], ...] = (ValueError,)

    def handle(self) -> Step:
        return Until(b"\0", limit=16_384), self.call_came

    def call_came(self, data: bytes) -> Step:
        try:
            call = json.loads(data[:-1], parse_constant=no_constant)
        except self.mistakes:
            return None
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            return None
        parameters = call.get("parameters")
        ping = parameters.get("ping") if isinstance(parameters, dict) else None
        if call["method"] != "org.example.Ping":
            answer: dict[str, object] = {"error": "org.varlink.service.MethodNotFound"}
        elif not isinstance(ping, str):
            answer = {"error": "org.varlink.service.InvalidParameter"}
        else:
            answer = {"parameters": {"pong": ping}}
        self.send(json.dumps(answer).encode() + b"\0")
        return self.handle()


class VarlinkRight(Varlink):
    mistakes = (ValueError, RecursionError)


class Modem(StreamHandler):
    """A modem with the commands of Hayes: AT, ATI, and the registers ATSn=v and ATSn?."""

    timeout = 60.0

    def setup(self) -> None:
        self.registers = [0] * 16

    async def handle(self) -> None:
        while True:
            try:
                line = await Until(b"\r", limit=64)
                self.send(self.answer(line[:-1].upper()))
            except Exception:  # noqa: PERF203
                self.send(b"\r\nERROR\r\n")

    def answer(self, command: bytes) -> bytes:
        if command == b"AT":
            return b"\r\nOK\r\n"
        if command == b"ATI":
            return b"\r\n56000\r\n\r\nOK\r\n"
        number, equals, value = command.removesuffix(b"?").partition(b"=")
        digits = number.removeprefix(b"ATS")
        if not number.startswith(b"ATS") or not digits.isdigit() or not 0 <= int(digits) < 16:
            raise Malformed(command)
        if not equals and not command.endswith(b"?"):
            raise Malformed(command)
        if not equals:
            return b"\r\n%03d\r\n\r\nOK\r\n" % self.registers[int(digits)]
        if not value.isdigit() or int(value) > 255 or command.endswith(b"?"):
            raise Malformed(command)
        self.registers[int(digits)] = int(value)
        return b"\r\nOK\r\n"


class ModemRight(Modem):
    async def handle(self) -> None:
        while True:
            line = await Until(b"\r", limit=64)
            try:
                self.send(self.answer(line[:-1].upper()))
            except Malformed:
                self.send(b"\r\nERROR\r\n")


def bgp(kind: int, content: bytes = b"") -> bytes:
    """A message of BGP."""
    return b"\xff" * 16 + (19 + len(content)).to_bytes(2, "big") + bytes([kind]) + content


class Bgp(StreamHandler):
    """A speaker of BGP (RFC 4271) that has no routes: it keeps the session, and answers ROUTE-REFRESH."""

    patience: float = float("inf")

    async def handle(self) -> None:
        silent = 0
        while True:
            try:
                header = await Exactly(19, timeout=30)
            except TimedOut:
                silent += 1
                if silent >= self.patience:
                    self.send(bgp(3, b"\x04\x00"))
                    return
                self.send(bgp(4))
                continue
            silent = 0
            size = int.from_bytes(header[16:18], "big")
            if header[:16] != b"\xff" * 16 or not 19 <= size <= 4096:
                self.send(bgp(3, b"\x01\x01"))
                return
            content = await Exactly(size - 19, timeout=30)
            if header[18] == 1 and size >= 29:
                self.send(bgp(1, b"\x04\xfd\xe8\x00\x5a\x7f\x00\x00\x01\x00") + bgp(4))
            elif header[18] == 5 and len(content) == 4:
                self.send(bgp(2, b"\x00\x00\x00\x00"))
            elif header[18] not in (2, 4):
                return


class BgpRight(Bgp):
    patience = 3


class Nbd(StreamHandler):
    """The transmission phase of NBD: 0 reads from a small disk, 1 writes to it, 2 ends the session."""

    timeout = 60.0

    def setup(self) -> None:
        self.disk = bytearray(4096)

    async def handle(self) -> None:
        while True:
            header = await Exactly(28)
            code, cookie = int.from_bytes(header[6:8], "big"), header[8:16]
            offset, size = int.from_bytes(header[16:24], "big"), int.from_bytes(header[24:], "big")
            if header[:4] != b"\x25\x60\x95\x13" or code > 1 or size > len(self.disk):
                return
            data = await self.content(size) if code == 1 else b""
            if offset + size > len(self.disk):
                self.send(b"\x67\x44\x66\x98\x00\x00\x00\x1c" + cookie)
                continue
            self.disk[offset : offset + len(data)] = data
            read = self.disk[offset : offset + size] if code == 0 else b""
            self.send(b"\x67\x44\x66\x98\x00\x00\x00\x00" + cookie + read)

    async def content(self, size: int) -> bytes:
        try:
            return await Exactly(size, timeout=20)
        except Exception:
            return b""


class NbdRight(Nbd):
    async def content(self, size: int) -> bytes:
        return await Exactly(size, timeout=20)


class PJLink(StreamHandler):
    """A projector with PJLink: %1POWR switches it, %1NAME has its name. A command has at most 136 bytes."""

    timeout = 60.0

    def setup(self) -> None:
        self.buffer = b""
        self.power = b"0"

    async def handle(self) -> None:
        while True:
            self.buffer += await Some(limit=4096)
            if len(self.buffer) > 136:
                self.send(b"%1ERR=ERR2\r")
                return
            *lines, self.buffer = self.buffer.split(b"\r")
            for line in lines:
                self.command(line)

    def command(self, line: bytes) -> None:
        if line in (b"%1POWR 0", b"%1POWR 1"):
            self.power = line[-1:]
            self.send(b"%1POWR=OK\r")
        elif line == b"%1POWR ?":
            self.send(b"%1POWR=" + self.power + b"\r")
        elif line == b"%1NAME ?":
            self.send(b"%1NAME=Hall\r")
        else:
            self.send(b"%1ERR=ERR1\r")


class PJLinkRight(PJLink):
    async def handle(self) -> None:
        while True:
            try:
                line = await Until(b"\r", limit=136)
            except LimitPassed:
                self.send(b"%1ERR=ERR2\r")
                return
            self.command(line[:-1])


class Lirc(StreamHandler):
    """The daemon of LIRC: VERSION, LIST and SEND_ONCE, each with its reply packet."""

    timeout = 60.0

    def setup(self) -> None:
        self.rest = b""

    async def handle(self) -> None:
        while True:
            *lines, self.rest = (self.rest + await Some(limit=1024)).split(b"\n")
            if len(self.rest) > 256:
                return
            replies = []
            for line in lines:
                data = self.answer(line.split(b" "))
                if data is None:
                    self.send(b"BEGIN\n%b\nERROR\nEND\n" % line[:32])
                else:
                    replies.append(b"BEGIN\n%b\nSUCCESS\n%bEND\n" % (line[:32], data))
            self.send(b"".join(replies))

    def answer(self, words: list[bytes]) -> bytes | None:
        if words == [b"VERSION"]:
            return b"DATA\n1\n0.10.2\n"
        if words == [b"LIST"]:
            return b"DATA\n2\nradio\ntv\n"
        if len(words) == 3 and words[0] == b"SEND_ONCE" and words[1] in (b"radio", b"tv"):
            return b""
        return None


class LircRight(Lirc):
    async def handle(self) -> None:
        while True:
            line = (await Until(b"\n", limit=256))[:-1]
            data = self.answer(line.split(b" "))
            if data is None:
                self.send(b"BEGIN\n%b\nERROR\nEND\n" % line[:32])
            else:
                self.send(b"BEGIN\n%b\nSUCCESS\n%bEND\n" % (line[:32], data))


def pelco(*content: int) -> bytes:
    """A frame of Pelco-D."""
    return bytes([0xFF, *content, sum(content) % 256])


class PelcoD(StreamHandler):
    """A camera with Pelco-D: frames of seven bytes, each answered with its address and an alarm byte."""

    timeout = 60.0

    def setup(self) -> None:
        self.buffer = bytearray()

    async def handle(self) -> None:
        while True:
            self.buffer += await Some(limit=512)
            while len(self.buffer) >= 7:
                frame = bytes(self.buffer[:7])
                if not self.is_right(frame):
                    self.send(b"\xff\x00\xff\xff")
                    self.buffer.clear()
                    break
                del self.buffer[:7]
                self.send(bytes([0xFF, frame[1], 0, frame[6]]))

    def is_right(self, frame: bytes) -> bool:
        return frame[0] == 0xFF and sum(frame[1:6]) % 256 == frame[6]


class PelcoDRight(PelcoD):
    async def handle(self) -> None:
        while True:
            frame = await Exactly(7)
            self.send(bytes([0xFF, frame[1], 0, frame[6]]) if self.is_right(frame) else b"\xff\x00\xff\xff")


def nbd(code: int, cookie: int, offset: int, data: bytes, size: int = 0) -> bytes:
    """A request of NBD."""
    numbers = ((code, 2), (cookie, 8), (offset, 8), (size or len(data), 4))
    return b"\x25\x60\x95\x13\x00\x00" + b"".join(value.to_bytes(width, "big") for value, width in numbers) + data


PAIRS = [
    Pair(
        "bolt", 4, Bolt, BoltRight,
        [
            b"\x00\x01\x01\x00\x00",
            b"\x00\x06\x93\x01\x82ab\xc0\x00\x00",
            b"\x00\x06\xa1\x81k\x92\x05\x90\x00\x00",
        ],
    ),
    Pair("cbor", 4, Cbor, CborRight, [b"\x05", b"\x83\x01\x02\x18\x64", b"\x82\xc1\x07\x82\x01\x62ab"]),
    Pair(
        "varlink", 4, Varlink, VarlinkRight,
        [
            b'{"method":"org.example.Ping","parameters":{"ping":"one"}}\0',
            b'{"method":"org.example.Pong"}\0',
            b'{"method":"org.example.Ping","parameters":{"ping":"two"}}\0',
        ],
    ),
    Pair("modem", 5, Modem, ModemRight, [b"AT\r", b"ATI\r", b"ATS7=60\r", b"ATS7?\r"]),
    Pair(
        "bgp", 5, Bgp, BgpRight,
        [bgp(1, b"\x04\xfd\xe9\x00\x5a\x7f\x00\x00\x02\x00"), bgp(4), bgp(5, b"\x00\x01\x00\x01"), bgp(4)],
    ),
    Pair(
        "nbd", 5, Nbd, NbdRight,
        [nbd(1, 1, 0, b"hello"), nbd(0, 2, 0, b"", 5), nbd(1, 3, 512, b"abc"), nbd(0, 4, 510, b"", 8)],
    ),
    Pair("pjlink", 6, PJLink, PJLinkRight, [b"%1POWR ?\r", b"%1POWR 1\r", b"%1NAME ?\r", b"%1POWR ?\r"]),
    Pair("lirc", 6, Lirc, LircRight, [b"VERSION\n", b"LIST\n", b"SEND_ONCE tv KEY_POWER\n", b"LIST\n"]),
    Pair(
        "pelco-d", 6, PelcoD, PelcoDRight,
        [pelco(1, 0, 8, 0, 32), pelco(1, 0, 4, 16, 0), pelco(2, 0, 0, 0, 0), pelco(1, 0, 2, 9, 0)],
    ),
]  # fmt: skip
