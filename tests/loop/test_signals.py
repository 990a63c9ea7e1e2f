"""Signals: Ctrl-C comes between two batches, never in the middle of one; any signal wakes the selector.

The process sends real signals to itself; the loops run in the main thread, as signal handlers need.
"""

import os
import signal
import socket
import threading
from contextlib import closing, contextmanager
from selectors import DefaultSelector

import pytest

from handlers import Delay, Failed, Forked, Some, StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo
from reactor import ForkingTCPServer, Reactor, SelectTCPServer, TCPServer
from tests.support.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    connect,
    receive,
    receive_lines,
    rest,
    server_class,
    wait_until,
)

ADDRESS = ("127.0.0.1", 0)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


@contextmanager
def handled(number, handler):
    """Set ``handler`` for the signal, and the handler from before at the end."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture(autouse=True)
def everything_as_before():
    """No test leaves a signal handler or a wakeup descriptor behind."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


@pytest.fixture
def loop():
    with closing(Reactor()) as reactor:
        yield reactor


class Interrupting(StreamHandler):
    """Sends each line back; a line ``^C`` raises SIGINT while the state runs."""

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


def test_a_second_ctrl_c_interrupts_a_state_that_does_not_end(loop):
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


def test_repeated_ctrl_c_loses_and_doubles_nothing(loop):
    """Whenever it comes, the loop can be run again and nothing is lost."""
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
            finished.wait(number / 20_000)  # at any moment of a batch
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


def test_ctrl_c_interrupts_a_blocking_handler_at_once():
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


def test_ctrl_c_interrupts_a_state_machine_of_the_plain_mode():
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


def test_ctrl_c_interrupts_handle_request():
    with SelectTCPServer(ADDRESS, Interrupting) as server, connect(server) as client:
        client.sendall(b"^C\n")
        with pytest.raises(KeyboardInterrupt):
            server.handle_request()
        assert receive(client, 3) == b"^C\n"


@pytest.mark.parametrize("mode", MODES)
def test_a_users_signal_handler_is_called_and_the_loop_goes_on(mode, loop):
    calls = []
    kind = server_class(mode, STREAMS["tcp"])
    with handled(signal.SIGINT, lambda *_: calls.append("called")), kind(ADDRESS, Echo, reactor=loop):
        loop.call_later(0.01, interrupt)
        loop.call_later(0.05, loop.stop)
        loop.run()
    assert calls == ["called"]


def test_a_handler_that_is_set_while_the_loop_runs_stays(loop):
    def users(number, frame):
        pass

    with handled(signal.SIGINT, signal.default_int_handler):
        loop.call_soon(lambda: signal.signal(signal.SIGINT, users))
        loop.call_later(0, loop.stop)
        loop.run()
        assert signal.getsignal(signal.SIGINT) is users


def test_a_loop_in_another_thread_ends_while_one_runs_in_the_main_thread(loop):
    ends = []

    def run_another():
        with closing(Reactor()) as other:
            other.call_soon(other.stop)
            ends.append(other.run())

    def run_it():
        thread = threading.Thread(target=run_another)
        thread.start()
        thread.join(PATIENCE)
        loop.stop()

    loop.call_soon(run_it)
    loop.run()
    assert ends == [None]


def test_a_signal_wakes_select_even_if_its_handler_does_nothing(loop):
    """Otherwise a ``stop()`` in a signal just before ``select()`` would have no effect until the next event."""

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


def test_a_users_wakeup_descriptor_is_kept(loop):
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


def test_ctrl_c_ends_a_child():
    """The child begins with the signal handlers of its parent, but without the loop of its parent."""

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


def test_ctrl_c_interrupts_work_in_a_child_at_once(loop):
    """It has begun in the middle of a batch of its parent, which puts Ctrl-C off to the end of the batch."""

    class Working(StreamHandler):
        async def handle(self):
            try:
                self.send(await Forked(interrupted))
            except Failed as failed:
                self.send(type(failed.error).__name__.encode())

    def interrupted():
        signal.raise_signal(signal.SIGINT)
        return b"it goes on"

    with SelectTCPServer(ADDRESS, Working, reactor=loop) as server, connect(server) as client:
        loop.run_while(lambda: not loop.table.closed)
        assert rest(client) == b"KeyboardInterrupt"


class InterruptedSend(socket.socket):
    """A connection with a SIGINT right after its first ``send()``."""

    interrupted = False

    def send(self, data, flags=0):  # type: ignore[no-untyped-def]
        count = super().send(data, flags)
        if not self.interrupted:
            self.interrupted = True
            signal.raise_signal(signal.SIGINT)
        return count


class InterruptedServer(SelectTCPServer):
    def get_request(self):  # type: ignore[no-untyped-def]
        connection, address = super().get_request()
        return InterruptedSend(fileno=connection.detach()), address


def test_an_interrupt_right_after_a_send_sends_nothing_twice() -> None:
    with (
        InterruptedServer(("127.0.0.1", 0), Echo) as server,
        connect(server) as client,
    ):
        client.sendall(b"once")
        with pytest.raises(KeyboardInterrupt):
            server.serve_forever()
        server.server_close()
        assert rest(client) == b"once"
