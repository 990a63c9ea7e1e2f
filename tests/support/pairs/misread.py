"""Pairs of handlers, one with a bug that a careful reader of protocol code overlooks, and one without it.

Each bug is one that servers in production had. `PAIRS` has with each pair a conversation that the right one answers.
"""

from typing import NamedTuple

from handlers import EndOfStream, Exactly, LimitPassed, Reset, Some, StreamHandler, TimedOut, Until

LINES = b"one\r\ntwo\r\n"


class Pair(NamedTuple):
    """A handler with a bug, the same without it, and a conversation."""

    wrong: type
    right: type
    conversation: bytes
    title: str
    """The end of the name of the test that is printed."""
    told: str
    """The fault in words."""


# What is answered depends on the read, if the client makes a fault


class LimitsTheRead(StreamHandler):
    """Holds its limit for a line against all that has come."""

    async def handle(self):
        held = b""
        while True:
            held += await Some()
            if len(held) > 16:
                self.send(b"too long\r\n")
                return
            *lines, held = held.split(b"\n")
            for line in lines:
                self.send(line.upper() + b"\n")


class LimitsTheLine(StreamHandler):
    async def handle(self):
        while True:
            try:
                line = await Until(b"\n", limit=16)
            except LimitPassed:
                self.send(b"too long\r\n")
                return
            self.send(line.upper())


class ComplainsFirst(StreamHandler):
    """Looks through all lines that have come before it answers one."""

    async def handle(self):
        held = b""
        while len(held) < 80:
            *lines, held = (held + await Some()).split(b"\n")
            if any(not line.strip().isalpha() for line in lines):
                self.send(b"bad line\r\n")
                return
            for line in lines:
                self.send(line.upper() + b"\n")


class ComplainsInTurn(StreamHandler):
    async def handle(self):
        held = b""
        while len(held) < 80:
            *lines, held = (held + await Some(limit=1)).split(b"\n")
            for line in lines:
                if not line.strip().isalpha():
                    self.send(b"bad line\r\n")
                    return
                self.send(line.upper() + b"\n")


class ThrowsTheReadAway(StreamHandler):
    """After a line that it does not understand, forgets all that has come, and goes on."""

    async def handle(self):
        held = b""
        while len(held) < 80:
            *lines, held = (held + await Some()).split(b"\n")
            for line in lines:
                if not line.strip().isalpha():
                    self.send(b"bad line\r\n")
                    held = b""
                    break
                self.send(line.upper() + b"\n")


class ThrowsTheLineAway(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            self.send(line.upper() if line.strip().isalpha() else b"bad line\r\n")


class ComplainsOfEachPiece(StreamHandler):
    """Answers a line that is too long once for each piece of it."""

    async def handle(self):
        held = b""
        while True:
            held += await Some()
            if b"\n" not in held and len(held) > 8:
                self.send(b"too long\r\n")
                held = b""
            *lines, held = held.split(b"\n")
            for line in lines:
                self.send((line.upper() if len(line) <= 8 else b"too long\r") + b"\n")


class ComplainsOnce(StreamHandler):
    async def handle(self):
        while True:
            line = b""
            while not line.endswith(b"\n"):
                line = (line + await Some(limit=1))[-10:]
            self.send(line.upper() if len(line) <= 9 else b"too long\r\n")


# Numbers


class TakesSigns(StreamHandler):
    """Reads a netstring's length as ``int()`` does."""

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=8))[:-1]
            try:
                size = int(digits)
            except ValueError:
                return
            if not 0 <= size <= 999:
                return
            self.send(b"%d:%b," % (size, (await Exactly(size + 1))[-2::-1]))


class TakesDigits(StreamHandler):
    async def handle(self):
        while True:
            digits = (await Until(b":", limit=8))[:-1]
            if not digits.isdigit() or len(digits) > 3:
                return
            size = int(digits)
            data = await Exactly(size + 1)
            if not data.endswith(b","):
                return
            self.send(b"%d:%b," % (size, data[-2::-1]))


class TakesEveryScript(StreamHandler):
    """Asks text for digits: ``"\u0665".isdigit()``, and ``int("\u0665")`` is 5."""

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=8))[:-1].decode("utf-8", "replace")
            if not digits.isdecimal() or len(digits) > 3:
                return
            size = int(digits)
            self.send(b"%d:%b," % (size, (await Exactly(size + 1))[-2::-1]))


class TripsOverSuperscripts(StreamHandler):
    """Asks Latin-1 for digits: ``"\xb2".isdigit()``, but ``int("\xb2")`` raises."""

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=8))[:-1].decode("latin-1")
            if not digits.isdigit() or len(digits) > 3:
                return
            size = int(digits)
            self.send(b"%d:%b," % (size, (await Exactly(size + 1))[-2::-1]))


CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"


class TakesPrefixes(StreamHandler):
    """Reads the size of a chunk as ``int(size, 16)`` does, but for a sign and a grouping."""

    def size(self, digits):
        return int(digits, 16) if digits and digits[:1] not in b"+-" and b"_" not in digits else -1

    async def handle(self):
        body = b""
        while len(body) < 4096:
            line = await Until(b"\r\n", limit=10)
            try:
                size = self.size(line[:-2])
            except ValueError:
                size = -1
            if not 0 <= size <= 4096:
                self.send(b"400\r\n")
                return
            chunk = await Exactly(size + 2)
            if not chunk.endswith(b"\r\n"):
                self.send(b"400\r\n")
                return
            if size == 0:
                self.send(b"200 %b\r\n" % body)
                return
            body += chunk[:-2]


class TakesHex(TakesPrefixes):
    """Right."""

    def size(self, digits):
        return int(digits, 16) if digits and set(digits) <= set(b"0123456789ABCDEFabcdef") else -1


# Ends


MAIL = b"DATA\r\nhi\r\n.\r\nQUIT\r\n"


class TakesAnyDot(StreamHandler):
    """Ends mail at a dot between any ends of lines (CVE-2023-51764 and its like)."""

    def is_end(self, line):
        return line.rstrip(b"\r\n") == b"."

    async def handle(self):
        while True:
            command = await Until(b"\n", limit=80)
            if command == b"DATA\r\n":
                size = 0
                while not self.is_end(line := await Until(b"\n", limit=80)):
                    size += len(line)
                self.send(b"250 took it\r\n")
            elif command == b"QUIT\r\n":
                self.send(b"221 bye\r\n")
                return
            else:
                self.send(b"500 what?\r\n")


class TakesTheDot(StreamHandler):
    """Right."""

    async def handle(self):
        while True:
            command = await Until(b"\r\n", limit=80)
            if command == b"DATA\r\n":
                size = 0
                while (line := await Until(b"\r\n", limit=80)) != b".\r\n":
                    size += len(line)
                self.send(b"250 took it\r\n")
            elif command == b"QUIT\r\n":
                self.send(b"221 bye\r\n")
                return
            else:
                self.send(b"500 what?\r\n")


HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"


class SplitsAnyLine(StreamHandler):
    """Takes the head of a request apart with ``splitlines()``."""

    def lines(self, head):
        return head.decode("latin-1").splitlines()

    def header(self, line):
        name, _, value = line.partition(":")
        return name.lower(), value.strip()

    async def handle(self):
        lines = [line for line in self.lines(await Until(b"\r\n\r\n", limit=256))[1:] if line]
        headers = dict(map(self.header, lines))
        size = headers.get("content-length", "0")
        if (
            len(headers) < len(lines)
            or "host" not in headers
            or not (size.isascii() and size.isdigit() and len(size) < 4)
        ):
            self.send(b"400\r\n")
            return
        self.send(b"200 %b\r\n" % await Exactly(int(size)))


class SplitsCRLFOnly(SplitsAnyLine):
    """Right."""

    def lines(self, head):
        return head.decode("latin-1").split("\r\n")


class StripsNames(SplitsCRLFOnly):
    """Takes a blank before the colon for none."""

    def header(self, line):
        name, _, value = line.partition(":")
        return name.strip().lower(), value.strip()


# Requests that meet


LOGIN = b"LOGIN ann\r\nGET\r\n"


class LogsInAll(StreamHandler):
    """Remembers the login in the class, and takes it from there."""

    user = b""

    def log_in(self, name):
        type(self).user = name

    async def handle(self):
        while True:
            verb, _, argument = (await Until(b"\n", limit=80)).strip().partition(b" ")
            if verb == b"LOGIN":
                self.log_in(argument)
                self.send(b"hello\r\n")
            else:
                self.send(b"%b's\r\n" % self.user if self.user else b"log in\r\n")


class LogsInOne(LogsInAll):
    """Right."""

    user = b""

    def log_in(self, name):
        self.user = name


class ClearsTheOthers(StreamHandler):
    """Clears a buffer at the beginning of each request, but all requests have the same one."""

    held = bytearray()

    def setup(self):
        self.held.clear()

    async def handle(self):
        while len(self.held) < 80:
            self.held += await Some(limit=1)
            if self.held.endswith(b"\n"):
                self.send(bytes(self.held).upper())
                self.held.clear()


class ClearsItsOwn(ClearsTheOthers):
    """Right."""

    def setup(self):
        self.held = bytearray()


# Limits


class EndsOneEarly(StreamHandler):
    """Gives up a line of the greatest length before its end has come."""

    async def handle(self):
        held = b""
        while True:
            held += await Some(limit=64)
            *lines, held = held.split(b"\n")
            for line in lines:
                self.send(line.upper() + b"\n" if len(line) <= 255 else b"too long\r\n")
            if len(held) >= 255:
                self.send(b"too long\r\n")
                return


class EndsInTime(StreamHandler):
    async def handle(self):
        while True:
            self.send((await Until(b"\n", limit=256)).upper())

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            self.send(b"too long\r\n")


class AnswersOneMore(StreamHandler):
    """The answer has a type too, and both together have their length in one byte."""

    most = 255

    async def handle(self):
        while True:
            size = (await Exactly(1))[0]
            if size > self.most:
                return
            value = await Exactly(size) if size else b""
            self.send(bytes([len(value) + 1]) + b"=" + value)


class AnswersWhatFits(AnswersOneMore):
    """Right."""

    most = 254


class FillsItsArray(StreamHandler):
    """Has a place too few for the comma of the longest netstring."""

    size = 1000

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=5))[:-1]
            if not digits.isdigit() or int(digits) > 1000:
                return
            held = bytearray(self.size)
            for place, byte in enumerate(await Exactly(int(digits) + 1)):
                held[place] = byte
            self.send(b"%b:%b" % (digits, held[: int(digits) + 1]))


class FitsItsArray(FillsItsArray):
    """Right."""

    size = 1001


# Slow clients


class StartsAnewWithEachByte(StreamHandler):
    """Has five seconds for a line, but has them again with each byte."""

    timeout = 5
    due = None

    async def handle(self):
        held = b""
        while len(held) <= 250:
            *lines, held = (held + await Some(timeout=self.left())).split(b"\n")
            for line in lines:
                if len(line) > 250:
                    return
                self.send(line.upper() + b"\n")
                self.due = None

    def left(self):
        """The seconds that are left for the line."""
        return self.timeout


class BoundsTheRate(StartsAnewWithEachByte):
    """Right: the reactor keeps it."""

    min_rate = 10


class KeepsTheTime(StartsAnewWithEachByte):
    """Right: holds a deadline of its own."""

    def left(self):
        if self.due is None:
            self.due = self.now() + self.timeout
        return max(0, self.due - self.now())


# Causes


HELP = b"This is what you can say.\r\n" * 200


class AnswersEachCause(StreamHandler):
    """Takes the causes for mistakes of its client: ``except Exception`` around a wait."""

    async def handle(self):
        self.send(b"hello " + await Until(b"\n", limit=80))
        while True:
            try:
                self.send((await Until(b"\n", limit=80)).upper())
            except Exception:  # noqa: PERF203
                self.send(HELP)


class AnswersMistakes(StreamHandler):
    """Right."""

    async def handle(self):
        self.send(b"hello " + await Until(b"\n", limit=80))
        while True:
            line = await Until(b"\n", limit=80)
            try:
                self.send(line.decode("ascii").upper().encode())
            except ValueError:
                self.send(HELP)


class AsksTheCause(StreamHandler):
    """Expects the bytes that were held of each cause; `Cancelled` has none, when the server closes."""

    def told(self, cause):
        return b"%d bytes left\r\n" % len(cause.partial) if not isinstance(cause, (Reset, TimedOut)) else b""

    def handle(self):
        return Until(b"\n", limit=80), self.line

    def line(self, data):
        self.send(data.upper())
        return self.handle()

    def interrupted(self, cause):
        self.send(self.told(cause))


class AsksTheEnd(AsksTheCause):
    """Right."""

    def told(self, cause):
        return b"%d bytes left\r\n" % len(cause.partial) if isinstance(cause, EndOfStream) else b""


CUT = "for_any_chunking_of_faults", "the output for a faulty client depends on how the input is cut"
NUMBER, END = "plain_numbers", "exact_ends"
LIMIT = "at_its_limits"
SLOW = "ends_if_it_drips", "a client that sends a byte now and then keeps the request open for 900 seconds"
CAUSE = "takes_causes_for_ends"
SHARED = "leaves_nothing_behind", "the output depends on what another request has sent"

PAIRS = [
    Pair(LimitsTheRead, LimitsTheLine, LINES, *CUT),
    Pair(ComplainsFirst, ComplainsInTurn, LINES, *CUT),
    Pair(ThrowsTheReadAway, ThrowsTheLineAway, LINES, *CUT),
    Pair(ComplainsOfEachPiece, ComplainsOnce, LINES, *CUT),
    Pair(TakesSigns, TakesDigits, b"5:hello,", NUMBER, "it takes b'+5' for the number b'5'"),
    Pair(TakesEveryScript, TakesDigits, b"5:hello,", NUMBER, r"it takes b'\xd9\xa5' for the number b'5'"),
    Pair(TripsOverSuperscripts, TakesDigits, b"5:hello,", NUMBER, r"for b'\xb2' as number it raises ValueError"),
    Pair(TakesPrefixes, TakesHex, CHUNKED, NUMBER, "it takes b'0x5' for the number b'5'"),
    Pair(TakesAnyDot, TakesTheDot, MAIL, END, r"it takes b'\n.\r\n' for the end b'\r\n.\r\n'"),
    Pair(SplitsAnyLine, SplitsCRLFOnly, HEAD, END, r"it takes b'\r' for the end b'\r\n'"),
    Pair(StripsNames, SplitsCRLFOnly, HEAD, END, "it takes b'Content-Length ' for the name b'Content-Length'"),
    Pair(LogsInAll, LogsInOne, LOGIN, *SHARED),
    Pair(ClearsTheOthers, ClearsItsOwn, LINES, *SHARED),
    Pair(EndsOneEarly, EndsInTime, LINES, LIMIT, "for a piece of 254 bytes the output depends on how the input is cut"),
    Pair(AnswersOneMore, AnswersWhatFits, b"\5hello", LIMIT, "for a piece of 255 bytes it raises ValueError"),
    Pair(FillsItsArray, FitsItsArray, b"5:hello,", LIMIT, "for a piece of 1000 bytes it raises IndexError"),
    Pair(StartsAnewWithEachByte, BoundsTheRate, LINES, *SLOW),
    Pair(StartsAnewWithEachByte, KeepsTheTime, LINES, *SLOW),
    Pair(AnswersEachCause, AnswersMistakes, LINES, CAUSE, "it answers the end of the stream and waits for input again"),
    Pair(AsksTheCause, AsksTheEnd, LINES, CAUSE, "when it is cancelled it raises AttributeError"),
]
