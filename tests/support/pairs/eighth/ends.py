"""Pairs of the eighth set: ends and lengths that deceive, quadratic work, a coroutine that nobody awaits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from handlers import DatagramHandler, Delay, Exactly, Packet, Some, StreamHandler, Until
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


def netstring(data: bytes) -> bytes:
    """A string with its length before it."""
    return b"%d:%b," % (len(data), data)


class Malformed(Exception):
    """The message can't be read."""


class Qmtp(StreamHandler):
    """The quick mail transfer protocol: a message, its sender, and its recipients, which are strings in a string."""

    timeout = 60.0
    request_timeout = 60.0

    async def size(self) -> int:
        digits = (await Until(b":", limit=6))[:-1]
        if not digits.isdigit() or (digits[:1] == b"0" and len(digits) > 1):
            raise Malformed
        return int(digits)

    async def string(self) -> bytes:
        data = await Exactly(await self.size() + 1)
        if data[-1:] != b",":
            raise Malformed
        return data[:-1]

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            try:
                message, _, recipients = await self.string(), await self.string(), await self.recipients()
            except Malformed:
                return
            if message[:1] != b"\n":
                self.send(netstring(b"Dunknown encoding") * len(recipients))
                continue
            for recipient in recipients:
                is_here = recipient.endswith(b"@example.org")
                self.send(netstring(b"Kok %d" % len(message) if is_here else b"Dno such user"))

    async def recipients(self) -> list[bytes]:
        left, found = await self.size(), []
        while left > 0:
            found.append(await self.string())
            left -= len(netstring(found[-1]))
            if len(found) > 100:
                raise Malformed
        if await Exactly(1) != b",":
            raise Malformed
        return found


class QmtpRight(Qmtp):
    async def recipients(self) -> list[bytes]:
        rest, found = await self.string(), []
        while rest:
            digits, colon, behind = rest.partition(b":")
            if not colon or not re.fullmatch(rb"0|[1-9][0-9]{0,4}", digits) or len(found) == 100:
                raise Malformed
            size = int(digits)
            if behind[size : size + 1] != b",":
                raise Malformed
            found.append(behind[:size])
            rest = behind[size + 1 :]
        return found


def unescaped(text: bytes) -> bytes:
    """The text of an argument of ADC."""
    return re.sub(rb"\\(.)", lambda found: {b"s": b" ", b"n": b"\n"}.get(found[1], found[1]), text, flags=re.DOTALL)


class Adc(StreamHandler):
    """A hub of ADC: SUP, INF with a name, then MSG, which comes back to all, the sender too, without bad words."""

    timeout = 60.0
    escapes = ((b"\\", b"\\\\"), (b" ", b"\\s"))

    def escaped(self, text: bytes) -> bytes:
        for plain, written in self.escapes:
            text = text.replace(plain, written)
        return text

    async def handle(self) -> None:
        if not (await Until(b"\n", limit=512)).startswith(b"HSUP AD"):
            return
        self.send(b"ISUP ADBASE ADTIGR\nISID AAAB\n")
        info = (await Until(b"\n", limit=512))[:-1]
        if not info.startswith(b"BINF AAAB NI"):
            self.send(b"ISTA 240 Who\\sare\\syou?\n")
            return
        self.send(info + b"\n")
        self.opened()
        while True:
            line = (await Until(b"\n", limit=1024))[:-1]
            if line.startswith(b"BMSG AAAB ") and b" " not in line[10:]:
                text = unescaped(line[10:]).replace(b"damn", b"d***")
                self.send(b"BMSG AAAB " + self.escaped(text) + b"\n")
            elif line:
                self.send(b"ISTA 140 Unknown\\scommand\n")


class AdcRight(Adc):
    escapes = (*Adc.escapes, (b"\n", b"\\n"))


def dlms(apdu: bytes) -> bytes:
    """A packet of the wrapper of DLMS."""
    return b"\0\x01\0\x10\0\x01" + len(apdu).to_bytes(2, "big") + apdu


def reading(number: int, register: bytes) -> bytes:
    """A GET-Request for a register, by its OBIS code."""
    return dlms(b"\xc0\x01" + bytes([number]) + b"\0\x03" + register + b"\x02\0")


class Dlms(DatagramHandler):
    """A meter that is read by DLMS over UDP (IEC 62056-47): each request asks for one register."""

    timeout = 60.0
    registers = {b"\x01\0\x01\x08\0\xff": 1_234_567, b"\x01\0\x02\x08\0\xff": 89}

    def apdu(self, packet: bytes) -> bytes:
        """The unit in the packet; empty if there is none."""
        return packet[8 : 8 + int.from_bytes(packet[6:8], "big")]

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            apdu = self.apdu(packet)
            if packet[:6] != b"\0\x01\0\x10\0\x01" or not apdu:
                continue
            if len(apdu) != 13 or apdu[:2] != b"\xc0\x01" or apdu[3:5] != b"\0\x03" or apdu[11:] != b"\x02\0":
                answer = b"\xd8\x01\x02"
            elif apdu[5:11] in self.registers:
                answer = b"\xc4\x01" + apdu[2:3] + b"\0\x06" + self.registers[apdu[5:11]].to_bytes(4, "big")
            else:
                answer = b"\xc4\x01" + apdu[2:3] + b"\x01\x04"
            self.send(b"\0\x01\0\x01\0\x10" + len(answer).to_bytes(2, "big") + answer)


class DlmsRight(Dlms):
    def apdu(self, packet: bytes) -> bytes:
        return packet[8:] if int.from_bytes(packet[6:8], "big") == len(packet) - 8 else b""


class Psyc(StreamHandler):
    """PSYC 1.0: lines up to one that is a bar. A message is answered with its method and the the lines of its text."""

    timeout = 60.0
    longest = 49_152

    def setup(self) -> None:
        self.held = b""

    async def packet(self) -> bytes | None:
        """The next packet, without its bar; ``None`` if it is too long."""
        while b"|" not in self.held.split(b"\n")[:-1]:
            if len(self.held) >= self.longest:
                return None
            self.held += await Some(limit=4096)
        packet, _, self.held = (b"\n" + self.held).partition(b"\n|\n")
        return packet[1:] if len(packet) + 2 <= self.longest else None

    async def handle(self) -> None:
        while (packet := await self.packet()) is not None:
            head, _, text = packet.partition(b"\n\n")
            lines = text.split(b"\n")
            method = lines[0]
            if not head.startswith(b":_target\tpsyc://") or not re.fullmatch(rb"_[a-z_]{1,40}", method):
                self.send(b"\n_error_invalid_packet\n|\n")
            elif method == b"_request_exit":
                return
            else:
                self.send(b":_tag\t1\n\n_echo%b\n%d lines\n|\n" % (method, len(lines) - 1))


class PsycRight(Psyc):
    async def packet(self) -> bytes | None:
        return (await Until(b"\n|\n", limit=self.longest))[:-3]


def edonkey(kind: int, content: bytes) -> bytes:
    """A message of eDonkey."""
    return b"\xe3" + (1 + len(content)).to_bytes(4, "little") + bytes([kind]) + content


class Edonkey(StreamHandler):
    """A server of eDonkey: after the login a client offers its files; the answer counts those it has offered so far."""

    timeout = 60.0
    request_timeout = 60.0

    def setup(self) -> None:
        self.files: Any = []

    async def handle(self) -> None:
        is_known = False
        while True:
            self.one_by_one += 1
            header = await Exactly(6)
            size = int.from_bytes(header[1:5], "little") - 1
            if header[0] != 0xE3 or not 0 <= size <= 131_072:
                return
            content = await Exactly(size)
            if header[5] == 0x01 and size >= 26:
                is_known = True
                self.send(edonkey(0x40, content[16:20]))
            elif header[5] == 0x15 and is_known and size == 4 + 22 * int.from_bytes(content[:4], "little"):
                self.add(content[place : place + 16] for place in range(4, size, 22))
                if len(self.files) > 30_000:
                    return
                self.send(edonkey(0x34, b"\x01\0\0\0" + len(self.files).to_bytes(4, "little")))
            else:
                return

    def add(self, hashes: Iterable[bytes]) -> None:
        for each in hashes:
            if each not in self.files:
                self.files.append(each)


class EdonkeyRight(Edonkey):
    def setup(self) -> None:
        self.files = set()

    def add(self, hashes: Iterable[bytes]) -> None:
        self.files.update(hashes)


def block(category: int, content: bytes) -> bytes:
    """A data block of ASTERIX."""
    return bytes([category]) + (3 + len(content)).to_bytes(2, "big") + content


class Asterix(DatagramHandler):
    """Data of radars (ASTERIX), at a gateway that answers how many blocks a packet has, and of how many categories."""

    timeout = 60.0

    def blocks(self, packet: bytes) -> list[int]:
        found = []
        while packet:
            size = int.from_bytes(packet[1:3], "big")
            if size < 3 or size > len(packet):
                raise Malformed
            found.insert(0, packet[0])
            packet = packet[size:]
        return found

    async def handle(self) -> None:
        while True:
            try:
                found = self.blocks(await Packet())
            except Malformed:
                self.send(b"\xff\xff")
                continue
            self.send(len(found).to_bytes(2, "big") + bytes([len(set(found)) % 256]))


class AsterixRight(Asterix):
    def blocks(self, packet: bytes) -> list[int]:
        found, place = [], 0
        while place < len(packet):
            size = int.from_bytes(packet[place + 1 : place + 3], "big")
            if size < 3 or place + size > len(packet):
                raise Malformed
            found.append(packet[place])
            place += size
        return found


class Rexec(StreamHandler):
    """rexec, without its second connection: a port of 0, a user, a password and a command, each with a null."""

    timeout = 30.0
    request_timeout = 60.0
    commands = {b"uname": b"Unix\n", b"who": b"ada      console\n", b"true": b""}

    async def handle(self) -> None:
        port, user, password = [(await Until(b"\0", limit=33))[:-1] for _ in range(3)]
        command = (await Until(b"\0", limit=256))[:-1]
        if port not in (b"", b"0"):
            self.send(b"\1Only one connection.\n")
        elif user != b"ada" or password != b"lovelace":
            self.failed(b"Login incorrect.\n")
        elif command not in self.commands:
            self.send(b"\1No such command.\n")
        else:
            self.send(b"\0" + self.commands[command])

    async def failed(self, text: bytes) -> None:
        """Tell it late, so that nobody tries many passwords."""
        await Delay(1)
        self.send(b"\1" + text)


class RexecRight(Rexec):
    async def handle(self) -> None:
        port, user, password = [(await Until(b"\0", limit=33))[:-1] for _ in range(3)]
        command = (await Until(b"\0", limit=256))[:-1]
        if port not in (b"", b"0"):
            self.send(b"\1Only one connection.\n")
        elif user != b"ada" or password != b"lovelace":
            await self.failed(b"Login incorrect.\n")
        elif command not in self.commands:
            self.send(b"\1No such command.\n")
        else:
            self.send(b"\0" + self.commands[command])


PAIRS = [
    Pair(
        "qmtp", 10, Qmtp, QmtpRight,
        [
            netstring(b"\nSubject: one\n\nhello\n") + netstring(b"ada@example.com"),
            netstring(netstring(b"emmy@example.org") + netstring(b"nobody@example.net")),
            netstring(b"\nhi\n") + netstring(b"") + netstring(netstring(b"grace@example.org")),
        ],
    ),
    Pair(
        "adc", 10, Adc, AdcRight,
        [
            b"HSUP ADBASE ADTIGR\n",
            b"BINF AAAB NIada SS0\n",
            b"BMSG AAAB hello\\sall\n",
            b"BMSG AAAB damn\\sit\n",
            b"BMSG AAAB bye\n",
        ],
    ),
    Pair(
        "dlms", 10, Dlms, DlmsRight,
        [
            reading(0x81, b"\x01\0\x01\x08\0\xff"),
            reading(0x82, b"\x01\0\x02\x08\0\xff"),
            reading(0x83, b"\x01\0\x03\x08\0\xff"),
        ],
    ),
    Pair(
        "psyc", 11, Psyc, PsycRight,
        [
            b":_target\tpsyc://hub/~ada\n\n_message_private\nhello\n|\n",
            b":_target\tpsyc://hub/@room\n:_source\tpsyc://there\n\n_request_enter\n|\n",
            b":_target\tpsyc://hub\n\n_request_exit\n|\n",
        ],
    ),
    Pair(
        "edonkey", 11, Edonkey, EdonkeyRight,
        [
            edonkey(0x01, b"u" * 16 + b"\xc0\0\x02\x07\x36\x12\0\0\0\0"),
            edonkey(0x15, b"\x02\0\0\0" + b"a" * 22 + b"b" * 22),
            edonkey(0x15, b"\x01\0\0\0" + b"c" * 22),
        ],
        {"kept": 1 << 22},
    ),
    Pair(
        "asterix", 11, Asterix, AsterixRight,
        [block(48, b"\xfd\xf7\x02\x19"), block(34, b"\xf6") + block(48, b"\xfd")],
    ),
    Pair("rexec", 12, Rexec, RexecRight, [b"0\0", b"ada\0lovelace\0", b"uname\0"]),
]  # fmt: skip
