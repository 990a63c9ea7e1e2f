"""`works_linearly` accuses no handler whose own bound ends what is steep before it costs anything."""

import pytest

from handlers import Some, StreamHandler
from reactor.testing import works_linearly
from reactor.testing.running.report import CheckFailed


class Splits(StreamHandler):
    """Splits all that it holds with each read. It holds at most ``most`` bytes."""

    timeout = request_timeout = 30
    most = 16_384

    async def handle(self):
        held = b""
        while len(held) <= self.most:
            held += await Some()
            *lines, held = held.split(b"\n")
            self.send(b"".join(lines))


class SplitsFew(Splits):
    most = 2_048


@pytest.mark.slow
def test_what_a_bound_of_two_kibibytes_ends_may_be_steep():
    with pytest.raises(CheckFailed, match="four times as many bytes cost far more than four times the work"):
        works_linearly(Splits, b"one\ntwo\n")
    works_linearly(SplitsFew, b"one\ntwo\n")
