"""What a datagram socket reports besides data: packets too long, ICMP errors, the address called, a full buffer.

In every mode, with the real kernel.
"""

import errno
import os
import socket
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest

from handlers import BaseRequestHandler, DatagramHandler, Delay, Packet, Reset
from handlers.services import EchoDatagram
from reactor import Reactor
from tests.support.packets import PairConversation, Shout
from tests.support.serving import (
    MODES,
    PACKETS,
    Client,
    Place,
    made,
    peer,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
UDP, UNIX = PACKETS["udp"], PACKETS["unix"]
WILDCARD = Place("UDPServer", socket.AF_INET, "0.0.0.0")
WILDCARD6 = Place("UDPServer", socket.AF_INET6, "::")


class Bare(BaseRequestHandler):
    """A blocking handler that uses the socket, with flags too."""

    request = Packet()

    def handle(self):
        packet, sock = self.request
        sock.sendto(packet[:1].upper(), self.client_address)
        sock.sendto(packet[1:].upper(), 0, self.client_address)


def caller(family, address=None):
    """A client bound to ``address`` that takes answers from any address."""
    client = Client(family, socket.SOCK_DGRAM)
    client.bind((address, 0) if address else ("", 0))
    return client


# Too long


ALL = {**PACKETS, "0.0.0.0": WILDCARD, "[::]": WILDCARD6}


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("place", ALL)
@pytest.mark.parametrize("handler", [EchoDatagram, Shout])
def test_a_packet_that_is_too_long_is_dropped_counted_and_logged_once(mode, place, handler, caplog):
    with serving(handler, mode, ALL[place], max_packet_size=100) as server, peer(server) as client:
        for size in 101, 100, 5_000, 0, 101:
            client.send(b"X" * size)
        assert {len(client.recv(200)) for _ in range(2)} == {100, 0}  # the order of two children is not defined
        wait_until(lambda: server.reactor.stats()["refused"] == {"truncated": 3})
    [record] = caplog.records
    for word in type(server).__name__, "100 bytes", "max_packet_size", str(server.server_address):
        assert word in record.getMessage()


@every_mode
def test_a_packet_that_is_too_long_is_no_part_of_an_exchange(mode):
    with serving(PairConversation, mode, UDP, max_packet_size=100) as server:
        with peer(server) as client:
            client.send(b"a")
            wait_until(lambda: server.reactor.table)
            client.send(b"X" * 101)
            client.send(b"b")
            assert client.recv(200) == b"ab"
        assert server.reactor.stats()["refused"] == {"truncated": 1}


@every_mode
@pytest.mark.parametrize(("place", "size"), [
    ("udp", 65_507), ("0.0.0.0", 65_507), ("udp6", 65_527), ("[::]", 65_527), ("unix", 65_536)
])  # fmt: skip
def test_the_longest_packets_are_taken_whole(mode, place, size):
    with serving(PairConversation, mode, ALL[place]) as server, peer(server) as client:
        packet = os.urandom(size)
        client.send(packet)
        client.send(b"")
        assert client.recv(size + 1) == packet


# Peers that are gone


class Told(DatagramHandler):
    """Answers; ``bye`` again and again. Writes the cause to the journal when the peer is gone."""

    async def handle(self):
        while True:
            packet = await Packet()
            self.send(packet)
            while packet == b"bye":
                await Delay(0.01)
                self.send(packet)

    def interrupted(self, cause):
        if isinstance(cause, Reset):
            self.server.journal.write("Reset", errno.errorcode[cause.error.errno])


def closed(server):
    return [row["reason"] for row in server.reactor.table.closed]


@every_mode
@pytest.mark.parametrize("place", ["udp", "udp6", "mapped"])
def test_the_row_of_a_peer_whose_port_is_closed_ends_with_reset(mode, place, journal):
    with made(server_class(mode, PACKETS[place], journal=journal), PACKETS[place], Told) as server:
        with peer(server) as client:
            client.send(b"bye")
        with running(server):
            wait_until(lambda: closed(server))
            assert closed(server) == [f"Reset: connection lost: [Errno {errno.ECONNREFUSED}] Connection refused"]
            assert journal.lines() == ["Reset ECONNREFUSED"]
            assert server.socket.fileno() >= 0


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_peers_whose_ports_are_closed_affect_no_other(mode, journal):
    with serving(Told, mode, UDP, journal=journal) as server, ExitStack() as stack:
        good = [stack.enter_context(peer(server)) for _ in range(5)]
        for number in range(5):
            with ExitStack() as gone:
                for _ in range(4):
                    gone.enter_context(peer(server)).send(b"bye")
            for client in good:
                client.send(b"%d" % number)
            for client in good:
                assert client.recv(9) == b"%d" % number
        journal.wait_for(20)
        wait_until(lambda: len(server.reactor.table) == len(good))
        assert {reason.partition(":")[0] for reason in closed(server)} == {"Reset"}


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("handler", [EchoDatagram, Shout])
def test_peers_whose_ports_close_before_the_answer_affect_no_other(mode, handler, caplog):
    with made(server_class(mode, UDP), UDP, handler) as server, ExitStack() as stack:
        good = [stack.enter_context(peer(server)) for _ in range(10)]
        for number, client in enumerate(good):
            with peer(server) as gone:
                gone.send(b"BYE")
            client.send(b"%d" % number)
        with running(server):
            for number, client in enumerate(good):
                assert client.recv(9) == b"%d" % number
            wait_until(lambda: not server.reactor.table)
    assert not caplog.records


# The address that was called


@contextmanager
def calling(server, address):
    """A client that is connected to one address of the server, so that it receives from no other."""
    with Client(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, server.server_address[1]))
        yield client


ADDRESSES = [(WILDCARD, f"127.0.0.{last}") for last in (1, 2, 3)]
ADDRESSES += [(WILDCARD6, "::1"), (WILDCARD6, "127.0.0.2")]


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize(("place", "address"), ADDRESSES, ids=[f"{place.host}-{own}" for place, own in ADDRESSES])
@pytest.mark.parametrize("handler", [PairConversation, Shout, Bare])
def test_the_reply_comes_from_the_address_that_the_packet_was_sent_to(mode, place, address, handler):
    with serving(handler, mode, place) as server, calling(server, address) as client:
        for _ in range(2):
            client.send(b"h")
            if handler is PairConversation:
                client.send(b"h")
            assert client.recv(9).lower() in (b"h", b"hh")
            if handler is Bare:
                assert client.recv(9) == b""
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_packets_of_one_peer_to_two_addresses_are_two_exchanges(mode):
    with serving(PairConversation, mode, WILDCARD) as server, caller(socket.AF_INET, "127.0.0.1") as client:
        port = server.server_address[1]
        for address, packet in ("127.0.0.2", b"1"), ("127.0.0.3", b"a"), ("127.0.0.2", b"2"), ("127.0.0.3", b"b"):
            client.sendto(packet, (address, port))
        answers = {client.recvfrom(9) for _ in range(2)}
    assert answers == {(b"12", ("127.0.0.2", port)), (b"ab", ("127.0.0.3", port))}


@every_mode
def test_both_exchanges_of_a_peer_whose_port_is_closed_end(mode, journal):
    with made(server_class(mode, WILDCARD, journal=journal), WILDCARD, Told) as server:
        with caller(socket.AF_INET, "127.0.0.1") as client:
            for address in "127.0.0.2", "127.0.0.3":
                client.sendto(b"bye", (address, server.server_address[1]))
        with running(server):
            journal.wait_for(2)
            wait_until(lambda: not server.reactor.table)
    assert journal.lines() == ["Reset ECONNREFUSED"] * 2


@every_mode
def test_a_users_get_request_works_on_a_wildcard_address(mode):
    class Own:
        def get_request(self):
            packet, address = self.socket.recvfrom(self.max_packet_size)
            return (packet, self.socket), address

    with serving(PairConversation, mode, WILDCARD, Own) as server, calling(server, "127.0.0.1") as client:
        client.send(b"a")
        client.send(b"b")
        assert client.recv(9) == b"ab"


@every_mode
@pytest.mark.parametrize("handler", [EchoDatagram, Shout])
def test_a_host_without_pktinfo_serves_all_the_same(mode, handler):
    class Lesser(socket.socket):
        def setsockopt(self, level, *arguments):
            if level in (socket.IPPROTO_IP, socket.IPPROTO_IPV6):
                raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))
            super().setsockopt(level, *arguments)

    network = SimpleNamespace(**{**vars(socket), "socket": Lesser})
    with (
        Reactor(network=network) as reactor,
        serving(handler, mode, WILDCARD, reactor=reactor) as server,
        calling(server, "127.0.0.1") as client,
    ):
        client.send(b"HELLO")
        assert client.recv(9) == b"HELLO"


# No room in the host


def short_of(number, times):
    """A network whose sockets fail so many times to send a packet, with this errno."""
    left = [times]

    class Short(socket.socket):
        def sendto(self, *arguments):
            if left[0]:
                left[0] -= 1
                raise OSError(number, os.strerror(number))
            return super().sendto(*arguments)

    return SimpleNamespace(**{**vars(socket), "socket": Short})


@every_mode
@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN])
@pytest.mark.parametrize("place", ["udp", "unix"])
def test_packets_for_which_the_host_has_no_room_are_sent_later(mode, number, place):
    with (
        Reactor(network=short_of(number, 3)) as reactor,
        serving(PairConversation, mode, PACKETS[place], reactor=reactor) as server,
    ):
        with peer(server) as client:
            client.send(b"a")
            client.send(b"b")
            assert client.recv(9) == b"ab"
        wait_until(lambda: not server.reactor.table)
        assert closed(server) == [""]


@every_mode
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENETUNREACH, errno.EMSGSIZE])
def test_a_packet_that_can_not_be_sent_at_all_ends_the_row(mode, number, journal):
    with (
        Reactor(network=short_of(number, 1000)) as reactor,
        serving(Told, mode, UDP, reactor=reactor, journal=journal) as server,
        peer(server) as client,
    ):
        client.send(b"a")
        assert journal.wait_for(1) == [f"Reset {errno.errorcode[number]}"]
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_packets_that_wait_to_be_sent_are_bounded(mode, journal):
    class Flood(DatagramHandler):
        max_output = 50_000

        async def handle(self):
            await Packet()
            for _ in range(1000):
                self.send(bytes(1000))
            await Packet()

        def interrupted(self, cause):
            self.server.journal.write(cause)

    with serving(Flood, mode, UNIX, journal=journal) as server, peer(server) as client:
        client.send(b"go on")
        assert journal.wait_for(1) == ["more output waits than the 50000 bytes of Flood.max_output"]
        wait_until(lambda: not server.reactor.table)
        assert client.recv(2000) == bytes(1000)
