"""The output of a filter: its wire bytes, and which of them the inner channel's output has become."""

from __future__ import annotations


class Wire:
    """Wire bytes that the driver has not taken. A window of the inner channel's output is in them, or none."""

    __slots__ = ("_end", "bytes", "window")

    def __init__(self) -> None:
        self.bytes: bytearray | None = None
        self.window = 0
        """Bytes of the inner channel's output that have become wire bytes, which have not all been taken."""
        self._end = 0  # where in the wire bytes those of the window end

    def __len__(self) -> int:
        return 0 if self.bytes is None else len(self.bytes)

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Add ``data`` behind all that is there."""
        if data:
            if self.bytes is None:
                self.bytes = bytearray()
            self.bytes += data

    def close_window(self, size: int) -> None:
        """What ``size`` bytes of the inner channel's output have become has been put."""
        self.window, self._end = size, len(self)

    def take(self, count: int) -> int:
        """The driver has taken the first ``count`` bytes: return the size of the window if that has been taken now."""
        if self.bytes is not None:
            del self.bytes[:count]
            self._end -= count
            if not self.bytes:
                self.bytes = None
        if self._end > 0:
            return 0
        window, self.window = self.window, 0
        return window

    def forget_window(self) -> None:
        """The inner channel's output has been dropped: nobody is to be told that it has been taken."""
        self.window = 0
