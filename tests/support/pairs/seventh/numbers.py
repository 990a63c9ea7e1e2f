"""Pairs of the seventh set: numbers, what adds up, and what clients share."""

from __future__ import annotations

import decimal
import os
import re
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers.handler import Step


def hex_record(address: int, kind: int, data: bytes) -> bytes:
    """A record of Intel HEX, with its checksum."""
    record = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return b":%b%02X\r\n" % (record.hex().upper().encode(), -sum(record) % 256)


class IntelHex(StreamHandler):
    """A loader of Intel HEX records; the last record is answered with the number of bytes that were written."""

    timeout = 60.0

    def setup(self) -> None:
        self.memory = bytearray(4096)
        self.written = 0

    def handle(self) -> Step:
        return Until(b"\r\n", limit=77), self.record

    def octets(self, digits: bytes) -> bytes:
        return bytes.fromhex(digits.decode("ascii"))

    def record(self, line: bytes) -> Step:
        try:
            record = self.octets(line[1:-2])
        except ValueError:
            record = b""
        if line[:1] != b":" or len(record) < 5 or len(record) != record[0] + 5 or sum(record) % 256:
            self.send(b"NAK\r\n")
            return self.handle()
        address = int.from_bytes(record[1:3], "big")
        if record[3] == 1:
            self.send(b"DONE %d\r\n" % self.written)
            return None
        if record[3] or address + record[0] > len(self.memory):
            self.send(b"NAK\r\n")
            return self.handle()
        self.memory[address : address + record[0]] = record[4:-1]
        self.written += record[0]
        self.send(b"ACK %04X\r\n" % address)
        return self.handle()


class IntelHexRight(IntelHex):
    def octets(self, digits: bytes) -> bytes:
        if not re.fullmatch(rb"(?:[0-9A-Fa-f]{2})+", digits):
            raise ValueError(digits)
        return bytes.fromhex(digits.decode("ascii"))


class Beep(StreamHandler):
    """The frames of BEEP (RFC 3080) on one channel: each message is answered with its size."""

    timeout = 60.0

    def number(self, word: str) -> bool:
        return word.isdecimal() and len(word) <= 10

    async def handle(self) -> None:
        while True:
            words = (await Until(b"\r\n", limit=80))[:-2].decode("utf-8", "replace").split(" ")
            if len(words) != 6 or words[0] != "MSG" or words[3] != ".":
                self.send(b"ERR 500 syntax\r\n")
                return
            if not all(self.number(words[place]) for place in (1, 2, 4, 5)) or int(words[5]) > 4096:
                self.send(b"ERR 501 parameter\r\n")
                return
            content = await Exactly(int(words[5]) + 5)
            if content[-5:] != b"END\r\n":
                self.send(b"ERR 500 trailer\r\n")
                return
            text = b"%d" % int(words[5])
            self.send(b"RPY %d %d . 0 %d\r\n%bEND\r\n" % (int(words[1]), int(words[2]), len(text), text))


class BeepRight(Beep):
    def number(self, word: str) -> bool:
        return word.isascii() and word.isdecimal() and len(word) <= 10


class RtpProxy(DatagramHandler):
    """The control protocol of RTPproxy: V asks for the version, U offers an address, D deletes a call."""

    timeout = 30.0

    async def handle(self) -> None:
        while True:
            self.send(self.answer((await Packet()).decode("utf-8", "replace").removesuffix("\n").split(" ")))

    def port(self, word: str) -> int:
        try:
            return int(word)
        except ValueError:
            return 0

    def answer(self, words: list[str]) -> bytes:
        cookie = words[0]
        if not cookie.isascii() or not cookie.isalnum() or len(cookie) > 32:
            return b"0 E0\n"
        if words[1:] == ["V"]:
            return b"%b 20040107\n" % cookie.encode()
        if len(words) == 6 and words[1] == "U":
            port = self.port(words[4])
            if not 0 < port < 65_536:
                return b"%b E8\n" % cookie.encode()
            return b"%b %d\n" % (cookie.encode(), 35_000 + port % 1000)
        if len(words) == 4 and words[1] == "D":
            return b"%b 0\n" % cookie.encode()
        return b"%b E1\n" % cookie.encode()


class RtpProxyRight(RtpProxy):
    def port(self, word: str) -> int:
        return int(word) if re.fullmatch("[1-9][0-9]{0,4}", word) else 0


class Avro(StreamHandler):
    """The framing of Avro: a message is buffers with their lengths before them; an empty one ends it."""

    timeout = 60.0
    largest: float = float("inf")

    async def handle(self) -> None:
        while True:
            size = int.from_bytes(await Exactly(4), "big")
            message = bytearray()
            while size:
                if size > 4096 or len(message) + size > self.largest:
                    self.send(b"\x00\x00\x00\x05ERROR\x00\x00\x00\x00")
                    return
                message += await Exactly(size)
                size = int.from_bytes(await Exactly(4), "big")
            self.send(b"\x00\x00\x00\x04%b\x00\x00\x00\x00" % len(message).to_bytes(4, "big"))


class AvroRight(Avro):
    largest = 16_384


class Xdmcp(DatagramHandler):
    """XDMCP: REQUEST is answered with ACCEPT and the number of a session, KEEPALIVE with ALIVE."""

    timeout = 60.0

    def setup(self) -> None:
        self.sessions: dict[int, bytes] = {}
        self.number = 0

    def handle(self) -> Step:
        return Packet(), self.packet

    def begin(self, display: bytes) -> int:
        self.number = (self.number + 1) & 0xFFFF_FFFF
        self.sessions[self.number] = display
        return self.number

    def packet(self, packet: bytes) -> Step:
        version, code, size = (int.from_bytes(packet[place : place + 2], "big") for place in (0, 2, 4))
        content = packet[6:]
        if version != 1 or size != len(content) or len(packet) < 6:
            return self.handle()
        if code == 7 and 3 <= size <= 66:
            self.send(b"\x00\x01\x00\x08\x00\x04" + self.begin(content).to_bytes(4, "big"))
        elif code == 13 and size == 6:
            alive = int.from_bytes(content[2:], "big") in self.sessions
            self.send(b"\x00\x01\x00\x0e\x00\x05%c%b" % (alive, content[2:]))
        return self.handle()


class XdmcpRight(Xdmcp):
    def begin(self, display: bytes) -> int:
        if len(self.sessions) == 16:
            del self.sessions[next(iter(self.sessions))]
        return super().begin(display)


class Icecast(StreamHandler):
    """A source of Icecast: blocks of sound with their lengths before them go to a file; an empty one ends it."""

    timeout = 60.0

    async def handle(self) -> None:
        while True:
            line = await Until(b"\r\n", limit=128)
            if not line.startswith(b"SOURCE /"):
                self.send(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                return
            self.send(b"HTTP/1.0 200 OK\r\n\r\n")
            await self.take()

    async def take(self) -> None:
        file = os.open(os.devnull, os.O_WRONLY)
        self.send(b"%d bytes\r\n" % await self.copy(file))
        os.close(file)

    async def copy(self, file: int) -> int:
        total = 0
        while size := int.from_bytes(await Exactly(2), "big"):
            total += os.write(file, await Exactly(size))
        return total


class IcecastRight(Icecast):
    async def take(self) -> None:
        file = os.open(os.devnull, os.O_WRONLY)
        try:
            self.send(b"%d bytes\r\n" % await self.copy(file))
        finally:
            os.close(file)


class Elm(StreamHandler):
    """An ELM327, which asks a car: ATE and ATH switch the echo and the headers."""

    timeout = 60.0
    settings: dict[bytes, bool] = {b"E": True, b"H": False}

    def handle(self) -> Step:
        return Until(b"\r", limit=32), self.command

    def command(self, line: bytes) -> Step:
        command, echo = line[:-1].upper(), line if self.settings[b"E"] else b""
        if command[:2] == b"AT" and command[2:3] in self.settings and command[3:] in (b"0", b"1"):
            self.settings[command[2:3]] = command[3:] == b"1"
            answer = b"OK"
        elif command == b"ATI":
            answer = b"ELM327 v1.5"
        elif command == b"010C":
            answer = b"7E8 04 41 0C 1A F8" if self.settings[b"H"] else b"41 0C 1A F8"
        else:
            answer = b"?"
        self.send(echo + answer + b"\r\r>")
        return self.handle()


class ElmRight(Elm):
    def setup(self) -> None:
        self.settings = dict(Elm.settings)


class Munin(StreamHandler):
    """A node of Munin: cap agrees on what both sides can, list and fetch give the values."""

    timeout = 60.0
    values = {b"load": b"load.value 0.12\n", b"uptime": b"uptime.value 3.5\n"}

    def agree(self, offered: list[bytes], agreed: list[bytes] = []) -> list[bytes]:  # noqa: B006
        agreed += [word for word in (b"dirtyconfig", b"multigraph") if word in offered and word not in agreed]
        return agreed

    async def handle(self) -> None:
        while True:
            words = (await Until(b"\n", limit=256)).split()
            if words[:1] == [b"cap"]:
                self.send(b"cap %b\n" % b" ".join(self.agree(words[1:])))
            elif words[:1] == [b"list"]:
                self.send(b" ".join(self.values) + b"\n")
            elif words[:1] == [b"fetch"] and len(words) == 2 and words[1] in self.values:
                self.send(self.values[words[1]] + b".\n")
            elif words == [b"quit"]:
                return
            else:
                self.send(b"# Unknown command. Try cap, list, fetch, quit\n")


class MuninRight(Munin):
    def agree(self, offered: list[bytes], agreed: list[bytes] | None = None) -> list[bytes]:
        return super().agree(offered, [])


class Quotients(StreamHandler):
    """A calculator: DIGITS sets the number of digits, DIV divides."""

    timeout = 60.0

    def setup(self) -> None:
        self.context = self.its_context()

    def its_context(self) -> Any:
        return decimal.getcontext()

    def handle(self) -> Step:
        return Until(b"\n", limit=64), self.command

    def command(self, line: bytes) -> Step:
        words = line.split()
        numbers = [int(word) for word in words[1:] if re.fullmatch(rb"[0-9]{1,12}", word)]
        if words[:1] == [b"DIGITS"] and len(words) == 2 and numbers and 1 <= numbers[0] <= 100:
            self.context.prec = numbers[0]
            self.send(b"OK\n")
        elif words[:1] == [b"DIV"] and len(words) == 3 == len(numbers) + 1 and numbers[1]:
            quotient = self.context.divide(decimal.Decimal(numbers[0]), decimal.Decimal(numbers[1]))
            self.send(str(quotient).encode() + b"\n")
        else:
            self.send(b"ERROR\n")
        return self.handle()


class QuotientsRight(Quotients):
    def its_context(self) -> Any:
        return decimal.Context(prec=28)


def request(code: int, content: bytes) -> bytes:
    """A packet of XDMCP."""
    return b"\x00\x01" + code.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


PAIRS = [
    Pair(
        "intel hex", 1, IntelHex, IntelHexRight,
        [hex_record(0, 0, b"ABC"), hex_record(3, 0, b"DE"), hex_record(0x800, 0, b"FGHI"), hex_record(0, 1, b"")],
    ),
    Pair(
        "beep", 1, Beep, BeepRight,
        [b"MSG 0 1 . 0 5\r\nhelloEND\r\n", b"MSG 0 2 . 5 0\r\nEND\r\n", b"MSG 0 3 . 5 12\r\n<start n='1'END\r\n"],
    ),
    Pair(
        "rtpproxy", 1, RtpProxy, RtpProxyRight,
        [b"a1 V\n", b"a2 U call1 10.0.0.1 5004 tag1\n", b"a3 U call2 10.0.0.2 16384 tag2\n", b"a4 D call1 tag1\n"],
    ),
    Pair(
        "avro", 2, Avro, AvroRight,
        [
            b"\x00\x00\x00\x05hello\x00\x00\x00\x00",
            b"\x00\x00\x00\x02ab\x00\x00\x00\x03cde\x00\x00\x00\x00",
            b"\x00\x00\x00\x01x\x00\x00\x00\x00",
        ],
    ),
    Pair(
        "xdmcp", 2, Xdmcp, XdmcpRight,
        [
            request(7, b"\x00\x00ws1"), request(13, b"\x00\x00\x00\x00\x00\x01"),
            request(7, b"\x00\x01ws1"), request(13, b"\x00\x01\x00\x00\x00\x02"),
        ],
    ),
    Pair(
        "icecast", 2, Icecast, IcecastRight,
        [b"SOURCE /live.ogg\r\n", b"\x00\x05hello", b"\x00\x03abc", b"\x00\x00"],
    ),
    Pair("elm327", 3, Elm, ElmRight, [b"ATI\r", b"ATE0\r", b"010C\r", b"ATH1\r", b"010C\r"]),
    Pair("munin", 3, Munin, MuninRight, [b"cap multigraph\n", b"list\n", b"fetch load\n", b"quit\n"]),
    Pair("quotients", 3, Quotients, QuotientsRight, [b"DIV 1 3\n", b"DIGITS 5\n", b"DIV 1 3\n", b"DIV 22 7\n"]),
]  # fmt: skip
