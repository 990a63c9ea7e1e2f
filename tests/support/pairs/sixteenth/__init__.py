"""Twelve pairs of handlers, three of each of four kinds of faults: the sixteenth set."""

from . import cuts, deadlines, duplicates, swallowed

PAIRS = [*swallowed.PAIRS, *cuts.PAIRS, *deadlines.PAIRS, *duplicates.PAIRS]
