"""Exchanges of datagrams: one socket serves all peers, and no packet is lost or reaches another exchange.

A packet that comes while an exchange is open must reach that exchange, or wait, or begin another.
"""

import os
import select
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from handlers import DatagramHandler, Delay, Flushed, Packet, TimedOut
from handlers.services import EchoDatagram
from tests.support.packets import Bare, Pair, Shout, Slow, Upload
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    bounded,
    exchange,
    journal_error,
    made,
    peer,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
every_place = pytest.mark.parametrize("place", PACKETS)
UDP, UNIX = PACKETS["udp"], PACKETS["unix"]


# Exchanges


@pytest.mark.slow
@every_mode
@every_place
def test_the_packets_of_two_peers_do_not_mix(mode, place):
    with serving(Pair, mode, PACKETS[place]) as server, peer(server) as one, peer(server) as other:
        for _ in range(3):
            one.send(b"1")
            wait_until(lambda: server.reactor.table)
            other.send(b"a")
            other.send(b"b")
            one.send(b"2")
            assert one.recv(8) == b"12"
            assert other.recv(8) == b"ab"
            wait_until(lambda: not server.reactor.table)


@every_mode
def test_the_packets_of_many_peers_do_not_mix(mode):
    with serving(Pair, mode, UDP) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(8)]
        for half in b"first", b"second":
            for number, client in enumerate(clients):
                client.send(b"%b %d " % (half, number))
        for number, client in enumerate(clients):
            assert client.recv(100) == b"first %d second %d " % (number, number)
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_an_open_exchange_delays_no_other(mode):
    with serving(Pair, mode, UDP) as server, peer(server) as slow, peer(server) as quick:
        slow.send(b"1")
        wait_until(lambda: server.reactor.table)
        quick.send(b"a")
        quick.send(b"b")
        assert quick.recv(8) == b"ab"
        slow.send(b"2")
        assert slow.recv(8) == b"12"


@pytest.mark.slow
@every_mode
@every_place
def test_packets_after_the_end_of_an_exchange_begin_the_next(mode, place):
    with serving(Pair, mode, PACKETS[place]) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(2)]
        for client in clients:
            for number in range(20):  # without a pause
                client.send(b"%d " % number)
        for client in clients:
            answers = [client.recv(64) for _ in range(10)]
            assert answers == [b"%d %d " % (number, number + 1) for number in range(0, 20, 2)]
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_packets_that_come_while_the_request_is_busy_are_held_for_it(mode):
    class Busy(DatagramHandler):
        async def handle(self):
            number = int(await Packet())
            self.send(b"ready")
            await Delay(0.05)
            for _ in range(number):
                self.send(await Packet())

    with serving(Busy, mode, UDP) as server, peer(server) as client:
        client.send(b"5")
        assert client.recv(100) == b"ready"
        for number in range(5):
            client.send(b"%d" % number)
        assert [client.recv(100) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@every_mode
def test_all_packets_of_an_exchange_go_to_the_same_process(mode):
    class Whose(DatagramHandler):
        async def handle(self):
            for _ in range(3):
                await Packet()
                self.send(b"%d" % os.getpid())

    with serving(Whose, mode, UDP) as server:
        first, second = (exchange(server, b"", b"", b"") for _ in range(2))
    own = b"%d" % os.getpid()
    assert len(set(first)) == len(set(second)) == 1
    assert (first[0] != own != second[0] != first[0]) if mode == "fork" else first == second == [own] * 3


@every_mode
def test_an_exchange_that_times_out_may_send_a_last_packet(mode):
    class Impatient(DatagramHandler):
        async def handle(self):
            first = await Packet()
            try:
                self.send(first + await Packet(timeout=0.02 if first == b"alone" else None))
            except TimedOut:
                self.send(b"too late")

    with serving(Impatient, mode, UDP) as server, peer(server) as client:
        for _ in range(2):
            client.send(b"alone")
            assert client.recv(64) == b"too late"
            wait_until(lambda: not server.reactor.table)
            client.send(b"a")
            client.send(b"b")
            assert client.recv(64) == b"ab"


@every_mode
def test_an_exchange_that_times_out_sends_nothing_by_default(mode, journal):
    class Expiring(Pair):
        timeout = 0.02

    with serving(Expiring, mode, UDP, handle_error=journal_error, journal=journal) as server, peer(server) as client:
        client.send(b"lost")
        [row] = wait_until(lambda: list(server.reactor.table))
        wait_until(lambda: row not in server.reactor.table)
        Expiring.timeout = None
        client.send(b"a")
        client.send(b"b")
        assert client.recv(64) == b"ab"
    assert journal.lines() == []


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_a_server_that_closes_cancels_its_exchanges(mode):
    class Polite(Pair):
        def interrupted(self, cause):
            self.send(type(cause).__name__.encode())

    with made(server_class(mode, UDP), UDP, Polite) as server, peer(server) as client:
        with running(server):
            client.send(b"a")
            wait_until(lambda: server.reactor.table)
        bounded(server.server_close)
        assert client.recv(64) == b"Cancelled"


# Unusual peers and packets


@every_mode
@pytest.mark.parametrize("handler", [EchoDatagram, Pair, Shout, Bare])
def test_packets_of_an_unbound_unix_socket_affect_no_other_peer(mode, handler, journal):
    members = {"timeout": 0.05}  # in the plain mode the others wait until its exchange ends
    with (
        serving(
            type(handler.__name__, (handler,), members), mode, UNIX, handle_error=journal_error, journal=journal
        ) as server,
        peer(server, named=False) as nameless,
        peer(server) as client,
    ):
        nameless.send(b"x")
        nameless.send(b"y")
        for packet in b"a", b"b":
            client.send(packet)
        assert client.recv(64).lower() in (b"a", b"b", b"ab")


@every_mode
def test_each_packet_of_an_unbound_unix_socket_is_an_exchange(mode, journal):
    class Lonely(Pair):
        timeout = 0.05

        def interrupted(self, cause):
            journal.write(self.held.decode(), type(cause).__name__)

        def second(self, packet):
            journal.write(self.held.decode(), packet.decode())

    with (
        serving(Lonely, mode, UNIX) as server,
        peer(server, named=False) as one,
        peer(server, named=False) as other,
    ):
        one.send(b"one")
        other.send(b"other")
        assert sorted(journal.wait_for(2)) == ["one TimedOut", "other TimedOut"]


@every_mode
@pytest.mark.parametrize(("place", "size"), [(UDP, 65_507), (UNIX, 100_000)], ids=["udp", "unix"])
def test_a_packet_may_be_as_large_as_the_socket_takes(mode, place, size):
    with serving(Upload, mode, place, max_packet_size=size) as server:
        assert exchange(server, b"2", b"x" * size, b"y" * size) == [b"go on", b"%d" % size, b"%d" % (2 * size)]
    with serving(EchoDatagram, mode, place, max_packet_size=size) as server:
        assert exchange(server, b"x" * size) == [b"x" * size]


@every_mode
@pytest.mark.parametrize("handler", [EchoDatagram, Shout])
def test_a_timeout_of_the_socket_delays_nothing(mode, handler):
    with made(server_class(mode, UDP), UDP, handler) as server:
        server.socket.settimeout(10 * PATIENCE)
        with running(server):
            assert exchange(server, b"HELLO", b"AGAIN") == [b"HELLO", b"AGAIN"]


class Faulty(DatagramHandler):
    """Raises in the place that its class names."""

    where = ""

    def _reach(self, place):
        if self.where == place:
            raise ArithmeticError(place)

    def setup(self):
        self._reach("setup")

    def handle(self):
        self._reach("handle")
        return Packet(), self.state

    def state(self, packet):
        self._reach("state")
        return self.conversation()

    async def conversation(self):
        second = await Packet()
        self._reach("coroutine")
        self.send(second)

    def finish(self):
        self._reach("finish")


@every_mode
@pytest.mark.parametrize("where", ["setup", "handle", "state", "coroutine", "finish"])
def test_an_exception_is_handled_once_and_the_next_exchange_is_served(mode, where, journal):
    kind = type("Kind", (Faulty,), {"where": where})
    with serving(kind, mode, UDP, handle_error=journal_error, journal=journal) as server, peer(server) as client:
        client.send(b"1")
        if where in ("coroutine", "finish"):
            client.send(b"2")
        journal.wait_for(1)
        kind.where = ""
        wait_until(lambda: not server.reactor.table)
        if where == "finish":
            assert client.recv(8) == b"2"
        client.send(b"a")
        client.send(b"b")
        assert client.recv(8) == b"b"
    assert journal.lines() == [f"handle_error ArithmeticError {where}"]


# Servers


@every_mode
@every_place
def test_an_exchange_is_a_row_while_it_is_open(mode, place):
    drivers = {"select": "loop", "plain": "caller", "fork": "child ", "thread": "thread "}
    with serving(Pair, mode, PACKETS[place]) as server:
        table = server.reactor.table
        for serial in 1, 2:
            with peer(server) as client:
                client.send(b"123")
                [row] = wait_until(lambda: [row for row in table if str(row.driven_by).startswith(drivers[mode])])
                assert (row.serial, row.handler) == (serial, "Pair")
                if server.address_family == socket.AF_UNIX:
                    assert os.fsencode(row.peer) == os.fsencode(client.getsockname())
                else:
                    assert row.peer[1] == client.getsockname()[1]
                if mode != "fork":  # the state of a child is known only to the child
                    wait_until(lambda row=row: row.state == "second")
                    assert (row.wait, row.total_in, row.held_in, row.total_out) == ("Packet()", 3, 0, 0)
                client.send(b"45")
                assert client.recv(8) == b"12345"
                wait_until(lambda: not table)


every_bound = pytest.mark.parametrize(("mode", "bound"), [
    *((mode, "max_requests") for mode in MODES if mode != "plain"), ("fork", "max_children"), ("thread", "max_threads")
])  # fmt: skip


@pytest.mark.slow
@every_bound
@every_place
def test_an_open_exchange_goes_on_at_the_bound(mode, bound, place):
    with serving(Pair, mode, PACKETS[place], **{bound: 1}) as server, peer(server) as one, peer(server) as other:
        one.send(b"1")
        wait_until(lambda: server.reactor.table)
        other.send(b"a")
        other.send(b"b")
        one.send(b"2")
        assert one.recv(8) == b"12"
        assert other.recv(8) == b"ab"


def test_packets_of_new_peers_over_the_bound_of_held_packets_are_dropped_and_counted():
    class Holds(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            self.send(packet if packet == b"a" else packet + await Packet())

    with serving(Holds, "select", UDP, max_requests=1) as server, peer(server) as one, ExitStack() as stack:
        one.send(b"1")
        wait_until(lambda: server.reactor.table)
        strangers = [stack.enter_context(peer(server)) for _ in range(260)]
        for stranger in strangers:
            stranger.send(b"a")
            wait_until(lambda: not select.select([server.socket], [], [], 0)[0])  # a socket buffer holds fewer
        wait_until(lambda: server.reactor.stats()["refused"] == {"backlog": 4})
        one.send(b"2")
        assert one.recv(8) == b"12"
        for stranger in strangers[:256]:
            assert stranger.recv(8) == b"a"


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "plain"])
def test_more_peers_than_the_bound_are_all_served(mode):
    class Open(Slow):
        async def handle(self):
            self.send(b"%d" % len(self.server.reactor.table))
            await super().handle()

    with serving(Open, mode, UDP, max_requests=3) as server, ExitStack() as stack:
        clients = [stack.enter_context(peer(server)) for _ in range(12)]
        for client in clients:
            client.send(b"x")
        for client in clients:
            assert 1 <= int(client.recv(8)) <= 3
            assert client.recv(8) == b"x"


@pytest.mark.parametrize("handler", [EchoDatagram, Bare])
def test_a_users_pool_of_threads_answers_once(handler, journal):
    """A common override of ``socketserver``; the loop has gone on when the pool begins."""
    gate = threading.Event()

    class Pool:
        def process_request(self, request, client_address):
            pool.submit(self.process_request_thread, request, client_address)
            journal.write("put off")

        def process_request_thread(self, request, client_address):
            gate.wait(PATIENCE)
            self.finish_request(request, client_address)
            self.shutdown_request(request)

    with (
        ThreadPoolExecutor(1) as pool,
        serving(handler, "plain", UDP, Pool) as server,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(peer(server)) for _ in range(4)]
        for number, client in enumerate(clients, 1):  # so that the loop runs once more for each
            client.send(b"%d" % number)
            journal.wait_for(number)
        gate.set()
        for number, client in enumerate(clients, 1):
            assert client.recv(8) == b"%d" % number
            client.send(b"again")
            assert client.recv(8).lower() == b"again"
    assert journal.lines() == ["put off"] * 8


class Pieces(DatagramHandler):
    """Answers one packet with several, each when the one before has been sent."""

    async def handle(self):
        for _ in range(3):
            packet = await Packet()
            for number in range(3):
                self.send(b"%d" % number + packet)
                await Flushed()


@every_mode
def test_packets_that_came_while_output_drained_are_handled(mode):
    with made(server_class(mode, UDP), UDP, Pieces) as server, peer(server) as client:
        for packet in b"a", b"b", b"c":
            client.send(packet)
        with running(server):
            assert [client.recv(8) for _ in range(9)] == [b"%d%c" % (n, c) for c in b"abc" for n in range(3)]


def test_a_unix_peer_that_does_not_read_makes_no_spinning():
    """Our socket is always writable: the queue of the peer is full, for which there is no event."""

    class Burst(DatagramHandler):
        async def handle(self):
            await Packet()
            for number in range(1000):
                self.send(b"%1000d" % number)

    steps = []
    with (
        made(server_class("select", UNIX, service_actions=lambda server: steps.append(1)), UNIX, Burst) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,  # connected to the server it would have no bound
        running(server, poll_interval=1000),
    ):
        client.settimeout(PATIENCE)
        client.bind("")
        client.sendto(b"x", server.server_address)
        wait_until(lambda: [row for row in server.reactor.table if row.held_out])
        before = len(steps)
        threading.Event().wait(0.5)
        assert len(steps) - before < 200, "it spins"
        assert [int(client.recv(2000)) for _ in range(1000)] == list(range(1000))


@every_mode
def test_a_users_get_request_may_block(mode):
    class Own:
        def get_request(self):
            packet, address = self.socket.recvfrom(self.max_packet_size)
            return (packet, self.socket), address

    with serving(EchoDatagram, mode, UDP, Own) as server:
        assert exchange(server, b"one", b"two") == [b"one", b"two"]
