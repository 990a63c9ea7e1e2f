"""Thirty-six pairs of handlers, three of each of twelve kinds of faults: the fourteenth set."""

from . import (
    causes,
    deadlines,
    duplicates,
    growing,
    largest,
    nested,
    numbers,
    quadratic,
    reads,
    shared,
    slips,
    smuggling,
)

PAIRS = [
    *numbers.PAIRS, *growing.PAIRS, *shared.PAIRS, *nested.PAIRS, *causes.PAIRS, *reads.PAIRS,
    *deadlines.PAIRS, *duplicates.PAIRS, *largest.PAIRS, *smuggling.PAIRS, *quadratic.PAIRS, *slips.PAIRS,
]  # fmt: skip
