"""The loop itself: what makes it go on, return, wake, stop and fail, with every selector of the platform.

A recording selector tells how often and how long the loop was willing to sleep, so no test
measures time; a leaping one never sleeps at all, but sets the test's clock forward instead.
"""

import asyncio
import os
import resource
import selectors
import signal
import socket
import threading
import time
from contextlib import ExitStack, closing
from selectors import EVENT_READ, EVENT_WRITE
from types import SimpleNamespace

import pytest

from handlers import Cancelled, DatagramHandler, Delay, Packet, Some, StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo
from reactor import Reactor, Request, SelectTCPServer, SelectUDPServer, TCPServer, ThreadingTCPServer, selecting
from tests.serving import PATIENCE, connect, rest, wait_until

NAMES = ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector", "DefaultSelector")
SELECTORS = sorted(
    {getattr(module, name) for module in (selectors, selecting) for name in NAMES if hasattr(module, name)},
    key=lambda kind: (kind.__module__, kind.__name__),
)


def until(reactor, condition):
    """Step until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain; the table:\n{reactor.table}"
        reactor.step(0.05)


def descriptors():
    """The descriptors that this process has open."""
    place = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    return {int(name) for name in os.listdir(place)}


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self, seconds=1000.0):
        self.seconds = seconds

    def monotonic(self):
        return self.seconds

    def time(self):
        return 1e9 + self.seconds


def recording(kind):
    """A selector of that kind that keeps the timeouts it was given, and says when it sleeps."""

    class Recording(kind):
        def __init__(self):
            super().__init__()
            self.timeouts = []
            self.sleeps = threading.Event()

        def select(self, timeout=None):
            self.timeouts.append(timeout)
            if timeout is None or timeout > 0:
                self.sleeps.set()
            return super().select(timeout)

    return Recording()


class Leaping(selectors.DefaultSelector):
    """Never sleeps: what is not ready now does not come, and the clock leaps to when the sleep would end."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            assert timeout is not None, "the loop would sleep for ever"
            self.clock.seconds += timeout
        return events


def leaping():
    clock = Clock()
    return Reactor(Leaping(clock), clock)


@pytest.fixture(params=SELECTORS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def reactor(request):
    """A reactor with a recording selector of each kind."""
    with closing(Reactor(recording(request.param))) as reactor:
        reactor.recorded = reactor._selector
        yield reactor


@pytest.fixture
def pipe():
    """A pipe with nothing in it: reading end, writing end."""
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


class Guard:
    """Ends a `Reactor.run` that would not end by itself; ``failed`` tells."""

    def __init__(self, reactor):
        self.reactor = reactor
        self.failed = False
        self.timer = reactor.call_later(PATIENCE, self.expire)

    def expire(self):
        self.failed = True
        self.reactor.stop()


def run(reactor):
    """Run what should stop by itself."""
    guard = Guard(reactor)
    reactor.run()
    guard.timer.cancel()
    assert not guard.failed, "run() did not end"


def in_thread(call, *arguments):
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


# When there is nothing to do


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
def test_what_is_due_further_off_than_a_selector_can_count_does_no_harm(reactor, pipe, seconds):
    """``epoll_wait()`` and ``poll()`` take milliseconds in an int: 24.8 days."""
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
    begun = time.thread_time()
    reactor.run()
    assert len(reactor.recorded.timeouts) <= 4
    assert time.thread_time() - begun < 0.15


# stop()


def test_stop_from_a_callback_ends_the_batch_first(reactor):
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
def test_stop_from_a_signal_handler_while_it_sleeps(reactor, pipe):
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
def test_stop_from_a_signal_handler_while_a_request_keeps_the_caller():
    """In the plain mode a loop of the request's own sleeps; it stops too, and the request is cancelled."""
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


def test_stop_from_another_thread_while_it_sleeps(reactor, pipe):
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
    assert reactor.timeout() is None  # who has this loop inside another need not know of stop()


def test_who_steps_by_himself_after_stop_sleeps_again_until_run_has_heeded_it(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    reactor.stop()
    reactor.step()
    os.write(pipe[1], b"x")  # or it would not return
    reactor.step()
    reactor.step()
    assert reactor.recorded.timeouts == [0, None, None]
    assert reactor.stopping
    reactor.run()
    assert len(reactor.recorded.timeouts) == 3
    assert not reactor.stopping


def test_a_host_that_has_no_pairs_of_sockets_runs_and_stops():
    """Only another thread can't wake the loop there, and there such hosts have none."""
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


def test_stop_twice_is_stop(reactor):
    called = []
    reactor.call_soon(reactor.stop)
    reactor.call_soon(reactor.stop)
    run(reactor)
    reactor.call_soon(called.append, "called")
    reactor.run()
    assert called == ["called"]


def test_many_stops_from_many_threads_never_get_lost(reactor, pipe):
    """Wherever in a step the stop comes; and no later run is stopped by the descriptor's leftovers."""
    reactor.watch(pipe[0], EVENT_READ, print)
    for _ in range(100):
        thread = in_thread(reactor.stop)
        run(reactor)
        thread.join()


# What is to be done, and when


def test_call_soon_calls_in_order_in_the_next_step(reactor):
    called = []
    reactor.call_soon(called.append, 1)
    reactor.call_soon(lambda: reactor.call_soon(called.append, 4))
    reactor.call_soon(lambda *both: called.extend(both), 2, 3)
    assert called == []
    reactor.step(0)
    assert called == [1, 2, 3]
    reactor.step(0)
    assert called == [1, 2, 3, 4]


def test_a_call_that_calls_itself_soon_does_not_keep_the_others_waiting(reactor, pipe):
    came = []

    def again():
        reactor.call_soon(again)

    reactor.watch(pipe[0], EVENT_READ, lambda events: came.append(os.read(pipe[0], 10)))
    reactor.call_later(0, came.append, "due")
    again()
    os.write(pipe[1], b"x")
    reactor.step()
    assert sorted(map(str, came)) == ["b'x'", "due"]


def test_call_soon_may_be_cancelled(reactor):
    called = []
    reactor.call_soon(called.append, 1).cancel()
    second = reactor.call_soon(called.append, 2)
    reactor.call_soon(called.append, 3)
    reactor.call_soon(second.cancel)  # too late, and no error
    reactor.run()
    assert called == [2, 3]


def test_calls_come_at_their_time_and_in_their_order():
    with closing(leaping()) as reactor:
        called = []

        def note(name):
            called.append((name, reactor.clock.seconds - 1000))

        reactor.call_later(2.5, note, "c")
        reactor.call_at(1001.25, note, "a")
        reactor.call_later(1.25, note, "b")
        reactor.call_at(900, note, "past")
        taken_back = reactor.call_later(1.75, note, "never")
        reactor.call_later(1.5, taken_back.cancel)
        reactor.call_later(70, note, "d")
        reactor.run()
        assert called == [("past", 0), ("a", 1.25), ("b", 1.25), ("c", 2.5), ("d", 70)]


def test_a_call_in_the_past_is_made_even_when_the_clock_has_just_begun():
    clock = Clock(0.0)
    with closing(Reactor(Leaping(clock), clock)) as reactor:
        called = []
        reactor.call_later(-0.5, called.append, "called")
        reactor.run()
        assert called == ["called"]


def test_later_counts_from_now_even_if_the_last_step_was_long_ago():
    clock = Clock()
    with closing(Reactor(clock=clock)) as reactor:
        called = []
        reactor.step(0)
        clock.seconds += 60
        reactor.call_later(1, called.append, "called")
        reactor.step(0)
        assert called == []
        clock.seconds += 1
        reactor.step(0)
        assert called == ["called"]


def test_no_call_is_made_before_its_time():
    clock = Clock()
    with closing(Reactor(clock=clock)) as reactor:
        called = []
        reactor.call_later(10, called.append, "called")
        for seconds in (0, 9, 0.999, 0.0009):
            clock.seconds += seconds
            reactor.step(0)
            assert called == []
        clock.seconds = 1010.0
        reactor.step(0)
        assert called == ["called"]


def test_a_timer_may_be_cancelled_by_one_of_the_same_moment(reactor):
    called = []
    when = reactor.clock.monotonic()
    reactor.call_at(when, lambda: second.cancel())
    second = reactor.call_at(when, called.append, "second")
    reactor.run()
    assert called == []


def test_call_soon_from_another_thread_wakes_it(reactor, pipe):
    reactor.watch(pipe[0], EVENT_READ, print)
    called = []

    def work():
        reactor.recorded.sleeps.wait(PATIENCE)
        reactor.call_soon(called.append, threading.current_thread())
        reactor.call_soon(reactor.stop)

    thread = in_thread(work)
    run(reactor)
    thread.join()
    assert called == [thread]
    assert len(reactor.recorded.timeouts) <= 4


def test_calls_from_many_threads_are_all_made_in_each_threads_order(reactor):
    called = []

    def work(name):
        for number in range(500):
            reactor.call_soon(called.append, (name, number))

    threads = [in_thread(work, name) for name in range(4)]
    until(reactor, lambda: len(called) == 2000)
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [number for caller, number in called if caller == name] == list(range(500))


def test_run_while_asks_at_least_as_often_as_it_was_told():
    clock = Clock()
    with closing(Reactor(Leaping(clock), clock)) as reactor:
        asked = []

        def going_on():
            asked.append(clock.seconds)
            return clock.seconds < 1002

        reactor.call_later(60, print)
        reactor.run_while(going_on, 0.5)
        assert asked == [1000, 1000.5, 1001, 1001.5, 1002]


# What a callback raises


class Mishap(Exception):
    """Raised on purpose."""


def fail(*arguments):
    raise Mishap


@pytest.mark.parametrize("kind", [Mishap, KeyboardInterrupt, SystemExit])
def test_what_a_timer_raises_leaves_and_the_others_are_called_in_the_next_run(reactor, kind):
    called = []

    def fail():
        raise kind

    when = reactor.clock.monotonic()
    reactor.call_at(when, called.append, 1)
    reactor.call_at(when, fail)
    reactor.call_at(when, called.append, 2)
    reactor.call_soon(called.append, 3)
    with pytest.raises(kind):
        reactor.run()
    assert called == [1]
    reactor.run()
    assert sorted(called) == [1, 2, 3]


def test_what_call_soon_raises_leaves_and_nothing_else_is_lost(reactor):
    called = []
    reactor.call_soon(called.append, 1)
    reactor.call_soon(fail)
    reactor.call_soon(called.append, 2)
    with pytest.raises(Mishap):
        reactor.run()
    reactor.run()
    assert called == [1, 2]


def test_what_a_watch_raises_leaves_and_rows_of_the_same_batch_lose_nothing(reactor, pipe):
    with SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server, connect(server) as client:
        until(reactor, lambda: len(reactor.table) == 1)
        reactor.step(0)
        watch = reactor.watch(pipe[0], EVENT_READ, fail)
        client.sendall(b"word")
        os.write(pipe[1], b"x")
        with pytest.raises(Mishap):
            until(reactor, lambda: False)
        watch.cancel()
        (row,) = reactor.table
        until(reactor, lambda: row.total_out == 4)
        assert client.recv(10) == b"word"


def test_a_row_touched_before_a_failure_is_settled_after_it(reactor):
    class Quiet(StreamHandler):
        async def handle(self):
            handlers.append(self)
            await Delay(PATIENCE)

    def touch_and_fail():
        handlers[0].send(b"word")
        raise Mishap

    handlers = []
    with SelectTCPServer(("127.0.0.1", 0), Quiet, reactor=reactor) as server, connect(server) as client:
        until(reactor, lambda: handlers)
        reactor.call_soon(touch_and_fail)
        with pytest.raises(Mishap):
            reactor.step()
        assert reactor.timeout() == 0
        reactor.step()
        assert client.recv(10) == b"word"


def test_a_row_whose_time_came_in_a_batch_that_failed_is_not_timed_out_when_it_goes_on():
    """Its input came first; the deadline that had come was of the wait before."""

    class Patient(StreamHandler):
        timeout = 5

        async def handle(self):
            while True:
                self.send(await Until(b"\n"))

    clock = Clock()
    with (
        closing(Reactor(clock=clock)) as reactor,
        SelectTCPServer(("127.0.0.1", 0), Patient, reactor=reactor) as server,
        connect(server) as client,
    ):
        until(reactor, lambda: len(reactor.table) == 1)
        reactor.step(0)
        reactor.call_at(1004, fail)
        clock.seconds = 1005.5
        with pytest.raises(Mishap):
            reactor.step(0)
        client.sendall(b"in time\n")
        (row,) = reactor.table
        until(reactor, lambda: row.total_in or not reactor.table)
        assert len(reactor.table) == 1
        assert client.recv(100) == b"in time\n"
        assert row.as_dict()["deadline"] == 5


# Watching other descriptors


def test_a_watch_is_told_of_the_events_that_it_asked_for(reactor, pipe):
    told = []
    reading = reactor.watch(pipe[0], EVENT_READ, lambda events: told.append(("read", events)))
    writing = reactor.watch(pipe[1], EVENT_WRITE, lambda events: told.append(("write", events)))
    reactor.step(0)
    assert told == [("write", EVENT_WRITE)]
    writing.modify(0)
    os.write(pipe[1], b"x")
    reactor.step(0)
    reactor.step(0)
    assert told[1:] == [("read", EVENT_READ)] * 2
    reading.modify(0)
    reactor.step(0)
    reading.modify(EVENT_READ)
    reactor.step(0)
    assert told[1:] == [("read", EVENT_READ)] * 3
    for watch in (reading, writing):
        watch.cancel()
        watch.cancel()
    reactor.step(0)
    assert len(told) == 4
    assert dict(reactor.recorded.get_map()) == {}


def test_a_watch_takes_a_number_or_what_has_one(reactor):
    here, there = socket.socketpair()
    with here, there:
        told = []
        reactor.watch(here, EVENT_READ, told.append)
        reactor.watch(there.fileno(), EVENT_WRITE, told.append)
        there.send(b"x")
        reactor.step(0)
        assert sorted(told) == [EVENT_READ, EVENT_WRITE]


def test_a_descriptor_may_be_watched_elsewhere_too(reactor, pipe):
    told = []
    with closing(Reactor()) as other, selectors.DefaultSelector() as selector:
        for loop in (reactor, other):
            loop.watch(pipe[0], EVENT_READ, told.append)
        selector.register(pipe[0], EVENT_READ)
        os.write(pipe[1], b"x")
        reactor.step(0)
        other.step(0)
        assert told == [EVENT_READ, EVENT_READ]
        assert len(selector.select(0)) == 1


def test_what_can_not_be_watched_is_refused_and_leaves_no_trace(reactor, pipe, tmp_path):
    reactor.watch(pipe[0], EVENT_READ, print)
    with pytest.raises(KeyError):
        reactor.watch(pipe[0], EVENT_WRITE, print)
    with pytest.raises(ValueError, match=r"-1|descriptor"):
        reactor.watch(-1, EVENT_READ, print)
    assert len(reactor.watches) == 1
    assert list(reactor.recorded.get_map()) == [pipe[0]]


def test_a_watch_cancelled_by_another_in_the_same_batch_is_not_called(reactor):
    """Nor is it called for whatever has got its descriptor's number meanwhile."""
    pipes = [os.pipe() for _ in range(2)]
    called = []

    def make(place):
        def call(events):
            called.append(place)
            watches[1 - place].cancel()
            os.close(pipes[1 - place][0])
            new = os.pipe()  # takes the number
            assert new[0] == pipes[1 - place][0]
            pipes.append((new[0], new[1]))
            reactor.watch(new[0], EVENT_READ, lambda events: called.append("new"))

        return reactor.watch(pipes[place][0], EVENT_READ, call)

    watches = [make(0), make(1)]
    for _, writer in pipes:
        os.write(writer, b"x")
    reactor.step(0)
    assert called in ([0], [1])
    for descriptor in {descriptor for both in pipes for descriptor in both}:
        os.close(descriptor)


def test_a_cancelled_watch_stays_cancelled(reactor, pipe):
    watch = reactor.watch(pipe[0], EVENT_READ, print)
    watch.cancel()
    watch.modify(EVENT_READ)
    assert dict(reactor.recorded.get_map()) == {}


# Inside another loop


HAVE_DESCRIPTOR = [kind for kind in SELECTORS if hasattr(kind, "fileno")]


@pytest.mark.parametrize("kind", [kind for kind in SELECTORS if not hasattr(kind, "fileno")])
def test_a_selector_without_a_descriptor_is_a_clear_error(kind):
    with closing(Reactor(kind())) as reactor, pytest.raises(TypeError, match=kind.__name__):
        reactor.fileno()


def test_timeout_says_when_it_has_something_to_do():
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


class Slowly(StreamHandler):
    """Answers in capitals, after a moment."""

    async def handle(self):
        data = await Some()
        await Delay(0.02)
        self.send(data.upper())
        await Some()


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
def test_another_thread_wakes_the_loop_that_it_is_inside_of(kind):
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
    """Have ``ask()`` call ``reactor.call_soon()``, and see the outer loop wake and the call be made."""
    called = []
    reactor.fileno()
    reactor.step(0)
    ask(lambda: reactor.call_soon(called.append, "called"))
    assert outer.select(PATIENCE / 10), "the descriptor does not tell of it"
    reactor.step(0)
    assert called == ["called"]


@pytest.mark.parametrize("kind", HAVE_DESCRIPTOR)
def test_what_the_outer_loop_asks_for_wakes_the_inner(kind):
    """A callback of the outer loop asks, which knows nothing of `timeout`; so may a signal's handler."""
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


def test_a_descriptor_that_select_can_not_take_hurts_nobody_else():
    """``select()`` refuses numbers beyond its size only when it is called, and then refuses them all."""
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


# What is worked on next


def test_the_policy_decides_the_order(reactor):
    pipes = [os.pipe() for _ in range(4)]
    called = []
    reactor.policy = lambda events: sorted(events, key=lambda event: -event[0].fd)
    for reader, writer in pipes:
        reactor.watch(reader, EVENT_READ, lambda events, reader=reader: called.append(reader))
        os.write(writer, b"x")
    reactor.step(0)
    assert called == sorted(called, reverse=True)
    assert len(called) == 4
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)


def test_what_the_policy_leaves_out_is_ready_again(reactor):
    class Lines(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Until(b"\n"))

    reactor.policy = lambda events: [*events][:1]
    with SelectTCPServer(("127.0.0.1", 0), Lines, reactor=reactor) as server:
        clients = [connect(server) for _ in range(5)]
        for client in clients:
            client.sendall(b"line\n")
        until(reactor, lambda: sum(row.total_out for row in reactor.table) == 25)
        for client in clients:
            assert client.recv(100) == b"line\n"
            client.close()


@pytest.mark.parametrize("first", ["rows", "arrivals"])
def test_the_policy_may_put_rows_before_or_after_arrivals(reactor, first):
    happened = []

    class Noting(StreamHandler):
        async def handle(self):
            happened.append("arrival")
            while True:
                await Some()
                happened.append("row")

    def policy(events):
        return sorted(events, key=lambda event: isinstance(event[0].data, Request) == (first == "arrivals"))

    with SelectTCPServer(("127.0.0.1", 0), Noting, reactor=reactor) as server:
        old = connect(server)
        until(reactor, lambda: happened)
        reactor.step(0)
        reactor.policy = policy
        old.send(b"x")
        new = connect(server)
        until(reactor, lambda: len(happened) == 3)
        assert happened[1:] == (["row", "arrival"] if first == "rows" else ["arrival", "row"])
        old.close()
        new.close()


# Several loops, and the end of one


class TwoPackets(DatagramHandler):
    """Waits for two packets, so that its row is open after the first."""

    async def handle(self):
        self.send(await Packet() + await Packet())


def test_two_reactors_side_by_side():
    """One in each thread; each with servers of two kinds; neither knows of the other."""
    threads, clients, reactors, servers = [], [], [Reactor(), Reactor()], []
    for reactor in reactors:
        servers += [
            SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor),
            SelectTCPServer(("127.0.0.1", 0), Slowly, reactor=reactor),
        ]
        threads.append(in_thread(reactor.run))
    for server, answer in zip(servers, [b"word", b"WORD"] * 2, strict=True):
        client = connect(server)
        client.sendall(b"word")
        assert client.recv(10) == answer
        clients.append(client)
    assert [len(reactor.table) for reactor in reactors] == [2, 2]
    for reactor, thread in zip(reactors, threads, strict=True):
        reactor.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    for thing in servers:
        thing.server_close()
    for thing in clients + reactors:
        thing.close()


@pytest.mark.parametrize("kind", SELECTORS)
def test_close_gives_everything_back_and_may_be_called_again(kind, pipe):
    before = descriptors()
    reactor = Reactor(kind())
    streams = SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor)
    packets = SelectUDPServer(("127.0.0.1", 0), TwoPackets, reactor=reactor)
    client = connect(streams)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"word", packets.server_address)
    watch = reactor.watch(pipe[0], EVENT_READ, print)
    reactor.call_later(50, print)
    until(reactor, lambda: len(reactor.table) == 2)
    reactor.call_soon(reactor.stop)
    reactor.run()  # makes the descriptor that wakes it
    reactor.close()
    reactor.close()
    watch.cancel()
    assert len(reactor.table) == 0
    assert client.recv(10) == b""
    client.close()
    sender.close()
    streams.server_close()
    packets.server_close()
    assert descriptors() == before
