"""`stop()` from a callback, a handler, a signal handler and another thread, and the wake-up that it needs."""

import errno
import os
import signal
import socket
import threading
from contextlib import closing
from selectors import EVENT_READ
from types import SimpleNamespace

import pytest

from handlers import Cancelled, Some, StreamHandler, StreamRequestHandler
from handlers.services import Echo
from reactor import Reactor, SelectTCPServer, TCPServer
from reactor.rows.stream import stream_row
from tests.support.errnos import failing
from tests.support.loops import Guard, in_thread, run
from tests.support.serving import PATIENCE, STREAMS, bounded, connect, made, rest, server_class


def test_stop_from_a_callback_takes_effect_after_the_batch(reactor):
    called = []
    reactor.call_soon(reactor.stop)
    reactor.call_soon(called.append, "same batch")
    reactor.call_later(0, called.append, "due")
    reactor.run()
    assert set(called) >= {"same batch"}
    assert len(reactor.recorded.timeouts) == 1


def test_stop_from_a_handler_leaves_its_row_open(reactor):
    class Stopping(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Some())
                reactor.stop()

    with SelectTCPServer(("127.0.0.1", 0), Stopping, reactor=reactor) as server, connect(server) as client:
        for word in (b"one", b"two"):
            client.sendall(word)
            run(reactor)
            assert client.recv(10) == word
        assert len(reactor.table) == 1


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers on this system")
def test_stop_from_a_signal_handler_wakes_the_loop(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    before = signal.signal(signal.SIGALRM, lambda number, frame: reactor.stop())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        run(reactor)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert reactor.recorded.sleeps.is_set()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers on this system")
def test_stop_from_a_signal_handler_cancels_the_request_of_the_plain_mode():
    """In the plain mode the request has an inner loop, which sleeps; it stops too, and the request is cancelled."""
    causes = []

    class Stalled(StreamHandler):
        async def handle(self):
            self.server.begun.set()
            await Some()

        def interrupted(self, cause):
            causes.append(type(cause))

    with TCPServer(("127.0.0.1", 0), Stalled) as server, connect(server) as client:
        server.begun = threading.Event()
        guard = Guard(server.reactor)
        before = signal.signal(signal.SIGALRM, lambda number, frame: server.reactor.stop())
        main = threading.get_ident()

        def alarm():
            server.begun.wait(PATIENCE)
            signal.pthread_kill(main, signal.SIGALRM)

        thread = in_thread(alarm)
        try:
            server.serve_forever()
        finally:
            thread.join()
            signal.signal(signal.SIGALRM, before)
        assert not guard.failed
        assert causes == [Cancelled]
        assert client.recv(10) == b""


def test_a_row_that_is_driven_alone_is_cancelled_by_a_stop(reactor):
    causes = []

    class Stalled(StreamHandler):
        async def handle(self):
            await Some()

        def interrupted(self, cause):
            causes.append(type(cause))

    here, there = socket.socketpair()
    with here, there:
        owner = SimpleNamespace(released=lambda row: row.socket.close())
        row = stream_row(reactor, None, here, "there", Stalled(None, None, None), owner)
        reactor.call_soon(reactor.stop)
        reactor.drive(row)
        assert (causes, list(reactor.table)) == ([Cancelled], [])
        assert there.recv(10) == b""


def test_stop_from_another_thread_wakes_the_loop(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)

    def stop():
        reactor.recorded.sleeps.wait(PATIENCE)
        reactor.stop()

    thread = in_thread(stop)
    run(reactor)
    thread.join()


def test_stop_before_run_makes_it_return_at_once_and_only_once(reactor):
    called = []
    reactor.call_soon(called.append, "called")
    reactor.stop()
    reactor.run()
    assert called == []
    reactor.run()
    assert called == ["called"]


def test_a_step_after_stop_does_not_sleep(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    reactor.stop()
    reactor.step()
    assert reactor.recorded.timeouts == [0]
    assert reactor.timeout() is None  # a loop that steps this one need not know of stop()


def test_steps_after_stop_sleep_again_and_the_next_run_returns_at_once(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    reactor.stop()
    reactor.step()
    os.write(pipe[1], b"x")  # otherwise the step would not return
    reactor.step()
    reactor.step()
    assert reactor.recorded.timeouts == [0, None, None]
    assert reactor.stopping
    reactor.run()
    assert len(reactor.recorded.timeouts) == 3
    assert not reactor.stopping


def test_a_loop_on_a_host_without_socketpair_runs_and_stops():
    """There, only another thread could not wake the loop, and such hosts have no threads."""
    network = SimpleNamespace(socket=socket.socket, getaddrinfo=socket.getaddrinfo)
    with (
        closing(Reactor(network=network)) as reactor,
        SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server,
        connect(server) as client,
    ):
        client.sendall(b"word")
        reactor.call_later(0.05, reactor.stop)
        run(reactor)
        assert client.recv(10) == b"word"


def test_stop_twice_stops_once(reactor):
    called = []
    reactor.call_soon(reactor.stop)
    reactor.call_soon(reactor.stop)
    run(reactor)
    reactor.call_soon(called.append, "called")
    reactor.run()
    assert called == ["called"]


def test_no_stop_of_many_threads_is_lost(reactor, pipe):
    """Whenever in a step the stop comes; and no byte left in the wake-up stops a later run."""
    reactor.watch(pipe[0], EVENT_READ, print)
    for _ in range(100):
        thread = in_thread(reactor.stop)
        run(reactor)
        thread.join()


def test_the_plain_mode_accepts_no_connection_after_stop():
    class Stopping(StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"the last")
            self.server.reactor.stop()

    with made(TCPServer, STREAMS["tcp"], Stopping) as server, connect(server) as one, connect(server) as other:
        bounded(server.serve_forever)
        assert rest(one) == b"the last"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        bounded(server.serve_forever)
        other.settimeout(PATIENCE)
        assert rest(other) == b"the last"


def test_a_request_of_the_plain_mode_that_begins_after_stop_is_cancelled():
    def stop(server, request, client_address):
        server.reactor.stop()
        return True

    kind = server_class("plain", STREAMS["tcp"], verify_request=stop)
    with made(kind, STREAMS["tcp"], Echo) as server, connect(server) as client:
        bounded(server.serve_forever)
        assert rest(client) == b""
        assert server.reactor.stats()["ended"] == {"Cancelled": 1}


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_a_loop_that_can_not_make_its_wake_up_raises_the_error(name):
    network = SimpleNamespace(socketpair=failing(getattr(errno, name)))
    with Reactor(network=network) as reactor, pytest.raises(OSError, match=rf"\[Errno {getattr(errno, name)}\]"):
        reactor.run()
