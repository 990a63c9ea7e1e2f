"""`watch()`: other descriptors in the loop."""

import os
import selectors
import socket
from contextlib import closing
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from reactor import Reactor
from reactor.loop import selecting


def test_a_watch_is_called_with_the_events_that_it_asked_for(reactor, pipe):
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


def test_a_watch_takes_a_number_or_an_object_with_fileno(reactor):
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


def test_a_descriptor_that_can_not_be_watched_is_refused_without_a_trace(reactor, pipe, tmp_path):
    reactor.watch(pipe[0], EVENT_READ, print)
    with pytest.raises(KeyError):
        reactor.watch(pipe[0], EVENT_WRITE, print)
    with pytest.raises(ValueError, match=r"-1|descriptor"):
        reactor.watch(-1, EVENT_READ, print)
    assert len(reactor.watches) == 1
    assert list(reactor.recorded.get_map()) == [pipe[0]]


@pytest.mark.parametrize("selector", [selecting.DefaultSelector, selectors.DefaultSelector, selectors.SelectSelector])
def test_a_number_that_was_closed_unnoticed_is_watched_for_its_new_owner(selector):
    told = []
    with closing(Reactor(selector())) as reactor:
        first, second = socket.socketpair()
        number = first.fileno()
        old = reactor.watch(first, EVENT_READ, lambda events: told.append("old"))
        with pytest.raises(KeyError):
            reactor.watch(number, EVENT_READ, lambda events: told.append("another"))  # it is watched, and not closed
        first.close()
        second.close()
        first, second = socket.socketpair()
        assert number in (first.fileno(), second.fileno())  # the lowest free number is used again
        with first, second:
            here, there = (first, second) if first.fileno() == number else (second, first)
            reactor.watch(here, EVENT_READ, lambda events: told.append("new"))
            there.send(b"x")
            reactor.step(0)
            old.cancel()
            reactor.step(0)
        assert told == ["new", "new"]


@pytest.mark.skipif(not hasattr(selectors, "EpollSelector"), reason="other selectors look at no descriptor here")
def test_a_watch_that_could_not_be_modified_may_watch_the_next_owner_of_its_number(pipe):
    told = []
    with closing(Reactor(selectors.EpollSelector())) as reactor:
        number, writer = os.pipe()
        watch = reactor.watch(number, EVENT_READ, told.append)
        for descriptor in number, writer:
            os.close(descriptor)
        with pytest.raises(OSError, match="Bad file descriptor"):
            watch.modify(EVENT_READ | EVENT_WRITE)
        os.dup2(pipe[0], number)
        try:
            watch.modify(EVENT_READ)
            os.write(pipe[1], b"x")
            reactor.step(0)
            watch.cancel()
        finally:
            os.close(number)
    assert told == [EVENT_READ]


def test_the_descriptor_that_wakes_the_loop_can_not_be_watched(reactor):
    reactor.make_wakeup()
    [number] = reactor.recorded.get_map()
    with pytest.raises(KeyError):
        reactor.watch(number, EVENT_READ, print)
    reactor.wake()
    assert len(reactor.recorded.select(0)) == 1


def test_a_watch_cancelled_by_another_in_the_same_batch_is_not_called(reactor):
    """Nor is it called for another file that has the same descriptor by then."""
    pipes = [os.pipe() for _ in range(2)]
    called = []

    def make(place):
        def call(events):
            called.append(place)
            watches[1 - place].cancel()
            os.close(pipes[1 - place][0])
            new = os.pipe()  # gets the same descriptor
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


def test_many_wakes_end_one_wait():
    selector = selectors.DefaultSelector()
    with Reactor(selector) as reactor:
        reactor.make_wakeup()
        for _ in range(100):
            reactor.wake()
        assert len(selector.select(0)) == 1
        reactor.step(0)
        assert selector.select(0) == []
