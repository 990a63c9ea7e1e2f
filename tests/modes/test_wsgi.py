"""WSGI applications in every mode, behind the validator of ``wsgiref``, with ``http.client``."""

import os
import socket
from contextlib import ExitStack, closing
from http.client import HTTPConnection, IncompleteRead
from types import SimpleNamespace
from wsgiref.validate import validator

import pytest

from handlers.http.wsgi import handler_of
from reactor.testing import check
from tests.support.http import REQUESTS
from tests.support.serving import MODES, PATIENCE, connect, receive, rest_of_cut, serving, wait_until


def application(environ, start_response):
    """Answers as the path says."""
    path = environ["PATH_INFO"]
    content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    length = []
    if path == "/echo":
        answer = [content]
    elif path == "/pieces":
        answer = iter([b"one", b"", b"two", content])
    elif path == "/big":
        answer = (bytes(100_000) for _ in range(50))
    elif path == "/short":
        answer, length = [b"abc"], [("Content-Length", "5")]
    elif path == "/empty":
        answer = []
    elif path == "/raises":
        raise KeyError(path)
    else:
        keys = sorted(key for key in environ if key.startswith("HTTP_") or key in KEPT)
        answer = ["".join(f"{key}={environ[key]}\n" for key in keys).encode()]
    write = start_response("200 Fine", [("Content-Type", "text/plain"), ("X-Pid", str(os.getpid())), *length])
    if path == "/pieces":
        write(b"zero")
    return answer


KEPT = (
    "CONTENT_LENGTH", "CONTENT_TYPE", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "SCRIPT_NAME", "SERVER_PROTOCOL",
    "REMOTE_ADDR", "wsgi.multiprocess", "wsgi.multithread", "wsgi.url_scheme",
)  # fmt: skip


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def server(mode):
    with serving(handler_of(validator(application)), mode, handle_error=lambda *_: None) as server:
        yield server


def client_of(server):
    host, port = server.server_address
    return closing(HTTPConnection(host, port, timeout=PATIENCE))


def ask(client, method, path, content=None, fields=()):
    client.request(method, path, content, dict(fields), encode_chunked=not isinstance(content, (bytes, type(None))))
    response = client.getresponse()
    return response.status, response.read()


def test_one_connection_has_many_requests(server, mode):
    with client_of(server) as client:
        client.connect()
        sock = client.sock
        assert ask(client, "POST", "/echo", b"x" * 70_000) == (200, b"x" * 70_000)
        assert ask(client, "POST", "/pieces", b"three") == (200, b"zeroonetwothree")
        assert ask(client, "POST", "/echo", iter([b"in ", b"chunks"]), [("Transfer-Encoding", "chunked")]) == (
            200, b"in chunks"
        )  # fmt: skip
        assert ask(client, "HEAD", "/pieces") == (200, b"")
        assert ask(client, "GET", "/empty") == (200, b"")
        status, content = ask(client, "GET", "/big")
        assert (status, len(content)) == (200, 5_000_000)
        client.request("GET", "/echo")
        response = client.getresponse()
        assert (int(response.getheader("X-Pid")) != os.getpid()) is (mode == "fork")
        assert (response.read(), response.getheader("Content-Length")) == (b"", "0")
        assert client.sock is sock


def test_the_environment_is_that_of_the_request(server, mode):
    fields = {
        "Content-Type": "a/b", "Cookie": "a=b", "X-Two": "one", "Proxy": "evil", "X_Two": "evil", "Host": "a.example",
    }  # fmt: skip
    with client_of(server) as client:
        status, content = ask(client, "PUT", "/caf%C3%A9%2F?a=%20", b"12", fields.items())
    assert status == 200
    assert dict(line.split("=", 1) for line in content.decode().splitlines()) == {
        "REQUEST_METHOD": "PUT", "PATH_INFO": "/caf\xc3\xa9/", "QUERY_STRING": "a=%20", "CONTENT_LENGTH": "2",
        "CONTENT_TYPE": "a/b", "HTTP_COOKIE": "a=b", "HTTP_HOST": "a.example", "HTTP_X_TWO": "one", "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_ACCEPT_ENCODING": "identity",
        "wsgi.multiprocess": str(mode == "fork"), "wsgi.multithread": str(mode == "thread"), "wsgi.url_scheme": "http",
    }  # fmt: skip


@pytest.mark.parametrize(("target", "path"), [
    ("http://b.example:81/x?y", "/x"), ("http://b.example:81", "/"), ("http://b.example:81?y", "/"),
])  # fmt: skip
def test_the_host_of_an_absolute_target_wins_over_the_host_field(target, path):
    def told(environ, start_response):
        start_response("200 OK", [])
        return [f"{environ['HTTP_HOST']} {environ['PATH_INFO']}".encode()]

    with serving(handler_of(told), "select") as server, client_of(server) as client:
        assert ask(client, "GET", target, fields={"Host": "a.example"}) == (200, f"b.example:81 {path}".encode())


def test_an_application_that_fails_is_answered_with_500_and_the_server_goes_on(server):
    with client_of(server) as client:
        assert ask(client, "GET", "/raises") == (500, b"the application has failed\n")
    with client_of(server) as client:
        client.request("GET", "/short")
        response = client.getresponse()
        with pytest.raises(IncompleteRead):
            response.read()
    with client_of(server) as client:
        assert ask(client, "POST", "/echo", b"on") == (200, b"on")


LENGTHS = {"negative": ["-1"], "signed": ["+1"], "underscore": ["0_1"], "two lengths": ["2", "1"]}


def broken(name):
    """An application that breaks the rules of PEP 3333 in this way."""

    def call(environ, start_response):
        if name == "no head":
            return [b"x"]
        if name == "two heads":
            start_response("200 OK", [])
        fields = {"hop": [("Connection", "close")], "split": [("X", "a\r\nSet-Cookie: b")]}.get(name, [])
        fields = [("Content-Length", length) for length in LENGTHS.get(name, [])] or fields
        start_response({"status": "OK", "early": "103 Early Hints", "high": "600 High"}.get(name, "200 OK"), fields)
        return [b"x"]

    return call


@pytest.mark.parametrize("name", ["no head", "two heads", "hop", "split", "status", "early", "high", *LENGTHS])
def test_an_application_that_breaks_the_rules_is_answered_with_500(name):
    handler = handler_of(broken(name))
    with serving(handler, "select", handle_error=lambda *_: None) as server, client_of(server) as client:
        client.request("GET", "/")
        response = client.getresponse()
        assert (response.status, response.getheader("Set-Cookie")) == (500, None)
        assert response.read() == b"the application has failed\n"


@pytest.mark.slow
def test_an_application_passes_check():
    def echo(environ, start_response):
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode(), environ["wsgi.input"].read()]

    server = SimpleNamespace(server_address=("127.0.0.1", 80))
    check(handler_of(echo), REQUESTS["length"] + REQUESTS["chunked"], server=server, examples=2)


@pytest.mark.parametrize("many", ["select", pytest.param("fork", marks=pytest.mark.slow), "thread"])
def test_200_connections_at_once(many):
    with serving(handler_of(application), many, request_queue_size=256) as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(200)]
        for number, client in enumerate(clients):
            client.request("POST", "/echo", str(number))
        assert [client.getresponse().read() for client in clients] == [b"%d" % number for number in range(200)]


def test_a_head_may_be_replaced_before_the_content_begins():
    def late(environ, start_response):
        start_response("200 OK", [])
        yield b""
        try:
            raise KeyError
        except KeyError as error:
            start_response("503 Later", [("Retry-After", "5")], (KeyError, error, error.__traceback__))
        yield b"later"

    with serving(handler_of(late), "select") as server, client_of(server) as client:
        assert ask(client, "GET", "/") == (503, b"later")


def test_what_the_application_returns_is_closed_once():
    closed = []

    class Chunks:
        def __iter__(self):
            return iter([b"a", b"b"])

        def close(self):
            closed.append(True)

    def call(environ, start_response):
        start_response("200 OK", [])
        return Chunks()

    with serving(handler_of(call), "select") as server, client_of(server) as client:
        assert ask(client, "GET", "/") == (200, b"ab")
    assert closed == [True]


def connect_slowly(server, request):
    """A connected client that has sent the request, and whose kernel holds little of the answer."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.settimeout(PATIENCE)
    client.connect(server.server_address)
    client.sendall(request)
    return client


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["select", "thread", "plain"])  # a child would have a copy of the client's socket
@pytest.mark.parametrize("piece", [bytes(100_000), b"small" * 99])
def test_an_iterable_without_an_end_streams_as_its_client_takes_it_and_ends_with_it(mode, piece, tmp_path):
    def endless(environ, start_response):
        start_response("200 OK", [])
        try:
            if environ["PATH_INFO"] == "/short":
                yield b"short"
                return
            while True:
                yield piece
        finally:
            (tmp_path / environ["REQUEST_METHOD"]).touch()

    kind = type("Kind", (handler_of(endless),), {"max_output": 1 << 20})
    with serving(kind, mode, handle_error=lambda *_: None) as server:
        with connect_slowly(server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") as client:
            for _ in range(3):
                receive(client, 1 << 20)
                if mode != "plain":
                    with client_of(server) as other:
                        assert ask(other, "GET", "/short") == (200, b"short")
                assert max((row.held_out for row in server.reactor.table), default=0) <= 1 << 20
        wait_until((tmp_path / "GET").exists)
        with client_of(server) as client:
            assert ask(client, "HEAD", "/") == (200, b"")
            assert ask(client, "HEAD", "/") == (200, b"")


@pytest.mark.parametrize("first", [b"", b"first"])
def test_an_iterable_that_has_nothing_yet_stops_nobody_else(first):
    """In the loop the other request, which it waits for, has its turn; what came before has left (PEP 3333)."""
    events = []

    def waits(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/go":
            events.append("go")
        yield first
        while not events:
            yield b""
        yield b"last"

    with serving(handler_of(waits), "select") as server, client_of(server) as slow, client_of(server) as other:
        slow.request("GET", "/")
        if first:
            response = slow.getresponse()
            assert response.read(len(first)) == first
        assert ask(other, "GET", "/go") == (200, first + b"last")
        response = response if first else slow.getresponse()
        assert response.read() == b"last"
        assert ask(slow, "GET", "/") == (200, first + b"last")  # the connection is kept


LARGE = 17 << 20  # more than `max_output`


@pytest.mark.parametrize("mode", ["select", "thread"])
@pytest.mark.parametrize("pieces", [[bytes(LARGE)], [b"a" * 200_000, bytes(LARGE), b"c"]], ids=["one", "three"])
@pytest.mark.parametrize("version", [10, 11])
def test_a_piece_may_be_larger_than_the_output_that_a_row_holds(mode, pieces, version):
    def large(environ, start_response):
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return pieces

    with serving(handler_of(large), mode) as server, client_of(server) as client:
        client._http_vsn, client._http_vsn_str = version, f"HTTP/1.{version % 10}"
        assert ask(client, "GET", "/") == (200, b"".join(pieces))


def test_a_reply_that_is_cut_does_not_end_as_a_whole_one():
    """HTTP/1.0 has no length: the end of the stream would be that of the reply."""

    def grows(environ, start_response):
        start_response("200 OK", [])
        yield bytes(100_000)
        yield bytes(200_000)

    kind = type("Small", (handler_of(grows),), {"max_output": 150_000})
    with serving(kind, "select", handle_error=lambda *_: None) as server, connect(server) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert len(rest_of_cut(client)) < 200_000
