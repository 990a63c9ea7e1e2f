"""HTTP/1.1 (RFC 9110, RFC 9112). No other package imports this one.

===========  =========================================================================================
`message`    the syntax of requests, and how long they are; pure functions, with no wait
`framing`    `http_request`: when a whole request of a handler class of ``http.server`` is here
===========  =========================================================================================

A handler class of ``http.server``, or one derived from such a class, runs in select mode with two lines:

    class Page(http.server.SimpleHTTPRequestHandler):
        request = http_request

    class Server(reactor.SelectMixIn, http.server.HTTPServer): ...
"""

from .framing import http_request as http_request

__all__ = ["http_request"]
