"""Pairs of the kind 11: what is held is gone through again at each read."""

from __future__ import annotations

import codecs
import re
import zlib
from typing import TYPE_CHECKING

from handlers import Exactly, Some, StreamHandler
from tests.support.pairs.pair import Buffered, Malformed, Pair

if TYPE_CHECKING:
    from handlers import Cause, Step

# FIX

TRAILER = b"\x0110="
TRAILER_SIZE = 8
FIX_MESSAGE = re.compile(rb"8=FIX\.4\.2\x019=([0-9]{1,6})\x01(35=.*\x01)10=([0-9]{3})\x01", re.DOTALL)
FIX_FIELD = re.compile(rb"([1-9][0-9]{0,4})=([^\x01]+)", re.DOTALL)
NEEDED = {b"A": (98, 108), b"1": (112,), b"D": (11, 38, 54, 55), b"B": (148,)}
MAX_FIX = 1 << 18


class Fix(Buffered):
    """The acceptor of a session of FIX 4.2, which fills each order."""

    def setup(self) -> None:
        super().setup()
        self.came = self.sent = 0

    def take(self) -> bool:
        while (end := self.find()) >= 0:
            end += TRAILER_SIZE
            if end > MAX_FIX:
                raise Malformed("too long")
            if end > len(self.buffer):
                return True
            message = bytes(self.buffer[:end])
            del self.buffer[:end]
            self.searched = 0
            if not self.message(message):
                return False
        if len(self.buffer) > MAX_FIX:
            raise Malformed("too long")
        return True

    def find(self) -> int:
        """Where the trailer of the first message begins, or -1."""
        return self.buffer.find(TRAILER)

    def message(self, message: bytes) -> bool:
        """Answer a message. Whether another may follow."""
        matched = FIX_MESSAGE.fullmatch(message)
        if matched is None or int(matched[1]) != len(matched[2]) or int(matched[3]) != sum(message[:-7]) % 256:
            raise Malformed("message")
        found: dict[int, bytes] = {}
        for field in matched[2][:-1].split(b"\x01"):
            parts = FIX_FIELD.fullmatch(field)
            if parts is None or int(parts[1]) in found:
                raise Malformed("field")
            found[int(parts[1])] = parts[2]
        kind = found[35]
        if not {34, 49, 52, 56, *NEEDED.get(kind, ())} <= found.keys() or (kind == b"A") != (self.came == 0):
            raise Malformed("fields")
        self.came += 1
        if found[34] != b"%d" % self.came:
            raise Malformed("MsgSeqNum")
        self.answer(kind, found)
        return kind != b"5"

    def answer(self, kind: bytes, found: dict[int, bytes]) -> None:
        if kind in (b"A", b"5"):
            self.put(kind, found, *((tag, found[tag]) for tag in NEEDED.get(kind, ())))
        elif kind == b"1":
            self.put(b"0", found, (112, found[112]))
        elif kind == b"D":
            order = ((tag, found[tag]) for tag in NEEDED[b"D"])
            self.put(b"8", found, (37, b"%d" % self.came), *order, (39, b"2"), (150, b"2"))
        elif kind not in (b"0", b"B"):  # a heartbeat and news have no answer
            self.put(b"j", found, (45, found[34]), (372, kind), (380, b"3"))

    def put(self, kind: bytes, found: dict[int, bytes], *more: tuple[int, bytes]) -> None:
        self.sent += 1
        head = ((35, kind), (34, b"%d" % self.sent), (49, found[56]), (52, found[52]), (56, found[49]))
        body = b"".join(b"%d=%b\x01" % field for field in (*head, *more))
        message = b"8=FIX.4.2\x019=%d\x01%b" % (len(body), body)
        self.send(b"%b10=%03d\x01" % (message, sum(message) % 256))


class FixRight(Fix):
    """The acceptor of a session of FIX 4.2, which fills each order."""

    def find(self) -> int:
        """Where the trailer of the first message begins, or -1. One that had come in part may be complete now."""
        return self.buffer.find(TRAILER, max(self.searched - TRAILER_SIZE, 0))


# Protocol Buffers, each message behind its length

SOME = Some()
MAX_MESSAGE = 1 << 20
MAX_VARINT, MAX_PREFIX = 10, 5
IDENTIFIER, PAYLOAD = 0x08, 0x12


def varint(data: bytes | bytearray, at: int, most: int = MAX_VARINT) -> tuple[int, int] | None:
    """The number that begins at ``at``, and where it ends; ``None`` if it has not all come."""
    value = 0
    for place in range(at, min(at + most, len(data))):
        value |= (data[place] & 0x7F) << 7 * (place - at)
        if data[place] < 0x80:
            if value >> 64:
                raise Malformed("varint")
            return value, place + 1
    if len(data) - at >= most:
        raise Malformed("varint")
    return None


def encoded(value: int) -> bytes:
    """The number as a varint."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


class Protobuf(StreamHandler):
    """Takes samples, ``{uint64 id = 1; bytes data = 2}``, and answers each with ``{uint64 id = 1; uint32 crc = 2}``."""

    timeout = 60
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0
        self.held = b""

    def handle(self) -> Step:
        return SOME, self.first

    def first(self, data: bytes) -> Step:
        return self.more(data)

    def more(self, data: bytes) -> Step:
        self.held = self.held + data
        self.held = self.held[self.take() :]
        return SOME, self.more if self.held else self.first

    def take(self) -> int:
        """Answer the messages that have come. Where the first begins that has not."""
        at = 0
        while (prefix := varint(self.held, at, MAX_PREFIX)) is not None:
            size, start = prefix
            if size > MAX_MESSAGE:
                raise Malformed("too long")
            if start + size > len(self.held):
                break
            at = start + size
            self.send(self.answer(bytes(self.held[start:at])))
            self.one_by_one += 1
        return at

    def answer(self, message: bytes) -> bytes:
        identifier, payload, at = 0, b"", 0
        while at < len(message):
            tag, at = self.number(message, at)
            value, at = self.number(message, at)
            if tag == IDENTIFIER:
                identifier = value
            elif tag == PAYLOAD and at + value <= len(message):
                payload = message[at : at + value]
                at += value
            else:
                raise Malformed("field")
        body = b"\x08%b\x10%b" % (encoded(identifier), encoded(zlib.crc32(payload)))
        return encoded(len(body)) + body

    @staticmethod
    def number(message: bytes, at: int) -> tuple[int, int]:
        found = varint(message, at)
        if found is None:
            raise Malformed("cut")
        return found


class ProtobufRight(Protobuf):
    """Takes samples, ``{uint64 id = 1; bytes data = 2}``, and answers each with ``{uint64 id = 1; uint32 crc = 2}``."""

    def setup(self) -> None:
        super().setup()
        self.held = bytearray()

    def more(self, data: bytes) -> Step:
        self.held += data
        del self.held[: self.take()]
        return SOME, self.more if self.held else self.first


# Frames as those of WebSocket

UTF8 = codecs.getincrementaldecoder("utf-8")
FRAME_HEAD = Exactly(2)
MASK = Exactly(4)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MAX_TEXT = 1 << 20
PROTOCOL_ERROR, INVALID, TOO_BIG = 1002, 1007, 1009


class Frames(StreamHandler):
    """Sends each message back, whole (RFC 6455, section 5, behind the handshake)."""

    timeout = 60
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0
        self.held = bytearray()
        self.kind = 0

    async def handle(self) -> None:
        while await self.message(await FRAME_HEAD):
            self.one_by_one += 1

    async def message(self, head: bytes) -> bool:
        """Take the frames of a message, the first of which begins with ``head``. Whether another may follow."""
        while True:
            opcode, is_last, payload = await self.frame(head)
            if opcode >= CLOSE:
                self.control(opcode, payload)
            else:
                self.fragment(opcode, payload, is_last)
            if opcode == CLOSE or not self.kind:
                return opcode != CLOSE
            head = await FRAME_HEAD

    async def frame(self, head: bytes) -> tuple[int, bool, bytes]:
        """The opcode of a frame, whether it is the last of its message, and its payload."""
        opcode, is_last, size = head[0] & 15, head[0] >> 7 == 1, head[1] & 0x7F
        if head[0] & 0x70 or not head[1] & 0x80 or opcode not in (0, TEXT, BINARY, CLOSE, PING, PONG):
            raise Malformed(PROTOCOL_ERROR)
        if opcode >= CLOSE and (size > 125 or not is_last):
            raise Malformed(PROTOCOL_ERROR)
        if size > 125:
            least, width = (126, 2) if size == 126 else (1 << 16, 8)
            size = int.from_bytes(await Exactly(width), "big")
            if size < least:
                raise Malformed(PROTOCOL_ERROR)
        if size > MAX_TEXT:
            raise Malformed(TOO_BIG)
        mask = await MASK
        payload = await Exactly(size)
        pad = (mask * (size // 4 + 1))[:size]
        return opcode, is_last, (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(size, "big")

    def fragment(self, opcode: int, payload: bytes, is_last: bool) -> None:
        if (opcode == 0) != (self.kind != 0):
            raise Malformed(PROTOCOL_ERROR)
        self.kind = self.kind or opcode
        self.held += payload
        if len(self.held) > MAX_TEXT:
            raise Malformed(TOO_BIG)
        if self.kind == TEXT:
            self.check(payload, is_last)
        if is_last:
            self.put(self.kind, bytes(self.held))
            self.kind, self.held = 0, bytearray()

    def check(self, payload: bytes, is_last: bool) -> None:
        """Raise `Malformed` as soon as the text is no UTF-8, also if a character is cut by the end of a frame."""
        self.decode(UTF8(), self.held, is_last)

    def control(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.put(PONG, payload)
        elif opcode == CLOSE:
            code = int.from_bytes(payload[:2], "big")
            if payload and (
                len(payload) < 2 or not (3000 <= code < 5000 or code in (*range(1000, 1004), *range(1007, 1015)))
            ):
                raise Malformed(PROTOCOL_ERROR)
            self.decode(UTF8(), payload[2:], True)
            self.put(CLOSE, payload[:2])

    def decode(self, decoder: codecs.IncrementalDecoder, text: bytes | bytearray, is_last: bool) -> None:
        try:
            decoder.decode(text, is_last)
        except UnicodeDecodeError:
            raise Malformed(INVALID) from None

    def put(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        short = size if size < 126 else 126 if size < 1 << 16 else 127
        length = b"" if short < 126 else size.to_bytes(2 if short == 126 else 8, "big")
        self.send(bytes([0x80 | opcode, short]) + length + payload)

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, Malformed):
            self.put(CLOSE, cause.args[0].to_bytes(2, "big"))


class FramesRight(Frames):
    """Sends each message back, whole (RFC 6455, section 5, behind the handshake)."""

    def setup(self) -> None:
        super().setup()
        self.decoder = UTF8()

    def check(self, payload: bytes, is_last: bool) -> None:
        """Raise `Malformed` as soon as the text is no UTF-8, also if a character is cut by the end of a frame."""
        self.decode(self.decoder, payload, is_last)


def fix(kind: bytes, number: int, fields: bytes = b"") -> bytes:
    """A message as a client of FIX sends it; ``|`` stands for SOH."""
    body = b"35=%b|34=%d|49=BUYER|52=20240102-09:30:%02d|56=VENUE|%b" % (kind, number, number, fields)
    message = (b"8=FIX.4.2|9=%d|%b" % (len(body), body)).replace(b"|", b"\x01")
    return b"%b10=%03d\x01" % (message, sum(message) % 256)


def sample(identifier: int, data: bytes) -> bytes:
    body = b"\x08%b\x12%b%b" % (encoded(identifier), encoded(len(data)), data)
    return encoded(len(body)) + body


def frame(first: int, payload: bytes, mask: bytes = b"\x37\xfa\x21\x3d") -> bytes:
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([first]) + length + mask + bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))


PAIRS = [
    Pair(
        "fix-session",
        11,
        Fix,
        FixRight,
        [
            fix(b"A", 1, b"98=0|108=30|"),
            fix(b"1", 2, b"112=are you there|"),
            fix(b"D", 3, b"11=order-1|21=1|38=100|40=1|54=1|55=ACME|"),
            fix(b"D", 4, b"11=order-2|38=50|54=2|55=ACME|") + fix(b"0", 5),
            fix(b"B", 6, b"148=ACME buys out EMCA|58=" + b"The news of the day. " * 20 + b"|"),
            fix(b"V", 7, b"262=quotes|"),
            fix(b"5", 8),
        ],
        {"kept": 4 * MAX_FIX},
    ),
    Pair(
        "protobuf",
        11,
        Protobuf,
        ProtobufRight,
        [
            sample(1, b"21.5 C"),
            sample(2, b"") + sample(300, b"40 %"),
            sample(1 << 40, bytes(range(256)) * 2),
            b"\0",
            sample(4, b"the last one"),
        ],
    ),
    Pair(
        "frames",
        11,
        Frames,
        FramesRight,
        [
            frame(0x81, b"hello"),
            frame(0x89, b"ping") + frame(0x82, bytes(range(200))),
            frame(0x01, b"one, ") + frame(0x00, b"two, ") + frame(0x89, b"") + frame(0x80, b"three"),
            frame(0x01, "caf\u00e9".encode()[:4]) + frame(0x80, "caf\u00e9".encode()[4:]),
            frame(0x8A, b"unasked") + frame(0x82, b""),
            frame(0x88, b"\x03\xe8bye"),
        ],
        {"kept": 4 * MAX_TEXT},
    ),
]
