"""Handlers for datagrams, each in a right and a broken version: TFTP, NTP, CoAP, RADIUS, statsd, GELF and others.

A broken class has one fault, which its docstring names. See `thirty` for the list.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING
from zlib import crc32

from handlers import DatagramHandler, Packet, TimedOut

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

    from handlers import Step


class Tftp(DatagramHandler):
    """One file in blocks of 16 bytes, read with TFTP."""

    timeout = 5.0
    request_timeout = 60.0
    text = b"a message of the day in three blocks"

    def handle(self) -> Step:
        return Packet(), self.request

    def request(self, packet: bytes) -> Step:
        if re.fullmatch(rb"\x00\x01[!-~]{1,64}\x00octet\x00", packet) is None:
            return None
        if packet[2:-7] != b"welcome-message.txt":
            self.send(b"\0\5\0\1\0")
            return None
        return self.block(1)

    def block(self, number: int) -> Step:
        self.number = number
        self.send(b"\0\3" + number.to_bytes(2, "big") + self.text[16 * number - 16 : 16 * number])
        return Packet(), self.acknowledged

    def acknowledged(self, packet: bytes) -> Step:
        number = int.from_bytes(packet[2:], "big")
        if len(packet) != 4 or packet[:2] != b"\0\4" or not self.counts(number):
            return Packet(), self.acknowledged
        if 16 * number > len(self.text):
            return None
        return self.block(number + 1)

    def counts(self, number: int) -> bool:
        return number == self.number


class TftpApprentice(Tftp):
    """An old acknowledgement that comes again has the next block sent again (the Sorcerer's Apprentice)."""

    def counts(self, number: int) -> bool:
        return 0 < number <= self.number


class Ntp(DatagramHandler):
    """The time, as NTP has it."""

    async def handle(self) -> None:
        packet = await Packet()
        if len(packet) < 48 or packet[0] >> 3 & 7 not in (3, 4) or not self.is_question(packet[0] & 7):
            return
        seconds = (int(self.now()) + 2_208_988_800 & 0xFFFFFFFF).to_bytes(4, "big") + bytes(4)
        head = bytes([packet[0] & 0x38 | 4, 1, packet[2], 0xEC]) + bytes(8) + b"LOCL"
        self.send(head + seconds + packet[40:48] + seconds + seconds)

    def is_question(self, mode: int) -> bool:
        return mode == 3


class NtpLoop(Ntp):
    """An answer is answered too: two servers, or one and a forged address, never stop (CVE-2009-3563)."""

    def is_question(self, mode: int) -> bool:
        return True


class CoapMalformed(Exception):
    """The message can't be read."""


class Coap(DatagramHandler):
    """An empty answer to each GET of CoAP. A message that can't be read is reset."""

    malformed: tuple[type[Exception], ...] = (CoapMalformed, IndexError)

    @staticmethod
    def key(packet: bytes) -> Hashable:
        return packet[2:4]

    async def handle(self) -> None:
        packet = await Packet()
        if len(packet) < 4 or packet[0] >> 6 != 1 or packet[0] & 0x20 or packet[1] > 31:
            return
        token = packet[4 : 4 + (packet[0] & 15)]
        try:
            self.read(packet)
        except self.malformed:
            if not packet[0] & 0x10:
                self.send(b"\x70\0" + packet[2:4])
            return
        head = bytes([packet[0] & 15 | (0x50 if packet[0] & 0x10 else 0x60)])
        self.send(head + (b"\x45" if packet[1] == 1 else b"\x85") + packet[2:4] + token)

    def read(self, packet: bytes) -> None:
        """Go through the options."""
        place = 4 + (packet[0] & 15)
        if packet[0] & 15 > 8 or packet[1] == 0 or place > len(packet):
            raise CoapMalformed
        while place < len(packet) and packet[place] != 0xFF:
            delta, size = packet[place] >> 4, packet[place] & 15
            place += 1
            if delta == 15 or size == 15:
                raise CoapMalformed
            place += {13: 1, 14: 2}.get(delta, 0)
            if size == 13:
                size = 13 + packet[place]
                place += 1
            elif size == 14:
                size = 269 + 256 * packet[place] + packet[place + 1]
                place += 2
            place += size
            if place > len(packet):
                raise CoapMalformed


class CoapShort(Coap):
    """A message that ends inside the length of an option is an error of the program."""

    malformed = (CoapMalformed,)


class Radius(DatagramHandler):
    """Whether a user may come in, as RADIUS has it, without the cryptography. What is malformed is dropped."""

    @staticmethod
    def key(packet: bytes) -> Hashable:
        return packet[1:2]

    def handle(self) -> Step:
        return Packet(), self.request

    def request(self, packet: bytes) -> Step:
        if len(packet) < 20 or packet[0] != 1 or int.from_bytes(packet[2:4], "big") != len(packet):
            return None
        attributes, place = {}, 20
        while place < len(packet):
            size = int.from_bytes(packet[place + 1 : place + 2], "big")
            if place + size > len(packet) or not self.is_size(size):
                return None
            attributes[packet[place]] = packet[place + 2 : place + size]
            place += size
        code = 2 if attributes.get(1) == b"ada" and attributes.get(2) == b"sesame" else 3
        self.send(bytes([code, packet[1], 0, 20]) + packet[4:20])
        return None

    def is_size(self, size: int) -> bool:
        return size >= 2


class RadiusZero(Radius):
    """An attribute of length 0 is looked at for ever."""

    def is_size(self, size: int) -> bool:
        return True


class Statsd(DatagramHandler):
    """The counters of a peer. Each packet is acknowledged with the number of lines that were right, at most 9."""

    timeout = 10.0
    most = 100

    async def handle(self) -> None:
        counters: dict[bytes, int] = {}
        while True:
            packet = await Packet()
            right = 0
            for line in packet.split(b"\n")[:9]:
                found = re.fullmatch(rb"([a-z0-9._]{1,200}):(\d{1,9})\|c", line)
                if found is not None and (found[1] in counters or len(counters) < self.most):
                    counters[found[1]] = counters.get(found[1], 0) + int(found[2]) & 0xFFFFFFFF
                    right += 1
            if packet:
                self.send(b"%d" % right)


class StatsdNames(Statsd):
    """There may be any number of names."""

    most = 1 << 60


class Game(DatagramHandler):
    """The status of a game. A question is padded to the size of the answer, so that the answer is no larger."""

    answers = {
        b"getinfo": b"infoResponse\nname=arena;map=q3dm17;clients=2;max=16",
        b"getstatus": b"statusResponse\nname=arena;map=q3dm17;" + b"\n".join(b"%d 40 bot%d" % (n, n) for n in range(9)),
    }

    async def handle(self) -> None:
        packet = await Packet()
        answer = self.answers.get(packet[4:].rstrip(b"\0"))
        if packet[:4] == b"\xff" * 4 and answer is not None and self.is_paid(packet, b"\xff" * 4 + answer):
            self.send(b"\xff" * 4 + answer)

    def is_paid(self, packet: bytes, answer: bytes) -> bool:
        return len(packet) >= len(answer)


class GameAmplifies(Game):
    """A short question, maybe with a forged address, has a long answer."""

    def is_paid(self, packet: bytes, answer: bytes) -> bool:
        return True


class Gelf(DatagramHandler):
    """Messages in chunks, as GELF has them, put together and acknowledged with their checksum."""

    timeout = 5.0
    request_timeout = 60.0

    def setup(self) -> None:
        self.parts: dict[bytes, dict[int, bytes]] = {}

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if not 12 <= len(packet) <= 500 or packet[:2] != b"\x1e\x0f" or not packet[10] < packet[11] <= 8:
                continue
            name = packet[2:10] + packet[11:12]
            chunks = self.parts.setdefault(name, {})
            chunks[packet[10]] = packet[12:]
            if len(chunks) == packet[11]:
                message = b"".join(chunks[place] for place in sorted(chunks))
                del self.parts[name]
                self.send(name[:8] + crc32(message).to_bytes(4, "big"))
            elif len(self.parts) > 4:
                del self.parts[next(iter(self.parts))]


class GelfShared(Gelf):
    """Chunks of all peers are in one table, by the number that the sender has chosen: they get mixed up."""

    parts: dict[bytes, dict[int, bytes]] = {}

    def setup(self) -> None:
        pass


class Upload(DatagramHandler):
    """Text in numbered packets, each acknowledged with the checksum of what has come so far."""

    timeout = 5.0
    request_timeout = 60.0

    async def handle(self) -> None:
        check, number, previous, is_last = 0, 0, -1, False
        while True:
            packet = await Packet()
            if len(packet) < 6 or packet[1] > 1:
                continue
            if packet[0] == number and not is_last:
                check, is_last = crc32(packet[2:], check), packet[1] == 1
                number, previous = number + 1 & 255, number
            elif packet[0] == previous:
                check = self.again(packet, check)
            else:
                continue
            self.send(packet[:1] + check.to_bytes(4, "big"))

    def again(self, packet: bytes, check: int) -> int:
        """The checksum after a packet that has come before, whose acknowledgement is lost."""
        return check


class UploadTwice(Upload):
    """A packet that comes twice counts twice."""

    def again(self, packet: bytes, check: int) -> int:
        return crc32(packet[2:], check)


class Invite(DatagramHandler):
    """A final answer is sent again until it is acknowledged, as SIP does over UDP."""

    tries: Iterable[int] = range(6)

    @staticmethod
    def key(packet: bytes) -> Hashable:
        return packet.partition(b" ")[2]

    async def handle(self) -> None:
        packet = await Packet()
        found = re.fullmatch(rb"INVITE ([0-9a-f]{8})", packet)
        if found is None:
            return
        for number in self.tries:
            self.send(b"BUSY " + found[1])
            try:
                if await Packet(timeout=0.5 * 2 ** min(number, 3)) == b"ACK " + found[1]:
                    return
            except TimedOut:
                pass


class InviteForever(Invite):
    """It is sent again for ever, also to a client that does not exist any more."""

    tries = range(1 << 60)


class Resolver(DatagramHandler):
    """Names in upper case, each with the number of its question."""

    @staticmethod
    def key(packet: bytes) -> Hashable:
        return packet[:2]

    async def handle(self) -> None:
        packet = await Packet()
        if len(packet) > 2:
            self.send(packet[:2] + packet[2:].upper())


class ResolverKey(Resolver):
    """The key of a packet of less than two bytes is an error of the program, for all clients of the server."""

    @staticmethod
    def key(packet: bytes) -> Hashable:
        return struct.unpack_from(">H", packet)
