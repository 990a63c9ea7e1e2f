"""Filters in front of the rows of connections: what they hold and find out, chaos and the tap."""

import time
from collections import Counter
from functools import partial
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import (
    FEED,
    Cancelled,
    DatagramHandler,
    DatagramMachine,
    Delay,
    Exactly,
    Filtered,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    ToEnd,
    Until,
)
from handlers.filter import Filter, chain
from reactor import SelectTCPServer
from reactor import testing as simulated
from reactor.rows.filters.chaos import Chaos, PacketChaos
from reactor.rows.filters.tap import INPUT_ENDED, OUTPUT_ENDED, RECEIVED, SENT, Tap
from reactor.servers.access import AccessMixIn
from tests.handlers.rows import KINDS, Deflated, Greeting, Row, Xor, decoded, encoded
from tests.support.bench import Lines, Noting, bench, broken
from tests.support.loops import Clock
from tests.support.serving import STREAMS, connect, rest, serving, wait_until
from tests.support.strategies import cuts
from tests.support.worlds import ADDRESS

chains = st.lists(st.sampled_from(KINDS), max_size=2)


class Digest(StreamHandler):
    """Sends its input back in one piece."""

    async def handle(self):
        self.send(await ToEnd())


def told_by(filters, data, takes=()):
    """What a tap tells, first in the chain of ``filters``, and the row."""
    told = []

    def tell(tap, now, what, data):
        told.append((what, data))

    row = Row(Digest(), [partial(Tap, tell=tell), *filters], takes, now=time.time).start()
    row.feed(data)
    row.drain()
    return told, row


# Chaos


@given(st.integers(), chains, chains, st.binary(max_size=2_000).flatmap(cuts))
def test_chaos_loses_nothing_wherever_it_stands(seed, outer, inner, pieces):
    data = b"".join(pieces)
    wire = encoded([*outer, *inner], data)
    row = Row(Digest(), [*outer, partial(Chaos, seed=seed), *inner]).start()
    row.feed([wire])
    row.drain()
    assert row.raised == []
    assert decoded([*outer, *inner], bytes(row.written)) == data
    assert row.channel.complete
    assert not row.channel.outbox
    assert row.channel.held_in == row.channel.held_out == 0


class Pieces(StreamHandler):
    """Keeps its input in the pieces in which it comes."""

    async def handle(self):
        self.pieces = []
        while True:
            self.pieces.append(await Some())


def test_chaos_cuts_reads_and_writes_as_its_seed_says():
    def cut(seed):
        handler = Pieces()
        channel = chain(StreamMachine(handler), [partial(Chaos, seed=seed)])
        channel.advance()
        channel.feed(b"x" * 1_000)
        while channel.blocked:
            channel.advance()
        return [len(piece) for piece in handler.pieces]

    assert cut(1) == cut(1) != cut(2)
    assert sum(cut(1)) == 1_000
    assert {size for seed in range(20) for size in cut(seed)[:-1]} == {1, 2, 3, 4, 5, 6, 7, 8}
    shared = Random(1)
    assert cut(shared) != cut(shared)


def test_the_table_counts_what_chaos_holds():
    class Waiting(StreamHandler):
        async def handle(self):
            await Some()
            await Delay(60)

    with bench(Waiting) as here:
        here.server.filters = [partial(Chaos, seed=1)]
        client = here.connect()
        client.sendall(b"x" * 1_000)
        here.until(lambda: here.row.total_in == 1_000)
        here.rest()
        assert 0 < here.row.held_in < 1_000
        assert here.reactor.stats()["held"] == here.row.held_in


# The tap


def test_a_tap_tells_of_all_that_passes_with_the_time_and_the_peer():
    told = []
    clock = Clock()
    with bench(Lines, clock=clock) as here:
        here.server.filters = [partial(Tap, tell=lambda tap, *rest: told.append((tap.driver.peer, *rest)))]
        client = here.connect()
        peer, now = client.getsockname(), clock.time()
        client.sendall(b"one\ntw")
        assert here.take(client, 4) == b"one\n"
        clock.seconds += 2
        client.sendall(b"o\n")
        assert here.take(client, 4) == b"two\n"
        client.shutdown(1)
        assert here.last_words(client) == b""
    assert told == [
        (peer, now, RECEIVED, b"one\ntw"), (peer, now, SENT, b"one\n"),
        (peer, now + 2, RECEIVED, b"o\n"), (peer, now + 2, SENT, b"two\n"),
        (peer, now + 2, INPUT_ENDED, b""), (peer, now + 2, OUTPUT_ENDED, b""),
    ]  # fmt: skip


@given(chains, st.binary(max_size=500).flatmap(cuts), st.lists(st.integers(0, 3), max_size=20))
def test_what_a_tap_tells_is_what_passes(inner, pieces, takes):
    wire = encoded(inner, b"".join(pieces))
    told, row = told_by(inner, [wire], takes)
    assert b"".join(data for what, data in told if what == RECEIVED) == wire
    assert b"".join(data for what, data in told if what == SENT) == bytes(row.written)


def test_an_error_of_what_is_told_ends_the_request():
    def tell(*told):
        raise ArithmeticError("not now")

    with bench(Lines) as here:
        here.server.filters = [partial(Tap, tell=tell)]
        client = here.connect()
        client.sendall(b"one\n")
        assert here.last_words(client) == b""
        [error] = here.errors
        assert str(error) == "not now"


# What is held


class Deaf(Filter):
    """Opens when a line has come, however long that takes."""

    def begin(self):
        self.line = b""
        self.open_until("a line", timeout=30)

    @property
    def pending(self):
        return len(self.line)

    def received(self, data):
        self.line += data
        if b"\n" in self.line:
            self.line = b""
            self.open()


def test_what_a_filter_holds_while_it_opens_is_in_the_table_and_the_budget():
    with bench(Lines) as here:
        here.server.filters = [Deaf]
        client = here.connect()
        client.sendall(b"x" * 500)
        here.until(lambda: here.row.total_in == 500)
        here.rest()
        row = here.row.as_dict()
        assert (row["stage"], row["state"], row["held_in"]) == ("opening", "Deaf", 500)
        assert row["wait"] == "Opening('a line', timeout=30)"
        assert here.reactor.stats()["held"] == 500
        client.sendall(b"\n")
        here.until(lambda: here.row.stage.value == "serving")
        assert (here.row.state, here.row.held_in) == ("line", 0)
        assert here.reactor.stats()["held"] == 0


def test_the_limit_of_a_filter_ends_the_row():
    with bench(Lines) as here:
        here.server.filters = [type("Small", (Deaf,), {"limit": 100})]
        client = here.connect()
        client.sendall(b"x" * 500)
        assert here.last_words(client) == b""
        [row] = here.table.closed
        assert row["reason"].startswith("LimitPassed: Small holds 500 bytes")


def test_the_time_of_a_filter_that_opens_ends_the_row_and_its_handler_never_begins():
    class Never(Noting):
        pass

    clock = Clock()
    with bench(Never, clock=clock) as here:
        here.server.filters = [Deaf]
        client = here.connect()
        assert here.row.as_dict()["deadline"] == 30
        clock.seconds += 29
        here.rest()
        assert len(here.table) == 1
        clock.seconds += 1
        assert here.last_words(client) == b""
        [row] = here.table.closed
        assert (row["stage"], row["reason"]) == ("draining", "TimedOut: timed out in Opening('a line', timeout=30)")
        assert Never.made == []


def test_output_for_a_request_whose_filter_opens_is_bounded():
    class Pushing(Noting):
        max_output = 1_000

        async def handle(self):
            await Until(b"\n")
            await Filtered(Greeting, held=FEED)

    with bench(Pushing) as here:
        client = here.connect()
        client.sendall(b"up\n")
        here.until(lambda: here.row.stage.value == "opening")
        [handler] = Pushing.made
        handler.send(b"x" * 1_000)
        here.rest()
        assert here.row.held_out == 1_000
        assert here.reactor.stats()["held"] == 1_000
        handler.send(b"x")
        assert here.last_words(client) == b""
        assert isinstance(broken(Pushing), LimitPassed)


def test_water_marks_hold_through_a_filter():
    class Flood(StreamHandler):
        async def handle(self):
            while True:
                await Exactly(1)
                self.send(b"x" * 10_000)

    with bench(Flood, sndbuf=65_536) as here:
        here.server.filters = [Xor]
        client = here.connect(rcvbuf=65_536)
        client.sendall(bytes(200))
        here.until(lambda: here.row.held_out > Flood.high_water)
        here.rest()
        assert here.row.held_out <= Flood.high_water + 10_000
        assert here.reactor.stats()["held"] == here.row.held_out + here.row.held_in
        assert Xor.decode(here.take(client, 2_000_000)) == b"x" * 2_000_000


def test_a_row_does_not_end_before_a_silent_filter_has_given_all():
    class Long(StreamHandler):
        def handle(self):
            self.send(bytes(1_000_000))

    with bench(Long) as here:
        here.server.filters = [Deflated, partial(Chaos, seed=5)]
        client = here.connect()
        assert Deflated.decode(here.last_words(client)) == bytes(1_000_000)


def test_last_words_of_a_cancelled_request_pass_a_filter_whole():
    class Polite(StreamHandler):
        def handle(self):
            return Some(), self.handle

        def interrupted(self, cause):
            self.send(b"the server closes" * 100)

    with bench(Polite) as here:
        here.server.filters = [Deflated, partial(Chaos, seed=5)]
        client = here.connect()
        here.reactor.cancel(here.table)
        assert Deflated.decode(here.last_words(client)) == b"the server closes" * 100


# What a filter finds out


class Named(Filter):
    """Reads the host of the peer, as a PROXY header says it, and leaves."""

    def begin(self):
        self.line = b""
        self.open_until("the host", timeout=5)

    def received(self, data):
        self.line += data
        line, found, rest_ = self.line.partition(b"\n")
        if found:
            self.driver.peer = (line.decode(), 4711)
            self.driver.principal = "ada"
            self.driver.secured = "tls1.3"
            self.leave(rest_)


def test_a_peer_that_a_filter_has_found_out_is_counted_as_of_its_host():
    with bench(Lines) as here:
        here.server.filters = [Named]
        client = here.connect()
        host = client.getsockname()[0]
        assert here.table.count_of((host, 0)) == 1
        client.sendall(b"192.0.2.7\none\n")
        assert here.take(client, 4) == b"one\n"
        assert (here.table.count_of((host, 0)), here.table.count_of(("192.0.2.7", 0))) == (0, 1)
        row = here.row.as_dict()
        assert (row["peer"], row["principal"], row["secured"]) == ("192.0.2.7:4711", "ada", "tls1.3")
        client.shutdown(1)
        assert here.last_words(client) == b""
        assert here.table.count_of(("192.0.2.7", 0)) == 0


def test_max_per_peer_holds_for_the_peer_that_a_filter_has_found_out():
    with bench(Lines) as here:
        here.server.filters = [Named]
        clients = [here.connect() for _ in range(3)]
        here.server.max_per_peer = 2
        for client in clients[:2]:
            client.sendall(b"192.0.2.7\none\n")
            assert here.take(client, 4) == b"one\n"
        clients[2].sendall(b"192.0.2.7\none\n")
        assert here.last_words(clients[2]) == b""
        assert here.table.refused == {"max_per_peer": 1}
        assert here.table.count_of(("192.0.2.7", 0)) == 2
        assert here.table.closed[0]["reason"] == "Cancelled: refused: max_per_peer"
        assert here.errors == []


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_access_is_asked_of_the_peer_that_a_filter_has_found_out(mode):
    with serving(Lines, mode, STREAMS["tcp"], AccessMixIn, filters=[Named], deny=["192.0.2.66"]) as server:
        for host, answer in (b"192.0.2.66", b""), (b"192.0.2.7", b"one\n"):
            with connect(server) as client:
                client.sendall(host + b"\none\n")
                client.shutdown(1)
                assert rest(client) == answer
        wait_until(lambda: not server.reactor.table)
        assert server.reactor.table.refused == {"verify_request": 1}


# In a simulated world


@given(st.integers(0, 1_000), st.lists(st.sampled_from(KINDS), min_size=1, max_size=2), st.integers(0, 20_000))
@settings(max_examples=40)
def test_rows_with_filters_keep_the_invariants_of_the_simulated_world(seed, kinds, size):
    data = (b"0123456789" * 2_000)[:size]
    filters = [kinds[0], partial(Chaos, seed=seed), *kinds[1:]]
    with simulated.World(capacity=1_000) as world:
        world.serve(type("Server", (SelectTCPServer,), {"filters": filters}), ADDRESS, Digest)
        client = world.connect(ADDRESS).send(encoded(kinds, data)).shutdown()
        world.run()
        assert decoded(kinds, client.received) == data


# Chaos in front of datagrams


@given(st.integers(), st.lists(st.binary(max_size=4), max_size=12))
def test_chaos_drops_repeats_and_delays_packets_and_changes_none(seed, packets):
    class Echoing(DatagramHandler):
        async def handle(self):
            while (packet := await Packet()) != b"the end":
                self.send(packet)

    def answers(dice):
        channel = chain(DatagramMachine(Echoing()), [partial(PacketChaos, seed=dice)])
        channel.advance()
        for packet in packets:
            channel.feed(packet)
        channel.discard(Cancelled("the end"))
        return list(iter(channel.read, None))

    received = answers(seed)
    assert set(received) <= set(packets)
    assert len(received) <= 4 * len(packets)
    assert answers(seed) == received
    assert answers(Random(seed)) == answers(Random(seed))


def test_chaos_passes_most_packets_some_of_them_twice_or_late_in_both_directions():
    class Counting(DatagramHandler):
        async def handle(self):
            while (packet := await Packet()) != b"the end":
                received.append(packet)
                self.send(packet)

    received = []
    channel = chain(DatagramMachine(Counting()), [partial(PacketChaos, seed=4711)])
    channel.advance()
    for number in range(1000):
        channel.feed(b"%d" % number)
    for came, left in ((list(map(b"%d".__mod__, range(1000))), received), (received, list(iter(channel.read, None)))):
        places = Counter(left)
        assert len(came) * 0.8 < len(places) < len(set(came))
        assert len(came) * 0.05 < sum(number > came.count(packet) for packet, number in places.items())
        assert left != sorted(left, key=int)
