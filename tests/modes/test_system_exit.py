"""``SystemExit`` of a handler ends its request in a thread or a child, with a reason and one line in the log.

In the loop, and in plain mode, it ends the server.
"""

import logging
import re

import pytest

from handlers import DatagramRequestHandler, Exactly, Filter, StreamHandler, StreamRequestHandler, Until
from tests.support.serving import PACKETS, STREAMS, ask, bounded, connect, made, peer, server_class, serving, wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),  # threads end so
]
TCP, UDP = STREAMS["tcp"], PACKETS["udp"]


class Bare(StreamRequestHandler):
    """Exits for a line, unless it is ``stay``."""

    def handle(self):
        line = self.rfile.readline()
        self.wfile.write(line)
        if line != b"stay\n":
            raise SystemExit(3)


class Framed(Bare):
    request = Until(b"\n")


class Machine(StreamHandler):
    async def handle(self):
        line = await Until(b"\n")
        self.send(line)
        await Exactly(0)
        if line != b"stay\n":
            raise SystemExit(3)


class Packets(DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.packet)
        if self.packet != b"stay":
            raise SystemExit(3)


class Told(logging.Handler):
    """Writes the class of the exception that a record tells of to the journal: children log, too."""

    def __init__(self, journal):
        super().__init__(logging.WARNING)
        self.journal = journal

    def emit(self, record):
        text = self.format(record)
        self.journal.write("told", *set(re.findall(r"SystemExit: 3|exited with status 1", text)))


@pytest.fixture
def log(journal):
    told = Told(journal)
    logging.getLogger("reactor").addHandler(told)
    yield journal
    logging.getLogger("reactor").removeHandler(told)


def having(kind, **members):
    return type(kind.__name__, (kind,), members)


EXIT, STATUS = "SystemExit: 3", "exited with status 1"
ELSEWHERE = [
    (Bare, "thread", {}, EXIT), (Bare, "fork", {}, EXIT), (Machine, "thread", {}, EXIT), (Machine, "fork", {}, EXIT),
    (Framed, "thread", {}, EXIT), (Framed, "fork", {}, STATUS),
    (having(Framed, work="thread"), "select", {}, EXIT), (having(Framed, work="fork"), "select", {}, STATUS),
    (Bare, "thread", {"filters": [Filter]}, EXIT), (Bare, "fork", {"filters": [Filter]}, EXIT),
]  # fmt: skip


@pytest.mark.parametrize(("handler", "mode", "members", "reason"), ELSEWHERE)
def test_it_ends_the_request_with_a_reason_that_is_logged_once(handler, mode, members, reason, log):
    with serving(handler, mode, TCP, **members) as server:
        ask(server, b"go\n")
        wait_until(lambda: server.reactor.table.closed)
        assert reason in server.reactor.table.closed[0]["reason"]
        assert ask(server, b"stay\n") == b"stay\n"
    assert log.lines() == [f"told {reason}"]


@pytest.mark.parametrize(("handler", "mode"), [
    (Packets, "thread"), (Packets, "fork"),
    (having(Packets, work="thread"), "select"), (having(Packets, work="fork"), "select"),
])  # fmt: skip
def test_it_ends_the_exchange_of_datagrams_and_no_other(handler, mode, log):
    with serving(handler, mode, UDP) as server, peer(server) as client:
        client.send(b"go")
        wait_until(lambda: server.reactor.table.closed)
        assert EXIT in server.reactor.table.closed[0]["reason"]
        if "work" in vars(handler) or mode == "thread":
            client.send(b"stay")
            wait_until(lambda: b"stay" in iter(lambda: client.recv(80), b""))
    assert log.lines() == [f"told {EXIT}"]


@pytest.mark.parametrize(("handler", "mode", "members"), [
    (Bare, "plain", {}), (Framed, "plain", {}), (Machine, "plain", {}), (Bare, "plain", {"filters": [Filter]}),
    (Framed, "select", {}), (Machine, "select", {}),
])  # fmt: skip
def test_it_leaves_serve_forever_where_the_handler_runs_in_its_thread(handler, mode, members, log):
    with made(server_class(mode, TCP, **members), TCP, handler) as server:
        table = server.reactor.table
        with connect(server) as client:
            client.sendall(b"go\n")
            with pytest.raises(SystemExit):
                bounded(server.serve_forever)
    assert table.closed[0]["reason"] == EXIT
    assert log.lines() == [f"told {EXIT}"]
