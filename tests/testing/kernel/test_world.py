"""The simulated world: the real servers run in it, over every address family, and waiting takes no time."""

import errno
import socket
import subprocess
import sys

import pytest

from handlers import Connected, Failed, StreamHandler, ToEnd, Until
from handlers.services import Echo, EchoDatagram
from reactor import (
    SelectTCPServer,
    SelectUDPServer,
    SelectUnixDatagramServer,
    SelectUnixStreamServer,
    TCPServer,
    UDPServer,
    testing,
)
from reactor.testing import Fault, World
from reactor.testing.kernel.clock import EPOCH
from reactor.testing.pytest import leaks
from tests import ROOT
from tests.support.worlds import ADDRESS, UNIX, Upper


def test_the_servers_are_the_real_classes():
    with World(4711) as world:
        loop = world.reactor()
        with SelectTCPServer(ADDRESS, Upper, reactor=loop) as server:
            assert type(server) is SelectTCPServer
            client = world.connect(server.server_address).send(b"one\ntwo\n").expect(b"ONE\nTWO\n").shutdown()
            world.run()
    assert client.received == b"ONE\nTWO\n"


class SelectTCP6Server(SelectTCPServer):
    """TCP over IPv6."""

    address_family = socket.AF_INET6


class SelectUDP6Server(SelectUDPServer):
    """UDP over IPv6."""

    address_family = socket.AF_INET6


ADDRESS6 = ("2001:db8::1", 7, 0, 0)
STREAMS = [(SelectTCPServer, ADDRESS), (SelectTCP6Server, ADDRESS6), (SelectUnixStreamServer, UNIX)]

DATAGRAMS = [
    (SelectUDPServer, ADDRESS, None),
    (SelectUDP6Server, ADDRESS6, None),
    (SelectUnixDatagramServer, UNIX, "/run/me"),
]


@pytest.mark.parametrize(("server_class", "address"), STREAMS)
def test_streams_of_every_family(server_class, address):
    with World() as world:
        world.serve(server_class, address, Echo)
        client = world.connect(address).send(b"hello").expect(b"hello").shutdown().expect_end()
        world.run()
        assert (client.received, client.ended) == (b"hello", True)


@pytest.mark.parametrize(("server_class", "address", "source"), DATAGRAMS)
def test_datagrams_of_every_family(server_class, address, source):
    with World() as world:
        world.serve(server_class, address, EchoDatagram)
        actor = world.correspond(address, source).send(b"one").send(b"two")
        world.run()
        assert actor.received == [b"one", b"two"]


def test_time_is_free():
    """The handler waits for a silent client until its timeout, which takes no real time."""

    class Patient(Echo):
        timeout = 1_000_000.0

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Patient)
        client = world.connect(ADDRESS)
        world.run()
        assert client.ended
        assert world.clock.now == pytest.approx(1_000_000, abs=1)
        assert world.clock.time() == EPOCH + world.clock.now
        assert world.steps < 10


def test_run_can_end_before_the_scripts_do():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"a").wait(5).send(b"b")
        world.run(until=lambda: client.received)
        assert (client.received, world.clock.now < 1) == (b"a", True)
        world.run(until=lambda: len(client.received) > 1)
        assert (client.received, world.clock.now >= 5) == (b"ab", True)


def test_a_handler_can_stop_the_loop():
    class Last(Echo):
        def echo(self, data):
            self.server.reactor.stop()
            return super().echo(data)

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Last)
        client = world.connect(ADDRESS).send(b"x")
        world.run()
        assert len(world.reactor().table) == 1
        world.run(until=lambda: client.received)


def test_a_handler_may_be_a_client():
    class Asker(StreamHandler):
        async def handle(self):
            await Connected(("10.9.9.9", 80), Asked(self))
            await ToEnd()

    class Asked(StreamHandler):
        def __init__(self, asker):
            self.asker = asker

        async def handle(self):
            self.send(b"?")
            self.asker.send(await Until(b"\n"))
            self.asker.close()

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Asker)
        world.listen(("10.9.9.9", 80), lambda end: end.expect(b"?").wait(3).send(b"forty-two\n"))
        client = world.connect(ADDRESS).expect(b"forty-two\n").expect_end()
        world.run(until=lambda: len(world.reactor().table) == 2)
        world.run()
        assert client.done


@pytest.mark.parametrize("connect", [[], [Fault("refused", 1)], [Fault("exhausted", 1, 3)]])
def test_a_connection_that_a_handler_can_not_open_is_a_failure(connect):
    seen = []

    class Asker(StreamHandler):
        async def handle(self):
            try:
                await Connected(("10.9.9.9", 80), Echo())
            except Failed as failed:
                seen.append(failed.error.errno)

    with World(connect) as world:
        world.serve(SelectTCPServer, ADDRESS, Asker)
        if connect:
            world.listen(("10.9.9.9", 80), lambda end: None)
        world.connect(ADDRESS)
        world.run()
    assert seen == [errno.ENOBUFS if connect and connect[0].kind == "exhausted" else errno.ECONNREFUSED]


def test_it_needs_no_test_library():
    script = "import reactor, sys; assert 'reactor.testing' not in sys.modules; from reactor.testing import World; "
    script += "assert not {'hypothesis', 'pytest'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


def test_all_names_exactly_what_the_package_has():
    assert sorted(testing.__all__) == sorted(set(testing.__all__))
    for name in testing.__all__:
        value = getattr(testing, name)
        assert not isinstance(value, type(testing)), f"{name} is a module"
        assert name.isupper() or value.__doc__, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        testing.nonsense  # noqa: B018
    public = {name for names in testing._MODULES.values() for name in names}
    assert public == set(testing.__all__)


def test_a_plain_server_in_a_simulated_world():
    """An inner loop takes its selector from the network of its sockets."""
    with World(3) as world:
        world.serve(TCPServer, ADDRESS, Upper)
        client = world.connect(ADDRESS).send(b"one\n").expect(b"ONE\n").shutdown().expect_end()
        world.run()
        assert client.done


def test_a_plain_datagram_server_in_a_simulated_world():
    with World(3) as world:
        world.serve(UDPServer, ADDRESS, EchoDatagram)
        actors = [world.correspond(ADDRESS).send(b"one").wait(0.1).send(b"two") for _ in range(3)]
        world.run()
        assert all(set(actor.received) <= {b"one", b"two"} for actor in actors)
        assert any(actor.received for actor in actors)


def test_nothing_of_the_host_is_used():
    """No descriptor, thread or child; and minutes take no time."""
    with World(7) as world:
        before = leaks.held()
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"x").wait(200).send(b"y").wait(200).send(b"z")
        world.run(until=lambda: world.clock.now > 300)
        assert len(world.rows) == 1
        opened = [name for key, name in leaks.held().items() if key not in before]
        assert [name.partition(" ")[0] for name in opened] == ["row"]
        world.run()
        assert client.done
