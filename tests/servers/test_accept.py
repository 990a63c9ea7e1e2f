"""The accept queue of a stream server: connections that vanish, and hosts that are short of descriptors."""

import errno
import os

import pytest

from handlers.services import Echo
from tests.support.bench import bench
from tests.support.loops import Clock
from tests.support.serving import connect


def test_an_accept_that_fails_loses_no_other_connection():
    failures = [BlockingIOError(), ConnectionAbortedError(), InterruptedError(), OSError(errno.EPROTO, "protocol")]
    with bench(Echo) as here:
        accept = here.server.get_request

        def get_request():
            if failures:
                raise failures.pop(0)
            return accept()

        here.server.get_request = get_request
        clients = [connect(here.server) for _ in range(3)]
        here.until(lambda: len(here.table) == 3)
        for client in clients:
            client.sendall(b"word")
            assert here.take(client, 4) == b"word"
            client.close()


def test_a_host_short_of_descriptors_accepts_again_when_it_has_some():
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        accept, short = here.server.get_request, [True]

        def get_request():
            if short:
                raise OSError(errno.EMFILE, "too many open files")
            return accept()

        here.server.get_request = get_request
        client = connect(here.server)
        here.reactor.step(0)
        assert here.selector.select(0) == []  # it does not spin meanwhile
        short.clear()
        here.server.stop_serving()
        clock.seconds += 1
        here.reactor.step(0)
        here.reactor.step(0)
        assert len(here.table) == 0  # nor does the pause end what the user has stopped
        here.server.start_serving()
        here.until(lambda: len(here.table) == 1)
        client.close()


def test_a_shortage_of_descriptors_is_logged_once_and_ends_with_the_next_row_that_ends(caplog):
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        accept, limit = here.server.get_request, 2

        def get_request():
            if len(here.table) >= limit:
                raise OSError(errno.EMFILE, "too many open files")
            return accept()

        here.server.get_request = get_request
        first, second = here.connect(), here.connect()
        for _ in range(3):
            third = connect(here.server)
            here.clients.append(third)
            for _ in range(50):
                clock.seconds += 0.2
                here.reactor.step(0)
            [line] = caplog.messages
            assert "takes no requests for now: [Errno 24] too many open files" in line
            first.close()  # the clock stands still: only the end of a row lets the third in
            third.sendall(b"third")
            assert here.take(third, 5) == b"third"
            first, second = second, third


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSOCK])
def test_a_listener_that_was_shut_down_is_reported_once_without_spinning(caplog, number):
    """If the listener is shut down or closed, every ``accept()`` fails and the listener is always ready."""
    clock = Clock()
    with bench(Echo, clock=clock) as here:

        def get_request():
            raise OSError(number, os.strerror(number))

        here.server.get_request = get_request
        here.clients.append(connect(here.server))
        for _ in range(3):
            here.reactor.step(0)
            assert here.selector.select(0) == []
            clock.seconds += 0.2
            here.reactor.step(0)
        [line] = caplog.messages
        assert line.endswith(f"takes no requests for now: [Errno {number}] {os.strerror(number)}")
