"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the eighth set."""

from __future__ import annotations

from tests.support import eighth_depths, eighth_ends, eighth_flow, eighth_numbers, eighth_times

PAIRS = [*eighth_numbers.PAIRS, *eighth_depths.PAIRS, *eighth_flow.PAIRS, *eighth_times.PAIRS, *eighth_ends.PAIRS]
