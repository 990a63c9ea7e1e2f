"""Pairs of handlers, broken and right, of twelve kinds of faults, made without a look at how `check` searches."""

from . import ends, flow, held, numbers, turns

PAIRS = [*numbers.PAIRS, *held.PAIRS, *ends.PAIRS, *flow.PAIRS, *turns.PAIRS]
