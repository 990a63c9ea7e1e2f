"""Exceptions of handlers, hooks and the selector while the loop runs: one row ends, and the others lose nothing."""

import errno
import socket
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from handlers import Delay, Exactly, Flushed, Some, StreamHandler, TimedOut
from handlers.services import Echo
from reactor.loop.selecting import DefaultSelector
from tests.support.bench import PATTERN, Lines, Noting, bench
from tests.support.errnos import failing
from tests.support.loops import Clock
from tests.support.resources import descriptors
from tests.support.serving import connect


class Mishap(Exception):
    """Raised on purpose."""


class Failing(Noting):
    """Raises `raised` in the place that the letter names."""

    timeout = 50
    raised: type = Mishap
    fails_in_finish = False

    async def handle(self):
        while True:
            letter = await Exactly(1)
            if letter == b"s":
                raise self.raised
            if letter == b"t":
                await Delay(5)
                raise self.raised
            if letter == b"d":
                self.send(PATTERN)
                await Flushed()
                raise self.raised
            self.send(letter)

    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            raise self.raised

    def finish(self):
        super().finish()
        if self.fails_in_finish and self is self.made[0]:
            raise self.raised


def provoke(here, client, where):
    """Make the row raise in a state, after a delay, after draining, in interrupted or in finish; wait for its end."""
    if where in "std":
        client.sendall(where.encode())
        here.rest()
    if where == "d":
        here.take(client, len(PATTERN))
    if where == "t":
        here.clock.seconds += 5
    if where == "i":
        here.clock.seconds += 49  # the other row is one second younger
    if where == "f":
        client.shutdown(socket.SHUT_WR)
    here.last_words(client)


@pytest.mark.parametrize("where", ["s", "t", "d", "i", "f"])
def test_a_handler_that_raises_ends_its_own_row_and_no_other(place, where):
    class Here(Failing):
        fails_in_finish = where == "f"

    with bench(Here, place, clock=Clock()) as here:
        bad = here.connect()
        row = here.row
        here.clock.seconds += 1
        good = here.connect()
        provoke(here, bad, where)
        assert len(here.errors) == 1
        assert isinstance(here.errors[0], Mishap)
        assert row.channel.reason is here.errors[0]
        assert Here.made[0].finished == 1
        good.sendall(b"x")
        assert here.take(good, 1) == b"x"
        bad.close()  # else the row lingers until the client has acknowledged its output
        here.until(lambda: len(here.table) == 1)


@pytest.mark.parametrize("where", ["s", "t", "d", "i", "f"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_system_exit_of_a_handler_leaves_run_and_the_table_is_consistent(place, where, kind):
    class Here(Failing):
        raised, fails_in_finish = kind, where == "f"

    with bench(Here, place, clock=Clock()) as here:
        bad = here.connect()
        here.clock.seconds += 1
        good = here.connect()
        with pytest.raises(kind):
            provoke(here, bad, where)
        here.last_words(bad)
        assert here.errors == []
        assert Here.made[0].finished == 1
        (row,) = here.table
        good.sendall(b"x")
        assert here.take(good, 1) == b"x"
        assert here.interest(row) == EVENT_READ
        assert len(here.selector.get_map()) == 2


@pytest.mark.parametrize("method", ["setup", "handle"])
@pytest.mark.parametrize("kind", [Mishap, KeyboardInterrupt])
def test_a_row_that_fails_as_it_begins_ends_alone(place, method, kind):
    def fail(self):
        raise kind

    before = descriptors()
    with bench(type("Stillborn", (StreamHandler,), {method: fail}), place) as here:
        client = connect(here.server)
        try:
            assert here.last_words(client) == b""
        except KeyboardInterrupt:
            assert kind is KeyboardInterrupt
            assert here.last_words(client) == b""
        here.until(lambda: not len(here.table))
        assert list(map(type, here.errors)) == [Mishap] * (kind is Mishap)
        client.close()
    assert descriptors() == before


def test_close_may_be_called_again_after_an_interrupt(place):
    class Rude(StreamHandler):
        async def handle(self):
            await Some()

        def interrupted(self, cause):
            raise KeyboardInterrupt

    with bench(Rude, place) as here:
        clients = [here.connect() for _ in range(3)]
        for _ in clients:
            with pytest.raises(KeyboardInterrupt):
                here.reactor.close()
        here.reactor.close()
        assert len(here.table) == 0
        assert [client.recv(10) for client in clients] == [b""] * 3


def test_an_interrupt_in_the_middle_of_a_send_sends_nothing_twice(place):
    """A signal handler may raise when the kernel has taken bytes and the result of ``send()`` is lost."""

    class Interrupted(socket.socket):
        exits = [KeyboardInterrupt]

        def send(self, data, flags=0):
            count = super().send(data, flags)
            if self.exits:
                raise self.exits.pop()
            return count

    with bench(Lines, place, Interrupted) as here:
        client = here.connect()
        client.sendall(b"one\n")
        with pytest.raises(KeyboardInterrupt):
            here.reactor.step()
        client.sendall(b"two\n")
        assert here.take(client, 8) == b"one\ntwo\n"


def test_the_last_output_of_a_cancelled_row_is_sent(place):
    class Polite(StreamHandler):
        async def handle(self):
            await Some()

        def interrupted(self, cause):
            self.send(type(cause).__name__.encode())

        def finish(self):
            self.send(b", bye")

    with bench(Polite, place) as here:
        client = here.connect()
        here.server.server_close()
        assert here.last_words(client) == b"Cancelled, bye"


@pytest.mark.parametrize("kind", [Mishap, GeneratorExit, KeyboardInterrupt])
def test_a_server_hook_that_raises_leaves_no_row_open(place, kind, caplog):
    """Only what is meant for the program leaves the step; other rows that ended in the batch are closed in the next."""
    with bench(Echo, place) as here:
        rows = [(here.connect(), here.row) for _ in range(3)]
        close_request, failures = here.server.close_request, [kind("of a hook")]

        def failing(request):
            close_request(request)
            if failures:
                raise failures.pop()

        here.server.close_request = failing
        for client, _ in rows:
            client.shutdown(socket.SHUT_WR)
        if kind is KeyboardInterrupt:
            with pytest.raises(kind):
                here.reactor.step()
            assert here.reactor.timeout() == 0
            assert caplog.messages == []
        here.until(lambda: len(here.table) == 0)
        assert [row.socket.fileno() for _, row in rows] == [-1, -1, -1]
        if kind is not KeyboardInterrupt:
            assert caplog.messages == [f"{type(here.server).__name__}.shutdown_request() has raised; the request ends"]


def test_a_row_whose_interest_the_selector_refuses_ends_and_is_unregistered():
    class Fixed(DefaultSelector):
        def modify(self, fileobj, events, data=None):
            if events & EVENT_WRITE:
                failing(errno.ENOMEM)()
            return super().modify(fileobj, events, data)

    class Flood(StreamHandler):
        def handle(self):
            return Some(), self.more

        def more(self, data):
            self.send(bytes(1 << 22))
            return self.handle()

    with bench(Flood, sndbuf=4096, selector=Fixed) as here:
        flooded, other = here.connect(rcvbuf=4096), here.connect()
        registered = len(here.selector.get_map())
        flooded.sendall(b"x")
        here.until(lambda: here.table.closed)
        assert "can't watch it" in here.table.closed[0]["reason"]
        assert len(here.selector.get_map()) == registered - 1
        assert len(here.table) == 1
        assert other.fileno() >= 0
