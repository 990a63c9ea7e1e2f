"""Pairs of handlers, broken and right, of twelve kinds of faults, in protocols that are less common."""

from __future__ import annotations

from . import bounds, turns, values, work

PAIRS = [*values.PAIRS, *turns.PAIRS, *bounds.PAIRS, *work.PAIRS]
