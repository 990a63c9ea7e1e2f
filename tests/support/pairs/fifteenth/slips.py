"""Slips in states: errors of PostgreSQL, logins to POP3, and repositories of git."""

import re
import time

from handlers import Delay, Exactly, Flushed, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

PARAMETERS = re.compile(rb"user\0[a-z_]{1,63}\0(?:[a-z_]{1,63}\0[ -~]{1,63}\0)*\0")
STATEMENT = re.compile(rb"SELECT (?:\$1|'([^'\\\0]*)')", re.IGNORECASE)
HEADER = Exactly(5)
MOST = 4096


class Cursor:
    """What is left of the body of a message."""

    def __init__(self, body):
        self.body, self.at = body, 0

    def take(self, size):
        if size > len(self.body) - self.at:
            raise Malformed("a message is shorter than its fields")
        self.at += size
        return self.body[self.at - size : self.at]

    def text(self):
        end = self.body.find(b"\0", self.at)
        if end < 0:
            raise Malformed("a text does not end")
        return self.take(end + 1 - self.at)[:-1]

    def number(self, size=2):
        return int.from_bytes(self.take(size), "big")

    def formats(self):
        if any(self.number() for _ in range(self.number())):
            raise Malformed("only text is spoken here")

    def end(self):
        if self.at != len(self.body):
            raise Malformed("a message is longer than its fields")


class Failure(Exception):
    """A message that is right can't be done."""


class Backend(StreamHandler):
    """PostgreSQL's extended protocol, for statements that select a text or what is bound."""

    timeout = 60
    request_timeout = 60
    most = 16

    def setup(self):
        self.one_by_one = 0
        self.statements, self.portals, self.has_failed = {}, {}, False

    def handle(self):
        return Exactly(8), self.startup

    def startup(self, head):
        size = int.from_bytes(head[:4], "big")
        if head[4:] != b"\0\x03\0\0" or not 9 <= size <= 1024:
            raise Malformed("no startup message")
        return Exactly(size - 8), self.parameters

    def parameters(self, data):
        if PARAMETERS.fullmatch(data) is None:
            raise Malformed("no parameters")
        self.say(b"R", bytes(4))
        self.say(b"Z", b"I")
        self.opened()
        return self.following()

    def following(self):
        self.one_by_one += 1
        return HEADER, self.header

    def header(self, head):
        self.kind, size = head[:1], int.from_bytes(head[1:], "big")
        if self.kind not in b"PBDECHSX" or not 4 <= size <= MOST:
            raise Malformed("no message")
        return Exactly(size - 4), self.message

    def message(self, body):
        cursor = Cursor(body)
        if self.kind == b"X":
            cursor.end()
            return None
        if self.kind == b"S":
            cursor.end()
            self.portals.clear()
            self.has_failed = False
            self.say(b"Z", b"I")
        elif not self.has_failed:
            try:
                self.do(cursor)
            except Failure as failure:
                self.fail(failure)
        return self.following()

    def fail(self, failure):
        self.has_failed = True
        self.say(b"E", b"SERROR\0C%b\0M%b\0\0" % failure.args)

    def say(self, kind, body=b""):
        self.send(kind + (len(body) + 4).to_bytes(4, "big") + body)

    def do(self, cursor):
        """Do what a message says. Raises `Failure`."""
        if self.kind == b"P":
            self.parse(cursor.text(), cursor)
        elif self.kind == b"B":
            self.bind(cursor.text(), cursor)
        elif self.kind == b"E":
            name = cursor.text()
            cursor.take(4)
            cursor.end()
            value = self.find(self.portals, b"34000", name)
            self.say(b"D", b"\0\1" + len(value).to_bytes(4, "big") + value)
            self.say(b"C", b"SELECT 1\0")
        elif self.kind == b"H":
            cursor.end()
        else:
            self.describe_or_close(cursor)

    def find(self, table, code, name):
        if name not in table:
            raise Failure(code, b"no such statement or portal")
        return table[name]

    def keep(self, table, name, value):
        if (name and name in table) or (name not in table and len(table) >= self.most):
            raise Failure(b"42P05", b"the name is taken, or there are too many")
        table[name] = value

    def parse(self, name, cursor):
        text = cursor.text()
        for _ in range(cursor.number()):
            cursor.number(4)
        cursor.end()
        matched = STATEMENT.fullmatch(text)
        if matched is None:
            raise Failure(b"42601", b"syntax error")
        self.keep(self.statements, name, matched[1])
        self.say(b"1")

    def bind(self, name, cursor):
        source = cursor.text()
        cursor.formats()
        values = [cursor.take(cursor.number(4)) for _ in range(cursor.number())]
        cursor.formats()
        cursor.end()
        text = self.find(self.statements, b"26000", source)
        if len(values) != (text is None):
            raise Failure(b"08P01", b"the statement has another number of parameters")
        self.keep(self.portals, name, values[0] if text is None else text)
        self.say(b"2")

    def describe_or_close(self, cursor):
        which, name = cursor.take(1), cursor.text()
        cursor.end()
        if which not in b"SP":
            raise Malformed("neither statement nor portal")
        table = self.statements if which == b"S" else self.portals
        if self.kind == b"C":
            table.pop(name, None)
            self.say(b"3")
            return
        text = self.find(table, b"26000" if which == b"S" else b"34000", name)
        if which == b"S":
            self.say(b"t", b"\0\0" if text is not None else b"\0\1\0\0\0\x19")
        self.say(b"T", b"\0\1text\0" + bytes(6) + b"\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0")


class BusyBackend(Backend):
    """PostgreSQL's extended protocol, with an error for each message that can't be done."""

    def fail(self, failure):
        self.say(b"E", b"SERROR\0C%b\0M%b\0\0" % failure.args)


LINE = Until(b"\r\n", limit=255)
MAIL = [
    b"From: charles@example.org\r\nSubject: engines\r\n\r\nThe new one is ready.\r\n",
    b"From: mary@example.org\r\nSubject: stars\r\n\r\nClear sky\r\n.. at last\r\n",
]
USER = re.compile(rb"USER ([!-~]{1,40})", re.IGNORECASE)
PASS = re.compile(rb"PASS ([!-~](?:[ -~]{0,198}[!-~])?)", re.IGNORECASE)
NUMBERED = re.compile(rb"(LIST|UIDL|RETR|DELE) ([1-9][0-9]{0,3})", re.IGNORECASE)


class MailDrop(StreamHandler):
    """POP3: a user's mail."""

    timeout = 60
    request_timeout = 60
    users = {b"ada": b"analytical engine", b"mary": b"nebula"}
    most_failures = 3
    pause = 3

    def setup(self):
        self.one_by_one = self.failures = 0
        self.user, self.deleted = b"", set()

    def handle(self):
        self.send(b"+OK pop.example.org ready\r\n")
        return self.login()

    def login(self):
        self.one_by_one += 1
        return LINE, self.authorization

    def authorization(self, line):
        line = line[:-2]
        if matched := USER.fullmatch(line):
            self.user = matched[1]
            self.send(b"+OK and the password?\r\n")
            return self.login()
        if matched := PASS.fullmatch(line):
            if not self.user or self.users.get(self.user) != matched[1]:
                return self.failed()
            self.send(b"+OK %d messages\r\n" % len(MAIL))
            self.opened()
            return self.following()
        if line.upper() == b"CAPA":
            self.send(b"+OK\r\nUSER\r\nUIDL\r\n.\r\n")
            return self.login()
        return self.leave(line)

    def failed(self):
        self.failures += 1
        return Delay(self.pause), self.denied

    def denied(self, _):
        self.user = b""
        self.send(b"-ERR [AUTH] wrong user or password\r\n")
        return self.login() if self.failures < self.most_failures else None

    def leave(self, line):
        self.send(b"+OK bye\r\n" if line.upper() == b"QUIT" else b"-ERR no such command, closing\r\n")

    def following(self):
        self.one_by_one += 1
        return LINE, self.transaction

    def transaction(self, line):
        line = line[:-2]
        command = line.upper()
        left = [number for number in range(1, len(MAIL) + 1) if number not in self.deleted]
        if matched := NUMBERED.fullmatch(line):
            command, number = matched[1].upper(), int(matched[2])
            self.send(self.one(command, number) if number in left else b"-ERR no such message\r\n")
        elif command == b"STAT":
            self.send(b"+OK %d %d\r\n" % (len(left), sum(len(MAIL[number - 1]) for number in left)))
        elif command in (b"LIST", b"UIDL"):
            self.send(b"+OK\r\n%b.\r\n" % b"".join(self.item(command, number) for number in left))
        elif command == b"RSET":
            self.deleted.clear()
            self.send(b"+OK\r\n")
        elif command == b"NOOP":
            self.send(b"+OK\r\n")
        else:
            return self.leave(line)
        return self.following()

    def item(self, command, number):
        mail = MAIL[number - 1]
        return b"%d %d\r\n" % (number, len(mail)) if command == b"LIST" else b"%d mail-%d\r\n" % (number, number)

    def one(self, command, number):
        if command == b"DELE":
            self.deleted.add(number)
            return b"+OK deleted\r\n"
        if command == b"RETR":
            mail = (b"\r\n" + MAIL[number - 1]).replace(b"\r\n.", b"\r\n..")[2:]
            return b"+OK\r\n%b.\r\n" % mail
        return b"+OK " + self.item(command, number)


class SlowMailDrop(MailDrop):
    """POP3: a user's mail, with a pause for those who guess passwords."""

    def failed(self):
        self.failures += 1
        time.sleep(self.pause)
        return self.denied(None)


OPENING = re.compile(rb"git-upload-pack (/[A-Za-z0-9._/-]{1,128})\0host=[A-Za-z0-9.:-]{1,255}\0\0version=2\0")
COMMAND = re.compile(rb"command=([a-z-]{1,32})\n?")
CAPABILITY = re.compile(rb"(?:agent=[!-~]{1,128}|object-format=sha1)\n?")
SIZE = re.compile(rb"[0-9a-f]{4}")
PREFIX = re.compile(rb"ref-prefix ([!-~]{1,200})\n?")
OBJECT = re.compile(rb"oid ([0-9a-f]{40})\n?")
FLUSH, DELIMITER = b"0000", b"0001"
REPOSITORIES = {
    b"/engine.git": [
        (b"HEAD", b"5f" * 20, 321),
        (b"refs/heads/main", b"5f" * 20, 321),
        (b"refs/heads/weaving", b"0c" * 20, 288),
        (b"refs/tags/v1", b"a3" * 20, 145),
    ],
    b"/looms.git": [],
}


def packet(data):
    return b"%04x%b" % (len(data) + 4, data)


class Daemon(StreamHandler):
    """git's daemon, protocol version 2: the references of a repository, and the sizes of objects."""

    timeout = 60
    request_timeout = 60
    longest, most_arguments = 1000, 64

    async def packet(self):
        """The next packet, which is not empty; `None` for `FLUSH`, and nothing for `DELIMITER`."""
        digits = await Exactly(4)
        if digits in (FLUSH, DELIMITER):
            return None if digits == FLUSH else b""
        size = int(digits, 16) - 4 if SIZE.fullmatch(digits) else 0
        if not 0 < size <= self.longest:
            raise Malformed("no packet")
        return await Exactly(size)

    async def refuse(self, why):
        self.send(packet(b"ERR " + why))
        await Flushed()

    async def handle(self):
        matched = OPENING.fullmatch(await self.packet() or b"")
        if matched is None:
            await self.refuse(b"only version 2 of git-upload-pack is served")
            return
        references = await self.repository(matched[1])
        if references is None:
            return
        self.send(packet(b"version 2\n") + packet(b"agent=git/2.44.0\n") + packet(b"ls-refs\n"))
        self.send(packet(b"object-info\n") + packet(b"object-format=sha1\n") + FLUSH)
        self.opened()
        self.one_by_one = 0
        while True:
            self.one_by_one += 1
            first = await self.packet()
            if first is None or not await self.command(first, references):
                return

    async def repository(self, path):
        """The references of a repository; `None` if there is none, which the client is told."""
        if path not in REPOSITORIES:
            await self.refuse(b"no such repository: " + path)
            return None
        return REPOSITORIES[path]

    async def command(self, first, references):
        """Take the rest of a command, and do it. Whether another may follow."""
        matched = COMMAND.fullmatch(first)
        if matched is None:
            raise Malformed("no command")
        arguments, is_argument = [], False
        while (line := await self.packet()) is not None:
            if not line and not is_argument:
                is_argument = True
            elif is_argument and line and len(arguments) < self.most_arguments:
                arguments.append(line)
            elif is_argument or CAPABILITY.fullmatch(line) is None:
                raise Malformed("no capability, or too many arguments")
        if matched[1] == b"ls-refs":
            answer = self.list(references, arguments)
        elif matched[1] == b"object-info":
            answer = self.sizes(references, arguments)
        else:
            await self.refuse(b"unknown command: " + matched[1])
            return False
        if answer is None:
            await self.refuse(b"unexpected argument")
            return False
        self.send(answer + FLUSH)
        return True

    def list(self, references, arguments):
        prefixes = []
        for argument in arguments:
            matched = PREFIX.fullmatch(argument)
            if matched:
                prefixes.append(matched[1])
            elif argument.removesuffix(b"\n") not in (b"peel", b"symrefs"):
                return None
        prefixes = tuple(prefixes) or (b"",)
        return b"".join(packet(b"%b %b\n" % (at, name)) for name, at, _ in references if name.startswith(prefixes))

    def sizes(self, references, arguments):
        if not arguments or arguments[0].removesuffix(b"\n") != b"size":
            return None
        known, answer = {at: size for _, at, size in references}, [packet(b"size")]
        for argument in arguments[1:]:
            matched = OBJECT.fullmatch(argument)
            if matched is None or matched[1] not in known:
                return None
            answer.append(packet(b"%b %d" % (matched[1], known[matched[1]])))
        return b"".join(answer)


class HastyDaemon(Daemon):
    """git's daemon, protocol version 2, for the repositories that are exported."""

    async def repository(self, path):
        if path not in REPOSITORIES:
            self.refuse(b"no such repository: " + path)
            return None
        return REPOSITORIES[path]


def message(kind, body=b""):
    return kind + (len(body) + 4).to_bytes(4, "big") + body


PARAMETER = b"user\0ada\0database\0engines\0\0"
POSTGRES = [
    (len(PARAMETER) + 8).to_bytes(4, "big") + b"\0\x03\0\0" + PARAMETER,
    message(b"P", b"\0SELECT 'hello'\0\0\0"),
    message(b"B", b"\0\0\0\0\0\0\0\0"),
    message(b"D", b"P\0"),
    message(b"E", b"\0\0\0\0\0"),
    message(b"S"),
    message(b"P", b"echo\0select $1\0\0\1\0\0\0\x19"),
    message(b"D", b"Secho\0"),
    message(b"H"),
    message(b"B", b"p1\0echo\0\0\1\0\0\0\1\0\0\0\5three\0\1\0\0"),
    message(b"E", b"p1\0\0\0\0\0"),
    message(b"C", b"Pp1\0"),
    message(b"S"),
    message(b"C", b"Secho\0"),
    message(b"S"),
    message(b"X"),
]
POP3 = [
    b"CAPA\r\n",
    b"USER ada\r\n",
    b"PASS analytical engine\r\n",
    b"STAT\r\n",
    b"LIST\r\n",
    b"UIDL\r\n",
    b"list 2\r\n",
    b"uidl 1\r\n",
    b"RETR 2\r\n",
    b"DELE 1\r\n",
    b"RETR 1\r\n",
    b"RSET\r\n",
    b"DELE 2\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
]
GIT = [
    packet(b"git-upload-pack /engine.git\0host=git.example.org\0\0version=2\0"),
    packet(b"command=ls-refs\n")
    + packet(b"agent=git/2.43.0\n")
    + packet(b"object-format=sha1\n")
    + DELIMITER
    + packet(b"peel\n")
    + packet(b"symrefs\n")
    + packet(b"ref-prefix HEAD\n")
    + packet(b"ref-prefix refs/heads/\n")
    + FLUSH,
    packet(b"command=ls-refs\n") + FLUSH,
    packet(b"command=object-info\n") + DELIMITER + packet(b"size\n") + packet(b"oid " + b"a3" * 20 + b"\n") + FLUSH,
    FLUSH,
]

PAIRS = [
    # Fault: after an error the messages up to the next Sync are done, where they should be passed over.
    Pair("postgresql-error-until-sync", 12, BusyBackend, Backend, POSTGRES, {"kept": 1 << 20}),
    # Fault: after a wrong password the handler sleeps, and blocks all others.
    Pair("pop3-wrong-password-pause", 12, SlowMailDrop, MailDrop, POP3, {"kept": 4096}),
    # Fault: nobody awaits the coroutine that refuses an unknown repository: the client is told nothing.
    Pair("git-unknown-repository", 12, HastyDaemon, Daemon, GIT, {"kept": 131_072}),
]
