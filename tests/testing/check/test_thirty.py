"""`check` tells the handlers of `thirty` apart.

The thirty pairs were written before the source of `check` was read. When they were first tried, it found 12 of the 30
faults, and accused one right handler of the 30, for it did not make the calls of handlers. Now it finds 26, and accuses
none. Those that it misses are `MISSED`.
"""

import pytest

from reactor.testing import check
from reactor.testing.running.report import CheckFailed
from tests.support.pairs import thirty

MISSED = {
    "http: the body of a refused request is not read",
    "smtp: recipients are kept",
    "relp: no reply to what is unknown",
    "game: a short question, a long answer",
}
ONCE_ACCUSED = {"redis: answers out of order"}
"""The others take minutes: `tests.proofs.check_figures` has them."""

EXAMPLES = 2  # few: what these handlers need is tried before any example is drawn


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize("pair", [pair for pair in thirty.PAIRS if pair.name not in MISSED], ids=lambda pair: pair.name)
def test_a_wrong_handler_is_caught(pair):
    with pytest.raises(CheckFailed):
        check(pair.broken, pair.conversation, modes=["sync"], examples=EXAMPLES, **pair.options)


@pytest.mark.slow
@pytest.mark.in_turn
@pytest.mark.parametrize(
    "pair", [pair for pair in thirty.PAIRS if pair.name in ONCE_ACCUSED], ids=lambda pair: pair.name
)
def test_a_right_handler_is_not_accused(pair):
    check(pair.right, pair.conversation, modes=["sync"], examples=EXAMPLES, **pair.options)
