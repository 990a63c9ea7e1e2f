"""Requests that wait for a child or a thread begin in order, and may end before."""

import os
import socket
import threading
from contextlib import ExitStack

import pytest

from handlers import StreamHandler, Until
from reactor import Reactor
from reactor.rows.packets import PENDING
from tests.support.packets import PairConversation
from tests.support.queue import drivers, every_mode, greet, has_none_left, one_at_a_time
from tests.support.serving import (
    PACKETS,
    PATIENCE,
    STREAMS,
    Conversation,
    Polite,
    Reverse,
    Unframed,
    bounded,
    clients_of,
    connect,
    made,
    peer,
    receive,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
TCP, UDP = STREAMS["tcp"], PACKETS["udp"]


# The order


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize(("handler", "question", "answer"), [
    (Reverse, b"5:hello,", b"5:olleh,"), (Conversation, b"5:hello,", b"5:olleh,"), (Unframed, b"hello\n", b"HELLO\n")
])  # fmt: skip
def test_requests_over_the_bound_wait_in_the_table_and_begin_in_order(mode, handler, question, answer):
    driver = {"fork": "child", "thread": "thread"}[mode]
    with serving(handler, mode, **one_at_a_time(mode, 3)) as server, ExitStack() as stack:
        clients = []
        for number in range(1, 13):
            clients.append(stack.enter_context(connect(server)))
            wait_until(lambda number=number: len(server.reactor.table) == number)
        for first in range(12):
            left = 12 - first
            wait_until(lambda left=left: drivers(server) == [driver] * min(3, left) + ["queued"] * (left - 3))
            clients[first].sendall(question)
            clients[first].shutdown(socket.SHUT_WR)
            assert rest(clients[first]) == answer
        wait_until(lambda: not server.reactor.table)
        assert [row["serial"] for row in server.reactor.table.closed] == list(range(1, 13))
        assert {row["reason"] for row in server.reactor.table.closed} == {""}


@every_mode
def test_exchanges_wait_with_all_packets_that_their_peers_send(mode):
    with (
        serving(PairConversation, mode, UDP, **one_at_a_time(mode)) as server,
        peer(server) as one,
        peer(server) as other,
    ):
        one.send(b"1")
        wait_until(lambda: len(server.reactor.table) == 1)
        for packet in b"a", b"b":
            other.send(packet)
            wait_until(lambda: server.reactor.table.as_dicts()[-1]["stage"] == "queued")
        wait_until(lambda: server.reactor.table.as_dicts()[-1]["held_in"] == 2)
        one.send(b"2")
        assert one.recv(8) == b"12"
        assert other.recv(8) == b"ab"
        wait_until(lambda: not server.reactor.table)
        assert server.reactor.stats()["held"] == 0


@every_mode
def test_a_queued_exchange_holds_a_bounded_number_of_packets_and_the_rest_is_counted(mode):
    most = PENDING
    with (
        serving(PairConversation, mode, UDP, **one_at_a_time(mode)) as server,
        peer(server) as one,
        peer(server) as other,
    ):
        one.send(b"1")
        wait_until(lambda: len(server.reactor.table) == 1)
        for number in range(most + 3):
            other.send(b"a" * 500)
            wait_until(lambda number=number: server.reactor.stats()["held"] >= 500 * min(number + 1, most))
        wait_until(lambda: server.reactor.stats()["refused"] == {"backlog": 3})


def test_the_plain_mode_needs_no_children():
    with Reactor() as reactor:
        reactor.max_children = 0
        with serving(Reverse, "plain", reactor=reactor) as server, connect(server) as client:
            client.sendall(b"5:hello,")
            assert receive(client, 8) == b"5:olleh,"


@every_mode
def test_handle_request_returns_when_the_request_has_begun(mode):
    kind = server_class(mode, TCP, **one_at_a_time(mode))
    with made(kind, TCP, Reverse) as server, clients_of(server, 2) as (first, second):
        bounded(server.handle_request)
        for client in first, second:
            client.sendall(b"5:hello,")
            client.shutdown(socket.SHUT_WR)
        bounded(server.handle_request)
        assert (rest(first), rest(second)) == (b"5:olleh,", b"5:olleh,")


def test_a_child_that_a_handler_forks_counts_too():
    class Explicit(Unframed):
        def handle(self):
            if self.server.fork_request(self.request) == 0:
                super().handle()

    with Reactor() as reactor:
        reactor.max_children = 1
        with serving(Explicit, "plain", reactor=reactor) as server, connect(server) as first, connect(server) as second:
            wait_until(lambda: drivers(server) == ["child", "queued"])
            for client in second, first:
                client.sendall(b"hello\n")
            assert (rest(first), rest(second)) == (b"HELLO\n", b"HELLO\n")
            wait_until(lambda: not server.reactor.table)


def test_no_queued_request_begins_after_stop():
    class Explicit(Unframed):
        def handle(self):
            if self.rfile.readline() == b"stop\n":
                self.server.reactor.stop()
            elif self.server.fork_request(self.request) == 0:
                super().handle()

    with Reactor() as reactor:
        reactor.max_children = 1
        with serving(Explicit, "plain", reactor=reactor) as server, clients_of(server, 3) as (first, second, third):
            first.sendall(b"fork\n")
            for client in second, third:
                client.sendall(b"stop\n")
            wait_until(lambda: drivers(server) == ["child", "queued", "queued"])
            first.sendall(b"hello\n")
            assert rest(first) == b"HELLO\n"
            assert rest(second) == b""
            server.shutdown()
            assert drivers(server) == ["queued"]


@pytest.mark.slow
@every_mode
def test_time_in_the_queue_does_not_count_for_the_timeouts_of_the_request(mode):
    class Timed(StreamHandler):
        request_timeout = 0.5

        async def handle(self):
            self.send(await Until(b"\n"))

    class Holds(StreamHandler):
        request_timeout = 1.0

        async def handle(self):
            await Until(b"\n")

    kinds = iter([Holds, Timed])

    class Both(StreamHandler):
        def __new__(cls):
            return next(kinds)()

    with serving(Both, mode, **one_at_a_time(mode)) as server, clients_of(server, 2) as (first, second):
        wait_until(lambda: len(server.reactor.table) == 2)
        second.sendall(b"patient\n")
        assert rest(first) == b""
        assert rest(second) == b"patient\n"
        wait_until(lambda: not server.reactor.table)
        assert ["request_timeout" in row["reason"] for row in server.reactor.table.closed] == [True, False]


# Ends of queued requests and of the server


@every_mode
def test_a_client_that_leaves_the_queue_affects_no_other(mode):
    with serving(Polite, mode, **one_at_a_time(mode)) as server, connect(server) as first, connect(server) as last:
        wait_until(lambda: len(server.reactor.table) == 2)
        with connect(server) as gone:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wait_until(lambda: len(server.reactor.table) == 3)
        for client in first, last:
            client.sendall(b"one\ntwo\n")
            assert rest(client) == b"one\ntwo\n"
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_that_requests_wait_for_the_bound_is_logged_once_with_the_two_ways_out(mode, caplog):
    with serving(Polite, mode, **one_at_a_time(mode)) as server, clients_of(server, 3) as clients:
        wait_until(lambda: len(server.reactor.table) == 3)
        for client in clients:
            client.sendall(b"one\ntwo\n")
            assert rest(client) == b"one\ntwo\n"
    [line] = [line for line in caplog.messages if "requests wait" in line]
    bound = {"fork": "max_children", "thread": "max_threads"}[mode]
    assert f"raise {bound}" in line
    assert "take a Select server class" in line


@every_mode
@pytest.mark.parametrize(("handler", "answer"), [(Polite, b"one\ntwo\n"), (Unframed, b"ONE\n")])
def test_nothing_is_logged_while_all_are_busy_and_no_request_waits(mode, handler, answer, caplog):
    driver = {"fork": "child", "thread": "thread"}[mode]
    with serving(handler, mode, **one_at_a_time(mode, 2)) as server, clients_of(server, 2) as clients:
        wait_until(lambda: drivers(server) == [driver] * 2)
        for client in clients:
            client.sendall(b"one\ntwo\n")
            assert rest(client) == answer
    assert caplog.messages == []


@every_mode
def test_a_client_that_resets_the_connection_frees_its_place_in_the_queue(mode):
    with serving(Polite, mode, **one_at_a_time(mode)) as server, connect(server) as first, connect(server) as last:
        wait_until(lambda: len(server.reactor.table) == 2)
        for said in b"", b"one\n":
            with connect(server) as gone:
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                gone.sendall(said)
                wait_until(lambda: len(server.reactor.table) == 3)
            wait_until(lambda: len(server.reactor.table) == 2)
        for row in server.reactor.table.closed:
            assert (row["stage"], row["reason"].partition(":")[0]) == ("queued", "Reset")
        for client in first, last:
            client.sendall(b"one\ntwo\n")
            assert rest(client) == b"one\ntwo\n"


@every_mode
def test_a_unix_client_that_closes_in_the_queue_is_served_only_if_it_has_sent_something(mode, journal):
    class Notes(StreamHandler):
        async def handle(self):
            self.server.journal.write((await Until(b"\n")).decode().strip())

    options = {**one_at_a_time(mode), "journal": journal}
    with serving(Notes, mode, STREAMS["unix"], **options) as server, connect(server) as first:
        wait_until(lambda: len(server.reactor.table) == 1)
        with connect(server):
            wait_until(lambda: len(server.reactor.table) == 2)
        wait_until(lambda: len(server.reactor.table) == 1)
        with connect(server) as noted:
            noted.sendall(b"noted\n")
            wait_until(lambda: len(server.reactor.table) == 2)
        first.sendall(b"first\n")
        assert rest(first) == b""
        assert journal.wait_for(2) == ["first", "noted"]


@every_mode
@pytest.mark.parametrize("close", ["server_close", "drain"])
def test_queued_requests_are_cancelled_without_beginning_when_the_server_closes(mode, close, journal):
    class Begun(Polite):
        def setup(self):
            self.server.journal.write("begun")

    kind = server_class(mode, TCP, journal=journal, **one_at_a_time(mode))
    with Reactor() as reactor, made(kind, TCP, Begun, reactor) as server, clients_of(server, 3) as clients:
        with running(server):
            greet(clients[0])
            wait_until(lambda: len(reactor.table) == 3)
        if close == "drain":
            assert [row["stage"] for row in bounded(server.drain, 0.1)[1:]] == ["queued"] * 2
        bounded(server.server_close)
        assert [rest(client) for client in clients[1:]] == [b"", b""]
        in_line = [row for row in reactor.table.closed if row["stage"] == "queued"]
        assert [row["reason"].partition(":")[0] for row in in_line] == ["Cancelled"] * 2
        assert not reactor.table
        assert journal.lines() == ["begun"]


@every_mode
def test_queued_requests_end_before_server_close_returns(mode):
    reader, writer = os.pipe()

    def hold(request, client_address, server):
        os.read(reader, 1)

    with serving(hold, mode, **one_at_a_time(mode)) as server, clients_of(server, 2) as (_, second):
        wait_until(lambda: len(server.reactor.table) == 2)
        closing = threading.Thread(target=server.server_close)
        closing.start()
        assert rest(second) == b""
        assert closing.is_alive()
        os.write(writer, b"x")
        closing.join(PATIENCE)
    os.close(reader)
    os.close(writer)


@every_mode
def test_a_drain_lets_queued_requests_begin(mode):
    kind = server_class(mode, TCP, **one_at_a_time(mode))
    with made(kind, TCP, Polite) as server, clients_of(server, 3) as clients:
        with running(server):
            greet(clients[0])
            wait_until(lambda: len(server.reactor.table) == 3)
        for client in clients:
            client.sendall(b"one\ntwo\n")
        assert bounded(server.drain, PATIENCE) == []
        assert [rest(client) for client in clients] == [b"one\n", *[b"one\ntwo\n"] * 2]


def test_a_child_holds_no_queued_connection():
    with serving(Polite, "fork", **one_at_a_time("fork")) as server, connect(server) as first:
        greet(first)
        with connect(server) as second:
            wait_until(lambda: len(server.reactor.table) == 2)
            _, row = server.reactor.table
            server.reactor.call_soon(row.lose, TimeoutError("enough"))
            assert rest(second) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "TimeoutError: enough"
        with connect(server) as third:  # forked after another request has left the queue
            wait_until(lambda: len(server.reactor.table) == 2)
            for client in first, third:
                client.sendall(b"one\ntwo\n")
            assert rest(first) == b"one\n"
            assert rest(third) == b"one\ntwo\n"


def test_a_thread_whose_request_has_ended_before_it_makes_room_at_its_end():
    let_go = threading.Event()

    class Hook:
        def process_request(self, request, client_address):
            super().process_request(request, client_address)
            if not let_go.is_set():
                raise ValueError("a hook raises when the thread has begun")

        def handle_error(self, request, client_address):
            pass

    class Holds(Unframed):
        def handle(self):
            if let_go.is_set():
                super().handle()
            else:
                let_go.wait(PATIENCE)

    with serving(Holds, "thread", TCP, Hook, max_threads=1) as server, clients_of(server, 2) as (_, second):
        wait_until(lambda: drivers(server) == ["queued"])
        let_go.set()
        second.sendall(b"hello\n")
        assert rest(second) == b"HELLO\n"


def test_queued_requests_begin_in_a_loop_of_steps():
    with Reactor() as reactor, made(server_class("thread", TCP, max_threads=1), TCP, Unframed, reactor) as server:
        thread = threading.Thread(target=lambda: [reactor.step() for _ in iter(lambda: reactor.stopping, True)])
        thread.start()
        try:
            with clients_of(server, 2) as clients:
                wait_until(lambda: drivers(server) == ["thread", "queued"])
                for client in clients:
                    client.sendall(b"hello\n")
                    assert rest(client) == b"HELLO\n"
        finally:
            reactor.stop()
            with connect(server):  # a connection wakes the loop if nothing else does
                thread.join(PATIENCE)
        assert not thread.is_alive()


# A host that has no child or thread to give


@every_mode
def test_a_child_or_thread_that_the_host_refuses_is_asked_for_again(mode, monkeypatch, caplog):
    """The first in the queue stays the first. (Errnos of clone(2) are in tests/hosts/test_kernel.py.)"""
    asked = []

    class Host:
        def process_request(self, request, client_address):
            asked.append(client_address)
            super().process_request(request, client_address)

    has_none_left(monkeypatch, mode, lambda: len(asked) < 4)
    with serving(Polite, mode, TCP, Host) as server, clients_of(server, 3) as clients:
        for client in clients:
            client.sendall(b"one\ntwo\n")
            assert rest(client) == b"one\ntwo\n"
        assert asked == [client.getsockname() for client in [clients[0]] * 3 + clients]
    assert sum("can't begin requests for now" in record.getMessage() for record in caplog.records) == 1


def test_all_queued_requests_begin_when_the_host_has_threads_again(monkeypatch):
    has_threads = threading.Event()

    has_none_left(monkeypatch, "thread", lambda: not has_threads.is_set())
    with serving(Polite, "thread", request_queue_size=128) as server, clients_of(server, 70):
        wait_until(lambda: drivers(server) == ["queued"] * 70)
        has_threads.set()
        wait_until(lambda: drivers(server) == ["thread"] * 70)


@every_mode
def test_an_exception_of_a_hook_does_not_stop_the_queue(mode, caplog):
    class Peeks:
        def process_request(self, request, client_address):
            request.setblocking(False)
            request.recv(1, socket.MSG_PEEK)  # raises as long as the client has sent nothing
            super().process_request(request, client_address)

    with serving(Polite, mode, TCP, Peeks) as server, connect(server) as silent:
        assert rest(silent) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("BlockingIOError")
    assert len(caplog.records) == 1


def test_eagain_of_a_handler_in_the_plain_mode_ends_its_own_request(caplog):
    class Short(StreamHandler):
        async def handle(self):
            raise BlockingIOError(11, os.strerror(11))

    with serving(Short, "plain") as server, connect(server) as client:
        assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("BlockingIOError")
    assert len(caplog.records) == 1


def test_servers_that_share_a_loop_have_a_queue_each():
    with Reactor() as reactor, ExitStack() as stack:
        kind = server_class("thread", TCP, max_threads=1)
        one, other = (stack.enter_context(made(kind, TCP, Reverse, reactor)) for _ in range(2))
        with running(one), clients_of(one, 2), connect(other) as client:
            wait_until(lambda: drivers(one).count("queued") == 1)
            client.sendall(b"5:hello,")
            assert receive(client, 8) == b"5:olleh,"


@every_mode
def test_a_request_that_a_hook_has_closed_may_wait_in_the_queue(mode):
    class Closing:
        closes = ()

        def verify_request(self, request, client_address):
            if client_address in self.closes:
                request.close()
            return True

    with serving(Reverse, mode, TCP, Closing, **one_at_a_time(mode), handle_error=lambda *_: None) as server:
        with connect(server) as first, socket.socket() as second, connect(server) as third:
            wait_until(lambda: len(server.reactor.table) == 2)
            second.bind(("127.0.0.1", 0))
            type(server).closes = (second.getsockname(),)
            second.connect(server.server_address)
            wait_until(lambda: len(server.reactor.table) == 3)
            for client in first, third:
                client.sendall(b"5:hello,")
                client.shutdown(socket.SHUT_WR)
                assert rest(client) == b"5:olleh,"
        wait_until(lambda: not server.reactor.table)
