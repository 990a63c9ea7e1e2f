"""Pairs of the tenth set: the largest and the last of what is allowed."""

from __future__ import annotations

import functools
import operator
import re
import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, Packet, StreamHandler
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

ACK, NACK = b"\x79", b"\x1f"
FLASH = 0x08000000
CONTENT = bytes(at * 7 & 0xFF for at in range(0x1000))


class Stm32(StreamHandler):
    """The boot loader of an STM32 on its serial line (AN3155): Get, Get ID and Read Memory.

    Each command comes with its complement, an address with the exclusive or of its bytes, a count less one.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.place = 0

    def handle(self) -> Step:
        return Exactly(1), self.synchronized

    def synchronized(self, data: bytes) -> Step:
        if data != b"\x7f":
            raise Malformed("not synchronized")
        self.send(ACK)
        self.opened()
        return self.following()

    def following(self) -> Step:
        self.one_by_one += 1
        return Exactly(2), self.command

    def command(self, data: bytes) -> Step:
        if data == b"\x11\xee":
            self.send(ACK)
            return Exactly(5), self.address
        if data == b"\x00\xff":
            self.send(ACK + b"\x03\x31\x00\x02\x11" + ACK)
        elif data == b"\x02\xfd":
            self.send(ACK + b"\x01\x04\x10" + ACK)
        else:
            self.send(NACK)
        return self.following()

    def address(self, data: bytes) -> Step:
        self.place = int.from_bytes(data[:4], "big") - FLASH
        if functools.reduce(operator.xor, data) or not 0 <= self.place < len(CONTENT):
            self.send(NACK)
            return self.following()
        self.send(ACK)
        return Exactly(2), self.count

    def is_inside(self, end: int) -> bool:
        return end < len(CONTENT)

    def count(self, data: bytes) -> Step:
        end = self.place + data[0] + 1
        if data[0] ^ data[1] == 0xFF and self.is_inside(end):
            self.send(ACK + CONTENT[self.place : end])
        else:
            self.send(NACK)
        return self.following()


class Stm32Right(Stm32):
    def is_inside(self, end: int) -> bool:
        return end <= len(CONTENT)


def read_memory(place: int, count: int) -> bytes:
    """What a client sends to read ``count`` bytes."""
    address = (FLASH + place).to_bytes(4, "big")
    check = functools.reduce(operator.xor, address)
    return b"\x11\xee" + address + bytes([check, count - 1, 0xFF ^ count - 1])


def numbered(number: int, content: bytes) -> bytes:
    """A packet of MySQL."""
    return len(content).to_bytes(3, "little") + bytes([number]) + content


LOGIN = re.compile(rb"(.{4}).{4}[\x01-\xff]\x00{23}([a-z]{1,32})\x00\x00", re.DOTALL)
SELECT = re.compile(rb"SELECT '([ -&(-\[\]-~]{0,1000})' AS t")
PROTOCOL_41, SECURE_CONNECTION = 0x0200, 0x8000
END = b"\xfe\x00\x00\x02\x00"
DONE = b"\x00\x00\x00\x02\x00\x00\x00"


class MySql(StreamHandler):
    """A server of MySQL (Client/Server Protocol, 4.1): a login without a password, pings, and a text that is selected.

    A text goes behind its length, which has one byte or, behind 0xFC, two; 0xFB stands for NULL.
    """

    timeout = 60.0
    request_timeout = 30.0

    async def packet(self, number: int) -> bytes:
        head = await Exactly(4)
        size = int.from_bytes(head[:3], "little")
        if head[3] != number or not 0 < size <= 2048:
            raise Malformed("no packet")
        return await Exactly(size)

    def text(self, data: bytes) -> bytes:
        if len(data) <= 251:
            return bytes([len(data)]) + data
        return b"\xfc" + len(data).to_bytes(2, "little") + data

    def failed(self, number: int, code: int, said: bytes) -> None:
        self.send(numbered(number, b"\xff%b#%b" % (code.to_bytes(2, "little"), said)))

    def is_welcome(self, content: bytes) -> bool:
        login = LOGIN.fullmatch(content)
        if login is None:
            raise Malformed("no login")
        flags = int.from_bytes(login[1], "little")
        if flags & ~1 != PROTOCOL_41 | SECURE_CONNECTION:
            raise Malformed("unknown flags")
        return login[2] == b"guest"

    def query(self, text: bytes) -> None:
        selected = SELECT.fullmatch(text)
        if selected is None:
            self.failed(1, 1064, b"42000You have an error in your SQL syntax")
            return
        names = b"".join(map(self.text, (b"def", b"", b"", b"", b"t", b"")))
        column = names + b"\x0c\x21\x00" + (3000).to_bytes(4, "little") + b"\xfd\x00\x00\x00\x00\x00"
        parts = [b"\x01", column, END, self.text(selected[1]), END]
        self.send(b"".join(numbered(number, part) for number, part in enumerate(parts, 1)))

    async def handle(self) -> None:
        flags = (PROTOCOL_41 | SECURE_CONNECTION | 1).to_bytes(2, "little")
        hello = b"\x0a8.0.36-demo\x00\x07\x00\x00\x00saltsalt\x00" + flags + b"\x21\x02\x00\x00\x00\x00"
        self.send(numbered(0, hello + bytes(10) + b"saltsaltsalt\x00"))
        if not self.is_welcome(await self.packet(1)):
            self.failed(2, 1045, b"28000Access denied")
            return
        self.send(numbered(2, DONE))
        self.opened()
        while True:
            self.one_by_one += 1
            content = await self.packet(0)
            if content == b"\x01":
                return
            if content == b"\x0e":
                self.send(numbered(1, DONE))
            elif content[0] == 3:
                self.query(content[1:])
            else:
                self.failed(1, 1047, b"08S01Unknown command")


class MySqlRight(MySql):
    def text(self, data: bytes) -> bytes:
        if len(data) < 251:
            return bytes([len(data)]) + data
        return b"\xfc" + len(data).to_bytes(2, "little") + data


SESSION = b"000000042A"
MESSAGES = tuple(b"S%05d:%s" % (number, b"trade at 1%02d" % (number * 37 % 100)) for number in range(1, 121))


class MoldUdp64(DatagramHandler):
    """The server of a feed that sends lost messages again (MoldUDP64 1.0): a request names the first and a count.

    One packet of at most 1400 bytes is the answer. A request for no message would look like a heartbeat.
    """

    timeout = 60.0
    most = 1400

    def asked(self, first: int, count: int) -> tuple[bytes, ...]:
        """The messages with the numbers from ``first`` on, counted from 1, as far as there are."""
        behind = min(first + count, len(MESSAGES))
        return MESSAGES[first - 1 : behind - 1]

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) != 20 or packet[:10] != SESSION:
                continue
            first, count = struct.unpack_from(">QH", packet, 10)
            if not 0 < first <= len(MESSAGES) or not 0 < count < 0xFFFF:
                continue
            blocks, size = [], 20
            for message in self.asked(first, count):
                size += 2 + len(message)
                if size > self.most:
                    break
                blocks.append(len(message).to_bytes(2, "big") + message)
            if blocks:
                self.send(SESSION + struct.pack(">QH", first, len(blocks)) + b"".join(blocks))


class MoldUdp64Right(MoldUdp64):
    def asked(self, first: int, count: int) -> tuple[bytes, ...]:
        behind = min(first + count, len(MESSAGES) + 1)
        return MESSAGES[first - 1 : behind - 1]


def lost(first: int, count: int) -> bytes:
    """A request of a client of `MoldUdp64`."""
    return SESSION + struct.pack(">QH", first, count)


GUEST = b"\x01\x82\x00\x00\x00\x00\x00\x01\x21" + bytes(23) + b"guest\x00\x00"

PAIRS = [
    Pair(
        "stm32", 9, Stm32, Stm32Right,
        [b"\x7f", b"\x00\xff", b"\x02\xfd", read_memory(0, 4), read_memory(0x700, 256), b"\x43\xbc"],
    ),
    Pair(
        "mysql", 9, MySql, MySqlRight,
        [
            numbered(1, GUEST),
            numbered(0, b"\x0e"),
            numbered(0, b"\x03SELECT 'hello' AS t"),
            numbered(0, b"\x03SELECT '" + b"0123456789" * 40 + b"' AS t"),
            numbered(0, b"\x03DROP TABLE t"),
            numbered(0, b"\x01"),
        ],
    ),
    Pair(
        "moldudp64", 9, MoldUdp64, MoldUdp64Right,
        [lost(1, 3), lost(57, 1), lost(1, 119), lost(118, 2), lost(30, 2)],
    ),
]  # fmt: skip
