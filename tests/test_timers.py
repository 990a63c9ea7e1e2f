"""Timers against a naive model: whatever is armed, moved and taken back, never lost, never early, never late.

The model keeps one number for each item, its deadline, and looks at all of them every time. The
cost is measured in entries, which `len` counts: what is put off or taken back must not pile up.
"""

import inspect
import math
import sys

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from reactor.timers import NEVER, Timed, Timers


class Item(Timed):
    """Something with a deadline and a name."""

    def __init__(self, deadline, name=""):
        super().__init__()
        self.deadline = deadline
        self.name = name

    def __repr__(self):
        return f"{self.name}@{self.deadline}"


def armed(timers, *deadlines):
    """Items with these deadlines, armed in this order and named by it."""
    items = [Item(deadline, name) for name, deadline in enumerate(deadlines)]
    for item in items:
        timers.arm(item)
    return items


def names(items):
    return [item.name for item in items]


moments = st.one_of(st.integers(-3, 400), st.floats(-3, 12), st.floats(0, 400), st.sampled_from([0.25, 0.5, 1, 1.5]))
"""Seconds from now: of the past, of this second, of the next ones and of much later ones; many are equal."""

spans = moments.filter(lambda seconds: seconds >= 0)


class Agenda(RuleBasedStateMachine):
    """Timers, and beside them a plain dictionary of deadlines."""

    items = Bundle("items")

    def __init__(self):
        super().__init__()
        self.timers = Timers()
        self.now = 1000.0
        self.deadlines = {}

    def set(self, item, deadline):
        item.deadline = self.deadlines[item] = deadline
        if deadline < item.armed:  # as a row does it
            self.timers.arm(item)

    @rule(target=items, seconds=moments)
    def arrive(self, seconds):
        item = Item(NEVER, len(self.deadlines))
        self.set(item, self.now + seconds)
        return item

    @rule(target=items, many=st.lists(moments, min_size=30, max_size=60))
    def crowd(self, many):
        crowd = [Item(NEVER, len(self.deadlines) + place) for place in range(len(many))]
        for item, seconds in zip(crowd, many, strict=True):
            self.set(item, self.now + seconds)
        return multiple(*crowd)

    @rule(item=items, seconds=moments)
    def move(self, item, seconds):
        self.set(item, self.now + seconds)

    @rule(item=items, seconds=spans)
    def put_off(self, item, seconds):
        assume(item.deadline < NEVER)
        entries = len(self.timers)
        self.set(item, item.deadline + seconds)
        assert len(self.timers) == entries

    @rule(item=items)
    def wait_for_ever(self, item):
        self.set(item, NEVER)

    @rule(item=consumes(items))
    def disarm(self, item):
        self.timers.disarm(item)
        del self.deadlines[item]
        assert item.deadline == NEVER

    @rule()
    def disarm_most(self):
        for item in list(self.deadlines)[1:]:
            self.timers.disarm(item)
            self.deadlines[item] = NEVER

    @rule(seconds=spans)
    def leap(self, seconds):
        """The loop comes late, and finds all that was due meanwhile."""
        self.now += seconds
        self.take()

    @rule(seconds=spans)
    def sleep(self, seconds):
        """The loop sleeps until something may be due, again and again, as it does in earnest."""
        until = self.now + seconds
        looks = len(self.timers) + len(self.deadlines) + 2
        while (moment := max(self.now, self.timers.next())) <= until:
            self.now = moment
            if not self.take():
                looks -= 1
                assert looks >= 0, "it wakes again and again for nothing"
        self.now = until

    def take(self):
        expected = {item for item, deadline in self.deadlines.items() if deadline <= self.now}
        due = self.timers.due(self.now)
        assert len(due) == len(set(due)), "taken out twice"
        assert set(due) == expected
        deadlines = [self.deadlines[item] for item in due]
        assert deadlines == sorted(deadlines)
        for item in due:
            assert item.deadline == NEVER
            self.deadlines[item] = NEVER
        return due

    @invariant()
    def wakes_in_time(self):
        assert self.timers.next() <= min(self.deadlines.values(), default=NEVER)

    @invariant()
    def knows_when_there_is_nothing(self):
        if all(deadline == NEVER for deadline in self.deadlines.values()):
            assert self.timers.next() == NEVER


Agenda.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
test_model = Agenda.TestCase


# In the order of their deadlines


def test_an_item_put_off_takes_its_new_place_in_the_order():
    timers = Timers()
    first, second = armed(timers, 1.0, 2.0)
    first.deadline = 3.0
    assert timers.due(5.0) == [second, first]


@pytest.mark.parametrize("second", [5.0, 5.25, 700.5])
def test_of_equal_deadlines_the_first_armed_comes_first(second):
    timers = Timers()
    timers.due(5.0)
    armed(timers, *[second] * 50)
    assert names(timers.due(1000.0)) == list(range(50))


@given(st.floats(-1e6, 0, exclude_max=True))
@example(-0.5)
def test_what_was_due_before_the_clock_began_is_due(deadline):
    timers = Timers()
    (item,) = armed(timers, deadline)
    assert timers.next() <= 0
    assert timers.due(0.0) == [item]


# Nothing early, nothing late


def test_next_is_exact_for_this_second_and_never_late_for_others():
    timers = Timers()
    timers.due(100.0)
    armed(timers, 100.75, 250.5)
    assert timers.next() == 100.75
    timers.due(100.75)
    assert 250 <= timers.next() <= 250.5
    assert timers.due(250.49) == []
    assert timers.next() == 250.5
    assert names(timers.due(250.5)) == [1]
    assert timers.next() == NEVER


def test_what_is_next_is_found_when_all_before_it_was_taken_back():
    timers = Timers()
    crowd = armed(timers, *[300.5] * 200)
    (later,) = armed(timers, 400.5)
    for item in crowd:
        timers.disarm(item)
    assert 400 <= timers.next() <= 400.5
    assert timers.due(401) == [later]


def test_a_deadline_of_never_is_no_deadline():
    timers = Timers()
    armed(timers, NEVER)
    assert (len(timers), timers.next(), timers.due(1e9)) == (0, NEVER, [])


@pytest.mark.parametrize("deadline", [7.5, 300.0])
def test_an_item_that_waits_for_ever_and_then_not_is_found(deadline):
    """What was taken back by others meanwhile must not take this one with it."""
    timers = Timers()
    (item,) = armed(timers, deadline)
    item.deadline = NEVER
    for other in armed(timers, *[deadline + 1] * 1000):
        timers.disarm(other)
    item.deadline = deadline + 0.25
    if item.deadline < item.armed:
        timers.arm(item)
    assert timers.due(deadline + 0.25) == [item]


# The cost


def test_a_crowd_that_has_gone_is_forgotten():
    timers = Timers()
    for item in armed(timers, *(300 + number % 50 for number in range(20_000))):
        timers.disarm(item)
    assert len(timers) <= 1000


@pytest.mark.parametrize("deadline", [0.5, 300.0])
def test_putting_off_costs_no_entry(deadline):
    timers = Timers()
    timers.due(0.0)
    (item,) = armed(timers, deadline)
    for _ in range(10_000):
        item.deadline += 0.01
        timers.arm(item)
    assert len(timers) == 1
    assert timers.due(item.deadline) == [item]


def lines_of(call):
    """How many lines of the module are run by ``call()``."""
    lines = 0

    def trace(frame, event, argument):
        nonlocal lines
        lines += event == "line"
        return trace if frame.f_code.co_filename == inspect.getfile(Timers) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("timeout", [0.5, 5.0, 300.0])
def test_putting_off_costs_the_same_however_many_there_are(timeout):
    def turns(number):
        timers = Timers()
        timers.due(0.0)
        items = armed(timers, *[timeout] * number)

        def work():
            for turn in range(1, 6):
                for item in items:
                    item.deadline = turn * 0.15 + timeout
                assert timers.next() >= turn * 0.15 or timers.due(turn * 0.15) == []

        return lines_of(work) / number

    assert turns(20_000) < 1.1 * turns(1_000) + 1


def test_what_is_taken_back_does_not_pile_up():
    timers = Timers()
    keep = armed(timers, *range(300, 310))
    most = 0
    for turn in range(10_000):
        (item,) = armed(timers, 300 + turn % 7)
        timers.disarm(item)
        most = max(most, len(timers))
    assert most < 1000
    assert timers.due(400) == keep


def test_taking_back_is_cheap_on_average():
    """The work of one sweep is shared by all that were taken back since the last."""
    looks = 0

    class Counted(Item):
        @property
        def deadline(self):
            nonlocal looks
            looks += 1
            return self.until

        @deadline.setter
        def deadline(self, deadline):
            self.until = deadline

    timers = Timers()
    items = [Counted(300.0 + number % 50) for number in range(20_000)]
    for item in items:
        timers.arm(item)
    for item in items[::2] + items[1::2]:
        timers.disarm(item)
    assert looks < 10 * len(items)


def test_near_and_far_deadlines_in_turn_do_not_pile_up():
    """A request that rests for a moment between two long waits leaves no trail of entries."""
    timers, now, most = Timers(), 0.0, 0
    item = Item(NEVER)
    for _ in range(5_000):
        item.deadline = now + 300
        timers.arm(item)
        item.deadline = now + 0.01
        timers.arm(item)
        now += 0.01
        assert timers.due(now) == [item]
        most = max(most, len(timers))
    assert most < 1000


@pytest.mark.parametrize("deadline", [0.5, 300.0])
def test_nothing_is_left_to_wait_for_when_all_is_taken_back(deadline):
    timers = Timers()
    timers.due(0.0)
    for item in armed(timers, *[deadline, deadline + 1, deadline + 1.5]):
        timers.disarm(item)
    assert timers.next() == NEVER


def test_disarming_what_was_never_armed_or_was_due_does_nothing():
    timers = Timers()
    timers.disarm(Item(5.0))
    (item,) = armed(timers, 1.0)
    timers.due(1.0)
    timers.disarm(item)
    assert (len(timers), timers.next()) == (0, math.inf)
