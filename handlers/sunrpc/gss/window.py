"""`Window`: which sequence numbers of a context a server takes (RFC 2203, section 5.3.3.1)."""

from __future__ import annotations


class Window:
    """The highest number that was seen, and which of the ``size`` numbers up to it were.

    >>> window = Window(4)
    >>> [window.takes(number) for number in (7, 8, 5, 4)]
    [True, True, True, True]
    >>> window.take(7), window.takes(7), window.takes(4), window.takes(3)
    (None, False, True, False)
    """

    __slots__ = ("_seen", "highest", "size")

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"Window: size is a number of sequence numbers >= 1, not {size!r}")
        self.size = size
        self.highest = -1
        self._seen = 0  # bit n: whether highest - n was seen

    def takes(self, number: int) -> bool:
        """Whether the number is above the window, or in it and not seen."""
        below = self.highest - number
        return below < 0 or (below < self.size and not self._seen >> below & 1)

    def take(self, number: int) -> None:
        """Note that the number was seen. The window moves up to it."""
        above = number - self.highest
        if above <= 0:
            self._seen |= 1 << -above
            return
        kept = self._seen << above if above < self.size else 0  # no shift by a number of the peer's
        self._seen = (kept | 1) & (1 << self.size) - 1
        self.highest = number
