"""The threads of the thread mode."""

import threading
from contextlib import ExitStack
from contextvars import ContextVar

import pytest

from handlers import Cancelled, StreamHandler, Until
from reactor import Reactor, ThreadingTCPServer
from reactor.servers import crew
from tests.support.loops import hasty_threads, in_thread
from tests.support.resources import descriptors
from tests.support.serving import (
    PATIENCE,
    STREAMS,
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

seen = ContextVar("seen", default=b"nothing")


def once(request, client, server):
    """Answer with the name of the thread, and what the context had of an earlier request."""
    request.sendall(threading.current_thread().name.encode() + b", " + seen.get())
    seen.set(b"something")


def ask(server):
    with connect(server) as client:
        return rest(client)


def test_daemon_threads_are_not_waited_for():
    begun, let_go = threading.Event(), threading.Event()

    def hold(request, client, server):
        begun.set()
        let_go.wait(PATIENCE)

    kind = server_class("thread", STREAMS["tcp"], daemon_threads=True)
    with made(kind, STREAMS["tcp"], hold) as server, running(server), connect(server) as client:
        assert begun.wait(PATIENCE)
        bounded(server.shutdown)
        bounded(server.server_close)
        let_go.set()
        assert rest(client) == b""


def test_one_loop_drives_requests_that_follow_each_other():
    class Counting(Reactor):
        made = 0

        def inside(self):
            self.made += 1
            return super().inside()

    class Greeting(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))

    with Counting() as loop, serving(Greeting, "plain", reactor=loop) as server:
        for _ in range(3):
            with connect(server) as client:
                client.sendall(b"hello\n")
                assert rest(client) == b"hello\n"
        assert loop.made == 1


def test_of_the_loops_that_many_threads_have_driven_one_is_kept():
    class Greeting(StreamHandler):
        async def handle(self):
            self.send(b"hello")
            await Until(b"\n")

    with serving(Greeting, "thread") as server:

        def numbers_after(clients):
            served = server.reactor.table.closed
            before = len(served)
            with ExitStack() as stack:
                for client in [stack.enter_context(connect(server)) for _ in range(clients)]:
                    assert receive(client, 5) == b"hello"
            wait_until(lambda: len(served) == before + clients)
            return len(descriptors())

        one = numbers_after(1)
        numbers_after(5)
        wait_until(lambda: len(descriptors()) <= one)


def test_a_thread_that_has_had_no_work_for_a_moment_ends(monkeypatch):
    monkeypatch.setattr(crew, "IDLE", 0.01)
    with serving(once, "thread") as server:
        name = ask(server).decode().partition(", ")[0]
        wait_until(lambda: name not in {thread.name for thread in threading.enumerate()})
        assert ask(server)


def test_a_thread_serves_one_request_after_another_each_in_an_empty_context():
    with serving(once, "thread") as server:
        answers = [ask(server) for _ in range(20)]
        assert {answer.partition(b", ")[2] for answer in answers} == {b"nothing"}
        assert len(set(answers)) < 10  # a thread that is not idle yet is not waited for
        wait_until(lambda: len(server.reactor.table.closed) == 20)
        assert {row["driven_by"] for row in server.reactor.table.closed} == {
            "thread " + answer.decode().partition(",")[0] for answer in answers
        }
    assert len(server._threads) < 10


def test_when_the_server_is_closed_its_threads_have_ended():
    with serving(once, "thread") as server:
        for _ in range(5):
            ask(server)
        server.shutdown()
        server.server_close()
        assert not [thread for thread in server._threads if thread.is_alive()]


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, ZeroDivisionError])
def test_what_a_handler_raises_ends_no_more_than_its_thread(end, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def fail(request, client, server):
        once(request, client, server)
        raise end

    with serving(fail, "thread") as server:
        assert all(ask(server).endswith(b", nothing") for _ in range(5))


def assert_all_answered(server):
    """Have four clients make 25 requests each."""
    answers = []

    def work():
        answers.extend([ask(server) for _ in range(25)])

    clients = [in_thread(work) for _ in range(4)]
    for client in clients:
        client.join(PATIENCE)
    assert len(answers) == 100
    assert b"" not in answers


def test_requests_that_wait_for_a_thread_get_one_however_the_threads_are_switched():
    with hasty_threads(), serving(once, "thread", max_threads=1, request_queue_size=64) as server:
        assert_all_answered(server)


def test_requests_that_wait_for_room_in_the_table_are_taken_however_the_threads_are_switched():
    with hasty_threads(), serving(once, "thread", max_requests=1, request_queue_size=64) as server:
        assert_all_answered(server)


def test_the_end_of_the_last_request_ends_a_server_that_takes_no_more():
    begun, let_go = threading.Event(), threading.Event()

    def hold(request, client, server):
        begun.set()
        let_go.wait(PATIENCE)

    kind = server_class("thread", STREAMS["tcp"])
    with made(kind, STREAMS["tcp"], hold) as server:
        serves = in_thread(server.serve_forever)
        with connect(server):
            assert begun.wait(PATIENCE)
            server.reactor.call_soon(server.stop_serving)
            let_go.set()
            serves.join(PATIENCE)
            assert not serves.is_alive()


def test_a_request_that_a_daemon_thread_drives_is_cancelled_in_that_thread():
    class Lines(StreamHandler):
        async def handle(self):
            self.thread = threading.get_ident()
            while True:
                self.send(await Until(b"\n"))

        def finish(self):
            ended.append((threading.get_ident() == self.thread, type(self.reason)))

    ended = []
    with serving(Lines, "thread", daemon_threads=True, request_queue_size=64) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(40)]
        for client in clients:
            client.sendall(b"line\n")
            assert receive(client, 5) == b"line\n"
        bounded(server.server_close)
        assert [rest(client) for client in clients] == [b""] * 40
        wait_until(lambda: len(ended) == 40)
    assert ended == [(True, Cancelled)] * 40


def test_requests_that_threads_drive_are_cancelled_when_the_loop_is_closed():
    class Lines(StreamHandler):
        async def handle(self):
            while True:
                self.send(await Until(b"\n"))

    loop = Reactor()
    kind = server_class("thread", STREAMS["tcp"])
    with made(kind, STREAMS["tcp"], Lines, loop) as server, connect(server) as client:
        with running(server):
            client.sendall(b"line\n")
            assert receive(client, 5) == b"line\n"
        loop.close()
        assert rest(client) == b""


def test_a_request_that_a_daemon_thread_begins_when_the_server_is_closed_is_cancelled_at_once():
    begun, let_go, ended = threading.Event(), threading.Event(), []

    class Lines(StreamHandler):
        async def handle(self):
            await Until(b"\n")

        def finish(self):
            ended.append(type(self.reason))

    def late(server, request, client_address):
        begun.set()
        let_go.wait(PATIENCE)
        ThreadingTCPServer.process_request_thread(server, request, client_address)

    kind = server_class("thread", STREAMS["tcp"], daemon_threads=True, process_request_thread=late)
    with made(kind, STREAMS["tcp"], Lines) as server, running(server), connect(server) as client:
        assert begun.wait(PATIENCE)
        bounded(server.server_close)
        let_go.set()
        assert rest(client) == b""
    assert ended == [Cancelled]
