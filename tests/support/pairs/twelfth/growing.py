"""Handlers that keep what comes in many small pieces: the head of a request, channels, files to print."""

from __future__ import annotations

import re

from handlers import Exactly, StreamHandler, Until
from tests.support.pairs.pair import Malformed, Pair, fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from handlers import Step

HTTP_LINE = Until(b"\r\n", limit=4096)
HTTP_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.1")
HTTP_LENGTH = re.compile(rb"0|[1-9][0-9]{0,5}")
HTTP_BODY = 65_536  # bytes
HTTP_FIELDS = 64
HTTP_PAGES = {b"/": b"welcome\n", b"/status": b"ok\n"}


class Refused(Exception):
    """A request that is answered by an error, which ends the connection."""


class Web(StreamHandler):
    """A small HTTP/1.1 server: pages, and a place that counts the bytes that are posted to it."""

    timeout = 30
    request_timeout = 30

    async def handle(self) -> None:
        while True:
            self.one_by_one += 1
            line = await HTTP_LINE
            try:
                method, path = self.request_line(line[:-2])
                found = fields(await self.head())
                length = self.length(found)
            except Refused as refused:
                self.answer(str(refused).encode(), b"", close=True)
                return
            except Malformed:
                self.answer(b"400 Bad Request", b"", close=True)
                return
            body = await Exactly(length, limit=HTTP_BODY)
            close = b"close" in found.get(b"connection", b"").lower().replace(b" ", b"").split(b",")
            self.respond(method, path, body, close=close)
            if close:
                return

    def request_line(self, line: bytes) -> tuple[bytes, bytes]:
        """The method and the path."""
        matched = HTTP_REQUEST.fullmatch(line)
        if matched is None:
            raise Malformed("no request")
        return matched[1], matched[2]

    async def head(self) -> list[bytes]:
        """The lines of the head, up to the empty one."""
        lines = []
        while line := (await HTTP_LINE)[:-2]:
            lines.append(line)
        return lines

    def length(self, found: dict[bytes, bytes]) -> int:
        """How many bytes the body has."""
        if not found.get(b"host"):
            raise Malformed("no host")
        if b"transfer-encoding" in found:
            raise Refused("501 Not Implemented")
        if b"expect" in found:
            raise Refused("417 Expectation Failed")
        digits = found.get(b"content-length", b"0")
        if not HTTP_LENGTH.fullmatch(digits):
            raise Malformed("no length")
        if int(digits) > HTTP_BODY:
            raise Refused("413 Content Too Large")
        return int(digits)

    def respond(self, method: bytes, path: bytes, body: bytes, *, close: bool) -> None:
        """Answer a request that is well-formed."""
        if method == b"POST" and path == b"/count":
            self.answer(b"200 OK", b"%d\n" % len(body), close=close)
        elif path not in HTTP_PAGES:
            self.answer(b"404 Not Found", b"", close=close)
        elif method != b"GET":
            self.answer(b"405 Method Not Allowed", b"", close=close)
        else:
            self.answer(b"200 OK", HTTP_PAGES[path], close=close)

    def answer(self, status: bytes, body: bytes, *, close: bool) -> None:
        """Send a response."""
        last = b"Connection: close\r\n" if close else b""
        self.send(b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n%b" % (status, len(body), last, body))


class WebRight(Web):
    """A small HTTP/1.1 server: pages, and a place that counts the bytes that are posted to it."""

    async def head(self) -> list[bytes]:
        lines: list[bytes] = []
        while line := (await HTTP_LINE)[:-2]:
            if len(lines) == HTTP_FIELDS:
                raise Refused("431 Request Header Fields Too Large")
            lines.append(line)
        return lines


IRC_LINE = Until(b"\r\n", limit=512)
IRC_MESSAGE = re.compile(rb"([A-Za-z]{1,16})((?: [!-9;-~][!-~]*)*)(?: :([^\0\r\n]*))?")
IRC_NICK = re.compile(rb"[A-Za-z\[-`{-}][A-Za-z0-9\[-`{-}-]{0,15}")
IRC_CHANNEL = re.compile(rb"#[!-+\--9;-~]{1,49}")
IRC_CHANNELS = 20
IRC_WORDS = {b"JOIN": (1,), b"PART": (1, 2), b"PRIVMSG": (2,)}


class Irc(StreamHandler):
    """A server of IRC with one person on it."""

    timeout = 120
    request_timeout = 60

    def setup(self) -> None:
        self.nick, self.user = b"", b""
        self.channels: set[bytes] = set()

    def handle(self) -> Step:
        self.one_by_one += 1
        return IRC_LINE, self.line

    def line(self, line: bytes) -> Step:
        if line == b"\r\n":  # which RFC 2812, section 2.3.1, says to ignore
            return self.handle()
        matched = IRC_MESSAGE.fullmatch(line[:-2])
        if matched is None:
            raise Malformed("no message")
        words = matched[2].split() + ([] if matched[3] is None else [matched[3]])
        verb = matched[1].upper()
        if verb == b"QUIT":
            self.put(b"ERROR :Closing link")
            return None
        if verb == b"PING" and len(words) == 1:
            self.put(b":irc.example PONG irc.example :" + words[0])
        elif verb in (b"NICK", b"USER"):
            self.register(verb, words)
        elif not (self.nick and self.user):
            self.reply(451, b":You have not registered")
        elif len(words) in IRC_WORDS.get(verb, ()):
            for name in words[0].split(b","):
                self.act(verb, name, words[1:])
        else:
            self.reply(421, verb + b" :Unknown command, or parameters that it has not")
        return self.handle()

    def register(self, verb: bytes, words: list[bytes]) -> None:
        """The client says who it is."""
        before = self.nick and self.user
        if verb == b"NICK" and not self.nick and len(words) == 1 and IRC_NICK.fullmatch(words[0]):
            self.nick = words[0]
        elif verb == b"USER" and not self.user and len(words) == 4 and IRC_NICK.fullmatch(words[0]):
            self.user = words[0]
        else:
            self.reply(462, b":You may not register so")
        if self.nick and self.user and not before:
            self.reply(1, b":Welcome " + self.nick)

    def act(self, verb: bytes, name: bytes, words: list[bytes]) -> None:
        """Join a channel, leave it, or say something there or to oneself."""
        if verb == b"PRIVMSG" and name == self.nick:
            self.say(b"PRIVMSG %b :%b" % (name, words[0]))
        elif not IRC_CHANNEL.fullmatch(name):
            self.reply(403, b":No such channel")
        elif verb == b"JOIN":
            if name not in self.channels:
                self.join(name)
        elif name not in self.channels:
            self.reply(442, name + b" :You're not on that channel")
        elif verb == b"PART":
            self.channels.remove(name)
            self.say(b" :".join([b"PART " + name, *words]))

    def join(self, name: bytes) -> None:
        """Join a channel."""
        self.channels.add(name)
        self.say(b"JOIN " + name)
        self.reply(353, b"= %b :@%b" % (name, self.nick))
        self.reply(366, name + b" :End of /NAMES list")

    def say(self, text: bytes) -> None:
        """Send what all in the channel hear."""
        self.put(b":%b!%b@client.example %b" % (self.nick, self.user, text))

    def reply(self, number: int, text: bytes) -> None:
        """Send a numeric reply."""
        self.put(b":irc.example %03d %b %b" % (number, self.nick or b"*", text))

    def put(self, line: bytes) -> None:
        """Send a line, which is no longer than the protocol allows."""
        self.send(line[:510] + b"\r\n")


class IrcRight(Irc):
    """A server of IRC with one person on it."""

    def join(self, name: bytes) -> None:
        if len(self.channels) >= IRC_CHANNELS:
            self.reply(405, name + b" :You have joined too many channels")
        else:
            super().join(name)


LPD_LINE = Until(b"\n", limit=128)
LPD_QUEUE = re.compile(rb"[a-z][a-z0-9-]{0,31}")
LPD_FILE = re.compile(rb"([1-9][0-9]{0,5}) ((?:cf|df)[A-Za-z][0-9]{3}[!-~]{1,60})")
LPD_SIZE = 65_536  # bytes of a file
LPD_FILES = 8


class Lpd(StreamHandler):
    """A spooler for a printer (RFC 1179): a client sends the files of a job, or asks what waits."""

    timeout = 60
    request_timeout = 60

    def setup(self) -> None:
        self.files: dict[bytes, bytes] = {}
        self.name, self.size = b"", 0

    def handle(self) -> Step:
        self.one_by_one += 1
        return LPD_LINE, self.command

    def command(self, line: bytes) -> Step:
        if not LPD_QUEUE.fullmatch(line[1:-1]):
            raise Malformed("no queue")
        if line[:1] in (b"\3", b"\4"):
            self.send(b"no entries\n")
            return None
        if line[:1] != b"\2":
            raise Malformed("no command")
        self.send(b"\0")
        self.opened()  # the client may leave after any file
        return self.next()

    def next(self) -> Step:
        """Wait for the next file of the job."""
        self.one_by_one += 1
        return LPD_LINE, self.subcommand

    def subcommand(self, line: bytes) -> Step:
        if line == b"\1\n":
            self.files.clear()
            self.send(b"\0")
            return self.next()
        matched = LPD_FILE.fullmatch(line[1:-1])
        if matched is None or line[:1] != {b"c": b"\2", b"d": b"\3"}[matched[2][:1]]:
            raise Malformed("no file")
        self.size, self.name = int(matched[1]), matched[2]
        if self.size > LPD_SIZE or not self.has_room():
            self.send(b"\1")
            return self.next()
        self.send(b"\0")
        return Exactly(self.size + 1), self.contents

    def has_room(self) -> bool:
        """Whether the job can have this file too."""
        return self.name not in self.files

    def contents(self, data: bytes) -> Step:
        if data[-1:] != b"\0":
            raise Malformed("a file that does not end where it should")
        self.files[self.name] = data[:-1]
        self.send(b"\0")
        return self.next()

    def finish(self) -> None:
        if self.reason is None and self.files:
            self.printed(self.files)

    def printed(self, files: dict[bytes, bytes]) -> None:
        """The job is complete. A printer does something here."""


class LpdRight(Lpd):
    """A spooler for a printer (RFC 1179): a client sends the files of a job, or asks what waits."""

    def has_room(self) -> bool:
        return super().has_room() and len(self.files) < LPD_FILES


PAIRS = [
    Pair(
        "http-head",
        2,
        Web,
        WebRight,
        [
            b"GET / HTTP/1.1\r\nHost: www.example\r\nAccept: */*\r\nUser-Agent: curl/8.5.0\r\n\r\n",
            b"POST /count HTTP/1.1\r\nHost: www.example\r\nContent-Length: 11\r\n\r\nhello world",
            b"GET /nothing HTTP/1.1\r\nHost: www.example\r\n\r\n",
            b"GET /status HTTP/1.1\r\nHost: www.example\r\nConnection: close\r\n\r\n",
        ],
    ),
    Pair(
        "irc-channels",
        2,
        Irc,
        IrcRight,
        [
            b"NICK ada\r\nUSER ada 0 * :Ada Lovelace\r\n",
            b"JOIN #python\r\n",
            b"JOIN #c,#reactor\r\n",
            b"PING :12345\r\n",
            b"PRIVMSG ada :a note to myself\r\n",
            b"PART #python\r\n",
            b"QUIT :gone\r\n",
        ],
    ),
    Pair(
        "lpd-job",
        2,
        Lpd,
        LpdRight,
        [
            b"\2lp\n",
            b"\00227 cfA042client\n",
            b"Hclient\nPada\nldfA042client\n\0",
            b"\00313 dfA042client\n",
            b"hello, paper\n\0",
            b"\0036 dfB042client\n",
            b"again\n\0",
        ],
    ),
]
