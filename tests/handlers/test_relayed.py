"""`Relayed` in the machine: what is held goes first, one piece at a time, and the other side may end at any time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Delay,
    Exactly,
    Failed,
    Relayed,
    StreamHandler,
    StreamMachine,
    TimedOut,
)
from handlers.channel import is_between_messages

FOREVER = float("inf")


class Target(StreamHandler):
    """Sends nothing of its own."""

    async def handle(self):
        await Delay(FOREVER)


class Source(StreamHandler):
    """Relays to its target after a head."""

    head = 4
    cause = None

    def __init__(self, target):
        self.target = target

    async def handle(self):
        await Exactly(self.head)
        try:
            await Relayed(self.target)
        except (Failed, TimedOut) as cause:
            self.cause = cause
            self.send(b"held: " + self.take_held())
        else:
            self.target.send(b"END")
            self.target.send_eof()


@pytest.fixture
def target():
    machine = StreamMachine(Target())
    machine.advance()
    return machine


@pytest.fixture
def source(target):
    machine = StreamMachine(Source(target.handler))
    machine.advance()
    return machine


def test_what_is_held_goes_first_and_nothing_is_read_before_it_has_gone(source, target):
    source.feed(b"headone")
    assert not source.wants_input
    assert source.held_in == 0
    assert target.read(2) == b"on"
    source.advance()
    assert not source.wants_input
    assert target.read() == b"e"
    source.advance()
    assert source.wants_input


def test_input_that_comes_all_the_same_is_held_until_the_output_has_drained(source, target):
    source.feed(b"headone")
    source.feed(b"two")
    source.end()
    assert (source.held_in, target.held_out) == (3, 3)
    assert target.read() == b"one"
    source.advance()
    assert (target.read(), target.output) == (b"two", "open")
    source.advance()
    assert (target.read(), target.output, source.finished, source.reason) == (b"END", "ending", True, None)


@given(st.binary(min_size=4, max_size=200), st.lists(st.integers(1, 50)), st.lists(st.integers(1, 50)))
def test_however_the_stream_is_cut_the_target_gets_all_of_it_in_order(data, cuts, takes):
    target = StreamMachine(Target())
    source = StreamMachine(Source(target.handler))
    target.advance()
    source.advance()
    got, place = b"", 0
    for cut in [*cuts, len(data)]:
        source.feed(data[place : place + cut])
        place += cut
        if takes:
            got += target.read(takes.pop())
            source.advance()
    source.end()
    while not source.finished:
        got += target.read()
        source.advance()
    assert got + target.read() == data[4:] + b"END"


@pytest.mark.parametrize("how", ["ends", "ends its output"])
@pytest.mark.parametrize("is_held_back", [False, True])
def test_a_target_that_takes_no_more_fails_the_wait(source, target, how, is_held_back):
    source.feed(b"head")
    if is_held_back:
        source.feed(b"one")
    if how == "ends":
        target.close()
    else:
        target.handler.send_eof()
    source.advance() if is_held_back else source.feed(b"one")
    assert target.read() == b"one" * is_held_back
    source.advance()
    assert isinstance(source.handler.cause, Failed)
    assert isinstance(source.handler.cause.error, BrokenPipeError)
    assert source.read() == b"held: " + b"one" * (not is_held_back)


def test_a_wait_that_times_out_follows_the_target_no_more(source, target):
    source.feed(b"headone")
    source.expire()
    assert isinstance(source.handler.cause, TimedOut)
    assert source.read() == b"held: "
    assert not target.followers


def test_a_relay_to_itself_is_an_echo():
    class Echo(StreamHandler):
        async def handle(self):
            await Relayed(self)

    machine = StreamMachine(Echo())
    machine.advance()
    for word in b"one", b"two":
        machine.feed(word)
        assert machine.read() == word
    machine.end()
    assert (machine.finished, machine.reason) == (True, None)


def test_output_of_its_own_does_not_hold_a_relay_back(source, target):
    source.handler.high_water = 10
    source.feed(b"head")
    source.handler.send(b"x" * 1_000)
    source.feed(b"one")
    assert target.read() == b"one"
    source.advance()
    assert source.wants_input


def test_a_relay_is_never_between_messages():
    target = StreamMachine(Target())

    class First(StreamHandler):
        async def handle(self):
            await Relayed(target.handler)

    machine = StreamMachine(First())
    target.advance()
    machine.advance()
    assert machine.wants_input
    assert not is_between_messages(machine)


@pytest.mark.parametrize("to", [Target, None, b"target", object()])
def test_a_relay_needs_the_handler_of_a_stream(to):
    with pytest.raises(TypeError, match="Relayed: to is the handler of another stream"):
        Relayed(to)


def test_relays_are_equal_if_their_targets_are():
    one, other = Target(), Target()
    assert Relayed(one) == Relayed(one)
    assert Relayed(one) != Relayed(other)
    assert Relayed(one) != Relayed(one, timeout=3)
