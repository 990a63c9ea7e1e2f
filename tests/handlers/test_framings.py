"""Framings, over bytes in memory: what is a request, how it is refused, and what a handler that reads too much gets."""

import http.server
from contextlib import nullcontext, suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    LimitPassed,
    RequestRefused,
    Some,
    StreamRequestHandler,
    TimedOut,
    ToEnd,
    Until,
)  # fmt: skip
from handlers.blocking.buffered import buffered
from tests.support.blocking import ask_held, machine_for
from tests.support.strategies import converse


async def netstring(row):
    """``LENGTH:`` and as many bytes."""
    size = await Until(b":", limit=6)
    await Exactly(int(size[:-1]))


async def chunks(row):
    """Lines up to an empty one; returns their text without the line ends."""
    text = []
    while (line := await Until(b"\n")) != b"\n":
        text.append(line[:-1])
    return b"".join(text)


def handler(framing, **members):
    """A blocking handler with that framing, which answers ``<REQUEST>`` and keeps the connection."""

    def handle(self):
        self.wfile.write(b"<" + self.rfile.read() + b">")

    return type("Answers", (StreamRequestHandler,), {
        "request": framing, "handle": handle, "close_connection": False, **members
    })  # fmt: skip


def one_by_one(data):
    return [data[place : place + 1] for place in range(len(data))]


@pytest.mark.parametrize(("framing", "data", "answer"), [
    (netstring, b"2:ab0:3:cde", b"<2:ab><0:><3:cde>"),
    (chunks, b"ab\ncd\n\n\ne\n\n", b"<abcd><><e>"),
    (Until(b"\n"), b"a\nb\n", b"<a\n><b\n>"),
])  # fmt: skip
def test_each_request_is_answered_in_order_however_it_is_cut(framing, data, answer):
    for pieces in ([data], one_by_one(data)):
        machine = machine_for(handler(framing))
        assert converse(machine, pieces) == answer
        assert (machine.finished, machine.reason) == (True, None)


@given(st.lists(st.binary(max_size=9), max_size=5), st.data())
def test_any_cut_of_any_requests_gives_the_same_answers(bodies, data):
    stream = b"".join(b"%d:%b" % (len(body), body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    answer = b"".join(b"<%d:%b>" % (len(body), body) for body in bodies)
    assert converse(machine_for(handler(netstring)), [piece for piece in pieces if piece]) == answer


def test_the_connection_ends_after_the_request_unless_the_handler_keeps_it():
    class Once(StreamRequestHandler):
        request = netstring

        def handle(self):
            self.wfile.write(self.rfile.read())
            self.close_connection = self.rfile is None  # an attribute of the object counts as well

    assert ask_held(Once, b"1:a1:b") == b"1:a1:b"
    assert ask_held(handler(netstring, close_connection=True), b"1:a1:b") == b"<1:a>"
    closing = handler(netstring, handle=lambda self: self.request.close())
    machine = machine_for(closing)
    assert converse(machine, [b"1:a1:b"]) == b""
    assert machine.finished


@pytest.mark.parametrize("data", [b"1:a2:b", b"1:a2", b"1:a3:b"])
def test_an_end_in_the_middle_of_a_request_is_a_cause_and_between_requests_it_is_none(data):
    machine = machine_for(handler(netstring))
    assert converse(machine, [data]) == b"<1:a>"
    assert isinstance(machine.reason, EndOfStream)


def test_a_wait_that_is_like_the_first_is_not_between_requests():
    machine = machine_for(handler(chunks))
    assert converse(machine, [b"a\n\nb\n"]) == b"<a>"
    assert isinstance(machine.reason, EndOfStream)


async def refusing(row):
    """Refuses what is late, too long or not a number."""
    try:
        size = await Until(b":", limit=4, timeout=7)
        if size == b"1:":
            row.send(b"[go on]")
        if not size[:-1].isdigit():
            raise RequestRefused(b"bad", "no number")
        await Exactly(int(size[:-1]), limit=50)
    except TimedOut as late:
        raise RequestRefused(b"late", "too slow") from late
    except LimitPassed as long:
        raise RequestRefused(b"long", "too long") from long


@pytest.mark.parametrize(("data", "answer", "why"), [
    (b"1:a1:b", b"[go on]<1:a>[go on]<1:b>", None),
    (b"1:ax:b1:c", b"[go on]<1:a>bad", "no number"),
    (b"00001:b", b"long", "too long"),
    (b"51:b", b"long", "too long"),
])  # fmt: skip
def test_a_framing_sends_an_answer_of_its_own_and_refuses_with_one(data, answer, why):
    machine = machine_for(handler(refusing))
    assert converse(machine, [data]) == answer
    assert machine.finished
    assert (machine.reason is None) if why is None else str(machine.reason) == f"request refused: {why}"


def test_a_framing_gets_its_time_out_at_the_await():
    machine = machine_for(handler(refusing, timeout=60))
    machine.feed(b"1")
    assert machine.patience == 7
    machine.expire()
    assert (machine.read(), machine.finished, str(machine.reason)) == (b"late", True, "request refused: too slow")


def test_a_cause_that_a_framing_does_not_catch_is_the_reason():
    machine = machine_for(handler(netstring))
    machine.feed(b"1:")
    machine.expire()
    assert isinstance(machine.reason, TimedOut)
    machine = machine_for(handler(netstring))
    machine.feed(b"123456")
    assert isinstance(machine.reason, LimitPassed)


def test_a_request_is_bounded_by_max_request_whatever_its_waits_allow():
    async def endless(row):
        while True:
            await Some()

    machine = machine_for(handler(endless, max_request=10))
    machine.feed(b"12345")
    machine.feed(b"12345")
    assert not machine.finished
    machine.feed(b"1")
    assert isinstance(machine.reason, LimitPassed)
    assert str(machine.reason) == "the request is longer than Answers.max_request"
    assert machine.handler.held <= 11


def test_a_request_that_a_wait_takes_is_bounded_by_max_request_too():
    machine = machine_for(handler(Until(b"\n"), max_request=10))
    machine.feed(b"123456789\n")
    assert machine.read() == b"<123456789\n>"
    machine.feed(b"1234567890\n")
    assert isinstance(machine.reason, LimitPassed)
    assert str(machine.reason) == "the request is longer than Answers.max_request"
    assert machine.read() == b""


def test_the_limits_of_the_class_are_those_of_the_machine():
    limits = {"timeout": 3, "request_timeout": 4, "idle_timeout": 5, "min_rate": 6, "high_water": 7, "low_water": 8,
              "max_output": 9, "max_request": 10}  # fmt: skip
    for request in netstring, Until(b"\n"):
        adapted = buffered(handler(request, **limits), packets=False)
        assert {name: getattr(adapted, name) for name in limits} == limits


@pytest.mark.parametrize("framing", [partial(netstring), type("Callable", (), {
    "__call__": lambda self, row: netstring(row)
})])  # fmt: skip
def test_what_is_no_coroutine_function_is_no_framing(framing):
    if isinstance(framing, partial):
        assert ask_held(handler(framing), b"1:a") == b"<1:a>"
    else:
        with pytest.raises(TypeError, match="declare on the class when a whole request is here"):
            buffered(handler(framing()), packets=False)


def test_a_framing_has_the_row_and_the_handler_class():
    async def told(row):
        seen.append((row.peer, row.handler_class, row.max_request, row.timeout))
        await Until(b"\n")

    seen = []
    kind = handler(told, timeout=2)
    assert ask_held(kind, b"\n") == b"<\n>"
    assert seen[0] == (seen[0][0], kind, 16 << 20, 2)


@pytest.mark.parametrize(("framing", "message"), [
    ("awaits", r"Answers.request awaited 3, which is no wait"),
    ("returns", r"Answers.request returns None or the bytes of the request, not 'text'"),
    ("raises", r"of its own"),
])  # fmt: skip
def test_a_wrong_framing_is_an_error_that_says_so(framing, message):
    class Odd:
        def __await__(self):
            yield 3

    async def wrong(row):
        await Until(b"\n")
        if framing == "awaits":
            await Odd()
        elif framing == "raises":
            raise ValueError("of its own")
        return "text"

    with pytest.raises((TypeError, ValueError), match=message):
        ask_held(handler(wrong), b"a\n")


def test_a_framing_may_return_at_once_for_a_handler_that_speaks_first_but_not_again_and_again():
    async def at_once(row):
        return b"nothing"

    machine = machine_for(handler(at_once, close_connection=True))
    machine.advance()
    assert (machine.read(), machine.finished) == (b"<nothing>", True)
    with pytest.raises(RuntimeError, match="without a byte of the stream"):
        machine_for(handler(at_once)).advance()


def test_a_framing_may_wait_for_other_things_than_input_and_what_they_give_is_no_input():
    async def slow(row):
        await Flushed()
        await Until(b"\n")
        await Delay(0)
        await Until(b"\n")

    machine = machine_for(handler(slow))
    machine.feed(b"a\nb\n")
    machine.expire()
    assert machine.read() == b"<a\nb\n>"


# What is never silent


@pytest.mark.parametrize("size", [2, 100])
def test_reading_more_than_the_request_is_an_error_even_if_the_handler_catches_it(size):
    def handle(self):
        try:
            self.rfile.readinto(bytearray(size)) if size == 100 else self.rfile.read(size)
        except EOFError:
            self.wfile.write(b"caught")

    machine = machine_for(handler(Exactly(1), handle=handle))
    message = r"Answers reads \d+ bytes, and 1 bytes are left of its request: Answers.request takes less"
    with pytest.raises(EOFError, match=message):
        machine.feed(b"abc")
    assert machine.finished


def test_reading_beyond_the_end_of_the_stream_is_what_it_is_for_a_socket():
    def handle(self):
        self.wfile.write(self.rfile.read(100) + b"|" + self.rfile.read(5))

    assert ask_held(handler(ToEnd(), handle=handle), b"abc") == b"abc|"


@pytest.mark.parametrize("catches", [False, True])
def test_a_reply_over_max_output_is_an_error_that_names_the_remedy(catches):
    def handle(self):
        with suppress(OSError) if catches else nullcontext():
            self.wfile.write(b"x" * 60)
            self.wfile.write(b"x" * 60)

    machine = machine_for(handler(Until(b"\n"), handle=handle, max_output=100))
    with pytest.raises(OSError, match=r'longer than 100 bytes .*declare work = "thread" or "fork" on Answers'):
        machine.feed(b"\n")
    assert machine.read() == b""


def test_max_output_is_for_one_reply():
    machine = machine_for(handler(Until(b"\n"), handle=lambda self: self.wfile.write(b"x" * 60), max_output=100))
    machine.feed(b"\n\n\n")
    assert [machine.read() for _ in range(3)] == [b"x" * 60] * 3


# Handlers of http.server


class Page(http.server.BaseHTTPRequestHandler):
    """Answers with its path, and does not read the body of a POST."""

    protocol_version = "HTTP/1.1"

    async def request(row):  # noqa: N805 - a framing, not a method
        head = await Until(b"\r\n\r\n")
        await Exactly(int(head.partition(b"Length: ")[2].partition(b"\r\n")[0] or b"0"))

    def do_GET(self):
        self.send_response_only(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        self.do_GET()

    def log_request(self, *_):
        """Be silent."""


@pytest.mark.parametrize("wraps", [False, True])
def test_a_body_that_the_handler_does_not_read_is_not_taken_for_a_request(wraps):
    class Django(Page):
        """As the handlers of Django: at the end of the loop, it ends the stream."""

        def handle(self):
            super().handle()
            self.connection.shutdown(1)

    body = b"GET /smuggled HTTP/1.1\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    assert ask_held(Django if wraps else Page, post * 2) == answer * 2
    closing = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert ask_held(Page, post + closing + post) == answer * 2
