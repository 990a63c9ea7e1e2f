"""``python -m tests.support.http_peers NAME``: an HTTP server for `tests.proofs.http_figures`.

It prints its port, and for each line of input the seconds of processor time that it has used. It ends with its input.
"""

import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

import reactor
from handlers.http import HTTPHandler, http_request

CONTENT = b"hello\n"


class Hello(BaseHTTPRequestHandler):
    """Answers a GET; keeps the connection if the client wants to."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *arguments):
        """Write nothing to the standard error."""


class Framed(Hello):
    """The same with a framing."""

    request = http_request


def application(environ, start_response):
    """The same for WSGI."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(CONTENT)))])
    return [CONTENT]


async def asgi(scope, receive, send):
    """The same for ASGI."""
    assert scope["type"] == "http"
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(CONTENT))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": CONTENT})


class Machine(HTTPHandler):
    """The same as a state machine."""

    async def respond(self, request, response):
        response.reply(200, CONTENT, [("Content-Type", "text/plain")])


SERVERS = {
    "socketserver, threads": (socketserver.ThreadingTCPServer, Hello),
    "socketserver, single": (socketserver.TCPServer, Hello),
    "reactor, threads": (reactor.ThreadingTCPServer, Hello),
    "reactor, single": (reactor.TCPServer, Hello),
    "reactor, threads, framing": (reactor.ThreadingTCPServer, Framed),
    "reactor, single, framing": (reactor.TCPServer, Framed),
    "reactor, select": (reactor.SelectTCPServer, Framed),
    "reactor, HTTPHandler": (reactor.SelectTCPServer, Machine),
}


def main(name):
    """Serve until the standard input ends."""
    kind, handler = SERVERS[name]
    derived = {"request_queue_size": 1_024, "daemon_threads": True, "block_on_close": False}
    server = type(kind.__name__, (kind,), derived)(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for _ in sys.stdin:
        print(time.process_time(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
