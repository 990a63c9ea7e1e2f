"""`fork_request()`: the rest of a blocking handler's request, in a child."""

import os
import selectors
import sys
import threading
from contextlib import ExitStack, closing, contextmanager

import pytest

from handlers import BaseRequestHandler, StreamRequestHandler
from handlers.services import Echo
from reactor import Reactor, ThreadingTCPServer
from reactor.loop.children import NO_FORK
from tests.support.bench import bench
from tests.support.outside import is_there
from tests.support.serving import (
    PATIENCE,
    STREAMS,
    ask,
    connect,
    made,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = [
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
TCP = STREAMS["tcp"]


class Half(BaseRequestHandler):
    """Serves a request in a child, which waits at the gate; ``quick`` is served here."""

    def handle(self):
        word = self.request.recv(100)
        if word == b"quick":
            self.request.sendall(b"quick")
            return
        if self.server.fork_request(self.request):
            self.server.after_fork()
            return
        self.server.gate.wait()
        self.request.sendall(b"from the child " + word)
        if word == b"fail":
            raise ZeroDivisionError("on purpose")


@contextmanager
def halves(mode, gate, after_fork=lambda: None, word=b"", reactor=None, **members):
    """A running server of `Half`, and a client that has sent ``word`` before the server runs."""
    members.update(gate=gate, after_fork=staticmethod(after_fork), errors=[])
    members["handle_error"] = lambda self, request, client_address: self.errors.append(sys.exc_info()[1])
    with made(server_class(mode, TCP, **members), TCP, Half, reactor) as server, connect(server) as client:
        client.sendall(word)
        with running(server):
            yield server, client


@pytest.mark.parametrize("mode", ["plain", "thread"])
@pytest.mark.parametrize("word", [b"go", b"fail"])
def test_fork_request_lets_the_parent_go_on_and_the_child_answer(mode, word, gate, ending):
    with halves(mode, gate, word=word) as (server, client), connect(server) as other:
        ((pid, _),) = wait_until(gate.waiting)
        other.sendall(b"quick")
        assert rest(other) == b"quick"
        table = server.reactor.table
        wait_until(lambda: [(str(row.driven_by), row.handler) for row in table] == [(f"child {pid}", "Half")])
        assert is_there(pid)
        gate.open()
        assert rest(client) == b"from the child " + word
        wait_until(lambda: not len(table))
        wait_until(lambda: not is_there(pid))
        assert server.errors == []


@pytest.mark.parametrize("mode", ["plain", "thread"])
@pytest.mark.parametrize(("word", "status", "reason"), [(b"go", 0, ""), (b"fail", 1, "ZeroDivisionError: on purpose")])
def test_the_child_tells_how_its_request_has_ended(mode, word, status, reason, gate, ending, monkeypatch):
    reaped, waitpid = {}, os.waitpid

    def noted(*arguments):
        pid, found = waitpid(*arguments)
        reaped[pid] = found
        return pid, found

    monkeypatch.setattr(os, "waitpid", noted)
    with halves(mode, gate, word=word) as (server, client):
        ((pid, _),) = wait_until(gate.waiting)
        gate.open()
        assert rest(client) == b"from the child " + word
        wait_until(lambda: server.reactor.table.closed)
        assert [row["reason"] for row in server.reactor.table.closed] == [reason]
    assert os.waitstatus_to_exitcode(reaped[pid]) == status


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_several_children_may_work_on_requests_at_once(mode, gate, ending):
    with halves(mode, gate, word=b"0") as (server, first), ExitStack() as stack:
        clients = [first, *(stack.enter_context(connect(server)) for _ in range(3))]
        for number, client in enumerate(clients[1:], 1):
            client.sendall(b"%d" % number)
        pids = []
        wait_until(lambda: pids.extend(gate.waiting()) or len(pids) == 4)
        gate.open(4)
        assert [rest(client) for client in clients] == [b"from the child %d" % number for number in range(4)]
        wait_until(lambda: not len(server.reactor.table))
        wait_until(lambda: not any(is_there(pid) for pid, _ in pids))


def test_a_thread_that_goes_on_after_the_fork_leaves_the_connection_to_the_child(gate, ending):
    """So does the loop, which goes on while the thread has forked and not returned."""
    forked, go_on = threading.Event(), threading.Event()

    def after_fork():
        forked.set()
        go_on.wait(PATIENCE)

    def process_request(self, request, client_address):
        ThreadingTCPServer.process_request(self, request, client_address)
        forked.wait(PATIENCE)

    with halves("thread", gate, after_fork, b"go", process_request=process_request) as (server, client):
        wait_until(gate.waiting)
        with connect(server) as other:  # once the loop has served this client, it has finished with the first
            other.sendall(b"quick")
            assert rest(other) == b"quick"
        go_on.set()
        wait_until(lambda: threading.active_count() == 2)  # this thread and that of the server
        gate.open()
        assert rest(client) == b"from the child go"
        wait_until(lambda: not len(server.reactor.table))


@pytest.mark.skipif(not hasattr(selectors, "PollSelector"), reason="no poll() on this system")
def test_a_thread_that_forks_wakes_a_selector_that_does_not_see_new_descriptors(gate, ending):
    with closing(Reactor(selectors.PollSelector())) as reactor, halves("thread", gate, reactor=reactor) as (_, client):
        wait_until(lambda: len(reactor.table) == 1)
        client.sendall(b"go")
        ((pid, _),) = wait_until(gate.waiting)
        wait_until(lambda: threading.active_count() == 2)
        gate.open()
        assert rest(client) == b"from the child go"
        wait_until(lambda: not len(reactor.table))
        wait_until(lambda: not is_there(pid))


def test_a_child_of_a_thread_may_call_shutdown_of_a_server_that_serves_in_the_parent():
    class Ending(BaseRequestHandler):
        def handle(self):
            if not self.server.fork_request(self.request):
                self.server.shutdown()
                self.request.sendall(b"done")

    kind = server_class("thread", TCP)
    with made(kind, TCP, Ending) as server, running(server), connect(server) as client:
        assert rest(client) == b"done"
        wait_until(lambda: not server.reactor.table)


def test_fork_request_in_select_mode_is_a_clear_error():
    with bench(Echo) as here:
        here.connect()
        with pytest.raises(RuntimeError, match="Forked"):
            here.server.fork_request(here.row.socket)


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_a_blocking_handler_may_fork_and_let_the_child_finish(mode):
    class Explicit(StreamRequestHandler):
        def handle(self):
            line = self.rfile.readline()
            parent = os.getpid()
            if self.server.fork_request(self.request) == 0:
                self.rfile.readline()  # the parent does not wait for the child
                self.wfile.write(b"%d %b" % (os.getpid() != parent, line))

    with serving(Explicit, mode) as server, connect(server) as client:
        client.sendall(b"hello\n")
        wait_until(lambda: any(str(row.driven_by).startswith("child") for row in server.reactor.table))
        assert ask(server, b"other\nmore\n") == b"1 other\n"  # the plain mode does not wait for a child, either
        client.sendall(b"more\n")
        assert rest(client) == b"1 hello\n"
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_no_request_begins_while_max_children_have_been_forked_by_handlers(mode):
    class Explicit(StreamRequestHandler):
        def handle(self):
            if self.server.fork_request(self.request) == 0:
                self.wfile.write(self.rfile.readline())

    with Reactor() as reactor:
        reactor.max_children = 2
        with serving(Explicit, mode, reactor=reactor) as server, ExitStack() as stack:
            clients = []
            for number in range(1, 3):
                clients.append(stack.enter_context(connect(server)))
                wait_until(lambda number=number: str(server.reactor.table).count("child") == number)
            clients.append(stack.enter_context(connect(server)))
            clients[2].sendall(b"three\n")
            clients[0].sendall(b"one\n")
            assert rest(clients[0]) == b"one\n"
            assert rest(clients[2]) == b"three\n"
            wait_until(lambda: [row.serial for row in reactor.table] == [2])
            clients[1].sendall(b"two\n")
            assert rest(clients[1]) == b"two\n"
            wait_until(lambda: not reactor.table)


def test_fork_request_on_a_host_without_fork_is_a_clear_error(monkeypatch):
    told = []

    def fork(request, client, server):
        try:
            server.fork_request(request)
        except RuntimeError as error:
            told.append(str(error))

    with serving(fork, "plain") as server:
        monkeypatch.delattr(os, "fork")
        assert ask(server) == b""
    assert told == [NO_FORK]
