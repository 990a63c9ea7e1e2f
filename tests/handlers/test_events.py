"""`Event` and `Queue`: what one request does and others wait for, once each, in order, and nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Cancelled,
    Delay,
    Event,
    Happened,
    Queue,
    QueueFull,
    Some,
    StreamHandler,
    StreamMachine,
    Taken,
    TimedOut,
    WhileConnected,
)
from handlers.filter import Filter, chain
from tests.support.strategies import Driver, States, spellings

spelling = pytest.mark.parametrize("spelling", spellings)


def waiting(spelling, *script):
    """A machine that has begun to wait for the first wait of the script, its handler and its driver."""
    machine = StreamMachine(spelling(*script), driver := Driver())
    machine.advance()
    return machine, machine.handler, driver


# Event


@spelling
def test_all_requests_that_wait_for_an_event_get_its_value(spelling):
    event = Event()
    several = [waiting(spelling, Happened(event), Some()) for _ in range(3)]
    assert event.waiting == 3
    event.set("now")
    assert event.waiting == 0
    for machine, handler, driver in several:
        assert (driver.touches, handler.seen) == (1, [])  # no state runs in another's
        machine.advance()
        assert handler.seen == ["now"]


@spelling
def test_an_event_that_is_set_satisfies_a_wait_at_once_until_it_is_cleared(spelling):
    event = Event()
    event.set(1)
    _, handler, _ = waiting(spelling, Happened(event), Some())
    assert handler.seen == [1]
    event.clear()
    assert not event.is_set
    machine, handler, _ = waiting(spelling, Happened(event), Some())
    assert handler.seen == []
    event.set(2)
    event.clear()
    machine.advance()
    assert handler.seen == [2]


@spelling
def test_a_request_that_waits_no_more_is_forgotten(spelling):
    event = Event()
    machine, handler, driver = waiting(spelling, Happened(event), Some())
    machine.expire()
    assert handler.seen == [(TimedOut, None)]
    assert event.waiting == 0
    event.set()
    assert driver.touches == 0
    machine, _, _ = waiting(spelling, Happened(Event()))
    machine.abandon(Cancelled())
    assert machine.finished


def test_input_that_comes_during_an_event_stays_held():
    event = Event()
    machine, handler, _ = waiting(States, Happened(event), Some())
    assert not machine.wants_input
    machine.feed(b"early")
    event.set()
    machine.advance()
    assert handler.seen == [None, b"early"]


def test_a_request_behind_a_filter_gets_the_value_too():
    event = Event()
    channel = chain(StreamMachine(handler := States(Happened(event), Some())), [Filter])
    channel.advance()
    event.set(7)
    assert channel.blocked
    channel.advance()
    assert handler.seen == [7]


# Queue


@spelling
def test_the_request_that_has_waited_longest_takes_the_item(spelling):
    queue = Queue(limit=5)
    first, second = (waiting(spelling, Taken(queue), Some()) for _ in range(2))
    queue.put("a")
    assert (first[2].touches, second[2].touches) == (1, 0)
    late, _, _ = waiting(spelling, Taken(queue), Some())
    queue.put("b")
    for machine in late, second[0], first[0]:
        machine.advance()
    assert [first[1].seen, second[1].seen, late.handler.seen] == [["a"], ["b"], []]


@spelling
def test_items_are_held_up_to_the_limit_and_no_further(spelling):
    queue = Queue(limit=2)
    queue.put(0)
    queue.put(None)
    with pytest.raises(QueueFull, match=r"^2 items"):
        queue.put(2)
    assert len(queue) == 2
    _, handler, _ = waiting(spelling, Taken(queue), Taken(queue), Taken(queue))
    assert handler.seen == [0, None]
    queue.put(3)
    assert len(queue) == 0


@pytest.mark.parametrize("leave", [StreamMachine.expire, lambda machine: machine.abandon(Cancelled())])
def test_an_item_that_was_given_to_a_request_that_goes_on_without_it_goes_to_the_next(leave):
    queue = Queue(limit=2)
    first, handler, _ = waiting(States, Taken(queue), Delay(1))
    second, next_handler, driver = waiting(States, Taken(queue), Some())
    queue.put("a")
    leave(first)
    assert "a" not in handler.seen
    assert driver.touches == 1
    second.advance()
    assert next_handler.seen == ["a"]


def test_an_item_that_nobody_has_taken_is_the_first_again():
    queue = Queue(limit=2)
    machine, _, _ = waiting(States, Taken(queue), Delay(1))
    queue.put("a")
    queue.put("b")
    machine.close()
    assert [queue.take_at_once(), queue.take_at_once()] == ["a", "b"]
    with pytest.raises(IndexError):
        queue.take_at_once()


def test_false_items_are_no_sign_of_a_handler_that_goes_round():
    queue = Queue(limit=3_000)
    for _ in range(3_000):
        queue.put(0)
    _, handler, _ = waiting(States, *[Taken(queue)] * 1_500, *[WhileConnected(Taken(queue))] * 1_500)
    assert handler.seen == [0] * 3_000


class Taker(StreamHandler):
    def __init__(self, queue, taken):
        self.queue, self.taken = queue, taken

    def handle(self):
        return Taken(self.queue, timeout=1), self.took

    def took(self, item):
        self.taken.append(item)
        return self.handle()

    def interrupted(self, cause):
        return self.handle()


@given(
    st.lists(st.tuples(st.sampled_from(["put", "advance", "expire", "end", "begin"]), st.integers(0, 3)), max_size=40)
)
def test_each_item_is_taken_once_whoever_waits_times_out_or_ends(steps):
    queue, taken, given_ = Queue(limit=100), [], 0

    def begin():
        machine = StreamMachine(Taker(queue, taken))
        machine.advance()
        return machine

    machines = [begin() for _ in range(4)]
    for what, which in steps:
        machine = machines[which]
        if what == "put":
            queue.put(given_)
            given_ += 1
        elif what == "begin":
            machine.close()
            machines[which] = begin()
        elif what == "end":
            machine.close()
        else:
            getattr(machine, what)()
    for machine in machines:
        machine.advance()
    while len(queue):
        taken.append(queue.take_at_once())
    assert sorted(taken) == list(range(given_))


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Queue(0), "Queue: limit"),
        (lambda: Queue(None), "Queue: limit"),
        (lambda: Taken(Event()), "Taken: queue"),
        (lambda: Taken(Queue), "Taken: queue"),
        (lambda: Happened(Queue(1)), "Happened: event"),
        (lambda: Happened(Event(), timeout=-1), "Happened: timeout"),
    ],
)
def test_a_wrong_argument_is_refused(make, named):
    with pytest.raises((TypeError, ValueError), match=f"^{named}"):
        make()


def test_waits_for_one_source_are_equal():
    event, queue = Event(), Queue(1)
    assert Happened(event) == Happened(event)
    assert Happened(event) != Happened(Event())
    assert Taken(queue) == Taken(queue)
    assert Taken(queue) != Taken(queue, timeout=1)
    assert repr(Taken(queue)).startswith("Taken(<")
