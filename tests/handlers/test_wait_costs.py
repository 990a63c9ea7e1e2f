"""The cost of a wait, counted in lines of Python and bytes copied."""

import operator
import sys
import tracemalloc

import pytest

from handlers import Exactly, LimitPassed, Some, StreamMachine, ToEnd, Until
from tests.support.strategies import States, singly, spellings, take

spelling = pytest.mark.parametrize("spelling", spellings)


class Counted:
    """Bytes that count how many of them were searched."""

    def __init__(self, held, tally):
        self.held, self.tally = held, tally

    def __len__(self):
        return len(self.held)

    def find(self, wanted, start=0, stop=sys.maxsize):
        found = self.held.find(wanted, start, stop)
        looked_at_to = min(stop, len(self.held)) if found < 0 else found + len(wanted)
        self.tally.append(max(0, looked_at_to - start))
        return found


def tallied(kind, *arguments):
    """A wait of ``kind`` with counted searches, and the counts."""
    tally = []

    class Tallied(kind):
        __slots__ = ()

        def find(self, held, start, scanned, ended):
            return super().find(Counted(held, tally), start, scanned, ended)

    return Tallied(*arguments), tally


class Rescanning(Until):
    """The counterexample: it searches from the beginning with every byte."""

    __slots__ = ()

    def find(self, held, start, scanned, ended):
        return super().find(held, start, start, ended)


def searched(kind, size):
    """How many bytes are searched in a message of ``size`` bytes that is fed one byte at a time."""
    wait, tally = tallied(kind, b"\r\n\r\n", size)
    message = b"\r" * (size - 4) + b"\r\n\r\n"
    assert take(States(wait), singly(message)) == [message]
    return sum(tally)


def is_linear(cost):
    """Whether four times the size costs about four times as much, not sixteen times."""
    return cost(4_000) < 5 * cost(1_000)


def test_a_search_resumes_where_it_stopped():
    assert is_linear(lambda size: searched(Until, size))
    assert searched(Until, 1_000) <= 4 * 1_000  # each byte once for each byte of the delimiter
    assert not is_linear(lambda size: searched(Rescanning, size))


def test_a_search_looks_no_further_than_its_limit():
    """Otherwise input without a delimiter would be searched to its end again for every piece taken of it."""

    def cost(size):
        wait, tally = tallied(Until, b"\n", 10)
        assert take(States(*[wait] * (size // 10)), [b"x" * size]) == [(LimitPassed, b"x" * 10)] * (size // 10)
        return sum(tally)

    assert is_linear(cost)


def executed(handler, fed):
    """How many instructions of Python it takes to feed ``fed``."""
    machine = StreamMachine(handler)
    machine.advance()
    count = 0

    def trace(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for piece in fed:
            machine.feed(piece)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        lambda size: [Until(b"\n", size + 1)],
        lambda size: [Exactly(size)],
        lambda size: [ToEnd(size)],
        lambda size: [Some()] * size,
        lambda size: [Exactly(10)] * (size // 10),
    ],
    ids=["until", "exactly", "to end", "some", "messages"],
)
def test_bytes_fed_one_at_a_time_take_constant_work_each(script):
    assert is_linear(lambda size: executed(States(*script(size)), singly(bytes(size))))


@spelling
def test_messages_fed_at_once_take_constant_work_each(spelling):
    assert is_linear(lambda size: executed(spelling(*[Exactly(10)] * (size // 10)), [bytes(size)]))


SIZE = 1 << 20


def copied(call, *arguments):
    """Peak of the bytes allocated during the call, beyond those allocated before."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    call(*arguments)
    return tracemalloc.get_traced_memory()[1] - before


@pytest.fixture
def _traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("_traced")
def test_feeding_one_byte_does_not_copy_the_bytes_held():
    machine = StreamMachine(States(ToEnd(2 * SIZE)))
    machine.feed(bytes(SIZE))
    machine.feed(b"a")
    assert max(copied(machine.feed, b"a") for _ in range(100)) < SIZE / 100
    grown = bytes(SIZE)
    assert copied(operator.add, grown, b"a") > SIZE / 100  # what a copy would cost


@pytest.mark.usefixtures("_traced")
def test_draining_output_does_not_copy_the_rest_nor_the_input_held():
    """The peer sends much and reads little: each read of output lets the machine take some of the input held."""

    class Echo(States):
        high_water = 8
        low_water = 0

        def took(self, result):
            self.send(result)
            return super().took(result)

    machine = StreamMachine(Echo(*[Exactly(10)] * 1_000))
    machine.feed(bytes(SIZE))
    assert max(copied(machine.read) for _ in range(100)) < SIZE / 100
    assert machine.held_in == SIZE - 101 * 10

    machine.write(bytes(SIZE))
    assert max(copied(machine.read, 10) for _ in range(100)) < SIZE / 100
