"""Pairs of handlers whose faults were reported for servers of others; the comment above each pair says where."""

from . import bounds, framing, holding, order, work

PAIRS = [*framing.PAIRS, *bounds.PAIRS, *holding.PAIRS, *order.PAIRS, *work.PAIRS]
