"""Pairs of handlers whose faults were reported for servers, most of them in other languages, and were mended there.

The comment above each pair names the project and the number of its issue or pull request. The code is ours.
"""

from . import bounds, framing, holding, order, work

PAIRS = [*framing.PAIRS, *bounds.PAIRS, *holding.PAIRS, *order.PAIRS, *work.PAIRS]
