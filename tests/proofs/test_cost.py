"""Bounds of costs: ratios to peers that are measured in the same run, never seconds.

Other load of the machine can only spoil a measurement, so each may be made three times.
"""

from collections.abc import Callable, Mapping

import pytest

from tests.proofs import figures
from tests.support import peers

SPELLINGS = ["ours: states", "ours: states, one wait", "ours: coroutine", "ours: Echo"]


def within(limits: Mapping[str, float], measure: Callable[[], Mapping[str, float]]) -> None:
    """Assert that in one of three measurements every value is at most its limit."""
    seen = []
    for _ in range(3):
        measured = measure()
        seen.append({name: round(measured[name], 3) for name in limits if measured[name] > limits[name]})
        if not seen[-1]:
            return
    pytest.fail(f"over the limits {dict(limits)}: {seen}")


def ratios(names: list[str], peer: str, lines: int) -> dict[str, float]:
    spent = figures.costs([*names, peer], lines)
    return {name: figures.ratio(spent, name, peer) for name in names}


@pytest.mark.slow
def test_a_line_costs_no_more_than_with_a_protocol_of_asyncio():
    within(dict.fromkeys(SPELLINGS, 1.0), lambda: ratios(SPELLINGS, "asyncio Protocol", lines=1))


@pytest.mark.slow
def test_a_pipelined_line_costs_under_a_third_of_that_of_streams_on_uvloop():
    # A handler that makes a new wait for each line costs a little more.
    limits = {"ours: states, one wait": 1 / 3, "ours: states": 0.4, "ours: coroutine": 0.4}
    peer = "uvloop streams"
    if peer not in peers.available():
        peer = "asyncio streams"  # streams of asyncio cost 0.7 to 1.0 of streams on uvloop
        limits = {name: limit / 0.7 for name, limit in limits.items()}
    within(limits, lambda: ratios(list(limits), peer, lines=16))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("held", "limit"), [(b"", 1_000), (b"x", 1_024)], ids=["between lines", "with a byte of a line"]
)
def test_an_idle_row_takes_under_a_kibibyte(held, limit):
    assert figures.memory("ours: states, one wait", held) < limit


@pytest.mark.slow
def test_an_idle_row_takes_less_than_a_protocol_of_asyncio():
    assert figures.memory("ours: states") < figures.memory("asyncio Protocol")


@pytest.mark.slow
def test_the_import_is_light():
    def measure() -> dict[str, float]:
        ours, theirs, more = figures.imports()
        return {"times the time": ours / theirs, "MiB more": more / 2**20}

    within({"times the time": 1.5, "MiB more": 2.0}, measure)


def test_one_byte_at_a_time_costs_the_same_per_byte_however_long_the_message():
    def measure() -> dict[str, float]:
        short, long = figures.feeding((1_024, 1), (32_768, 1))
        return {"32 KiB against 1 KiB": long / short}

    within({"32 KiB against 1 KiB": 1.25}, measure)
