"""The accept queue of a stream server: connections that vanish, and hosts that are short of descriptors."""

import errno
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from handlers import StreamRequestHandler
from handlers.services import Echo
from reactor import Reactor, SelectMixIn, SelectTCPServer, TCPServer, ThreadingTCPServer
from reactor.loop.loop import PROMPT
from reactor.servers.arrivals import TURNS, BatchSize
from reactor.servers.tcp import QUEUE
from tests import ROOT
from tests.support.bench import bench
from tests.support.loops import Clock, until
from tests.support.serving import PATIENCE, connect, rest


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


class Mixed(SelectMixIn, TCPServer):
    """A server class as users of socketserver mix it."""


class Said(Mixed):
    request_queue_size = 5


class SaidByServer(Mixed):
    def __init__(self, *arguments):
        self.request_queue_size = 7
        super().__init__(*arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the length of an accept queue")
@pytest.mark.parametrize(("kind", "length"), [
    (TCPServer, 5), (Mixed, QUEUE), (Said, 5), (SaidByServer, 7), (SelectTCPServer, QUEUE),
])  # fmt: skip
def test_the_accept_queue_is_long_where_the_loop_drives_unless_a_length_is_said(kind, length):
    def length_of(listener):
        told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
        return int.from_bytes(told[28:], sys.byteorder)  # tcpi_sacked: of a listener it is this

    with kind(("127.0.0.1", 0), Echo) as server, socket.create_server(("127.0.0.1", 0), backlog=length) as other:
        assert length_of(server.socket) == length_of(other)


class Vanishing(socket.socket):
    """A listener of which some connections are gone before they are accepted."""

    gone = 0

    def accept(self):
        if self.gone:
            self.gone -= 1
            raise ConnectionAbortedError
        return super().accept()


def test_a_connection_that_has_gone_hides_none_behind_it_from_a_drain():
    with SelectTCPServer(("127.0.0.1", 0), Echo) as server:
        server.socket = Vanishing(fileno=server.socket.detach())
        server.socket.gone = 3
        with connect(server) as client:
            client.sendall(b"word")
            client.shutdown(socket.SHUT_WR)
            assert server.drain(PATIENCE) == []
            assert rest(client) == b"word"


@pytest.mark.parametrize("default", [None, 7.0])
def test_a_connection_has_the_default_timeout_whatever_the_class_of_the_listener(default):
    class Tells(StreamRequestHandler):
        def handle(self):
            self.wfile.write(f"{self.connection.gettimeout()}".encode())

    with TCPServer(("127.0.0.1", 0), Tells) as server:
        server.socket = Vanishing(fileno=server.socket.detach())
        with connect(server) as client:
            socket.setdefaulttimeout(default)
            try:
                server.handle_request()
            finally:
                socket.setdefaulttimeout(None)
            assert rest(client) == f"{default}".encode()


def attempts(server, number):
    """Connect so many clients at once, step until all are taken: the attempts that the server makes in each step."""
    reactor, before, made = server.reactor, server._srv.take_attempts, []
    clients = [connect(server) for _ in range(number)]
    while len(reactor.table) < number:
        assert len(made) < number
        reactor.step(0)
        made.append(server._srv.take_attempts - before - sum(made))
    reactor.step(0)
    assert server._srv.take_attempts == before + sum(made)  # nothing is left, so nothing is ready
    for client in clients:
        client.close()
    until(reactor, lambda: not reactor.table)
    return made


def test_connections_that_come_one_by_one_are_taken_without_an_attempt_in_vain():
    with Reactor() as reactor, SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server:
        assert [attempts(server, 1) for _ in range(4)] == [[1]] * 4


def test_many_connections_at_once_are_taken_in_few_batches_of_which_none_is_larger_than_the_mode_allows():
    with Reactor() as reactor, SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server:
        assert attempts(server, 100) == [1, 2, 4, 8, 16, 32, 38]  # the last one is in vain
        assert attempts(server, 37) == [37]  # as many as the last time
        assert attempts(server, 1) == [2]
        assert [attempts(server, number) for number in (1, 8, 1)] == [[1], [1, 2, 4, 2], [1]]
        assert [attempts(server, 127), attempts(server, 1)] == [[1, 2, 4, 8, 16, 32, 64], [2]]
        assert attempts(server, 128)[-2:] == [64, 2]  # 64: the batch of select mode


@pytest.mark.parametrize("members", [{}, {"verify_request": lambda server, request, client_address: True}])
def test_after_stop_serving_in_a_state_no_other_connection_of_the_batch_is_taken(members):
    class Stopping(Echo):
        def setup(self):
            begun.append(self)
            if len(begun) == 40:
                self.server.stop_serving()

    begun = []
    kind = type("Server", (SelectTCPServer,), {"request_queue_size": 100, **members})
    with Reactor() as loop, kind(("127.0.0.1", 0), Stopping, reactor=loop) as server, ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(server))
        until(loop, lambda: len(begun) >= 40)
        assert len(begun) == 40


class Counted(StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"served")


def in_turn(handler, number, **members):
    """Connect so many clients to a server in plain mode, and step until all are served: those of each step."""
    clock, batches = Clock(), []
    kind = type("Server", (TCPServer,), {"request_queue_size": 100, **members})
    with Reactor(clock=clock) as loop, kind(("127.0.0.1", 0), handler, reactor=loop) as server, ExitStack() as stack:
        server.clock = clock
        clients = [stack.enter_context(connect(server)) for _ in range(number)]
        while sum(batches) < number and (not batches or batches[-1]):
            before = loop.stats()["ended"].get("", 0)
            loop.step(0)
            batches.append(loop.stats()["ended"].get("", 0) - before)
        for client in clients[: sum(batches)]:
            assert rest(client) == b"served"
    return batches


def test_in_plain_mode_short_connections_are_served_many_in_one_batch():
    assert in_turn(Counted, 50) == [1, 2, 4, 8, TURNS, TURNS, 3]


def test_in_plain_mode_a_request_that_takes_long_ends_the_batch():
    class Slow(Counted):
        def handle(self):
            super().handle()
            self.server.clock.seconds += PROMPT / 3

    assert in_turn(Slow, 9) == [1, 2, 3, 3]


@pytest.mark.parametrize("end", [
    lambda server: server.shutdown(), lambda server: server.stop_serving(), lambda server: server.reactor.stop(),
])  # fmt: skip
def test_in_plain_mode_no_other_connection_of_the_batch_is_served_after_the_end_of_serving(end):
    class Ending(Counted):
        def handle(self):
            super().handle()
            served.append(self)
            if len(served) == 5:
                end(self.server)

    served = []
    with TCPServer(("127.0.0.1", 0), Ending) as server, ExitStack() as stack:
        server.socket.listen(20)
        for _ in range(20):
            stack.enter_context(connect(server))
        server.serve_forever()
        assert len(served) == 5


def test_in_plain_mode_overridden_service_actions_are_called_after_each_request():
    def service_actions(server):
        numbers.append(len(served))
        if len(served) == 20:
            server.shutdown()

    class Noted(Counted):
        def handle(self):
            super().handle()
            served.append(self)

    numbers, served = [], []
    kind = type("Server", (TCPServer,), {"service_actions": service_actions})
    with kind(("127.0.0.1", 0), Noted) as server, ExitStack() as stack:
        server.socket.listen(20)
        for _ in range(20):
            stack.enter_context(connect(server))
        server.serve_forever(0.01)
    assert numbers == list(range(21))


def test_attempts_in_vain_become_rarer():
    size, attempts = BatchSize(), []
    for batch in range(100, 160):
        if size.expect(batch, 64) > 1:
            size.exhausted(1)
            attempts.append(batch)
    assert attempts == [101, 104, 109, 118, 127, 136, 145, 154]


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


class Inherits(socket.socket):
    """A listener of the BSDs: accept(2) copies O_NONBLOCK from the listener to the connection."""

    def accept(self):
        connection, address = super().accept()
        os.set_blocking(connection.fileno(), os.get_blocking(self.fileno()))
        return connection, address


class Speaks(StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline())


@pytest.mark.parametrize("base", [TCPServer, ThreadingTCPServer])
def test_a_blocking_handler_has_a_connection_that_blocks_although_its_listener_does_not(base):
    class Quiet(base):
        def handle_error(self, request, client_address):
            pass  # the client shows it

    network = SimpleNamespace(socket=Inherits, socketpair=socket.socketpair)
    with Reactor(network=network) as reactor, Quiet(("127.0.0.1", 0), Speaks, reactor=reactor) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with connect(server) as client:
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):  # its handler waits
                    client.recv(1)
                client.settimeout(PATIENCE)
                client.sendall(b"line\n")
                assert client.recv(9) == b"line\n"
        finally:
            server.shutdown()
            thread.join()


PATCHED = r"""
import select, socket, sys, threading

class Green:
    # As the socket classes of gevent and eventlet: no subclass of the interpreter's, and waits although the descriptor
    # does not block.

    def __init__(self, *arguments, **named):
        self.real = Real(*arguments, **named)

    def accept(self):
        waits = self.real.gettimeout() is None
        if waits:
            select.select([self.real], [], [])
        connection, address = self.real.accept()  # which makes a Green
        return connection if waits else connection.real, address

    def recv(self, *arguments):
        return self.real.recv(*arguments)

    def __getattr__(self, name):
        return getattr(self.real, name)

Real, socket.socket = socket.socket, Green

import reactor
from handlers import StreamHandler, StreamRequestHandler, Until

class Lines(StreamHandler):
    async def handle(self):
        self.send(await Until(b"\n"))

class Line(StreamRequestHandler):
    request = Until(b"\n")

    def handle(self):
        assert type(self.request) is not Real
        self.wfile.write(self.rfile.readline())

server = getattr(reactor, sys.argv[1])(("127.0.0.1", 0), {"Lines": Lines, "Line": Line}[sys.argv[2]])
thread = threading.Thread(target=server.serve_forever)
thread.start()
for _ in range(2):
    with Real() as client:
        client.settimeout(3)
        client.connect(server.server_address)
        client.sendall(b"x\n")
        print(client.recv(9))
server.shutdown()
thread.join()
server.server_close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("server", ["TCPServer", "ThreadingTCPServer", "SelectTCPServer"])
@pytest.mark.parametrize("handler", ["Lines", "Line"])
def test_a_socket_class_whose_accept_waits_holds_up_no_loop(server, handler):
    done = subprocess.run(
        [sys.executable, "-c", PATCHED, server, handler], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'x\\n'\n" * 2, "")
