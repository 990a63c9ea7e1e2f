"""Work that grows with the square of what comes: text that is decoded anew, tags that are copied, patterns."""

import re

from handlers import Exactly, LimitPassed, Some, StreamHandler, Until
from tests.support.pairs.pair import Pair


class Lines(StreamHandler):
    """Lines of UTF-8, up to 64 KiB each; the answer is the number of letters."""

    timeout = 30
    request_timeout = 60
    longest = 65_536

    def setup(self):
        self.one_by_one = 0
        self.pieces, self.size = [], 0

    async def handle(self):
        while True:
            data = await Some(limit=16_384)
            *ends, rest = data.split(b"\n")
            for end in ends:
                if not self.line(end):
                    return None
            self.keep(rest)
            if self.size > self.longest:
                return self.send(b"! too long\n")

    def keep(self, data):
        if data:
            self.pieces.append(data)
            self.size += len(data)

    def line(self, end):
        self.keep(end)
        line, self.size = b"".join(self.pieces), 0
        self.pieces.clear()
        self.one_by_one += 1
        if len(line) > self.longest:
            self.send(b"! too long\n")
            return False
        try:
            self.send(b"%d\n" % len(line.decode()))
        except UnicodeDecodeError:
            self.send(b"! no UTF-8\n")
        return True


class DecodedAnew(Lines):
    def keep(self, data):
        super().keep(data)
        self.pieces[:] = [b"".join(self.pieces)]
        self.text = self.pieces[0].decode(errors="replace").split("\n")


class Tags(StreamHandler):
    """BER: the tags and the lengths of values, which are passed over."""

    timeout = 30
    request_timeout = 60
    most_octets = 4

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            tag = await Exactly(1)
            if tag[0] & 0x1F == 0x1F:
                number = await self.long_form()
                if number is None:
                    return self.send(b"! tag\n")
            else:
                number = tag[0] & 0x1F
            length = (await Exactly(1))[0]
            if length > 0x7F:
                return self.send(b"! length\n")
            if length:
                await Exactly(length)
            self.send(b"%d: %d\n" % (number, length))

    async def long_form(self):
        number = 0
        for place in range(self.most_octets):
            octet = (await Exactly(1))[0]
            if place == 0 and octet == 0x80:
                return None
            number = number << 7 | octet & 0x7F
            if not octet & 0x80:
                return number
        return None


class GrowingTags(Tags):
    async def long_form(self):
        octets = b""
        while True:
            octets += await Exactly(1)
            if octets[0] == 0x80:
                return None
            if not octets[-1] & 0x80:
                break
        number = 0
        for octet in octets[-self.most_octets :]:
            number = number << 7 | octet & 0x7F
        return number


STRICT = re.compile(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{4})(?: (\d\d):(\d\d))?(?: (GMT|UTC))?")
LOOSE = re.compile(r"(\d{1,2})-([A-Z][a-z]{2})-(\d{4})(?:\s+(\d\d):(\d\d))?\s*(GMT|UTC)?\s*(?:\(\w+\))?\s*$")


class Dates(StreamHandler):
    """Says the year of a date."""

    timeout = 30
    request_timeout = 30

    def setup(self):
        self.one_by_one = 0

    async def handle(self):
        while True:
            self.one_by_one += 1
            try:
                line = await Until(b"\n", limit=8_192)
            except LimitPassed:
                return self.send(b"! too long\n")
            found = self.matched(line[:-1].decode("latin-1"))
            self.send(b"! no date\n" if found is None else found[3].encode("ascii", "replace") + b"\n")

    def matched(self, text):
        return STRICT.fullmatch(text) if text.isascii() else None


class LooseDates(Dates):
    def matched(self, text):
        return LOOSE.match(text) if text.isascii() else None


PAIRS = [
    # Fault (actor-ts 610): all that is held of a line is joined and decoded with each read.
    Pair("lines-decoded-anew", 11, DecodedAnew, Lines, ["größer\n".encode(), b"a" * 300 + b"\n", b"\n"]),
    # Fault (ASN1.js 150): the octets of a tag have no bound, and are copied with each that comes.
    Pair("tags-growing", 11, GrowingTags, Tags, [b"\x04\x03abc", b"\x1f\x81\x01\x02xy", b"\x02\x01\x07"]),
    # Fault (cpython 17157): three blanks of any number follow each other in a pattern.
    Pair("dates-loose", 11, LooseDates, Dates, [b"1-Dec-2026 10:00 GMT\n", b"24-Dec-2026\n"]),
]  # fmt: skip
