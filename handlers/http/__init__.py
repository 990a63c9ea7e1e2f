"""HTTP/1.1 (RFC 9110, RFC 9112). No other package imports this one.

===========  =========================================================================================
`message`    the syntax of requests, and how long they are; pure functions, with no wait
`framing`    `http_request`: when a whole request of a handler class of ``http.server`` is here
`exchange`   `Request` and `Response`, whose content comes and goes in pieces
`handler`    `HTTPHandler`, a server of HTTP as a state machine
`conditions` conditional requests and byte ranges
`files`      `Files`, which serves a directory
`wsgi`       `handler_of`: the handler class that serves a WSGI application
`websocket`  `WebSocketHandler`, on wsproto
===========  =========================================================================================

A handler class of ``http.server``, or one derived from such a class, runs in select mode with two lines:

    class Page(http.server.SimpleHTTPRequestHandler):
        request = http_request

    server = reactor.SelectTCPServer(address, Page)

With ``sys.modules["socketserver"] = reactor`` before ``http.server`` is imported, ``class Server(reactor.SelectMixIn,
http.server.HTTPServer)`` is such a server, too.

One parser reads the requests of all of them, `message`; neither h11 nor any other extra is needed to serve HTTP. The
reasons: what the framing takes for the end of a request and what a handler takes for it are the same bytes, or a
request could be smuggled between them; it works on the bytes that the row holds, and copies none; and it is stricter
than h11, which takes a line that ends in LF alone. h11 is what the tests compare it with. WebSocket frames are another
protocol, whose extensions are many: there the extra wsproto does the work.
"""

from .exchange import Request as Request
from .exchange import Response as Response
from .files import Files as Files
from .framing import http_request as http_request
from .handler import HTTPHandler as HTTPHandler

__all__ = ["Files", "HTTPHandler", "Request", "Response", "http_request"]
