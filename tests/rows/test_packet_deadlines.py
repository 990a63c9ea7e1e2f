"""The deadlines of an exchange of datagrams whose handler answers one request after another."""

import socket
from contextlib import contextmanager

import pytest

from handlers import DatagramHandler, Packet, StreamHandler, Until
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from tests.support.loops import Clock, until
from tests.support.serving import PATIENCE


class Counting(DatagramHandler):
    """Each request is two packets, and has an answer."""

    timeout = 100
    request_timeout = 10

    def handle(self):
        self.one_by_one += 1
        return Packet(), self.first

    def first(self, packet):
        return Packet(), self.second

    def second(self, packet):
        self.send(packet)
        return self.handle()


class Conversing(DatagramHandler):
    """The same as a coroutine."""

    timeout = 100
    request_timeout = 10

    async def handle(self):
        while True:
            self.one_by_one += 1
            await Packet()
            self.send(await Packet())


@contextmanager
def exchange(handler):
    """The clock and the loop of a server, and a client."""
    clock = Clock()
    with (
        Reactor(clock=clock) as reactor,
        SelectUDPServer(("127.0.0.1", 0), handler, reactor=reactor) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        yield clock, reactor, client


@pytest.mark.parametrize("handler", [Counting, Conversing])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_the_bound_of_a_request_holds_from_its_first_packet_to_its_end(handler, together):
    with exchange(handler) as (clock, reactor, client):
        total = 0
        for number in range(3):
            clock.seconds += 90  # between requests, only the time of the wait holds
            for packet in b"one", b"answer":
                client.send(packet)
                total += len(packet)
                if not together:
                    until(reactor, lambda: [row.total_in for row in reactor.table] == [total])  # noqa: B023 - now
                    clock.seconds += 4
            until(reactor, lambda: [row.total_in for row in reactor.table] == [total])  # noqa: B023 - now
            assert client.recv(100) == b"answer", number
        client.send(b"one")
        until(reactor, lambda: [row.total_in for row in reactor.table] == [total + 3])
        clock.seconds += 9.9
        reactor.step(0)
        assert len(reactor.table) == 1
        clock.seconds += 0.1
        until(reactor, lambda: not reactor.table)
        reason = reactor.table.closed[-1]["reason"]
    assert reason == f"TimedOut: not finished after 10 s ({handler.__name__}.request_timeout)"


@pytest.mark.parametrize("handler", [Counting, Conversing])
@pytest.mark.parametrize("packets", [["a"], ["a", "b", "c"], ["a", "b", "c", "d", "e"]], ids=len)
def test_it_holds_where_the_first_packet_comes_with_the_end_of_the_request_before(handler, packets):
    with exchange(handler) as (clock, reactor, client):
        for packet in packets:
            client.send(packet.encode())
        until(reactor, lambda: [row.total_in for row in reactor.table] == [len(packets)])
        clock.seconds += 10
        until(reactor, lambda: not reactor.table)
        assert reactor.table.closed[-1]["reason"].startswith("TimedOut: not finished after 10 s")


def test_it_holds_where_other_threads_are_in_use():
    """The machine is behind a lock then."""
    clock = Clock()
    with (
        Reactor(clock=clock) as reactor,
        SelectTCPServer(("127.0.0.1", 0), TwoLines, reactor=reactor) as server,
        socket.create_connection(server.server_address) as client,
    ):
        reactor.share()
        client.sendall(b"a\nb\nc\n")
        until(reactor, lambda: [row.total_in for row in reactor.table] == [6])
        clock.seconds += 10
        until(reactor, lambda: not reactor.table)
        assert reactor.table.closed[-1]["reason"].startswith("TimedOut: not finished after 10 s")


class TwoLines(StreamHandler):
    timeout = 100
    request_timeout = 10

    def handle(self):
        self.one_by_one += 1
        return Until(b"\n"), self.first

    def first(self, line):
        return Until(b"\n"), self.second

    def second(self, line):
        self.send(line)
        return self.handle()
