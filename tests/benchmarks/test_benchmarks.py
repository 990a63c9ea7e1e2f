"""The cases name peers that exist, and what comes of the rounds is what the report says."""

import pytest

from tests.benchmarks import alone, cases, report, workers
from tests.benchmarks.cases import FLOOR, IDLE, TUNED, Bound
from tests.benchmarks.peers import __main__ as peers
from tests.benchmarks.rounds import Costs, interleaved


@pytest.mark.parametrize("case", cases.LOADED, ids=lambda case: case.name)
def test_every_server_that_a_case_names_is_a_peer_of_its_service(case):
    known = set(peers.SERVICES[case.service])
    assert known >= {*case.tuned, *case.idle, *case.only}
    named = {name for bound in case.bounds for name in (bound.theirs, *bound.mine)} - {FLOOR}
    assert known >= {name.removesuffix(TUNED).removesuffix(IDLE) for name in named if name not in cases.OURS}
    assert {name for bound in case.bounds for name in bound.mine} & (known | {name + IDLE for name in case.idle})


@pytest.mark.parametrize("case", alone.CASES, ids=lambda case: case.name)
def test_every_bound_of_a_case_without_a_load_is_of_its_names(case):
    assert case.names.keys() >= {name for bound in case.bounds for name in (bound.theirs, *bound.mine)}


def test_the_servers_take_turns_and_the_first_round_warms_up():
    turns = []

    def measure(name):
        turns.append(name)
        return float(len(turns))

    spent = interleaved({("3", "a"): lambda: measure("a"), ("3", "b"): lambda: measure("b")}, 2)
    assert turns == ["a", "b"] * 3
    assert spent == {("3", "a"): [3, 5], ("3", "b"): [4, 6]}


def test_a_bound_is_compared_with_the_worst_of_ours_on_all_pythons():
    tuned = "peer" + TUNED
    results = {
        "3.11": Costs({"ours: states": [1, 2, 9], "ours: coroutine": [2, 2, 2], "peer": [2, 2, 2], tuned: [1, 1, 1]}),
        "3.13": Costs({"ours: states": [1, 1, 1], "ours: coroutine": [3, 3, 3], "peer": [2, 2, 2]}),
    }
    bounds = (
        Bound("not installed", 1),
        Bound("peer", 1.5),
        Bound("peer", 1.4),
        Bound("peer", 1, ("ours: states",)),
        Bound(tuned, 1.4),
    )
    assert list(report.bounds_of("case", bounds, results)) == [
        ("case", "peer", "1.50", "1.50", "", "ours: coroutine; 3.13"),
        ("case", tuned, "2.00", "1.40", "more", "ours: states; 3.11"),
        ("case", "peer", "1.00", "1.00", "", "ours: states; 3.11"),
    ]


def test_the_table_has_the_cheapest_first_and_its_ratios_are_medians_over_the_rounds():
    costs = Costs({"b": [2e-6, 2e-6, 2e-6], "a": [1e-6, 1e-6, 2e-6], FLOOR: [5e-7, 1e-6, 5e-7]})
    assert list(report.rows_of("case", ", by load.c", (Bound("b", 1),), costs)) == [
        ("case, by load.c", "time", "±", "÷ b", f"÷ {FLOOR}"),
        (FLOOR, "500 ns", "25%", "0.25", "1.00"),
        ("a", "1.00 µs", "25%", "0.50", "2.00"),
        ("b", "2.00 µs", "0%", "1.00", "4.00"),
    ]


def test_workers_are_compared_with_one_by_their_medians():
    measured = {
        1: [workers.Round(100, 2e-6, 1), workers.Round(200, 2e-6, 1), workers.Round(900, 4e-6, 1)],
        2: [workers.Round(300, 3e-6, 0.5), workers.Round(100, 1e-6, 0.75), workers.Round(400, 5e-6, 0.75)],
    }
    head, *rows = workers.rows("3.11", "line", measured)
    assert rows == [
        (1, "200", "1.00", "2.00 µs", "1.00", "100%"),
        (2, "300", "1.50", "3.00 µs", "1.50", "75%"),
    ]
    assert len(head) == len(rows[0])


@pytest.mark.parametrize(
    ("seconds", "text"), [(1.5e-4, "150 µs"), (1.234e-5, "12.3 µs"), (1.5e-6, "1.50 µs"), (2e-8, "20.0 ns")]
)
def test_times_have_three_digits(seconds, text):
    assert report.time_of(seconds) == text


def test_the_chart_shows_ours_as_it_is_and_others_at_their_best():
    times = [1e-6]
    costs = Costs(dict.fromkeys(["ours: states", "ours: states" + TUNED, "asyncio", "asyncio" + TUNED, FLOOR], times))
    assert {name for name, *_ in report.panel("case", costs)[1]} == {"ours: states", "asyncio" + TUNED, FLOOR}
