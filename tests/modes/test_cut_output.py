"""A client that lacks output which was dropped gets a reset, and no FIN, which would say that it has all.

It reads what the kernel of the server has sent before the reset; the rest is lost.
"""

import os
import socket

import pytest

from handlers import Connected, Delay, StreamHandler, StreamMachine, Until
from handlers.filter import Filter, chain
from reactor import SelectTCPServer
from reactor.testing import World
from tests.support.serving import MODES, PATIENCE, connect, rest, rest_of_cut, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")

SIZE = 200_000
LONG = 32 << 20  # more than all buffers of both kernels


class Sends(StreamHandler):
    """Answers a line with bytes; `whole` says whether the client gets all."""

    def handle(self):
        return Until(b"\n"), self.answer


class Whole(Sends):
    def answer(self, line):
        self.send(bytes(SIZE))


class TooShort(Sends):
    """Sends a file that has become shorter since its size was looked at."""

    def answer(self, line):
        self.send_file(open(os.devnull, "rb"), 0, SIZE)  # noqa: SIM115  # the row closes it


class TooLong(Sends):
    max_output = 50_000

    def answer(self, line):
        self.send(bytes(40_000))
        self.send(bytes(SIZE))


class Behind(Sends):
    """Sends to a client that does not read."""

    timeout = 0.3
    max_output = 2 * LONG

    def answer(self, line):
        self.send(bytes(LONG))


class Aborts(Sends):
    """Sends a part, and can't go on."""

    def answer(self, line):
        self.send(bytes(100))
        return Delay(0), self.fail

    def fail(self, _):
        self.abort()


CUT = [TooShort, TooLong, Behind, Aborts]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("filters", [[], [Filter]], ids=["plain", "filtered"])
@pytest.mark.parametrize("handler", CUT, ids=lambda handler: handler.__name__)
def test_output_that_is_dropped_ends_with_a_reset(handler, filters, mode):
    members = {"filters": filters, "handle_error": lambda *_: None}
    with serving(handler, mode, **members) as server, connect(server) as client:
        client.sendall(b"go\n")
        if handler is Behind:
            wait_until(lambda: len(server.reactor.table))
            wait_until(lambda: not len(server.reactor.table))
        rest_of_cut(client)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("filters", [[], [Filter]], ids=["plain", "filtered"])
def test_output_that_is_all_sent_ends_with_a_fin(filters, mode):
    with serving(Whole, mode, filters=filters) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert len(rest(client)) == SIZE


def test_a_server_that_closes_resets_what_it_has_not_sent():
    class Slow(Behind):
        timeout = PATIENCE

    with serving(Slow, "select") as server, connect(server) as client:
        client.sendall(b"go\n")
        wait_until(lambda: any(row.total_out for row in server.reactor.table))
        server.shutdown()
        server.server_close()
        rest_of_cut(client)


def test_a_connection_that_a_handler_has_opened_is_reset_too():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        class Calls(StreamHandler):
            timeout = PATIENCE

            async def handle(self):
                await Connected(listener.getsockname(), TooShort())

        with serving(Calls, "select", handle_error=lambda *_: None) as server, connect(server):
            called, _ = listener.accept()
            with called:
                called.settimeout(PATIENCE)
                called.sendall(b"go\n")
                rest_of_cut(called)


@pytest.mark.parametrize("thread", ["loop", "another"])
def test_another_request_or_thread_may_abort_a_request(thread):
    class Waits(StreamHandler):
        timeout = PATIENCE

        async def handle(self):
            self.send(b"begun\n")
            others.append(self)
            await Until(b"\n")

    others = []
    with serving(Waits, "select") as server, connect(server) as client:
        assert client.recv(100) == b"begun\n"
        [other] = others
        (server.reactor.call_soon(other.abort) if thread == "loop" else other.abort())
        assert rest_of_cut(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[-1]["reason"].startswith("Cancelled")


def test_what_a_request_that_has_ended_still_owes_is_dropped_too():
    class Owes(Sends):
        max_output = 2 * LONG

        def answer(self, line):
            ended.append(self)
            self.send(bytes(LONG))

    ended = []
    with serving(Owes, "select") as server, connect(server) as client:
        client.sendall(b"go\n")
        wait_until(lambda: ended and any(row.held_out for row in server.reactor.table))
        server.reactor.call_soon(ended[0].abort)
        wait_until(lambda: not len(server.reactor.table))  # although the client reads nothing
        assert len(rest_of_cut(client)) < LONG
        ended[0].abort()  # of a request that has gone


def test_an_abort_after_the_end_of_the_output_resets_nothing_that_is_whole():
    class Ends(Sends):
        def answer(self, line):
            self.send(b"all")
            self.send_eof()
            return Until(b"\n"), self.abort_late

        def abort_late(self, line):
            self.abort()

    with serving(Ends, "select") as server, connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == b"all"
        client.sendall(b"now\n")
        wait_until(lambda: server.reactor.table.closed)


class Goodbye(Filter):
    """Ends the wire with a word, as TLS does with ``close_notify``."""

    def farewell(self):
        self.put(b"goodbye")


@pytest.mark.parametrize(("handler", "is_whole"), [(Whole, True), (TooShort, False), (TooLong, False), (Aborts, False)])
def test_a_filter_does_not_end_the_wire_of_output_that_is_cut(handler, is_whole):
    channel = chain(StreamMachine(handler()), [Goodbye])
    channel.advance()
    channel.feed(b"go\n")
    if handler is Aborts:
        channel.inner.resume(None)
    sent = b"".join(iter(channel.read, b""))
    assert (channel.finished, channel.complete, sent.endswith(b"goodbye")) == (True, True, is_whole)


@pytest.mark.parametrize("handler", [TooShort, TooLong, Aborts])
def test_the_simulated_kernel_resets_too(handler):
    with World(1) as world:
        world.serve(SelectTCPServer, ("10.0.0.1", 80), type("Kind", (handler,), {}))
        client = world.connect(("10.0.0.1", 80)).send(b"go\n").expect_end()
        world.run()
    assert isinstance(client.error, ConnectionResetError)
    assert not client.ended
