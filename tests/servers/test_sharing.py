"""A server whose kernel objects others share: forked copies, two threads, options that the user has set."""

import os
import select
import socket
from contextlib import contextmanager
from functools import partial

import pytest

from handlers import StreamHandler, Until
from handlers.services import Echo, EchoDatagram
from reactor import (
    Reactor,
    SelectTCPServer,
    SelectUnixDatagramServer,
    SelectUnixStreamServer,
    StreamRequestHandler,
    TCPServer,
)
from reactor.servers.sharing import PAUSE, share_listeners
from tests.support.loops import Clock
from tests.support.resources import descriptors
from tests.support.serving import (
    PATIENCE,
    STREAMS,
    ask,
    bounded,
    clients_of,
    connect,
    made,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # a test forks beside a thread
MODES = ["select", "plain", "fork", "thread"]


def in_child(work):
    """The exit status of a child that does the work."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(bounded(os.waitpid, pid, 0)[1])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["server_close", "shutdown", "drain"])
def test_a_copy_in_a_child_of_the_user_only_closes_descriptors(mode, end):
    def end_copy():
        if end == "drain":
            assert server.drain(0.1) == []
        else:
            getattr(server, end)()
        assert (server.fileno() < 0) == (end != "shutdown")

    with serving(Echo, mode) as server, connect(server) as client:
        if mode != "plain":  # which serves one client at a time
            client.sendall(b"before")
            assert client.recv(9) == b"before"
        assert in_child(end_copy) == 0
        client.sendall(b"after")
        assert client.recv(9) == b"after"
        client.close()
        assert ask(server, b"another") == b"another"


def test_a_copy_of_the_loop_in_a_child_of_the_user_closes_the_copies_of_descriptors():
    with serving(Echo, "select") as server, connect(server) as client:
        client.sendall(b"before")
        assert client.recv(9) == b"before"

        def close_copy():
            before = descriptors()
            server.reactor.close()
            assert len(descriptors()) < len(before)

        assert in_child(close_copy) == 0
        client.sendall(b"after")
        assert client.recv(9) == b"after"


def test_a_second_serve_forever_is_refused_at_once():
    with serving(Echo, "select") as server:
        wait_until(lambda: server.reactor.running)
        with pytest.raises(RuntimeError, match="another thread runs serve_forever"):
            server.serve_forever()
        assert ask(server, b"x") == b"x"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("timeout", [0, 1e-9])
def test_handle_request_looks_once_whatever_its_timeout(mode, timeout):
    class Line(StreamRequestHandler):
        request = Until(b"\n")

        def handle(self):
            self.wfile.write(self.rfile.readline())

    kind = server_class(mode, STREAMS["tcp"], timeout=timeout)
    with made(kind, STREAMS["tcp"], Line) as server, connect(server) as client:
        client.sendall(b"x\n")
        client.settimeout(0.01)
        for _ in range(int(PATIENCE / 0.01)):
            server.handle_request()
            try:
                answer = client.recv(9)
                break
            except TimeoutError:
                pass
        assert answer == b"x\n"


def test_what_server_bind_has_set_stays():
    class Only(TCPServer):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    with Only(("::1", 0), Echo) as server:
        assert server.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


@pytest.mark.parametrize("kind", [SelectUnixStreamServer, SelectUnixDatagramServer])
def test_reuse_port_is_for_families_with_ports(kind, tmp_path):
    class Reusing(kind):
        allow_reuse_port = True

    handler = Echo if kind is SelectUnixStreamServer else EchoDatagram
    with Reusing(str(tmp_path / "path"), handler) as server:
        assert os.path.exists(server.server_address)


@pytest.mark.parametrize("address", [(), (1,), (None, 0), "name", {"a": 1}, None], ids=repr)
def test_any_object_may_be_a_client_address(address):
    class Own(SelectTCPServer):
        def get_request(self):
            return super().get_request()[0], address

    with made(Own, STREAMS["tcp"], Echo) as server, running(server):
        assert ask(server, b"x") == b"x"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("blocking", [False, True])
def test_a_partial_of_a_handler_class_is_a_handler(mode, blocking):
    class Words(StreamHandler):
        def __init__(self, word):
            self.word = word

        async def handle(self):
            self.send(self.word + await Until(b"\n"))

    class Blocking(StreamRequestHandler):
        request = Until(b"\n")

        def __init__(self, *arguments, word):
            self.word = word
            super().__init__(*arguments)

        def handle(self):
            self.wfile.write(self.word + self.rfile.readline())

    with serving(partial(Blocking if blocking else Words, word=b"w"), mode) as server:
        assert ask(server, b"x\n") == b"wx\n"


def test_a_worker_with_more_than_its_share_leaves_connections_to_the_others_for_a_moment():
    clock, counts = Clock(), memoryview(bytearray(16)).cast("q")
    with Reactor(clock=clock) as loop, SelectTCPServer(("127.0.0.1", 0), Echo, reactor=loop) as server:
        share_listeners([server], counts, 0)
        with clients_of(server, 6):

            def taken():
                for _ in range(3):
                    loop.step(0)
                assert counts[0] == len(loop.table)
                return counts[0]

            assert taken() == 2  # the other worker has none
            clock.seconds += 2 * PAUSE
            assert taken() == 3
            assert taken() == 3
            counts[1] = 3
            clock.seconds += 2 * PAUSE
            assert taken() == 5


@contextmanager
def sharing(rows):
    """The clock, the loop and the server of a worker, with the counts; another worker has so many rows."""
    clock, counts = Clock(), memoryview(bytearray(16)).cast("q")
    counts[1] = rows
    with Reactor(clock=clock) as loop, SelectTCPServer(("127.0.0.1", 0), Echo, reactor=loop) as server:
        share_listeners([server], counts, 0)
        yield clock, loop, server, counts


@pytest.mark.parametrize(("rows", "share"), [(7, 9), (8, 11), (15, 18), (16, 20)])
def test_the_share_of_a_worker_may_be_an_eighth_and_two_more_than_that_of_another(rows, share):
    with sharing(rows) as (_, loop, server, counts), clients_of(server, share + 1):
        for _ in range(share + 1):
            loop.step(0)
        assert counts[0] == share


def test_a_worker_goes_on_at_once_when_it_has_no_more_than_its_share():
    with sharing(7) as (_, loop, server, counts), clients_of(server, 10) as clients:
        for _ in range(10):
            loop.step(0)
        clients[0].close()
        for _ in range(3):
            loop.step(0)
        assert (len(loop.table.closed), counts[0]) == (1, 9)


def test_a_worker_that_still_has_more_than_its_share_when_a_row_ends_leaves_connections_to_the_others():
    with sharing(7) as (clock, loop, server, counts), clients_of(server, 10) as clients:
        for _ in range(10):
            loop.step(0)
        counts[1] = 0
        clients[0].close()
        for _ in range(3):
            loop.step(0)
        assert counts[0] == 8
        clock.seconds += 2 * PAUSE
        loop.step(0)
        loop.step(0)
        assert counts[0] == 9


def test_a_loop_does_not_look_at_connections_that_a_worker_leaves_to_the_others():
    with sharing(0) as (_, loop, server, counts), clients_of(server, 3):
        for _ in range(3):
            loop.step(0)
        assert counts[0] == 2
        assert not select.select([loop], [], [], 0)[0]
