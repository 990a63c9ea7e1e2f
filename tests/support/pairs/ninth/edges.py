"""Pairs of the ninth set: limits, of names, of a buffer and of what may be sent."""

from __future__ import annotations

import re
import zlib

from handlers import DatagramHandler, Exactly, Packet, StreamHandler
from tests.support.pairs.pair import Malformed, Pair


class DnsRight(DatagramHandler):
    """A name server over UDP (RFC 1035): each name below ``example`` has the address 192.0.2.1.

    A label has at most 63 bytes. A name has at most 255, with the bytes of the lengths (section 2.3.4).
    """

    timeout = 30.0

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            if len(packet) < 12 or packet[2] & 0x80:
                continue
            self.send(self.answer(packet))

    def answer(self, packet: bytes) -> bytes:
        opcode, counts = packet[2] >> 3, packet[4:12]
        if opcode:
            return self.head(packet, 4)
        labels = self.labels(packet)
        end = 13 + sum(1 + len(label) for label in labels or ())
        is_query = counts == b"\0\1\0\0\0\0\0\0" and not packet[2] & 6 and not packet[3]
        if not is_query or labels is None or len(packet) != end + 4:
            return self.head(packet, 1)
        question = packet[12:]
        if not labels or labels[-1].lower() != b"example":
            return self.head(packet, 5)
        if question[-4:] != b"\0\1\0\1":
            return self.head(packet, 0, 1) + question
        return self.head(packet, 0, 1, 1) + question + b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4\xc0\0\2\1"

    def head(self, packet: bytes, code: int, questions: int = 0, answers: int = 0) -> bytes:
        flags = bytes([0x80 | packet[2] & 0x79 | 4 * bool(answers), code])
        return packet[:2] + flags + bytes([0, questions, 0, answers, 0, 0, 0, 0])

    def labels(self, packet: bytes) -> list[bytes] | None:
        """The labels of the name that is asked for; `None` if it is no name."""
        labels, place = [], 12
        while place < len(packet) and (size := packet[place]):
            label = packet[place + 1 : place + 1 + size]
            place += 1 + size
            if size > 63 or len(label) != size or self.is_long(place - 12):
                return None
            labels.append(label)
        return labels if place < len(packet) else None

    def is_long(self, size: int) -> bool:
        """Whether a name is too long whose labels have ``size`` bytes so far."""
        return size + 1 > 255


class Dns(DnsRight):
    def is_long(self, size: int) -> bool:
        return size > 255


def question(number: int, *labels: bytes, kind: int = 1) -> bytes:
    """A query, which wants recursion."""
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return number.to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + name + bytes([0, kind, 0, 1])


class NrpeRight(StreamHandler):
    """An agent for checks (NRPE, version 2 of its packets): one query and one answer, in buffers of a fixed length.

    The text in the buffer is a C string.
    """

    timeout = 30.0
    checks = {
        b"_NRPE_CHECK": (0, b"NRPE v2.15"),
        b"check_load": (0, b"OK - load average: 0.01, 0.02, 0.05|load1=0.010;15.000;30.000;0;"),
        b"check_disk": (1, b"DISK WARNING - free space: / 812 MB (9% inode=88%);"),
    }

    async def handle(self) -> None:
        packet = await Exactly(1036)
        crc = int.from_bytes(packet[4:8], "big")
        text = self.text(packet[10:1034])
        if packet[:4] != b"\0\2\0\1" or zlib.crc32(packet[:4] + bytes(4) + packet[8:]) != crc:
            raise Malformed("no query")
        if not re.fullmatch(rb"[A-Za-z0-9_.!/-]+", text):
            raise Malformed("no name of a check")
        result, output = self.checks.get(text, (3, b"NRPE: Command is not defined"))
        self.send(nrpe(2, result, output))

    def text(self, buffer: bytes) -> bytes:
        """The string in a buffer."""
        end = buffer.find(b"\0")
        if end < 0:
            raise Malformed("no end of the string")
        return buffer[:end]


class Nrpe(NrpeRight):
    def text(self, buffer: bytes) -> bytes:
        return buffer.split(b"\0", 1)[0]


def nrpe(kind: int, result: int, text: bytes) -> bytes:
    """A packet of NRPE."""
    head, content = bytes([0, 2, 0, kind]), result.to_bytes(2, "big") + text.ljust(1026, b"\0")
    return head + zlib.crc32(head + bytes(4) + content).to_bytes(4, "big") + content


SETUP, REQUEST_STREAM, REQUEST_N, CANCEL, PAYLOAD, ERROR, KEEPALIVE = 1, 6, 8, 9, 10, 11, 3
MOST = 0x7FFF_FFFF


def rsocket(stream: int, kind: int, content: bytes, flags: int = 0) -> bytes:
    """A frame of RSocket, with its length in front."""
    frame = stream.to_bytes(4, "big") + (kind << 10 | flags).to_bytes(2, "big") + content
    return len(frame).to_bytes(3, "big") + frame


class RSocketRight(StreamHandler):
    """A responder of RSocket 1.0 over TCP: a stream is asked for as a number of items, and has the items 1, 2, 3.

    It sends no more items than have been asked for, by REQUEST_STREAM and then by REQUEST_N.
    """

    timeout = 90.0
    request_timeout = 30.0

    def setup(self) -> None:
        self.newest = 0
        self.streams: dict[int, list[int]] = {}

    async def handle(self) -> None:
        self.one_by_one += 1
        stream, kind, flags, content = await self.frame(await Exactly(3))
        if stream or kind != SETUP or flags or content[:4] != b"\0\1\0\0":
            self.send(rsocket(0, ERROR, b"\0\0\0\1no setup"))
            return
        periods = int.from_bytes(content[4:8], "big"), int.from_bytes(content[8:12], "big")
        is_json = content[12:] == b"\x10application/json" * 2
        if not is_json or not all(0 < period <= MOST for period in periods):
            self.send(rsocket(0, ERROR, b"\0\0\0\2no such setup"))
            return
        self.opened()
        while True:
            self.one_by_one += 1
            stream, kind, flags, content = await self.frame(await Exactly(3))
            if kind == ERROR:
                return
            if not self.take(stream, kind, flags, content):
                self.send(rsocket(0, ERROR, b"\0\0\1\1no frame"))
                return

    async def frame(self, head: bytes) -> tuple[int, int, int, bytes]:
        """The stream, the type, the flags and the content of a frame."""
        size = int.from_bytes(head, "big")
        if not 6 <= size <= 4096:
            raise Malformed("no frame")
        frame = await Exactly(size)
        word = int.from_bytes(frame[4:6], "big")
        return int.from_bytes(frame[:4], "big"), word >> 10, word & 0x3FF, frame[6:]

    def take(self, stream: int, kind: int, flags: int, content: bytes) -> bool:
        number = int.from_bytes(content[:4], "big")
        if kind == KEEPALIVE and not stream and flags in (0, 0x80) and len(content) >= 8 and content[0] < 0x80:
            if flags:
                self.send(rsocket(0, KEEPALIVE, content))
        elif kind == REQUEST_STREAM and not flags and stream % 2 and self.newest < stream <= MOST:
            if not 0 < number <= MOST or not re.fullmatch(rb"[1-9][0-9]{0,2}", content[4:]):
                return False
            self.newest = stream
            if len(self.streams) >= 16:
                self.send(rsocket(stream, ERROR, b"\0\0\2\2too many streams"))
            else:
                self.streams[stream] = [0, int(content[4:]), number]
                self.go_on(stream)
        elif not stream % 2 or stream > self.newest or flags:
            return False
        elif kind == REQUEST_N and len(content) == 4 and 0 < number <= MOST:
            if stream in self.streams:
                self.streams[stream][2] = min(self.streams[stream][2] + number, MOST)
                self.go_on(stream)
        elif kind == CANCEL and not content:
            self.streams.pop(stream, None)
        else:
            return False
        return True

    def go_on(self, stream: int) -> None:
        """Send what may be sent of a stream."""
        state = self.streams[stream]
        while state[0] < state[1] and self.may_send(state[2]):
            state[0] += 1
            state[2] -= 1
            is_last = state[0] == state[1]
            self.send(rsocket(stream, PAYLOAD, b"%d" % state[0], 0x60 if is_last else 0x20))
            if is_last:
                del self.streams[stream]

    def may_send(self, asked: int) -> bool:
        return asked > 0


class RSocket(RSocketRight):
    def may_send(self, asked: int) -> bool:
        return asked >= 0


def ask(stream: int, number: int, items: bytes) -> bytes:
    """A request for a stream of items, of which a number may be sent at once."""
    return rsocket(stream, REQUEST_STREAM, number.to_bytes(4, "big") + items)


PAIRS = [
    Pair(
        "dns", 9, Dns, DnsRight,
        [
            question(1, b"www", b"example"),
            question(2, b"Mail", b"EXAMPLE"),
            question(3, b"www", b"example", kind=28),
            question(4, b"example", b"org"),
        ],
    ),
    Pair("nrpe", 9, Nrpe, NrpeRight, [nrpe(1, 0, b"check_load")]),
    Pair(
        "rsocket", 9, RSocket, RSocketRight,
        [
            rsocket(0, SETUP, b"\0\1\0\0\0\0\x4e\x20\0\1\x5f\x90" + b"\x10application/json" * 2),
            rsocket(0, KEEPALIVE, bytes(8) + b"?", 0x80),
            ask(1, MOST, b"3"),
            ask(3, 8, b"5"),
            rsocket(3, REQUEST_N, b"\0\0\0\4"),
        ],
    ),
]  # fmt: skip
