"""`call_every`: calls that a server makes while it takes requests, and that end with it."""

import pytest

from handlers.services import Echo, EchoDatagram
from reactor import Reactor, SelectTCPServer
from tests.support.loops import Clock
from tests.support.serving import MODES, PACKETS, STREAMS, ask, made, server_class, serving, wait_until

HERE = ("127.0.0.1", 0)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(clock):
    """A server on a loop whose time the test tells."""
    with Reactor(clock=clock) as loop, SelectTCPServer(HERE, Echo, reactor=loop) as server:
        yield server


def pass_time(server, clock, seconds):
    clock.seconds += seconds
    server.reactor.step(0)


def test_the_call_is_made_at_even_distances(server, clock):
    calls = []
    server.call_every(10, calls.append, "call")
    for seconds, number in ((9, 0), (1, 1), (9, 1), (4, 2), (7, 3), (35, 4), (4, 4), (1, 5)):
        pass_time(server, clock, seconds)
        assert len(calls) == number
    assert set(calls) == {"call"}


def test_a_call_that_raises_is_told_of_and_made_again(server, clock):
    errors = []
    server.handle_error = lambda request, peer: errors.append((request, peer))
    server.call_every(1, divmod, 1, 0)
    for _ in range(3):
        pass_time(server, clock, 1)
    assert errors == [(None, None)] * 3


def test_no_call_is_made_after_cancel(server, clock):
    calls = []
    first, _ = (server.call_every(1, calls.append, name) for name in "ab")
    pass_time(server, clock, 1)
    first.cancel()
    first.cancel()
    pass_time(server, clock, 1)
    assert calls == ["a", "b", "b"]


def test_a_call_may_cancel_itself(server, clock):
    calls = []

    def once():
        calls.append("call")
        periodic.cancel()

    periodic = server.call_every(1, once)
    for _ in range(3):
        pass_time(server, clock, 1)
    assert calls == ["call"]


def test_calls_rest_while_the_server_takes_no_requests(server, clock):
    calls = []
    server.call_every(1, calls.append, "call")
    server.stop_serving()
    pass_time(server, clock, 5)
    assert calls == []
    assert not server.reactor.busy  # so that run() returns
    server.start_serving()
    pass_time(server, clock, 1)
    assert calls == ["call"]


def test_a_server_that_is_told_to_serve_again_makes_its_calls_once(server, clock):
    calls = []
    server.call_every(1, calls.append, "call")
    server.start_serving()
    for _ in range(2):
        pass_time(server, clock, 1)
    assert calls == ["call"] * 2


def test_calls_end_with_the_server_and_not_with_the_loop(clock):
    calls = []
    with Reactor(clock=clock) as loop:
        with SelectTCPServer(HERE, Echo, reactor=loop) as server, SelectTCPServer(HERE, Echo, reactor=loop) as other:
            server.call_every(1, calls.append, "one")
            other.call_every(1, calls.append, "other")
            server.server_close()
            pass_time(other, clock, 1)
        assert calls == ["other"]
        assert not loop.busy
        with pytest.raises(ValueError, match="closed"):
            server.call_every(1, calls.append, "late")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_wrong_seconds_are_refused(server, seconds):
    with pytest.raises(ValueError, match="seconds > 0"):
        server.call_every(seconds, print)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("handler", [Echo, EchoDatagram])
def test_it_works_in_every_mode_from_serve_forever_until_shutdown(mode, handler):
    place = STREAMS["tcp"] if handler is Echo else PACKETS["udp"]
    calls = []
    with made(server_class(mode, place), place, handler) as server:
        server.call_every(0.001, calls.append, "call")
        assert calls == []
    with serving(handler, mode, place) as server:
        server.reactor.call_soon(server.call_every, 0.001, calls.append, "call")
        wait_until(lambda: len(calls) > 3)
        if handler is Echo:
            assert ask(server, b"hello") == b"hello"
