"""`FirstOf`: whichever wait is satisfied first, nothing lost; `WhileConnected`: the end of the stream breaks it off."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    DatagramMachine,
    Delay,
    EndOfStream,
    Event,
    Failed,
    FirstOf,
    Flushed,
    Forked,
    Happened,
    InputEnded,
    LimitPassed,
    Packet,
    Queue,
    Some,
    StreamHandler,
    StreamMachine,
    Taken,
    Threaded,
    TimedOut,
    Until,
    WhileConnected,
)
from handlers.filter import Filter, chain
from tests.support.strategies import Driver, Packets, cuts, spellings

spelling = pytest.mark.parametrize("spelling", spellings)
LINE = Until(b"\n", limit=100)


def begun(handler):
    machine = StreamMachine(handler, Driver())
    machine.advance()
    return machine


# Which comes first


@spelling
def test_the_result_tells_which_wait_was_satisfied(spelling):
    event, queue = Event(), Queue(1)
    happened, taken, rest = Happened(event), Taken(queue), Delay(5)
    machine = begun(handler := spelling(*[FirstOf(LINE, happened, taken, rest)] * 5))
    machine.feed(b"one\n")
    machine.expire()
    queue.put("item")
    machine.advance()
    event.set(3)
    machine.advance()
    assert [result for _, result in handler.seen] == [b"one\n", None, "item", 3, 3]
    assert all(
        wait is expected
        for (wait, _), expected in zip(handler.seen, [LINE, rest, taken, happened, happened], strict=True)
    )


@spelling
def test_the_wait_that_is_named_first_counts_if_several_are_satisfied(spelling):
    queue = Queue(1)
    queue.put("item")
    taken = Taken(queue)
    machine = StreamMachine(handler := spelling(FirstOf(LINE, taken), FirstOf(LINE, taken)))
    machine.feed(b"one\ntwo\n")
    assert handler.seen == [(LINE, b"one\n"), (LINE, b"two\n")]
    assert len(queue) == 1


@spelling
def test_a_part_of_the_input_is_kept_for_another_wait_with_another_delimiter(spelling):
    event = Event()
    happened = Happened(event)
    machine = begun(handler := spelling(FirstOf(LINE, happened), Until(b";"), Until(b";")))
    machine.feed(b"a;b")
    event.set()
    machine.advance()
    machine.feed(b"c;")
    assert handler.seen == [(happened, None), b"a;", b"bc;"]


def test_input_is_read_while_an_event_is_waited_for():
    machine = begun(spelling := spellings[0](FirstOf(LINE, Happened(Event()))))
    assert machine.wants_input
    machine.feed(b"on")
    assert machine.wants_input
    machine.feed(b"e\n")
    assert spelling.seen == [(LINE, b"one\n")]


class Everything(StreamHandler):
    def __init__(self, queue, waits):
        self.first = FirstOf(*waits)
        self.lines, self.items, self.rests, self.queue = [], [], 0, queue

    def handle(self):
        return self.first, self.took

    def took(self, answer):
        wait, result = answer
        if isinstance(wait, Until):
            self.lines.append(result)
        elif isinstance(wait, Taken):
            self.items.append(result)
        else:
            self.rests += 1
        return self.handle()

    def interrupted(self, cause):
        self.lines.append(cause.partial)


STEPS = st.lists(st.sampled_from(["item", "expire", "advance", "feed"]), max_size=30)


@pytest.mark.slow
@pytest.mark.parametrize("filters", [[], [Filter]], ids=["bare", "filter"])
@given(st.permutations([LINE, "taken", Delay(1)]), st.text("ab\n", max_size=40).map(str.encode).flatmap(cuts), STEPS)
def test_no_byte_and_no_item_is_lost_in_whatever_order_things_come(filters, waits, pieces, steps):
    queue = Queue(limit=100)
    handler = Everything(queue, [Taken(queue) if wait == "taken" else wait for wait in waits])
    channel = chain(StreamMachine(handler, Driver()), filters)
    channel.advance()
    left, put, rests = list(pieces), 0, 0
    for step in steps:
        if step == "item":
            queue.put(put)
            put += 1
        elif step == "expire":
            channel.expire()
            rests += 1
        elif step == "advance":
            channel.advance()
        elif left:
            channel.feed(left.pop(0))
    channel.advance()
    for piece in left:
        channel.feed(piece)
    channel.end()
    assert b"".join(handler.lines) == b"".join(pieces)
    assert handler.lines[: len(b"".join(pieces).splitlines())] == b"".join(pieces).splitlines(keepends=True)
    assert handler.items == list(range(put))
    assert handler.rests == rests


# Time


@pytest.mark.parametrize(
    ("wait", "patience", "seen"),
    [
        (FirstOf(LINE, Delay(5)), 5, (Delay(5), None)),
        (FirstOf(LINE, Delay(5), timeout=9), 5, (Delay(5), None)),
        (FirstOf(LINE, Delay(5), timeout=2), 2, (TimedOut, None)),
        (FirstOf(LINE, Delay(5), Delay(3)), 3, (Delay(3), None)),
        (FirstOf(LINE, timeout=2), 2, (TimedOut, None)),
        (FirstOf(LINE), 300, (TimedOut, None)),
        (FirstOf(LINE, Delay(1000)), 1000, (Delay(1000), None)),
        (FirstOf(LINE, timeout=math.inf), math.inf, (TimedOut, None)),
        (WhileConnected(Delay(5)), 5, None),
        (WhileConnected(Threaded(len), timeout=2), 2, (TimedOut, None)),
    ],
    ids=repr,
)
@spelling
def test_the_delay_or_the_timeout_that_is_over_first_counts(spelling, wait, patience, seen):
    machine = begun(handler := spelling(wait, Some()))
    assert machine.patience == patience
    machine.expire()
    assert handler.seen == [seen]


# Causes


@spelling
def test_the_cause_of_one_wait_is_the_cause_of_the_whole(spelling):
    queue = Queue(1)
    machine = begun(
        handler := spelling(FirstOf(Until(b"\n", limit=3), Taken(queue)), Some(), FirstOf(LINE, Taken(queue)))
    )
    machine.feed(b"abcd")
    machine.feed(b"ef")
    machine.end()
    queue.put("item")
    assert handler.seen == [(LimitPassed, b"abc"), b"d", (EndOfStream, b"ef")]
    assert (queue.waiting, len(queue)) == (0, 1)


def test_the_end_of_the_stream_between_messages_ends_the_request():
    machine = begun(Everything(queue := Queue(1), [LINE, Taken(queue)]))
    machine.feed(b"one\n")
    machine.end()
    assert (machine.finished, machine.reason, queue.waiting) == (True, None, 0)


def test_failed_work_is_a_cause_that_names_the_work():
    work = Forked(len)
    machine = begun(handler := spellings[0](FirstOf(LINE, work)))
    assert machine.wait.outside
    machine.interrupt(Failed(work, ValueError("no")))
    assert handler.seen == [(Failed, None)]


# InputEnded, WhileConnected


@spelling
def test_input_ended_takes_no_byte(spelling):
    machine = begun(handler := spelling(InputEnded(), LINE))
    machine.feed(b"one\n")
    machine.end()
    assert handler.seen == [b"", b"one\n"]


@spelling
def test_while_connected_has_the_result_of_its_wait(spelling):
    queue = Queue(2)
    machine = begun(handler := spelling(WhileConnected(Taken(queue)), WhileConnected(Threaded(len)), LINE))
    machine.feed(b"on")
    queue.put(1)
    machine.advance()
    machine.resume(machine.wait.answer(machine.wait.parts[0], 2))
    machine.feed(b"e\n")
    assert handler.seen == [1, 2, b"one\n"]


@spelling
@pytest.mark.parametrize("wait", [Delay(9), Threaded(len), Happened(Event()), Taken(Queue(1))], ids=repr)
def test_the_end_of_the_stream_breaks_it_off_and_what_came_before_is_held(spelling, wait):
    machine = begun(handler := spelling(WhileConnected(wait), LINE))
    machine.feed(b"one\n")
    machine.end()
    assert handler.seen == [(EndOfStream, b""), b"one\n"]
    assert getattr(wait, "source", Event()).waiting == 0


def test_past_its_limit_no_more_is_read_until_the_wait_is_over():
    machine = begun(handler := spellings[0](WhileConnected(Delay(1), limit=10), Some(), Some()))
    machine.feed(b"123456789")
    assert machine.wants_input
    machine.feed(b"0")
    assert not machine.wants_input
    machine.expire()
    assert handler.seen == [None, b"1234567890"]
    assert machine.wants_input


# Wrong arguments


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: FirstOf(), "FirstOf: one wait or more"),
        (lambda: FirstOf(LINE, Some()), "FirstOf: one of the waits"),
        (lambda: FirstOf(LINE, Packet()), "FirstOf: one of the waits"),
        (lambda: FirstOf(FirstOf(LINE)), "FirstOf: FirstOf"),
        (lambda: FirstOf(Flushed(), LINE), "FirstOf: Flushed"),
        (lambda: FirstOf(LINE, 5), "FirstOf: 5"),
        (lambda: FirstOf(Until(b"\n", timeout=5), Delay(1)), "FirstOf: the timeout"),
        (lambda: FirstOf(LINE, timeout=-1), "FirstOf: timeout"),
        (lambda: WhileConnected(LINE), "WhileConnected: Until"),
        (lambda: WhileConnected(3), "WhileConnected: 3"),
        (lambda: WhileConnected(Delay(1), limit=0), "InputEnded: limit"),
    ],
)
def test_a_wrong_argument_is_refused(make, named):
    with pytest.raises((TypeError, ValueError), match=f"^{named}"):
        make()


@pytest.mark.parametrize(
    ("machine", "wait"), [(DatagramMachine(Packets(FirstOf(LINE, Delay(1)))), "Until"),
                          (DatagramMachine(Packets(WhileConnected(Delay(1)))), "InputEnded"),
                          (StreamMachine(spellings[0](FirstOf(Packet(), Delay(1)))), "Packet")],
)  # fmt: skip
def test_a_wait_that_the_machine_has_not_is_refused(machine, wait):
    with pytest.raises(TypeError, match=f"has no {wait}$"):
        machine.advance()
    assert isinstance(machine.reason, TypeError)


def test_packets_and_time_and_events_for_datagrams():
    queue, packet = Queue(1), Packet()
    machine = DatagramMachine(handler := Packets(*[FirstOf(packet, Taken(queue), Delay(1))] * 3))
    machine.feed(b"ab")
    queue.put(b"item")
    machine.advance()
    machine.expire()
    assert [result for _, result in handler.seen] == [b"ab", b"item", None]


@pytest.mark.parametrize(
    "wait", [FirstOf(LINE, Delay(1)), FirstOf(LINE, Delay(1), timeout=0.5), FirstOf(LINE, timeout=3), FirstOf(Packet()),
             WhileConnected(Delay(2)), WhileConnected(Delay(2), timeout=1), WhileConnected(Delay(2), limit=9)],
    ids=repr,
)  # fmt: skip
def test_the_repr_is_the_code_that_makes_it(wait):
    import handlers

    again = eval(repr(wait), vars(handlers))
    assert again == wait
    assert hash(again) == hash(wait)
    assert again != FirstOf(Delay(77))
