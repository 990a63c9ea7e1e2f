"""Servers and loops that are run or closed from within themselves, or from another thread."""

import os
import socket
from contextlib import ExitStack

import pytest

from handlers import StreamHandler
from handlers.services import Echo
from reactor import Reactor
from tests.support.serving import (
    MODES,
    STREAMS,
    Reverse,
    Shout,
    ask,
    bounded,
    connect,
    made,
    rest,
    server_class,
    serving,
    wait_until,
)


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_serve_forever_within_serve_forever_is_an_error(mode):
    errors = []

    def serve(request, client, server):
        try:
            server.serve_forever()
        except RuntimeError as error:
            errors.append(str(error))

    with serving(serve, mode) as server, connect(server) as client:
        assert rest(client) == b""
    assert errors == ["serve_forever() is running already: a handler or a hook can't call it"]


@pytest.mark.parametrize("mode", ["select", "plain"])
@pytest.mark.parametrize("again", [lambda server: server.reactor.run(), lambda server: server.handle_request()])
def test_running_the_loop_within_a_state_is_an_error(mode, again):
    class Again(Echo):
        def handle(self):
            try:
                again(self.server)
            except RuntimeError as error:
                self.send(str(error).encode())

    with serving(Again, mode) as server:
        for _ in range(2):
            assert ask(server) == b"the loop runs already: a state returns what it waits for, and the loop goes on"


WHILE_IT_RUNS = " while the loop runs: stop() it, or shutdown() its server, and wait for its end"
NOT_CLOSED = f"server_close(){WHILE_IT_RUNS}; close(){WHILE_IT_RUNS}"


def closed(server):
    """The errors of closing the server and of closing its reactor."""
    with pytest.raises(RuntimeError) as one:
        server.server_close()
    with pytest.raises(RuntimeError) as other:
        server.reactor.close()
    return f"{one.value}; {other.value}"


class Closes(StreamHandler):
    def handle(self):
        self.send(closed(self.server).encode())


def close_it(request, client, server):
    request.sendall(closed(server).encode())


@pytest.mark.parametrize(("mode", "handler"), [
    ("select", Closes), *((mode, handler) for mode in ("plain", "fork", "thread") for handler in (Closes, close_it))
])  # fmt: skip
def test_closing_the_server_or_loop_within_a_handler_is_an_error(mode, handler):
    with serving(handler, mode) as server:
        for _ in range(2):
            assert ask(server).decode() == NOT_CLOSED


def test_closing_the_server_within_its_thread_is_an_error_on_a_shared_loop_too():
    with Reactor() as loop, serving(Closes, "thread", reactor=loop) as server:
        assert ask(server).decode() == NOT_CLOSED


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shared", [False, True])
def test_closing_a_server_that_serves_in_another_thread_ends_the_serving_first(mode, shared):
    with ExitStack() as stack:
        loop = stack.enter_context(Reactor()) if shared else None
        server = stack.enter_context(serving(Reverse, mode, reactor=loop))
        assert ask(server, b"5:hello,") == b"5:olleh,"
        wait_until(lambda: not server.reactor.table)  # else its row would count as that of the next client
        clients = (
            [] if mode == "plain" else [stack.enter_context(connect(server))]
        )  # the plain mode waits for its client
        wait_until(lambda: len(server.reactor.table) == len(clients))
        bounded(server.server_close)
        assert [rest(client) for client in clients] == [b""] * len(clients)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(server.server_address)


def test_closing_the_loop_of_a_server_that_serves_is_an_error():
    with serving(Shout, "select") as server:
        assert ask(server, b"serving?\n") == b"SERVING?\n"
        with pytest.raises(RuntimeError, match="while the loop runs"):
            server.reactor.close()
        assert ask(server, b"still?\n") == b"STILL?\n"


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_server_closes_while_a_request_goes_on_that_the_program_has_made(mode):
    def serve(request, client, server):
        request.recv(1)

    kind = server_class(mode, STREAMS["tcp"], block_on_close=False, daemon_threads=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with made(kind, STREAMS["tcp"], serve) as server:
            server.process_request(theirs, ("somewhere", 1))
            (row,) = server.reactor.table
            assert row.stage.value == "serving"
            server.server_close()
            assert server.fileno() < 0
        ours.sendall(b"x")
        if row.driven_by.pid:
            os.waitpid(row.driven_by.pid, 0)
