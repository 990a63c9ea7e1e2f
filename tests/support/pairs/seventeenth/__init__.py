"""Pairs of handlers, three of each of twelve kinds of faults: the seventeenth set."""

from . import accumulation, cuts, deadlines, duplicates, numbers, recursion, shared, swallowed

PAIRS = [
    *numbers.PAIRS, *accumulation.PAIRS, *shared.PAIRS, *recursion.PAIRS, *swallowed.PAIRS, *cuts.PAIRS,
    *deadlines.PAIRS, *duplicates.PAIRS,
]  # fmt: skip
