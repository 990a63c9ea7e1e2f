"""`Filtered`: a handler puts a filter in front of itself in mid-stream, as STARTTLS does."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    FEED,
    REFUSE,
    Cancelled,
    Cause,
    DatagramMachine,
    Delay,
    EndOfStream,
    Filtered,
    Flushed,
    Reset,
    StreamHandler,
    StreamMachine,
    TimedOut,
    TooEarly,
    Until,
    World,
)
from handlers.filter import Filter
from tests.handlers.rows import Framed, Greeting, Header, Identity, Row, Splitting, Xor, decoded, encoded
from tests.support.strategies import Logged, Packets, cuts, singly, told


class Upgrading(Logged):
    """Takes lines and says what it took; at ``up`` puts in the filter. As states."""

    wait = Filtered(Greeting, held=REFUSE)

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, line):
        self.log.append(line)
        if line == b"up\n":
            self.send(b"[go]")
            return self.wait, self.upgraded
        self.send(b"[%b]" % line[:-1])
        return self.handle()

    def upgraded(self, result):
        self.log.append(result)
        self.send(b"[up]")
        return self.handle()

    def interrupted(self, cause):
        super().interrupted(cause)
        return self.handle() if isinstance(cause, TooEarly) else None


class Conversing(Upgrading):
    """The same as one coroutine."""

    async def handle(self):
        while True:
            try:
                line = await Until(b"\n")
                self.log.append(line)
                if line == b"up\n":
                    self.send(b"[go]")
                    self.log.append(await self.wait)
                    self.send(b"[up]")
                else:
                    self.send(b"[%b]" % line[:-1])
            except TooEarly as cause:  # noqa: PERF203  # it goes on
                self.log.append(told(cause))

    interrupted = Logged.interrupted


class Fed(Upgrading):
    wait = Filtered(Greeting, held=FEED)


class ConversingFed(Conversing):
    wait = Fed.wait


kinds = pytest.mark.parametrize("kind", [Upgrading, Conversing])
fed_kinds = pytest.mark.parametrize("kind", [Fed, ConversingFed])
fronts = st.lists(st.sampled_from([Identity, Xor, Splitting, Header]), max_size=3)
takes = st.lists(st.integers(0, 3), max_size=40)


def behind(text):
    """What the peer sends from its greeting on."""
    return encoded([Greeting], text)


# A wait is a value


def test_a_wait_for_a_filter_is_written_short_and_is_a_value():
    wait = Filtered(Greeting, held=REFUSE, timeout=5)
    assert repr(wait) == "Filtered(Greeting, held='refuse', timeout=5)"
    assert repr(Filtered(Greeting, held=FEED)) == "Filtered(Greeting, held='feed')"
    assert wait == Filtered(Greeting, held=REFUSE, timeout=5)
    assert wait != Filtered(Greeting, held=FEED, timeout=5)
    assert wait != Filtered(Header, held=REFUSE, timeout=5)
    assert (wait.reads, wait.outside) == (False, False)


def test_what_becomes_of_held_input_is_said_explicitly():
    with pytest.raises(TypeError, match="held"):
        Filtered(Greeting)
    with pytest.raises(ValueError, match="held is REFUSE or FEED, not 'drop'"):
        Filtered(Greeting, held="drop")
    with pytest.raises(TypeError, match="make is called with a channel and returns a filter, not 5"):
        Filtered(5, held=FEED)


def test_packets_have_no_filters():
    machine = DatagramMachine(Packets(Filtered(Greeting, held=FEED)))
    with pytest.raises(TypeError, match="which a DatagramMachine has not: Packet, Flushed"):
        machine.advance()


# Put in


@pytest.mark.slow
@kinds
@given(fronts, takes, st.data())
def test_a_filter_is_put_in_behind_the_output_from_before(kind, front, takes, data):
    row = Row(kind(), front, takes).start()
    row.feed(data.draw(cuts(encoded(front, b"one\nup\n"))), end=False)
    assert decoded(front, bytes(row.written)) == b"[one][go]"
    assert (row.channel.opening, row.channel.state_name) == (True, "greeting")
    assert repr(row.channel.wait) == "Opening('a line of greeting', timeout=5)"
    assert (row.patience, row.channel.wants_input) == (5, True)
    front = [part for part in front if part is not Header]
    assert row.feed(data.draw(cuts(encoded(front, behind(b"two\n"))))) == []
    assert decoded(front, bytes(row.written)[len(b"[one][go]") :]) == b"welcome\n" + Xor.decode(b"[up][two]")
    assert row.handler.log == ["setup", b"one\n", b"up\n", None, b"two\n", "finish"]
    assert (row.reason, row.raised) == (None, [])


@pytest.mark.slow
@fed_kinds
@given(fronts, takes, st.data())
def test_held_input_may_be_the_first_of_the_filter(kind, front, takes, data):
    row = Row(kind(), front, takes).start()
    row.feed(data.draw(cuts(encoded(front, b"one\nup\n" + behind(b"two\n")))))
    assert decoded(front, bytes(row.written)) == b"[one][go]welcome\n" + Xor.decode(b"[up][two]")
    assert row.handler.log == ["setup", b"one\n", b"up\n", None, b"two\n", "finish"]
    assert (row.reason, row.raised, row.channel.held_in) == (None, [], 0)


@kinds
@pytest.mark.parametrize("front", [[], [Identity], [Xor, Splitting], [Splitting], [Splitting, Xor], [Header]], ids=str)
def test_held_input_that_is_not_for_the_filter_is_refused_wherever_it_is_held(kind, front):
    row = Row(kind(), front, [0, 0]).start()
    row.feed([encoded(front, b"one\nup\nhello\n")], end=False)
    row.feed([], end=True)
    [cause] = [entry for entry in row.handler.log if type(entry) is tuple]
    assert cause[0] is TooEarly
    assert decoded(front, bytes(row.written)) == b"[one][go]" + (b"" if cause[1] else b"[hello]")
    assert not row.channel.opening
    assert (row.reason, row.raised) == (None, [])


def test_a_refusal_tells_what_was_held():
    row = Row(Upgrading()).start()
    row.act(row.channel.feed, b"up\nhello\nx")
    assert row.handler.log == ["setup", b"up\n", (TooEarly, b"hello\nx")]
    cause = TooEarly(Upgrading.wait, b"hello\nx", 7)
    assert str(cause) == "7 bytes of input came before Filtered(Greeting, held='refuse'), and are not for the filter"
    assert cause.wait is Upgrading.wait


def test_the_output_from_before_leaves_first_and_whole():
    row = Row(Upgrading(), [], [0, 1, 1, 0]).start()
    row._guard(row.channel.feed, b"up\n")
    machine = row.channel
    assert (machine.blocked, machine.wants_input, machine.opening) == (True, False, False)
    assert machine.wait == Upgrading.wait
    while row.written != b"[go]":
        assert row.channel is machine
        row.act(lambda: None)
    row.drain()
    assert row.channel is not machine
    assert row.channel.opening


def test_the_time_of_the_wait_is_for_the_output_from_before():
    class Brief(Upgrading):
        wait = Filtered(Greeting, held=REFUSE, timeout=2)

    row = Row(Brief(), [], [0] * 9).start()
    row.act(row.channel.feed, b"up\n")
    assert row.patience == 2
    row.expire()
    assert row.handler.log == ["setup", b"up\n", (TimedOut, None), "finish"]


ends = {
    "expire": (lambda row: row.expire(), (TimedOut, None)),
    "end": (lambda row: row.feed([b"hel"]), (EndOfStream, b"")),
    "abandon": (lambda row: row.act(row.channel.abandon, Cancelled()), (Cancelled, None)),
    "interrupt": (lambda row: row.act(row.channel.interrupt, Cancelled()), (Cancelled, None)),
    "lose": (lambda row: row.act(row.channel.lose, Reset(OSError("gone"))), (Reset, None)),
}


@pytest.mark.parametrize("front", [[], [Identity]], ids=str)
@kinds
@pytest.mark.parametrize("end", list(ends))
def test_a_handler_that_has_begun_is_told_that_its_filter_does_not_open(end, kind, front):
    class Talking(kind):
        def interrupted(self, cause):
            super().interrupted(cause)
            self.send(b"not in the clear")

    row = Row(Talking(), front).start()
    row.act(row.channel.feed, b"up\n")
    row.drain()
    act, entry = ends[end]
    act(row)
    row.drain()
    assert row.handler.log == ["setup", b"up\n", entry, "finish"]
    assert told(row.reason) == entry
    assert row.written == b"[go]"
    assert (row.channel.held_out, row.raised) == (0, [])


@pytest.mark.parametrize("end", ["discard", "close"])
def test_a_request_may_be_ended_while_its_filter_opens(end):
    row = Row(Upgrading()).start()
    row.act(row.channel.feed, b"up\n")
    row.drain()
    row.act(row.channel.discard, Cancelled()) if end == "discard" else row.handler.close()
    row.drain()
    assert row.handler.log == ["setup", b"up\n", "finish"]
    assert isinstance(row.reason, Cancelled)
    assert row.written == b"[go]"


def test_what_the_filter_raises_ends_the_request():
    row = Row(Upgrading()).start()
    row.feed([b"up\n"], end=False)
    row.feed([b"goodbye\n"])
    [error] = row.raised
    assert str(error) == "a greeting, and not b'goodbye'"
    assert row.reason is error
    assert row.handler.log == ["setup", b"up\n", "finish"]


def test_the_same_wait_puts_in_one_filter_after_another():
    class Twice(Conversing):
        wait = Filtered(Xor, held=FEED)

    row = Row(Twice()).start()
    row.feed([b"up\n"], end=False)
    row.feed([Xor.encode(b"up\n")], end=False)
    row.feed([b"three\n"])
    assert row.handler.log == ["setup", b"up\n", None, b"up\n", None, b"three\n", "finish"]
    assert bytes(row.written) == b"[go]" + Xor.decode(b"[up][go]") + b"[up][three]"


def test_a_filter_that_is_put_in_may_leave():
    class Proxied(Upgrading):
        wait = Filtered(Header, held=FEED)

    row = Row(Proxied()).start()
    row.feed([b"up\n10.0.0.9\ntwo\n"])
    assert row.handler.log == ["setup", b"up\n", None, b"two\n", "finish"]
    assert (row.handler.peer, row.written) == ("10.0.0.9", b"[go][up][two]")
    assert row.channel is row.handler._machine


def test_an_end_that_has_come_already_is_for_the_filter():
    class Late(Fed):
        wait = Filtered(Framed, held=FEED)

        def line(self, line):
            return (Delay(1), self.rested) if line == b"wait\n" else super().line(line)

        def rested(self, _):
            return self.wait, self.upgraded

    row = Row(Late()).start()
    row.act(row.channel.feed, b"wait\n\4two\n\0")
    row.act(row.channel.end)
    row.expire()
    assert row.handler.log == ["setup", None, b"two\n", "finish"]
    assert row.reason is None
    assert Framed.decode(bytes(row.written)) == b"[up][two]"
    row = Row(Late()).start()
    row.act(row.channel.feed, b"wait\n\4two\n\5cut")
    row.act(row.channel.end)
    row.expire()
    assert row.handler.log == ["setup", None, b"two\n", (EndOfStream, b"\5cut"), "finish"]


@pytest.mark.parametrize("make", [lambda channel: channel, lambda channel: 5, lambda channel: 1 // 0])
def test_what_makes_no_filter_ends_the_request(make):
    class Wrong(Upgrading):
        wait = Filtered(make, held=FEED)

    row = Row(Wrong()).start()
    row.feed([b"up\n"])
    [error] = row.raised
    assert row.reason is error
    assert row.handler.log == ["setup", b"up\n", "finish"]
    assert row.channel.finished


def test_a_filter_is_put_in_at_once_where_there_is_no_output():
    class Quiet(StreamHandler):
        async def handle(self):
            await Filtered(Xor, held=REFUSE)
            self.send(b"hello")
            await Flushed()

    row = Row(Quiet()).start()
    row.drain()
    assert bytes(row.written) == Xor.decode(b"hello")
    assert row.channel.finished


def test_whoever_drives_a_machine_drives_the_filter_from_then_on():
    world = World()
    machine = StreamMachine(Fed(), world)
    machine.feed(b"up\nhello\n")
    assert world.channel is None
    assert machine.read() == b"[go]"
    channel = world.channel
    assert channel is not machine
    channel.advance()
    assert channel.read() == b"welcome\n" + Xor.decode(b"[up]")
    channel.feed(Xor.encode(b"two\n"))
    assert channel.read() == Xor.decode(b"[two]")


def test_urgent_data_while_the_filter_opens_is_the_filters():
    class Urgent(Upgrading):
        wait = Filtered(Identity, held=FEED)

        def urgent(self, data):
            self.log.append((data, self.take_held()))

    class Slow(Identity):
        def begin(self):
            self.open_until("a byte")

        def received(self, data):
            if data == b"a":
                self.open()
            self.deliver(data)

    Urgent.wait = Filtered(Slow, held=FEED)
    row = Row(Urgent()).start()
    row.feed([b"up\n"], end=False)
    row.act(row.channel.urgent, b"!", b"")
    assert (row.channel.opening, row.channel.held_in) == (True, 1)
    row.act(row.channel.urgent, b"!", b"a")
    assert row.handler.log == ["setup", b"up\n", None, (b"!", b"!a")]


def test_the_machine_may_be_looked_at_while_the_filter_opens():
    row = Row(Fed()).start()
    row.feed([b"up\n"], end=False)
    filtered = row.channel
    row.act(row.handler._machine.advance)  # whatever lets it go on puts in no second filter
    assert row.channel is filtered
    row.feed(singly(behind(b"two\n")))
    assert row.handler.log == ["setup", b"up\n", None, b"two\n", "finish"]


def test_a_cause_for_a_filter_is_a_cause():
    assert issubclass(TooEarly, Cause)
    assert issubclass(Greeting, Filter)


# In a world of plain text no filter is made


class Known(Greeting):
    facts = {"secured": "greeted"}


class Telling(StreamHandler):
    async def handle(self):
        while True:
            line = await Until(b"\n")
            self.send(b"%s %b" % (str(self.secured).encode(), line))
            if line == b"up\n":
                await Filtered(partial(Known), held=REFUSE)


@pytest.mark.slow
@given(st.data())
@pytest.mark.parametrize("kind", [Upgrading, Conversing, Fed, ConversingFed])
def test_in_a_plain_world_the_filter_counts_as_open_however_the_input_is_cut(kind, data):
    handler = kind()
    machine, output = StreamMachine(handler, World(plain=True)), b""
    for piece in data.draw(cuts(b"one\nup\ntwo\n")):
        machine.feed(piece)
        output += machine.read()
    assert output + machine.read() == b"[one][go][up][two]"
    assert handler.log[-4:] == [b"one\n", b"up\n", None, b"two\n"]
    assert not machine.finished


def test_in_a_plain_world_a_handler_finds_what_the_filter_says():
    machine = StreamMachine(Telling(), World(plain=True))
    machine.feed(b"one\nup\n")
    output = machine.read()
    machine.feed(b"two\n")
    assert output + machine.read() == b"None one\nNone up\ngreeted two\n"
