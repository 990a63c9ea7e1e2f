"""Pairs of the tenth set: work that grows with all that is held."""

from __future__ import annotations

import collections
import functools
import operator
import re

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair


def frame(code: int, data: bytes = b"", mark: bytes = b"<") -> bytes:
    """A message of MSP; one with 255 bytes or more has its size behind its code."""
    size, long = (bytes([len(data)]), b"") if len(data) < 255 else (b"\xff", len(data).to_bytes(2, "little"))
    body = size + bytes([code]) + long + data
    return b"$M" + mark + body + bytes([functools.reduce(operator.xor, body)])


class Msp(Buffered):
    """A flight controller (MultiWii Serial Protocol, version 1 with jumbo frames): questions, channels, a display."""

    timeout = 30
    request_timeout = 30
    most = 8192
    answers = {1: b"\x00\x01\x2a", 2: b"BTFL", 3: b"\x04\x02\x05", 108: b"\x0a\x00\xfb\xff\x5a\x00"}

    def answer(self, code: int, data: bytes) -> None:
        if code in self.answers and not data:
            self.send(frame(code, self.answers[code], b">"))
        elif (code == 200 and 8 <= len(data) <= 32 and len(data) % 2 == 0) or (code == 182 and data):
            self.send(frame(code, b"", b">"))
        else:
            self.send(frame(code, b"", b"!"))

    def size(self, at: int) -> int:
        """The size of the message that begins there; 0 if that is not known yet."""
        head = bytes(self.buffer[at : at + 7])
        if not b"$M<".startswith(head[:3]):
            raise Malformed("no message")
        if len(head) < 5 or head[3] < 255:
            return head[3] + 6 if len(head) > 4 else 0
        size = int.from_bytes(head[5:], "little")
        if len(head) == 7 and not 255 <= size <= self.most:
            raise Malformed("wrong size")
        return size + 8 if len(head) == 7 else 0

    def is_taken(self, at: int, size: int) -> bool:
        """Answer the message that begins there, if it is whole."""
        message = bytes(self.buffer[at : at + size])
        check = functools.reduce(operator.xor, message[3 : size - 1], 0)
        if len(message) < size:
            return False
        if check != message[-1]:
            raise Malformed("wrong check")
        self.answer(message[4], message[5 if message[3] < 255 else 7 : -1])
        return True

    def take(self) -> bool:
        at = 0
        while at < len(self.buffer) and (size := self.size(at)) and self.is_taken(at, size):
            at += size
        del self.buffer[:at]
        return True


class MspRight(Msp):
    def is_taken(self, at: int, size: int) -> bool:
        return len(self.buffer) - at >= size and super().is_taken(at, size)


NUMBER = re.compile(rb"(0|[1-9][0-9]{0,5})\n")
HEADS = re.compile(rb"666f726365|[0-9a-f]{40}")


class Mercurial(StreamHandler):
    """A repository behind SSH (Mercurial's wire protocol, version 1): a bundle comes in chunks up to one of size 0."""

    timeout = 60.0
    request_timeout = 60.0
    most = 16_384

    def setup(self) -> None:
        self.size = 0

    def reply(self, data: bytes) -> None:
        self.send(b"%d\n%b" % (len(data), data))

    async def number(self) -> int:
        matched = NUMBER.fullmatch(await Until(b"\n", limit=8))
        if matched is None:
            raise Malformed("no number")
        return int(matched[1])

    def held(self, chunks: list[bytes]) -> int:
        return len(b"".join(chunks))

    async def bundle(self) -> bytes:
        chunks: list[bytes] = []
        self.size = 0
        while size := await self.number():
            if self.held(chunks) + size > self.most:
                raise Malformed("too long")
            chunks.append(await Exactly(size))
            self.size += size
        return b"".join(chunks)

    async def unbundle(self) -> None:
        if await Until(b" ", limit=8) != b"heads ":
            raise Malformed("no heads")
        size = await self.number()
        if size > 40 or not HEADS.fullmatch(await Exactly(size)):
            raise Malformed("no heads")
        self.reply(b"")
        content = await self.bundle()
        self.reply(b"")
        self.reply(b"1\n" if content.startswith(b"HG10UN") else b"0\n")

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            command = await Until(b"\n", limit=64)
            if command == b"hello\n":
                self.reply(b"capabilities: unbundle=HG10UN\n")
            elif command == b"heads\n":
                self.reply(b"%b\n" % (b"0" * 40))
            elif command == b"unbundle\n":
                await self.unbundle()
            else:
                self.reply(b"")


class MercurialRight(Mercurial):
    def held(self, chunks: list[bytes]) -> int:
        return self.size


PRINTED = re.compile(rb"[!-~]{0,32}")
TEXT = re.compile(rb"(?:[ -~]|\r\n)+")


class MessageSend(DatagramHandler):
    """Message Send Protocol 2 (RFC 1312) over UDP: a message that has come before, by its cookie, is not shown again.

    The answer says which number the message has got.
    """

    timeout = 60.0
    most = 2048

    def setup(self) -> None:
        self.number = 0
        self.known: list[tuple[tuple[bytes, bytes], int]] = []

    def found(self, key: tuple[bytes, bytes]) -> int:
        """The number of a message that is known; else 0."""
        return next((number for known, number in self.known if known == key), 0)

    def keep(self, key: tuple[bytes, bytes], number: int) -> None:
        self.known.append((key, number))
        if len(self.known) > self.most:
            self.known.pop(0)

    def answer(self, packet: bytes) -> bytes:
        parts = packet[1:].split(b"\x00")
        if len(parts) != 8 or parts[7]:
            return b"-Malformed message\x00"
        recipient, terminal, text, sender, _, cookie, signature, _ = parts
        if not all(map(PRINTED.fullmatch, (recipient, terminal, *parts[3:6], signature))) or not sender or not cookie:
            return b"-Malformed message\x00"
        if not TEXT.fullmatch(text):
            return b"-No text\x00"
        if recipient not in (b"", b"ada"):
            return b"-No such user\x00"
        number = self.found((sender, cookie))
        if not number:
            self.number += 1
            number = self.number
            self.keep((sender, cookie), number)
        return b"+Message %d\x00" % number

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if packet[:1] == b"B" and len(packet) <= 512:
                self.send(self.answer(packet))


class MessageSendRight(MessageSend):
    def setup(self) -> None:
        self.number = 0
        self.numbers: collections.OrderedDict[tuple[bytes, bytes], int] = collections.OrderedDict()

    def found(self, key: tuple[bytes, bytes]) -> int:
        return self.numbers.get(key, 0)

    def keep(self, key: tuple[bytes, bytes], number: int) -> None:
        self.numbers[key] = number
        if len(self.numbers) > self.most:
            self.numbers.popitem(last=False)


def message(recipient: bytes, text: bytes, cookie: bytes) -> bytes:
    """A packet of a client of `MessageSend`."""
    return b"B%b\x00\x00%b\x00bob\x00tty1\x00%b\x00\x00" % (recipient, text, cookie)


PAIRS = [
    Pair(
        "msp", 11, Msp, MspRight,
        [
            frame(1) + frame(2),
            frame(108),
            frame(200, b"\xdc\x05" * 4),
            frame(182, b"\x03\x01\x01\x00" + b"." * 260),
            frame(77),
        ],
    ),
    Pair(
        "mercurial", 11, Mercurial, MercurialRight,
        [
            b"hello\n",
            b"heads\n",
            b"unbundle\nheads 10\n666f726365",
            b"6\nHG10UN4\n\x00\x00\x00\x000\n",
            b"branchmap\n",
        ],
    ),
    Pair(
        "message-send", 11, MessageSend, MessageSendRight,
        [
            message(b"ada", b"Lunch?", b"910101-1"),
            message(b"ada", b"Lunch?", b"910101-1"),
            message(b"", b"The printer\r\nis back", b"910101-2"),
            message(b"eve", b"Lunch?", b"910101-3"),
        ],
    ),
]  # fmt: skip
