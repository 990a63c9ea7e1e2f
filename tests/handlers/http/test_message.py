"""The syntax of requests: this parser agrees with h11, and with that of ``http.server``, on where a request ends."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers.http.message import ChunkedBody, unchunked
from tests.support.http import NEXT, REQUESTS, by_email, by_h11, taken_from

tokens = st.text("ab-_!~09", min_size=1, max_size=5).map(str.encode)
values = st.binary(max_size=8).map(lambda value: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", value))
fields = st.lists(st.tuples(tokens.map(b"X-".__add__), values), max_size=4)


def chunks_of(sizes, content):
    """The content as chunks of these sizes and a last one, with extensions and a trailer."""
    body = b""
    for size in sizes:
        piece, content = content[:size], content[size:]
        if piece:
            body += b"%X;a=b\r\n%b\r\n" % (len(piece), piece)
    return body + (b"%x\r\n%b\r\n" % (len(content), content) if content else b"") + b"0\r\nT: u\r\n\r\n"


@st.composite
def requests(draw):
    """A well-formed request, with its body."""
    content, sizes = draw(st.binary(max_size=40)), draw(st.lists(st.integers(1, 9), max_size=4))
    head = b"%b /%b HTTP/1.1\r\nHost: a\r\n" % (draw(tokens), draw(tokens))
    head += b"".join(b"%b:%b\r\n" % field for field in draw(fields))
    if draw(st.booleans()):
        return head + b"transfer-encoding: Chunked\r\n\r\n" + chunks_of(sizes, content), content
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(content), content), content


@given(requests())
def test_all_parsers_take_a_well_formed_request_alike(request_and_content):
    request, content = request_and_content
    (taken, following), answer = taken_from(request + NEXT)
    assert (following, answer) == (NEXT, b"")
    assert by_email(taken)[1] == content
    _, body, rest = by_h11(request + NEXT)
    assert (body, rest) == (content, NEXT)


PARTS = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xa0", b":", b",", b";", b'"',
    b"=", b"0", b"5", b"+5", b"0x5", b"5_0", b"hello", b"a", b"chunked", b"identity", b"Content-Length",
    b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Host: a", b"\r\n\r\n", b"0\r\n\r\n",
    b"GET / HTTP/1.1\r\n", NEXT,
]  # fmt: skip


@st.composite
def mutants(draw):
    """A stream of requests in which some pieces have been put in, taken out or replaced."""
    stream = bytearray(draw(st.sampled_from(sorted(REQUESTS.values())) | requests().map(lambda request: request[0])))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(stream)))
        stream[start : start + draw(st.integers(0, 4))] = draw(st.sampled_from(PARTS))
    return bytes(stream)


@pytest.mark.slow
@given(mutants())
@example(b"GET / HTTP/1.1\r\nHost: a\r\nX: \x85Content-Length: 5\r\n\r\nhello")
@example(b'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a="\r\n"\r\nx\r\n0\r\n\r\n')
def test_no_parser_takes_the_end_of_a_malformed_request_elsewhere(stream):
    stream += NEXT
    taken, _ = taken_from(stream)
    for request in taken:
        theirs = by_h11(stream)
        if theirs is None:
            return  # h11 refuses the connection, so nothing behind this is served
        seen, body = by_email(request)
        stated = [int(value) for name, value in seen if name == b"content-length"] or [0]
        framing = {b"content-length", b"transfer-encoding", b"expect", b"trailer"}
        assert [name for name, _ in seen if name not in framing] == [n for n, _ in theirs[0] if n not in framing]
        assert (stated, body) == ([len(body)], theirs[1])
        stream = theirs[2]


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=6), st.data())
def test_a_chunked_body_is_read_as_far_as_it_has_come(content, sizes, data):
    stream = chunks_of(sizes, content).removesuffix(b"T: u\r\n\r\n")
    body, held, end = ChunkedBody(), bytearray(b"before"), -1
    for place in range(len(stream)):
        assert end == -1
        held += stream[place : place + 1]
        if data.draw(st.booleans()) or place == len(stream) - 1:
            end = body.find(held, 6)
    assert (end, body.fault) == (6 + len(stream), "")
    assert bytes(unchunked(bytes(held[6:end]))) == content
