"""Rows that send to each other, wait for each other, and end each other."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from handlers import Connected, Flushed, Some, StreamHandler, Until
from tests.support.loops import hasty_threads
from tests.support.serving import (
    PATIENCE,
    Reverse,
    clients_of,
    connect,
    receive,
    receive_lines,
    rest,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are


class Room(StreamHandler):
    """Sends each line of one member to all."""

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
    """The lines of one member: numbered, over ``size`` bytes in all."""
    return [b"%d %d %b\n" % (member, number, b"x" * size) for number in range(each)]


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_output_that_rows_send_to_each_other_is_whole_and_in_order(mode):
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
    """A listener whose connections have small buffers, so that sending to them takes many calls."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    return listener


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_several_rows_may_send_to_a_connection_that_one_of_them_opened(mode):
    class Funnel(StreamHandler):
        """The first line opens a connection, to which the lines of all are sent."""

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
        """The first row is the sink; the others send to it piece by piece, as fast as it drains."""

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
        """Each row closes the row before it, which gets a last line."""

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
