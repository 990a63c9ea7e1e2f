"""Pairs of handlers, broken and right, of twelve kinds of faults, in protocols that the other sets do not have."""

from __future__ import annotations

from tests.support import fifth_depths, fifth_ends, fifth_numbers, fifth_times

PAIRS = [*fifth_numbers.PAIRS, *fifth_depths.PAIRS, *fifth_times.PAIRS, *fifth_ends.PAIRS]
