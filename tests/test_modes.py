"""The same handlers in all four modes, over every kind of stream socket: the same bytes, causes and ends.

What a mode may change is who drives a row, and nothing that a client or a handler could see.
"""

import math
import os
import socket
import threading
from collections import deque
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from handlers import (
    BaseRequestHandler,
    Connected,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    LimitPassed,
    Some,
    StreamHandler,
    StreamMachine,
    StreamRequestHandler,
    Threaded,
    TimedOut,
    ToEnd,
    Until,
)
from handlers.services import CharGen, Daytime, Discard, Echo, EchoDatagram, Time
from reactor import ForkingTCPServer, Reactor, SelectTCPServer, SelectUDPServer, TCPServer, UDPServer
from tests.serving import (
    MODES,
    PATIENCE,
    STREAMS,
    Conversation,
    Reverse,
    Shout,
    ask,
    bounded,
    connect,
    journal_error,
    made,
    receive,
    reset,
    resources,
    rest,
    running,
    server_class,
    serving,
    stopped_clock,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # so is every test here
every_mode = pytest.mark.parametrize("mode", MODES)
at_once = pytest.mark.parametrize("mode", ["select", "fork", "thread"])  # the plain mode has one client at a time


# The specimens


class Password:
    """A mix-in that goes first."""

    def handle(self):
        return Until(b"\n", limit=80), self.password

    def password(self, line):
        if line != b"sesame\n":
            self.send(b"no\n")
            return None
        self.send(b"yes\n")
        return super().handle()


class GuardedReverse(Password, Reverse):
    pass


class GuardedConversation(Password, Conversation):
    pass


class Bare(BaseRequestHandler):
    """A blocking handler on the bare socket; the request is eight bytes."""

    request = Exactly(8)

    def handle(self):
        self.request.sendall(receive(self.request, 8).upper())


class Slow(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n")
            await Delay(0.005)
            self.send(line)


class Outside(StreamHandler):
    """Part of the work in a child and in a thread, some of which fails."""

    async def handle(self):
        line = await Until(b"\n")
        for kind in Forked, Threaded:
            self.send(b"%d " % await kind(pow, int(line), 3))
            try:
                await kind(divmod, int(line), 0)
            except Failed as failed:
                self.send(b"%b " % type(failed.error).__name__.encode())


class Proxy(StreamHandler):
    """Two rows that feed each other, and end each other."""

    upstream = None

    async def handle(self):
        self.upstream = await Connected(self.server.upstream, Back(self))
        while True:
            try:
                self.upstream.send(await Some())
            except EndOfStream:
                self.upstream.send_eof()
                await Delay(math.inf)
            await Flushed(of=self.upstream)

    def finish(self):
        if self.upstream is not None:
            self.upstream.close()


class Back(StreamHandler):
    def __init__(self, front):
        self.front = front

    async def handle(self):
        while True:
            self.front.send(await Some())
            await Flushed(of=self.front)

    def finish(self):
        self.front.close()


class Flood(StreamHandler):
    """More than any socket buffer takes, piece by piece."""

    async def handle(self):
        for number in range(64):
            self.send(b"%d" % (number % 10) * 100_000)
            await Flushed()


class HalfClosed(StreamHandler):
    async def handle(self):
        self.send(b"bye")
        self.send_eof()
        self.send(b"too late")
        self.server.journal.write(len(await ToEnd()))


class Digest(StreamHandler):
    async def handle(self):
        data = await ToEnd()
        self.send(b"%d %d" % (len(data), sum(data)))


class Patient(StreamHandler):
    """Asks once when a line does not come, and goes on with what it has."""

    def handle(self):
        return Until(b"\n", timeout=0.03), self.line

    def line(self, data):
        self.send(data)

    def interrupted(self, cause):
        assert isinstance(cause, TimedOut)
        self.send(b"?")
        return Until(b"\n"), self.line


class Short(StreamHandler):
    """Says what is wrong with what it can't take: a line that is too long, or not whole."""

    def handle(self):
        return Until(b"\n", limit=8), self.line

    def line(self, data):
        self.send(data)
        return self.handle()

    def interrupted(self, cause):
        assert isinstance(cause, (LimitPassed, EndOfStream))
        self.send(b"%b %b" % (type(cause).__name__.encode(), cause.partial))


class Broken(StreamHandler):
    """Raises; what it has sent before is still sent."""

    async def handle(self):
        line = await Until(b"\n")
        self.send(b"before")
        raise ValueError(line.decode().strip())


class Case(NamedTuple):
    """A conversation: turns of what the client sends and gets, and what it gets after its end of stream."""

    handler: type
    turns: list[tuple[bytes, bytes]]
    last: bytes | None = b""  # None: the client goes away while the server talks
    journal: tuple[str, ...] = ()


LINES = b"".join(bytes(0x20 + (first + n) % 95 for n in range(72)) + b"\r\n" for first in range(3_000))
NETSTRINGS = [(b"5:hello,", b"5:olleh,"), (b"0:,", b"0:,"), (b"3:abc,2:de,", b"3:cba,2:ed,")]
CASES = [
    Case(Echo, [(b"hello", b"hello"), (bytes(range(256)), bytes(range(256)))]),
    Case(Discard, [(b"x" * 1_000, b"")]),
    Case(Daytime, [(b"", b"Thursday, January 1, 1976 00:00:00-UTC\r\n")]),
    Case(Time, [(b"", (2_398_291_200).to_bytes(4, "big"))]),  # RFC 868's own example
    Case(CharGen, [(b"", LINES)], None),
    Case(Reverse, NETSTRINGS),
    Case(Conversation, NETSTRINGS),
    Case(GuardedReverse, [(b"sesame\n", b"yes\n"), *NETSTRINGS]),
    Case(GuardedConversation, [(b"sesame\n", b"yes\n"), *NETSTRINGS]),
    Case(GuardedReverse, [(b"guess\n", b"no\n")]),
    Case(Shout, [(b"hello\n", b"HELLO\n")]),
    Case(Bare, [(b"question", b"QUESTION")]),
    Case(Slow, [(b"a\n", b"a\n"), (b"b\nc\n", b"b\nc\n")]),
    Case(Outside, [(b"7\n", b"343 ZeroDivisionError 343 ZeroDivisionError ")]),
    Case(Proxy, [(b"hello", b"hello"), (b"x" * 1_000, b"x" * 1_000)]),
    Case(Flood, [], b"".join(b"%d" % (number % 10) * 100_000 for number in range(64))),
    Case(HalfClosed, [(b"", b"bye"), (b"x" * 1_000, b"")], journal=("1000",)),
    Case(Digest, [(b"abc", b""), (b"de", b"")], b"5 495"),
    Case(Patient, [(b"hel", b"?"), (b"lo\n", b"hello\n")]),
    Case(Short, [(b"short\n", b"short\n"), (b"8 bytes!", b"LimitPassed 8 bytes!")]),
    Case(Short, [(b"short\n", b"short\n"), (b"half", b"")], b"EndOfStream half"),
    Case(Broken, [(b"why\n", b"before")], journal=("handle_error ValueError why",)),
]


@pytest.fixture(scope="module")
def upstream():
    with serving(Echo, "select") as server:
        yield server.server_address


def whole(data):
    return [data] if data else []


def singly(data):
    return [data[place : place + 1] for place in range(len(data))]


def converse(server, case, chop):
    """Be the client of a case."""
    with connect(server) as client:
        for question, answer in case.turns:
            for piece in chop(question):
                client.sendall(piece)
            assert receive(client, len(answer)) == answer
        if case.last is not None:
            client.shutdown(socket.SHUT_WR)
            assert rest(client) == case.last
    wait_until(lambda: not server.reactor.table, "the end of the row")


@every_mode
@pytest.mark.parametrize("place", STREAMS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.handler.__name__)
def test_a_handler_gives_the_same_bytes(mode, place, case, journal, upstream):
    members = {"handle_error": journal_error, "journal": journal, "upstream": upstream}
    with (
        stopped_clock() as reactor,
        serving(case.handler, mode, STREAMS[place], reactor=reactor, **members) as server,
    ):
        converse(server, case, whole)
        converse(server, case, singly)
    assert tuple(journal.lines()) == case.journal * 2


def test_a_mix_in_is_asked_once():
    """Nothing in the specimens goes back to the first state by a name that a mix-in has taken over."""
    for kind, answer in (Echo, b"guess\n"), (Discard, b""):
        machine = StreamMachine(type("Guarded", (Password, kind), {})())
        machine.feed(b"sesame\n")
        assert machine.read() == b"yes\n"
        for _ in range(2):
            machine.feed(b"guess\n")
            assert machine.read() == answer


# Clients that do not behave


@every_mode
def test_a_client_that_resets_hurts_nobody_else(mode, journal):
    with serving(Reverse, mode, handle_error=journal_error, journal=journal) as server:
        client = connect(server)
        client.sendall(b"5:he")
        wait_until(lambda: server.reactor.table)
        reset(client)
        assert ask(server, b"5:hello,") == b"5:olleh,"
        wait_until(lambda: not server.reactor.table)
    assert journal.lines() == []


@at_once
def test_a_client_that_stalls_holds_up_nobody_else(mode):
    with serving(Reverse, mode) as server, connect(server) as stalled:
        stalled.sendall(b"5:he")
        wait_until(lambda: server.reactor.table)
        assert ask(server, b"3:abc,") == b"3:cba,"
        stalled.sendall(b"llo,")
        assert receive(stalled, 8) == b"5:olleh,"


@at_once
def test_a_server_that_closes_says_goodbye(mode):
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
def test_a_finished_request_has_ended_though_a_connection_that_it_opened_goes_on(mode):
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


# Who may serve what


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
    """A server that writes down its hooks, and who calls them."""

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


@every_mode
@pytest.mark.parametrize("handler", [Reverse, Conversation, Shout])
def test_a_connection_is_shut_down_and_closed_once(mode, handler, journal):
    with hooked(handler, mode, journal) as server:
        ask(server, b"5:hello,\n")
    assert sorted(journal.lines()) == sorted(ENDS[mode])


@every_mode
def test_a_request_that_is_not_verified_is_closed_and_never_begun(mode, journal):
    def verify_request(self, request, client_address):
        self.journal.write("verify", *client_address)
        return False

    with hooked(Broken, mode, journal, verify_request=verify_request) as server, connect(server) as client:
        assert rest(client) == b""
        address, port = client.getsockname()
    assert journal.lines() == [f"verify {address} {port}", *ONE_END]


class Faulty(StreamHandler):
    """Raises where its class says."""

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


class FaultyBlocking(StreamRequestHandler):
    """The same as a blocking handler."""

    request = Until(b"\n")
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


FAULTS = {
    "setup": b"", "handle": b"", "state": b"line\n", "coroutine": b"line\nmore", "interrupted": b"much too long",
    "finish": b"line\nmore",
}  # fmt: skip


@every_mode
@pytest.mark.parametrize(("handler", "where"), [
    *((Faulty, where) for where in FAULTS), *((FaultyBlocking, where) for where in ("setup", "handle", "finish"))
])  # fmt: skip
def test_an_exception_is_handled_once_and_the_next_client_is_served(mode, handler, where, journal):
    kind = type("Kind", (handler,), {"where": where})
    with hooked(kind, mode, journal) as server:
        # Input that a blocking handler's setup() leaves unread would reset the connection.
        unread = handler is FaultyBlocking and where == "setup" and mode != "select"
        assert ask(server, FAULTS[where] if handler is Faulty or unread else b"line\n") == b""
        expected = sorted([f"handle_error ArithmeticError {where}", *ENDS[mode]])
        assert sorted(journal.wait_for(len(expected))) == expected
        kind.where = ""
        assert ask(server, b"line\n") == b""
    assert sorted(journal.lines()) == sorted([*expected, *ENDS[mode]])


@at_once
def test_an_exception_ends_nobody_elses_request(mode, journal):
    with hooked(Broken, mode, journal) as server, connect(server) as other:
        other.sendall(b"hal")
        wait_until(lambda: server.reactor.table)
        assert ask(server, b"first\n") == b"before"
        other.sendall(b"f\n")
        assert rest(other) == b"before"
    errors = sorted(line for line in journal.lines() if "error" in line)
    assert errors == ["handle_error ValueError first", "handle_error ValueError half"]


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_a_blocking_handler_may_fork_and_let_the_child_finish(mode):
    class Explicit(StreamRequestHandler):
        def handle(self):
            line = self.rfile.readline()
            parent = os.getpid()
            if self.server.fork_request(self.request) == 0:
                self.rfile.readline()  # a child may be as slow as it likes
                self.wfile.write(b"%d %b" % (os.getpid() != parent, line))

    with serving(Explicit, mode) as server, connect(server) as client:
        client.sendall(b"hello\n")
        wait_until(lambda: any(row.driver.startswith("child") for row in server.reactor.table))
        assert ask(server, b"other\nmore\n") == b"1 other\n"  # not even the plain mode waits for a child
        client.sendall(b"more\n")
        assert rest(client) == b"1 hello\n"
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("mode", ["plain", "thread"])
def test_no_request_is_taken_while_too_many_children_of_handlers_are_at_work(mode):
    class Explicit(StreamRequestHandler):
        def handle(self):
            if self.server.fork_request(self.request) == 0:
                self.wfile.write(self.rfile.readline())

    with Reactor() as reactor:
        reactor.max_children = 2
        with serving(Explicit, mode, reactor=reactor) as server, ExitStack() as stack:
            clients = []
            for number in range(1, 3):
                clients.append(stack.enter_context(connect(server)))
                wait_until(lambda number=number: str(server.reactor.table).count("child") == number)
            clients.append(stack.enter_context(connect(server)))
            clients[2].sendall(b"three\n")
            clients[0].sendall(b"one\n")
            assert rest(clients[0]) == b"one\n"
            assert rest(clients[2]) == b"three\n"
            wait_until(lambda: [row.serial for row in reactor.table] == [2])
            clients[1].sendall(b"two\n")
            assert rest(clients[1]) == b"two\n"
            wait_until(lambda: not reactor.table)


def test_a_child_is_not_held_up_by_what_a_thread_was_at():
    here, held, let_go = os.getpid(), threading.Event(), threading.Event()

    class Ends(deque):
        def append(self, told):
            if os.getpid() == here:
                held.set()
                assert let_go.wait(PATIENCE)
            super().append(told)

    def process_request(server, request, client_address):
        client.close()
        assert held.wait(PATIENCE)  # the end of that one is being entered
        ForkingTCPServer.process_request(server, request, client_address)
        let_go.set()

    tcp = STREAMS["tcp"]
    with (
        serving(Reverse, "thread", tcp) as threads,
        made(server_class("fork", tcp, process_request=process_request), tcp, Reverse, threads.reactor) as forks,
        connect(threads) as client,
    ):
        table = threads.reactor.table
        wait_until(lambda: len(table) == 1)
        table.closed = Ends()
        threads.reactor.call_soon(forks.start_serving)
        with connect(forks) as other:
            other.sendall(b"5:hello,")
            assert receive(other, 8) == b"5:olleh,"
        wait_until(lambda: not table, "the end of the child")


def test_the_plain_mode_takes_nothing_more_after_stop():
    class Stopping(StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"the last")
            self.server.reactor.stop()

    with made(TCPServer, STREAMS["tcp"], Stopping) as server, connect(server) as one, connect(server) as other:
        bounded(server.serve_forever)
        assert rest(one) == b"the last"
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        bounded(server.serve_forever)
        other.settimeout(PATIENCE)
        assert rest(other) == b"the last"


# What is left


@every_mode
def test_a_server_leaves_nothing_behind(mode, journal, upstream):
    before = resources()
    members = {"handle_error": journal_error, "journal": journal, "upstream": upstream}
    for case in CASES:
        if case.handler in (Daytime, Time):
            continue  # these need a stopped clock
        with serving(case.handler, mode, **members) as server:
            converse(server, case, whole)
            with connect(server) as gone:  # not a reset: a child may have a copy of this end
                gone.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: not server.reactor.table)
    wait_until(lambda: resources() == before, f"the end of all but {before}")
