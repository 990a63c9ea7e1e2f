"""The clients of a simulated world and their scripts."""

import re
import ssl
from math import inf

import pytest

from handlers import Some, StreamHandler, Until
from handlers.services import Echo
from reactor import SelectTCPServer
from reactor.testing import Violation, World, proxy, tls
from reactor.testing.kernel.faults import ABORTED, BROKEN, RATES, REFUSED
from reactor.testing.peers.tls import TLSPeer, client_context
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


# Peers of filters


class Lines(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n", limit=80))


class Secure(SelectTCPServer):
    filters = (tls().filter,)


@pytest.mark.parametrize("seed", range(20))
def test_a_client_speaks_tls(seed):
    with World(seed, rates={**RATES, BROKEN: 0, ABORTED: 0, REFUSED: 0}, capacity=300) as world:
        server = world.serve(Secure, ADDRESS, Lines)
        client = world.connect(ADDRESS, peer=tls().peer())
        client.send(b"one\n").expect(b"one\n").send(b"two\n").shutdown().expect_end()
        world.run()
        assert client.error is None
        assert client.received == b"one\ntwo\n"
        assert client.carried(len(client.sent), True) == (b"one\ntwo\n", True)
        assert client.carried(len(client.sent) - 1, True) == (b"one\ntwo\n", False)
        assert server.reactor.table.closed[0]["reason"] == ""


def test_a_client_may_truncate_its_stream():
    with World() as world:
        server = world.serve(Secure, ADDRESS, Lines)
        client = world.connect(ADDRESS, peer=tls().peer()).send(b"one\n").truncate().expect_end()
        world.run()
        assert client.received == b"one\n"
        assert client.carried(len(client.sent), True) == (b"one\n", False)
        assert server.reactor.table.closed[0]["reason"].startswith("Truncated: ")


def test_an_alert_and_a_server_that_does_not_speak_tls_are_errors_of_the_client():
    with World() as world:
        world.serve(Secure, ADDRESS, Lines)
        stranger = world.connect(ADDRESS, peer=tls(ssl.TLSVersion.TLSv1_2).peer()).send(b"one\n").shutdown()
        stranger.peer = TLSPeer(client_context(), "other.test")
        world.serve(SelectTCPServer, ("10.0.0.1", 8), Echo)
        mistaken = world.connect(("10.0.0.1", 8), peer=tls().peer()).send(b"one\n").shutdown()
        world.run()
        assert type(stranger.error) is ssl.SSLCertVerificationError
        assert type(mistaken.error) is ssl.SSLError
        assert stranger.received == mistaken.received == b""


def test_a_part_of_what_is_sent_as_it_is_counts_and_a_part_of_a_header_does_not():
    with World() as world:
        world.serve(type("Proxied", (SelectTCPServer,), {"filters": (proxy().filter,)}), ADDRESS, Lines)
        client = world.connect(ADDRESS, peer=proxy().peer()).send(b"one\n").shutdown().expect_end()
        world.run()
        header = len(client.sent) - 4
        assert [client.carried(size, False)[0] for size in (0, header - 1, header, header + 3)] == [
            b"",
            b"",
            b"",
            b"one",
        ]


def test_a_trace_has_the_number_of_bytes_of_a_client_with_a_peer():
    with World() as world:
        world.serve(Secure, ADDRESS, Lines)
        world.connect(ADDRESS, peer=tls().peer()).shutdown().expect_end()
        world.run()
    assert any(re.search(r"recv \d+ bytes$", line) for line in world.trace)
