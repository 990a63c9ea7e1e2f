"""`check` tells the handlers of `unseen` and of `fresh` apart.

These 27 pairs were written before the source of `check` was read. When they were first tried, it found 9 of the 27
faults and accused one right handler of the 27. Now it finds 26, and accuses none. Of the 19 of `fresh` it found 14, and
finds all now. Those that it misses are `MISSED`. The property that finds the fault is tried alone here.
"""

import pytest

from reactor.testing import check
from tests.support.pairs import fresh, unseen
from tests.support.pairs.shipped import assert_told_apart

QUICK = "takes_true_lengths_only", "bears_any_number", "takes_exact_ends_only", "answers_duplicates_once"
QUICK_FRESH = "leaves_nothing_behind", "ends_if_it_drips", "drops_no_step"
FAST = [
    *(pair for pair in unseen.UNSEEN if pair.holds in QUICK),
    *(pair for pair in fresh.FRESH if pair.holds in QUICK_FRESH),
]
PAIRS = [
    pytest.param(pair, id=pair.wrong.__name__, marks=[] if pair in FAST else pytest.mark.slow)
    for pair in (*unseen.UNSEEN, *fresh.FRESH)
]


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    assert_told_apart(pair, tmp_path)


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("pair", unseen.MISSED, ids=lambda pair: pair.wrong.__name__)
def test_what_is_missed_is_at_least_not_accused_when_it_is_right(pair):
    check(pair.right, pair.conversation, modes=[], examples=2)
