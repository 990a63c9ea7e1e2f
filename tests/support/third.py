"""`PAIRS`: a third set of handlers, broken and right, three pairs for each of twelve kinds of fault."""

from tests.support import third_content, third_flow, third_held, third_turns, third_work
from tests.support.kinds_pair import Pair

PARTS = third_content, third_held, third_flow, third_turns, third_work
PAIRS: list[Pair] = [pair for part in PARTS for pair in part.PAIRS]
