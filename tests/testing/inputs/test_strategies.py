"""The Hypothesis strategies: chunks, schedules, deliveries of datagrams, mutations."""

import random
from itertools import combinations, pairwise

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from reactor.testing.inputs.strategies import (
    chunkings,
    datagram_schedules,
    deliveries,
    mutated,
    mutations,
    packet_schedules,
    schedules,
    smallest,
    stream_schedules,
)
from reactor.testing.running.schedule import END, RESET, Take
from reactor.testing.running.subject import Subject
from tests.support.pairs import broken
from tests.support.pairs.broken import CONVERSATION

PACKETS = [b"one", b"two", b"three"]

SOON = settings(max_examples=5_000, phases=[Phase.generate], database=None)
"""Find an example without shrinking it."""


@given(st.binary(max_size=40).flatmap(lambda data: st.tuples(st.just(data), chunkings(data))))
def test_chunks_join_to_the_data_and_none_is_empty(drawn):
    data, chunks = drawn
    assert b"".join(chunks) == data
    assert all(chunks)


def test_every_way_to_cut_is_generated():
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


@pytest.mark.slow
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
def test_every_event_of_a_stream_is_generated(wanted):
    assert wanted(find(schedules(CONVERSATION), wanted, settings=SOON))
    assert any(map(wanted, stream_schedules(CONVERSATION).some(SOON.max_examples, random.Random(1))))


def _bytes(step):
    return step if isinstance(step, bytes) else b""


@pytest.mark.slow
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
def test_every_event_of_datagrams_is_generated(wanted, least):
    assert find(deliveries(PACKETS), wanted, random=random.Random(1)) == least
    quick = datagram_schedules(PACKETS, seconds=None, takes=False).some(SOON.max_examples, random.Random(1))
    assert any(map(wanted, quick))


@given(deliveries(PACKETS, truncates=False))
def test_datagrams_are_damaged_only_on_request(arrived):
    assert set(arrived) <= set(PACKETS)


@given(packet_schedules(PACKETS, lossy=False))
def test_without_loss_packets_arrive_as_they_were_sent(schedule):
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
    assert any(map(wanted, mutated(CONVERSATION).some(SOON.max_examples, random.Random(1))))


@pytest.mark.parametrize("choice", [stream_schedules(CONVERSATION), datagram_schedules(PACKETS), mutated(CONVERSATION)])
def test_examples_drawn_quickly_begin_with_the_simplest_and_are_different(choice):
    some = [repr(example) for example in choice.some(200, random.Random(1))]
    assert some[0] == repr(find(choice.strategy, lambda _: True, settings=SOON))
    assert len(set(some)) == len(some) == 200


def test_few_examples_are_drawn_of_few():
    assert list(datagram_schedules([], seconds=None, takes=False).some(50, random.Random(1))) == [[]]


@given(st.integers(0, 1_000))
def test_a_schedule_drawn_quickly_has_the_data_in_its_order(seed):
    for schedule in stream_schedules(CONVERSATION).some(5, random.Random(seed)):
        chunks = [step for step in schedule if isinstance(step, bytes)]
        assert CONVERSATION.startswith(b"".join(chunks))
        assert all(chunks)
        assert all(step not in (END, RESET) for step in schedule[:-1])


def test_what_is_drawn_quickly_leads_to_the_smallest_example():
    found = smallest(Subject(broken.Mended), mutated(CONVERSATION), lambda data: b"\xff" in data, None)
    assert found == b"\xff"


def test_an_example_that_hypothesis_does_not_draw_is_found_as_it_was_drawn():
    drawn = []

    def breaks(data):
        drawn.append(data)
        return data == drawn[min(5, len(drawn) - 1)] and len(drawn) > 5

    found = smallest(Subject(broken.Mended), mutated(CONVERSATION * 40), breaks, 10)
    assert found == drawn[5]
