"""The instructions of a message, as callgrind counts them, grow by no more than a tenth unless that is recorded.

Skipped where valgrind or gcc is not installed, or nothing is recorded for this version of Python; with
``REACTOR_REAL_CLIENTS=1`` that is a failure.
"""

import pytest

from tests.proofs import instructions
from tests.support.programs import needed, program

MOST = 1.1


@pytest.mark.slow
def test_a_message_takes_no_more_instructions_than_is_recorded():
    program("valgrind")
    program("gcc")
    before = needed(instructions.recorded(), f"a record for Python {instructions.VERSION}")
    now = instructions.count()
    assert now.keys() == before.keys()
    more = {name: growth for name, growth in instructions.growths(now, before).items() if growth > MOST}
    assert more == {}, "if this is meant: python3 -m tests.proofs.instructions --record"
