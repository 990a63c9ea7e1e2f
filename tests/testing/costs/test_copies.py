"""`works_linearly` finds handlers that copy all that they hold, or have answered, again and again."""

import re

import pytest

from handlers import Exactly, Some, StreamHandler, Until
from reactor.testing import works_linearly
from reactor.testing.inputs.holding import holding
from reactor.testing.inputs.tried import Tried
from reactor.testing.running.report import CheckFailed
from tests.support.pasted import assert_red_then_green

pytestmark = pytest.mark.slow


class Lists(StreamHandler):
    """Answers each number of a list with a line. Broken: it copies the answer so far for each."""

    timeout = 30

    def handle(self):
        return Until(b"\n", limit=16_384), self.line

    def line(self, line):
        answer = b""
        for number in line[:-1].split(b","):
            answer += b"%d: fine\n" % len(number)
        self.send(answer + b".\n")
        return self.handle()


class ListsRight(Lists):
    def line(self, line):
        self.send(b"".join(b"%d: fine\n" % len(number) for number in line[:-1].split(b",")) + b".\n")
        return self.handle()


class Parts(StreamHandler):
    """Messages of parts: a byte for the length of each, 0 for the end. Broken: it decodes all parts at each."""

    timeout = 30
    request_timeout = 30
    most = 65_536

    async def handle(self):
        while True:
            self.one_by_one += 1
            held, size = bytearray(), (await Exactly(1))[0]
            while size:
                part = await Exactly(size)
                held += part
                self.check(held, part)
                if len(held) > self.most:
                    return
                size = (await Exactly(1))[0]
            self.send(b"%d\n" % len(held))

    def check(self, held, part):
        str(memoryview(held), "latin-1")


class PartsRight(Parts):
    def check(self, held, part):
        str(part, "latin-1")


class Few(Parts):
    """Has few bytes in a message."""

    most = 512


class Announced(StreamHandler):
    """A line with the size of all, in digits, then blocks of this size, each with a byte for its length."""

    timeout = 30
    request_timeout = 30

    async def handle(self):
        while True:
            self.one_by_one += 1
            size, held = int((await Until(b"\n", limit=80)).rpartition(b" ")[2]), bytearray()
            while len(held) < size:
                held += await Exactly((await Exactly(1))[0])
            self.send(bytes(held))


class Counted(StreamHandler):
    """A size in two bytes, then a text of this size. Broken: it decodes what it has with each read."""

    timeout = 30
    request_timeout = 30
    has_all = False

    def setup(self):
        self.one_by_one = 0
        self.held = bytearray()

    def handle(self):
        return Some(), self.first

    def first(self, data):
        return self.more(data)

    def more(self, data):
        self.held += data
        while len(self.held) > 1:
            size = 2 + int.from_bytes(self.held[:2], "big")
            if (text := self.text(size)) is None:
                break
            self.send(text.upper().encode() + b"\n")
            del self.held[:size]
            self.one_by_one += 1
        return Some(), self.more if self.held else self.first

    def text(self, size):
        text = str(memoryview(self.held)[2:size], "latin-1")
        return text if len(text) == size - 2 else None


class CountedRight(Counted):
    def text(self, size):
        return super().text(size) if len(self.held) >= size else None


class Long(Announced):
    """The same with the size in two bytes, of which 10,000 are the most."""

    async def handle(self):
        size, held = int.from_bytes(await Exactly(2), "big"), bytearray()
        while len(held) < min(size, 10_000):
            held += await Exactly((await Exactly(1))[0])


PAIRS = [
    (Lists, ListsRight, b"1,2,3\n"),
    (Parts, PartsRight, b"\2ab\2cd\3efg\0\1a\0"),
    (Counted, CountedRight, b"\0\3one\0\3two"),
]


@pytest.mark.in_turn
@pytest.mark.parametrize(("wrong", "right", "conversation"), PAIRS, ids=lambda value: getattr(value, "__name__", ""))
def test_copies_are_found_and_told(wrong, right, conversation, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        works_linearly(wrong, conversation, examples=2)
    message, _, code = str(caught.value).partition("\n\n")
    told = (
        r"of four times as many bytes it copies (\d+) times as many: (\d+) bytes for (\d+), so it copies what it holds"
    )
    [(times, copied, size)] = re.findall(rf"^{wrong.__name__}: {told}", message)
    assert int(times) > 6
    assert int(copied) > 50 * int(size)
    assert_red_then_green(code, wrong, right, tmp_path)
    works_linearly(right, conversation, examples=2)


def test_a_handler_that_has_a_bound_is_not_accused():
    works_linearly(Few, PAIRS[1][2], examples=2)


def held_by(kind, conversation):
    return [(held.begun, held.piece, held.is_changed) for held in holding(Tried(kind, conversation, None))]


def test_what_a_handler_holds_is_found():
    assert held_by(Parts, PAIRS[1][2]) == [(b"\2ab", b"\2cd", False)]
    assert held_by(Lists, b"1,2,3\n") == []


def test_a_number_before_what_is_held_is_made_greater():
    assert held_by(Announced, b"SIZE 5\n\2ab\3cde") == [(b"SIZE 60000\n", b"\2ab", True)]
    assert held_by(Long, b"\0\5\2ab\3cde") == [(b"\x1f\5", b"\2ab", True)]
