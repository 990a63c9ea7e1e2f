"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the eighth set."""

from __future__ import annotations

from . import depths, ends, flow, numbers, times

PAIRS = [*numbers.PAIRS, *depths.PAIRS, *flow.PAIRS, *times.PAIRS, *ends.PAIRS]
