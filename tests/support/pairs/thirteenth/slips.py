"""Slips: in what follows an error, a body that is of no use, and a command that is not allowed."""

import re

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

MAX_STARTUP, MAX_MESSAGE = 2048, 16_384
PARAMETERS = re.compile(rb"(?:[!-~]{1,63}\x00[ -~]{1,63}\x00){1,8}\x00")
QUERIES = {b"SELECT 1": b"1", b"SHOW server_version": b"16.1"}
PARSE = re.compile(rb"([!-~]{0,63})\x00([\t\n -~]*)\x00\x00\x00")
BIND = re.compile(rb"([!-~]{0,63})\x00([!-~]{0,63})\x00\x00{6}")
EXECUTE = re.compile(rb"([!-~]{0,63})\x00\x00\x00\x00\x00")


class Database(StreamHandler):
    """A database by the protocol 3.0 of PostgreSQL, with two queries, without names for statements."""

    timeout = 30
    request_timeout = 60

    def handle(self):
        return Exactly(8), self.startup

    def startup(self, head):
        if head == b"\x00\x00\x00\x08\x04\xd2\x16\x2f":
            self.send(b"N")  # no TLS here
            return Exactly(8), self.startup_again
        return self.startup_again(head)

    def startup_again(self, head):
        size = int.from_bytes(head[:4], "big")
        if head[4:] != b"\x00\x03\x00\x00" or not 8 < size <= MAX_STARTUP:
            raise Malformed("no startup of 3.0")
        return Exactly(size - 8), self.parameters

    def parameters(self, data):
        pairs = data[:-2].split(b"\x00")
        if PARAMETERS.fullmatch(data) is None or b"user" not in pairs[::2]:
            raise Malformed("no user")
        self.query = self.portal = None
        self.put(b"R", bytes(4))
        self.put(b"Z", b"I")
        self.opened()
        return self.following()

    def put(self, kind, data=b""):
        self.send(kind + (len(data) + 4).to_bytes(4, "big") + data)

    def following(self):
        self.one_by_one += 1
        return Exactly(5), self.head

    def head(self, head):
        self.kind, size = head[:1], int.from_bytes(head[1:], "big") - 4
        if self.kind not in self.kinds or not 0 <= size <= MAX_MESSAGE:
            raise Malformed("no message")
        return Exactly(size), self.body

    def body(self, data):
        return self.kinds[self.kind](self, data)

    def error(self, code, text):
        self.put(b"E", b"SERROR\x00C%b\x00M%b\x00\x00" % (code, text))

    def failed(self, code, text):
        self.error(code, text)
        return self.following()

    def skipped_head(self, head):
        self.kind, size = head[:1], int.from_bytes(head[1:], "big") - 4
        if self.kind not in self.kinds or not 0 <= size <= MAX_MESSAGE:
            raise Malformed("no message")
        return Exactly(size), self.body if self.kind in b"SX" else self.skipped

    def skipped(self, data):
        self.one_by_one += 1
        return Exactly(5), self.skipped_head

    def parse(self, data):
        parsed = PARSE.fullmatch(data)
        if parsed is None:
            raise Malformed("no Parse")
        if parsed[1]:
            return self.failed(b"0A000", b"no names for statements")
        if parsed[2] not in QUERIES:
            return self.failed(b"42601", b"syntax error")
        self.query = parsed[2]
        self.put(b"1")
        return self.following()

    def bind(self, data):
        bound = BIND.fullmatch(data)
        if bound is None:
            raise Malformed("no Bind")
        if bound[1] or bound[2] or self.query is None:
            return self.failed(b"26000", b"no such statement")
        self.portal = self.query
        self.put(b"2")
        return self.following()

    def execute(self, data):
        executed = EXECUTE.fullmatch(data)
        if executed is None:
            raise Malformed("no Execute")
        if executed[1] or self.portal is None:
            return self.failed(b"34000", b"no such portal")
        self.rows(self.portal)
        return self.following()

    def rows(self, query):
        value = QUERIES[query]
        self.put(b"D", b"\x00\x01" + len(value).to_bytes(4, "big") + value)
        self.put(b"C", b"SELECT 1\x00")

    def sync(self, data):
        if data:
            raise Malformed("no Sync")
        self.portal = None
        self.put(b"Z", b"I")
        return self.following()

    def simple(self, data):
        if re.fullmatch(rb"[\t\n -~]*\x00", data) is None:
            raise Malformed("no Query")
        if data[:-1] in QUERIES:
            self.put(b"T", b"\x00\x01value\x00" + bytes(6) + b"\x00\x00\x00\x19\xff\xff\xff\xff\xff\xff\x00\x00")
            self.rows(data[:-1])
        else:
            self.error(b"42601", b"syntax error")
        self.put(b"Z", b"I")
        return self.following()

    def terminate(self, data):
        if data:
            raise Malformed("no Terminate")

    kinds = {b"P": parse, b"B": bind, b"E": execute, b"S": sync, b"Q": simple, b"X": terminate}


class DatabaseRight(Database):
    """The same."""

    def failed(self, code, text):
        self.error(code, text)
        self.one_by_one += 1
        return Exactly(5), self.skipped_head


REQUEST = re.compile(rb"(GET|POST) (/[!-~]{0,200}) HTTP/1\.1")
LENGTH = re.compile(rb"0|[1-9][0-9]{0,4}")
PAGES = {b"/": b"hello\n", b"/help": b"POST /upper\n"}
UPPER = b"/upper"
MAX_BODY = 65_536


class Web(StreamHandler):
    """A small service by HTTP/1.1."""

    timeout = 30
    request_timeout = 60

    async def handle(self):
        goes_on = True
        while goes_on:
            self.one_by_one += 1
            goes_on = await self.request(await Until(b"\r\n\r\n", limit=4096))

    async def request(self, head):
        first, *lines = head[:-4].split(b"\r\n")
        request = REQUEST.fullmatch(first)
        try:
            found = fields(lines)
        except Malformed:
            return self.answer(b"400 Bad Request", False)
        length, connection = found.get(b"content-length", b"0"), found.get(b"connection", b"keep-alive").lower()
        if request is None or not found.get(b"host") or connection not in (b"keep-alive", b"close"):
            return self.answer(b"400 Bad Request", False)
        if b"transfer-encoding" in found:
            return self.answer(b"501 Not Implemented", False)
        if LENGTH.fullmatch(length) is None:
            return self.answer(b"400 Bad Request", False)
        if int(length) > MAX_BODY:
            return self.answer(b"413 Content Too Large", False)
        return await self.serve(request[1], request[2], int(length), connection == b"keep-alive")

    async def serve(self, method, path, size, goes_on):
        if path == UPPER and method == b"POST":
            body = await Exactly(size)
            return self.answer(b"200 OK", goes_on, body.upper())
        if size:
            self.discard(size)
        if path in PAGES and method == b"GET":
            return self.answer(b"200 OK", goes_on, PAGES[path])
        if path in PAGES or path == UPPER:
            return self.answer(b"405 Method Not Allowed", goes_on)
        return self.answer(b"404 Not Found", goes_on)

    async def discard(self, size):
        while size:
            size -= len(await Some(min(size, 4096)))

    def answer(self, status, goes_on, content=b""):
        connection = b"keep-alive" if goes_on else b"close"
        head = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: %b\r\n\r\n" % (status, len(content), connection)
        self.send(head + content)
        return goes_on


class WebRight(Web):
    """The same."""

    async def serve(self, method, path, size, goes_on):
        if path == UPPER and method == b"POST":
            body = await Exactly(size)
            return self.answer(b"200 OK", goes_on, body.upper())
        if size:
            await self.discard(size)
        if path in PAGES and method == b"GET":
            return self.answer(b"200 OK", goes_on, PAGES[path])
        if path in PAGES or path == UPPER:
            return self.answer(b"405 Method Not Allowed", goes_on)
        return self.answer(b"404 Not Found", goes_on)


COMMAND = re.compile(rb"([A-Za-z]{3,4})(?: ([!-~]{1,100}))?\r\n")
SIZES = {b"/": None, b"/pub": None, b"/pub/readme": 120, b"/pub/image": 65_536}
USERS = {b"ada": b"sesame", b"bob": b"mustard"}
OPEN = (b"USER", b"PASS", b"QUIT", b"NOOP", b"SYST")


class Control(StreamHandler):
    """The control connection of FTP (RFC 959), with SIZE (RFC 3659), for users with a password."""

    timeout = 60
    request_timeout = 60

    def setup(self):
        self.name, self.user, self.failures, self.directory = None, None, 0, b"/"

    def handle(self):
        return self.reply(b"220 here.example")

    def reply(self, line):
        self.send(line + b"\r\n")
        self.one_by_one += 1
        return Until(b"\r\n", limit=128), self.command

    def last(self, line):
        self.send(line + b"\r\n")

    def command(self, line):
        found = COMMAND.fullmatch(line)
        if found is None:
            return self.last(b"500 no command")
        verb, argument = found[1].upper(), found[2]
        if verb not in OPEN and self.user is None:
            self.reply(b"530 log in first")
        return self.run(verb, argument)

    def run(self, verb, argument):
        if verb in (b"USER", b"PASS", b"CWD", b"SIZE"):
            if argument is None:
                return self.last(b"501 no argument")
            return {b"USER": self.begin, b"PASS": self.login, b"CWD": self.change, b"SIZE": self.size}[verb](argument)
        if argument is not None and verb != b"TYPE":
            return self.last(b"501 no argument is due")
        if verb == b"QUIT":
            return self.last(b"221 bye")
        if verb == b"PWD":
            return self.reply(b'257 "%b"' % self.directory)
        if verb == b"SYST":
            return self.reply(b"215 UNIX Type: L8")
        if verb == b"NOOP" or (verb == b"TYPE" and argument in (b"I", b"A")):
            return self.reply(b"200 OK")
        return self.last(b"502 not here")

    def begin(self, name):
        self.name, self.user = name, None
        return self.reply(b"331 and the password?")

    def login(self, password):
        name, self.name = self.name, None
        if name is None:
            return self.reply(b"503 USER comes first")
        if USERS.get(name) == password:
            self.user, self.directory, self.failures = name, b"/", 0
            return self.reply(b"230 welcome")
        self.failures += 1
        return self.last(b"421 bye") if self.failures == 3 else self.reply(b"530 not you")

    def path(self, name):
        return name if name.startswith(b"/") else self.directory.rstrip(b"/") + b"/" + name

    def change(self, name):
        path = self.path(name)
        if SIZES.get(path, 0) is not None:
            return self.reply(b"550 no such directory")
        self.directory = path
        return self.reply(b"250 OK")

    def size(self, name):
        size = SIZES.get(self.path(name))
        return self.reply(b"550 no such file" if size is None else b"213 %d" % size)


class ControlRight(Control):
    """The same."""

    def command(self, line):
        found = COMMAND.fullmatch(line)
        if found is None:
            return self.last(b"500 no command")
        verb, argument = found[1].upper(), found[2]
        if verb not in OPEN and self.user is None:
            return self.reply(b"530 log in first")
        return self.run(verb, argument)


def message(kind, data):
    """A message of PostgreSQL."""
    return kind + (len(data) + 4).to_bytes(4, "big") + data


START = b"\x00\x03\x00\x00user\x00ada\x00database\x00here\x00\x00"
POSTGRES = [
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    message(b"", START),
    message(b"Q", b"SELECT 1\x00"),
    message(b"Q", b"SELECT 2\x00"),
    message(b"P", b"\x00SHOW server_version\x00\x00\x00"),
    message(b"B", b"\x00\x00" + bytes(6)),
    message(b"E", b"\x00" + bytes(4)),
    message(b"S", b""),
    message(b"X", b""),
]
HTTP = [
    b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
    b"POST /upper HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /none HTTP/1.1\r\nHost: here\r\n\r\n",
    b"GET /help HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n",
]
FTP = [
    b"SYST\r\n",
    b"USER ada\r\n",
    b"PASS sesame\r\n",
    b"TYPE I\r\n",
    b"CWD pub\r\n",
    b"PWD\r\n",
    b"SIZE readme\r\n",
    b"SIZE none\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
]

PAIRS = [
    # Fault: after an error the messages up to Sync are not skipped: the wrong next state.
    Pair("postgres-sync", 12, Database, DatabaseRight, POSTGRES, {}),
    # Fault: nobody awaits `discard`, so that a body which is of no use is read as the next request.
    Pair("http-discard", 12, Web, WebRight, HTTP, {}),
    # Fault: a return is missing: a command of one who has not logged in is refused and then done.
    Pair("ftp-login", 12, Control, ControlRight, FTP, {}),
]
