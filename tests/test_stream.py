"""Stream rows against real sockets: nothing lost, nothing doubled, nobody starved, whatever kernel and peer do.

The test itself steps the loop, so nothing happens between two lines of a test. Sockets that fail,
count or dribble are real ones, of a subclass that the server wraps around what it accepts.
"""

import errno
import os
import random
import socket
import sys
from contextlib import contextmanager
from itertools import pairwise
from selectors import EVENT_READ, EVENT_WRITE

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reactor as package
from handlers import Delay, Exactly, Flushed, LimitPassed, Reset, Some, StreamHandler, TimedOut, ToEnd, Until
from handlers.services import Echo
from reactor import Reactor
from reactor.selecting import DefaultSelector
from reactor.stream import READ_SIZE
from tests.serving import STREAMS, connect, made, reset
from tests.test_reactor import Clock, descriptors, until

SMALL = 65_536  # bytes of a socket's buffer; TCP stalls for its own timers when they are much smaller
TCP, UNIX = STREAMS["tcp"], STREAMS["unix"]
PATTERN = bytes(range(251)) * 20_000
"""Five megabytes in which every place can be told from its neighbours."""


class Bench:
    """A select server that the test steps, what it raised, and its selector."""

    def __init__(self, server, selector):
        self.server = server
        self.reactor = server.reactor
        self.table = server.reactor.table
        self.clock = server.reactor.clock
        self.selector = selector
        self.clients = []

    @property
    def errors(self):
        """What `handle_error` was called for, in order."""
        return self.server.errors

    def connect(self, rcvbuf=None):
        """A connected client; its row is in the table, and is the last. ``rcvbuf`` is the size of its buffer."""
        rows = set(self.table)
        client = connect(self.server)
        if rcvbuf is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.clients.append(client)
        until(self.reactor, lambda: set(self.table) - rows)
        self.rest()
        return client

    @property
    def row(self):
        """The row of the client that came last."""
        return list(self.table)[-1]

    def rest(self):
        """Step until a step finds nothing to do."""
        for _ in range(10_000):
            if self.reactor.timeout() != 0 and not self.selector.select(0):
                return
            self.reactor.step(0)
        raise AssertionError("the loop does not come to rest")

    def until(self, condition):
        until(self.reactor, condition)

    def take(self, client, size):
        """Exactly ``size`` bytes of what the server sends."""
        taken = bytearray()
        self.until(lambda: drain(client, taken, size) or len(taken) == size)
        assert len(taken) == size, "the server ended the stream"
        return bytes(taken)

    def last_words(self, client):
        """All bytes until the server ends the stream; a reset counts as an end."""
        taken = bytearray()
        self.until(lambda: drain(client, taken, sys.maxsize))
        return bytes(taken)

    def give(self, client, data):
        """Send all of ``data``."""
        client.setblocking(False)
        left = memoryview(data)

        def given():
            nonlocal left
            try:
                while left:
                    left = left[client.send(left) :]
            except BlockingIOError:
                return False
            return True

        self.until(given)

    def flood(self, client):
        """Send until neither the kernel nor the loop takes more. Returns what was sent."""
        client.setblocking(False)
        sent, before = bytearray(), -1
        while len(sent) > before:
            before = len(sent)
            try:
                while True:
                    start = len(sent) % 251
                    sent += PATTERN[start:][: client.send(PATTERN[start : start + 65_536])]
            except BlockingIOError:
                self.rest()
        return bytes(sent)

    def interest(self, row):
        """What of the row's socket is in the selector."""
        key = self.selector.get_map().get(row.socket)
        return 0 if key is None else key.events


def drain(client, taken, size):
    """Add to ``taken`` what the kernel has for the client, to ``size`` bytes in all. Whether the stream has ended."""
    client.setblocking(False)
    try:
        while len(taken) < size:
            piece = client.recv(min(size - len(taken), 1 << 16))
            if not piece:
                return True
            taken += piece
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    return False


@contextmanager
def bench(handler, place=TCP, wrap=None, sndbuf=None, clock=None, reactor_class=Reactor, selector=DefaultSelector):
    """A `Bench` for a handler. ``wrap`` is the class of the accepted sockets, ``sndbuf`` the size of their buffers."""

    def get_request(self):
        sock, peer = kind.get_request(self)
        if sndbuf is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        return (sock if wrap is None else wrap(fileno=sock.detach())), peer

    def handle_error(self, request, client_address):
        self.errors.append(sys.exc_info()[1])

    selector = selector()
    reactor = reactor_class(selector, clock)
    kind = getattr(package, "Select" + place.ending)
    members = {"errors": [], "get_request": get_request, "handle_error": handle_error, "address_family": place.family}
    with made(type(kind.__name__, (kind,), members), place, handler, reactor) as server:
        here = Bench(server, selector)
        try:
            yield here
        finally:
            for client in here.clients:
                client.close()
            reactor.close()


@pytest.fixture(params=["tcp", "unix"])
def place(request):
    return STREAMS[request.param]


class Counting(socket.socket):
    """Counts the calls that the loop makes."""

    recvs = sends = shutdowns = 0

    def recv(self, size, flags=0):
        self.recvs += 1
        return super().recv(size, flags)

    def send(self, data, flags=0):
        self.sends += 1
        return super().send(data, flags)

    def shutdown(self, how):
        self.shutdowns += 1
        super().shutdown(how)


class Lines(StreamHandler):
    """Sends each line back."""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.send(data)
        return self.handle()


class Noting(StreamHandler):
    """Keeps the instances made, the causes of each, and whether `finish` was called."""

    made: list

    def __init_subclass__(cls):
        cls.made = []

    def setup(self):
        self.causes = []
        self.finished = 0
        self.made.append(self)

    def interrupted(self, cause):
        self.causes.append(cause)

    def finish(self):
        self.finished += 1


# Output


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
        assert (row.total_out, row.held_out, len(here.table)) == (len(PATTERN) + 7, 0, 0)


def test_what_the_kernel_takes_at_once_never_asks_for_writability(place):
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


def test_write_interest_ends_when_the_output_has_drained(place):
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


def test_the_output_of_one_feed_leaves_in_one_call(place):
    with bench(Lines, place, Counting) as here:
        client = here.connect()
        client.sendall(b"".join(b"line %d\n" % number for number in range(100)))
        here.rest()
        assert (here.row.socket.recvs, here.row.socket.sends) == (1, 1)
        assert here.take(client, 790).count(b"\n") == 100
        client.sendall(b"one\n")
        here.rest()
        assert (here.row.socket.recvs, here.row.socket.sends) == (2, 2)


def test_the_output_of_several_states_and_the_end_leave_in_one_call(place):
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
    """Past the high-water mark the row stays in the table and leaves the selector for reading."""
    with bench(Echo, place) as here:
        client = here.connect()
        row = here.row
        sent = here.flood(client)
        read = row.total_in
        assert read < len(sent)
        assert Echo.high_water < row.held_out <= Echo.high_water + READ_SIZE
        assert here.interest(row) == EVENT_WRITE
        for _ in range(20):
            here.reactor.step(0)
        assert row.total_in == read
        assert here.take(client, len(sent)) == sent
        assert (row.total_in, row.total_out) == (len(sent), len(sent))
        assert here.interest(row) == EVENT_READ


def test_reading_goes_on_below_the_low_water_mark_and_not_before(place):
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
        assert row.machine.reason is cause
        assert here.errors == []
        assert set(here.last_words(client)) == set(b"x")


def test_a_cross_row_output_leaves_in_the_same_step_in_one_call(place):
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


def test_output_for_a_row_that_waits_for_something_else_arrives(place):
    """A row that neither reads nor writes is in the table only; what another row writes gets it out."""

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


def test_the_end_of_the_output_is_sent_once_and_input_goes_on(place):
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


def test_output_that_drains_lets_another_row_go_on_in_the_same_step(place):
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


# Input


def fill(client):
    """Send until the kernel takes no more."""
    try:
        while True:
            client.send(PATTERN)
    except BlockingIOError:
        pass


def test_one_read_for_each_readiness_so_that_a_flood_starves_nobody(place):
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
    """Would block, is interrupted or does half of it, whenever the dice say so."""

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


@settings(deadline=None, max_examples=25)
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


def test_arrivals_that_vanish_or_fail_take_none_of_the_others_with_them():
    failures = [BlockingIOError(), ConnectionAbortedError(), InterruptedError(), OSError(errno.EPROTO, "protocol")]
    with bench(Echo) as here:
        accept = here.server.get_request

        def get_request():
            if failures:
                raise failures.pop(0)
            return accept()

        here.server.get_request = get_request
        clients = [connect(here.server) for _ in range(3)]
        here.until(lambda: len(here.table) == 3)
        for client in clients:
            client.sendall(b"word")
            assert here.take(client, 4) == b"word"
            client.close()


def test_a_host_short_of_descriptors_serves_on_when_it_has_some_again():
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        accept, short = here.server.get_request, [True]

        def get_request():
            if short:
                raise OSError(errno.EMFILE, "too many open files")
            return accept()

        here.server.get_request = get_request
        client = connect(here.server)
        here.reactor.step(0)
        assert here.selector.select(0) == []  # no spinning meanwhile
        short.clear()
        here.server.stop_serving()
        clock.seconds += 1
        here.reactor.step(0)
        here.reactor.step(0)
        assert len(here.table) == 0  # nor does time undo what the user has asked for
        here.server.start_serving()
        here.until(lambda: len(here.table) == 1)
        client.close()


def test_a_shortage_of_descriptors_is_logged_once_and_a_row_that_ends_is_enough(caplog):
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        accept, limit = here.server.get_request, 2

        def get_request():
            if len(here.table) >= limit:
                raise OSError(errno.EMFILE, "too many open files")
            return accept()

        here.server.get_request = get_request
        first, second = here.connect(), here.connect()
        for _ in range(3):
            third = connect(here.server)
            here.clients.append(third)
            for _ in range(50):
                clock.seconds += 0.2
                here.reactor.step(0)
            [line] = caplog.messages
            assert "takes no requests for now: [Errno 24] too many open files" in line
            first.close()  # time stands still: this alone lets the third in
            third.sendall(b"third")
            assert here.take(third, 5) == b"third"
            first, second = second, third


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSOCK])
def test_a_socket_that_listens_no_more_is_told_of_once_and_does_not_spin(caplog, number):
    """Somebody has shut it down, or closed it: every ``accept()`` fails, and it is always ready."""
    clock = Clock()
    with bench(Echo, clock=clock) as here:

        def get_request():
            raise OSError(number, os.strerror(number))

        here.server.get_request = get_request
        here.clients.append(connect(here.server))
        for _ in range(3):
            here.reactor.step(0)
            assert here.selector.select(0) == []
            clock.seconds += 0.2
            here.reactor.step(0)
        [line] = caplog.messages
        assert line.endswith(f"takes no requests for now: [Errno {number}] {os.strerror(number)}")


# The connection breaks


def broken(handler):
    """The one cause that the one instance of ``handler`` was told."""
    (instance,) = handler.made
    (cause,) = instance.causes
    assert instance.finished == 1
    return cause


def test_a_reset_while_it_reads_reaches_interrupted():
    class Reading(Noting):
        async def handle(self):
            await Until(b"\n")

    with bench(Reading) as here:
        reset(here.connect())
        row = here.row
        here.until(lambda: not len(here.table))
        cause = broken(Reading)
        assert isinstance(cause, Reset)
        assert isinstance(cause.error, ConnectionResetError)
        assert row.machine.reason is cause
        assert here.errors == []


def test_a_reset_while_it_only_writes_reaches_interrupted(place):
    class Writing(Noting):
        async def handle(self):
            while True:
                self.send(b"x" * 100_000)
                await Flushed()

    with bench(Writing, place) as here:
        reset(here.connect())
        here.until(lambda: not len(here.table))
        cause = broken(Writing)
        assert isinstance(cause, Reset)
        assert isinstance(cause.error, (BrokenPipeError, ConnectionResetError))
        assert here.errors == []


@pytest.mark.parametrize("number", [errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest.mark.parametrize("call", ["recv", "send", "shutdown"])
def test_whatever_breaks_the_connection_in_whatever_call_reaches_interrupted(call, number):
    """And what the handler answers to it changes nothing."""

    class Stubborn(Noting):
        async def handle(self):
            self.send(await Some())
            self.send_eof()
            await Delay(1000)

        def interrupted(self, cause):
            self.causes.append(cause)
            self.send(b"you must hear this")
            return Delay(1000), self.interrupted

    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    with bench(Stubborn, wrap=type("Breaking", (socket.socket,), {call: fail})) as here:
        client = here.connect()
        client.sendall(b"word")
        here.until(lambda: not len(here.table))
        assert broken(Stubborn).error.errno == number
        assert here.errors == []


def test_input_that_came_before_the_end_is_heard_even_if_the_answer_breaks(place):
    class Upper(Noting):
        heard = []

        async def handle(self):
            while True:
                line = await Until(b"\n")
                self.heard.append(line)
                self.send(line)

    with bench(Upper, place) as here:
        client = here.connect()
        client.sendall(b"one\ntwo\n")
        client.close()
        here.until(lambda: not len(here.table))
        assert Upper.heard == [b"one\n", b"two\n"]
        assert here.errors == []


# Deadlines


def test_a_wait_has_one_deadline_however_its_bytes_drip_in(place):
    class Dripped(Noting):
        timeout = 10
        heard = []

        async def handle(self):
            try:
                await Until(b"\n")
            except TimedOut as cause:
                self.causes.append(cause)
            self.heard.append(await Exactly(3))
            self.heard.append(await Exactly(2, timeout=20))

    clock = Clock()
    with bench(Dripped, place, clock=clock) as here:
        client = here.connect()
        row = here.row
        assert row.deadline == 1010
        for second in (4, 8):
            clock.seconds = 1000.0 + second
            client.sendall(b"x")
            here.rest()
            assert row.deadline == 1010
            assert row.idle() == 0
        clock.seconds = 1009.99
        here.reactor.step(0)
        assert Dripped.made[0].causes == []
        clock.seconds = 1010.0
        here.reactor.step(0)
        (cause,) = Dripped.made[0].causes
        assert cause.wait == Until(b"\n")
        assert (row.held_in, row.deadline) == (2, 1020)
        client.sendall(b"yz")
        here.rest()
        assert Dripped.heard == [b"xxy"]
        assert row.deadline == 1030
        client.sendall(b"!")
        here.rest()
        assert Dripped.heard == [b"xxy", b"z!"]


def test_every_message_has_its_own_deadline(place):
    class Timed(Lines):
        timeout = 10

    clock = Clock()
    with bench(Timed, place, clock=clock) as here:
        client = here.connect()
        for _ in range(10):
            clock.seconds += 9
            client.sendall(b"line\n")
            assert here.take(client, 5) == b"line\n"
            assert here.row.deadline == clock.seconds + 10
        clock.seconds += 10
        assert here.last_words(client) == b""
        assert len(here.table) == 0


def test_a_timeout_that_is_not_caught_ends_the_row_and_its_last_words_are_sent(place):
    class Polite(Noting):
        timeout = 10

        def handle(self):
            return Until(b"\n"), self.handle

        def interrupted(self, cause):
            self.causes.append(cause)
            self.send(b"goodbye")

    clock = Clock()
    with bench(Polite, place, clock=clock) as here:
        client = here.connect()
        row = here.row
        client.sendall(b"half a li")
        here.rest()
        clock.seconds += 10
        assert here.last_words(client) == b"goodbye"
        assert row.machine.reason is broken(Polite)
        assert isinstance(row.machine.reason, TimedOut)


def test_input_that_comes_in_the_batch_of_the_deadline_is_in_time(place):
    class Timed(Lines):
        timeout = 10

    clock = Clock()
    with bench(Timed, place, clock=clock) as here:
        client = here.connect()
        client.sendall(b"line\n")
        clock.seconds += 10
        here.reactor.step()
        assert here.take(client, 5) == b"line\n"
        assert len(here.table) == 1


def test_the_reason_of_a_row_that_can_not_even_say_goodbye_is_the_first(place):
    class Verbose(Noting):
        timeout = 10

        def handle(self):
            return Until(b"\n"), self.handle

        def interrupted(self, cause):
            self.causes.append(cause)
            self.send(PATTERN)

    clock = Clock()
    with bench(Verbose, place, sndbuf=SMALL, clock=clock) as here:
        here.connect(SMALL)
        row = here.row
        for _ in range(2):
            clock.seconds += 10
            here.rest()
        assert len(here.table) == 0
        assert row.machine.reason is broken(Verbose)
        assert row.machine.reason.wait == Until(b"\n")


def test_a_row_that_only_drains_is_ended_when_its_peer_never_reads(place):
    class Farewell(Noting):
        timeout = 10

        def handle(self):
            self.send(PATTERN)

    clock = Clock()
    with bench(Farewell, place, sndbuf=SMALL, clock=clock) as here:
        client = here.connect(SMALL)
        row = here.row
        assert row.machine.finished
        clock.seconds += 9
        here.take(client, 1_000_000)  # it reads after all, and gets more time for the rest
        here.rest()
        assert 0 < row.held_out < len(PATTERN) - 1_000_000
        clock.seconds += 9
        here.reactor.step(0)
        assert len(here.table) == 1
        clock.seconds += 1
        here.reactor.step(0)
        assert len(here.table) == 0
        assert isinstance(row.machine.reason, TimedOut)
        assert row.held_out == 0
        (handler,) = Farewell.made
        assert (handler.finished, handler.causes) == (1, [])
        assert len(here.last_words(client)) < len(PATTERN) - 1_000_000


# Handlers that fail


class Mishap(Exception):
    """Raised on purpose."""


class Failing(Noting):
    """Does what the letter says: fails in the one place or the other, with `raised`."""

    timeout = 50
    raised: type = Mishap
    fails_in_finish = False

    async def handle(self):
        while True:
            letter = await Exactly(1)
            if letter == b"s":
                raise self.raised
            if letter == b"t":
                await Delay(5)
                raise self.raised
            if letter == b"d":
                self.send(PATTERN)
                await Flushed()
                raise self.raised
            self.send(letter)

    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            raise self.raised

    def finish(self):
        super().finish()
        if self.fails_in_finish and self is self.made[0]:
            raise self.raised


def provoke(here, client, where):
    """Make that row fail: in a state, after a time, after draining, when interrupted or in finish; see it end."""
    if where in "std":
        client.sendall(where.encode())
        here.rest()
    if where == "d":
        here.take(client, len(PATTERN))
    if where == "t":
        here.clock.seconds += 5
    if where == "i":
        here.clock.seconds += 49  # the other row is a second younger
    if where == "f":
        client.shutdown(socket.SHUT_WR)
    here.last_words(client)


@pytest.mark.parametrize("where", ["s", "t", "d", "i", "f"])
def test_a_handler_that_raises_ends_its_own_row_and_no_other(place, where):
    class Here(Failing):
        fails_in_finish = where == "f"

    with bench(Here, place, clock=Clock()) as here:
        bad = here.connect()
        row = here.row
        here.clock.seconds += 1
        good = here.connect()
        provoke(here, bad, where)
        assert len(here.errors) == 1
        assert isinstance(here.errors[0], Mishap)
        assert row.machine.reason is here.errors[0]
        assert Here.made[0].finished == 1
        good.sendall(b"x")
        assert here.take(good, 1) == b"x"
        assert len(here.table) == 1


@pytest.mark.parametrize("where", ["s", "t", "d", "i", "f"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_exit_from_a_handler_leaves_through_run_and_the_table_is_sound(place, where, kind):
    class Here(Failing):
        raised, fails_in_finish = kind, where == "f"

    with bench(Here, place, clock=Clock()) as here:
        bad = here.connect()
        here.clock.seconds += 1
        good = here.connect()
        with pytest.raises(kind):
            provoke(here, bad, where)
        here.last_words(bad)
        assert here.errors == []
        assert Here.made[0].finished == 1
        (row,) = here.table
        good.sendall(b"x")
        assert here.take(good, 1) == b"x"
        assert here.interest(row) == EVENT_READ
        assert len(here.selector.get_map()) == 2


@pytest.mark.parametrize("method", ["setup", "handle"])
@pytest.mark.parametrize("kind", [Mishap, KeyboardInterrupt])
def test_a_row_that_fails_as_it_begins(place, method, kind):
    def fail(self):
        raise kind

    before = descriptors()
    with bench(type("Stillborn", (StreamHandler,), {method: fail}), place) as here:
        client = connect(here.server)
        try:
            assert here.last_words(client) == b""
        except KeyboardInterrupt:
            assert kind is KeyboardInterrupt
            assert here.last_words(client) == b""
        here.until(lambda: not len(here.table))
        assert list(map(type, here.errors)) == [Mishap] * (kind is Mishap)
        client.close()
    assert descriptors() == before


def test_closing_that_is_interrupted_is_done_by_closing_again(place):
    class Rude(StreamHandler):
        async def handle(self):
            await Some()

        def interrupted(self, cause):
            raise KeyboardInterrupt

    with bench(Rude, place) as here:
        clients = [here.connect() for _ in range(3)]
        for _ in clients:
            with pytest.raises(KeyboardInterrupt):
                here.reactor.close()
        here.reactor.close()
        assert len(here.table) == 0
        assert [client.recv(10) for client in clients] == [b""] * 3


def test_an_exit_in_the_middle_of_a_send_never_sends_twice(place):
    """A signal's handler may raise when the kernel has taken the bytes and nobody has heard how many."""

    class Interrupted(socket.socket):
        exits = [KeyboardInterrupt]

        def send(self, data, flags=0):
            count = super().send(data, flags)
            if self.exits:
                raise self.exits.pop()
            return count

    with bench(Lines, place, Interrupted) as here:
        client = here.connect()
        client.sendall(b"one\n")
        with pytest.raises(KeyboardInterrupt):
            here.reactor.step()
        client.sendall(b"two\n")
        assert here.take(client, 8) == b"one\ntwo\n"


def test_the_last_words_of_a_cancelled_row_are_sent(place):
    class Polite(StreamHandler):
        async def handle(self):
            await Some()

        def interrupted(self, cause):
            self.send(type(cause).__name__.encode())

        def finish(self):
            self.send(b", bye")

    with bench(Polite, place) as here:
        client = here.connect()
        here.server.server_close()
        assert here.last_words(client) == b"Cancelled, bye"


def test_a_hook_of_the_server_that_raises_loses_no_other_row(place):
    """It leaves through the loop; the rows that ended in the same batch are let go of in the next step."""
    with bench(Echo, place) as here:
        rows = [(here.connect(), here.row) for _ in range(3)]
        close_request, failures = here.server.close_request, [Mishap()]

        def failing(request):
            close_request(request)
            if failures:
                raise failures.pop()

        here.server.close_request = failing
        for client, _ in rows:
            client.shutdown(socket.SHUT_WR)
        with pytest.raises(Mishap):
            here.reactor.step()
        assert here.reactor.timeout() == 0
        here.reactor.step(0)
        assert len(here.table) == 0
        assert [row.fileno() for _, row in rows] == [-1, -1, -1]


# Inside one batch


def in_order(events):
    """A policy: rows in the order of their arrival."""
    return sorted(events, key=lambda event: getattr(event[0].data, "serial", 0))


class Murderous(StreamHandler):
    """Closes all others when it is told to; notes what it hears."""

    everybody: list
    heard: list

    async def handle(self):
        self.everybody.append(self)
        while True:
            word = await Some()
            self.heard.append((self.everybody.index(self), word))
            if word == b"kill":
                for other in self.everybody:
                    if other is not self:
                        other.close()


def test_a_row_closed_in_a_batch_is_not_touched_again_in_it(place):
    Murderous.everybody, Murderous.heard = [], []
    with bench(Murderous, place, Counting) as here:
        here.reactor.policy = in_order
        clients = [here.connect() for _ in range(3)]
        rows = list(here.table)
        clients[1].sendall(b"kill")
        clients[0].sendall(b"early")
        clients[2].sendall(b"late")
        here.reactor.step()
        assert Murderous.heard == [(0, b"early"), (1, b"kill")]
        assert [row.socket.recvs for row in rows[1:]] == [1, 0]
        assert list(here.table) == [rows[1]]
        for client in clients[::2]:
            assert here.last_words(client) == b""


def test_a_descriptor_used_again_in_a_batch_is_not_taken_for_the_old_one(place):
    """One row's state closes another row's socket at once, and its number goes to a pipe that has input."""
    Murderous.everybody, Murderous.heard = [], []

    class Reusing(Murderous):
        async def handle(self):
            self.everybody.append(self)
            word = await Some()
            self.heard.append((self.everybody.index(self), word))
            number = rows[1].fileno()
            here.reactor.cancel([rows[1]])
            pipe.extend(os.pipe())
            assert number in pipe
            os.write(pipe[1], b"of the pipe")
            told.append(here.reactor.watch(pipe[0], EVENT_READ, lambda events: told.append(os.read(pipe[0], 100))))
            await Some()

    pipe, told = [], []
    with bench(Reusing, place, Counting) as here:
        here.reactor.policy = in_order
        clients = [here.connect() for _ in range(2)]
        rows = list(here.table)
        for client in clients:
            client.sendall(b"word")
        here.reactor.step()
        assert Reusing.heard == [(0, b"word")]
        assert (rows[1].socket.recvs, rows[1].mask, len(told)) == (0, 0, 1)
        assert rows[1].socket.shutdowns == 1, "it was let go of twice"
        here.until(lambda: len(told) == 2)
        assert told[1] == b"of the pipe"
        assert list(here.table) == [rows[0]]
        told[0].cancel()
        os.close(pipe[0])
        os.close(pipe[1])


def test_a_peer_that_ends_its_side_is_still_answered(place):
    class Whole(StreamHandler):
        async def handle(self):
            data = await ToEnd(limit=10_000_000)
            self.send(data[::-1])

    with bench(Whole, place) as here:
        client = here.connect()
        here.give(client, PATTERN)
        client.shutdown(socket.SHUT_WR)
        assert here.last_words(client) == PATTERN[::-1]


@pytest.mark.parametrize("member", [{"timeout": "30"}, {"max_output": None}], ids=str)
@pytest.mark.parametrize("at_once", [False, True])
def test_a_row_whose_class_says_nonsense_ends_and_is_told_of(member, at_once, place):
    class Nonsense(StreamHandler):
        async def handle(self):
            self.send(PATTERN)
            if not at_once:
                await Until(b"\n")

    with bench(type("Nonsense", (Nonsense,), member), place, sndbuf=SMALL) as here:
        client = connect(here.server)
        here.clients.append(client)
        here.until(lambda: here.table.closed)
        assert here.table.closed[0]["reason"].startswith("Failed: ")
        assert isinstance(here.server.errors[0], TypeError)
