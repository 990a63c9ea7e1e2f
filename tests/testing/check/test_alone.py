"""A property alone tells the handlers of a pair of `kinds` apart."""

import pytest

from reactor import testing
from reactor.testing.check.report import CheckFailed
from tests.support.kinds import PAIRS
from tests.support.pasted import assert_red_then_green

FOUND = {
    "ldap": "bears_any_nesting",
    "whois": "matches_in_time",
    "dhcp": "leaves_nothing_behind",
    "calculator": "leaves_the_process_as_it_was",
    "gelf": "stays_in_bounds_when_repeated",
}
NAMED = {pair.name: pair for pair in PAIRS}


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_the_broken_one_is_caught_with_a_test_that_the_right_one_passes(name, tmp_path):
    pair, holds = NAMED[name], getattr(testing, FOUND[name])
    with pytest.raises(CheckFailed, match=f"  property {FOUND[name]}: ") as caught:
        holds(pair.broken, pair.conversation)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], pair.broken, pair.right, tmp_path)
    holds(pair.right, pair.conversation)
