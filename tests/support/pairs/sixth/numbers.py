"""Pairs of handlers whose fault is a number (kind 1) or is off by one at the largest size that is allowed (kind 9)."""

import re
from struct import Struct

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair


class Scgi(StreamHandler):
    """SCGI: a netstring of headers, then as much content as ``CONTENT_LENGTH`` says."""

    timeout = 30

    def handle(self):
        return Until(b":", limit=6), self.size

    def size(self, digits):
        if not re.fullmatch(rb"0|[1-9][0-9]{0,3}", digits[:-1]):
            return self.refuse()
        return Exactly(int(digits[:-1]) + 1), self.headers

    def headers(self, data):
        fields = data[:-2].split(b"\0")
        headers = dict(zip(fields[::2], fields[1::2], strict=False))
        if data[-2:] != b"\0," or len(headers) * 2 != len(fields) or fields[0] != b"CONTENT_LENGTH":
            return self.refuse()
        length = self.number(headers[b"CONTENT_LENGTH"])
        if headers.get(b"SCGI") != b"1" or not 0 <= length <= 10_000:
            return self.refuse()
        return Exactly(length), self.content

    def number(self, text):
        try:
            return int(text)
        except ValueError:
            return -1

    def content(self, data):
        self.send(b"Status: 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(data), data[::-1]))

    def refuse(self):
        self.send(b"Status: 400 Bad Request\r\n\r\n")


class ScgiRight(Scgi):
    def number(self, text):
        return int(text) if re.fullmatch(rb"0|[1-9][0-9]{0,5}", text) else -1


def gdb(text):
    """A packet of GDB's remote protocol."""
    return b"$%b#%02x" % (text, sum(text) & 0xFF)


class Gdb(StreamHandler):
    """A stub for GDB's remote protocol: ``m ADDRESS,LENGTH`` reads memory."""

    timeout = 60
    memory = bytes(range(64))

    async def handle(self):
        while True:
            text = (await Until(b"#", limit=128))[:-1].lstrip(b"+")
            digits = await Exactly(2)
            if text[:1] != b"$" or self.number(digits) != sum(text[1:]) & 0xFF:
                self.send(b"-")
                continue
            self.send(b"+" + gdb(self.answer(text[1:])))

    def answer(self, text):
        if text[:1] != b"m":
            return b""
        first, _, length = text[1:].partition(b",")
        first, length = self.number(first), self.number(length)
        if first is None or length is None or first + length > len(self.memory):
            return b"E01"
        return self.memory[first : first + length].hex().encode()

    def number(self, digits):
        try:
            number = int(digits, 16)
        except ValueError:
            return None
        return number if number >= 0 else None


class GdbRight(Gdb):
    def number(self, digits):
        return int(digits, 16) if re.fullmatch(rb"[0-9a-fA-F]{1,8}", digits) else None


class Rig(StreamHandler):
    """Hamlib's rigctld: ``F HERTZ`` tunes, ``f`` asks, ``q`` leaves."""

    timeout = 300
    hertz = 145_000_000

    def handle(self):
        return Until(b"\n", limit=64), self.line

    def line(self, line):
        name, _, value = line[:-1].partition(b" ")
        if name == b"q":
            return None
        if name == b"f":
            self.send(b"%d\n" % self.hertz)
        elif name == b"F":
            hertz = self.number(value)
            if hertz is None or hertz < 0 or hertz > 6e9:
                self.send(b"RPRT -1\n")
            else:
                self.hertz = hertz
                self.send(b"RPRT 0\n")
        else:
            self.send(b"RPRT -4\n")
        return self.handle()

    def number(self, text):
        try:
            return float(text)
        except ValueError:
            return None


class RigRight(Rig):
    def number(self, text):
        return float(text) if re.fullmatch(rb"[0-9]{1,10}(\.[0-9]{1,6})?", text) else None


class Gemini(StreamHandler):
    """Gemini: one URL of at most 1024 bytes, then the answer and the end."""

    timeout = 10
    max_url = 1024
    limit = 1024

    def handle(self):
        return Until(b"\r\n", limit=self.limit), self.url

    def url(self, line):
        url = line[:-2]
        if len(url) > self.max_url:
            self.send(b"59 the URL is too long\r\n")
        elif not url.startswith(b"gemini://"):
            self.send(b"53 no proxy here\r\n")
        else:
            self.send(b"20 text/gemini\r\n# %d bytes\n" % len(url))


class GeminiRight(Gemini):
    limit = 1024 + 2 + 1  # so that a URL that is one byte too long still has its answer


DSI = Struct(">BBHIII")


class Dsi(StreamHandler):
    """DSI, which carries AFP: the volume whose name comes is opened; the answer repeats it as a Pascal string."""

    timeout = 60
    max_name = 256

    def handle(self):
        return Exactly(DSI.size), self.header

    def header(self, data):
        flags, command, self.number, _, length, _ = DSI.unpack(data)
        if flags:
            return None
        if command == 1:  # DSICloseSession
            return None
        return Exactly(length, limit=self.max_name), self.name

    def name(self, name):
        text = bytes([len(name)]) + name
        self.send(DSI.pack(1, 2, self.number, 0, len(text), 0) + text)
        return self.handle()


class DsiRight(Dsi):
    max_name = 255


def dsi(number, name):
    return DSI.pack(0, 2, number, 0, len(name), 0) + name


ARTNET = b"Art-Net\0\x00\x51"


class ArtNet(DatagramHandler):
    """Art-Net, a dialect that sets one channel by its number and answers with what it was."""

    timeout = 30
    channels = 512

    def handle(self):
        self.levels = bytearray(512)
        return Packet(), self.packet

    def packet(self, packet):
        if len(packet) != 13 or packet[:10] != ARTNET:
            return Packet(), self.packet
        channel = int.from_bytes(packet[10:12], "big")
        if channel > self.channels:
            self.send(b"Art-Net\0\x00\x52")
        else:
            self.send(ARTNET + packet[10:12] + self.levels[channel : channel + 1])
            self.levels[channel] = packet[12]
        return Packet(), self.packet


class ArtNetRight(ArtNet):
    channels = 511


def scgi(length):
    headers = b"CONTENT_LENGTH\0%b\0SCGI\x001\0REQUEST_URI\0/a\0" % length
    return b"%d:%b," % (len(headers), headers)


PAIRS = [
    Pair("scgi", 1, Scgi, ScgiRight, [scgi(b"12"), b"hello, ", b"world"]),
    Pair("gdb", 1, Gdb, GdbRight, [gdb(b"m0,4"), b"+" + gdb(b"m10,8"), b"+" + gdb(b"g"), b"+" + gdb(b"m3a,20")]),
    Pair("rigctld", 1, Rig, RigRight, [b"f\n", b"F 14074000\n", b"f\n", b"F 7035500.5\n", b"f\n", b"q\n"]),
    Pair("gemini", 9, Gemini, GeminiRight, [b"gemini://", b"example.org", b"/notes\r\n"]),
    Pair("dsi", 9, Dsi, DsiRight, [dsi(1, b"Music"), dsi(2, b"Ada's papers"), dsi(3, b"")]),
    Pair(
        "art-net", 9, ArtNet, ArtNetRight,
        [ARTNET + b"\x00\x01\xff", ARTNET + b"\x00\x01\x80", ARTNET + b"\x01\x10\x10", ARTNET + b"\x01\x10\x00"],
    ),
]  # fmt: skip
