"""Right handlers that are slow on purpose, answer by the time, or share state; and those of other kinds."""

import http.server
import json
import re
from functools import partial
from types import SimpleNamespace

from handlers import (
    DatagramHandler,
    DatagramRequestHandler,
    Delay,
    Exactly,
    Flushed,
    Packet,
    StreamHandler,
    StreamRequestHandler,
    TimedOut,
    ToEnd,
    Until,
    World,
)
from handlers.http import http_request

from . import Right
from .lines import Head

LINES = b"one\r\ntwo\r\n"


class Tarpit(StreamHandler):
    """Answers a wrong password after two seconds, three times."""

    async def handle(self):
        for _ in range(3):
            if await Until(b"\n", limit=64) == b"sesame\n":
                self.send(b"welcome\n")
                self.send(await Until(b"\n", limit=64))
                return
            await Delay(2)
            self.send(b"no\n")


class Drips(StreamHandler):
    """Sends one word a second, as a teleprinter."""

    async def handle(self):
        for word in (await Until(b"\n", limit=80)).split():
            self.send(word + b"\n")
            await Flushed()
            await Delay(1)


class Clock(StreamHandler):
    """Tells the time."""

    async def handle(self):
        while True:
            await Until(b"\n", limit=16)
            self.send(b"%d\n" % self.now())


class Sessions(StreamHandler):
    """A login is good for a minute."""

    def __init__(self):
        self.until = 0.0

    def handle(self):
        return Until(b"\n", limit=40), self.line

    def line(self, data):
        if data == b"login\n":
            self.until = self.now() + 60
        self.send(b"yes\n" if self.now() < self.until else b"no\n")
        return self.handle()


class Bucket(StreamHandler):
    """Lets ten lines a second through, and answers the others."""

    async def handle(self):
        tokens, last = 10.0, self.now()
        while True:
            line = await Until(b"\n", limit=40)
            now = self.now()
            tokens, last = min(10.0, tokens + 10 * (now - last)), now
            if tokens >= 1:
                tokens -= 1
                self.send(line)
            else:
                self.send(b"slow down\n")


class Beats(StreamHandler):
    """Asks a quiet client whether it is there; gives up after two beats without any answer."""

    timeout = 10

    async def handle(self):
        missed = 0
        while missed < 3:
            try:
                line = await Until(b"\n", limit=40)
            except TimedOut:  # noqa: PERF203  # each line may time out
                missed += 1
                self.send(b"PING\n")
            else:
                missed = 0
                if line != b"PONG\n":
                    self.send(line.upper())


class SaysGoodbye(StreamHandler):
    """Says why it ends."""

    timeout = 30

    def handle(self):
        return Until(b"\n", limit=20), self.line

    def line(self, data):
        self.send(data)
        return self.handle()

    def interrupted(self, cause):
        self.send(b"bye: %b\n" % type(cause).__name__.encode())


class CountsAll(StreamHandler):
    """Counts the lines of all clients."""

    count = 0

    async def handle(self):
        while True:
            await Until(b"\n", limit=16)
            CountsAll.count += 1
            self.send(b"%d\n" % CountsAll.count)


class Board(StreamHandler):
    """A board for all clients, of the last eight lines."""

    board = []

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=32)
            if line == b"read\n":
                self.send(b"".join(self.board) + b".\n")
            else:
                self.board[:] = [*self.board[-7:], line]
                self.send(b"ok\n")


class Cached(StreamHandler):
    """Shares a cache of 64 answers, which changes no answer."""

    cache = {}

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=32)
            if line not in self.cache:
                if len(self.cache) >= 64:
                    self.cache.clear()
                self.cache[line] = line[-2::-1] + b"\n"
            self.send(self.cache[line])


class Registered(StreamHandler):
    """Is in a table of its server while it is open."""

    async def handle(self):
        self.server.open[self.peer] = self
        while True:
            self.send(await Until(b"\n", limit=16))

    def finish(self):
        self.server.open.pop(self.peer, None)


class Nonce(StreamHandler):
    """Asks for a number that its server has drawn."""

    async def handle(self):
        nonce = self.server.draw()
        self.send(nonce + b"\n")
        self.send(b"yes\n" if await Until(b"\n", limit=16) == nonce + b"\n" else b"no\n")


class Greeting(StreamHandler):
    """Takes arguments."""

    def __init__(self, word, most=40):
        self.word, self.most = word, most

    async def handle(self):
        self.send(self.word)
        while True:
            self.send(self.word + b", " + await Until(b"\n", limit=self.most))


class Whole(StreamHandler):
    """Answers with the size of all that has come, when the client has ended."""

    async def handle(self):
        self.send(b"%d" % len(await ToEnd(limit=100_000)))


class HalfCloses(StreamHandler):
    """Ends its own side first."""

    async def handle(self):
        self.send(await Exactly(4))
        self.send_eof()
        await ToEnd(limit=1_000)


class Levels(StreamHandler):
    """Measures how deep lists are nested, without recursion."""

    async def handle(self):
        while True:
            depth = deepest = 0
            for byte in await Until(b"\n", limit=4_096):
                depth += (byte == ord("[")) - (byte == ord("]"))
                deepest = max(deepest, depth)
            self.send(b"%d\n" % deepest if not depth else b"unbalanced\n")


class Json(StreamHandler):
    """A document on each line."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=65_536)
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                self.send(b'"error"\n')
            else:
                self.send(b'"%b"\n' % type(value).__name__.encode())


# Blocking handlers


class Lower(StreamRequestHandler):
    request = Until(b"\r\n", limit=80)

    def handle(self):
        self.wfile.write(self.rfile.readline().lower())


class LowerPacket(DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read().lower())


class Page(http.server.BaseHTTPRequestHandler):
    request = http_request
    protocol_version = "HTTP/1.1"

    def version_string(self):
        return "test"

    def date_time_string(self, timestamp=None):
        return "today"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"hi")


# Datagrams


class ReadsFile(DatagramHandler):
    """Sends three blocks, each when the one before is acknowledged; sends again after a timeout, three times."""

    timeout = 5
    blocks = b"one", b"two", b"three"

    async def handle(self):
        if await Packet() != b"read":
            return
        for number, block in enumerate(self.blocks):
            self.send(b"%d %b" % (number, block))
            missed = 0
            while True:
                try:
                    if await Packet() == b"ack %d" % number:
                        break
                except TimedOut:
                    missed += 1
                    if missed > 3:
                        return
                    self.send(b"%d %b" % (number, block))


class WritesFile(DatagramHandler):
    """Acknowledges blocks, also one that comes again."""

    timeout = 5

    async def handle(self):
        if await Packet() != b"write":
            return
        self.send(b"ack")
        expected = 0
        while expected < 100:
            number, _, _ = (await Packet()).partition(b" ")
            if number == b"%d" % expected:
                expected += 1
                self.send(b"ack " + number)
            elif number == b"%d" % (expected - 1):
                self.send(b"ack " + number)
            elif number == b"end":
                return


class Ntp(DatagramHandler):
    """Answers with the time, in a packet of 48 bytes."""

    def handle(self):
        return Packet(), self.question

    def question(self, data):
        if len(data) == 48 and data[0] & 7 == 3:
            seconds = int(self.now()) + 2_208_988_800
            self.send(b"\x24" + bytes(39) + seconds.to_bytes(4, "big") + bytes(4))


class Names(DatagramHandler):
    """Answers that no name exists."""

    async def handle(self):
        query = await Packet()
        if len(query) >= 12 and not query[2] & 0x80:
            self.send(query[:2] + b"\x81\x83" + bytes(8))


class Gauge(DatagramHandler):
    """Takes one number in a packet, and answers nothing to other packets."""

    async def handle(self):
        if re.fullmatch(rb"[a-z]{1,8}:[0-9]{1,6}\|c", await Packet()):
            self.send(b"ok")


class Mapped(DatagramHandler):
    """Tells the address of the client, as STUN does."""

    async def handle(self):
        if (await Packet())[:2] == b"\0\1":
            host, port, *_ = self.peer
            self.send(b"%b" % host.encode() + b" " + (b"a port" if port else b"no port"))


def in_a_minute():
    return 1_000_000_060.0


CORPUS = [
    Right(Tarpit, b"guess\nsesame\nhello\n"),
    Right(Drips, b"one two three\n"),
    Right(Clock, b"now\nnow\n"),
    Right(Clock, b"now\n", {"world": World(now=in_a_minute)}),
    Right(Sessions, b"who\nlogin\nwho\n"),
    Right(Bucket, b"a\n" * 12),
    Right(Beats, b"one\nPONG\ntwo\n"),
    Right(SaysGoodbye, b"one\ntwo\n"),
    Right(CountsAll, b"a\nb\n", {"meant": ["leaves_nothing_behind"]}),
    Right(Board, b"one\nread\n", {"meant": ["leaves_nothing_behind"]}),
    Right(Cached, b"one\ntwo\none\n"),
    Right(Registered, b"one\ntwo\n", {"server": SimpleNamespace(open={})}),
    Right(Nonce, b"4711\n", {"server": SimpleNamespace(draw=lambda: b"4711")}),
    Right(partial(Greeting, b"hello", most=20), LINES),
    Right(Whole, b"hello"),
    Right(HalfCloses, b"ping and more"),
    Right(Levels, b"[1,[2]]\n[]\n"),
    Right(Json, b'{"a": [1, 2]}\n[]\n7\n'),
    Right(Lower, LINES.upper()),
    Right(LowerPacket, [b"ONE", b"TWO"]),
    Right(Page, b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n"),
    Right(ReadsFile, [b"read", b"ack 0", b"ack 1", b"ack 2"]),
    Right(WritesFile, [b"write", b"0 one", b"1 two", b"2 three", b"end"]),
    Right(Ntp, [b"\x23" + bytes(47), b"\x23" + bytes(47)]),
    Right(Names, [b"\0\7\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1"]),
    Right(Gauge, [b"hits:1|c", b"misses:20|c"]),
    Right(Mapped, [b"\0\1\0\0", b"\0\1\0\0"]),
    Right(Head, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
]
