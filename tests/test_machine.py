"""The machine: the steps it takes and refuses, the causes it tells, its ends, and output that loses nothing."""

import asyncio
import functools
import types
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Cancelled,
    Cause,
    Connected,
    DatagramHandler,
    DatagramMachine,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    LimitPassed,
    Packet,
    Reset,
    Some,
    StreamHandler,
    StreamMachine,
    TimedOut,
    ToEnd,
    Until,
    Wait,
    World,
)
from tests.strategies import (
    Conversing,
    Driver,
    Logged,
    Netstrings,
    Packets,
    States,
    converse,
    netstrings,
    pieces,
    spellings,
    told,
)

spelling = pytest.mark.parametrize("spelling", spellings)
in_every_spelling = pytest.mark.parametrize("kind", netstrings)
ending = pytest.mark.parametrize("end", [StreamMachine.close, lambda machine: machine.abandon(Cancelled())])


def still(machine):
    """Whatever is done to a request that has ended, its handler hears no more of it."""
    log, reason = list(machine.handler.log), machine.reason
    machine.feed(b"a")
    for call in machine.advance, machine.end, machine.expire, machine.close:
        call()
    for call in machine.interrupt, machine.abandon, machine.resume:
        call(Cancelled())
    machine.handler.send(b"too late")
    assert machine.read() == b""
    assert (machine.wait, machine.wants_input, machine.held_in, machine.held_out) == (None, False, 0, 0)
    assert machine.patience == machine.handler.timeout  # what its peer has to take the rest
    return machine.finished and (machine.handler.log, machine.reason) == (log, reason)


# Steps


def test_a_machine_does_nothing_until_it_is_driven():
    machine = StreamMachine(handler := Logged())
    assert (machine.finished, machine.reason, machine.fresh, machine.blocked) == (False, None, False, False)
    assert (machine.held_in, machine.held_out, machine.wants_input, machine.state_name) == (0, 0, False, "handle")
    assert machine.read() == b""
    assert handler.log == []
    machine = DatagramMachine(Packets(Packet()))
    assert (machine.read(), machine.held_in, machine.held_out, machine.wants_input) == (None, 0, 0, False)


def test_a_state_is_anything_that_can_be_called():
    class Calling(Logged):
        def handle(self):
            return Exactly(1), lambda one: (Exactly(1), self.log.append)

    machine = StreamMachine(Calling())
    machine.feed(b"ab")
    assert machine.handler.log == ["setup", b"b", "finish"]
    assert machine.reason is None


def test_the_state_has_a_name():
    machine = StreamMachine(Netstrings())
    seen = []
    for piece in b"3", b":", b"abc,":
        machine.feed(piece)
        seen.append((machine.state_name, machine.wait))
    first, second = ("length", Until(b":", limit=7)), ("payload", Exactly(4, limit=99))
    assert seen == [first, second, first]
    machine.end()
    assert machine.state_name == "finished"

    machine = StreamMachine(Conversing())
    machine.advance()
    assert machine.state_name == f"handle:{Conversing.handle.__code__.co_firstlineno + 2}"


class Curried(StreamHandler):
    def handle(self):
        return Until(b";"), functools.partial(functools.partial(self.word, 1), 2)

    def word(self, one, two, data):
        return Until(b";"), Answer()


class Answer:
    def __call__(self, data):
        return None


def test_a_state_that_is_no_method_has_a_name_without_an_address():
    machine = StreamMachine(Curried())
    machine.advance()
    assert machine.state_name == "word"
    machine.feed(b"a;")
    assert machine.state_name == "Answer"


@in_every_spelling
def test_the_driver_is_told_of_each_wait_that_begins_and_of_the_end(kind):
    machine = StreamMachine(kind())
    machine.advance()
    for piece, fresh in (b"3", False), (b":", True), (b"ab", False), (b"c,", True):
        machine.fresh = False
        machine.feed(piece)
        assert machine.fresh == fresh
    machine.fresh = False
    machine.end()
    assert machine.fresh


@spelling
def test_what_is_done_outside_comes_back_as_the_result(spelling):
    handler = spelling(Forked(len, b"abc"), Some())
    machine = StreamMachine(handler)
    machine.feed(b"early")
    assert machine.wait.outside
    assert not machine.wants_input
    machine.resume(3)
    assert handler.seen == [3, b"early"]


def test_what_is_fed_from_within_a_state_is_taken_after_it():
    class Feeding(Logged):
        def handle(self):
            return Exactly(1), self.more

        def more(self, data):
            if data == b"a":
                self.server.feed(b"bc")
            self.log.append((data, self.server.held_in))
            return self.handle()

    machine = StreamMachine(Feeding(), world := World())
    world.server = machine
    machine.feed(b"a")
    assert machine.handler.log == ["setup", (b"a", 2), (b"b", 1), (b"c", 0)]


# Nonsense


def somewhere(_):
    """A state."""


@types.coroutine
def bare(value):
    yield value


class Odd(Logged):
    """Answers ``odd``, which is no step, in its first state or in a later one, or awaits it."""

    def __init__(self, where, odd):
        super().__init__()
        self.odd = odd
        if where != "handle":
            self.handle = getattr(self, where)

    def handle(self):
        return self.odd

    def second(self):
        return Exactly(1), self.later

    def later(self, _):
        return self.odd

    async def awaiting(self):
        await Exactly(1)
        await self.odd

    async def returning(self):
        await Exactly(1)
        return self.odd

    async def helping(self):
        await self.awaiting()


def refused(where, odd):
    """What the machine says of it."""
    machine = StreamMachine(Odd(where, odd))
    with pytest.raises(TypeError) as caught:
        machine.feed(b"a")
    assert machine.reason is caught.value
    assert machine.handler.log == ["setup", "finish"]
    assert still(machine)
    return str(caught.value)


@pytest.mark.parametrize(("where", "name"), [("handle", "handle"), ("second", "later"), ("returning", "returning")])
@pytest.mark.parametrize(
    "odd",
    [
        5, True, b"bytes", "text", somewhere, Until(b"x"), (), (Exactly(1),), (Exactly(1), somewhere, None),
        (5, somewhere), (Exactly, somewhere), [Exactly(1), somewhere], (Exactly(1), None), (Exactly(1), b"bytes"),
        (Exactly(1), Exactly(1)),
    ],
    ids=repr,
)  # fmt: skip
def test_a_step_that_is_none_is_refused_by_name_with_the_remedy(where, name, odd):
    assert (message := refused(where, odd)).startswith(f"Odd.{name}")
    assert repr(odd) in message
    assert "a state returns (wait, next_state), a coroutine or None" in message


@pytest.mark.parametrize("value", [5, None, (Exactly(1), somewhere), Wait()], ids=repr)
@pytest.mark.parametrize("where", ["awaiting", "helping"])
def test_what_is_no_wait_can_not_be_awaited(where, value):
    message = refused(where, bare(value))
    assert message.startswith(f"Odd.{where}:")
    assert "a coroutine awaits waits: StreamWait, Flushed, Delay" in message


@pytest.mark.parametrize("seconds", [0, 1])
def test_asyncio_can_not_be_awaited(seconds):
    async def under_asyncio():
        return refused("awaiting", asyncio.sleep(seconds))

    message = asyncio.run(under_asyncio())
    assert message.startswith("Odd.awaiting:")
    assert "a coroutine awaits waits: StreamWait, Flushed" in message


@pytest.mark.parametrize(("where", "odd"), [("second", (Packet(), somewhere)), ("awaiting", Packet())])
def test_a_stream_has_no_packets(where, odd):
    message = refused(where, odd)
    assert "waits for Packet(), which a StreamMachine has not: StreamWait, Flushed" in message


def test_a_handler_that_does_not_say_how_it_begins_is_told_so():
    with pytest.raises(NotImplementedError, match="Logged must define handle"):
        StreamMachine(Logged()).advance()


# How it ends when a handler raises


class Failing(Logged):
    """Raises ``error`` in the places that it is given."""

    def __init__(self, error, *places):
        super().__init__()
        self.error, self.places = error, places

    def reach(self, place):
        if place in self.places:
            raise self.error

    def setup(self):
        super().setup()
        self.reach("setup")

    def handle(self):
        self.reach("handle")
        return Exactly(1), self.state

    def state(self, _):
        self.reach("state")
        return self.coroutine()

    async def coroutine(self):
        await Exactly(1)
        self.reach("coroutine")
        await Exactly(1)

    def interrupted(self, cause):
        super().interrupted(cause)
        self.reach("interrupted")

    def finish(self):
        super().finish()
        self.reach("finish")


places = ["setup", "handle", "state", "coroutine", "interrupted", "finish"]


@pytest.mark.parametrize("error", [ZeroDivisionError("boom"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("place", places)
def test_what_a_handler_raises_is_raised_and_ends_the_request_once(place, error):
    driver = Driver()
    machine = StreamMachine(Failing(error, place), driver)
    with pytest.raises(type(error)) as caught:
        converse(machine, [b"a", b"b"])
    assert machine.reason is caught.value is error
    assert driver.touches > 0
    assert machine.handler.log.count("finish") == (place != "setup")
    assert still(machine)


@pytest.mark.parametrize("place", places[1:-1])
def test_when_finish_raises_too_nothing_is_swallowed(place):
    class Twice(Failing):
        def finish(self):
            Logged.finish(self)
            raise OSError("and then this")

    driver = Driver()
    machine = StreamMachine(Twice(ZeroDivisionError("boom"), place), driver)
    with pytest.raises(OSError, match="and then this") as caught:
        converse(machine, [b"a", b"b"])
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert machine.reason is caught.value
    assert driver.touches > 0
    assert still(machine)


@ending
def test_when_finish_raises_at_an_end_from_outside_the_driver_is_told(end):
    driver = Driver()
    machine = StreamMachine(Failing(ZeroDivisionError("boom"), "finish"), driver)
    machine.advance()
    with pytest.raises(ZeroDivisionError) as caught:
        end(machine)
    assert machine.reason is caught.value
    assert driver.touches > 0
    assert still(machine)


@pytest.mark.parametrize("place", places[:-1])
def test_stop_iteration_is_an_error_like_any_other(place):
    """Let through as it is, it would silently end a generator that feeds the machine."""
    machine = StreamMachine(Failing(StopIteration(3), place))
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        converse(machine, [b"a", b"b"])
    assert isinstance(caught.value.__cause__, StopIteration)
    assert machine.reason is caught.value
    assert still(machine)


def test_stop_iteration_is_reported_with_the_place():
    machine = StreamMachine(Failing(StopIteration(), "state"))
    with pytest.raises(RuntimeError, match=r"^Failing\.state raised StopIteration"):
        machine.feed(b"a")


# Causes


@in_every_spelling
@given(texts=st.lists(st.binary(max_size=12), max_size=4), data=st.data())
def test_the_end_is_clean_between_messages_and_a_cause_anywhere_else(kind, texts, data):
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


def test_the_end_is_not_clean_where_another_coroutine_waits_as_the_first_did():
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
def test_a_cause_is_told_and_the_request_may_go_on(spelling, cause):
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
def test_a_cause_that_nobody_answers_is_the_reason(kind, interrupt, cause):
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


def test_a_time_that_ran_out_names_its_wait():
    machine = StreamMachine(Netstrings())
    machine.advance()
    machine.expire()
    assert isinstance(machine.reason, TimedOut)
    assert machine.reason.wait == Until(b":", limit=7)


class Answering(Logged):
    """Answers every cause with a wait that the bytes held may satisfy."""

    def handle(self):
        return Exactly(2), self.more

    def more(self, data):
        self.log.append(data)
        return Exactly(2), self.more

    def interrupted(self, cause):
        super().interrupted(cause)
        return Exactly(1), self.more


class Catching(Answering):
    """The same as a coroutine that catches them itself."""

    async def handle(self):
        try:
            await Exactly(2)
        except Cause as cause:
            self.log.append(told(cause))
            self.more(await Exactly(1))


@pytest.mark.parametrize("kind", [Answering, Catching])
@pytest.mark.parametrize("cause", [Cancelled(), Reset(OSError("gone"))], ids=repr)
def test_a_request_that_must_end_is_told_why_and_takes_no_further_step(kind, cause):
    machine = StreamMachine(kind())
    machine.feed(b"a")
    machine.abandon(cause)
    assert machine.handler.log == ["setup", told(cause), "finish"]
    assert machine.reason is cause
    assert still(machine)


@pytest.mark.parametrize("tell", [StreamMachine.interrupt, StreamMachine.abandon])
def test_a_request_that_ends_as_it_begins_is_not_told_afterwards(tell):
    class Brief(Answering):
        def handle(self):
            self.send(b"that is all")

    machine = StreamMachine(Brief())
    tell(machine, Cancelled())
    assert machine.handler.log == ["setup", "finish"]
    assert machine.read() == b"that is all"
    assert still(machine)


def test_a_cause_that_a_state_raises_is_answered_like_one_that_comes():
    class Raising(Answering):
        def more(self, data):
            if len(data) == 2:
                raise EndOfStream(data)
            return super().more(data)

    machine = StreamMachine(Raising())
    machine.feed(b"abcd")
    assert machine.handler.log == ["setup", (EndOfStream, b"ab"), b"c"]


def test_the_answer_to_a_cause_may_be_a_coroutine():
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


def test_a_cause_that_is_raised_instead_of_an_answer_is_raised():
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
def test_an_answer_that_is_no_step_is_refused_by_name(odd):
    class Wrong(Answering):
        def interrupted(self, cause):
            return odd

    machine = StreamMachine(Wrong())
    with pytest.raises(TypeError, match=r"^Wrong\.interrupted returned .*; a state returns \(wait, next_state\)"):
        converse(machine, [b"a"])
    assert machine.handler.log == ["setup", "finish"]
    assert still(machine)


class Stubborn(Logged):
    """After one byte, takes ``wait`` again whatever happens."""

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
            except Cause:  # noqa: PERF203  # that is the mistake
                pass


@pytest.mark.parametrize("kind", [Stubborn, Insisting])
@pytest.mark.parametrize("wait", [Exactly(5), Exactly(0), Exactly(9, limit=8), ToEnd(), Flushed()], ids=repr)
def test_a_handler_that_goes_round_without_taking_input_is_stopped(kind, wait):
    machine = StreamMachine(kind(wait))
    with pytest.raises(RuntimeError, match=f"{kind.__name__} goes round in .* without taking input") as caught:
        converse(machine, [b"ab"])
    assert repr(wait) in str(caught.value)
    assert machine.handler.log == ["setup", "finish"]
    assert still(machine)


@spelling
def test_a_handler_may_take_many_steps_without_input(spelling):
    handler = spelling(*[Exactly(0)] * 900)
    assert converse(StreamMachine(handler), []) == b""
    assert handler.seen == [b""] * 900


# Output


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(0, 5), max_size=40))
def test_output_leaves_whole_and_in_order_however_it_is_read(sent, counts):
    machine = StreamMachine(States(Some()))
    machine.advance()
    for data in sent:
        machine.handler.send(data)
    assert machine.held_out == sum(map(len, sent))
    read = b"".join(machine.read(count) for count in counts)
    assert read + machine.read() == b"".join(sent)
    assert machine.held_out == 0


class Echo(StreamHandler):
    """One byte in, one byte out, with water marks that a few bytes reach."""

    high_water = 8
    low_water = 3

    def handle(self):
        return Exactly(1), self.echo

    def echo(self, data):
        self.send(data)
        return self.handle()


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=6), st.integers(0, 6))))
def test_past_high_water_it_takes_no_input_and_at_low_water_it_goes_on(turns):
    """Bytes are fed, numbers are how much the peer reads; a plain queue says what must come of it."""
    machine = StreamMachine(Echo())
    fed = read = b""
    held_in = held_out = 0
    full = False
    machine.advance()
    for turn in turns:
        if isinstance(turn, bytes):
            machine.feed(turn)
            fed, held_in = fed + turn, held_in + len(turn)
        else:
            read += machine.read(turn)
            held_out = max(0, held_out - turn)
        full = full and held_out > Echo.low_water
        while held_in and not full:
            held_in, held_out = held_in - 1, held_out + 1
            full = held_out > Echo.high_water
        assert (machine.held_in, machine.held_out) == (held_in, held_out)
        assert machine.blocked == full == (not machine.wants_input)
    assert read + b"".join(iter(machine.read, b"")) == fed


def test_a_handler_has_water_marks_unless_it_says_otherwise():
    assert (Logged.high_water, Logged.low_water, Logged.max_output) == (64 << 10, 16 << 10, 16 << 20)


def test_the_end_waits_behind_input_that_waits_behind_output():
    machine = StreamMachine(Echo())
    machine.feed(b"0123456789")
    machine.end()
    assert not machine.finished
    assert machine.read() + machine.read() == b"0123456789"
    assert (machine.finished, machine.reason) == (True, None)


def test_what_is_sent_is_a_copy():
    machine = StreamMachine(States(Some()))
    data = bytearray(b"abc")
    for kind in bytearray, memoryview, bytes:
        machine.handler.send(kind(data))
    data[:] = b"xyz"
    assert machine.read() == b"abcabcabc"


@pytest.mark.parametrize("kind", [lambda: StreamMachine(States(Some())), lambda: DatagramMachine(Packets(Packet()))])
@pytest.mark.parametrize("before", [b"", b"a"])
@pytest.mark.parametrize("data", [3, None, "text"], ids=repr)
def test_what_is_not_bytes_can_not_be_sent(kind, before, data):
    machine = kind()
    machine.advance()
    if before:
        machine.handler.send(before)
    with pytest.raises(TypeError):
        machine.handler.send(data)
    assert not machine.finished


def test_after_the_end_of_the_output_input_goes_on_and_output_is_dropped():
    machine = StreamMachine(Echo(), driver := Driver())
    machine.feed(b"ab")
    assert (machine.output, driver.touches) == ("open", 0)
    machine.handler.send_eof()
    assert (machine.output, driver.touches) == ("ending", 1)
    machine.feed(b"cd")
    machine.handler.send(b"dropped")
    assert (machine.finished, machine.held_in, machine.read()) == (False, 0, b"ab")
    machine.output = "ended"  # so says its driver, when the end has been sent
    machine.handler.send_eof()
    assert machine.output == "ended"


def test_a_request_ends_its_own_output_without_a_word_to_its_driver():
    class Once(Echo):
        def echo(self, data):
            self.send(data)
            self.send_eof()
            return Exactly(1), self.echo

    machine = StreamMachine(Once(), driver := Driver())
    machine.feed(b"ab")
    assert (machine.read(), machine.output, driver.touches) == (b"a", "ending", 0)


def test_output_that_nobody_will_take_is_forgotten():
    machine = StreamMachine(Echo())
    machine.feed(b"ab")
    machine.drop_output()
    assert (machine.held_out, machine.read()) == (0, b"")


# Ends


@in_every_spelling
def test_a_request_that_another_closes_ends_with_its_output_kept(kind):
    machine = StreamMachine(kind(), driver := Driver())
    machine.feed(b"1:a,3:")
    assert driver.touches == 0  # what the request itself sends, whoever feeds it sees
    machine.handler.send(b"from another row")
    assert driver.touches == 1
    machine.handler.close()
    assert driver.touches == 2
    assert isinstance(machine.reason, Cancelled)
    assert machine.handler.log == ["setup", "finish"]
    assert machine.read() == b"1:a,from another row"
    assert still(machine)


def test_a_request_closed_before_it_began_never_begins():
    machine = StreamMachine(Netstrings())
    machine.close()
    assert machine.handler.log == []
    assert still(machine)


@ending
def test_a_coroutine_cleans_up_and_what_it_and_finish_send_is_sent(end):
    class Polite(Logged):
        async def handle(self):
            try:
                await Exactly(1)
            finally:
                self.send(b"good")

        def finish(self):
            super().finish()
            self.send(b"bye")

    machine = StreamMachine(Polite())
    machine.advance()
    end(machine)
    assert machine.handler.log[-1] == "finish"
    assert machine.read() == b"goodbye"


class Closing(Failing):
    """Tries to close itself where the other raises."""

    def reach(self, place):
        if place in self.places:
            self.close()


@pytest.mark.parametrize("place", [place for place in places if place != "finish"])
def test_a_request_can_not_close_itself(place):
    machine = StreamMachine(Closing(None, place))
    with pytest.raises(RuntimeError, match="by returning None, not by close"):
        converse(machine, [b"a", b"b"])
    assert machine.handler.log.count("finish") == (place != "setup")
    assert still(machine)


@ending
def test_a_request_that_is_being_ended_can_be_closed_to_no_effect(end):
    machine = StreamMachine(Closing(None, "finish"))
    machine.advance()
    end(machine)
    assert machine.handler.log.count("finish") == 1
    assert still(machine)


# The world


def test_a_handler_asks_its_driver_for_the_world():
    server = object()
    machine = StreamMachine(Logged(), World(peer=("::1", 7, 0, 0), server=server, now=lambda: 86_400.5))
    handler = machine.handler
    assert (handler.now(), handler.peer, handler.server) == (86_400.5, ("::1", 7, 0, 0), server)


def test_without_a_world_there_is_no_peer_no_server_and_a_clear_error_for_the_time():
    handler = StreamMachine(Logged()).handler
    assert (handler.peer, handler.server) == (None, None)
    with pytest.raises(RuntimeError, match=r"no clock: give it World\(now=time\.time\)"):
        handler.now()


# Datagrams


def test_each_packet_fed_or_sent_is_one():
    class Twice(DatagramHandler):
        async def handle(self):
            while packet := await Packet():
                self.send(packet)
                self.send(packet + packet)

    machine = DatagramMachine(Twice(), driver := Driver())
    assert machine.feed(b"a")
    assert machine.feed(b"bc")
    assert (machine.held_in, machine.held_out, machine.wants_input, driver.touches) == (0, 9, True, 0)
    machine.handler.send(b"from another row")
    assert driver.touches == 1
    assert machine.feed(b"")
    assert (machine.finished, machine.reason) == (True, None)
    assert not machine.feed(b"late")
    assert machine.held_in == 0
    machine.handler.send(b"too late")
    assert list(iter(machine.read, None)) == [b"a", b"aa", b"bc", b"bcbc", b"from another row"]
    assert driver.touches == 1


def test_packets_wait_until_one_is_asked_for_and_too_many_are_dropped():
    machine = DatagramMachine(Packets(Forked(len), *[Packet()] * 99))
    taken = [machine.feed(b"%d" % number) for number in range(99)]
    assert taken == [True] * 64 + [False] * 35
    assert machine.held_in == len(b"".join(b"%d" % number for number in range(64)))
    machine.resume(None)
    assert machine.handler.seen == [None, *(b"%d" % number for number in range(64))]
    assert machine.feed(b"again")


@given(st.lists(st.one_of(st.binary(max_size=6), st.none()), max_size=40))
def test_packets_have_water_marks_too(turns):
    """Bytes are a packet that is fed, ``None`` is one that the peer takes."""

    class Packetwise(DatagramHandler):
        high_water, low_water = Echo.high_water, Echo.low_water

        def handle(self):
            return Packet(), self.echo

        def echo(self, packet):
            self.send(packet)
            return self.handle()

    machine = DatagramMachine(Packetwise())
    read = [machine.read() if turn is None else machine.feed(turn) and None for turn in turns]
    assert machine.held_out <= Echo.high_water + 6
    assert machine.blocked or not machine.held_in
    assert [packet for packet in read if packet is not None] + list(iter(machine.read, None)) == [
        packet for packet in turns if packet is not None
    ]


def test_a_request_of_packets_can_wait_until_they_have_gone():
    class Sending(Packets):
        def setup(self):
            self.send(b"a")
            self.send(b"b")

    machine = DatagramMachine(Sending(Flushed(), Packet()))
    machine.advance()
    follower = StreamMachine(States(Flushed(of=machine.handler)), driver := Driver())
    follower.advance()
    assert machine.read() == b"a"
    assert (machine.handler.seen, driver.touches) == ([], 0)
    assert machine.read() == b"b"
    assert (machine.handler.seen, driver.touches) == ([None], 1)
    assert machine.read() is None


def test_datagrams_have_no_waits_for_a_stream():
    class Wrong(DatagramHandler):
        def handle(self):
            return Until(b"\n"), somewhere

    with pytest.raises(TypeError, match=r"^Wrong\.handle waits for Until.*a DatagramMachine has not: Packet, Flushed"):
        DatagramMachine(Wrong()).advance()


# A handler without a request


@pytest.mark.parametrize(
    "use", [lambda handler: handler.send(b"x"), lambda handler: handler.close(), lambda handler: handler.peer]
)
def test_a_handler_without_a_request_says_so(use):
    with pytest.raises(RuntimeError, match="this handler has no request yet"):
        use(type("Nothing", (StreamHandler,), {})())


def test_a_wait_of_a_class_of_the_users_own_is_what_it_is_derived_from():
    class Pause(Delay):
        """Named for what it is for."""

    class Drained(Flushed):
        """Likewise."""

    class Two(StreamHandler):
        async def handle(self):
            self.send(b"one")
            await Drained()
            await Pause(5)
            self.send(b"two")

    machine = StreamMachine(Two())
    machine.advance()
    assert machine.read() == b"one"
    assert (machine.wait, machine.patience) == (Pause(5), 5)
    machine.expire()
    assert machine.read() == b"two"
    assert machine.finished


# Between messages, or in the middle of one


class Frames(StreamHandler):
    """A length of one byte, then so many bytes."""

    async def handle(self):
        while True:
            length = await Exactly(1)
            self.send(await Exactly(length[0]))


class Generated(Frames):
    """The same, by an asynchronous generator."""

    async def frames(self):
        while True:
            length = await Exactly(1)
            yield await Exactly(length[0])

    async def handle(self):
        async for frame in self.frames():
            self.send(frame)


class Awaitable(Frames):
    """The same, by an object that can be awaited."""

    def __await__(self):
        length = yield from Exactly(1).__await__()
        return (yield from Exactly(length[0]).__await__())

    async def handle(self):
        while True:
            self.send(await self)


class OneState(Frames):
    """The same, in one state."""

    length = None

    def handle(self):
        return Exactly(1), self.got

    def got(self, data):
        if self.length is None:
            self.length = data[0]
            return Exactly(self.length), self.got
        self.length = None
        self.send(data)
        return self.handle()


@pytest.mark.parametrize("kind", [Frames, Generated, Awaitable, OneState])
def test_an_end_behind_a_length_is_in_the_middle_however_it_is_written(kind):
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
def test_a_state_without_a_name_of_its_own_is_a_place_too(state):
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


def test_any_number_of_rows_that_have_drained_may_be_waited_for():
    class Room(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            for _ in range(5_000):
                await Flushed()
            self.send(b"done")

    machine = StreamMachine(Room())
    machine.feed(b"\n")
    assert machine.read() == b"done"


def test_a_handler_that_has_a_request_can_not_be_given_another():
    handler = StreamHandler()
    StreamMachine(handler)
    with pytest.raises(ValueError, match="this StreamHandler has a request already; make a new one"):
        Connected(("127.0.0.1", 7), handler)
