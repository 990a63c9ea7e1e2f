"""Counting the work of a handler and the bytes that it holds."""

import gc

import pytest

from handlers import Exactly, StreamHandler, StreamMachine, Until, services
from reactor.testing.check.counting import EndlessLoop, held, line_limit
from reactor.testing.check.run import work
from tests.support import broken


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


def test_the_work_is_repeatable_and_counts_searches_and_copies():
    data = [b"a"] * 64
    assert work(broken.Rescans, data) == work(broken.Rescans, data)
    assert work(broken.Rescans, data) > work(services.Discard, data) + 64 * 32
    assert work(services.Discard, [b"a" * 4_000]) == work(services.Discard, [b"a"])


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
