"""The output of a stream row: nothing lost, nothing sent twice, and no needless system call."""

import random
import socket
from itertools import pairwise
from selectors import EVENT_READ, EVENT_WRITE

from handlers import Delay, Flushed, LimitPassed, Some, StreamHandler, Until
from handlers.services import Echo
from reactor.rows.stream import READ_SIZE
from tests.support.bench import PATTERN, SMALL, Counting, Lines, Noting, bench


def test_a_slow_reader_gets_all_of_a_big_output(place):
    class Big(StreamHandler):
        async def handle(self):
            self.send(PATTERN)
            await Flushed()
            self.send(b"flushed")

    with bench(Big, place, sndbuf=SMALL) as here:
        client = here.connect()
        row = here.row
        assert here.interest(row) == EVENT_WRITE
        dice, got = random.Random(7), b""
        while len(got) < len(PATTERN):
            assert row.held_out + row.total_out == len(PATTERN)
            assert here.interest(row) == EVENT_WRITE
            got += here.take(client, min(dice.randrange(1, 400_000), len(PATTERN) - len(got)))
        assert got == PATTERN
        assert here.last_words(client) == b"flushed"
        here.until(lambda: not here.table)  # it lingers until all has been acknowledged
        assert (row.total_out, row.held_out) == (len(PATTERN) + 7, 0)


def test_output_that_the_kernel_takes_at_once_registers_no_write_interest(place):
    with bench(Lines, place) as here:
        client = here.connect()
        masks = []
        modify = here.selector.modify
        here.selector.modify = lambda fileobj, events, data=None: masks.append(events) or modify(fileobj, events, data)
        for _ in range(3):
            client.sendall(b"line\n")
            assert here.take(client, 5) == b"line\n"
        assert masks == []
        assert here.interest(here.row) == EVENT_READ


def test_write_interest_ends_when_the_output_is_drained(place):
    class Big(StreamHandler):
        high_water = 10_000_000

        async def handle(self):
            self.send(PATTERN)
            while True:
                await Some()

    with bench(Big, place) as here:
        client = here.connect()
        row = here.row
        assert here.interest(row) == EVENT_READ | EVENT_WRITE
        assert here.take(client, len(PATTERN)) == PATTERN
        here.rest()
        assert row.held_out == 0
        assert here.interest(row) == EVENT_READ


def test_the_output_of_one_feed_is_sent_in_one_call(place):
    with bench(Lines, place, Counting) as here:
        client = here.connect()
        client.sendall(b"".join(b"line %d\n" % number for number in range(100)))
        here.rest()
        assert (here.row.socket.recvs, here.row.socket.sends) == (1, 1)
        assert here.take(client, 790).count(b"\n") == 100
        client.sendall(b"one\n")
        here.rest()
        assert (here.row.socket.recvs, here.row.socket.sends) == (2, 2)


def test_the_output_of_several_states_is_sent_in_one_call(place):
    class Greeting(StreamHandler):
        async def handle(self):
            self.send(b"one ")
            await Flushed()
            word = await Some()
            self.send(b"two ")
            self.send(word)

        def finish(self):
            self.send(b" bye")

    with bench(Greeting, place, Counting) as here:
        client = here.connect()
        row = here.row
        sends = row.socket.sends
        client.sendall(b"three")
        assert here.last_words(client) == b"one two three bye"
        assert row.socket.sends == sends + 1 == 2


def test_a_peer_that_does_not_read_is_not_read_from(place):
    """Past the high-water mark the row is not registered for reading."""
    with bench(Echo, place) as here:
        client = here.connect()
        row = here.row
        sent = here.flood(client)
        read = row.total_in
        assert read < len(sent)
        # The row has passed the high-water mark; the kernel may have taken some since, but not down to the low one.
        assert Echo.low_water < row.held_out <= Echo.high_water + READ_SIZE
        assert here.interest(row) == EVENT_WRITE
        for _ in range(20):
            here.reactor.step(0)
        assert row.total_in == read
        assert here.take(client, len(sent)) == sent
        assert (row.total_in, row.total_out) == (len(sent), len(sent))
        assert here.interest(row) == EVENT_READ


def test_reading_goes_on_at_the_low_water_mark_and_not_before(place):
    class Marks(StreamHandler):
        high_water, low_water = 300_000, 100_000

        async def handle(self):
            while True:
                self.send(await Some())

    class Sipping(socket.socket):
        reads = []

        def recv(self, size, flags=0):
            held, data = row.held_out, super().recv(size, flags)
            self.reads.append((held, len(data)))
            return data

        def send(self, data, flags=0):
            return super().send(data[:10_000], flags)

    with bench(Marks, place, Sipping) as here:
        client = here.connect()
        row = here.row
        sent = here.flood(client)
        assert row.held_out > 100_000
        assert here.take(client, len(sent)) == sent
        passed = [
            (held, next_held) for (held, size), (next_held, _) in pairwise(row.socket.reads) if held + size > 300_000
        ]
        assert passed
        assert all(held <= 300_000 for held, _ in row.socket.reads)
        assert all(next_held <= 100_000 for _, next_held in passed)
        assert any(held > 100_000 for held, _ in row.socket.reads), "it pauses at the low-water mark already"


def test_too_much_output_ends_the_row(place):
    class Babbling(Noting):
        max_output = 200_000

        async def handle(self):
            while True:
                self.send(b"x" * 100_000)
                await Delay(0.001)

    with bench(Babbling, place, sndbuf=SMALL) as here:
        client = here.connect(SMALL)
        row = here.row
        here.until(lambda: not len(here.table))
        (handler,) = Babbling.made
        (cause,) = handler.causes
        assert isinstance(cause, LimitPassed)
        assert cause.wait is None
        assert "200000" in str(cause)
        assert handler.finished == 1
        assert row.channel.reason is cause
        assert here.errors == []
        assert set(here.last_words(client)) == set(b"x")


def test_output_to_another_row_is_sent_in_the_same_step_in_one_call(place):
    class Tell(StreamHandler):
        everybody: dict

        async def handle(self):
            self.everybody[len(self.everybody)] = self
            while True:
                line = await Until(b"\n")
                for other in self.everybody.values():
                    other.send(b"he says: ")
                    other.send(line)

    Tell.everybody = {}
    with bench(Tell, place, Counting) as here:
        clients = [here.connect() for _ in range(5)]
        clients[2].sendall(b"hello\n")
        here.reactor.step()
        for client, row in zip(clients, here.table, strict=True):
            client.setblocking(False)
            assert client.recv(100) == b"he says: hello\n"
            assert row.socket.sends == 1


def test_output_to_a_row_that_neither_reads_nor_writes_is_sent(place):
    """Such a row is in the table and not in the selector; output that another row sends to it must register it."""

    class Pair(StreamHandler):
        quiet = None

        async def handle(self):
            if Pair.quiet is None:
                Pair.quiet = self
                await Delay(1000)
            while True:
                Pair.quiet.send(await Some())

    with bench(Pair, place) as here:
        quiet = here.connect()
        assert here.interest(here.row) == 0
        loud = here.connect()
        loud.sendall(b"wake up")
        assert here.take(quiet, 7) == b"wake up"


def test_the_half_close_is_sent_once_and_input_goes_on(place):
    class Ending(StreamHandler):
        async def handle(self):
            self.send(PATTERN)
            self.send_eof()
            self.send(b"too late")
            while await Until(b"\n") != b"\n":
                pass

    with bench(Ending, place, Counting) as here:
        client = here.connect()
        row = here.row
        assert here.last_words(client) == PATTERN
        for _ in range(3):
            client.sendall(b"line\n")
            here.rest()
        assert (row.total_in, row.socket.shutdowns) == (15, 1)
        assert here.interest(row) == EVENT_READ


def test_a_row_that_waits_for_the_output_of_another_goes_on_in_the_step_that_drains_it(place):
    class Second(StreamHandler):
        handlers: list

        async def handle(self):
            self.handlers.append(self)
            await Until(b"\n")
            first = self.handlers[0]
            if self is first:
                self.send(b"first")
                await Delay(1000)
            first.send(b"from the second")
            await Flushed(of=first)
            self.send(b"second")
            await Delay(1000)

    Second.handlers = []
    with bench(Second, place) as here:
        first, second = here.connect(), here.connect()
        second.sendall(b"\n")
        here.reactor.step()
        assert here.row.wait == "Delay(1000)"
        assert here.take(first, 15) == b"from the second"
        assert here.take(second, 6) == b"second"
