"""`check` tells the handlers of `unseen` and of `fresh` apart.

These 27 pairs were written before the source of `check` was read. When they were first tried, it found 9 of the 27
faults and accused one right handler of the 27. Now it finds 25, and accuses none. Of the 19 of `fresh` it found 14, and
finds all now. Those that it misses are `MISSED`.
"""

import pytest

from reactor.testing.check import properties as checks
from reactor.testing.check.properties import check
from reactor.testing.check.report import CheckFailed
from tests.support import fresh, unseen
from tests.support.shipped import assert_told_apart

EXAMPLES = 2  # few: what these handlers need is tried before any example is drawn


@pytest.mark.slow
@pytest.mark.parametrize("pair", [*unseen.UNSEEN, *fresh.FRESH], ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    assert_told_apart(pair, tmp_path, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("pair", unseen.MISSED, ids=lambda pair: pair.wrong.__name__)
def test_what_is_missed_is_at_least_not_accused_when_it_is_right(pair):
    check(pair.right, pair.conversation, modes=[], examples=EXAMPLES, **pair.options)


QUICK = "takes_true_lengths_only", "bears_any_number", "takes_exact_ends_only", "answers_duplicates_once"
QUICK_FRESH = "leaves_nothing_behind", "ends_if_it_drips", "drops_no_step"
ALONE = [
    *(pair for pair in unseen.UNSEEN if pair.holds in QUICK),
    *(pair for pair in fresh.FRESH if pair.holds in QUICK_FRESH),
]


@pytest.mark.parametrize("pair", ALONE, ids=lambda pair: pair.wrong.__name__)
def test_the_property_alone_tells_them_apart(pair):
    arguments = [] if pair.holds == "drops_no_step" else [pair.conversation]
    holds = getattr(checks, pair.holds)
    with pytest.raises(CheckFailed, match=f"  property {pair.holds}: "):
        holds(pair.wrong, *arguments)
    holds(pair.right, *arguments)
