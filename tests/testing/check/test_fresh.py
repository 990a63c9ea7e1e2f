"""`check` tells the handlers of `fresh` apart: 18 of 19, 14 of which it found at first, and accuses no right one."""

import pytest

from reactor.testing.check import properties as checks
from reactor.testing.check.properties import check
from reactor.testing.check.report import CheckFailed
from tests.support.fresh import FRESH, MISSED
from tests.support.shipped import assert_told_apart

EXAMPLES = 2  # few: what these handlers need is tried before any example is drawn
QUICK = "leaves_nothing_behind", "ends_if_it_drips", "drops_no_step"


@pytest.mark.slow
@pytest.mark.parametrize("pair", FRESH, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    assert_told_apart(pair, tmp_path, EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("pair", MISSED, ids=lambda pair: pair.wrong.__name__)
def test_what_is_missed_is_at_least_not_accused_when_it_is_right(pair):
    check(pair.right, pair.conversation, modes=[], examples=EXAMPLES)


@pytest.mark.parametrize("pair", [pair for pair in FRESH if pair.holds in QUICK], ids=lambda pair: pair.wrong.__name__)
def test_the_property_alone_tells_them_apart(pair):
    arguments = [] if pair.holds == "drops_no_step" else [pair.conversation]
    holds = getattr(checks, pair.holds)
    with pytest.raises(CheckFailed, match=f"  property {pair.holds}: "):
        holds(pair.wrong, *arguments)
    holds(pair.right, *arguments)
