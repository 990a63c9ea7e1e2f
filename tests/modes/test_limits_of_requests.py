"""``request_timeout`` and ``min_rate`` of a handler that answers one request after another are for each of them."""

import socket
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import StreamRequestHandler, Until
from handlers.http import HTTPHandler
from reactor import SelectTCPServer
from reactor.testing import World
from tests.support.http import Echo
from tests.support.serving import PATIENCE, STREAMS, connect, receive, rest, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
TCP, ADDRESS = STREAMS["tcp"], ("10.0.0.1", 80)
SHORT, LENGTH, HUGE = 300_000, 1 << 20, 32 << 20


class Lines(StreamRequestHandler):
    """Answers each line with itself; ``short``, ``long`` and ``huge`` with many bytes."""

    request = Until(b"\n")
    close_connection = False

    def handle(self):
        line = self.rfile.readline()
        length = {b"short\n": SHORT, b"long\n": LENGTH, b"huge\n": HUGE}.get(line, 0)
        for start in range(0, length, LENGTH):
            self.wfile.write(bytes(min(LENGTH, length - start)))
        if not length:
            self.wfile.write(line)


class Framed(Lines):
    @staticmethod
    async def request(row):
        await Until(b"\n")


class Page(HTTPHandler):
    async def respond(self, request, response):
        if request.target == "/long":
            response.begin(200, (), LENGTH)
            for _ in range(LENGTH // 65_536):
                await response.write(bytes(65_536))
        else:
            response.reply(200, await request.content())


class Blocking(Echo):
    def do_GET(self):  # noqa: N802 - the name that http.server calls
        if self.path == "/long":
            self.send_response(200)
            self.send_header("Content-Length", str(LENGTH))
            self.end_headers()
            self.wfile.write(bytes(LENGTH))
        else:
            super().do_GET()


WAYS = [
    *((kind, mode, "") for kind in (Lines, Framed, Blocking) for mode in ("select", "plain", "thread", "fork")),
    *((kind, "select", work) for kind in (Lines, Framed, Blocking) for work in ("thread", "fork")),
    *((Page, mode, "") for mode in ("select", "plain", "thread", "fork")),
]
ONE = {Lines: b"one\n", Framed: b"one\n"}
LONG = {Lines: b"long\n", Framed: b"long\n"}
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def kind_of(kind, work, **members):
    return type("Kind", (kind,), {**members, **({"work": work} if work else {})})


def in_every_way(members, do, ways=WAYS):
    """What ``do(server, client, request)`` returns in each of the ways, all at the same time."""
    results = {}
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(kind_of(kind, work, **members), mode, TCP)) for kind, mode, work in ways]

        def try_one(way, server):
            with connect(server) as client:
                results[way] = do(server, client, ONE.get(way[0], GET))

        threads = [threading.Thread(target=try_one, args=each) for each in zip(ways, servers, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
    return {way: results.get(way) for way in ways}


@pytest.mark.slow
def test_a_connection_lasts_longer_than_one_request_may_in_every_mode():
    def do(server, client, request):
        for _ in range(4):
            time.sleep(0.4)
            client.sendall(request[:-1])
            client.sendall(request[-1:])
            if not client.recv(1_000):
                return [row["reason"] for row in server.reactor.table.closed]
        return "kept"

    results = in_every_way({"request_timeout": 1.0, "min_rate": 40, "timeout": 1.0}, do)
    assert results == dict.fromkeys(results, "kept")


def test_a_request_that_does_not_come_whole_in_time_ends_in_every_mode():
    def do(server, client, request):
        client.sendall(request)
        client.recv(1_000)
        time.sleep(0.3)
        client.sendall(request[:2])
        with suppress(ConnectionError):
            receive(client, 1_000)
        client.close()
        [row] = wait_until(lambda: list(server.reactor.table.closed))
        return "not finished after 0.2 s (Kind.request_timeout)" in row["reason"] or "408: " in row["reason"]

    results = in_every_way({"request_timeout": 0.2}, do)
    assert results == dict.fromkeys(results, True)


def end_of(kind, script, **members):
    """Why and when the row of a client ends, which sends each ``(seconds to wait, data)``; and its answers."""
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, kind_of(kind, "", **members))
        client = world.connect(ADDRESS)
        for seconds, data in script:
            client.wait(seconds).send(data)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    return row["reason"], row["age"], client.received


@pytest.mark.parametrize("kind", [Lines, Framed])
@pytest.mark.parametrize("piece", [b"one\n", b"e\non", b"one\none\nt\n"])
def test_the_time_of_each_request_is_counted_from_its_first_byte(kind, piece):
    script = [(1, b"on"), *[(6, piece)] * 20, (5, b"e\nlast"), (1, b"...")]
    reason, age, received = end_of(kind, script, request_timeout=10, timeout=None)
    assert reason == "TimedOut: not finished after 10 s (Kind.request_timeout)"
    assert age == pytest.approx(1 + 20 * 6 + 5 + 10, abs=0.1)
    assert received.count(b"\n") == 20 * piece.count(b"\n") + 1


PIECES = st.lists(st.sampled_from([b"x", b"\n"]), min_size=1, max_size=6)


@settings(max_examples=40)
@given(
    st.sampled_from([Lines, Framed]),
    st.lists(
        st.tuples(st.integers(0, 12), st.lists(st.sampled_from([b"x", b"\n"]), min_size=1, max_size=6)), max_size=12
    ),
)
def test_a_connection_ends_when_the_first_of_its_requests_is_too_late_and_not_before(kind, script):
    clock, begun, late = 0, None, None
    for seconds, pieces in [*script, (20, [])]:
        clock += seconds
        if begun is not None and clock > begun + 10.5:  # arrivals are at whole seconds, and shortly after them
            late = begun + 10.5
            break
        for piece in pieces:
            begun = None if piece == b"\n" else clock if begun is None else begun
    data = [(seconds, b"".join(pieces)) for seconds, pieces in [*script, (20, [b"\n"])]]
    reason, age, _ = end_of(kind, data, request_timeout=10.5, timeout=25, idle_timeout=25)
    if late is None:
        assert "request_timeout" not in reason
    else:
        assert reason == "TimedOut: not finished after 10.5 s (Kind.request_timeout)"
        assert age == pytest.approx(late, abs=0.3)


@pytest.mark.parametrize("kind", [Lines, Framed, Page])
def test_a_pause_between_requests_is_no_debt(kind):
    request = ONE.get(kind, GET)
    members = {"min_rate": 10, "timeout": 30}
    reason, age, _ = end_of(kind, [(25, request)] * 20, **members)
    assert age == pytest.approx(25 * 20 + 30, abs=0.1)
    assert "timed out in Until" in reason


@pytest.mark.slow
@pytest.mark.parametrize(("pace", "gets_all"), [((10_000, 0.5), True), ((10_000, 2.5), False)])
@pytest.mark.parametrize("kind", [Lines, Framed, Page, Blocking])
def test_a_client_that_takes_a_long_reply_at_the_rate_gets_it(kind, pace, gets_all):
    with World(capacity=5_000) as world:
        server = world.serve(SelectTCPServer, ADDRESS, kind_of(kind, "", min_rate=10_000, timeout=5))
        client = world.connect(ADDRESS).send(LONG.get(kind, b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n"))
        client.read_slowly(*pace)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert (client.received.count(b"\0") == LENGTH) is gets_all
    assert ("slower than 10000 bytes a second (Kind.min_rate)" in row["reason"]) is not gets_all


@pytest.mark.slow
@pytest.mark.parametrize(("pace", "gets_all"), [((10_000, 0.05), True), ((1_000, 0.2), False)])
@pytest.mark.parametrize("kind", [Lines, Framed, Page, Blocking])
@pytest.mark.parametrize("is_last", [False, True])
def test_the_timeout_is_for_each_64_kib_that_a_client_takes_of_a_reply_in_the_loop(kind, pace, gets_all, is_last):
    """As elsewhere, where it is for each piece that the handler writes."""
    request = LONG.get(kind, b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
    capacity = 10_000  # bytes that the network holds; the client has not taken them when the row ends
    with World(capacity=capacity) as world:
        server = world.serve(SelectTCPServer, ADDRESS, kind_of(kind, "", timeout=1, close_connection=is_last))
        client = world.connect(ADDRESS).send(request)
        client.read_slowly(*pace)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert (client.received.count(b"\0") >= LENGTH - capacity) is gets_all
    if gets_all:  # and the connection goes on
        assert is_last or "timed out in Until" in row["reason"]
    else:
        assert row["reason"].startswith(("TimedOut: timed out in Flushed()", "TimedOut: timed out in Exactly(0)"))


@pytest.mark.parametrize("limits", [{"min_rate": 1_000_000, "timeout": 0.15}, {"idle_timeout": 0.15}])
def test_the_time_that_a_handler_computes_in_plain_mode_is_not_that_of_its_client(limits):
    has_computed = threading.Event()

    class Computing(Framed):
        def handle(self):
            for _ in range(3):
                self.wfile.write(bytes(20_000))  # the row holds most of it, and less than makes the handler wait
                time.sleep(0.2)
            has_computed.set()

    with serving(type("Kind", (Computing,), limits), "plain") as server, socket.socket() as client:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        client.sendall(b"one\n")
        wait_until(has_computed.is_set)
        client.shutdown(socket.SHUT_WR)
        assert len(rest(client)) == 60_000


@pytest.mark.slow
def test_min_rate_is_of_one_reply_in_every_mode():
    """A client takes 20 MB a second of replies, where 1 GB are asked for: it gets the short ones, not the long one."""

    def do(server, client, request):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400_000)  # else the kernel may hold it all
        client.sendall(b"short\n" * 20 + b"huge\n")
        with suppress(ConnectionError):
            while client.recv(400_000):
                time.sleep(0.02)
        client.close()
        [row] = wait_until(lambda: list(server.reactor.table.closed))
        assert row["reason"].startswith("TimedOut: ")
        return 20 * SHORT < row["total_out"] < HUGE

    ways = [way for way in WAYS if way[0] is Framed]
    results = in_every_way({"min_rate": 1_000_000_000, "timeout": 0.5, "max_output": 2 * HUGE}, do, ways)
    assert results == dict.fromkeys(results, True)
