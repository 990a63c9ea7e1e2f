"""Packets that are held for an exchange: how many, in which order, and what becomes of them."""

import os
import select
from contextlib import closing
from itertools import pairwise

import pytest

from handlers import DatagramHandler, Delay, Flushed, Packet
from handlers.services import Echo, EchoDatagram
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from reactor.rows.packets import PENDING
from tests.support.loops import until
from tests.support.serving import PACKETS, PATIENCE, STREAMS, clients_of, made, peer, server_class, serving, wait_until


class Blocked(DatagramHandler):
    """Answers the first packet, blocks until the gate is opened, and counts the packets up to ``end``."""

    gate: int

    async def handle(self):
        if await Packet() != b"begin":
            self.send(b"late")
            return
        self.send(b"begun")
        await Flushed()
        os.read(self.gate, 1)
        count = 0
        while await Packet() != b"end":
            count += 1
        self.send(b"%d" % count)


LARGE = bytes(8_000)
"""A packet of which a socket buffer holds about two dozen."""


@pytest.fixture
def gate():
    """What `Blocked` waits for; calling it ends the wait of one exchange."""
    reader, writer = os.pipe()
    Blocked.gate = reader
    yield lambda: os.write(writer, b"x")
    os.write(writer, b"x" * 9)  # for exchanges that still wait when a test has failed
    os.close(reader)
    os.close(writer)


def wait_until_taken(server):
    """Wait until the server has taken all packets from its socket."""
    wait_until(lambda: not select.select([server], [], [], 0)[0])


class Stalled(DatagramHandler):
    """Takes only its first packet."""

    async def handle(self):
        await Packet()
        await Delay(PATIENCE)


class Three(DatagramHandler):
    """Answers when it has three packets."""

    async def handle(self):
        self.send(await Packet() + await Packet() + await Packet())


def test_packets_for_a_request_in_a_pool_of_the_users_count_when_its_thread_begins():
    """The loop can't end such a request, so its budget must not try."""
    waiting = []

    class Pool:
        def process_request(self, *request):
            waiting.append(request)

    udp = PACKETS["udp"]
    with serving(Three, "thread", udp, Pool) as server, peer(server) as client:
        client.send(b"one")
        [request] = wait_until(lambda: waiting)
        [row] = server.reactor.table
        client.send(b"eight...")
        client.send(b"six...")
        wait_until(lambda: row.held_in == 17)
        assert server.reactor.stats()["held"] == 0
        server.process_request_thread(*request)
        assert client.recv(99) == b"oneeight...six..."


def test_an_exchange_holds_a_bounded_number_of_packets_that_its_handler_does_not_take():
    with (
        closing(Reactor()) as reactor,
        made(SelectUDPServer, PACKETS["udp"], Stalled, reactor) as server,
        peer(server) as client,
    ):
        client.send(b"x")
        until(reactor, lambda: len(reactor.table))
        (row,) = reactor.table
        for count in 130, PENDING - 130 + 6:  # no more at a time than a socket's buffer holds
            for _ in range(count):
                client.send(b"x")
            until(reactor, lambda: not select.select([server], [], [], 0)[0])
        assert row.held_in == PENDING
        assert reactor.stats()["refused"] == {"backlog": 6}


def test_the_plain_mode_holds_a_bounded_number_of_packets_of_another_peer(gate):
    with serving(Blocked, "plain", PACKETS["udp"]) as server, peer(server) as first, peer(server) as second:
        first.send(b"begin")
        assert first.recv(9) == b"begun"
        gate()
        for count in 130, PENDING - 130 + 6:
            for _ in range(count):
                second.send(b"x")
            wait_until_taken(server)
        first.send(b"end")
        assert first.recv(9) == b"0"
        wait_until(lambda: server.reactor.table.ends == {"": 1 + PENDING})
        assert [second.recv(9) for _ in range(PENDING)] == [b"late"] * PENDING
        assert server.reactor.stats()["refused"] == {"backlog": 6}


def test_a_bounded_number_of_exchanges_wait_for_room():
    class Keyed(Stalled):
        key = bytes

    kind = server_class("select", PACKETS["udp"], max_requests=1)
    with closing(Reactor()) as reactor, made(kind, PACKETS["udp"], Keyed, reactor) as server, peer(server) as client:
        for numbers in range(131), range(131, 1 + PENDING + 6):  # no more at a time than a socket's buffer holds
            for number in numbers:
                client.send(b"%d" % number)
            until(reactor, lambda: not select.select([server], [], [], 0)[0])
        assert len(reactor.table) == 1
        assert reactor.stats()["refused"] == {"backlog": 6}


def test_packets_of_a_child_that_reads_none_wait_in_order(gate):
    with serving(Blocked, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for _ in range(50):
            client.send(LARGE)
            wait_until_taken(server)
        client.send(b"end")
        gate()
        assert client.recv(9) == b"50"


@pytest.mark.slow
def test_large_packets_that_a_child_does_not_ask_for_are_served_next_each_once():
    class Overtaken(DatagramHandler):
        async def handle(self):
            if await Packet() != b"begin":
                self.send(b"late")
                return
            self.send(b"begun")
            await Delay(0.5)

    with serving(Overtaken, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for _ in range(40):
            client.send(LARGE)
            wait_until_taken(server)
        assert [client.recv(9) for _ in range(40)] == [b"late"] * 40


def test_packets_that_a_child_has_not_taken_at_its_end_begin_the_next_exchange(gate):
    class Leaving(Blocked):
        async def handle(self):
            if (packet := await Packet()) != b"begin":
                self.send(packet[:9])
                return
            self.send(b"begun")
            await Flushed()
            os.read(self.gate, 1)

    with serving(Leaving, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"begin")
        assert client.recv(9) == b"begun"
        for packet in [b"next", *[LARGE] * 40]:
            client.send(packet)
            wait_until_taken(server)
        gate()
        assert client.recv(9) == b"next"


def test_packets_too_late_for_an_exchange_wait_for_room_for_the_next():
    kind = server_class("select", PACKETS["udp"], max_requests=2)
    with (
        closing(Reactor()) as reactor,
        made(kind, PACKETS["udp"], EchoDatagram, reactor) as server,
        made(SelectTCPServer, STREAMS["tcp"], Echo, reactor) as other,
        peer(server) as client,
    ):
        client.send(b"one")
        client.send(b"two")
        reactor.step(PATIENCE)  # it takes both; the second comes when the exchange of the first has ended
        with clients_of(other, 2):
            until(reactor, lambda: len(reactor.table) == 2)
            reactor.step(0.1)
            assert client.recv(9) == b"one"
            assert [row.server for row in reactor.table] == [other, other]
        until(reactor, lambda: select.select([client], [], [], 0)[0])
        assert client.recv(9) == b"two"


def test_a_step_begins_a_bounded_number_of_requests_while_packets_go_on_coming():
    """Otherwise nothing else that the loop has to do, such as to stop, has its turn."""

    class Urging(DatagramHandler):
        left = 60

        async def handle(self):
            await Packet()
            type(self).left -= 1
            for client in clients if self.left > 0 else ():
                client.send(b"x")
            await Delay(0.001)  # in which the packets are taken, and held

    kind = server_class("plain", PACKETS["udp"])
    with (
        Reactor() as loop,
        made(kind, PACKETS["udp"], Urging, loop) as server,
        peer(server) as one,
        peer(server) as two,
    ):
        clients, ended = (one, two), [0]
        for client in clients:
            client.send(b"x")
        while Urging.left > 0:
            loop.step(PATIENCE)
            ended.append(sum(loop.table.ends.values()))
        assert max(now - before for before, now in pairwise(ended)) <= 3
