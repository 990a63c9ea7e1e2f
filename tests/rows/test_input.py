"""The input of a stream row: one read for each readiness, and readiness is a hint."""

import random
import select
import socket
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import Delay, Exactly, Forked, Some, StreamHandler, Until
from handlers.services import Echo
from handlers.telnet import TelnetEcho
from reactor import Reactor
from reactor.rows.stream import BULK_SIZE, READ_SIZE
from tests.support.bench import PATTERN, Counting, bench
from tests.support.loops import Eager, until
from tests.support.serving import STREAMS, connect, made, server_class

UNIX = STREAMS["unix"]


def fill(client):
    """Send until the kernel takes nothing more."""
    try:
        while True:
            client.send(PATTERN)
    except BlockingIOError:
        pass


class Sizes(socket.socket):
    """A socket that notes how many bytes the row asks for."""

    asked: list

    def recv(self, size, flags=0):
        self.asked = [*getattr(self, "asked", ()), size]
        return super().recv(size, flags)


@pytest.mark.parametrize(("wait", "most"), [(Some(1 << 20), BULK_SIZE), (Some(100_000), 100_000), (Some(), READ_SIZE)])
def test_a_row_reads_more_at_once_while_its_reads_are_full_and_its_wait_takes_more(wait, most, place):
    pieces = []

    class Sink(StreamHandler):
        async def handle(self):
            while True:
                pieces.append(await wait)

    with bench(Sink, place, Sizes) as here:
        client = here.connect()
        here.give(client, b"small")
        here.give(client, PATTERN[5:1_000_000])
        here.until(lambda: here.row.total_in == 1_000_000)
        client.sendall(b"small")
        here.rest()
        client.sendall(b"small again")
        here.rest()
        asked = here.row.socket.asked
        assert set(asked) <= {READ_SIZE, most}
        assert most in asked
        assert asked[0] == asked[-1] == READ_SIZE
        assert b"".join(pieces) == b"small" + PATTERN[5:1_000_000] + b"smallsmall again"
        assert max(map(len, pieces)) <= most


def test_a_larger_read_that_was_in_vain_is_not_tried_again_with_each_message(place):
    class Sink(StreamHandler):
        async def handle(self):
            while True:
                await Some(1 << 20)

    with bench(Sink, place, Sizes) as here:
        client = here.connect()
        for number in range(1, 11):
            here.give(client, PATTERN[:READ_SIZE])
            here.until(lambda count=number: here.row.total_in == count * READ_SIZE)
        assert here.row.socket.asked.count(BULK_SIZE) <= 2


def test_one_read_for_each_readiness_so_that_a_flood_starves_no_other(place):
    class Sink(StreamHandler):
        async def handle(self):
            while True:
                await Some()

    with bench(Sink, place, Counting) as here:
        flooding, slow = here.connect(), here.connect()
        flooded, answered = here.table
        flooding.setblocking(False)
        for _ in range(5):
            fill(flooding)
            slow.sendall(b"word")
            reads, read, heard = flooded.socket.recvs, flooded.total_in, answered.total_in
            here.reactor.step()
            assert flooded.socket.recvs == reads + 1
            assert 0 < flooded.total_in - read <= READ_SIZE
            assert answered.total_in == heard + 4


def test_a_row_that_does_not_want_input_leaves_it_in_the_kernel(place):
    class Resting(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            await Delay(0.05)
            self.send(await Exactly(4))

    with bench(Resting, place) as here:
        client = here.connect()
        client.sendall(b"\n")
        here.rest()
        client.sendall(b"word")
        here.reactor.step(0)
        assert here.row.total_in == 1
        assert here.interest(here.row) == 0
        assert here.take(client, 4) == b"word"


class Flaky(socket.socket):
    """Randomly fails with EAGAIN or EINTR, or does half of a call."""

    dice = random.Random()

    def stumble(self):
        if self.dice.random() < 0.3:
            raise self.dice.choice((BlockingIOError, InterruptedError))

    def recv(self, size, flags=0):
        self.stumble()
        return super().recv(min(size, self.dice.choice((1, 7, 1000, size))), flags)

    def send(self, data, flags=0):
        self.stumble()
        return super().send(data[: self.dice.choice((1, 7, 1000, len(data)))], flags)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 5000), min_size=1, max_size=15))
def test_spurious_readiness_and_interrupted_calls_lose_and_double_nothing(seed, sizes):
    dice = random.Random(seed)
    with bench(Echo, UNIX, type("Dicey", (Flaky,), {"dice": dice})) as here:
        client = here.connect()
        row = here.row
        sent = taken = b""
        for size in sizes:
            piece = dice.randbytes(size)
            client.setblocking(True)
            client.sendall(piece)
            sent += piece
            taken += here.take(client, dice.randrange(len(sent) - len(taken) + 1))
        client.shutdown(socket.SHUT_WR)
        taken += here.last_words(client)
        assert taken == sent
        assert (row.total_in, row.total_out) == (len(sent), len(sent))
        assert len(here.table) == 0


class Work(StreamHandler):
    """Answers input with as many bytes, computed in a child."""

    async def handle(self):
        while True:
            self.send(await Forked(len, await Some()) * b"x")


@pytest.mark.parametrize("handler", [Echo, TelnetEcho, Work])
def test_spurious_readiness_of_everything_registered_is_no_error(handler):
    kind = server_class("select", STREAMS["tcp"])
    with (
        closing(Reactor(Eager())) as reactor,
        made(kind, STREAMS["tcp"], handler, reactor) as server,
        connect(server) as client,
    ):
        reactor.make_wakeup()
        until(reactor, lambda: len(reactor.table))
        client.sendall(b"ab\n")
        until(reactor, lambda: select.select([client], [], [], 0)[0])
        assert client.recv(9)
