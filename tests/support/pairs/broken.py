"""Handlers with a bug, each of another kind that protocol code has.

Most of them keep a buffer of their own over ``Some()``: with ``Until`` and ``Exactly`` these bugs can not be written.
Most of them should answer lines in capitals, as `Mended` does; `MENDED` has the correct handlers of the others.
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
    """The correct handler."""

    def handle(self):
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        self.send(data.upper())
        return self.handle()


class SplitsCRLF(StreamHandler):
    """Takes a chunk that ends between CR and LF for a whole line."""

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
    """Resumes its search after the last byte seen, although CR LF has two bytes."""

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
    """Drops the bytes after the last whole line of a chunk."""

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
    """Joins the last two pieces of a line, even if it has three."""

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
    """Searches the line from its beginning with every chunk."""

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
    """Holds a line of any length."""

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
    """After a greeting, takes the end of the stream for another line, and waits for the next."""

    async def handle(self):
        self.send(b"hello " + await Until(b"\n", limit=80))
        while True:
            try:
                line = await Until(b"\n", limit=80)
            except EndOfStream as end:
                line = end.partial
            self.send(line.upper())


class WaitsOutTheEnd(StreamHandler):
    """After a greeting, tries again a little later after every cause."""

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
    """Keeps its buffer in the class, which all connections share."""

    held = bytearray()

    async def handle(self):
        while True:
            self.held.extend(await Some())
            while (end := self.held.find(b"\n")) >= 0:
                self.send(self.held[: end + 1].upper())
                del self.held[: end + 1]


class HangsOnAnEmptyLine(StreamHandler):
    """Skips blanks until another character comes, which an empty line does not have."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            text = line.rstrip()
            while not text[:1].isalnum():
                text = text[1:]
            self.send(text.upper() + b"\r\n")


class NeverTiresOfWaiting(StreamHandler):
    """Has no timeout."""

    timeout = None

    async def handle(self):
        while True:
            self.send((await Until(b"\n", limit=80)).upper())


class TrustsTheLength(StreamHandler):
    """Answers netstrings, and assumes that a number is before the colon."""

    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1), self.payload

    def payload(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
        return self.handle()


class CountsChunks(StreamHandler):
    """Answers with the chunk that has come, not with the line."""

    async def handle(self):
        try:
            while True:
                data = await Some()
                self.send(b"%d " % len(data))
        except Cause:
            self.send(b"bye")


class ReadsOn(StreamRequestHandler):
    """Declares that a request is one line, and reads five bytes more."""

    request = Until(b"\n", limit=80)

    def handle(self):
        self.wfile.write((self.rfile.readline() + self.rfile.read(5)).upper())


class ExpectsOrder(DatagramHandler):
    """Assumes that the packets of an exchange arrive in the order in which they were sent."""

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
    """Answers lines; after an empty line it gives no answer and never ends."""

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
    """The same as `Rescans`, with the buffer in a local variable."""

    async def handle(self):
        held = bytearray()
        while len(held) < 4096:
            held += await Some()
            while (end := held.find(b"\n")) >= 0:
                self.send(held[: end + 1].upper())
                del held[: end + 1]


class RescansText(StreamHandler):
    """The same with decoded text."""

    async def handle(self):
        held = ""
        while len(held) < 4096:
            held += (await Some()).decode("latin-1")
            while "\n" in held:
                line, _, held = held.partition("\n")
                self.send(line.encode("latin-1").upper() + b"\n")


class WaitsForEverLater(StreamHandler):
    """Has a timeout, but none after an empty line."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line == b"\n":
                line += await Until(b"\n", limit=80, timeout=float("inf"))
            self.send(line.upper())


class TakesAnyLengthLater(StreamHandler):
    """Has a limit, but none after an empty line."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line == b"\n":
                line += await Until(b"\n", limit=1 << 40)
            self.send(line.upper())


class SleepsAsLongAsToldTo(StreamHandler):
    """Sleeps for as many seconds as the client says, up to ten digits."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            if line.strip().isdigit():
                await Delay(int(line))
            self.send(line.upper())


class SleepsForEver(StreamHandler):
    """Never reads again after its answer."""

    async def handle(self):
        self.send((await Until(b"\n", limit=80)).upper())
        await Delay(float("inf"))


class SwallowsTheTimeout(StreamHandler):
    """Waits again after every timeout, without output."""

    async def handle(self):
        while True:
            with suppress(TimedOut):
                self.send((await Until(b"\n", limit=80, timeout=5)).upper())


class RaisesWhenMuchComes(StreamHandler):
    """Raises an exception that is not a cause when its bound is passed."""

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
    """Recurses once for each byte."""

    async def handle(self):
        self.send(self.upper(await ToEnd(limit=5_000)))

    def upper(self, data):
        return data and data[:1].upper() + self.upper(data[1:])


class TooShort(Cause):
    """A cause of the protocol's own."""


class JudgesTheFirstChunk(StreamHandler):
    """Ends the request if the first chunk is not a line."""

    async def handle(self):
        held = await Some(limit=80)
        if b"\n" not in held:
            raise TooShort(held)
        self.send(held.upper())
        while True:
            self.send((await Until(b"\n", limit=80)).upper())


class SharesADefault(StreamHandler):
    """Keeps its buffer in a default argument, which all connections share."""

    async def handle(self, held=[]):  # noqa: B006  # the bug
        while True:
            held.append(await Some())
            *lines, rest = b"".join(held).split(b"\n")
            for line in lines:
                self.send(line.upper() + b"\n")
            held[:] = [rest][: bool(rest)]


class TellsTheTime(StreamHandler):
    """Uses a clock of its own, which no test can set."""

    async def handle(self):
        while True:
            await Until(b"\n", limit=80)
            self.send(b"%d\n" % time.perf_counter_ns())


class LosesCount(DatagramHandler):
    """Waits without a bound for the packets that the first packet announces, and trusts its number."""

    async def handle(self):
        number = int(await Packet() or b"0")
        for _ in range(number):
            await Packet(timeout=float("inf"))
        self.send(b"done")


# The correct handlers of those that do not answer lines


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
