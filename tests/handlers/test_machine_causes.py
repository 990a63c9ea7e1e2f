"""Causes: how a handler learns why a wait was not satisfied, and what it may return."""

import copy
import pickle
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Cancelled,
    Cause,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    LimitPassed,
    RequestRefused,
    Reset,
    Some,
    StreamHandler,
    StreamMachine,
    TimedOut,
    ToEnd,
    Until,
)
from tests.support.frames import Awaitable, Frames, Generated, OneState
from tests.support.strategies import Logged, Netstrings, converse, netstrings, pieces, spellings, still, told

CAUSES = [
    EndOfStream(b"ab"),
    TimedOut(Until(b"\n")),
    LimitPassed(Until(b"\n"), b"ab"),
    LimitPassed(None, what="too much"),
    Reset(ConnectionResetError(104, "reset")),
    Cancelled("closed"),
    Failed(Until(b"\n"), ValueError("wrong")),
    RequestRefused(b"400", "no host"),
]

spelling = pytest.mark.parametrize("spelling", spellings)
in_every_spelling = pytest.mark.parametrize("kind", netstrings)


# Causes


@pytest.mark.slow
@in_every_spelling
@given(texts=st.lists(st.binary(max_size=12), max_size=4), data=st.data())
def test_the_end_of_the_stream_is_clean_between_messages_and_a_cause_elsewhere(kind, texts, data):
    messages = [b"%d:%b," % (len(text), text) for text in texts]
    place = data.draw(st.integers(0, sum(map(len, messages))))
    stream = rest = b"".join(messages)[:place]
    for message in messages:
        rest = rest.removeprefix(message) if stream.endswith(rest) else rest
    machine = StreamMachine(kind())
    converse(machine, data.draw(pieces(st.just(stream))))
    if rest:
        partial = (EndOfStream, rest.partition(b":")[2] if b":" in rest else rest)
        assert machine.handler.log == ["setup", partial, "finish"]
        assert told(machine.reason) == partial
    else:
        assert machine.handler.log == ["setup", "finish"]
        assert machine.reason is None


def test_the_end_of_the_stream_is_not_clean_in_another_coroutine_with_an_equal_wait():
    class Relay(Logged):
        async def handle(self):
            await Exactly(1)
            return self.then()

        async def then(self):
            await Exactly(1)

    machine = StreamMachine(Relay())
    converse(machine, [b"a"])
    assert told(machine.reason) == (EndOfStream, b"")


causes = [
    EndOfStream(b"a"), TimedOut(Some()), LimitPassed(Some()), Reset(OSError("gone")), Cancelled(),
    Failed(Some(), OSError("no")),
]  # fmt: skip


@spelling
@pytest.mark.parametrize("cause", causes, ids=repr)
def test_interrupted_gets_the_cause_and_the_request_may_go_on(spelling, cause):
    handler = spelling(Exactly(2), Exactly(2))
    machine = StreamMachine(handler)
    machine.feed(b"a")
    machine.interrupt(cause)
    machine.feed(b"b")
    assert handler.seen == [told(cause), b"ab"]
    assert machine.reason is None


@in_every_spelling
@pytest.mark.parametrize("interrupt", [StreamMachine.interrupt, StreamMachine.abandon])
@pytest.mark.parametrize("cause", causes, ids=repr)
def test_a_cause_without_an_answer_is_the_reason_of_the_end(kind, interrupt, cause):
    machine = StreamMachine(kind())
    machine.feed(b"3:a")
    interrupt(machine, cause)
    assert machine.reason is cause
    assert machine.handler.log == ["setup", told(cause), "finish"]
    assert still(machine)


def test_a_cause_says_what_happened():
    gone = ConnectionResetError("by peer")
    for cause, words in (
        (Reset(gone), "connection lost: by peer"),
        (Failed(Forked(len), gone), "Forked(len): ConnectionResetError: by peer"),
        (TimedOut(Some(3)), "timed out in Some(3)"),
        (LimitPassed(Some(3)), "limit passed in Some(3)"),
        (LimitPassed(None, what="too much output"), "too much output"),
        (EndOfStream(b"ab"), "end of stream with 2 bytes of an unfinished piece"),
        (Cancelled(), "the server shuts down"),
    ):
        assert str(cause) == words
    assert Reset(gone).error is Failed(Some(), gone).error is gone
    assert Failed(Some(3), gone).wait == TimedOut(Some(3)).wait == LimitPassed(Some(3)).wait == Some(3)
    assert EndOfStream().partial == b""


def test_a_timeout_names_its_wait():
    machine = StreamMachine(Netstrings())
    machine.advance()
    machine.expire()
    assert isinstance(machine.reason, TimedOut)
    assert machine.reason.wait == Until(b":", limit=7)


class Answering(Logged):
    """Returns for every cause a wait that the bytes held may satisfy."""

    def handle(self):
        return Exactly(2), self.more

    def more(self, data):
        self.log.append(data)
        return Exactly(2), self.more

    def interrupted(self, cause):
        super().interrupted(cause)
        return Exactly(1), self.more


class Catching(Answering):
    """The same as a coroutine that catches the causes."""

    async def handle(self):
        try:
            await Exactly(2)
        except Cause as cause:
            self.log.append(told(cause))
            self.more(await Exactly(1))


@pytest.mark.parametrize("kind", [Answering, Catching])
@pytest.mark.parametrize("cause", [Cancelled(), Reset(OSError("gone"))], ids=repr)
def test_an_abandoned_request_gets_the_cause_and_takes_no_further_step(kind, cause):
    machine = StreamMachine(kind())
    machine.feed(b"a")
    machine.abandon(cause)
    assert machine.handler.log == ["setup", told(cause), "finish"]
    assert machine.reason is cause
    assert still(machine)


@pytest.mark.parametrize("tell", [StreamMachine.interrupt, StreamMachine.abandon])
def test_a_request_that_ends_in_its_first_state_gets_no_cause(tell):
    class Brief(Answering):
        def handle(self):
            self.send(b"that is all")

    machine = StreamMachine(Brief())
    tell(machine, Cancelled())
    assert machine.handler.log == ["setup", "finish"]
    assert machine.read() == b"that is all"
    assert still(machine)


def test_a_cause_that_a_state_raises_goes_to_interrupted():
    class Raising(Answering):
        def more(self, data):
            if len(data) == 2:
                raise EndOfStream(data)
            return super().more(data)

    machine = StreamMachine(Raising())
    machine.feed(b"abcd")
    assert machine.handler.log == ["setup", (EndOfStream, b"ab"), b"c"]


def test_interrupted_may_be_a_coroutine():
    class Polite(Answering):
        async def interrupted(self, cause):
            super().interrupted(cause)
            self.send(b"bye")
            self.more(await Exactly(1))

    machine = StreamMachine(Polite())
    machine.feed(b"a")
    machine.expire()
    assert machine.handler.log == ["setup", (TimedOut, None), b"a", "finish"]
    assert (machine.read(), machine.reason) == (b"bye", None)


def test_a_cause_that_interrupted_raises_ends_the_request():
    class Raising(Answering):
        def interrupted(self, cause):
            super().interrupted(cause)
            if len(self.log) < 5:
                raise cause

    machine = StreamMachine(Raising())
    with pytest.raises(EndOfStream) as caught:
        converse(machine, [b"a"])
    assert machine.reason is caught.value
    assert machine.handler.log == ["setup", (EndOfStream, b"a"), "finish"]


@pytest.mark.parametrize("odd", [5, Until(b"x"), (Exactly(1), None)], ids=repr)
def test_a_result_of_interrupted_that_is_not_a_step_is_refused_by_name(odd):
    class Wrong(Answering):
        def interrupted(self, cause):
            return odd

    machine = StreamMachine(Wrong())
    with pytest.raises(TypeError, match=r"^Wrong\.interrupted returned .*; a state returns \(wait, next_state\)"):
        converse(machine, [b"a"])
    assert machine.handler.log == ["setup", "finish"]
    assert still(machine)


class Stubborn(Logged):
    """After one byte, returns ``wait`` again for every result and cause."""

    def __init__(self, wait):
        super().__init__()
        self.again = wait

    def handle(self):
        return Exactly(1), self.begin

    def begin(self, _):
        return self.again, self.round

    def round(self, _):
        return self.again, self.round

    def interrupted(self, cause):
        return self.again, self.round


class Insisting(Stubborn):
    """The same as a coroutine."""

    async def handle(self):
        await Exactly(1)
        while True:
            try:
                await self.again
            except Cause:  # noqa: PERF203  # the mistake under test
                pass


@pytest.mark.parametrize("kind", [Stubborn, Insisting])
@pytest.mark.parametrize("wait", [Exactly(5), Exactly(0), Exactly(9, limit=8), ToEnd(), Flushed()], ids=repr)
def test_a_handler_that_loops_without_taking_input_is_stopped(kind, wait):
    machine = StreamMachine(kind(wait))
    with pytest.raises(RuntimeError, match=f"{kind.__name__} goes round in .* without taking input") as caught:
        converse(machine, [b"ab"])
    assert repr(wait) in str(caught.value)
    assert machine.handler.log == ["setup", "finish"]
    assert still(machine)


@spelling
def test_a_handler_may_take_a_thousand_steps_without_input(spelling):
    handler = spelling(*[Exactly(0)] * 1000, Exactly(1))
    assert converse(StreamMachine(handler), [b"x"]) == b""
    assert handler.seen == [b""] * 1000 + [b"x"]


# Between messages, or in the middle of one


@pytest.mark.parametrize("kind", [Frames, Generated, Awaitable, OneState])
def test_an_end_of_stream_after_a_length_is_not_clean_in_any_spelling(kind):
    machine = StreamMachine(kind())
    machine.feed(b"\x02ab\x05")
    machine.end()
    assert (machine.read(), type(machine.reason)) == (b"ab", EndOfStream)
    machine = StreamMachine(kind())
    machine.feed(b"\x02ab")
    machine.end()
    assert (machine.read(), machine.finished, machine.reason) == (b"ab", True, None)


@pytest.mark.parametrize("state", [
    lambda self: lambda data: (self.send(data), self.handle())[1], lambda self: partial(Anonymous.got, self)
], ids=["lambda", "partial"])  # fmt: skip
def test_the_end_of_the_stream_is_clean_at_a_state_without_a_name(state):
    kind = type("Kind", (Anonymous,), {"state": state})
    machine = StreamMachine(kind())
    machine.feed(b"a\nb\n")
    machine.end()
    assert (machine.read(), machine.finished, machine.reason) == (b"a\nb\n", True, None)


class Anonymous(StreamHandler):
    def handle(self):
        return Until(b"\n"), self.state()

    def got(self, data):
        self.send(data)
        return self.handle()


class Announced(StreamHandler):
    """A length, and so many bytes."""

    async def handle(self) -> None:
        length = await Until(b":", limit=7)
        await Exactly(int(length[:-1]))


class Nested(Announced):
    """The same, one call further down."""

    async def handle(self) -> None:
        await self.inner()

    async def inner(self) -> None:
        await Announced.handle(self)


@pytest.mark.parametrize("kind", [Announced, Nested])
def test_an_end_of_stream_between_a_length_and_its_bytes_is_a_cause(kind: type[StreamHandler]) -> None:
    machine = StreamMachine(kind())
    machine.feed(b"5:")
    machine.end()
    assert isinstance(machine.reason, EndOfStream)


class Condition(StreamHandler):
    """Awaits in the condition of a ``while``, of which the compiler makes two copies."""

    async def handle(self):
        while (line := await Until(b"\n")) != b"bye\n":
            self.send(line)


class NestedCondition(Condition):
    async def handle(self):
        await super().handle()


class TwoInALine(StreamHandler):
    async def handle(self):
        while True:
            self.send(await Until(b"\n") + await Until(b"\n"))


@pytest.mark.parametrize("kind", [Condition, NestedCondition])
def test_the_end_of_the_stream_is_clean_in_the_condition_of_a_loop(kind):
    machine = StreamMachine(kind())
    machine.feed(b"a\n")
    machine.end()
    assert (machine.read(), machine.finished, machine.reason) == (b"a\n", True, None)


@pytest.mark.parametrize(("fed", "expected"), [(b"a\nb\n", type(None)), (b"a\nb\nc\n", EndOfStream)])
def test_the_end_of_the_stream_is_not_clean_at_the_second_wait_of_a_line(fed, expected):
    machine = StreamMachine(TwoInALine())
    machine.feed(fed)
    machine.end()
    assert (machine.read(), type(machine.reason)) == (b"a\nb\n", expected)


@pytest.mark.parametrize("again", [copy.copy, lambda cause: pickle.loads(pickle.dumps(cause))], ids=["copy", "pickle"])
@pytest.mark.parametrize("cause", CAUSES, ids=repr)
def test_a_copy_of_a_cause_says_the_same(cause, again):
    copied = again(cause)
    assert type(copied) is type(cause)
    assert (str(copied), repr(vars(copied))) == (str(cause), repr(vars(cause)))
