"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the thirteenth set."""

from . import causes, copies, edges, ends, growing, nested, numbers, reads, shared, slips, slow, times

PAIRS = [
    *numbers.PAIRS, *growing.PAIRS, *shared.PAIRS, *nested.PAIRS, *causes.PAIRS, *reads.PAIRS,
    *times.PAIRS, *copies.PAIRS, *edges.PAIRS, *ends.PAIRS, *slow.PAIRS, *slips.PAIRS,
]  # fmt: skip
