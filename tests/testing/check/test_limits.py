"""`same_at_its_limits` reads in the source which length is the largest, and sees whether the handler takes it."""

import pytest

from handlers import Cause, DatagramHandler, Exactly, Packet, StreamHandler, Until
from reactor.testing import same_at_its_limits
from reactor.testing.reading.largest import left_out
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.eleventh.edges import PAIRS
from tests.support.pasted import assert_red_then_green

MAX_SIZE = 300
MOST_POINTS = 20
LIMIT = 300


class Malformed(Cause):
    """What the peer has sent is refused."""


class Stores(StreamHandler):
    """Takes pieces with their size before them, and ends when one is too long."""

    async def handle(self):
        while True:
            size = int((await Until(b"\n", limit=8))[:-1])
            if size >= MAX_SIZE:
                raise Malformed("too long")
            self.send(b"%d taken\n" % len(await Exactly(size)))


class StoresAll(Stores):
    """Takes also the largest."""

    async def handle(self):
        while True:
            size = int((await Until(b"\n", limit=8))[:-1])
            if size > MAX_SIZE:
                raise Malformed("too long")
            self.send(b"%d taken\n" % len(await Exactly(size)))


class Says(StreamHandler):
    """Takes pieces with their size in braces before them, and says so when one is too long."""

    async def handle(self):
        while True:
            size = int((await Until(b"}\r\n", limit=9))[1:-3])
            data = await Exactly(size, limit=1 << 20)
            self.send(b"OK %d\r\n" % len(data) if self.is_allowed(size) else b"NO too long\r\n")

    def is_allowed(self, size):
        return size < MAX_SIZE


class SaysAll(Says):
    """Takes also the largest."""

    def is_allowed(self, size):
        return size <= MAX_SIZE


class Points(DatagramHandler):
    """Answers the number of points, if there are not too many."""

    timeout = 30

    async def handle(self):
        while True:
            count, rest = divmod(len(await Packet()) - 2, 8)
            if not rest and self.may_be(count):
                self.send(b"\0%c\0%c" % (count, count) * 2 * count)

    def may_be(self, count):
        return 0 < count < MOST_POINTS


class PointsAll(Points):
    """Takes also the most."""

    def may_be(self, count):
        return 0 < count <= MOST_POINTS


class HasRoom(Says):
    """Compares with the largest what it has kept: one more is to be added."""

    kept = 0

    def is_allowed(self, size):
        return self.has_room(self.kept) and size < LIMIT

    def has_room(self, count):
        return count < MAX_SIZE


class Parts(StreamHandler):
    """Takes a text in parts, of which the last is shorter than the others."""

    async def handle(self):
        text = b""
        while True:
            size = int((await Until(b"\n", limit=8))[:-1])
            text += await Exactly(size)
            if size < MAX_SIZE:
                self.send(b"%d in all\n" % len(text))
                return


class Counts(Says):
    """Counts up to the largest number of zeros."""

    def is_allowed(self, size):
        count = 0
        while count < MAX_SIZE:
            count += 1
        return size < MAX_SIZE - 1 or size <= count


POINT = b"\1\2\3\4\5\6\7\x08"


@pytest.mark.parametrize(
    ("kind", "right", "conversation"),
    [
        (Stores, StoresAll, b"5\nhello"),
        (Says, SaysAll, b"{5}\r\nhello"),
        (Points, PointsAll, [b"\0\1" + POINT]),
        *((pair.broken, pair.right, pair.conversation) for pair in PAIRS if pair.name in ("sieve", "rip")),
    ],
)
def test_the_largest_that_the_source_names_is_refused(kind, right, conversation, tmp_path):
    same_at_its_limits(right, conversation)
    with pytest.raises(
        CheckFailed, match="refused by the handler, which takes one less, although the source"
    ) as caught:
        same_at_its_limits(kind, conversation)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], kind, right, tmp_path)


@pytest.mark.parametrize(
    ("kind", "conversation"),
    [
        (HasRoom, b"{5}\r\nhello"),
        (Parts, b"5\nhello"),
        (Counts, b"{5}\r\nhello"),
        (PointsAll, [b"\0\1" + POINT * 2]),
        (Points, [b"\0\1" + POINT * 2]),
    ],
)
def test_what_may_be_right_is_not_accused(kind, conversation):
    """The last has two points in its message: how many there are in all is not known."""
    same_at_its_limits(kind, conversation)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        (Stores, [MAX_SIZE]), (StoresAll, []), (Says, [MAX_SIZE]), (Points, [MOST_POINTS]), (HasRoom, []),
        (Parts, [MAX_SIZE]), (Counts, []),
    ],
)  # fmt: skip
def test_what_the_source_leaves_out(kind, numbers):
    assert list(left_out(kind)) == numbers


def test_without_source_nothing_is_left_out():
    names = {}
    exec("def handle(self): return None", names)
    assert left_out(type("Made", (StreamHandler,), {"handle": names["handle"]})) == {}
