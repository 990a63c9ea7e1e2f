"""What a server of RPC registers with rpcbind, without one."""

import os
import socket
from types import SimpleNamespace

import pytest

from handlers import StreamHandler
from handlers.services import Echo, EchoDatagram
from handlers.sunrpc.rpcbind import Registration
from reactor import SelectTCPServer, SelectUDPServer
from reactor.servers import rpcbind
from reactor.servers.rpcbind import RegistrationError, registered, registrations
from tests.support.serving import STREAMS, serving


@pytest.mark.parametrize(
    ("server_class", "handler", "netid"), [(SelectTCPServer, Echo, "tcp"), (SelectUDPServer, EchoDatagram, "udp")]
)
def test_a_server_is_registered_for_its_protocol(server_class, handler, netid):
    versions = tuple(SimpleNamespace(program=200_000, version=version) for version in (1, 2))
    with server_class(("127.0.0.1", 0), type("Program", (handler,), {"versions": versions})) as server:
        high, low = divmod(server.server_address[1], 256)
        assert registrations(server) == [
            Registration(200_000, version, netid, f"127.0.0.1.{high}.{low}", str(os.geteuid())) for version in (1, 2)
        ]


@pytest.mark.parametrize(("host", "netids"), [("::", ["tcp6", "tcp"]), ("::1", ["tcp6"])])
def test_a_server_of_both_families_is_registered_for_both(host, netids):
    class Server(SelectTCPServer):
        address_family = socket.AF_INET6

    versions = (SimpleNamespace(program=200_000, version=1),)
    with Server((host, 0), type("Program", (Echo,), {"versions": versions})) as server:
        found = registrations(server)
    assert [each.netid for each in found] == netids
    assert [each.address.startswith(("::", "0.0.0.0.")) for each in found] == [True] * len(netids)


class Closes(StreamHandler):
    def handle(self):
        return None


@pytest.mark.parametrize("place", ["unix", "tcp"])
def test_what_closes_at_the_place_of_rpcbind_is_an_error(place, monkeypatch, tmp_path):
    versions = (SimpleNamespace(program=200_000, version=1),)
    program = type("Program", (Echo,), {"versions": versions})
    with serving(Closes, "select", STREAMS[place]) as other, SelectTCPServer(("127.0.0.1", 0), program) as server:
        monkeypatch.setattr(rpcbind, "PATH", other.server_address if place == "unix" else str(tmp_path / "none"))
        if place == "tcp":
            monkeypatch.setattr(rpcbind, "PORT", other.server_address[1])
        with pytest.raises(RegistrationError, match="rpcbind does not answer as it should"), registered(server):
            pass
