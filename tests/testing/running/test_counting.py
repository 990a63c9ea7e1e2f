"""Counting the work of a handler and the bytes that it holds."""

import gc
import re
import subprocess
import sys
import textwrap
import threading
import zlib
from array import array
from contextlib import nullcontext
from operator import contains, methodcaller

import pytest

from handlers import Exactly, Some, StreamHandler, StreamMachine, Until, services
from reactor.testing import works_linearly
from reactor.testing.running.counting import EndlessLoop, held, line_limit
from reactor.testing.running.tracing import tracing_stays
from reactor.testing.running.working import work
from tests import ROOT
from tests.support.pairs import broken

PLAIN = array("H")


def test_an_endless_loop_is_ended_at_its_own_line():
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


def test_an_endless_loop_in_one_line_is_ended():
    with pytest.raises(EndlessLoop), line_limit(500):
        [None for _ in iter(int, 1)]


def lines_of_a_text(but=frozenset()):
    with line_limit(10_000, but) as limit:
        textwrap.dedent("  one\n  two\n")
    return limit.lines


@pytest.mark.parametrize("around", [nullcontext, tracing_stays])
def test_lines_of_modules_that_are_left_out_do_not_count(around):
    lines_of_a_text()  # `re` may compile a pattern, and keeps it
    with around():
        whole, few = lines_of_a_text(), lines_of_a_text(frozenset({"textwrap"}))
        assert few < whole - 5
        assert (lines_of_a_text(), lines_of_a_text(frozenset({"textwrap"}))) == (whole, few)


def test_lines_outside_the_block_do_not_count():
    with tracing_stays():
        with line_limit(100) as limit:
            counted = [0]
        before = limit.lines
        counted[0] = 1
        assert limit.lines == before


def test_a_run_needs_no_module_that_it_does_not_import():
    code = "from reactor.testing import play; from handlers.services import Echo; print(play(Echo, [b'one']).output)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout == "b'one'\n", run.stderr


def test_lines_of_another_thread_do_not_count():
    begun, is_over = threading.Event(), False

    def run():
        while not is_over:
            begun.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        with line_limit(500) as limit:
            for _ in range(3):
                assert begun.wait(5)
                begun.clear()
    finally:
        is_over = True
        thread.join()
    assert limit.lines < 500


def test_a_block_within_a_block_counts_for_itself():
    with line_limit(1_000) as outer:
        with line_limit(100) as inner:
            textwrap.dedent("  one\n")
        textwrap.dedent("  one\n")
    assert 5 < inner.lines < outer.lines < 3 * inner.lines


def test_the_work_is_repeatable_and_counts_searches_and_copies():
    data = [b"a"] * 64
    assert work(broken.Rescans, data) == work(broken.Rescans, data)
    assert work(broken.Rescans, data) > work(services.Discard, data) + 64 * 32
    assert work(services.Discard, [b"a" * 4_000]) == work(services.Discard, [b"a"])


@pytest.mark.parametrize("search", [contains, methodcaller("remove", b"x"), methodcaller("index", b"x")])
def test_a_search_of_a_list_that_a_handler_keeps_is_counted(search):
    class Searches(StreamHandler):
        def setup(self):
            self.items = []

        def handle(self):
            return Exactly(1), self.item

        def item(self, data):
            self.items.append(data)
            self.look(data)
            return self.handle()

        def look(self, data):
            pass

    class Looks(Searches):
        def look(self, data):
            self.items.append(b"x")
            search(self.items) if search is not contains else contains(self.items, b"y")

    data = [bytes([number]) for number in range(64)]
    assert work(Looks, data) > work(Searches, data) + 64 * 16


def test_a_search_of_an_array_of_numbers_is_counted():
    class Numbers(StreamHandler):
        size = 0

        async def handle(self):
            held = array("H", range(self.size))
            assert isinstance(held, array)
            assert isinstance(PLAIN, array)
            while True:
                (await Exactly(1))[0] in held  # noqa: B015  # only what it costs matters

    class Many(Numbers):
        size = 10_000

    many, few = (work(kind, [b"a"] * 10) for kind in (Many, Numbers))
    assert many - few == 10 * Many.size
    assert type(array("H")) is type(PLAIN)


def test_the_work_of_the_garbage_collector_is_not_counted():
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


def test_bytes_are_counted_wherever_a_handler_keeps_them():
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


class Tokens(StreamHandler):
    """Tries one pattern after another at each place: most matches fail, and go no further than a word."""

    patterns = [re.compile(text) for text in (rb"[0-9]+", rb'"[^"]*"', rb"[a-z]+=", rb"[a-z]+", rb" +", rb"\n")]

    async def handle(self):
        line = await Until(b"\n", limit=10_000)
        place = 0
        while place < len(line):
            found = next(filter(None, (pattern.match(line, place) for pattern in self.patterns)), None)
            if found is None:
                return
            place = found.end()
        self.send(b"ok\n")


def test_a_lexer_is_linear():
    words = [work(Tokens, [b"abc 12 " * count + b"\n"]) for count in (40, 160)]
    assert words[1] < 5 * words[0]
    works_linearly(Tokens, b"abc 12\n", examples=10)


class Matches(StreamHandler):
    pattern = re.compile(rb"[a-z]*\n")

    async def handle(self):
        held = bytearray()
        while len(held) < 1_000:
            held += await Some(limit=1_000)
            if self.pattern.match(held) or re.search(rb"\d\d", held) or sum(held) == 0 or zlib.crc32(held) == 0:
                return


def test_what_functions_in_c_and_patterns_go_over_is_counted():
    pieces = [b"a"] * 100
    plain = work(Holds, pieces)
    assert 4 * 4_950 < work(Matches, pieces) - plain < 5 * 4_950  # 1 + 2 + ... + 100, four times
    assert isinstance(Matches.pattern, re.Pattern)  # put back


class Holds(StreamHandler):
    async def handle(self):
        held = bytearray()
        while len(held) < 1_000:
            held += await Some(limit=1_000)
