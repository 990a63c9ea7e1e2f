"""`http_request` over bytes in memory: the same answers however the stream is cut, and a status for each refusal."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import TimedOut
from handlers.causes import RequestRefused
from handlers.http import http_request
from reactor.testing import check
from tests.support.http import NEXT, REQUESTS, Echo, answers_to, machine_of, taken_from
from tests.support.malformed import MALFORMED, chunked, post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def ok(content):
    return OK % (len(content), content)


ANSWERS = {
    "get": ok(b"GET /a?b "),
    "length": ok(b"POST /a GET / HTTP"),
    "chunked": ok(b"POST /c abc0123456789"),
    "expect": CONTINUE + ok(b"POST /e body"),
    "pipelined": ok(b"POST /1 xy") + 2 * ok(b"GET /next "),
    "closing": ok(b"GET / "),
    "http 1.0": ok(b"GET /a ") + ok(b"GET /next "),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_handler_answers_each_request(name):
    assert answers_to(REQUESTS[name]) == ANSWERS[name]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_cut_at_any_offset_changes_no_answer(name):
    stream = REQUESTS[name]
    whole = answers_to(stream)
    assert [offset for offset in range(len(stream)) if answers_to(stream, [offset]) != whole] == []
    assert answers_to(stream, range(len(stream))) == whole


@given(st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=5), st.data())
def test_any_cuts_of_any_requests_change_no_answer(names, data):
    stream = b"".join(REQUESTS[name] for name in names)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    assert answers_to(stream, cuts) == answers_to(stream)


def test_a_handler_of_http_1_0_answers_one_request():
    class Old(Echo):
        protocol_version = "HTTP/1.0"

    assert answers_to(REQUESTS["pipelined"], handler=Old) == ok(b"POST /1 xy").replace(b"1.1", b"1.0")


@pytest.mark.parametrize(("request_fields", "kept"), [
    (b"Transfer-Encoding: chunked\r\nTrailer: t\r\nA: b\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n", b"A: b\r\n"),
    (b"A:  b\t\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx", b"A: b\r\n"),
    (b"content-length: 1, 1\r\nContent-Length:1\r\n\r\nx", b""),
    (b"Transfer-Encoding: , CHUNKED\r\n\r\n1\r\nx\r\n0\r\n\r\n", None),
])  # fmt: skip
def test_the_handler_reads_every_body_by_one_content_length(request_fields, kept):
    line = b"POST / HTTP/1.1\r\n"
    requests, answer = taken_from(line + b"Host: a\r\n" + request_fields + NEXT)
    if kept is None:
        assert (requests, answer[:12]) == ([], b"HTTP/1.1 501")
    else:
        assert requests == [line + b"Host: a\r\n" + kept + b"Content-Length: 1\r\n\r\nx", NEXT]


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused_with_its_status_and_nothing_behind_it_is_served(name):
    stream, status = MALFORMED[name]
    requests, answer = taken_from(NEXT + stream + NEXT)
    assert requests == [NEXT]
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"\r\n\r\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (stream, _) in MALFORMED.items() if len(stream) < 999])
def test_a_malformed_request_is_refused_alike_however_it_is_cut(name):
    stream, whole = MALFORMED[name][0], answers_to(MALFORMED[name][0])
    assert [offset for offset in range(len(stream)) if answers_to(stream, [offset]) != whole] == []
    assert answers_to(stream, range(len(stream))) == whole


@pytest.mark.parametrize("line", [
    b"OPTIONS * HTTP/1.1", b"GET http://a.example/b HTTP/1.1", b"GET / HTTP/1.2", b"M-SEARCH //x HTTP/1.1"
])  # fmt: skip
@pytest.mark.parametrize("host", [b"", b"a.example:80", b"[2001:db8::1]:80", b"[v1.a]", b"_x-y.example", b"%41"])
def test_other_forms_are_taken(line, host):
    request = line + b"\r\nHost:" + host + b"\r\n\r\n"
    assert taken_from(request + NEXT) == ([request, NEXT], b"")


def test_a_request_of_http_1_0_needs_no_host_and_gets_no_100():
    request = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx"
    assert CONTINUE not in answers_to(request)
    assert taken_from(request)[0] == [b"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\nx"]


def test_no_100_is_sent_for_a_body_that_is_refused_or_that_there_is_not():
    assert answers_to(post(b"Expect: 100-continue\r\nContent-Length: 99999999999")).startswith(b"HTTP/1.1 413 ")
    assert answers_to(post(b"Expect: 100-continue")) == ok(b"POST / ")


def test_the_limits_can_be_declared():
    small = {"request": partial(http_request, max_head=64, max_fields=2), "max_request": 100}
    fitting = post(b"Content-Length: 52", b"x" * 52)
    assert len(fitting) == 100
    assert taken_from(fitting, **small)[0] == [fitting]
    for stream, status in [
        (b"GET /" + b"a" * 60, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 40, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n", 431),
        (post(b"Content-Length: 53"), 413),
        (chunked(b"2A\r\n"), 413),
        (chunked(b"1\r\nx\r\n" * 9), 413),
    ]:
        requests, answer = taken_from(stream, **small)
        assert (requests, answer[:12]) == ([], b"HTTP/1.1 %d" % status), stream


@pytest.mark.parametrize(
    "stream", [b"G", b"\r\n", b"GET / HTTP/1.1\r\n", post(b"Content-Length: 5", b"1234"), chunked(b"5")]
)
def test_a_request_that_does_not_come_in_time_is_answered_with_408(stream):
    machine = machine_of(Echo)
    machine.advance()
    machine.feed(stream)
    machine.interrupt(TimedOut(machine.wait))
    assert machine.read().startswith(b"HTTP/1.1 408 Request Timeout\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n")
    assert isinstance(machine.reason, RequestRefused)


def test_a_connection_without_a_request_is_closed_in_silence_when_its_time_is_over():
    machine = machine_of(Echo)
    machine.advance()
    machine.feed(NEXT)
    assert machine.read()
    machine.interrupt(TimedOut(machine.wait))
    assert (machine.read(), type(machine.reason)) == (b"", TimedOut)


def test_the_answer_that_refuses_a_head_request_has_no_content():
    assert answers_to(b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")


def test_a_handler_whose_handle_is_for_one_request_answers_one():
    class Single(Echo):
        def handle(self):  # as in wsgiref
            self.raw_requestline = self.rfile.readline(65_537)
            self.parse_request()
            self.do_GET()

    assert answers_to(NEXT + NEXT, handler=Single) == ok(b"GET /next ")


class Dateless(Echo):
    """Answers the same at any time."""

    def date_time_string(self, timestamp=None):
        return "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.slow
def test_every_property_of_a_handler_holds():
    check(Dateless, REQUESTS["length"] + REQUESTS["chunked"] + REQUESTS["expect"], examples=10)
