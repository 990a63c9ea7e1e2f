"""Many requests at once: their rows, their bounds, what they say to each other, servers that share a loop."""

import re
import resource
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

import pytest

from handlers import Connected, Flushed, Some, StreamHandler, Until
from handlers.services import EchoDatagram
from reactor import Reactor
from tests.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    Conversation,
    Reverse,
    Shout,
    ask,
    bounded,
    clients_of,
    connect,
    exchange,
    made,
    receive,
    receive_lines,
    rest,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # so is every test here
every_mode = pytest.mark.parametrize("mode", MODES)

CROWD = 500


@pytest.fixture
def many_descriptors():
    """Room for both ends of a crowd in this one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CROWD), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# A crowd that stalls


@pytest.mark.parametrize("handler", [Reverse, Conversation])
def test_one_of_500_is_served_while_all_others_stall(handler, many_descriptors):
    with serving(handler, "select", request_queue_size=CROWD) as server, clients_of(server, CROWD - 1) as stalled:
        table = server.reactor.table
        for client in stalled:
            client.sendall(b"5")
        wait_until(lambda: sum(row.total_in for row in table) == CROWD - 1, "the first byte of everyone")
        with connect(server) as client:
            client.sendall(b"5:hello,")
            assert receive(client, 8) == b"5:olleh,"
            assert len(table) == CROWD
        wait_until(lambda: len(table) == CROWD - 1)

        assert {row.peer for row in table} == {client.getsockname() for client in stalled}
        for row in table.as_dicts():
            assert row["state"].startswith("length" if handler is Reverse else "handle:")
            assert (row["wait"], row["held_in"], row["total_in"]) == ("Until(b':', limit=7)", 1, 1)
            assert 0 <= row["idle"] <= row["age"]
            assert 0 < row["deadline"] <= handler.timeout
            assert row["driver"] == "loop"
        assert len(str(table).splitlines()) == CROWD


@pytest.mark.slow
def test_those_who_stall_cost_nothing(many_descriptors):
    with serving(Reverse, "select", request_queue_size=CROWD) as server, connect(server) as client:
        alone = min(cpu_seconds(server, client) for _ in range(5))
        with clients_of(server, CROWD - 1) as stalled:
            for other in stalled:
                other.sendall(b"5")
            wait_until(lambda: len(server.reactor.table) == CROWD)
            crowded = min(cpu_seconds(server, client) for _ in range(5))
    assert crowded < 2 * alone


def cpu_seconds(server, client, requests=300):
    """Processor time of the server's thread for so many requests of one client."""
    times, asked = [], Event()

    def ask_thread():
        times.append(time.thread_time())
        asked.set()

    for rounds in 0, requests:
        for _ in range(rounds):
            client.sendall(b"5:hello,")
            receive(client, 8)
        asked.clear()
        server.reactor.call_soon(ask_thread)
        assert asked.wait(PATIENCE)
    return times[1] - times[0]


# Rows


DRIVERS = {"select": r"loop", "plain": r"caller", "fork": r"child \d+", "thread": r"thread .+"}


@every_mode
@pytest.mark.parametrize("place", STREAMS)
def test_a_request_is_a_row_while_it_is_open(mode, place):
    with serving(Reverse, mode, STREAMS[place]) as server:
        table = server.reactor.table
        for serial in 1, 2:
            with connect(server) as client:
                client.sendall(b"5:olleh,5:he")
                assert receive(client, 8) == b"5:hello,"
                [row] = wait_until(lambda: [row for row in table if re.fullmatch(DRIVERS[mode], row.driver)])
                assert (row.serial, row.handler) == (serial, "Reverse")
                assert row.server is server
                if server.address_family != socket.AF_UNIX:
                    assert row.peer[1] == client.getsockname()[1]
                if mode != "fork":  # what a child does, only the child knows
                    wait_until(lambda row=row: (row.held_in, row.total_out) == (2, 8))
                    assert (row.state, row.wait) == ("payload", "Exactly(6)")
                    assert (row.held_out, row.total_in) == (0, 12)
                    assert 0 <= row.idle() <= row.age() <= 2 * PATIENCE
                assert_tells(table, row)
            wait_until(lambda: not table)
        assert table.as_dicts() == []


def assert_tells(table, row):
    """The table as text and as plain data says the same of its only row as the row."""
    heading, line = str(table).splitlines()
    assert heading.split()[:4] == ["row", "peer", "handler", "state"]
    assert re.match(rf"{row.serial} +\S+ +{row.handler} +{row.state} +{re.escape(row.wait)}", line)
    assert line.endswith(row.driver)
    [told] = table.as_dicts()
    for name in "serial", "handler", "state", "wait", "driver", "held_in", "held_out", "total_in", "total_out":
        assert told[name] == getattr(row, name)
    assert all(value is None or isinstance(value, (int, float, str)) for value in told.values())


@every_mode
def test_a_blocking_handler_is_a_row_too(mode):
    with serving(Shout, mode) as server, connect(server) as client:
        [row] = wait_until(lambda: [row for row in server.reactor.table if re.fullmatch(DRIVERS[mode], row.driver)])
        assert (row.serial, row.handler, row.peer) == (1, "Shout", client.getsockname())
        client.sendall(b"hello\n")
        assert rest(client) == b"HELLO\n"
        wait_until(lambda: not server.reactor.table)


def test_a_connection_that_a_handler_opens_is_a_row_beside_its_own():
    class Front(StreamHandler):
        async def handle(self):
            await Connected(self.server.upstream, Conversation())
            await Some()

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(Front, "thread", upstream=listener.getsockname()) as server,
        connect(server) as client,
    ):
        upstream, _ = listener.accept()
        with upstream:
            rows = wait_until(
                lambda: (
                    [row for row in server.reactor.table if row.wait == "Some(65536)"] and list(server.reactor.table)
                )
            )
            assert [(row.serial, row.handler, row.peer) for row in rows] == [
                (1, "Front", client.getsockname()), (2, "Conversation", listener.getsockname())
            ]  # fmt: skip
            assert rows[0].driver == rows[1].driver


# Bounds


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "plain"])
@pytest.mark.parametrize("handler", [Reverse, Conversation])
def test_more_clients_than_the_bound_are_all_served(mode, handler):
    with serving(handler, mode, request_queue_size=64, max_requests=3) as server, clients_of(server, 12) as clients:
        for place, client in enumerate(clients):  # the first that came is one of those that are open
            expected = min(3, len(clients) - place)
            wait_until(lambda expected=expected: len(server.reactor.table) >= expected)
            assert len(server.reactor.table) <= 3
            client.sendall(b"5:hello,")
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b"5:olleh,"


# Rows that talk to each other


@contextmanager
def hasty_threads():
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Room(StreamHandler):
    """A line of one is a line for all."""

    async def handle(self):
        room = self.server.room
        room.append(self)
        self.send(b"welcome\n")
        while True:
            line = await Until(b"\n")
            for member in list(room):
                member.send(line)

    def finish(self):
        self.server.room.remove(self)


def numbered(member, each, size=500):
    """What one member says: numbered lines of over ``size`` bytes."""
    return [b"%d %d %b\n" % (member, number, b"x" * size) for number in range(each)]


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_what_rows_say_to_each_other_arrives_whole_and_in_order(mode):
    members, each = 5, 60
    with (
        serving(Room, mode, room=[]) as server,
        clients_of(server, members) as clients,
        hasty_threads(),
        ThreadPoolExecutor(2 * members) as pool,
    ):
        assert [receive(client, 8) for client in clients] == [b"welcome\n"] * members
        for member, client in enumerate(clients):
            pool.submit(client.sendall, b"".join(numbered(member, each)))
        for lines in pool.map(lambda client: receive_lines(client, members * each), clients):
            for member in range(members):
                assert [line for line in lines if line.startswith(b"%d " % member)] == numbered(member, each)


def narrow_listener():
    """A listener whose connections take little at a time: what is sent to them takes long, and many calls."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return listener


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_rows_may_share_a_connection_that_one_of_them_has_opened(mode):
    class Funnel(StreamHandler):
        """The first line opens the connection; the lines of all go there."""

        async def handle(self):
            server = self.server
            if await Until(b"\n") == b"open\n":
                server.shared = await Connected(server.upstream, Reverse())
            self.send(b"ready\n")
            while True:
                server.shared.send(await Until(b"\n"))

    members, each, size = 4, 100, 20_000
    with (
        narrow_listener() as listener,
        serving(Funnel, mode, upstream=listener.getsockname(), shared=None) as server,
        clients_of(server, members) as clients,
        hasty_threads(),
        ThreadPoolExecutor(members) as pool,
    ):
        for client, word in zip(clients, [b"open\n", *[b"join\n"] * (members - 1)], strict=True):
            client.sendall(word)
            assert receive(client, 6) == b"ready\n"
        upstream, _ = listener.accept()
        with upstream:
            upstream.settimeout(PATIENCE)
            for member, client in enumerate(clients):
                pool.submit(client.sendall, b"".join(numbered(member, each, size)))
            lines = receive_lines(upstream, members * each)
        for member in range(members):
            assert [line for line in lines if line.startswith(b"%d " % member)] == numbered(member, each, size)


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_rows_may_wait_for_the_output_of_another(mode):
    class Sources(StreamHandler):
        """The first is the sink; what the others say goes there, piece by piece, as fast as it drains."""

        async def handle(self):
            sink = self.server.sink = self.server.sink or self
            self.send(b"ready\n")
            if sink is self:
                await Some()
            size = int(await Until(b"\n"))
            for _ in range(size):
                sink.send(b"x" * 10_000)
                await Flushed(of=sink)
            self.send(b"done\n")

    members, each = 4, 100
    with (
        serving(Sources, mode, sink=None) as server,
        connect(server) as sink,
        hasty_threads(),
    ):
        assert receive(sink, 6) == b"ready\n"
        with clients_of(server, members) as clients:
            for client in clients:
                assert receive(client, 6) == b"ready\n"
                client.sendall(b"%d\n" % each)
            assert receive(sink, members * each * 10_000) == b"x" * (members * each * 10_000)
            assert [receive(client, 5) for client in clients] == [b"done\n"] * members


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_a_row_may_end_another(mode):
    class Last(StreamHandler):
        """Whoever comes shows out who was there, who is told so."""

        def handle(self):
            before, self.server.present = self.server.present, self
            if before is not None:
                before.send(b"make room\n")
                before.close()
                before.send(b"too late")
            self.send(b"welcome\n")
            return Some(), self.handle

    with serving(Last, mode, present=None) as server, clients_of(server, 1) as [first]:
        assert receive(first, 8) == b"welcome\n"
        with connect(server) as second:
            assert receive(second, 8) == b"welcome\n"
            assert rest(first) == b"make room\n"
            wait_until(lambda: [row.serial for row in server.reactor.table] == [2])


# Servers that share a loop


def test_servers_of_all_kinds_and_modes_share_one_loop():
    places = [(place, Reverse, ask, b"5:olleh,") for place in STREAMS.values()]
    places += [(place, EchoDatagram, exchange, [b"5:hello,"]) for place in PACKETS.values()]
    with ExitStack() as stack:
        reactor = Reactor()
        stack.callback(reactor.close)
        servers = [
            (stack.enter_context(made(server_class(mode, place), place, handler, reactor)), client, answer)
            for mode in MODES
            for place, handler, client, answer in places
        ]
        assert len(servers) == 40
        loop = Thread(target=reactor.run, daemon=True)
        loop.start()
        for _ in range(2):
            for server, client, answer in servers:
                assert client(server, b"5:hello,") == answer
        with connect(servers[0][0]), connect(servers[1][0]):  # of servers in select mode: rows of one table
            wait_until(lambda: {row.server for row in reactor.table} == {servers[0][0], servers[1][0]})
            servers[0][0].stop_serving()
            assert ask(servers[1][0], b"5:hello,") == b"5:olleh,"
            bounded(reactor.stop)
            loop.join(PATIENCE)
            assert not loop.is_alive()
