"""`check` tells the handler with a fault of production code from the one without it, in each pair of `shipped`."""

import pytest

from reactor.testing.check import properties as checks
from reactor.testing.check.properties import check
from reactor.testing.check.report import CheckFailed
from tests.support.pasted import assert_red_then_green
from tests.support.shipped import MISSED, PAIRS

BLOCKS = "Backtracks"  # the report of a state that does not return has no test: it would not return either


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_wrong_handler_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        check(pair.wrong, pair.conversation, modes=[], examples=10, **pair.options)
    report, _, code = str(caught.value).partition("\n\n")
    if pair.wrong.__name__ == BLOCKS:
        assert "does not return: one call" in report
    else:
        assert_red_then_green(code, pair.wrong, pair.right, tmp_path)
    check(pair.right, pair.conversation, modes=[], examples=10, **pair.options)


@pytest.mark.slow
@pytest.mark.parametrize("pair", MISSED, ids=lambda pair: pair.wrong.__name__)
def test_a_right_handler_is_not_accused(pair):
    check(pair.right, pair.conversation, modes=[], examples=10, **pair.options)


QUICK = "takes_one_length_only", "takes_exact_ends_only", "leaves_nothing_behind"


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.holds in QUICK], ids=lambda pair: pair.wrong.__name__)
def test_the_property_alone_tells_them_apart(pair):
    holds = getattr(checks, pair.holds)
    with pytest.raises(CheckFailed, match=f"  property {pair.holds}: "):
        holds(pair.wrong, pair.conversation)
    holds(pair.right, pair.conversation)
