"""The linter warns of what is amiss where it stands, and of nothing that is right."""

import inspect
import itertools
import math
from collections import Counter, OrderedDict, defaultdict, deque
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO

import pytest

import handlers
from handlers import (
    Cause,
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Flushed,
    Forked,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    StreamRequestHandler,
    TimedOut,
    ToEnd,
    Until,
    services,
)
from reactor.testing import lint
from tests import broken
from tests.test_diagram import Finger, Reverse, Secure, Two, Winding

INFINITE = float("inf")
HUGE = 64 * 1024 * 1024
LINE = Until(b"\n", limit=80)
LONG_LINE = Until(b"\n", limit=1 << 40)
SLOW_LINE = Until(b"\n", limit=80, timeout=math.inf)

NO_LIMIT, NO_TIME_OUT = "without a limit to speak of", "without a time out"
GROWS = "grows, and nothing cuts or measures it"
SWALLOWED = "catches the end of the stream and goes on, when nothing can come"
WHATEVER = "returns a step whatever the cause, even when nothing can come any more"

WRONG, RIGHT = [], []


def wrong(*messages):
    """A handler class with as many findings, each at a line of its source that says so."""

    def keep(kind):
        WRONG.append(pytest.param(kind, messages, id=kind.__qualname__))
        return kind

    return keep


def right(kind):
    """A handler class that nothing is to be said about."""
    RIGHT.append(pytest.param(kind, id=kind.__qualname__))
    return kind


class States(StreamHandler):
    """Answers lines; those derived from it say what is done with each."""

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.take(data)
        return self.handle()

    def take(self, data):
        pass


# Bounds of waits


@wrong(f"waits for ToEnd(limit=1 << 40) {NO_LIMIT}", f"waits for Some(HUGE) {NO_LIMIT}")
class NoLimit(StreamHandler):
    def handle(self):
        return ToEnd(limit=1 << 40), self.rest  # here

    def rest(self, data):
        return Some(HUGE), self.handle  # here


@wrong(f"waits for Until(b'\\n', math.inf) {NO_LIMIT}", f"waits for Exactly(5, None) {NO_LIMIT}")
class NoNumber(StreamHandler):
    async def handle(self):
        await Until(b"\n", math.inf)  # here
        await Exactly(5, None)  # here


@wrong(f"waits for LONG_LINE, {LONG_LINE!r}, {NO_LIMIT}", f"waits for self.line, {LONG_LINE!r}, {NO_LIMIT}")
class NoLimitKeptElsewhere(StreamHandler):
    line = LONG_LINE

    async def handle(self):
        await LONG_LINE  # here
        await self.line  # here


@wrong(f"waits for handlers.Until(delimiter, limit=most) {NO_LIMIT}")
class NoLimitInLocalNames(StreamHandler):
    async def handle(self):
        most = 2 * HUGE
        delimiter = b"\n"
        await handlers.Until(delimiter, limit=most)  # here


@right
class Limited(StreamHandler):
    most = 1000

    def __init__(self):
        self.length = HUGE

    def handle(self):
        limit = HUGE
        limit = 100
        return Until(b"\n", limit), self.line

    def line(self, data):
        self.length = int(data)
        return Exactly(5, self.length), self.rest

    def rest(self, data, *given, **named):
        return Until(b"\n", *given, **named), lambda data: (Until(b"\n", min(HUGE, self.most)), self.rest)


@wrong(f"waits for self.request, {LONG_LINE!r}, {NO_LIMIT}")
class BlockingWithoutLimit(StreamRequestHandler):
    request = LONG_LINE  # here

    def handle(self):
        self.wfile.write(self.rfile.readline())


# Time out


@wrong(f"waits for Until(b';', limit=9) {NO_TIME_OUT}")
class NoTimeOut(StreamHandler):
    timeout = None

    def handle(self):
        return Until(b";", limit=9), self.handle  # here

    def other(self, data):
        return Until(b";", limit=9, timeout=3), self.handle


@wrong(f"waits for Some() {NO_TIME_OUT}", f"waits for LINE, {LINE!r}, {NO_TIME_OUT}")
class InfiniteTimeOut(StreamHandler):
    timeout = math.inf

    async def handle(self):
        await Some()  # here
        await LINE  # here
        await Some(timeout=5)


@wrong(
    f"waits for Some(timeout=float('inf')) {NO_TIME_OUT}",
    f"waits for Exactly(3, timeout=INFINITE) {NO_TIME_OUT}",
    f"waits for Until(b'\\n', 80, INFINITE) {NO_TIME_OUT}",
    f"waits for Flushed(None, math.inf) {NO_TIME_OUT}",
    f"waits for Packet(INFINITE) {NO_TIME_OUT}",
)
class ForEver(StreamHandler):
    async def handle(self):
        await Some(timeout=float("inf"))  # here
        await Exactly(3, timeout=INFINITE)  # here
        await Until(b"\n", 80, INFINITE)  # here
        await Flushed(None, math.inf)  # here
        await Packet(INFINITE)  # here


@wrong(f"waits for SLOW_LINE, {SLOW_LINE!r}, {NO_TIME_OUT}", f"waits for self.line, {SLOW_LINE!r}, {NO_TIME_OUT}")
class NoTimeOutKeptElsewhere(StreamHandler):
    line = SLOW_LINE

    def handle(self):
        return SLOW_LINE, self.rest  # here

    def rest(self, data):
        return self.line, self.handle  # here


@wrong(f"waits for Until(b'\\n', timeout=math.inf) {NO_TIME_OUT}")
class NoTimeOutInAProperty(StreamHandler):
    @cached_property
    def line(self):
        return Until(b"\n", timeout=math.inf)  # here

    async def handle(self):
        await self.line


@right
class TimeOut(StreamHandler):
    timeout = None

    def setup(self):
        self.timeout = 5

    async def handle(self, seconds=None):
        await Some()
        await Forked(print, math.inf, timeout=seconds)
        await Delay(math.inf)


# What grows


@wrong(f"self.lines {GROWS}")
class Grows(StreamHandler):
    def __init__(self):
        self.lines = deque()

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.lines.append(data)  # here
        return self.handle()


@wrong(f"self.held {GROWS}")
class Adds(States):
    held = b""

    def take(self, data):
        self.held = self.held + data  # here


@wrong(f"self.held {GROWS}")
class AddsInPlace(States):
    def __init__(self):
        self.held, self.count = bytearray(), 0

    def take(self, data):
        self.held += data  # here


@wrong(f"self.held {GROWS}")
class Joins(States):
    held = b""

    def take(self, data):
        self.held = b"".join([self.held, data])  # here


@wrong(f"self.lines {GROWS}")
class Spreads(States):
    def setup(self):
        self.lines = []

    def take(self, data):
        self.lines = [*self.lines, data]  # here


@wrong(f"self.seen {GROWS}")
class Remembers(States):
    def __init__(self):
        self.seen = {}

    def take(self, data):
        if data not in self.seen:
            self.seen[data] = True  # here


@wrong(f"self.seen {GROWS}")
class CountsAll(States):
    def __init__(self):
        self.seen = Counter()

    def take(self, data):
        self.seen[data] += 1  # here


@wrong(f"self.seen {GROWS}", f"self.parts {GROWS}")
class Collects(States):
    def __init__(self):
        self.seen = set()
        self.parts = defaultdict(list)

    def take(self, data):
        self.seen.add(data)  # here
        self.parts[data[:1]].append(data)  # here


@wrong(f"self.log {GROWS}")
class WritesToMemory(States):
    def __init__(self):
        self.log = BytesIO()

    def take(self, data):
        self.log.write(data)  # here


@wrong(f"self.everything, which all requests share, {GROWS}")
class Shares(StreamHandler):
    everything = []

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.everything.append(data)  # here


@wrong(f"self.lines {GROWS}")
class SetOnceAtFirst(StreamHandler):
    """What is done before the first line, or behind the last, is no bound of what is done with each."""

    def handle(self):
        self.lines = []
        return LINE, self.line

    def line(self, data):
        if data == b"\n":
            return LINE, self.last
        self.lines.append(data)  # here
        return LINE, self.line

    def last(self, data):
        self.lines.clear()

    def finish(self):
        self.lines = None


@wrong(f"held {GROWS}", f"lines {GROWS}")
class GrowsInALoop(StreamHandler):
    async def handle(self):
        held, lines = b"", []
        while True:
            held += await Some()  # here
            lines.append(held[:3])  # here


@wrong(f"held {GROWS}")
class GrowsUntilThePeerSaysSo(StreamHandler):
    async def handle(self):
        while True:
            held = b""
            while b"\n" not in held:
                held = held + await Some()  # here
            if held.find(b"quit") >= 0:
                return


@wrong(f"self.lines {GROWS}")
class GrowsInAHelper(StreamHandler):
    def __init__(self):
        self.lines = []

    async def handle(self):
        for _ in itertools.count():
            await self.more()

    async def more(self):
        self.lines.append(await LINE)  # here


@wrong(f"lines {GROWS}")
class GrowsWithAGenerator(StreamHandler):
    async def lines(self):
        while True:
            yield await LINE

    async def handle(self):
        lines = []
        async for line in self.lines():
            lines.append(line)  # here  # noqa: PERF401


@right
class Counts(States):
    """Numbers, and what has as many keys as there are in the source."""

    count = 0

    def __init__(self):
        self.total = 0
        self.average = 0.0
        self.options = {}
        self.slots = [None] * 8
        self.ring = {}

    def take(self, data):
        self.count += 1
        self.total += len(data)
        self.average = self.average + self.total / self.count
        self.options["last"] = data
        self.slots[self.count % 8] = data
        self.ring[self.count % 8] = data
        if data in (b"one", b"two"):
            self.options[data] = True


@right
class KeepsTheLast(States):
    def __init__(self):
        self.lines = deque(maxlen=5)
        self.others = deque(maxlen=5)
        self.held = b""

    def take(self, data):
        self.lines.append(data)
        self.others.append(data)
        self.held = self.held[-10:] + data


@right
class WritesElsewhere(States):
    """What it adds to is not its own, or may be anything."""

    def __init__(self, log=None):
        self.log = log

    def take(self, data):
        self.server.log.append(data)
        self.log.append(data)
        self.log.write(data)
        self.log += data
        Counts.lines.append(data)


@right
class Measures(Grows):
    def line(self, data):
        self.lines.append(data)
        return self.handle() if len(self.lines) < 10 else None


@right
class Sums(Grows):
    def line(self, data):
        self.lines.append(data)
        if sum(map(len, self.lines)) > 1000:
            return None
        return self.handle()


@right
class CountsRounds(StreamHandler):
    def __init__(self):
        self.lines = []
        self.left = 10

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.lines.append(data)
        self.left -= 1
        return self.handle() if self.left else None


@right
class Empties(States):
    def __init__(self):
        self.lines = []
        self.words = OrderedDict()
        self.held = b""

    def take(self, data):
        self.lines.append(data)
        self.words[data] = data
        self.held += data
        if data == b"\n":
            self.reset()

    def reset(self):
        self.lines = []
        self.words.clear()
        *_, self.held = self.held.split(b"\n")


@right
class HandsOn(States):
    """Others may cut it."""

    def __init__(self):
        self.held = bytearray()
        self.lines = []
        self.seen = []

    def take(self, data):
        self.held += data
        self.lines.append(data)
        self.seen.append(data)
        parse(self.held)
        lines = self.lines
        del lines[:-5]
        self.server.tidy(seen=self.seen)


def parse(held):
    del held[:]


@right
class Once(StreamHandler):
    """Each state comes once."""

    def __init__(self):
        self.fields = []

    def handle(self):
        return LINE, self.first

    def first(self, data):
        self.fields.append(data)
        return LINE, self.second

    def second(self, data):
        self.fields.append(data)
        self.send(b"".join(self.fields))


@right
class Thrice(StreamHandler):
    async def handle(self):
        fields = []
        for _ in range(3):
            fields.append(await LINE)  # noqa: PERF401
        while fields:
            fields.extend(self.split(fields.pop()))

    def split(self, field):
        return []


@right
class BoundedLoops(StreamHandler):
    async def handle(self):
        count, lines, left = 0, [], 10
        while True:
            lines.append(await LINE)
            count += 1
            if count == 10:
                break
        held = b""
        while left:
            held += await Some(left)
            left -= len(held)
        words = []
        for number in itertools.count():
            words.append(await LINE)
            if number == 10:
                return
        for _ in itertools.repeat(None, 3):
            words.append(await LINE)  # noqa: PERF401
        while True:
            part = b""
            part += await LINE
            held = held.replace(b"x", part)


@right
class Registers(StreamHandler):
    room = {}

    async def handle(self):
        name = await LINE
        self.room[name] = self
        while await LINE:
            pass

    def finish(self):
        self.room.pop(self, None)


# The end of the stream


@wrong(SWALLOWED)
class Swallows(StreamHandler):
    async def handle(self):
        while True:
            try:
                self.send(await Some())
            except EndOfStream:  # here  # noqa: PERF203
                self.send(b"?")


@wrong(SWALLOWED, SWALLOWED, SWALLOWED)
class SwallowsInEachLoop(StreamHandler):
    async def handle(self):
        import itertools

        line = Until(b"\n")
        for _ in itertools.count():
            try:
                self.send(await line)
            except EndOfStream:  # here  # noqa: PERF203
                pass
        while True:
            try:
                self.send(await self.help())
            except (TimedOut, Cause):  # here  # noqa: PERF203
                continue
        while True:
            with suppress(Exception):  # here
                await Some()

    async def help(self):
        return await Some()


@right
class Leaves(StreamHandler):
    async def handle(self):
        going_on = True
        while going_on:
            try:
                await Some()
            except TimedOut:  # noqa: PERF203  # a wait in a loop may be cut short, and the loop go on
                continue
            except EndOfStream:
                going_on = False


@right
class LeavesBehind(StreamHandler):
    async def handle(self):
        while True:
            try:
                data = await Some()
            except EndOfStream as end:
                data = end.partial
            if not data:
                break
        while True:
            line = None
            with suppress(EndOfStream):
                line = await LINE
            if line is None:
                return
            try:
                line = await LINE
            except EndOfStream:
                self.fail()

    def fail(self):
        raise EOFError


@right
class CatchesWhatIsNotTheEnd(StreamHandler):
    async def handle(self):
        for _ in range(3):
            try:
                await Some()
            except EndOfStream:  # noqa: PERF203
                continue
        while True:
            try:
                await Forked(print)
                await ToEnd()
            except Exception:
                self.send(b"?")
            try:
                await Some()
            except EndOfStream:
                raise
            except Cause:
                pass
            try:
                await Some()
            except EndOfStream:
                await Delay(math.inf)  # another row ends it


@right
class HasNoEnd(DatagramHandler):
    timeout = 5

    async def handle(self):
        while True:
            try:
                await Packet()
            except Exception:  # noqa: PERF203
                return


@wrong(WHATEVER)
class Returns(StreamHandler):
    def handle(self):
        return Some(), self.handle

    def interrupted(self, cause):
        return Some(), self.handle  # here


@wrong(WHATEVER)
class BeginsAgain(States):
    def interrupted(self, cause):
        print(cause) if cause else None
        return self.handle()  # here


@wrong(WHATEVER)
class BeginsAgainLater(States):
    def interrupted(self, cause):
        step = Delay(1), self.again
        match cause:
            case LimitPassed():
                self.send(b"too long")
            case _:
                self.send(b"what?")
        return step  # here

    def again(self, _):
        return self.handle()


@wrong(WHATEVER)
class BeginsItsCoroutineAgain(StreamHandler):
    async def handle(self):
        while True:
            self.send(await LINE)

    def interrupted(self, cause):
        if isinstance(cause, LimitPassed):
            return None
        return self.handle()  # here


@wrong(WHATEVER)
class AsksForEver(States):
    def interrupted(self, cause):
        self.send(b"?")
        return Delay(1), lambda _: self.interrupted(cause)  # here


@right
class Decides(Returns):
    def interrupted(self, cause):
        if isinstance(cause, TimedOut):
            return Some(), self.handle
        return None


@right
class DecidesAgainst(Returns):
    def interrupted(self, cause):
        if not isinstance(cause, (EndOfStream, LimitPassed)):
            return self.handle()
        return super().handle() if isinstance(cause, LimitPassed) else None


@right
class DecidesByCase(Returns):
    def interrupted(self, cause):
        match cause:
            case TimedOut():
                return self.handle()


@right
class Asserts(Returns):
    def interrupted(self, cause):
        assert isinstance(cause, TimedOut)
        return self.handle()


@right
class TriesThrice(Returns):
    tries = 0

    def interrupted(self, cause):
        self.tries += 1
        if self.tries > 3:
            return None
        return self.handle()


@right
class SaysGoodbye(Returns):
    def interrupted(self, cause):
        self.send(b"goodbye")
        return Flushed(), self.gone

    def gone(self, _):
        return Delay(1), lambda _: None


@right
class LeavesItToTheNext(Returns):
    def interrupted(self, cause):
        return StreamHandler.interrupted(self, cause)


@right
class AnswersInACoroutine(StreamHandler):
    async def handle(self):
        await LINE

    async def interrupted(self, cause):
        self.send(b"goodbye")
        await Flushed()


# What is left behind


@wrong("what open(await Until(b'\\n')) gives is left behind if the request is cut short")
class Opens(StreamHandler):
    async def handle(self):
        file = open(await Until(b"\n"))  # here  # noqa: SIM115
        self.send(await Some() + file.read())


@wrong("what open(data) gives is left behind if the request is cut short")
class Keeps(States):
    def take(self, data):
        self.file = open(data)  # here  # noqa: SIM115


@wrong("what Connected(('127.0.0.1', 7), services.Echo()) gives is left behind if the request is cut short")
class Connects(StreamHandler):
    async def handle(self):
        other = await Connected(("127.0.0.1", 7), services.Echo())  # here
        other.send(await Some())


@wrong("is left in self.server.members when it has ended")
class Enters(StreamHandler):
    def handle(self):
        self.server.members.add(self)  # here
        return Some(), self.handle


@right
class Closes(StreamHandler):
    async def handle(self):
        with open(await Until(b"\n")) as file:
            self.send(await Some() + file.read())


@right
class Quits(Enters):
    def finish(self):
        self.server.members.discard(self)


@right
class LeavesInTheEnd(StreamHandler):
    async def handle(self):
        self.server.members.append(self)
        try:
            while await LINE:
                pass
        finally:
            self.server.members.remove(self)


@right
class OpensNothing(States):
    """Methods of its own may have such names; what a state opens for itself is gone when it has returned."""

    def take(self, data):
        self.open(data)
        self.send(open(data, "rb").read())  # noqa: SIM115

    def open(self, data):
        pass


# What is hard to read


@right
@dataclass
class Generated(StreamHandler):
    """Has methods without source."""

    lines: int = 0

    def handle(self):
        self.send(b"""
hello
""")
        return LINE, self.line

    line = lambda self, data: self.handle()  # noqa: E731


@right
class Nothing(StreamHandler):
    timeout = 5


@right
class PatientButNotForEver(StreamHandler):
    timeout = None
    idle_timeout = 60

    def handle(self):
        return LINE, self.line

    def line(self, data):
        return SLOW_LINE, self.line


@pytest.mark.parametrize(("kind", "messages"), WRONG)
def test_what_is_amiss_is_warned_of_where_it_stands(kind, messages):
    found = lint(kind)
    assert [finding.message for finding in found] == list(messages)
    lines, first = inspect.getsourcelines(kind)
    marked = [first + number for number, line in enumerate(lines) if "# here" in line]
    assert [finding.line for finding in found] == marked
    assert str(found[0]) == f"{found[0].method}, line {marked[0]}: {messages[0]}"


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_is_not_warned_of(kind):
    assert lint(kind) == []


SERVICES = [kind for kind in vars(services).values() if getattr(kind, "__module__", "") == services.__name__]
SERVICES = [kind for kind in SERVICES if isinstance(kind, type)]


def test_the_services_are_all_here():
    assert len(SERVICES) == 10


@pytest.mark.parametrize("kind", [*SERVICES, Reverse, Secure, Winding, Two, Finger, broken.Mended])
def test_there_is_no_false_alarm_in_what_is_right_elsewhere(kind):
    assert lint(kind) == []


def test_where_there_is_no_source_is_an_error():
    names = {"StreamHandler": StreamHandler}
    exec("class Made(StreamHandler):\n    def handle(self):\n        return None", names)
    with pytest.raises(OSError, match="Made: there is no source of it"):
        lint(names["Made"])
