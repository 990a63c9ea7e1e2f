"""The hot path of a machine (`StreamMachine.feed`) and the slow way give the same: the same calls, output and end."""

import gc
import weakref
from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers import (
    Cause,
    DatagramHandler,
    Delay,
    Exactly,
    Flushed,
    LimitPassed,
    Some,
    StreamHandler,
    StreamMachine,
    ToEnd,
    Until,
    UntilAny,
    World,
)
from handlers.channel import OPEN


class Slow(StreamMachine):
    """A machine without the hot path."""

    __slots__ = ()
    feed = StreamMachine._feed_slowly


class Few(World):
    """A driver that gives a request a few pieces of input in a turn."""

    turns = 3
    rests = 0

    def rest(self):
        self.rests += 1


waits = st.one_of(
    st.builds(Until, st.sampled_from([b";", b"ab", b"\n"]), limit=st.sampled_from([2, 9, 65_536])),
    st.builds(Exactly, st.integers(0, 5), limit=st.sampled_from([3, 100])),
    st.builds(Some, limit=st.sampled_from([1, 2, 100])),
    st.builds(ToEnd, limit=st.sampled_from([4, 1000])),
    st.sampled_from([Flushed(), Delay(1)]),
    st.sampled_from([Until(b";"), Exactly(2), Some(limit=2), UntilAny(b";", b"\n")]),  # each the same object again
)
SENT = {"send": 7, "much": 60, "excess": 500}
ENDS = ["eof", "abort", "raise", "error", "end", "excess", "nonsense", "no state"]
ACTIONS = ["", "send", "send", "much", "take", "put back", "call", *ENDS]
scripts = st.lists(st.tuples(waits, st.sampled_from(ACTIONS)), min_size=1, max_size=8)
texts = st.text(alphabet="ab;\n", min_size=1, max_size=12).map(str.encode)


class Idle(DatagramHandler):
    pass


class Pair:
    """What a coroutine must not await: it yields what a state returns."""

    def __await__(self):
        yield Until(b";", limit=9), Idle().finish


class Scripted(StreamHandler):
    """Waits for what its script says, in turn and from the beginning again, and does what it says with each result."""

    high_water = 40
    low_water = 10
    max_output = 400
    max_calls = 2
    script = ()
    is_coroutine = False

    def __init__(self):
        self.log = []
        self.place = 0
        self.is_nonsense = self.has_no_state = False

    def handle(self):
        return self.converse() if self.is_coroutine else (self.script[0][0], self.got)

    def got(self, result):
        if not self.do(result):
            return None
        wait = self.script[self.place % len(self.script)][0]
        return wait if self.is_nonsense else (wait, None if self.has_no_state else self.got)

    async def converse(self):
        result = await self.script[0][0]
        while self.do(result):
            result = await self.next()

    async def next(self):
        if self.is_nonsense:
            await Pair()
        try:
            return await self.script[self.place % len(self.script)][0]
        except LimitPassed as cause:
            return repr(cause)

    def do(self, result):
        """Do what the script says; false if the request is to end."""
        action = self.script[self.place % len(self.script)][1]
        self.place += 1
        self.log.append((action, result))
        self.is_nonsense, self.has_no_state = action == "nonsense", action == "no state"
        if action == "raise":
            raise Cause("said by the script")
        if action == "error":
            raise ValueError("said by the script")
        if action == "call":
            self.call(Idle(), b"", self.send)
        if action == "take":
            self.log.append(self.take_held())
        elif action == "put back":
            self.put_back(b"ab;")
        elif action == "eof":
            self.send_eof()
        elif action == "abort":
            self.abort()
        elif action in SENT:
            self.send(b"x" * SENT[action])
        return action != "end" and self.place < 60

    def interrupted(self, cause):
        self.log.append(repr(cause))
        self.place += 1
        return (Some(), self.got) if self.place % 3 and self.place < 60 else None


class Watched:
    """A machine, and all that its driver can see of it after each call."""

    def __init__(self, kind, handler, turns=3):
        self.world = Few()
        self.world.turns = turns
        self.machine = kind(handler, self.world)
        self.seen = []
        self.attempt(self.machine.advance)

    def attempt(self, call, *arguments):
        machine, error = self.machine, None
        try:
            call(*arguments)
        except (ValueError, RuntimeError, TypeError) as raised:
            error = repr(raised)
        held = (machine.held_in, machine.held_out, machine.blocked, machine.fresh, machine.wants_input)
        self.seen.append((machine.wait, machine.state_name, held, machine.finished, repr(machine.reason), error))
        self.seen.append(self.world.rests)
        machine.fresh = False

    def feed(self, piece):
        machine = self.machine
        patience = machine.feed(piece)
        if patience is not None:  # the driver need not look at more
            assert (machine.wants_input, machine.held_in, machine.blocked, machine.output) == (True, 0, False, OPEN)
            assert patience == machine.patience

    def read(self, limit):
        self.seen.append(self.machine.read(limit))

    def outside(self):
        """Let time pass, and calls end."""
        if isinstance(self.machine.wait, Delay):
            self.attempt(self.machine.expire)
        while self.world.calls:
            self.world.calls.pop()
            self.attempt(self.machine.call_ended)
            self.attempt(self.machine.advance)


def told(kind, script, is_coroutine, pieces, reads, turns=3):
    """All that can be seen of a request while it is fed."""
    handler = type("Scripted", (Scripted,), {"script": script, "is_coroutine": is_coroutine})()
    watched = Watched(kind, handler, turns)
    for piece, read in zip(pieces, reads, strict=True):
        watched.attempt(watched.feed, piece)
        if watched.machine.blocked:
            watched.attempt(watched.machine.advance)
        if read:
            watched.attempt(watched.read, read)
        watched.outside()
    watched.attempt(watched.machine.end)
    watched.attempt(watched.read, None)
    return watched.seen, handler.log


@settings(max_examples=600)
@given(data=st.data(), script=scripts, is_coroutine=st.booleans(), pieces=st.lists(texts, min_size=1, max_size=6))
def test_the_hot_path_and_the_slow_way_give_the_same(data, script, is_coroutine, pieces):
    reads = data.draw(st.lists(st.sampled_from([0, 5, 1000]), min_size=len(pieces), max_size=len(pieces)))
    turns = data.draw(st.sampled_from([3, 7, -1]))
    fast, slow = (told(kind, tuple(script), is_coroutine, pieces, reads, turns) for kind in (StreamMachine, Slow))
    assert fast == slow


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("action", sorted({*ACTIONS}))
def test_one_odd_step_among_many_equal_ones(action, is_coroutine):
    wait = Until(b";", limit=9)
    for before, turns in ((before, turns) for before in range(6) for turns in (3, 7, -1)):
        script = (*((wait, "") for _ in range(before)), (wait, action))
        fast, slow = (told(kind, script, is_coroutine, [b"a;" * 12], [0], turns) for kind in (StreamMachine, Slow))
        assert fast == slow


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_one_piece_past_the_limit_among_many_others(is_coroutine):
    for before in range(6):
        pieces = [b"a;" * before + b"a" * 9 + b";" + b"a;" * 4]
        script = ((Until(b";", limit=9), "send"),)
        fast, slow = (told(kind, script, is_coroutine, pieces, [0], -1) for kind in (StreamMachine, Slow))
        assert fast == slow
        assert "LimitPassed" in repr(fast)


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_the_hot_path_takes_no_frame_past_its_limit(is_coroutine):
    script = ((Some(limit=1), ""), (Exactly(4, limit=3), ""), (Exactly(3, limit=3), ""))
    fast, slow = (told(kind, script, is_coroutine, [b"abababab"], [0]) for kind in (StreamMachine, Slow))
    assert fast == slow
    assert "LimitPassed" in repr(fast)


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("wait", [Until(b";", limit=9), Exactly(2), Some(limit=2)])
def test_the_hot_path_takes_no_step_that_is_none(wait, is_coroutine):
    script = ((wait, ""), (wait, "nonsense"))
    fast, slow = (told(kind, script, is_coroutine, [b"a;b;c;"], [0]) for kind in (StreamMachine, Slow))
    assert fast == slow
    assert "TypeError" in repr(fast)


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_the_hot_path_stops_at_the_high_water_mark(is_coroutine):
    script = ((Until(b";", limit=9), "much"),)
    fast, slow = (told(kind, script, is_coroutine, [b"a;b;c;"], [0]) for kind in (StreamMachine, Slow))
    assert fast == slow
    assert len(fast[1]) < 3


@pytest.mark.parametrize("kind", [StreamMachine, Slow])
def test_output_of_another_request_past_the_high_water_mark_blocks_the_hot_path(kind):
    handler = type("Scripted", (Scripted,), {"script": ((Until(b";", limit=9), ""),)})()
    watched = Watched(kind, handler)
    handler.send(b"x" * 41)
    watched.machine.feed(b"a;b;c;")
    assert watched.machine.blocked
    assert handler.log == []


@pytest.mark.parametrize("is_coroutine", [False, True])
@pytest.mark.parametrize("changed", [Until(b"b", limit=99), Until(b";", limit=2), Exactly(3), Some(limit=1)])
def test_a_wait_that_changes_after_many_equal_ones_takes_its_own_piece(changed, is_coroutine):
    script = (*((Until(b";", limit=99), "") for _ in range(5)), (changed, "send"))
    piece = b"a;" * 9 + b"ab;" * 9
    fast, slow = (told(kind, script, is_coroutine, [piece], [0], -1) for kind in (StreamMachine, Slow))
    assert fast == slow


class Various(StreamHandler):
    """Waits for equal pieces, with states that are made by `made`; the piece ``x;`` goes to `got` again."""

    made = "method"

    def setup(self):
        self.log = []

    def handle(self):
        return Until(b";"), self.got

    def got(self, piece):
        self.log.append(piece)
        return Until(b";"), self.then()

    def then(self):
        if self.made == "partial":
            return partial(self.got)
        if self.made == "function":
            return lambda piece: self.got(piece)
        if self.made == "builtin":
            return self.log.append  # which returns None, so that the request ends
        return self.got

    async def converse(self):
        self.log.append(await Until(b";"))
        return Until(b";"), self.then()


class FromCoroutine(Various):
    """Begins as a coroutine, which returns the next step."""

    def handle(self):
        return self.converse()


@pytest.mark.parametrize("handler", [Various, FromCoroutine])
@pytest.mark.parametrize("made", ["method", "partial", "function", "builtin"])
@pytest.mark.parametrize("pieces", [[b"a;b;c;d;e;f;"], [b"a;", b"b;", b"c;d;", b"e", b";"], [b"a;b", b";c;d;e;"]])
def test_a_state_may_be_anything_that_can_be_called(handler, made, pieces):
    logs = []
    for kind in StreamMachine, Slow:
        machine = kind(type(handler.__name__, (handler,), {"made": made})())
        machine.advance()
        for piece in pieces:
            machine.feed(piece)
        logs.append((machine.handler.log, machine.finished, machine.reason, machine.held_in))
    assert logs[0] == logs[1]
    assert len(logs[0][0]) == (2 if made == "builtin" else b"".join(pieces).count(b";"))


def test_what_another_request_puts_back_comes_first():
    machine = StreamMachine(Various())
    machine.feed(b"a;")
    machine.handler.put_back(b"b")
    machine.feed(b"c;d;")
    assert machine.handler.log == [b"a;", b"bc;", b"d;"]


def test_an_error_names_the_state_that_has_returned_the_nonsense():
    class Wrong(Various):
        def then(self):
            return self.got if len(self.log) < 2 else None

        def got(self, piece):
            step = super().got(piece)
            return step if len(self.log) < 2 else (None, self.never)

        def never(self, piece):
            raise AssertionError

    for pieces in [[b"a;b;"], [b"a;", b"b;"]]:
        machine = StreamMachine(Wrong())
        for piece in pieces[:-1]:
            machine.feed(piece)
        with pytest.raises(TypeError, match=r"Wrong\.got returned"):
            machine.feed(pieces[-1])


@pytest.mark.parametrize("made", [partial, lambda state: lambda piece: state(piece)])
def test_a_function_that_forgets_the_next_state_is_told_so(made):
    class Forgetful(Various):
        def then(self):
            return made(self.forget)

        def forget(self, piece):
            return Until(b";")

    for pieces in [[b"a;b;"], [b"a;", b"b;"]]:
        machine = StreamMachine(Forgetful())
        for piece in pieces[:-1]:
            machine.feed(piece)
        with pytest.raises(TypeError, match="the state to go to next is missing"):
            machine.feed(pieces[-1])


class Handshake(StreamHandler):
    """Takes four lines, then pieces by one wait, again and again."""

    block = Exactly(2)

    async def handle(self):
        for _ in range(4):
            await Until(b"\n")
        while True:
            self.send(await self.block)


class HandshakeOfStates(StreamHandler):
    block = Exactly(2)

    def setup(self):
        self.lines = 0

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, _):
        self.lines += 1
        return self.handle() if self.lines < 4 else (self.block, self.take)

    def take(self, piece):
        self.send(piece)
        return self.block, self.take


@pytest.mark.parametrize("handler", [Handshake, HandshakeOfStates])
@pytest.mark.parametrize("block", [Exactly(2), Some(limit=2), UntilAny(b";", b","), Until(b";")])
def test_a_run_of_lines_is_followed_by_equal_waits_for_something_else(handler, block):
    machine = StreamMachine(type(handler.__name__, (handler,), {"block": block})())
    machine.feed(b"a\n")
    machine.feed(b"a\n" * 3 + b"x;y;z;")
    assert machine.read() == b"x;y;z;"


@pytest.mark.parametrize("kind", [StreamMachine, Slow])
def test_a_state_may_put_back_all_that_has_come(kind):
    class Peeking(StreamHandler):
        async def handle(self):
            while True:
                self.put_back(await Some())
                self.send(b"<%b>" % await Until(b"\n"))

    machine = kind(Peeking())
    machine.advance()
    machine.feed(b"abc\n")
    machine.feed(b"d\n")
    assert machine.read() == b"<abc\n><d\n>"


@pytest.mark.parametrize("kind", [StreamMachine, Slow])
def test_output_below_the_high_water_mark_does_not_stop_a_request_that_opens(kind):
    class Opening(StreamHandler):
        high_water, low_water = 40, 10

        async def handle(self):
            self.send(b"x" * 20)
            await Until(b";")
            self.opened()
            while True:
                self.send(await Until(b";"))

    machine = kind(Opening())
    machine.advance()
    machine.feed(b"a;b;")
    assert machine.read() == b"x" * 20 + b"b;"


def test_what_is_no_bytes_ends_the_request():
    machine = StreamMachine(Various())
    machine.advance()
    with pytest.raises(TypeError):
        machine.feed(None)
    assert machine.finished
    machine.feed(b"a;")
    assert machine.handler.log == []


def test_a_timeout_that_raises_ends_the_request():
    class Odd(Various):
        @property
        def timeout(self):
            if len(self.log) > 1:
                raise ValueError("the timeout")
            return 5.0

    machine = StreamMachine(Odd())
    machine.feed(b"a;")
    with pytest.raises(ValueError, match="the timeout"):
        machine.feed(b"b;")
    assert machine.finished
    machine.feed(b"c;")
    assert machine.handler.log == [b"a;", b"b;"]


@pytest.mark.parametrize("pieces", [[b"a;bbbbbbbbb"], [b"bbbbbbbbb"], [b"a;", b"b", b"bbbbbbbb"]])
def test_a_cause_that_interrupted_raises_keeps_nothing(pieces):
    class Raising(StreamHandler):
        def handle(self):
            return Until(b";", limit=4), self.got

        def got(self, piece):
            return self.handle()

        def interrupted(self, cause):
            raise Cause("another one")

    machine = StreamMachine(Raising())
    kept = weakref.ref(machine.handler)
    gc.disable()
    try:
        with suppress(Cause):
            for piece in pieces:
                machine.feed(piece)
        assert isinstance(machine.reason, Cause)
        machine.reason = None
        machine.forget(World())
        assert kept() is None
    finally:
        gc.enable()


class Line(Until):
    """A wait of a user's own, of which each call makes an object."""


@pytest.mark.parametrize("is_coroutine", [False, True])
def test_equal_waits_of_a_class_of_ones_own_stay_on_the_hot_path(is_coroutine):
    class States(StreamHandler):
        def handle(self):
            return Line(b"\n", timeout=7), self.line

        def line(self, data):
            return self.handle()

    class Coroutine(StreamHandler):
        async def handle(self):
            while True:
                await Line(b"\n", timeout=7)

    machine = StreamMachine(Coroutine() if is_coroutine else States())
    machine.advance()
    assert [machine.feed(data) for data in (b"one\n", b"two\nthree\n", b"fo", b"ur\n")] == [7, 7, None, None]
