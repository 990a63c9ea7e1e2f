"""`Handler.opened`: after a login or a greeting, messages begin at the next wait."""

import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import Delay, EndOfStream, Exactly, Flushed, StreamHandler, StreamMachine, TimedOut, Until
from handlers.filter import Filter, chain
from tests.support.strategies import Driver, pieces


class Login(StreamHandler):
    """A mix-in: one line, then the handler behind it."""

    async def handle(self):
        self.send(b"name? ")
        await Until(b"\n")
        self.opened()
        return super().handle()


class States(StreamHandler):
    """Lines of two parts, as states."""

    def handle(self):
        return Until(b":"), self.key

    def key(self, key):
        self.name = key
        return Until(b"\n"), self.value

    def value(self, value):
        self.send(self.name + value)
        return Until(b":"), self.key


class Conversation(StreamHandler):
    """The same as a coroutine."""

    async def handle(self):
        while True:
            name = await Until(b":")
            self.send(name + await Until(b"\n"))


class Hello(States):
    """The same, behind a greeting of its own."""

    def handle(self):
        return Until(b"\n"), self.hello

    def hello(self, _):
        self.opened()
        return super().handle()


class HelloConversation(StreamHandler):
    """The same as a coroutine."""

    async def handle(self):
        await Until(b"\n")
        self.opened()
        while True:
            name = await Until(b":")
            self.send(name + await Until(b"\n"))


def behind(kind):
    return type(f"Login{kind.__name__}", (Login, kind), {})


kinds = pytest.mark.parametrize("kind", [behind(States), behind(Conversation), Hello, HelloConversation])
filters = pytest.mark.parametrize("filtered", [False, True])


def channel_of(handler, filtered):
    machine = StreamMachine(handler, Driver())
    return chain(machine, [Filter]) if filtered else machine


def converse(channel, cuts):
    """Feed the pieces, and the end; the output."""
    said = b""
    channel.advance()
    for piece in cuts:
        channel.feed(piece)
        said += channel.read()
    channel.end()
    while piece := channel.read():
        said += piece
    return said


@pytest.mark.slow
@kinds
@filters
@settings(max_examples=40)  # there are 12 places for the end
@given(data=st.data())
def test_a_clean_end_between_messages_finishes_and_any_other_is_a_cause(kind, filtered, data):
    stream = b"ada\na:1\nb:2\n"
    cut = data.draw(st.integers(0, len(stream)))
    channel = channel_of(kind(), filtered)
    converse(channel, data.draw(pieces(st.just(stream[:cut]))))
    assert channel.finished
    if cut in (0, 4, 8, 12):  # nothing has come, or behind the opening there is no message or a whole one
        assert channel.reason is None
    else:
        assert type(channel.reason) is EndOfStream
        assert channel.reason.partial == stream[:cut].rpartition(b"\n")[2].rpartition(b":")[2]


def test_without_it_an_end_behind_the_opening_is_a_cause():
    class Silent(Hello):
        def opened(self):
            """Say nothing."""

    machine = StreamMachine(Silent())
    converse(machine, [b"ada\na:1\n"])
    assert type(machine.reason) is EndOfStream


@pytest.mark.parametrize("wait", [Flushed(), Delay(1)], ids=repr)
def test_the_next_wait_need_not_be_one_for_input(wait):
    """Whoever says it too early has said where its messages begin: nowhere that the stream can end."""

    class Early(Conversation):
        async def handle(self):
            await Until(b"\n")
            self.opened()
            await wait
            await super().handle()

    machine = StreamMachine(Early())
    machine.feed(b"ada\n")
    machine.advance()
    if isinstance(wait, Delay):
        machine.expire()
    machine.end()
    assert type(machine.reason) is EndOfStream


def test_it_is_the_next_wait_even_if_that_is_interrupted_or_begins_behind_much_output():
    class Talker(StreamHandler):
        high_water = 4

        async def handle(self):
            await Until(b"\n")
            self.opened()
            self.send(b"much output")
            try:
                await Exactly(1)
            except TimedOut:
                await Exactly(2)

    for expires, reason in ((False, type(None)), (True, EndOfStream)):
        machine = StreamMachine(Talker())
        machine.feed(b"ada\n")
        if expires:
            machine.expire()
        machine.end()
        machine.read()
        assert machine.finished
        assert type(machine.reason) is reason


def test_it_may_be_said_again_and_the_last_one_counts():
    class Stages(StreamHandler):
        async def handle(self):
            for size in (1, 2, 3):
                self.opened()
                await Exactly(size)
            await Exactly(4)

    for fed, reason in ((0, type(None)), (1, type(None)), (3, type(None)), (6, EndOfStream), (2, EndOfStream)):
        machine = StreamMachine(Stages())
        machine.feed(b"x" * fed)
        machine.end()
        assert type(machine.reason) is reason


def test_the_machine_says_that_it_is_between_messages_there():
    """What a server asks that is to stop (`is_between_messages` of the row)."""
    machine = StreamMachine(Hello())
    seen = []
    machine.advance()
    for piece in (b"", b"ada\n", b"a:", b"1\n"):
        machine.feed(piece)
        seen.append(machine.is_at_opening())
    assert seen == [True, True, False, True]


def test_said_as_the_request_ends_or_of_a_request_without_a_machine_it_does_no_harm():
    class Last(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            self.opened()

        def finish(self):
            self.opened()

    machine = StreamMachine(Last())
    machine.feed(b"\n")
    assert (machine.finished, machine.reason, machine.is_at_opening()) == (True, None, False)
    with pytest.raises(RuntimeError, match="no request yet"):
        Last().opened()


@given(cuts=st.data(), turns=st.integers(1, 3))
def test_it_holds_when_others_have_their_turn_meanwhile(cuts, turns):
    driver = Driver()
    driver.turns = turns
    machine = StreamMachine(behind(Conversation)(), driver)
    machine.advance()
    for piece in cuts.draw(pieces(st.just(b"ada\na:1\n"))):
        machine.feed(piece)
    while machine.blocked:
        machine.advance()
    machine.end()
    while machine.blocked:
        machine.advance()
    assert (machine.finished, machine.reason) == (True, None)


def test_a_state_may_be_a_partial():
    class Partial(StreamHandler):
        def handle(self):
            return Exactly(1), functools.partial(self.next, 1)

        def next(self, number, _):
            if number == 1:
                self.opened()
            return Exactly(2), functools.partial(self.next, number + 1)

    for fed, reason in ((1, type(None)), (3, type(None)), (4, EndOfStream)):
        machine = StreamMachine(Partial())
        machine.feed(b"x" * fed)
        machine.end()
        assert type(machine.reason) is reason
