"""Admission: `max_requests`, `at_limit`, `max_per_peer` and `verify_request()`."""

import threading
from contextlib import ExitStack, closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import StreamHandler, Until
from handlers.services import Echo
from reactor import Reactor, RequestTable, SelectTCPServer
from reactor.loop.selecting import DefaultSelector
from reactor.testing import World
from tests.support.bench import bench
from tests.support.loops import Clock, until
from tests.support.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    Reverse,
    ask,
    connect,
    made,
    rest,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])  # the plain mode never reaches the limit
def test_connections_over_max_requests_may_be_refused(mode):
    with (
        serving(Reverse, mode, max_requests=2, at_limit="refuse") as server,
        connect(server) as first,
        connect(server),
    ):
        wait_until(lambda: len(server.reactor.table) == 2)
        with connect(server) as third:
            assert third.recv(10) == b""
        assert server.reactor.stats()["refused"] == {"max_requests": 1}
        first.close()
        wait_until(lambda: len(server.reactor.table) == 1)
        assert ask(server, b"5:hello,") == b"5:olleh,"


@pytest.mark.parametrize("mode", MODES)
def test_a_bound_of_nothing_may_be_raised_while_nothing_is_open(mode):
    with serving(Reverse, mode, max_requests=0) as server, connect(server) as waiting:
        waiting.sendall(b"5:hello,")
        wait_until(lambda: server.reactor.paused)
        server.max_requests = 1
        assert waiting.recv(10) == b"5:olleh,"


def test_the_row_that_was_idle_longest_is_evicted():
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        here.server.max_requests, here.server.at_limit = 2, "evict"
        first, second = here.connect(), here.connect()
        clock.seconds += 1
        first.sendall(b"alive")
        assert here.take(first, 5) == b"alive"
        third = here.connect()
        assert second.recv(10) == b""
        [told] = here.table.closed
        assert (told["serial"], told["reason"]) == (2, "Cancelled: evicted: idle longest when another request came")
        for client in first, third:
            client.sendall(b"served")
            assert here.take(client, 6) == b"served"


def test_a_client_that_does_not_take_its_answer_counts_as_idle():
    """A request that has ended holds its row until its output is sent."""

    class Much(StreamHandler):
        def handle(self):
            self.send(bytes(8 << 20))

    with bench(Much) as here:
        here.server.max_requests, here.server.at_limit = 2, "evict"
        for _ in range(2):
            here.connect()
        here.until(lambda: all(row.state == "finished" for row in here.table))
        newcomer = here.connect()
        assert here.take(newcomer, 10) == bytes(10)
        assert here.reactor.stats()["refused"] == {}
        [told] = here.table.closed
        assert (told["serial"], told["reason"]) == (1, "Cancelled: evicted: idle longest when another request came")


def test_arrivals_in_one_batch_evict_no_more_rows_than_they_need():
    with bench(Echo) as here:
        here.server.max_requests, here.server.at_limit = 5, "evict"
        here.server.socket.listen(20)
        for _ in range(20):
            here.clients.append(connect(here.server))
        here.until(lambda: len(here.table.closed) == 15)
        here.rest()
        assert len(here.table) == 5
        assert here.reactor.stats()["refused"] == {}
        assert here.reactor.stats()["ended"] == {"Cancelled": 15}


@given(st.lists(st.integers(0, 4), max_size=40))
@settings(max_examples=25)
def test_after_any_events_the_idlest_row_is_evicted(events):
    """An event is the place of the row that gets input, in the order of arrival; past the last, a client connects."""
    clock = Clock()
    with bench(Echo, clock=clock) as here:
        here.server.max_requests, here.server.at_limit = 4, "evict"
        spoke = {}
        rows = [here.connect() for _ in range(4)]
        for serial, client in enumerate(rows, 1):
            spoke[client] = clock.seconds, serial
        for event in events:
            clock.seconds += 1
            if event < len(rows):
                client = rows[event]
                client.sendall(b"x")
                assert here.take(client, 1) == b"x"
                spoke[client] = clock.seconds, spoke[client][1]
            else:
                idlest = min(rows, key=spoke.get)
                rows.remove(idlest)
                rows.append(here.connect())
                assert here.table.closed[-1]["serial"] == spoke.pop(idlest)[1]
                spoke[rows[-1]] = clock.seconds, here.row.serial


def test_an_arrival_at_the_limit_does_not_search_the_whole_table(monkeypatch):
    looks, iterate = [], RequestTable.__iter__
    with bench(Echo) as here:
        here.server.max_requests, here.server.at_limit = 50, "evict"
        for _ in range(50):
            here.connect()
        here.rest()
        monkeypatch.setattr(RequestTable, "__iter__", lambda table: looks.append(table) or iterate(table))
        for _ in range(40):
            here.clients.append(connect(here.server))
            here.reactor.step(PATIENCE)
        assert here.reactor.table.ends == {"Cancelled": 40}
        assert len(looks) == 1


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_where_no_row_can_be_evicted_connections_wait_in_the_backlog(mode):
    with (
        serving(Reverse, mode, max_requests=1, at_limit="evict") as server,
        connect(server) as first,
        connect(server) as second,
    ):
        second.sendall(b"2:ab,")
        first.sendall(b"5:hello,")
        assert first.recv(8) == b"5:olleh,"
        first.close()
        assert second.recv(5) == b"2:ba,"


def test_one_host_has_at_most_max_per_peer_requests():
    with bench(Echo) as here:
        here.server.max_per_peer = 2
        first, _ = here.connect(), here.connect()
        third = connect(here.server)
        here.clients.append(third)
        here.rest()
        assert third.recv(10) == b""
        first.close()
        here.until(lambda: len(here.table) == 1)
        fourth = here.connect()
        fourth.sendall(b"word")
        assert here.take(fourth, 4) == b"word"
        assert here.reactor.stats()["refused"] == {"max_per_peer": 1}


def test_an_ipv4_host_counts_as_one_on_sockets_of_both_families():
    with Reactor() as loop, ExitStack() as stack:
        for place in STREAMS["tcp"], STREAMS["mapped"]:
            kind = server_class("select", place, max_per_peer=1)
            server = stack.enter_context(kind((place.host, 0), Echo, reactor=loop))
            stack.enter_context(connect(server))
        until(loop, lambda: loop.table and loop.table.refused)
        assert (len(loop.table), loop.stats()["refused"]) == (1, {"max_per_peer": 1})


def test_requests_that_verify_request_refuses_are_counted():
    with bench(Echo) as here:
        here.server.verify_request = lambda request, client_address: False
        client = connect(here.server)
        here.clients.append(client)
        here.rest()
        assert client.recv(10) == b""
        assert here.reactor.stats()["refused"] == {"verify_request": 1}


def test_an_invalid_at_limit_is_refused():
    with pytest.raises(ValueError, match=r"at_limit is one of .*'refuse'.*, not 'panic'"):
        server_class("select", STREAMS["tcp"], at_limit="panic")(("127.0.0.1", 0), Echo)


def test_a_server_refuses_when_it_has_no_row_of_its_own_to_evict():
    evicting = server_class("select", STREAMS["tcp"], max_requests=1, at_limit="evict")
    with (
        closing(Reactor()) as reactor,
        made(SelectTCPServer, STREAMS["tcp"], Echo, reactor) as full,
        made(evicting, STREAMS["tcp"], Echo, reactor) as other,
        connect(full),
    ):
        until(reactor, lambda: len(reactor.table))
        with connect(other) as client:
            until(reactor, lambda: reactor.table.refused)
            assert reactor.table.refused == {"max_requests": 1}
            assert [row.server for row in reactor.table] == [full]
            assert rest(client) == b""


def test_an_evicted_row_whose_finish_raises_makes_room_all_the_same(caplog):
    class Clinging(Echo):
        def finish(self):
            raise LookupError("not yet")

    evicting = {"max_requests": 1, "at_limit": "evict"}
    with serving(Clinging, "select", **evicting) as server, connect(server) as first, connect(server) as second:
        assert rest(first) == b""
        second.sendall(b"here")
        assert second.recv(4) == b"here"
    assert "LookupError" in caplog.text


def test_room_that_a_thread_makes_while_accepting_is_being_paused_is_noticed():
    begun, let_go = threading.Semaphore(0), threading.Event()

    class Slowly(DefaultSelector):
        """Lets the thread end when the listener is unregistered, and waits for its end."""

        def unregister(self, fileobj):
            key = super().unregister(fileobj)
            if key.data is port and not let_go.is_set():
                let_go.set()
                wait_until(lambda: not len(server.reactor.table))
            return key

    def hold(request, client, server):
        begun.release()
        let_go.wait(PATIENCE)

    kind = server_class("thread", STREAMS["tcp"], max_requests=1)
    with closing(Reactor(Slowly())) as reactor, made(kind, STREAMS["tcp"], hold, reactor) as server:
        port = reactor.sources[server.fileno()]
        with connect(server) as first, connect(server) as second, running(server):
            assert begun.acquire(timeout=PATIENCE)
            assert begun.acquire(timeout=PATIENCE)
            assert (rest(first), rest(second)) == (b"", b"")


def test_listeners_that_wait_for_room_are_served_in_their_order():
    """The order must not be that of a set, which differs between processes."""

    class Single(SelectTCPServer):
        max_requests = 1

    class Short(Echo):
        timeout = 10.0

    with World() as world:
        addresses = [("10.0.0.1", port) for port in range(1, 40)]
        for address in addresses:
            world.serve(Single, address, Short)
        world.connect(addresses[0])
        world.run(until=lambda: len(world.reactor().table) == 1)
        for address in addresses:
            world.connect(address)
        ports = world.reactor().sources
        world.run(until=lambda: not any(port.mask for port in ports.values()))
        world.run(until=lambda: any(port.mask for port in ports.values()))
        resumed = [number for number in world.keys if number in ports]
        assert len(resumed) == len(addresses)
        assert resumed == sorted(resumed)


@pytest.mark.parametrize(("mode", "bound"), [("thread", "max_threads"), ("fork", "max_children")])
def test_a_mode_at_its_bound_warns_once_and_names_the_ways_out(mode, bound, caplog):
    class Holding(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))
            await Until(b"\n")

    with serving(Holding, mode, **{bound: 1}) as server, connect(server) as first:
        first.sendall(b"x\n")
        assert first.recv(2) == b"x\n"
        with connect(server), connect(server):
            wait_until(lambda: len(server.reactor.table) == 3)
            [line] = caplog.messages
            assert f"all {bound} = 1" in line
            assert "Select" in line
            first.sendall(b"\n")
            wait_until(lambda: len(server.reactor.table) < 3)
