"""Pairs of the kind 10: where a message, or a part of it, ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from handlers import Exactly, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import Malformed, Pair

if TYPE_CHECKING:
    from handlers import Step

# SMTP

COMMAND = Until(b"\r\n", limit=512)
PATH = rb"<([!-;=?A-~]{1,128}@[A-Za-z0-9.-]{1,128})>"
HELLO = re.compile(rb"(?i:EHLO|HELO) [!-~]{1,255}")
MAIL = re.compile(rb"(?i:MAIL FROM:)" + PATH)
RECIPIENT = re.compile(rb"(?i:RCPT TO:)" + PATH)
MAX_RECIPIENTS = 20
MAX_MESSAGE = 65_536
LINE_LIMIT = 1000


class Smtp(StreamHandler):
    """A mail sink, which counts the octets: a part of SMTP (RFC 5321)."""

    timeout = 60
    request_timeout = 120

    def setup(self) -> None:
        self.greeted, self.sender, self.recipients = False, b"", 0

    async def handle(self) -> None:
        self.send(b"220 sink.example.org ESMTP\r\n")
        while True:
            self.one_by_one += 1
            line = (await COMMAND)[:-2]
            word = line.upper()
            if word == b"QUIT":
                self.send(b"221 bye\r\n")
                return
            if word == b"DATA" and self.recipients:
                self.send(b"354 go on, end with a dot\r\n")
                self.send(b"250 queued %d octets from %b\r\n" % (await self.message(), self.sender))
                self.forget()
            else:
                self.send(self.answer(line, word))

    def forget(self) -> None:
        self.sender, self.recipients = b"", 0

    def answer(self, line: bytes, word: bytes) -> bytes:
        """The reply to a command without a message."""
        if HELLO.fullmatch(line):
            self.greeted = True
            self.forget()
            return b"250 sink.example.org\r\n"
        if word in (b"NOOP", b"RSET"):
            if word == b"RSET":
                self.forget()
            return b"250 ok\r\n"
        if (matched := MAIL.fullmatch(line)) and self.greeted and not self.sender:
            self.sender = matched[1]
            return b"250 ok\r\n"
        if RECIPIENT.fullmatch(line) and self.sender:
            if self.recipients == MAX_RECIPIENTS:
                return b"452 too many recipients\r\n"
            self.recipients += 1
            return b"250 ok\r\n"
        return b"503 not now\r\n" if word[:4] in (b"DATA", b"MAIL", b"RCPT") else b"500 what?\r\n"

    async def message(self) -> int:
        """Take the lines of a message. How many octets there are."""
        size = 0
        while (line := await self.line()) != b".":
            size += len(line) + 2 - line.startswith(b".")
            if size > MAX_MESSAGE:
                self.send(b"552 too much\r\n")
                raise Malformed("a message that is too large")
        return size

    async def line(self) -> bytes:
        """The next line of a message, without its end."""
        line = await UntilAny(b"\r\n", b"\n", limit=LINE_LIMIT)
        return line.rstrip(b"\r\n")


class SmtpRight(Smtp):
    """A mail sink, which counts the octets: a part of SMTP (RFC 5321)."""

    async def line(self) -> bytes:
        """The next line of a message, without its end."""
        line = (await Until(b"\r\n", limit=LINE_LIMIT))[:-2]
        if b"\r" in line or b"\n" in line:
            self.send(b"550 a bare line end\r\n")
            raise Malformed("a bare line end")
        return line


# HTTP/1.1

HEAD = Until(b"\r\n\r\n", limit=8192)
START = re.compile(rb"(GET|POST) (/[!-~]{0,1024}) HTTP/1\.1")
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")
LENGTH = re.compile(rb"[0-9]{1,7}")
ONCE = (b"host", b"content-length")
MAX_BODY = 16_384


class Http(StreamHandler):
    """A service that counts what is posted to it: a part of HTTP/1.1 (RFC 9112)."""

    timeout = 30
    request_timeout = 30

    def handle(self) -> Step:
        self.one_by_one += 1
        return HEAD, self.head

    def head(self, data: bytes) -> Step:
        start, *lines = data[:-4].split(b"\r\n")
        matched = START.fullmatch(start)
        if matched is None:
            return self.refuse(b"400 Bad Request")
        self.method, self.path, self.is_last = matched[1], matched[2], False
        fields: dict[bytes, bytes] = {}
        for line in lines:
            name, value = self.field(line)
            if TOKEN.fullmatch(name) is None or VALUE.fullmatch(value) is None or (name in ONCE and name in fields):
                return self.refuse(b"400 Bad Request")
            fields[name] = value
            if name == b"connection" and b"close" in map(bytes.strip, value.lower().split(b",")):
                self.is_last = True
        if b"host" not in fields:
            return self.refuse(b"400 Bad Request")
        if b"transfer-encoding" in fields:
            return self.refuse(b"501 Not Implemented")
        length = fields.get(b"content-length", b"0")
        if LENGTH.fullmatch(length) is None:
            return self.refuse(b"400 Bad Request")
        if int(length) > MAX_BODY:
            return self.refuse(b"413 Content Too Large")
        return Exactly(int(length)), self.body

    def field(self, line: bytes) -> tuple[bytes, bytes]:
        """The name of a field, in lower case, and its value."""
        name, colon, value = line.partition(b":")
        return name.strip().lower() if colon else b"", value.strip(b" \t")

    def body(self, data: bytes) -> Step:
        text = b"%b %b: %d bytes\n" % (self.method, self.path, len(data))
        self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
        return None if self.is_last else self.handle()

    def refuse(self, status: bytes) -> Step:
        self.send(b"HTTP/1.1 %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % status)
        return None


class HttpRight(Http):
    """A service that counts what is posted to it: a part of HTTP/1.1 (RFC 9112)."""

    def field(self, line: bytes) -> tuple[bytes, bytes]:
        """The name of a field, in lower case, and its value."""
        name, colon, value = line.partition(b":")
        return name.lower() if colon else b"", value.strip(b" \t")


# MLLP

START_BLOCK, END_BLOCK = b"\x0b", b"\x1c\r"
BLOCK = Until(END_BLOCK, limit=16_384)
SEGMENT = re.compile(r"[A-Z][A-Z0-9]{2}(\|.*)?", re.DOTALL)
HEADER = re.compile(r"MSH\|\^~\\&(?:\|[^|]*){6}\|(ORU\^R01|ADT\^A01)\|([A-Za-z0-9._-]{1,20})\|P\|2\.[3-8]")


class Mllp(StreamHandler):
    """Takes results and admissions, and counts them: HL7, version 2, in blocks (MLLP, release 1)."""

    timeout = 60

    def handle(self) -> Step:
        return BLOCK, self.block

    def block(self, data: bytes) -> Step:
        content = data[len(START_BLOCK) : -len(END_BLOCK)]
        if not data.startswith(START_BLOCK) or b"\x0b" in content or b"\x1c" in content:
            raise Malformed("no block")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise Malformed("no UTF-8") from None
        header, *segments = self.segments(text)
        matched = HEADER.fullmatch(header)
        if matched is None or not all(map(SEGMENT.fullmatch, segments)):
            raise Malformed("no message")
        kinds = [segment[:3] for segment in segments]
        if "PID" not in kinds:
            self.acknowledge("AE", matched[2], "no patient")
        elif matched[1].startswith("ORU"):
            self.acknowledge("AA", matched[2], f"{kinds.count('OBX')} results")
        else:
            self.acknowledge("AA", matched[2], "admitted")
        return self.handle()

    def segments(self, text: str) -> list[str]:
        """The segments of a message, without the ends."""
        return text.splitlines() or [""]

    def acknowledge(self, code: str, identifier: str, text: str) -> None:
        answer = f"MSH|^~\\&|LAB||||||ACK|{identifier}|P|2.5\rMSA|{code}|{identifier}|{text}\r"
        self.send(START_BLOCK + answer.encode() + END_BLOCK)


class MllpRight(Mllp):
    """Takes results and admissions, and counts them: HL7, version 2, in blocks (MLLP, release 1)."""

    def segments(self, text: str) -> list[str]:
        """The segments of a message, without the ends."""
        return text.removesuffix("\r").split("\r")


def mllp(*segments: str) -> bytes:
    """A message in a block."""
    return START_BLOCK + "".join(segment + "\r" for segment in segments).encode() + END_BLOCK


PAIRS = [
    Pair("smtp-data", 10, Smtp, SmtpRight, [
        b"EHLO mx.example.net\r\n",
        b"NOOP\r\n",
        b"MAIL FROM:<ada@example.net>\r\n",
        b"RCPT TO:<bob@example.org>\r\n",
        b"RCPT TO:<eve@example.org>\r\n",
        b"DATA\r\n",
        b"From: ada@example.net\r\nTo: bob@example.org\r\nSubject: lunch\r\n\r\nAt noon?\r\n..\r\nAda\r\n.\r\n",
        b"RSET\r\n",
        b"HELO mx.example.net\r\n",
        b"MAIL FROM:<ada@example.net>\r\n",
        b"RCPT TO:<bob@example.org>\r\n",
        b"DATA\r\n",
        b"Subject: lunch\r\n\r\nor at one\r\n.\r\n",
        b"QUIT\r\n",
    ]),
    Pair("http", 10, Http, HttpRight, [
        b"GET /status HTTP/1.1\r\nHost: count.example.org\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        (b"POST /items HTTP/1.1\r\nHost: count.example.org\r\nContent-Type: application/json\r\n"
        b'Content-Length: 24\r\n\r\n{"item": "pen", "n": 12}'),
        b"POST /items HTTP/1.1\r\nHost: count.example.org\r\nContent-Length: 5\r\nConnection: close\r\n\r\nn=120",
    ]),
    Pair("mllp-results", 10, Mllp, MllpRight, [
        mllp(
            "MSH|^~\\&|HIS|WARD3|LAB|MAIN|20240311102233||ADT^A01|A-1001|P|2.5",
            "EVN|A01|20240311102233",
            "PID|1||4711^^^HIS||Müller^Ada||19570412|F",
            "PV1|1|I|W3^12^2",
        ),
        mllp(
            "MSH|^~\\&|ANALYZER|LAB|LIS|MAIN|20240311113005||ORU^R01|R-2002|P|2.5",
            "PID|1||4711^^^HIS||Müller^Ada",
            "OBR|1|550||GLU^Glucose",
            "OBX|1|NM|GLU^Glucose||5.4|mmol/L|3.9-5.8|N|||F",
            "OBX|2|NM|NA^Sodium||139|mmol/L|136-145|N|||F",
            "NTE|1||taken before breakfast",
        ),
        mllp("MSH|^~\\&|ANALYZER|LAB|LIS|MAIN|20240311113105||ORU^R01|R-2003|P|2.5", "OBX|1|NM|K^Potassium||4.1"),
    ]),
]  # fmt: skip
