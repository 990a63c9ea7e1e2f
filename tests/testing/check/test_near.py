"""Right handlers that come near to what a property of `check` accuses are not accused."""

import pytest

from handlers import Exactly, StreamHandler
from reactor.testing import (
    bears_any_number,
)


class Points(StreamHandler):
    """Answers the byte at an offset of a record."""

    async def handle(self):
        while True:
            record = await Exactly((await Exactly(1))[0] + 1)
            self.send(record[record[0] :][:1])


@pytest.mark.parametrize(
    ("holds", "kind", "conversation"),
    [
        (bears_any_number, Points, b"\5\3hello\3\1abc"),
    ],
)
def test_a_right_handler_is_not_accused(holds, kind, conversation):
    holds(kind, conversation)
