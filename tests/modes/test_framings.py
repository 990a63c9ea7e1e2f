"""Framings of blocking handlers in every mode, over real sockets: the same answers; no slow client costs a thread."""

import gc
import http.client
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers import (
    DatagramRequestHandler,
    Exactly,
    Filter,
    LimitPassed,
    RequestRefused,
    StreamRequestHandler,
    TimedOut,
    Until,
)
from reactor import ForkingMixIn, Reactor, SelectMixIn, TCPServer, ThreadingMixIn
from tests import ROOT
from tests.support.serving import (
    MODES,
    PACKETS,
    PATIENCE,
    STREAMS,
    ask,
    clients_of,
    connect,
    journal_error,
    peer,
    receive,
    rest,
    server_class,
    serving,
    wait_until,
)  # fmt: skip

every_mode = pytest.mark.parametrize("mode", MODES)
elsewhere = pytest.mark.parametrize(("mode", "members"), [
    ("thread", {}), ("fork", {}), ("select", {"work": "thread"}), ("select", {"work": "fork"})
])  # fmt: skip


async def netstring(row):
    """``LENGTH:`` and as many bytes; refuses what is none."""
    try:
        size = await Until(b":", limit=9)
        if not size[:-1].isdigit():
            raise RequestRefused(b"!no number", "no number")
        await Exactly(int(size[:-1]), limit=row.max_request)
    except LimitPassed as passed:
        raise RequestRefused(b"!too long", str(passed)) from None
    except TimedOut as late:
        raise RequestRefused(b"!too slow", str(late)) from None


class Reply(StreamRequestHandler):
    """Answers each netstring with itself, reversed; ``quit`` is the last."""

    request = netstring
    close_connection = False

    def handle(self):
        size, _, text = self.rfile.read().partition(b":")
        assert len(text) == int(size)
        self.wfile.write(b"%d:" % len(text))
        self.wfile.write(text[::-1])
        self.close_connection = text == b"quit"


class Blocking(StreamRequestHandler):
    """A handler without a framing."""


def kind(**members):
    return type("Kind", (Reply,), members)


def packed(*texts):
    return b"".join(b"%d:%b" % (len(text), text) for text in texts)


def ended(server, number=1):
    wait_until(lambda: len(server.reactor.table.closed) >= number)
    return list(server.reactor.table.closed)


@every_mode
def test_requests_are_answered_in_order_and_the_connection_ends_when_the_handler_says_so(mode):
    with serving(Reply, mode) as server:
        assert ask(server, packed(b"ab", b"", b"cde")) == packed(b"ba", b"", b"edc")
        with connect(server) as client:
            for byte in packed(b"ab"):
                client.sendall(bytes([byte]))
            assert receive(client, 4) == b"2:ba"
            client.sendall(packed(b"quit", b"never answered"))
            assert rest(client) == b"4:tiuq"
        assert [row["reason"] for row in ended(server, 2)] == ["", ""]


@pytest.mark.parametrize("mode", MODES)
def test_any_cut_gives_the_same_answers(mode):
    with serving(Reply, mode) as server:

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.data())
        def check(texts, data):
            stream = packed(*texts)
            cuts = sorted(data.draw(st.lists(st.integers(1, len(stream)), max_size=3)))
            with connect(server) as client:
                for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
                    client.sendall(stream[start:end])
                    time.sleep(0.001)
                client.shutdown(socket.SHUT_WR)
                assert rest(client) == packed(*(text[::-1] for text in texts if text != b"quit"))

        check()


@every_mode
@pytest.mark.parametrize(("data", "answer", "reason"), [
    (b"x:", b"!no number", "RequestRefused: request refused: no number"),
    (b"1234567890", b"!too long", "RequestRefused: request refused: limit passed in Until"),
    (b"999:", b"!too long", "RequestRefused: request refused: limit passed in Exactly(999"),
    (b"60:" + b"x" * 60, b"!too long", "RequestRefused: request refused: the request is longer than Kind.max_request"),
    (b"9:half", b"", "EndOfStream: end of stream with 4 bytes"),
])  # fmt: skip
def test_a_request_that_is_refused_gets_its_answer_and_the_table_has_the_reason(mode, data, answer, reason, caplog):
    caplog.set_level("INFO", logger="reactor")
    with serving(kind(max_request=62), mode) as server:
        assert ask(server, packed(b"a") + data) == packed(b"a") + answer
        [row] = ended(server)
        assert row["reason"].startswith(reason)
        [told] = [record for record in caplog.records if record.name == "reactor"]
        assert told.row["serial"] == row["serial"]


@every_mode
@pytest.mark.parametrize(("limits", "text"), [
    ({"timeout": 0.05}, "timed out in Until"),
    ({"request_timeout": 0.05}, "not finished after 0.05 s (Kind.request_timeout)"),
    ({"idle_timeout": 0.05}, "no byte came or went for 0.05 s (Kind.idle_timeout)"),
    ({"min_rate": 1000, "timeout": 0.1}, "timed out in Until"),
])  # fmt: skip
def test_the_time_limits_of_the_class_end_a_request_that_does_not_come(mode, limits, text):
    with serving(kind(**limits), mode) as server, connect(server) as client:
        client.sendall(b"1")
        assert receive(client, 9) == b"!too slow"
        client.close()
        [row] = ended(server)
        assert text in row["reason"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["thread", "fork", "select"])
def test_half_requests_hold_no_thread_and_no_child(mode):
    with serving(Reply, mode, request_queue_size=128, max_threads=2, max_children=2) as server:
        before = threading.active_count()
        with clients_of(server, 100) as clients:
            for client in clients:
                client.sendall(b"3:ab")
            wait_until(lambda: sum(row.held_in for row in server.reactor.table) == 400)
            wait_until(lambda: server.reactor.stats()["held"] == 400)  # the loop counts what a row holds afterwards
            assert threading.active_count() <= before + 2
            assert not server.reactor.children.pids()
            assert ask(server, packed(b"good")) == packed(b"doog")
            for client in clients:
                client.sendall(b"c")
            for client in clients:
                assert receive(client, 5) == b"3:cba"
            wait_until(lambda: not any(row.held_in for row in server.reactor.table))


@pytest.mark.parametrize(("mode", "handler", "said", "length"), [
    ("select", Reply, {}, 128), ("thread", Reply, {}, 128), ("fork", Reply, {}, 128),
    ("plain", Reply, {}, 5), ("thread", Blocking, {}, 5),
    ("select", Reply, {"request_queue_size": 5}, 5), ("thread", Reply, {"request_queue_size": 300}, 300),
])  # fmt: skip
def test_the_accept_queue_is_long_where_the_loop_accepts_many_at_once(mode, handler, said, length, monkeypatch):
    def listen(self, backlog):
        lengths.append(backlog)
        before(self, backlog)

    lengths, before = [], socket.socket.listen
    monkeypatch.setattr(socket.socket, "listen", listen)
    mixin = {"select": [SelectMixIn], "thread": [ThreadingMixIn], "fork": [ForkingMixIn], "plain": []}[mode]
    old = type("Old", (TCPServer,), said)
    with type("New", (*mixin, old), {})(("127.0.0.1", 0), handler):
        assert lengths == [length]


@pytest.mark.parametrize("filters", [[], [Filter]])
@pytest.mark.parametrize(("mode", "members"), [
    ("plain", {}), ("thread", {}), ("fork", {}), ("select", {"work": "thread"}), ("select", {"work": "fork"})
])  # fmt: skip
def test_what_a_handler_writes_leaves_while_it_still_works(mode, members, filters, tmp_path):
    class Working(Reply):
        def handle(self):
            self.wfile.write(b"begun")
            wait_until((tmp_path / "seen").exists)
            self.wfile.write(b"done")

    with serving(type("Kind", (Working,), members), mode, filters=filters) as server, connect(server) as client:
        client.sendall(packed(b""))
        assert receive(client, 5) == b"begun"
        (tmp_path / "seen").touch()
        assert receive(client, 4) == b"done"


LARGE = 8 << 20  # the kernel may take 4 MiB for the sender alone (tcp_wmem, tcp(7))


class Large(Reply):
    """Answers with `LARGE` bytes, or with what has come."""

    def handle(self):
        if self.rfile.read() == b"5:large":
            for _ in range(LARGE >> 16):
                self.wfile.write(b"x" * 65_536)
        else:
            self.wfile.write(b"small")


def connect_with_little_room(server):
    """A client whose kernel takes little of a reply: else all of it might fit into the buffers of the two sockets."""
    client = connect(server)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    return client


@pytest.mark.slow
@pytest.mark.parametrize("most", [200_000, 1_000])
@pytest.mark.parametrize(("mode", "members"), [
    ("plain", {}), ("thread", {}), ("fork", {}), ("select", {"work": "thread"}), ("select", {"work": "fork"})
])  # fmt: skip
def test_a_reply_waits_for_its_client_and_the_row_holds_little_of_it(mode, members, most):
    kind = type("Kind", (Large,), {"max_output": most, **members})
    with serving(kind, mode) as server, connect_with_little_room(server) as client:
        client.sendall(packed(b"large"))
        receive(client, 1)
        wait_until(lambda: any(row.held_out for row in server.reactor.table))
        assert max(row.held_out for row in server.reactor.table) <= most
        if mode != "plain":
            assert ask(server, packed(b"x")) == b"small"
        client.sendall(packed(b"x"))
        assert len(receive(client, LARGE - 1)) == LARGE - 1
        assert receive(client, 5) == b"small"


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "members"), [
    ("plain", {}), ("thread", {}), ("fork", {}), ("select", {"work": "thread"}), ("select", {"work": "fork"})
])  # fmt: skip
@pytest.mark.parametrize(("limit", "reason"), [
    ("timeout", "timed out in Flushed()"), ("idle_timeout", "no byte came or went for 0.3 s (Kind.idle_timeout)")
])  # fmt: skip
def test_a_reply_that_its_client_does_not_take_in_time_ends_the_row(mode, members, limit, reason, caplog):
    class Muted(Large):
        """Tells nobody of an error, as a handler of ``http.server`` whose log is switched off."""

        def handle(self):
            with suppress(OSError):
                super().handle()

    caplog.set_level("INFO", "reactor")
    with serving(type("Kind", (Muted,), {limit: 0.3, **members}), mode) as server:
        told = "Until"  # a client that got no turn for 0.3 s sends its request too late; then another one tries
        while "Until" in told:
            caplog.clear()
            server.reactor.table.closed.clear()
            with connect_with_little_room(server) as client:
                client.sendall(packed(b"large"))
                wait_until(lambda: server.reactor.table.closed)
            [record] = server.reactor.table.closed
            told = record["reason"]
    assert reason in told
    assert len([message for message in caplog.messages if reason in message]) == 1


@elsewhere
def test_a_handler_waits_at_the_high_water_mark_of_its_class(mode, members):
    kind = type("Kind", (Large,), {"high_water": 100_000, **members})
    with serving(kind, mode) as server, connect_with_little_room(server) as client:
        client.sendall(packed(b"large"))
        receive(client, 1)
        wait_until(lambda: any(row.held_out for row in server.reactor.table))
        time.sleep(0.05)
        assert max(row.held_out for row in server.reactor.table) <= 100_000 + 65_536  # one chunk passes the mark
        assert len(receive(client, LARGE - 1)) == LARGE - 1


@every_mode
def test_a_request_that_comes_more_slowly_than_the_rate_of_the_class_ends(mode):
    with serving(kind(min_rate=1_000, timeout=0.2), mode) as server, connect(server) as client:
        client.sendall(b"60:")
        ends = time.monotonic() + PATIENCE
        client.settimeout(0.02)
        answer = b""
        while not answer and time.monotonic() < ends:
            with suppress(TimeoutError, ConnectionError):
                client.sendall(b"x")
                answer = client.recv(9)
        assert answer == b"!too slow"  # each byte begins no new time


@pytest.mark.parametrize("mode", ["plain", "thread", "fork"])
def test_limits_that_nothing_keeps_are_named_when_the_server_is_made(mode, caplog):
    members = {"max_output": 1_000, "min_rate": 10, "idle_timeout": None}
    with serving(type("Bare", (Blocking,), members), mode), serving(Blocking, mode), serving(kind(min_rate=1), mode):
        [line] = caplog.messages
        assert line.startswith("Bare declares min_rate, max_output, and no such limit is kept for a blocking handler")


@elsewhere
def test_a_client_that_takes_no_reply_ends_in_time(mode, members, journal):
    def handle_error(self, request, client_address):
        self.journal.write("error")

    with (
        serving(type("Kind", (Large,), {"timeout": 0.2, **members}), mode, handle_error=handle_error, journal=journal)
        as server, connect(server) as client,
    ):  # fmt: skip
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.sendall(packed(b"large"))
        [row] = ended(server)
        assert row["reason"]


def test_in_the_loop_a_reply_over_max_output_is_an_error_that_is_logged(caplog):
    with serving(type("Kind", (Large,), {"max_output": 200_000}), "select") as server:
        assert ask(server, packed(b"x")) == b"small"
        assert ask(server, packed(b"large")) == b""
        assert "OSError" in ended(server, 2)[1]["reason"]
    assert 'declare work = "thread" or "fork" on Kind' in caplog.text


class Faulty(Reply):
    """Breaks in the middle of its answer."""

    def handle(self):
        text = self.rfile.read()
        self.wfile.write(b"<")
        if text == b"3:die":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == b"4:exit":
            raise SystemExit
        if text == b"4:quit":
            os._exit(0)
        if text == b"5:break":
            raise ZeroDivisionError("broken")
        self.wfile.write(b">")


@every_mode
def test_an_exception_ends_its_connection_after_what_was_written_and_no_other(mode, journal):
    def handle_error(self, request, client_address):
        self.journal.write("error", *client_address)

    with serving(Faulty, mode, handle_error=handle_error, journal=journal) as server, connect(server) as other:
        if mode != "plain":
            other.sendall(b"1:")
            wait_until(lambda: len(server.reactor.table) == 1)
        else:
            other.close()
        with connect(server) as client:
            client.sendall(packed(b"a", b"break", b"b"))
            assert rest(client) == b"<><"
        wait_until(lambda: any("ZeroDivisionError: broken" in row["reason"] for row in server.reactor.table.closed))
        assert len(journal.wait_for(1)) == 1
        if mode != "plain":
            other.sendall(b"x")
            assert receive(other, 2) == b"<>"


@pytest.mark.parametrize(("mode", "members"), [("fork", {}), ("select", {"work": "fork"})])
@pytest.mark.parametrize(("text", "why"), [
    (b"die", "killed by SIGKILL"), (b"exit", "exited with status 1"), (b"quit", "exited with status 0"),
])  # fmt: skip
def test_a_child_that_dies_ends_its_connection_with_an_error(mode, members, text, why, caplog):
    with serving(type("Kind", (Faulty,), members), mode) as server:
        assert ask(server, packed(b"a", text)) == b"<><"
        assert why in ended(server)[0]["reason"]
        assert ask(server, packed(b"a")) == b"<>"
    assert why in caplog.text


class Counting(Reply):
    """Answers with the process that answers."""

    def handle(self):
        if self.rfile.read().endswith(b":break"):
            raise ZeroDivisionError("broken")
        self.wfile.write(b"%d\n" % os.getpid())


@pytest.mark.parametrize("request_", [netstring, Until(b"\n")])
@pytest.mark.parametrize(("mode", "members"), [("fork", {}), ("select", {"work": "fork"})])
def test_a_child_answers_all_requests_that_have_come_whole_and_the_loop_goes_on_behind_them(mode, members, request_):
    request = packed(b"a") if request_ is netstring else b"a\n"
    with (
        serving(type("Kind", (Counting,), {"request": request_, **members}), mode) as server,
        connect(server) as client, client.makefile("rb") as file,
    ):  # fmt: skip
        client.sendall(request * 100 + request[:1])
        assert len({file.readline() for _ in range(100)}) == 1
        wait_until(lambda: any(row.held_in == 1 for row in server.reactor.table))
        client.sendall(request[1:] + request * 2)
        client.shutdown(socket.SHUT_WR)
        assert len(file.read().splitlines()) == 3
        assert [row["reason"] for row in ended(server)] == [""]


@pytest.mark.parametrize(("mode", "members"), [("fork", {}), ("select", {"work": "fork"})])
def test_a_child_whose_later_request_breaks_ends_the_connection_after_the_answers_before(mode, members):
    with serving(type("Kind", (Counting,), members), mode, handle_error=lambda *_: None) as server:
        answer = ask(server, packed(b"a", b"b", b"break", b"c"))
        assert len(answer.splitlines()) == 2
        assert "ZeroDivisionError: broken" in ended(server)[0]["reason"]


@pytest.mark.parametrize(("mode", "members"), [("thread", {}), ("select", {"work": "thread"})])
def test_a_slow_handler_holds_up_no_other_and_its_lost_client_is_told_to_it(mode, members):
    class Slow(Reply):
        def handle(self):
            if self.rfile.read() == b"4:slow":
                begun.set()
                gate.wait(PATIENCE)
                with suppress(ConnectionError):
                    for _ in range(100):
                        self.wfile.write(b"x" * 65_536)
                    told.append("all sent")
                told.append("over")
            else:
                self.wfile.write(b"quick")

    begun, gate, told = threading.Event(), threading.Event(), []
    answers = type("Kind", (Slow,), members)
    with serving(answers, mode) as server, connect(server) as client:
        client.sendall(packed(b"slow"))
        assert begun.wait(PATIENCE)
        with connect(server) as other:
            other.sendall(b"0:")
            assert receive(other, 5) == b"quick"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        wait_until(lambda: any("Reset" in row["reason"] for row in server.reactor.table.closed))
        gate.set()
        wait_until(lambda: told)
        assert told == ["over"]


@elsewhere
def test_a_server_that_closes_lets_handlers_answer(mode, members, journal):
    class Late(Reply):
        def handle(self):
            self.server.journal.write("begun")
            time.sleep(0.2)
            self.wfile.write(b"x" * 300_000)

    with ExitStack() as later:
        with serving(type("Kind", (Late,), members), mode, journal=journal, block_on_close=True) as server:
            client = later.enter_context(connect(server))
            client.sendall(packed(b"a"))
            journal.wait_for(1)
            reader = threading.Thread(target=lambda: got.append(len(rest(client))))
            got = []
            reader.start()
        reader.join(PATIENCE)
    assert got == [300_000]


@elsewhere
def test_a_server_that_is_closed_by_its_loop_does_not_wait_for_a_client(mode, members, journal):
    class Floods(Reply):
        timeout = None

        def handle(self):
            with suppress(OSError):
                self.wfile.write(b"x" * 50_000_000)
            self.server.journal.write("told")

    kind = server_class(mode, STREAMS["tcp"], journal=journal, block_on_close=True)
    with Reactor() as loop:
        loop.make_wakeup()
        server = kind(("127.0.0.1", 0), type("Kind", (Floods,), members), reactor=loop)
        running = threading.Thread(target=loop.run)
        running.start()
        with connect(server) as client:
            client.sendall(packed(b"a"))
            assert receive(client, 1) == b"x"
            loop.call_soon(server.server_close)
            running.join(PATIENCE)
            assert not running.is_alive()
            assert not loop.table
        if members.get("work", mode) == "thread":  # a child is killed
            assert journal.wait_for(1) == ["told"]


def test_work_is_a_place():
    with pytest.raises(ValueError, match=r"Kind.work is .* or not declared, not 'process'"), ExitStack() as stack:
        stack.enter_context(serving(kind(work="process"), "select"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_more_requests_than_threads_or_children_wait_their_turn(mode):
    with (
        serving(Reply, mode, request_queue_size=64, max_threads=2, max_children=2) as server,
        clients_of(server, 40) as clients,
    ):
        for number, client in enumerate(clients):
            client.sendall(packed(b"%d" % number))
        for number, client in enumerate(clients):
            answer = packed((b"%d" % number)[::-1])
            assert receive(client, len(answer)) == answer


@pytest.mark.parametrize(("mode", "members", "bound"), [
    ("thread", {}, "ThreadingTCPServer.max_threads"), ("fork", {}, "ForkingTCPServer.max_children"),
    ("select", {"work": "thread"}, "Reactor.max_threads"), ("select", {"work": "fork"}, "Reactor.max_children"),
])  # fmt: skip
def test_that_whole_requests_wait_for_a_place_is_logged_once_with_the_remedy(mode, members, bound, caplog, tmp_path):
    class Waiting(Reply):
        def handle(self):
            wait_until((tmp_path / "open").exists)
            super().handle()

    name = bound.partition(".")[2]
    with serving(type("Kind", (Waiting,), members), mode, **{name: 2}) as server:
        setattr(server.reactor, name, 2)
        with clients_of(server, 4) as clients:
            for client in clients:
                client.sendall(packed(b"a"))
            wait_until(lambda: caplog.messages)
            (tmp_path / "open").touch()
            for client in clients:
                assert receive(client, 3) == b"1:a"
    [line] = caplog.messages
    assert line == f"work waits for one of {bound}: all 2 are busy; raise {bound}, or have a handler do less at a time"


# http.server, unchanged


async def http_request(row):
    """A request with a body of ``Content-Length`` bytes."""
    head = await Until(b"\r\n\r\n", limit=65_536)
    await Exactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or b"0"))


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    request = http_request

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[::-1])

    def log_message(self, *_):
        """Be silent."""


@every_mode
def test_keep_alive_of_http_server(mode):
    with serving(Page, mode) as server:
        connection = http.client.HTTPConnection(*server.server_address, timeout=PATIENCE)
        connection.connect()
        sock = connection.sock
        for number in range(5):
            connection.request("POST", "/", b"body %d" % number)
            assert connection.getresponse().read() == b"%d ydob" % number
            assert connection.sock is sock
        connection.request("POST", "/", b"last", headers={"Connection": "close"})
        assert connection.getresponse().read() == b"tsal"
        assert rest(sock) == b"" if connection.sock else True
        connection.close()
        [row] = ended(server)
        assert row["reason"] == ""


@every_mode
def test_a_body_that_a_plain_wait_leaves_out_is_an_error(mode, caplog):
    head = b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"
    with serving(type("HeadOnly", (Page,), {"request": Until(b"\r\n\r\n")}), mode) as server:
        assert ask(server, head + b"hello") == b""
        with connect(server) as client:
            client.sendall(head)
            assert rest(client) == b""
        assert all("reads 5 bytes, and 0 bytes are left" in row["reason"] for row in ended(server, 2))
    if mode != "fork":
        assert "HeadOnly.request takes less of the stream than handle() reads" in caplog.text


def test_what_a_child_finds_out_of_its_client_is_told_to_the_row_which_keeps_its_own_facts():
    def handle(self):
        self.rfile.read()
        self.connection.principal = "ada" if self.connection.principal is None else "bob"
        self.wfile.write(self.connection.principal.encode())

    class Named(Filter):
        name = "named"

    with serving(kind(handle=handle), "fork", filters=[Named]) as server, connect(server) as client:
        client.sendall(packed(b"", b""))
        client.shutdown(socket.SHUT_WR)
        assert rest(client) == b"adabob"
        [row] = ended(server)
        assert (row["principal"], row["in_front"]) == ("bob", "named")
        assert (row["total_in"], row["total_out"]) == (4, 6)


@pytest.mark.parametrize("place", ["thread", "fork"])
def test_a_datagram_handler_may_work_elsewhere_too(place, journal):
    class Packets(DatagramRequestHandler):
        work = place

        def handle(self):
            assert threading.get_ident() != self.server.reactor.thread or os.getpid() != here
            if self.packet == b"break":
                raise ZeroDivisionError("broken")
            self.wfile.write(self.packet[::-1])

    here = os.getpid()
    with (
        serving(Packets, "select", PACKETS["udp"], handle_error=journal_error, journal=journal) as server,
        peer(server) as client,
    ):
        client.send(b"abc")
        assert client.recv(10) == b"cba"
        client.send(b"break")
        assert journal.wait_for(1) == ["handle_error ZeroDivisionError broken"]


def test_one_thread_answers_request_after_request_and_ends_with_the_server():
    class Named(Reply):
        def handle(self):
            self.rfile.read()
            threads.add(threading.current_thread())

        def finish(self):
            self.wfile.write(b".")
            super().finish()

    threads = set()
    with serving(Named, "thread") as server:
        for _ in range(5):
            with connect(server) as client:
                client.sendall(b"0:")
                assert receive(client, 1) == b"."
                wait_until(lambda: server.reactor.table.as_dicts() and not server.reactor.work.jobs)
        assert len(threads) <= 2  # a thread may still be on its way back when the next request comes
    assert not any(thread.is_alive() for thread in threads)


def test_a_process_ends_soon_although_its_server_is_not_closed():
    program = """
import threading, socket, reactor
from handlers import Until
class H(reactor.StreamRequestHandler):
    request = Until(b"\\n")
    def handle(self):
        self.wfile.write(b"x")
server = reactor.ThreadingTCPServer(("127.0.0.1", 0), H)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = socket.create_connection(server.server_address, 10)
client.sendall(b"\\n")
assert client.recv(1) == b"x"
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE, cwd=ROOT)


@pytest.mark.slow
@every_mode
def test_what_a_request_held_is_freed_without_the_garbage_collector(mode):
    class Kind(Large):
        timeout = 30

    with serving(Kind, mode) as server:
        gc.collect()
        gc.disable()
        try:
            for text in (b"x", b"large", b"x") if mode != "select" else (b"x", b"x"):
                with connect(server) as client:
                    client.sendall(packed(b"x", text) + b"9:half")
                    receive(client, 10)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wait_until(lambda: not server.reactor.table)
            wait_until(lambda: not [found for found in gc.get_objects() if type(found).__name__ == "Kind"])
        finally:
            gc.enable()


def test_the_class_of_a_server_can_be_given_to_another_server():
    with serving(Page, "thread") as first:
        assert first.RequestHandlerClass.__name__ == "Page"
        assert issubclass(first.RequestHandlerClass, Page)
        with serving(first.RequestHandlerClass, "select") as second:
            head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"
            assert ask(second, head + b"ab" + head + b"cd").count(b"200 OK") == 2


@every_mode
def test_a_class_that_looks_at_the_classes_derived_from_it_sees_those_of_the_program(mode):
    """A server derives one of its own, which has the attributes of the class that it was given."""
    derived = []

    class Greeting(StreamRequestHandler):
        request = Until(b"\n", limit=99)

        def __init_subclass__(cls, *, greeting):
            cls.greeting = greeting
            derived.append(cls)

        def handle(self):
            self.wfile.write(self.greeting + self.rfile.readline())

    class Polite(Greeting, greeting=b"good day, "):
        pass

    with serving(Polite, mode) as server:
        assert ask(server, b"ada\n") == b"good day, ada\n"
    assert derived == [Polite]
