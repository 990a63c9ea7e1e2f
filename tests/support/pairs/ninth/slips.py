"""Pairs of the ninth set: a step that is not taken, or that stops all others."""

from __future__ import annotations

import hmac
import re
import time
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Delay, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step


def counted(text: bytes) -> bytes:
    """A string behind its length in two bytes."""
    return len(text).to_bytes(2, "big") + text


class SaslAuthdRight(StreamHandler):
    """A password server for other services (saslauthd of Cyrus SASL): a login, a password, a service and a realm.

    Each is a counted string, and so is the answer. One that is refused is told so two seconds later.
    """

    timeout = 30.0
    request_timeout = 30.0
    passwords = {b"ada": b"lovelace", b"grace": b"hopper"}

    async def string(self) -> bytes:
        size = int.from_bytes(await Exactly(2), "big")
        if size > 256:
            raise Malformed("too long")
        return await Exactly(size)

    async def handle(self) -> None:
        login = await self.string()
        password = await self.string()
        service = await self.string()
        realm = await self.string()
        is_service = re.fullmatch(rb"[a-z0-9]{1,32}", service) and re.fullmatch(rb"[A-Za-z0-9.-]{0,64}", realm)
        is_right = hmac.compare_digest(self.passwords.get(login, b"\0"), password)
        if is_service and is_right and login in self.passwords:
            self.send(counted(b"OK"))
            return
        await self.slow_down()
        self.send(counted(b"NO"))

    async def slow_down(self) -> None:
        """Let some time pass, so that nobody tries many passwords."""
        await Delay(2)


class SaslAuthd(SaslAuthdRight):
    async def slow_down(self) -> None:
        Delay(2)


HEX = re.compile(rb"read_memory 0x([0-9a-fA-F]{1,8}) (8|16|32) ([1-9][0-9]?)")
SLEEP = re.compile(rb"sleep ([0-9]{1,4})(?: busy)?")


class OpenOcdRight(StreamHandler):
    """A debugger of boards (OpenOCD, its Tcl server): commands and answers that end with the byte 0x1a.

    ``sleep`` waits for so many milliseconds before the next command. The memory has zeros.
    """

    timeout = 60.0

    def setup(self) -> None:
        self.state = b"running"

    async def handle(self) -> None:
        while True:
            command = (await Until(b"\x1a", limit=512))[:-1]
            if command in (b"exit", b"shutdown"):
                return
            if (matched := SLEEP.fullmatch(command)) and int(matched[1]) <= 5000:
                await self.sleep(int(matched[1]) / 1000)
                answer = b""
            else:
                answer = self.run(command)
            self.send(answer + b"\x1a")

    async def sleep(self, seconds: float) -> None:
        await Delay(seconds)

    def run(self, command: bytes) -> bytes:
        """The answer to a command that takes no time."""
        if command == b"version":
            return b"Open On-Chip Debugger 0.12.0"
        if command == b"target names":
            return b"stm32f4x.cpu"
        if command == b"stm32f4x.cpu curstate":
            return self.state
        if command in (b"halt", b"resume"):
            self.state = b"halted" if command == b"halt" else b"running"
            return b""
        if matched := HEX.fullmatch(command):
            size = int(matched[2]) // 8
            place, count = int(matched[1], 16), int(matched[3])
            if place % size or place + size * count > 1 << 32:
                return b"read_memory: failed to read memory"
            return b" ".join([b"0x0"] * count)
        return b"invalid command name"


class OpenOcd(OpenOcdRight):
    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


ACK, STATE_SERVICE, STATE_POWER, ECHO = 45, 3, 22, 59
TARGET = b"\xd0\x73\xd5\x01\x02\x03\0\0"


class LifxRight(DatagramHandler):
    """A lamp (LIFX LAN protocol): it says where it is found and whether it is on, and is switched on and off.

    A packet may ask for an acknowledgement, for an answer, or for both.
    """

    timeout = 30.0

    def setup(self) -> None:
        self.level = b"\0\0"

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        """Answer a packet for this lamp. Others are answers to programs, or for other lamps."""
        content, kind = packet[36:], int.from_bytes(packet[32:34], "little")
        if not self.is_mine(packet, kind):
            return self.ignored(packet)
        answer, is_wanted = b"", bool(packet[22] & 1)
        if kind == 2 and not content:
            kind, answer, is_wanted = STATE_SERVICE, b"\x01" + (56700).to_bytes(4, "little"), True
        elif kind == 20 and not content:
            kind, answer, is_wanted = STATE_POWER, self.level, True
        elif kind == 21 and content in (b"\0\0", b"\xff\xff"):
            kind, answer, self.level = STATE_POWER, content, content
        elif kind == 58 and len(content) == 64:
            kind, answer, is_wanted = ECHO, content, True
        else:
            return self.ignored(packet)
        if packet[22] & 2:
            self.send(lifx(ACK, packet[23], b"", packet[4:8]))
        if is_wanted:
            self.send(lifx(kind, packet[23], answer, packet[4:8]))
        return self.handle()

    def is_mine(self, packet: bytes, kind: int) -> bool:
        """Whether a packet has a good head, and this lamp, or every lamp, as its target."""
        if not 36 <= len(packet) <= 100 or int.from_bytes(packet[:2], "little") != len(packet):
            return False
        is_for_all = packet[3] == 0x34 and packet[8:16] == bytes(8)
        is_for_me = packet[3] == 0x14 and packet[8:16] == TARGET
        spare = packet[16:22] + packet[24:32] + packet[34:36]
        return packet[2] == 0 and (is_for_all or is_for_me) and packet[22] < 4 and not any(spare)

    def ignored(self, packet: bytes) -> Step:
        return self.handle()


class Lifx(LifxRight):
    def ignored(self, packet: bytes) -> None:
        self.handle()


def lifx(kind: int, sequence: int, content: bytes, source: bytes, flags: int = 0) -> bytes:
    """A packet to or from the lamp."""
    head = (36 + len(content)).to_bytes(2, "little") + b"\0\x14" + source + TARGET + bytes(6)
    return head + bytes([flags, sequence]) + bytes(8) + kind.to_bytes(2, "little") + b"\0\0" + content


PAIRS = [
    Pair(
        "saslauthd-delay", 12, SaslAuthd, SaslAuthdRight,
        [counted(b"ada") + counted(b"lovelace") + counted(b"imap") + counted(b"")],
    ),
    Pair(
        "openocd", 12, OpenOcd, OpenOcdRight,
        [
            b"version\x1a",
            b"halt\x1a",
            b"sleep 100\x1a",
            b"stm32f4x.cpu curstate\x1a",
            b"read_memory 0x20000000 32 4\x1a",
            b"resume\x1a",
        ],
    ),
    Pair(
        "lifx", 12, Lifx, LifxRight,
        [
            lifx(2, 1, b"", b"prog", 1),
            lifx(21, 2, b"\xff\xff", b"prog", 3),
            lifx(20, 3, b"", b"prog", 1),
            lifx(58, 4, b"ping".ljust(64, b"\0"), b"prog", 2),
        ],
    ),
]  # fmt: skip
