"""The watchdog reports what blocks a loop while it blocks, once, and nothing else."""

import logging
import os
import selectors
import signal
import threading
import time
from contextlib import closing, contextmanager
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from handlers import Some, StreamHandler, StreamRequestHandler, Until
from reactor import Reactor, SelectTCPServer, TCPServer, selecting
from reactor.monitor.watchdog import Watchdog
from tests.support.serving import connect, receive

ADDRESS = ("127.0.0.1", 0)
SHORT = 0.05


@pytest.fixture(autouse=True)
def the_signal_is_given_back():
    yield
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@contextmanager
def watched(kind, handler, *arguments):
    """A served handler and the watchdog of its loop."""
    dog = Watchdog(*arguments, seconds=SHORT)
    with Reactor(dog) as reactor, kind(ADDRESS, handler, reactor=reactor) as server, connect(server) as client:
        yield dog, reactor, client


def compute(until):
    """Compute until the condition holds; not a sleep."""
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        sum(range(1000))


@pytest.mark.parametrize("kind", [selectors.SelectSelector, selectors.DefaultSelector])
def test_a_state_that_blocks_is_reported_while_it_blocks(kind, caplog):
    class Blocking(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))
            compute(lambda: caplog.records)  # it ends only because it has been reported
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


@pytest.mark.slow
def test_a_long_call_of_c_is_reported_as_soon_as_it_returns(caplog):
    """Python calls signal handlers between two of its instructions, and a long call of C is one instruction."""

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


def test_a_state_that_blocks_is_reported_once(caplog):
    with Reactor(Watchdog(seconds=SHORT)) as reactor:
        reactor.call_soon(lambda: (compute(lambda: caplog.records), time.sleep(5 * SHORT)))
        reactor.run()
        [record] = caplog.records
        assert record.getMessage().startswith("a call has blocked the loop")
        assert record.row is None


def short():
    signal.raise_signal(signal.SIGALRM)
    compute(lambda: True)


@pytest.mark.parametrize("state", [short, partial(signal.raise_signal, signal.SIGALRM)], ids=["Python", "C"])
def test_many_short_states_in_one_batch_are_not_reported(state, caplog):
    """The timer expires in all of them, but in none twice."""
    with Reactor(dog := Watchdog(seconds=1000)) as reactor:
        for _ in range(100):
            reactor.call_soon(state)
        reactor.step()
        assert caplog.records == []
        reactor.call_soon(lambda: (state(), state()))
        reactor.step()
        assert dog.blocked == 1


@pytest.mark.slow
def test_the_watchdog_does_not_wake_an_idle_loop(caplog):
    class Counting(selectors.DefaultSelector):
        calls = 0
        timers = set()

        def select(self, timeout=None):
            self.calls += 1
            self.timers.add(signal.getitimer(signal.ITIMER_REAL))
            return super().select(timeout)

    counting = Counting()
    with Reactor(Watchdog(counting, seconds=SHORT)) as reactor:
        reactor.call_later(20 * SHORT, reactor.stop)
        reactor.run()
        assert counting.timers == {(0, 0)}
        assert counting.calls < 10  # the timers of the loop need up to five; one more for each SHORT would be twenty
        assert caplog.records == []


def test_a_blocking_handler_of_the_plain_mode_may_block(caplog):
    """In the plain mode all other clients wait anyway."""

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


@pytest.mark.parametrize("kind", [selecting.DefaultSelector, selecting.SelectSelector, selectors.SelectSelector])
def test_the_watchdog_has_the_events_of_the_wrapped_selector(kind):
    with closing(kind()) as plain, closing(Watchdog(kind())) as dog:
        assert selecting.events_of(dog) == selecting.events_of(plain)


def test_without_a_selector_the_watchdog_wraps_the_selector_that_a_reactor_takes():
    with closing(selecting.DefaultSelector()) as plain, closing(Watchdog()) as dog:
        assert selecting.events_of(dog) == selecting.events_of(plain)


def test_the_watchdog_is_refused_outside_the_main_thread():
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
def test_a_time_that_is_not_positive_is_refused(seconds):
    with pytest.raises(ValueError, match="seconds must be more than 0"):
        Watchdog(seconds=seconds)


def test_a_watchdog_is_a_selector_and_may_be_closed_twice():
    reader, writer = os.pipe()
    with Reactor(dog := Watchdog()) as reactor:
        seen = []
        watch = reactor.watch(writer, EVENT_WRITE, seen.append)
        watch.modify(EVENT_READ)
        watch.modify(EVENT_WRITE)
        reactor.step()
        assert seen == [EVENT_WRITE]
        assert [key.fd for key in dog.get_map().values()] == [writer]
        watch.cancel()
        dog.close()
    os.close(reader)
    os.close(writer)


def test_a_host_without_timer_signals_has_no_watchdog(monkeypatch):
    monkeypatch.delattr(signal, "setitimer")
    with pytest.raises(RuntimeError, match="no timer signals"):
        Watchdog()
