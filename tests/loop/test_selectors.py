"""The selectors of this project: urgent data is a third event; the rest is as in the standard library."""

import selectors
import socket
import struct
from contextlib import closing, contextmanager
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from reactor import selecting
from reactor.loop.selecting import EVENT_URGENT, DefaultSelector
from tests.support.urgent import NAMES, PLACES, PLAIN, URGENT, every_place, every_selector

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")


@contextmanager
def pair(place):
    """Two connected sockets."""
    if place.family == socket.AF_UNIX:
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server((place.host, 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def told(selector):
    """The events of each descriptor that is ready now."""
    return {key.fd: events for key, events in selector.select(0)}


@every_selector
@every_place
@pytest.mark.parametrize("others", [0, EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE])
def test_urgent_data_is_an_event_until_it_has_been_read_past(kind, place, others):
    with closing(kind()) as selector, pair(place) as (ours, theirs):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        selector.register(ours, EVENT_URGENT | others)
        writable = others & EVENT_WRITE
        assert told(selector).get(ours.fileno(), 0) == writable
        theirs.send(b"ab")
        assert told(selector).get(ours.fileno(), 0) == others
        theirs.send(b"X", socket.MSG_OOB)
        for left in b"abX", b"X":
            assert told(selector)[ours.fileno()] == EVENT_URGENT | others
            assert left.startswith(ours.recv(9))
        assert told(selector).get(ours.fileno(), 0) == writable


@every_selector
@every_place
def test_urgent_data_is_no_event_unless_it_is_asked_for(kind, place):
    with closing(kind()) as selector, pair(place) as (ours, theirs):
        selector.register(ours, EVENT_WRITE)
        theirs.send(b"X", socket.MSG_OOB)
        assert told(selector) == {ours.fileno(): EVENT_WRITE}
        selector.modify(ours, EVENT_URGENT)
        assert told(selector) == {ours.fileno(): EVENT_URGENT}


def quiet(ours, theirs):
    """No event."""


def readable(ours, theirs):
    theirs.send(b"x")


def full(ours, theirs):
    try:
        while True:
            ours.send(bytes(65_536))
    except BlockingIOError:
        pass


def half_closed(ours, theirs):
    theirs.shutdown(socket.SHUT_WR)


def hung_up(ours, theirs):
    ours.shutdown(socket.SHUT_WR)
    theirs.close()


def broken(ours, theirs):
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


happenings = [quiet, readable, full, half_closed, hung_up, broken]


@pytest.mark.parametrize(("ours", "theirs"), list(zip(URGENT, PLAIN, strict=True)), ids=NAMES)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("happens", happenings)
def test_other_events_are_those_of_the_standard_librarys_selectors(ours, theirs, place, happens):
    with closing(ours()) as here, closing(theirs()) as there, pair(place) as (sock, peer):
        happens(sock, peer)
        for selector in here, there:
            selector.register(sock, EVENT_READ)
        for events in EVENT_READ, EVENT_WRITE, EVENT_READ | EVENT_WRITE:
            for selector in here, there:
                selector.modify(sock, events)
            assert told(here) == told(there)


@every_selector
def test_the_selectors_keep_the_contract_of_the_standard_library(kind):
    with closing(kind()) as selector, pair(PLACES["tcp"]) as (ours, theirs):
        assert (dict(selector.get_map()), selector.select(0)) == ({}, [])
        key = selector.register(ours, EVENT_READ, "data")
        assert key == (ours, ours.fileno(), EVENT_READ, "data")
        assert selector.get_key(ours.fileno()) == selector.get_map()[ours] == key
        assert (len(selector.get_map()), list(selector.get_map())) == (1, [ours.fileno()])
        assert theirs not in selector.get_map()
        with pytest.raises(KeyError, match="registered already"):
            selector.register(ours.fileno(), EVENT_READ)
        for call in selector.modify, selector.register:
            for events in 0, 64, EVENT_READ | 64:
                with pytest.raises(ValueError, match="EVENT_URGENT"):
                    call(ours, events)
        for call in lambda: selector.unregister(theirs), lambda: selector.modify(theirs, EVENT_READ):
            with pytest.raises(KeyError):
                call()
        with pytest.raises(ValueError, match="no descriptor"):
            selector.register(-1, EVENT_READ)
        assert selector.modify(ours, EVENT_READ, "other") == selector.get_key(ours) == (*key[:3], "other")
        theirs.send(b"x")
        assert selector.select(-1) == [(selector.get_key(ours), EVENT_READ)]
        ours.close()  # without unregister() first
        assert selector.unregister(ours).fd == key.fd
        with pytest.raises(KeyError):
            selector.unregister(ours)
        assert (len(selector.get_map()), selector.select(0)) == (0, [])


@every_selector
def test_select_sleeps_as_long_as_its_timeout(kind):
    with closing(kind()) as selector, pair(PLACES["tcp"]) as (ours, theirs):
        selector.register(ours, EVENT_READ | EVENT_URGENT)
        assert selector.select(0.001) == []
        theirs.send(b"x")
        assert told(selector) == {ours.fileno(): EVENT_READ}
        assert [events for _, events in selector.select()] == [EVENT_READ]


def test_the_default_selector_is_that_of_the_host_with_the_urgent_event():
    name = selectors.DefaultSelector.__name__
    assert selecting.DefaultSelector is getattr(selecting, name, selectors.DefaultSelector)


def test_a_socket_that_was_closed_first_can_be_unregistered():
    sockets = [socket.socket() for _ in range(3)]
    with closing(DefaultSelector()) as selector:
        for sock in sockets:
            selector.register(sock, EVENT_READ, sock)
        sockets[-1].close()
        assert selector.get_key(sockets[-1]).data is sockets[-1]
        selector.unregister(sockets[-1])
        assert len(selector.get_map()) == 2
    for sock in sockets:
        sock.close()
