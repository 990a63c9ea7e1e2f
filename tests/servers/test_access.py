"""Networks that are allowed and denied, in every mode and over every kind of socket."""

import socket
from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.services import EchoDatagram
from reactor.servers.access import AccessMixIn
from tests.support.serving import MODES, PACKETS, STREAMS, Reverse, ask, connect, exchange, rest, server_class, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are
every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
@pytest.mark.parametrize("place", STREAMS)
def test_clients_of_allowed_networks_are_served(mode, place):
    with serving(Reverse, mode, STREAMS[place], AccessMixIn, allow=["127.0.0.1", "::1"]) as server:
        assert ask(server, b"5:hello,") == b"5:olleh,"


@every_mode
@pytest.mark.parametrize("place", ["tcp", "tcp6", "mapped"])
def test_connections_of_denied_networks_are_closed_unread(mode, place):
    with serving(Reverse, mode, STREAMS[place], AccessMixIn, deny=["127.0.0.0/8", "::1"]) as server:
        with connect(server) as client:
            assert rest(client) == b""
        assert server.reactor.stats()["refused"] == {"verify_request": 1}
        assert not server.reactor.table.closed


@every_mode
def test_packets_of_denied_networks_are_dropped(mode):
    with (
        serving(EchoDatagram, mode, PACKETS["udp"], AccessMixIn, deny=["127.0.0.2"]) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as denied,
    ):
        denied.bind(("127.0.0.2", 0))
        denied.sendto(b"let me in", server.server_address)
        assert exchange(server, b"hello") == [b"hello"]
        denied.setblocking(False)
        with pytest.raises(BlockingIOError):
            denied.recv(100)


class Empty(AccessMixIn, server_class("select", STREAMS["tcp"])):
    """Allows no network."""

    allow = ()


class Open(AccessMixIn, server_class("select", STREAMS["tcp"])):
    """Allows every network."""


@given(st.ip_addresses())
def test_an_empty_list_allows_nothing_and_the_zero_prefixes_everything(address):
    for kind, expected in (Open, True), (Empty, False):
        with kind(("127.0.0.1", 0), Reverse) as server:
            assert server.may_come(str(address)) is expected


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 32))
def test_a_network_may_be_written_as_ipv4_mapped_ipv6(address, other, length):
    network = IPv4Network((other, length), strict=False)
    mapped = f"::ffff:{network.network_address}/{length + 96}"
    kind = type("Mapped", (AccessMixIn, server_class("select", STREAMS["tcp"])), {"deny": [mapped]})
    with kind(("127.0.0.1", 0), Reverse) as server:
        for host in address, network.broadcast_address:
            for written in f"{host}", f"::ffff:{host}":
                assert server.may_come(written) is (host not in network)


def test_the_zone_of_an_address_is_ignored():
    kind = type("Local", (AccessMixIn, server_class("select", STREAMS["tcp"])), {"allow": ["fe80::/10"]})
    with kind(("127.0.0.1", 0), Reverse) as server:
        assert server.may_come("fe80::1%eth0")


@pytest.mark.parametrize("network", ["127.0.0.1/8", "localhost", "300.0.0.0/8"])
def test_an_invalid_network_is_refused_when_the_server_is_made(network):
    kind = type("Wrong", (AccessMixIn, server_class("select", STREAMS["tcp"])), {"deny": [network]})
    with pytest.raises(ValueError, match=network.partition("/")[0]):
        kind(("127.0.0.1", 0), Reverse)
