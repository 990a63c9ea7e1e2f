"""A third set of pairs of handlers, as in `shipped` and `unseen`, for other faults and other protocols.

When they were first tried, `check` found 14 of the 19 faults and accused no right handler. Since then it has learned
that a client may say nothing, that a stranger may repeat a piece, that a state may forget to return, and that the work
for a piece may grow with its length.
"""

import base64
import binascii
import json
import re
import struct
from collections import deque
from typing import ClassVar

from handlers import DatagramHandler, Exactly, LimitPassed, Packet, Some, StreamHandler, TimedOut, Until
from tests.support.pairs.shipped import Pair


class EndsAtAnyNewline(StreamHandler):
    """SMTP: takes a line that ends in LF alone for one that ends in CRLF (CVE-2023-51764)."""

    end = b"\n"

    def handle(self):
        return Until(self.end, limit=100), self.command

    def command(self, line):
        word = line[: -len(self.end)].strip().upper()
        if word == b"DATA":
            self.text = []
            self.send(b"354 go on\r\n")
            return Until(self.end, limit=100), self.body
        self.send(b"250 %b\r\n" % word[:20])
        return self.handle()

    def body(self, line):
        if line[: -len(self.end)].strip(b"\r") == b".":
            self.send(b"250 %d lines\r\n" % len(self.text))
            return self.handle()
        if len(self.text) < 50:
            self.text.append(line)
        return Until(self.end, limit=100), self.body


class EndsAtCRLF(EndsAtAnyNewline):
    end = b"\r\n"


class ArraysOfAnySize(StreamHandler):
    """Redis: as many parts of a command are kept as the client says that there are."""

    most = 1 << 40

    async def handle(self):
        while True:
            head = await Until(b"\r\n", limit=16)
            if not (found := re.fullmatch(rb"\*([0-9]{1,9})\r\n", head)) or int(found[1]) > self.most:
                self.send(b"-ERR protocol\r\n")
                return
            parts = []
            for _ in range(int(found[1])):
                size = re.fullmatch(rb"\$([0-9]{1,3})\r\n", await Until(b"\r\n", limit=16))
                if not size:
                    self.send(b"-ERR protocol\r\n")
                    return
                part = await Exactly(int(size[1]) + 2)
                if part[-2:] != b"\r\n":
                    self.send(b"-ERR protocol\r\n")
                    return
                parts.append(part[:-2])
            self.send(b"+%d\r\n" % len(parts))


class ArraysOfSixteen(ArraysOfAnySize):
    most = 16


class LocksEverybodyOut(StreamHandler):
    """POP3: wrong passwords are counted in the class: three of one client lock all others out."""

    counts: ClassVar[dict[str, int]] = {}

    def __init__(self):
        self.failures = self.counts

    async def handle(self):
        while True:
            verb, _, word = (await Until(b"\r\n", limit=60))[:-2].partition(b" ")
            if verb == b"PASS" and word == b"sesame" and self.failures.get("", 0) < 3:
                self.failures.clear()
                self.send(b"+OK welcome\r\n")
            elif verb == b"PASS":
                self.failures[""] = self.failures.get("", 0) + 1
                self.send(b"-ERR no\r\n")
            else:
                self.send(b"-ERR what\r\n")


class LocksOneOut(LocksEverybodyOut):
    def __init__(self):
        self.failures = {}


class SharesTheDefault(StreamHandler):
    """FTP: the path is a list that is made once, as the default of an argument."""

    def __init__(self, path=[]):  # noqa: B006
        self.path = path

    def handle(self):
        return Until(b"\r\n", limit=40), self.command

    def command(self, line):
        verb, _, name = line[:-2].partition(b" ")
        if verb == b"CWD" and len(self.path) < 9 and name:
            self.path.append(name)
        elif verb == b"CDUP":
            del self.path[-1:]
        elif verb != b"PWD":
            self.send(b"502 no\r\n")
            return self.handle()
        self.send(b"257 /%b\r\n" % b"/".join(self.path))
        return self.handle()


class HasItsOwnPath(SharesTheDefault):
    def __init__(self):
        super().__init__([])


class TakesAReadForARequest(StreamHandler):
    """A game's command: what comes in one read is one command."""

    async def handle(self):
        while True:
            data = await Some(limit=64)
            self.send(b"you " + data.rstrip(b"\n") + b"\n")


class TakesALineForARequest(StreamHandler):
    async def handle(self):
        while True:
            data = await Until(b"\n", limit=64)
            self.send(b"you " + data)


class PingsForever(StreamHandler):
    """MQTT-like: sends a ping after each timeout, and waits again, whether an answer came or not."""

    timeout = 5
    most = None

    async def handle(self):
        missed = 0
        while True:
            try:
                line = await Until(b"\n", limit=32)
            except TimedOut:
                missed += 1
                if self.most is not None and missed > self.most:
                    return
                self.send(b"ping\n")
                continue
            missed = 0
            self.send(line)


class PingsTwice(PingsForever):
    most = 2
    request_timeout = 60


class SendsAgainForever(DatagramHandler):
    """TFTP: a block that nobody acknowledges is sent again and again."""

    timeout = 2
    most = None

    async def handle(self):
        request = await Packet()
        if request[:2] != b"\0\1":
            return
        tries = 0
        while self.most is None or tries < self.most:
            self.send(b"\0\3\0\1" + request[2:10])
            tries += 1
            try:
                if await Packet() == b"\0\4\0\1":
                    return
            except TimedOut:
                continue


class SendsThreeTimes(SendsAgainForever):
    most = 3


class IndexesByLength(StreamHandler):
    """A table has a place for each length that is allowed, but for the greatest."""

    names = [b"n%d" % number for number in range(16)]

    async def handle(self):
        while True:
            try:
                line = await Until(b"\n", limit=16)
            except LimitPassed:
                self.send(b"long\n")
                return
            self.send(self.names[len(line)] + b"\n")


class IndexesAll(IndexesByLength):
    names = [b"n%d" % number for number in range(17)]


class DecodesWithoutCare(StreamHandler):
    """SASL PLAIN: what is no base64 raises an error that nobody catches."""

    caught: ClassVar[tuple] = ()

    async def handle(self):
        while True:
            line = await Until(b"\r\n", limit=80)
            try:
                who = base64.b64decode(line[:-2], validate=True)
            except self.caught:
                self.send(b"501 no base64\r\n")
                continue
            self.send(b"235 %d\r\n" % len(who))


class DecodesWithCare(DecodesWithoutCare):
    caught = (binascii.Error,)


class TrustsTheShape(StreamHandler):
    """Lines of JSON: catches what is no JSON, and takes it for an object with a number."""

    def value(self, line):
        return json.loads(line)["n"] + 1

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=64)
            try:
                answer = self.value(line)
            except ValueError:
                answer = "error"
            self.send(json.dumps(answer).encode() + b"\n")


class LooksAtTheShape(TrustsTheShape):
    def value(self, line):
        try:
            found = json.loads(line)
        except RecursionError:
            raise ValueError(line) from None
        if not isinstance(found, dict) or type(found.get("n")) is not int or abs(found["n"]) > 10**9:
            raise ValueError(line)
        return found["n"] + 1


class DividesByWhatCame(StreamHandler):
    """A rate: divides by a number of the client."""

    def rate(self, total, count):
        return total // count

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=30)
            if not (found := re.fullmatch(rb"RATE ([0-9]{1,6}) ([0-9]{1,6})\n", line)):
                self.send(b"ERR\n")
                continue
            self.send(b"%d\n" % self.rate(int(found[1]), int(found[2])))


class DividesByMore(DividesByWhatCame):
    def rate(self, total, count):
        return total // count if count else 0


class CompilesWhatCame(StreamHandler):
    """GREP: a word of the client is compiled as a pattern."""

    def pattern(self, word):
        return re.compile(word)

    async def handle(self):
        while True:
            verb, _, word = (await Until(b"\n", limit=40))[:-1].partition(b" ")
            if verb != b"GREP":
                self.send(b"ERR\n")
                continue
            found = [line for line in (b"one", b"two (2)") if self.pattern(word).search(line)]
            self.send(b", ".join(found) + b"\n")


class SearchesWhatCame(CompilesWhatCame):
    def pattern(self, word):
        return re.compile(re.escape(word))


class KeepsAllLines(StreamHandler):
    """A pager: keeps each line of the connection, although it shows the last four at most."""

    most = None

    def handle(self):
        self.lines = deque(maxlen=self.most)
        return Until(b"\n", limit=40), self.line

    def line(self, line):
        if line == b"LAST\n":
            self.send(b"".join(list(self.lines)[-4:]) + b".\n")
        else:
            self.lines.append(line)
            self.send(b"ok\n")
        return Until(b"\n", limit=40), self.line


class KeepsFourLines(KeepsAllLines):
    most = 4


class PopsTheFront(StreamHandler):
    """A record of fields: takes one byte after the other from the front of what is left."""

    async def handle(self):
        while True:
            (size,) = struct.unpack("!H", await Exactly(2))
            body = await Exactly(size)
            self.send(b"%d\n" % self.fields(body))

    def fields(self, body):
        count = 0
        while body:
            first, body = body[:1], body[1:]
            count += first == b","
        return count


class CountsTheCommas(PopsTheFront):
    def fields(self, body):
        return body.count(b",")


class KeepsTheSlot(StreamHandler):
    """Counts the clients that are there in the class, and counts down only when one says goodbye."""

    clients: ClassVar[list] = []

    async def handle(self):
        if len(self.clients) >= 8:
            self.send(b"421 full\r\n")
            return
        self.clients.append(self)
        self.send(b"220 hello\r\n")
        while True:
            if await Until(b"\r\n", limit=40) == b"QUIT\r\n":
                self.leave()
                self.send(b"221 bye\r\n")
                return
            self.send(b"250 ok\r\n")

    def leave(self):
        self.clients.remove(self)


class FreesTheSlot(KeepsTheSlot):
    clients: ClassVar[list] = []

    def leave(self):
        pass

    def finish(self):
        if self in self.clients:
            self.clients.remove(self)


class UnpacksWhatCame(DatagramHandler):
    """SNTP-like: unpacks a packet without a look at its size."""

    least = 0

    async def handle(self):
        packet = await Packet()
        if len(packet) < self.least:
            return
        version, number = struct.unpack_from("!BI", packet)
        if version == 4:
            self.send(struct.pack("!BI", 4, number))


class LooksAtTheSize(UnpacksWhatCame):
    least = 5


class HexAsPythonHasIt(StreamHandler):
    """Chunks: reads their size with ``int(size, 16)``, which takes ``0x``, signs and underscores."""

    def size(self, line):
        return int(line, 16)

    async def handle(self):
        while True:
            line = await Until(b"\r\n", limit=10)
            try:
                size = self.size(line)
            except ValueError:
                size = -1
            if not 0 <= size <= 1_000:
                self.send(b"400\r\n")
                return
            data = await Exactly(size + 2)
            if data[-2:] != b"\r\n":
                self.send(b"400\r\n")
                return
            self.send(b"%d\r\n" % size)


class HexInDigits(HexAsPythonHasIt):
    def size(self, line):
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,3}\r\n", line):
            raise ValueError(line)
        return int(line, 16)


class ForgetsToAwait(StreamHandler):
    """A step of its own that nobody awaits."""

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=40)
            if line == b"LOGIN\n":
                self.login()
            else:
                self.send(line)

    async def login(self):
        name = await Until(b"\n", limit=40)
        self.send(b"hello " + name)


class Awaits(ForgetsToAwait):
    async def handle(self):
        while True:
            line = await Until(b"\n", limit=40)
            if line == b"LOGIN\n":
                await self.login()
            else:
                self.send(line)


class ForgetsToReturn(StreamHandler):
    """A branch of a state that forgets to return the next wait, so that the request ends."""

    def handle(self):
        return Until(b"\n", limit=40), self.line

    def line(self, line):  # noqa: RET503
        if line == b"PING\n":
            self.send(b"PONG\n")
            return self.handle()
        self.send(b"ERR\n")


class Returns(StreamHandler):
    def handle(self):
        return Until(b"\n", limit=40), self.line

    def line(self, line):
        self.send(b"PONG\n" if line == b"PING\n" else b"ERR\n")
        return self.handle()


MAIL = b"MAIL\r\nDATA\r\none\r\ntwo\r\n.\r\nQUIT\r\n"
FRESH = [
    Pair(PopsTheFront, CountsTheCommas, b"\0\5a,b,c\0\3x,y", "works_linearly"),
    Pair(EndsAtAnyNewline, EndsAtCRLF, MAIL, "takes_exact_ends_only"),
    Pair(
        ArraysOfAnySize,
        ArraysOfSixteen,
        b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n",
        "stays_in_bounds_when_repeated",
    ),
    Pair(LocksEverybodyOut, LocksOneOut, b"PASS wrong\r\nPASS sesame\r\n", "leaves_nothing_behind"),
    Pair(SharesTheDefault, HasItsOwnPath, b"CWD a\r\nCWD b\r\nCDUP\r\nPWD\r\n", "leaves_nothing_behind"),
    Pair(TakesAReadForARequest, TakesALineForARequest, b"north\neast\n", "same_for_any_chunking"),
    Pair(PingsForever, PingsTwice, b"one\ntwo\n", "ends_if_it_drips"),
    Pair(SendsAgainForever, SendsThreeTimes, [b"\0\1file", b"\0\4\0\1"], "ends_if_it_drips"),
    Pair(IndexesByLength, IndexesAll, b"one\nthree\n", "survives_any_input"),
    Pair(DecodesWithoutCare, DecodesWithCare, b"aGVsbG8=\r\nYWJj\r\n", "survives_any_input"),
    Pair(TrustsTheShape, LooksAtTheShape, b'{"n": 1}\n{"n": 22}\n', "survives_any_input"),
    Pair(DividesByWhatCame, DividesByMore, b"RATE 100 5\nRATE 7 2\n", "survives_any_input"),
    Pair(CompilesWhatCame, SearchesWhatCame, b"GREP one\nGREP 2\n", "takes_plain_numbers_only"),
    Pair(KeepsAllLines, KeepsFourLines, b"one\ntwo\nLAST\nthree\n", "stays_in_bounds_when_repeated"),
    Pair(KeepsTheSlot, FreesTheSlot, b"NOOP\r\nQUIT\r\n", "leaves_nothing_behind"),
    Pair(UnpacksWhatCame, LooksAtTheSize, [b"\4\0\0\0\1", b"\4\0\0\1\0"], "survives_any_input"),
    Pair(HexAsPythonHasIt, HexInDigits, b"5\r\nhello\r\na\r\n0123456789\r\n", "takes_plain_numbers_only"),
    Pair(ForgetsToAwait, Awaits, b"hi\nLOGIN\nada\nho\n", "drops_no_step"),
    Pair(ForgetsToReturn, Returns, b"PING\nPING\n", "drops_no_step"),
]
