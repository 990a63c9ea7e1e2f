"""Pairs of handlers, broken and right: a third set of three for each of twelve kinds of faults."""

from tests.support.pairs.pair import Pair

from . import content, flow, held, turns, work

PARTS = content, held, flow, turns, work
PAIRS: list[Pair] = [pair for part in PARTS for pair in part.PAIRS]
