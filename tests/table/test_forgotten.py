"""What a row holds is freed with the row, without the garbage collector; how it has ended can still be asked."""

import gc
import socket
import weakref
from contextlib import contextmanager

import pytest

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    Packet,
    StreamHandler,
    StreamRequestHandler,
    Threaded,
    Until,
)
from handlers.filter import Filter
from tests.support.serving import PACKETS, connect, exchange, reset, rest, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

every_mode = pytest.mark.parametrize("mode", ["select", "thread", "plain"])


class Payload:
    """Stands for what a request holds: a handler has one, and there is no other reference to it."""


@contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Kept(StreamHandler):
    """Each test says what it does."""

    gone: list

    def __init_subclass__(cls):
        cls.gone = []  # references to the instances and to what they hold

    def setup(self):
        self.payload = Payload()
        self.gone += [weakref.ref(self), weakref.ref(self.payload)]


class KeptPackets(DatagramHandler):
    gone: list

    def __init_subclass__(cls):
        cls.gone = []

    def setup(self):
        self.payload = Payload()
        self.gone += [weakref.ref(self), weakref.ref(self.payload)]


def all_gone(kind):
    return bool(kind.gone) and not any(one() for one in kind.gone)


def told(server, handler, act):
    """Have a client ``act`` on its connection, and wait until the row is freed. Its record in ``table.closed``."""
    with connect(server) as client:
        act(client)
        wait_until(lambda: server.reactor.table.closed)
        wait_until(lambda: all_gone(handler), "the handler and what it holds are freed")
    return server.reactor.table.closed[-1]


class Finishes(Kept):
    async def handle(self):
        self.send(await Until(b"\n"))


class States(Kept):
    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.send(data)


class Raises(Kept):
    async def handle(self):
        try:
            await Until(b"\n")
            self.inner()
        except KeyError as error:
            raise ValueError("of the handler") from error

    def inner(self):
        mine = self.payload
        raise KeyError(mine)


class Truncated(Kept):
    async def handle(self):
        await Exactly(1_000_000)


class Works(Kept):
    async def handle(self):
        await Until(b"\n")
        await Threaded(self.work)
        await Delay(0.001)

    def work(self):
        self.send(b"from a thread")


ENDS = {
    "finished": (Finishes, lambda client: client.sendall(b"x\n"), ""),
    "finished, with states": (States, lambda client: client.sendall(b"x\n"), ""),
    "an exception": (Raises, lambda client: client.sendall(b"x\n"), "ValueError: of the handler"),
    "the end of the stream": (
        Truncated, lambda client: (client.sendall(b"x" * 1000), client.shutdown(socket.SHUT_WR)), "EndOfStream",
    ),
    "a reset": (Truncated, lambda client: (client.sendall(b"x" * 1000), reset(client)), "Reset"),
    "work in a thread": (Works, lambda client: client.sendall(b"x\n"), ""),
}  # fmt: skip


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("filters", [[], [Filter]], ids=["no filter", "a filter"])
@pytest.mark.parametrize("end", ENDS)
def test_a_row_is_freed_with_all_that_it_holds(mode, filters, end):
    base, act, reason = ENDS[end]
    handler = type("Handler", (base,), {})
    quiet = {"handle_error": lambda server, request, peer: None}
    with no_collector(), serving(handler, mode, filters=filters, **quiet) as server:
        record = told(server, handler, act)
    assert record["reason"].startswith(reason)


@pytest.mark.parametrize("mode", ["select", "thread", "plain"])
def test_the_request_of_an_exchange_is_freed(mode):
    class Twice(KeptPackets):
        async def handle(self):
            self.send(2 * await Packet())

    with no_collector(), serving(Twice, mode, PACKETS["udp"]) as server:
        assert exchange(server, b"a", b"b") == [b"aa", b"bb"]
        wait_until(lambda: all_gone(Twice))


@every_mode
def test_a_call_and_a_connection_that_a_request_has_opened_are_freed_with_it(mode):
    class Called(KeptPackets):
        async def handle(self):
            self.send(await Packet())

    class Upstream(Kept):
        async def handle(self):
            await Until(b"\n")

    class Opener(Kept):
        async def handle(self):
            await Until(b"\n")
            self.call(Called(), b"x", self.send)
            other = await Connected(self.server.upstream, Upstream())
            await Flushed(other)

    with (
        no_collector(),
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(Opener, mode, upstream=listener.getsockname()) as server,
    ):
        told(server, Opener, lambda client: (client.sendall(b"x\n"), client.shutdown(socket.SHUT_WR)))
        wait_until(lambda: all_gone(Called))
        listener.accept()[0].close()
        wait_until(lambda: all_gone(Upstream))


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_a_request_that_waits_for_the_output_of_another_and_gives_up_is_freed(mode):
    class Waits(Kept):
        async def handle(self):
            await Until(b"\n")
            await Flushed(self.server.hub, timeout=0.01)

    class Hub(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.send(bytes(8_000_000))
            self.server.hub = self  # now, for before that there was nothing to wait for
            await Delay(60)

    with no_collector(), serving(Hub, mode, hub=None) as server, connect(server) as slow:
        slow.sendall(b"x\n")
        wait_until(lambda: server.hub is not None)
        server._srv.handler = Waits
        record = told(server, Waits, lambda client: client.sendall(b"x\n"))
        assert record["reason"].startswith("TimedOut")
        reset(slow)


@pytest.mark.parametrize("filters", [[], [Filter]], ids=["no filter", "a filter"])
@pytest.mark.parametrize("mode", ["thread", "plain"])
def test_a_blocking_handler_that_raises_is_freed(mode, filters):
    gone = []

    class Blocking(StreamRequestHandler):
        def handle(self):
            self.payload = Payload()
            gone.append(weakref.ref(self.payload))
            self.rfile.readline()
            raise ValueError

        def finish(self):
            """Leaves the files as they are."""

    quiet = {"handle_error": lambda server, request, peer: None}
    with no_collector(), serving(Blocking, mode, filters=filters, **quiet) as server:
        with connect(server) as client:
            client.sendall(b"x\n")
            wait_until(lambda: server.reactor.table.closed)
        wait_until(lambda: not any(one() for one in gone))
    assert gone


@pytest.mark.parametrize("mode", ["thread", "plain"])
def test_the_loops_of_requests_are_freed_but_for_one_which_is_freed_with_the_server(mode):
    loops = []

    class Noting(Finishes):
        def setup(self):
            super().setup()
            loops.append(weakref.ref(self._machine.driver.reactor))

    def left():
        return {loop for one in loops if (loop := one()) is not None}

    def ask_thrice():
        with serving(Noting, mode) as server:
            for _ in range(3):
                told(server, Noting, lambda client: client.sendall(b"x\n"))
            wait_until(lambda: len(server.reactor.table.closed) == 3)
            wait_until(lambda: len(left()) <= 1)
            assert not any(loop.table for loop in left())

    with no_collector():
        ask_thrice()
        wait_until(lambda: not left())
    assert len(loops) == 3


@every_mode
def test_what_a_handler_and_its_row_tell_after_the_end(mode):
    class Remembered(StreamHandler):
        async def handle(self):
            self.server.kept = self, self._machine.driver
            await Exactly(10)

    with serving(Remembered, mode) as server:
        with connect(server) as client:
            peer = client.getsockname()
            client.sendall(b"x")
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        wait_until(lambda: isinstance(server.kept[1].channel.handler, type))
        handler, row = server.kept
        assert (handler.peer, handler.server, handler.principal) == (peer, server, None)
        assert isinstance(handler.reason, EndOfStream)
        assert handler.now() > 1e9
        handler.send(b"too late")
        handler.close()
        handler.call(KeptPackets(), b"", handler.send)
        assert (handler.held_in, row.held_in, row.held_out) == (0, 0, 0)
        assert (row.handler, row.state, row.wait, row.reason) == ("Remembered", "finished", "", handler.reason)
        assert row.stage.value == "ended"
