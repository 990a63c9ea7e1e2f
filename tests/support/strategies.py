"""Byte strings cut anywhere, one conversation in every spelling, and handlers that keep a log."""

from itertools import pairwise

from hypothesis import strategies as st

from handlers import (
    Cancelled,
    Cause,
    DatagramHandler,
    Delay,
    Exactly,
    Flushed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    ToEnd,
    Until,
    UntilAny,
    World,
)


def singly(data):
    """``data`` as single bytes."""
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
    """Start the machine, feed it the pieces, end its input if ``end``; returns all its output, which must be finite."""
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

alternatives = st.lists(st.text("ab", min_size=1, max_size=3).map(str.encode), min_size=1, max_size=3)
untils_any = st.builds(lambda several, limit: UntilAny(*several, limit=limit + 2), alternatives, limits)

bounded = st.one_of(untils, untils_any, exactlys, st.builds(ToEnd, limits))
"""The waits whose results do not depend on how the stream is cut."""

values = st.one_of(
    st.builds(Until, delimiters, limits.map(lambda limit: limit + 3), timeouts),
    st.builds(
        lambda several, limit, timeout: UntilAny(*several, limit=limit + 3, timeout=timeout),
        st.lists(delimiters, min_size=1, max_size=3),
        limits,
        timeouts,
    ),
    st.builds(Exactly, st.integers(0, 9), st.one_of(limits, st.just(1 << 20)), timeouts),
    st.builds(Some, limits, timeouts),
    st.builds(ToEnd, limits, timeouts),
    st.builds(Packet, timeouts),
    st.builds(Flushed, st.none(), timeouts),
    st.builds(Delay, st.floats(0, 1e6)),
)
"""Every wait whose arguments are plain data."""


# One script of waits, as states and as a coroutine


def told(cause):
    """A cause as plain data: its class and its bytes."""
    return type(cause), getattr(cause, "partial", None)


class Script:
    """Waits for one wait after the other; ``seen`` has the result or the cause of each."""

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
            except Cause as cause:  # noqa: PERF203  # every wait of the script has its own cause
                self.seen.append(told(cause))


class Packets(Script, DatagramHandler):
    """The same script for datagrams."""

    handle, took, interrupted = States.handle, States.took, States.interrupted


spellings = [States, Conversation]


# One conversation in every spelling; as a blocking handler it is `tests.support.blocking.Finger`


class Logged(StreamHandler):
    """Keeps a log of the calls; a subclass has the states."""

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
    """The same with states and coroutines in turn."""

    def length(self, digits):
        return self.rest(int(digits[:-1]) + 1)

    async def rest(self, size):
        return self.payload(await Exactly(size, limit=99))


netstrings = [Netstrings, Conversing, Helping, Alternating]


class Driver(World):
    """Counts the touches: how often its machine asked for attention."""

    touches = 0

    def touched(self):
        self.touches += 1


def still(machine):
    """Whether nothing that is done to a request that has ended reaches its handler."""
    log, reason = list(machine.handler.log), machine.reason
    machine.feed(b"a")
    for call in machine.advance, machine.end, machine.expire, machine.close:
        call()
    for call in machine.interrupt, machine.abandon, machine.resume:
        call(Cancelled())
    machine.handler.send(b"too late")
    assert machine.read() == b""
    assert (machine.wait, machine.wants_input, machine.held_in, machine.held_out) == (None, False, 0, 0)
    assert machine.patience == machine.handler.timeout  # the time that the peer has to take the rest
    return machine.finished and (machine.handler.log, machine.reason) == (log, reason)


def somewhere(_):
    """A state."""


class Echo(StreamHandler):
    """Sends each byte back, with water marks of a few bytes."""

    high_water = 8
    low_water = 3

    def handle(self):
        return Exactly(1), self.echo

    def echo(self, data):
        self.send(data)
        return self.handle()


def take(handler, fed, end=True):
    """Feed the pieces to the handler; returns the results and causes that it has seen."""
    converse(StreamMachine(handler), fed, end)
    pieces_taken = [seen[1] if isinstance(seen, tuple) else seen for seen in handler.seen]
    assert all(type(piece) is bytes for piece in pieces_taken)
    return handler.seen
