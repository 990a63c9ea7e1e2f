"""The clients of a simulated world and their scripts."""

from math import inf

import pytest

from handlers import Some, StreamHandler
from handlers.services import Echo
from reactor import SelectTCPServer
from reactor.testing import Violation, World
from tests.support.worlds import ADDRESS, UNIX

# Clients


def test_a_slow_reader_stops_the_row_from_reading():
    with World(capacity=1000) as world:
        server = world.serve(SelectTCPServer, ADDRESS, Burst)
        client = world.connect(ADDRESS).read_slowly(1000, 1.0).send(b"x").shutdown()
        world.run(until=lambda: client.received)
        [row] = server.reactor.table
        assert row.held_out + len(client.received) >= 100_000 - 3000
        world.run()
        assert client.received == b"y" * 100_000
        assert world.clock.now > 90


class Burst(StreamHandler):
    """Answers little input with much output."""

    async def handle(self):
        await Some()
        self.send(b"y" * 100_000)


def test_a_client_that_never_reads_is_ended():
    with World(capacity=1000) as world:
        world.serve(SelectTCPServer, ADDRESS, Burst)
        client = world.connect(ADDRESS).read_slowly(0, 0).send(b"x")
        world.run()
        assert client.received == b""
        assert 300 < world.clock.now < 700


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_may_close_or_reset_at_once(how):
    ends = []

    class Told(Echo):
        def interrupted(self, cause):
            ends.append(type(cause).__name__)

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Told)
        client = world.connect(ADDRESS).read_slowly(0, 0).send(b"hello").wait(1)
        getattr(client, how)()  # closing with an unread answer resets too
        world.run()
    assert ends == ["Reset"]


def test_connecting_without_a_listener_is_refused():
    with World() as world:
        world.reactor()
        tcp, unix = world.connect(ADDRESS).send(b"x").expect(b"x"), world.connect(UNIX)
        world.run()
        assert isinstance(tcp.error, ConnectionRefusedError)
        assert isinstance(unix.error, FileNotFoundError)


def test_a_full_backlog_makes_clients_wait():
    class Narrow(SelectTCPServer):
        request_queue_size = 1
        max_requests = 1

    class Short(Echo):
        timeout = 10.0

    with World() as world:
        world.serve(Narrow, ADDRESS, Short)
        clients = [world.connect(ADDRESS).expect_end() for _ in range(4)]
        world.run()
        assert all(client.ended for client in clients)
        assert world.clock.now > 40


def test_a_script_may_call_a_function():
    said = []
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        world.connect(ADDRESS).wait(2).do(lambda: said.append(world.clock.now)).shutdown()
        world.run()
    assert said == [pytest.approx(2, abs=0.01)]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (lambda client: client.send(b"hi").expect(b"ho"), "client 1 expects b'ho', but b'hi' has come"),
        (
            lambda client: client.send(b"hi").expect(b"hi there"),
            "client 1 expects b'hi there', but only b'hi' has come",
        ),
        (lambda client: client.send(b"hi").shutdown().expect(b"hi there"), "the stream ended after b'hi'"),
        (lambda client: client.send(b"hi").expect_end(), "the end of the stream, which has not come"),
    ],
)
def test_an_unmet_expectation_of_a_script_is_a_violation(script, told):
    class Endless(Echo):
        timeout = inf

    world = World()
    world.serve(SelectTCPServer, ADDRESS, Endless)
    script(world.connect(ADDRESS))
    with pytest.raises(Violation, match=told):
        world.run()


# Scripts that did not run to their end


def test_a_script_that_was_never_run_is_a_violation():
    def unrun():
        with World(1) as world:
            world.serve(SelectTCPServer, ADDRESS, Echo)
            world.connect(ADDRESS).send(b"a").expect(b"WRONG")

    with pytest.raises(Violation, match=r"never run: the scripts of client 1; call World.run\(\)"):
        unrun()


def test_a_script_that_goes_on_after_the_last_run_is_a_violation():
    def half_run():
        with World(1) as world:
            world.serve(SelectTCPServer, ADDRESS, Echo)
            client = world.connect(ADDRESS).send(b"a").expect(b"a")
            world.run(until=lambda: client.done)
            client.send(b"b").expect(b"WRONG")

    with pytest.raises(Violation, match="never run: the scripts of client 1"):
        half_run()


def test_run_may_return_before_a_script_is_done():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"a").expect(b"a").wait(60).send(b"b")
        world.run(until=lambda: client.received)
        assert client.received == b"a"
