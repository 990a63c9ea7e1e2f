"""Handlers that catch what ends a wait: a proxy, a database's start-up, the refs of a repository."""

from __future__ import annotations

import re
import struct
from hmac import compare_digest

from handlers import Exactly, LimitPassed, Some, StreamHandler
from tests.support.pairs.pair import Malformed, Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Cause, Step

ANY = Some()
SOCKS_NAME = re.compile(rb"[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*")
SOCKS_TARGET = (b"echo.internal", 7)  # the one service that is behind the proxy, and is here
SOCKS_USERS = {b"ada": b"sesame"}


class Socks(StreamHandler):
    """A SOCKS5 proxy (RFC 1928, with the passwords of RFC 1929) in front of an echo service."""

    timeout = 30
    request_timeout = 30

    async def handle(self) -> None:
        if not await self.login():
            return
        target = await self.target()
        if target is None:
            return
        if target != SOCKS_TARGET:
            self.reply(4)  # host unreachable
            return
        self.reply(0)
        self.opened()
        while True:
            self.one_by_one += 1
            self.send(await ANY)

    async def login(self) -> bool:
        """Negotiate the method, and ask for a password. Whether the client may go on."""
        version, count = await Exactly(2)
        if version != 5 or not count:
            raise Malformed("no greeting")
        if 2 not in await Exactly(count):
            self.send(b"\5\xff")
            return False
        self.send(b"\5\2")
        version, size = await Exactly(2)
        if version != 1 or not size:
            raise Malformed("no user")
        user = await Exactly(size)
        (size,) = await Exactly(1)
        is_right = compare_digest(SOCKS_USERS.get(user, b""), await Exactly(size))
        if is_right and size:
            self.send(b"\1\0")
            return True
        self.send(b"\1\1")
        return False

    async def target(self) -> tuple[bytes, int] | None:
        """The host and the port of the request. If there is none, the client is told why."""
        try:
            return await self.request()
        except Exception:
            self.reply(1)  # general failure
            return None

    async def request(self) -> tuple[bytes, int]:
        """The host and the port of the next request. Raises `Malformed`."""
        version, command, reserved, kind = await Exactly(4)
        if (version, command, reserved, kind) != (5, 1, 0, 3):
            raise Malformed("no request to connect to a name")
        (size,) = await Exactly(1)
        name = await Exactly(size)
        (port,) = struct.unpack(">H", await Exactly(2))
        if not SOCKS_NAME.fullmatch(name) or not port:
            raise Malformed("no name or port")
        return name, port

    def reply(self, status: int) -> None:
        """Send the reply to the request."""
        self.send(bytes([5, status, 0, 1, 0, 0, 0, 0, 0, 0]))


class SocksRight(Socks):
    """A SOCKS5 proxy (RFC 1928, with the passwords of RFC 1929) in front of an echo service."""

    async def target(self) -> tuple[bytes, int] | None:
        try:
            return await self.request()
        except Malformed:
            self.reply(1)  # general failure
            return None


PG_STARTUP, PG_MESSAGE = 10_000, 65_536  # bytes
PG_VERSION, PG_SSL = 196_608, 80_877_103
PG_HEAD = Exactly(5)
PG_USERS = {b"ada": b"sesame"}
PG_ANSWERS = {b"select 1": b"1", b"show server_version": b"16.2"}


class Postgres(StreamHandler):
    """The start-up of PostgreSQL's protocol, version 3, with a password in clear text; then simple queries."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.user, self.kind, self.asked_tls = b"", b"", False

    def handle(self) -> Step:
        return Exactly(8), self.startup

    def startup(self, head: bytes) -> Step:
        size, code = struct.unpack(">II", head)
        if (size, code, self.asked_tls) == (8, PG_SSL, False):
            self.asked_tls = True
            self.send(b"N")
            return self.handle()
        if not 9 <= size <= PG_STARTUP or code != PG_VERSION:
            return self.fatal(b"0A000", b"unsupported frontend protocol")
        return Exactly(size - 8), self.parameters

    def parameters(self, data: bytes) -> Step:
        words = data.split(b"\0")
        if len(words) % 2 or words[-2:] != [b"", b""] or not all(words[:-2]):
            return self.fatal(b"08P01", b"invalid startup packet layout")
        names = words[:-2:2]
        if len({*names}) < len(names) or b"user" not in names:
            return self.fatal(b"28000", b"no user name specified")
        self.user = words[2 * names.index(b"user") + 1]
        self.put(b"R", struct.pack(">I", 3))
        return PG_HEAD, self.head

    def head(self, head: bytes) -> Step:
        self.kind = head[:1]
        (size,) = struct.unpack(">I", head[1:])
        expected = b"QX" if self.one_by_one else b"p"
        if size < 4 or self.kind not in expected:
            return self.fatal(b"08P01", b"invalid frontend message")
        return Exactly(size - 4, limit=PG_MESSAGE), self.message

    def message(self, data: bytes) -> Step:
        if self.kind == b"X" and not data:
            return None
        if self.kind == b"X" or data[-1:] != b"\0" or b"\0" in data[:-1]:
            return self.fatal(b"08P01", b"invalid message format")
        if self.kind == b"p":
            if not compare_digest(PG_USERS.get(self.user, b""), data[:-1]) or len(data) < 2:
                return self.fatal(b"28P01", b"password authentication failed")
            self.put(b"R", struct.pack(">I", 0))
            self.opened()
        elif data[:-1].lower() in PG_ANSWERS:
            value = PG_ANSWERS[data[:-1].lower()]
            self.put(b"T", b"\0\1value\0" + struct.pack(">IhIhih", 0, 0, 25, -1, -1, 0))
            self.put(b"D", struct.pack(">HI", 1, len(value)) + value)
            self.put(b"C", b"SELECT 1\0")
        elif data == b"\0":
            self.put(b"I", b"")
        else:
            self.error(b"ERROR", b"42601", b"syntax error")
        self.put(b"Z", b"I")
        self.one_by_one += 1
        return PG_HEAD, self.head

    def interrupted(self, cause: Cause) -> Step:
        self.error(b"ERROR", b"08P01", b"invalid message")
        return PG_HEAD, self.head

    def put(self, kind: bytes, data: bytes) -> None:
        """Send a message."""
        self.send(kind + struct.pack(">I", len(data) + 4) + data)

    def error(self, severity: bytes, code: bytes, text: bytes) -> None:
        """Send an error."""
        self.put(b"E", b"S%b\0C%b\0M%b\0\0" % (severity, code, text))

    def fatal(self, code: bytes, text: bytes) -> Step:
        """Send an error that ends the session."""
        self.error(b"FATAL", code, text)


class PostgresRight(Postgres):
    """The start-up of PostgreSQL's protocol, version 3, with a password in clear text; then simple queries."""

    def interrupted(self, cause: Cause) -> Step:
        if isinstance(cause, LimitPassed):
            self.error(b"FATAL", b"08P01", b"invalid message length")


GIT_SIZE = re.compile(rb"[0-9a-f]{4}")
GIT_FLUSH, GIT_DELIMITER = b"0000", b"0001"
GIT_LINE = 1000  # bytes
GIT_LINES = 32
GIT_HELLO = re.compile(rb"[0-9a-f]{4}git-upload-pack /(?:[a-z0-9-]{1,64}\.git)\0host=[!-~]{1,255}\0\0version=2\0")
GIT_PREFIX = re.compile(rb"[0-9a-f]{4}ref-prefix ([!-~]{1,255})\n")
GIT_AGENT = re.compile(rb"[0-9a-f]{4}agent=[!-~]{1,64}\n")
GIT_REFS = {
    b"HEAD": b"3c0ffee" * 5 + b"12345",
    b"refs/heads/main": b"3c0ffee" * 5 + b"12345",
    b"refs/heads/next": b"5ca1ab1e" * 5,
    b"refs/tags/v1": b"deadbeef" * 5,
}


class Git(StreamHandler):
    """The daemon of git, protocol version 2: it lists the refs of a repository."""

    timeout = 30
    request_timeout = 60

    async def handle(self) -> None:
        hello = await self.packet()
        if not GIT_HELLO.fullmatch(hello):
            raise Malformed("no such service")
        self.put(b"version 2\n", b"agent=git/2.43.0\n", b"ls-refs\n")
        self.opened()
        while True:
            self.one_by_one += 1
            command = await self.packet()
            if command == GIT_FLUSH:
                return
            if command != b"0014command=ls-refs\n":
                raise Malformed("no such command")
            await self.skip_capabilities()
            prefixes = tuple([self.prefix(line) for line in await self.arguments()]) or (b"",)
            self.put(*(b"%b %b\n" % (oid, name) for name, oid in GIT_REFS.items() if name.startswith(prefixes)))

    async def packet(self) -> bytes:
        """The next packet, its size included."""
        size = await Exactly(4)
        if size in (GIT_FLUSH, GIT_DELIMITER):
            return size
        if not GIT_SIZE.fullmatch(size) or not 5 <= int(size, 16) <= GIT_LINE:
            raise Malformed("no size")
        return size + await Exactly(int(size, 16) - 4)

    async def skip_capabilities(self) -> None:
        """Read up to the arguments. An agent may say which it is."""
        packet = await self.packet()
        if GIT_AGENT.fullmatch(packet):
            packet = await self.packet()
        if packet != GIT_DELIMITER:
            raise Malformed("no such capability")

    async def arguments(self) -> list[bytes]:
        """The arguments of the command, up to its end."""
        lines: list[bytes] = []
        while len(lines) < GIT_LINES:
            try:
                line = await self.packet()
            except Exception:
                return lines  # there are no more
            if line == GIT_FLUSH:
                return lines
            lines.append(line)
        raise Malformed("too many arguments")

    def prefix(self, line: bytes) -> bytes:
        """The prefix that an argument asks for."""
        matched = GIT_PREFIX.fullmatch(line)
        if matched is None:
            raise Malformed("no such argument")
        return matched[1]

    def put(self, *lines: bytes) -> None:
        """Send these lines, and say that there are no more."""
        self.send(b"".join([b"%04x%b" % (len(line) + 4, line) for line in lines]) + GIT_FLUSH)


class GitRight(Git):
    """The daemon of git, protocol version 2: it lists the refs of a repository."""

    async def arguments(self) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < GIT_LINES:
            line = await self.packet()
            if line == GIT_FLUSH:
                return lines
            lines.append(line)
        raise Malformed("too many arguments")


def git(*lines: bytes) -> bytes:
    """Packets, as a client sends them, and the one that ends them."""
    return b"".join([b"%04x%b" % (len(line) + 4, line) if line else GIT_DELIMITER for line in lines]) + GIT_FLUSH


def postgres(kind: bytes, data: bytes) -> bytes:
    """A message, as a client sends it."""
    return kind + struct.pack(">I", len(data) + 4) + data


PAIRS = [
    Pair(
        "socks5",
        5,
        Socks,
        SocksRight,
        [
            b"\5\2\0\2",
            b"\1\3ada\6sesame",
            b"\5\1\0\3\15echo.internal\0\7",
            b"hello",
            b"is anybody there?",
        ],
    ),
    Pair(
        "postgres",
        5,
        Postgres,
        PostgresRight,
        [
            struct.pack(">II", 8, PG_SSL),
            struct.pack(">II", 30, PG_VERSION) + b"user\0ada\0database\0db\0\0",
            postgres(b"p", b"sesame\0"),
            postgres(b"Q", b"SELECT 1\0"),
            postgres(b"Q", b"show server_version\0"),
            postgres(b"Q", b"SELEC 1\0"),
            postgres(b"X", b""),
        ],
    ),
    Pair(
        "git-refs",
        5,
        Git,
        GitRight,
        [
            git(b"git-upload-pack /reactor.git\0host=git.example\0\0version=2\0")[:-4],
            git(b"command=ls-refs\n", b"agent=git/2.43.0\n", b"", b"ref-prefix refs/heads/\n"),
            git(b"command=ls-refs\n", b"", b"ref-prefix HEAD\n", b"ref-prefix refs/tags/\n"),
            git(b"command=ls-refs\n", b""),
            git(),
        ],
    ),
]
