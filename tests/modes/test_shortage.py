"""A host that is short of descriptors or memory when a request needs a child or a thread."""

import errno
import os
import resource
import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from handlers import Forked, StreamRequestHandler, Threaded, Until
from reactor import Reactor, selecting
from reactor.loop.watches import Watch
from tests.support.loops import until
from tests.support.outside import ask_worker, here_until, line, workshop
from tests.support.packets import PairConversation, SlowEcho
from tests.support.process import Process
from tests.support.resources import descriptors
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    Reverse,
    connect,
    made,
    peer,
    rest,
    server_class,
    serving,
    wait_until,
)

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


@contextmanager
def no_descriptors_left(but=0):
    """In this context the process can open no descriptor, ``but`` so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(descriptors()) + 3 + but, hard))
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    for descriptor in held[:but]:
        os.close(descriptor)
    try:
        yield
    finally:
        for descriptor in held[but:]:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_host_short_of_descriptors_answers_every_client_in_every_mode(mode):
    """A request is accepted only with the descriptors that it needs, or it does without them."""
    with (
        Process(mode, "tests.support.serving:Reverse", limit=24, request_queue_size=128) as process,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(socket.create_connection(process.address)) for _ in range(60)]
        for client in clients:
            client.sendall(b"5:he")
        if mode != "plain":  # the plain mode serves one at a time
            wait_until(process.said)
        for client in clients:
            client.sendall(b"llo,")
            client.shutdown(socket.SHUT_WR)
        for client in clients:
            client.settimeout(PATIENCE)
            assert rest(client) == b"5:olleh,"
        assert len(process.said().splitlines()) == (mode != "plain")


@pytest.mark.parametrize("spare", range(8))
def test_a_forking_server_whose_first_request_finds_few_descriptors_answers_it_later(spare):
    kind = server_class("fork", STREAMS["tcp"])
    with Reactor() as loop, made(kind, STREAMS["tcp"], Reverse, loop) as server, connect(server) as client:
        client.sendall(b"5:hello,")
        client.shutdown(socket.SHUT_WR)
        with no_descriptors_left(spare):
            loop.step(PATIENCE)
        until(loop, lambda: loop.table.closed)
        assert rest(client) == b"5:olleh,"
        assert server.drain(PATIENCE) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_a_host_short_of_descriptors_loses_no_packet(mode):
    slow = {"seconds": 0.01 if mode == "plain" else 0.1}  # the plain mode serves one at a time
    with (
        Process(mode, "tests.support.packets:SlowEcho", packets=True, limit=24, handler_members=slow) as process,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(60)]
        for client in clients:
            client.settimeout(PATIENCE)
            client.connect(process.address)
            client.send(b"hello")
        for client in clients:
            assert client.recv(8) == b"hello"


def test_a_packet_waits_without_a_leak_while_the_host_has_no_child_for_it(monkeypatch):
    def fork():
        counts.append(descriptors())
        if len(counts) < 4:
            raise OSError(errno.EAGAIN, "no child")
        return real()

    counts, real = [], os.fork
    kind = server_class("fork", PACKETS["udp"])
    with made(kind, PACKETS["udp"], SlowEcho) as server, peer(server) as client:
        monkeypatch.setattr(os, "fork", fork)
        client.send(b"word")
        server.handle_request()
        assert len(counts) == 4
        assert all(count == counts[0] for count in counts)
        assert client.recv(8) == b"word"


def test_a_packet_waits_while_the_host_has_no_memory_to_send_it_to_its_child(monkeypatch):
    class Short(socket.socket):
        def send(self, data):
            if data == b"\0two" and len(tries) < 3:
                tries.append(data)
                raise OSError(errno.ENOBUFS, "no memory")
            return super().send(data)

    def socketpair(*arguments):
        return tuple(Short(fileno=end.detach()) for end in real(*arguments))

    tries, real = [], socket.socketpair
    monkeypatch.setattr(socket, "socketpair", socketpair)
    with serving(PairConversation, "fork", PACKETS["udp"]) as server, peer(server) as client:
        client.send(b"one")
        wait_until(server.reactor.children.pids)
        client.send(b"two")
        assert client.recv(8) == b"onetwo"
        assert tries == [b"\0two"] * 3


def test_work_whose_result_can_not_be_watched_leaves_no_child_and_no_descriptor(ending):
    """The child has been forked when the selector refuses its pipe: it must not wait for ever to write its result."""
    with workshop(lambda word: Forked(bytes, 1 << 20)) as here:
        client = here.connect()
        here.rest()
        before, watch, refusals = descriptors(), here.reactor.watch, [OSError(errno.ENOSPC, "no room")]

        def refusing(*arguments):
            if refusals:
                raise refusals.pop()
            return watch(*arguments)

        here.reactor.watch = refusing
        assert ask_worker(here, client).startswith("OSError: [Errno 28] no room")
        here_until(here, lambda: not here.reactor.children)
        assert descriptors() == before
        assert here.errors == []


def test_work_that_can_not_begin_for_want_of_descriptors_fails_at_once(ending):
    with workshop(lambda word: Forked(len, word)) as here:
        client = here.connect()
        with no_descriptors_left():
            assert ask_worker(here, client).startswith("OSError: [Errno 24]")
        assert here.errors == []
        assert ask_worker(here, client, "four") == "4"


@pytest.mark.parametrize("kind", [Forked, Threaded])
def test_work_waits_while_the_host_has_no_child_or_thread_for_it(kind, monkeypatch, ending):
    """The first attempts fail as fork(2) and pthread_create(3) do at RLIMIT_NPROC."""
    failures = []

    def refusing(real, error):
        def call(*arguments):
            if len(failures) < 6:  # more often than work is asked for
                failures.append(error)
                raise error
            return real(*arguments)

        return call

    with workshop(lambda word: kind(len, word)) as here:
        clients = [here.connect() for _ in range(4)]
        assert ask_worker(here, clients[0], "one") == "3"
        monkeypatch.setattr(os, "fork", refusing(os.fork, BlockingIOError(errno.EAGAIN, "no child")))
        no_thread = RuntimeError("can't start new thread")
        monkeypatch.setattr(threading.Thread, "start", refusing(threading.Thread.start, no_thread))
        for client in clients:
            client.sendall(b"four\n")
        assert [line(here, client) for client in clients] == ["4"] * 4
        assert len(failures) == 6
        assert here.errors == []


def test_work_that_waits_for_a_child_of_the_host_ends_with_its_wait(monkeypatch, ending):
    def fork():
        raise BlockingIOError(errno.EAGAIN, "no child")

    monkeypatch.setattr(os, "fork", fork)
    with workshop(lambda word: Forked(len, word, timeout=0.3)) as here:
        assert ask_worker(here, here.connect()) == "timed out"
        assert here.errors == []


@pytest.mark.slow
def test_a_long_queue_of_work_that_can_not_begin_fails_without_recursion(gate, ending):
    """However long the queue is: no recursion."""
    with workshop(lambda word: Forked(gate.wait, word), max_children=1) as here:
        clients = [here.connect() for _ in range(300)]
        for client in clients:
            client.sendall(b"word\n")
        here_until(here, gate.waiting)
        here.rest()
        with no_descriptors_left():
            gate.open()
            for client in clients[1:]:
                assert line(here, client).startswith("OSError: [Errno 24]")
        assert line(here, clients[0]) == "'word'"
        assert here.errors == []


@pytest.mark.parametrize(
    ("mode", "place", "name"), [("thread", threading.Thread, "start"), ("fork", os, "fork")], ids=["thread", "fork"]
)
def test_a_process_that_starts_nothing_more_closes_the_connection_and_says_why(mode, place, name, monkeypatch, caplog):
    """CPython 3.12.0 to 3.12.2, when the main thread has ended (cpython#113964)."""

    def refuse(*_):
        raise RuntimeError("can't begin anything at interpreter shutdown")

    with serving(Reverse, mode) as server:
        with monkeypatch.context() as patched:
            patched.setattr(place, name, refuse)
            with connect(server) as client:
                client.sendall(b"5:hello,")
                assert rest(client) == b""
        wait_until(lambda: not server.reactor.table)
        assert any("interpreter shutdown" in str(record.exc_info) for record in caplog.records)


def test_a_child_whose_pipe_the_selector_does_not_take_ends_its_request_and_not_the_loop():
    class Full(selecting.DefaultSelector):
        refused = 0

        def register(self, descriptor, events, data=None):
            if isinstance(data, Watch) and not self.refused:
                self.refused += 1
                raise OSError(errno.ENOSPC, "no space")
            return super().register(descriptor, events, data)

    class Line(StreamRequestHandler):
        request = Until(b"\n")

        def handle(self):
            self.wfile.write(self.rfile.readline())

    kind = server_class("fork", STREAMS["tcp"], handle_error=lambda *_: None)
    with Reactor(Full()) as loop, made(kind, STREAMS["tcp"], Line, loop) as server:
        for answer in b"", b"line\n":
            with connect(server) as client:
                client.sendall(b"line\n")
                client.shutdown(socket.SHUT_WR)
                ended = len(loop.table.closed)
                until(loop, lambda: len(loop.table.closed) > ended and not loop.children)  # noqa: B023
                assert rest(client) == answer
