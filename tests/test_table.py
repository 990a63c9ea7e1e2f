"""The table tells the truth: about every row, in every mode, and about what the selector holds for it."""

import json
import os
import signal
import socket
from contextlib import ExitStack, closing
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from handlers import (
    DatagramHandler,
    Delay,
    Exactly,
    Flushed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    StreamRequestHandler,
    Until,
)
from handlers.services import Echo
from reactor import Reactor, Request, RequestTable, SelectTCPServer, SelectUDPServer, SelectUnixDatagramServer
from reactor.stream import LINGERING, StreamRow
from reactor.table import CLOSED
from tests.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    Reverse,
    ask,
    connect,
    peer,
    reset,
    server_class,
    serving,
    wait_until,
)
from tests.test_reactor import Clock, in_thread, until
from tests.test_stream import SMALL, bench

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # so are many tests here

DRIVERS = {"select": "loop", "plain": "caller", "fork": "child ", "thread": "thread "}
FIELDS = {
    "serial", "peer", "handler", "state", "wait", "held_in", "held_out", "total_in", "total_out", "age", "idle",
    "deadline", "driver",
}  # fmt: skip


class Talk(StreamHandler):
    """Waits in different ways, for `as_dict` to tell of."""

    timeout = 30

    def handle(self):
        return Until(b":", limit=9), self.length

    def length(self, digits):
        self.send(b"go on")
        return Exactly(int(digits[:-1]), timeout=7.5), self.payload

    def payload(self, data):
        return Delay(2), self.rested

    def rested(self, _):
        return Some(timeout=float("inf")), self.last

    def last(self, data):
        self.send(bytes(3_000_000))


# Rows


def test_a_row_tells_what_it_is_what_it_does_and_what_it_waits_for():
    clock = Clock()
    with bench(Talk, sndbuf=SMALL, clock=clock) as here:
        client = here.connect(SMALL)
        row = here.row
        host, port = client.getsockname()
        fresh = {
            "serial": 1, "peer": f"{host}:{port}", "handler": "Talk", "state": "length", "wait": "Until(b':', limit=9)",
            "held_in": 0, "held_out": 0, "total_in": 0, "total_out": 0, "age": 0, "idle": 0, "deadline": 30,
            "driver": "loop",
        }  # fmt: skip
        assert row.as_dict() == fresh
        clock.seconds += 1.5
        assert row.as_dict() == {**fresh, "age": 1.5, "idle": 1.5, "deadline": 28.5}
        client.sendall(b"1")
        here.rest()
        assert row.as_dict() == {**fresh, "age": 1.5, "deadline": 28.5, "held_in": 1, "total_in": 1}
        client.sendall(b"2:twelve")
        here.rest()
        exactly = {**fresh, "state": "payload", "wait": "Exactly(12, timeout=7.5)", "age": 1.5, "deadline": 7.5}
        exactly.update(held_in=6, total_in=9, total_out=5)
        assert row.as_dict() == exactly
        client.sendall(b" bytes")
        here.rest()
        delay = {**exactly, "state": "rested", "wait": "Delay(2)", "deadline": 2, "held_in": 0, "total_in": 15}
        assert row.as_dict() == delay
        clock.seconds += 2
        here.rest()
        for_ever = {**delay, "state": "last", "wait": "Some(65536, timeout=inf)", "deadline": None}
        assert row.as_dict() == {**for_ever, "age": 3.5, "idle": 2}
        client.sendall(b"x")
        here.rest()
        last = row.as_dict()
        assert (last["state"], last["wait"], last["deadline"]) == ("finished", "", 30)
        assert last["held_out"] + last["total_out"] == 3_000_005
        here.take(client, 3_000_005)
        here.rest()
        assert list(here.table) == []


def test_age_counts_from_the_arrival_and_idleness_from_the_last_byte():
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        client = here.connect()
        row = here.row
        for number in range(1, 4):
            clock.seconds += 10
            assert (row.age(), row.idle()) == (10 * number, 10)
            client.sendall(b"x")
            here.take(client, 1)
            assert (row.age(), row.idle()) == (10 * number, 0)


def test_a_coroutine_tells_the_line_that_it_has_reached():
    class Lines(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            await Until(b"\n")

    with bench(Lines) as here:
        client = here.connect()
        name, first = here.row.state.split(":")
        client.sendall(b"\n")
        here.rest()
        assert name == "handle"
        assert here.row.state == f"handle:{int(first) + 1}"


@pytest.mark.parametrize("place", STREAMS.values(), ids=STREAMS)
def test_the_dictionaries_are_plain_data(place):
    with bench(Talk, place) as here:
        for _ in range(3):
            here.connect()
        rows = here.table.as_dicts()
        assert json.loads(json.dumps(rows, allow_nan=False)) == rows
        assert [set(row) for row in rows] == [FIELDS] * 3
        assert {row["peer"][0] for row in rows} <= ({"-"} if place.family == socket.AF_UNIX else {"1", "["})


def test_the_text_has_a_heading_and_a_line_for_each_row():
    clock = Clock()
    with bench(Talk, clock=clock) as here:
        words = " ".join(str(here.table).split())
        assert words == "row peer handler state waits for in out age idle due in driven by"
        clients = [here.connect() for _ in range(2)]
        clients[1].sendall(b"1")
        here.rest()
        clock.seconds += 2.25
        heading, first, second = str(here.table).splitlines()
        host, port = clients[1].getsockname()
        assert first.split()[0] == "1"
        assert second.split() == f"2 {host}:{port} Talk length Until(b':', limit=9) 1/1 0/0 2.2 2.2 27.8 loop".split()
        assert heading.index("waits for") == first.index("Until") == second.index("Until")
        assert second == second.rstrip()


def test_a_datagram_row_is_told_of_like_any_other():
    class Two(DatagramHandler):
        timeout = 5

        async def handle(self):
            self.send(await Packet() + await Packet())

    clock = Clock()
    with (
        closing(Reactor(clock=clock)) as reactor,
        SelectUDPServer(("127.0.0.1", 0), Two, reactor=reactor) as server,
        peer(server) as client,
    ):
        client.send(b"one")
        until(reactor, lambda: len(reactor.table) == 1)
        (told,) = reactor.table.as_dicts()
        host, port = client.getsockname()
        assert told == {
            "serial": 1, "peer": f"{host}:{port}", "handler": "Two", "state": told["state"], "wait": "Packet()",
            "held_in": 0, "held_out": 0, "total_in": 3, "total_out": 0, "age": 0, "idle": 0, "deadline": 5,
            "driver": "loop",
        }  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
def test_in_every_mode_an_open_request_is_a_row_and_a_finished_one_is_none(mode):
    class Slow(StreamHandler):
        async def handle(self):
            self.send(b"hello")
            await Until(b"\n")

    with serving(Slow, mode) as server:
        table = server.reactor.table
        with connect(server) as client:
            assert client.recv(10) == b"hello"
            wait_until(lambda: len(table) == 1)
            (told,) = wait_until(
                lambda: [row for row in table.as_dicts() if row["driver"] != "caller" or mode == "plain"]
            )
            assert told["serial"] == 1
            assert told["handler"] == "Slow"
            json.dumps(told)
            assert str(table).count("\n") == 1
            client.sendall(b"\n")
            assert client.recv(10) == b""
        wait_until(lambda: not len(table))


# The table as a collection


def test_serials_are_counted_from_one_and_never_given_again():
    with bench(Echo) as here:
        for number in range(1, 30):
            client = here.connect()
            assert here.row.serial == number
            if number % 3:
                client.close()
                here.until(lambda number=number: number not in [row.serial for row in here.table])
        serials = [row.serial for row in here.table]
        assert serials == list(range(3, 30, 3))


def test_rows_of_all_servers_of_a_loop_share_the_numbering():
    with closing(Reactor()) as reactor, ExitStack() as stack:
        servers = [stack.enter_context(SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor)) for _ in range(2)]
        for number in range(1, 7):
            stack.enter_context(connect(servers[number % 2]))
            until(reactor, lambda number=number: len(reactor.table) == number)
        assert [row.serial for row in reactor.table] == [1, 2, 3, 4, 5, 6]
        assert [row.server for row in reactor.table] == servers[::-1] * 3


def rows_of(table, number):
    """Rows that nobody drives."""
    with closing(Reactor()) as reactor:
        rows = [Request(reactor, None, None, StreamMachine(Echo()), "nobody") for _ in range(number)]
    for row in rows:
        table.add(row)
    return rows


def test_iterating_walks_over_the_rows_of_the_moment():
    table = RequestTable(DefaultSelector())
    with closing(table._selector):
        rows = rows_of(table, 5)
        seen = []
        for row in table:
            seen.append(row)
            for each in rows:
                table.remove(each)
            rows_of(table, 1)
        assert seen == rows
        assert len(table) == 5
        assert not set(seen) & set(table)


def test_a_row_is_in_the_table_from_add_to_remove():
    table = RequestTable(DefaultSelector())
    with closing(table._selector):
        first, second = rows_of(table, 2)
        assert (first in table, second in table, "first" in table) == (True, True, False)
        table.remove(first)
        table.remove(first)
        assert (first in table, second in table, len(table), list(table)) == (False, True, 1, [second])


def test_a_row_that_is_struck_out_is_out_of_the_selector_before_it_is_closed():
    selector = DefaultSelector()
    here, there = socket.socketpair()
    with closing(Reactor(selector)) as reactor, here, there:
        row = StreamRow(reactor, None, here, None, Echo(), "nobody")
        reactor.table.add(row)
        reactor.table.want(row, EVENT_READ | EVENT_WRITE)
        assert selector.get_key(here).data is row
        reactor.table.remove(row)
        assert (dict(selector.get_map()), row.mask) == ({}, 0)


def test_a_full_table_takes_no_more_until_a_row_ends():
    with bench(Echo) as here:
        here.server.max_requests = 2
        first, second = here.connect(), here.connect()
        third = connect(here.server)
        here.clients.append(third)
        third.sendall(b"third")
        here.rest()
        assert len(here.table) == 2
        second.sendall(b"second")
        assert here.take(second, 6) == b"second"
        first.close()
        assert here.take(third, 5) == b"third"
        assert [row.serial for row in here.table] == [2, 3]


def test_a_row_of_another_table_is_not_in_this_one():
    tables = [RequestTable(DefaultSelector()) for _ in range(2)]
    (ours,), (theirs,) = (rows_of(table, 1) for table in tables)
    assert ours.serial == theirs.serial
    assert theirs not in tables[0]
    for table in tables:
        table._selector.close()


def test_the_table_of_an_inner_loop_numbers_with_the_outer():
    outer = RequestTable(DefaultSelector())
    inner = RequestTable(outer._selector, outer)
    with closing(outer._selector):
        rows = [*rows_of(outer, 1), *rows_of(inner, 1), *rows_of(outer, 1)]
        assert [row.serial for row in rows] == [1, 2, 3]
        assert list(outer) == rows
        assert list(inner) == rows[1:2]
        inner.remove(rows[1])
        assert list(outer) == rows[::2]


def test_the_table_may_be_read_from_another_thread():
    with serving(Echo, "select") as server:
        table = server.reactor.table

        def churn():
            for _ in range(100):
                with connect(server) as client:
                    client.sendall(b"x")
                    client.recv(1)

        thread = in_thread(churn)
        while thread.is_alive():
            json.dumps(table.as_dicts())
            assert str(table)
        wait_until(lambda: not len(table))


# The selector is a cache of it


class Script(StreamHandler):
    """Does what the letters say: waits, output, the end of it, failure."""

    timeout = 20
    high_water, low_water = 60_000, 20_000

    async def handle(self):
        while True:
            letter = await Exactly(1)
            if letter == b"s":
                self.send(bytes(50_000))
            elif letter == b"f":
                await Flushed()
            elif letter == b"d":
                await Delay(3)
            elif letter == b"u":
                await Until(b"!")
            elif letter == b"o":
                for other in self.server.everybody:
                    other.send(bytes(5_000))
            elif letter == b"e":
                self.send_eof()
            elif letter == b"q":
                return
            elif letter == b"x":
                raise ZeroDivisionError

    def setup(self):
        self.server.everybody.append(self)

    def finish(self):
        self.server.everybody.remove(self)


class Exchange(RuleBasedStateMachine):
    """Clients that do anything, while the selector must hold just what wait and output imply."""

    @initialize(unix=st.booleans())
    def begin(self, unix):
        self.stack = ExitStack()
        place = STREAMS["unix" if unix else "tcp"]
        self.here = self.stack.enter_context(bench(Script, place, sndbuf=4096, clock=Clock()))
        self.here.server.everybody = []
        self.clients = []

    def teardown(self):
        if hasattr(self, "stack"):
            self.stack.close()

    def client(self, number):
        return self.clients[number % len(self.clients)]

    some_client = precondition(lambda self: getattr(self, "clients", None))

    @rule()
    def arrive(self):
        self.clients.append(self.here.connect(4096))

    @some_client
    @rule(number=st.integers(0, 9), letters=st.text("sfduoeqx!", min_size=1, max_size=6))
    def write(self, number, letters):
        try:
            self.client(number).setblocking(False)
            self.client(number).send(letters.encode())
        except (BlockingIOError, ConnectionError):
            pass

    @some_client
    @rule(number=st.integers(0, 9), size=st.sampled_from([1, 4000, 100_000]))
    def read(self, number, size):
        try:
            self.client(number).setblocking(False)
            self.client(number).recv(size)
        except (BlockingIOError, ConnectionError):
            pass

    @some_client
    @rule(number=st.integers(0, 9))
    def half_close(self, number):
        try:
            self.client(number).shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @some_client
    @rule(number=st.integers(0, 9), rudely=st.booleans())
    def leave(self, number, rudely):
        client = self.clients.pop(number % len(self.clients))
        if rudely:
            reset(client)
        client.close()

    @rule(seconds=st.sampled_from([0.5, 3, 19, 21]))
    def wait(self, seconds):
        self.here.clock.seconds += seconds

    @rule(steps=st.integers(1, 5))
    def step(self, steps):
        for _ in range(steps):
            self.here.reactor.step(0)

    @invariant()
    def the_selector_holds_what_the_rows_imply(self):
        if not hasattr(self, "here") or self.here.reactor.timeout() == 0:
            return  # a row is yet to be settled
        here, implied = self.here, {self.here.server.fileno(): EVENT_READ}
        for row in here.table:
            machine = row.machine
            events = (EVENT_READ if machine.wants_input or row.lingering else 0) | (
                EVENT_WRITE if machine.held_out else 0
            )
            if events:
                implied[row.fileno()] = events
            assert row.mask == events
            assert not row.lingering or machine.output == LINGERING, "a row that has nothing left to do"
        assert {fd: key.events for fd, key in here.selector.get_map().items()} == implied
        assert all(key.data in here.table for fd, key in here.selector.get_map().items() if fd != here.server.fileno())

    @invariant()
    def every_row_has_its_deadline(self):
        if hasattr(self, "here"):
            for row in self.here.table:
                assert row.deadline <= self.here.clock.seconds + 20
                assert row.armed <= row.deadline


Exchange.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
test_exchange = Exchange.TestCase


def test_a_datagram_server_that_is_closed_with_output_waiting_leaves_nothing_behind(tmp_path):
    """Its descriptor's number is free for the next server, and the selector knows nothing of the old one."""

    class Burst(DatagramHandler):
        async def handle(self):
            await Packet()
            for _ in range(1000):
                self.send(bytes(1000))
            await Flushed()

    selector = DefaultSelector()
    with closing(Reactor(selector)) as reactor:
        server = SelectUnixDatagramServer(str(tmp_path / "old"), Burst, reactor=reactor)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            client.bind(str(tmp_path / "client"))
            client.sendto(b"x", server.server_address)
            until(reactor, lambda: [row for row in reactor.table if row.total_out and row.held_out])
            server.server_close()
            assert len(reactor.table) == 0
            assert dict(selector.get_map()) == {}
            assert not reactor.ports
            assert not reactor.busy
        with SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server, connect(server) as client:
            client.sendall(b"word")
            until(reactor, lambda: sum(row.total_out for row in reactor.table) == 4)


# What has ended


class Mortal(StreamHandler):
    """Ends as its line says."""

    def handle(self):
        return Until(b"\n", limit=8, timeout=0.2), self.line

    def line(self, line):
        self.send(line)
        if line == b"raise\n":
            raise ArithmeticError("as told")
        return (Until(b"\n", limit=8, timeout=0.2), self.line) if line == b"more\n" else None


ENDS = {
    "finish": (b"end\n", ""),
    "clean end": (b"", ""),
    "end in the middle": (b"more\nhal", "EndOfStream: end of stream with 3 bytes of an unfinished piece"),
    "limit": (b"much too long", "LimitPassed: limit passed in Until(b'\\n', limit=8, timeout=0.2)"),
    "timeout": (b"more\n", "TimedOut: timed out in Until(b'\\n', limit=8, timeout=0.2)"),
    "error": (b"raise\n", "ArithmeticError: as told"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ENDS)
def test_a_row_that_has_ended_is_told_of_with_its_reason(mode, end):
    said, reason = ENDS[end]
    with serving(Mortal, mode, handle_error=lambda *_: None) as server, connect(server) as client:
        client.sendall(said)
        if end != "timeout":
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.reactor.table.closed)
        [told] = server.reactor.table.closed
        assert json.loads(json.dumps(told)) == told
        assert (told["serial"], told["reason"]) == (1, reason)
        assert (told["total_in"], told["handler"]) == (len(said), "Mortal")
        assert 0 <= told["idle"] <= told["age"]
        kind = reason.partition(":")[0]
        stats = server.reactor.stats()
        assert (stats["open"], stats["ended"]) == (0, {kind: 1})


@pytest.mark.parametrize("mode", ["plain", "thread", "fork"])
def test_a_blocking_handler_that_raises_is_told_of(mode):
    class Raising(StreamRequestHandler):
        def handle(self):
            raise OSError("as told")

    with serving(Raising, mode, handle_error=lambda *_: None) as server:
        with connect(server):
            wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "OSError: as told"


def test_a_child_that_is_killed_is_told_of():
    class Doomed(StreamRequestHandler):
        def handle(self):
            os.kill(os.getpid(), signal.SIGKILL)

    with serving(Doomed, "fork") as server, connect(server):
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "ChildProcessError: the child was killed by SIGKILL"


def test_the_last_to_end_are_told_of_and_all_are_counted():
    with bench(Echo) as here:
        for _ in range(CLOSED + 20):
            client = here.connect()
            client.sendall(b"word")
            assert here.take(client, 4) == b"word"
            client.close()
            here.until(lambda: not here.table)
        serials = [told["serial"] for told in here.table.closed]
        assert serials == list(range(21, CLOSED + 21))
        here.connect().sendall(b"more")
        here.until(lambda: here.row.total_out == 4)
        size = 4 * (CLOSED + 21)
        assert here.reactor.stats() == {
            "open": 1, "ended": {"": CLOSED + 20}, "refused": {}, "total_in": size, "total_out": size, "held": 0
        }  # fmt: skip


# What is not taken


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])  # in the plain mode the limit is never reached
def test_what_is_over_the_limit_may_be_refused(mode):
    with (
        serving(Reverse, mode, max_requests=2, at_limit="refuse") as server,
        connect(server) as first,
        connect(server),
    ):
        wait_until(lambda: len(server.reactor.table) == 2)
        with connect(server) as third:
            assert third.recv(10) == b""
        assert server.reactor.stats()["refused"] == {"max_requests": 1}
        first.close()
        wait_until(lambda: len(server.reactor.table) == 1)
        assert ask(server, b"5:hello,") == b"5:olleh,"


def test_the_row_that_was_idle_longest_makes_room():
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        here.server.max_requests, here.server.at_limit = 2, "evict"
        first, second = here.connect(), here.connect()
        clock.seconds += 1
        first.sendall(b"alive")
        assert here.take(first, 5) == b"alive"
        third = here.connect()
        assert second.recv(10) == b""
        [told] = here.table.closed
        assert (told["serial"], told["reason"]) == (2, "Cancelled: evicted: idle longest when another request came")
        for client in first, third:
            client.sendall(b"served")
            assert here.take(client, 6) == b"served"


def test_who_does_not_take_the_rest_of_his_answer_is_idle_too():
    """A request that has ended and can't be sent whole holds a row for as long as any other."""

    class Much(StreamHandler):
        def handle(self):
            self.send(bytes(8 << 20))

    with bench(Much) as here:
        here.server.max_requests, here.server.at_limit = 2, "evict"
        for _ in range(2):
            here.connect()
        here.until(lambda: all(row.state == "finished" for row in here.table))
        newcomer = here.connect()
        assert here.take(newcomer, 10) == bytes(10)
        assert here.reactor.stats()["refused"] == {}
        [told] = here.table.closed
        assert (told["serial"], told["reason"]) == (1, "Cancelled: evicted: idle longest when another request came")


def test_a_crowd_that_comes_at_once_evicts_no_more_than_it_must():
    with bench(Echo) as here:
        here.server.max_requests, here.server.at_limit = 5, "evict"
        here.server.socket.listen(20)
        for _ in range(20):
            here.clients.append(connect(here.server))
        here.until(lambda: len(here.table.closed) == 15)
        here.rest()
        assert len(here.table) == 5
        assert here.reactor.stats()["refused"] == {}
        assert here.reactor.stats()["ended"] == {"Cancelled": 15}


@given(st.lists(st.integers(0, 4), max_size=40))
@settings(max_examples=25, deadline=None)
def test_whatever_happens_between_arrivals_the_idlest_row_makes_room(events):
    """A number is of the row that says something, in the order of their arrival; after the last, somebody comes."""
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        here.server.max_requests, here.server.at_limit = 4, "evict"
        spoke = {}
        rows = [here.connect() for _ in range(4)]
        for serial, client in enumerate(rows, 1):
            spoke[client] = clock.seconds, serial
        for event in events:
            clock.seconds += 1
            if event < len(rows):
                client = rows[event]
                client.sendall(b"x")
                assert here.take(client, 1) == b"x"
                spoke[client] = clock.seconds, spoke[client][1]
            else:
                idlest = min(rows, key=spoke.get)
                rows.remove(idlest)
                rows.append(here.connect())
                assert here.table.closed[-1]["serial"] == spoke.pop(idlest)[1]
                spoke[rows[-1]] = clock.seconds, here.row.serial


def test_a_crowd_at_the_limit_does_not_have_the_whole_table_looked_at_for_each(monkeypatch):
    looks, iterate = [], RequestTable.__iter__
    with bench(Echo) as here:
        here.server.max_requests, here.server.at_limit = 50, "evict"
        for _ in range(50):
            here.connect()
        here.rest()
        monkeypatch.setattr(RequestTable, "__iter__", lambda table: looks.append(table) or iterate(table))
        for _ in range(40):
            here.clients.append(connect(here.server))
            here.reactor.step(PATIENCE)
        assert here.reactor.table.ends == {"Cancelled": 40}
        assert len(looks) == 1


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_where_no_row_can_be_evicted_arrivals_wait(mode):
    with (
        serving(Reverse, mode, max_requests=1, at_limit="evict") as server,
        connect(server) as first,
        connect(server) as second,
    ):
        second.sendall(b"2:ab,")
        first.sendall(b"5:hello,")
        assert first.recv(8) == b"5:olleh,"
        first.close()
        assert second.recv(5) == b"2:ba,"


def test_one_host_may_not_take_all():
    with bench(Echo) as here:
        here.server.max_per_peer = 2
        first, _ = here.connect(), here.connect()
        third = connect(here.server)
        here.clients.append(third)
        here.rest()
        assert third.recv(10) == b""
        first.close()
        here.until(lambda: len(here.table) == 1)
        fourth = here.connect()
        fourth.sendall(b"word")
        assert here.take(fourth, 4) == b"word"
        assert here.reactor.stats()["refused"] == {"max_per_peer": 1}


def test_a_host_is_one_to_servers_of_both_families():
    with Reactor() as loop, ExitStack() as stack:
        for place in STREAMS["tcp"], STREAMS["mapped"]:
            kind = server_class("select", place, max_per_peer=1)
            server = stack.enter_context(kind((place.host, 0), Echo, reactor=loop))
            stack.enter_context(connect(server))
        until(loop, lambda: loop.table and loop.table.refused)
        assert (len(loop.table), loop.stats()["refused"]) == (1, {"max_per_peer": 1})


def test_what_is_not_verified_is_counted():
    with bench(Echo) as here:
        here.server.verify_request = lambda request, client_address: False
        client = connect(here.server)
        here.clients.append(client)
        here.rest()
        assert client.recv(10) == b""
        assert here.reactor.stats()["refused"] == {"verify_request": 1}


def test_a_limit_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"at_limit is one of .*'refuse'.*, not 'panic'"):
        server_class("select", STREAMS["tcp"], at_limit="panic")(("127.0.0.1", 0), Echo)
