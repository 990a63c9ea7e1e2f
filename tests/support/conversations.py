"""Handlers of every kind, and for each a conversation that is the same whatever is between it and its client."""

import math
import socket
from typing import NamedTuple

from handlers import (
    BaseRequestHandler,
    Connected,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    LimitPassed,
    Some,
    StreamHandler,
    Threaded,
    TimedOut,
    ToEnd,
    Until,
)
from handlers.services import CharGen, Daytime, Discard, Echo, Time
from tests.support.serving import Conversation, Reverse, Shout, connect, receive, rest, wait_until


class Password:
    """A mix-in that goes first."""

    def handle(self):
        return Until(b"\n", limit=80), self.password

    def password(self, line):
        if line != b"sesame\n":
            self.send(b"no\n")
            return None
        self.send(b"yes\n")
        return super().handle()


class GuardedReverse(Password, Reverse):
    pass


class GuardedConversation(Password, Conversation):
    pass


class Bare(BaseRequestHandler):
    """A blocking handler that uses the socket; a request is eight bytes."""

    request = Exactly(8)

    def handle(self):
        self.request.sendall(receive(self.request, 8).upper())


class Slow(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n")
            await Delay(0.005)
            self.send(line)


class Outside(StreamHandler):
    """Has work done in a child and in a thread; some of it fails."""

    async def handle(self):
        line = await Until(b"\n")
        for kind in Forked, Threaded:
            self.send(b"%d " % await kind(pow, int(line), 3))
            try:
                await kind(divmod, int(line), 0)
            except Failed as failed:
                self.send(b"%b " % type(failed.error).__name__.encode())


class Proxy(StreamHandler):
    """The client's side of a proxy: two rows that feed and end each other."""

    upstream = None

    async def handle(self):
        self.upstream = await Connected(self.server.upstream, Back(self))
        while True:
            try:
                self.upstream.send(await Some())
            except EndOfStream:
                self.upstream.send_eof()
                await Delay(math.inf)
            await Flushed(of=self.upstream)

    def finish(self):
        if self.upstream is not None:
            self.upstream.close()


class Back(StreamHandler):
    def __init__(self, front):
        self.front = front

    async def handle(self):
        while True:
            self.front.send(await Some())
            await Flushed(of=self.front)

    def finish(self):
        self.front.close()


class Flood(StreamHandler):
    """Sends more than any socket buffer takes, piece by piece."""

    async def handle(self):
        for number in range(64):
            self.send(b"%d" % (number % 10) * 100_000)
            await Flushed()


class HalfClosed(StreamHandler):
    async def handle(self):
        self.send(b"bye")
        self.send_eof()
        self.send(b"too late")
        self.server.journal.write(len(await ToEnd()))


class Digest(StreamHandler):
    async def handle(self):
        data = await ToEnd()
        self.send(b"%d %d" % (len(data), sum(data)))


class Patient(StreamHandler):
    """Sends ``?`` once when a line does not come, and waits for the rest of the line."""

    def handle(self):
        return Until(b"\n", timeout=0.03), self.line

    def line(self, data):
        self.send(data)

    def interrupted(self, cause):
        assert isinstance(cause, TimedOut)
        self.send(b"?")
        return Until(b"\n"), self.line


class Short(StreamHandler):
    """Answers a line that is too long or not whole with the cause and the bytes."""

    def handle(self):
        return Until(b"\n", limit=8), self.line

    def line(self, data):
        self.send(data)
        return self.handle()

    def interrupted(self, cause):
        assert isinstance(cause, (LimitPassed, EndOfStream))
        self.send(b"%b %b" % (type(cause).__name__.encode(), cause.partial))


class Broken(StreamHandler):
    """Sends something and raises."""

    async def handle(self):
        line = await Until(b"\n")
        self.send(b"before")
        raise ValueError(line.decode().strip())


class Case(NamedTuple):
    """A conversation: the input and output of each turn, and the output after the half-close of the client."""

    handler: type
    turns: list[tuple[bytes, bytes]]
    last: bytes | None = b""  # None: the client closes while the server sends
    journal: tuple[str, ...] = ()


LINES = b"".join(bytes(0x20 + (first + n) % 95 for n in range(72)) + b"\r\n" for first in range(3_000))
NETSTRINGS = [(b"5:hello,", b"5:olleh,"), (b"0:,", b"0:,"), (b"3:abc,2:de,", b"3:cba,2:ed,")]

CASES = [
    Case(Echo, [(b"hello", b"hello"), (bytes(range(256)), bytes(range(256)))]),
    Case(Discard, [(b"x" * 1_000, b"")]),
    Case(Daytime, [(b"", b"Thursday, January 1, 1976 00:00:00-UTC\r\n")]),
    Case(Time, [(b"", (2_398_291_200).to_bytes(4, "big"))]),  # RFC 868's own example
    Case(CharGen, [(b"", LINES)], None),
    Case(Reverse, NETSTRINGS),
    Case(Conversation, NETSTRINGS),
    Case(GuardedReverse, [(b"sesame\n", b"yes\n"), *NETSTRINGS]),
    Case(GuardedConversation, [(b"sesame\n", b"yes\n"), *NETSTRINGS]),
    Case(GuardedReverse, [(b"guess\n", b"no\n")]),
    Case(Shout, [(b"hello\n", b"HELLO\n")]),
    Case(Bare, [(b"question", b"QUESTION")]),
    Case(Slow, [(b"a\n", b"a\n"), (b"b\nc\n", b"b\nc\n")]),
    Case(Outside, [(b"7\n", b"343 ZeroDivisionError 343 ZeroDivisionError ")]),
    Case(Proxy, [(b"hello", b"hello"), (b"x" * 1_000, b"x" * 1_000)]),
    Case(Flood, [], b"".join(b"%d" % (number % 10) * 100_000 for number in range(64))),
    Case(HalfClosed, [(b"", b"bye"), (b"x" * 1_000, b"")], journal=("1000",)),
    Case(Digest, [(b"abc", b""), (b"de", b"")], b"5 495"),
    Case(Patient, [(b"hel", b"?"), (b"lo\n", b"hello\n")]),
    Case(Short, [(b"short\n", b"short\n"), (b"8 bytes!", b"LimitPassed 8 bytes!")]),
    Case(Short, [(b"short\n", b"short\n"), (b"half", b"")], b"EndOfStream half"),
    Case(Broken, [(b"why\n", b"before")], journal=("handle_error ValueError why",)),
]


def whole(data):
    return [data] if data else []


def converse(server, case, chop):
    """The client of a case."""
    with connect(server) as client:
        for question, answer in case.turns:
            for piece in chop(question):
                client.sendall(piece)
            assert receive(client, len(answer)) == answer
        if case.last is not None:
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == case.last
    wait_until(lambda: not server.reactor.table, "the end of the row")
