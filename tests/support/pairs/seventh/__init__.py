"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the seventh set."""

from __future__ import annotations

from . import ends, flow, numbers, times

PAIRS = [*numbers.PAIRS, *flow.PAIRS, *times.PAIRS, *ends.PAIRS]
