"""Handlers that are broken on purpose, each in one way that protocol code is broken in.

Most of them keep buffers of their own over ``Some()``: with ``Until`` and ``Exactly`` these bugs
can't be written, which is what the waits are for. All but the last few answer lines with the same
lines in capitals, as `Mended` does.
"""

from handlers import (
    Cause,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Packet,
    Some,
    StreamHandler,
    StreamRequestHandler,
    Until,
)

CONVERSATION = b"one\r\ntwo\r\n"


class Mended(StreamHandler):
    """What the broken ones should be."""

    def handle(self):
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        self.send(data.upper())
        return self.handle()


class SplitsCRLF(StreamHandler):
    """Takes the end of a chunk for the end of a line when it is between CR and LF."""

    async def handle(self):
        held = b""
        while True:
            held += await Some()
            *lines, held = held.split(b"\r\n")
            if held.endswith(b"\r"):
                lines.append(held)
                held = b""
            for line in lines:
                self.send(line.upper() + b"\r\n")


class SearchesOneTooFar(StreamHandler):
    """Resumes its search behind the last byte that it has seen, and CR LF has two."""

    async def handle(self):
        held, seen = bytearray(), 0
        while True:
            held += await Some()
            while (end := held.find(b"\r\n", seen)) >= 0:
                self.send(held[: end + 2].upper())
                del held[: end + 2]
                seen = 0
            seen = len(held)


class LosesRemainder(StreamHandler):
    """Throws away what comes behind the last whole line of a chunk."""

    def __init__(self):
        self.held = b""

    def handle(self):
        return Some(), self.chunk

    def chunk(self, data):
        *lines, rest = (self.held + data).split(b"\n")
        for line in lines:
            self.send(line.upper() + b"\n")
        self.held = b"" if lines else rest
        return self.handle()


class RemembersOnePiece(StreamHandler):
    """Joins a line of two pieces, and of three the last two."""

    def __init__(self):
        self.held = b""

    def handle(self):
        return Some(limit=80), self.chunk

    def chunk(self, data):
        *lines, rest = (self.held + data).split(b"\n")
        for line in lines:
            self.send(line.upper() + b"\n")
        self.held = rest if lines else data
        return self.handle()


class Rescans(StreamHandler):
    """Looks for the end of the line from its beginning, with every chunk."""

    def __init__(self):
        self.held = bytearray()

    def handle(self):
        return Some(), self.chunk

    def chunk(self, data):
        self.held += data
        while (end := self.held.find(b"\n")) >= 0:
            self.send(self.held[: end + 1].upper())
            del self.held[: end + 1]
        return None if len(self.held) > 4096 else self.handle()


class HoardsInput(StreamHandler):
    """Waits for the end of a line, however long the line."""

    def __init__(self):
        self.chunks = []

    def handle(self):
        return Some(), self.chunk

    def chunk(self, data):
        *lines, rest = data.split(b"\n")
        for line in lines:
            self.send(b"".join([*self.chunks, line]).upper() + b"\n")
            self.chunks.clear()
        self.chunks.append(rest)
        return self.handle()


class SwallowsTheEnd(StreamHandler):
    """Greets; from then on it takes the end of the stream for one more line, and waits for the next."""

    async def handle(self):
        self.send(b"hello " + await Until(b"\n", limit=80))
        while True:
            try:
                line = await Until(b"\n", limit=80)
            except EndOfStream as end:
                line = end.partial
            self.send(line.upper())


class WaitsOutTheEnd(StreamHandler):
    """Greets; from then on, whatever happens, it tries again a little later."""

    def handle(self):
        return Until(b"\n", limit=80), self.name

    def name(self, name):
        self.send(b"hello " + name)
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        self.send(data.upper())
        return Until(b"\n", limit=80), self.line

    def interrupted(self, cause):
        return Delay(1), self.again

    def again(self, _):
        return Until(b"\n", limit=80), self.line


class SharesItsBuffer(StreamHandler):
    """Keeps its buffer in the class, where all connections meet."""

    held = bytearray()

    async def handle(self):
        while True:
            self.held.extend(await Some())
            while (end := self.held.find(b"\n")) >= 0:
                self.send(self.held[: end + 1].upper())
                del self.held[: end + 1]


class HangsOnAnEmptyLine(StreamHandler):
    """Skips blanks before a word until there is something else, and in an empty line there never is."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            text = line.rstrip()
            while not text[:1].isalnum():
                text = text[1:]
            self.send(text.upper() + b"\r\n")


class NeverTiresOfWaiting(StreamHandler):
    """Has no time out."""

    timeout = None

    async def handle(self):
        while True:
            self.send((await Until(b"\n", limit=80)).upper())


class TrustsTheLength(StreamHandler):
    """Answers netstrings, and believes that what is before the colon is a number."""

    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1), self.payload

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return self.handle()


class CountsChunks(StreamHandler):
    """Answers with what has come when the client was asked, not with what it said."""

    async def handle(self):
        try:
            while True:
                data = await Some()
                self.send(b"%d " % len(data))
        except Cause:
            self.send(b"bye")


class ReadsOn(StreamRequestHandler):
    """Says that a request is one line, and reads two."""

    request = Until(b"\n", limit=80)

    def handle(self):
        self.wfile.write((self.rfile.readline() + self.rfile.readline()).upper())


class ExpectsOrder(DatagramHandler):
    """Believes that the second packet of an exchange is the one that was sent second."""

    timeout = 5

    async def handle(self):
        parts = {}
        while len(parts) < 2:
            number, _, text = (await Packet()).partition(b" ")
            if number not in (b"1", b"2"):
                return
            parts[number] = text
            if b"1" not in parts:
                raise ValueError("the second part before the first")
        self.send(parts[b"1"] + parts[b"2"])


class SulksForEver(StreamHandler):
    """Answers lines; whoever has sent an empty one gets no answer any more, and is never let go of."""

    def handle(self):
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        if not data.strip():
            return self.sulk(data)
        self.send(data.upper())
        return self.handle()

    def sulk(self, _):
        return Until(b"\n", limit=80), self.sulk

    def interrupted(self, cause):
        return (Delay(1), self.sulk) if self._machine.state_name == "sulk" else None
