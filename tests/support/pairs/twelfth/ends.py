"""Pairs of the kind 10: ends that are none, and two lengths."""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

from handlers import Exactly, LimitPassed, StreamHandler, Until, UntilAny
from tests.support.pairs.pair import FIELD, Malformed, Pair, fields

if TYPE_CHECKING:
    from handlers import Cause, Step

# SMTP

COMMAND = Until(b"\r\n", limit=512)
PATH = r"<([!-;=?-~]*@[!-;=?-~]+|)>"
MAIL = re.compile(rf"MAIL FROM:{PATH}", re.IGNORECASE)
RCPT = re.compile(rf"RCPT TO:{PATH}", re.IGNORECASE)
HELLO = re.compile(r"(?:EHLO|HELO) [!-~]+", re.IGNORECASE)
MAX_MAIL = 1 << 20
MAX_RECIPIENTS = 100


class Smtp(StreamHandler):
    """A receiver of mail (RFC 5321)."""

    timeout = 120
    request_timeout = 600

    def setup(self) -> None:
        self.one_by_one = 0
        self.has_greeted = False
        self.forget()

    def forget(self) -> None:
        self.sender: str | None = None
        self.recipients: list[str] = []

    async def handle(self) -> None:
        self.send(b"220 mail.example ESMTP\r\n")
        while True:
            line = (await COMMAND)[:-2].decode("latin-1")
            if line.upper() == "QUIT":
                self.send(b"221 bye\r\n")
                return
            self.send(await self.answer(line) + b"\r\n")
            self.one_by_one += 1

    async def answer(self, line: str) -> bytes:
        verb = line[:4].upper()
        if HELLO.fullmatch(line) or line.upper() == "RSET":
            self.has_greeted = self.has_greeted or verb != "RSET"
            self.forget()
        elif verb == "MAIL":
            return self.mail(MAIL.fullmatch(line))
        elif verb == "RCPT":
            return self.rcpt(RCPT.fullmatch(line))
        elif line.upper() == "DATA":
            return await self.data()
        elif line.upper() != "NOOP":
            return b"500 what?"
        return b"250 OK"

    def mail(self, matched: re.Match[str] | None) -> bytes:
        if matched is None:
            return b"501 MAIL FROM:<address>"
        if not self.has_greeted or self.sender is not None:
            return b"503 not now"
        self.sender = matched[1]
        return b"250 OK"

    def rcpt(self, matched: re.Match[str] | None) -> bytes:
        if matched is None or not matched[1]:
            return b"501 RCPT TO:<address>"
        if self.sender is None:
            return b"503 not now"
        if len(self.recipients) == MAX_RECIPIENTS:
            return b"452 too many recipients"
        self.recipients.append(matched[1])
        return b"250 OK"

    async def data(self) -> bytes:
        if not self.recipients:
            return b"503 no recipients"
        self.send(b"354 end with a line that is a dot\r\n")
        size = 0
        while (line := await self.text_line()) != b".":
            size += len(line) - line.startswith(b".") + 2
        count = len(self.recipients)
        self.forget()
        return b"552 too long" if size > MAX_MAIL else b"250 took %d bytes for %d" % (size, count)

    async def text_line(self) -> bytes:
        """A line of the mail, without its end."""
        line = await UntilAny(b"\r\n", b"\n", limit=1000)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        if b"\r" in line:
            raise Malformed("a bare CR")
        return line

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            self.send(b"500 malformed line\r\n")


class SmtpRight(Smtp):
    """A receiver of mail (RFC 5321)."""

    async def text_line(self) -> bytes:
        """A line of the mail, without its end."""
        line = (await Until(b"\r\n", limit=1000))[:-2]
        if b"\r" in line or b"\n" in line:
            raise Malformed("a bare CR or LF")
        return line


# SIP

SIP_HEAD = Until(b"\r\n\r\n", limit=8192)
SIP_LINE = re.compile(rb"([A-Z]{1,16}) (sips?:[!-~]+) SIP/2\.0")
COMPACT = {b"v": b"via", b"f": b"from", b"t": b"to", b"i": b"call-id", b"l": b"content-length", b"m": b"contact"}
ONCE = b"from", b"to", b"call-id", b"cseq", b"max-forwards"
NAMES = ((b"from", b"From"), (b"call-id", b"Call-ID"), (b"cseq", b"CSeq"))
MAX_CONTENT = 65_536
STATUSES = {b"OPTIONS": b"200 OK", b"MESSAGE": b"200 OK", b"INVITE": b"486 Busy Here", b"ACK": b""}


class Sip(StreamHandler):
    """A user agent that takes messages, over TCP (RFC 3261, RFC 3428)."""

    timeout = 60
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0

    def handle(self) -> Step:
        return SIP_HEAD, self.head

    def following(self) -> Step:
        self.one_by_one += 1
        return self.handle()

    def head(self, head: bytes) -> Step:
        if head == b"\r\n\r\n":  # a ping (RFC 5626, section 3.5.1)
            self.send(b"\r\n")
            return self.following()
        line, *lines = head[:-4].removeprefix(b"\r\n").split(b"\r\n")
        matched = SIP_LINE.fullmatch(line)
        if matched is None:
            raise Malformed("request line")
        self.method, self.found = matched[1], self.fields(lines)
        if b"via" not in self.found or any(len(self.found.get(name, ())) != 1 for name in ONCE):
            raise Malformed("fields")
        if re.fullmatch(rb"[0-9]{1,9} +" + self.method, self.found[b"cseq"][0]) is None:
            raise Malformed("CSeq")
        if re.fullmatch(rb"[0-9]{1,3}", self.found[b"max-forwards"][0]) is None:
            raise Malformed("Max-Forwards")
        size = self.length(self.found.get(b"content-length", []))
        if re.fullmatch(rb"[0-9]{1,6}", size) is None or int(size) > MAX_CONTENT:
            raise Malformed("Content-Length")
        return Exactly(int(size)), self.content

    def fields(self, lines: list[bytes]) -> dict[bytes, list[bytes]]:
        """The values of the fields, by their long names in lower case."""
        found: dict[bytes, list[bytes]] = {}
        for line in lines:
            matched = FIELD.fullmatch(line)
            if matched is None:
                raise Malformed("field")
            name = matched[1].lower()
            found.setdefault(COMPACT.get(name, name), []).append(matched[2] or b"")
        return found

    def length(self, values: list[bytes]) -> bytes:
        """The length of the content, without which nobody knows where the message ends (section 20.14)."""
        return values[-1] if values else b""

    def content(self, content: bytes) -> Step:
        status = STATUSES.get(self.method, b"405 Method Not Allowed")
        if status:
            to = self.found[b"to"][0]
            if b";tag=" not in to:
                to += b";tag=%08x" % zlib.crc32(self.found[b"call-id"][0])
            lines = [b"SIP/2.0 " + status, *(b"Via: " + value for value in self.found[b"via"]), b"To: " + to]
            lines += [name + b": " + self.found[key][0] for key, name in NAMES]
            lines += [b"Allow: INVITE, ACK, OPTIONS, MESSAGE", b"Content-Length: 0", b"", b""]
            self.send(b"\r\n".join(lines))
        return self.following()

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            self.send(b"SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


class SipRight(Sip):
    """A user agent that takes messages, over TCP (RFC 3261, RFC 3428)."""

    def length(self, values: list[bytes]) -> bytes:
        """The length of the content, without which nobody knows where the message ends (section 20.14)."""
        if len(values) != 1:
            raise Malformed("Content-Length")
        return values[0]


# RTSP

RTSP_HEAD = Until(b"\r\n\r\n", limit=8192)
RTSP_LINE = re.compile(rb"([A-Z_]{1,16}) (rtsp://[!-~]+|\*) RTSP/1\.0")
NUMBER = re.compile(rb"[0-9]{1,6}")
MAX_SDP = 65_536
SESSION = b"20240001"


class Rtsp(StreamHandler):
    """A server of one stream (RFC 2326), which the client may describe anew."""

    timeout = 60
    request_timeout = 30

    def setup(self) -> None:
        self.one_by_one = 0
        self.sdp = b"v=0\r\ns=camera\r\nm=video 0 RTP/AVP 96\r\n"
        self.is_set_up = self.is_playing = False

    async def handle(self) -> None:
        while True:
            line, *lines = self.lines((await RTSP_HEAD)[:-4]) or [b""]
            matched, found = RTSP_LINE.fullmatch(line), fields(lines)
            size = found.get(b"content-length", b"0")
            if matched is None or not NUMBER.fullmatch(size) or not NUMBER.fullmatch(found.get(b"cseq", b"")):
                raise Malformed("head")
            if int(size) > MAX_SDP:
                raise Malformed("Content-Length")
            status, extra, content = self.answer(matched[1], found, await Exactly(int(size)))
            if content:
                extra += b"Content-Length: %d\r\n" % len(content)
            self.send(b"RTSP/1.0 %b\r\nCSeq: %b\r\n%b\r\n%b" % (status, found[b"cseq"], extra, content))
            self.one_by_one += 1

    def lines(self, head: bytes) -> list[bytes]:
        """The lines of a head."""
        return head.splitlines()

    def answer(self, method: bytes, found: dict[bytes, bytes], content: bytes) -> tuple[bytes, bytes, bytes]:
        """The status, the other fields, and the content."""
        if method == b"OPTIONS":
            return b"200 OK", b"Public: OPTIONS, DESCRIBE, ANNOUNCE, SETUP, PLAY, PAUSE, TEARDOWN\r\n", b""
        if method == b"DESCRIBE":
            return b"200 OK", b"Content-Type: application/sdp\r\n", self.sdp
        if method == b"ANNOUNCE":
            if not content or found.get(b"content-type", b"").lower() != b"application/sdp":
                return b"415 Unsupported Media Type", b"", b""
            self.sdp = content
            return b"200 OK", b"", b""
        if method == b"SETUP":
            transport = found.get(b"transport", b"")
            if not transport.startswith(b"RTP/AVP/TCP;unicast"):
                return b"461 Unsupported Transport", b"", b""
            self.is_set_up = True
            return b"200 OK", b"Transport: %b\r\nSession: %b\r\n" % (transport, SESSION), b""
        if method not in (b"PLAY", b"PAUSE", b"TEARDOWN"):
            return b"501 Not Implemented", b"", b""
        if not self.is_set_up or found.get(b"session") != SESSION:
            return b"454 Session Not Found", b"", b""
        if method == b"PAUSE" and not self.is_playing:
            return b"455 Method Not Valid in This State", b"", b""
        self.is_playing = method == b"PLAY"
        self.is_set_up = method != b"TEARDOWN"
        return b"200 OK", b"Session: %b\r\n" % SESSION, b""

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, (Malformed, LimitPassed)):
            self.send(b"RTSP/1.0 400 Bad Request\r\n\r\n")


class RtspRight(Rtsp):
    """A server of one stream (RFC 2326), which the client may describe anew."""

    def lines(self, head: bytes) -> list[bytes]:
        """The lines of a head."""
        return head.split(b"\r\n")


def sip(method: bytes, number: int, *lines: bytes, content: bytes = b"") -> bytes:
    """A request as a client of SIP sends it."""
    call = [b"From: <sip:ada@here.example>;tag=a1", b"To: <sip:bob@there.example>", b"Call-ID: c%d@here" % number]
    begin = [method + b" sip:bob@there.example SIP/2.0", b"Via: SIP/2.0/TCP here.example;branch=z9hG4bK%d" % number]
    end = [b"CSeq: %d %b" % (number, method), b"Max-Forwards: 70", *lines, b"Content-Length: %d" % len(content)]
    return b"\r\n".join([*begin, *call, *end, b"", content])


PAIRS = [
    Pair(
        "smtpdot",
        10,
        Smtp,
        SmtpRight,
        [
            b"EHLO client.example\r\n",
            b"MAIL FROM:<ada@here.example>\r\n",
            b"RCPT TO:<bob@there.example>\r\nRCPT TO:<eve@there.example>\r\n",
            b"DATA\r\n",
            b"Subject: hello\r\n\r\nHello Bob,\r\n..this line begins with a dot\r\nAda\r\n.\r\n",
            b"MAIL FROM:<>\r\nRCPT TO:<ada@here.example>\r\nDATA\r\n",
            b"Subject: returned\r\n\r\n.\r\n",
            b"NOOP\r\nRSET\r\nVRFY bob\r\nQUIT\r\n",
        ],
    ),
    Pair(
        "siptcp",
        10,
        Sip,
        SipRight,
        [
            sip(b"OPTIONS", 1, b"Accept: application/sdp"),
            sip(b"MESSAGE", 2, b"Content-Type: text/plain", content=b"Watson, come here."),
            b"\r\n\r\n",
            (
                b"MESSAGE sip:bob@there.example SIP/2.0\r\nv: SIP/2.0/TCP here.example;branch=z9hG4bK3\r\n"
                b"v: SIP/2.0/TCP proxy.example;branch=z9hG4bK4\r\nf: <sip:ada@here.example>;tag=a1\r\n"
                b"Max-Forwards: 9\r\nt: <sip:bob@there.example>;tag=b1\r\ni: c3@here\r\nCSeq: 3 MESSAGE\r\n"
                b"l: 2\r\n\r\nhi"
            ),
            sip(b"INVITE", 4, content=b"v=0\r\n") + sip(b"ACK", 4),
            sip(b"SUBSCRIBE", 5),
        ],
    ),
    Pair(
        "rtsp-head",
        10,
        Rtsp,
        RtspRight,
        [
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: player 1.0\r\n\r\n",
            b"DESCRIBE rtsp://cam.example/one RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\n\r\n",
            (
                b"ANNOUNCE rtsp://cam.example/one RTSP/1.0\r\nCSeq: 3\r\nContent-Type: application/sdp\r\n"
                b"Content-Length: 14\r\n\r\nv=0\r\ns=again\r\n"
            ),
            b"DESCRIBE rtsp://cam.example/one RTSP/1.0\r\nCSeq: 4\r\n\r\n",
            b"SETUP rtsp://cam.example/one RTSP/1.0\r\nCSeq: 5\r\nTransport: RTP/AVP/TCP;unicast\r\n\r\n",
            b"PLAY rtsp://cam.example/one RTSP/1.0\r\nCSeq: 6\r\nSession: 20240001\r\nRange: npt=0-\r\n\r\n",
            (
                b"PAUSE rtsp://cam.example/one RTSP/1.0\r\nCSeq: 7\r\nSession: 20240001\r\n\r\n"
                b"PLAY rtsp://cam.example/one RTSP/1.0\r\nCSeq: 8\r\nSession: 1\r\n\r\n"
            ),
            b"TEARDOWN rtsp://cam.example/one RTSP/1.0\r\nCSeq: 9\r\nSession: 20240001\r\n\r\n",
        ],
    ),
]
