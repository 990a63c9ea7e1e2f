"""Five hundred clients at once: those that stall delay no other."""

import resource
import socket
import sys
from threading import Event

import pytest

from tests.support.counting import Calls
from tests.support.queue import drivers
from tests.support.serving import (
    MODES,
    PATIENCE,
    Conversation,
    Reverse,
    Shout,
    Unframed,
    clients_of,
    connect,
    receive,
    rest,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
CROWD = 500
SILENT, THREADS = 300, 256  # more silent clients than `max_threads` is by default


@pytest.fixture
def many_descriptors():
    """Enough descriptors for both ends of the connections in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4 * CROWD), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# A crowd that stalls


@pytest.mark.parametrize("handler", [Reverse, Conversation])
def test_one_client_of_500_is_served_while_all_others_stall(handler, many_descriptors):
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
            assert row["driven_by"] == "loop"
        assert len(str(table).splitlines()) == CROWD


@pytest.mark.slow
def test_stalled_clients_cost_no_work(many_descriptors):
    with serving(Reverse, "select", request_queue_size=CROWD) as server, connect(server) as client:
        alone = calls(server, client)
        with clients_of(server, CROWD - 1) as stalled:
            for other in stalled:
                other.sendall(b"5")
            wait_until(lambda: len(server.reactor.table) == CROWD)
            crowded = calls(server, client)
    assert crowded < 1.2 * alone  # timers may be due in one of them


def calls(server, client, requests=300):
    """How many functions the loop calls for so many requests of one client."""
    counted, asked = Calls(), Event()

    def ask_thread(profile):
        sys.setprofile(profile)  # of the thread of the server
        asked.set()

    for profile, number in (None, 10), (counted.count, requests), (None, 0):
        asked.clear()
        server.reactor.call_soon(ask_thread, profile)
        assert asked.wait(PATIENCE)
        for _ in range(number):
            client.sendall(b"5:hello,")
            receive(client, 8)
    return counted.python + counted.c


# A crowd that says nothing, and threads without a framing


def test_silent_clients_over_the_bound_of_threads_are_told_of_once_and_the_good_client_waits(many_descriptors, caplog):
    with serving(Unframed, "thread", request_queue_size=CROWD) as server:
        assert server.max_threads == THREADS
        with clients_of(server, SILENT) as silent, connect(server) as good:
            good.sendall(b"hello\n")
            wait_until(lambda: drivers(server) == ["thread"] * THREADS + ["queued"] * (SILENT + 1 - THREADS))
            [record] = caplog.records
            assert (record.levelname, record.name) == ("WARNING", "reactor")
            line = record.getMessage()
            assert f"all max_threads = {THREADS} threads are busy" in line
            for remedy in "raise max_threads", "(request = ...)", "take a Select server class":
                assert remedy in line
            for client in silent[: SILENT + 1 - THREADS]:
                client.close()
            assert rest(good) == b"HELLO\n"
        assert caplog.records == [record]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "handler", "members", "threads"), [
    ("thread", Unframed, {"max_threads": SILENT + 1}, SILENT + 1), ("thread", Shout, {}, 0), ("select", Shout, {}, 0),
])  # fmt: skip
def test_with_each_remedy_a_good_client_is_served_beside_300_silent_ones(
    mode, handler, members, threads, many_descriptors, caplog
):
    with (
        serving(handler, mode, request_queue_size=CROWD, **members) as server,
        clients_of(server, SILENT),
        connect(server) as good,
    ):
        driver = "thread" if threads else "loop"
        wait_until(lambda: drivers(server) == [driver] * (SILENT + 1))
        good.sendall(b"hello\n")
        assert rest(good) == b"HELLO\n"
        wait_until(lambda: drivers(server) == [driver] * SILENT)
    assert caplog.records == []


# Bounds


@pytest.mark.slow
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "plain"])
@pytest.mark.parametrize("handler", [Reverse, Conversation])
def test_more_clients_than_the_bound_are_all_served(mode, handler):
    with serving(handler, mode, request_queue_size=64, max_requests=3) as server, clients_of(server, 12) as clients:
        for place, client in enumerate(clients):  # the first client is among those that are served
            expected = min(3, len(clients) - place)
            wait_until(lambda expected=expected: len(server.reactor.table) >= expected)
            assert len(server.reactor.table) <= 3
            client.sendall(b"5:hello,")
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == b"5:olleh,"
