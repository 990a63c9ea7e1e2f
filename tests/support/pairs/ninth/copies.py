"""Pairs of the ninth set: what comes twice, from a printer's host, a backup server and a player."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Packet, StreamHandler, TimedOut, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step

LINE = re.compile(rb"(?:N([0-9]{1,8}) )?([A-Z][A-Z0-9. -]{0,63}?) ?(?:\*([0-9]{1,3}))?")
MOVE = re.compile(rb"G[01](?: X(-?[0-9]{1,4}))?(?: Y(-?[0-9]{1,4}))?")


class Marlin(StreamHandler):
    """A 3D printer (Marlin, host serial protocol): lines of G-code with a number and a checksum, the XOR of the line.

    A line that is not the next one is asked for again. M110 sets the number, M114 says where the head is.
    """

    timeout = 60.0

    def setup(self) -> None:
        self.last = 0
        self.is_relative = False
        self.place = [0, 0]

    def handle(self) -> Step:
        return Until(b"\n", limit=96), self.line

    def line(self, data: bytes) -> Step:
        text = data[:-1]
        matched = LINE.fullmatch(text)
        if matched is None:
            self.error(b"Unreadable line")
            return self.handle()
        number, code, checksum = matched.groups()
        if checksum is not None and int(checksum) != self.checksum(text.rpartition(b"*")[0]):
            self.error(b"checksum mismatch")
        elif number is None and checksum is not None:
            self.error(b"No Line Number with checksum")
        elif number is not None and checksum is None:
            self.error(b"No Checksum with line number")
        elif number is not None and code != b"M110" and not self.is_next(int(number)):
            self.error(b"Line Number is not Last Line Number+1")
        else:
            self.last = self.last if number is None else int(number)
            self.send(self.run(code) + b"ok\n")
        return self.handle()

    def checksum(self, text: bytes) -> int:
        value = 0
        for byte in text:
            value ^= byte
        return value

    def is_next(self, number: int) -> bool:
        return number <= self.last + 1

    def error(self, text: bytes) -> None:
        self.send(b"Error:%b, Last Line: %d\nResend: %d\nok\n" % (text, self.last, self.last + 1))

    def run(self, code: bytes) -> bytes:
        """Do what a line says, and return what is said before its ``ok``."""
        if code in (b"G90", b"G91"):
            self.is_relative = code == b"G91"
        elif code == b"G28":
            self.place = [0, 0]
        elif code == b"M114":
            return b"X:%d.00 Y:%d.00\n" % tuple(self.place)
        elif moved := MOVE.fullmatch(code):
            for axis, value in enumerate(moved.groups()):
                if value is not None:
                    place = int(value) + self.place[axis] * self.is_relative
                    self.place[axis] = min(max(place, 0), 250)
        elif code != b"M110":
            return b"echo:Unknown command\n"
        return b""


class MarlinRight(Marlin):
    def is_next(self, number: int) -> bool:
        return number == self.last + 1


def numbered(number: int, code: bytes) -> bytes:
    """A line with its number and its checksum."""
    text = b"N%d %b" % (number, code)
    return b"%b*%d\n" % (text, Marlin.checksum(Marlin(), text))


AMANDA = re.compile(
    rb"Amanda 2\.[0-9] (REQ|REP|PREP|ACK|NAK) (HANDLE [0-9A-F]{3}-[0-9A-F]{8} SEQ [0-9]{1,10})\n"
    rb"((?:[ -~]{1,256}\n){0,16})"
)


class AmandaRight(DatagramHandler):
    """A client of a backup server (Amanda 2.6, the packets of its protocol): it tells what it can do.

    A request is acknowledged and then answered by a report, which the server acknowledges in its turn. A report that
    is not acknowledged is sent again after ten seconds, three times.
    """

    timeout = 60.0
    wait_for_ack = 10.0

    def setup(self) -> None:
        self.done: deque[bytes] = deque(maxlen=64)

    async def handle(self) -> None:
        while True:
            matched = AMANDA.fullmatch(await Packet())
            if matched is None or matched[1] != b"REQ" or matched[2] in self.done:
                continue
            self.done.append(matched[2])
            self.packet(b"ACK", matched[2])
            if matched[3].split(b"\n")[0] == b"SERVICE noop":
                report = b"OPTIONS features=fffffeff9ffe7f;\n"
            elif matched[3].split(b"\n")[0] == b"SERVICE selfcheck":
                report = b"OPTIONS ;\nOK\n"
            else:
                report = b"ERROR unknown service\n"
            if not await self.report(matched[2], report):
                return

    def packet(self, kind: bytes, head: bytes, content: bytes = b"") -> None:
        self.send(b"Amanda 2.6 %b %b\n%b" % (kind, head, content))

    async def report(self, head: bytes, content: bytes) -> bool:
        """Send a report until it is acknowledged. False: the server sends other packets only."""
        tries = 0
        while True:
            self.packet(b"REP", head, content)
            try:
                return await self.acknowledged(head)
            except TimedOut:
                tries += 1
                if tries > 3:
                    raise

    async def acknowledged(self, head: bytes) -> bool:
        """Wait for the acknowledgement of a report, for sixteen packets at most."""
        for _ in range(16):
            matched = AMANDA.fullmatch(await Packet(timeout=self.wait_for_ack))
            if matched is None:
                continue
            if matched[2] == head and matched[1] == b"ACK":
                return True
            if matched[2] == head and matched[1] == b"REQ":
                self.packet(b"ACK", head)
            elif matched[1] == b"REQ":
                self.packet(b"NAK", matched[2], b"ERROR amandad busy\n")
        return False


class Amanda(AmandaRight):
    async def report(self, head: bytes, content: bytes) -> bool:
        while True:
            tries = 0
            self.packet(b"REP", head, content)
            try:
                return await self.acknowledged(head)
            except TimedOut:
                tries += 1
                if tries > 3:
                    raise


def request(number: int, service: bytes) -> bytes:
    """A request of a backup server."""
    return b"Amanda 2.6 REQ HANDLE 00B-%08X SEQ %d\nSERVICE %b\nOPTIONS ;\n" % (number, 1_000_000 + number, service)


def acknowledgement(number: int) -> bytes:
    return b"Amanda 2.6 ACK HANDLE 00B-%08X SEQ %d\n" % (number, 1_000_000 + number)


NUMBERS = 1 << 24


class Window:
    """The newest of the numbers that have come, and which of the 512 up to it have."""

    def __init__(self) -> None:
        self.newest = NUMBERS - 1
        self.seen: set[int] = set()

    def is_far(self, number: int) -> bool:
        """Whether ``number`` is newer than the next 512."""
        return 512 < (number - self.newest) % NUMBERS < NUMBERS // 2

    def take(self, number: int) -> bool:
        """Whether ``number``, which is not far, comes for the first time; an old one does not."""
        ahead = (number - self.newest) % NUMBERS
        if 512 < ahead <= NUMBERS - 512 or number in self.seen:
            return False
        if ahead <= 512:
            for step in range(1, ahead + 1):
                self.seen.discard((self.newest + step - 512) % NUMBERS)
            self.newest = number
        self.seen.add(number)
        return True


class RakNet(DatagramHandler):
    """A game server (RakNet, after the handshake): datagrams with frames, and acknowledgements of datagrams.

    A reliable frame has a number of its own. A client that misses an acknowledgement sends the frame again, in a new
    datagram. Frames with the identifier 0x86 say what a player has picked up; the answer is the sum.
    """

    timeout = 30.0

    def setup(self) -> None:
        self.datagrams, self.frames = Window(), Window()
        self.sum = self.sequence = 0

    def parse(self, packet: bytes) -> list[tuple[int | None, bytes]]:
        """The frames of a datagram with their numbers; none if it is malformed."""
        frames: list[tuple[int | None, bytes]] = []
        place = 4
        while place < len(packet):
            flags, bits = packet[place], int.from_bytes(packet[place + 1 : place + 3], "big")
            place += 3
            number = None
            if flags == 0x40 and len(packet) >= place + 3:
                number = int.from_bytes(packet[place : place + 3], "little")
                place += 3
            elif flags:
                return []
            content = packet[place : place + bits // 8]
            if not bits or bits % 8 or len(content) != bits // 8:
                return []
            frames.append((number, content))
            place += len(content)
        return frames

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            frames = self.parse(packet) if packet[:1] == b"\x84" and len(packet) <= 1492 else []
            sequence = int.from_bytes(packet[1:4], "little")
            numbers = [number for number, _ in frames if number is not None]
            if not frames or self.datagrams.is_far(sequence) or any(map(self.frames.is_far, numbers)):
                continue
            self.send(b"\xc0\x00\x01\x01" + packet[1:4])
            if not self.datagrams.take(sequence):
                continue
            for number, content in frames:
                if not self.is_new(number):
                    continue
                if content == b"\x15":
                    return
                if content[0] == 0x86 and len(content) == 2:
                    self.sum = min(self.sum + content[1], 0xFFFF)
                    self.answer(b"\x86" + self.sum.to_bytes(2, "big"))

    def is_new(self, number: int | None) -> bool:
        return True

    def answer(self, content: bytes) -> None:
        head = b"\x84" + self.sequence.to_bytes(3, "little")
        self.sequence = (self.sequence + 1) % NUMBERS
        self.send(head + b"\x00" + (len(content) * 8).to_bytes(2, "big") + content)


class RakNetRight(RakNet):
    def is_new(self, number: int | None) -> bool:
        return number is None or self.frames.take(number)


def frame(content: bytes, number: int | None = None) -> bytes:
    """A frame; with a number it is reliable."""
    size = (len(content) * 8).to_bytes(2, "big")
    return b"\x00" + size + content if number is None else b"\x40" + size + number.to_bytes(3, "little") + content


def datagram(sequence: int, *frames: bytes) -> bytes:
    return b"\x84" + sequence.to_bytes(3, "little") + b"".join(frames)


PAIRS = [
    Pair(
        "marlin", 8, Marlin, MarlinRight,
        [
            b"M110\n",
            numbered(0, b"M110"),
            numbered(1, b"G28"),
            numbered(2, b"G91"),
            numbered(3, b"G1 X10 Y20"),
            numbered(4, b"G1 X5"),
            numbered(5, b"M114"),
            b"M114\n",
        ],
    ),
    Pair(
        "amanda", 8, Amanda, AmandaRight,
        [request(1, b"noop"), acknowledgement(1), request(2, b"selfcheck"), acknowledgement(2)],
    ),
    Pair(
        "raknet-frames", 8, RakNet, RakNetRight,
        [
            datagram(0, frame(b"\x86\x05", 0)),
            datagram(1, frame(b"\x86\x07", 1), frame(b"\x86\x01", 2)),
            datagram(2, frame(b"\x86\x02")),
            datagram(3, frame(b"\x86\x03", 3)),
        ],
    ),
]  # fmt: skip
