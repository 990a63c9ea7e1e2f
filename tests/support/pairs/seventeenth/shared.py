"""State of a class or a module that one client leaves to another: a buffer, a job, a login."""

import hmac
import re
from base64 import b64decode, b64encode
from datetime import datetime
from struct import Struct

from handlers import StreamHandler, Until
from tests.support.pairs.pair import Buffered, Malformed, Pair


def crc_itu(data):
    """CRC-16/X.25, as the trackers compute it."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


class Gt06(Buffered):
    """The server of GPS trackers that speak GT06: a login with the IMEI, positions, states and alarms.

    A packet begins with two bytes 0x78 and a length (of what follows but for the two bytes CR LF at the end), and ends
    with a serial number, a check and CR LF. The server answers a login, a state and an alarm with the same kind and
    serial number. What has come of a packet is held in a buffer.
    """

    timeout = 300
    request_timeout = 30

    LOGIN, POSITION, STATE, ALARM = 0x01, 0x12, 0x13, 0x16
    SIZES = {LOGIN: 8, POSITION: 26, STATE: 5, ALARM: 32}
    FIX = Struct(">6BBIIBH")
    LAST = Struct(">HH")

    def setup(self):
        super().setup()
        self.imei = None

    def take(self):
        at = 0
        while len(self.buffer) - at >= 3:
            if self.buffer[at : at + 2] != b"\x78\x78" or self.buffer[at + 2] - 5 not in self.SIZES.values():
                raise Malformed("no packet begins here")
            end = at + 3 + self.buffer[at + 2]
            if len(self.buffer) < end + 2:
                break
            if self.buffer[end : end + 2] != b"\r\n":
                raise Malformed("no packet ends here")
            self.packet(bytes(self.buffer[at + 2 : end]))
            at = end + 2
        del self.buffer[:at]
        return True

    def packet(self, data):
        _, check = self.LAST.unpack(data[-4:])
        kind, content = data[1], data[2:-4]
        if check != crc_itu(data[:-2]) or len(content) != self.SIZES.get(kind):
            raise Malformed("the check, or the kind of a packet")
        if (kind == self.LOGIN) != (self.imei is None):
            raise Malformed("a login is needed, once")
        if kind == self.LOGIN:
            self.login(content)
        elif kind in (self.POSITION, self.ALARM):
            self.position(content[:18])
        if kind in (self.STATE, self.ALARM) and not (content[-4] <= 6 and content[-3] <= 4):
            raise Malformed("no level of the voltage or the signal")
        if kind != self.POSITION:
            answer = bytes((5, kind)) + data[-4:-2]
            self.send(b"\x78\x78" + answer + crc_itu(answer).to_bytes(2, "big") + b"\r\n")

    def login(self, content):
        digits = content.hex()
        if not re.fullmatch("0[0-9]{15}", digits):
            raise Malformed("no IMEI")
        self.imei = digits[1:]

    def position(self, content):
        year, *rest, satellites, latitude, longitude, _, course = self.FIX.unpack(content)
        try:
            datetime(2000 + year, *rest)
        except ValueError:
            raise Malformed("no date") from None
        if satellites >> 4 != 12 or latitude > 90 * 1_800_000 or longitude > 180 * 1_800_000 or course & 0x3FF >= 360:
            raise Malformed("no position")


class Gt06OneBuffer(Gt06):
    """The buffer is one of the class: half a packet of a tracker that has gone is in front of the next one's login."""

    buffer = bytearray()

    def setup(self):
        self.one_by_one, self.searched = 0, 0
        self.imei = None


def gt06(kind, content, serial):
    """A packet of a tracker."""
    data = bytes((len(content) + 5, kind)) + content + serial.to_bytes(2, "big")
    return b"\x78\x78" + data + crc_itu(data).to_bytes(2, "big") + b"\r\n"


FIX = Gt06.FIX.pack(20, 9, 13, 8, 30, 59, 0xC9, 96_300_000, 18_000_000, 42, 0x1400 + 271)
CELL = bytes.fromhex("01cc00262c0019a7")
TRACKER = [
    gt06(0x01, bytes.fromhex("0353419032567895"), 1),
    gt06(0x13, bytes.fromhex("4504030002"), 2),
    gt06(0x12, FIX + CELL, 3),
    gt06(0x12, FIX + CELL, 4) + gt06(0x13, bytes.fromhex("4504040002"), 5),
    gt06(0x16, FIX + b"\x08" + CELL + bytes.fromhex("4406040202"), 6),
]

DEFAULTS = {
    b"DIALSTRING": b"", b"FROMUSER": b"", b"MAXDIALS": b"12", b"MAXTRIES": b"3", b"NOTIFY": b"NONE",
    b"PAGELENGTH": b"297", b"PAGEWIDTH": b"209", b"VRESOLUTION": b"98",
}  # fmt: skip


class FaxQueue(StreamHandler):
    """A part of the client-server protocol of HylaFAX (``hfaxd``): a user, jobs, and their parameters.

    A connection has a default job, from which each new job takes its parameters. JPARM shows or changes those of the
    current job. Jobs are numbered for each connection.
    """

    timeout = 300
    request_timeout = 60
    one_by_one = 0

    LINE = Until(b"\r\n", limit=256)
    MOST = 16
    COMMAND = re.compile(rb"([A-Za-z]{3,5})(?: ([ -~]+))?")
    NUMBER = re.compile(rb"0|[1-9][0-9]{0,3}")
    FORMS = {
        b"DIALSTRING": re.compile(rb"\+?[0-9]{1,20}"), b"FROMUSER": re.compile(rb"[A-Za-z][\w.-]{0,31}"),
        b"NOTIFY": re.compile(rb"NONE|DONE|REQUEUE|DONE\+REQUEUE"), b"VRESOLUTION": re.compile(rb"98|196"),
    }  # fmt: skip

    def setup(self):
        self.user, self.jobs, self.submitted = None, {}, set()
        self.default = self.current = self.default_job()

    def default_job(self):
        return dict(DEFAULTS)

    def handle(self):
        self.send(b"220 fax.example server (HylaFAX (tm) Version 4.0pl0) ready.\r\n")
        return self.LINE, self.line

    def line(self, line):
        matched = self.COMMAND.fullmatch(line[:-2])
        word, rest = (matched[1].upper(), matched[2]) if matched else (b"", None)
        self.one_by_one += 1
        if word == b"QUIT" and rest is None:
            self.send(b"221 Goodbye.\r\n")
            return None
        if word == b"USER" and rest is not None and self.FORMS[b"FROMUSER"].fullmatch(rest):
            self.user = rest
            self.reply(b"230 User %b logged in." % rest)
        elif word not in (b"JNEW", b"JOB", b"JPARM", b"JSUBM", b"JDELE", b"NOOP"):
            self.reply(b"500 Command not recognized, or its argument.")
        elif word != b"NOOP" and self.user is None:
            self.reply(b"530 Please login with USER and PASS.")
        else:
            getattr(self, word.decode().lower())(rest)
        return self.LINE, self.line

    def reply(self, text):
        self.send(text + b"\r\n")

    def noop(self, rest):
        self.reply(b"200 NOOP command successful.")

    def jnew(self, rest):
        if rest is not None or len(self.jobs) >= self.MOST:
            self.reply(b"504 No argument is expected." if rest is not None else b"452 Too many jobs.")
            return
        number = next(number for number in range(1, self.MOST + 1) if number not in self.jobs)
        self.current = self.jobs[number] = dict(self.default)
        self.reply(b"200 New job created: jobid: %d groupid: %d." % (number, number))

    def job(self, rest):
        if rest is None:
            self.reply(b"200 Current job: (%b)." % (b"default" if self.current is self.default else b"a job"))
        elif rest.upper() == b"DEFAULT":
            self.current = self.default
            self.reply(b"200 Current job: (default).")
        elif (number := self.number(rest)) is not None:
            self.current = self.jobs[number]
            self.reply(b"200 Current job: (%d)." % number)

    def jparm(self, rest):
        name, blank, value = (rest or b"").partition(b" ")
        name = name.upper()
        if name not in DEFAULTS:
            self.reply(b"503 %b: unknown parameter." % name[:32] if name else b"504 A parameter is expected.")
        elif not blank:
            self.reply(b"213 %b" % self.current[name])
        elif not self.FORMS.get(name, self.NUMBER).fullmatch(value):
            self.reply(b"503 %b: no value of this parameter." % name)
        else:
            self.current[name] = value
            self.reply(b"213 %b set to %b." % (name, value))

    def jsubm(self, rest):
        number = self.number(rest)
        if number is None:
            return
        job = self.jobs[number]
        if number in self.submitted or not job[b"DIALSTRING"]:
            self.reply(b"503 Job %d is submitted already, or has no number to dial." % number)
            return
        self.submitted.add(number)
        facts = number, job[b"DIALSTRING"], job[b"MAXDIALS"], job[b"NOTIFY"]
        self.reply(b"200 Job %d submitted: to %b, at most %b dials, notify %b." % facts)

    def jdele(self, rest):
        number = self.number(rest)
        if number is not None:
            if self.current is self.jobs[number]:
                self.current = self.default
            del self.jobs[number]
            self.submitted.discard(number)
            self.reply(b"200 Job %d deleted." % number)

    def number(self, word):
        """The number of a job of this client. It answers if it is none."""
        if word is None or not self.NUMBER.fullmatch(word) or int(word) not in self.jobs:
            self.reply(b"500 There is no such job.")
            return None
        return int(word)


class FaxQueueSharedDefault(FaxQueue):
    """The default job of a connection is the class's table itself: what a client sets there holds for all clients."""

    TABLE = dict(DEFAULTS)

    def default_job(self):
        return self.TABLE


FAX = [
    b"USER nina\r\n",
    b"JOB DEFAULT\r\n",
    b"JPARM FROMUSER nina\r\n",
    b"JPARM NOTIFY DONE\r\n",
    b"JPARM MAXDIALS 5\r\n",
    b"JNEW\r\n",
    b"JPARM DIALSTRING +15555550143\r\n",
    b"JPARM PAGEWIDTH\r\n",
    b"JSUBM 1\r\n",
    b"JDELE 1\r\n",
    b"QUIT\r\n",
]

PASSWORDS = {b"replica": b"harbour-lights", b"proxyd": b"seven-ferries"}
MAILBOXES = {
    b"user.ada": (b"back1.example!default", b"ada lrswipcda"),
    b"user.ada.Sent": (b"back1.example!default", b"ada lrswipcda"),
    b"user.noor": (b"back2.example!part2", b"noor lrswipcda anyone p"),
}


class Login:
    """Who the client is, and how often it has failed to show it."""

    def __init__(self):
        self.user, self.failures = None, 0


class Mupdate(StreamHandler):
    """A replica of a Mailbox Update server (MUPDATE, RFC 3656): a login, and look-ups of where mailboxes are.

    A replica takes no updates. A command has a tag, and arguments in double quotes.
    """

    timeout = 300
    request_timeout = 60
    one_by_one = 0

    LINE = Until(b"\r\n", limit=1024)
    COMMAND = re.compile(rb'([A-Za-z0-9.]{1,32}) ([A-Za-z]{1,16})((?: "[^"\\\x00-\x1f\x7f-\xff]{0,300}"){0,3})')
    COUNTS = {
        b"AUTHENTICATE": 2, b"FIND": 1, b"LIST": (0, 1), b"NOOP": 0, b"LOGOUT": 0,
        b"ACTIVATE": 3, b"RESERVE": 2, b"DEACTIVATE": 2, b"DELETE": 1,
    }  # fmt: skip

    def setup(self):
        self.login = Login()

    def finish(self):
        self.login.user = None

    def handle(self):
        self.send(b'* AUTH "PLAIN"\r\n* OK MUPDATE "mupdate.example" "Murder" "v1.1" "(replica)"\r\n')
        return self.LINE, self.line

    def line(self, line):
        matched = self.COMMAND.fullmatch(line[:-2])
        self.one_by_one += 1
        if matched is None:
            self.send(b'* BAD "This is no command"\r\n')
            return self.LINE, self.line
        tag, word = matched[1], matched[2].upper()
        words = [word[1:-1] for word in re.findall(rb'"[^"]*"', matched[3])]
        counts = self.COUNTS.get(word, ())
        if len(words) not in (counts if isinstance(counts, tuple) else (counts,)):
            self.send(b'%b BAD "Unknown command, or wrong number of arguments"\r\n' % tag)
        elif word == b"LOGOUT":
            self.send(b'%b OK "bye"\r\n' % tag)
            return None
        elif word == b"NOOP":
            self.send(b'%b OK "Done"\r\n' % tag)
        elif word == b"AUTHENTICATE":
            return self.authenticate(tag, *words)
        elif self.login.user is None:
            self.send(b'%b NO "Please login first"\r\n' % tag)
        elif word in (b"FIND", b"LIST"):
            self.look_up(tag, word, *words)
        else:
            self.send(b'%b NO "This is a replica"\r\n' % tag)
        return self.LINE, self.line

    def authenticate(self, tag, mechanism, initial):
        """PLAIN (RFC 4616), with the response in the command. The third failure ends the connection."""
        try:
            response = b64decode(initial, validate=True)
        except ValueError:
            response = b""
        words = response.split(b"\0") if b64encode(response) == initial else []
        is_plain = mechanism.upper() == b"PLAIN" and len(words) == 3 and words[0] in (b"", words[1])
        if is_plain and words[2] and hmac.compare_digest(PASSWORDS.get(words[1], b""), words[2]):
            self.login.user = words[1]
            self.send(b'%b OK "Authenticated as %b"\r\n' % (tag, words[1]))
            return self.LINE, self.line
        self.login.user = None
        self.login.failures += 1
        self.send(b'%b NO "Authentication failed"\r\n' % tag)
        if self.login.failures < 3:
            return self.LINE, self.line
        self.send(b'* BYE "Too many failures"\r\n')
        return None

    def look_up(self, tag, word, asked=b""):
        for name, (location, rights) in MAILBOXES.items():
            if name == asked if word == b"FIND" else location.startswith(asked):
                self.send(b'%b MAILBOX "%b" "%b" "%b"\r\n' % (tag, name, location, rights))
        self.send(b'%b OK "Search completed"\r\n' % tag)


class MupdateOneLogin(Mupdate):
    """The login is an object of the class: while one client is logged in, all are."""

    login = Login()

    def setup(self):
        self.login.failures = 0


MUPDATE = [
    b"A01 NOOP\r\n",
    b'A02 AUTHENTICATE "PLAIN" "AHJlcGxpY2EAaGFyYm91ci1saWdodHM="\r\n',
    b'F01 FIND "user.ada"\r\n',
    b'F02 FIND "user.nobody"\r\n',
    b'L01 LIST "back1.example"\r\n',
    b'D01 DELETE "user.noor"\r\n',
    b"Q01 LOGOUT\r\n",
]

PAIRS = [
    Pair("gt06-half-packet", 3, Gt06OneBuffer, Gt06, TRACKER),
    Pair("hylafax-default-job", 3, FaxQueueSharedDefault, FaxQueue, FAX),
    Pair("mupdate-login", 3, MupdateOneLogin, Mupdate, MUPDATE),
]
