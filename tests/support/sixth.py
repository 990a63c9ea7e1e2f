"""A sixth set of pairs, made without a look at how `check` searches: three for each of twelve kinds of faults.

1 numbers; 2 what is kept without bound; 3 what one client changes for another; 4 recursion; 5 a swallowed cause; 6 what
comes in one read; 7 a deadline that begins anew; 8 duplicates; 9 off by one; 10 ends that only look like ends;
11 quadratic work; 12 a forgotten return or await, a call that blocks.
"""

from . import sixth_ends, sixth_flow, sixth_held, sixth_numbers, sixth_turns

PAIRS = [*sixth_numbers.PAIRS, *sixth_held.PAIRS, *sixth_ends.PAIRS, *sixth_flow.PAIRS, *sixth_turns.PAIRS]
