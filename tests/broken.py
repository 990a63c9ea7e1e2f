"""Handlers that are broken on purpose, each in one way that protocol code is broken in.

Most of them keep buffers of their own over ``Some()``: with ``Until`` and ``Exactly`` these bugs
can't be written, which is what the waits are for. Most of them answer lines with the same lines in
capitals, as `Mended` does; what the others should be is in `MENDED`.
"""

import time
from contextlib import suppress

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
    TimedOut,
    ToEnd,
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


class RescansALocalArray(StreamHandler):
    """The same as `Rescans`, with a buffer that no attribute shows."""

    async def handle(self):
        held = bytearray()
        while len(held) < 4096:
            held += await Some()
            while (end := held.find(b"\n")) >= 0:
                self.send(held[: end + 1].upper())
                del held[: end + 1]


class RescansText(StreamHandler):
    """The same again, with what the bytes were decoded to."""

    async def handle(self):
        held = ""
        while len(held) < 4096:
            held += (await Some()).decode("latin-1")
            while "\n" in held:
                line, _, held = held.partition("\n")
                self.send(line.encode("latin-1").upper() + b"\n")


class WaitsForEverLater(StreamHandler):
    """Has a time out, but not for what follows an empty line."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line == b"\n":
                line += await Until(b"\n", limit=80, timeout=float("inf"))
            self.send(line.upper())


class TakesAnyLengthLater(StreamHandler):
    """Has a limit, but not for what follows an empty line."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line == b"\n":
                line += await Until(b"\n", limit=1 << 40)
            self.send(line.upper())


class SleepsAsLongAsToldTo(StreamHandler):
    """A number is how long it sleeps, and there are numbers of ten digits."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line.strip().isdigit():
                await Delay(int(line))
            self.send(line.upper())


class SleepsForEver(StreamHandler):
    """Does not look at the connection any more when it has answered."""

    async def handle(self):
        self.send((await Until(b"\n", limit=80)).upper())
        await Delay(float("inf"))


class SwallowsTheTimeout(StreamHandler):
    """Tries again whenever it has waited in vain, and says nothing."""

    async def handle(self):
        while True:
            with suppress(TimedOut):
                self.send((await Until(b"\n", limit=80, timeout=5)).upper())


class RaisesWhenMuchComes(StreamHandler):
    """Has a bound, and passing it is not a cause."""

    async def handle(self):
        held = b""
        while True:
            held += await Some(limit=80)
            *lines, held = held.split(b"\n")
            for line in lines:
                self.send(line.upper() + b"\n")
            if len(held) > 256:
                raise ValueError("line too long")


class Recurses(StreamHandler):
    """Goes as deep as there are bytes."""

    async def handle(self):
        self.send(self.upper(await ToEnd(limit=5_000)))

    def upper(self, data):
        return data and data[:1].upper() + self.upper(data[1:])


class TooShort(Cause):
    """A protocol's own cause."""


class JudgesTheFirstChunk(StreamHandler):
    """Lets go of whoever does not send a line at once."""

    async def handle(self):
        held = await Some(limit=80)
        if b"\n" not in held:
            raise TooShort(held)
        self.send(held.upper())
        while True:
            self.send((await Until(b"\n", limit=80)).upper())


class SharesADefault(StreamHandler):
    """Keeps its buffer in a default argument, which is made once."""

    async def handle(self, held=[]):  # noqa: B006  # that is what is broken
        while True:
            held.append(await Some())
            *lines, rest = b"".join(held).split(b"\n")
            for line in lines:
                self.send(line.upper() + b"\n")
            held[:] = [rest][: bool(rest)]


class TellsTheTime(StreamHandler):
    """Asks a clock of its own, which no test can set."""

    async def handle(self):
        while True:
            await Until(b"\n", limit=80)
            self.send(b"%d\n" % time.perf_counter_ns())


class LosesCount(DatagramHandler):
    """Waits for the rest of what the first packet announces, however long that takes, and believes the number."""

    async def handle(self):
        number = int(await Packet() or b"0")
        for _ in range(number):
            await Packet(timeout=float("inf"))
        self.send(b"done")


# What those should be that do not answer lines


class MendedNetstrings(StreamHandler):
    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return (Exactly(int(digits[:-1]) + 1), self.payload) if digits[:-1].isdigit() else None

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return self.handle()


class MendedRequest(StreamRequestHandler):
    request = Until(b"\n", limit=80)

    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


class MendedExchange(DatagramHandler):
    timeout = 5

    async def handle(self):
        parts = {}
        while len(parts) < 2:
            number, _, text = (await Packet()).partition(b" ")
            if number not in (b"1", b"2"):
                return
            parts[number] = text
        self.send(parts[b"1"] + parts[b"2"])


class MendedCount(DatagramHandler):
    async def handle(self):
        digits = await Packet()
        for _ in range(int(digits) if digits in (b"1", b"2") else 0):
            await Packet()
        self.send(b"done")


MENDED = {
    TrustsTheLength: MendedNetstrings,
    ReadsOn: MendedRequest,
    ExpectsOrder: MendedExchange,
    LosesCount: MendedCount,
}
