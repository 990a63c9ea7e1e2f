"""`check`: correct handlers pass, each property can be checked alone, and wrong arguments are refused."""

import itertools
import runpy

import pytest
from hypothesis import find

import handlers
from handlers import (
    DatagramHandler,
    Delay,
    Exactly,
    Failed,
    Flushed,
    Forked,
    Packet,
    Some,
    StreamHandler,
    StreamRequestHandler,
    TimedOut,
    Until,
    World,
    services,
)
from handlers.auth.unix import UnixPeer
from handlers.http import HTTPHandler
from handlers.sunrpc.rpcbind import Rpcbind
from handlers.sunrpc.tls import StartTLS
from reactor import testing as checks
from reactor.testing import check
from reactor.testing.inputs.strategies import chunkings, deliveries, mutations, packet_schedules, schedules
from reactor.testing.running.loopback import MODES, ask, modes_here
from reactor.testing.running.report import CheckFailed
from reactor.testing.running.run import play
from reactor.testing.running.schedule import Take
from reactor.testing.running.subject import Subject
from tests.support.package import classes_of, classes_run
from tests.support.pairs import broken
from tests.support.pairs.broken import CONVERSATION
from tests.support.right import packaged
from tests.support.right.packaged import Finger, FingerPacket, Paragraphs

PACKETS = [b"one", b"two", b"three"]


# Correct handlers pass


@pytest.mark.slow
@pytest.mark.parametrize("right", packaged.CORPUS, ids=lambda right: Subject(right.kind).name)
def test_every_handler_of_the_package_passes(right, monkeypatch):
    monkeypatch.setattr(packaged.CHANCE, bytes)
    check(right.kind, right.conversation, examples=10, **right.options)


def test_every_handler_of_the_package_has_a_conversation_or_a_reason():
    found, run = classes_of(handlers), classes_run(packaged.CORPUS)
    assert {services.Echo, UnixPeer, HTTPHandler, StartTLS, Rpcbind} <= found  # of each package in it
    assert found - run == set(packaged.WITHOUT)


def test_a_new_handler_has_no_conversation(monkeypatch):
    class New(services.Echo):
        __module__ = services.__name__

    monkeypatch.setattr(services, "New", New, raising=False)
    assert New in classes_of(handlers) - classes_run(packaged.CORPUS)


class Netstrings(StreamHandler):
    """Uses most of the waits, answers the end of the stream, and lets its output drain."""

    high_water, low_water = 8, 4

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=4))[:-1]
            if not digits.isdigit():
                return
            data = await Exactly(int(digits) + 1)
            if not data.endswith(b","):
                return
            self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
            await Flushed()

    def interrupted(self, cause):
        self.send(b"bye")


@pytest.mark.parametrize(
    ("kind", "conversation", "expected"),
    [
        (broken.Mended, CONVERSATION, CONVERSATION.upper()),
        pytest.param(Netstrings, [b"5:hello,", b"3:abc,"], b"5:olleh,3:cba,", marks=pytest.mark.slow),
        (Finger, b"ada\r\n", b"no plan for ada\r\n"),
        pytest.param(Paragraphs, b"2\nab\nc\n0\n1\nd\n", b"2\nAB\nC\n0\n1\nD\n", marks=pytest.mark.slow),
        (FingerPacket, [b"ada", b"bob"], [b"no plan for ada", b"no plan for bob"]),
    ],
)
def test_handlers_of_each_kind_pass(kind, conversation, expected):
    check(kind, conversation, expected, examples=5)


def test_a_blocking_handler_without_a_framing_is_refused():
    class Silent(StreamRequestHandler):
        pass

    with pytest.raises(TypeError, match="Three ways out"):
        check(Silent, b"")


@pytest.mark.parametrize("mode", modes_here())
def test_a_real_server_answers_in_each_mode(mode):
    assert ask(mode, services.Echo, CONVERSATION) == CONVERSATION
    assert ask(mode, services.EchoDatagram, PACKETS) == PACKETS
    assert ask(mode, services.Time, b"", World(now=lambda: 0.0)).hex() == "83aa7e80"


class Awaiting(DatagramHandler):
    """Answers each packet after a moment, and waits for the next: its request ends with the server."""

    timeout = None

    async def handle(self):
        while True:
            packet = await Packet()
            await Delay(0.01)
            self.send(packet)


@pytest.mark.parametrize("mode", modes_here())
def test_a_request_that_waits_for_one_more_packet_is_not_waited_for(mode):
    assert ask(mode, Awaiting, PACKETS) == PACKETS


def test_the_modes_are_the_four():
    assert MODES == ("sync", "select", "fork", "thread")
    assert set(modes_here()) <= set(MODES)


# Each property alone


PROPERTIES = [
    checks.leaves_nothing_behind,
    checks.same_for_any_chunking,
    checks.ends_at_any_byte,
    checks.survives_any_input,
    checks.stays_in_bounds,
    checks.works_linearly,
]


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_a_property_can_be_checked_alone(holds):
    holds(broken.Mended, CONVERSATION, examples=5)


@pytest.mark.slow
def test_the_modes_can_be_checked_alone():
    class TellsTheMode(StreamHandler):
        async def handle(self):
            self.send(type(self.server).__name__.encode())

    checks.same_in_every_mode(broken.Mended, CONVERSATION, modes=["select", "thread"])
    with pytest.raises(CheckFailed, match="in thread mode the output is different") as caught:
        checks.same_in_every_mode(TellsTheMode, b"", modes=["thread"])
    assert "assert ask('thread', TellsTheMode, b'') == b'NoneType'" in str(caught.value)


def test_an_unexpected_answer_is_shown():
    with pytest.raises(CheckFailed, match="not the expected one") as caught:
        checks.answers(broken.Mended, b"one\n", b"TWO\n")
    assert "assert machine.read() == b'TWO\\n'" in str(caught.value)


def test_shared_state_outside_the_class_is_found_and_restored():
    seen, last = [], b""

    class Outside(StreamHandler):
        async def handle(self):
            nonlocal last
            last += await Some()
            seen.append(last)
            self.send(b"%d" % len(seen))

    with pytest.raises(CheckFailed, match="another request has sent"):
        checks.leaves_nothing_behind(Outside, b"ab")
    assert (seen, last) == ([], b"")


def test_shared_state_that_is_not_found_is_reported_as_such_or_as_chance():
    class Numbered(StreamHandler):
        numbers = itertools.count()

        async def handle(self):
            self.send(b"%d" % next(self.numbers))

    with pytest.raises(CheckFailed, match="cannot restore, or the handler uses a clock or random numbers of its own"):
        checks.leaves_nothing_behind(Numbered, b"")


def test_objects_of_the_class_keep_their_identity():
    missing, known = object(), []

    class Marked(StreamHandler):
        mark, names = missing, known

        async def handle(self):
            self.names.append(await Some())
            self.send(b"%d" % (self.mark is missing))

    checks.leaves_nothing_behind(Marked, b"ab")
    assert Marked.mark is missing
    assert Marked.names is known
    assert known == []


@pytest.mark.parametrize("bound", ["request_timeout", "idle_timeout", "min_rate"])
def test_a_handler_may_repeat_a_wait_within_the_timeouts_of_its_class(bound):
    class Patient(broken.SwallowsTheTimeout):
        pass

    checks.ends_at_any_byte(type("Bounded", (Patient,), {bound: 3_600}), b"a\n", examples=5)
    checks.survives_any_input(type("Bounded", (Patient,), {bound: 3_600}), b"a\n", examples=5)
    with pytest.raises(CheckFailed, match="goes on for ever"):
        checks.ends_at_any_byte(Patient, b"a\n", examples=5)


def test_a_handler_that_declares_a_rate_may_wait_for_its_output():
    class Paced(StreamHandler):
        min_rate = 10

        async def handle(self):
            while True:
                self.send(await Until(b"\n", limit=80))
                await Flushed()

    run = play(Paced, [b"a\n", 400.0])  # nothing of the output is taken
    assert str(run.machine.reason) == "slower than 10 bytes a second (Paced.min_rate)"


def test_a_wait_needs_no_timeout_when_the_class_has_a_request_timeout():
    class Whole(StreamHandler):
        timeout, request_timeout = None, 60

        async def handle(self):
            self.send(await Until(b"\n", limit=80))

    checks.stays_in_bounds(Whole, b"a\n", examples=5)
    run = play(Whole, [b"a", 59.0])
    assert not run.finished
    run = play(Whole, [b"a", 60.0])
    assert isinstance(run.reason, TimedOut)
    assert run.code().endswith("machine.abandon(TimedOut(machine.wait))")


def test_a_handler_that_pings_a_silent_client_ends_when_the_connection_breaks():
    class Pings(StreamHandler):
        async def handle(self):
            while True:
                self.send(await self.line())

        async def line(self):
            try:
                return await Until(b"\n", limit=80, timeout=5)
            except TimedOut:
                return b"ping\n"

    checks.ends_at_any_byte(Pings, b"a\n", examples=5)


def test_a_wait_for_outside_work_needs_a_timeout_too():
    class Stuck(StreamHandler):
        async def handle(self):
            await Forked(pow, 2, 10, timeout=float("inf"))

    with pytest.raises(CheckFailed, match=r"waits for Forked\(pow\) without a timeout"):
        checks.stays_in_bounds(Stuck, b"", examples=5)


def test_counting_the_work_changes_no_type_that_a_handler_sees():
    class Strict(StreamHandler):
        def __init__(self):
            self.held = self.same = bytearray()

        def handle(self):
            return Some(limit=80), self.chunk

        def chunk(self, data):
            if type(data) is not bytes or not isinstance(self.held, bytearray):
                raise TypeError
            self.held += data
            assert self.held is self.same
            self.send(data)
            del self.held[:]
            return self.handle()

    checks.works_linearly(Strict, b"ab", examples=5)


@pytest.mark.slow
def test_a_search_that_resumes_in_a_bytearray_is_linear():
    class Resumes(StreamHandler):
        async def handle(self):
            held, seen = bytearray(), 0
            while len(held) < 60_000:
                held += await Some()
                while (end := held.find(b"\r\n", max(0, seen - 1))) >= 0:
                    self.send(held[: end + 2].upper())
                    del held[: end + 2]
                    seen = 0
                seen = len(held)

    checks.works_linearly(Resumes, CONVERSATION)


def test_a_printed_test_defines_every_name_that_it_uses(tmp_path):
    server = object()

    class TellsWhatWasSaid(StreamHandler):
        async def handle(self):
            line = await Until(b"\n", limit=80)
            self.send(b"  # World " + line if self.server is server else b"")

    with pytest.raises(CheckFailed) as caught:
        checks.answers(TellsWhatWasSaid, b"a\n", b"  # World b\n", world=World(server=server))
    code = str(caught.value).partition("\n\n")[2]
    assert "(server):" in code
    path = tmp_path / "pasted.py"
    path.write_text(code)
    test = runpy.run_path(str(path), {"TellsWhatWasSaid": TellsWhatWasSaid})["test_tells_what_was_said_answers"]
    with pytest.raises(AssertionError):
        test(server)


def test_results_and_errors_of_outside_work_are_printed_as_code(tmp_path):
    class Asks(StreamHandler):
        async def handle(self):
            await Forked(object)
            try:
                await Forked(_fail)
            except Failed as failed:
                self.send(type(failed.error).__name__.encode())

    with pytest.raises(CheckFailed) as caught:
        checks.answers(Asks, b"", b"other")
    code = str(caught.value).partition("\n\n")[2]
    path = tmp_path / "pasted.py"
    path.write_text(code)
    names = runpy.run_path(str(path), {"Asks": Asks})
    assert names["Unlucky"] is Unlucky
    with pytest.raises(AssertionError):
        names["test_asks_answers"]()


class Unlucky(Exception):
    """An exception of the user's."""


def _fail():
    raise Unlucky("today")


# Wrong arguments


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check(broken.Mended(), b""), "a handler class, not <"),
        (lambda: check(int, b""), "int is no handler class: derive it"),
        (lambda: check(broken.Mended, "text"), "conversation is bytes, or a list of bytes, not 'text'"),
        (lambda: check(broken.Mended, bytearray(b"a")), "conversation is bytes, or a list of bytes, not bytearray"),
        (lambda: check(broken.Mended, 7), "conversation is bytes, or a list of bytes, not 7"),
        (lambda: check(broken.Mended, [b"a", "b"]), "and 'b' is not bytes"),
        (lambda: check(broken.Mended, [iter([b"a"])]), "and <list_iterator .* is not bytes"),
        (lambda: check(broken.Mended, b"a", world=object()), r"world is a handlers.World\(peer, server, now\)"),
        (lambda: check(broken.Mended, b"a", modes="sync"), r"a list of modes, such as \['sync'\]"),
        (lambda: play(broken.Mended, b"abc"), r"a list of steps: for one piece of bytes \[b'abc'\]"),
        (lambda: play(broken.Mended, ["abc"]), "a step is bytes, .* not 'abc'"),
        (lambda: play(broken.Mended, [-1.0]), "a step is bytes, .* not -1.0"),
        (lambda: chunkings("abc"), "chunkings: data is bytes, not 'abc'"),
        (lambda: mutations("abc"), "mutations: data is bytes, not 'abc'"),
        (lambda: find(schedules("abc"), bool), "schedules: data is bytes, not 'abc'"),
        (lambda: find(deliveries(b"abc"), bool), "packets is a list of bytes, one for each, not b'abc'"),
        (lambda: find(packet_schedules(b"abc"), bool), "packets is a list of bytes, one for each, not b'abc'"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named_with_the_remedy(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_an_unknown_mode_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match="no mode 'sink' here; there are 'sync', 'select'"):
        check(broken.Mended, b"a", modes=["sink"])
    with pytest.raises(ValueError, match="no mode 'sink' here"):
        ask("sink", broken.Mended, b"a")


def test_take_refuses_a_negative_number():
    with pytest.raises(ValueError, match="Take: limit is a number of bytes, or of packets, >= 0, not -1"):
        Take(-1)


def test_a_wait_with_a_huge_limit_is_out_of_bounds():
    class Greedy(StreamHandler):
        def handle(self):
            return Until(b"\n", limit=1 << 40), self.handle

    with pytest.raises(CheckFailed, match="with a limit over max_output") as caught:
        checks.stays_in_bounds(Greedy, b"a")
    assert "assert machine.wait.limit <= 16777216" in str(caught.value)


def test_the_caller_says_how_many_bytes_a_handler_may_keep():
    class Body(StreamHandler):
        async def handle(self):
            body = bytearray()
            while len(body) < 200_000:
                body += await Some()

    checks.stays_in_bounds(Body, b"a", kept=300_000)
    with pytest.raises(CheckFailed, match="the more come"):
        checks.stays_in_bounds(Body, b"a")


README = """
>>> from hypothesis import given
>>> from handlers import StreamHandler, StreamMachine, Until
>>> from reactor.testing import chunkings
>>> class Upper(StreamHandler):
...     async def handle(self):
...         while True:
...             self.send((await Until(b"\\r\\n", limit=512)).upper())
>>> @given(chunkings(b"one\\r\\ntwo\\r\\n"))
... def test_partial_reads(chunks):
...     machine = StreamMachine(Upper())
...     for chunk in chunks:
...         machine.feed(chunk)
...     assert machine.read() == b"ONE\\r\\nTWO\\r\\n"
>>> test_partial_reads()
"""


def test_a_property_test_of_partial_reads_takes_under_fifteen_lines():
    import doctest

    example = doctest.DocTestParser().get_doctest(README, {}, "README", None, 0)
    assert len(README.strip().splitlines()) < 15
    assert doctest.DocTestRunner().run(example).failed == 0
