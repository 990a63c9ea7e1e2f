"""Waiting in the table: what comes while all children, or threads, are at others begins when it is its turn."""

import errno
import os
import socket
import threading
from contextlib import ExitStack

import pytest

from handlers import DatagramHandler, DatagramMachine, Packet, StreamHandler, Until
from handlers.services import EchoDatagram
from reactor import Reactor
from reactor.request import IN_LINE
from tests.serving import (
    PACKETS,
    PATIENCE,
    STREAMS,
    Conversation,
    Reverse,
    Shout,
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
from tests.test_drain import Polite
from tests.test_packets import Pair

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # so is every test here

TCP, UDP = STREAMS["tcp"], PACKETS["udp"]
BOUNDS = {"fork": "max_children", "thread": "max_threads"}
every_mode = pytest.mark.parametrize("mode", BOUNDS)


def drivers(server):
    """What each row is driven by, without the number of it."""
    found = [row["driver"] for row in server.reactor.table.as_dicts()]
    return [driver if driver == IN_LINE else driver.split()[0] for driver in found]


def one_at_a_time(mode, number=1):
    return {BOUNDS[mode]: number}


def has_none_left(monkeypatch, mode, is_short):
    """While ``is_short()``, the host has no child, or thread, to give to a server that is `running`."""

    def fork():
        if is_short():
            raise OSError(errno.EAGAIN, "no child")
        return real()

    def start(thread):
        if threading.current_thread().name == "server" and is_short():
            raise RuntimeError("can't start new thread")
        real(thread)

    host, name, call = {"fork": (os, "fork", fork), "thread": (threading.Thread, "start", start)}[mode]
    real = getattr(host, name)
    monkeypatch.setattr(host, name, call)


def greet(client):
    """Have the client's first line answered."""
    client.sendall(b"one\n")
    assert receive(client, 4) == b"one\n"


# Its turn


@every_mode
@pytest.mark.parametrize(("handler", "question", "answer"), [
    (Reverse, b"5:hello,", b"5:olleh,"), (Conversation, b"5:hello,", b"5:olleh,"), (Shout, b"hello\n", b"HELLO\n")
])  # fmt: skip
def test_what_is_over_the_bound_waits_in_the_table_for_its_turn(mode, handler, question, answer):
    driver = {"fork": "child", "thread": "thread"}[mode]
    with serving(handler, mode, **one_at_a_time(mode, 3)) as server, ExitStack() as stack:
        clients = []
        for number in range(1, 13):
            clients.append(stack.enter_context(connect(server)))
            wait_until(lambda number=number: len(server.reactor.table) == number)
        for first in range(12):
            left = 12 - first
            wait_until(lambda left=left: drivers(server) == [driver] * min(3, left) + [IN_LINE] * (left - 3))
            clients[first].sendall(question)
            clients[first].shutdown(socket.SHUT_WR)
            assert rest(clients[first]) == answer
        wait_until(lambda: not server.reactor.table)
        assert [row["serial"] for row in server.reactor.table.closed] == list(range(1, 13))
        assert {row["reason"] for row in server.reactor.table.closed} == {""}


@every_mode
def test_rows_of_packets_wait_too_with_all_that_their_peers_send(mode):
    with serving(Pair, mode, UDP, **one_at_a_time(mode)) as server, peer(server) as one, peer(server) as other:
        one.send(b"1")
        wait_until(lambda: len(server.reactor.table) == 1)
        for packet in b"a", b"b":
            other.send(packet)
            wait_until(lambda: server.reactor.table.as_dicts()[-1]["driver"] == IN_LINE)
        wait_until(lambda: server.reactor.table.as_dicts()[-1]["held_in"] == 2)
        one.send(b"2")
        assert one.recv(8) == b"12"
        assert other.recv(8) == b"ab"
        wait_until(lambda: not server.reactor.table)
        assert server.reactor.stats()["held"] == 0


@every_mode
def test_of_one_peers_packets_as_many_wait_as_in_every_mode_and_the_rest_is_counted(mode):
    most = DatagramMachine.max_packets
    with serving(Pair, mode, UDP, **one_at_a_time(mode)) as server, peer(server) as one, peer(server) as other:
        one.send(b"1")
        wait_until(lambda: len(server.reactor.table) == 1)
        for number in range(most + 3):
            other.send(b"a" * 500)
            wait_until(lambda number=number: server.reactor.stats()["held"] >= 500 * min(number + 1, most))
        wait_until(lambda: server.reactor.stats()["refused"] == {"backlog": 3})


def test_who_may_have_no_children_needs_none():
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


def test_a_child_of_a_handler_counts_too():
    class Explicit(Shout):
        def handle(self):
            if self.server.fork_request(self.request) == 0:
                super().handle()

    with Reactor() as reactor:
        reactor.max_children = 1
        with serving(Explicit, "plain", reactor=reactor) as server, connect(server) as first, connect(server) as second:
            wait_until(lambda: drivers(server) == ["child", IN_LINE])
            for client in second, first:
                client.sendall(b"hello\n")
            assert (rest(first), rest(second)) == (b"HELLO\n", b"HELLO\n")
            wait_until(lambda: not server.reactor.table)


def test_after_stop_nobody_begins():
    class Explicit(Shout):
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
            wait_until(lambda: drivers(server) == ["child", IN_LINE, IN_LINE])
            first.sendall(b"hello\n")
            assert rest(first) == b"HELLO\n"
            assert rest(second) == b""
            server.shutdown()
            assert drivers(server) == [IN_LINE]


@every_mode
def test_the_time_in_line_does_not_count(mode):
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


# Who leaves, and what ends


@every_mode
def test_a_client_that_leaves_the_line_hurts_nobody(mode):
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
@pytest.mark.parametrize("close", ["server_close", "drain"])
def test_who_is_in_line_when_the_server_closes_is_told_of_as_cancelled_and_not_begun(mode, close, journal):
    class Begun(Polite):
        def setup(self):
            self.server.journal.write("begun")

    kind = server_class(mode, TCP, journal=journal, **one_at_a_time(mode))
    with Reactor() as reactor, made(kind, TCP, Begun, reactor) as server, clients_of(server, 3) as clients:
        with running(server):
            greet(clients[0])
            wait_until(lambda: len(reactor.table) == 3)
        if close == "drain":
            assert [row["driver"] for row in bounded(server.drain, 0.1)[1:]] == [IN_LINE] * 2
        bounded(server.server_close)
        assert [rest(client) for client in clients[1:]] == [b"", b""]
        in_line = [row for row in reactor.table.closed if row["driver"] == IN_LINE]
        assert [row["reason"].partition(":")[0] for row in in_line] == ["Cancelled"] * 2
        assert not reactor.table
        assert journal.lines() == ["begun"]


@every_mode
def test_who_is_in_line_need_not_wait_until_a_server_that_closes_has_closed(mode):
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
def test_a_drain_lets_the_line_go_on(mode):
    kind = server_class(mode, TCP, **one_at_a_time(mode))
    with made(kind, TCP, Polite) as server, clients_of(server, 3) as clients:
        with running(server):
            greet(clients[0])
            wait_until(lambda: len(server.reactor.table) == 3)
        for client in clients:
            client.sendall(b"one\ntwo\n")
        assert bounded(server.drain, PATIENCE) == []
        assert [rest(client) for client in clients] == [b"one\n", *[b"one\ntwo\n"] * 2]


def test_a_child_holds_no_connection_that_is_in_line():
    with serving(Polite, "fork", **one_at_a_time("fork")) as server, connect(server) as first:
        greet(first)
        with connect(server) as second:
            wait_until(lambda: len(server.reactor.table) == 2)
            _, row = server.reactor.table
            server.reactor.call_soon(row.evict, TimeoutError("enough"))
            assert rest(second) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "TimeoutError: enough"
        with connect(server) as third:  # begins after another has left the line
            wait_until(lambda: len(server.reactor.table) == 2)
            for client in first, third:
                client.sendall(b"one\ntwo\n")
            assert rest(first) == b"one\n"
            assert rest(third) == b"one\ntwo\n"


def test_a_thread_whose_end_was_told_of_before_makes_room_all_the_same():
    let_go = threading.Event()

    class Hook:
        def process_request(self, request, client_address):
            super().process_request(request, client_address)
            if not let_go.is_set():
                raise ValueError("a hook raises when the thread has begun")

        def handle_error(self, request, client_address):
            pass

    class Holds(Shout):
        def handle(self):
            if let_go.is_set():
                super().handle()
            else:
                let_go.wait(PATIENCE)

    with serving(Holds, "thread", TCP, Hook, max_threads=1) as server, clients_of(server, 2) as (_, second):
        wait_until(lambda: drivers(server) == [IN_LINE])
        let_go.set()
        second.sendall(b"hello\n")
        assert rest(second) == b"HELLO\n"


def test_the_line_goes_on_in_a_loop_of_steps():
    with Reactor() as reactor, made(server_class("thread", TCP, max_threads=1), TCP, Shout, reactor) as server:
        thread = threading.Thread(target=lambda: [reactor.step() for _ in iter(lambda: reactor.stopping, True)])
        thread.start()
        try:
            with clients_of(server, 2) as clients:
                wait_until(lambda: drivers(server) == ["thread", IN_LINE])
                for client in clients:
                    client.sendall(b"hello\n")
                    assert rest(client) == b"HELLO\n"
        finally:
            reactor.stop()
            with connect(server):  # which makes it look, if nothing else does
                thread.join(PATIENCE)
        assert not thread.is_alive()


# Bounds of the line itself


@every_mode
@pytest.mark.parametrize("at_limit", ["pause", "refuse", "evict"])
def test_the_line_is_bounded_by_the_size_of_the_table(mode, at_limit):
    members = {**one_at_a_time(mode), "max_requests": 3, "at_limit": at_limit}
    with serving(Polite, mode, **members) as server, clients_of(server, 5) as clients:
        wait_until(lambda: len(server.reactor.table) == 3)
        if at_limit == "refuse":
            wait_until(lambda: server.reactor.stats()["refused"] == {"max_requests": 2})
        for client in clients[: 3 if at_limit == "refuse" else 5]:
            client.sendall(b"one\ntwo\n")
        heard = [rest(client) for client in clients]
        assert heard == [b"one\ntwo\n"] * (3 if at_limit == "refuse" else 5) + [b""] * (2 * (at_limit == "refuse"))


@every_mode
def test_packets_in_line_count_in_the_budget_of_all_rows(mode):
    with Reactor() as reactor:
        reactor.max_held = 10_000
        with (
            serving(Pair, mode, UDP, reactor=reactor, **one_at_a_time(mode)) as server,
            peer(server) as one, peer(server) as greedy, peer(server) as modest,
        ):  # fmt: skip
            one.send(b"1")
            wait_until(lambda: len(reactor.table) == 1)
            for client, size in (modest, 1), (greedy, 6_000), (greedy, 6_000):
                client.send(b"a" * size)
            wait_until(lambda: "LimitPassed" in reactor.stats()["ended"])
            assert reactor.table.closed[0]["peer"].endswith(f":{greedy.getsockname()[1]}")
            modest.send(b"b")
            one.send(b"2")
            assert one.recv(8) == b"12"
            assert modest.recv(8) == b"ab"
            wait_until(lambda: not reactor.table)  # who was put out has not come back by himself


@every_mode
def test_who_was_put_out_of_the_line_is_not_counted_again(mode):
    with Reactor() as reactor:
        reactor.max_held = 10_000
        with (
            made(server_class(mode, UDP, **one_at_a_time(mode)), UDP, Pair, reactor) as server,
            peer(server) as one, peer(server) as greedy, peer(server) as modest,
        ):  # fmt: skip
            one.send(b"1")
            for client, size in (modest, 1), (modest, 1), *[(greedy, 6_000)] * 3:  # all of it in one batch
                client.send(b"a" * size)
            with running(server):
                wait_until(lambda: "LimitPassed" in reactor.stats()["ended"])
                one.send(b"2")
                assert one.recv(8) == b"12"
                assert modest.recv(8) == b"aa"
            reactor.cancel(reactor.table)
            hosts = {row["peer"] for row in reactor.table.closed if row["reason"].startswith("LimitPassed")}
            assert hosts == {f"127.0.0.1:{greedy.getsockname()[1]}"}
            assert reactor.stats()["held"] == 0


@pytest.mark.parametrize("leaves", ["begins", "is cancelled"])
def test_who_has_left_the_line_is_not_put_out_of_it(leaves):
    let_go, gate = threading.Event(), threading.Event()

    class Triples(DatagramHandler):
        async def handle(self):
            first = await Packet()
            if first == b"hold":
                let_go.wait(PATIENCE)
            else:
                self.send(first + await Packet() + await Packet())

    class Long(StreamHandler):
        async def handle(self):
            self.send(b"ready\n")
            await Until(b"\n", limit=65_536)

    with Reactor() as reactor:
        reactor.max_held = 10_000
        with (
            made(server_class("thread", UDP, max_threads=1), UDP, Triples, reactor) as server,
            serving(Long, "thread", reactor=reactor) as other,
            peer(server) as one, peer(server) as greedy, connect(other) as client,
        ):  # fmt: skip
            assert receive(client, 6) == b"ready\n"
            one.send(b"hold")
            wait_until(lambda: len(reactor.table) == 2)
            for _ in range(2):
                greedy.send(b"a" * 4_000)
            wait_until(lambda: reactor.stats()["held"] == 8_000)
            reactor.call_soon(gate.wait, PATIENCE)  # until then the loop does nothing
            if leaves == "begins":
                let_go.set()
                wait_until(lambda: len(reactor.table) == 2)  # its thread has ended, and the next in line may begin
            else:
                reactor.call_soon(lambda: reactor.cancel(row for row in reactor.table if row.driver == IN_LINE))
            client.sendall(b"a" * 5_000)
            wait_until(lambda: reactor.stats()["held"] <= 5_000)  # the next in line is to be put out
            gate.set()
            wait_until(lambda: IN_LINE not in drivers(server))
            let_go.set()
            for _ in range(1 if leaves == "begins" else 3):
                greedy.send(b"b")
            assert greedy.recv(65_536) == (b"a" * 8_000 + b"b" if leaves == "begins" else b"bbb")


def test_who_comes_back_to_the_line_may_be_too_much(monkeypatch, caplog):
    """Others may have taken the room meanwhile; here it is the bound that has changed."""

    class Tightens:
        def process_request(self, request, client_address):
            self.reactor.max_held = 10 if len(request[0]) > 10 else 1_000
            super().process_request(request, client_address)

    has_none_left(monkeypatch, "fork", lambda: reactor.max_held == 10)
    with (
        Reactor() as reactor, serving(EchoDatagram, "fork", UDP, Tightens, reactor=reactor) as server,
        peer(server) as greedy, peer(server) as modest,
    ):  # fmt: skip
        greedy.send(b"a" * 100)
        wait_until(lambda: reactor.stats()["ended"] == {"LimitPassed": 1})
        modest.send(b"word")
        assert modest.recv(8) == b"word"
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # that there was no child


def test_no_more_packets_wait_in_line_than_a_kernel_would_keep():
    let_go = threading.Event()

    def hold(request, client_address, server):
        let_go.wait(PATIENCE)
        request[1].sendto(request[0], client_address)

    with serving(hold, "thread", UDP, max_threads=1) as server, peer(server) as client:
        for number in range(300):
            client.send(b"%d" % number)
            wait_until(lambda number=number: len(server.reactor.table) == min(number + 1, 257))
        let_go.set()
        assert [client.recv(8) for _ in range(300)] == [b"%d" % number for number in range(300)]


# A host that has no child or thread to give


@every_mode
def test_a_host_that_is_short_is_asked_again(mode, monkeypatch, caplog):
    """An errno of clone(2) itself is in test_kernel; here, that the first in line stays the first."""
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


def test_all_begin_when_the_host_has_threads_again(monkeypatch):
    has_threads = threading.Event()

    has_none_left(monkeypatch, "thread", lambda: not has_threads.is_set())
    with serving(Polite, "thread", request_queue_size=128) as server, clients_of(server, 70):
        wait_until(lambda: drivers(server) == [IN_LINE] * 70)
        has_threads.set()
        wait_until(lambda: drivers(server) == ["thread"] * 70)


@every_mode
def test_what_a_hook_raises_does_not_hold_up_the_line(mode, caplog):
    class Peeks:
        def process_request(self, request, client_address):
            request.setblocking(False)
            request.recv(1, socket.MSG_PEEK)  # which a client that says nothing lets fail
            super().process_request(request, client_address)

    with serving(Polite, mode, TCP, Peeks) as server, connect(server) as silent:
        assert rest(silent) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("BlockingIOError")
    assert len(caplog.records) == 1


def test_what_a_handler_of_the_plain_mode_raises_is_its_own(caplog):
    class Short(StreamHandler):
        async def handle(self):
            raise BlockingIOError(11, os.strerror(11))

    with serving(Short, "plain") as server, connect(server) as client:
        assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"].startswith("BlockingIOError")
    assert len(caplog.records) == 1


def test_servers_that_share_a_loop_have_a_line_each():
    with Reactor() as reactor, ExitStack() as stack:
        kind = server_class("thread", TCP, max_threads=1)
        one, other = (stack.enter_context(made(kind, TCP, Reverse, reactor)) for _ in range(2))
        with running(one), clients_of(one, 2), connect(other) as client:
            wait_until(lambda: drivers(one).count(IN_LINE) == 1)
            client.sendall(b"5:hello,")
            assert receive(client, 8) == b"5:olleh,"
