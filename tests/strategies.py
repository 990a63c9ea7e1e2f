"""What several test modules share: byte strings cut anywhere, waits, and handlers that keep a log.

No example has a deadline, and none is too slow: how fast the machine of the day is, is no
property of the code.
"""

from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from handlers import (
    Cause,
    DatagramHandler,
    Delay,
    Exactly,
    Flushed,
    Packet,
    Some,
    StreamHandler,
    ToEnd,
    Until,
    World,
)  # fmt: skip

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def singly(data):
    """``data`` one byte at a time."""
    return [data[place : place + 1] for place in range(len(data))]


def cuts(data):
    """Ways to cut ``data``: whole, one byte at a time, or anywhere, with empty pieces too."""
    places = st.lists(st.integers(0, len(data)), max_size=12).map(sorted)
    anywhere = places.map(lambda inner: [data[a:b] for a, b in pairwise([0, *inner, len(data)])])
    return st.one_of(st.just([data]), st.just(singly(data)), anywhere)


def pieces(whole):
    """Byte strings of the strategy ``whole``, each cut in one of those ways."""
    return whole.flatmap(cuts)


def converse(machine, fed, end=True):
    """Start it, feed it all, end its input if ``end``, and return all its output; it must be finite."""
    machine.advance()
    for piece in fed:
        machine.feed(piece)
    if end:
        machine.end()
    return b"".join(iter(machine.read, b""))


# Waits

limits = st.one_of(st.integers(1, 6), st.integers(70, 200))
timeouts = st.one_of(st.none(), st.floats(0, 1e6))
delimiters = st.binary(min_size=1, max_size=4)
untils = st.builds(Until, st.text("ab", min_size=1, max_size=3).map(str.encode), limits.map(lambda limit: limit + 2))
exactlys = st.builds(Exactly, st.one_of(st.integers(0, 7), st.integers(60, 150)), limits)
bounded = st.one_of(untils, exactlys, st.builds(ToEnd, limits))
"""The waits whose results do not depend on how the stream was cut."""

values = st.one_of(
    st.builds(Until, delimiters, limits.map(lambda limit: limit + 3), timeouts),
    st.builds(Exactly, st.integers(0, 9), st.one_of(limits, st.just(1 << 20)), timeouts),
    st.builds(Some, limits, timeouts),
    st.builds(ToEnd, limits, timeouts),
    st.builds(Packet, timeouts),
    st.builds(Flushed, st.none(), timeouts),
    st.builds(Delay, st.floats(0, 1e6)),
)
"""Every wait that is written with nothing but plain data."""


# One script in both spellings


def told(cause):
    """A cause as plain data: its class, and the bytes that it hands over."""
    return type(cause), getattr(cause, "partial", None)


class Script:
    """Takes waits one by one, whatever becomes of each; ``seen`` has the results and the causes."""

    def __init__(self, *waits):
        self.script = iter(waits)
        self.seen = []


class States(Script, StreamHandler):
    """A script as states."""

    def handle(self):
        return next(((wait, self.took) for wait in self.script), None)

    def took(self, result):
        self.seen.append(result)
        return self.handle()

    def interrupted(self, cause):
        self.seen.append(told(cause))
        return self.handle()


class Conversation(Script, StreamHandler):
    """The same script as a coroutine."""

    async def handle(self):
        for wait in self.script:
            try:
                self.seen.append(await wait)
            except Cause as cause:  # noqa: PERF203  # whatever becomes of each
                self.seen.append(told(cause))


class Packets(Script, DatagramHandler):
    """The same script for datagrams."""

    handle, took, interrupted = States.handle, States.took, States.interrupted


spellings = [States, Conversation]


# One conversation in every spelling; as a blocking handler it is in test_blocking.py


class Logged(StreamHandler):
    """Keeps a log of what is called; what derives from it decides what happens."""

    def __init__(self):
        self.log = []

    def setup(self):
        self.log.append("setup")

    def interrupted(self, cause):
        self.log.append(told(cause))

    def finish(self):
        self.log.append("finish")


class Netstrings(Logged):
    """Answers each netstring with the netstring reversed: as states."""

    def handle(self):
        return Until(b":", limit=7), self.length

    def length(self, digits):
        return Exactly(int(digits[:-1]) + 1, limit=99), self.payload

    def payload(self, data):
        self.answer(data)
        return self.handle()

    def answer(self, data):
        self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))


class Conversing(Netstrings):
    """The same as one coroutine."""

    async def handle(self):
        while True:
            digits = await Until(b":", limit=7)
            self.answer(await Exactly(int(digits[:-1]) + 1, limit=99))


class Helping(Netstrings):
    """The same with a coroutine for each message."""

    async def handle(self):
        while True:
            await self.message()

    async def message(self):
        digits = await Until(b":", limit=7)
        self.answer(await Exactly(int(digits[:-1]) + 1, limit=99))


class Alternating(Netstrings):
    """The same with states and coroutines that hand over to one another."""

    def length(self, digits):
        return self.rest(int(digits[:-1]) + 1)

    async def rest(self, size):
        return self.payload(await Exactly(size, limit=99))


netstrings = [Netstrings, Conversing, Helping, Alternating]


class Driver(World):
    """Counts how often its machine asked to be looked at."""

    touches = 0

    def touched(self):
        self.touches += 1
