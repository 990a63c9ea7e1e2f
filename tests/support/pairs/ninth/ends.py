"""Pairs of the ninth set: where a message ends and what it says, for a speech server, an agent and a modem."""

from __future__ import annotations

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair, fields

START = re.compile(rb"MRCP/2\.0 ([0-9]{1,5}) ([A-Z-]{1,32}) ([0-9]{1,9})\r\n")
DIGITS = re.compile(rb"[0-9]{1,5}")


class MrcpRight(StreamHandler):
    """A speech synthesizer (MRCPv2, RFC 6787), the channel of one session.

    A message says its whole length in its first line, and that of its body in the field Content-Length.
    """

    timeout = 30.0
    request_timeout = 30.0
    channel = b"32AECB23433801@speechsynth"

    def setup(self) -> None:
        self.newest = -1

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            start = await Until(b"\r\n", limit=80)
            matched = START.fullmatch(start)
            if matched is None:
                raise Malformed("no message")
            head, size = await self.head()
            said = head.get(b"content-length", b"0")
            if (
                not DIGITS.fullmatch(said)
                or int(said) > 8192
                or not self.agree(int(matched[1]), len(start) + size, said)
            ):
                raise Malformed("no length")
            body = await Exactly(int(said))
            self.answer(matched[2], int(matched[3]), head, body)

    async def head(self) -> tuple[dict[bytes, bytes], int]:
        """The fields of a message, sixteen at most, and the bytes that they take."""
        lines, size = [], 0
        while (line := await Until(b"\r\n", limit=512)) != b"\r\n":
            lines.append(line[:-2])
            size += len(line)
            if len(lines) > 16:
                raise Malformed("too many fields")
        return fields(lines), size + 2

    def agree(self, whole: int, head: int, body: bytes) -> bool:
        """Whether the lengths that a message says are those that it has."""
        return whole == head + int(body)

    def answer(self, method: bytes, number: int, head: dict[bytes, bytes], body: bytes) -> None:
        channel = head.get(b"channel-identifier")
        status, state = 200, b"COMPLETE"
        if number <= self.newest:
            status = 410
        elif channel != self.channel:
            status = 405 if channel else 406
        elif method == b"SPEAK":
            if head.get(b"content-type") != b"text/plain" or not body:
                status = 408
            else:
                state = b"IN-PROGRESS"
        elif body:
            status = 408
        elif method not in (b"SET-PARAMS", b"STOP"):
            status = 401
        self.newest = max(self.newest, number)
        self.message(b"%d %d %b" % (number, status, state))
        if state == b"IN-PROGRESS":
            self.message(b"SPEAK-COMPLETE %d COMPLETE" % number, b"Completion-Cause: 000 normal\r\n")

    def message(self, line: bytes, more: bytes = b"") -> None:
        rest = b" %b\r\nChannel-Identifier: %b\r\n%b\r\n" % (line, self.channel, more)
        size = len(b"MRCP/2.0 ") + len(rest)
        size += 2 if size + 2 < 100 else 3
        self.send(b"MRCP/2.0 %d%b" % (size, rest))


class Mrcp(MrcpRight):
    def agree(self, whole: int, head: int, body: bytes) -> bool:
        return whole > 0


def mrcp(method: bytes, number: int, content: bytes = b"") -> bytes:
    """A message of a client."""
    rest = b" %b %d\r\nChannel-Identifier: 32AECB23433801@speechsynth\r\n" % (method, number)
    if content:
        rest += b"Content-Type: text/plain\r\nContent-Length: %d\r\n" % len(content)
    rest += b"\r\n" + content
    size = len(b"MRCP/2.0 ") + len(rest)
    return b"MRCP/2.0 %d%b" % (size + (2 if size + 2 < 100 else 3), rest)


ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
UNSAFE = re.compile(rb"[%\r\n\\]")


def unescape(text: bytes) -> bytes:
    """Text without its percent escapes. Raises `ValueError` for a percent sign that begins none."""
    if b"%" in ESCAPE.sub(b"", text):
        raise ValueError("no escape")
    return ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), text)


class AssuanRight(StreamHandler):
    """An agent that keeps values for other programs (Assuan, with PUTVAL and GETVAL of the GnuPG agent).

    A value may have any bytes, which are escaped where the line could not have them.
    """

    timeout = 60.0

    def setup(self) -> None:
        self.values: dict[bytes, bytes] = {}

    async def handle(self) -> None:
        self.send(b"OK Pleased to meet you\n")
        while True:
            line = (await Until(b"\n", limit=1001))[:-1]
            if not re.fullmatch(rb"[ -~]*", line):
                self.error(67109144, b"IPC parameter error")
                return
            if not line or line[:1] == b"#":
                continue
            try:
                command, key, value = self.words(line)
            except ValueError:
                self.error(67109144, b"IPC parameter error")
                continue
            if command == b"BYE" and key is None:
                self.send(b"OK closing connection\n")
                return
            self.run(command, key, value)

    def words(self, line: bytes) -> tuple[bytes, bytes | None, bytes | None]:
        """The command of a line, the key and the value."""
        command, *words = line.split(b" ", 2)
        key = words[0] if words else None
        value = unescape(words[1]) if words[1:] else None
        return command.upper(), key, value

    def run(self, command: bytes, key: bytes | None, value: bytes | None) -> None:
        if command in (b"NOP", b"RESET") and key is None:
            self.send(b"OK\n")
        elif command not in (b"PUTVAL", b"GETVAL"):
            self.error(67109139, b"Unknown IPC command")
        elif key is None or not re.fullmatch(rb"[A-Za-z0-9_.-]{1,64}", key):
            self.error(67109144, b"IPC parameter error")
        elif command == b"GETVAL":
            self.get(key, value)
        elif value is None:
            self.values.pop(key, None)
            self.send(b"OK\n")
        elif key not in self.values and len(self.values) >= 32:
            self.error(67108933, b"Too many values")
        else:
            self.values[key] = value
            self.send(b"OK\n")

    def get(self, key: bytes, more: bytes | None) -> None:
        value = self.values.get(key)
        if more is not None:
            self.error(67109144, b"IPC parameter error")
        elif value is None:
            self.error(67108891, b"Not found")
        else:
            for place in range(0, len(value), 300):
                part = UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], value[place : place + 300])
                self.send(b"D %b\n" % part)
            self.send(b"OK\n")

    def error(self, number: int, text: bytes) -> None:
        self.send(b"ERR %d %b <GPG Agent>\n" % (number, text))


class Assuan(AssuanRight):
    def words(self, line: bytes) -> tuple[bytes, bytes | None, bytes | None]:
        command, *words = unescape(line).split(b" ", 2)
        return command.upper(), words[0] if words else None, words[1] if words[1:] else None


FEND, FESC = b"\xc0", b"\xdb"
STUFFED = re.compile(rb"(?s:[^\xdb]|\xdb[\xdc\xdd])*")


class Kiss(Buffered):
    """A packet radio modem (KISS, by Chepponis and Karn, with the acknowledged mode of G8BPQ).

    Frames stand between bytes FEND; in a frame, FEND and FESC are escaped. A frame of the type 12 begins with two bytes
    that are sent back when it has been transmitted.
    """

    def take(self) -> bool:
        for frame in self.whole(FEND):
            if frame and not self.frame(frame):
                return False
        if len(self.buffer) > 1024:
            raise Malformed("too long")
        return True

    def frame(self, stuffed: bytes) -> bool:
        """Take a frame. False: the host has left the mode."""
        if len(stuffed) > 1024 or not STUFFED.fullmatch(stuffed):
            raise Malformed("no frame")
        content = self.without_escapes(stuffed)
        kind, size = content[0] & 15, len(content) - 1
        if content == b"\xff":
            return False
        if kind == 12 and 3 <= size <= 332:
            self.send(FEND + self.with_escapes(content[:3]) + FEND)
        elif not (kind == 0 and 1 <= size <= 330) and not (1 <= kind <= 5 and size == 1):
            raise Malformed("no frame of the host")
        return True

    def with_escapes(self, content: bytes) -> bytes:
        return content.replace(FESC, b"\xdb\xdd").replace(FEND, b"\xdb\xdc")

    def without_escapes(self, stuffed: bytes) -> bytes:
        return stuffed.replace(b"\xdb\xdd", FESC).replace(b"\xdb\xdc", FEND)


class KissRight(Kiss):
    def without_escapes(self, stuffed: bytes) -> bytes:
        return stuffed.replace(b"\xdb\xdc", FEND).replace(b"\xdb\xdd", FESC)


PAIRS = [
    Pair(
        "mrcp", 10, Mrcp, MrcpRight,
        [
            mrcp(b"SET-PARAMS", 543_256),
            mrcp(b"SPEAK", 543_257, b"You have four new messages."),
            mrcp(b"RECOGNIZE", 543_258),
            mrcp(b"STOP", 543_259),
        ],
    ),
    Pair(
        "assuan-words", 10, Assuan, AssuanRight,
        [
            b"NOP\n",
            b"PUTVAL color dark%20blue\n",
            b"getval color\n",
            b"PUTVAL note 100%25%0Adone\n",
            b"GETVAL note\n",
            b"PUTVAL color\n",
            b"GETVAL color\n",
            b"BYE\n",
        ],
    ),
    Pair(
        "kiss", 10, Kiss, KissRight,
        [
            b"\xc0\x01\x28\xc0",
            b"\xc0\x00\x82\xa0\xa4\xa6\x40\x40\x60\xc0",
            b"\xc0\x0c\x01\x02hello\xc0",
            b"\xc0\x1c\xdb\xdc\xdb\xddworld\xc0",
        ],
    ),
]  # fmt: skip
