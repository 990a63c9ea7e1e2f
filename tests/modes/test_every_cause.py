"""Every cause for which a request of a blocking handler with a framing ends, in every mode.

It is logged once, whatever processes and threads have had to do with it, at the level that is chosen for its class; it
is the reason in the table; and what was under way is told: the framing while the request comes, `finish()` while the
handler answers.
"""

import logging
import socket
import ssl
import time
from contextlib import contextmanager, suppress

import pytest

from handlers import Cancelled, Cause, EndOfStream, Exactly, LimitPassed, Reset, StreamRequestHandler, TimedOut
from handlers.causes import RequestRefused
from reactor.rows.filters.tls import Truncated
from reactor.table import ends
from reactor.tls import TLSMixIn
from tests.support.certificates import NAME, client_context, server_context
from tests.support.serving import MODES, STREAMS, Client, bounded, connect, reset, serving, wait_until
from tests.support.tls import exchange

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
TCP = STREAMS["tcp"]
WAYS = [*((mode, "") for mode in MODES), ("select", "thread"), ("select", "fork")]
every_way = pytest.mark.parametrize(("mode", "work"), WAYS)
LONG = 1_000_000  # bytes of an answer: less than `max_output`, and more than small buffers take


class Answers(StreamRequestHandler):
    """Answers a line with itself; ``long`` with many bytes. All that it is told is in the journal."""

    close_connection = False
    timeout = 30

    @staticmethod
    async def request(row):
        try:
            line = b""
            while not line.endswith(b"\n"):
                line += await Exactly(1)
                if line == b"bad":
                    raise RequestRefused(b"no", "bad")
        except Cause as cause:
            row.server.journal.write("framing", type(cause).__name__)
            raise

    def handle(self):
        line = self.rfile.readline()
        self.server.journal.write("begun")
        if line == b"raise\n":
            raise ZeroDivisionError("on purpose")
        for _ in range(LONG // 100_000 if line == b"long\n" else 0):
            self.wfile.write(bytes(100_000))
        self.wfile.write(line)

    def finish(self):
        super().finish()
        self.server.journal.write("finish", type(self.reason).__name__)


class Written(logging.Handler):
    """Writes each record to the journal, in whatever process it is made."""

    def __init__(self, journal):
        super().__init__()
        self._journal = journal

    def emit(self, record):
        self._journal.write("log", record.levelname, record.getMessage()[:400].replace("\n", " "))


@pytest.fixture
def written(journal):
    """A journal with the records of the logger."""
    logger, handler = logging.getLogger("reactor"), Written(journal)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield journal
    logger.removeHandler(handler)
    logger.setLevel(before)


@contextmanager
def served(mode, work, journal, *mixins, **members):
    """A server whose sockets have small buffers, of the handler class with these members."""
    options = {name: members.pop(name) for name in ("context",) if name in members}
    kind = type("Kind", (Answers,), {**members, **({"work": work} if work else {})})
    with serving(kind, mode, TCP, *mixins, journal=journal, **options) as server:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        yield server


@contextmanager
def narrow(server):
    """A client with a small receive buffer."""
    with Client(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.connect(server.server_address)
        yield client


def said(journal, what):
    return [line.removeprefix(what + " ") for line in journal.lines() if line.startswith(what)]


def closed(server):
    [row] = wait_until(lambda: list(server.reactor.table.closed))
    return row


# While the request comes


def half(client, server):
    client.sendall(b"half")
    client.shutdown(socket.SHUT_WR)


def half_and_reset(client, server):
    client.sendall(b"half")
    wait_until(lambda: [row.total_in for row in server.reactor.table] == [4])
    reset(client)


def half_and_silence(client, server):
    client.sendall(b"half")


def byte_by_byte(client, server):
    with suppress(OSError):
        while not server.reactor.table.closed:
            client.sendall(b"x")
            time.sleep(0.02)


def too_long(client, server):
    client.sendall(b"half a line")


def refused(client, server):
    client.sendall(b"bad")
    client.shutdown(socket.SHUT_WR)


COMING = {
    "end in mid-request": (half, {}, EndOfStream, "end of stream"),
    "reset": (half_and_reset, {}, Reset, "connection lost"),
    "timeout": (half_and_silence, {"timeout": 0.2}, TimedOut, "timed out in Exactly(1)"),
    "request_timeout": (byte_by_byte, {"request_timeout": 0.2}, TimedOut, "Kind.request_timeout"),
    "idle_timeout": (half_and_silence, {"idle_timeout": 0.2}, TimedOut, "Kind.idle_timeout"),
    "min_rate": (byte_by_byte, {"min_rate": 100_000, "timeout": 0.3}, TimedOut, "Kind.min_rate"),
    "limit": (too_long, {"max_request": 9}, LimitPassed, "Kind.max_request"),
    "refusal": (refused, {}, RequestRefused, "bad"),
}


@every_way
@pytest.mark.parametrize("end", COMING)
def test_a_cause_while_the_request_comes_is_told_to_the_framing_and_logged_once(mode, work, end, written, monkeypatch):
    act, members, kind, text = COMING[end]
    monkeypatch.setitem(ends.LEVELS, kind, logging.CRITICAL)
    with served(mode, work, written, **members) as server, connect(server) as client:
        act(client, server)
        reason = closed(server)["reason"]
    assert reason.startswith(f"{kind.__name__}: ")
    assert text in reason
    [record] = said(written, "log")
    assert record.startswith("CRITICAL ")
    assert record.endswith(reason)
    assert said(written, "framing") == [kind.__name__]
    assert said(written, "finish") == []  # there is no handler yet


# While the handler answers


def takes_nothing(client, server):
    client.sendall(b"long\n")


def takes_little(client, server):
    client.sendall(b"long\n")
    with suppress(OSError):
        while not server.reactor.table.closed and client.recv(100):
            time.sleep(0.01)


def resets_in_the_answer(client, server):
    client.sendall(b"long\n")
    assert client.recv(1)
    reset(client)


def drained(client, server):
    client.sendall(b"long\n")
    assert client.recv(1)
    bounded(server.drain, 0.1)


ANSWERED = {
    "reset": (resets_in_the_answer, {}, Reset),
    "timeout": (takes_nothing, {"timeout": 0.2}, TimedOut),
    "request_timeout": (takes_nothing, {"request_timeout": 0.2}, TimedOut),
    "idle_timeout": (takes_nothing, {"idle_timeout": 0.2}, TimedOut),
    "min_rate": (takes_little, {"min_rate": 1 << 30, "timeout": 0.3}, TimedOut),
    "drain": (drained, {}, Cancelled),
}
AS_ERRORS = {
    Reset: {"Reset", "BrokenPipeError", "ConnectionResetError", "ConnectionAbortedError"},
    TimedOut: {"TimedOut", "TimeoutError", "BrokenPipeError", "ConnectionAbortedError"},
    Cancelled: {"Cancelled", "BrokenPipeError", "ConnectionAbortedError"},
}


@pytest.mark.parametrize(("end", "mode", "work"), [
    pytest.param(end, mode, work, marks=[pytest.mark.slow] if (mode, work) == ("select", "") else [])  # it lingers
    for end in ANSWERED for mode, work in WAYS
    if (end, mode) != ("drain", "plain")  # nothing but the client ends a handler that runs in the thread that serves
])  # fmt: skip
def test_a_cause_while_the_handler_answers_is_told_to_finish_and_logged_once(mode, work, end, written, monkeypatch):
    act, members, kind = ANSWERED[end]
    monkeypatch.setitem(ends.LEVELS, kind, logging.CRITICAL)
    with served(mode, work, written, **members) as server, narrow(server) as client:
        table = server.reactor.table
        act(client, server)
        [row] = wait_until(lambda: list(table.closed))
    assert row["reason"].startswith(f"{kind.__name__}: ")
    records = [line for line in said(written, "log") if "requests did not finish in" not in line]
    assert len(records) == 1
    assert records[0].startswith("CRITICAL ")
    assert records[0].endswith(row["reason"])
    assert said(written, "framing") == []
    told = said(written, "finish")
    if (mode, work) == ("select", ""):
        assert told == ["NoneType"]  # the handler had returned: the row had all of the answer
    elif "fork" in (mode, work):
        assert len(told) <= 1  # a child whose connection has ended is killed, and calls no finish()
        assert set(told) <= AS_ERRORS[kind]
    else:
        [told] = wait_until(lambda: said(written, "finish"))  # by a thread of its own, which has to notice first
        assert told in AS_ERRORS[kind]


@pytest.mark.parametrize(("mode", "work"), [way for way in WAYS if way != ("select", "")])
def test_nothing_follows_a_piece_of_an_answer_that_was_cut(mode, work, journal):
    class Persistent(Answers):
        timeout = 0.3

        def handle(self):
            self.rfile.readline()
            try:
                while True:
                    self.wfile.write(bytes(100_000))
            except OSError:
                self.server.journal.write("caught")
            for _ in range(3):
                with suppress(OSError):
                    self.wfile.write(b"tail")

    kind = type("Kind", (Persistent,), {"work": work} if work else {})
    with serving(kind, mode, TCP, journal=journal) as server, connect(server) as client:
        client.sendall(b"go\n")
        wait_until(lambda: "caught" in journal.lines())
        received = b""
        with suppress(ConnectionError):
            while piece := client.recv(1 << 20):
                received += piece
        assert set(received) == {0}


@every_way
@pytest.mark.parametrize(("line", "members", "error"), [
    (b"raise\n", {}, "ZeroDivisionError"), (b"long\n", {"max_output": 100_000}, "OSError"),
])  # fmt: skip
def test_an_exception_of_the_handler_is_told_to_finish_and_logged_once(mode, work, line, members, error, written):
    with served(mode, work, written, **members) as server, connect(server) as client:
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        while client.recv(100_000):
            pass
        reason = closed(server)["reason"]
    if error == "OSError" and (mode, work) != ("select", ""):  # where a write waits, no bound is passed
        assert (reason, said(written, "log"), said(written, "finish")) == ("", [], ["NoneType"])
        return
    assert reason.startswith(f"{error}: ")
    [record] = said(written, "log")
    assert record.startswith("ERROR Exception occurred during processing of request from")
    assert said(written, "finish") == [error]


# Behind TLS


@every_way
def test_a_request_that_is_cut_behind_tls_is_told_to_the_framing_and_logged_once(mode, work, written, monkeypatch):
    monkeypatch.setitem(ends.LEVELS, Truncated, logging.CRITICAL)
    with (
        served(mode, work, written, TLSMixIn, context=server_context()) as server,
        connect(server) as client,
    ):
        coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(coming, going, server_hostname=NAME)
        exchange(client, coming, going, tls.do_handshake)
        exchange(client, coming, going, lambda: tls.write(b"half"))
        client.shutdown(socket.SHUT_WR)  # without close_notify
        reason = closed(server)["reason"]
    [record] = said(written, "log")
    assert record.startswith("CRITICAL ")
    assert record.endswith(reason)
    assert len(said(written, "framing")) == 1
