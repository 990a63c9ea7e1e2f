"""Pairs of handlers, broken and right: a fifth set, three of each of twelve kinds of fault."""

from __future__ import annotations

from .fifth_depths import PAIRS as DEPTHS
from .fifth_ends import PAIRS as ENDS
from .fifth_numbers import PAIRS as NUMBERS
from .fifth_pair import Pair as Pair
from .fifth_times import PAIRS as TIMES

PAIRS = [*NUMBERS, *DEPTHS, *TIMES, *ENDS]
