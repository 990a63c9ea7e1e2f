"""Every handler of the package, and each spelling of one, against every event that a peer and a loop can cause.

The machine gets the same calls in the same order as from a row, so a fault found here is a fault in a server. Urgent
data, calls of other rows and outside work are among the events; `check` leaves these out.
"""

import errno
import importlib
import os
import pkgutil
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handlers
from handlers import (
    BaseRequestHandler,
    Cancelled,
    DatagramHandler,
    DatagramMachine,
    DatagramRequestHandler,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Handler,
    LimitPassed,
    Packet,
    RequestRefused,
    Reset,
    Some,
    StreamHandler,
    StreamMachine,
    StreamRequestHandler,
    Threaded,
    TimedOut,
    ToEnd,
    Until,
    World,
)
from handlers.blocking.buffered import buffered
from handlers.http import Files
from handlers.telnet import AYT, DM, DO, EC, EL, IAC, IP, NOP, SB, SE, WILL
from reactor.testing.inputs.strategies import mutations
from reactor.testing.running.counting import held
from tests.support.frames import Awaitable, Frames, Generated, OneState
from tests.support.http_handlers import Pieces
from tests.support.package import handlers_here
from tests.support.strategies import cuts
from tests.support.telnet import Job

KEYS = Path(__file__).parents[1] / "support" / "keys"

KEPT = 8_192
"""Bytes that a handler may keep itself: twice the limit of a Telnet line."""

SPEECH = {
    "telnet": b"".join((
        b"one\r\ntwo", bytes([IAC, EC, IAC, EL]), b"\r\0", bytes([IAC, DO, 1, IAC, WILL, IAC, IAC, AYT, IAC, NOP]),
        bytes([IAC, SB, 24, 0, IAC, IAC, IAC, SE, IAC, IP]), b"x\xff\xffy\n", bytes([IAC, DM]),
    )),
    "frames": b"\x03one\x00\x05three\x01a",
    "orders": b"a9;b;cxyz;d3;e;f",
    "lines": b"one\r\ntwo\r\n",
    "http": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /ca.pem HTTP/1.1\r\nHost: a\r\n\r\n",
}  # fmt: skip
"""The input of a client that follows the protocol."""


# One handler in each spelling, with every kind of wait


class States(StreamHandler):
    """Each letter is an order with another wait. After a cause it goes on, up to three times."""

    patience = 3

    def handle(self):
        return Exactly(1), self.order

    def order(self, letter):
        steps = {
            b"a": (Until(b";", limit=9), self.answer), b"b": (Delay(1), self.answer),
            b"c": (Flushed(), self.answer), b"d": (Threaded(len, b"abc"), self.answer),
            b"e": (Some(limit=4), self.answer), b"f": (ToEnd(limit=20), self.last),
        }  # fmt: skip
        return steps.get(letter) or self.handle()

    def answer(self, result):
        self.send(repr(result).encode())
        return self.handle()

    def last(self, data):
        self.send(data)
        self.send_eof()

    def interrupted(self, cause):
        self.patience -= 1
        self.send(type(cause).__name__.encode())
        return self.handle() if self.patience else None

    def urgent(self, data):
        self.put_back(self.take_held()[:3])
        self.send(b"!" + data)
        return self.handle() if data < b"a" else None


class Conversing(States):
    """The same as a coroutine."""

    async def handle(self):
        while True:
            step = self.order(await Exactly(1))
            if isinstance(step, tuple):
                result = await step[0]
                self.send(repr(result).encode())

    def order(self, letter):
        return States.order(self, letter) if letter in b"abcdef" else None

    def answer(self, result):
        raise AssertionError("the coroutine takes the answers itself")

    last = answer


class Mixed(States):
    """The same with a coroutine for each order and for each answer to a cause."""

    def order(self, letter):
        return self.obey(super().order(letter))

    async def obey(self, step):
        wait, state = step
        return state(await wait) if state != self.order else step

    async def interrupted(self, cause):
        return super().interrupted(cause)


class Quote(StreamRequestHandler):
    """A blocking handler, run over the bytes held."""

    request = Until(b"\n", limit=40)

    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"> " + line)


class Raw(BaseRequestHandler):
    """The same with the socket itself."""

    request = Until(b"\n", limit=40)

    def handle(self):
        self.request.sendall(self.request.recv(9))
        self.request.shutdown(1)


class QuotePacket(DatagramRequestHandler):
    """A blocking handler of datagrams."""

    def handle(self):
        self.wfile.write(b"> " + self.rfile.read())


class Pair(DatagramHandler):
    """Answers two packets with one, or one with two; as states."""

    def handle(self):
        return Packet(timeout=5), self.second

    def second(self, packet):
        self.first = packet
        return (Packet(), self.answer) if packet[:1] != b"t" else (Flushed(), self.answer)

    def answer(self, packet):
        self.send(self.first)
        self.send(packet or b"")
        return self.handle() if packet else None


class PairConversing(Pair):
    """The same as a coroutine."""

    async def handle(self):
        while True:
            first = await Packet(timeout=5)
            second = await (Packet() if first[:1] != b"t" else Flushed())
            self.send(first)
            self.send(second or b"")
            if not second:
                return


class Pages(Files):
    def __init__(self):
        super().__init__(KEYS)


SUBJECTS = {
    **dict.fromkeys(handlers_here(), "lines"),
    **{kind: "telnet" for kind in handlers_here() if "telnet" in kind.__module__},
    **dict.fromkeys((Frames, Generated, Awaitable, OneState), "frames"),
    **dict.fromkeys((States, Conversing, Mixed), "orders"),
    **dict.fromkeys((Quote, Raw, QuotePacket, Pair, PairConversing), "lines"),
    Job: "telnet", Pieces: "http", Pages: "http",
}  # fmt: skip
"""The handlers, and the name of the input of each in `SPEECH`."""


# The events


def arrivals(conversation):
    """Input in pieces: the conversation, damaged and cut anywhere; any bytes; and far too many of one byte."""
    flood = st.sampled_from([conversation * 9, b"x" * 5_000, (b"x" * 900 + bytes([IAC, NOP])) * 20])
    pieces = st.one_of(
        mutations(conversation).flatmap(cuts), st.lists(st.one_of(st.binary(max_size=9), flood), max_size=3)
    )
    return st.lists(pieces, max_size=3).map(lambda parts: [piece for part in parts for piece in part])


EVENTS = st.one_of(
    st.tuples(st.just("read"), st.integers(0, 99)),
    st.tuples(st.sampled_from(["expire", "end", "close", "answer", "fail"]), st.none()),
    st.tuples(st.just("urgent"), st.one_of(st.binary(min_size=1, max_size=1), st.just(bytes([DM])))),
    st.tuples(st.just("send"), st.binary(max_size=40)),
    st.tuples(st.just("abandon"), st.sampled_from([Reset, Cancelled, TimedOut])),
)  # fmt: skip


@st.composite
def happenings(draw, conversation):
    """The events of one request, in order."""
    happening = [("arrive", data) for data in draw(arrivals(conversation))]
    for place, event in draw(st.lists(st.tuples(st.integers(0, len(happening)), EVENTS), max_size=8)):
        happening.insert(place, event)
    return happening


class Row(World):
    """Drives a machine as a row does, and checks what a machine owes a row."""

    def __init__(self, kind, turns):
        super().__init__(("10.0.0.2", 5001), now=lambda: 1e9)
        self.turns = turns
        self.calls = []
        handler = counted(kind, self.calls)()
        self.packets = isinstance(handler, DatagramHandler)
        self.machine = (DatagramMachine if self.packets else StreamMachine)(handler, self)
        self.waiting, self.ended = deque(), False
        self.told = {LimitPassed, RequestRefused}  # the causes that are declared
        self.largest = self.limit = 0
        self.machine.advance()
        self.settle()

    def happen(self, event, argument):
        getattr(self, event)(argument)
        self.settle()

    def touched(self):
        self.again = True

    def settle(self):
        """Feed the machine as long as it wants input, then check it."""
        machine = self.machine
        self.again = True
        while self.again:
            self.again = False
            if machine.blocked:
                machine.advance()
            if machine.wants_input and self.waiting:
                machine.feed(self.waiting.popleft())
                self.again = True
            elif machine.wants_input and self.ended:
                self.told.add(EndOfStream)
                machine.end()
        self.look()

    def look(self):
        machine = self.machine
        assert machine.reason is None or type(machine.reason) in self.told
        if machine.finished:
            assert (machine.wait, machine.held_in, machine.wants_input) == (None, 0, False)
            assert self.calls == ["setup", "finish"]
            return
        assert self.calls == ["setup"]
        wait = machine.wait
        assert machine.patience < 1e6
        self.limit = max(self.limit, getattr(wait, "limit", 0))
        if machine.wants_input:
            assert machine.held_in <= getattr(wait, "limit", 0)
            assert self.packets or wait.find(bytes(machine.inbox), 0, 0, False) == -1  # not an error that was swallowed
            assert machine.held_out <= machine.handler.high_water
        assert held(machine) <= self.limit + 2 * self.largest + KEPT  # the last piece, and the input before it
        assert machine.held_out <= machine.handler.max_output

    # The events

    def arrive(self, data):
        if not self.machine.finished:
            self.waiting.append(data)
            self.largest = max(self.largest, len(data))

    def urgent(self, data):
        if not self.packets and not self.ended and not self.machine.finished:
            before = b"".join(self.waiting)
            self.waiting.clear()
            self.largest += len(before)
            self.machine.urgent(data, before)

    def end(self, _):
        self.ended = not self.packets

    def read(self, count):
        self.machine.read(*([] if self.packets else [count]))

    def expire(self, _):
        self.told.add(TimedOut)
        self.machine.expire()

    def close(self, _):
        self.told.add(Cancelled)
        self.machine.handler.close()

    def send(self, data):
        self.machine.handler.send(data)

    def answer(self, _):
        if self.machine.wait is not None and self.machine.wait.outside:
            self.machine.resume(3)

    def fail(self, _):
        wait = self.machine.wait
        if wait is not None and wait.outside:
            self.told.add(Failed)
            self.machine.interrupt(Failed(wait, RuntimeError("no thread")))

    def abandon(self, kind):
        self.told.add(kind)
        causes = {Reset: OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), TimedOut: self.machine.wait}
        self.machine.abandon(kind(causes[kind]) if kind in causes else kind())
        self.machine.drop_output()


def counted(kind, calls):
    """The class with counts of the requests that begin and end, and with water marks low enough to be passed."""
    kind = kind if issubclass(kind, Handler) else buffered(kind, packets=issubclass(kind, DatagramRequestHandler))

    class Noted(kind):
        high_water, low_water = 200, 50

        def setup(self):
            calls.append("setup")
            super().setup()

        def finish(self):
            calls.append("finish")
            super().finish()

    return Noted


@pytest.mark.slow
@pytest.mark.parametrize("kind", SUBJECTS, ids=lambda kind: kind.__name__)
@given(st.data())
def test_after_any_events_a_request_waits_within_its_bounds_or_has_ended_for_a_declared_cause(kind, data):
    row = Row(kind, data.draw(st.sampled_from([-1, 1, 3])))
    for event, argument in data.draw(happenings(SPEECH[SUBJECTS[kind]])):
        row.happen(event, argument)
    row.happen("abandon", Reset)
    assert row.machine.finished
    rest = row.machine.held_out
    for event in ("arrive", b"x"), ("send", b"x"), ("expire", None), ("close", None), ("urgent", b"x"):
        row.happen(*event)
    assert row.machine.held_out == rest


def test_every_handler_of_the_package_is_tried():
    names = [f"handlers.{module.name}" for module in pkgutil.iter_modules(handlers.__path__)]
    kinds = {
        kind for name in names for kind in vars(importlib.import_module(name)).values()
        if isinstance(kind, type) and hasattr(kind, "handle") and not kind.__name__.startswith("_")
    }  # fmt: skip
    assert {kind for kind in kinds if not any(issubclass(tried, kind) for tried in SUBJECTS)} == set()
    assert {StreamHandler, DatagramHandler, BaseRequestHandler, StreamRequestHandler} <= kinds
