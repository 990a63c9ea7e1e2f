"""Pairs of the ninth set: numbers in a text, in degrees and in the letters of a name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Packet, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

NAME = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{0,31}")
HEX_PAIR = re.compile(rb"[0-9A-Fa-f]{2}")
DEGREES = re.compile(rb"-?[0-9]{1,3}(?:\.[0-9]{1,6})?")


class Assuan(StreamHandler):
    """The agent of GnuPG, by the Assuan protocol (manual of libassuan): values are put and got, in percent escapes."""

    timeout = 60.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def byte(self, pair: bytes) -> int:
        try:
            return int(pair, 16)
        except ValueError:
            raise Malformed("no escape") from None

    def plain(self, text: bytes) -> bytes:
        """``text`` without its escapes; a plus is a space."""
        first, *others = text.replace(b"+", b" ").split(b"%")
        found = bytearray(first)
        for other in others:
            if len(other) < 2:
                raise Malformed("half an escape")
            found.append(self.byte(other[:2]))
            found += other[2:]
        return bytes(found)

    def put(self, rest: bytes) -> bytes:
        name, _, text = rest.partition(b" ")
        if not NAME.fullmatch(name):
            return b"ERR 67109144 IPC parameter error <GPG Agent>\n"
        if name not in self.values and len(self.values) >= 16:
            return b"ERR 67109047 Resource limit reached <GPG Agent>\n"
        try:
            self.values[name] = self.plain(text)
        except Malformed:
            return b"ERR 67109144 IPC parameter error <GPG Agent>\n"
        return b"OK\n"

    def got(self, name: bytes) -> bytes:
        if name not in self.values:
            return b"ERR 67108891 Not found <GPG Agent>\n"
        value, lines = self.values[name], b""
        for start in range(0, len(value), 300):
            part = value[start : start + 300].replace(b"%", b"%25").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
            lines += b"D %b\n" % part
        return lines + b"OK\n"

    async def handle(self) -> None:
        self.send(b"OK Pleased to meet you\n")
        while True:
            self.one_by_one += 1
            line = (await Until(b"\n", limit=1000))[:-1]
            if not line or line.startswith(b"#"):
                continue
            word, space, rest = line.partition(b" ")
            word = word.upper()
            if min(line) < 32 or 127 in line:
                self.send(b"ERR 67109140 Syntax error in IPC command <GPG Agent>\n")
            elif word == b"PUTVAL":
                self.send(self.put(rest))
            elif word == b"GETVAL":
                self.send(self.got(rest))
            elif word not in (b"NOP", b"RESET", b"BYE"):
                self.send(b"ERR 67109139 Unknown IPC command <GPG Agent>\n")
            elif space:
                self.send(b"ERR 67109144 IPC parameter error <GPG Agent>\n")
            elif word == b"BYE":
                self.send(b"OK closing connection\n")
                return
            else:
                if word == b"RESET":
                    self.values.clear()
                self.send(b"OK\n")


class AssuanRight(Assuan):
    def byte(self, pair: bytes) -> int:
        if not HEX_PAIR.fullmatch(pair):
            raise Malformed("no escape")
        return int(pair, 16)


class Rotctld(StreamHandler):
    """The daemon of Hamlib that turns an antenna (rotctld(1)): azimuth and elevation in degrees, to set and to get."""

    timeout = 120.0
    request_timeout = 20.0
    words = {b"\\get_pos": b"p", b"\\set_pos": b"P", b"\\stop": b"S", b"\\park": b"K", b"\\get_info": b"_"}

    def setup(self) -> None:
        self.azimuth, self.elevation = 180.0, 0.0

    def handle(self) -> Step:
        self.one_by_one += 1
        return Until(b"\n", limit=64), self.command

    def degrees(self, text: bytes, low: float, high: float) -> float:
        """The number of degrees; a negative zero is none."""
        if not DEGREES.fullmatch(text):
            raise Malformed("no number")
        value = float(text)
        if value < low or value > high:
            raise Malformed("out of range")
        return value + 0.0

    def command(self, data: bytes) -> Step:
        word, *given = data[:-1].split(b" ")
        word = self.words.get(word, word)
        if word == b"P" and len(given) == 2:
            try:
                azimuth, elevation = self.degrees(given[0], -180, 450), self.degrees(given[1], 0, 90)
            except Malformed:
                self.send(b"RPRT -1\n")
            else:
                self.azimuth, self.elevation = azimuth, elevation
                self.send(b"RPRT 0\n")
        elif given:
            self.send(b"RPRT -1\n")
        elif word == b"p":
            self.send(b"%.6f\n%.6f\n" % (self.azimuth, self.elevation))
        elif word == b"K":
            self.azimuth, self.elevation = 0.0, 0.0
            self.send(b"RPRT 0\n")
        elif word == b"S":
            self.send(b"RPRT 0\n")
        elif word == b"_":
            self.send(b"Dummy rotator\n")
        elif word == b"q":
            return None
        else:
            self.send(b"RPRT -4\n")
        return self.handle()


class RotctldLoose(Rotctld):
    def degrees(self, text: bytes, low: float, high: float) -> float:
        try:
            value = float(text)
        except ValueError:
            raise Malformed("no number") from None
        if value < low or value > high:
            raise Malformed("out of range")
        return value + 0.0


def netbios(number: int, name: bytes, kind: int = 0x20, flags: int = 0x0100) -> bytes:
    """A question for a NetBIOS name of 16 bytes."""
    letters = bytes(0x41 + half for byte in name for half in (byte >> 4, byte & 15))
    head = number.to_bytes(2, "big") + flags.to_bytes(2, "big") + b"\x00\x01\x00\x00\x00\x00\x00\x00"
    return head + b" " + letters + b"\x00" + kind.to_bytes(2, "big") + b"\x00\x01"


class Nbns(DatagramHandler):
    """A node that answers questions for its NetBIOS names, and for all of them (RFC 1002, sections 4.2.12 to 4.2.18).

    A byte of a name is two letters, from A to P.
    """

    timeout = 30.0
    names = (b"FILESERVER     \x00", b"FILESERVER     \x20", b"STUDIO         \x00")
    address = b"\xc0\x00\x02\x07"

    def half(self, letter: int) -> int:
        return (letter - 0x41) & 0x0F

    def name(self, letters: bytes) -> bytes:
        pairs = zip(letters[::2], letters[1::2], strict=True)
        return bytes(self.half(high) << 4 | self.half(low) for high, low in pairs)

    def record(self, name: bytes, kind: int) -> bytes:
        """What the answer says of ``name``; nothing for a name that is not here."""
        if kind == 0x20 and name in self.names:
            return b"\x00\x20\x00\x01\x00\x00\x0e\x10\x00\x06\x04\x00" + self.address
        if kind == 0x21 and name in (*self.names, b"*" + bytes(15)):
            listed = b"".join(known + b"\x04\x00" for known in self.names)
            data = bytes([len(self.names)]) + listed + bytes(46)
            return b"\x00\x21\x00\x01\x00\x00\x00\x00" + len(data).to_bytes(2, "big") + data
        return b""

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) != 50 or packet[4:13] != b"\x00\x01\x00\x00\x00\x00\x00\x00 " or packet[45]:
                continue
            flags, kind = int.from_bytes(packet[2:4], "big"), int.from_bytes(packet[46:48], "big")
            if flags & ~0x0110 or kind not in (0x20, 0x21) or packet[48:] != b"\x00\x01":
                continue
            try:
                record = self.record(self.name(packet[13:45]), kind)
            except Malformed:
                continue
            if record:
                self.send(packet[:2] + b"\x85\x00\x00\x00\x00\x01\x00\x00\x00\x00" + packet[12:46] + record)
            elif not flags & 0x0010:
                refused = b"\x85\x03\x00\x00\x00\x01\x00\x00\x00\x00" + packet[12:46]
                self.send(packet[:2] + refused + b"\x00\x0a\x00\x01\x00\x00\x00\x00\x00\x00")


class NbnsRight(Nbns):
    def half(self, letter: int) -> int:
        if not 0x41 <= letter <= 0x50:
            raise Malformed("no letter of a name")
        return letter - 0x41


PAIRS = [
    Pair(
        "assuan", 1, Assuan, AssuanRight,
        [
            b"PUTVAL colour dark%20blue+%26+red%0a\n", b"# a remark\n", b"GETVAL colour\n", b"GETVAL size\n",
            b"PUTVAL empty\n", b"getval empty\n", b"RESET\n", b"GETVAL colour\n", b"BYE\n",
        ],
    ),
    Pair(
        "rotctld", 1, RotctldLoose, Rotctld,
        [b"_\n", b"p\n", b"P 271.5 30\n", b"p\n", b"\\set_pos -10.25 91\n", b"S\n", b"K\n", b"\\get_pos\n", b"q\n"],
    ),
    Pair(
        "nbns", 1, Nbns, NbnsRight,
        [
            netbios(1, b"FILESERVER     \x20"), netbios(2, b"PRINTER        \x20"), netbios(3, b"*" + bytes(15), 0x21),
            netbios(4, b"STUDIO         \x00", flags=0x0110),
        ],
    ),
]  # fmt: skip
