"""`BatchSize`: how many arrivals a server tries to take in one batch of the loop.

To find that there is no other arrival costs about as much as to take one. So as many are taken as the last time, and
twice as many if there are more in the very next batch. Where that was tried in vain, because the clients come one after
the other, more such batches must pass before the next attempt.
"""

from __future__ import annotations

PATIENT = 8
"""Batches, each right after the one before, after which more arrivals are tried in any case."""


class BatchSize:
    """The number of arrivals that one server expects."""

    def __init__(self) -> None:
        self._expected = 1
        self._filled = -1  # the batch in which so many have been taken
        self._series = 0  # the batches before this one that were such and right after each other
        self._patience = 1  # the length of the series after which more arrivals are tried

    def expect(self, batch: int, most: int) -> int:
        """The number of arrivals to take in the batch with this number, at most ``most``."""
        self._series = self._series + 1 if batch == self._filled + 1 else 0
        if self._series >= (self._patience if self._expected == 1 else 1):
            self._expected = min(2 * self._expected, most)
        self._filled = batch
        return self._expected

    def exhausted(self, taken: int) -> None:
        """After ``taken`` arrivals there was none."""
        self._patience = min(2 * self._patience, PATIENT) if taken == 1 and self._expected == 2 else 1
        self._expected, self._filled = taken or 1, -1
