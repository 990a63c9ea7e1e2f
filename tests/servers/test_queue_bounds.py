"""The bounds of the requests and packets that wait for a child or a thread."""

import threading

import pytest

from handlers import DatagramHandler, Packet, StreamHandler, Until
from handlers.services import EchoDatagram
from reactor import Reactor
from tests.support.packets import PairConversation
from tests.support.queue import drivers, every_mode, has_none_left, one_at_a_time
from tests.support.serving import (
    PACKETS,
    PATIENCE,
    Polite,
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
UDP = PACKETS["udp"]


@every_mode
@pytest.mark.parametrize("at_limit", ["pause", "refuse", "evict"])
def test_the_queue_is_bounded_by_max_requests(mode, at_limit):
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
def test_queued_packets_count_in_max_held(mode):
    with Reactor() as reactor:
        reactor.max_held = 10_000
        with (
            serving(PairConversation, mode, UDP, reactor=reactor, **one_at_a_time(mode)) as server,
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
            wait_until(lambda: not reactor.table)  # the evicted request has not returned


@every_mode
def test_a_request_that_was_evicted_from_the_queue_is_not_counted_again(mode):
    with Reactor() as reactor:
        reactor.max_held = 10_000
        with (
            made(server_class(mode, UDP, **one_at_a_time(mode)), UDP, PairConversation, reactor) as server,
            peer(server) as one, peer(server) as greedy, peer(server) as modest,
        ):  # fmt: skip
            one.send(b"1")
            for client, size in (modest, 1), (modest, 1), *[(greedy, 6_000)] * 3:  # all in one batch
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
def test_a_request_that_has_left_the_queue_is_not_evicted_from_it(leaves):
    let_go, gate, cancelled = threading.Event(), threading.Event(), threading.Event()

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
            reactor.call_soon(gate.wait, PATIENCE)  # the loop is blocked until then
            if leaves == "begins":
                let_go.set()
                wait_until(lambda: len(reactor.table) == 2)  # the thread has ended, and the next in the queue may begin
            else:
                reactor.call_soon(lambda: reactor.cancel(row for row in reactor.table if row.stage.value == "queued"))
                reactor.call_soon(cancelled.set)
            client.sendall(b"a" * 5_000)
            wait_until(lambda: reactor.stats()["held"] <= 5_000)  # the next in the queue is to be evicted
            gate.set()
            assert leaves == "begins" or cancelled.wait(PATIENCE)  # what comes before that is cancelled, too
            wait_until(lambda: "queued" not in drivers(server))
            let_go.set()
            for _ in range(1 if leaves == "begins" else 3):
                greedy.send(b"b")
            assert greedy.recv(65_536) == (b"a" * 8_000 + b"b" if leaves == "begins" else b"bbb")


def test_a_request_that_returns_to_the_queue_may_be_evicted(monkeypatch, caplog):
    """Others may have taken the room meanwhile; here the bound has changed."""

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
    (host,) = caplog.records
    assert host.levelname == "WARNING"  # that the host has no child; the end is logged at INFO


def test_at_most_256_packets_are_queued_and_the_rest_stay_in_the_kernel():
    let_go = threading.Event()

    def hold(request, client_address, server):
        let_go.wait(PATIENCE)
        request[1].sendto(request[0], client_address)

    kind = server_class("thread", UDP, max_threads=1)
    with Reactor() as reactor, made(kind, UDP, hold, reactor) as server, peer(server) as client:
        for number in range(300):
            client.send(b"%d" % number)
            reactor.step(0)
        for _ in range(300):
            reactor.step(0)
        assert len(reactor.table) == 257
        let_go.set()
        with running(server):
            assert [client.recv(8) for _ in range(300)] == [b"%d" % number for number in range(300)]
