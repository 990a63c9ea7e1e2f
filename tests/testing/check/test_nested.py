"""`check` tells the handler that recurses with each level of a message from the one that does not."""

import pytest

from handlers.services import Echo
from reactor.testing import bears_any_nesting, check
from reactor.testing.running.report import CheckFailed
from tests.support.pairs.nested import PAIRS
from tests.support.pasted import assert_told


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_a_handler_that_recurses_is_caught_with_a_test_that_the_right_one_passes(pair, tmp_path):
    with pytest.raises(CheckFailed) as caught:
        bears_any_nesting(pair.wrong, pair.conversation)
    assert_told(caught, pair, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.wrong.__name__)
def test_check_tries_it(pair):
    with pytest.raises(CheckFailed, match=pair.told):
        check(pair.wrong, pair.conversation, modes=[], examples=5)


def test_a_handler_that_parses_nothing_passes():
    bears_any_nesting(Echo, b'*1\r\n[{"a": (1)}]<a>le</a>')


def test_levels_whose_length_has_not_the_bytes_for_them_are_not_tried():
    bears_any_nesting(Echo, b"\4hatA\xfe\0" + bytes(0xFE00))
