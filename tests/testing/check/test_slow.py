"""`ends_if_it_drips` counts the bytes of a message that have a wait each, not only whether the request ends at all."""

import pytest

from handlers import Some, StreamHandler, Until
from reactor.testing import drip, ends_if_it_drips
from reactor.testing.running.report import CheckFailed


class Collects(StreamHandler):
    """Answers a line that it collects with many waits; a longer one ends the request."""

    timeout = 10
    most = 64

    async def handle(self):
        while line := await self.line():
            self.send(line)

    async def line(self):
        held = b""
        while not held.endswith(b"\n"):
            if len(held) == self.most:
                return b""
            held += await Some(limit=1)
        return held


class CollectsFew(Collects):
    most = 30


class CollectsInTime(Collects):
    request_timeout = 20


class CollectsAndAnswers(Collects):
    """Echoes each byte, as a terminal does."""

    async def line(self):
        self.send(byte := await Some(limit=1))
        return byte


class Waits(Collects):
    async def line(self):
        return await Until(b"\n", limit=self.most)


def test_a_limit_of_bytes_bounds_no_time():
    with pytest.raises(CheckFailed, match=r"keeps the request open for 576 seconds: each byte .* request_timeout"):
        ends_if_it_drips(Collects, b"one\ntwo\n")
    assert drip(Collects, b"") == 576
    assert drip(Waits, b"") == 18


@pytest.mark.parametrize("kind", [CollectsFew, CollectsInTime, CollectsAndAnswers, Waits])
def test_a_message_that_takes_a_few_waits_is_right(kind):
    ends_if_it_drips(kind, b"one\ntwo\n")
