"""What a server of RPC registers with rpcbind, without one."""

import os
from types import SimpleNamespace

import pytest

from handlers.services import Echo, EchoDatagram
from handlers.sunrpc.rpcbind import Registration
from reactor import SelectTCPServer, SelectUDPServer
from reactor.servers.rpcbind import registrations


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
