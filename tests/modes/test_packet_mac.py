"""The MAC of datagrams in all four modes."""

from functools import partial

import pytest

from handlers import DatagramHandler, Packet
from reactor.mac import PacketMAC, ReplayWindows, Seal
from tests.support.serving import MODES, PACKETS, peer, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
every_mode = pytest.mark.parametrize("mode", MODES)
KEYS = {"ada": bytes(range(16)), "bob": bytes(range(32))}


class Named(DatagramHandler):
    """Answers two packets with the name of the peer."""

    async def handle(self):
        self.send(f"{self.principal}: ".encode() + await Packet() + await Packet())


def guarded(mode, handler=Named, place="udp", **members):
    filters = [partial(PacketMAC, keys=KEYS, windows=ReplayWindows(since=0))]
    return serving(handler, mode, PACKETS[place], filters=filters, **members)


def seal(name="ada", key=None):
    return Seal(name, key or KEYS[name], ReplayWindows(since=0))


@every_mode
@pytest.mark.parametrize("place", ["udp", "unix"])
def test_clients_are_answered_under_their_names(mode, place):
    with guarded(mode, place=place) as server:
        for name in KEYS:
            ours = seal(name)
            with peer(server) as client:
                client.send(ours.seal(b"one "))
                client.send(b"garbage")
                client.send(ours.seal(b"two"))
                assert ours.open(client.recv(100)) == f"{name}: one two".encode()
        wait_until(lambda: len(server.reactor.table.closed) == 2)
        assert sorted(row["principal"] for row in server.reactor.table.closed) == ["ada", "bob"]


@every_mode
def test_what_is_not_authentic_is_not_answered(mode):
    with guarded(mode) as server, peer(server) as client:
        for packet in (
            b"",
            b"garbage",
            seal(key=bytes(16)).seal(b"x"),
            Seal("eve", bytes(16), ReplayWindows()).seal(b"x"),
        ):
            client.send(packet)
        wait_until(lambda: len(server.reactor.table.closed) == 4)
        assert {row["reason"].partition(":")[0] for row in server.reactor.table.closed} == {"NotAuthentic"}
        ours = seal()
        client.send(ours.seal(b"one "))
        client.send(ours.seal(b"two"))
        assert ours.open(client.recv(100)) == b"ada: one two"


@pytest.mark.slow
@every_mode
def test_a_packet_that_is_sent_again_from_many_addresses_is_taken_once(mode, journal):
    class Told(DatagramHandler):
        async def handle(self):
            self.server.journal.write((await Packet()).decode())

    with guarded(mode, Told, journal=journal) as server:
        ours = seal()
        packets = [ours.seal(f"packet {number}".encode()) for number in range(5)]
        clients = [peer(server) for _ in range(4)]
        for packet in packets:
            for client in clients:
                client.send(packet)
                client.send(packet)
        wait_until(lambda: len(server.reactor.table.closed) >= 4 * len(packets))
        assert sorted(journal.wait_for(len(packets))) == [f"packet {number}" for number in range(5)]
        for client in clients:
            client.close()
