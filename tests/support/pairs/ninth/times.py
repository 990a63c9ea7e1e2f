"""Pairs of the ninth set: the time that a request may take, behind a web server, and where text is read aloud."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers.handler import Step

DIGITS = re.compile(rb"[0-9]{1,5}")
TOKEN = re.compile(rb"[!#-'*+.^-z|~0-9A-Z-]{1,64}")
TEXT = re.compile(rb"[ -~]{0,1024}")


def string(text: bytes) -> bytes:
    """A string of AJP."""
    return len(text).to_bytes(2, "big") + text + b"\0"


class Fields:
    """Reads numbers and strings off the content of a packet of AJP."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place = content, 0

    def take(self, size: int) -> bytes:
        if size > len(self.content) - self.place:
            raise Malformed("a field is longer than its packet")
        self.place += size
        return self.content[self.place - size : self.place]

    def number(self, size: int = 2) -> int:
        return int.from_bytes(self.take(size), "big")

    def string(self, size: int | None = None) -> bytes:
        if size is None:
            size = self.number()
        if size == 0xFFFF:
            return b""
        text = self.take(size)
        if self.take(1) != b"\0" or not TEXT.fullmatch(text):
            raise Malformed("no string")
        return text


class AjpRight(StreamHandler):
    """A servlet container behind a web server (AJP/1.3): it says how long the body of each request is.

    The web server sends the first part of a body unasked, the next ones when the container asks for them.
    """

    timeout = 30.0
    request_timeout = 60.0
    most = 65_536

    async def packet(self) -> bytes:
        """The content of the next packet of the web server."""
        head = await Exactly(4)
        size = int.from_bytes(head[2:], "big")
        if head[:2] != b"\x12\x34" or size > 8188:
            raise Malformed("no packet")
        return await Exactly(size)

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            content = await self.packet()
            if content == b"\x0a":
                self.reply(b"\x09")
                continue
            method, size = self.head(content)
            body = 0
            while body < size:
                if body:
                    self.reply(b"\x06" + min(8186, size - body).to_bytes(2, "big"))
                part = await self.packet()
                length = int.from_bytes(part[:2], "big")
                if not 0 < length <= size - body or len(part) != length + 2:
                    raise Malformed("no part of the body")
                body += length
            text = b"%d bytes\n" % body
            status = b"\x04\x00\xc8\x00\x02OK\x00" if method in (2, 4) else b"\x04\x01\x95\x00\x03No!\x00"
            self.reply(status + b"\x00\x01\xa0\x03" + string(b"%d" % len(text)))
            self.reply(b"\x03" + len(text).to_bytes(2, "big") + text + b"\0")
            self.reply(b"\x05\x01")

    def reply(self, content: bytes) -> None:
        self.send(b"AB" + len(content).to_bytes(2, "big") + content)

    def head(self, content: bytes) -> tuple[int, int]:
        """The method of a request and the length of its body."""
        fields = Fields(content)
        code, method = fields.number(1), fields.number(1)
        protocol, uri = fields.string(), fields.string()
        if code != 2 or not 1 <= method <= 5 or protocol not in (b"HTTP/1.0", b"HTTP/1.1") or uri[:1] != b"/":
            raise Malformed("no request")
        for _ in range(3):
            fields.string()
        if fields.number() == 0 or fields.number(1) > 1:
            raise Malformed("no port")
        sizes = [value for name, value in self.headers(fields) if name in (b"\xa0\x08", b"content-length")]
        self.attributes(fields)
        if len(sizes) > 1 or not all(map(DIGITS.fullmatch, sizes)):
            raise Malformed("no length")
        size = int(sizes[0]) if sizes else 0
        if size > self.most:
            raise Malformed("too long")
        return method, size

    def headers(self, fields: Fields) -> list[tuple[bytes, bytes]]:
        found = []
        for _ in range(fields.number()):
            number = fields.number()
            if number >> 8 == 0xA0:
                name = number.to_bytes(2, "big")
                if not 1 <= number & 0xFF <= 0x0E:
                    raise Malformed("no header")
            else:
                name = fields.string(number).lower()
                if not TOKEN.fullmatch(name) or name == b"transfer-encoding":
                    raise Malformed("no header")
            found.append((name, fields.string()))
        return found

    def attributes(self, fields: Fields) -> None:
        while (code := fields.number(1)) != 0xFF:
            if not 1 <= code <= 0x0D:
                raise Malformed("no attribute")
            if code == 0x0B:
                fields.number()
            else:
                fields.string()
                if code == 0x0A:
                    fields.string()
        if fields.place != len(fields.content):
            raise Malformed("more than a request")


class Ajp(AjpRight):
    async def packet(self) -> bytes:
        self.one_by_one += 1
        return await super().packet()


def ajp(content: bytes) -> bytes:
    """A packet from a web server."""
    return b"\x12\x34" + len(content).to_bytes(2, "big") + content


def forward(method: int, uri: bytes, *headers: bytes) -> bytes:
    """The packet that a request begins with."""
    content = b"\x02" + bytes([method]) + string(b"HTTP/1.1") + string(uri) + string(b"192.0.2.7") + b"\xff\xff"
    content += string(b"example.org") + (80).to_bytes(2, "big") + b"\0" + len(headers).to_bytes(2, "big")
    return ajp(content + b"".join(headers) + b"\x05" + string(b"a=1") + b"\xff")


def record(kind: int, content: bytes = b"", number: int = 1) -> bytes:
    """A record of FastCGI."""
    return bytes([1, kind]) + number.to_bytes(2, "big") + len(content).to_bytes(2, "big") + b"\0\0" + content


def pairs_of(content: bytes) -> dict[bytes, bytes]:
    """The parameters in a stream of FastCGI: each is two lengths, of one byte or of four, a name and a value."""
    found: dict[bytes, bytes] = {}
    place = 0
    while place < len(content):
        sizes = []
        for _ in range(2):
            width = 4 if content[place : place + 1] >= b"\x80" else 1
            digits = content[place : place + width]
            if len(digits) < width:
                raise Malformed("no length")
            sizes.append(int.from_bytes(digits, "big") & 0x7FFF_FFFF)
            place += width
        name = content[place : place + sizes[0]]
        value = content[place + sizes[0] : place + sum(sizes)]
        place += sum(sizes)
        if place > len(content) or not name or name in found:
            raise Malformed("no parameter")
        found[name] = value
    return found


class FastCgi(StreamHandler):
    """An application behind a web server (FastCGI 1.0), in the role of a responder, one request after another."""

    timeout = 30.0
    request_timeout: float | None = 30.0
    body_timeout: float | None = None

    def setup(self) -> None:
        self.number = 0

    def handle(self) -> Step:
        self.one_by_one += 1
        self.request_timeout = 30.0
        return Exactly(8), self.begin

    def begin(self, head: bytes) -> Step:
        number = int.from_bytes(head[2:4], "big")
        if head[:2] != b"\x01\x01" or not number or head[4:6] != b"\x00\x08":
            raise Malformed("no beginning")
        self.number, self.padding = number, head[6]
        return Exactly(8 + self.padding), self.role

    def role(self, content: bytes) -> Step:
        role, self.flags = int.from_bytes(content[:2], "big"), content[2]
        if self.flags > 1:
            raise Malformed("no flags")
        if role != 1:
            self.flags = 0
            return self.ended(3)
        self.parameters, self.size = bytearray(), 0
        return Exactly(8), self.parameters_head

    def content_of(self, head: bytes, kind: int) -> int:
        """The length of the content of the record of this request, and of the padding behind it."""
        if head[:2] != bytes([1, kind]) or int.from_bytes(head[2:4], "big") != self.number:
            raise Malformed("no record of this request")
        self.length = int.from_bytes(head[4:6], "big")
        return self.length + head[6]

    def parameters_head(self, head: bytes) -> Step:
        return Exactly(self.content_of(head, 4)), self.parameters_part

    def parameters_part(self, content: bytes) -> Step:
        self.parameters += content[: self.length]
        if len(self.parameters) > 16_384:
            raise Malformed("too many parameters")
        if self.length:
            return Exactly(8), self.parameters_head
        self.found = pairs_of(bytes(self.parameters))
        self.request_timeout = self.body_timeout
        return Exactly(8), self.input_head

    def input_head(self, head: bytes) -> Step:
        return Exactly(self.content_of(head, 5)), self.input_part

    def input_part(self, content: bytes) -> Step:
        self.size += self.length
        if self.size > 65_536:
            raise Malformed("too long")
        if self.length:
            return Exactly(8), self.input_head
        said = self.found.get(b"CONTENT_LENGTH") or b"0"
        if not DIGITS.fullmatch(said) or int(said) != self.size:
            raise Malformed("not as long as it says")
        text = b"Content-Type: text/plain\r\n\r\n%d parameters, %d bytes\n" % (len(self.found), self.size)
        self.send(record(6, text, self.number) + record(6, b"", self.number))
        return self.ended(0)

    def ended(self, status: int) -> Step:
        self.send(record(3, bytes([0, 0, 0, 0, status, 0, 0, 0]), self.number))
        return self.handle() if self.flags else None


class FastCgiRight(FastCgi):
    body_timeout = 120.0


def parameter(name: bytes, value: bytes) -> bytes:
    """A parameter whose lengths have one byte each."""
    return bytes([len(name), len(value)]) + name + value


class SsipRight(StreamHandler):
    """A speech server (SSIP, of Speech Dispatcher): settings, and texts that end with a line with one dot.

    A line of a text that begins with a dot has a second one in front.
    """

    timeout = 60.0
    text_time = 60.0

    def setup(self) -> None:
        self.message, self.due = 0, 0.0

    async def handle(self) -> None:
        while True:
            line = (await Until(b"\r\n", limit=512))[:-2]
            if not TEXT.fullmatch(line):
                raise Malformed("no command")
            command, _, rest = line.partition(b" ")
            command = command.upper()
            if command == b"QUIT" and not rest:
                self.send(b"231 HAPPY HACKING\r\n")
                return
            if command == b"SPEAK" and not rest:
                await self.speak()
            elif command == b"SET" and (rate := re.fullmatch(rb"(?i:SELF RATE) (-?[0-9]{1,3})", rest)):
                is_rate = -100 <= int(rate[1]) <= 100
                self.send(b"203 OK RATE SET\r\n" if is_rate else b"409 ERR RATE TOO HIGH\r\n")
            elif command == b"SET" and re.fullmatch(rb"(?i:SELF CLIENT_NAME) [a-z]+:[a-z]+:[a-z]+", rest):
                self.send(b"208 OK CLIENT NAME SET\r\n")
            else:
                self.send(b"500 ERR INVALID COMMAND\r\n")

    async def speak(self) -> None:
        """Take a text and say the number that it got."""
        self.send(b"230 OK RECEIVING DATA\r\n")
        self.due = self.now() + self.text_time
        size = 0
        while (line := await self.line()) != b".\r\n":
            size += len(line)
            if size > 16_384 or not TEXT.fullmatch(line[:-2]) or (line[:1] == b"." and line[:2] != b".."):
                raise Malformed("no text")
        self.message += 1
        self.send(b"225-%d\r\n225 OK MESSAGE QUEUED\r\n" % self.message)

    async def line(self) -> bytes:
        """The next line of a text."""
        return await Until(b"\r\n", limit=1026, timeout=max(0.0, self.due - self.now()))


class Ssip(SsipRight):
    async def line(self) -> bytes:
        self.due = self.now() + self.text_time
        return await super().line()


PAIRS = [
    Pair(
        "ajp", 7, Ajp, AjpRight,
        [
            ajp(b"\x0a"),
            forward(2, b"/status", b"\xa0\x0b" + string(b"example.org")),
            forward(4, b"/upload", b"\xa0\x08" + string(b"11"), string(b"X-Id") + string(b"7")),
            ajp(b"\x00\x06hello "),
            ajp(b"\x00\x05world"),
        ],
    ),
    Pair(
        "fastcgi", 7, FastCgi, FastCgiRight,
        [
            record(1, b"\x00\x01\x01\x00\x00\x00\x00\x00"),
            record(4, parameter(b"REQUEST_METHOD", b"POST") + parameter(b"CONTENT_LENGTH", b"5")),
            record(4),
            record(5, b"hel"),
            record(5, b"lo"),
            record(5),
            record(1, b"\x00\x01\x00\x00\x00\x00\x00\x00", 2),
            record(4, parameter(b"REQUEST_METHOD", b"GET"), 2),
            record(4, b"", 2),
            record(5, b"", 2),
        ],
    ),
    Pair(
        "ssip", 7, Ssip, SsipRight,
        [
            b"SET self CLIENT_NAME joe:vi:default\r\n",
            b"SET self RATE -10\r\n",
            b"SPEAK\r\n",
            b"Hello, world.\r\n",
            b"..and a dot\r\n",
            b".\r\n",
            b"QUIT\r\n",
        ],
    ),
]  # fmt: skip
