"""Pairs of handlers, broken and right, of twelve kinds of faults, in protocols that the other sets do not have."""

from __future__ import annotations

from . import depths, ends, numbers, times

PAIRS = [*numbers.PAIRS, *depths.PAIRS, *times.PAIRS, *ends.PAIRS]
