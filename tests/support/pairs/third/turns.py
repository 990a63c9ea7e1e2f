"""Pairs of handlers, broken and right: recursion, and duplicates."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

from handlers import DatagramHandler, Exactly, Packet, StreamHandler
from tests.support.pairs.pair import Pair

if TYPE_CHECKING:
    from handlers import Step


# 4: recursion as deep as the message


class DocumentsBroken(StreamHandler):
    """MongoDB's OP_MSG: the commands ping and hello."""

    sizes = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x12: 8}

    def handle(self) -> Step:
        return Exactly(16), self.header

    def header(self, data: bytes) -> Step:
        size, self.number, _, code = struct.unpack("<IIII", data)
        return (Exactly(size - 16), self.message) if 26 <= size <= 48_000 and code == 2013 else None

    def message(self, data: bytes) -> Step:
        try:
            names, end = self.document(data, 5)
        except ValueError:
            return None
        if data[:5] != bytes(5) or end != len(data) or not names:
            return None
        worked = b"\x01ok\0" + struct.pack("<d", names[0] in (b"ping", b"hello")) + b"\0"
        answer = bytes(5) + struct.pack("<I", 4 + len(worked)) + worked
        self.send(struct.pack("<IIII", 16 + len(answer), self.number, self.number, 2013) + answer)
        return self.handle()

    def document(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        """The names in the document that begins at ``start``, and where it ends. Raises `ValueError`."""
        end = start + int.from_bytes(data[start : start + 4], "little")
        if not start + 5 <= end <= len(data) or data[end - 1]:
            raise ValueError("size")
        names, place = [], start + 4
        while place < end - 1:
            kind, stop = data[place], data.index(0, place + 1, end)
            names.append(data[place + 1 : stop])
            place = stop + 1
            if kind in (0x03, 0x04):
                place = self.document(data, place)[1]
            elif kind == 0x02:
                place += 4 + int.from_bytes(data[place : place + 4], "little")
            elif kind in self.sizes:
                place += self.sizes[kind]
            else:
                raise ValueError("kind")
        if place != end - 1:
            raise ValueError("end")
        return names, end


class DocumentsRight(DocumentsBroken):
    depth = 0

    def document(self, data: bytes, start: int) -> tuple[list[bytes], int]:
        if self.depth == 100:
            raise ValueError("depth")
        self.depth += 1
        try:
            return super().document(data, start)
        finally:
            self.depth -= 1


def command(number: int, text: bytes) -> bytes:
    """A message of MongoDB."""
    document = struct.pack("<I", len(text) + 5) + text + b"\0"
    return struct.pack("<IIII", 21 + len(document), number, 0, 2013) + bytes(5) + document


class CallsBroken(StreamHandler):
    """Thrift, framed, the binary protocol: each call has a result without fields."""

    sizes = {2: 1, 3: 1, 4: 8, 6: 2, 8: 4, 10: 8}

    async def handle(self) -> None:
        while 14 <= (size := int.from_bytes(await Exactly(4), "big")) <= 32_768:
            data = await Exactly(size)
            kind, length = struct.unpack(">II", data[:8])
            if kind != 0x80010001 or not 1 <= length <= 64 or length + 12 >= size:
                return
            try:
                end = self.skip(data, 12 + length, 12)
            except (ValueError, IndexError):
                return
            if end != size:
                return
            self.send(struct.pack(">I", 13 + length) + b"\x80\x01\0\x02" + data[4 : 12 + length] + b"\0")

    def skip(self, data: bytes, place: int, kind: int) -> int:
        """Where the value of this kind ends that begins at ``place``."""
        if kind in self.sizes:
            place += self.sizes[kind]
        elif kind == 11:
            place += 4 + int.from_bytes(data[place : place + 4], "big")
        elif kind == 12:
            while field := data[place]:
                place = self.skip(data, place + 3, field)
            place += 1
        elif kind in (14, 15):
            of, count = data[place], int.from_bytes(data[place + 1 : place + 5], "big")
            place += 5
            for _ in range(count):
                place = self.skip(data, place, of)
        else:
            raise ValueError(kind)
        if place > len(data):
            raise ValueError("size")
        return place


class CallsRight(CallsBroken):
    depth = 0

    def skip(self, data: bytes, place: int, kind: int) -> int:
        if self.depth == 64:
            raise ValueError("depth")
        self.depth += 1
        try:
            return super().skip(data, place, kind)
        finally:
            self.depth -= 1


def call(name: bytes, number: int, arguments: bytes) -> bytes:
    """A call by Thrift."""
    message = struct.pack(">II", 0x80010001, len(name)) + name + struct.pack(">I", number) + arguments
    return struct.pack(">I", len(message)) + message


class NodeBroken(DatagramHandler):
    """The DHT of BitTorrent (BEP 5): ping, in bencode."""

    def handle(self) -> Step:
        return Packet(), self.packet

    def packet(self, packet: bytes) -> Step:
        try:
            query, end = self.value(packet, 0)
        except ValueError:
            return None
        if end != len(packet) or not isinstance(query, dict):
            return None
        number, sender = query.get(b"t"), query.get(b"a")
        if query.get(b"y") != b"q" or not isinstance(number, bytes) or len(number) > 8 or not isinstance(sender, dict):
            return None
        known = query.get(b"q") == b"ping"
        rest = b"1:rd2:id20:01234567890123456789e" if known else b"1:eli204e14:Method Unknowne"
        self.send(b"d%b1:t%d:%b1:y1:%be" % (rest, len(number), number, b"r" if known else b"e"))
        return None

    def value(self, data: bytes, place: int) -> tuple[Any, int]:
        """The value that begins at ``place``, and where it ends. Raises `ValueError`."""
        if found := re.compile(rb"i(0|-?[1-9][0-9]{0,18})e").match(data, place):
            return int(found[1]), found.end()
        if found := re.compile(rb"(0|[1-9][0-9]{0,4}):").match(data, place):
            end = found.end() + int(found[1])
            if end > len(data):
                raise ValueError("size")
            return data[found.end() : end], end
        kind, place, values = data[place : place + 1], place + 1, []
        if kind not in (b"l", b"d"):
            raise ValueError("kind")
        while data[place : place + 1] != b"e":
            value, place = self.value(data, place)
            values.append(value)
        if kind == b"l":
            return values, place + 1
        names = values[::2]
        if len(values) % 2 or not all(isinstance(name, bytes) for name in names) or len({*names}) < len(names):
            raise ValueError("names")
        return dict(zip(names, values[1::2], strict=True)), place + 1


class NodeRight(NodeBroken):
    depth = 0

    def value(self, data: bytes, place: int) -> tuple[Any, int]:
        if self.depth == 16:
            raise ValueError("depth")
        self.depth += 1
        try:
            return super().value(data, place)
        finally:
            self.depth -= 1


# 8: duplicates


class FileBroken(DatagramHandler):
    """TFTP (RFC 1350): a file of three blocks."""

    request_timeout = 60.0
    timeout = 5.0
    content = b"".join(b"%07d\n" % number for number in range(140))

    def block(self, number: int) -> None:
        self.send(struct.pack(">HH", 3, number) + self.content[512 * number - 512 : 512 * number])

    def is_due(self, acknowledged: int, sent: int) -> bool:
        return 1 <= acknowledged <= sent

    async def handle(self) -> None:
        if (await Packet()).lower() != b"\0\x01file\0octet\0":
            self.send(b"\0\x05\0\x01no such file\0")
            return
        sent = 1
        self.block(sent)
        while True:
            packet = await Packet()
            acknowledged = int.from_bytes(packet[2:], "big")
            if len(packet) != 4 or packet[:2] != b"\0\x04":
                return
            if self.is_due(acknowledged, sent):
                if acknowledged == 3:
                    return
                sent = acknowledged + 1
                self.block(sent)


class FileRight(FileBroken):
    def is_due(self, acknowledged: int, sent: int) -> bool:
        return acknowledged == sent


class MakerBroken(DatagramHandler):
    """CoAP (RFC 7252): each POST makes a thing, and its answer tells which."""

    timeout = 30.0

    def setup(self) -> None:
        self.made = 0
        self.answers: dict[bytes, bytes] = {}

    async def handle(self) -> None:
        while True:
            packet = await Packet()
            token = packet[4 : 4 + (packet[0] & 15)] if len(packet) >= 4 else b""
            if len(packet) < 4 or packet[0] & 0xF0 != 0x40 or packet[0] & 15 > 8 or len(token) < packet[0] & 15:
                continue
            if packet[1] == 0:
                self.send(b"\x70\0" + packet[2:4])
            elif packet[1] == 2:
                self.send(self.post(packet[2:4], token))
            else:
                self.send(bytes([0x60 | len(token), 0x85]) + packet[2:4] + token)

    def post(self, number: bytes, token: bytes) -> bytes:
        self.made += 1
        name = b"%d" % (self.made % 1000)
        return bytes([0x60 | len(token), 0x41]) + number + token + bytes([0x80 | len(name)]) + name


class MakerRight(MakerBroken):
    def post(self, number: bytes, token: bytes) -> bytes:
        if number not in self.answers:
            if len(self.answers) == 64:
                del self.answers[next(iter(self.answers))]
            self.answers[number] = super().post(number, token)
        return self.answers[number]


class MilterBroken(StreamHandler):
    """The filter protocol of Sendmail: a message may have 20 recipients, a connection any number of messages."""

    recipients = 0

    def handle(self) -> Step:
        return Exactly(4), self.size

    def size(self, data: bytes) -> Step:
        size = int.from_bytes(data, "big")
        return (Exactly(size), self.command) if 1 <= size <= 4096 else None

    def command(self, data: bytes) -> Step:
        code = data[:1]
        if code == b"Q":
            return None
        if code == b"O" and len(data) == 13:
            self.answer(b"O" + struct.pack(">III", 2, 0, 0))
        elif code == b"M":
            self.begin()
            self.answer(b"c")
        elif code == b"R":
            self.recipients = min(self.recipients + 1, 21)
            self.answer(b"c" if self.recipients <= 20 else b"r")
        elif code == b"E":
            self.answer(b"a")
        elif code != b"A":
            return None
        return self.handle()

    def begin(self) -> None:
        """A message begins."""

    def answer(self, data: bytes) -> None:
        self.send(struct.pack(">I", len(data)) + data)


class MilterRight(MilterBroken):
    def begin(self) -> None:
        self.recipients = 0


def told(text: bytes) -> bytes:
    """A packet of Sendmail's."""
    return struct.pack(">I", len(text)) + text


PAIRS = [
    Pair(
        "documents", 4, DocumentsBroken, DocumentsRight,
        [command(1, b"\x10ping\0\1\0\0\0"), command(2, b"\x10hello\0\1\0\0\0\x03client\0\x05\0\0\0\0"),
         command(3, b"\x02find\0\x02\0\0\0a\0")],
    ),
    Pair(
        "calls", 4, CallsBroken, CallsRight,
        [call(b"ping", 1, b"\0"), call(b"add", 2, b"\x08\0\x01\0\0\0\x05\0"),
         call(b"put", 3, b"\x0c\0\x01\x0f\0\x01\x08\0\0\0\x01\0\0\0\x09\0\0")],
    ),
    Pair(
        "node", 4, NodeBroken, NodeRight,
        [b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe",
         b"d1:ad2:id20:abcdefghij0123456789e1:q4:vote1:t2:ab1:y1:qe",
         b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:ac1:y1:qe"],
    ),
    Pair(
        "file", 8, FileBroken, FileRight,
        [b"\0\x01file\0octet\0", b"\0\x04\0\x01", b"\0\x04\0\x02", b"\0\x04\0\x03"],
    ),
    Pair(
        "maker", 8, MakerBroken, MakerRight,
        [b"\x41\x02\0\x01a", b"\x42\x02\0\x02bc", b"\x40\x01\0\x03", b"\x40\0\0\x04"],
    ),
    Pair(
        "milter", 8, MilterBroken, MilterRight,
        [told(b"O" + struct.pack(">III", 2, 0, 0)), told(b"M<a@b>\0"), told(b"R<c@d>\0"), told(b"R<e@f>\0"),
         told(b"E")],
    ),
]  # fmt: skip
