"""Programs are registered with an rpcbind in the highest version that this has; the rpcbind is ours, over TCP."""

import pytest

from handlers.sunrpc.message import RPCError
from handlers.sunrpc.record import RPCStreamHandler
from handlers.sunrpc.registering import Registrar, RegistrationError
from handlers.sunrpc.registry import Registration
from handlers.sunrpc.rpcbind import Rpcbind
from tests.support.rpc import Stream
from tests.support.serving import STREAMS, connect, serving

versions = pytest.mark.parametrize("highest", [4, 3, 2])
MADE = Registration(7, 1, "tcp", "0.0.0.0.8.1")
OTHER = MADE._replace(address="0.0.0.0.8.2")


def rpcbind(highest):
    """An rpcbind that has the versions up to this one, and its registry."""
    ports = type("Ports", (Rpcbind,), {})
    handler = type("Handler", (RPCStreamHandler,), {"versions": ports.versions[: highest - 1]})
    return handler, ports


def found(ports):
    """What is registered, but for the rpcbind itself; without the owner."""
    return [each[:4] for each in ports.registry if each.program != 100_000]


@versions
def test_register_and_unregister(highest):
    handler, ports = rpcbind(highest)
    with serving(handler, "select", STREAMS["tcp"]) as server, connect(server) as sock:
        registrar = Registrar(sock)
        registrar.register(MADE)
        assert (found(ports), registrar.version) == ([MADE[:4]], highest)
        registrar.register(MADE)
        registrar.register(MADE._replace(netid="udp"))
        assert found(ports) == [MADE[:4], (7, 1, "udp", "0.0.0.0.8.1")]
        registrar.unregister(MADE._replace(netid="udp"))
        assert found(ports) == [MADE[:4]]
        registrar.unregister(MADE)
        registrar.unregister(MADE)
        assert found(ports) == []


@versions
def test_what_a_killed_server_has_left_is_replaced(highest):
    handler, ports = rpcbind(highest)
    ports.registry.set(OTHER)
    by_udp = MADE._replace(netid="udp")
    with serving(handler, "select", STREAMS["tcp"]) as server, connect(server) as sock:
        registrar = Registrar(sock)
        registrar.register(by_udp)
        registrar.register(MADE)
    assert sorted(found(ports)) == [MADE[:4], by_udp[:4]]


@versions
def test_the_registration_of_a_later_server_stays(highest):
    handler, ports = rpcbind(highest)
    with serving(handler, "select", STREAMS["tcp"]) as server, connect(server) as sock:
        registrar = Registrar(sock)
        registrar.register(MADE)
        Registrar(sock).register(OTHER)
        registrar.unregister(MADE)
    assert found(ports) == [OTHER[:4]]


@versions
def test_a_refusal_is_an_error(highest):
    handler, ports = rpcbind(highest)
    ports.max_mappings = 0
    with (
        serving(handler, "select", STREAMS["tcp"]) as server,
        connect(server) as sock,
        pytest.raises(RegistrationError, match="refuses version 1 of program 7 for tcp"),
    ):
        Registrar(sock).register(MADE)


def test_version_2_has_no_ipv6():
    handler, _ = rpcbind(2)
    with (
        serving(handler, "select", STREAMS["tcp"]) as server,
        connect(server) as sock,
        pytest.raises(RegistrationError, match="tcp6"),
    ):
        Registrar(sock).register(Registration(7, 1, "tcp6", "::.8.1"))


def test_a_server_that_is_no_rpcbind():
    with (
        serving(Stream, "select", STREAMS["tcp"]) as server,
        connect(server) as sock,
        pytest.raises(RPCError, match="PROG_UNAVAIL"),
    ):
        Registrar(sock).register(MADE)
