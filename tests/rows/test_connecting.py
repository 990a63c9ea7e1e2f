"""`Connected`: connections that a handler opens, in every mode."""

import errno
import os
import socket
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace

import pytest

from handlers import Cancelled, Connected, Delay, EndOfStream, Exactly, Failed, Flushed, Some, StreamHandler, TimedOut
from handlers.services import Echo
from reactor import Reactor
from tests.support.bench import Noting, bench
from tests.support.loops import Clock
from tests.support.outside import cancel_row, close_row, close_server, deaf, listening
from tests.support.resources import descriptors
from tests.support.serving import MODES, PATIENCE, STREAMS, connect, made, rest, server_class

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
TCP = STREAMS["tcp"]


class Far(Noting):
    """The far side: sends its input to the near side, no faster than that takes it."""

    def __init__(self, near):
        self.near = near

    async def handle(self):
        while True:
            self.near.send(await Some())
            await Flushed(of=self.near)

    def finish(self):
        super().finish()
        self.near.close()


class Near(Noting):
    """A proxy to the server's ``target``; answers with the failure if it can not connect."""

    async def handle(self):
        target = self.server.target
        try:
            far = await Connected(target, Far(self), timeout=self.server.patience)
        except Failed as failed:
            self.send(f"{type(failed.error).__name__}: {failed.error}".encode())
            return
        except TimedOut:
            self.send(b"timed out")
            return
        try:
            while True:
                far.send(await Some())
                await Flushed(of=far)
        except EndOfStream:
            far.send_eof()
            await Delay(PATIENCE)  # until the far side ends


@contextmanager
def proxy(target, patience=None, **options):
    Near.made.clear()
    Far.made.clear()
    with bench(Near, **options) as here:
        here.server.target = target
        here.server.patience = patience
        yield here


def accept(here, listener):
    """Accept the connection that a row has opened, when its row is in the table."""
    here.until(lambda: [row for row in here.table if row.handler == "Far"])
    sock, _ = listener.accept()
    here.clients.append(sock)
    return sock


@pytest.fixture
def closed_port():
    """The address of a port without a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


def test_two_rows_feed_each_other():
    with listening() as listener, proxy(listener.getsockname()) as here:
        client = here.connect()
        upstream = accept(here, listener)
        for words in (b"there", b"and there again"):
            client.sendall(words)
            assert here.take(upstream, len(words)) == words
            upstream.sendall(words[::-1])
            assert here.take(client, len(words)) == words[::-1]
        near, far = here.table
        assert [row.serial for row in (near, far)] == [1, 2]
        assert [row.handler for row in (near, far)] == ["Near", "Far"]
        assert far.as_dict()["peer"] == "{}:{}".format(*listener.getsockname())
        assert str(far.driven_by) == "loop"
        assert far.server is here.server
        client.shutdown(socket.SHUT_WR)
        assert here.last_words(upstream) == b""
        upstream.sendall(b"last words")
        upstream.close()
        assert here.last_words(client) == b"last words"
        here.until(lambda: not len(here.table))
        assert here.errors == []


@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_a_filter_that_can_not_be_made_is_a_failure(family, tmp_path):
    def wrong(channel):
        raise ValueError("no filter")

    class Opening(StreamHandler):
        async def handle(self):
            while True:
                await Some()
                with pytest.raises(Failed, match="ValueError: no filter"):
                    await Connected(target, Echo(), filters=[wrong])
                self.send(b"failed")

    address = ("127.0.0.1", 0) if family == "tcp" else str(tmp_path / "socket")
    with (
        socket.socket(getattr(socket, "AF_INET" if family == "tcp" else "AF_UNIX")) as listener,
        bench(Opening) as here,
    ):
        listener.bind(address)
        listener.listen()
        target = listener.getsockname()
        client = here.connect()
        before = descriptors()
        for _ in range(2):
            client.sendall(b"again")
            assert here.take(client, 6) == b"failed"
        assert descriptors() == before
        assert here.errors == []


@pytest.mark.slow
def test_a_side_that_does_not_read_holds_back_the_other():
    with listening() as listener, proxy(listener.getsockname()) as here:
        client = here.connect()
        upstream = accept(here, listener)
        near, far = here.table
        sent = here.flood(client)
        assert near.total_in < len(sent)
        assert far.held_out <= 65_536
        assert here.interest(near) == 0
        assert here.take(upstream, len(sent)) == sent
        client.sendall(b"more")
        assert here.take(upstream, 4) == b"more"
        back = here.flood(upstream)
        assert near.held_out <= 65_536
        assert here.take(client, len(back)) == back


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_is_opened_in_every_mode(mode):
    class Deliver(StreamHandler):
        async def handle(self):
            word = await Some()
            far = await Connected(self.server.target, Quiet())
            far.send(b"delivered: " + word)
            self.send(b"done")

    class Quiet(StreamHandler):
        async def handle(self):
            await Delay(0)

    with listening() as listener:
        kind = server_class(mode, TCP, target=listener.getsockname(), timeout=PATIENCE)
        with made(kind, TCP, Deliver) as server, connect(server) as client:
            client.sendall(b"word")
            server.handle_request()
            assert rest(client) == b"done"
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(PATIENCE)
            assert rest(sock) == b"delivered: word"


@pytest.mark.parametrize("mode", MODES)
def test_a_refused_connection_is_a_failure_in_every_mode(mode, closed_port):
    kind = server_class(mode, TCP, target=closed_port, patience=None, timeout=PATIENCE)
    with made(kind, TCP, Near) as server, connect(server) as client:
        server.handle_request()
        assert rest(client).startswith(b"ConnectionRefusedError")


def test_all_addresses_of_a_host_name_are_tried():
    with listening() as listener, proxy(("localhost", listener.getsockname()[1])) as here:
        client = here.connect()
        upstream = accept(here, listener)
        client.sendall(b"word")
        assert here.take(upstream, 4) == b"word"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("/nowhere/to/be/found", b"FileNotFoundError"),
        ("/" + "x" * 300, b"OSError"),
        (("name.invalid", 80), b"gaierror"),
        (("é..invalid", 80), b""),
        (("x" * 100 + ".invalid", 80), b""),
        (["127.0.0.1", 80], b"TypeError"),
    ],
    ids=["no path", "long path", "unknown name", "no name", "long name", "no address"],
)
def test_a_connection_that_can_not_be_opened_is_a_failure(address, error):
    with proxy(address) as here:
        client = connect(here.server)
        here.clients.append(client)
        words = here.last_words(client)
        assert words.startswith(error)
        assert words
        assert here.errors == []


def test_opening_a_connection_has_a_timeout():
    with deaf() as address, proxy(address, patience=0.1) as here:
        client = connect(here.server)
        here.clients.append(client)
        assert here.last_words(client) == b"timed out"
        assert Far.made == []
        assert here.errors == []


@pytest.mark.parametrize("end", [close_row, cancel_row, close_server])
def test_a_connection_that_is_being_opened_ends_with_its_row(end):
    with deaf() as address, proxy(address) as here:
        client = here.connect()
        before = len(descriptors())
        end(here, client)
        here.until(lambda: not len(here.table))
        assert here.last_words(client) == b""
        assert before - len(descriptors()) == (3 if end is close_server else 2)
        assert Near.made[0].causes == ([] if end is close_row else Near.made[0].causes[:1])
        assert all(isinstance(cause, Cancelled) for cause in Near.made[0].causes)
        assert Far.made == []
        assert not here.reactor.watches


def test_a_full_backlog_of_a_unix_socket_is_waited_for_without_spinning(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, proxy(path) as here, ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        queued = 0
        while True:
            sock = stack.enter_context(socket.socket(socket.AF_UNIX))
            sock.setblocking(False)
            if sock.connect_ex(path):
                break
            queued += 1
        client = here.connect()
        steps = 0
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            here.reactor.step(0.5)
            steps += 1
        assert steps < 50
        for _ in range(queued):
            listener.accept()[0].close()
        listener.settimeout(PATIENCE)
        upstream = accept(here, listener)
        client.sendall(b"word")
        assert here.take(upstream, 4) == b"word"


def test_an_address_for_which_the_kernel_has_no_room_is_tried_again_before_the_next():
    """EAGAIN of other families than Unix: see connect(2)."""

    class Busy(socket.socket):
        tried = []

        def connect(self, address):
            self.tried.append(address)
            if len(self.tried) == 1:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            super().connect(address)

    with listening() as first, listening() as second:
        places = [first.getsockname(), second.getsockname()]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        network = SimpleNamespace(**{**vars(socket), "socket": Busy, "getaddrinfo": lambda *_, **__: found})
        with proxy(("two.example", 80), reactor_class=partial(Reactor, network=network)) as here:
            client = here.connect()
            upstream = accept(here, first)
            client.sendall(b"word")
            assert here.take(upstream, 4) == b"word"
    assert Busy.tried == places[:1] * 2


@pytest.mark.parametrize("method", ["setup", "handle", "finish"])
def test_an_exception_in_an_opened_row_is_reported_and_ends_that_row_only(method):
    class Mishap(Exception):
        pass

    def fail(self):
        raise Mishap

    class Opening(StreamHandler):
        async def handle(self):
            await Connected(self.server.target, broken())
            while True:
                self.send(await Exactly(4))

    broken = type("Broken", (Echo,), {method: fail})
    with listening() as listener, bench(Opening) as here:
        here.server.target = listener.getsockname()
        client = here.connect()
        upstream, _ = listener.accept()
        upstream.shutdown(socket.SHUT_WR)
        assert here.last_words(upstream) == b""
        upstream.close()
        here.until(lambda: len(here.errors) == 1)
        assert isinstance(here.errors[0], Mishap)
        client.sendall(b"word")
        assert here.take(client, 4) == b"word"
        assert [row.handler for row in here.table] == ["Opening"]


def test_rows_that_a_handler_opened_end_with_the_server():
    with listening() as listener, proxy(listener.getsockname()) as here:
        client = here.connect()
        upstream = accept(here, listener)
        here.server.server_close()
        assert len(here.table) == 0
        assert client.recv(10) == upstream.recv(10) == b""
        assert {type(cause) for handler in Near.made + Far.made for cause in handler.causes} == {Cancelled}


def test_connecting_to_a_path_on_a_host_without_unix_sockets_is_a_failure(monkeypatch):
    class Asking(StreamHandler):
        async def handle(self):
            await Some()
            try:
                await Connected("/a/path", Echo())
            except Failed as failed:
                self.send(str(failed.error).encode())

    with bench(Asking) as here, monkeypatch.context() as lacking:
        client = here.connect()
        lacking.delattr(socket, "AF_UNIX")
        client.sendall(b"go")
        assert here.last_words(client) == b"'/a/path': this host has no Unix sockets"


def test_a_connection_that_opens_as_its_timeout_expires_is_closed():
    ended = []

    class Far(StreamHandler):
        def handle(self):
            return Some(), self.handle

        def finish(self):
            ended.append("far")

    class Near(StreamHandler):
        async def handle(self):
            await Some()
            try:
                await Connected(upstream.getsockname(), Far(), timeout=5)
            except TimedOut:
                self.send(b"too late")

    clock = Clock()
    with socket.create_server(("127.0.0.1", 0)) as upstream, bench(Near, clock=clock) as here:
        client = here.connect()
        client.sendall(b"go")
        here.until(lambda: here.row.as_dict()["wait"].startswith("Connected"))
        clock.seconds += 10
        assert here.last_words(client) == b"too late"
        assert ended == ["far"]


def test_one_handler_is_refused_to_a_second_connection_at_once():
    class Shares(StreamHandler):
        async def handle(self):
            await Exactly(2)
            await Connected(self.server.target, shared)
            while True:
                self.send(await Exactly(4))

    shared = Echo()
    with listening() as listener, bench(Shares) as here:
        here.server.target = listener.getsockname()
        clients = [here.connect(), here.connect()]
        for client in clients:  # both begin in one batch, before either is connected
            client.sendall(b"go")
        here.until(lambda: here.errors)
        assert "this Echo has a request already; make a new one" in str(here.errors[0])
        upstream, _ = listener.accept()
        with upstream:
            clients[0].sendall(b"word")
            assert here.take(clients[0], 4) == b"word"
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_a_handler_that_got_no_connection_may_be_given_to_another():
    class Tries(StreamHandler):
        async def handle(self):
            far = Echo()
            for target in self.server.targets:
                try:
                    await Connected(target, far)
                    break
                except Failed:
                    self.send(b"not ")
            self.send(b"there")

    with listening() as listener, listening() as other, bench(Tries) as here:
        here.server.targets = [other.getsockname(), listener.getsockname()]
        other.close()
        client = here.connect()
        assert here.take(client, 9) == b"not there"
