"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the seventh set."""

from __future__ import annotations

from tests.support import seventh_ends, seventh_flow, seventh_numbers, seventh_times

PAIRS = [*seventh_numbers.PAIRS, *seventh_flow.PAIRS, *seventh_times.PAIRS, *seventh_ends.PAIRS]
