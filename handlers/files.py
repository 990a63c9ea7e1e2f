"""`Files`: the output of a stream with files in it (`StreamHandler.send_file`), in order with the bytes around them.

A row has the kernel copy a file to the connection; a filter takes a window of it after the other. The bytes of a file
that are not sent yet are not held in memory, so they count for the water marks, and not as bytes held.
"""

from __future__ import annotations

from collections import deque

from .causes import Failed
from .waits import Flushed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


SMALL = 16_384
"""Bytes of a part that is read when it is queued. It leaves in one system call with the bytes around it, and many of
them, queued for a client that takes nothing, hold no descriptors."""


class FilePart:
    """The ``left`` bytes of ``file`` that begin at ``offset``."""

    __slots__ = ("file", "left", "offset")

    def __init__(self, file: Any, offset: int, left: int) -> None:
        self.file = file
        self.offset = offset
        self.left = left

    def __len__(self) -> int:
        return self.left

    def read(self, size: int) -> bytes:
        """The next bytes, at most ``size``. Raises `Failed` if the file is shorter, or can't be read."""
        try:
            self.file.seek(self.offset)
            data: bytes = self.file.read(min(size, self.left))
        except (OSError, ValueError) as error:
            raise Failed(Flushed(), error) from error
        if not data:
            raise self.too_short()
        return data

    def whole(self) -> bytes | None:
        """All bytes of a small part, whose file is closed; ``None`` for another, and for one that can't be read."""
        if self.left > SMALL:
            return None
        try:
            data = self.read(self.left)
        except Failed:
            return None  # it fails again when it is its turn to be sent
        if len(data) < self.left:
            return None
        self.close()
        return data

    def taken(self, count: int) -> None:
        """The next ``count`` bytes have been taken."""
        self.offset += count
        self.left -= count

    def close(self) -> None:
        """Close the file."""
        try:
            self.file.close()
        except OSError:
            pass  # it was only read: nothing is lost

    def too_short(self) -> Failed:
        """The cause if the file ends before its part does: the peer must not take what it has got for all of it."""
        return Failed(Flushed(), EOFError(f"the file ends {self.left} bytes too early, at {self.offset}"))


class Files:
    """Bytes and parts of files, in order. What a `StreamMachine` has for an outbox if a file is in it."""

    __slots__ = ("_total", "in_memory", "parts")

    def __init__(self, held: bytes | bytearray | None) -> None:
        self.parts: deque[bytearray | FilePart] = deque()
        self._total = 0
        self.in_memory = 0
        """Bytes that are held, those of the files not counted."""
        if held:
            self += held

    def __len__(self) -> int:
        return self._total

    def __iadd__(self, data: bytes | bytearray | memoryview) -> Files:
        if data:  # no part is empty
            if not self.parts or isinstance(self.parts[-1], FilePart):
                self.parts.append(bytearray())
            part: Any = self.parts[-1]
            before = len(part)
            part += data
            grown = len(part) - before  # bytes: a memoryview may have longer items
            self.in_memory += grown
            self._total += grown
        return self

    def add(self, part: FilePart) -> None:
        """Append the part of a file."""
        self.parts.append(part)
        self._total += part.left

    def __getitem__(self, place: slice) -> bytes:
        """The first ``place.stop`` bytes, which are in memory from then on.

        If a file is too short, or can't be read: the bytes before it. Raises `Failed` if there are none.
        """
        size = self._total if place.stop is None else min(place.stop, self._total)
        if not self.parts or isinstance(self.parts[0], FilePart):
            self.parts.appendleft(bytearray())
        head: Any = self.parts[0]
        try:
            while len(head) < size:
                self._load(head, size - len(head))
        except Failed:
            if not head:
                self.parts.popleft()  # no part is empty
                raise
        return bytes(head[:size])

    def _load(self, head: bytearray, size: int) -> None:
        """Move bytes of the second part, at most ``size``, to the end of ``head``, the first one."""
        part = self.parts[1]
        if isinstance(part, FilePart):
            data: bytes | bytearray = part.read(size)
            part.taken(len(data))
            self.in_memory += len(data)
        else:
            data = part[:size]
            del part[:size]
        head += data
        if not part:
            self._end(1)

    def __delitem__(self, place: slice) -> None:
        """Drop the first ``place.stop`` bytes."""
        count = place.stop
        self._total -= count
        while count:
            part = self.parts[0]
            size = min(count, len(part))
            if isinstance(part, FilePart):
                part.taken(size)
            else:
                del part[:size]
                self.in_memory -= size
            count -= size
            if not part:
                self._end(0)

    def _end(self, place: int) -> None:
        """All of the part has been taken. It is forgotten first, so that a ``close()`` that raises is called once."""
        part = self.parts[place]
        del self.parts[place]
        if isinstance(part, FilePart):
            part.close()

    def close(self) -> None:
        """Close the files that are not sent."""
        for part in self.parts:
            if isinstance(part, FilePart):
                part.close()


def part_of(file: Any, offset: int, count: int | None) -> FilePart:
    """The part of an open binary file; ``count`` of ``None``: up to its end. Raises `TypeError` and `ValueError`."""
    if not hasattr(file, "seek") or not isinstance(file.read(0), bytes):
        raise TypeError(f"send_file: file is a binary file that is open for reading, not {file!r}")
    if count is None:
        count = file.seek(0, 2) - offset
    if offset < 0 or count < 0:
        raise ValueError(f"send_file: offset and count are numbers of bytes >= 0, not {offset} and {count}")
    return FilePart(file, offset, count)
