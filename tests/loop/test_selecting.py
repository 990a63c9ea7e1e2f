"""Selectors: a hang-up is an event of its own, and a descriptor that others close harms no other descriptor."""

import errno
import os
import select
import selectors
import socket
import struct
from contextlib import ExitStack, closing, contextmanager, suppress
from selectors import EVENT_READ, EVENT_WRITE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reactor import selecting
from reactor.loop.selecting import EVENT_EXCLUSIVE, EVENT_HANGUP, EVENT_URGENT

NAMES = [name for name in ("SelectSelector", "PollSelector", "EpollSelector") if hasattr(selecting, name)]
every_selector = pytest.mark.parametrize("kind", [getattr(selecting, name) for name in NAMES], ids=NAMES)
telling = [getattr(selecting, name) for name in NAMES if name != "SelectSelector"]
every_telling_selector = pytest.mark.parametrize("kind", telling)
"""The selectors that can report a hang-up."""

noticing = [getattr(selecting, name) for name in NAMES if name != "EpollSelector"]
every_noticing_selector = pytest.mark.parametrize("kind", noticing)
"""The selectors that can report that a descriptor was closed."""

PATIENCE = 10  # seconds, where a select() is to return at once


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    return ours, theirs


PAIRS = {"tcp": tcp_pair} | ({"unix": socket.socketpair} if hasattr(socket, "AF_UNIX") else {})


@pytest.fixture(params=PAIRS.values(), ids=PAIRS)
def pair(request):
    """Two connected sockets, ours without blocking."""
    ours, theirs = request.param()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def told(selector, timeout=0):
    """The events of each descriptor that is reported."""
    return {key.fd: events for key, events in selector.select(timeout)}


def quiet(ours, theirs):
    """Nothing has happened."""


def send(ours, theirs):
    theirs.send(b"x")


def fill(ours, theirs):
    try:
        while True:
            ours.send(bytes(65_536))
    except BlockingIOError:
        pass


def half_close(ours, theirs):
    theirs.shutdown(socket.SHUT_WR)


def close_both_directions(ours, theirs):
    ours.shutdown(socket.SHUT_WR)
    theirs.close()


def reset(ours, theirs):
    """Of a TCP connection; a Unix socket is just closed."""
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


def send_and_reset(ours, theirs):
    theirs.send(b"x")
    reset(ours, theirs)


hang_ups = [close_both_directions, reset, send_and_reset]
masks = range(1, 16)


# What a selector can report


def test_a_selector_says_which_events_it_has():
    both = EVENT_READ | EVENT_WRITE
    for name in NAMES:
        with closing(getattr(selecting, name)()) as selector:
            hang_up = 0 if name == "SelectSelector" else EVENT_HANGUP
            exclusive = EVENT_EXCLUSIVE if name == "EpollSelector" else 0
            assert selecting.events_of(selector) == selector.events == both | EVENT_URGENT | hang_up | exclusive
        with closing(getattr(selectors, name)()) as selector:
            assert selecting.events_of(selector) == both


@pytest.mark.skipif(not hasattr(selecting, "EpollSelector"), reason="epoll(7) alone has it")
def test_an_exclusive_registration_reports_changes_and_ends_as_any_other():
    ours, theirs = socket.socketpair()
    with closing(selecting.EpollSelector()) as selector, ours, theirs:
        selector.register(ours, EVENT_READ | EVENT_EXCLUSIVE)
        assert selector.select(0) == []
        theirs.send(b"x")
        assert [events for _, events in selector.select(0)] == [EVENT_READ]
        selector.modify(ours, EVENT_READ | EVENT_WRITE | EVENT_EXCLUSIVE)
        assert [events for _, events in selector.select(0)] == [EVENT_READ | EVENT_WRITE]
        selector.modify(ours, EVENT_READ)
        assert [events for _, events in selector.select(0)] == [EVENT_READ]
        selector.unregister(ours)
        assert selector.select(0) == []


@every_noticing_selector
def test_only_epoll_takes_exclusive_registrations(kind):
    ours, theirs = socket.socketpair()
    with closing(kind()) as selector, ours, theirs, pytest.raises(ValueError, match="events are"):
        selector.register(ours, EVENT_READ | EVENT_EXCLUSIVE)


# Hang-ups


@every_telling_selector
@pytest.mark.parametrize("happens", hang_ups)
@pytest.mark.parametrize("events", [events for events in masks if events & EVENT_HANGUP])
def test_a_hang_up_is_reported_as_everything_that_was_asked_for(kind, pair, happens, events):
    ours, theirs = pair
    with closing(kind()) as selector:
        selector.register(ours, events)
        happens(ours, theirs)
        assert told(selector, PATIENCE) == {ours.fileno(): events}


@every_selector
@pytest.mark.parametrize("happens", [quiet, send, fill, half_close])
def test_a_descriptor_can_be_registered_for_hang_ups_alone(kind, pair, happens):
    ours, theirs = pair
    with closing(kind()) as selector:
        selector.register(ours, EVENT_HANGUP)
        happens(ours, theirs)
        assert told(selector) == {}
        assert selector.get_key(ours).events == EVENT_HANGUP


@every_telling_selector
def test_reading_can_be_taken_up_and_left_while_hang_ups_are_waited_for(kind, pair):
    ours, theirs = pair
    with closing(kind()) as selector:
        selector.register(ours, EVENT_READ | EVENT_HANGUP)
        theirs.send(b"x")
        assert told(selector) == {ours.fileno(): EVENT_READ}
        selector.modify(ours, EVENT_HANGUP)
        assert told(selector) == {}
        selector.modify(ours, EVENT_READ)
        assert told(selector) == {ours.fileno(): EVENT_READ}
        selector.modify(ours, EVENT_HANGUP)
        reset(ours, theirs)
        assert told(selector, PATIENCE) == {ours.fileno(): EVENT_HANGUP}
        selector.modify(ours, EVENT_READ)
        assert told(selector) == {ours.fileno(): EVENT_READ}
        assert ours.recv(9) == b"x"


@pytest.mark.parametrize("happens", hang_ups)
def test_select_can_not_report_a_hang_up_and_says_that_the_socket_can_be_read(pair, happens):
    ours, theirs = pair
    with closing(selecting.SelectSelector()) as selector:
        selector.register(ours, EVENT_HANGUP)
        happens(ours, theirs)
        assert told(selector) == {}
        selector.modify(ours, EVENT_READ | EVENT_HANGUP)
        assert told(selector) == {ours.fileno(): EVENT_READ}


happenings = st.lists(st.sampled_from([send, half_close, close_both_directions, reset]), max_size=3)


@pytest.mark.skipif(len(telling) < 2, reason="this host has only one such selector")
@given(st.sampled_from(list(PAIRS.values())), st.lists(st.tuples(st.sampled_from(masks), happenings), max_size=3))
def test_epoll_and_poll_report_the_same_and_only_what_was_asked_for(make_pair, sockets):
    with ExitStack() as stack:
        one, other = (stack.enter_context(closing(kind())) for kind in telling)
        asked = {}
        for events, happening in sockets:
            ours, theirs = map(stack.enter_context, make_pair())
            asked[ours.fileno()] = events
            for selector in one, other:
                selector.register(ours, events)
            for happens in happening:
                with suppress(OSError):  # the connection has ended
                    happens(ours, theirs)
        found = told(one)
        assert found == told(other)
        assert all(events & ~asked[number] == 0 for number, events in found.items())


# Descriptors that others close


@contextmanager
def three_pairs():
    with ExitStack() as stack:
        yield [tuple(map(stack.enter_context, socket.socketpair())) for _ in range(3)]


@every_noticing_selector
@pytest.mark.parametrize("events", [events for events in masks if events != EVENT_HANGUP])
def test_a_descriptor_that_others_close_is_ready_for_what_was_asked_and_the_others_go_on(kind, events):
    with closing(kind()) as selector, three_pairs() as pairs:
        number = pairs[0][0].fileno()
        selector.register(pairs[0][0], events)
        for ours, _ in pairs[1:]:
            selector.register(ours, EVENT_READ)
        pairs[0][0].close()
        assert told(selector, PATIENCE) == {number: events}
        pairs[1][1].send(b"x")
        expected = {pairs[1][0].fileno(): EVENT_READ}
        assert told(selector, PATIENCE) == {number: events, **expected}
        selector.unregister(number)
        assert told(selector, PATIENCE) == expected


@every_noticing_selector
def test_several_descriptors_that_others_close_are_all_reported(kind):
    with closing(kind()) as selector, three_pairs() as pairs:
        numbers = [ours.fileno() for ours, _ in pairs]
        for ours, _ in pairs:
            selector.register(ours, EVENT_READ)
            ours.close()
        assert told(selector, PATIENCE) == dict.fromkeys(numbers, EVENT_READ)
        for number in numbers:
            selector.unregister(number)
        assert (told(selector), len(selector.get_map())) == ({}, 0)


def test_another_error_of_select_is_raised(monkeypatch):
    def fail(*arguments):
        raise OSError(errno.ENOMEM, "no memory")

    with closing(selecting.SelectSelector()) as selector, three_pairs() as pairs:
        selector.register(pairs[0][0], EVENT_READ)
        with monkeypatch.context() as patch:
            patch.setattr("select.select", fail)
            with pytest.raises(OSError, match="no memory"):
                selector.select(0)
        assert told(selector) == {}


@every_selector
@pytest.mark.parametrize("events", [EVENT_READ, EVENT_WRITE, EVENT_HANGUP, EVENT_READ | EVENT_HANGUP])
def test_the_number_of_a_closed_descriptor_can_be_unregistered_and_registered_again(kind, events):
    with closing(kind()) as selector, three_pairs() as pairs:
        (closed, _), (ours, theirs), _ = pairs
        number = closed.fileno()
        key = selector.register(closed, EVENT_READ)
        closed.close()
        try:
            selector.modify(number, events)
        except OSError:  # the kernel has forgotten it: it is registered as before
            assert selector.get_key(number) == key
        assert selector.unregister(number).fd == number
        assert (len(selector.get_map()), told(selector)) == (0, {})
        with pytest.raises(KeyError):
            selector.unregister(number)
        copy = socket.socket(fileno=os.dup2(ours.fileno(), number))
        with copy:
            selector.register(copy, EVENT_READ)
            theirs.send(b"x")
            assert told(selector) == {number: EVENT_READ}
            selector.unregister(copy)


@every_selector
def test_a_closed_descriptor_can_be_unregistered_when_its_number_is_used_again(kind):
    with closing(kind()) as selector, three_pairs() as pairs:
        (closed, _), (ours, theirs), _ = pairs
        number = closed.fileno()
        selector.register(closed, EVENT_READ)
        closed.close()
        with socket.socket(fileno=os.dup2(ours.fileno(), number)) as copy:
            theirs.send(b"x")
            with pytest.raises(KeyError, match="registered already"):
                selector.register(copy, EVENT_READ)
            selector.unregister(number)
            assert told(selector) == {}
            selector.register(copy, EVENT_READ)
            assert told(selector) == {number: EVENT_READ}


@pytest.mark.skipif(not hasattr(selecting, "EpollSelector"), reason="this host has no epoll")
def test_what_epoll_reports_of_a_closed_descriptor_that_has_a_copy_is_ignored():
    with closing(selecting.EpollSelector()) as selector, three_pairs() as pairs:
        (ours, theirs), (other, _), _ = pairs
        copy = os.dup(ours.fileno())
        try:
            selector.register(other, EVENT_WRITE)
            key = selector.register(ours, EVENT_READ)
            ours.close()
            theirs.send(b"x")
            assert told(selector) == {key.fd: EVENT_READ, other.fileno(): EVENT_WRITE}
            selector.unregister(ours)
            assert told(selector) == {other.fileno(): EVENT_WRITE}
        finally:
            os.close(copy)


@every_selector
def test_a_selector_that_is_closed_has_no_key(kind, pair):
    selector = kind()
    selector.register(pair[0], EVENT_READ)
    assert len(selector.get_map()) == 1
    selector.close()
    assert len(selector.get_map() or ()) == 0


@pytest.mark.skipif(not hasattr(selecting, "EpollSelector"), reason="no epoll")
def test_a_kernel_without_exclusive_wake_ups_wakes_every_process(pair):
    class Old:
        """The epoll set of a kernel before 4.5."""

        def __init__(self, epoll):
            self._epoll = epoll

        def __getattr__(self, name):
            return getattr(self._epoll, name)

        def register(self, number, bits):
            if bits & select.EPOLLEXCLUSIVE:
                raise OSError(errno.EINVAL, "Invalid argument")
            self._epoll.register(number, bits)

    ours, theirs = pair
    with closing(selecting.EpollSelector()) as selector:
        selector._epoll = Old(selector._epoll)
        selector.register(ours, EVENT_READ | EVENT_EXCLUSIVE)
        theirs.send(b"x")
        assert list(told(selector, PATIENCE)) == [ours.fileno()]
