"""`HTTPHandler` over sockets in every mode: content in pieces, clients that are slow, and handlers that fail."""

from contextlib import closing
from http.client import HTTPConnection

import pytest

from handlers.http import HTTPHandler
from tests.support.http import NEXT, REQUESTS, undated
from tests.support.http_handlers import Pieces, Whole, answers_to
from tests.support.serving import MODES, PATIENCE, ask, connect, rest, serving, wait_until


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


def client_of(server):
    host, port = server.server_address
    return closing(HTTPConnection(host, port, timeout=PATIENCE))


def test_the_answers_are_those_of_the_machine_in_memory(mode):
    with serving(Whole, mode) as server:
        for name in ("pipelined", "chunked", "expect", "refused", "closing", "http 1.0"):
            assert undated(ask(server, REQUESTS[name])) == answers_to(REQUESTS[name])


def test_content_of_any_size_goes_through_in_pieces(mode):
    with serving(Pieces, mode) as server, client_of(server) as client:
        client.request("POST", "/", iter(3 * [b"a" * 100_000]), {"Expect": ""}, encode_chunked=True)
        assert client.getresponse().read() == b"A" * 300_000
        client.request("GET", "/")
        assert client.getresponse().read() == b""


def test_a_client_that_does_not_read_stops_the_handler_and_not_the_server():
    written = []

    class Endless(HTTPHandler):
        async def respond(self, request, response):
            response.begin(200)
            while request.target == "/endless":
                written.append(await response.write(bytes(50_000)))

    with serving(Endless, "select") as server, connect(server) as lazy:
        lazy.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        row = wait_until(lambda: next(iter(server.reactor.table), None))
        wait_until(lambda: row.held_out > Endless.high_water)

        def has_stopped():
            before = len(written)
            assert ask(server, NEXT).endswith(b"\r\n\r\n0\r\n\r\n")
            return len(written) == before

        wait_until(has_stopped)  # the buffers of the kernel grow meanwhile
        assert row.held_out < Endless.high_water + 60_000


def test_a_handler_that_raises_is_answered_with_500_and_reported(mode):
    class Broken(HTTPHandler):
        async def respond(self, request, response):
            raise KeyError("broken")

    told = []
    with serving(Broken, mode, handle_error=lambda *_: told.append(True)) as server:
        assert ask(server, NEXT).startswith(b"HTTP/1.1 500 ")
        if mode != "fork":  # there the child is told
            wait_until(lambda: told)


def test_the_refusal_of_a_body_that_is_under_way_arrives(mode):
    with serving(Whole, mode) as server, connect(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\n\r\n" + bytes(300_000))
        answer = client.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 413 ")
        client.sendall(bytes(300_000))
        client.shutdown(1)
        assert rest(client) == b""
