"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the ninth set."""

from . import causes, copies, cuts, edges, ends, growing, nested, numbers, shared, slips, slow, times

PAIRS = [
    *numbers.PAIRS, *growing.PAIRS, *shared.PAIRS, *nested.PAIRS, *causes.PAIRS, *cuts.PAIRS,
    *times.PAIRS, *copies.PAIRS, *edges.PAIRS, *ends.PAIRS, *slow.PAIRS, *slips.PAIRS,
]  # fmt: skip
