"""Twenty-four pairs of handlers, three of each of eight kinds of faults: the sixteenth set."""

from . import cuts, deadlines, duplicates, largest, quadratic, slips, smuggling, swallowed

PAIRS = [
    *swallowed.PAIRS, *cuts.PAIRS, *deadlines.PAIRS, *duplicates.PAIRS,
    *largest.PAIRS, *smuggling.PAIRS, *quadratic.PAIRS, *slips.PAIRS,
]  # fmt: skip
