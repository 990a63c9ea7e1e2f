"""Waits: what each takes of a stream, wherever the stream is cut."""

import abc
import inspect
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import handlers
from handlers import (
    Connected,
    DatagramMachine,
    Delay,
    Elsewhere,
    EndOfStream,
    Exactly,
    FirstOf,
    Flushed,
    Forked,
    Handler,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    StreamWait,
    Threaded,
    TimedOut,
    ToEnd,
    Until,
    UntilAny,
    Wait,
    WhileConnected,
)
from tests.support.strategies import (
    Driver,
    Packets,
    States,
    bounded,
    cuts,
    pieces,
    singly,
    spellings,
    take,
    timeouts,
    values,
)

spelling = pytest.mark.parametrize("spelling", spellings)


# Waits are values


@given(values)
def test_the_repr_of_a_wait_is_the_code_that_makes_it(wait):
    again = eval(repr(wait), {**vars(handlers), "inf": math.inf})
    assert again == wait
    assert hash(again) == hash(wait)
    assert again.timeout == wait.timeout


@given(values, values)
def test_waits_with_the_same_arguments_are_equal(one, other):
    assert (one == other) == (repr(one) == repr(other))
    assert (one != other) == (repr(one) != repr(other))
    assert len({one, other}) == 2 - (one == other)


@pytest.mark.parametrize(
    ("wait", "other"),
    [
        (Until(b";"), Until(b",")),
        (Until(b";"), Until(b";", limit=9)),
        (Until(b";"), Until(b";", timeout=1)),
        (Exactly(4), Exactly(5)),
        (Exactly(4), Exactly(4, limit=4)),
        (Some(4), ToEnd(4)),
        (Flushed(), Flushed(of=StreamHandler())),
        (Flushed(of=StreamHandler()), Flushed(of=StreamHandler())),
        (Delay(1), Delay(2)),
        (Forked(len, b""), Threaded(len, b"")),
        (Forked(len, b""), Forked(len, b"a")),
        (Forked(len, b""), Forked(repr, b"")),
        (Connected("/run/a", StreamHandler()), Connected("/run/a", StreamHandler())),
        (Packet(), None),
        (Packet(), ()),
    ],
    ids=repr,
)
def test_waits_with_different_arguments_are_unequal(wait, other):
    assert wait != other
    assert wait == wait


def test_until_with_the_same_arguments_is_one_object_unless_the_class_is_derived():
    class Numbered(Until):
        made = 0

        def __init__(self, numbers):
            super().__init__(b"%d" % numbers[0])
            type(self).made += 1

    assert Until(b";") is Until(b";")
    assert Until(b";", 9) is not Until(b";", 9, 1)
    assert (Numbered([1]) == Numbered([1])) is True
    assert Numbered([1]) is not Numbered([1])
    assert Numbered.made == 4


def test_a_mix_in_in_front_of_until_makes_no_difference():
    class Mixin:
        def __init_subclass__(cls):
            pass

    class Mixed(Mixin, Until):
        pass

    class Derived(Mixed):
        pass

    assert Mixed(b";") is not Mixed(b";")
    assert Derived(b";") is not Derived(b";")


def test_a_class_may_be_derived_from_until_and_from_an_abstract_class():
    class Named(abc.ABC):
        @abc.abstractmethod
        def name(self):
            raise NotImplementedError

    class Abstract(Until, Named):
        pass

    class Header(Abstract):
        def name(self):
            return "header"

    with pytest.raises(TypeError, match="abstract"):
        Abstract(b";")
    assert Header(b";") == Header(b";") is not Header(b";")
    assert isinstance(Header(b";"), Named)


def test_until_tells_its_arguments():
    assert [*inspect.signature(Until).parameters] == ["delimiter", "limit", "timeout"]


def test_a_wrong_argument_is_refused_whatever_was_made_before():
    assert Until(b";", 80) == Until(b";", limit=80)
    for delimiter, limit in (b";", 80.0), (memoryview(b";"), 80), (bytearray(b";"), 80):
        with pytest.raises((TypeError, ValueError)):
            Until(delimiter, limit)


def test_a_wait_derived_from_exactly_may_take_nothing():
    class UpTo(Exactly):
        __slots__ = ()

        def find(self, held, start, scanned, ended):
            return min(len(held), start + self.n)

    class Takes(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.send(b"%r" % await UpTo(4))

    machine = StreamMachine(Takes())
    machine.feed(b"a\n")
    assert (machine.read(), machine.finished) == (b"b''", True)


@pytest.mark.parametrize(
    ("wait", "written"),
    [
        (Until(b"\r\n", 512), "Until(b'\\r\\n', limit=512)"),
        (Until(b";", 9, 0.5), "Until(b';', limit=9, timeout=0.5)"),
        (Exactly(12, timeout=math.inf), "Exactly(12, timeout=inf)"),
        (Exactly(12, 100), "Exactly(12, 100)"),
        (Packet(), "Packet()"),
        (Flushed(), "Flushed()"),
        (Delay(2.5), "Delay(2.5)"),
        (Forked(singly, b"some data"), "Forked(singly)"),
        (Threaded(str.upper, "a"), "Threaded(str.upper)"),
        (Connected(("::1", 7), StreamHandler()), "Connected(('::1', 7))"),
    ],
    ids=str,
)
def test_the_repr_of_a_wait_is_short(wait, written):
    assert repr(wait) == written


def test_every_wait_for_input_has_a_default_limit():
    assert Until(b";").limit == Some().limit == 64 << 10
    assert Exactly(1).limit == ToEnd().limit == 1 << 20


def test_a_wait_is_hashable():
    handler = StreamHandler()
    waits = [Exactly(1), Flushed(handler), Forked(len, b"a"), Connected("/run/a", handler)]
    again = [Exactly(1), Flushed(handler), Forked(len, b"a"), Connected("/run/a", handler)]
    assert dict(zip(waits, "efrc", strict=True)) == dict(zip(again, "efrc", strict=True))


# Wrong arguments


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Until(b""), "Until: delimiter"),
        (lambda: Until("\n"), "Until: delimiter"),
        (lambda: Until(10), "Until: delimiter"),
        (lambda: Until(b"\n", limit=0), "Until: limit"),
        (lambda: Until(b"\n", limit=None), "Until: limit"),
        (lambda: Until(b"\n", limit=-1), "Until: limit"),
        (lambda: Until(b"\r\n", limit=1), "Until: limit"),
        (lambda: Until(b"\n", timeout=-1), "Until: timeout"),
        (lambda: UntilAny(), "UntilAny: a delimiter"),
        (lambda: UntilAny(b"\n", b""), "UntilAny: a delimiter"),
        (lambda: UntilAny(b"\n", 512), "UntilAny: a delimiter"),
        (lambda: UntilAny((b"\n", b"\r")), "UntilAny: a delimiter"),
        (lambda: UntilAny(b"\n", b"\r\n", limit=1), "UntilAny: limit"),
        (lambda: UntilAny(b"\n", limit=None), "UntilAny: limit"),
        (lambda: UntilAny(b"\n", timeout=-1), "UntilAny: timeout"),
        (lambda: Exactly(-1), "Exactly: n"),
        (lambda: Exactly(1.0), "Exactly: n"),
        (lambda: Exactly(b"12"), "Exactly: n"),
        (lambda: Exactly(1, limit=0), "Exactly: limit"),
        (lambda: Some(0), "Some: limit"),
        (lambda: Some(1.5), "Some: limit"),
        (lambda: Some(timeout=math.nan), "Some: timeout"),
        (lambda: Some(timeout="3"), "Some: timeout"),
        (lambda: ToEnd(0), "ToEnd: limit"),
        (lambda: Packet(-0.1), "Packet: timeout"),
        (lambda: Flushed(timeout=-1), "Flushed: timeout"),
        (lambda: Flushed(of=3), "Flushed: of"),
        (lambda: Flushed(of=StreamHandler), "Flushed: of"),
        (lambda: Delay(-1), "Delay: seconds"),
        (lambda: Delay(math.nan), "Delay: seconds"),
        (lambda: Delay("3"), "Delay: seconds"),
        (lambda: Forked(3), "Forked: 3"),
        (lambda: Threaded(None), "Threaded: None"),
        (lambda: Forked(len, timeout=-1), "Forked: timeout"),
        (lambda: Connected(("::1", 7), StreamHandler), "Connected: handler"),
        (lambda: Connected(("::1", 7), None), "Connected: handler"),
    ],
)
def test_a_wrong_argument_is_refused_by_the_constructor(make, named):
    with pytest.raises((TypeError, ValueError), match=f"^{named}"):
        make()


# What a wait takes, against a model


streams = st.one_of(st.text("abc", max_size=16), st.text("abc", min_size=100, max_size=300)).map(str.encode)


def outcome_of(rest, found, limit):
    """What a wait takes of ``rest`` and its result or cause, if a delimiter ends at ``found``; 0: there is none."""
    if 0 < found <= limit:
        return rest[:found], rest[:found]
    return rest[:limit], (LimitPassed if len(rest) >= limit else EndOfStream, rest[:limit])


def model(script, data):
    """The results of the waits of ``script`` for the whole stream ``data``."""
    place = 0
    for wait in script:
        rest = data[place:]
        if isinstance(wait, Until):
            found = rest.find(wait.delimiter) + len(wait.delimiter)
            found = found if wait.delimiter in rest else 0
            taken, outcome = outcome_of(rest, found, wait.limit)
        elif isinstance(wait, UntilAny):
            ends = [
                (at, -len(delimiter))
                for delimiter in wait.delimiters
                if (at := rest[: wait.limit].find(delimiter)) >= 0
            ]
            first, size = min(ends, default=(0, 0))
            taken, outcome = outcome_of(rest, first - size, wait.limit)
        elif isinstance(wait, Exactly):
            if wait.n > wait.limit:
                taken, outcome = b"", (LimitPassed, b"")
            else:
                taken = rest[: wait.n]
                outcome = taken if len(taken) == wait.n else (EndOfStream, taken)
        else:
            taken = rest[: wait.limit]
            outcome = taken if taken == rest else (LimitPassed, taken)
        if outcome == (EndOfStream, b"") and wait == script[0]:
            return  # a clean end: at the state of the first wait, with an equal wait
        yield outcome
        place += len(taken)


@pytest.mark.slow
@spelling
@given(script=st.lists(bounded, max_size=8), fed=pieces(streams))
@example(script=[Until(b"aab", 9)], fed=singly(b"aaab"))
@example(script=[Until(b"\r\n\r\n", 9)], fed=[b"\r\n\r", b"\n"])
@example(script=[Until(b"ab", 2)], fed=[b"a", b"b"])
@example(script=[Until(b"ab", 2)], fed=[b"c", b"ab"])
@example(script=[Until(b"aa", 2), ToEnd(3)], fed=[b"aaaaa"])
@example(script=[UntilAny(b"b", b"aba"), UntilAny(b"b", b"aba")], fed=singly(b"abab"))
@example(script=[UntilAny(b"a", b"ab", limit=2), ToEnd(9)], fed=singly(b"cab"))
def test_each_wait_takes_what_the_model_finds_in_the_whole_stream(spelling, script, fed):
    assert take(spelling(*script), fed) == list(model(script, b"".join(fed)))


@pytest.mark.slow
@given(st.lists(bounded, max_size=8), streams, st.data())
def test_a_timeout_at_any_moment_loses_nothing(script, data, drawn):
    """A wait that times out is repeated, or another takes its place; no byte is missing."""

    class Patient(States):
        def interrupted(self, cause):
            if isinstance(cause, TimedOut):
                return cause.wait, self.took
            return super().interrupted(cause)

    handler = Patient(*script)
    machine = StreamMachine(handler)
    for piece in drawn.draw(cuts(data)):
        machine.feed(piece)
        if drawn.draw(st.booleans()):
            machine.expire()
    machine.end()
    assert handler.seen == list(model(script, data))


# Until


@spelling
def test_until_leaves_the_bytes_behind_the_delimiter_to_the_next_wait(spelling):
    assert take(spelling(Until(b"\n"), Until(b"\n"), Some()), [b"one\ntwo\nthr"]) == [b"one\n", b"two\n", b"thr"]


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"abc\r\n", [b"abc\r\n"]),
        (b"abcd\r\n", [(LimitPassed, b"abcd\r"), (EndOfStream, b"\n")]),
        (b"abcde\r\n", [(LimitPassed, b"abcde"), b"\r\n"]),
        (b"abcd", [(EndOfStream, b"abcd")]),
        (b"abcde", [(LimitPassed, b"abcde")]),
    ],
)
@pytest.mark.parametrize("cut", [singly, lambda data: [data]], ids=["singly", "whole"])
def test_until_counts_the_delimiter_in_its_limit(data, seen, cut):
    assert take(States(Until(b"\r\n", limit=5), Until(b"\r\n", limit=5)), cut(data)) == seen


def test_until_fails_as_soon_as_its_limit_is_filled():
    """The cause comes with the byte that fills the limit, not with the end of the stream."""
    handler = States(Until(b"\n", limit=3))
    assert take(handler, [b"a", b"b"], end=False) == []
    assert take(States(Until(b"\n", limit=3)), [b"a", b"b", b"c"], end=False) == [(LimitPassed, b"abc")]


def test_until_may_pass_its_limit_any_number_of_times_in_one_feed():
    """A cause with bytes has taken input, so this is no loop without input."""
    junk = b"x" * 10_000
    script = [Until(b"\n", limit=5)] * 2_001
    expected = [(LimitPassed, b"xxxxx")] * 2_000 + [b"\n"]
    assert take(States(*script), [*singly(junk), b"\n"]) == expected
    assert take(States(*script), [junk + b"\n"]) == expected


# UntilAny


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"one\r\ntwo\nthree\r\n", [b"one\r\n", b"two\n", b"three\r\n"]),
        (b"one\rtwo\r\nthree\r", [b"one\r", b"two\r\n", b"three\r"]),
        (b"one\r", [b"one\r"]),
        (b"\r\r\n\n", [b"\r", b"\r\n", b"\n"]),
        (b"one", [(EndOfStream, b"one")]),
        (b"12345678901", [(LimitPassed, b"1234567890"), (EndOfStream, b"1")]),
        (b"123456789\r\n", [b"123456789\r", b"\n"]),
    ],
)
@pytest.mark.parametrize("cut", [singly, lambda data: [data]], ids=["singly", "whole"])
def test_until_any_takes_the_longest_of_the_delimiters_that_begin_first(data, seen, cut):
    wait = UntilAny(b"\n", b"\r", b"\r\n", limit=10)
    assert take(States(*[wait] * len(seen)), cut(data)) == seen


def test_until_any_waits_for_no_byte_that_can_not_change_its_result():
    assert take(States(UntilAny(b"\r\n", b"\n")), [b"one\n"], end=False) == [b"one\n"]
    assert take(States(UntilAny(b"\r\n", b"\n")), [b"one\r\n"], end=False) == [b"one\r\n"]
    assert take(States(UntilAny(b"\r", b"\r\n")), [b"one\r"], end=False) == []
    assert take(States(UntilAny(b"\r", b"\r\n", limit=4)), [b"one\r"], end=False) == [b"one\r"]


# Exactly, Some, ToEnd


@spelling
def test_exactly_zero_is_satisfied_at_once(spelling):
    machine = StreamMachine(handler := spelling(Exactly(0)))
    machine.advance()
    assert machine.finished
    assert handler.seen == [b""]


@spelling
def test_exactly_more_than_its_limit_fails_before_any_byte_and_takes_nothing(spelling):
    handler = spelling(Exactly(9, limit=8), Exactly(8, limit=8))
    machine = StreamMachine(handler)
    machine.advance()
    assert handler.seen == [(LimitPassed, b"")]
    machine.feed(b"12345678")
    assert handler.seen[1:] == [b"12345678"]


def test_exactly_has_a_default_limit_of_one_mebibyte():
    assert take(States(Exactly((1 << 20) + 1)), [], end=False) == [(LimitPassed, b"")]
    assert take(States(Exactly(1 << 20)), [bytes(1 << 20)]) == [bytes(1 << 20)]


@spelling
def test_some_takes_the_bytes_held_up_to_its_limit(spelling):
    handler = spelling(Some(4), Some(4), Some(4), Some(4))
    assert take(handler, [b"", b"ab", b"cdefg", b""]) == [b"ab", b"cdef", b"g"]


@given(pieces(st.binary(max_size=40)), st.integers(1, 9))
def test_some_gives_the_whole_stream_and_never_an_empty_piece(fed, limit):
    seen = take(States(*[Some(limit)] * 41), fed)
    assert b"".join(seen) == b"".join(fed)
    assert all(1 <= len(piece) <= limit for piece in seen)


@spelling
def test_to_end_is_satisfied_by_the_end_of_the_stream(spelling):
    handler = spelling(ToEnd(4))
    machine = StreamMachine(handler)
    machine.feed(b"abc")
    machine.feed(b"d")
    assert not machine.finished
    machine.end()
    assert machine.finished
    assert handler.seen == [b"abcd"]


@spelling
def test_to_end_of_an_empty_stream_is_empty(spelling):
    assert take(spelling(ToEnd()), []) == [b""]


# Flushed, Delay, Packet


@spelling
def test_flushed_waits_until_the_last_byte_has_been_sent(spelling):
    class Slow(spelling):
        def setup(self):
            self.send(b"abc")

    handler = Slow(Flushed(), Exactly(1))
    machine = StreamMachine(handler, driver := Driver())
    machine.advance()
    assert machine.wait == Flushed()
    assert machine.blocked
    assert machine.read(2) == b"ab"
    assert handler.seen == []
    assert machine.read(2) == b"c"
    assert handler.seen == [None]
    assert machine.wait == Exactly(1)
    assert driver.touches == 0  # the caller of read() needs no touch


def pair(wait_for_other=Flushed):
    """A machine with output, another machine that waits for that output, and the driver of the second."""
    other, driver = States(Some(), Some()), Driver()
    source = StreamMachine(other)
    source.advance()
    other.send(b"abc")
    follower = StreamMachine(States(wait_for_other(of=other), Some()), driver)
    follower.advance()
    return source, follower, driver


def test_flushed_may_wait_for_the_output_of_another_handler():
    source, follower, driver = pair()
    assert follower.blocked
    assert not follower.wants_input
    source.read(2)
    follower.advance()
    assert (driver.touches, follower.handler.seen) == (0, [])
    source.read(2)
    assert driver.touches == 1
    follower.advance()
    assert follower.handler.seen == [None]


def test_several_handlers_may_wait_for_the_output_of_another():
    source, _, first = pair()
    second = Driver()
    for driver in second, second:
        StreamMachine(States(Flushed(of=source.handler)), driver).advance()
    source.read()
    assert (first.touches, second.touches) == (1, 2)


def test_flushed_of_a_handler_without_output_is_satisfied_at_once():
    source, _, _ = pair()
    source.read()
    follower = StreamMachine(States(Flushed(of=source.handler)))
    follower.advance()
    assert follower.handler.seen == [None]


@pytest.mark.parametrize("end", [lambda machine: machine.drop_output(), lambda machine: machine.close()])
def test_flushed_of_another_is_satisfied_when_the_other_ends_or_drops_its_output(end):
    source, follower, driver = pair()
    end(source)
    assert driver.touches == 1
    source.read()
    follower.advance()
    assert follower.handler.seen == [None]


@spelling
def test_delay_is_satisfied_when_its_time_has_passed(spelling):
    handler = spelling(Delay(2.5), Some())
    machine = StreamMachine(handler)
    machine.advance()
    assert machine.patience == 2.5
    assert not machine.wants_input
    machine.feed(b"early")
    assert handler.seen == []
    machine.expire()
    assert handler.seen == [None, b"early"]


def test_packet_takes_each_packet_whole_even_an_empty_one():
    handler = Packets(Packet(), Packet(), Packet())
    machine = DatagramMachine(handler)
    assert all(machine.feed(packet) for packet in (b"ab", b"", b"c"))
    assert handler.seen == [b"ab", b"", b"c"]


# Time


@given(timeouts, timeouts)
def test_a_wait_has_its_own_timeout_or_that_of_the_handler_class(own, default):
    class Timed(States):
        timeout = default

    machine = StreamMachine(Timed(Some(timeout=own)))
    machine.advance()
    expected = default if own is None else own
    assert machine.patience == (math.inf if expected is None else expected)


def test_a_wait_may_have_no_timeout():
    machine = StreamMachine(States(Some(timeout=math.inf)))
    machine.advance()
    assert machine.patience == math.inf
    assert StreamHandler.timeout == 300


@spelling
@pytest.mark.parametrize("first", [Exactly(9), Until(b"\r\n"), ToEnd()], ids=repr)
def test_any_wait_after_a_timeout_gets_the_bytes_held(spelling, first):
    for second, result in (Until(b"\n"), b"ab\n"), (Exactly(2), b"ab"), (Some(), b"ab\nc"):
        handler = spelling(first, second)
        machine = StreamMachine(handler)
        for byte in singly(b"ab\nc"):
            machine.feed(byte)
        assert machine.held_in == 4
        machine.expire()
        assert handler.seen == [(TimedOut, None), result]


# A wait of the user's


class Line(StreamWait):
    """A line up to and including LF."""

    __slots__ = ()

    def find(self, held, start, scanned, ended):
        return held.find(b"\n", scanned) + 1 or (len(held) if ended and len(held) > start else -1)


@pytest.mark.slow
@spelling
@given(fed=pieces(st.text("a\n", max_size=12).map(str.encode)))
def test_a_user_may_define_a_stream_wait(spelling, fed):
    assert take(spelling(*[Line()] * 13), fed) == b"".join(fed).splitlines(keepends=True)


def test_a_stream_wait_must_define_take():
    with pytest.raises(NotImplementedError):
        take(States(StreamWait()), [b"a"])


def test_each_wait_declares_what_satisfies_it():
    """Drivers rely on it: some waits are satisfied by input, some by outside work."""
    public = [getattr(handlers, name) for name in handlers.__all__]
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Wait)}
    kinds -= {FirstOf, WhileConnected}  # these have what the waits have that they are made of
    reading = {kind.__name__ for kind in kinds if kind.reads}
    outside = {kind.__name__ for kind in kinds if kind.outside}
    assert reading == {
        "StreamWait", "Until", "UntilAny", "InputEnded", "Exactly", "Some", "ToEnd", "Packet", "Relayed",
    }  # fmt: skip
    assert outside == {"Outside", "Elsewhere", "Forked", "Threaded", "Connected", "Ran"}
    assert issubclass(Forked, Elsewhere)
    assert issubclass(StreamHandler, Handler)
