"""Signals and the loop: Ctrl-C comes between two batches, never in the middle; any signal wakes the selector.

All signals are real ones, sent by this process to itself; the loops run in the main thread, as they must.
"""

import os
import signal
import socket
import threading
from contextlib import closing, contextmanager
from selectors import DefaultSelector

import pytest

from handlers import Delay, Some, StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo
from reactor import ForkingTCPServer, Reactor, SelectTCPServer, TCPServer
from tests.serving import MODES, PATIENCE, STREAMS, connect, receive, receive_lines, rest, server_class, wait_until

ADDRESS = ("127.0.0.1", 0)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def handled(number, handler):
    """``handler`` for the signal, and what was there before at the end."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture(autouse=True)
def everything_as_before():
    """Nobody leaves a handler, or a descriptor for wake-ups, behind."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


@pytest.fixture
def loop():
    with closing(Reactor()) as reactor:
        yield reactor


class Interrupting(StreamHandler):
    """Sends each line back, and at ``^C`` a SIGINT comes while its state runs."""

    async def handle(self):
        while line := await Until(b"\n"):
            if line == b"^C\n":
                interrupt()
            self.send(line)


def test_ctrl_c_ends_a_loop_that_waits(loop):
    with SelectTCPServer(ADDRESS, Echo, reactor=loop):
        timer = threading.Timer(0.05, interrupt)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            loop.run()
        timer.join()


def test_ctrl_c_in_the_middle_of_a_batch_waits_for_its_end(loop):
    with (
        SelectTCPServer(ADDRESS, Interrupting, reactor=loop) as server,
        connect(server) as one,
        connect(server) as other,
    ):
        while len(loop.table) < 2:
            loop.step()
        for client in (one, other):
            client.sendall(b"^C\n" if client is one else b"hello\n")
        with pytest.raises(KeyboardInterrupt):
            loop.run_while(lambda: True)
        assert receive(one, 3) == b"^C\n"
        other_line = threading.Timer(0.05, loop.stop)
        other_line.start()
        loop.run()
        other_line.join()
        assert receive(other, 6) == b"hello\n"
        one.setblocking(False)
        with pytest.raises(BlockingIOError):
            one.recv(1)


def test_a_second_ctrl_c_gets_out_of_a_state_that_does_not_end(loop):
    class Endless(StreamHandler):
        async def handle(self):
            await Some()
            while True:
                interrupt()

    with SelectTCPServer(ADDRESS, Endless, reactor=loop) as server, connect(server) as client:
        client.sendall(b"x")
        with pytest.raises(KeyboardInterrupt):
            loop.run()
        loop.step(0)
        assert rest(client) == b""


def test_ctrl_c_again_and_again_loses_and_doubles_nothing(loop):
    """Whenever it comes: the loop can be run again and has forgotten nothing."""
    rounds, finished = 100, threading.Event()
    at_work = threading.Semaphore(0)

    def talk(client):
        for number in range(2_000_000):
            line = b"%d\n" % number
            client.sendall(line)
            if (answer := receive(client, len(line))) != line:
                return answer
            if finished.is_set():
                return None
        return b"too slow"

    def strike():
        for number in range(rounds):
            at_work.acquire()
            finished.wait(number / 20_000)  # at all moments of a batch
            interrupt()

    with (
        SelectTCPServer(ADDRESS, Interrupting, reactor=loop) as server,
        connect(server) as one,
        connect(server) as other,
    ):
        answers, threads = [], [threading.Thread(target=strike, daemon=True)]
        threads += [
            threading.Thread(target=lambda client=client: answers.append(talk(client)), daemon=True)
            for client in (one, other)
        ]
        for thread in threads:
            thread.start()
        for _ in range(rounds):
            loop.call_soon(at_work.release)
            with pytest.raises(KeyboardInterrupt):
                loop.run()
        finished.set()
        loop.run_while(lambda: any(thread.is_alive() for thread in threads), 0.01)
        assert answers == [None, None]
        assert len(loop.table) == 2


def test_ctrl_c_gets_out_of_a_blocking_handler_at_once():
    ended = []

    class Blocking(StreamRequestHandler):
        def handle(self):
            interrupt()
            self.rfile.readline()

        def finish(self):
            ended.append(self.client_address)
            super().finish()

    with TCPServer(ADDRESS, Blocking) as server, connect(server) as client:
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        assert ended == [client.getsockname()]
        assert rest(client) == b""
        assert len(server.reactor.table) == 0


def test_ctrl_c_gets_out_of_a_state_machine_of_the_plain_mode():
    class Stalling(StreamHandler):
        async def handle(self):
            threading.Timer(0.05, interrupt).start()
            await Delay(1000)

        def interrupted(self, cause):
            self.send(type(cause).__name__.encode())

    with TCPServer(ADDRESS, Stalling) as server, connect(server) as client:
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        assert rest(client) == b"Cancelled"
        assert len(server.reactor.table) == 0


def test_ctrl_c_gets_out_of_handle_request():
    with SelectTCPServer(ADDRESS, Interrupting) as server, connect(server) as client:
        client.sendall(b"^C\n")
        with pytest.raises(KeyboardInterrupt):
            server.handle_request()
        assert receive(client, 3) == b"^C\n"


@pytest.mark.parametrize("mode", MODES)
def test_a_handler_of_the_users_own_is_called_and_the_loop_goes_on(mode, loop):
    calls = []
    kind = server_class(mode, STREAMS["tcp"])
    with handled(signal.SIGINT, lambda *_: calls.append("called")), kind(ADDRESS, Echo, reactor=loop):
        loop.call_later(0.01, interrupt)
        loop.call_later(0.05, loop.stop)
        loop.run()
    assert calls == ["called"]


def test_a_signal_ends_the_select_even_if_its_handler_does_nothing(loop):
    """Else one that comes just before the select, and calls stop(), would be noticed with the next event only."""

    class Waiting(DefaultSelector):
        returned = 0

        def select(self, timeout=None):
            events = super().select(timeout)
            self.returned += 1
            return events

    selector = Waiting()
    with (
        closing(Reactor(selector)) as reactor,
        SelectTCPServer(ADDRESS, Echo, reactor=reactor),
        handled(signal.SIGALRM, lambda *_: None),
    ):
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        reactor.run_while(lambda: selector.returned == 0)
        assert selector.returned == 1


def test_a_descriptor_for_wake_ups_that_somebody_has_set_stays_his(loop):
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.setblocking(False)
        reader.settimeout(PATIENCE)
        assert signal.set_wakeup_fd(writer.fileno()) == -1
        try:
            with handled(signal.SIGALRM, lambda *_: loop.stop()), SelectTCPServer(ADDRESS, Echo, reactor=loop):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                loop.run()
            assert reader.recv(10) == bytes([signal.SIGALRM])
        finally:
            assert signal.set_wakeup_fd(-1) == writer.fileno()


def test_a_loop_in_another_thread_leaves_signals_alone(loop):
    thread = threading.Thread(target=loop.run_while, args=(lambda: True,), daemon=True)
    thread.start()
    loop.call_soon(loop.stop)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_child_ends_at_its_own_ctrl_c():
    """It has its parent's handlers when it begins, and none of its parent's loop."""

    class Waiting(StreamHandler):
        async def handle(self):
            self.send(b"%d\n" % os.getpid())
            await Until(b"\n")

    with ForkingTCPServer(ADDRESS, Waiting) as server, connect(server) as client:
        server.handle_request()
        pid = int(receive_lines(client, 1)[0])
        os.kill(pid, signal.SIGINT)
        assert rest(client) == b""
        wait_until(lambda: server.reactor.step(0.01) or not server.reactor.table)
