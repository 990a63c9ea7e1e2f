"""The reason of an end: `finish()` of a blocking handler has it, and between requests its framing, in every mode."""

import socket

import pytest

from handlers import Cause, StreamRequestHandler, Until
from tests.support.serving import (
    MODES,
    STREAMS,
    bounded,
    connect,
    made,
    receive,
    reset,
    running,
    server_class,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
TCP = STREAMS["tcp"]


class Telling(StreamRequestHandler):
    """Does what a line says, and writes the reason to the journal in ``finish()``."""

    def handle(self):
        line = self.rfile.readline()
        if line == b"raise\n":
            raise ZeroDivisionError("on purpose")
        if line == b"write\n":
            self.server.journal.write("begun")
            for _ in range(10_000):
                self.wfile.write(bytes(65_536))
        self.wfile.write(line)

    def finish(self):
        super().finish()
        self.server.journal.write("finish", repr(self.reason))


class Framed(Telling):
    request = Until(b"\n")
    close_connection = False


class Threaded(Framed):
    work = "thread"


class Forked(Framed):
    work = "fork"


UNFRAMED = [(Telling, mode) for mode in MODES if mode != "select"]
FRAMED = [(Framed, mode) for mode in MODES] + [(Threaded, "select"), (Forked, "select")]
STREAMING = [(kind, mode) for kind, mode in UNFRAMED + FRAMED if (kind, mode) != (Framed, "select")]
IN_CHILDREN = [(Framed, "fork"), (Forked, "select")]


def told(journal, number=1):
    return [line.removeprefix("finish ") for line in journal.wait_for(number) if line.startswith("finish ")]


@pytest.mark.parametrize(("handler", "mode"), UNFRAMED + FRAMED)
def test_a_request_that_finishes_has_no_reason_and_one_that_raises_has_the_exception(handler, mode, journal):
    with serving(handler, mode, TCP, journal=journal, handle_error=lambda *_: None) as server:
        for line in b"one\n", b"raise\n":
            with connect(server) as client:
                client.sendall(line)
                client.shutdown(socket.SHUT_WR)
                while client.recv(80):
                    pass
        assert told(journal, 2) == ["None", "ZeroDivisionError('on purpose')"]


@pytest.mark.parametrize(("handler", "mode"), [case for case in STREAMING if case not in IN_CHILDREN])
def test_a_client_that_resets_in_the_middle_of_an_answer_is_the_reason(handler, mode, journal):
    with serving(handler, mode, TCP, journal=journal, handle_error=lambda *_: None) as server:
        client = connect(server)
        client.sendall(b"write\n")
        assert client.recv(1)
        reset(client)
        [reason] = told(journal, 2)
        assert reason.startswith(("Reset(", "ConnectionResetError(", "BrokenPipeError("))


@pytest.mark.parametrize(("handler", "mode"), [case for case in STREAMING if "fork" not in (case[1], case[0].work)])
def test_a_drain_whose_time_is_over_is_the_reason(handler, mode, journal):
    kind = server_class(mode, TCP, journal=journal, handle_error=lambda *_: None)
    with made(kind, TCP, handler) as server, connect(server) as client, running(server):
        client.sendall(b"write\n")
        assert client.recv(1)
        if mode == "plain":  # nothing but the client ends a handler that runs in the thread that serves
            client.close()
            assert told(journal, 2)[0] != "None"
        else:
            bounded(server.drain, 0.05)
            assert told(journal, 2)[0].startswith("Cancelled(")


@pytest.mark.parametrize(("handler", "mode"), [case for case in STREAMING if case[1] != "plain"])
def test_a_client_that_takes_no_answer_in_time_is_the_reason(handler, mode, journal):
    kind = type("Kind", (handler,), {"timeout": 0.2})
    with serving(kind, mode, TCP, journal=journal, handle_error=lambda *_: None) as server, connect(server) as client:
        client.sendall(b"write\n")
        [reason] = told(journal, 2)
        assert reason.startswith(("TimeoutError(", "TimedOut("))


# Between requests


class Kept(StreamRequestHandler):
    """Its framing writes to the journal for what cause a request does not come."""

    close_connection = False
    idle_timeout = None

    @staticmethod
    async def request(row):
        try:
            await Until(b"\n", limit=80)
        except Cause as cause:
            row.server.journal.write("cause", type(cause).__name__)
            raise
        except GeneratorExit:
            row.server.journal.write("end", repr(row.reason))
            raise

    def handle(self):
        self.wfile.write(self.rfile.readline())


def leaves(client, server):
    client.close()


def resets(client, server):
    reset(client)


def stays(client, server):
    pass


def begins(client, server):
    client.sendall(b"two")


def drains(client, server):
    bounded(server.drain, 1_000)


def closes(client, server):
    server.server_close()


ENDS = {
    "client gone": (leaves, {}, "end None", ""),
    "reset": (resets, {}, "cause Reset", "Reset"),
    "idle_timeout": (stays, {"idle_timeout": 0.5}, "cause TimedOut", "TimedOut"),
    "timeout": (stays, {"timeout": 0.1}, "cause TimedOut", "TimedOut"),
    "request_timeout": (begins, {"request_timeout": 0.5}, "cause TimedOut", "TimedOut"),
    "drain": (drains, {}, "cause Cancelled", "Cancelled"),
    "server_close": (closes, {}, "cause Cancelled", "Cancelled"),
}


@every_mode
@pytest.mark.parametrize("end", ENDS)
def test_the_framing_gets_the_cause_of_an_end_between_requests_and_the_log_has_it(mode, end, journal, caplog):
    caplog.set_level("DEBUG", logger="reactor")
    act, limits, line, reason = ENDS[end]
    kind = server_class(mode, TCP, journal=journal)
    with made(kind, TCP, type("Kind", (Kept,), limits)) as server, running(server), connect(server) as client:
        client.sendall(b"one\n")
        assert receive(client, 4) == b"one\n"
        table = server.reactor.table
        wait_until(lambda: all(row.is_between_messages() for row in table))
        wait_until(lambda: not server.reactor.children.pids())  # a child has a copy of the client's socket, too
        act(client, server)
        assert journal.wait_for(1) == [line]
        wait_until(lambda: table.closed)
        assert table.closed[0]["reason"].partition(":")[0] == reason
    ended = [record for record in caplog.records if "ended in stage" in record.getMessage()]
    assert len(ended) == (1 if reason else 0)
