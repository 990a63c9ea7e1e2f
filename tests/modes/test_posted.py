"""What other threads write to a row: it arrives whole and in order, and is bounded and counted as it is written."""

import sys
import threading
from io import BytesIO

import pytest

from handlers import DatagramHandler, Packet, StreamHandler, Threaded, Until
from tests.support.loops import hasty_threads
from tests.support.serving import (
    PACKETS,
    PATIENCE,
    clients_of,
    connect,
    exchange,
    receive_lines,
    rest,
    rest_of_cut,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")

every_mode = pytest.mark.parametrize("mode", ["select", "plain", "fork", "thread"])
LINES = [b"%05d\n" % number for number in range(5_000)]


class Working(StreamHandler):
    """Sends lines from a thread, and then what came of that."""

    async def handle(self):
        await Until(b"\n")
        result = await Threaded(self.work)
        self.send(result)

    def work(self):
        for line in LINES:
            self.send(line)
        return b"done\n"


@every_mode
def test_what_a_handler_sends_in_threaded_arrives_before_what_it_sends_afterwards(mode):
    with serving(Working, mode) as server, hasty_threads(), connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == b"".join(LINES) + b"done\n"


@every_mode
def test_threaded_work_may_send_as_much_as_max_output_at_once(mode):
    class Full(Working):
        max_output = 1_000

        def work(self):
            self.send(bytes(1_000))
            return b""

    with serving(Full, mode) as server, connect(server) as client:
        client.sendall(b"go\n")
        assert rest(client) == bytes(1_000)


def test_threaded_work_may_send_to_rows_that_were_there_before_it():
    class Telling(Working):
        def setup(self):
            self.server.members.append(self)

        def work(self):
            first = self.server.members[0]
            for line in LINES:
                first.send(line)
            first.send_eof()
            return b""

    with serving(Telling, "select", members=[]) as server, hasty_threads(), clients_of(server, 2) as (first, second):
        wait_until(lambda: len(server.members) == 2)
        second.sendall(b"go\n")
        assert receive_lines(first, len(LINES)) == LINES
        assert first.recv(1) == b""


def refusal(call):
    with pytest.raises(RuntimeError) as caught:
        call()
    return f"{caught.value}\n".encode()


@every_mode
def test_what_belongs_in_a_state_is_refused_in_threaded_with_the_remedy(mode):
    class Misled(Working):
        def work(self):
            calls = [
                lambda: self.call(DatagramHandler(), b"", self.send), self.take_held, lambda: self.put_back(b"x"),
                lambda: self.send_file(BytesIO(b"x")),
            ]  # fmt: skip
            return b"".join(map(refusal, calls))

    with serving(Misled, mode) as server, connect(server) as client:
        client.sendall(b"go\n")
        told = rest(client).decode().splitlines()
    remedy = " belongs in a state of the request: let the thread return what the state needs"
    assert told == [what + remedy for what in ("call()", "take_held()", "put_back()", "send_file()")]


def test_it_is_refused_for_requests_of_packets_that_come_after_others_had_threads():
    class Misled(DatagramHandler):
        async def handle(self):
            await Packet()
            self.send(await Threaded(self.work))

        def work(self):
            return refusal(lambda: self.call(DatagramHandler(), b"", self.send))

    with serving(Misled, "select", PACKETS["udp"]) as server:
        for _ in range(2):
            assert exchange(server, b"go")[0].startswith(b"call() belongs in a state of the request")


class Busy(StreamHandler):
    """The first line of a client begins work in the row's own thread; other rows send their lines to that row."""

    max_output = 100_000
    gate: threading.Event
    rows: list
    sent = 0

    async def handle(self):
        while True:
            line = await Until(b"\n")
            if line == b"work\n":
                self.rows.append(self)
                self.gate.wait(PATIENCE)
            else:
                for row in self.rows:
                    row.send(line)
                type(self).sent += len(line)


def busy():
    return type("Busy", (Busy,), {"gate": threading.Event(), "rows": []})


def test_what_is_posted_to_a_row_that_does_not_take_it_is_bounded_by_max_output_and_counted():
    handler = busy()
    line = b"x" * 999 + b"\n"
    with serving(handler, "thread") as server, clients_of(server, 2) as (worker, writer):
        worker.sendall(b"work\n")
        wait_until(lambda: handler.rows)
        (row,) = [row for row in server.reactor.table if row.channel.handler is handler.rows[0]]
        writer.sendall(line * 50)
        wait_until(lambda: handler.sent == 50_000)
        assert row.rare.posted.held == 50_000
        assert server.reactor.stats()["held"] >= 50_000
        writer.sendall(line * 100)
        wait_until(lambda: handler.sent == 150_000)
        assert row.rare.posted.held == 0
        wait_until(lambda: server.reactor.stats()["held"] == 0)
        handler.gate.set()
        wait_until(lambda: server.reactor.table.closed)
        (closed,) = server.reactor.table.closed
        assert closed["reason"] == "LimitPassed: more output waits than the 100000 bytes of Busy.max_output"
        writer.sendall(line)  # to a row that has ended: nothing happens
        wait_until(lambda: handler.sent == 151_000)
        wait_until(lambda: server.reactor.stats()["held"] == 0)
        assert handler.rows[0]._machine.held_out == 0


def test_what_is_posted_to_many_rows_is_bounded_by_max_held():
    handler = busy()
    handler.max_output = 1 << 30
    line = b"x" * 999 + b"\n"
    workers = 5
    with serving(handler, "thread") as server, clients_of(server, workers + 1) as (writer, *crowd):
        loop = server.reactor
        loop.max_held = 200_000
        for client in crowd:
            client.sendall(b"work\n")
        wait_until(lambda: len(handler.rows) == workers)
        held = []
        for _ in range(100):
            sent = handler.sent
            writer.sendall(line)
            wait_until(lambda: handler.sent == sent + 1_000)  # noqa: B023
            held.append(loop.stats()["held"])
        assert max(held) <= 200_000 + workers * 1_000
        handler.gate.set()
        wait_until(lambda: loop.table.closed)
        assert all("(Reactor.max_held)" in row["reason"] for row in loop.table.closed)
        wait_until(lambda: loop.budget.held == 0)


def test_what_is_posted_to_the_row_that_holds_most_is_freed_although_its_thread_is_busy():
    handler = busy()
    handler.max_output = 1_000_000
    data = b"x" * 60_000
    with serving(handler, "thread") as server, connect(server) as worker:
        server.reactor.max_held = 100_000
        worker.sendall(b"work\n")
        wait_until(lambda: handler.rows)
        before = sys.getrefcount(data)
        handler.rows[0].send(data)
        assert sys.getrefcount(data) > before
        handler.rows[0].send(data)
        assert sys.getrefcount(data) == before
        assert server.reactor.stats()["held"] == 0
        handler.gate.set()
        assert rest_of_cut(worker) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert "Reactor.max_held" in server.reactor.table.closed[-1]["reason"]
