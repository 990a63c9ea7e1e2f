"""Pairs of handlers, one with a fault that servers in production have had, and one without it.

The faults are other ones than those of `broken`, `misread`, `kept`, `lapses` and `nested`: the length of a message is
told twice, an integer wraps round, a search begins anew, a state is left in the wrong order.
"""

import re
import struct
import zlib
from io import BytesIO
from typing import Any, NamedTuple

import pytest

from handlers import (
    Cause,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    TimedOut,
    Until,
)
from reactor import testing as checks
from reactor.testing.running.report import CheckFailed
from tests.support.pasted import assert_red_then_green


class Pair(NamedTuple):
    """A handler with a fault, the same without it, a conversation, and the property that it breaks."""

    wrong: type
    right: type
    conversation: Any
    holds: str
    options: dict[str, Any] = {}


# Where a message ends


class LastLengthWins(StreamHandler):
    """Takes the last of two lengths (CVE-2019-20445 and others): a proxy may take the first."""

    def sizes(self, head):
        """The lengths that the head tells; ``None`` if it is to be refused."""
        return re.findall(rb"\r\nContent-Length: ([0-9]{1,3})(?=\r\n)", head)[-1:]

    async def handle(self):
        while True:
            head = await Until(b"\r\n\r\n", limit=512)
            sizes, is_chunked = self.sizes(head), b"\r\ntransfer-encoding: chunked\r\n" in head.lower()
            if len(sizes) == 1:
                body = await Exactly(int(sizes[0])) if int(sizes[0]) else b""
            elif sizes or not is_chunked:
                self.send(b"400\r\n")
                return
            else:
                body = await self.chunk()
            self.send(b"200 %b\r\n" % body)

    async def chunk(self):
        """One short chunk, and the last one."""
        line = await Until(b"\r\n", limit=4)
        size = int(line[:-2], 16) if re.fullmatch(rb"[1-9a-f]\r\n", line) else 1
        data = await Exactly(size + 7)
        return data[:size] if data[size:] == b"\r\n0\r\n\r\n" else b""


class OneLengthOnly(LastLengthWins):
    def sizes(self, head):
        found = re.findall(rb"(?i)\r\n(Content-Length: [0-9]{1,3}|Transfer-Encoding: chunked)(?=\r\n)", head)
        lengths = [line.partition(b": ")[2] for line in found if line[:1] in b"Cc"]
        return lengths if len(found) == 1 else [b"", b""]  # more than one, or none: refused


class LengthBesideChunks(OneLengthOnly):
    """Takes the length, although the message is said to be in chunks (RFC 9112, section 6.3)."""

    def sizes(self, head):
        found = re.findall(rb"\r\nContent-Length: ([0-9]{1,3})(?=\r\n)", head)
        return found if len(found) <= 1 else [b"", b""]


class SkipsToTheChunk(StreamHandler):
    """Does not look at the two bytes after a chunk (CVE-2023-46589 and others)."""

    def is_end(self, data):
        return True

    async def handle(self):
        await Until(b"\r\n\r\n", limit=512)
        while True:
            line = await Until(b"\r\n", limit=8)
            if not re.fullmatch(rb"[0-9a-f]{1,3}\r\n", line):
                self.send(b"bad\r\n")
                return
            data = await Exactly(int(line[:-2], 16) + 2)
            if not self.is_end(data[-2:]):
                self.send(b"bad\r\n")
                return
            self.send(b"%b.\r\n" % data[:-2])


class LooksAtTheEnd(SkipsToTheChunk):
    def is_end(self, data):
        return data == b"\r\n"


class IgnoresTheComma(StreamHandler):
    """Does not look at the comma after a netstring."""

    def is_end(self, data):
        return True

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=4))[:-1]
            if not re.fullmatch(rb"[0-9]{1,3}", digits):
                return
            data = await Exactly(int(digits) + 1)
            if not self.is_end(data[-1:]):
                return
            self.send(b"%b;" % data[:-1])


class LooksAtTheComma(IgnoresTheComma):
    def is_end(self, data):
        return data == b","


# Numbers


class AllowsMinus(StreamHandler):
    """Reads a length with ``int()``; with a negative one, bytes count again that have been taken."""

    def size(self, digits):
        return int(digits)

    async def handle(self):
        held = b""
        while True:
            held += await Some(limit=100)
            while held:
                digits, colon, _ = held[:4].partition(b":")
                if not colon and len(held) < 4:
                    break
                try:
                    size = self.size(digits)
                except ValueError:
                    self.send(b"bad\n")
                    return
                start = len(digits) + 1
                if len(held) < start + size:
                    break
                self.send(b"<%b>" % held[start : start + size])
                held = held[start + size :]


class AllowsDigits(AllowsMinus):
    def size(self, digits):
        if not re.fullmatch(rb"[0-9]{1,3}", digits):
            raise ValueError(digits)
        return int(digits)


class TooManyDigits(StreamHandler):
    """Reads a number of any length: ``int()`` refuses more than 4,300 digits, with a ValueError of its own."""

    pattern = re.compile(rb"[0-9]+")

    async def handle(self):
        while True:
            line = (await Until(b"\n", limit=65_536))[:-1]
            self.send(b"%d\n" % (int(line) % 97) if self.pattern.fullmatch(line) else b"no number\n")


class FewDigits(TooManyDigits):
    pattern = re.compile(rb"[0-9]{1,30}")


class PacksTheSum(StreamHandler):
    """Adds two numbers of four bytes, and packs the sum into four."""

    modulus = 1 << 64

    async def handle(self):
        while True:
            one, other = struct.unpack("!II", await Exactly(8))
            self.send(struct.pack("!I", (one + other) % self.modulus))


class WrapsTheSum(PacksTheSum):
    modulus = 1 << 32


class CountsItself(StreamHandler):
    """The length counts its own two bytes; less than 2 is a negative number of bytes."""

    least = 0

    async def handle(self):
        while True:
            size = int.from_bytes(await Exactly(2), "big")
            if size < self.least:
                return
            data = await Exactly(size - 2) if size != 2 else b""
            self.send(size.to_bytes(2, "big") + data)


class RefusesLess(CountsItself):
    least = 2


class ReadsAnOffset(StreamHandler):
    """Follows an offset of the message without a look at its size: compression of names, DNS (CVE-2020-11901)."""

    def is_inside(self, place, data):
        return True

    async def handle(self):
        while True:
            data = await Exactly(8)
            place, hops = data[0], 0
            while place and hops < 9:
                if not self.is_inside(place, data):
                    self.send(b"?")
                    return
                place, hops = data[place], hops + 1
            self.send(bytes([hops]))


class LooksInside(ReadsAnOffset):
    def is_inside(self, place, data):
        return place < len(data)


class FollowsLoops(StreamHandler):
    """Follows pointers that point at each other, for ever (CVE-2017-9445 and others)."""

    most = 1 << 40

    async def handle(self):
        while True:
            data = await Exactly(4)
            place, hops = data[0] % 4, 0
            while place and hops < self.most:
                place, hops = data[place] % 4, hops + 1
            self.send(b"%d\n" % hops)


class FollowsFew(FollowsLoops):
    most = 8


# What is held


class KeepsThePipeline(StreamHandler):
    """Reads all requests that come, and answers one after another, slowly."""

    most = 1 << 40

    async def handle(self):
        waiting = []
        while True:
            line = await Until(b"\n", limit=80)
            waiting.append(line)
            if line == b"\n" or len(waiting) > self.most:
                for each in waiting:
                    self.send(each)
                waiting.clear()


class KeepsAFew(KeepsThePipeline):
    most = 32


class Inflates(StreamHandler):
    """Decompresses without a bound: a bomb."""

    most = 0

    async def handle(self):
        size = int.from_bytes(await Exactly(2), "big")
        packed = await Exactly(size) if size else b""
        tool = zlib.decompressobj()
        try:
            self.plain = tool.decompress(packed, self.most)
        except zlib.error:
            self.send(b"bad")
            return
        await Until(b"\n", limit=80)
        self.send(b"%d\n" % len(self.plain))


class InflatesLittle(Inflates):
    most = 10_000


class AnswersAsMuchAsAsked(StreamHandler):
    """Sends back as many bytes as the client says that it has sent (CVE-2014-0160)."""

    def answer(self, size, data):
        return (data + bytes(range(256)) * 256)[:size]

    async def handle(self):
        while True:
            size, sent = struct.unpack("!HH", await Exactly(4))
            data = await Exactly(sent) if sent else b""
            self.send(self.answer(size, data))


class AnswersWhatWasSent(AnswersAsMuchAsAsked):
    def answer(self, size, data):
        return data if size == len(data) else b""


class RemembersPackets(DatagramHandler):
    """Remembers the number of each question, for duplicates, for ever."""

    answered = {}
    most = 1 << 40

    async def handle(self):
        packet = await Packet()
        if packet not in self.answered:
            if len(self.answered) >= self.most:
                self.answered.clear()
            self.answered[packet] = b"answer to " + packet
        self.send(self.answered[packet])


class RemembersFewPackets(RemembersPackets):
    most = 256


# Work


class SearchesAll(StreamHandler):
    """Searches for the end with a regular expression, in all that is held, at each read."""

    def found(self, held, seen):
        return re.search(rb"\n\n", held)

    async def handle(self):
        held, seen = bytearray(), 0
        while len(held) <= 8_000:
            held += await Some(limit=8_001 - len(held))
            while found := self.found(held, seen):
                self.send(b"%d\n" % found.start())
                del held[: found.end()]
                seen = 0
            seen = len(held)


class SearchesTheRest(SearchesAll):
    end = re.compile(rb"\n\n")

    def found(self, held, seen):
        return self.end.search(held, max(0, seen - 1))


class BuffersInAFile(StreamHandler):
    """Looks at the whole value of its BytesIO at each read."""

    async def handle(self):
        held = BytesIO()
        while held.tell() <= 8_000:
            held.write(await Some(limit=8_001 - held.tell()))
            while b"\n" in held.getvalue():
                line, _, rest = held.getvalue().partition(b"\n")
                self.send(b"%d\n" % len(line))
                held = BytesIO()
                held.write(rest)


class BuffersLines(StreamHandler):
    async def handle(self):
        while True:
            self.send(b"%d\n" % (len(await Until(b"\n", limit=8_001)) - 1))


class ChecksumsAll(StreamHandler):
    """Computes the checksum of all that is held at each read."""

    async def handle(self):
        held = bytearray()
        while len(held) < 8_000:
            held += await Some(limit=1_000)
            if zlib.crc32(held) == 0:
                self.send(b"zero\n")


class ChecksumsOnce(StreamHandler):
    async def handle(self):
        size = checksum = 0
        while size < 8_000:
            data = await Some(limit=1_000)
            size, checksum = size + len(data), zlib.crc32(data, checksum)
            if checksum == 0:
                self.send(b"zero\n")


class MatchesAnew(StreamHandler):
    """Tries to match a whole line with a regular expression at each read."""

    line = re.compile(rb"[^\n]*\n")

    async def handle(self):
        held = bytearray()
        while len(held) <= 8_000:
            held += await Some(limit=8_001 - len(held))
            while found := self.line.match(held):
                self.send(b"%d\n" % (found.end() - 1))
                del held[: found.end()]


class Backtracks(StreamHandler):
    """A regular expression that tries every way to divide a word (CVE-2021-23437 and others)."""

    pattern = re.compile(rb"([a-z]+\.?)+@[a-z]+")

    async def handle(self):
        while True:
            line = await Until(b"\n", limit=200)
            self.send(b"yes\n" if self.pattern.fullmatch(line.rstrip(b"\r\n")) else b"no\n")


class TriesOneWay(Backtracks):
    pattern = re.compile(rb"[a-z]+(\.[a-z]+)*@[a-z]+")


class SumsAgain(StreamHandler):
    """Measures all pieces at each read."""

    async def handle(self):
        self.pieces = []
        while sum(map(len, self.pieces)) < 8_000:
            self.pieces.append(await Some(limit=1_000))


class SumsOnce(StreamHandler):
    async def handle(self):
        self.pieces, size = [], 0
        while size < 8_000:
            self.pieces.append(await Some(limit=1_000))
            size += len(self.pieces[-1])


# States


class TakesTheReadAsItsOwn(StreamHandler):
    """Takes what came in the same read as STARTTLS for encrypted (CVE-2011-0411): the plain rest is not thrown away."""

    async def handle(self):
        held = b""
        is_secure = False
        while len(held) < 200:
            held += await Some(limit=200)
            while b"\n" in held:
                line, _, held = held.partition(b"\n")
                if line == b"STARTTLS":
                    is_secure = True
                    self.send(b"go\n")
                    held = self.left(held)
                else:
                    self.send(b"%b %d\n" % (line, is_secure))

    def left(self, held):
        return b""


class EndsAtOnce(StreamHandler):
    """Ends if anything comes behind STARTTLS before the answer."""

    async def handle(self):
        is_secure = False
        while True:
            line = (await Until(b"\n", limit=200))[:-1]
            if line == b"STARTTLS":
                is_secure = True
                self.send(b"go\n")
            else:
                self.send(b"%b %d\n" % (line, is_secure))


class AnswersTwice(StreamHandler):
    """Answers an error, and then the request too."""

    async def handle(self):
        held = b""
        while True:
            data = await Some(limit=100)
            held += data
            if len(data) > 20:
                self.send(b"413\r\n")
            if len(held) > 100:
                return
            while b"\n" in held:
                line, _, held = held.partition(b"\n")
                self.send(b"200 %b\r\n" % line)


class AnswersOnce(StreamHandler):
    async def handle(self):
        while True:
            try:
                line = await Until(b"\n", limit=21)
            except LimitPassed:
                self.send(b"413\r\n")
                return
            self.send(b"200 %b\r\n" % line[:-1])


class ForgetsTheUser(StreamHandler):
    """Keeps the login of a connection by its address, which the next connection may have (CVE-2020-8620 and others)."""

    users = {}

    async def handle(self):
        while True:
            verb, _, name = (await Until(b"\n", limit=40)).rstrip().partition(b" ")
            if verb == b"USER":
                self.remember(name)
                self.send(b"hello\n")
            else:
                self.send(self.known() + b"\n")

    def remember(self, name):
        self.users[self.peer[0]] = name
        if len(self.users) > 99:
            self.users.clear()

    def known(self):
        return self.users.get(self.peer[0], b"nobody")


class RemembersItself(ForgetsTheUser):
    user = b"nobody"

    def remember(self, name):
        self.user = name

    def known(self):
        return self.user


class DecodesEachRead(StreamHandler):
    """Decodes each read by itself: a letter of two bytes may come in two reads."""

    async def handle(self):
        held = ""
        while len(held) < 80:
            held += (await Some(limit=80)).decode("utf-8", "replace")
            while "\n" in held:
                line, _, held = held.partition("\n")
                self.send(line.upper().encode() + b"\n")


class DecodesLines(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            self.send(line.decode("utf-8", "replace").upper().encode())


class TriesThreeTimes(StreamHandler):
    """Retries after each timeout, three times, and counts from the beginning at each byte: never at an end."""

    timeout = 5

    async def handle(self):
        held, tries = b"", 0
        while tries < 3:
            try:
                held += await Exactly(1)
            except TimedOut:
                tries += 1
                continue
            tries = 0
            if held.endswith(b"\n"):
                self.send(held)
                held = b""
            if len(held) > 250:
                return


class TriesWithinAMinute(TriesThreeTimes):
    request_timeout = 60


class DoublesItsAnswers(DatagramHandler):
    """Sends the block again for each acknowledgement of an older block."""

    timeout = 5
    is_patient = False

    async def handle(self):
        await Packet()
        for number in range(4):
            self.send(b"data of block number %d" % number)
            while (packet := await Packet()) != b"ack %d" % number:
                if packet == b"ack %d" % (number - 1) and not self.is_patient:
                    self.send(b"data of block number %d" % number)


class IgnoresOldOnes(DoublesItsAnswers):
    is_patient = True


class TimesOutInTheEnd(StreamHandler):
    """Sends keepalives for ever to a client that says nothing."""

    most = 1 << 40

    async def handle(self):
        missed = 0
        while missed < self.most:
            try:
                self.send(await Until(b"\n", limit=40, timeout=30))
            except TimedOut:  # noqa: PERF203  # each line may time out
                missed += 1
            else:
                missed = 0


class TimesOutSoon(TimesOutInTheEnd):
    most = 3


class NullEnds(StreamHandler):
    """Takes a name up to its first NUL, as C does (CVE-2009-2408): the rest of the name is not looked at."""

    def name(self, text):
        return text.split(b"\0")[0]

    async def handle(self):
        while True:
            name = self.name((await Until(b"\n", limit=80))[:-1].removesuffix(b"\r"))
            self.send(b"welcome\n" if name == b"ann" else b"who is that?\n")


class WholeName(NullEnds):
    def name(self, text):
        return text


class PromisesAnswers(StreamHandler):
    """Waits a second before the answer, and forgets what came meanwhile."""

    async def handle(self):
        while True:
            data = await Some(limit=80)
            await Delay(1)
            self.send(data.partition(b"\n")[0] + b"\n")


class WaitsForLines(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n", limit=80)
            await Delay(1)
            self.send(line)


class EndsTwice(StreamHandler):
    """Takes the end of the stream in the middle of a message for the end of the message."""

    async def handle(self):
        while True:
            size = (await Exactly(1))[0]
            try:
                data = await Exactly(size) if size else b""
            except Cause as cause:
                data = getattr(cause, "partial", b"")
            self.send(b"%d %b\n" % (size, data))


class EndsOnce(StreamHandler):
    async def handle(self):
        while True:
            size = (await Exactly(1))[0]
            try:
                data = await Exactly(size) if size else b""
            except EndOfStream:
                return
            self.send(b"%d %b\n" % (size, data))


CHUNKS = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n"
PACKED = b"\0\x0d" + zlib.compress(b"hello") + b"\n"
POST = (
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)
ANY_CUT, LINEAR = "same_for_any_chunking", "works_linearly"
REPEATED = "stays_in_bounds_when_repeated"
PAIRS = [
    Pair(LastLengthWins, OneLengthOnly, POST, "takes_one_length_only"),
    Pair(LengthBesideChunks, OneLengthOnly, POST, "takes_one_length_only"),
    Pair(SkipsToTheChunk, LooksAtTheEnd, CHUNKS, "takes_exact_ends_only"),
    Pair(AllowsMinus, AllowsDigits, b"5:hello3:abc", "takes_plain_numbers_only"),
    Pair(TooManyDigits, FewDigits, b"123\n45\n", "same_at_its_limits"),
    Pair(PacksTheSum, WrapsTheSum, b"\0\0\0\1\0\0\0\2", "survives_any_input"),
    Pair(CountsItself, RefusesLess, b"\0\7hello\0\2", "survives_any_input"),
    Pair(ReadsAnOffset, LooksInside, b"\1\3\0\4\0\0\0\0", "survives_any_input"),
    Pair(FollowsLoops, FollowsFew, b"\1\2\3\0", "survives_any_input"),
    Pair(KeepsThePipeline, KeepsAFew, b"one\ntwo\n\n", REPEATED),
    Pair(Inflates, InflatesLittle, PACKED, "bears_any_bomb"),
    Pair(RemembersPackets, RemembersFewPackets, [b"1 one", b"2 two"], REPEATED),
    Pair(SearchesAll, SearchesTheRest, b"one\n\ntwo\n\n", LINEAR),
    Pair(BuffersInAFile, BuffersLines, b"one\ntwo\n", LINEAR),
    Pair(ChecksumsAll, ChecksumsOnce, b"one", LINEAR),
    Pair(MatchesAnew, BuffersLines, b"one\ntwo\n", LINEAR),
    Pair(Backtracks, TriesOneWay, b"ann.b@c\n", "matches_in_time"),
    Pair(SumsAgain, SumsOnce, b"one", LINEAR),
    Pair(TakesTheReadAsItsOwn, EndsAtOnce, b"one\nSTARTTLS\ntwo\n", ANY_CUT),
    Pair(AnswersTwice, AnswersOnce, b"one\ntwo\n", "same_at_its_limits"),
    Pair(ForgetsTheUser, RemembersItself, b"USER ann\nwho\n", "leaves_nothing_behind"),
    Pair(DecodesEachRead, DecodesLines, "é\nü\n".encode(), ANY_CUT),
    Pair(TriesThreeTimes, TriesWithinAMinute, b"one\ntwo\n", "ends_if_it_drips"),
    Pair(DoublesItsAnswers, IgnoresOldOnes, [b"read", b"ack 0", b"ack 1", b"ack 2"], "answers_duplicates_once"),
    Pair(TimesOutInTheEnd, TimesOutSoon, b"one\n", "ends_at_any_byte"),
    Pair(NullEnds, WholeName, b"ann\nbob\n", "takes_exact_ends_only"),
    Pair(PromisesAnswers, WaitsForLines, b"one\ntwo\n", ANY_CUT),
    Pair(IgnoresTheComma, LooksAtTheComma, b"5:hello,3:abc,", "takes_exact_ends_only"),
    Pair(AnswersAsMuchAsAsked, AnswersWhatWasSent, b"\0\5\0\5hello", "takes_true_lengths_only"),
    Pair(EndsTwice, EndsOnce, b"\5hello\3abc", "takes_causes_for_ends"),
]


def assert_told_apart(pair, directory):
    """The property accuses the wrong handler, with a test that is red on it and green on the right one, and only it."""
    holds = getattr(checks, pair.holds)
    given = () if pair.holds == "drops_no_step" else (pair.conversation,)
    with pytest.raises(CheckFailed, match=f"  property {pair.holds}: ") as caught:
        holds(pair.wrong, *given)
    code = str(caught.value).partition("\n\n")[2]
    if given:
        assert_red_then_green(code, pair.wrong, pair.right, directory)
    holds(pair.right, *given)
