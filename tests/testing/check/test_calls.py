"""`check` with handlers that make calls (`Handler.call`): what it accepts, and the faults in calls that it finds."""

import math
import re
from types import SimpleNamespace

import pytest

from handlers import Connected, DatagramHandler, Delay, Failed, Packet, StreamHandler, Threaded, TimedOut, Until
from reactor.testing import (
    CheckFailed,
    answers,
    check,
    ends_at_any_byte,
    ends_at_any_byte_of_the_wire,
    make_calls,
    play,
    same_in_every_mode,
    same_through_filters,
    survives_any_input,
    tls,
    works_linearly,
)
from reactor.testing.running.subject import world_of
from tests.support.behind import FRAMED
from tests.support.pasted import assert_red_then_green

LINES = b"one\ntwo\n"
SERVER = SimpleNamespace(name=b"ann")


class Lines(StreamHandler):
    """Makes a call for each line."""

    async def handle(self):
        while True:
            self.call(self.made(), await Until(b"\n", limit=80), self.send)

    def made(self):
        return Upper()


class Upper(DatagramHandler):
    async def handle(self):
        self.send((await Packet()).upper())


class Named(Lines):
    """Its calls need the server, and know the peer."""

    def made(self):
        return Greeting()


class Greeting(DatagramHandler):
    async def handle(self):
        self.send(self.server.name + b" " + self.peer[0].encode() + b" " + await Packet())


class Waiting(Lines):
    """Its calls wait: for a time, for a thread, for a connection that can't be made, and for another call."""

    def made(self):
        return Waits()


class Waits(DatagramHandler):
    async def handle(self):
        line = await Packet()
        await Delay(0.001)
        self.send(await Threaded(bytes.upper, line))
        try:
            await Connected(("127.0.0.1", 0), StreamHandler(), timeout=1)
        except (Failed, TimedOut):
            self.call(Upper(), b"no server\n", self.send)
        await Delay(0.01)


class Fills(Lines):
    """Its answers are as long as its output may wait."""

    def made(self):
        return Long()


class Long(DatagramHandler):
    async def handle(self):
        self.send(await Packet() * 20_000)


class Exchanges(DatagramHandler):
    """Packets that make a call each."""

    async def handle(self):
        while True:
            self.call(Upper(), await Packet(timeout=0.2), self.send)


def test_calls_are_made_without_a_network():
    for kind, expected in (Lines, b"ONE\nTWO\n"), (Waiting, b"ONE\nNO SERVER\nTWO\nNO SERVER\n"):
        assert play(kind, [LINES]).output == expected
        assert play(kind, [b"on", b"e\nt", b"wo\n"]).output == expected
    answers(Named, LINES, b"ann 127.0.0.1 one\nann 127.0.0.1 two\n", world=world_of(None, SERVER))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        pytest.param(Lines, b"ONE\nTWO\n", marks=pytest.mark.slow),
        pytest.param(Waiting, b"ONE\nNO SERVER\nTWO\nNO SERVER\n", marks=pytest.mark.slow),
        pytest.param(Fills, b"one\n" * 20_000 + b"two\n" * 20_000, marks=pytest.mark.slow),
    ],
)
def test_a_handler_that_makes_calls_passes(kind, expected):
    check(kind, LINES, expected, modes=[], examples=5)
    same_in_every_mode(kind, LINES, modes=["select"])


@pytest.mark.slow
def test_an_exchange_of_packets_that_makes_calls_passes():
    check(Exchanges, [b"one", b"two"], [b"ONE", b"TWO"], modes=["select"], examples=5)


@pytest.mark.slow
@pytest.mark.parametrize("through", [FRAMED, tls()], ids=["framed", "tls"])
def test_calls_behind_filters_with_a_server_pass(through):
    world = world_of(None, SERVER)
    same_through_filters(Named, LINES, through, world=world, examples=3)
    ends_at_any_byte_of_the_wire(Named, LINES, through, world=world)


@pytest.mark.slow
def test_calls_with_a_server_pass():
    check(Named, LINES, server=SERVER, modes=["select"], examples=3)


# Faults


class Divides(Lines):
    def made(self):
        return Division()


class Division(DatagramHandler):
    least = 0

    async def handle(self):
        digits = (await Packet())[:-1]
        number = int(digits) if digits in (b"0", b"1", b"2") else 1
        self.send(b"%d\n" % (12 // max(self.least, number)))


class DividesByMore(Divides):
    def made(self):
        division = Division()
        division.least = 1
        return division


def failure(holds, kind, *conversation):
    """The first line of the report, and the printed test."""
    with pytest.raises(CheckFailed) as caught:
        holds(kind, *conversation)
    report, _, code = str(caught.value).partition("\n\n")
    return report.partition("\n")[0], code


def test_what_a_call_raises_is_told_with_a_test_that_makes_the_calls(tmp_path):
    told, code = failure(survives_any_input, Divides, b"2\n1\n")
    assert told.startswith("Divides: it raises ZeroDivisionError")
    assert "    make_calls(machine)  # ZeroDivisionError" in code
    assert_red_then_green(code, Divides, DividesByMore, tmp_path)


def test_a_wrong_answer_of_a_call_is_told(tmp_path):
    class Expects:
        def __call__(self, kind):
            answers(kind, LINES, b"one\ntwo\n")

    told, code = failure(Expects(), Lines)
    assert told == "Lines: the output is not the expected one"
    assert_red_then_green(code, Lines, Same, tmp_path)


class Same(Lines):
    """Its calls change nothing."""

    def made(self):
        return Unchanged()


class Unchanged(DatagramHandler):
    async def handle(self):
        self.send(await Packet())


class Turns(Lines):
    """A call never ends for an empty line."""

    def made(self):
        return Turning()


class Turning(DatagramHandler):
    async def handle(self):
        line = await Packet()
        while line == b"\n":
            pass


class TurnsNot(Lines):
    def made(self):
        return Unchanged()


def test_a_call_that_does_not_return_is_told(tmp_path):
    told, code = failure(survives_any_input, Turns, LINES)
    assert re.fullmatch(r"Turns: it does not return: over \d+ lines of Python", told)
    assert_red_then_green(code, Turns, TurnsNot, tmp_path)


class Searches(Lines):
    """Its calls cost ever more."""

    def __init__(self):
        self.seen = []

    def made(self):
        return Search(self.seen)


class Search(DatagramHandler):
    def __init__(self, seen):
        self.seen = seen

    async def handle(self):
        line = await Packet()
        for other in self.seen:
            if other == line:
                break
        self.seen.append(b"%d" % len(self.seen))


@pytest.mark.slow
def test_calls_that_cost_more_and_more_are_told():
    told, _ = failure(works_linearly, Searches, LINES)
    assert told == "Searches: four times as many bytes cost far more than four times the work"


# How calls are made


class Sleeps(Lines):
    def made(self):
        return Sleeping()


class Sleeping(DatagramHandler):
    """Waits again and again, for ever."""

    timeout = math.inf

    async def handle(self):
        self.send(await Packet())
        while True:
            await Delay(1)


def test_a_call_that_never_ends_is_cancelled_and_its_request_ends():
    run = play(Sleeps, [b"one\n", b"two\n"])
    assert (run.output, run.machine.calls) == (b"one\ntwo\n", 0)
    ends_at_any_byte(Sleeps, b"one\n", examples=5)


class Ends(StreamHandler):
    """Ends while a call is open: the call is not answered."""

    async def handle(self):
        self.call(Upper(), await Until(b"\n", limit=80), self.send)


def test_the_calls_of_a_request_that_has_ended_are_not_made():
    check(Ends, b"one\n", b"", modes=["select"], examples=5)


def test_a_call_waits_until_its_answer_has_room():
    run = play(Fills, [b"a\n" * 40])
    assert run.output == b"a\n" * 20_000 * 40
    assert run.reason is None


def test_calls_of_a_machine_of_ones_own_are_made_in_order():
    machine = play(Waiting, []).machine
    machine = type(machine)(Waiting())
    machine.feed(LINES)
    make_calls(machine)
    assert machine.read() == b"ONE\nNO SERVER\nTWO\nNO SERVER\n"
