"""The fixture that tests of several modules ask for; what else they share is in `tests.serving`, without pytest."""

import pytest

from tests.serving import Journal


@pytest.fixture
def journal():
    """A journal in which the processes and threads of one test write."""
    with Journal() as journal:
        yield journal
