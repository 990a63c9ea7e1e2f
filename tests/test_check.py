"""``check`` passes what is right, catches what is broken, and shows it with the smallest test there is.

The handlers of `tests.broken` are each broken in one way. For each of them the test that is
printed is given here literally; it is also run, against the broken handler and a mended one.
"""

import gc
import importlib
import itertools
import pkgutil
import random
import re
import runpy
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import handlers
from handlers import (
    Connected,
    DatagramHandler,
    DatagramRequestHandler,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Flushed,
    Forked,
    Handler,
    Packet,
    Reset,
    Some,
    StreamHandler,
    StreamMachine,
    StreamRequestHandler,
    TimedOut,
    Until,
    World,
    services,
)
from reactor.testing import checks
from reactor.testing.checks import check
from reactor.testing.counting import EndlessLoop, held, line_limit
from reactor.testing.evidence import CheckFailed
from reactor.testing.loopback import MODES, ask, modes_here
from reactor.testing.schedule import END, RESET, Take, play, work
from reactor.testing.strategies import chunkings, deliveries, mutations, packet_schedules, schedules
from tests import broken
from tests.broken import CONVERSATION

ROOT = Path(__file__).resolve().parent.parent
PACKETS = [b"one", b"two", b"three"]
SOON = settings(max_examples=5_000, phases=[Phase.generate], database=None)
"""Find something, and don't look for something smaller."""


# The strategies


@given(st.binary(max_size=40).flatmap(lambda data: st.tuples(st.just(data), chunkings(data))))
def test_chunks_join_to_the_data_and_none_is_empty(drawn):
    data, chunks = drawn
    assert b"".join(chunks) == data
    assert all(chunks)


def test_every_way_to_cut_comes_up():
    cuts = [[0, *inner, 4] for count in range(4) for inner in combinations(range(1, 4), count)]
    ways = [[b"abcd"[start:end] for start, end in pairwise(places)] for places in cuts]
    assert len(ways) == 8
    for way in ways:
        assert find(chunkings(b"abcd"), lambda chunks, way=way: chunks == way, settings=SOON) == way


@pytest.mark.parametrize("seed", range(5))
def test_chunkings_shrink_to_the_fewest_cuts(seed):
    def between(chunks):
        return any(chunk.endswith(b"\r") for chunk in chunks)

    least = find(chunkings(CONVERSATION), between, random=random.Random(seed))
    assert least == [b"one\r", b"\ntwo\r\n"]


@given(schedules(CONVERSATION))
def test_a_schedule_is_data_whose_repr_is_code(schedule):
    assert eval(repr(schedule), {"Take": Take, "END": END, "RESET": RESET}) == schedule
    chunks = [step for step in schedule if isinstance(step, bytes)]
    assert CONVERSATION.startswith(b"".join(chunks))
    assert all(step not in (END, RESET) for step in schedule[:-1])


@pytest.mark.parametrize(
    "wanted",
    [
        lambda schedule: END in schedule and 0 < len(b"".join(map(_bytes, schedule))) < len(CONVERSATION),
        lambda schedule: RESET in schedule and 0 < len(b"".join(map(_bytes, schedule))) < len(CONVERSATION),
        lambda schedule: Take(0) in schedule,
        lambda schedule: any(isinstance(step, Take) and step.limit == 3 for step in schedule),
        lambda schedule: any(isinstance(step, float) and step > 300 for step in schedule[1:]),
        lambda schedule: b"".join(map(_bytes, schedule)) == CONVERSATION and schedule[-1] not in (END, RESET),
    ],
)
def test_whatever_can_happen_to_a_stream_is_scheduled(wanted):
    assert wanted(find(schedules(CONVERSATION), wanted, settings=SOON))


def _bytes(step):
    return step if isinstance(step, bytes) else b""


@pytest.mark.parametrize(
    ("wanted", "least"),
    [
        (lambda arrived: arrived.count(b"two") > 1, [b"one", b"two", b"two", b"three"]),
        (lambda arrived: b"two" not in arrived, [b"one", b"three"]),
        (lambda arrived: b"tw" in arrived, [b"one", b"tw", b"three"]),
        (lambda arrived: arrived == [b"two", b"one", b"three"], [b"two", b"one", b"three"]),
    ],
    ids=["double", "lose", "truncate", "overtake"],
)
def test_whatever_can_happen_to_datagrams_happens(wanted, least):
    assert find(deliveries(PACKETS), wanted, random=random.Random(1)) == least


@given(deliveries(PACKETS, truncates=False))
def test_datagrams_are_not_damaged_unless_that_is_asked_for(arrived):
    assert set(arrived) <= set(PACKETS)


@given(packet_schedules(PACKETS, lossy=False))
def test_without_loss_the_packets_come_as_they_were_sent(schedule):
    arrived = [step for step in schedule if isinstance(step, bytes)]
    assert arrived == PACKETS[: len(arrived)]


@pytest.mark.parametrize(
    "wanted",
    [
        lambda data: data == b"",
        lambda data: data == CONVERSATION,
        lambda data: data.count(b"one") == 2,
        lambda data: len(data) < len(CONVERSATION) and data.endswith(b"two\r\n"),
        lambda data: b"\xff" in data,
    ],
)
def test_mutations_leave_out_repeat_and_insert(wanted):
    assert wanted(find(mutations(CONVERSATION), wanted, settings=SOON))


# Playing a schedule


class Slow(StreamHandler):
    async def handle(self):
        while True:
            data = await Some()
            await Delay(2)
            self.send(data)


def test_what_the_handler_does_not_want_yet_waits_as_in_the_kernel():
    run = play(Slow, [b"one", b"two", 1.0, Take(9)])
    assert (run.output, run.fed, run.finished) == (b"onetwo", 6, False)
    assert run.code().splitlines() == [
        "machine = StreamMachine(Slow())",
        "machine.feed(b'one')",
        "machine.expire()",
        "machine.feed(b'two')",
        "machine.expire()",
    ]


def test_time_that_passes_ends_a_wait_only_when_it_is_over():
    class Patient(StreamHandler):
        timeout = 10

        def handle(self):
            return Exactly(4), self.handle

    assert not play(Patient, [b"ab", 6.0, b"c", 3.0]).finished
    run = play(Patient, [b"ab", 6.0, b"c", 5.0])
    assert isinstance(run.reason, TimedOut)


def test_the_end_and_a_reset_come_after_the_bytes_before_them():
    assert isinstance(play(broken.Mended, [b"one\ntw", END]).reason, EndOfStream)
    run = play(broken.Mended, [b"one\n", RESET])
    assert isinstance(run.reason, Reset)
    assert run.output == b""  # there is nobody to send it to


@given(st.lists(st.integers(0, 5).map(Take), max_size=6))
def test_however_the_output_is_taken_it_is_the_same(takes):
    assert play(services.Echo, [b"hello", *takes, b", world"]).output == b"hello, world"


def test_output_past_the_high_water_mark_holds_up_the_input_until_it_is_taken():
    class Narrow(services.Echo):
        high_water, low_water = 4, 2

    run = play(Narrow, [b"123456", b"78", Take(3), Take(1), END])
    assert (run.output, run.finished) == (b"12345678", True)
    assert "machine.read(3)" in run.code()


def test_work_elsewhere_is_done_at_once_and_a_connection_can_not_be_had():
    class Outside(StreamHandler):
        async def handle(self):
            self.send(b"%d " % await Forked(pow, 2, 10))
            try:
                await Forked(divmod, 1, 0)
            except Failed as failed:
                self.send(b"%r " % type(failed.error))
            await Connected(("127.0.0.1", 9), services.Echo())

    run = play(Outside, [])
    assert run.output == b"1024 <class 'ZeroDivisionError'> "
    assert isinstance(run.reason, Failed)
    assert isinstance(run.reason.error, OSError)


def test_each_packet_begins_an_exchange_unless_one_is_open():
    class Pair(DatagramHandler):
        async def handle(self):
            self.send(await Packet() + await Packet())

    assert play(Pair, [b"a", b"b", b"c"]).output == [b"ab"]
    assert play(services.EchoDatagram, [b"a", b"", b"c"]).output == [b"a", b"", b"c"]


def test_a_handler_that_never_stops_sending_is_stopped():
    run = play(services.CharGen, [b"ignored", END])
    assert run.endless
    assert len(run.output) > 100_000
    assert run.fed == 0


def test_the_world_is_the_one_that_is_given_and_is_in_the_code_when_it_was_asked():
    run = play(services.Daytime, [], World(now=lambda: 383_276_263.0))
    assert run.output == b"Tuesday, February 23, 1982 01:37:43-UTC\r\n"
    assert run.code().startswith("machine = StreamMachine(Daytime(), World(now=lambda: 383276263.0))\n")


# Counting


def test_a_loop_is_ended_where_it_loops():
    def loop():
        nonlocal count
        while True:
            count += 1

    count = 0
    with pytest.raises(EndlessLoop), line_limit(500):
        loop()
    assert 100 < count < 500
    with line_limit(10) as limit:
        count = 1
        count = 2
    assert 2 <= limit.lines < 10


def test_work_is_the_same_each_time_and_sees_searches_and_copies():
    data = [b"a"] * 64
    assert work(broken.Rescans, data) == work(broken.Rescans, data)
    assert work(broken.Rescans, data) > work(services.Discard, data) + 64 * 32
    assert work(services.Discard, [b"a" * 4_000]) == work(services.Discard, [b"a"])


def test_the_work_of_the_garbage_collector_is_nobodys():
    def told(phase, info):
        return [phase, info]

    data = [b"a"] * 64
    before, thresholds = work(broken.Rescans, data), gc.get_threshold()
    gc.callbacks.append(told)
    gc.set_threshold(1)
    try:
        assert work(broken.Rescans, data) == before
    finally:
        gc.callbacks.remove(told)
        gc.set_threshold(*thresholds)
    assert gc.isenabled()


def test_what_is_held_is_found_wherever_a_handler_keeps_it():
    class Hoard(StreamHandler):
        def handle(self):
            self.parts = {"first": bytearray(10)}
            return self.converse()

        async def converse(self):
            kept = await Exactly(20)
            await Until(b";")
            return kept

    machine = StreamMachine(Hoard())
    machine.feed(b"a" * 20 + b"b" * 5)
    assert held(machine) == 5 + 10 + len("first") + 8 + 20


# What is right passes


def handlers_here():
    """Every handler that the package ``handlers`` has, but for those that others of it are derived from."""
    names = [f"handlers.{module.name}" for module in pkgutil.iter_modules(handlers.__path__)]
    kinds = [(name, kind) for name in names for kind in vars(importlib.import_module(name)).values()]
    found = [
        kind for name, kind in kinds
        if isinstance(kind, type) and issubclass(kind, Handler) and kind.__module__ == name
        and kind.handle is not Handler.handle and not kind.__name__.startswith("_")
    ]  # fmt: skip
    return [kind for kind in found if not any(kind in other.__mro__[1:] for other in found)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", handlers_here(), ids=lambda kind: kind.__name__)
def test_every_handler_of_the_package_passes(kind):
    check(kind, PACKETS if issubclass(kind, DatagramHandler) else CONVERSATION, examples=10)


def test_there_are_such_handlers():
    assert {services.Echo, services.CharGen, services.TimeDatagram} <= set(handlers_here())


class Finger(StreamRequestHandler):
    request = Until(b"\r\n", limit=80)

    def handle(self):
        self.wfile.write(b"no plan for " + self.rfile.readline())


class FingerPacket(DatagramRequestHandler):
    def handle(self):
        self.wfile.write(b"no plan for " + self.rfile.readline())


class Netstrings(StreamHandler):
    """Uses most of the waits, answers the end, and lets its output drain."""

    high_water, low_water = 8, 4

    async def handle(self):
        while True:
            digits = (await Until(b":", limit=4))[:-1]
            if not digits.isdigit():
                return
            data = await Exactly(int(digits) + 1)
            self.send(b"%d:%b," % (len(data) - 1, data[-2::-1]))
            await Flushed()

    def interrupted(self, cause):
        self.send(b"bye")


@pytest.mark.parametrize(
    ("kind", "conversation", "expected"),
    [
        (broken.Mended, CONVERSATION, CONVERSATION.upper()),
        (Netstrings, [b"5:hello,", b"3:abc,"], b"5:olleh,3:cba,"),
        (Finger, b"ada\r\n", b"no plan for ada\r\n"),
        (FingerPacket, [b"ada", b"bob"], [b"no plan for ada", b"no plan for bob"]),
    ],
)
def test_handlers_of_each_kind_pass(kind, conversation, expected):
    check(kind, conversation, expected, examples=15)


def test_a_blocking_handler_that_does_not_say_when_a_request_is_here_is_refused():
    class Silent(StreamRequestHandler):
        pass

    with pytest.raises(TypeError, match="Three ways out"):
        check(Silent, b"")


@pytest.mark.parametrize("mode", modes_here())
def test_a_real_server_answers_in_each_mode(mode):
    assert ask(mode, services.Echo, CONVERSATION) == CONVERSATION
    assert ask(mode, services.EchoDatagram, PACKETS) == PACKETS
    assert ask(mode, services.Time, b"", World(now=lambda: 0.0)).hex() == "83aa7e80"


def test_the_modes_are_the_four():
    assert MODES == ("sync", "select", "fork", "thread")
    assert set(modes_here()) <= set(MODES)


# What is broken does not

CAUGHT = {
    "SplitsCRLF": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(SplitsCRLF())
        whole.feed(b'one\r\n')
        machine = StreamMachine(SplitsCRLF())
        machine.feed(b'one\r')
        machine.feed(b'\n')
        assert machine.read() == whole.read()  # b'ONE\r\r\n', not b'ONE\r\n'
        """,
    ),
    "SearchesOneTooFar": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(SearchesOneTooFar())
        whole.feed(b'one\r\n')
        machine = StreamMachine(SearchesOneTooFar())
        machine.feed(b'one\r')
        machine.feed(b'\n')
        assert machine.read() == whole.read()  # b'', not b'ONE\r\n'
        """,
    ),
    "LosesRemainder": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(LosesRemainder())
        whole.feed(b'one\r\ntwo\r\n')
        machine = StreamMachine(LosesRemainder())
        machine.feed(b'one\r\nt')
        machine.feed(b'wo\r\n')
        assert machine.read() == whole.read()  # b'ONE\r\nWO\r\n', not b'ONE\r\nTWO\r\n'
        """,
    ),
    "RemembersOnePiece": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(RemembersOnePiece())
        whole.feed(b'one\r\n')
        machine = StreamMachine(RemembersOnePiece())
        machine.feed(b'one')
        machine.feed(b'\r')
        machine.feed(b'\n')
        assert machine.read() == whole.read()  # b'\r\n', not b'ONE\r\n'
        """,
    ),
    "Rescans": (
        "works_linearly",
        r"""
        short = work(Rescans, [b'a'] * 128 + [END])
        long = work(Rescans, [b'a'] * 512 + [END])
        assert long <= 6 * short
        """,
    ),
    "HoardsInput": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(HoardsInput())
        for _ in range(33):
            machine.feed(b'a' * 4096)
        assert held(machine) <= 135168
        """,
    ),
    "SwallowsTheEnd": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(SwallowsTheEnd())
        machine.feed(b'one\r\n')
        machine.end()  # RuntimeError: SwallowsTheEnd goes round in handle:LINE without taking …
        """,
    ),
    "WaitsOutTheEnd": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(WaitsOutTheEnd())
        machine.feed(b'o')
        machine.end()
        for _ in range(200):
            machine.expire()
        assert machine.finished
        """,
    ),
    "SharesItsBuffer": (
        "leaves_nothing_behind",
        r"""
        other = StreamMachine(SharesItsBuffer())
        other.feed(b'o')
        machine = StreamMachine(SharesItsBuffer())
        machine.feed(b'one\r\n')
        assert machine.read() == b'ONE\r\n'
        """,
    ),
    "HangsOnAnEmptyLine": (
        "survives_any_input",
        r"""
        machine = StreamMachine(HangsOnAnEmptyLine())
        with line_limit(100_100):
            machine.feed(b'\n')  # does not return
        """,
    ),
    "NeverTiresOfWaiting": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(NeverTiresOfWaiting())
        machine.advance()
        assert machine.patience <= 31_536_000  # a year
        """,
    ),
    "SulksForEver": (
        "survives_any_input",
        r"""
        machine = StreamMachine(SulksForEver())
        machine.feed(b'\n')
        for _ in range(200):
            machine.expire()
        assert machine.finished
        """,
    ),
    "TrustsTheLength": (
        "survives_any_input",
        r"""
        machine = StreamMachine(TrustsTheLength())
        machine.feed(b':')  # ValueError: invalid literal for int() with base 10: b''
        """,
    ),
    "CountsChunks": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(CountsChunks())
        whole.feed(b'on')
        machine = StreamMachine(CountsChunks())
        machine.feed(b'o')
        machine.feed(b'n')
        assert machine.read() == whole.read()  # b'1 1 ', not b'2 '
        """,
    ),
    "ReadsOn": (
        "in_sync_mode",
        r"""
        assert ask('sync', ReadsOn, b'one\r\ntwo\r\n') == b'ONE\r\n'
        """,
    ),
    "ExpectsOrder": (
        "survives_any_input",
        r"""
        machine = DatagramMachine(ExpectsOrder())
        machine.feed(b'2')  # ValueError: the second part before the first
        """,
    ),
    "RescansALocalArray": (
        "works_linearly",
        r"""
        short = work(RescansALocalArray, [b'a'] * 128 + [END])
        long = work(RescansALocalArray, [b'a'] * 512 + [END])
        assert long <= 6 * short
        """,
    ),
    "RescansText": (
        "works_linearly",
        r"""
        short = work(RescansText, [b'a'] * 128 + [END])
        long = work(RescansText, [b'a'] * 512 + [END])
        assert long <= 6 * short
        """,
    ),
    "WaitsForEverLater": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(WaitsForEverLater())
        machine.feed(b'\n')
        assert machine.patience <= 31_536_000  # a year
        """,
    ),
    "TakesAnyLengthLater": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(TakesAnyLengthLater())
        machine.feed(b'\n')
        assert machine.wait.limit <= 16777216
        """,
    ),
    "SleepsAsLongAsToldTo": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(SleepsAsLongAsToldTo())
        machine.feed(b'99999999\n')
        assert machine.patience <= 31_536_000  # a year
        """,
    ),
    "SleepsForEver": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(SleepsForEver())
        machine.feed(b'one\r\n')
        machine.end()
        assert machine.finished
        """,
    ),
    "SwallowsTheTimeout": (
        "ends_at_any_byte",
        r"""
        machine = StreamMachine(SwallowsTheTimeout())
        machine.advance()
        for _ in range(200):
            machine.expire()
        assert machine.finished
        """,
    ),
    "RaisesWhenMuchComes": (
        "stays_in_bounds",
        r"""
        machine = StreamMachine(RaisesWhenMuchComes())
        machine.feed(b'a' * 4096)  # ValueError: line too long
        """,
    ),
    "Recurses": (
        "works_linearly",
        r"""
        machine = StreamMachine(Recurses())
        for _ in range(2048):
            machine.feed(b'a')
        machine.end()  # RecursionError: maximum recursion depth exceeded
        """,
    ),
    "JudgesTheFirstChunk": (
        "for_any_chunking",
        r"""
        whole = StreamMachine(JudgesTheFirstChunk())
        whole.feed(b'one\r\n')
        machine = StreamMachine(JudgesTheFirstChunk())
        machine.feed(b'o')
        machine.feed(b'ne\r\n')
        assert machine.read() == whole.read()  # b'', not b'ONE\r\n'
        """,
    ),
    "SharesADefault": (
        "leaves_nothing_behind",
        r"""
        other = StreamMachine(SharesADefault())
        other.feed(b'o')
        machine = StreamMachine(SharesADefault())
        machine.feed(b'one\r\n')
        assert machine.read() == b'ONE\r\n'
        """,
    ),
    "TellsTheTime": (
        "leaves_nothing_behind",
        r"""
        first = StreamMachine(TellsTheTime())
        first.feed(b'one\r\ntwo\r\n')
        again = StreamMachine(TellsTheTime())
        again.feed(b'one\r\ntwo\r\n')
        assert again.read() == first.read()  # NUMBERS
        """,
    ),
    "LosesCount": (
        "survives_any_input",
        r"""
        machine = DatagramMachine(LosesCount())
        machine.feed(b'x')  # ValueError: invalid literal for int() with base 10: b'x'
        """,
    ),
}
CONVERSATIONS = {"TrustsTheLength": b"5:hello,", "ExpectsOrder": [b"1 one", b"2 two"], "LosesCount": [b"1", b"x"]}


def test_every_broken_handler_is_here():
    defined = {name for name, kind in vars(broken).items() if getattr(kind, "__module__", "") == broken.__name__}
    mended = {kind.__name__ for kind in (broken.Mended, *broken.MENDED.values())}
    assert defined == {*CAUGHT, *mended, broken.TooShort.__name__}


@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.slow
def test_a_broken_handler_is_caught_with_the_smallest_test(name, tmp_path):
    title, body = CAUGHT[name]
    kind = getattr(broken, name)
    with pytest.raises(CheckFailed) as caught:
        check(kind, CONVERSATIONS.get(name, CONVERSATION), examples=100)
    message, _, code = str(caught.value).partition("\n\n")
    assert message.startswith(f"{name}: ")
    head, _, printed = code.partition("():\n")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    assert head.endswith(f"\n\n\ndef test_{words}_{title}")
    printed = re.sub(r"handle:\d+", "handle:LINE", printed)
    assert re.sub(r"b'\d{5}.*, not .*", "NUMBERS", printed) == _indented(body)
    assert_red_then_green(code, kind, broken.MENDED.get(kind, broken.Mended), tmp_path)


def assert_red_then_green(code, kind, mended, tmp_path):
    """The printed test, pasted into a file, fails with the broken handler and passes with a mended one."""
    path = tmp_path / "pasted.py"
    path.write_text(code)
    module = runpy.run_path(str(path))
    [test] = [value for name, value in module.items() if name.startswith("test_")]
    with pytest.raises((Exception, EndlessLoop)) as failed:
        test()
    assert not isinstance(failed.value, (NameError, ImportError, SyntaxError))
    test.__globals__[kind.__name__] = mended
    test()


def _indented(body):
    lines = body.strip("\n").rstrip().splitlines()
    return "".join(f"{line[4:]}\n" for line in lines)


# Each property alone


PROPERTIES = [
    checks.leaves_nothing_behind,
    checks.same_for_any_chunking,
    checks.ends_at_any_byte,
    checks.survives_any_input,
    checks.stays_in_bounds,
    checks.works_linearly,
]


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_a_property_can_be_tried_alone(holds):
    holds(broken.Mended, CONVERSATION, examples=5)


def test_the_modes_can_be_tried_alone():
    class TellsTheMode(StreamHandler):
        async def handle(self):
            self.send(type(self.server).__name__.encode())

    checks.same_in_every_mode(broken.Mended, CONVERSATION, modes=["select", "thread"])
    with pytest.raises(CheckFailed, match="in thread mode the answer is another") as caught:
        checks.same_in_every_mode(TellsTheMode, b"", modes=["thread"])
    assert "assert ask('thread', TellsTheMode, b'') == b'NoneType'" in str(caught.value)


def test_an_answer_that_is_not_the_expected_one_is_shown():
    with pytest.raises(CheckFailed, match="not the expected one") as caught:
        checks.answers(broken.Mended, b"one\n", b"TWO\n")
    assert "assert machine.read() == b'TWO\\n'" in str(caught.value)


def test_two_broken_datagrams_are_told_as_two_machines():
    class Once(DatagramHandler):
        answered = []

        async def handle(self):
            packet = await Packet()
            if packet not in self.answered:
                self.answered.append(packet)
                self.send(packet)

    with pytest.raises(CheckFailed) as caught:
        checks.leaves_nothing_behind(Once, [b"a"])
    assert Once.answered == []  # what the class holds was put back
    assert str(caught.value).partition("():\n")[2] == _indented("""
        other = DatagramMachine(Once())
        other.feed(b'a')
        machine = DatagramMachine(Once())
        machine.feed(b'a')
        assert list(iter(machine.read, None)) == [b'a']
    """)


def test_state_that_is_not_even_in_the_class_is_found_and_put_back():
    seen, last = [], b""

    class Outside(StreamHandler):
        async def handle(self):
            nonlocal last
            last += await Some()
            seen.append(last)
            self.send(b"%d" % len(seen))

    with pytest.raises(CheckFailed, match="another request has sent"):
        checks.leaves_nothing_behind(Outside, b"ab")
    assert (seen, last) == ([], b"")


def test_state_that_is_out_of_reach_is_told_as_that_or_as_chance():
    class Numbered(StreamHandler):
        numbers = itertools.count()

        async def handle(self):
            self.send(b"%d" % next(self.numbers))

    with pytest.raises(CheckFailed, match="where it is not found, or the handler asks a clock or chance of its own"):
        checks.leaves_nothing_behind(Numbered, b"")


def test_what_the_class_holds_stays_the_same_object():
    missing, known = object(), []

    class Marked(StreamHandler):
        mark, names = missing, known

        async def handle(self):
            self.names.append(await Some())
            self.send(b"%d" % (self.mark is missing))

    checks.leaves_nothing_behind(Marked, b"ab")
    assert Marked.mark is missing
    assert Marked.names is known
    assert known == []


@pytest.mark.parametrize("bound", ["request_timeout", "idle_timeout", "min_rate"])
def test_a_handler_may_wait_again_and_again_within_the_times_that_its_class_declares(bound):
    class Patient(broken.SwallowsTheTimeout):
        pass

    checks.ends_at_any_byte(type("Bounded", (Patient,), {bound: 3_600}), b"a\n", examples=5)
    checks.survives_any_input(type("Bounded", (Patient,), {bound: 3_600}), b"a\n", examples=5)
    with pytest.raises(CheckFailed, match="goes on for ever"):
        checks.ends_at_any_byte(Patient, b"a\n", examples=5)


def test_a_handler_may_wait_without_a_time_out_if_its_class_declares_one_for_the_request():
    class Whole(StreamHandler):
        timeout, request_timeout = None, 60

        async def handle(self):
            self.send(await Until(b"\n", limit=80))

    checks.stays_in_bounds(Whole, b"a\n", examples=5)
    run = play(Whole, [b"a", 59.0])
    assert not run.finished
    run = play(Whole, [b"a", 60.0])
    assert isinstance(run.reason, TimedOut)
    assert run.code().endswith("machine.abandon(TimedOut(machine.wait))")


def test_a_handler_that_pings_a_silent_client_ends_when_the_connection_breaks():
    class Pings(StreamHandler):
        async def handle(self):
            while True:
                self.send(await self.line())

        async def line(self):
            try:
                return await Until(b"\n", limit=80, timeout=5)
            except TimedOut:
                return b"ping\n"

    checks.ends_at_any_byte(Pings, b"a\n", examples=5)


def test_a_wait_elsewhere_has_a_time_out_too():
    class Stuck(StreamHandler):
        async def handle(self):
            await Forked(pow, 2, 10, timeout=float("inf"))

    with pytest.raises(CheckFailed, match=r"waits for Forked\(pow\) without a time out"):
        checks.stays_in_bounds(Stuck, b"", examples=5)


def test_what_counts_the_work_is_not_what_a_handler_stumbles_over():
    class Strict(StreamHandler):
        def __init__(self):
            self.held = self.same = bytearray()

        def handle(self):
            return Some(limit=80), self.chunk

        def chunk(self, data):
            if type(data) is not bytes or not isinstance(self.held, bytearray):
                raise TypeError
            self.held += data
            assert self.held is self.same
            self.send(data)
            del self.held[:]
            return self.handle()

    checks.works_linearly(Strict, b"ab", examples=5)


def test_an_array_that_is_searched_from_where_the_last_search_stopped_is_linear():
    class Resumes(StreamHandler):
        async def handle(self):
            held, seen = bytearray(), 0
            while len(held) < 60_000:
                held += await Some()
                while (end := held.find(b"\r\n", max(0, seen - 1))) >= 0:
                    self.send(held[: end + 2].upper())
                    del held[: end + 2]
                    seen = 0
                seen = len(held)

    checks.works_linearly(Resumes, CONVERSATION)


def test_a_printed_test_has_all_that_its_code_names(tmp_path):
    server = object()

    class TellsWhatWasSaid(StreamHandler):
        async def handle(self):
            line = await Until(b"\n", limit=80)
            self.send(b"  # World " + line if self.server is server else b"")

    with pytest.raises(CheckFailed) as caught:
        checks.answers(TellsWhatWasSaid, b"a\n", b"  # World b\n", world=World(server=server))
    code = str(caught.value).partition("\n\n")[2]
    assert "(server):" in code
    path = tmp_path / "pasted.py"
    path.write_text(code)
    test = runpy.run_path(str(path), {"TellsWhatWasSaid": TellsWhatWasSaid})["test_tells_what_was_said_answers"]
    with pytest.raises(AssertionError):
        test(server)


def test_a_result_and_an_error_from_elsewhere_are_told_as_code(tmp_path):
    class Asks(StreamHandler):
        async def handle(self):
            await Forked(object)
            try:
                await Forked(_fail)
            except Failed as failed:
                self.send(type(failed.error).__name__.encode())

    with pytest.raises(CheckFailed) as caught:
        checks.answers(Asks, b"", b"other")
    code = str(caught.value).partition("\n\n")[2]
    path = tmp_path / "pasted.py"
    path.write_text(code)
    names = runpy.run_path(str(path), {"Asks": Asks})
    assert names["Unlucky"] is Unlucky
    with pytest.raises(AssertionError):
        names["test_asks_answers"]()


class Unlucky(Exception):
    """Not one of the project's."""


def _fail():
    raise Unlucky("today")


# What is no handler, no conversation, no schedule


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check(broken.Mended(), b""), "a handler class, not <"),
        (lambda: check(int, b""), "int is no handler class: derive it"),
        (lambda: check(broken.Mended, "text"), "conversation is bytes, or a list of bytes, not 'text'"),
        (lambda: check(broken.Mended, bytearray(b"a")), "conversation is bytes, or a list of bytes, not bytearray"),
        (lambda: check(broken.Mended, 7), "conversation is bytes, or a list of bytes, not 7"),
        (lambda: check(broken.Mended, [b"a", "b"]), "and 'b' is none"),
        (lambda: check(broken.Mended, [iter([b"a"])]), "and <list_iterator .* is none"),
        (lambda: check(broken.Mended, b"a", world=object()), r"world is a handlers.World\(peer, server, now\)"),
        (lambda: check(broken.Mended, b"a", modes="sync"), r"a list of modes, such as \['sync'\]"),
        (lambda: play(broken.Mended, b"abc"), r"a list of steps: for one piece of bytes \[b'abc'\]"),
        (lambda: play(broken.Mended, ["abc"]), "a step is bytes, .* not 'abc'"),
        (lambda: play(broken.Mended, [-1.0]), "a step is bytes, .* not -1.0"),
        (lambda: chunkings("abc"), "chunkings: data is bytes, not 'abc'"),
        (lambda: mutations("abc"), "mutations: data is bytes, not 'abc'"),
        (lambda: find(schedules("abc"), bool), "schedules: data is bytes, not 'abc'"),
        (lambda: find(deliveries(b"abc"), bool), "packets is a list of bytes, one for each, not b'abc'"),
        (lambda: find(packet_schedules(b"abc"), bool), "packets is a list of bytes, one for each, not b'abc'"),
    ],
)
def test_what_is_of_the_wrong_type_is_named_with_the_remedy(call, words):
    with pytest.raises(TypeError, match=words):
        call()


def test_a_mode_that_there_is_not_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match="no mode 'sink' here; there are 'sync', 'select'"):
        check(broken.Mended, b"a", modes=["sink"])
    with pytest.raises(ValueError, match="no mode 'sink' here"):
        ask("sink", broken.Mended, b"a")


def test_a_negative_number_can_not_be_taken():
    with pytest.raises(ValueError, match="Take: limit is a number of bytes, or of packets, >= 0, not -1"):
        Take(-1)


def test_a_wait_without_a_limit_to_speak_of_is_out_of_bounds():
    class Greedy(StreamHandler):
        def handle(self):
            return Until(b"\n", limit=1 << 40), self.handle

    with pytest.raises(CheckFailed, match="without a limit") as caught:
        checks.stays_in_bounds(Greedy, b"a")
    assert "assert machine.wait.limit <= 16777216" in str(caught.value)


def test_what_may_be_kept_is_for_the_caller_to_say():
    class Body(StreamHandler):
        async def handle(self):
            body = bytearray()
            while len(body) < 200_000:
                body += await Some()

    checks.stays_in_bounds(Body, b"a", kept=300_000)
    with pytest.raises(CheckFailed, match="the more come"):
        checks.stays_in_bounds(Body, b"a")


# The project


def test_hypothesis_is_imported_by_the_strategies_and_the_checks_alone():
    modules = [path.stem for path in (ROOT / "reactor" / "testing").glob("[a-z]*.py")]
    others = [f"reactor.testing.{name}" for name in modules if name not in ("strategies", "checks")]
    assert len(others) > 4
    assert _imported(", ".join(others), "hypothesis") == []


def test_the_reactor_imports_none_of_this():
    assert _imported("reactor", "reactor.testing", "hypothesis") == []


def _imported(modules, *names):
    """Which of ``names`` an import of ``modules`` brings in."""
    script = f"import sys, {modules}; print(*[name for name in {names!r} if name in sys.modules])"
    return subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True, timeout=60).split()


README = """
>>> from hypothesis import given
>>> from handlers import StreamHandler, StreamMachine, Until
>>> from reactor.testing import chunkings
>>> class Upper(StreamHandler):
...     async def handle(self):
...         while True:
...             self.send((await Until(b"\\r\\n", limit=512)).upper())
>>> @given(chunkings(b"one\\r\\ntwo\\r\\n"))
... def test_partial_reads(chunks):
...     machine = StreamMachine(Upper())
...     for chunk in chunks:
...         machine.feed(chunk)
...     assert machine.read() == b"ONE\\r\\nTWO\\r\\n"
>>> test_partial_reads()
"""


def test_a_property_test_of_partial_reads_takes_under_fifteen_lines():
    import doctest

    example = doctest.DocTestParser().get_doctest(README, {}, "README", None, 0)
    assert len(README.strip().splitlines()) < 15
    assert doctest.DocTestRunner().run(example).failed == 0
