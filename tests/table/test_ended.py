"""`table.closed`, `table.ends` and the totals: what the table has of requests that have ended."""

import json
import logging
import os
import signal
import socket

import pytest

from handlers import LimitPassed, StreamHandler, StreamRequestHandler, Until
from handlers.services import Echo
from reactor.table import ends
from reactor.table.table import CLOSED
from tests.support.bench import bench
from tests.support.serving import MODES, PACKETS, connect, peer, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are


class Mortal(StreamHandler):
    """Ends in the way that its line names."""

    def handle(self):
        return Until(b"\n", limit=8, timeout=0.2), self.line

    def line(self, line):
        self.send(line)
        if line == b"raise\n":
            raise ArithmeticError("as told")
        return (Until(b"\n", limit=8, timeout=0.2), self.line) if line == b"more\n" else None


ENDS = {
    "finish": (b"end\n", ""),
    "clean end": (b"", ""),
    "end in the middle": (b"more\nhal", "EndOfStream: end of stream with 3 bytes of an unfinished piece"),
    "limit": (b"much too long", "LimitPassed: limit passed in Until(b'\\n', limit=8, timeout=0.2)"),
    "timeout": (b"more\n", "TimedOut: timed out in Until(b'\\n', limit=8, timeout=0.2)"),
    "error": (b"raise\n", "ArithmeticError: as told"),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ENDS)
def test_closed_has_each_ended_row_with_its_reason(mode, end):
    said, reason = ENDS[end]
    with serving(Mortal, mode, handle_error=lambda *_: None) as server, connect(server) as client:
        client.sendall(said)
        if end != "timeout":
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.reactor.table.closed)
        [told] = server.reactor.table.closed
        assert json.loads(json.dumps(told)) == told
        assert (told["serial"], told["reason"]) == (1, reason)
        assert (told["total_in"], told["handler"]) == (len(said), "Mortal")
        assert 0 <= told["idle"] <= told["age"]
        kind = reason.partition(":")[0]
        stats = server.reactor.stats()
        assert (stats["open"], stats["ended"]) == (0, {kind: 1})


@pytest.mark.parametrize("mode", ["plain", "thread", "fork"])
def test_closed_has_the_exception_of_a_blocking_handler(mode):
    class Raising(StreamRequestHandler):
        def handle(self):
            raise OSError("as told")

    with serving(Raising, mode, handle_error=lambda *_: None) as server:
        with connect(server):
            wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "OSError: as told"


def test_closed_has_the_signal_that_killed_a_child():
    class Doomed(StreamRequestHandler):
        def handle(self):
            os.kill(os.getpid(), signal.SIGKILL)

    with serving(Doomed, "fork") as server, connect(server):
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == "ChildProcessError: the child was killed by SIGKILL"


def test_closed_has_the_last_rows_and_all_are_counted():
    with bench(Echo) as here:
        for _ in range(CLOSED + 20):
            client = here.connect()
            client.sendall(b"word")
            assert here.take(client, 4) == b"word"
            client.close()
            here.until(lambda: not here.table)
        serials = [told["serial"] for told in here.table.closed]
        assert serials == list(range(21, CLOSED + 21))
        here.connect().sendall(b"more")
        here.until(lambda: here.row.total_out == 4)
        size = 4 * (CLOSED + 21)
        assert here.reactor.stats() == {
            "open": 1, "ended": {"": CLOSED + 20}, "refused": {}, "total_in": size, "total_out": size, "held": 0
        }  # fmt: skip


LEVELS = {"end in the middle": "INFO", "limit": "INFO", "timeout": "INFO"}


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fork"])  # a child logs in its own process
@pytest.mark.parametrize("end", ENDS)
def test_each_end_for_a_cause_is_logged_once_with_its_row(mode, end, caplog):
    said, reason = ENDS[end]
    caplog.set_level("DEBUG", "reactor")
    with serving(Mortal, mode, handle_error=lambda *_: None) as server:
        with connect(server) as client:
            client.sendall(said)
            if end != "timeout":
                client.shutdown(socket.SHUT_WR)
            wait_until(lambda: server.reactor.table.closed)
            if end in LEVELS:
                wait_until(lambda: caplog.records)  # a thread logs after it has recorded the end
        lines = [(line.levelname, line.row["serial"], line.row["reason"]) for line in caplog.records]
        assert lines == ([(LEVELS[end], 1, reason)] if end in LEVELS else [])


def test_the_level_of_a_cause_can_be_chosen(caplog, monkeypatch):
    monkeypatch.setitem(ends.LEVELS, LimitPassed, logging.WARNING)
    with serving(Mortal, "select") as server, connect(server) as client:
        client.sendall(b"longer than eight")
        wait_until(lambda: caplog.records)
    assert [line.levelname for line in caplog.records] == ["WARNING"]


def test_a_row_that_a_draining_server_cancels_is_logged_for_debugging(caplog):
    caplog.set_level("DEBUG", "reactor")
    with serving(Mortal, "select") as server, connect(server) as client:
        client.sendall(b"more\n")
        assert client.recv(9) == b"more\n"
        server.shutdown()
        server.server_close()
    assert [(line.levelname, line.row["reason"]) for line in caplog.records] == [
        ("DEBUG", "Cancelled: the server shuts down")
    ]


@pytest.mark.parametrize("end", ENDS)
def test_finish_sees_the_reason(end):
    said, expected = ENDS[end]
    seen = []

    class Seeing(Mortal):
        def finish(self):
            seen.append("" if self.reason is None else f"{type(self.reason).__name__}: {self.reason}")

    with serving(Seeing, "select", handle_error=lambda *_: None) as server, connect(server) as client:
        client.sendall(said)
        if end != "timeout":
            client.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.reactor.table.closed)
        assert seen == [expected]


@pytest.mark.parametrize("place", ["tcp", "udp"])
def test_a_child_that_dies_is_logged(place, caplog):
    class Dying:
        def __init__(self, request, client_address, server):
            os.kill(os.getpid(), signal.SIGKILL)

    if place == "udp":
        with serving(Dying, "fork", PACKETS["udp"]) as server, peer(server) as client:
            client.send(b"x")
            wait_until(lambda: caplog.messages)
    else:
        with serving(Dying, "fork") as server, connect(server) as client:
            assert client.recv(1) == b""
            wait_until(lambda: caplog.messages)
    [line] = caplog.messages
    assert line.endswith("a child died, and its request with it: the child was killed by SIGKILL")
