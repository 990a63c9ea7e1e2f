"""State that clients share and should not: pixels of RFB, logins of TACACS+, and queries of Livestatus."""

import hashlib
import hmac
import json
import operator
import re
import struct

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

VERSION = b"RFB 003.008\n"
WIDTH, HEIGHT = 4, 2
RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
PICTURE = [[RED, GREEN, BLUE, WHITE], [BLACK, WHITE, RED, GREEN]]
FORMAT = struct.Struct(">4B3H3B3x")
OWN_FORMAT = (32, 24, 0, 1, 255, 255, 255, 16, 8, 0)


class Pixels:
    """How the colours of a pixel are written."""

    def __init__(self):
        self.change(*OWN_FORMAT)

    def change(self, bits, depth, is_big, is_true, *colours):
        """Write pixels in another way from now on. Raises `Malformed` for one that is none, and changes nothing."""
        parts = list(zip(colours[:3], colours[3:], strict=True))
        widths = [most.bit_length() for most, _ in parts]
        if bits not in (8, 16, 32) or not is_true or not sum(widths) <= depth <= bits:
            raise Malformed("no format of true colours")
        for (most, shift), width in zip(parts, widths, strict=True):
            if not most or most & (most + 1) or shift + width > bits:
                raise Malformed("no part of a pixel")
        self.size, self.order, self.parts = bits // 8, "big" if is_big else "little", parts

    def written(self, colour):
        pixel = sum(share * most // 255 << shift for share, (most, shift) in zip(colour, self.parts, strict=True))
        return (pixel & (1 << self.size * 8) - 1).to_bytes(self.size, self.order)


class Screen(StreamHandler):
    """RFB 3.8, the protocol of VNC, without a password: a small picture that does not change, in raw pixels."""

    timeout = 120
    request_timeout = 30
    most_encodings, longest_text = 64, 4096

    def setup(self):
        self.one_by_one = 0
        self.pixels = self.first_pixels()

    def first_pixels(self):
        """How pixels are written before the client has asked for something else."""
        return Pixels()

    async def handle(self):
        self.one_by_one += 1
        self.send(VERSION)
        if await Exactly(12) != VERSION:
            return self.send(b"\0" + struct.pack(">I", 19) + b"unsupported version")
        self.send(b"\1\1")
        if await Exactly(1) != b"\1":
            return self.send(struct.pack(">II", 1, 21) + b"unknown security type")
        self.send(b"\0\0\0\0")
        await Exactly(1)
        self.send(struct.pack(">HH", WIDTH, HEIGHT) + FORMAT.pack(*OWN_FORMAT) + struct.pack(">I", 5) + b"stock")
        self.opened()
        while True:
            self.one_by_one += 1
            kind = await Exactly(1)
            if kind == b"\0":
                self.pixels.change(*FORMAT.unpack((await Exactly(19))[3:]))
            elif kind == b"\2":
                count = int.from_bytes((await Exactly(3))[1:], "big")
                if count > self.most_encodings:
                    raise Malformed("too many encodings")
                await Exactly(4 * count)
            elif kind == b"\3":
                self.update(*struct.unpack(">B4H", await Exactly(9)))
            elif kind == b"\4":
                await Exactly(7)
            elif kind == b"\5":
                await Exactly(5)
            elif kind == b"\6":
                size = int.from_bytes((await Exactly(7))[3:], "big")
                if size > self.longest_text:
                    raise Malformed("too much text")
                await Exactly(size)
            else:
                raise Malformed("no message of a client")

    def update(self, is_incremental, x, y, width, height):
        """Send a part of the picture; nothing to a client that asks for what has changed."""
        if not width or not height or x + width > WIDTH or y + height > HEIGHT:
            raise Malformed("no part of the picture")
        if not is_incremental:
            self.send(struct.pack(">xxH4Hi", 1, x, y, width, height, 0))
            for row in PICTURE[y : y + height]:
                self.send(b"".join(map(self.pixels.written, row[x : x + width])))


class ReadyScreen(Screen):
    """RFB 3.8, without a password: a small picture. The usual pixels are made ready once."""

    usual = Pixels()

    def first_pixels(self):
        return self.usual


KEY = b"between switch and server"
USERS = {b"anna": b"lamp and moth", b"bert": b"seven keys"}
PASSED, FAILED, GET_USER, GET_PASSWORD, ERROR = 1, 2, 4, 5, 7
HEAD = struct.Struct(">BBBBII")
ASCII_VERSION, AUTHENTICATION, UNENCRYPTED, SINGLE_CONNECT = 0xC0, 1, 1, 4


def hidden(number, place, body):
    """``body`` with the pad of the ``place``-th packet of a session; that again gives ``body``."""
    seed = number.to_bytes(4, "big") + KEY + bytes((ASCII_VERSION, place))
    pad = last = b""
    while len(pad) < len(body):
        last = hashlib.md5(seed + last, usedforsecurity=False).digest()
        pad += last
    return bytes(one ^ other for one, other in zip(body, pad, strict=False))


class Session:
    """A login that has begun."""

    def __init__(self, user):
        self.place, self.user = 1, user


class Tacacs(StreamHandler):
    """TACACS+ (RFC 8907): logins with a name and a password, one or, if the client wants, several at a time."""

    timeout = 60
    request_timeout = 20
    longest = 1024
    most_sessions, most_failures = 8, 5

    def setup(self):
        self.one_by_one = self.failures = 0
        self.is_single = None
        self.sessions = {}

    def handle(self):
        self.one_by_one += 1
        return Exactly(HEAD.size), self.head

    def head(self, data):
        version, kind, self.place, self.flags, self.number, size = HEAD.unpack(data)
        if version != ASCII_VERSION or kind != AUTHENTICATION or not self.place & 1 or size > self.longest:
            raise Malformed("no packet of a login")
        if self.flags & UNENCRYPTED:
            raise Malformed("a packet that anybody can read")
        if self.is_single is None:
            self.is_single = bool(self.flags & SINGLE_CONNECT)
        return Exactly(size), self.body

    def body(self, data):
        data = hidden(self.number, self.place, data)
        if self.place == 1:
            self.start(data)
        else:
            self.go_on(data)
        is_over = self.failures >= self.most_failures or not (self.is_single or self.sessions)
        return None if is_over else self.handle()

    def start(self, data):
        sizes = data[4:8]
        if len(sizes) < 4 or len(data) != 8 + sum(sizes):
            return self.reply(ERROR, b"malformed start")
        if data[0] != 1 or data[2] != 1 or self.number in self.sessions:
            return self.reply(ERROR, b"no login, or one that has begun")
        if len(self.sessions) >= (self.most_sessions if self.is_single else 1):
            return self.reply(ERROR, b"too many logins")
        self.begin(Session(data[8 : 8 + sizes[0]]))
        return self.ask()

    def begin(self, session):
        self.sessions[self.number] = session

    def ask(self):
        """Ask for what the login lacks."""
        session = self.sessions[self.number]
        session.place += 2
        if session.user:
            return self.reply(GET_PASSWORD, b"Password: ")
        return self.reply(GET_USER, b"Username: ")

    def go_on(self, data):
        session = self.sessions.get(self.number)
        sizes = struct.unpack(">HH", data[:4]) if len(data) > 4 else (0, len(data))
        if session is None or session.place != self.place or len(data) != 5 + sum(sizes):
            self.sessions.pop(self.number, None)
            return self.reply(ERROR, b"no login to go on with")
        said = data[5 : 5 + sizes[0]]
        if not data[4] & 1 and not session.user and said:
            session.user = said
            return self.ask()
        del self.sessions[self.number]
        if data[4] & 1:
            return None
        if session.user and hmac.compare_digest(said, USERS.get(session.user, b"")) and session.user in USERS:
            return self.reply(PASSED, b"Welcome, " + session.user)
        return self.reply(FAILED, b"Login incorrect")

    def reply(self, status, words):
        if status in (FAILED, ERROR):
            self.failures += 1
        body = struct.pack(">BBHH", status, status == GET_PASSWORD, len(words), 0) + words
        flags, place = self.flags & SINGLE_CONNECT, (self.place + 1) & 255
        self.send(HEAD.pack(ASCII_VERSION, AUTHENTICATION, place, flags, self.number, len(body)))
        self.send(hidden(self.number, place, body))


SESSIONS = {}


class TabledTacacs(Tacacs):
    """TACACS+: logins with a name and a password. All that have begun are in one table, by their numbers."""

    def setup(self):
        super().setup()
        self.sessions, self.begun = SESSIONS, []

    def begin(self, session):
        super().begin(session)
        self.begun = [number for number in self.begun if number in SESSIONS] + [self.number]

    def finish(self):
        for number in self.begun:
            SESSIONS.pop(number, None)


LINE = re.compile(rb"([A-Z][A-Za-z]{1,20}): ([ -~]{1,200})")
FILTER = re.compile(r"([a-z_]{1,32}) (=|!=|<|>) ([!-~][ -~]*)")
NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
TESTS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt}
SETTINGS = {
    "OutputFormat": re.compile("csv|json"),
    "ResponseHeader": re.compile("off|fixed16"),
    "KeepAlive": re.compile("on|off"),
    "ColumnHeaders": re.compile("on|off"),
    "Limit": NUMBER,
    "AuthUser": re.compile("[a-z]{1,16}"),
    "Columns": re.compile("[a-z_]{1,32}(?: [a-z_]{1,32}){0,9}"),
}
TABLES = {
    "hosts": [
        {"name": "lamp1", "address": "192.0.2.11", "state": 0, "contact": "anna"},
        {"name": "lamp2", "address": "192.0.2.12", "state": 1, "contact": "anna"},
        {"name": "moth", "address": "192.0.2.30", "state": 0, "contact": "bert"},
    ],
    "services": [
        {"host_name": "lamp1", "description": "ping", "state": 0, "contact": "anna"},
        {"host_name": "moth", "description": "disk", "state": 2, "contact": "bert"},
    ],
}


class Refused(Exception):
    """A query is refused; with a status and a text."""


class Query:
    """A query: its table, its filters and its settings."""

    def __init__(self, table, settings=None):
        self.table, self.filters = table, []
        self.settings = {} if settings is None else settings

    def take(self, line):
        """Take a line of the query. Raises `Refused`."""
        matched = LINE.fullmatch(line)
        name, value = (matched[1].decode(), matched[2].decode()) if matched else ("", "")
        if name == "Filter" and (parts := FILTER.fullmatch(value)):
            column, test, operand = parts.groups()
            if column not in self.table[0] or ((is_number := column == "state") and not NUMBER.fullmatch(operand)):
                raise Refused(450, "no such column, or no number")
            self.filters.append((column, TESTS[test], int(operand) if is_number else operand))
        elif name in SETTINGS and SETTINGS[name].fullmatch(value):
            self.settings[name] = value
        else:
            raise Refused(400, "invalid header")

    def answer(self):
        columns = self.settings.get("Columns", " ".join(self.table[0])).split(" ")
        if not all(column in self.table[0] for column in columns):
            raise Refused(450, "no such column")
        rows = [columns] if self.settings.get("ColumnHeaders") == "on" else []
        most = len(rows) + int(self.settings.get("Limit", len(self.table)))
        user = self.settings.get("AuthUser")
        for row in self.table:
            is_seen = user in (None, row["contact"]) and all(
                test(row[name], value) for name, test, value in self.filters
            )
            if is_seen and len(rows) < most:
                rows.append([row[column] for column in columns])
        if self.settings.get("OutputFormat") == "json":
            return json.dumps(rows).encode() + b"\n"
        return b"".join(";".join(map(str, row)).encode() + b"\n" for row in rows)


class Livestatus(StreamHandler):
    """Livestatus of Nagios and Checkmk: a query is lines and an empty line; more may follow if it says `KeepAlive`."""

    timeout = 60
    request_timeout = 20
    most_lines = 40
    query = Query

    def setup(self):
        self.one_by_one = 0

    def handle(self):
        self.one_by_one += 1
        return Until(b"\n\n", limit=4096), self.asked

    def asked(self, data):
        first, *lines = data[:-2].split(b"\n")
        if not first.startswith(b"GET ") or len(lines) > self.most_lines:
            return None
        table = TABLES.get(first[4:].decode("latin-1"))
        query = self.query(table or [{}])
        status, answer = 200, b""
        try:
            for line in lines:
                query.take(line)
            if table is None:
                raise Refused(404, "no such table")
            answer = query.answer()
        except Refused as refused:
            status, answer = refused.args[0], refused.args[1].encode() + b"\n"
        if query.settings.get("ResponseHeader") == "fixed16":
            self.send(b"%3d %11d\n" % (status, len(answer)) + answer)
        elif status == 200:
            self.send(answer)
        return self.handle() if status == 200 and query.settings.get("KeepAlive") == "on" else None


USUAL = {"OutputFormat": "csv", "ResponseHeader": "off", "KeepAlive": "off"}


class BriefQuery(Query):
    """A query: its table, its filters and its settings, which are the usual ones if nothing else is said."""

    def __init__(self, table, settings=USUAL):
        super().__init__(table, settings)


class BriefLivestatus(Livestatus):
    """Livestatus of Nagios and Checkmk."""

    query = BriefQuery


def tacacs(number, place, body):
    """A packet of a client that has all its logins on one connection."""
    head = HEAD.pack(ASCII_VERSION, AUTHENTICATION, place, SINGLE_CONNECT, number, len(body))
    return head + hidden(number, place, body)


def started(user):
    return bytes((1, 1, 1, 1, len(user), 4, 9, 0)) + user + b"tty1192.0.2.9"


def said(words):
    return struct.pack(">HHB", len(words), 0, 0) + words


LOOK = [
    VERSION,
    b"\1",
    b"\1",
    b"\0\0\0\0" + FORMAT.pack(16, 16, 1, 1, 31, 63, 31, 11, 5, 0),
    b"\2\0\0\2\0\0\0\0\xff\xff\xff\x21",
    b"\3\0\0\0\0\0\0\4\0\2",
    b"\5\0\0\1\0\1",
    b"\4\1\0\0\0\0\0\x61",
    b"\6\0\0\0\0\0\0\5hello",
    b"\3\1\0\0\0\0\0\4\0\2",
    b"\3\0\0\2\0\1\0\1\0\1",
]
LOG_IN = [
    tacacs(0x5A17C0DE, 1, started(b"anna")),
    tacacs(0x5A17C0DE, 3, said(b"lamp and moth")),
    tacacs(0x11223344, 1, started(b"")),
    tacacs(0x51CEB00C, 1, started(b"bert")),
    tacacs(0x11223344, 3, said(b"bert")),
    tacacs(0x51CEB00C, 3, said(b"seven locks")),
    tacacs(0x11223344, 5, said(b"seven keys")),
]
COMMON = b"OutputFormat: json\nResponseHeader: fixed16\nAuthUser: anna\n"
ASK = [
    b"GET hosts\nColumns: name state\nFilter: state = 0\nKeepAlive: on\n" + COMMON + b"\n",
    b"GET services\nColumns: host_name description state\nKeepAlive: on\n" + COMMON + b"\n",
    b"GET hosts\nColumns: name address\nFilter: state > 0\nFilter: name != moth\nKeepAlive: off\n" + COMMON + b"\n",
]

PAIRS = [
    # Fault: the pixels that a client begins with are one object of the class, which each client changes for all.
    Pair("rfb-pixel-format", 3, ReadyScreen, Screen, LOOK),
    # Fault: logins that have begun are in one table for all connections, so that another client can go on with one.
    Pair("tacacs-half-logins", 3, TabledTacacs, Tacacs, LOG_IN),
    # Fault: the settings of a query are a default argument that each query fills: the next client has them too.
    Pair("livestatus-settings", 3, BriefLivestatus, Livestatus, ASK),
]
