"""Pairs of handlers, broken and right, of twelve kinds of faults, in protocols that are less common."""

from __future__ import annotations

from tests.support import fourth_bounds, fourth_turns, fourth_values, fourth_work

PAIRS = [*fourth_values.PAIRS, *fourth_turns.PAIRS, *fourth_bounds.PAIRS, *fourth_work.PAIRS]
