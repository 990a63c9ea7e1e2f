"""Handler classes of ``http.server``, requests for them, and what other parsers of HTTP make of the same bytes."""

import re
from http.client import parse_headers
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from itertools import pairwise

import h11

from handlers import StreamMachine, World
from handlers.blocking.buffered import buffered
from handlers.http import http_request
from tests.support.blocking import PEER, Server
from tests.support.strategies import converse

NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
"""A request that may stand behind any other."""

REQUESTS = {
    "get": b"GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "http 1.0": b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + NEXT,
    "length": b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nGET / HTTP",
    "chunked": b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'3\r\nabc\r\nA ;a = "\\"";b\r\n0123456789\r\n00\r\nT: u\r\n\r\n',
    "expect": b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\nbody",
    "pipelined": b"POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy" + NEXT + b"\r\n" + NEXT,
    "closing": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + NEXT,
    "refused": NEXT + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + NEXT,
}  # fmt: skip
"""Streams of requests of all kinds."""


class Echo(BaseHTTPRequestHandler):
    """Answers with the method, the target and the body, in the way of the standard library."""

    request = http_request
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content = f"{self.command} {self.path} ".encode() + self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, *arguments):
        """Write nothing to the standard error."""


def machine_of(handler):
    """The machine that runs the blocking class over bytes in memory; its time stands still."""
    return StreamMachine(buffered(handler, False)(), World(PEER, Server(), now=lambda: 784_111_777.0))


def pieces_of(stream, cuts):
    """The pieces of the stream between the offsets ``cuts``."""
    places = sorted({0, *cuts, len(stream)})
    return [stream[start:end] for start, end in pairwise(places)]


def undated(answers):
    """The answers without what depends on the time and on the version of Python."""
    return re.sub(rb"\r\n(Date|Server|Last-Modified):[^\r]*", b"", answers)


def answers_to(stream, cuts=(), handler=Echo):
    """All that the handler answers to the stream, cut at these offsets."""
    return undated(converse(machine_of(handler), pieces_of(stream, cuts)))


def taken_from(stream, **members):
    """The requests of the stream as the handler gets them, in order; and what a refusal is answered with, if any."""
    requests = []

    class Taking(Echo):
        def handle_one_request(self):
            requests.append(self.rfile.read())
            self.close_connection = False

    for name, value in members.items():
        setattr(Taking, name, value)
    answer = converse(machine_of(Taking), [stream])
    return requests, answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")


def by_h11(stream):
    """What h11 makes of the first request: its fields, its body, and the bytes behind it; ``None`` if it refuses."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(stream)
    connection.receive_data(b"")
    body, fields = b"", []
    try:
        while type(event := connection.next_event()) is not h11.EndOfMessage:
            if isinstance(event, h11.Request):
                fields = list(event.headers)
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return None
    except h11.RemoteProtocolError:
        return None
    return fields, body, connection.trailing_data[0]


def by_email(request):
    """The fields of a whole request as ``http.server`` parses them, and the rest of it."""
    _, _, rest = request.partition(b"\r\n")
    reader = BytesIO(rest)
    fields = parse_headers(reader)
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()], reader.read()
