"""WSGI (PEP 3333): `handler_of` makes a handler class of an application.

``python3 -m reactor serve wsgi:MODULE:APP --mode thread`` serves one. It is a blocking handler with the framing of
HTTP: the application is called when its request has come whole, in the loop, in a thread or in a child, as the mode of
the server says. What it returns is sent as it is produced. In the loop, the next piece is produced when the client has
taken the pieces before, so that an iterable may have no end.
"""

from __future__ import annotations

import sys
from io import BytesIO
from urllib.parse import unquote_to_bytes

from ..blocking import StreamRequestHandler
from .exchange import Request, Response
from .files import path_of
from .framing import Coming, http_request
from .message import Body, authority_of, read_fields, read_request_line, refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from typing import Any, TypeAlias

    Environ: TypeAlias = dict[str, Any]
    Application: TypeAlias = Callable[[Environ, Callable[..., Callable[[bytes], object]]], Iterable[bytes]]

_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "trailers",
    "transfer-encoding", "upgrade",
}  # fmt: skip
"""Fields of a response that are the server's business, and not the application's (PEP 3333, "Other HTTP Features")."""

_LEFT_OUT = {b"content-type", b"content-length", b"proxy"}
"""Fields of a request that have no HTTP_ variable; HTTP_PROXY would be taken for the setting of a client's proxy."""

PIECE = 262_144
"""Bytes of a chunk that are sent before the client has to take some: one chunk may have more than ``max_output``."""


def handler_of(application: Application) -> type[WSGIHandler]:
    """The handler class that serves the WSGI application. A class derived from it may declare ``work`` and limits.

    >>> def hello(environ, start_response):
    ...     start_response("200 OK", [("Content-Type", "text/plain")])
    ...     return [b"hello"]
    >>> handler_of(hello).__name__
    'WSGIHandler'
    """
    return type(
        "WSGIHandler", (WSGIHandler,), {"application": staticmethod(application), "__doc__": application.__doc__}
    )


class WSGIHandler(StreamRequestHandler):
    """Calls ``application`` for one request."""

    application: Application
    request: Any = http_request
    wbufsize = 0

    def handle(self) -> None:
        line = self.rfile.readline()
        section = b""
        while not section.endswith(b"\r\n\r\n") and section != b"\r\n":
            section += self.rfile.readline()
        call = _Call(self, line, section)
        rest = self._answered(call)
        if next(rest, self) is not self:
            self.connection.leave(rest)

    def _answered(self, call: _Call) -> Generator[None, None, None]:
        """Make the call, a piece with each step. What the connection does then is known at the end of the response."""
        self.close_connection = False
        try:
            yield from call.run(self.application)
        finally:
            self.close_connection = not call.response.is_kept
            if self.close_connection:
                self.connection.goes_on = False


class _Call:
    """One call of an application, and its response."""

    def __init__(self, handler: WSGIHandler, line: bytes, section: bytes) -> None:
        self.handler = handler
        self.server = handler.server
        coming = Coming(self, 0, 0)
        coming.request_line = read_request_line(line)
        coming.fields = read_fields(section, len(section))
        self.request = Request(self, coming, Body(0, False, True))  # type: ignore[arg-type]  # for what it asks
        self.response = Response(self, self.request)  # type: ignore[arg-type]
        self._head: tuple[int, list[tuple[str, str]], int | None] | None = None

    def send(self, data: bytes) -> None:
        """Send a part of the response."""
        self.handler.connection.sendall(data)  # `wfile` is closed before the rest of the response is sent

    def now(self) -> float:
        """The time of day in seconds since 1970."""
        now: float = self.handler.connection.now()
        return now

    def run(self, application: Application) -> Generator[None, None, None]:
        """Call the application and send what it returns, a piece with each step.

        Raises what it raises, after status 500 if it can.
        """
        chunks: Any = ()
        try:
            chunks = application(self.environ(), self.start_response)
            for chunk in chunks:
                if chunk and _is_only(chunks):
                    self._say_length(len(chunk))
                for at in range(0, len(chunk or b""), PIECE):
                    if at:
                        yield
                    self.write(chunk[at : at + PIECE])
                if self.response.has_begun and not self.response.has_content:
                    break  # the iterable may have no end
                if not _is_only(chunks):
                    yield  # also if nothing has come yet: others have their turn
            if not self.response.has_begun:
                self._say_length(0)
                self.write(b"")
            self.response.end()
        except BaseException:
            self.response.is_kept = False
            if not self.response.has_begun:
                has_content = self.request.method != "HEAD"
                self.send(refusal(500, "the application has failed", self.now(), has_content))
            raise
        finally:
            if hasattr(chunks, "close"):
                chunks.close()

    def start_response(self, status: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Any:
        """Take the head of the response, which is sent with the first byte of the content. Returns `write`."""
        if exc_info is not None:
            try:
                if self.response.has_begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # a reference to a traceback that has this frame
        elif self._head is not None:
            raise RuntimeError("start_response() was called a second time, without exc_info")
        code = status[:3]
        if not (code.isascii() and code.isdigit() and status[3:4] in (" ", "") and "200" <= code <= "599"):
            raise ValueError(f"a status is a number from 200 to 599, a space and a reason, not {status!r}")
        length = None
        others = []
        for name, value in fields:
            if name.lower() in _HOP_BY_HOP:
                raise ValueError(f"{name} is a field of the connection, which belongs to the server")
            if name.lower() == "content-length":
                if not (value.isascii() and value.isdigit()) or length not in (None, int(value)):
                    raise ValueError(f"{name} is one number of bytes, not {value!r}")
                length = int(value)
            else:
                others.append((name, value))
        self._head = int(code), others, length
        return self.write

    def write(self, data: bytes) -> None:
        """Send ``data``, a part of the content; with the head before it, if that has not been sent."""
        if self._head is None:
            raise RuntimeError("the application has not called start_response()")
        if not self.response.has_begun:
            self.response.begin(*self._head)
        self.response.put(data)

    def _say_length(self, length: int) -> None:
        if self._head is not None and self._head[2] is None and self.request.method != "HEAD":
            self._head = *self._head[:2], length

    def environ(self) -> Environ:
        """The environment of the application."""
        handler, request = self.handler, self.request
        connection = handler.connection
        content = handler.rfile.read()
        host, port = _host_and_port(connection.getsockname())
        client = handler.client_address
        environ: Environ = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path_of(request.target)).decode("latin-1"),
            "QUERY_STRING": request.target.partition("?")[2],
            "CONTENT_TYPE": request.get("Content-Type") or "",
            "CONTENT_LENGTH": "" if request.get("Content-Length") is None else str(len(content)),
            "SERVER_NAME": host,
            "SERVER_PORT": port,
            "SERVER_PROTOCOL": "HTTP/1.1" if request.is_1_1 else "HTTP/1.0",
            "REMOTE_ADDR": client[0] if isinstance(client, tuple) else "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "https" if str(connection.secured).startswith("tls") else "http",
            "wsgi.input": BytesIO(content),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": connection.place == "thread",
            "wsgi.multiprocess": connection.place == "fork",
            "wsgi.run_once": False,
        }
        for name, value in request.fields:
            if name.lower() not in _LEFT_OUT and b"_" not in name:  # X_A and X-A would have one variable
                key = "HTTP_" + name.decode().upper().replace("-", "_")
                said = value.decode("latin-1")
                between = "; " if key == "HTTP_COOKIE" else ","
                environ[key] = environ[key] + between + said if key in environ else said
        authority = authority_of(request.target.encode())
        if authority is not None:
            environ["HTTP_HOST"] = authority.decode()
        return environ


def _is_only(chunks: object) -> bool:
    """Whether there is one chunk, which is all of the content (PEP 3333, "Handling the Content-Length Header")."""
    return isinstance(chunks, (list, tuple)) and len(chunks) == 1


def _host_and_port(address: Any) -> tuple[str, str]:
    return (address[0], str(address[1])) if isinstance(address, tuple) else ("localhost", "80")
