"""Pairs of the tenth set: the number of a dimmer, of a card terminal and of a feed of prices."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

DECIMAL = re.compile(rb"([0-9]{1,3})(?:\.([0-9]{1,2}))?")


class Lutron(StreamHandler):
    """A lighting processor (Lutron Integration Protocol, document 040249): the action 1 of outputs, which is the level.

    A level is a percentage, with two decimals or none. A fade, which may follow it, is seconds below a minute.
    """

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.levels = {b"1": 0, b"2": 10_000, b"12": 0}  # in hundredths of a per cent

    def handle(self) -> Step:
        self.one_by_one += 1
        self.send(b"GNET> ")
        return Until(b"\r\n", limit=128), self.command

    def command(self, line: bytes) -> Step:
        error = self.perform(*line[:-2].split(b","))
        if error:
            self.send(b"~ERROR,%d\r\n" % error)
        return self.handle()

    def perform(self, command: bytes, *values: bytes) -> int:
        """Do what a command says. The number of the error; 0 if there is none."""
        if command not in (b"?OUTPUT", b"#OUTPUT"):
            return 6
        if len(values) not in ((2,) if command == b"?OUTPUT" else (3, 4)):
            return 1
        if values[0] not in self.levels:
            return 2
        if values[1] != b"1":
            return 3
        if command == b"#OUTPUT":
            level, *fade = map(self.hundredths, values[2:])
            if level < 0 or min(fade, default=0) < 0:
                return 5
            if level > 10_000 or max(fade, default=0) >= 6000:
                return 4
            self.levels[values[0]] = level
        self.send(b"~OUTPUT,%b,1,%d.%02d\r\n" % (values[0], *divmod(self.levels[values[0]], 100)))
        return 0

    def hundredths(self, text: bytes) -> int:
        """A number with decimals, times a hundred; -1 if it is none."""
        try:
            number = float(text)
        except ValueError:
            return -1
        return round(number * 100) if 0 <= number < 1000 else -1


class LutronRight(Lutron):
    def hundredths(self, text: bytes) -> int:
        found = DECIMAL.fullmatch(text)
        return int(found[1]) * 100 + int((found[2] or b"").ljust(2, b"0")) if found else -1


ACKNOWLEDGED, REFUSED, COMPLETED = b"\x80\x00\x00", b"\x84\x83\x00", b"\x06\x0f\x00"
SIZES = {0x04: 6, 0x19: 1, 0x49: 2}  # of the amount, the kind of payment and the currency


class Zvt(StreamHandler):
    """A payment terminal (ZVT, document PA00P015, over TCP): a till registers, authorizes amounts and logs off.

    Numbers are in BCD, two digits in a byte. The till acknowledges each message of the terminal.
    """

    timeout = 60.0
    request_timeout = 30.0

    async def apdu(self) -> tuple[bytes, bytes]:
        head = await Exactly(3)
        if head[2] == 0xFF:
            raise Malformed("the long form of a length, which this terminal has no use for")
        return head[:2], await Exactly(head[2])

    async def tell(self, message: bytes) -> None:
        self.send(message)
        if await self.apdu() != (b"\x80\x00", b""):
            raise Malformed("no acknowledgement")

    async def handle(self) -> None:
        is_registered = False
        while True:
            self.one_by_one += 1
            command, data = await self.apdu()
            if command == b"\x06\x00" and self.is_registration(data):
                is_registered = True
                self.send(ACKNOWLEDGED)
                await self.tell(COMPLETED)
            elif command == b"\x06\x01" and is_registered and 0 < (amount := self.amount(data)) < 1_000_000:
                self.send(ACKNOWLEDGED)
                await self.tell(b"\x04\x0f\x0c\x27\x00\x04" + bytes.fromhex(f"{amount:012}") + b"\x49\x09\x78")
                await self.tell(COMPLETED)
            elif command == b"\x06\x02" and not data:
                self.send(ACKNOWLEDGED)
                return
            else:
                self.send(REFUSED)

    def is_registration(self, data: bytes) -> bool:
        """Whether it has the password, no bits that are reserved, and euros."""
        return len(data) == 6 and data[:3] == b"\x12\x34\x56" and not data[3] & 0x41 and data[4:] == b"\x09\x78"

    def amount(self, data: bytes) -> int:
        """The amount among the fields of an authorization; -1 if they can't be read."""
        found: dict[int, bytes] = {}
        while data:
            tag, size = data[0], SIZES.get(data[0])
            if size is None or tag in found or len(data) <= size:
                return -1
            found[tag], data = data[1 : size + 1], data[size + 1 :]
        if 0x04 not in found or found.get(0x49, b"\x09\x78") != b"\x09\x78" or found.get(0x19, b"\x00") != b"\x00":
            return -1
        return self.decimal(found[0x04])

    def decimal(self, data: bytes) -> int:
        number = 0
        for byte in data:
            number = number * 100 + (byte >> 4) * 10 + (byte & 15)
        return number


class ZvtRight(Zvt):
    def decimal(self, data: bytes) -> int:
        digits = data.hex()
        return int(digits) if digits.isdecimal() else -1


SESSION = b"000000042A"
PRICES = (b"S\x00", b"A\x00\x01B100", b"A\x00\x02S101", b"X\x00\x01", b"P\x00\x03B100", b"E")


class MoldUdp(DatagramHandler):
    """The server for requests of MoldUDP64 (Nasdaq, version 1.00): it sends again the messages that a client has lost.

    A request has the session, the number of the first message (64 bits) and how many. There is no answer to one for
    what has not been sent. The count of all ones is not a request but says that a session has ended.
    """

    timeout = 30.0
    request = struct.Struct(">10s4xIH")

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) != 20:
                continue
            session, first, count = self.request.unpack(packet)
            if session != SESSION or not 1 <= first <= len(PRICES) or not 1 <= count < 0xFFFF:
                continue
            found = PRICES[first - 1 : first - 1 + count]
            blocks = b"".join(len(message).to_bytes(2, "big") + message for message in found)
            self.send(struct.pack(">10sQH", SESSION, first, len(found)) + blocks)


class MoldUdpRight(MoldUdp):
    request = struct.Struct(">10sQH")


def authorization(cents: int) -> bytes:
    return b"\x06\x01\x0a\x04" + bytes.fromhex(f"{cents:012}") + b"\x49\x09\x78"


PAIRS = [
    Pair(
        "lutron",
        1,
        Lutron,
        LutronRight,
        [
            b"?OUTPUT,2,1\r\n",
            b"#OUTPUT,1,1,75\r\n",
            b"#OUTPUT,12,1,33.5,2.25\r\n",
            b"?OUTPUT,1,1\r\n",
            b"?OUTPUT,3,1\r\n",
        ],
    ),
    Pair(
        "zvt",
        1,
        Zvt,
        ZvtRight,
        [
            b"\x06\x00\x06\x12\x34\x56\xba\x09\x78" + ACKNOWLEDGED,
            authorization(1250) + ACKNOWLEDGED * 2,
            authorization(99) + ACKNOWLEDGED * 2,
            b"\x06\x02\x00",
        ],
    ),
    Pair(
        "moldudp",
        1,
        MoldUdp,
        MoldUdpRight,
        [
            struct.pack(">10sQH", SESSION, 1, 2),
            struct.pack(">10sQH", SESSION, 4, 1),
            struct.pack(">10sQH", SESSION, 5, 10),
        ],
    ),
]
