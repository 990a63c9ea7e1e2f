"""Handler classes of the standard library's HTTP servers, unmodified but for their framing, in every mode.

And `HTTPHandler`, where requests are cut.
"""

import http.server
import selectors
import socket
import wsgiref.simple_server
import xmlrpc.server
from contextlib import suppress
from functools import partial

import pytest

from handlers.http import http_request
from tests.support.http import NEXT, REQUESTS, Echo, undated
from tests.support.http_handlers import Whole
from tests.support.malformed import MALFORMED
from tests.support.serving import (
    MODES,
    STREAMS,
    ask,
    clients_of,
    connect,
    receive,
    rest,
    rest_of_cut,
    serving,
    wait_until,
)

TCP = STREAMS["tcp"]
AT_ONCE = 150  # connections


class Quiet:
    """A handler that writes nothing to the standard error."""

    request = http_request

    def log_message(self, *arguments):
        pass


class Files(Quiet, http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"


class Application(Quiet, wsgiref.simple_server.WSGIRequestHandler):
    pass


class Procedures(Quiet, xmlrpc.server.SimpleXMLRPCRequestHandler):
    protocol_version = "HTTP/1.1"


def echo(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["REQUEST_METHOD"].encode(), environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))]


class Applications:
    """What `Application` needs of its server."""

    base_environ = {"SERVER_NAME": "test", "SERVER_PORT": "80", "SCRIPT_NAME": ""}

    def get_app(self):
        return echo


class Functions(xmlrpc.server.SimpleXMLRPCDispatcher):
    """What `Procedures` needs of its server."""

    logRequests = _send_traceback_header = False  # noqa: N815

    def __init__(self, *arguments, **keywords):
        xmlrpc.server.SimpleXMLRPCDispatcher.__init__(self)
        self.register_function(pow)
        super(xmlrpc.server.SimpleXMLRPCDispatcher, self).__init__(*arguments, **keywords)


STREAM = [REQUESTS[name] for name in REQUESTS if name != "closing"]  # which resets a client that sends on
CALL = xmlrpc.client.dumps((2, 5), "pow").encode()
PROGRAMS = {
    "echo": (Echo, (), STREAM, b"HTTP/1.1 "),
    "handler": (Whole, (), STREAM, b"HTTP/1.1 "),
    "files": (Files, (), [b"GET /page HTTP/1.1\r\nHost: a\r\n\r\nHEAD /page HTTP/1.0\r\n\r\n"], b"some text"),
    "wsgi": (Application, (Applications,), [REQUESTS["length"], REQUESTS["expect"]], b"POST"),
    "xmlrpc": (
        Procedures, (Functions,), [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(CALL), CALL)],
        b"<int>32</int>",
    ),
}  # fmt: skip


@pytest.fixture(params=["select", "thread", pytest.param("fork", marks=pytest.mark.slow), "plain"])
def mode(request):
    return request.param


@pytest.fixture
def handler_of(tmp_path):
    """``handler_of(class)`` makes the class serve a directory, if it serves one."""
    (tmp_path / "page").write_bytes(b"some text")
    return lambda kind: partial(kind, directory=tmp_path) if issubclass(kind, Files) else kind


def answers_of(server, stream, offsets):
    """The answers to the stream in two pieces, cut at each offset: the second follows when the server has the first."""
    with clients_of(server, len(offsets)) as clients:
        for client, offset in zip(clients, offsets, strict=True):
            client.sendall(stream[:offset])
        assert b"HTTP/1." in ask(server, NEXT)  # which came after the first pieces
        for client, offset in zip(clients, offsets, strict=True):
            client.sendall(stream[offset:])
            client.shutdown(socket.SHUT_WR)
        return [undated(rest(client)) for client in clients]


@pytest.mark.parametrize("stride", [7, pytest.param(len(MODES), marks=pytest.mark.slow)])  # these have all between them
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_request_in_two_pieces_is_answered_like_one_in_one_piece(program, mode, handler_of, stride):
    kind, mixins, streams, part = PROGRAMS[program]
    with serving(handler_of(kind), mode, TCP, *mixins, request_queue_size=AT_ONCE + 1) as server:
        for stream in streams:
            whole = undated(ask(server, stream))
            assert part in whole
            offsets = range(1 + list(MODES).index(mode), len(stream), stride)
            at_once = len(offsets)
            if mode == "plain" or (mode == "fork" and kind is Whole):  # a connection holds the server, or a child
                at_once = 0
            elif stream == REQUESTS["refused"]:  # behind it the server waits a time, and then resets what comes
                at_once -= len(NEXT) // stride + 1
            batches = [offsets[start : min(start + AT_ONCE, at_once)] for start in range(0, at_once, AT_ONCE)]
            answers = [answer for batch in batches for answer in answers_of(server, stream, batch)]
            answers += [undated(ask(server, stream[:offset], stream[offset:])) for offset in offsets[len(answers) :]]
            assert [offset for offset, answer in zip(offsets, answers, strict=True) if answer != whole] == []


class Polling(Echo):
    """Waits with a selector for more input before it reads the rest of the request, as Werkzeug does."""

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        super().do_GET()
        with selectors.DefaultSelector() as selector:
            selector.register(self.connection, selectors.EVENT_READ)
            assert selector.select(timeout=None)
            assert self.rfile.read(10_000_000) == b""
        with pytest.raises(OSError, match="fileno"):
            self.rfile.fileno()

    do_POST = do_GET  # noqa: N815 - the name that http.server calls


def test_a_handler_may_poll_for_the_rest_of_its_request(mode):
    with serving(Polling, mode) as server:
        assert undated(ask(server, REQUESTS["pipelined"])).count(b"200 OK") == 3


class Impatient(Echo):
    timeout = 0.1


def test_a_request_that_does_not_come_in_time_is_answered_and_a_silent_connection_is_closed(mode):
    with serving(Impatient, mode) as server:
        for said, status in (b"GET / HTTP/1.1\r\n", b"HTTP/1.1 408 "), (b"", b""), (NEXT, b"HTTP/1.1 200 "):
            with connect(server) as client:
                client.sendall(said)
                assert rest(client)[:13] == status


def test_a_client_that_sends_on_gets_the_answer_that_refuses_its_request(mode):
    with serving(Echo, mode) as server, connect(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n")
        assert client.recv(13) == b"HTTP/1.1 413 "
        for _ in range(100):
            client.sendall(b"x" * 9_999)
        client.shutdown(socket.SHUT_WR)
        assert b"\r\nConnection: close\r\n" in rest(client)


@pytest.mark.slow
def test_a_large_file_is_sent_as_its_client_takes_it_and_the_row_holds_little_of_it(mode, handler_of, tmp_path):
    size = 24 << 20  # several times what the kernel takes of a connection
    with (tmp_path / "page").open("r+b") as file:
        file.seek(size - 3)
        file.write(b"end")
    with serving(handler_of(Files), mode) as server, connect(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(get("/page") + get("/none"))
        assert receive(client, 1 << 20).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda: len(server.reactor.table))
        for _ in range(3):
            assert max(row.held_out for row in server.reactor.table) < 1 << 20
            if mode != "plain":
                assert ask(server, get("/none")).startswith(b"HTTP/1.1 404 ")
            receive(client, 1 << 20)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.shutdown(socket.SHUT_WR)
        left = rest(client)
    content, _, after = left.partition(b"endHTTP/1.1 404 ")
    assert content.strip(b"\0") == b""
    assert size - (4 << 20) <= len(content) < size
    assert after


class Large(Echo):
    """Answers with as many bytes as the path says; reads past its request for ``/more``."""

    max_output = 100_000

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        if self.path == "/more":
            self.rfile.read(1)
        size = int(self.path[1:])
        self.send_response(200)
        self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            for start in range(0, size, 10_000):
                self.wfile.write(b"x" * min(10_000, size - start))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls


class Muted(Large):
    """Tells nobody of an error."""

    def do_GET(self):  # noqa: N802 - the name that http.server calls
        with suppress(OSError):
            super().do_GET()


def get(path, method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


@pytest.mark.parametrize("kind", [Large, Muted])
def test_a_reply_over_max_output_is_answered_with_500_in_the_loop_and_streams_elsewhere(kind, mode, caplog):
    with serving(kind, mode) as server:
        answer = ask(server, get("/9") + get("/300000") + get("/9"))
        assert answer.count(b"HTTP/1.1 200 OK") == (1 if mode == "select" else 3)
        if mode == "select":
            head, _, content = answer.partition(b"x" * 9)[2].partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
            assert (b"\r\nConnection: close" in head, content) == (True, b"the server has failed\n")
            wait_until(lambda: server.reactor.table.closed)
            [row] = server.reactor.table.closed
            assert f"the reply is longer than 100000 bytes ({kind.__name__}.max_output)" in row["reason"]
            wait_until(lambda: row["reason"] in caplog.text)  # the loop logs after it has recorded the end
            assert f'declare work = "thread" or "fork" on {kind.__name__}' in caplog.text
        else:
            assert answer.count(b"x") == 300_018


def test_the_answer_in_place_of_a_reply_has_no_content_for_head_and_is_sent_once():
    class Heads(Large):
        max_output = 300

        def end_headers(self):
            self.send_header("Long", "x" * 300)
            super().end_headers()

    with serving(Heads, "select", handle_error=lambda *_: None) as server:
        answer = ask(server, get("/9", "HEAD"))
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_a_handler_that_reads_past_its_request_is_answered_with_500(mode):
    with serving(Large, mode, handle_error=lambda *_: None) as server:
        assert ask(server, get("/more")).startswith(b"HTTP/1.1 500 ")
        wait_until(lambda: [row for row in server.reactor.table.closed if "EOFError" in row["reason"]])


@pytest.mark.parametrize("kind", [Echo, Whole])
def test_a_bound_that_the_request_has_not_passed_is_not_told_as_a_refusal_of_it(kind, mode):
    with serving(type("Kind", (kind,), {"max_output": 20}), mode) as server, connect(server) as client:
        client.sendall(REQUESTS["expect"][:-1])
        assert rest_of_cut(client) in b"HTTP/1.1 100 Continue"  # cut at the bound
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        assert row["reason"] == "LimitPassed: more output waits than the 20 bytes of Kind.max_output"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Echo, Whole])
def test_no_malformed_request_passes_and_nothing_behind_it_is_served(kind, mode):
    with serving(kind, mode, TCP) as server:
        served = ask(server, NEXT)
        assert served.startswith(b"HTTP/1.1 200 ")
        for name, (stream, status) in MALFORMED.items():
            served, _, refused = ask(server, NEXT + stream + NEXT).partition(b"GET /next ")
            assert served.startswith(b"HTTP/1.1 200 "), name
            assert refused.startswith(b"HTTP/1.1 %d " % status), name
            assert (refused.count(b"\r\n\r\n"), b"/next" in refused) == (1, False), name
