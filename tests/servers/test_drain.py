"""`drain()`: nothing new is accepted, open requests may finish, and those that do not are cancelled and returned."""

import socket
import sys
import threading
from contextlib import ExitStack, contextmanager

import pytest

from handlers import BaseRequestHandler, Cancelled, Cause, StreamHandler, StreamRequestHandler, Until
from handlers.filter import Filter
from handlers.http import HTTPHandler
from reactor import Reactor, SelectTCPServer
from reactor.servers import last
from tests.support.packets import Pair
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    Polite,
    Reverse,
    bounded,
    connect,
    made,
    peer,
    receive,
    reset,
    rest,
    running,
    server_class,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as many of these tests are


@pytest.fixture
def loop():
    with Reactor() as reactor:
        yield reactor


def client_has_answer(client):
    """Whether input has come."""
    try:
        return client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False


def served(server, *clients):
    """Have the first line of each client answered."""
    for client in clients:
        client.sendall(b"one\n")
        client.settimeout(0)
        while not client_has_answer(client):
            server.reactor.step(0.01)
        client.settimeout(PATIENCE)
        assert receive(client, 4) == b"one\n"


def test_requests_that_finish_in_time_finish_and_the_rest_is_returned(loop, caplog):
    with (
        SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as server,
        connect(server) as quick,
        connect(server) as slow,
    ):
        served(server, quick, slow)
        address = server.server_address
        loop.call_later(0.01, quick.sendall, b"two\n")
        [told] = server.drain(0.2)
        assert rest(quick) == b"two\n"
        assert rest(slow) == b"Cancelled"
        assert told["reason"] == f"Cancelled: {Cancelled()}"
        assert told["peer"] == "{}:{}".format(*slow.getsockname())
        with socket.socket() as late, pytest.raises(ConnectionRefusedError):
            late.connect(address)
    [line] = caplog.messages
    assert line == f"1 requests did not finish in 0.2 s: {told['serial']} of {told['peer']}"


def test_drain_returns_when_the_last_request_has_ended(loop, caplog):
    with SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as server, connect(server) as client:
        served(server, client)
        loop.call_later(0.01, client.sendall, b"two\n")
        assert bounded(server.drain, 1000) == []
        assert rest(client) == b"two\n"
    assert caplog.messages == []


def test_a_drain_of_the_loop_accepts_nothing_new(loop):
    with (
        SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as server,
        connect(server) as first,
        socket.socket() as late,
    ):
        served(server, first)
        loop.call_soon(late.connect, server.server_address)
        loop.call_later(0.1, first.sendall, b"two\n")
        assert loop.drain(1) == []
        assert rest(first) == b"two\n"


def test_other_servers_of_the_loop_go_on_serving(loop):
    with (
        SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as ending,
        SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as other,
        connect(ending) as one,
        connect(other) as two,
    ):
        served(ending, one)
        served(other, two)
        assert len(ending.drain(0.02)) == 1
        assert rest(one) == b"Cancelled"
        served(other, two)
        assert rest(two) == b""


def test_stop_ends_a_drain_at_once(loop):
    with SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as server, connect(server) as client:
        served(server, client)
        loop.call_later(0.01, loop.stop)
        assert len(bounded(loop.drain, 1000)) == 1
        assert rest(client) == b"Cancelled"


def test_ctrl_c_ends_a_drain_at_once_and_open_requests_can_go_on(loop):
    with SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as server, connect(server) as client:
        served(server, client)
        loop.call_soon(loop.interrupt)
        with pytest.raises(KeyboardInterrupt):
            loop.drain(0.05)
        loop.call_later(0.1, client.sendall, b"two\n")
        loop.run()
        assert (rest(client), loop.stats()["ended"]) == (b"two\n", {"": 1})


@pytest.mark.parametrize("mode", MODES)
def test_drain_after_shutdown_finishes_open_requests_in_every_mode(mode):
    kind = server_class(mode, STREAMS["tcp"])
    with made(kind, STREAMS["tcp"], Reverse) as server, connect(server) as client:
        with running(server):
            if mode == "plain":  # shutdown() waits for the request in progress
                client.close()
            else:
                client.sendall(b"5:he")
                wait_until(lambda: server.reactor.table)
        if mode == "plain":
            assert bounded(server.drain, 1000) == []
        else:
            client.sendall(b"llo,")
            client.shutdown(1)
            assert bounded(server.drain, 1000) == []
            assert rest(client) == b"5:olleh,"


class Blocked(StreamRequestHandler):
    """Waits for a line that does not come, or in a write that the client does not read."""

    def handle(self):
        if self.rfile.readline() == b"more\n":
            self.wfile.write(bytes(32 << 20))


REASONS = {
    "fork": "ChildProcessError: the child was killed by SIGKILL",
    "thread": f"Cancelled: {Cancelled()}",
}


@pytest.mark.parametrize("said", [b"half a li", b"more\n"])
@pytest.mark.parametrize("mode", ["fork", "thread"])
def test_a_blocking_handler_does_not_delay_the_end_of_a_drain(mode, said):
    kind = server_class(mode, STREAMS["tcp"], handle_error=lambda *_: None)
    with made(kind, STREAMS["tcp"], Blocked) as server, connect(server) as client:
        with running(server):
            client.sendall(said)
            wait_until(lambda: server.reactor.table)
        table = server.reactor.table
        [told] = bounded(server.drain, 0.05)
        assert told["peer"] == "{}:{}".format(*client.getsockname())
        [ended] = table.closed
        assert ended["reason"] == REASONS[mode]


class Deaf(BaseRequestHandler):
    """Reads and writes nothing."""

    def handle(self):
        self.server.begun.set()
        self.server.let_go.wait(PATIENCE)


@pytest.mark.parametrize("place", [STREAMS["tcp"], PACKETS["udp"]])
def test_a_drain_ends_although_a_blocking_handler_has_nothing_that_could_be_broken_off(place):
    begun, let_go = threading.Event(), threading.Event()
    kind = server_class("thread", place, daemon_threads=True, begun=begun, let_go=let_go)
    with made(kind, place, Deaf) as server:
        with running(server):
            if place is STREAMS["tcp"]:
                reset(connect(server))
            else:
                with peer(server) as client:
                    client.send(b"packet")
            assert begun.wait(PATIENCE)
        [told] = bounded(server.drain, 0.05)
        let_go.set()
        assert told["stage"] == "serving"


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_an_exchange_of_datagrams_may_finish_too(mode):
    place = PACKETS["udp"]
    with made(server_class(mode, place), place, Pair) as server, peer(server) as client, peer(server) as other:
        with running(server):
            client.send(b"a")
            table = wait_until(lambda: server.reactor.table)
        client.send(b"b")
        other.send(b"c")
        assert bounded(server.drain, 1000) == []
        assert client.recv(8) == b"ab"
        assert table.ends == {"": 1}


def test_an_exchange_of_datagrams_may_be_cancelled_too():
    place = PACKETS["udp"]
    kind = server_class("select", place)
    with made(kind, place, Pair) as server, peer(server) as client:
        server.start_serving()
        client.send(b"a")
        while not server.reactor.table:
            server.reactor.step()
        [told] = server.drain(0.01)
        assert told["reason"].startswith("Cancelled")


def test_drain_can_not_be_called_within_a_batch(loop):
    errors = []

    def drain():
        try:
            loop.drain(1)
        except RuntimeError as error:
            errors.append(str(error))

    loop.call_soon(drain)
    loop.run()
    assert errors == ["drain() while the loop runs: stop() it, or shutdown() its server, and wait for its end"]


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_a_state_machine_that_does_not_finish_in_time_is_cancelled_wherever_it_runs(mode):
    with made(server_class(mode, STREAMS["tcp"]), STREAMS["tcp"], Polite) as server, connect(server) as client:
        with running(server):
            client.sendall(b"one\n")
            assert receive(client, 4) == b"one\n"
        [row] = bounded(server.drain, 0.05)
        assert row["handler"] == "Polite"
        assert rest(client) == b"Cancelled"


class Upper(StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "select"])
def test_connections_that_the_kernel_has_completed_are_taken_first(mode):
    kind = server_class(mode, STREAMS["tcp"])
    with made(kind, STREAMS["tcp"], Upper) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(4)]
        for client in clients:
            client.sendall(b"word\n")
        assert bounded(server.drain, PATIENCE) == []
        assert [rest(client) for client in clients] == [b"WORD\n"] * 4


@pytest.mark.parametrize("mode", MODES)
def test_drain_may_be_called_while_another_thread_serves(mode):
    kind = server_class(mode, STREAMS["tcp"])
    with made(kind, STREAMS["tcp"], Reverse) as server, running(server):
        with connect(server) as client:
            client.sendall(b"3:abc,")
            assert receive(client, 1)
        assert bounded(server.drain, PATIENCE) == []


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fork"])
def test_drain_in_a_handler_is_refused_and_the_server_goes_on(mode):
    class Draining(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))
            with pytest.raises(RuntimeError, match="drain"):
                self.server.drain(1)

    with made(server_class(mode, STREAMS["tcp"]), STREAMS["tcp"], Draining) as server, running(server):
        for _ in range(2):
            with connect(server) as client:
                client.sendall(b"one\n")
                assert receive(client, 4) == b"one\n"


def test_drain_that_is_refused_while_a_shared_loop_runs_leaves_the_server_as_it_was(loop):
    with SelectTCPServer(("127.0.0.1", 0), Polite, reactor=loop) as server:
        loop.make_wakeup()
        with thread_of(loop.run), closing_stop(loop):
            wait_until(lambda: loop.running)
            with pytest.raises(RuntimeError, match="drain"):
                server.drain(1)
            with connect(server) as client:
                client.sendall(b"one\ntwo\n")
                assert rest(client) == b"one\ntwo\n"


def test_drain_that_is_refused_because_the_loop_goes_on_after_serve_forever_leaves_the_server_as_it_was():
    class Going(Reactor):
        def require_rest(self, what):
            if what == "drain()":
                wait_until(lambda: self.running)
            super().require_rest(what)

    with Going() as loop, SelectTCPServer(("127.0.0.1", 0), Hello, reactor=loop) as server:

        def serve():
            server.serve_forever()
            loop.run()

        with thread_of(serve), closing_stop(loop):
            wait_until(lambda: loop.running)
            with pytest.raises(RuntimeError, match="drain"):
                server.drain(0)
            assert not server.is_draining
            with connect(server) as client:
                assert is_answered(client, GET, b"HTTP/1.1 200 OK")
                client.shutdown(socket.SHUT_WR)
                assert b"Connection: close" not in rest(client)


@contextmanager
def thread_of(call):
    thread = threading.Thread(target=call)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


@contextmanager
def closing_stop(loop):
    try:
        yield
    finally:
        loop.stop()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_listener_that_is_shared_with_another_process_is_left_without_a_filter(family):
    place = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}[family]

    class Server(SelectTCPServer):
        address_family = family

    with Server((place, 0), Polite) as server, server.socket.dup() as others:
        with connect(server):
            assert len(bounded(server.drain, 0.05)) == 1
        if sys.platform == "linux":
            assert others.getsockopt(socket.SOL_SOCKET, last.SO_ATTACH_FILTER) == 0  # SO_GET_FILTER: its length
        others.settimeout(PATIENCE)
        with socket.create_connection(others.getsockname()[:2], PATIENCE):
            others.accept()[0].close()


# Connections between requests


class Kept(StreamRequestHandler):
    """Answers lines one by one. ``wait`` is answered when the test says so."""

    close_connection = False
    timeout = 1_000
    gate = threading.Event()
    causes: list[Cause] = []

    @staticmethod
    async def request(row):
        try:
            await Until(b"\n")
        except Cause as cause:
            Kept.causes.append(cause)
            raise

    def handle(self):
        line = self.rfile.readline()
        if line == b"wait\n":
            assert self.gate.wait(PATIENCE)
        self.wfile.write(line)


@pytest.fixture
def kept():
    Kept.gate.clear()
    Kept.causes.clear()
    yield Kept
    Kept.gate.set()


class Hello(HTTPHandler):
    async def respond(self, request, response):
        response.reply(200, await request.content())


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def is_answered(client, request, answer):
    client.sendall(request)
    return receive(client, len(answer)) == answer


@pytest.mark.parametrize("mode", MODES)
def test_a_connection_between_requests_of_a_framing_ends_at_once(mode, kept, caplog):
    place = STREAMS["tcp"]
    with made(server_class(mode, place), place, kept) as server, running(server), connect(server) as client:
        assert is_answered(client, b"one\n", b"one\n")
        table = server.reactor.table
        assert bounded(server.drain, 1_000) == []
        assert rest(client) == b""
        [row] = table.closed
        assert row["reason"] == "Cancelled: the server drains, and nothing is under way"
        assert [str(cause) for cause in kept.causes] == ["the server drains, and nothing is under way"]
    assert caplog.messages == []


@pytest.mark.parametrize("mode", MODES)
def test_an_idle_connection_of_http_ends_at_once(mode):
    place = STREAMS["tcp"]
    with made(server_class(mode, place), place, Hello) as server, running(server), connect(server) as client:
        client.sendall(GET)
        assert receive(client, 15) == b"HTTP/1.1 200 OK"
        assert bounded(server.drain, 1_000) == []
        assert rest(client).endswith(b"\r\n\r\n")


def test_in_plain_mode_connections_of_the_accept_queue_that_are_kept_delay_none_behind_them(kept):
    place = STREAMS["tcp"]
    with made(server_class("plain", place), place, kept) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(3)]
        for client in clients:
            client.sendall(b"one\n")
        assert bounded(server.drain, 1_000) == []
        assert [rest(client) for client in clients] == [b"one\n"] * 3


@pytest.mark.parametrize("mode", ["select", "thread", "fork"])
def test_what_is_under_way_when_a_drain_begins_is_answered_and_then_the_connection_ends(mode, kept):
    place = STREAMS["tcp"]
    with made(server_class(mode, place), place, kept) as server, ExitStack() as stack:
        half, unread = clients = [stack.enter_context(connect(server)) for _ in range(2)]
        with running(server):
            for client in clients:
                assert is_answered(client, b"one\n", b"one\n")
            half.sendall(b"tw")
            wait_until(lambda: any(row.held_in for row in server.reactor.table))
        unread.sendall(b"two\nthree\n")  # the loop does not run: the kernel has them
        fresh = stack.enter_context(connect(server))
        server.reactor.call_later(0.02, half.sendall, b"o\n")
        server.reactor.call_later(0.02, fresh.sendall, b"two\n")
        assert bounded(server.drain, 1_000) == []
        assert [rest(client) for client in (half, unread, fresh)] == [b"two\n", b"two\nthree\n", b"two\n"]


@pytest.mark.parametrize("mode", ["select", "thread", "fork"])
def test_a_request_of_which_no_byte_is_held_at_its_second_wait_is_under_way(mode):
    class TwoLines(StreamRequestHandler):
        close_connection = False

        @staticmethod
        async def request(row):
            await Until(b"\n")
            await Until(b"\n", limit=80)

        def handle(self):
            self.wfile.write(self.rfile.read())

    place = STREAMS["tcp"]
    with made(server_class(mode, place), place, TwoLines) as server, connect(server) as client:
        with running(server):
            assert is_answered(client, b"one\ntwo\n", b"one\ntwo\n")
            client.sendall(b"one\n")
            wait_until(lambda: any("80" in row.wait for row in server.reactor.table))
        server.reactor.call_later(0.02, client.sendall, b"two\n")
        assert bounded(server.drain, 1_000) == []
        assert rest(client) == b"one\ntwo\n"


@pytest.mark.parametrize("handler", [Reverse, Kept])
def test_in_plain_mode_a_request_that_a_drain_cuts_is_returned_wherever_it_was(handler):
    place = STREAMS["tcp"]
    with made(server_class("plain", place), place, handler) as server, ExitStack() as stack:
        first, second, third = (stack.enter_context(connect(server)) for _ in range(3))
        for client in (first, second, third):
            client.sendall(b"5:he")  # the first holds the server until the time is over
        told = bounded(server.drain, 0.2)
        peers = ["{}:{}".format(*client.getsockname()) for client in (first, second, third)]
        assert [row["peer"] for row in told] == peers
        assert told[0]["stage"] == "serving"
        assert all(row["reason"].startswith("Cancelled") for row in told)


def test_in_plain_mode_a_stop_ends_a_drain_although_a_request_begins_behind_it():
    place = STREAMS["tcp"]
    with made(server_class("plain", place), place, Reverse) as server, connect(server) as client:
        client.sendall(b"5:he")
        server.reactor.call_soon(server.reactor.stop)
        [row] = bounded(server.drain, 1_000)
        assert (row["stage"], row["reason"]) == ("serving", f"Cancelled: {Cancelled()}")
        assert rest(client) == b""


def test_in_plain_mode_the_request_in_progress_that_a_drain_of_another_thread_cuts_is_returned():
    place = STREAMS["tcp"]
    with made(server_class("plain", place), place, Reverse) as server, running(server), connect(server) as client:
        client.sendall(b"5:he")
        wait_until(lambda: any(row.held_in for row in server.reactor.table))
        [row] = bounded(server.drain, 0.1)
        assert (row["peer"], row["stage"]) == ("{}:{}".format(*client.getsockname()), "serving")


@pytest.mark.parametrize("mode", MODES)
def test_a_client_of_http_whose_request_is_under_way_learns_of_the_drain_from_its_answer(mode):
    class Slow(HTTPHandler):
        async def respond(self, request, response):
            response.reply(200, await request.content())

    place = STREAMS["tcp"]
    with made(server_class(mode, place), place, Slow) as server, connect(server) as client:
        post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
        with running(server):
            client.sendall(post)
            wait_until(lambda: server.reactor.table)
            threading.Timer(0.3, client.sendall, [b"ab"]).start()
            assert bounded(server.drain, 1_000) == []
        answer = rest(client)
        assert (b"\r\nConnection: close\r\n" in answer, answer[-2:]) == (True, b"ab")


def test_an_answer_that_is_under_way_in_a_thread_is_finished_by_a_drain(kept):
    place = STREAMS["tcp"]
    with made(server_class("thread", place), place, kept) as server, connect(server) as client:
        with running(server):
            client.sendall(b"wait\n")
            wait_until(lambda: any(row.wait.startswith("Answered") for row in server.reactor.table))
        server.reactor.call_later(0.1, kept.gate.set)
        assert bounded(server.drain, 1_000) == []
        assert rest(client) == b"wait\n"


def test_the_last_answer_of_http_in_a_drain_says_that_the_connection_closes(loop):
    with SelectTCPServer(("127.0.0.1", 0), Hello, reactor=loop) as server, connect(server) as client:
        server.start_serving()
        client.sendall(GET[:5])
        while not any(row.held_in for row in loop.table):
            loop.step(0.01)
        assert not server.is_draining
        loop.call_later(0.02, client.sendall, GET[5:])
        assert bounded(server.drain, 1_000) == []
        assert server.is_draining
        assert b"\r\nConnection: close\r\n" in rest(client)


# Requests of the plain mode that just begin, and blocking handlers


class Watched(Reactor):
    """A loop that tells when another thread has looked for the request that it drives."""

    def __init__(self):
        self.looked = threading.Event()
        super().__init__()

    @property
    def inner(self):
        if self.is_elsewhere:
            self.looked.set()
        return self._now_inside

    @inner.setter
    def inner(self, loop):
        self._now_inside = loop


@contextmanager
def beginning(place, handler, **members):
    """A running server of the plain mode, each of whose requests begins when another thread has looked for it."""
    with Watched() as loop:
        taken = threading.Event()

        def verify_request(self, request, client_address):
            taken.set()
            return loop.looked.wait(PATIENCE)

        kind = server_class("plain", place, verify_request=verify_request, handle_error=lambda *_: None, **members)
        with made(kind, place, handler, loop) as server, running(server):
            yield server, taken


@pytest.mark.parametrize("handler", [Reverse, Kept, Pair])
def test_in_plain_mode_a_drain_of_another_thread_cuts_a_request_that_just_begins(handler):
    place = PACKETS["udp"] if handler is Pair else STREAMS["tcp"]
    connected = peer if handler is Pair else connect
    with beginning(place, handler) as (server, taken), connected(server) as client:
        client.send(b"5:he")
        assert taken.wait(PATIENCE)
        [row] = bounded(server.drain, 0.1)
        assert (row["peer"], row["stage"]) == ("{}:{}".format(*client.getsockname()), "serving")


def test_in_plain_mode_a_connection_that_just_begins_does_not_hold_up_a_shutdown_between_requests():
    with beginning(STREAMS["tcp"], Hello) as (server, taken), connect(server) as client:
        client.sendall(GET)
        assert taken.wait(PATIENCE)
        bounded(server.shutdown)
        assert rest(client).startswith(b"HTTP/1.1 200 OK")


def test_a_shutdown_of_a_server_that_does_not_serve_ends_no_connection_that_another_call_drives(loop):
    place = STREAMS["tcp"]
    with made(server_class("plain", place), place, Hello, loop) as server, connect(server) as client:
        server.shutdown()  # is for the next serve_forever()
        with thread_of(loop.run), closing_stop(loop):
            for _ in range(2):
                client.sendall(GET)
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += receive(client, 1) or pytest.fail(f"the connection has ended after {answer}")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(1)
                client.settimeout(PATIENCE)


def test_in_fork_mode_a_request_of_the_accept_queue_that_a_drain_cuts_is_returned():
    def verify_request(self, request, client_address):
        threading.Event().wait(0.1)  # what the drain takes to accept is a part of its time
        return True

    place = STREAMS["tcp"]
    kind = server_class("fork", place, verify_request=verify_request)
    with made(kind, place, Polite) as server, connect(server) as client:
        client.sendall(b"one\n")
        [row] = bounded(server.drain, 0.3)
        assert (row["stage"], row["driven_by"].split()[0]) == ("serving", "child")
        assert rest(client) == b"one\nCancelled"


@pytest.mark.parametrize("said", [b"half a li", b"more\n"])
@pytest.mark.parametrize("filters", [[], [Filter]])
def test_in_plain_mode_a_drain_of_another_thread_ends_a_blocking_handler(said, filters):
    place = STREAMS["tcp"]
    kind = server_class("plain", place, filters=filters, handle_error=lambda *_: None)
    with made(kind, place, Blocked) as server, running(server), connect(server) as client:
        client.sendall(said)
        wait_until(lambda: any(row.stage.value == "serving" for row in server.reactor.table))
        table = server.reactor.table
        [told] = bounded(server.drain, 0.1)
        assert (told["peer"], told["stage"]) == ("{}:{}".format(*client.getsockname()), "serving")
        [ended] = table.closed
        assert told["reason"] == ended["reason"] == f"Cancelled: {Cancelled()}"


@pytest.mark.parametrize("filters", [[], [Filter]])
def test_in_plain_mode_a_blocking_handler_that_begins_when_the_time_of_a_drain_is_over_ends_too(filters):
    with beginning(STREAMS["tcp"], Blocked, filters=filters) as (server, taken), connect(server) as client:
        client.sendall(b"half a li")
        assert taken.wait(PATIENCE)
        [told] = bounded(server.drain, 0)
        assert (told["stage"], told["reason"]) == ("serving", f"Cancelled: {Cancelled()}")
        assert rest(client) == b""


@pytest.mark.parametrize("filters", [[], [Filter]])
def test_in_plain_mode_a_blocking_handler_does_not_delay_the_end_of_a_drain_that_drives_it(filters):
    place = STREAMS["tcp"]
    kind = server_class("plain", place, filters=filters, handle_error=lambda *_: None)
    with made(kind, place, Blocked) as server, connect(server) as first, connect(server) as second:
        for client in (first, second):
            client.sendall(b"half a li")
        told = bounded(server.drain, 0.1)
        assert [row["peer"] for row in told] == ["{}:{}".format(*client.getsockname()) for client in (first, second)]
        assert [rest(client) for client in (first, second)] == [b"", b""]


def test_in_plain_mode_a_blocking_handler_that_ends_in_time_is_left_alone():
    place = STREAMS["tcp"]
    with made(server_class("plain", place), place, Upper) as server, running(server), connect(server) as client:
        client.sendall(b"wo")
        wait_until(lambda: server.reactor.table)
        threading.Timer(0.1, client.sendall, [b"rd\n"]).start()
        assert bounded(server.drain, 1_000) == []
        assert rest(client) == b"WORD\n"


class Raises(StreamHandler):
    async def handle(self):
        await Until(b"\n")
        raise ValueError("of the handler")


def test_drain_can_be_called_where_the_loop_has_run_a_handler_that_raised(loop):
    """A hook is called for the row then, and it is over."""
    with made(SelectTCPServer, STREAMS["tcp"], Raises, loop) as server:
        server.handle_error = lambda *_: None
        server.start_serving()
        with connect(server) as client:
            while not loop.table:
                loop.step()
            client.sendall(b"one\n")
            while loop.table:
                loop.step()
            assert server.drain(0) == []
            assert rest(client) == b""
