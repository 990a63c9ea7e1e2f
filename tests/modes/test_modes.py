"""The same handlers in all four modes, over every kind of stream socket: the same bytes, causes and ends.

A mode changes what drives a row, and nothing that a client or a handler can observe.
"""

import os
import socket
from contextlib import contextmanager

import pytest

from handlers import (
    Connected,
    Some,
    StreamHandler,
    StreamMachine,
    StreamRequestHandler,
    Until,
)
from handlers.services import Daytime, Discard, Echo, EchoDatagram, Time
from reactor import SelectMixIn, SelectTCPServer, SelectUDPServer, TCPServer, UDPServer
from tests.support.conversations import CASES, Broken, Password, converse, whole
from tests.support.grids import grid
from tests.support.resources import resources
from tests.support.serving import (
    MODES,
    STREAMS,
    Conversation,
    Reverse,
    Shout,
    Unframed,
    ask,
    bounded,
    connect,
    journal_error,
    made,
    receive,
    reset,
    rest,
    running,
    server_class,
    serving,
    stopped_clock,
    wait_until,
)
from tests.support.strategies import singly

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
at_once = pytest.mark.parametrize("mode", ["select", "fork", "thread"])  # the plain mode serves one client at a time


@grid(mode=MODES, place=STREAMS, case=CASES)
def test_a_handler_gives_the_same_bytes(mode, place, case, journal, upstream):
    members = {"handle_error": journal_error, "journal": journal, "upstream": upstream}
    with (
        stopped_clock() as reactor,
        serving(case.handler, mode, STREAMS[place], reactor=reactor, **members) as server,
    ):
        converse(server, case, whole)
        converse(server, case, singly)
    assert tuple(journal.lines()) == case.journal * 2


def test_a_mix_in_hands_the_options_of_a_class_on():
    class Named:
        def __init_subclass__(cls, name):
            cls.name = name

    class Server(SelectMixIn, Named, TCPServer, name="ada"):
        pass

    assert Server.name == "ada"


def test_a_mix_in_runs_once():
    """A service must not return to its first state by ``self.handle``, which the mix-in overrides."""
    for kind, answer in (Echo, b"guess\n"), (Discard, b""):
        machine = StreamMachine(type("Guarded", (Password, kind), {})())
        machine.feed(b"sesame\n")
        assert machine.read() == b"yes\n"
        for _ in range(2):
            machine.feed(b"guess\n")
            assert machine.read() == answer


class Problems(Exception):
    """A collection that is false while it is empty."""

    def __len__(self):
        return 0


class Machine(StreamHandler):
    async def handle(self):
        await Until(b"\n")
        raise Problems


class Blocking(StreamRequestHandler):
    request = Until(b"\n")

    def handle(self):
        raise Problems


@every_mode
@pytest.mark.parametrize("handler", [Machine, Blocking])
def test_an_exception_that_is_false_is_reported_too(mode, handler, journal):
    with serving(handler, mode, handle_error=journal_error, journal=journal) as server, connect(server) as client:
        client.sendall(b"one\n")
        assert rest(client) == b""
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[-1]["reason"].startswith("Problems")
        assert journal.wait_for(1) == ["handle_error Problems "]


# Clients that reset or stall


@every_mode
def test_a_client_that_resets_affects_no_other(mode, journal):
    with serving(Reverse, mode, handle_error=journal_error, journal=journal) as server:
        client = connect(server)
        client.sendall(b"5:he")
        wait_until(lambda: server.reactor.table)
        reset(client)
        assert ask(server, b"5:hello,") == b"5:olleh,"
        wait_until(lambda: not server.reactor.table)
    assert journal.lines() == []


@at_once
def test_a_client_that_stalls_delays_no_other(mode):
    with serving(Reverse, mode) as server, connect(server) as stalled:
        stalled.sendall(b"5:he")
        wait_until(lambda: server.reactor.table)
        assert ask(server, b"3:abc,") == b"3:cba,"
        stalled.sendall(b"llo,")
        assert receive(stalled, 8) == b"5:olleh,"


@at_once
def test_a_server_that_closes_cancels_its_requests(mode):
    class Polite(StreamHandler):
        def handle(self):
            return Some(), self.handle

        def interrupted(self, cause):
            self.send(type(cause).__name__.encode())

    with made(server_class(mode, STREAMS["tcp"]), STREAMS["tcp"], Polite) as server, connect(server) as client:
        with running(server):
            wait_until(lambda: server.reactor.table)
        bounded(server.server_close)
        assert rest(client) == b"Cancelled"


@every_mode
def test_a_finished_request_ends_while_a_connection_that_it_opened_goes_on(mode):
    class Aside(StreamHandler):
        async def handle(self):
            await Connected(self.server.upstream, Reverse())
            self.send(b"bye")

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(Aside, mode, upstream=listener.getsockname()) as server,
        connect(server) as client,
    ):
        silent, _ = listener.accept()
        with silent:
            assert rest(client) == b"bye"


# Handlers that a mode refuses


class Unsuited(StreamRequestHandler):
    pass


@pytest.mark.parametrize("kind", [SelectTCPServer, SelectUDPServer])
def test_select_mode_refuses_a_blocking_handler_and_names_three_ways_out(kind):
    with pytest.raises(TypeError, match=r"(?s)Unsuited.*\(1\).*request = .*\(2\).*Forking.*\(3\).*Handler"):
        kind(("127.0.0.1", 0), Unsuited)


@pytest.mark.parametrize(("kind", "handler", "right"), [
    (UDPServer, Echo, "DatagramHandler"), (SelectUDPServer, Echo, "DatagramHandler"),
    (TCPServer, EchoDatagram, "StreamHandler"), (SelectTCPServer, EchoDatagram, "StreamHandler"),
])  # fmt: skip
def test_a_handler_for_the_other_kind_of_socket_is_refused(kind, handler, right):
    with pytest.raises(TypeError, match=f"{handler.__name__}.*{right}"):
        kind(("127.0.0.1", 0), handler)


# How requests end


class Hooked:
    """A server that writes each call of a hook to the journal, and in which process."""

    def _call(self, name, *arguments):
        self.journal.write(name, "server" if os.getpid() == self.journal_of else "child")
        return getattr(super(), name)(*arguments)

    def shutdown_request(self, request):
        return self._call("shutdown_request", request)

    def close_request(self, request):
        return self._call("close_request", request)

    handle_error = journal_error


@contextmanager
def hooked(handler, mode, journal, **members):
    with serving(handler, mode, STREAMS["tcp"], Hooked, journal=journal, journal_of=os.getpid(), **members) as server:
        yield server
        wait_until(lambda: not server.reactor.table)


ONE_END = ["shutdown_request server", "close_request server"]

ENDS = {
    "select": ONE_END, "plain": ONE_END, "thread": ONE_END,
    "fork": ["close_request server", "shutdown_request child", "close_request child"],
}  # fmt: skip


@pytest.mark.parametrize(("mode", "handler"), [
    *((mode, handler) for mode in MODES for handler in (Reverse, Conversation, Shout)),
    *((mode, Unframed) for mode in MODES if mode != "select"),
])  # fmt: skip
def test_a_connection_is_shut_down_and_closed_once(mode, handler, journal):
    with hooked(handler, mode, journal) as server:
        ask(server, b"5:hello,\n")
    assert sorted(journal.lines()) == sorted(ENDS["select" if handler is Shout else mode])


@every_mode
def test_a_request_that_is_not_verified_is_closed_and_never_begins(mode, journal):
    def verify_request(self, request, client_address):
        self.journal.write("verify", *client_address)
        return False

    with hooked(Broken, mode, journal, verify_request=verify_request) as server, connect(server) as client:
        assert rest(client) == b""
        address, port = client.getsockname()
    assert journal.lines() == [f"verify {address} {port}", *ONE_END]


class Faulty(StreamHandler):
    """Raises in the place that its class names."""

    where = ""

    def _reach(self, place):
        if self.where == place:
            raise ArithmeticError(place)

    def setup(self):
        self._reach("setup")

    def handle(self):
        self._reach("handle")
        return Until(b"\n", limit=8), self.state

    def state(self, line):
        self._reach("state")
        return self.conversation()

    async def conversation(self):
        await Some()
        self._reach("coroutine")

    def interrupted(self, cause):
        self._reach("interrupted")

    def finish(self):
        self._reach("finish")


class FaultyUnframed(StreamRequestHandler):
    """The same as a blocking handler, which has its connection for itself."""

    where = ""
    _reach = Faulty._reach

    def setup(self):
        self._reach("setup")
        super().setup()

    def handle(self):
        self.rfile.readline()
        self._reach("handle")

    def finish(self):
        super().finish()
        self._reach("finish")


class FaultyBlocking(FaultyUnframed):
    """The same as a blocking handler, which gets whole requests."""

    request = Until(b"\n")


FAULTS = {
    "setup": b"", "handle": b"", "state": b"line\n", "coroutine": b"line\nmore", "interrupted": b"much too long",
    "finish": b"line\nmore",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "handler", "where"), [
    *((mode, Faulty, where) for mode in MODES for where in FAULTS),
    *((mode, FaultyBlocking, where) for mode in MODES for where in ("setup", "handle", "finish")),
    *((mode, FaultyUnframed, where) for mode in MODES if mode != "select" for where in ("setup", "handle", "finish")),
])  # fmt: skip
def test_an_exception_is_handled_once_and_the_next_client_is_served(mode, handler, where, journal):
    kind = type("Kind", (handler,), {"where": where})
    ends = ENDS["select" if handler is FaultyBlocking else mode]  # the loop has the connection of a whole request
    with hooked(kind, mode, journal) as server:
        # Input that a blocking handler's setup() leaves unread would reset the connection.
        unread = handler is FaultyUnframed and where == "setup"
        assert ask(server, FAULTS[where] if handler is Faulty or unread else b"line\n") == b""
        expected = sorted([f"handle_error ArithmeticError {where}", *ends])
        assert sorted(journal.wait_for(len(expected))) == expected
        kind.where = ""
        assert ask(server, b"line\n") == b""
    assert sorted(journal.lines()) == sorted([*expected, *ends])


@at_once
def test_an_exception_ends_no_other_request(mode, journal):
    with hooked(Broken, mode, journal) as server, connect(server) as other:
        other.sendall(b"hal")
        wait_until(lambda: server.reactor.table)
        assert ask(server, b"first\n") == b"before"
        other.sendall(b"f\n")
        assert rest(other) == b"before"
    errors = sorted(line for line in journal.lines() if "error" in line)
    assert errors == ["handle_error ValueError first", "handle_error ValueError half"]


# What is left


@pytest.mark.slow
@every_mode
def test_a_server_leaves_nothing_behind(mode, journal, upstream):
    before = resources()
    members = {"handle_error": journal_error, "journal": journal, "upstream": upstream}
    for case in CASES:
        if case.handler in (Daytime, Time):
            continue  # these need a stopped clock
        with serving(case.handler, mode, **members) as server:
            converse(server, case, whole)
            with connect(server) as gone:  # not close(): a child may have a copy of this socket
                gone.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: not server.reactor.table)
    wait_until(lambda: resources() == before, f"the end of all but {before}")
