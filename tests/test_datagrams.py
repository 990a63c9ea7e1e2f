"""Datagram handlers in all four modes: the same packets come back, whoever drives the exchange.

The hard part is that one socket serves all peers: what comes while a request is under way must
reach that request, or wait, or begin another, and none of it may be lost on the way.
"""

import socket
from contextlib import ExitStack, contextmanager

import pytest

from handlers import BaseRequestHandler, DatagramHandler, DatagramRequestHandler, Delay, Packet, TimedOut
from handlers.services import EchoDatagram
from tests.serving import MODES, PACKETS, PATIENCE, serving, wait_until

every_mode = pytest.mark.parametrize("mode", MODES)


class Pairs(DatagramHandler):
    """Answers two packets of one peer with one."""

    timeout = PATIENCE

    async def handle(self):
        self.send(await Packet() + b"," + await Packet())


class PairsOfStates(DatagramHandler):
    """The same, in states."""

    timeout = PATIENCE

    def handle(self):
        return Packet(), self.first

    def first(self, packet):
        self.held = packet
        return Packet(), self.second

    def second(self, packet):
        self.send(self.held + b"," + packet)


class Upper(DatagramRequestHandler):
    """Blocking, with a file to read and one to write."""

    def handle(self):
        self.wfile.write(self.rfile.read().upper())


class Lower(BaseRequestHandler):
    """Blocking, with the packet and the socket."""

    request = Packet()

    def handle(self):
        packet, sock = self.request
        sock.sendto(packet.lower(), self.client_address)


class Expiring(DatagramHandler):
    """Says so when the second packet does not come."""

    async def handle(self):
        first = await Packet()
        try:
            await Packet(timeout=0.05)
        except TimedOut:
            self.send(b"no second after " + first)


class Slow(DatagramHandler):
    """Is busy for a moment while packets come, and takes them afterwards."""

    async def handle(self):
        count = int(await Packet())
        self.send(b"ready")
        await Delay(0.05)
        for _ in range(count):
            self.send(await Packet())


@contextmanager
def client(server, tmp_path):
    """A socket that talks to the server, and has an address to be answered at."""
    address = server.server_address
    with socket.socket(server.address_family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        if server.address_family == socket.AF_UNIX:
            sock.bind(str(tmp_path / "client"))
        sock.connect(address[:2] if isinstance(address, tuple) else address)
        yield sock


@every_mode
@pytest.mark.parametrize("place", PACKETS)
@pytest.mark.parametrize(
    ("handler", "packets", "answers"),
    [
        (EchoDatagram, [b"one", b"", b"x" * 8000], [b"one", b"", b"x" * 8000]),
        (Pairs, [b"a", b"b", b"c", b"d"], [b"a,b", b"c,d"]),
        (PairsOfStates, [b"a", b"b", b"c", b"d"], [b"a,b", b"c,d"]),
        (Upper, [b"one", b"two"], [b"ONE", b"TWO"]),
        (Lower, [b"ONE", b"TWO"], [b"one", b"two"]),
    ],
)
def test_a_handler_gives_the_same_packets(mode, place, handler, packets, answers, tmp_path):
    with serving(handler, mode, PACKETS[place]) as server, client(server, tmp_path) as sock:
        each = len(packets) // len(answers)
        for turn, answer in enumerate(answers):
            for packet in packets[turn * each : (turn + 1) * each]:
                sock.send(packet)
            assert sock.recv(65_536) == answer


@every_mode
def test_the_exchanges_of_many_peers_do_not_mix(mode, tmp_path):
    with serving(Pairs, mode, PACKETS["udp"]) as server, ExitStack() as stack:
        socks = [stack.enter_context(client(server, tmp_path)) for _ in range(8)]
        for turn in b"first", b"second":
            for number, sock in enumerate(socks):
                sock.send(turn + b" %d" % number)
        for number, sock in enumerate(socks):
            assert sock.recv(100) == b"first %d,second %d" % (number, number)
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_a_burst_of_one_peer_is_answered_to_the_last_packet(mode, tmp_path):
    """Packets come while the exchange that came before them is just ending: they begin the next ones."""
    with serving(Pairs, mode, PACKETS["udp"]) as server, client(server, tmp_path) as sock:
        for number in range(20):
            sock.send(b"%02d" % number)
        answers = [sock.recv(100) for _ in range(10)]
        assert sorted(b",".join(answers).split(b",")) == [b"%02d" % number for number in range(20)]


@every_mode
def test_an_exchange_expires(mode, tmp_path):
    with serving(Expiring, mode, PACKETS["udp"]) as server, client(server, tmp_path) as sock:
        sock.send(b"one")
        assert sock.recv(100) == b"no second after one"
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_packets_that_come_while_a_request_is_busy_wait_for_it(mode, tmp_path):
    with serving(Slow, mode, PACKETS["udp"]) as server, client(server, tmp_path) as sock:
        sock.send(b"5")
        assert sock.recv(100) == b"ready"
        for number in range(5):
            sock.send(b"%d" % number)
        assert [sock.recv(100) for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


@every_mode
def test_a_peer_without_a_name_hurts_nobody(mode, tmp_path):
    with serving(EchoDatagram, mode, PACKETS["unix"]) as server, client(server, tmp_path) as sock:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.connect(server.server_address)
            for _ in range(3):
                nameless.send(b"who am I?")
        sock.send(b"hello")
        assert sock.recv(100) == b"hello"
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_an_exchange_is_a_row(mode, tmp_path):
    drivers = {"select": "loop", "plain": "caller", "fork": "child", "thread": "thread"}
    with serving(Pairs, mode, PACKETS["udp"]) as server, client(server, tmp_path) as sock:
        sock.send(b"one")
        wait_until(lambda: [row for row in server.reactor.table if row.driver.split()[0] == drivers[mode]])
        (row,) = server.reactor.table
        assert row.handler == "Pairs"
        assert row.peer == sock.getsockname()
        sock.send(b"two")
        assert sock.recv(100) == b"one,two"
        wait_until(lambda: not server.reactor.table)
