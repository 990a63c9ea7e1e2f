"""Pairs whose fault is that many small pieces grow without a bound."""

import re
from struct import Struct, pack

from handlers import Exactly, Some, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair

LITERAL = re.compile(rb"\{(0|[1-9][0-9]{0,5})\}\r\n\Z")
TAG = re.compile(rb"[A-Za-z0-9]{1,16}")
ATOM = re.compile(rb"[A-Za-z0-9@._-]+")


class Literals(StreamHandler):
    """IMAP's LOGIN, SEARCH, NOOP and LOGOUT, with literals (RFC 9051, section 4.3)."""

    timeout = 60
    request_timeout = 120
    longest = 1024  # a line, and a literal
    subjects = b"Lunch on Friday", b"Re: Lunch on Friday", b"Invoice 17"

    async def handle(self):
        self.send(b"* OK IMAP4rev2 ready\r\n")
        self.is_in = False
        while True:
            line = await Until(b"\r\n", limit=self.longest)
            words, size = [], len(line)
            while (literal := LITERAL.search(line)) is not None:
                if literal.start():
                    words += self.words(line[: literal.start()].removesuffix(b" "))
                if len(words) < 2 or line[: literal.start()][-1:] not in (b"", b" "):
                    raise Malformed("no place for a literal")
                size += int(literal[1])
                if self.is_too_long(int(literal[1]), size):
                    self.send(b"* BYE command too long\r\n")
                    return
                self.send(b"+ go on\r\n")
                words.append(await Exactly(int(literal[1])))
                line = await Until(b"\r\n", limit=self.longest)
                size += len(line)
                if line != b"\r\n" and (line[:1] != b" " or line == b" \r\n"):
                    raise Malformed("no blank after a literal")
                line = line.removeprefix(b" ")
            if line != b"\r\n" or not words:
                words += self.words(line[:-2])
            if self.is_too_long(0, size):
                self.send(b"* BYE command too long\r\n")
                return
            if not self.command(words):
                return
            words, line = [], b""  # nothing is held between commands
            self.one_by_one += 1

    def is_too_long(self, literal, size):
        """Whether a literal, or the command with it, is longer than this server takes."""
        return literal > self.longest

    def words(self, text):
        found = text.split(b" ")
        if not all(map(ATOM.fullmatch, found)):
            raise Malformed("no atom")
        return found

    def command(self, words):
        if len(words) < 2 or not TAG.fullmatch(words[0]):
            raise Malformed("no command")
        tag, name, *arguments = words
        name = name.upper()
        if name == b"LOGOUT" and not arguments:
            self.send(b"* BYE\r\n%b OK done\r\n" % tag)
            return False
        if name == b"NOOP" and not arguments:
            self.send(tag + b" OK done\r\n")
        elif name == b"LOGIN" and len(arguments) == 2:
            self.is_in = arguments == [b"ada", b"love lace"]
            self.send(tag + (b" OK welcome\r\n" if self.is_in else b" NO wrong\r\n"))
        elif name == b"SEARCH" and arguments and len(arguments) % 2 == 0:
            if {key.upper() for key in arguments[::2]} != {b"SUBJECT"}:
                raise Malformed("no such key")
            self.send(self.search(arguments[1::2]) + tag + b" OK done\r\n" if self.is_in else tag + b" NO login\r\n")
        else:
            raise Malformed("no such command")
        return True

    def search(self, parts):
        found = [n for n, subject in enumerate(self.subjects, 1) if all(part in subject for part in parts)]
        return b"* SEARCH" + b"".join(b" %d" % n for n in found) + b"\r\n"


class BoundedLiterals(Literals):
    def is_too_long(self, literal, size):
        return literal > self.longest or size > 4096


HEAD = Struct(">cI")


def message(kind, data=b""):
    return HEAD.pack(kind, len(data) + 4) + data


def text(data):
    return data + b"\0"


class Statements(StreamHandler):
    """PostgreSQL's wire protocol: start-up, simple queries and prepared statements."""

    timeout = 60
    request_timeout = 60
    ready = message(b"Z", b"I")

    def setup(self):
        self.statements = {}

    def handle(self):
        return Exactly(8), self.startup

    def startup(self, data):
        size, version = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:], "big")
        if version != 196608 or not 9 <= size <= 1024:
            return self.fatal(b"08P01", b"no such start-up")
        return Exactly(size - 8), self.parameters

    def parameters(self, data):
        words = data[:-2].split(b"\0")
        if data[-2:] != b"\0\0" or len(words) % 2 or b"user" not in words[::2] or not all(words[::2]):
            return self.fatal(b"08P01", b"no such parameters")
        self.send(message(b"R", pack(">I", 0)) + self.ready)
        self.opened()
        return self.following()

    def following(self):
        self.one_by_one += 1
        return Exactly(5), self.head

    def head(self, data):
        self.kind, size = HEAD.unpack(data)
        if self.kind not in b"PDCSQX" or not 4 <= size <= 600:
            return self.fatal(b"08P01", b"no such message")
        return Exactly(size - 4), getattr(self, "take_" + self.kind.decode())

    def fatal(self, code, why):
        self.send(message(b"E", b"SFATAL\0C%b\0M%b\0\0" % (code, why)))

    def take_P(self, data):  # noqa: N802
        name, query, rest = [*data.split(b"\0", 2), b"", b""][:3]
        if rest != b"\0\0" or len(name) > 63 or len(query) > 256:
            return self.fatal(b"08P01", b"no such Parse")
        if name and name in self.statements:
            return self.fatal(b"42P05", b"prepared statement exists")
        return self.prepare(name, query)

    def prepare(self, name, query):
        self.statements[name] = query
        self.send(message(b"1"))
        return self.following()

    def take_D(self, data):  # noqa: N802
        if data[:1] != b"S" or data.find(b"\0") != len(data) - 1:
            return self.fatal(b"08P01", b"no such Describe")
        if data[1:-1] not in self.statements:
            return self.fatal(b"26000", b"no such prepared statement")
        self.send(message(b"t", b"\0\0") + message(b"n"))
        return self.following()

    def take_C(self, data):  # noqa: N802
        if data[:1] != b"S" or data.find(b"\0") != len(data) - 1:
            return self.fatal(b"08P01", b"no such Close")
        self.statements.pop(data[1:-1], None)
        self.send(message(b"3"))
        return self.following()

    def take_S(self, data):  # noqa: N802
        if data:
            return self.fatal(b"08P01", b"no such Sync")
        self.send(self.ready)
        return self.following()

    def take_Q(self, data):  # noqa: N802
        if data.find(b"\0") != len(data) - 1 or not data:
            return self.fatal(b"08P01", b"no such Query")
        self.send((message(b"C", b"SELECT 0\0") if len(data) > 1 else message(b"I")) + self.ready)
        return self.following()

    def take_X(self, data):  # noqa: N802
        return self.fatal(b"08P01", b"no such Terminate") if data else None


class FewStatements(Statements):
    def prepare(self, name, query):
        if name not in self.statements and len(self.statements) == 16:
            return self.fatal(b"53400", b"too many prepared statements")
        return super().prepare(name, query)


ANY = Some()
SE, NOP, SB, WILL, WONT, DO, DONT, IAC = 240, 241, 250, 251, 252, 253, 254, 255
TERMINAL_TYPE, IS = 24, 0
TERMINAL = re.compile(rb"[A-Za-z0-9-]{1,40}")


class TelnetShell(StreamHandler):
    """A line service over Telnet, which asks for the type of the terminal (RFC 854, 1091)."""

    timeout = 60
    request_timeout = 120

    def setup(self):
        self.line, self.option = bytearray(), bytearray()
        self.state, self.terminal = self.text, b"unknown"
        self.is_over = False

    def handle(self):
        self.send(bytes([IAC, DO, TERMINAL_TYPE]))
        return ANY, self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        for byte in data:
            self.state = self.state(byte)
            if self.is_over:
                return None
        is_between = not self.line and self.state == self.text
        self.one_by_one += is_between
        return ANY, self.first if is_between else self.more

    def text(self, byte):
        if byte == IAC:
            return self.command
        if byte == 13:
            return self.after_return
        if len(self.line) == 256:
            raise Malformed("line too long")
        if not 32 <= byte < 127:
            raise Malformed("no text")
        self.line.append(byte)
        return self.text

    def after_return(self, byte):
        if byte != 10:
            raise Malformed("no line feed")
        line = bytes(self.line)
        self.line.clear()
        self.one_by_one += 1
        if line == b"quit":
            self.is_over = True
            self.send(b"bye\r\n")
        elif line == b"term":
            self.send(self.terminal + b"\r\n")
        else:
            self.send(b"%d characters\r\n" % len(line))
        return self.text

    def command(self, byte):
        if byte in (WILL, WONT, DO, DONT):
            self.verb = byte
            return self.negotiation
        if byte == SB:
            return self.subnegotiation
        if byte != NOP:
            raise Malformed("no such command")
        return self.text

    def negotiation(self, byte):
        if self.verb == DO:
            self.send(bytes([IAC, WONT, byte]))
        elif self.verb == WILL and byte == TERMINAL_TYPE:
            self.send(bytes([IAC, SB, TERMINAL_TYPE, 1, IAC, SE]))
        elif self.verb == WILL:
            self.send(bytes([IAC, DONT, byte]))
        return self.text

    def subnegotiation(self, byte):
        if byte == IAC:
            return self.end_of_subnegotiation
        self.option.append(byte)
        return self.subnegotiation

    def end_of_subnegotiation(self, byte):
        if byte == IAC:
            self.option.append(byte)
            return self.subnegotiation
        option = bytes(self.option)
        self.option.clear()
        if byte != SE or option[:2] != bytes([TERMINAL_TYPE, IS]) or not TERMINAL.fullmatch(option, 2):
            raise Malformed("no such option")
        self.terminal = option[2:].lower()
        return self.text


class BoundedTelnetShell(TelnetShell):
    def subnegotiation(self, byte):
        if len(self.option) > 42:
            raise Malformed("option too long")
        return super().subnegotiation(byte)


PAIRS = [
    # Fault: a line and a literal have a bound, a command of any number of them has none.
    Pair(
        "imap-literals", 2, Literals, BoundedLiterals,
        [
            b"a1 NOOP\r\n",
            b"a2 LOGIN ada {9}\r\nlove lace\r\n",
            b"a3 SEARCH SUBJECT {9}\r\non Friday SUBJECT Re\r\n",
            b"a4 SEARCH SUBJECT Invoice\r\n",
            b"a5 LOGOUT\r\n",
        ],
        {},
    ),
    # Fault: a client may prepare any number of named statements, which are kept until it closes them.
    Pair(
        "postgres-statements", 2, Statements, FewStatements,
        [
            pack(">II", 23, 196608) + b"user\0ada\0db\0x\0\0",
            message(b"Q", text(b"SELECT 1")),
            message(b"P", text(b"one") + text(b"SELECT $1") + b"\0\0"),
            message(b"D", b"S" + text(b"one")),
            message(b"S"),
            message(b"P", text(b"") + text(b"BEGIN") + b"\0\0"),
            message(b"C", b"S" + text(b"one")),
            message(b"S"),
            message(b"X"),
        ],
        {"kept": 6000},
    ),
    # Fault: the bytes of a subnegotiation are gathered until its end comes, however many they are.
    Pair(
        "telnet-option", 2, TelnetShell, BoundedTelnetShell,
        [
            bytes([IAC, WILL, TERMINAL_TYPE]),
            bytes([IAC, SB, TERMINAL_TYPE, IS]) + b"VT100" + bytes([IAC, SE]),
            b"term\r\n",
            bytes([IAC, DO, 1, IAC, WILL, 31, IAC, NOP]) + b"hello there\r\n",
            b"quit\r\n",
        ],
        {},
    ),
]  # fmt: skip
