"""`HTTPHandler` over bytes in memory: content in pieces, the next request, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import Delay, EndOfStream, TimedOut
from handlers.causes import RequestRefused
from handlers.http import HTTPHandler
from reactor.testing import check
from tests.support import http as framed
from tests.support.http import NEXT, REQUESTS
from tests.support.http_handlers import Pieces, Whole, answers_to, machine_of, responses_in, statuses

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.mark.parametrize("name", REQUESTS)
def test_a_handler_answers_as_one_of_http_server_with_the_framing_does(name):
    ours = responses_in(answers_to(REQUESTS[name]).replace(CONTINUE, b""))
    theirs = responses_in(framed.answers_to(REQUESTS[name]).replace(CONTINUE, b""))
    assert [response[:2] for response in ours] == [response[:2] for response in theirs]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_cut_at_any_offset_changes_no_answer(name):
    stream = REQUESTS[name]
    whole = answers_to(stream)
    assert [offset for offset in range(len(stream)) if answers_to(stream, [offset]) != whole] == []
    assert answers_to(stream, range(len(stream))) == whole


@given(st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=4), st.data())
def test_any_cuts_of_any_requests_change_no_content(names, data):
    stream = b"".join(REQUESTS[name] for name in names)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    cut = answers_to(stream, cuts, Pieces).replace(CONTINUE, b"")
    assert responses_in(cut) == responses_in(answers_to(stream, (), Pieces).replace(CONTINUE, b""))


@given(st.lists(st.binary(min_size=1, max_size=40)), st.binary(max_size=9))
def test_chunked_content_arrives_as_it_was_sent(chunks, extension):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    answers = answers_to(CHUNKED + body + b"0\r\nT: u\r\n\r\n" + NEXT)
    assert responses_in(answers) == [(200, b"POST / " + b"".join(chunks), None), (200, b"GET /next ", None)]


def test_content_is_answered_before_it_has_come_whole():
    machine = machine_of(Pieces)
    machine.advance()
    machine.feed(POST + b"Content-Length: 1000000\r\n\r\nabc")
    assert machine.read().endswith(b"\r\n\r\n3\r\nABC\r\n")
    machine.feed(b"d")
    assert machine.read() == b"1\r\nD\r\n"


def test_a_handler_that_streams_waits_while_the_client_takes_nothing():
    written = []

    class Endless(HTTPHandler):
        async def respond(self, request, response):
            response.begin(200)
            while True:
                written.append(await response.write(bytes(10_000)))

    machine = machine_of(Endless)
    machine.advance()
    machine.feed(NEXT)
    held = machine.held_out
    assert Endless.high_water < held < Endless.high_water + 11_000
    assert len(written) < 20
    machine.read(held)
    assert len(written) > 8


def test_100_is_sent_when_the_content_is_read_and_not_before():
    class Choosy(Whole):
        async def respond(self, request, response):
            if request.target == "/no":
                response.reply(417)
            else:
                await super().respond(request, response)

    awaited = b"POST %b HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    machine = machine_of(Choosy)
    machine.advance()
    machine.feed(awaited % b"/yes")
    assert machine.read() == CONTINUE
    machine.feed(b"x")
    assert statuses(machine.read()) == [200]
    machine.feed(awaited % b"/no")
    assert [(status, close) for status, _, close in responses_in(machine.read())] == [(417, "close")]
    assert isinstance(machine.reason, RequestRefused)  # so that the connection lingers for the client to read the 417


@pytest.mark.parametrize(("head", "kept"), [
    (b"HTTP/1.1\r\nHost: a", True), (b"HTTP/1.1\r\nHost: a\r\nConnection: x, Close", False),
    (b"HTTP/1.0", False), (b"HTTP/1.0\r\nConnection: Keep-Alive", True),
    (b"HTTP/1.0\r\nConnection: keep-alive, close", False), (b"HTTP/1.0\r\nConnection: Close, keep-alive", False),
    (b"HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close", False),
    (b"HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close", False),
])  # fmt: skip
def test_the_connection_goes_on_if_the_client_wants_to(head, kept):
    assert len(responses_in(answers_to(b"GET / %b\r\n\r\n" % head + NEXT))) == 1 + kept


def test_a_client_of_http_1_0_gets_content_of_unknown_length_up_to_the_end_of_the_connection():
    stream = b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc" + NEXT
    answer = answers_to(stream, handler=Pieces)
    assert answer == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nABC"


@pytest.mark.parametrize("value", ["close", "x, Close"])
def test_a_response_that_says_close_ends_the_connection(value):
    class Last(HTTPHandler):
        async def respond(self, request, response):
            response.reply(200, b"x", [("Connection", value)])

    machine = machine_of(Last)
    machine.advance()
    machine.feed(NEXT + NEXT)
    assert responses_in(machine.read()) == [(200, b"x", value)]
    assert (machine.finished, machine.reason) == (True, None)


def test_head_and_304_and_204_have_no_content():
    class Statuses(HTTPHandler):
        async def respond(self, request, response):
            response.begin(int(request.target[1:]), [("X", "y")])
            await response.write(b"") if request.method == "GET" else await response.write(b"content")

    stream = b"".join(b"%b HTTP/1.1\r\nHost: a\r\n\r\n" % line for line in (b"HEAD /200", b"GET /204", b"GET /304"))
    answers = answers_to(stream, handler=Statuses)
    assert answers.count(b"\r\n\r\n") == 3
    assert responses_in(answers, ("HEAD", "GET", "GET")) == [
        (200, b"", None), (204, b"", None), (304, b"", None)
    ]  # fmt: skip


@pytest.mark.parametrize("content", [b"", b"x" * 60_000])
def test_content_that_nobody_reads_is_skipped(content):
    class Deaf(HTTPHandler):
        async def respond(self, request, response):
            response.reply(200, request.method.encode())

    stream = POST + b"Content-Length: %d\r\n\r\n%b" % (len(content), content) + NEXT
    assert [content for _, content, _ in responses_in(answers_to(stream, handler=Deaf))] == [b"POST", b"GET"]
    machine = machine_of(Deaf)
    machine.advance()
    machine.feed(POST + b"Content-Length: 70000\r\n\r\n")
    assert machine.read().count(b"Connection: close") == 1
    assert isinstance(machine.reason, RequestRefused)
    machine = machine_of(Deaf)
    machine.advance()
    machine.feed(CHUNKED + b"8000\r\n%b\r\n" % bytes(0x8000) * 4 + b"0\r\n\r\n" + NEXT)
    assert statuses(machine.read()) == [200]


@pytest.mark.parametrize(("stream", "status"), [
    (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400), (b"GET /%b HTTP/1.1\r\n" % bytes(70_000), 414),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000, 431), (CHUNKED + b"x\r\n", 400),
    (CHUNKED + b"1\r\nabc", 400), (CHUNKED + b"1" * 300, 400), (CHUNKED + b"0\r\n x\r\n\r\n", 400),
    (POST + b"Content-Length: 2000000\r\n\r\n", 413), (CHUNKED + b"100000000\r\nx", 413),
    (b"GET / HTTP/2.0\r\n\r\n", 505), (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
])  # fmt: skip
def test_what_is_refused_is_answered_with_its_status(stream, status):
    machine = machine_of(Whole)
    machine.advance()
    machine.feed(NEXT + stream)
    assert statuses(machine.read()) == [200, status]
    assert isinstance(machine.reason, RequestRefused)


def test_a_refusal_after_the_response_has_begun_sends_no_second_response():
    answers = answers_to(CHUNKED + b"3\r\nabc\r\nx\r\n" + NEXT, handler=Pieces)
    assert answers.count(b"HTTP/1.1") == 1
    assert answers.endswith(b"3\r\nABC\r\n")  # no last chunk: the client sees that the content is not whole


def test_a_request_that_does_not_come_in_time_is_answered_with_408():
    for begun in NEXT[:9], POST + b"Content-Length: 5\r\n\r\nab":
        machine = machine_of(Whole)
        machine.advance()
        machine.feed(NEXT + begun)
        machine.expire()
        assert statuses(machine.read()) == [200, 408]
    machine = machine_of(Whole)
    machine.advance()
    machine.feed(NEXT)
    machine.expire()
    assert statuses(machine.read()) == [200]
    assert isinstance(machine.reason, TimedOut)


def test_content_that_ends_with_the_connection_is_a_cause():
    machine = machine_of(Whole)
    machine.advance()
    machine.feed(POST + b"Content-Length: 5\r\n\r\nab")
    machine.end()
    assert isinstance(machine.reason, EndOfStream)
    assert machine.read() == b""


def broken(kind):
    """A handler that fails in this way."""

    class Broken(HTTPHandler):
        async def respond(self, request, response):
            if kind == "begun":
                response.begin(200)
            if kind == "short":
                response.begin(200, (), 5)
            elif kind == "long":
                response.reply(200, b"x")
                await response.write(b"y")
            elif kind == "field":
                response.reply(200, b"", [("Location", "/\r\nSet-Cookie: a")])
            elif kind in ("Content-Length", "transfer-encoding"):
                response.begin(200, [(kind, "3")])  # another length beside the one that the response has
            elif kind == "negative":
                response.begin(200, (), -1)
            elif kind == "late":
                await Delay(1)
                raise TimedOut(Delay(1))
            elif kind != "silent":
                raise KeyError(kind)

    return Broken


@pytest.mark.parametrize(("kind", "status", "error"), [
    ("silent", 500, RuntimeError), ("raises", 500, KeyError), ("field", 500, ValueError), ("late", 500, TimedOut),
    ("begun", 200, KeyError), ("short", 200, RuntimeError), ("long", 200, ValueError),
    ("negative", 500, ValueError), ("Content-Length", 500, ValueError), ("transfer-encoding", 500, ValueError),
])  # fmt: skip
def test_a_handler_that_fails_answers_500_if_it_can_and_ends_the_connection(kind, status, error):
    machine = machine_of(broken(kind))
    machine.advance()
    try:
        machine.feed(NEXT + NEXT)
        machine.expire()
    except error:
        pass
    assert isinstance(machine.reason, error)
    answer = machine.read()
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"Set-Cookie" not in answer


@pytest.mark.parametrize("status", [-200, 0, 99, 100, 101, 103, 199, 600, 999, 2000])
def test_what_is_no_status_of_a_final_response_is_refused_and_nothing_is_sent(status):
    class Early(HTTPHandler):
        async def respond(self, request, response):
            with pytest.raises(ValueError, match=r"from 200 to 599.*switch\(\)"):
                response.reply(status, b"early", [("Set-Cookie", "a=b")])
            response.begin(599, length=2)
            await response.write(b"ok")

    assert responses_in(answers_to(NEXT + NEXT, handler=Early)) == [(599, b"ok", None)] * 2


@pytest.mark.slow
def test_a_handler_passes_check():
    kept = ["stays_in_bounds_when_repeated"]  # content() holds all of it, within its limit
    conversation = REQUESTS["length"] + REQUESTS["chunked"] + REQUESTS["expect"]
    check(Whole, conversation, examples=2, meant=kept)
