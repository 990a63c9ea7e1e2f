"""A client that lacks output which was dropped gets a reset, and no FIN, which would say that it has all.

It reads what the kernel of the server has sent before the reset; the rest is lost.
"""

import os
import socket

import pytest

from handlers import Connected, StreamHandler, Until
from handlers.filter import Filter
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


CUT = [TooShort, TooLong, Behind]


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


@pytest.mark.parametrize("handler", [TooShort, TooLong])
def test_the_simulated_kernel_resets_too(handler):
    with World(1) as world:
        world.serve(SelectTCPServer, ("10.0.0.1", 80), type("Kind", (handler,), {}))
        client = world.connect(("10.0.0.1", 80)).send(b"go\n").expect_end()
        world.run()
    assert isinstance(client.error, ConnectionResetError)
    assert not client.ended
