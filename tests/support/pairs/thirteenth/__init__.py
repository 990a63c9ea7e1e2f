"""Pairs of handlers, three of each of twelve kinds of faults: the thirteenth set."""

from . import causes, growing, nested, numbers, reads, shared

PAIRS = [*numbers.PAIRS, *growing.PAIRS, *shared.PAIRS, *nested.PAIRS, *causes.PAIRS, *reads.PAIRS]
