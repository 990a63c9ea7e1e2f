"""Bounds of the work, time and memory of a request; a request that passes one ends with a reason that names it."""

import socket
from contextlib import ExitStack
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramHandler, Delay, Exactly, Filter, StreamHandler, StreamMachine, StreamRequestHandler, Until
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from reactor.table.steps import STEPS
from reactor.testing import World
from tests.support.loops import Clock
from tests.support.serving import clients_of, serving, wait_until

ADDRESS = ("10.0.0.1", 7)
LINE = Until(b"\n")


# Work


class States(StreamHandler):
    """Notes which row each line is of."""

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.server.journal.append(self.peer[1])
        return LINE, self.line


class Conversation(StreamHandler):
    async def handle(self):
        while True:
            await LINE
            self.server.journal.append(self.peer[1])


@pytest.mark.parametrize("kind", [States, Conversation])
def test_a_row_with_60_000_messages_does_not_delay_the_others_by_all_of_them(kind):
    flood = 60_000
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, kind)
        server.journal = []
        world.connect(ADDRESS, ("10.0.0.2", 1)).send(b"\n" * flood).shutdown().expect_end()
        world.connect(ADDRESS, ("10.0.0.2", 2)).send(b"\n").shutdown().expect_end()
        world.run()
    assert server.journal.count(1) == flood
    assert server.journal.index(2) <= 2_000


def test_a_machine_without_a_row_takes_all_its_input_at_once():
    class Count(StreamHandler):
        lines = 0

        def handle(self):
            return LINE, self.line

        def line(self, data):
            self.lines += 1
            return LINE, self.line

    machine = StreamMachine(handler := Count())
    machine.feed(b"\n" * 10_000)
    assert handler.lines == 10_000


class Costly(Filter):
    """Opens when its costly step is done."""

    def begin(self):
        self.open_until("the step", timeout=5)
        self.queue_step()

    def step(self):
        self.put(b"done")
        self.open()


@pytest.mark.parametrize("seconds", [0.0, 1000.0])
def test_a_batch_does_a_few_costly_steps_and_the_next_batch_a_few_more_where_the_clock_stands_still(seconds):
    count = 20
    with Reactor(clock=Clock(seconds)) as loop:
        kind = type("Secure", (SelectTCPServer,), {"filters": (Costly,)})
        with kind(("127.0.0.1", 0), Bounded, reactor=loop) as server, ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(server.server_address)) for _ in range(count)]
            done = [0]
            while done[-1] < count and loop.batches < 200:
                loop.step(0.01)
                done.append(loop.stats()["total_out"] // len(b"done"))
            assert done[-1] == count, f"after {loop.batches} batches"
            assert max(after - before for before, after in pairwise(done)) == STEPS
            assert {client.recv(10) for client in clients} == {b"done"}


# Time


class Bounded(StreamHandler):
    """Takes lines without end, whatever the cause."""

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.send(b"+")
        return LINE, self.line

    def interrupted(self, cause):
        self.send(b"!")
        return LINE, self.line  # it goes on after every cause


def drip(handler, script, *, quiet=False):
    """Run a client that sends each ``(seconds to wait, data)`` of ``script``.

    Returns the entry of its row in ``table.closed``, and what it received.
    """
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, handler)
        client = world.connect(ADDRESS)
        for seconds, data in script:
            client.wait(seconds).send(data)
        if not quiet:
            client.shutdown()
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    return row, client.received


def bounded(**members):
    return type("Bounded", (Bounded,), members)


def test_request_timeout_ends_a_request_whatever_it_does():
    row, received = drip(bounded(request_timeout=10), [(1.1, b"x\n")] * 20)
    assert row["reason"] == "TimedOut: not finished after 10 s (Bounded.request_timeout)"
    assert row["age"] == pytest.approx(10, abs=0.01)
    assert received == b"+" * 9 + b"!"


def test_idle_timeout_ends_an_idle_request_and_every_byte_counts():
    handler = bounded(idle_timeout=10, timeout=None)
    row, received = drip(handler, [(9, b"x")] * 5, quiet=True)
    assert row["reason"] == "TimedOut: no byte came or went for 10 s (Bounded.idle_timeout)"
    assert row["age"] == pytest.approx(5 * 9 + 10, abs=0.01)
    assert received == b"!"


class Sleeper(StreamHandler):
    """Waits itself again and again, which does not count as idleness of the peer."""

    timeout = 5
    idle_timeout = 5
    min_rate = 100

    async def handle(self):
        for _ in range(3):
            await Delay(60)
            await LINE


def test_time_in_which_the_handler_itself_waits_does_not_count():
    row, _ = drip(Sleeper, [(63, b"x\n"), (60, b"x\n"), (60, b"x\n")], quiet=True)
    assert (row["reason"], row["age"]) == ("", pytest.approx(183, abs=0.01))


def test_min_rate_ends_a_client_that_drips():
    """One byte a second each way where ten are needed: each byte adds 0.8 seconds of delay."""
    row, received = drip(bounded(timeout=30, min_rate=10), [(1, b"\n")] * 100)
    assert row["reason"] == "TimedOut: slower than 10 bytes a second (Bounded.min_rate)"
    assert row["age"] == pytest.approx(30 / 0.8, abs=1)
    assert received == b"+" * (len(received) - 1) + b"!"


def test_a_client_that_keeps_min_rate_stays():
    row, received = drip(bounded(timeout=30, min_rate=10), [(1, b"0123456789\n")] * 1000)
    assert (row["reason"], row["age"]) == ("", pytest.approx(1000, abs=0.1))
    assert received == b"+" * 1000


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 15), st.integers(1, 40)), max_size=20),
    st.sampled_from([1, 2, 10]),
    st.sampled_from([5, 30]),
)
def test_an_open_row_has_kept_min_rate_except_for_the_time_of_one_wait(script, rate, timeout):
    lines = [(seconds, b"x" * size + b"\n") for seconds, size in script]
    row, _ = drip(bounded(timeout=timeout, min_rate=rate), lines, quiet=True)
    moved = row["total_in"] + row["total_out"]
    assert moved >= rate * (row["age"] - timeout) - 1e-6
    slow = [seconds for seconds, size in script if seconds * rate > size + 2 or seconds >= timeout]
    if not slow:  # then only the pause at the end was too long
        assert row["total_in"] == sum(size + 1 for _, size in script)


class Last(StreamHandler):
    """Sends much and finishes."""

    timeout = 5

    def handle(self):
        self.send(bytes(200_000))


def test_a_client_that_takes_the_last_output_byte_by_byte_is_ended():
    with World(capacity=1_000) as world:
        server = world.serve(SelectTCPServer, ADDRESS, Last)
        world.connect(ADDRESS).read_slowly(1, 1.0)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert row["reason"].startswith("TimedOut")
    assert row["age"] < 10


def test_a_client_that_takes_the_last_output_at_a_fair_rate_gets_all():
    with World(capacity=1_000) as world:
        world.serve(SelectTCPServer, ADDRESS, Last)
        client = world.connect(ADDRESS).read_slowly(2_000, 1.0).expect_end()
        world.run()
    assert client.received == bytes(200_000)


@pytest.mark.parametrize(
    ("bound", "most", "pace", "reason"),
    [
        ({"request_timeout": 10}, 10, (2_000, 1.0), "not finished after 10 s (Last.request_timeout)"),
        ({"idle_timeout": 2, "timeout": 30}, 12, (20_000, 10.0), "no byte came or went for 2 s (Last.idle_timeout)"),
        ({"min_rate": 4_000}, 12, (2_000, 1.0), "slower than 4000 bytes a second (Last.min_rate)"),
    ],
)
def test_the_timeouts_of_a_handler_hold_for_its_last_output_too(bound, most, pace, reason):
    with World(capacity=1_000) as world:
        server = world.serve(SelectTCPServer, ADDRESS, type("Last", (Last,), bound))
        world.connect(ADDRESS).read_slowly(*pace)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert row["reason"] == f"TimedOut: {reason}"
    assert row["age"] <= most + 0.01


@pytest.mark.parametrize("bound", [{"request_timeout": 240}, {"idle_timeout": 2}, {"min_rate": 900}])
def test_a_client_within_the_timeouts_gets_the_whole_output(bound):
    with World(capacity=1_000) as world:
        world.serve(SelectTCPServer, ADDRESS, type("Last", (Last,), bound))
        client = world.connect(ADDRESS).read_slowly(2_000, 1.0).expect_end()
        world.run()
    assert client.received == bytes(200_000)


# Memory


class Holder(StreamHandler):
    """Waits for more than the client sends."""

    def handle(self):
        return Exactly(1_000_000), self.never

    def never(self, data):
        raise AssertionError("must not be reached")


class Spouting(StreamHandler):
    """Sends more than the client reads."""

    high_water = 1 << 30

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.send(bytes(int(data)))
        return LINE, self.line


@pytest.mark.parametrize(("handler", "heavy"), [(Holder, b"x" * 40_000), (Spouting, b"40000\n")])
def test_past_max_held_the_rows_that_hold_most_are_ended_first(handler, heavy):
    light = b"x" * 1_000 if handler is Holder else b"1000\n"
    with World(capacity=100) as world:
        loop = world.reactor()
        loop.max_held = 100_000
        world.serve(SelectTCPServer, ADDRESS, handler)
        modest = [world.connect(ADDRESS).read_slowly(0, 1).send(light) for _ in range(20)]
        world.run(lambda: all(client.done for client in modest))
        greedy = [world.connect(ADDRESS).read_slowly(0, 1).send(heavy) for _ in range(4)]
        world.run(lambda: len(loop.table.closed) == 2)
        ports = {int(row["peer"].rpartition(":")[2]) for row in loop.table.closed}
        assert len(loop.table) == 22
        assert loop.stats()["held"] == sum(row.held_in + row.held_out for row in loop.table) <= 100_000
        assert ports < {client.socket.getsockname()[1] for client in greedy}
        for row in loop.table.closed:
            assert row["reason"].startswith("LimitPassed: the reactor holds more than 100000 bytes (Reactor.max_held)")
    assert loop.budget.held == 0


@pytest.mark.parametrize(("size", "left"), [(9_000, 9), (12_500, 7)])
def test_past_max_held_rows_are_ended_until_an_eighth_of_it_is_free(size, left):
    with World() as world:
        loop = world.reactor()
        loop.max_held = 100_000
        world.serve(SelectTCPServer, ADDRESS, Holder)
        for _ in range(100_000 // size + 1):
            world.connect(ADDRESS).send(bytes(size))
        world.run(lambda: loop.table.closed)
        assert (len(loop.table), loop.stats()["held"]) == (left, left * size)


@pytest.mark.parametrize("mode", ["select", "thread", "plain"])
def test_max_held_counts_the_rows_of_inner_loops(mode):
    """In thread mode each request has an inner loop; the loop that passes the budget ends the biggest row of all."""
    with serving(Holder, mode) as server:
        loop = server.reactor
        loop.max_held = 100_000
        clients = 1 if mode == "plain" else 5
        with clients_of(server, clients) as crowd:
            for client in crowd:
                client.sendall(b"x" * (150_000 // clients))
            wait_until(lambda: loop.table.closed and loop.stats()["total_in"] > 100_000 >= loop.budget.held)
            assert all("(Reactor.max_held)" in row["reason"] for row in loop.table.closed)
        wait_until(lambda: loop.budget.held == 0)


@pytest.mark.parametrize("filters", [[], [Filter]])
@pytest.mark.parametrize("pieces", [(2, 1_000), (2, 10, 990, 2), (1, 1, 999, 2)])
def test_what_a_framing_has_taken_of_a_request_that_is_not_whole_is_held(pieces, filters):
    class Prefixed(StreamRequestHandler):
        close_connection = False

        async def request(row):  # noqa: N805 - a framing, not a method
            await Exactly(2)
            await Exactly(1_000)

        def handle(self):
            self.wfile.write(self.rfile.read())

    with World() as world:
        loop = world.reactor()
        world.serve(type("Server", (SelectTCPServer,), {"filters": filters}), ADDRESS, Prefixed)
        client = world.connect(ADDRESS)
        world.run(lambda: loop.table)
        taken = 0
        for size in pieces:
            taken += size
            client.send(bytes(size))
            world.run(lambda taken=taken: loop.stats()["total_in"] == taken)
            assert loop.stats()["held"] == sum(row.held_in for row in loop.table) == taken % 1_002


def test_packets_that_wait_for_their_row_count_in_max_held():
    class Deaf(DatagramHandler):
        def handle(self):
            return Delay(1e6), self.never

        def never(self, _):
            raise AssertionError("must not be reached")

    with World() as world:
        loop = world.reactor()
        loop.max_held = 10_000
        world.serve(SelectUDPServer, ADDRESS, Deaf)
        sender = world.correspond(ADDRESS)
        for _ in range(20):
            sender.send(bytes(1_000))
        world.run(lambda: loop.table.closed)
        assert "(Reactor.max_held)" in loop.table.closed[0]["reason"]
