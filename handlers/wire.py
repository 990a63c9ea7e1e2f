"""`Wire`: the wire bytes that a filter of streams has put and that its driver has not taken yet.

`grown` and `without` add to, and take from, bytes that are held; machines and filters use them too.
"""

from __future__ import annotations


def grown(held: bytes | bytearray | None, data: bytes | bytearray | memoryview) -> bytes | bytearray:
    """``held`` followed by ``data``. The first ``data`` is returned as it is, without a copy."""
    if not held and data.__class__ is bytes:
        return data
    if held is None or held.__class__ is bytes:
        held = bytearray(held or b"")
    held += data
    return held


def without(held: bytes | bytearray, count: int) -> bytes | bytearray | None:
    """``held`` without its first ``count`` bytes; ``None`` if nothing is left."""
    if held.__class__ is bytes:
        if count >= len(held):
            return None
        return bytearray(memoryview(held)[count:])  # copies what is left once, and not what was taken
    del held[:count]  # type: ignore[union-attr]
    return held or None


class Wire:
    """The wire bytes that the driver has not taken.

    The *window* is the part of the inner channel's output whose wire bytes are put and not all taken: one at a time.
    """

    __slots__ = ("_end", "bytes", "window")

    def __init__(self) -> None:
        self.bytes: bytes | bytearray | None = None
        self.window = 0
        """Size of the window, in bytes of the inner channel's output; 0: there is none."""
        self._end = 0  # where the wire bytes of the window end

    def __len__(self) -> int:
        return 0 if self.bytes is None else len(self.bytes)

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``."""
        if self.bytes is None and data.__class__ is bytes:
            self.bytes = data or None
        elif data:
            self.bytes = grown(self.bytes, data)

    def close_window(self, size: int) -> None:
        """The next ``size`` bytes of the inner channel's output are the window: their wire bytes have been put."""
        self.window, self._end = size, 0 if self.bytes is None else len(self.bytes)

    def take(self, count: int) -> int:
        """The driver has taken the first ``count`` bytes. Returns the size of the window if it is taken now, else 0."""
        if self.bytes is not None:
            self.bytes = without(self.bytes, count)
            self._end -= count
        if self._end > 0:
            return 0
        window, self.window = self.window, 0
        return window

    def forget_window(self) -> None:
        """The inner channel has dropped its output: `take` must not return the window any more."""
        self.window = 0
