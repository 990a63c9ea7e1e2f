"""`Wire`: the bytes that a filter has for its driver, and which of them stand for output of the inner channel."""

from __future__ import annotations


def grown(held: bytes | bytearray | None, data: bytes | bytearray | memoryview) -> bytes | bytearray:
    """``held`` and ``data`` behind it. Bytes that nothing is added to stay ``bytes``, which costs no copy."""
    if not held and data.__class__ is bytes:
        return data
    if held.__class__ is not bytearray:
        held = bytearray(held or b"")
    held += data
    return held


def without(held: bytes | bytearray, count: int) -> bytes | bytearray | None:
    """``held`` without its first ``count`` bytes; ``None`` if nothing is left."""
    if count >= len(held):
        return None
    if held.__class__ is bytes:
        return bytearray(held)[count:]
    del held[:count]  # type: ignore[union-attr]
    return held


class Wire:
    """Bytes that the driver has not taken. One part of the inner channel's output, the *window*, may be among them."""

    __slots__ = ("_end", "bytes", "window")

    def __init__(self) -> None:
        self.bytes: bytes | bytearray | None = None
        self.window = 0
        """Bytes of the inner channel's output that were turned into wire bytes which are not all taken yet."""
        self._end = 0  # where the wire bytes of the window end

    def __len__(self) -> int:
        return 0 if self.bytes is None else len(self.bytes)

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``."""
        if data:
            self.bytes = grown(self.bytes, data)

    def close_window(self, size: int) -> None:
        """The wire bytes for the next ``size`` bytes of the inner channel's output have been put."""
        self.window, self._end = size, len(self)

    def take(self, count: int) -> int:
        """The driver has taken the first ``count`` bytes. Returns the window's size if the last of it is among them."""
        if self.bytes is not None:
            self.bytes = without(self.bytes, count)
            self._end -= count
        if self._end > 0:
            return 0
        window, self.window = self.window, 0
        return window

    def forget_window(self) -> None:
        """The inner channel has dropped its output, so it must not be told that it was taken."""
        self.window = 0
