"""Counting the bytes that a handler copies."""

import tracemalloc
from contextlib import contextmanager

import pytest

from handlers import Exactly, StreamHandler, Until
from reactor.testing.running.copying import copied, copy_limit

SIZE = 10_000
TIMES = 50


class Copies(StreamHandler):
    """Copies what it holds, ``SIZE`` bytes, with each byte that comes."""

    timeout = 30
    copy = bytes

    async def handle(self):
        held = memoryview(bytes(SIZE))
        while True:
            await Exactly(1)
            self.copy(held)


class Joins(Copies):
    def copy(self, held):
        return b"".join([held[:SIZE], held[:0]])


class Texts(Copies):
    def copy(self, held):
        return str(held, "ascii")


class Looks(Copies):
    def copy(self, held):
        return held[1:]


@pytest.mark.parametrize("kind", [Copies, Joins, Texts])
def test_a_copy_counts_although_it_is_freed_at_once(kind):
    few, many = (copied(kind, [b"a"] * count) for count in (TIMES, 2 * TIMES))
    assert 0.9 < (many - few) / (SIZE * TIMES) < 1.2  # some is allocated beside the copy


def test_what_copies_nothing_does_not_count():
    copied(Looks, [b"a"])  # Python makes room for objects of its own
    few, many = (copied(Looks, [b"a"] * count) for count in (TIMES, 2 * TIMES))
    assert abs(many - few) < SIZE * TIMES / 20  # objects of other threads, and of Python itself, may count


@pytest.mark.parametrize("size", [1, 100])
def test_what_grows_in_place_counts_once(size):
    class Grows(StreamHandler):
        timeout = 30

        async def handle(self):
            held = bytearray()
            while True:
                held += await Exactly(size)

    assert copied(Grows, [bytes(size)] * 2_000) < 10 * size * 2_000


def test_copies_of_one_line_in_a_loop_count_each():
    text = b"a" * SIZE
    with traced(), copy_limit(1_000) as limit:
        [text[1:] for _ in range(TIMES)]
    assert SIZE * TIMES <= limit.copied < 1.1 * SIZE * TIMES


@contextmanager
def traced():
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_a_trace_of_the_user_stays_on():
    copied(Copies, [b"a"])
    assert not tracemalloc.is_tracing()
    with traced():
        copied(Copies, [b"a"])
        assert tracemalloc.is_tracing()


def test_what_the_handler_raises_is_raised():
    class Raises(StreamHandler):
        timeout = 30

        async def handle(self):
            int(await Until(b"\n", limit=80))

    with pytest.raises(ValueError, match="invalid literal"):
        copied(Raises, [b"one\n"])
    assert not tracemalloc.is_tracing()
