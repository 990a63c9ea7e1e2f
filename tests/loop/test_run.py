"""When `run()` and `step()` sleep, and when they return, with every selector of the platform.

A recording selector has the timeouts that the loop gave it, so no test measures time; a leaping selector sets the
clock of the test forward instead of sleeping.
"""

import os
import socket
from contextlib import closing
from selectors import EVENT_READ

import pytest

from handlers import StreamRequestHandler
from handlers.services import Echo
from reactor import SelectTCPServer, ThreadingTCPServer
from tests.support.counting import counted_calls
from tests.support.loops import in_thread, leaping
from tests.support.serving import PATIENCE, connect, rest, wait_until


def test_step_with_nothing_to_wait_for_returns(reactor):
    reactor.step()
    assert reactor.recorded.timeouts == [0]


def test_step_0_never_blocks(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    reactor.call_later(50, print)
    reactor.call_soon(lambda: None)
    for _ in range(3):
        reactor.step(0)
    assert reactor.recorded.timeouts == [0, 0, 0]


def test_step_sleeps_no_longer_than_it_may(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    reactor.step(0.001)
    reactor.call_later(0.0005, lambda: None)
    reactor.step(50)
    assert reactor.recorded.timeouts[0] == 0.001
    assert reactor.recorded.timeouts[1] <= 0.0005


@pytest.mark.parametrize("seconds", [30 * 86_400, 1e12, 1e300])
def test_a_timeout_beyond_the_range_of_the_selector_is_no_error(reactor, pipe, seconds):
    """``epoll_wait()`` and ``poll()`` take milliseconds as a C int: at most 24.8 days."""
    came = []
    reactor.watch(pipe[0], EVENT_READ, came.append)
    os.write(pipe[1], b"x")
    reactor.step(seconds)
    reactor.call_later(seconds, print)
    reactor.step()
    assert came == [EVENT_READ, EVENT_READ]


def test_run_with_nothing_to_do_returns(reactor):
    reactor.run()
    reactor.run()


def test_run_returns_when_the_last_timer_has_been_called():
    with closing(leaping()) as reactor:
        called = []
        reactor.call_later(1.5, called.append, 1.5)
        reactor.call_later(400.25, lambda: called.append(reactor.clock.seconds))
        reactor.run()
        assert called == [1.5, 1400.25]
        assert reactor.clock.seconds == 1400.25


@pytest.mark.parametrize("seconds", [0.5, 400])
def test_run_does_not_wait_for_a_timer_that_was_cancelled(seconds):
    with closing(leaping()) as reactor:
        timer = reactor.call_later(seconds, print)
        reactor.call_soon(timer.cancel)
        reactor.run()
        assert reactor.clock.seconds == 1000


def test_run_returns_when_the_last_watch_is_cancelled(reactor, pipe):
    watch = reactor.watch(pipe[0], EVENT_READ, lambda events: watch.cancel())
    os.write(pipe[1], b"x")
    reactor.run()


def test_run_returns_when_the_last_row_has_ended():
    with closing(leaping()) as reactor, SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server:
        with connect(server) as client:
            reactor.step(0)
            server.stop_serving()
            client.sendall(b"the last words")
            client.shutdown(socket.SHUT_WR)
            reactor.run()
            assert client.recv(100) == b"the last words"
        assert reactor.clock.seconds == 1000, "it waited for the timeout of a row that had ended"


def test_run_returns_when_the_last_thread_has_ended():
    class Blocking(StreamRequestHandler):
        def handle(self):
            self.wfile.write(self.rfile.readline())

    with ThreadingTCPServer(("127.0.0.1", 0), Blocking) as server:
        table = server.reactor.table
        serving = in_thread(server.serve_forever)
        with connect(server) as client:
            client.sendall(b"half")
            wait_until(lambda: len(table) == 1)
            server.reactor.call_soon(server.stop_serving)
            client.sendall(b" and half\n")
            assert rest(client) == b"half and half\n"
        wait_until(lambda: not len(table))
        serving.join(PATIENCE / 10)
        returned = not serving.is_alive()
        server.reactor.stop()
        serving.join(PATIENCE)
        assert returned


def test_an_idle_loop_makes_no_steps(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    reactor.call_later(300, print)
    reactor.call_later(0.3, reactor.stop)
    with counted_calls() as calls:
        reactor.run()
    assert len(reactor.recorded.timeouts) <= 10  # one that is called late looks once more, and select(2) may be early
    assert calls.python < 500
