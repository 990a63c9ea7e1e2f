"""Filters: a handler behind any of them sees and says the same; what they hold, how they open, fail and leave."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handlers import (
    Cancelled,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    LimitPassed,
    Reset,
    Some,
    StreamHandler,
    StreamMachine,
    TimedOut,
    Until,
    World,
)
from handlers.filter import Filter, chain
from handlers.link import WINDOW
from tests.handlers.rows import (
    KINDS,
    Deflated,
    Framed,
    Greeting,
    Header,
    Identity,
    Row,
    Splitting,
    Xor,
    decoded,
    encoded,
)
from tests.support.strategies import Logged, Netstrings, converse, cuts, netstrings, singly, told

stacks = st.lists(st.sampled_from(KINDS), max_size=4)
takes = st.lists(st.integers(0, 9), max_size=40)
texts = st.lists(st.binary(max_size=12), max_size=5)


def written(texts):
    return b"".join(b"%d:%b," % (len(text), text) for text in texts)


class Marks:
    """Water marks that a few bytes reach."""

    high_water = 8
    low_water = 3


class Waiting(Logged):
    """Takes one byte after another, and rests when it is told to."""

    def handle(self):
        return Exactly(1), self.took

    def took(self, data):
        self.log.append(data)
        return (Delay(1), self.rested) if data == b"." else self.handle()

    def rested(self, _):
        return self.handle()


# What a filter returns


def test_what_is_returned_behind_the_end_of_the_input_is_dropped():
    class Ending(Identity):
        def received(self, data):
            self.deliver(data[:1])
            self.deliver_end()
            return data[1:]

    row = Row(Netstrings(), [Ending]).start()
    row.feed([b"1:a,"])
    assert isinstance(row.reason, EndOfStream)
    assert (row.reason.partial, row.channel.held_in) == (b"1", 0)


def test_what_is_returned_behind_a_failure_is_not_taken():
    class Failing(Identity):
        def received(self, data):
            self.fail(Cancelled("enough"))
            return data

        def flow(self, data):
            raise AssertionError

    row = Row(Netstrings(), [Failing]).start()
    row.feed([b"1:a,"])
    assert (row.written, row.channel.held_in, row.raised) == (b"", 0, [])
    assert isinstance(row.reason, Cancelled)


@pytest.mark.parametrize("method", ["received", "flow"])
def test_a_filter_that_returns_something_else_than_bytes_ends_the_request(method):
    kind = type("Careless", (Identity,), {method: lambda self, data: 1})
    row = Row(Netstrings(), [kind]).start()
    row.feed([b"1:a,"])
    assert isinstance(row.reason, TypeError)
    assert [type(error) for error in row.raised] == [TypeError]
    assert (row.written, row.channel.finished) == (b"", True)


# The same behind any filters


@given(st.sampled_from(netstrings), stacks, texts, takes, st.data())
def test_a_handler_sees_and_says_the_same_behind_any_filters(kind, stack, texts, takes, data):
    class Marked(Marks, kind):
        pass

    row = Row(Marked(), stack, takes).start()
    row.feed(data.draw(cuts(encoded(stack, written(texts)))))
    assert decoded(stack, bytes(row.written)) == written(text[::-1] for text in texts)
    assert row.handler.log == ["setup", "finish"]
    assert (row.raised, row.reason, row.channel.finished) == ([], None, True)
    assert row.channel.held_in == row.channel.held_out == 0


@pytest.mark.parametrize("texts", [[], [b"ada", b""]])
def test_a_filter_goes_on_when_the_output_behind_it_has_left(texts):
    class Marked(Marks, Netstrings):
        pass

    stack = [Splitting, Framed, Greeting]  # the frame of the greeting is longer than the high-water mark
    row = Row(Marked(), stack).start()
    row.feed([encoded(stack, written(texts))])
    assert decoded(stack, bytes(row.written)) == written(text[::-1] for text in texts)
    assert row.channel.finished


@given(stacks, texts, st.data())
def test_a_chain_is_fed_and_read_like_a_machine(stack, texts, data):
    channel = chain(StreamMachine(Netstrings()), stack)
    output = converse(channel, data.draw(cuts(encoded(stack, written(texts)))))
    assert decoded(stack, output) == written(text[::-1] for text in texts)
    assert (channel.finished, channel.reason) == (True, None)


@given(stacks, st.text("0123:,ax-", max_size=24).map(str.encode), st.data())
def test_a_handler_ends_the_same_behind_any_filters(stack, text, data):
    plain, row = Row(Netstrings()).start(), Row(Netstrings(), stack).start()
    plain.feed([text])
    row.feed(data.draw(cuts(encoded(stack, text))))
    assert row.handler.log == plain.handler.log
    assert [str(error) for error in row.raised] == [str(error) for error in plain.raised]
    assert told(row.reason) == told(plain.reason)
    assert decoded(stack, bytes(row.written)) == plain.written


@pytest.mark.parametrize("kind", [Identity, Xor, Framed, Splitting, Greeting])
def test_every_place_at_which_the_wire_may_end(kind):
    whole = encoded([kind], b"5:hello,3:abc,")
    for place in range(len(whole) + 1):
        row = Row(Netstrings(), [kind]).start()
        row.feed(singly(whole[:place]))
        assert row.channel.finished
        assert row.raised == []
        assert row.handler.log[-1:] in ([], ["finish"])
        assert row.reason is None or type(row.reason) is EndOfStream


# Output


class Sending(StreamHandler):
    """Sends ``size`` bytes, and notes when they have left."""

    def __init__(self, size):
        self.size = size
        self.flushed = []

    def handle(self):
        self.send(bytes(index % 251 for index in range(self.size)))
        return Flushed(), self.done

    def done(self, _):
        self.flushed.append(self._machine.driver)
        return Some(), self.done


@given(stacks, st.integers(1, 400), st.lists(st.integers(1, 50), max_size=40))
def test_output_is_flushed_when_the_wire_has_taken_all_that_has_become_of_it(stack, size, takes):
    stack = [kind for kind in stack if kind not in (Deflated, Greeting, Header)]
    row = Row(Sending(size), stack, takes).start()
    while not row.handler.flushed:
        assert decoded_so_far(stack, row.written) != sent(size)
        assert row.channel.held_out > 0
        row.act(lambda: None)
    assert decoded_so_far(stack, row.written) == sent(size)
    assert row.channel.held_out == 0


def sent(size):
    return bytes(index % 251 for index in range(size))


def decoded_so_far(stack, wire):
    """What is whole of the stream up to now, which has not ended."""
    for kind in stack:
        if kind is Framed:
            payload = b""
            while wire and len(wire) > wire[0]:
                payload, wire = payload + wire[1 : 1 + wire[0]], wire[1 + wire[0] :]
            wire = payload
        else:
            wire = kind.decode(bytes(wire))
    return bytes(wire)


def test_a_window_at_a_time_is_under_way_and_counted_once():
    row = Row(Sending(3 * WINDOW), [Xor], [0, 1, WINDOW - 1, 0]).start()
    channel, size = row.channel, 3 * WINDOW
    assert (len(channel.outbox), channel.held_out) == (WINDOW, size)
    row.act(lambda: None)
    assert (len(channel.outbox), channel.held_out) == (WINDOW - 1, size - 1)
    assert channel.inner.held_out == size  # not acknowledged yet
    row.act(lambda: None)
    assert (len(channel.outbox), channel.held_out) == (WINDOW, size - WINDOW)
    assert channel.inner.held_out == size - WINDOW
    row.drain()
    assert (channel.outbox, channel.held_out, channel.inner.held_out) == (None, 0, 0)
    assert decoded([Xor], bytes(row.written)) == sent(size)


def test_a_request_that_is_held_back_by_its_output_takes_no_more_input():
    class Marked(Marks, Netstrings):
        pass

    row = Row(Marked(), [Xor], [0] * 9).start()
    row.act(row.channel.feed, encoded([Xor], b"9:abcdefghi,1:x,"))
    assert not row.channel.wants_input
    assert row.channel.held_out == len(b"9:abcdefghi,")
    row.drain()
    assert decoded([Xor], bytes(row.written)) == b"9:ihgfedcba,1:x,"
    assert row.channel.wants_input


def test_a_filter_whose_own_output_is_not_taken_takes_no_more_input():
    class Answering(Filter):
        def received(self, data):
            self.put(data * 100_000)

    row = Row(Waiting(), [Answering], [0]).start()
    row.act(row.channel.feed, b"a")
    assert (row.channel.held_out, row.channel.wants_input) == (100_000, False)
    row.drain()
    assert row.channel.wants_input


def test_a_filter_has_no_more_to_say_when_the_output_has_been_shut_down():
    class Answering(Filter):
        def received(self, data):
            self.put(b"[pong]")

    class Ending(StreamHandler):
        def handle(self):
            self.send_eof()
            return Some(), self.handle

    row = Row(Ending(), [Answering]).start()
    row.act(row.channel.feed, b"a")
    row.drain()
    assert (row.shut_down, row.written) == (True, b"")


def test_what_nothing_comes_of_has_been_sent():
    class Silent(Filter):
        def flow(self, data):
            pass

    row = Row(Sending(3 * WINDOW), [Silent]).start()
    assert row.handler.flushed
    assert (row.written, row.channel.held_out) == (b"", 0)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["return", "send_eof", "close", "abandon", "error"])
@pytest.mark.parametrize("size", [0, 1, WINDOW, WINDOW + 1])
@pytest.mark.parametrize("stack", [[Framed], [Framed, Framed], [Xor, Framed, Identity, Framed]])
def test_the_last_words_come_once_behind_all_output(stack, size, ending):
    class Ending(StreamHandler):
        def handle(self):
            return Exactly(1), self.end

        def end(self, _):
            self.send(sent(size))
            if ending == "send_eof":
                self.send_eof()
            if ending == "error":
                raise ZeroDivisionError("boom")
            return None if ending == "return" else (Delay(9), self.end)

    row = Row(Ending(), stack, [0, 3]).start()
    row.act(row.channel.feed, encoded(stack, b"x"))
    if ending == "close":
        row.handler.close()
    elif ending == "abandon":
        row.act(row.channel.abandon, Cancelled())
    row.drain()
    assert decoded(stack, bytes(row.written)) == sent(size)
    assert row.shut_down == (ending == "send_eof")
    assert row.handler._machine.output == ("ended" if ending == "send_eof" else "open")
    assert len(row.raised) == (ending == "error")


def test_output_from_elsewhere_flows_when_the_row_advances_and_not_before():
    row = Row(Waiting(), [Identity, Xor]).start()
    row.handler.send(b"abc")
    assert row.due
    assert row.channel.blocked
    assert row.channel.outbox is None
    row.drain()
    assert decoded([Xor], bytes(row.written)) == b"abc"


# Input


def test_input_that_is_not_wanted_is_held_and_no_more_is_taken():
    row = Row(Waiting(), [Identity, Splitting]).start()
    row.act(row.channel.feed, b"a.bcd")
    assert row.handler.log == ["setup", b"a", b"."]
    assert (row.channel.wants_input, row.channel.held_in, bool(row.channel.inbox)) == (False, 3, True)
    row.expire()
    assert row.handler.log == ["setup", b"a", b".", b"b", b"c", b"d"]
    assert (row.channel.wants_input, row.channel.held_in, bool(row.channel.inbox)) == (True, 0, False)


def test_a_filter_that_delivers_much_need_not_hold_it():
    class Inflating(Filter):
        limit = 10

        def __init__(self, inner):
            super().__init__(inner)
            self.left, self.most = 0, 0

        def received(self, data):
            self.left += 100 * len(data)
            size = min(self.left, 10)
            self.left -= size
            self.deliver(b"a" * size)
            if self.left:
                self.again()

        def input_ended(self):
            assert self.left == 0
            super().input_ended()

    row = Row(Waiting(), [Xor, Inflating]).start()
    row.act(row.channel.feed, b"x")
    row.act(row.channel.feed, b"yz")
    row.feed([])
    assert (row.reason, row.channel.finished, len(row.handler.log)) == (None, True, 302)


def test_a_filter_is_not_asked_for_more_while_the_handler_wants_none():
    made = []

    def make(inner):
        made.append(Splitting(inner))
        return made[0]

    row = Row(Waiting(), [make]).start()
    row.act(row.channel.feed, b"a.bc")
    for _ in range(3):
        row.act(row.channel.advance)
    assert (row.handler.log, made[0].rest) == (["setup", b"a", b"."], b"bc")


def test_the_end_comes_behind_what_is_held():
    row = Row(Waiting(), [Splitting]).start()
    row.act(row.channel.feed, b"a.bcd")
    row.act(row.channel.end)
    assert not row.channel.finished
    row.expire()
    assert row.handler.log == ["setup", b"a", b".", b"b", b"c", b"d", "finish"]
    assert row.reason is None


def test_a_filter_holds_no_more_than_its_limit():
    class Little(Identity):
        limit = 4

    row = Row(Waiting(), [Little]).start()
    row.act(row.channel.feed, b"a" * 1_000)  # the request takes it
    row.act(row.channel.feed, b".")
    row.act(row.channel.feed, b"abcd")  # nobody has asked for that
    assert (row.channel.held_in, row.channel.finished) == (4, False)
    row.handler.log.clear()
    row.act(row.channel.feed, b"e")
    assert isinstance(row.reason, LimitPassed)
    assert str(row.reason) == "Little holds 5 bytes that the request does not take, and its limit is 4"
    assert row.handler.log == [(LimitPassed, b""), "finish"]
    assert row.channel.held_in == 0


def test_what_the_code_of_the_filter_holds_counts():
    class Little(Framed):
        limit = 4

    row = Row(Waiting(), [Little]).start()
    row.act(row.channel.feed, b"\x09abc")
    assert (row.channel.held_in, bool(row.channel.inbox), row.channel.wants_input) == (4, True, True)
    row.act(row.channel.feed, b"d")
    assert isinstance(row.reason, LimitPassed)


def test_nothing_is_delivered_behind_the_end():
    class Late(Filter):
        def received(self, data):
            self.deliver(b"a")
            self.deliver_end()
            self.deliver(b"b")

        def input_ended(self):
            self.deliver(b"c")

    row = Row(Waiting(), [Late]).start()
    row.feed([b"x"])
    assert row.handler.log == ["setup", b"a", "finish"]
    assert row.channel.held_in == 0


# Opening


def test_while_a_filter_opens_the_row_shows_the_filter():
    row = Row(Logged(), [Identity, Greeting])
    assert (row.channel.blocked, row.channel.wants_input, row.channel.opening) == (True, False, False)
    row.start()
    channel = row.channel
    assert (channel.opening, channel.begun, channel.finished) == (True, False, False)
    assert (channel.state_name, repr(channel.wait)) == ("greeting", "Opening('a line of greeting', timeout=5)")
    assert (channel.patience, row.patience, channel.wait.reads, channel.wait.outside) == (5, 5, True, False)
    assert (channel.wants_input, channel.blocked) == (True, False)
    assert row.handler.log == []


def test_when_it_is_open_the_row_shows_the_handler():
    row = Row(Waiting(), [Greeting]).start()
    row.act(row.channel.feed, b"hello\n")
    channel = row.channel
    assert (channel.opening, channel.begun, channel.state_name) == (False, True, "took")
    assert (channel.wait, channel.patience, row.patience) == (Exactly(1), 300, 300)
    assert row.handler.log == ["setup"]


def test_a_filter_is_called_by_the_name_of_its_class_unless_it_has_one():
    row = Row(Waiting(), [Header]).start()
    assert row.channel.state_name == "Header"


def test_what_is_opened_step_by_step_has_a_time_for_each_step():
    class Steps(Filter):
        def begin(self):
            self.open_until("the first byte", timeout=1)

        def received(self, data):
            self.open_until("the second byte", timeout=2)

    row = Row(Waiting(), [Steps]).start()
    assert row.patience == 1
    row.act(row.channel.feed, b"a")
    assert (row.patience, row.channel.wait.what) == (2, "the second byte")


opening_ends = {
    "expire": (lambda row: row.expire(), TimedOut, "timed out in Opening('a line of greeting', timeout=5)"),
    "end": (lambda row: row.feed([b"hel"]), EndOfStream, "end of stream with 0 bytes of an unfinished piece"),
    "abandon": (lambda row: row.act(row.channel.abandon, Cancelled()), Cancelled, "the server shuts down"),
    "interrupt": (lambda row: row.act(row.channel.interrupt, Cancelled()), Cancelled, "the server shuts down"),
    "discard": (lambda row: row.act(row.channel.discard, Cancelled()), Cancelled, "the server shuts down"),
    "lose": (lambda row: row.act(row.channel.lose, Reset(OSError("gone"))), Reset, "connection lost: gone"),
    "close": (lambda row: row.act(row.channel.close), Cancelled, "closed from another request"),
}


@pytest.mark.parametrize("front", [[], [Identity], [Xor, Framed]], ids=str)
@pytest.mark.parametrize(("end", "kind", "words"), opening_ends.values(), ids=list(opening_ends))
def test_a_handler_does_not_begin_in_order_to_be_told_that_a_filter_has_not_opened(front, end, kind, words):
    row = Row(Logged(), [*front, Greeting, Identity]).start()
    if end is opening_ends["end"][0]:
        row.feed([encoded(front, b"hel")])
    else:
        end(row)
    assert row.channel.finished
    assert (type(row.reason), str(row.reason), row.raised) == (kind, words, [])
    assert row.handler.log == []
    assert row.channel.wait is None
    assert not row.channel.opening
    assert not row.channel.wants_input


def test_data_for_a_filter_that_is_not_open_is_held_for_the_handler():
    class Early(Filter):
        def begin(self):
            self.open_until("an exclamation mark")

        def received(self, data):
            self.deliver(data)
            if data == b"!":
                self.open()

    row = Row(Waiting(), [Early]).start()
    row.feed([b"a", b"b"], end=False)
    assert (row.handler.log, row.channel.held_in) == ([], 2)
    row.feed([b"!"])
    assert row.handler.log == ["setup", b"a", b"b", b"!", "finish"]


# Misuse, failures and errors


def test_a_filter_that_does_not_say_whether_it_is_open_is_told_so():
    class Mute(Filter):
        def begin(self):
            pass

    row = Row(Logged(), [Mute]).start()
    [error] = row.raised
    assert str(error) == "Mute.begin() has called none of open(), open_until() and leave()"
    assert row.reason is error
    assert row.handler.log == []


@pytest.mark.parametrize("verb", ["open", "open_until"])
def test_a_filter_opens_once(verb):
    class Twice(Filter):
        def received(self, data):
            getattr(self, verb)(*["more"][: verb == "open_until"])

    row = Row(Waiting(), [Twice]).start()
    row.feed([b"a"])
    [error] = row.raised
    assert str(error) == f"Twice.{verb}() comes too late: the filter is serving"


class Failing(Filter):
    """Raises ``error`` in the method ``place``, after it has put its last words."""

    error = ZeroDivisionError("boom")
    place = ""

    def reach(self, place):
        if place == self.place:
            self.put(b"[alert]")
            raise self.error

    def begin(self):
        self.reach("begin")
        super().begin()

    def received(self, data):
        self.reach("received")
        super().received(data)

    def flow(self, data):
        self.reach("flow")
        super().flow(data)

    def input_ended(self):
        self.reach("input_ended")
        super().input_ended()

    def farewell(self):
        self.reach("farewell")


class Echo(Logged):
    def handle(self):
        return Exactly(1), self.echo

    def echo(self, data):
        self.send(data)
        return self.handle()


places = ["begin", "received", "flow", "input_ended", "farewell"]


@pytest.mark.parametrize("front", [[], [Identity], [Framed]], ids=str)
@pytest.mark.parametrize("place", places)
def test_what_a_filter_raises_ends_the_request_like_what_a_handler_raises(place, front):
    class Here(Failing):
        pass

    Here.place = place
    row = Row(Echo(), [*front, Here], [0]).start()
    row.feed([encoded(front, b"a")])
    row.drain()
    assert row.raised == [Failing.error]
    assert row.channel.finished
    assert row.handler.log == ([] if place == "begin" else ["setup", "finish"])
    assert row.reason is (Failing.error if place != "farewell" else None)
    assert row.written.endswith(b"[alert]\0" if front == [Framed] else b"[alert]")
    assert row.channel.held_out == 0


@pytest.mark.parametrize("place", places)
def test_a_cause_that_a_filter_raises_is_told_to_a_handler_that_has_begun(place):
    class Here(Failing):
        error = Cancelled("no")

    Here.place = place
    row = Row(Echo(), [Here]).start()
    row.feed([b"a"])
    assert row.raised == []
    assert row.reason is Here.error
    told_of_it = [] if place == "farewell" else [(Cancelled, None)]
    assert row.handler.log == ([] if place == "begin" else ["setup", *told_of_it, "finish"])
    assert row.written.endswith(b"[alert]")


def test_output_that_waits_is_dropped_when_a_filter_fails_and_its_last_words_leave():
    class Alarm(Filter):
        def received(self, data):
            if data == b"!":
                self.put(b"[alert]")
                self.fail(Cancelled("alarm"))
            super().received(data)

        def farewell(self):
            self.put(b"[bye]")

    class Last(Echo):
        def interrupted(self, cause):
            super().interrupted(cause)
            self.send(b"never sent")

    row = Row(Last(), [Alarm], [0, 0]).start()
    row.act(row.channel.feed, b"a")
    row.act(row.channel.feed, b"!")
    assert (row.channel.outbox, row.channel.held_out) == (b"a[alert]", 8)
    row.drain()
    assert row.written == b"a[alert]"
    assert row.handler.log == ["setup", (Cancelled, None), "finish"]
    assert str(row.reason) == "alarm"
    assert row.channel.held_out == 0


@pytest.mark.parametrize("fail", [Cancelled("no"), ZeroDivisionError("boom")], ids=repr)
def test_what_was_delivered_before_a_filter_failed_is_taken_first(fail):
    class Failing(Filter):
        def received(self, data):
            self.deliver(data)
            raise fail

    row = Row(Echo(), [Identity, Failing]).start()
    row.feed([b"ab"])
    assert row.reason is fail
    assert (row.written, row.channel.held_out) == (b"", 0)
    row = Row(Waiting(), [Failing]).start()
    row.feed([b"a.b"])
    assert row.handler.log[:3] == ["setup", b"a", b"."]
    assert row.handler.log[-1] == "finish"


@pytest.mark.parametrize("stack", [[Xor], [Framed, Xor], [Splitting, Identity], [Greeting]], ids=str)
def test_what_a_handler_raises_passes_through_the_filters_and_what_it_had_sent_leaves(stack):
    class Raising(Echo):
        def echo(self, data):
            self.send(data)
            if data == b"!":
                raise error
            return self.handle()

        def finish(self):
            super().finish()
            self.send(b"bye")

    error = ZeroDivisionError("boom")
    row = Row(Raising(), stack).start()
    row.act(row.channel.feed, encoded(stack, b"ab!cd"))
    row.drain()
    assert row.raised == [error]
    assert row.reason is error
    assert row.handler.log == ["setup", "finish"]
    assert decoded(stack, bytes(row.written)) == b"ab!bye"


def test_a_filter_can_not_swallow_what_the_handler_raises():
    class Careless(Filter):
        def received(self, data):
            try:
                self.deliver(data)
            except BaseException as swallowed:
                raise AssertionError from swallowed

    class Raising(StreamHandler):
        def handle(self):
            return Exactly(1), self.fail

        def fail(self, _):
            raise ZeroDivisionError("boom")

    row = Row(Raising(), [Careless]).start()
    row.feed([b"a"])
    assert list(map(type, row.raised)) == [ZeroDivisionError]


def test_when_both_raise_neither_is_swallowed():
    class Both(Filter):
        def received(self, data):
            self.deliver(data)
            raise OSError("and then this")

    class Raising(Echo):
        def finish(self):
            raise ZeroDivisionError("boom")

    row = Row(Raising(), [Both]).start()
    row.feed([b"a"])
    [error] = row.raised
    assert type(error) is OSError
    assert type(error.__context__) is ZeroDivisionError


def test_output_of_which_nothing_has_become_is_dropped_with_the_filter():
    class Here(Failing):
        place = "flow"

    row = Row(Echo(), [Here], [0, 0]).start()
    row.act(row.channel.feed, b"a")
    assert (row.channel.outbox, row.channel.held_out) == (b"[alert]", 7)


def test_what_a_filter_holds_is_dropped_when_the_request_ends():
    row = Row(Waiting(), [Identity]).start()
    row.act(row.channel.feed, b".")
    row.act(row.channel.feed, b"abc")
    assert row.channel.held_in == 3
    row.handler.close()
    row.drain()
    assert (row.channel.held_in, bool(row.channel.inbox)) == (0, False)


def test_a_connection_that_is_lost_drops_all_output():
    row = Row(Sending(3 * WINDOW), [Identity, Xor], [0]).start()
    row.act(row.channel.lose, Reset(OSError("gone")))
    assert (row.channel.outbox, row.channel.held_out, row.written) == (None, 0, b"")
    assert isinstance(row.reason, Reset)
    row.act(row.channel.lose, Cancelled())
    assert isinstance(row.reason, Reset)


def test_a_connection_that_is_lost_when_the_request_has_finished_is_the_reason():
    class Brief(StreamHandler):
        def handle(self):
            self.send(b"that is all")

    row = Row(Brief(), [Xor], [0]).start()
    assert (row.channel.finished, row.reason) == (True, None)
    row.act(row.channel.lose, Reset(OSError("gone")))
    assert isinstance(row.reason, Reset)
    assert row.channel.held_out == 0


def test_output_can_be_dropped_without_an_end():
    row = Row(Sending(WINDOW), [Xor], [0]).start()
    row.channel.drop_output()
    assert (row.channel.outbox, row.channel.held_out) == (None, 0)


# Leaving


def test_a_filter_that_is_done_takes_itself_out_of_the_chain():
    row = Row(Waiting(), [Header]).start()
    first = row.channel
    row.act(row.channel.feed, b"10.0.0.1\nab")
    assert row.channel is row.handler._machine
    assert row.channel.driver is row
    assert (row.handler.peer, row.peer) == ("10.0.0.1", "10.0.0.1")
    assert row.handler.log == ["setup", b"a", b"b"]
    first.feed(b"c")  # a reference that somebody kept
    assert row.handler.log[-1] == b"c"
    row.handler.send(b"more")
    row.handler.send_eof()
    assert (first.outbox, first.output, first.wants_input, first.ended) == (b"more", "ending", True, False)
    assert first.read() == b"more"
    first.end()
    assert (first.ended, first.finished, first.blocked) == (True, True, False)


@given(st.permutations([Header, Xor, Framed, Splitting, Header, Greeting]), st.data())
def test_wherever_it_stands_a_filter_that_leaves_loses_nothing(stack, data):
    row = Row(Netstrings(), stack).start()
    row.feed(data.draw(cuts(encoded(stack, b"5:hello,"))))
    assert decoded(stack, bytes(row.written)) == b"5:olleh,"
    assert (row.raised, row.reason) == ([], None)


class Handshake(Filter):
    """Says ``[ok]``, and leaves at once."""

    when = "begin"

    def begin(self):
        if self.when == "begin":
            self.put(b"[ok]")
            self.leave()
        else:
            self.open()

    def received(self, data):
        self.put(b"[ok]")
        self.leave(data)

    def flow(self, data):
        self.put(data.upper())
        if self.when == "flow":
            self.leave()


@pytest.mark.parametrize("takes", [[], [0], [1, 1, 1, 1], [3, 0, 2]], ids=str)
@pytest.mark.parametrize("front", [[], [Identity], [Framed, Xor]], ids=str)
@pytest.mark.parametrize("when", ["begin", "received", "flow"])
def test_it_leaves_when_its_own_output_has_been_taken(when, front, takes):
    class Here(Handshake):
        pass

    class Talking(Echo):
        def setup(self):
            super().setup()
            self.send(b"hi ")

    Here.when = when
    row = Row(Talking(), [*front, Here], takes).start()
    row.feed([encoded(front, b"abc")])
    told = {"begin": b"[ok]hi abc", "received": b"HI [ok]abc", "flow": b"HI abc"}
    assert decoded(front, bytes(row.written)) == told[when]
    assert not isinstance(row.handler._machine.driver, type(row.channel)) or front
    assert (row.reason, row.raised, row.channel.held_out) == (None, [], 0)


def test_a_filter_that_leaves_waits_until_the_handler_wants_the_rest():
    class Later(Waiting):
        def handle(self):
            return (Delay(1), self.rested) if self.log == ["setup"] else super().handle()

        def rested(self, _):
            return Exactly(1), self.took

    row = Row(Later(), [Header]).start()
    row.act(row.channel.feed, b"10.0.0.1\nab")
    row.drain()
    assert (row.channel.held_in, row.channel.wants_input, row.handler.log) == (2, False, ["setup"])
    row.expire()
    assert row.handler.log == ["setup", b"a", b"b"]
    assert row.channel is row.handler._machine


def test_the_end_of_the_wire_is_not_lost_with_a_filter_that_leaves():
    class Leaving(Filter):
        def input_ended(self):
            self.put(b"[end]")
            self.leave(b"z")

    row = Row(Waiting(), [Leaving], [0]).start()
    row.feed([b"a"])
    assert row.handler.log == ["setup", b"a", b"z", "finish"]
    assert (row.channel.ended, row.channel.finished, row.reason) == (True, True, None)


def test_input_and_output_pass_a_filter_that_has_left_and_has_yet_to_go():
    row = Row(Echo(), [Handshake], [0] * 9).start()
    channel = row.channel
    row.act(channel.feed, b"ab")
    assert row.channel is channel
    assert (channel.outbox, channel.held_out, channel.wants_input) == (b"[ok]", 6, True)
    row.act(channel.end)
    assert (channel.finished, channel.ended, channel.wants_input) == (True, True, False)
    row.drain()
    assert row.written == b"[ok]ab"
    assert row.channel is not channel


# Urgent data


class Hearing(Logged):
    """Takes lines, and hears of urgent data in between."""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        self.log.append(data)
        return (Delay(1), self.rested) if data == b".\n" else self.handle()

    def rested(self, _):
        return self.handle()

    def urgent(self, data):
        self.log.append((data, self.take_held()))


@pytest.mark.parametrize("stack", [[Identity], [Identity, Identity], [Header], [Header, Identity]], ids=str)
def test_urgent_data_is_urgent_behind_filters_that_change_nothing(stack):
    row = Row(Hearing(), stack).start()
    row.act(row.channel.feed, encoded(stack, b"one\ntw"))
    row.act(row.channel.urgent, b"!", b"o")
    row.act(row.channel.feed, b"three\n")
    assert row.handler.log == ["setup", b"one\n", (b"!", b"two"), b"three\n"]


@pytest.mark.parametrize("stack", [[Splitting], [Identity, Splitting], [Xor, Xor]], ids=str)
def test_urgent_data_is_a_byte_of_the_stream_behind_a_filter_that_changes_bytes(stack):
    row = Row(Hearing(), stack).start()
    row.act(row.channel.feed, b"one\ntw")
    row.act(row.channel.urgent, b"!", b"o")
    row.act(row.channel.feed, b"\n")
    assert row.handler.log == ["setup", b"one\n", b"two!\n"]


def test_urgent_data_comes_behind_what_a_filter_holds():
    row = Row(Hearing(), [Identity]).start()
    row.act(row.channel.feed, b".\n")
    row.act(row.channel.feed, b"ab")
    assert (row.channel.wants_input, row.channel.held_in) == (False, 2)
    row.act(row.channel.urgent, b"!", b"c")
    assert row.handler.log == ["setup", b".\n", (b"!", b"abc")]
    assert row.channel.held_in == 0


def test_urgent_data_is_ordinary_while_the_filter_has_bytes_itself():
    class Keeping(Identity):
        kept = b""

        @property
        def pending(self):
            return len(self.kept)

        def received(self, data):
            self.deliver(self.kept + data[:-1])
            self.kept = data[-1:]

    row = Row(Hearing(), [Keeping]).start()
    row.act(row.channel.urgent, b"!", b"one")
    row.act(row.channel.feed, b"\n.")
    assert row.handler.log == ["setup", b"one!\n"]


def test_urgent_data_for_a_filter_that_opens_is_ordinary():
    class Line(Header):
        transparent = True

    row = Row(Hearing(), [Line]).start()
    row.act(row.channel.urgent, b"\n", b"10.0.0.1")
    assert (row.peer, row.handler.log) == ("10.0.0.1", ["setup"])


# The row behind the filters


def test_what_a_handler_asks_its_row_it_asks_through_the_filters():
    handler = Logged()
    handler.handle = lambda: (Some(), handler.handle)
    row = Row(
        handler, [Identity, Xor], peer=("192.0.2.7", 9), server="a server", now=lambda: 7.0, credentials=(1, 2, 3),
        descriptors=[8],
    ).start()  # fmt: skip
    assert (handler.peer, handler.server, handler.now()) == (("192.0.2.7", 9), "a server", 7.0)
    assert (handler.credentials, handler.descriptors) == ((1, 2, 3), [8])
    assert (handler.principal, handler.secured) == (None, None)
    handler.send_descriptors(b"x", [4, 5])
    assert row.passed == [4, 5]
    handler.principal = "ada"
    assert row.principal == "ada"


def test_what_a_filter_finds_out_is_a_fact_of_the_row():
    class Knowing(Filter):
        def begin(self):
            self.driver.peer = "somebody"
            self.driver.principal = "ada"
            self.driver.secured = {"version": "TLSv1.3"}
            self.open()

    row = Row(Waiting(), [Identity, Knowing]).start()
    assert (row.peer, row.principal, row.secured) == ("somebody", "ada", {"version": "TLSv1.3"})
    assert (row.handler.peer, row.handler.principal) == ("somebody", "ada")
    assert row.handler.secured == {"version": "TLSv1.3"}


def test_a_handler_that_waits_for_anothers_output_waits_for_the_wire():
    other = Row(Sending(100), [Xor], [0, 99, 0]).start()

    class Following(Logged):
        def handle(self):
            return Flushed(of=other.handler), self.log.append

    row = Row(Following(), [Identity]).start()
    assert row.handler.log == ["setup"]
    other.act(lambda: None)
    row.drain()
    assert row.handler.log == ["setup"]
    other.drain()
    assert row.due
    row.drain()
    assert row.handler.log == ["setup", None, "finish"]


def test_a_row_gives_the_others_their_turn_behind_filters_too():
    class Several(Filter):
        def received(self, data):
            for byte in singly(data):
                self.deliver(byte)

    for stack, turns in ([Identity], 3), ([Xor, Xor], 3), ([Several], 3), ([Identity, Splitting], 1):
        row = Row(Waiting(), stack)
        row.turns = 3
        row.start()
        row.due = False
        row._guard(row.channel.feed, b"abcdefg")
        assert row.handler.log[1:] == singly(b"abcdefg"[:turns])
        assert (row.due, row.channel.blocked, row.channel.wants_input) == (True, True, False)
        row.drain()
        assert row.handler.log[1:] == singly(b"abcdefg")


@given(st.binary(max_size=20), st.data())
@example(b"ab.cd.ef", None)
def test_a_chain_that_nobody_reads_from_can_be_read_at_any_time(text, data):
    channel = chain(StreamMachine(Echo(), World()), [Xor])
    pieces = singly(text) if data is None else data.draw(cuts(text))
    for piece in pieces:
        channel.feed(encoded([Xor], piece))
        assert decoded([Xor], channel.read()) == piece
    channel.inner.handler.send(b"more")
    assert decoded([Xor], channel.read(2) + channel.read(2)) == b"more"
