"""Timers against a naive model: whatever is armed, postponed and disarmed, no item is lost, early or late.

The model has a deadline for each item and looks at all of them every time. The cost is measured in entries, which
`len` counts: entries of items that were postponed or disarmed must not pile up.
"""

import gc
import inspect
import math
import sys
import tracemalloc
import weakref
from itertools import count
from random import Random

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from reactor.loop.timers import NEVER, Timed, Timer, Timers


class Item(Timed):
    """Something with a deadline and a name."""

    def __init__(self, deadline, name=""):
        super().__init__()
        self.deadline = deadline
        self.name = name

    def __repr__(self):
        return f"{self.name}@{self.deadline}"


def armed(timers, *deadlines):
    """Items with these deadlines, armed in this order; the name of an item is its place."""
    items = [Item(deadline, name) for name, deadline in enumerate(deadlines)]
    for item in items:
        timers.arm(item)
    return items


def names(items):
    return [item.name for item in items]


moments = st.one_of(st.integers(-3, 400), st.floats(-3, 12), st.floats(0, 400), st.sampled_from([0.25, 0.5, 1, 1.5]))
"""Seconds from now: past, within this second, in the next ones and much later; many are equal."""

spans = moments.filter(lambda seconds: seconds >= 0)


class Agenda(RuleBasedStateMachine):
    """Timers, and a dictionary of deadlines as their model."""

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
        """Time passes, and all that was due meanwhile is due."""
        self.now += seconds
        self.take()

    @rule(seconds=spans)
    def sleep(self, seconds):
        """Sleep until `next()` again and again, as the loop does."""
        until = self.now + seconds
        looks = len(self.timers) + len(self.deadlines) + 2
        while (moment := max(self.now, self.timers.next())) <= until:
            self.now = moment
            if not self.take():
                looks -= 1
                assert looks >= 0, "it wakes needlessly again and again"
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


Agenda.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
test_model = Agenda.TestCase


# In the order of their deadlines


def test_an_item_that_is_postponed_takes_its_new_place_in_the_order():
    timers = Timers()
    first, second = armed(timers, 1.0, 2.0)
    first.deadline = 3.0
    assert timers.due(5.0) == [second, first]


@pytest.mark.parametrize("second", [5.0, 5.25, 700.5])
def test_items_of_equal_deadlines_are_due_in_the_order_of_arming(second):
    timers = Timers()
    timers.due(5.0)
    armed(timers, *[second] * 50)
    assert names(timers.due(1000.0)) == list(range(50))


@given(st.floats(-1e6, 0, exclude_max=True))
@example(-0.5)
def test_an_item_that_was_due_before_the_clock_began_is_due(deadline):
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


def test_next_is_found_when_all_items_before_it_were_disarmed():
    timers = Timers()
    crowd = armed(timers, *[300.5] * 200)
    (later,) = armed(timers, 400.5)
    for item in crowd:
        timers.disarm(item)
    assert 400 <= timers.next() <= 400.5
    assert timers.due(401) == [later]


def test_next_is_exact_after_each_of_many_different_deadlines():
    timers = Timers()
    timers.due(0.0)
    chance = Random(1)
    deadlines = [chance.random() / 4 for _ in range(400)]
    soonest = NEVER
    for deadline in deadlines:
        armed(timers, deadline)
        soonest = min(soonest, deadline)
        assert timers.next() == soonest
    assert [item.deadline for item in timers.due(0.1)] == [NEVER] * sum(deadline <= 0.1 for deadline in deadlines)
    assert timers.next() == min(deadline for deadline in deadlines if deadline > 0.1)


def test_a_deadline_of_never_is_no_deadline():
    timers = Timers()
    armed(timers, NEVER)
    assert (len(timers), timers.next(), timers.due(1e9)) == (0, NEVER, [])


@pytest.mark.parametrize("deadline", [7.5, 300.0])
def test_an_item_with_no_deadline_and_then_one_is_found(deadline):
    """Dropping the entries of disarmed items must not drop this item."""
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


def test_entries_of_a_disarmed_crowd_are_dropped():
    timers = Timers()
    for item in armed(timers, *(300 + number % 50 for number in range(20_000))):
        timers.disarm(item)
    assert len(timers) <= 1000


@pytest.mark.parametrize("deadline", [0.5, 300.0])
def test_postponing_an_item_makes_no_entry(deadline):
    timers = Timers()
    timers.due(0.0)
    (item,) = armed(timers, deadline)
    for _ in range(10_000):
        item.deadline += 0.01
        timers.arm(item)
    assert len(timers) == 1
    assert timers.due(item.deadline) == [item]


def lines_of(call):
    """How many lines of the module ``call()`` executes."""
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
def test_postponing_costs_the_same_however_many_items_there_are(timeout):
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

    assert turns(5_000) < 1.1 * turns(500) + 1


SPREADS = {"one slot": 0.2, "minutes": 900.0, "hours": 36_000.0, "weeks": 2e6}
"""How far apart the deadlines of many items are, in seconds. All are different."""


class Work:
    """Arms ``number`` items, arms them again, earlier or later, and disarms them; and counts what that costs."""

    def __init__(self, number, spread):
        self.timers = Timers()
        self.timers.due(1024.0)
        chance = Random(number)
        self.first, self.second = ([1024 + chance.random() * spread for _ in range(number)] for _ in range(2))
        self.items = [Item(NEVER) for _ in range(number)]
        self.number = number

    def steps(self):
        """Each arms, arms again or disarms an item."""
        for deadlines in self.first, self.second, [NEVER] * self.number:
            for item, deadline in zip(self.items, deadlines, strict=True):
                self.timers.disarm(item)
                item.deadline = deadline
                self.timers.arm(item)
                yield
            assert len(self.timers) == (0 if deadline == NEVER else self.number)

    def lines(self, between):
        """The lines of the module for each step; ``next()`` is called after each ``between`` steps."""

        def work():
            for number, _ in enumerate(self.steps(), 1):
                if number % between == 0:
                    self.timers.next()

        return lines_of(work) / (3 * self.number)


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_to_arm_and_to_disarm_costs_the_same_however_many_items_there_are(spread):
    """Where the loop goes round after many of them: a bounded number of lines each. New moments are sorted at once."""
    few, many = (Work(number, spread).lines(number) for number in (200, 2_000))
    assert many < 1.1 * few + 1


@pytest.mark.slow
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_a_look_after_each_item_costs_a_search_at_most(spread):
    """The lines grow with the logarithm of the number of moments: 4 turns of a search for 16 times as many."""
    few, many = (Work(number, spread).lines(1) for number in (125, 2_000))
    assert many < few + 4 * 4


@pytest.mark.parametrize("between", [1, 50, 200])
def test_moments_of_disarmed_items_do_not_pile_up(between):
    timers = Timers()
    timers.due(0.0)
    keep, most = armed(timers, *range(300, 310)), 0
    tracemalloc.start()
    try:
        for number in range(5_000):
            (item,) = armed(timers, 0.1 + number / 1e6 if number % 2 else 20.0 + number)
            timers.disarm(item)
            if number % between == 0:
                timers.next()
                most = max(most, tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert most < 80_000
    assert timers.due(400) == keep


def test_entries_of_disarmed_items_do_not_pile_up():
    timers = Timers()
    keep = armed(timers, *range(300, 310))
    most = 0
    for turn in range(10_000):
        (item,) = armed(timers, 300 + turn % 7)
        timers.disarm(item)
        most = max(most, len(timers))
    assert most < 1000
    assert timers.due(400) == keep


def test_disarming_is_cheap_on_average():
    """One sweep drops the entries of all items that were disarmed since the last."""
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


def test_alternating_near_and_far_deadlines_do_not_pile_up():
    """As of a request with a short delay between two long waits."""
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
def test_next_is_never_when_all_items_were_disarmed(deadline):
    timers = Timers()
    timers.due(0.0)
    for item in armed(timers, *[deadline, deadline + 1, deadline + 1.5]):
        timers.disarm(item)
    assert timers.next() == NEVER


@pytest.mark.parametrize("look", [Timers.next, lambda timers: timers.due(5000.0) or NEVER])
@pytest.mark.parametrize("looks_between", [False, True])
def test_nothing_is_next_when_all_of_many_different_deadlines_are_disarmed(look, looks_between):
    timers = Timers()
    timers.due(0.0)
    items = armed(timers, *(number / 2 for number in range(1, 500)))
    if looks_between:
        timers.next()
    items += armed(timers, 1000.25)
    for item in items:
        timers.disarm(item)
    assert look(timers) == NEVER


def test_disarming_an_item_that_is_not_armed_does_nothing():
    timers = Timers()
    timers.disarm(Item(5.0))
    (item,) = armed(timers, 1.0)
    timers.due(1.0)
    timers.disarm(item)
    assert (len(timers), timers.next()) == (0, math.inf)


# What is not referred to any more


@pytest.mark.parametrize("others", [0, 1, 1000])
@pytest.mark.parametrize("timeout", [0.1, 5.0, 300.0])
def test_an_item_that_is_disarmed_is_not_kept_alive(timeout, others):
    timers = Timers()
    timers.due(0.0)
    before = armed(timers, *[timeout] * others)
    (item,) = armed(timers, timeout)
    after = armed(timers, *[timeout] * others)
    item.deadline += 100  # which costs nothing, so it is still where it was
    timers.disarm(item)
    gone = weakref.ref(item)
    del item
    assert gone() is None
    assert timers.due(timeout) == [*before, *after]


@pytest.mark.parametrize("deadlines", [(300.0, 5.0), (5.0, 0.1), (300.0, 0.1, 0.05)])
def test_an_item_that_was_moved_earlier_is_not_kept_alive_where_it_was(deadlines):
    timers = Timers()
    timers.due(0.0)
    item = Item(NEVER)
    for deadline in deadlines:
        item.deadline = deadline
        timers.arm(item)
    assert timers.due(deadlines[-1]) == [item]
    gone = weakref.ref(item)
    del item
    assert gone() is None
    assert timers.next() == NEVER


@pytest.mark.parametrize("leave", [Timers.disarm, lambda timers, item: timers.due(300.0)])
def test_an_item_that_has_left_keeps_no_other_alive(leave):
    timers = Timers()
    first, last = armed(timers, 300.0, 300.0)
    for item in first, last:
        leave(timers, item)
    gone = weakref.ref(last)
    del last, item
    assert gone() is None
    assert first.armed == NEVER


@pytest.mark.parametrize("timeout", [0.1, 300.0])
def test_nothing_is_left_to_the_garbage_collector(timeout):
    timers = Timers()
    timers.due(0.0)
    gc.collect()
    gc.disable()
    try:
        for end in timers.disarm, lambda item: timers.due(item.deadline):
            for item in armed(timers, timeout, timeout, timeout + 1):
                end(item)
        del item
        assert gc.collect() == 0
    finally:
        gc.enable()


steps = st.lists(st.tuples(st.sampled_from(["arm", "disarm", "drop", "wait"]), st.integers(0, 9), moments), max_size=60)


@given(steps)
def test_the_timers_refer_to_the_items_that_have_a_deadline_and_to_no_others(steps):
    """The model is a dictionary of deadlines. An item that it lacks is dead as soon as the test drops it."""
    timers, now, deadlines = Timers(), 0.0, {}
    items = [Item(NEVER, place) for place in range(10)]
    for step, place, seconds in steps:
        item = items[place]
        if step == "arm":
            item.deadline = deadlines[place] = now + seconds
            timers.arm(item)
        elif step == "disarm":
            timers.disarm(item)
            deadlines.pop(place, None)
        elif step == "drop":
            gone, items[place] = weakref.ref(item), Item(NEVER, place)
            timers.disarm(item)
            deadlines.pop(place, None)
            del item
            assert gone() is None
        else:
            now += abs(seconds)
            due = [place for place, deadline in deadlines.items() if deadline <= now]
            for place in due:
                del deadlines[place]
            assert sorted(names(timers.due(now))) == sorted(due)
        assert len(timers) == len(deadlines)
    alive = [weakref.ref(item) for item in items]
    item = None
    del items
    assert [place for place, reference in enumerate(alive) if reference() is not None] == sorted(deadlines)


@pytest.mark.parametrize("end", [Timer.cancel, lambda timer: timer.expire(0.0)])
def test_a_call_that_was_made_or_taken_back_is_not_kept_alive_by_its_timer(end):
    class Something:
        def call(self, argument):
            pass

    thing, argument = Something(), Something()
    timers = Timers()
    timer = Timer(300.0, thing.call, (argument,), timers)
    timers.arm(timer)
    gone = weakref.ref(thing), weakref.ref(argument)
    del thing, argument
    end(timer)
    assert [reference() for reference in gone] == [None, None]


# Interrupted by a signal whose handler raises


def interrupted(call, moment):
    """Whether ``KeyboardInterrupt`` came in the ``moment``-th place of ``call()`` where a signal may be handled."""
    left = moment

    def profile(frame, event, argument):
        nonlocal left
        if event in ("call", "c_return") and frame.f_code.co_filename == inspect.getfile(Timers):
            if not left:
                raise KeyboardInterrupt
            left -= 1

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(before)
    return False


def arm_another(timers, items):
    armed(timers, 301.5)


def move_earlier(timers, items):
    items[0].deadline = 2.0
    timers.arm(items[0])


def disarm(timers, items):
    timers.disarm(items[0])


def put_off(timers, items):
    items[0].deadline += 1000
    timers.next()


some_deadlines = pytest.mark.parametrize("deadlines", [(0.5,), (0.5, 0.5, 0.75, 300.0), (300.0, 300.0), (300.0, 301.5)])


@some_deadlines
@pytest.mark.parametrize("act", [arm_another, move_earlier, disarm, put_off])
def test_an_interrupted_call_loses_no_other_item(act, deadlines):
    for moment in count():
        timers = Timers()
        timers.due(0.5)
        items = armed(timers, *deadlines)
        was_interrupted = interrupted(lambda timers=timers, items=items: act(timers, items), moment)
        timers.disarm(items[0])
        late = armed(timers, 1.0, 301.75)
        assert timers.next() <= 1.0
        due = timers.due(302.0)
        assert set(due) >= {*items[1:], *late}
        assert items[0] not in due
        assert (len(timers), timers.next()) == (0, NEVER)
        if not was_interrupted:
            break
    assert moment > 0


@some_deadlines
def test_an_interrupted_look_at_what_is_next_loses_nothing(deadlines):
    for moment in count():
        timers = Timers()
        timers.due(0.5)
        items = armed(timers, *deadlines)
        was_interrupted = interrupted(lambda timers=timers, items=items: put_off(timers, items), moment)
        assert set(timers.due(2000.0)) == set(items)
        if not was_interrupted:
            break
    assert moment > 0
