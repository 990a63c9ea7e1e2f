"""What blocks a loop is found out while it blocks, told of once, and only that."""

import logging
import selectors
import signal
import threading
import time
from contextlib import contextmanager

import pytest

from handlers import Some, StreamHandler, StreamRequestHandler, Until
from reactor import Reactor, SelectTCPServer, TCPServer
from reactor.watchdog import Watchdog
from tests.serving import connect, receive

ADDRESS = ("127.0.0.1", 0)
SHORT = 0.05


@pytest.fixture(autouse=True)
def the_signal_is_given_back():
    yield
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@contextmanager
def watched(kind, handler, *arguments):
    """A served handler and its dog."""
    dog = Watchdog(*arguments, seconds=SHORT)
    with Reactor(dog) as reactor, kind(ADDRESS, handler, reactor=reactor) as server, connect(server) as client:
        yield dog, reactor, client


def compute(until):
    """Goes on until the condition holds: a computation, not a sleep."""
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        sum(range(1000))


@pytest.mark.parametrize("kind", [selectors.SelectSelector, selectors.DefaultSelector])
def test_a_state_that_blocks_is_told_of_while_it_does(kind, caplog):
    class Blocking(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))
            compute(lambda: caplog.records)  # it ends only because it has been found out
            self.send(b"done\n")
            await Some()

    with watched(SelectTCPServer, Blocking, kind()) as (dog, reactor, client):
        client.sendall(b"hello\n")
        while not any(row.total_out for row in reactor.table):
            reactor.step()
        assert receive(client, 11) == b"hello\ndone\n"
    [record] = caplog.records
    assert (record.name, record.levelno, dog.blocked) == ("reactor", logging.WARNING, 1)
    assert record.getMessage().startswith("Blocking.handle:")
    assert "(row 1) has blocked the loop for more than 0.05 s:\n" in record.getMessage()
    assert "in compute" in record.getMessage()
    assert (record.row["serial"], record.row["handler"]) == (1, "Blocking")


def test_what_no_signal_can_interrupt_is_told_of_as_soon_as_it_is_over(caplog):
    """Python calls signal handlers between two instructions of its own: a long call of C is one."""

    def count(number):
        begun = time.monotonic()
        sum(range(number))
        return time.monotonic() - begun

    number = 1_000_000
    while count(number) < 3 * SHORT:
        number *= 2

    class Counting(StreamHandler):
        async def handle(self):
            sum(range(2 * number))
            await Some()

    with watched(SelectTCPServer, Counting) as (dog, reactor, _):
        while not any(row.wait for row in reactor.table):
            reactor.step()
        assert dog.blocked == 1
    [record] = caplog.records
    assert record.getMessage().startswith("Counting.handle")


def test_it_is_told_of_once_however_long_it_takes(caplog):
    with Reactor(Watchdog(seconds=SHORT)) as reactor:
        reactor.call_soon(lambda: (compute(lambda: caplog.records), time.sleep(5 * SHORT)))
        reactor.run()
        [record] = caplog.records
        assert record.getMessage().startswith("a call has blocked the loop")
        assert record.row is None


def test_many_short_states_are_not_one_long_one(caplog):
    """Together they take long; but everybody has his turn."""
    with Reactor(Watchdog(seconds=SHORT)) as reactor:
        for _ in range(100):
            reactor.call_soon(time.sleep, SHORT / 10)
        reactor.step()
        assert caplog.records == []


def test_an_idle_loop_is_not_woken(caplog):
    class Counting(selectors.DefaultSelector):
        calls = 0

        def select(self, timeout=None):
            self.calls += 1
            return super().select(timeout)

    counting = Counting()
    with Reactor(Watchdog(counting, seconds=SHORT)) as reactor:
        reactor.call_later(5 * SHORT, reactor.stop)
        reactor.run()
        assert counting.calls <= 2
        assert caplog.records == []


def test_a_blocking_handler_of_the_plain_mode_may_block(caplog):
    """There nobody else is held up who would not be anyway."""

    class Slow(StreamRequestHandler):
        def handle(self):
            time.sleep(5 * SHORT)
            self.wfile.write(b"done")

    with watched(TCPServer, Slow) as (dog, reactor, client):
        reactor.step()
        assert receive(client, 4) == b"done"
        assert dog.blocked == 0
    assert caplog.records == []


def test_a_slow_client_of_the_plain_mode_blocks_nothing(caplog):
    class Line(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))

    with watched(TCPServer, Line) as (dog, reactor, client):
        threading.Timer(5 * SHORT, client.sendall, [b"at last\n"]).start()
        reactor.step()
        assert receive(client, 8) == b"at last\n"
        assert dog.blocked == 0
    assert caplog.records == []


def test_in_another_thread_it_is_refused():
    errors = []

    def make():
        try:
            Watchdog()
        except ValueError as error:
            errors.append(str(error))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert "main thread" in errors[0]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_time_that_is_none_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds is more than 0"):
        Watchdog(seconds=seconds)
