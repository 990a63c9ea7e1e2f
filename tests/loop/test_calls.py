"""`call_soon`, `call_later` and `call_at`: what is called when, and what an exception in a callback does."""

import os
import threading
from contextlib import closing
from selectors import EVENT_READ

import pytest

from handlers import Delay, StreamHandler, Until
from handlers.services import Echo
from reactor import Reactor, SelectTCPServer
from tests.support.loops import Clock, Leaping, in_thread, leaping, run, until
from tests.support.serving import PATIENCE, connect

# Order and time


def test_call_soon_makes_its_calls_in_order_in_the_next_step(reactor):
    called = []
    reactor.call_soon(called.append, 1)
    reactor.call_soon(lambda: reactor.call_soon(called.append, 4))
    reactor.call_soon(lambda *both: called.extend(both), 2, 3)
    assert called == []
    reactor.step(0)
    assert called == [1, 2, 3]
    reactor.step(0)
    assert called == [1, 2, 3, 4]


def test_a_callback_that_calls_itself_soon_does_not_starve_others(reactor, pipe):
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


def test_calls_are_made_at_their_time_and_in_their_order():
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


def test_call_later_counts_from_now_and_not_from_the_last_step():
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


def test_a_timer_may_be_cancelled_by_another_of_the_same_deadline(reactor):
    called = []
    when = reactor.clock.monotonic()
    reactor.call_at(when, lambda: second.cancel())
    second = reactor.call_at(when, called.append, "second")
    reactor.run()
    assert called == []


def test_call_soon_from_another_thread_wakes_the_loop(reactor, pipe):
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


def test_calls_of_many_threads_are_all_made_in_the_order_of_each_thread(reactor):
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


def test_run_while_evaluates_its_condition_at_least_once_an_interval():
    clock = Clock()
    with closing(Reactor(Leaping(clock), clock)) as reactor:
        asked = []

        def going_on():
            asked.append(clock.seconds)
            return clock.seconds < 1002

        reactor.call_later(60, print)
        reactor.run_while(going_on, 0.5)
        assert asked == [1000, 1000.5, 1001, 1001.5, 1002]


# Exceptions of callbacks


class Mishap(Exception):
    """Raised on purpose."""


def fail(*arguments):
    raise Mishap


@pytest.mark.parametrize("kind", [Mishap, KeyboardInterrupt, SystemExit])
def test_an_exception_of_a_timer_leaves_run_and_the_others_are_called_in_the_next_run(reactor, kind):
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


def test_an_exception_of_a_callback_leaves_step_and_no_other_call_is_lost(reactor):
    called = []
    reactor.call_soon(called.append, 1)
    reactor.call_soon(fail)
    reactor.call_soon(called.append, 2)
    with pytest.raises(Mishap):
        reactor.run()
    reactor.run()
    assert called == [1, 2]


def test_an_exception_of_a_watch_leaves_step_and_rows_of_the_same_batch_lose_nothing(reactor, pipe):
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


def test_a_row_touched_before_an_exception_is_settled_in_the_next_step(reactor):
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


def test_input_that_is_there_when_the_loop_resumes_comes_before_an_expired_deadline():
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
