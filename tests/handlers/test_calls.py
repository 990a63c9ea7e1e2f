"""Calls: requests inside a request, which wait and end on their own and answer in any order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Cancelled,
    DatagramHandler,
    DatagramMachine,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    Packet,
    StreamHandler,
    StreamMachine,
    ToEnd,
    Until,
    World,
)
from tests.handlers.rows import KINDS, Identity, Row, Xor, decoded, encoded
from tests.support.strategies import Driver, Logged, cuts


class Upper(DatagramHandler):
    """Answers its packet in upper case, once somebody lets it."""

    async def handle(self):
        packet = await Packet()
        await Delay(1)
        self.send(packet.upper())


class Caller(Logged):
    """Makes a call for each line; says ``[busy]`` for an empty one."""

    max_calls = 3

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.log.append(data)
        if data == b"\n":
            self.send(b"[busy]")
        else:
            self.call(Upper(), data, self.send)
        return self.handle()


class Calling(Row):
    """A row that runs the calls of its handler; `let` lets one of those that wait go on."""

    def __init__(self, *arguments, **facts):
        super().__init__(*arguments, **facts)
        self.open = []

    def call(self, handler, packet, answer):
        call = DatagramMachine(handler)
        assert call.feed(packet)
        self.open.append((call, answer))

    def let(self, place):
        call, answer = self.open.pop(place)
        call.expire()
        answer(call.read())
        assert call.finished
        self.channel.call_ended()
        self.drain()


def test_calls_answer_in_any_order():
    row = Calling(Caller()).start()
    row.feed([b"one\ntwo\n", b"three\n"], end=False)
    assert len(row.open) == 3
    for place in 1, 1, 0:
        row.let(place)
    assert row.written == b"TWO\nTHREE\nONE\n"


@pytest.mark.parametrize("front", [[], [Identity], [Xor, Identity]], ids=str)
def test_at_so_many_open_calls_no_input_is_taken_until_one_has_ended(front):
    row = Calling(Caller(), front).start()
    row.act(row.channel.feed, encoded(front, b"a\nb\nc\nd\ne\n"))
    assert len(row.open) == 3
    assert not row.channel.wants_input
    assert row.channel.held_in == 4
    row.let(0)
    assert (len(row.open), row.channel.wants_input, row.channel.held_in) == (3, False, 2)
    row.let(0)
    assert (len(row.open), row.channel.wants_input, row.channel.held_in) == (3, False, 0)
    row.let(0)
    assert (len(row.open), row.channel.wants_input) == (2, True)
    assert decoded(front, bytes(row.written)) == b"A\nB\nC\n"


def test_input_that_comes_while_all_calls_are_open_is_held():
    row = Calling(Caller()).start()
    row.act(row.channel.feed, b"a\nb\nc\n")
    row.act(row.channel.feed, b"\n")
    assert row.written == b""
    row.let(2)
    assert row.written == b"C\n[busy]"


@pytest.mark.slow
@given(st.lists(st.sampled_from(KINDS), max_size=2), st.data())
def test_every_line_is_answered_once_however_it_is_cut_and_whichever_call_ends_first(stack, data):
    lines = data.draw(st.lists(st.text("abc", min_size=1, max_size=3).map(str.encode), max_size=8))
    row = Calling(Caller(), stack).start()
    pieces = data.draw(cuts(encoded(stack, b"".join(line + b"\n" for line in lines))))
    while True:
        pieces = row.feed(pieces)
        if not row.open:
            break
        assert len(row.open) <= 3
        row.let(data.draw(st.integers(0, len(row.open) - 1)))
    row.feed(pieces)
    answered = decoded(stack, bytes(row.written)).splitlines()
    assert sorted(answered) == sorted(line.upper() for line in lines)
    assert (row.channel.finished, row.reason, row.raised) == (True, None, [])


def test_other_waits_go_on_while_all_calls_are_open():
    class Resting(Caller):
        max_calls = 1

        def line(self, data):
            super().line(data)
            self.send(b"[%b]" % data[:-1])
            return Flushed(), self.flushed

        def flushed(self, _):
            self.log.append("flushed")
            return Delay(1), self.rested

        def rested(self, _):
            self.log.append("rested")
            return self.handle()

    row = Calling(Resting(), [], [0, 1]).start()
    row.act(row.channel.feed, b"a\nb\n")
    assert row.handler.log == ["setup", b"a\n"]
    row.drain()
    assert row.handler.log == ["setup", b"a\n", "flushed"]
    row.expire()
    assert row.handler.log == ["setup", b"a\n", "flushed", "rested"]
    assert not row.channel.wants_input
    row.let(0)
    assert row.handler.log[4:] == [b"b\n", "flushed"]


# The end of the stream


@pytest.mark.parametrize("front", [[], [Xor]], ids=str)
def test_open_calls_still_answer_after_the_half_close_of_the_peer(front):
    row = Calling(Caller(), front).start()
    row.feed([encoded(front, b"a\nb\n")])
    assert (row.channel.ended, row.channel.finished, row.channel.wants_input) == (True, False, False)
    row.let(1)
    assert not row.channel.finished
    row.let(0)
    assert decoded(front, bytes(row.written)) == b"B\nA\n"
    assert (row.channel.finished, row.reason) == (True, None)
    assert row.handler.log == ["setup", b"a\n", b"b\n", "finish"]


def test_the_cause_for_an_unfinished_line_comes_when_the_calls_have_ended():
    row = Calling(Caller()).start()
    row.feed([b"a\nun"])
    assert row.handler.log == ["setup", b"a\n"]
    row.let(0)
    assert row.handler.log == ["setup", b"a\n", (EndOfStream, b"un"), "finish"]


def test_a_wait_for_the_end_waits_for_the_calls_too():
    class Whole(Caller):
        def line(self, data):
            super().line(data)
            return ToEnd(), self.log.append

    row = Calling(Whole()).start()
    row.feed([b"a\nrest"])
    assert row.handler.log == ["setup", b"a\n"]
    row.let(0)
    assert row.handler.log == ["setup", b"a\n", b"rest", "finish"]


def test_a_call_that_is_made_after_the_end_keeps_the_end_back_again():
    class Last(Caller):
        def interrupted(self, cause):
            super().interrupted(cause)
            if cause.partial:
                self.call(Upper(), b"last\n", self.send)
                return Exactly(1), self.line
            return None

    row = Calling(Last()).start()
    row.feed([b"a"])
    assert row.handler.log == ["setup", (EndOfStream, b"a")]
    row.let(0)
    assert row.written == b"LAST\n"
    assert row.handler.log[2:] == [(EndOfStream, b""), "finish"]


def test_the_end_of_the_stream_comes_after_input_that_had_to_wait_for_the_calls():
    row = Calling(Caller()).start()
    row.act(row.channel.feed, b"a\nb\nc\nd\n")
    row.act(row.channel.end)
    for _ in range(4):
        assert not row.channel.finished
        row.let(0)
    assert row.written == b"A\nB\nC\nD\n"
    assert (row.channel.finished, row.reason) == (True, None)


# What the driver and the handler see


def test_the_driver_gets_the_call_and_is_touched_when_the_call_ends():
    world = Driver()
    machine = StreamMachine(Caller(), world)
    machine.feed(b"one\n")
    [(handler, packet, answer)] = world.calls
    assert (type(handler), packet, answer) == (Upper, b"one\n", machine.handler.send)
    assert machine.calls == 1
    machine.call_ended()
    assert (machine.calls, world.touches) == (0, 0)  # it has waited for nothing
    machine.feed(b"a\nb\nc\nd\n")
    touches = world.touches
    machine.call_ended()
    assert world.touches > touches
    assert len(world.calls) == 4  # no state runs before the driver advances it
    machine.advance()
    assert len(world.calls) == 5


def test_a_call_that_ends_at_once_is_counted_rightly():
    class Prompt(World):
        def call(self, handler, packet, answer):
            answer(packet)
            machine.call_ended()

    machine = StreamMachine(Caller(), Prompt())
    machine.feed(b"a\nb\nc\nd\ne\n")
    machine.end()
    assert machine.read() == b"a\nb\nc\nd\ne\n"
    assert (machine.calls, machine.finished, machine.reason) == (0, True, None)


def test_a_call_that_can_not_be_started_is_no_call():
    class Short(World):
        def call(self, handler, packet, answer):
            raise OSError("no more")

    machine = StreamMachine(Caller(), Short())
    with pytest.raises(OSError, match="no more"):
        machine.feed(b"a\n")
    assert machine.calls == 0


def test_on_a_request_that_has_ended_a_call_does_nothing():
    machine = StreamMachine(Caller(), world := World())
    machine.feed(b"a\n")
    machine.end()
    machine.discard(Cancelled())
    machine.handler.call(Upper(), b"x", print)
    assert len(world.calls) == 1
    machine.call_ended()
    assert (machine.blocked, machine.finished) == (False, True)


def test_a_request_over_packets_makes_calls_too():
    class Packets(DatagramHandler):
        max_calls = 1

        def handle(self):
            return Packet(), self.took

        def took(self, packet):
            self.call(Upper(), packet, self.send)
            return self.handle()

    machine = DatagramMachine(Packets(), world := World())
    assert machine.feed(b"a")
    assert machine.feed(b"b")
    assert len(world.calls) == 1
    machine.call_ended()
    machine.advance()
    assert len(world.calls) == 2


@pytest.mark.parametrize(
    ("handler", "error", "words"),
    [
        (Upper, TypeError, "handler is an instance of a DatagramHandler, not <class"),
        (StreamHandler(), TypeError, "handler is an instance of a DatagramHandler, not <"),
        (DatagramMachine(Upper()).handler, ValueError, "this Upper has a request already; make a new one"),
    ],
)
def test_what_can_not_be_called_is_refused(handler, error, words):
    machine = StreamMachine(Caller(), World())
    with pytest.raises(error, match=words):
        machine.handler.call(handler, b"", print)
    assert machine.calls == 0


def test_a_peer_has_one_exchange_unless_the_handler_tells_them_apart():
    class Numbered(DatagramHandler):
        @staticmethod
        def key(packet):
            return packet[:4]

    assert DatagramHandler.key(b"abcdef") is None
    assert Numbered.key(b"abcdef") == b"abcd"
