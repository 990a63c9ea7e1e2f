"""The end of a child: how it is noticed, when it is reaped, and when it is killed."""

import errno
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from contextlib import closing

import pytest

from handlers import Failed, Forked, StreamHandler, StreamRequestHandler
from handlers.services import Echo
from reactor import ForkingTCPServer, Reactor, TCPServer
from reactor.loop.selecting import DefaultSelector
from tests.support.errnos import failing
from tests.support.loops import recording, until
from tests.support.outside import (
    ask_worker,
    cancel_row,
    close_reactor,
    close_row,
    close_server,
    here_until,
    line,
    workshop,
)
from tests.support.resources import descriptors, named
from tests.support.serving import (
    PATIENCE,
    STREAMS,
    Reverse,
    ask,
    bounded,
    connect,
    made,
    receive,
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


def close_all_and_wait():
    os.closerange(3, 1000)
    time.sleep(0.3)
    os._exit(7)


def test_a_child_that_closes_all_its_descriptors_is_not_polled(ending):
    with workshop(lambda word: Forked(close_all_and_wait)) as here:
        client, select, steps = here.connect(), here.selector.select, []
        here.selector.select = lambda timeout=None: steps.append(timeout) or select(timeout)
        assert ask_worker(here, client) == "ChildProcessError: the child exited with status 7"
        assert len(steps) < 100, "it polls"


def test_a_child_that_other_code_reaps_is_no_error(gate, ending):
    with workshop(lambda word: Forked(gate.wait, word)) as here:
        client = here.connect()
        client.sendall(b"word\n")
        ((pid, _),) = here_until(here, gate.waiting)
        gate.open()
        assert os.waitpid(pid, 0) == (pid, 0)
        assert line(here, client) == "'word'"


@pytest.mark.parametrize("end", [close_row, cancel_row, close_server, close_reactor])
def test_work_may_be_cancelled_when_other_code_has_reaped_its_child(end, gate, ending):
    with workshop(lambda word: Forked(gate.wait)) as here:
        client = here.connect()
        client.sendall(b"go\n")
        ((pid, _),) = here_until(here, gate.waiting)
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0) == (pid, signal.SIGKILL)
        end(here, client)
        if end is not close_reactor:
            here.until(lambda: not len(here.table))
        assert here.errors == []


def test_a_fork_server_with_a_child_at_work_does_not_poll(ending):
    selector = recording(selectors.DefaultSelector)
    with (
        closing(Reactor(selector)) as reactor,
        ForkingTCPServer(("127.0.0.1", 0), Echo, reactor=reactor) as server,
        connect(server) as client,
    ):
        client.sendall(b"x")
        with running(server):
            assert client.recv(1) == b"x"
            wait_until(lambda: server.active_children)
            steps = len(selector.timeouts)
            time.sleep(0.5)
            assert len(selector.timeouts) - steps < 5
            assert len(reactor.timers) < 5
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            wait_until(lambda: not server.active_children)


def test_a_child_does_not_wait_for_a_lock_that_a_thread_held_at_the_fork():
    here, held, let_go = os.getpid(), threading.Event(), threading.Event()

    class Ends(deque):
        def append(self, told):
            if os.getpid() == here:
                held.set()
                assert let_go.wait(PATIENCE)
            super().append(told)

    def process_request(server, request, client_address):
        client.close()
        assert held.wait(PATIENCE)  # the thread holds the lock: it is recording the end of its row
        ForkingTCPServer.process_request(server, request, client_address)
        let_go.set()

    tcp = STREAMS["tcp"]
    with (
        serving(Reverse, "thread", tcp) as threads,
        made(server_class("fork", tcp, process_request=process_request), tcp, Reverse, threads.reactor) as forks,
        connect(threads) as client,
    ):
        table = threads.reactor.table
        wait_until(lambda: len(table) == 1)
        table._closed = Ends()
        threads.reactor.call_soon(forks.start_serving)
        with connect(forks) as other:
            other.sendall(b"5:hello,")
            assert receive(other, 8) == b"5:olleh,"
        wait_until(lambda: not table, "the end of the child")


def test_the_status_of_a_child_is_the_reason_where_it_can_not_tell_what_it_raised():
    here = os.getpid()

    class Hook:
        def shutdown_request(self, request):
            if os.getpid() != here:
                raise ArithmeticError
            super().shutdown_request(request)

        def handle_error(self, request, client_address):
            pass

    class Raising(StreamRequestHandler):
        def handle(self):
            raise LookupError

    with serving(Raising, "fork", STREAMS["tcp"], Hook) as server, connect(server):
        [row] = wait_until(lambda: list(server.reactor.table.closed))
        assert row["reason"] == "ChildProcessError: the child exited with status 1"


class Ended(list):
    """A callback that keeps the wait status of each child."""

    def __call__(self, status, words):
        self.append(status)


def child(reactor, work):
    """Fork a child that calls ``work`` and exits with 7; returns its pid and the list of its reported wait statuses."""
    ended = Ended()
    pid = reactor.children.fork(ended)
    if pid == 0:
        try:
            work()
        finally:
            os._exit(7)
    return pid, ended


@pytest.mark.parametrize("name", ["ENOSYS", "EPERM", "EMFILE", "ENODEV"])
def test_the_end_of_a_child_is_noticed_without_a_pidfd(name, monkeypatch):
    monkeypatch.setattr(os, "pidfd_open", failing(getattr(errno, name)), raising=False)
    with Reactor() as reactor:
        _, ended = child(reactor, lambda: None)
        until(reactor, lambda: ended)
    assert [os.waitstatus_to_exitcode(status) for status in ended] == [7]


def test_a_child_that_closes_all_its_descriptors_is_reaped_when_it_ends_and_not_before(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    reader, writer = os.pipe()

    def work():
        os.dup2(reader, 0)
        os.closerange(1, 1024)
        os.read(0, 1)

    with Reactor() as reactor:
        pid, ended = child(reactor, work)
        os.close(reader)
        until(reactor, lambda: reactor.timers.next() < float("inf"))  # it is polled now and then
        assert reactor.children.pids() == [pid]
        os.write(writer, b"x")
        until(reactor, lambda: ended)
    os.close(writer)


@pytest.mark.parametrize("words", [[], [b"words"]], ids=["without words", "with words"])
@pytest.mark.parametrize("is_heard", [True, False])
def test_a_child_whose_end_can_not_be_watched_is_polled(is_heard, words, ending):
    """Without a pidfd, what it has written is no reason to wait for more: nothing tells when that comes."""

    class Full(DefaultSelector):
        def register(self, fileobj, events, data=None):
            failing(errno.ENOSPC)()

    with Reactor(Full()) as reactor:
        reader, writer = os.pipe()

        def work():
            for word in words:
                reactor.children.tell(word)
            os.write(writer, b"x")
            time.sleep(0.05)

        _, ended = child(reactor, work)
        assert os.read(reader, 1) == b"x"
        if is_heard:
            reactor.children.wait_for_copies(PATIENCE)
        until(reactor, lambda: ended)
        os.close(reader)
        os.close(writer)


def test_a_child_that_was_killed_by_a_signal_without_a_name_is_reported_with_the_number():
    class Killed(StreamHandler):
        async def handle(self):
            try:
                await Forked(lambda: os.kill(os.getpid(), signal.SIGRTMIN + 1))
            except Failed as failed:
                self.send(str(failed.error).encode())

    with serving(Killed, "select") as server:
        assert ask(server) == b"the child was killed by signal %d" % (signal.SIGRTMIN + 1)


def test_a_child_that_was_reaped_before_its_watch_began_is_reported_once():
    with Reactor() as reactor:
        pid, ended = child(reactor, lambda: None)
        assert reactor.children.reap(pid, blocking=True)
        reactor.run()
        assert len(ended) == 1


def test_a_killed_child_is_waited_for_when_the_loop_closes():
    reader, writer = os.pipe()
    with Reactor() as reactor:
        pid, ended = child(reactor, lambda: os.read(reader, 1))
        for _ in range(2):
            reactor.children.kill(pid)
        assert ended == []
    assert [os.waitstatus_to_exitcode(status) for status in ended] == [-signal.SIGKILL]
    os.close(reader)
    os.close(writer)


def test_a_child_that_was_not_killed_goes_on_when_the_loop_closes():
    reader, writer = os.pipe()
    with Reactor() as reactor:
        pid, ended = child(reactor, lambda: os.read(reader, 1))
        reactor.step(0)
    os.write(writer, b"x")
    assert bounded(os.waitpid, pid, 0)[0] == pid
    assert ended == []
    os.close(reader)
    os.close(writer)


def test_a_forking_server_may_serve_a_request_itself():
    with serving(Echo, "fork", process_request=TCPServer.process_request) as server:
        assert ask(server, b"hello") == b"hello"
        assert not server.active_children


def test_a_plain_server_may_fork_for_a_request_itself_after_others():
    class Number(StreamHandler):
        async def handle(self):
            self.send(b"%d" % os.getpid())

    class Forks:
        served = []

        def process_request(self, request, client_address):
            if len(self.served) % 2 == 0:
                self.served.append(os.getpid())
                super().process_request(request, client_address)
                return
            pid = os.fork()
            if pid == 0:
                try:
                    self.finish_request(request, client_address)
                finally:
                    os._exit(0)
            else:
                self.served.append(pid)
                self.close_request(request)
                os.waitpid(pid, 0)

    with serving(Number, "plain", STREAMS["tcp"], Forks) as server:
        assert [int(ask(server)) for _ in range(4)] == Forks.served


def test_a_forking_server_reaps_children_when_handle_request_times_out():
    with made(server_class("fork", STREAMS["tcp"], timeout=0.01), STREAMS["tcp"], Echo) as server:
        with connect(server) as client:
            server.handle_request()
            assert len(server.active_children) == 1
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b""
        for _ in range(1_000):
            server.handle_request()
            if not server.active_children:
                return
    pytest.fail("the child was not reaped")


class Held:
    """A pipe whose writing end a child is slow to close."""

    def __init__(self):
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def close_copy(self, keep):
        time.sleep(0.3)
        os.close(self.reader)
        os.close(self.writer)


def test_a_parent_can_wait_until_its_children_have_closed_their_copies():
    """A handshake could still complete on a child's copy of a listener that the parent closes."""
    ends, held = [], Held()
    with Reactor() as loop, open(held.reader, "rb", buffering=0) as stream:
        loop.descriptors.add(held)
        pid = loop.children.fork(lambda *end: ends.append(end))
        if pid == 0:
            loop.children.tell(b"report")
            time.sleep(0.2)
            os._exit(0)
        os.close(held.writer)
        assert stream.read() is None  # the child has the writing end
        bounded(loop.children.wait_for_copies, 1_000)
        assert stream.read() == b""
        until(loop, lambda: ends)
        assert ends == [(0, b"report")]
        loop.descriptors.discard(held)


def test_a_child_is_reaped_although_a_child_of_its_own_lives():
    """That one holds the pipe of the last words, on which nothing more comes."""
    ends = []
    with Reactor() as loop:
        gate, opener = os.pipe()
        if loop.children.fork(lambda *end: ends.append(end)) == 0:
            os.close(opener)
            if os.fork() == 0:
                os.read(gate, 1)
            os._exit(0)
        loop.children.wait_for_copies(PATIENCE)
        until(loop, lambda: ends)
        os.close(gate)
        os.close(opener)
    assert ends == [(0, b"")]


def test_a_signal_to_all_children_reaches_each():
    with Reactor() as loop:
        ends = []
        for _ in range(2):
            if loop.children.fork(lambda status, words: ends.append(status)) == 0:
                time.sleep(PATIENCE)
                os._exit(0)
        loop.children.send_signal(signal.SIGTERM)
        until(loop, lambda: len(ends) == 2)
        assert [os.waitstatus_to_exitcode(status) for status in ends] == [-signal.SIGTERM] * 2


def pipes():
    """How many ends of pipes this process has open."""
    return sum(name.startswith("pipe:") for name in named(descriptors()).values())


def test_a_child_has_one_pipe_of_its_own():
    ends = []
    with Reactor() as loop:
        before = pipes()
        if loop.children.fork(lambda *end: ends.append(end)) == 0:
            loop.children.tell(b"%d" % (pipes() - before))
            os._exit(0)
        until(loop, lambda: ends)
    assert ends == [(0, b"1")]


def test_the_parent_is_told_what_the_child_has_read_and_sent():
    with serving(Reverse, "fork") as server:
        assert ask(server, b"5:hello,") == b"5:olleh,"
        [row] = wait_until(lambda: [*server.reactor.table.closed])
        assert (row["total_in"], row["total_out"], row["reason"]) == (8, 8, "")
