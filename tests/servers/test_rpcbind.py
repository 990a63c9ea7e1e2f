"""What a server of RPC registers with rpcbind, without one."""

import os
import socket
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from handlers import StreamHandler
from handlers.services import Echo, EchoDatagram
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.rpcbind import Registration, Rpcbind
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


class Addresses(Rpcbind):
    """The addresses of programs, as rpcbind has them."""


class AddressesStream(RPCStreamHandler):
    versions = Addresses.versions


@pytest.fixture
def program():
    """A server of one version of a program."""
    versions = (SimpleNamespace(program=200_000, version=1),)
    with SelectTCPServer(("127.0.0.1", 0), type("Program", (Echo,), {"versions": versions})) as server:
        yield server


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_a_child_that_leaves_the_context_removes_no_registration(program, monkeypatch):
    def registered_programs():
        return [each.program for each in Addresses.registry if each.program == 200_000]

    with serving(AddressesStream, "select", STREAMS["unix"]) as other:
        monkeypatch.setattr(rpcbind, "PATH", other.server_address)
        with ExitStack() as stack:
            stack.enter_context(registered(program))
            pid = os.fork()
            if pid == 0:
                try:
                    stack.close()
                finally:
                    os._exit(0)
            os.waitpid(pid, 0)
            assert registered_programs() == [200_000]
        assert registered_programs() == []


def test_where_nothing_could_be_registered_nothing_is_removed(program, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(rpcbind, "PATH", str(tmp_path / "none"))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setattr(rpcbind, "PORT", closed.getsockname()[1])
        with pytest.raises(RegistrationError, match="no rpcbind answers"), registered(program):
            pass
    assert caplog.messages == []


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
