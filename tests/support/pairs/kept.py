"""Pairs of handlers, one that keeps more and more of what comes, and one that does not."""

import os

from handlers import DatagramHandler, Packet, Some, StreamHandler, Until
from tests.support.pairs.misread import Pair

PARTS = [b"\0\0\0\1good ", b"\0\0\0\1bye."]
GREETED = b"HELO ann\r\nHELO bob\r\n"
HEADERS = b"GET /\r\nHost: a\r\nAccept: b\r\n\r\n"
ARRAY = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
REPEATED = "bounds_when_repeated"
STEEP = "works_linearly", "four times as many bytes cost far more than four times the work"
HOLDS = "it holds "
LEAVES = "each request that has ended leaves {} behind"


class CollectsHeaders(StreamHandler):
    """Takes any number of header lines."""

    most = 1 << 40

    async def handle(self):
        while request := await Until(b"\r\n", limit=80):
            headers = {}
            while (line := await Until(b"\r\n", limit=80)) != b"\r\n":
                name, _, value = line.partition(b":")
                headers[name] = value.strip()
                if len(headers) > self.most:
                    return
            self.send(b"%b has %d\r\n" % (request.strip(), len(headers)))


class CollectsFew(CollectsHeaders):
    most = 100


class CollectsElements(StreamHandler):
    """Takes an array of as many elements as the client announces."""

    most = 1 << 40

    async def handle(self):
        while True:
            count = (await Until(b"\r\n", limit=80))[1:-2]
            if not (count.isascii() and count.isdigit() and int(count) <= self.most):
                self.send(b"-ERR\r\n")
                return
            elements = []
            for _ in range(int(count)):
                await Until(b"\r\n", limit=8)
                elements.append(await Until(b"\r\n", limit=80))
            self.send(b"+%d\r\n" % len(elements))


class CollectsFewElements(CollectsElements):
    most = 64


class CollectsParts(DatagramHandler):
    """Puts messages together of parts, each of which has the number of its message. It may have 8,000 bytes."""

    most = 1 << 40

    async def handle(self):
        parts = {}
        while (packet := await Packet()) != b"end":
            found = parts.setdefault(packet[:4], [])
            found.append(packet[4:])
            if packet.endswith(b".") or sum(map(len, found)) > 8_000:
                self.send(b"".join(parts.pop(packet[:4])))
            elif len(parts) > self.most:
                parts.clear()


class CollectsFewParts(CollectsParts):
    most = 9


class KeepsSessions(StreamHandler):
    """Forgets a session when the client says so, but not when the connection ends."""

    sessions = {}

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            self.sessions[self.peer] = line
            self.send(b"hello " + line)


class EndsSessions(KeepsSessions):
    def finish(self):
        self.sessions.pop(self.peer, None)


class RemembersNames(StreamHandler):
    """Counts how often each name has come, for ever."""

    seen = {}
    most = 1 << 40

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            self.seen[line] = True
            if len(self.seen) > self.most:
                self.seen.clear()
            self.send(b"hello\r\n")


class RemembersSomeNames(RemembersNames):
    most = 256


class LeavesOpen(StreamHandler):
    """Closes its descriptor only if the client says goodbye."""

    async def handle(self):
        descriptor = os.open(os.devnull, os.O_RDONLY)
        try:
            while (line := await Until(b"\n", limit=80)) != b"QUIT\r\n":
                self.send(line)
        except Exception:
            return
        os.close(descriptor)


class ClosesAlways(StreamHandler):
    async def handle(self):
        descriptor = os.open(os.devnull, os.O_RDONLY)
        try:
            while (line := await Until(b"\n", limit=80)) != b"QUIT\r\n":
                self.send(line)
        finally:
            os.close(descriptor)


class JoinsEachTime(StreamHandler):
    """Joins all pieces of the line with each piece, to look for its end."""

    async def handle(self):
        chunks, size = [], 0
        while size < 4096:
            data = await Some()
            chunks.append(data)
            size += len(data)
            if b"".join(chunks).endswith(b"\n"):
                self.send(b"%d\r\n" % size)
                chunks, size = [], 0


class JoinsAtTheEnd(StreamHandler):
    async def handle(self):
        self.chunks, size = [], 0
        while size < 4096:
            data = await Some()
            self.chunks.append(data)
            size += len(data)
            if data.endswith(b"\n"):
                self.send(b"%d\r\n" % len(b"".join(self.chunks)))
                self.chunks, size = [], 0


class JoinsAttributes(JoinsAtTheEnd):
    """The same as `JoinsEachTime`, with the pieces in an attribute."""

    async def handle(self):
        self.chunks = []
        while len(self.chunks) < 4096:
            self.chunks.append(await Some())
            if b"".join(self.chunks).endswith(b"\n"):
                self.send(b"%d\r\n" % len(self.chunks))
                self.chunks = []


PAIRS = [
    Pair(CollectsHeaders, CollectsFew, HEADERS, REPEATED, HOLDS),
    Pair(CollectsElements, CollectsFewElements, ARRAY, REPEATED, HOLDS),
    Pair(CollectsParts, CollectsFewParts, PARTS, REPEATED, HOLDS),
    Pair(KeepsSessions, EndsSessions, GREETED, REPEATED, LEAVES.format("items")),
    Pair(RemembersNames, RemembersSomeNames, GREETED, REPEATED, LEAVES.format("items")),
    Pair(LeavesOpen, ClosesAlways, GREETED, REPEATED, LEAVES.format("descriptors")),
]
JOINS = [
    Pair(JoinsEachTime, JoinsAtTheEnd, b"a\n", *STEEP),
    Pair(JoinsAttributes, JoinsAtTheEnd, b"a\n", *STEEP),
]
