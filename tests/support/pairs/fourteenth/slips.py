"""Slips in states."""

import re
from base64 import b64decode
from binascii import Error
from hmac import compare_digest
from struct import pack, unpack

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

NAME = rb'"([0-9A-Za-z._-]{1,64})"'
COMMAND = re.compile(rb"([A-Z]{1,16})(?: ([ -~]+))?\r\n", re.IGNORECASE)
PLAIN = re.compile(rb'"PLAIN" "([0-9A-Za-z+/]{4,256}={0,2})"')
SCRIPT = re.compile(NAME + rb" \{(0|[1-9][0-9]{0,4})\+\}")


class Sieve(StreamHandler):
    """ManageSieve: scripts of a user, of which one may be active."""

    timeout = 60
    request_timeout = 60
    users = {b"ada": b"lovelace"}
    most_scripts, most_size = 8, 8_192

    def setup(self):
        self.user, self.active, self.scripts = b"", b"", {}

    def handle(self):
        self.capabilities()
        return self.next()

    def next(self):
        self.one_by_one += 1
        return Until(b"\r\n", limit=1_024), self.command

    def capabilities(self):
        self.send(b'"IMPLEMENTATION" "pairs"\r\n"SASL" "PLAIN"\r\n"SIEVE" "fileinto vacation"\r\nOK\r\n')

    def command(self, line):
        matched = COMMAND.fullmatch(line)
        if matched is None:
            return self.refuse()
        verb, arguments = matched[1].upper(), matched[2] or b""
        if verb == b"LOGOUT" and not arguments:
            self.send(b'OK "bye"\r\n')
            return None
        if verb == b"CAPABILITY" and not arguments:
            self.capabilities()
            return self.next()
        if verb == b"AUTHENTICATE":
            return self.authenticate(arguments)
        if not self.user:
            self.send(b'NO "authenticate first"\r\n')
            return None
        if verb == b"LISTSCRIPTS" and not arguments:
            names = (b'"%b"%b\r\n' % (name, b" ACTIVE" if name == self.active else b"") for name in self.scripts)
            self.send(b"".join([*names, b"OK\r\n"]))
            return self.next()
        if verb == b"PUTSCRIPT" and (script := SCRIPT.fullmatch(arguments)) and int(script[2]) <= self.most_size:
            self.name = script[1]
            return Exactly(int(script[2]) + 2), self.content
        named = re.fullmatch(NAME + rb'|""', arguments)
        if verb not in (b"GETSCRIPT", b"SETACTIVE", b"DELETESCRIPT") or named is None:
            return self.refuse()
        self.named(verb, named[1] or b"")
        return self.next()

    def refuse(self):
        self.send(b'BYE "no such command, or wrong arguments"\r\n')

    def authenticate(self, arguments):
        matched = PLAIN.fullmatch(arguments)
        try:
            _, user, password = b64decode(matched[1] if matched else b"", validate=True).split(b"\0")
        except (Error, ValueError):
            return self.refuse()
        if self.user or not compare_digest(self.users.get(user, b""), password) or not password:
            self.send(b'NO "authentication failed"\r\n')
            return None
        self.user = user
        self.send(b"OK\r\n")
        return self.next()

    def content(self, data):
        if data[-2:] != b"\r\n":
            return self.refuse()
        if self.name not in self.scripts and len(self.scripts) >= self.most_scripts:
            self.send(b'NO (QUOTA/MAXSCRIPTS) "too many scripts"\r\n')
        else:
            self.scripts[self.name] = data[:-2]
            self.send(b"OK\r\n")
        return self.next()

    def named(self, verb, name):
        """Do a command for a script that exists."""
        if name not in self.scripts and (name or verb != b"SETACTIVE"):
            self.send(b'NO (NONEXISTENT) "no such script"\r\n')
            return
        if verb == b"GETSCRIPT":
            self.send(b"{%d}\r\n%b\r\n" % (len(self.scripts[name]), self.scripts[name]))
        elif verb == b"SETACTIVE":
            self.active = name
        else:
            self.delete(name)
            return
        self.send(b"OK\r\n")

    def delete(self, name):
        if name == self.active:
            self.send(b'NO (ACTIVE) "the script is active"\r\n')
        del self.scripts[name]
        self.send(b"OK\r\n")


class RightSieve(Sieve):
    def delete(self, name):
        if name == self.active:
            self.send(b'NO (ACTIVE) "the script is active"\r\n')
            return
        del self.scripts[name]
        self.send(b"OK\r\n")


SUBMIT, CREATED, COMPLETE, ECHO, ECHOED, FAILED, OPTION, OPTION_SET = 7, 8, 13, 16, 17, 19, 26, 27


class JobServer(StreamHandler):
    """A job server of Gearman that does the jobs itself."""

    timeout = 30
    request_timeout = 30
    most, most_skipped = 4_096, 1 << 20
    functions = {b"reverse": lambda data: data[::-1], b"upper": bytes.upper, b"wc": lambda data: b"%d" % len(data)}

    async def handle(self):
        self.number = 0
        while True:
            self.one_by_one += 1
            magic, kind, size = unpack(">4sII", await Exactly(12))
            if magic != b"\0REQ" or size > self.most_skipped or kind not in (SUBMIT, ECHO, OPTION):
                raise Malformed("no request")
            if size > self.most:
                await self.too_large(size)
                continue
            data = await Exactly(size)
            if kind == ECHO:
                self.respond(ECHOED, data)
            elif kind == OPTION:
                if data == b"exceptions":
                    self.respond(OPTION_SET, data)
                else:
                    self.respond(FAILED, b"UNKNOWN_OPTION\0no such option")
            elif data.count(b"\0", 0, 256) >= 2:
                self.submit(*data.split(b"\0", 2))
            else:
                raise Malformed("half a job")

    async def too_large(self, size):
        self.respond(FAILED, b"TOO_LARGE\0more than a job may have")
        self.skip(size)

    async def skip(self, size):
        """Take the rest of a packet, and drop it."""
        while size:
            size -= len(await Exactly(min(size, 4_096)))

    def submit(self, function, unique, data):
        if len(function) + len(unique) > 128 or function not in self.functions:
            self.respond(FAILED, b"UNKNOWN_FUNCTION\0nobody does that")
            return
        self.number += 1
        handle = b"H:pairs:%d" % self.number
        self.respond(CREATED, handle)
        self.respond(COMPLETE, handle + b"\0" + self.functions[function](data))

    def respond(self, kind, data):
        self.send(pack(">4sII", b"\0RES", kind, len(data)) + data)


class RightJobServer(JobServer):
    async def too_large(self, size):
        self.respond(FAILED, b"TOO_LARGE\0more than a job may have")
        await self.skip(size)


QUERY = re.compile(rb"SELECT ([0-9a-z_']{1,64})")


class Extended(StreamHandler):
    """The extended queries of PostgreSQL: parse, bind, execute and sync."""

    timeout = 60
    request_timeout = 60
    most = 8_192

    def setup(self):
        self.statements, self.portals, self.parameters = {}, {}, b""

    def handle(self):
        self.one_by_one += 1
        return Exactly(8), self.startup

    def startup(self, data):
        size, version = unpack(">II", data)
        if version != 196_608 or not 9 <= size <= 1_024:
            raise Malformed("no startup message")
        return Exactly(size - 8), self.started

    def started(self, data):
        words = data.split(b"\0")
        if len(words) % 2 or words[-2:] != [b"", b""] or b"" in words[:-2] or b"user" not in words[:-2:2]:
            raise Malformed("no parameters")
        self.send(b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I")
        self.opened()
        return self.next()

    def next(self):
        self.one_by_one += 1
        return Exactly(5), self.head

    def head(self, data):
        kind, size = unpack(">cI", data)
        if kind not in b"PBECSX" or not 4 <= size <= self.most:
            raise Malformed("no message")
        self.kind = kind
        return Exactly(size - 4), self.message

    def skipping(self):
        self.one_by_one += 1
        return Exactly(5), self.skipped_head

    def skipped_head(self, data):
        kind, size = unpack(">cI", data)
        if kind not in b"PBECSX" or not 4 <= size <= self.most:
            raise Malformed("no message")
        self.kind = kind
        return Exactly(size - 4), self.skipped

    def skipped(self, data):
        return self.message(data) if self.kind in b"SX" else self.skipping()

    def message(self, data):
        if self.kind in b"SX" and data:
            raise Malformed("more than the message has")
        if self.kind == b"X":
            return None
        if self.kind == b"S":
            self.portals.clear()
            self.send(b"Z\0\0\0\x05I")
            return self.next()
        does = {b"P": self.parse, b"B": self.bind, b"E": self.execute, b"C": self.close_one}[self.kind]
        error = does(data)
        return self.next() if error is None else self.failed(*error)

    def failed(self, code, text):
        content = b"SERROR\0C%b\0M%b\0\0" % (code, text)
        self.send(b"E" + pack(">I", 4 + len(content)) + content)
        return self.next()

    def strings(self, data, count, size):
        """The strings that ``data`` begins with; ``size`` bytes must be left, which come last."""
        parts = data.split(b"\0", count)
        if len(parts) <= count or len(parts[count]) != size:
            raise Malformed("no such content")
        return parts

    def parse(self, data):
        name, query, types = self.strings(data, 2, 2)
        if types != b"\0\0":
            raise Malformed("no types of parameters")
        found = QUERY.fullmatch(query)
        if found is None:
            return b"42601", b"syntax error"
        if name and name in self.statements:
            return b"42P05", b"prepared statement exists already"
        if name not in self.statements and len(self.statements) >= 16:
            return b"53400", b"too many prepared statements"
        if len(name) > 63:
            return b"42622", b"name is too long"
        self.statements[name] = found[1]
        self.send(b"1\0\0\0\4")
        return None

    def bind(self, data):
        portal, name, counts = self.strings(data, 2, 6)
        if counts != bytes(6):
            raise Malformed("there are no parameters")
        if name not in self.statements:
            return b"26000", b"prepared statement does not exist"
        if portal and portal in self.portals:
            return b"42P03", b"portal exists already"
        if len(portal) > 63 or (portal not in self.portals and len(self.portals) >= 16):
            return b"53400", b"too many portals"
        self.portals[portal] = self.statements[name]
        self.send(b"2\0\0\0\4")
        return None

    def execute(self, data):
        portal, _ = self.strings(data, 1, 4)
        if portal not in self.portals:
            return b"34000", b"portal does not exist"
        value = self.portals[portal]
        self.send(b"D" + pack(">IHI", 10 + len(value), 1, len(value)) + value + b"C\0\0\0\x0dSELECT 1\0")
        return None

    def close_one(self, data):
        (what,) = self.strings(data[1:], 1, 0)[:1]
        if data[:1] not in (b"S", b"P"):
            raise Malformed("neither a statement nor a portal")
        (self.statements if data[:1] == b"S" else self.portals).pop(what, None)
        self.send(b"3\0\0\0\4")


class RightExtended(Extended):
    def failed(self, code, text):
        super().failed(code, text)
        return self.skipping()


def gearman(kind, data):
    return pack(">4sII", b"\0REQ", kind, len(data)) + data


def postgres(kind, data=b""):
    return kind + pack(">I", 4 + len(data)) + data


USER = b"user\0ada\0database\0shop\0\0"

PAIRS = [
    # Fault: after the answer that an active script stays there is no return, so that it is deleted.
    Pair(
        "managesieve-active",
        12,
        Sieve,
        RightSieve,
        [
            b"CAPABILITY\r\n",
            b'AUTHENTICATE "PLAIN" "AGFkYQBsb3ZlbGFjZQ=="\r\n',
            b'PUTSCRIPT "main" {31+}\r\nrequire "fileinto";\r\n# so far\r\n\r\n',
            b'PUTSCRIPT "away" {5+}\r\nkeep;\r\n',
            b'SETACTIVE "main"\r\n',
            b"LISTSCRIPTS\r\n",
            b'GETSCRIPT "away"\r\n',
            b'DELETESCRIPT "away"\r\n',
            b'SETACTIVE ""\r\n',
            b'DELETESCRIPT "main"\r\n',
            b"LOGOUT\r\n",
        ],
        {"kept": 100_000},
    ),
    # Fault: nobody awaits the coroutine that takes the rest of a packet that is too large.
    Pair(
        "gearman-skip",
        12,
        JobServer,
        RightJobServer,
        [
            gearman(ECHO, b"are you there?"),
            gearman(OPTION, b"exceptions"),
            gearman(SUBMIT, b"reverse\0\0Hello World!"),
            gearman(SUBMIT, b"wc\0job-2\0one\0two"),
            gearman(SUBMIT, b"sing\0\0la"),
        ],
    ),
    # Fault: after an error the next messages are done, and not dropped up to the next sync.
    Pair(
        "postgres-skip",
        12,
        Extended,
        RightExtended,
        [
            pack(">II", 8 + len(USER), 196_608) + USER,
            postgres(b"P", b"one\0SELECT 1\0\0\0"),
            postgres(b"B", b"\0one\0" + bytes(6)),
            postgres(b"E", b"\0" + bytes(4)),
            postgres(b"S"),
            postgres(b"P", b"\0SELECT 'two'\0\0\0")
            + postgres(b"B", b"p\0\0" + bytes(6))
            + postgres(b"E", b"p\0" + bytes(4))
            + postgres(b"C", b"Sone\0")
            + postgres(b"S"),
            postgres(b"X"),
        ],
        {"kept": 8_192},
    ),
]
