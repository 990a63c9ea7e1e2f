"""Pairs of handlers, three of each of twelve kinds of faults: the fourteenth set."""

from . import deadlines, duplicates, largest, quadratic, slips, smuggling

PAIRS = [*deadlines.PAIRS, *duplicates.PAIRS, *largest.PAIRS, *smuggling.PAIRS, *quadratic.PAIRS, *slips.PAIRS]
