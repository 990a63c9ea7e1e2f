"""The table as a collection: serials, iteration, bounds, and other threads."""

import json
import socket
import subprocess
import sys
from contextlib import ExitStack, closing
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

import pytest

from handlers.services import Echo
from reactor import Reactor, Request, RequestTable, SelectTCPServer
from reactor.loop.interest import Interest
from reactor.rows.stream import StreamRow
from tests import ROOT
from tests.support.bench import bench
from tests.support.loops import hasty_threads, in_thread, until
from tests.support.serving import connect, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are


def test_serials_count_from_one_and_are_never_reused():
    with bench(Echo) as here:
        for number in range(1, 30):
            client = here.connect()
            assert here.row.serial == number
            if number % 3:
                client.close()
                here.until(lambda number=number: number not in [row.serial for row in here.table])
        serials = [row.serial for row in here.table]
        assert serials == list(range(3, 30, 3))


def test_servers_of_one_loop_share_the_serials():
    with closing(Reactor()) as reactor, ExitStack() as stack:
        servers = [stack.enter_context(SelectTCPServer(("127.0.0.1", 0), Echo, reactor=reactor)) for _ in range(2)]
        for number in range(1, 7):
            stack.enter_context(connect(servers[number % 2]))
            until(reactor, lambda number=number: len(reactor.table) == number)
        assert [row.serial for row in reactor.table] == [1, 2, 3, 4, 5, 6]
        assert [row.server for row in reactor.table] == servers[::-1] * 3


class Server:
    """What a row asks of its server."""

    RequestHandlerClass = Echo


def rows_of(table, number):
    """Rows without a driver."""
    with closing(Reactor()) as reactor:
        rows = [Request(reactor, Server(), None, None) for _ in range(number)]
    for row in rows:
        table.add(row)
    return rows


def test_iteration_is_over_the_rows_of_the_moment():
    with closing(DefaultSelector()) as selector:
        table = RequestTable(Interest(selector))
        rows = rows_of(table, 5)
        seen = []
        for row in table:
            seen.append(row)
            for each in rows:
                table.remove(each)
            rows_of(table, 1)
        assert seen == rows
        assert len(table) == 5
        assert not set(seen) & set(table)


def test_a_row_is_in_the_table_from_add_to_remove():
    with closing(DefaultSelector()) as selector:
        table = RequestTable(Interest(selector))
        first, second = rows_of(table, 2)
        assert (first in table, second in table, "first" in table) == (True, True, False)
        table.remove(first)
        table.remove(first)
        assert (first in table, second in table, len(table), list(table)) == (False, True, 1, [second])


def test_a_removed_row_is_unregistered_before_it_is_closed():
    selector = DefaultSelector()
    here, there = socket.socketpair()
    with closing(Reactor(selector)) as reactor, here, there:
        row = StreamRow(reactor, None, here, None, Echo(), None)
        reactor.table.add(row)
        reactor.interest.want(row, EVENT_READ | EVENT_WRITE)
        assert selector.get_key(here).data is row
        reactor.table.remove(row)
        assert (dict(selector.get_map()), row.mask) == ({}, 0)


def test_a_full_table_takes_no_row_until_one_ends():
    with bench(Echo) as here:
        here.server.max_requests = 2
        first, second = here.connect(), here.connect()
        third = connect(here.server)
        here.clients.append(third)
        third.sendall(b"third")
        here.rest()
        assert len(here.table) == 2
        second.sendall(b"second")
        assert here.take(second, 6) == b"second"
        first.close()
        assert here.take(third, 5) == b"third"
        assert [row.serial for row in here.table] == [2, 3]


def test_a_row_of_another_table_is_not_in_this_one():
    with closing(DefaultSelector()) as selector:
        tables = [RequestTable(Interest(selector)) for _ in range(2)]
        (ours,), (theirs,) = (rows_of(table, 1) for table in tables)
        assert ours.serial == theirs.serial
        assert theirs not in tables[0]


def test_an_inner_loop_shares_the_serials_of_the_outer():
    with closing(DefaultSelector()) as selector:
        outer = RequestTable(Interest(selector))
        inner = RequestTable(Interest(selector), outer)
        rows = [*rows_of(outer, 1), *rows_of(inner, 1), *rows_of(outer, 1)]
        assert [row.serial for row in rows] == [1, 2, 3]
        assert list(outer) == rows
        assert list(inner) == rows[1:2]
        inner.remove(rows[1])
        assert list(outer) == rows[::2]


def test_the_table_may_be_read_from_another_thread():
    with hasty_threads(), serving(Echo, "select") as server:
        table = server.reactor.table

        def churn():
            for _ in range(100):
                with connect(server) as client:
                    client.sendall(b"x")
                    client.recv(1)

        thread = in_thread(churn)
        while thread.is_alive():
            json.dumps(table.as_dicts())
            assert str(table)
        wait_until(lambda: not len(table))


SIGNALLED = """
import signal, socket
from handlers.services import Daytime
from reactor import Reactor, SelectTCPServer
from tests.support.lines import at_each_line

for interruption in at_each_line(lambda code: code.co_filename.endswith("table/table.py")):
    seen = []
    with Reactor() as loop, SelectTCPServer(("127.0.0.1", 0), Daytime, reactor=loop) as server:
        signal.signal(signal.SIGUSR1, lambda *_: seen.append((loop.stats(), list(loop.table.closed), str(loop.table))))
        with (
            socket.create_connection(server.server_address) as client,
            interruption.by(lambda: signal.raise_signal(signal.SIGUSR1)),
        ):
            while not loop.table.ends:
                loop.step(0)
print(interruption.lines)
"""


def test_a_signal_handler_may_look_at_the_table_while_a_row_enters_or_leaves_it():
    """Whatever line the signal comes at; a lock that is not reentrant would keep the process for ever."""
    command = [sys.executable, "-c", SIGNALLED]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) > 20
