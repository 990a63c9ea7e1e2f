"""Filters in front of handlers of every kind, in all four modes: the handler and its client see nothing of them."""

import os
import socket
import threading
from functools import partial
from ipaddress import ip_address

import pytest

from handlers import (
    REFUSE,
    Connected,
    Failed,
    Filtered,
    StreamHandler,
    StreamRequestHandler,
    TimedOut,
    ToEnd,
    Until,
)
from handlers.filter import Filter
from handlers.services import Echo
from handlers.telnet import TelnetEcho
from reactor import ThreadingTCPServer
from reactor.rows.filters.chaos import Chaos
from reactor.rows.filters.tap import Tap
from tests.handlers.rows import Framed, Greeting, Header, Xor, decoded, encoded
from tests.support.conversations import CASES, Case, converse, whole
from tests.support.grids import grid
from tests.support.serving import (
    MODES,
    STREAMS,
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
blocking_modes = pytest.mark.parametrize("mode", ["plain", "fork", "thread"])

TELNET = Case(TelnetEcho, [(b"hello\r\n", b"hello\r\n"), (b"\r\n", b"\r\n")])
FRONT = [partial(Chaos, seed=1), partial(Tap, tell=lambda *told: None), partial(Chaos, seed=2)]


class ToTheEnd(StreamRequestHandler):
    """A blocking handler that reads to the end of the stream and answers in reverse."""

    request = ToEnd(limit=1 << 24)

    def handle(self):
        self.wfile.write(self.rfile.read()[::-1])


class Whole(StreamHandler):
    """The same as a state machine."""

    async def handle(self):
        self.send((await ToEnd(limit=1 << 24))[::-1])


class Echoing(StreamRequestHandler):
    """A blocking handler that echoes as input comes."""

    def handle(self):
        while data := self.request.recv(65_536):
            self.request.sendall(data)


@every_mode
@pytest.mark.parametrize("case", [*CASES, TELNET], ids=lambda case: case.handler.__name__)
def test_chaos_and_a_tap_change_nothing(mode, case, journal, upstream):
    members = {"handle_error": journal_error, "journal": journal, "upstream": upstream, "filters": FRONT}
    with stopped_clock() as reactor, serving(case.handler, mode, reactor=reactor, **members) as server:
        converse(server, case, whole)
        converse(server, case, singly)
    assert tuple(journal.lines()) == case.journal * 2


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("chain", [[Framed], [Greeting], [Greeting, Framed], [Xor, Greeting]])
@pytest.mark.parametrize("handler", [Whole, ToTheEnd])
@pytest.mark.parametrize("cut", [whole, singly])
def test_a_filter_changes_what_is_on_the_wire(mode, chain, handler, cut):
    with serving(handler, mode, filters=chain) as server:
        wire = ask(server, *cut(encoded(chain, b"what is said")))
        assert decoded(chain, wire) == b"dias si tahw"


@pytest.mark.slow
@grid(mode=MODES, handler=[Whole, ToTheEnd], together=1)
def test_a_mebibyte_goes_through_a_chain_both_ways(mode, handler):
    data = bytes(range(251)) * 4_200
    chain = [Greeting, Framed]
    with serving(handler, mode, filters=[Greeting, partial(Chaos, seed=3), Framed]) as server:
        assert decoded(chain, ask(server, encoded(chain, data))) == data[::-1]


@pytest.mark.parametrize("mode", ["plain", "fork", "thread"])
def test_a_blocking_handler_echoes_while_more_comes(mode):
    with serving(Echoing, mode, filters=[Xor, partial(Chaos, seed=4)]) as server, connect(server) as client:
        for number in range(20):
            client.sendall(Xor.encode(b"%d" % number * 999))
            said = b"%d" % number * 999
            assert Xor.decode(receive(client, len(said))) == said
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b""


# Filters that are put in


class Upgrade(StreamHandler):
    """Takes a line, puts in a filter, and takes another line."""

    async def handle(self):
        self.send(b"go ahead, " + await Until(b"\n"))
        await Filtered(Greeting, held=REFUSE)
        self.send(b"secret " + await Until(b"\n"))


@every_mode
def test_a_filter_is_put_in_as_starttls_does(mode):
    with serving(Upgrade, mode, filters=[Xor]) as server, connect(server) as client:
        client.sendall(Xor.encode(b"up\n"))
        assert Xor.decode(receive(client, 13)) == b"go ahead, up\n"
        client.sendall(Xor.encode(b"hello\n"))
        assert Xor.decode(receive(client, 8)) == b"welcome\n"
        client.sendall(b"name\n")  # two times Xor
        assert rest(client) == b"secret name\n"


@every_mode
def test_input_before_a_filter_is_put_in_is_refused(mode, journal):
    class Told(Upgrade):
        def interrupted(self, cause):
            self.server.journal.write(type(cause).__name__)

    with serving(Told, mode, journal=journal) as server:
        assert ask(server, b"up\nhello\n") == b"go ahead, up\n"
        assert journal.wait_for(1) == ["TooEarly"]


# Connections that a handler opens


class Client(Filter):
    """The other end of `Greeting`."""

    def begin(self):
        self.line = b""
        self.put(b"hello\n")
        self.open_until("the welcome", timeout=self.driver.server.patience)

    def received(self, data):
        if self.line != b"welcome\n":
            self.line += data
            line, found, data = self.line.partition(b"\n")
            if not found:
                return
            if line != b"welcome":
                raise ValueError(f"no welcome: {line!r}")
            self.line = line + found
            self.open()
        self.deliver(Xor.decode(data))

    def flow(self, data):
        self.put(Xor.encode(data))


class Opened(StreamHandler):
    """Says hello as soon as it can, and sends what comes to its opener."""

    def __init__(self, opener):
        self.opener = opener

    async def handle(self):
        self.send(b"through a filter\n")
        self.opener.send(await Until(b"\n"))
        self.opener.close()


class Opener(StreamHandler):
    """Tells whether the connection has been opened, and why not."""

    async def handle(self):
        opened = Opened(self)
        try:
            answer = await Connected(self.server.target, opened, timeout=self.server.limit, filters=[Client])
        except Failed as failed:
            self.send(b"failed: %b" % type(failed.error).__name__.encode())
            return
        except TimedOut:
            self.send(b"timed out")
            return
        assert answer is opened
        self.send(b"open, ")
        await Until(b"\n")


@every_mode
def test_a_connection_is_opened_through_a_filter_to_a_filtered_server(mode):
    with (
        serving(Echo, "thread", filters=[Greeting]) as target,
        serving(Opener, mode, target=target.server_address, patience=10, limit=None) as server,
        connect(server) as client,
    ):
        assert rest(client) == b"open, through a filter\n"


FAILURES = {
    "ends": (lambda far: far.close(), b"failed: EndOfStream"),
    "resets": (reset, b"failed: Reset"),
    "nonsense": (lambda far: far.sendall(b"get out\n"), b"failed: ValueError"),
    "silence": (lambda far: None, b"failed: TimedOut"),
}


@every_mode
@pytest.mark.parametrize("how", FAILURES)
def test_a_connection_whose_filter_fails_has_failed(mode, how):
    do, said = FAILURES[how]
    members = {"patience": 0.05 if how == "silence" else 10, "limit": None, "handle_error": lambda *told: None}
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(Opener, mode, target=listener.getsockname(), **members) as server,
        connect(server) as client,
    ):
        far, _ = listener.accept()
        with far:
            assert receive(far, 6) == b"hello\n"
            do(far)
            assert rest(client) == said


@every_mode
def test_the_time_of_the_opener_includes_that_of_the_filter(mode):
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        serving(Opener, mode, target=listener.getsockname(), patience=10, limit=0.05) as server,
        connect(server) as client,
    ):
        far, _ = listener.accept()
        with far:
            assert rest(client) == b"timed out"
            assert rest(far) == b"hello\n"


# While a filter opens


@every_mode
@pytest.mark.parametrize("handler", [Reverse, Shout])
def test_a_client_that_resets_while_a_filter_opens_affects_no_other(mode, handler, journal):
    class Begun(handler):
        def setup(self):
            self.server.journal.write("begun")
            super().setup()

    with serving(Begun, mode, filters=[Greeting], handle_error=journal_error, journal=journal) as server:
        client = connect(server)
        client.sendall(b"hel")
        wait_until(lambda: server.reactor.table)
        reset(client)
        question = b"3:abc," if handler is Reverse else b"abc\n"
        answer = b"3:cba," if handler is Reverse else b"ABC\n"
        assert decoded([Greeting], ask(server, encoded([Greeting], question))) == answer
        wait_until(lambda: not server.reactor.table)
    assert journal.lines() == ["begun"]


class Hasty(Greeting):
    def begin(self):
        self.open_until("a line of greeting", timeout=0.05)


@every_mode
@pytest.mark.parametrize("handler", [Reverse, Shout])
def test_a_filter_that_does_not_open_in_time_ends_the_request(mode, handler, journal):
    with serving(handler, mode, filters=[Hasty], handle_error=journal_error, journal=journal) as server:
        with connect(server) as client:
            assert rest(client) == b""
        wait_until(lambda: not server.reactor.table)
        [row] = server.reactor.table.closed
        assert row["reason"].startswith("TimedOut: timed out in Opening('a line of greeting', timeout=0.05)")
        assert row["handler"] == handler.__name__
    assert journal.lines() == []


@pytest.mark.parametrize(("mode", "handler"), [
    *((mode, handler) for mode in ("select", "plain", "thread") for handler in (Reverse, Shout)),
    ("plain", Unframed), ("thread", Unframed),
])  # fmt: skip
def test_the_table_shows_the_filter_that_opens(mode, handler):
    with serving(handler, mode, filters=[Greeting]) as server, connect(server) as client:
        client.sendall(b"hel")
        wait_until(lambda: [row for row in server.reactor.table if row.held_in == 0 and row.stage.value == "opening"])
        [row] = server.reactor.table.as_dicts()
        assert (row["stage"], row["state"], row["handler"]) == ("opening", "greeting", handler.__name__)
        assert row["wait"] == "Opening('a line of greeting', timeout=5)"
        assert 0 < row["deadline"] <= 5
        client.sendall(b"lo\n")
        assert receive(client, 8) == b"welcome\n"
        wait_until(lambda: [row for row in server.reactor.table if row.stage.value == "serving"])
        [row] = server.reactor.table.as_dicts()
        assert row["state"] == {Reverse: "length", Shout: "whole", Unframed: "handle"}[handler]


@pytest.mark.slow
@every_mode
@pytest.mark.parametrize("handler", [Reverse, Shout])
def test_a_server_that_closes_while_a_filter_opens_cancels_the_request(mode, handler):
    kind = server_class(mode, STREAMS["tcp"], filters=[Greeting])
    with made(kind, STREAMS["tcp"], handler) as server, connect(server) as client:
        with running(server):
            wait_until(lambda: server.reactor.table)
        bounded(server.server_close)
        assert rest(client) == b""


@every_mode
def test_a_filter_that_breaks_is_an_error_of_its_request(mode, journal):
    for handler in Reverse, Shout:
        with serving(handler, mode, filters=[Greeting], handle_error=journal_error, journal=journal) as server:
            assert ask(server, b"what?\n") == b""
            wait_until(lambda: not server.reactor.table)
    expected = "handle_error ValueError a greeting, and not b'what?'"
    assert journal.wait_for(2) == [expected, expected]


# Blocking handlers behind filters


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


class Faulty(StreamRequestHandler):
    """Answers a line, or raises."""

    def handle(self):
        line = self.rfile.readline()
        if line == b"raise\n":
            self.wfile.write(b"before")
            raise ArithmeticError("at once")
        self.wfile.write(line)


@blocking_modes
@pytest.mark.parametrize("line", [b"line\n", b"raise\n"])
def test_hooks_are_called_as_without_filters(mode, line, journal):
    said = {}
    for filters in (), [Xor]:
        with serving(
            Faulty, mode, STREAMS["tcp"], Hooked, filters=filters, journal=journal, journal_of=os.getpid()
        ) as server:
            before = len(journal.lines())
            answer = ask(server, Xor.encode(line) if filters else line)
            wait_until(lambda: server.reactor.table.closed)
            [row] = server.reactor.table.closed
            assert row["reason"] == ("ArithmeticError: at once" if line == b"raise\n" else "")
        said[bool(filters)] = (Xor.decode(answer) if filters else answer, sorted(journal.lines()[before:]))
    assert said[True] == said[False]
    assert said[True][0] == (b"before" if line == b"raise\n" else line)


@blocking_modes
def test_a_blocking_call_times_out_as_on_a_socket(mode, journal):
    class Impatient(Faulty):
        timeout = 0.05

    with serving(Impatient, mode, filters=[Xor], handle_error=journal_error, journal=journal) as server:
        with connect(server) as client:
            assert rest(client) == b""
        assert journal.wait_for(1) == ["handle_error TimeoutError timed out"]


@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_a_server_that_closes_waits_for_a_blocking_handler(mode):
    class Slow(StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"begun\n")
            self.wfile.write(self.rfile.readline())

    kind = server_class(mode, STREAMS["tcp"], filters=[Xor])
    with made(kind, STREAMS["tcp"], Slow) as server, connect(server) as client:
        with running(server):
            assert Xor.decode(receive(client, 6)) == b"begun\n"
        closing = threading.Thread(target=server.server_close)
        closing.start()
        client.sendall(Xor.encode(b"last\n"))
        assert Xor.decode(rest(client)) == b"last\n"
        closing.join(10)
        assert not closing.is_alive()


@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_drain_breaks_off_a_blocking_handler(mode):
    kind = server_class(mode, STREAMS["tcp"], filters=[Xor], handle_error=lambda *told: None)
    with made(kind, STREAMS["tcp"], Echoing) as server, connect(server) as client:
        with running(server):
            client.sendall(Xor.encode(b"x"))
            assert receive(client, 1) == Xor.decode(b"x")
        [row] = bounded(server.drain, 0.05)
        assert row["handler"] == "Echoing"
        assert rest(client) == b""


def test_input_that_a_blocking_handler_has_not_asked_for_is_in_the_table_and_the_budget():
    gate = threading.Event()

    class Late(StreamRequestHandler):
        def handle(self):
            self.request.recv(1)
            self.request.sendall(b"!")
            gate.wait(10)
            self.request.sendall(self.request.recv(100))

    with serving(Late, "thread", filters=[Xor]) as server, connect(server) as client:
        client.sendall(Xor.encode(b"x" * 500))
        assert receive(client, 1) == Xor.decode(b"!")
        [row] = server.reactor.table
        wait_until(lambda: (row.held_in, server.reactor.stats()["held"]) == (499, 499))
        gate.set()
        assert rest(client) == Xor.decode(b"x" * 100)
        wait_until(lambda: not server.reactor.stats()["held"])


@pytest.mark.parametrize(("mode", "is_framed"), [(mode, mode == "select") for mode in MODES] + [
    (mode, True) for mode in MODES if mode != "select"
])  # fmt: skip
def test_an_overridden_finish_request_has_the_face(mode, is_framed):
    class Server:
        def finish_request(self, request, client_address):
            self.RequestHandlerClass(request, client_address, self)

    handler = ToTheEnd if is_framed else type("Unframed", (ToTheEnd,), {"request": None})
    with serving(handler, mode, STREAMS["tcp"], Server, filters=[Xor]) as server:
        assert Xor.decode(ask(server, Xor.encode(b"abc"))) == b"cba"


def test_hooks_that_would_go_round_the_filters_are_refused():
    class Server(ThreadingTCPServer):
        filters = (Xor,)

        def process_request_thread(self, request, client_address):
            self.finish_request(request, client_address)

        def finish_request(self, request, client_address):
            self.RequestHandlerClass(request, client_address, self)

    with pytest.raises(TypeError, match=r"overrides finish_request\(\) and how it is called"):
        Server(("127.0.0.1", 0), type("Unframed", (ToTheEnd,), {"request": None}))


@pytest.mark.parametrize(
    ("handler", "filters"), [(Echo, (Xor,)), (type("Unframed", (ToTheEnd,), {"request": None}), ())]
)
def test_the_same_hooks_are_not_refused_for_a_state_machine_or_without_filters(handler, filters):
    class Server(ThreadingTCPServer):
        def process_request_thread(self, request, client_address):
            self.finish_request(request, client_address)

        def finish_request(self, request, client_address):
            self.RequestHandlerClass(request, client_address, self)

    Server.filters = filters
    with Server(("127.0.0.1", 0), handler) as server:
        assert server.server_address


def test_a_pool_of_the_users_has_filters_too():
    class Server:
        def process_request(self, request, client_address):
            def work():
                try:
                    self.finish_request(request, client_address)
                finally:
                    self.shutdown_request(request)

            threading.Thread(target=work).start()

    for handler in ToTheEnd, Whole:
        with serving(handler, "plain", STREAMS["tcp"], Server, filters=[Xor]) as server:
            assert Xor.decode(ask(server, Xor.encode(b"abc"))) == b"cba"
            wait_until(lambda: not server.reactor.table)


@blocking_modes
def test_a_connection_with_filters_is_not_given_to_a_child(mode, journal):
    class Forks(StreamRequestHandler):
        def handle(self):
            try:
                self.server.fork_request(self.request)
            except RuntimeError as error:
                self.wfile.write(str(error).encode())

    with serving(Forks, mode, filters=[Xor]) as server:
        assert b"two processes would have the filters" in Xor.decode(ask(server))


# What filters find out


@every_mode
@pytest.mark.parametrize("handler", ["states", "blocking"])
def test_the_handler_knows_the_peer_that_a_filter_has_found_out(mode, handler, journal):
    class States(StreamHandler):
        async def handle(self):
            await ToEnd()
            self.send(repr((self.peer, self.secured, self.principal)).encode())

    class Blocking(StreamRequestHandler):
        request = ToEnd()

        def handle(self):
            self.rfile.read()
            said = self.client_address, self.request.getpeername()
            self.wfile.write(repr(said).encode())

    class Knowing(Named):
        def leave(self, rest=b""):
            self.driver.secured, self.driver.principal = "tls1.3", "ada"
            super().leave(rest)

    peer = ("192.0.2.7", 4711)
    with serving(States if handler == "states" else Blocking, mode, filters=[Knowing]) as server:
        answer = ask(server, b"192.0.2.7\nrest")
        assert eval(answer) == ((peer, "tls1.3", "ada") if handler == "states" else (peer, peer))
        wait_until(lambda: not server.reactor.table)
        [row] = server.reactor.table.closed
        assert (row["peer"], row["secured"], row["principal"]) == ("192.0.2.7:4711", "tls1.3", "ada")


class Named(Header):
    """Reads the host of the peer, as a PROXY header says it."""

    def received(self, data):
        self.line += data
        line, found, rest_ = self.line.partition(b"\n")
        if found:
            self.driver.peer = (line.decode(), 4711)
            self.leave(rest_)


@every_mode
@pytest.mark.parametrize("handler", [Whole, ToTheEnd])
def test_a_peer_that_a_filter_has_found_out_may_be_refused(mode, handler, journal):
    def verify_request(self, request, client_address):
        return client_address[0] != "192.0.2.66"

    members = {"filters": [Named], "verify_request": verify_request, "handle_error": journal_error, "journal": journal}
    with serving(handler, mode, **members) as server:
        assert ask(server, b"192.0.2.66\nabc") == b""
        wait_until(lambda: not server.reactor.table)  # the client may have seen its end earlier
        assert ask(server, b"192.0.2.7\nabc") == b"cba"
        wait_until(lambda: not server.reactor.table)
        refused, other = server.reactor.table.closed
        assert refused["reason"] == "Cancelled: refused: verify_request"
        assert other["reason"] == ""
        assert server.reactor.table.refused == {"verify_request": 1}
    assert journal.lines() == []


def test_a_child_whose_blocking_handler_waits_is_told_once_that_its_server_drains_and_closes():
    """The pipes that tell it stay readable: a loop that looked at them again and again would keep a processor busy."""
    place = STREAMS["tcp"]
    with made(server_class("fork", place, filters=FRONT), place, Echoing) as server, server.reactor.inside() as inner:
        mode, before = server._srv.mode, set(inner.watches)
        with mode.room():
            mode.alongside(inner)
        assert set(inner.watches) > before
        mode.drain()
        mode._close_bell.ring()
        inner.step(0)
        assert set(inner.watches) == before


@every_mode
def test_a_peer_that_a_child_can_not_tell_hides_nothing_else(mode):
    class Knowing(Named):
        def leave(self, rest=b""):
            self.driver.peer = (ip_address("192.0.2.7"), 4711)
            super().leave(rest)

    with serving(Whole, mode, filters=[Knowing]) as server:
        assert ask(server, b"192.0.2.7\nabc") == b"cba"
        [row] = wait_until(lambda: list(server.reactor.table.closed))
        assert (row["total_in"], row["total_out"], row["reason"]) == (13, 3, "")


@pytest.mark.parametrize("handler", [Whole, Echoing])
def test_what_a_child_holds_is_not_held_by_its_parent(handler):
    with serving(handler, "fork", filters=[Framed]) as server, connect(server) as client:
        [row] = wait_until(lambda: [row for row in server.reactor.table if row.driven_by.pid])
        client.sendall(encoded([Framed], b"some")[:3])
        assert (row.held_in, row.held_out, server.reactor.stats()["held"]) == (0, 0, 0)


@every_mode
@pytest.mark.parametrize("size", [300, 3_000])
def test_long_facts_and_a_long_reason_are_told_at_least_in_part(mode, size):
    """A child tells its parent of them, and has a bound for it."""

    class Failing(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            raise NameError("why" * size)

    class Knowing(Named):
        def leave(self, rest=b""):
            self.driver.secured, self.driver.principal = "\ud800" * size, "é" * size
            super().leave(rest)

    with serving(Failing, mode, filters=[Knowing]) as server:
        server.handle_error = lambda *_: None
        ask(server, b"192.0.2.7\n\n")
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert row["peer"] == "192.0.2.7:4711"
    assert row["principal"].startswith("é" * 50)
    assert row["reason"].startswith("NameError: whywhywhy")
    assert len(row["reason"]) <= len("NameError: ") + 3 * size
