"""Handlers that hold more and more, and handlers with a bound."""

import itertools
from collections import Counter, OrderedDict, defaultdict, deque
from io import BytesIO

from handlers import Some, StreamHandler
from tests.testing.reading.specimens.marks import GROWS, LINE, States, right, wrong


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
    """Work before the first line or after the last is no bound of the work with each line."""

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
    """Numbers, and dictionaries whose keys are all in the source."""

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
    """Adds to objects that are not its own, or of unknown type."""

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
    """Other code may shorten it."""

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
    """Each state is entered once."""

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
