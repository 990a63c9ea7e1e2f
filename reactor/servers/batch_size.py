"""`BatchSize`: how many arrivals a server tries to take in one batch of the loop.

To find that there is no other arrival costs about as much as to take one. So as many are taken as the last time, and
twice as many if there are more in the very next batch.
"""

from __future__ import annotations


class BatchSize:
    """The number of arrivals that one server expects."""

    def __init__(self) -> None:
        self._expected = 1
        self._filled = -1  # the batch in which so many have been taken

    def expect(self, batch: int, most: int) -> int:
        """The number of arrivals to take in the batch with this number, at most ``most``."""
        if batch == self._filled + 1:
            self._expected = min(2 * self._expected, most)
        self._filled = batch
        return self._expected

    def exhausted(self, taken: int) -> None:
        """After ``taken`` arrivals there was none."""
        self._expected, self._filled = taken or 1, -1
