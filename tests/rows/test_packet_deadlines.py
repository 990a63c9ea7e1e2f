"""The deadlines of an exchange of datagrams whose handler answers one request after another."""

import socket

import pytest

from handlers import DatagramHandler, Packet
from reactor import Reactor, SelectUDPServer
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


@pytest.mark.parametrize("handler", [Counting, Conversing])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_the_bound_of_a_request_holds_from_its_first_packet_to_its_end(handler, together):
    clock = Clock()
    with (
        Reactor(clock=clock) as reactor,
        SelectUDPServer(("127.0.0.1", 0), handler, reactor=reactor) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
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
