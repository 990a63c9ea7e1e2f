"""Handlers whose waits may fail: local mail, messages of a hospital, events of a log shipper."""

from __future__ import annotations

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Cause, Step

LMTP_COMMAND = Until(b"\r\n", limit=512)
LMTP_TEXT = Until(b"\r\n", limit=1_000)
LMTP_MESSAGE = 16_384
LMTP_RECIPIENTS = 10
LMTP_MAILBOX = rb"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,128}"
LMTP_FROM = re.compile(rb"FROM:<(%b)?>" % LMTP_MAILBOX, re.IGNORECASE)
LMTP_TO = re.compile(rb"TO:<(%b)>" % LMTP_MAILBOX, re.IGNORECASE)
LMTP_USERS = (b"ada@example.org", b"bob@example.org")


class LocalMail(StreamHandler):
    """A delivery agent: a part of LMTP (RFC 2033, with the commands of RFC 5321)."""

    timeout = 300
    request_timeout = 600

    def setup(self) -> None:
        self.is_open = False
        self.forget()

    def forget(self) -> None:
        """There is no transaction."""
        self.sender: bytes | None = None
        self.recipients: list[bytes] = []

    async def handle(self) -> None:
        self.send(b"220 mail.example.org LMTP\r\n")
        while True:
            self.one_by_one += 1
            try:
                if not await self.command(await LMTP_COMMAND):
                    return
            except Exception:
                self.send(b"501 5.5.2 Syntax error\r\n")

    async def command(self, line: bytes) -> bool:
        """Do a command. Whether another may follow. Raises `Malformed` for a wrong argument."""
        verb, _, argument = line[:-2].partition(b" ")
        verb = verb.upper()
        if verb == b"QUIT":
            self.send(b"221 2.0.0 Bye\r\n")
            return False
        if verb == b"LHLO":
            if not argument:
                raise Malformed("no domain")
            self.is_open = True
            self.forget()
            self.send(b"250-mail.example.org\r\n250-PIPELINING\r\n250 ENHANCEDSTATUSCODES\r\n")
        elif verb == b"NOOP":
            self.send(b"250 2.0.0 OK\r\n")
        elif verb == b"RSET":
            self.forget()
            self.send(b"250 2.0.0 OK\r\n")
        elif verb == b"MAIL":
            self.mail(argument)
        elif verb == b"RCPT":
            self.recipient(argument)
        elif verb == b"DATA":
            return await self.data()
        else:
            self.send(b"500 5.5.1 Unknown command\r\n")
        return True

    def mail(self, argument: bytes) -> None:
        """Begin a transaction."""
        matched = LMTP_FROM.fullmatch(argument)
        if matched is None:
            raise Malformed("no sender")
        if not self.is_open or self.sender is not None:
            self.send(b"503 5.5.1 Bad sequence of commands\r\n")
            return
        self.sender = matched[1] or b""
        self.send(b"250 2.1.0 OK\r\n")

    def recipient(self, argument: bytes) -> None:
        """Take a recipient."""
        matched = LMTP_TO.fullmatch(argument)
        if matched is None:
            raise Malformed("no recipient")
        if self.sender is None:
            self.send(b"503 5.5.1 Need MAIL\r\n")
        elif len(self.recipients) >= LMTP_RECIPIENTS:
            self.send(b"452 4.5.3 Too many recipients\r\n")
        elif matched[1].lower() not in LMTP_USERS:
            self.send(b"550 5.1.1 No such user\r\n")
        else:
            self.recipients.append(matched[1].lower())
            self.send(b"250 2.1.5 OK\r\n")

    async def data(self) -> bool:
        """Take the text of a message, and answer for each recipient. Whether another command may follow."""
        if not self.recipients:
            self.send(b"503 5.5.1 Need RCPT\r\n")
            return True
        self.send(b"354 Go ahead\r\n")
        size = 0
        while (line := await LMTP_TEXT) != b".\r\n":
            size += len(line.removeprefix(b"."))
            if size > LMTP_MESSAGE:
                self.send(b"552 5.3.4 Message too big\r\n" * len(self.recipients))
                return False
        for recipient in self.recipients:
            self.send(b"250 2.1.5 <%b> Delivered %d bytes\r\n" % (recipient, size))
        self.forget()
        return True


class LocalMailRight(LocalMail):
    """A delivery agent: a part of LMTP (RFC 2033, with the commands of RFC 5321)."""

    async def handle(self) -> None:
        self.send(b"220 mail.example.org LMTP\r\n")
        while True:
            self.one_by_one += 1
            line = await LMTP_COMMAND
            try:
                if not await self.command(line):
                    return
            except Malformed:
                self.send(b"501 5.5.2 Syntax error\r\n")


MLLP_BLOCK = Until(b"\x1c\r", limit=16_384)
HL7_START = b"\x0b"
HL7_FIELD = rb"([^|\r]*)\|"
HL7_MSH = re.compile(
    rb"MSH\|\^~\\&\|" + HL7_FIELD * 6 + rb"([A-Z0-9]{3})\^([A-Z0-9]{3})[^|\r]*\|"
    rb"([!-{}~]{1,20})\|[PTD]\|2\.[1-8][0-9.]{0,4}(?:\|[^\r]*)?"
)
HL7_EVENTS = (b"A01", b"A03", b"A08")


class Admissions(StreamHandler):
    """Takes admissions and discharges of patients: HL7 version 2 over MLLP (HL7 Minimal Lower Layer Protocol)."""

    timeout = 120

    def setup(self) -> None:
        self.number = 0

    def handle(self) -> Step:
        return MLLP_BLOCK, self.block

    def block(self, block: bytes) -> Step:
        if block[:1] != HL7_START:
            raise Malformed("no start of a block")
        header, *segments = block[1:-2].removesuffix(b"\r").split(b"\r", 32)
        matched = HL7_MSH.fullmatch(header)
        if matched is None:
            self.acknowledge(b"", b"", b"AR", b"", b"Message header missing")
        elif matched[7] != b"ADT" or matched[8] not in HL7_EVENTS:
            self.acknowledge(matched[1], matched[2], b"AR", matched[9], b"Unsupported event")
        elif not any(segment.startswith(b"PID|") for segment in segments):
            self.acknowledge(matched[1], matched[2], b"AE", matched[9], b"Required segment missing")
        else:
            self.acknowledge(matched[1], matched[2], b"AA", matched[9], b"")
        return self.handle()

    def interrupted(self, cause: Cause) -> Step:
        self.acknowledge(b"", b"", b"AR", b"", b"Message incomplete")
        return self.handle()

    def acknowledge(self, application: bytes, facility: bytes, code: bytes, control: bytes, text: bytes) -> None:
        """Send an acknowledgement to an application."""
        self.number += 1
        header = b"MSH|^~\\&|ADMISSIONS|HOSPITAL|%b|%b|||ACK|%d|P|2.4\r" % (application, facility, self.number)
        self.send(b"\x0b%bMSA|%b|%b%b\r\x1c\r" % (header, code, control, b"|" + text if text else b""))


class AdmissionsRight(Admissions):
    """Takes admissions and discharges of patients: HL7 version 2 over MLLP (HL7 Minimal Lower Layer Protocol)."""

    def interrupted(self, cause: Cause) -> Step:
        return None


BEATS_HEAD = Exactly(2)
BEATS_NUMBER = Exactly(4)
BEATS_WINDOW = 1_024
BEATS_PAIRS = 32
BEATS_KEY = 128
BEATS_VALUE = 8_192
WINDOW, DATA, ACK = b"1W", b"1D", b"1A"


class Lumberjack(StreamHandler):
    """Takes events in windows and acknowledges each window: Lumberjack, version 1, without compression."""

    timeout = 30
    request_timeout = 120

    def setup(self) -> None:
        self.sequence = 0
        self.lines = 0

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            if await BEATS_HEAD != WINDOW:
                raise Malformed("no window")
            window = await self.number(BEATS_WINDOW)
            if window == 0:
                raise Malformed("a window without events")
            await self.events(window)
            self.send(ACK + self.sequence.to_bytes(4, "big"))

    async def events(self, window: int) -> None:
        """Take the events of a window."""
        try:
            for _ in range(window):
                await self.event()
        except Exception:
            return

    async def event(self) -> None:
        """Take one event."""
        if await BEATS_HEAD != DATA:
            raise Malformed("no event")
        sequence = await self.number(0xFFFF_FFFF)
        has_line = False
        for _ in range(await self.number(BEATS_PAIRS)):
            key = await Exactly(await self.number(BEATS_KEY))
            await Exactly(await self.number(BEATS_VALUE))
            has_line = has_line or key == b"line"
        self.sequence = sequence
        self.lines += has_line

    async def number(self, most: int) -> int:
        """The next number, which may not be more than ``most``."""
        number = int.from_bytes(await BEATS_NUMBER, "big")
        if number > most:
            raise Malformed("a number that is too big")
        return number


class LumberjackRight(Lumberjack):
    """Takes events in windows and acknowledges each window: Lumberjack, version 1, without compression."""

    async def events(self, window: int) -> None:
        for _ in range(window):
            await self.event()


def window(count: int) -> bytes:
    """The frame that begins a window."""
    return WINDOW + count.to_bytes(4, "big")


def event(sequence: int, **pairs: str) -> bytes:
    """The frame of an event."""
    frame = DATA + sequence.to_bytes(4, "big") + len(pairs).to_bytes(4, "big")
    for text in (text.encode() for pair in pairs.items() for text in pair):
        frame += len(text).to_bytes(4, "big") + text
    return frame


PAIRS = [
    Pair(
        "lmtp-mail", 5, LocalMail, LocalMailRight,
        [
            b"LHLO mx.example.org\r\n",
            b"MAIL FROM:<eve@example.com>\r\n",
            b"RCPT TO:<ada@example.org>\r\n",
            b"RCPT TO:<bob@example.org>\r\n",
            b"DATA\r\n",
            b"From: eve@example.com\r\nSubject: lunch\r\n\r\nAt noon?\r\n..\r\n.\r\n",
            b"NOOP\r\n",
            b"MAIL FROM:<>\r\n",
            b"RCPT TO:<ada@example.org>\r\n",
            b"RSET\r\n",
            b"QUIT\r\n",
        ],
    ),
    Pair(
        "mllp-admissions", 5, Admissions, AdmissionsRight,
        [
            (b"\x0bMSH|^~\\&|ADT1|WARD3|ADMISSIONS|HOSPITAL|20240301113000||ADT^A01^ADT_A01|MSG00001|P|2.4\r"
            b"EVN|A01|20240301113000\rPID|1||555-44-4444||EVERYWOMAN^EVE^E\rPV1|1|I|2000^2012^01\r\x1c\r"),
            (b"\x0bMSH|^~\\&|ADT1|WARD3|ADMISSIONS|HOSPITAL|20240301120500||ADT^A08^ADT_A01|MSG00002|P|2.4\r"
            b"EVN|A08|20240301120500\rPID|1||555-44-4444||EVERYWOMAN^EVE^E\rPV1|1|I|2000^2014^02\r\x1c\r"),
            (b"\x0bMSH|^~\\&|ADT1|WARD3|ADMISSIONS|HOSPITAL|20240304090000||ADT^A03^ADT_A03|MSG00003|P|2.4\r"
            b"EVN|A03|20240304090000\rPID|1||555-44-4444||EVERYWOMAN^EVE^E\rPV1|1|I|2000^2014^02\r\x1c\r"),
        ],
    ),
    Pair(
        "lumberjack-window", 5, Lumberjack, LumberjackRight,
        [
            window(2)
            + event(1, file="/var/log/messages", host="web1", offset="0", line="Mar  1 11:30:00 web1 sshd: started")
            + event(2, file="/var/log/messages", host="web1", offset="35", line="Mar  1 11:30:02 web1 cron: reload"),
            window(1) + event(3, file="/var/log/nginx/access.log", host="web1", offset="0", line="GET / 200"),
        ],
    ),
]  # fmt: skip
