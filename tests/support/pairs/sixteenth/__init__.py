"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the sixteenth set."""

from . import (
    accumulation,
    cuts,
    deadlines,
    duplicates,
    largest,
    numbers,
    quadratic,
    recursion,
    shared,
    slips,
    smuggling,
    swallowed,
)

PAIRS = [
    *numbers.PAIRS, *accumulation.PAIRS, *shared.PAIRS, *recursion.PAIRS, *swallowed.PAIRS, *cuts.PAIRS,
    *deadlines.PAIRS, *duplicates.PAIRS, *largest.PAIRS, *smuggling.PAIRS, *quadratic.PAIRS, *slips.PAIRS,
]  # fmt: skip
