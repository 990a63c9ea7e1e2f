"""The syntax of HTTP/1.1 requests (RFC 9112), as strict as an origin server may be, and their length.

Two parsers that disagree on where a request ends let a client smuggle a request past one of them. So everything that
another parser may read differently is refused, even where the RFC allows a lenient reading: a line that ends in LF
alone, an obsolete line folding, whitespace around a field name, a second and different Content-Length, a
Transfer-Encoding beside a Content-Length. Lines given to the functions here include their line ends.
"""

from __future__ import annotations

import re
from email.utils import formatdate
from http import HTTPStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    Fields: TypeAlias = list[tuple[bytes, bytes]]
    """The field lines of a section in their order: the name as sent, and the value without whitespace around it."""

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"  # RFC 9110, section 5.5: no control character but HTAB
_REQUEST_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])\r\n" % _TOKEN)
_FIELD = re.compile(rb"(%b):(%b)\r\n" % (_TOKEN, _TEXT))
_SECTION = re.compile(rb"(?:%b:%b\r\n)*\r\n" % (_TOKEN, _TEXT))
_DIGITS = re.compile(rb"[0-9]+")
_HOST = re.compile(rb"(?:\[[0-9A-Za-z:.~_!$&'()*+,;=%\-]+\]|[0-9A-Za-z.~_!$&'()*+,;=%\-]*)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*://([^/?#]+)")
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_CHUNK = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?)*\r\n" % (_TOKEN, _TOKEN, _QUOTED)
)

MAX_CHUNK_LINE = 256
"""Bytes of the line with the size of a chunk, its extensions included."""

LONG_CHUNK_LINE = f"the line with the size of a chunk is longer than {MAX_CHUNK_LINE} bytes"
LONG_CHUNK = "the data of a chunk is longer than its size"

_MOST_DIGITS = 18  # of a length: more than any body has, and cheap to convert


class Malformed(Exception):
    """A request that is refused. ``status`` is the status code of the answer, ``why`` is for the peer and the log."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status}: {why}")
        self.status = status
        self.why = why


class RequestLine:
    """The request line: ``method``, ``target``, and whether the version is HTTP/1.1 or a later HTTP/1."""

    __slots__ = ("is_1_1", "method", "target")

    def __init__(self, method: bytes, target: bytes, is_1_1: bool) -> None:
        self.method = method
        self.target = target
        self.is_1_1 = is_1_1


class Body:
    """How the body of a request comes.

    ``length`` is its number of bytes; ``None``: it is chunked. ``is_awaited``: the client waits for 100 (Continue)
    before it sends the body. ``is_plain``: the fields say no more of this than one Content-Length.
    """

    __slots__ = ("is_awaited", "is_plain", "length")

    def __init__(self, length: int | None, is_awaited: bool, is_plain: bool) -> None:
        self.length = length
        self.is_awaited = is_awaited
        self.is_plain = is_plain


def read_request_line(line: bytes) -> RequestLine:
    """Parse a request line. Raises `Malformed`: 400, 501 for CONNECT, 505 for a version other than 1.

    >>> read_request_line(b"GET /index.html HTTP/1.1\\r\\n").target
    b'/index.html'
    """
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise Malformed(400, _why_no_request_line(line))
    method, target, major, minor = found.groups()
    if major != b"1":
        raise Malformed(505, f"HTTP/{major.decode()}.{minor.decode()} is not spoken here, HTTP/1.1 is")
    if method == b"CONNECT":
        raise Malformed(501, "there are no tunnels here")
    if b"#" in target or not (  # a fragment is not sent (RFC 9110, section 7.1)
        target.startswith(b"/") or (target == b"*" and method == b"OPTIONS") or _ABSOLUTE.match(target) is not None
    ):
        raise Malformed(400, "the request target has none of the forms of RFC 9112, section 3.2")
    return RequestLine(method, target, minor != b"0")


def _why_no_request_line(line: bytes) -> str:
    if not line.endswith(b"\r\n"):
        return "the request line ends in LF without CR"
    if b"\r" in line[:-2]:
        return "the request line has a CR that no LF follows"
    if b" HTTP/" not in line:
        return "the request line has no version"
    return "the request line is not METHOD SP TARGET SP VERSION"


def read_fields(section: bytes, most: int) -> Fields:
    """Parse a header or trailer section, with the empty line at its end. Raises `Malformed`: 400, or 431 over ``most``.

    >>> read_fields(b"Host: a.example\\r\\nAccept:\\r\\n\\r\\n", most=100)
    [(b'Host', b'a.example'), (b'Accept', b'')]
    """
    if _SECTION.fullmatch(section) is None:
        raise Malformed(400, _why_no_section(section))
    fields = _FIELD.findall(section)
    if len(fields) > most:
        raise Malformed(431, f"{len(fields)} field lines, and {most} are the most")
    return [(name, value.strip(b" \t")) for name, value in fields]


def _why_no_section(section: bytes) -> str:
    for line in section.splitlines(keepends=True) if b"\n" in section else [section]:
        if not line.endswith(b"\r\n"):
            return "a field line has a CR that no LF follows, or ends in LF without CR"
        if line[:1] in b" \t":
            return "a field line begins with whitespace (obsolete line folding)"
        name, colon, _ = line.partition(b":")
        if line == b"\r\n" or _FIELD.fullmatch(line):
            continue
        if not colon:
            return "a field line has no colon"
        if re.fullmatch(_TOKEN, name) is None:
            return "a field name is no token, or whitespace follows it"
        return "a field value has a control character"
    return "the section does not end with one empty line"


def read_body(line: RequestLine, fields: Fields) -> Body:
    """How the body of the request comes (RFC 9112, section 6.3). Raises `Malformed`: 400, 413, or 501.

    Checks the Host field too (RFC 9112, section 3.2).
    """
    hosts, lengths, codings, expectations = [], [], [], []
    for name, value in fields:
        kind = name.lower()
        if kind == b"host":
            hosts.append(value)
        elif kind == b"content-length":
            lengths.append(value)
        elif kind == b"transfer-encoding":
            codings.append(value)
        elif kind == b"expect":
            expectations.append(value.lower())
    _check_host(line, hosts)
    if codings:
        _check_coding(line, codings, lengths)
    length = None if codings else _content_length(lengths)
    is_awaited = length != 0 and line.is_1_1 and b"100-continue" in expectations
    is_plain = not codings and not expectations and (not lengths or (len(lengths) == 1 and lengths[0].isdigit()))
    return Body(length, is_awaited, is_plain)


def _check_host(line: RequestLine, hosts: list[bytes]) -> None:
    if len(hosts) > 1 or (line.is_1_1 and not hosts):
        raise Malformed(400, f"an HTTP/1.1 request has one Host field, not {len(hosts)}")
    if hosts and _HOST.fullmatch(hosts[0]) is None:
        raise Malformed(400, "the Host field is not HOST or HOST:PORT")
    authority = authority_of(line.target)
    if authority is not None and _HOST.fullmatch(authority) is None:
        raise Malformed(400, "the host of the request target is not HOST or HOST:PORT")


def authority_of(target: bytes) -> bytes | None:
    """The host and the port of a target in absolute form, which replace the Host field (RFC 9112, section 3.2.2).

    ``None`` for a target in another form.

    >>> authority_of(b"http://a.example:80/b"), authority_of(b"/b")
    (b'a.example:80', None)
    """
    found = None if target.startswith(b"/") else _ABSOLUTE.match(target)
    return None if found is None else found[1]


def _check_coding(line: RequestLine, codings: list[bytes], lengths: list[bytes]) -> None:
    """Raise `Malformed` unless the one transfer coding is chunked."""
    if lengths:
        raise Malformed(400, "Content-Length beside Transfer-Encoding")
    if not line.is_1_1:
        raise Malformed(400, "Transfer-Encoding in an HTTP/1.0 request")
    *others, last = (coding.strip(b" \t").lower() for coding in b",".join(codings).split(b","))
    if last != b"chunked" or b"chunked" in others:
        raise Malformed(400, "the last transfer coding, and no other, is chunked")
    if others:
        raise Malformed(501, "chunked is the only transfer coding here")


def _content_length(lengths: list[bytes]) -> int:
    """The value of the Content-Length fields; several equal values are one (RFC 9112, section 6.3, rule 5)."""
    if not lengths:
        return 0
    values = {value.strip(b" \t") for value in b",".join(lengths).split(b",")}
    value = values.pop()
    if values or _DIGITS.fullmatch(value) is None:
        raise Malformed(400, "Content-Length is not one decimal number")
    if len(value) > _MOST_DIGITS:
        raise Malformed(413, "the Content-Length has too many digits")
    return int(value)


def chunk_size(line: bytes | bytearray) -> int:
    """The size of a chunk; ``line`` is what stands before its data. Raises `Malformed`: 400.

    >>> chunk_size(b"1f;name=value\\r\\n")
    31
    """
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise Malformed(400, "the size of a chunk is not a hexadecimal number, or its extension is malformed")
    return int(found[1], 16)


class ChunkedBody:
    """Finds the end of a chunked body (RFC 9112, section 7.1), which is where its trailer section begins.

    It keeps no data: a body that comes is held once, as it comes. See `unchunked`.

    >>> ChunkedBody().find(b"3\\r\\nabc\\r\\n0\\r\\n", 0)
    11
    """

    __slots__ = ("_size", "fault", "read")

    def __init__(self) -> None:
        self.fault = ""
        """Why it is malformed; it ends there."""

        self.read = 0
        """Bytes that have been read. The next line with a size begins there, or the data of a chunk."""

        self._size = -1  # of the chunk whose data is next; -1: a line with a size is next

    @property
    def needed(self) -> int:
        """Bytes of the body, at least."""
        return self.read + self._size + 2

    def find(self, held: bytes | bytearray, start: int) -> int:
        """The index in ``held`` at which the body that begins at ``start`` ends; -1: more has to come.

        It goes on where it stopped: ``held`` has the same bytes from ``start`` on as at the last call, and more.
        """
        while True:
            at = start + self.read
            end = self._read_line(held, at) if self._size < 0 else self._read_data(held, at)
            if end < 0:
                return -1
            self.read = end - start
            if self.fault or self._size == 0:
                return end

    def _read_line(self, held: bytes | bytearray, at: int) -> int:
        end = held.find(b"\n", at, at + MAX_CHUNK_LINE) + 1
        if end:
            try:
                self._size = chunk_size(held[at:end])
            except Malformed as malformed:
                self.fault = malformed.why
            return end
        if len(held) - at < MAX_CHUNK_LINE:
            return -1
        self.fault = LONG_CHUNK_LINE
        return at + MAX_CHUNK_LINE

    def _read_data(self, held: bytes | bytearray, at: int) -> int:
        end = at + self._size
        if len(held) < end + 2:
            return -1
        if held[end : end + 2] != b"\r\n":
            self.fault = LONG_CHUNK
        self._size = -1
        return end + 2


def unchunked(body: bytes) -> bytearray:
    """The data of a chunked body that `ChunkedBody` has found without fault.

    >>> bytes(unchunked(b"3\\r\\nabc\\r\\n0\\r\\n"))
    b'abc'
    """
    data, view, at = bytearray(), memoryview(body), 0
    while True:
        start = body.index(b"\n", at) + 1
        size = chunk_size(body[at:start])
        if not size:
            return data
        data += view[start : start + size]
        at = start + size + 2


_OF_THE_FRAMING = {b"content-length", b"transfer-encoding", b"trailer", b"expect"}


def plain_request(line: bytes, fields: Fields, body: bytes | bytearray) -> bytes:
    """The same request with a Content-Length and nothing else that says how it comes, as all handlers can read it."""
    kept = [b"%b: %b\r\n" % field for field in fields if field[0].lower() not in _OF_THE_FRAMING]
    return b"".join((line, *kept, b"Content-Length: %d\r\n\r\n" % len(body), body))


def refusal(status: int, why: str, now: float, has_content: bool = True) -> bytes:
    """A response that refuses a request and announces the end of the connection.

    ``now`` is in seconds since 1970. The response to a HEAD request has no content.
    """
    content = f"{why}\n".encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Date: {formatdate(now, usegmt=True)}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (content if has_content else b"")
