"""`check` accuses no right handler: those of `tests.support.right`, of the package and of the examples."""

from functools import partial

import pytest

from reactor.testing.check.properties import check
from tests.support.right import binary, lines, shown, timed

CORPUS = [*lines.CORPUS, *binary.CORPUS, *timed.CORPUS]
CHEAP = [right for right in CORPUS if right.kind in (lines.Ident, lines.Gopher, binary.Hello, timed.Names, timed.Ntp)]


def name_of(right):
    kind = right.kind.func if isinstance(right.kind, partial) else right.kind
    return kind.__name__


def test_there_are_more_than_fifty():
    assert len({name_of(right) for right in CORPUS}) > 50


@pytest.mark.slow
@pytest.mark.parametrize("right", CORPUS, ids=name_of)
def test_a_right_handler_is_not_accused(right):
    check(right.kind, right.conversation, modes=["select"], examples=8, **right.options)


@pytest.mark.parametrize("right", CHEAP, ids=name_of)
def test_a_small_right_handler_is_not_accused_with_few_examples(right):
    check(right.kind, right.conversation, modes=[], examples=2, **right.options)


@pytest.mark.slow
@pytest.mark.parametrize("right", shown.CORPUS, ids=name_of)
def test_a_handler_of_the_examples_is_not_accused(right):
    check(right.kind, right.conversation, modes=["select"], examples=5, **right.options)
