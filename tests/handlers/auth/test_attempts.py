"""How often a peer may fail, and how many are checked at once."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import EndOfStream, Failed, StreamHandler, StreamMachine, Threaded, TimedOut
from handlers.auth import Attempts, Refused
from handlers.auth.attempts import Attempt
from tests.support.authentication import Attacker, work


def test_a_peer_may_fail_so_often_in_a_period():
    attempts = Attempts(failures=3, period=60)
    assert [attempts.charge("a", 1000.0) for _ in range(5)] == [True, True, True, False, False]
    assert attempts.charge("b", 1000.0)
    assert not attempts.charge("a", 1019.0)
    assert attempts.charge("a", 1020.1)
    assert not attempts.charge("a", 1020.2)
    assert [attempts.charge("a", 1200.0) for _ in range(4)] == [True, True, True, False]


@given(failures=st.integers(1, 5), steps=st.lists(st.floats(0, 30), max_size=60))
def test_it_fails_no_more_often_in_any_period_but_for_those_that_come_back(failures, steps):
    attempts = Attempts(failures=failures, period=60)
    now, taken = 1e9, []
    for step in steps:
        now += step
        if attempts.charge("a", now):
            taken.append(now)
    for start in taken:
        assert sum(start <= time < start + 60 for time in taken) < 2 * failures + 1


def test_success_pays_back():
    attempts = Attempts(failures=2, period=60)
    for _ in range(10):
        assert attempts.charge("a", 1000.0)
        attempts.pay_back("a")


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (Refused("wrong"), True),
        (EndOfStream(), True),
        (GeneratorExit(), True),
        (Refused("busy", temporary=True), False),
        (Failed(Threaded(len), OSError("no database")), False),
        (OSError("no database"), False),
    ],
    ids=repr,
)
def test_what_the_peer_can_do_nothing_for_is_no_failure(error, counts):
    attempts = Attempts(failures=1)
    with pytest.raises(type(error)), Attempt(attempts, "a", 1000.0):
        raise error
    assert attempts.charge("a", 1000.0) != counts


def test_a_clock_that_is_set_back_shuts_nobody_out_for_longer_than_a_period():
    attempts = Attempts(failures=1, period=60)
    assert attempts.charge("a", 1e9)
    assert not attempts.charge("a", 1000.0)
    attempts.charge("a", 1000.0)
    assert attempts.charge("a", 1e9 + 61)


def test_its_memory_is_fixed_and_few_peers_share_cells():
    attempts = Attempts(failures=1, period=60, cells=8192)
    size = attempts._cells.nbytes
    free = sum(attempts.charge(f"peer {number}", 1000.0) for number in range(200))
    assert free >= 198
    assert attempts._cells.nbytes == size


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the host has no fork")
@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_children_share_the_failures_with_the_parent():
    attempts = Attempts(failures=1, period=60)
    child = os.fork()
    if not child:
        os._exit(0 if attempts.charge("a", 1000.0) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert not attempts.charge("a", 1000.0)


class Checked(StreamHandler):
    attempts = Attempts(at_once=2, patience=1)

    async def handle(self):
        self.result = await self.attempts.check(self, Threaded(len, "abc", timeout=5))


def is_free(attempts):
    """Whether nothing is checked: all places can be taken."""
    places = [attempts.enter(2e9) for _ in range(3)]
    for place in places[:2]:
        attempts.leave(place)
    return places == [0, 1, None]


def started():
    machine = StreamMachine(Checked(), Attacker())
    machine.advance()
    return machine


def test_so_many_are_checked_at_once_and_the_others_wait_for_their_turn():
    first, second, third = started(), started(), started()
    assert [type(machine.wait).__name__ for machine in (first, second, third)] == ["Threaded", "Threaded", "Delay"]
    work(second)
    work(third)
    assert (second.handler.result, third.handler.result) == (3, 3)
    work(first)
    assert is_free(Checked.attempts)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the host has no fork")
@pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
def test_children_share_the_places_and_a_child_that_dies_takes_none_along():
    attempts = Attempts(at_once=1)
    child = os.fork()
    if not child:
        os._exit(0 if attempts.enter(1e9) == 0 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert attempts.enter(1e9 + 1) is None
    assert attempts.enter(1e9 + 31) == 0


def test_who_waits_too_long_for_a_turn_is_refused_for_now():
    first, second, third = started(), started(), started()
    work(third)
    assert isinstance(third.reason, Refused)
    assert third.reason.temporary
    first.interrupt(TimedOut(first.wait))  # however a check ends, its place is free
    second.close()
    assert is_free(Checked.attempts)
