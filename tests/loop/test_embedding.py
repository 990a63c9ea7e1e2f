"""A reactor inside another loop: its descriptor, its timeout, and what wakes the outer loop."""

import asyncio
import resource
import selectors
import signal
import socket
from contextlib import ExitStack, closing
from selectors import EVENT_READ

import pytest

from handlers.services import Echo
from reactor import Reactor, SelectTCPServer
from tests.support.loops import SELECTORS, Clock, Slowly, in_thread, until
from tests.support.serving import PATIENCE, connect

HAVE_DESCRIPTOR = [kind for kind in SELECTORS if hasattr(kind, "fileno")]


@pytest.mark.parametrize("kind", [kind for kind in SELECTORS if not hasattr(kind, "fileno")])
def test_a_selector_without_a_descriptor_is_a_clear_error(kind):
    with closing(Reactor(kind())) as reactor, pytest.raises(TypeError, match=kind.__name__):
        reactor.fileno()


def test_timeout_says_how_long_the_outer_loop_may_sleep():
    clock = Clock()
    with closing(Reactor(clock=clock)) as reactor:
        assert reactor.timeout() is None
        timer = reactor.call_later(0.5, print)
        assert 0 <= reactor.timeout() <= 0.5
        timer.cancel()
        assert reactor.timeout() is None
        reactor.call_soon(lambda: None)
        assert reactor.timeout() == 0
        reactor.step(0)
        reactor.call_later(0.5, lambda: None)
        clock.seconds += 9
        assert reactor.timeout() == 0


@pytest.mark.parametrize("kind", HAVE_DESCRIPTOR)
def test_inside_another_selectors_loop(kind):
    """The outer loop sleeps as long as the inner one says, and steps it with 0."""
    with (
        closing(Reactor(kind())) as reactor,
        SelectTCPServer(("127.0.0.1", 0), Slowly, reactor=reactor) as server,
        connect(server) as client,
        selectors.DefaultSelector() as outer,
    ):
        client.setblocking(False)
        client.send(b"word")
        outer.register(reactor.fileno(), EVENT_READ)
        outer.register(client, EVENT_READ)
        steps, came = 0, b""
        while came != b"WORD":
            assert steps < 20
            for key, _ in outer.select(reactor.timeout()):
                if key.fileobj is client:
                    came += client.recv(10)
            reactor.step(0)
            steps += 1


@pytest.mark.parametrize("kind", HAVE_DESCRIPTOR)
def test_inside_asyncio(kind):
    async def main():
        loop = asyncio.get_running_loop()
        handle = None

        def step():
            nonlocal handle
            if handle is not None:
                handle.cancel()
            reactor.step(0)
            seconds = reactor.timeout()
            handle = None if seconds is None else loop.call_later(seconds, step)

        loop.add_reader(reactor.fileno(), step)
        stream, writer = await asyncio.open_connection(*server.server_address)
        writer.write(b"word")
        answer = await asyncio.wait_for(stream.readexactly(4), PATIENCE)
        writer.close()
        await writer.wait_closed()
        loop.remove_reader(reactor.fileno())
        return answer

    with closing(Reactor(kind())) as reactor, SelectTCPServer(("127.0.0.1", 0), Slowly, reactor=reactor) as server:
        assert asyncio.run(main()) == b"WORD"


@pytest.mark.parametrize("kind", HAVE_DESCRIPTOR)
def test_call_soon_from_another_thread_wakes_the_outer_loop(kind):
    with closing(Reactor(kind())) as reactor, selectors.DefaultSelector() as outer:
        called = []
        outer.register(reactor.fileno(), EVENT_READ)
        assert outer.select(0) == []
        thread = in_thread(reactor.call_soon, called.append, "called")
        assert outer.select(PATIENCE / 10), "the descriptor does not tell of it"
        thread.join()
        reactor.step(0)
        assert called == ["called"]
        reactor.step(0)
        assert outer.select(0) == []


def shake_hands(reactor, ask, outer):
    """``ask(call)`` makes ``call()``, which calls ``call_soon()``; that must wake the outer loop."""
    called = []
    reactor.fileno()
    reactor.step(0)
    ask(lambda: reactor.call_soon(called.append, "called"))
    assert outer.select(PATIENCE / 10), "the descriptor does not tell of it"
    reactor.step(0)
    assert called == ["called"]


@pytest.mark.parametrize("kind", HAVE_DESCRIPTOR)
def test_call_soon_from_the_outer_loop_or_a_signal_handler_wakes_the_outer_loop(kind):
    """The outer loop may have read `timeout` before such a call."""
    with closing(Reactor(kind())) as reactor, selectors.DefaultSelector() as outer:
        outer.register(reactor.fileno(), EVENT_READ)
        shake_hands(reactor, lambda call: call(), outer)
        before = signal.signal(signal.SIGALRM, lambda number, frame: asked.pop()())
        asked = []
        try:

            def by_signal(call):
                asked.append(call)
                signal.setitimer(signal.ITIMER_REAL, 0.05)

            shake_hands(reactor, by_signal, outer)
        finally:
            signal.signal(signal.SIGALRM, before)


def test_a_descriptor_beyond_the_size_of_select_ends_its_own_row_only():
    """``select()`` fails for all descriptors if one is beyond its size."""
    with (
        closing(Reactor(selectors.SelectSelector())) as reactor,
        SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server,
        connect(server) as good,
        ExitStack() as stack,
    ):
        until(reactor, lambda: len(reactor.table) == 1)
        bad = stack.enter_context(connect(server))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2000), hard))
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while stack.enter_context(socket.socket()).fileno() < 1100:
            pass
        good.sendall(b"word")
        (row,) = reactor.table
        until(reactor, lambda: row.total_out == 4)
        assert good.recv(10) == b"word"
        until(reactor, lambda: len(reactor.table) == 1)
        assert bad.recv(10) == b""
