"""Two sources: `Watch`, a descriptor that a caller asked to watch, and `Wakeup`, by which threads wake the selector."""

from __future__ import annotations

import os

from .kernel import SHORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .loop import Loop


class Watch:
    """A descriptor that the loop watches for its caller; `cancel` ends it."""

    def __init__(self, loop: Loop, descriptor: int, call: Callable[[int], object]) -> None:
        self.mask = 0
        self.descriptor = descriptor
        self._loop = loop
        self._call = call
        self._file = _file(descriptor)

    def is_stale(self) -> bool:
        return _file(self.descriptor) != self._file

    def ready(self, events: int, now: float) -> None:
        if self.mask:
            self._call(events)

    def failed(self, error: BaseException) -> None:
        """What the call raises leaves through the loop, to its caller."""
        raise error

    def modify(self, events: int) -> None:
        """Watch for other ``events`` (0: for none, until the next `modify`). After `cancel`, does nothing."""
        if self in self._loop.watches:
            self._loop.interest.want(self, events)

    def cancel(self) -> None:
        """Watch no more. Call it before the descriptor is closed; a second call does nothing."""
        self._loop.interest.want(self, 0)
        self._loop.watches.discard(self)


class Wakeup:
    """A pair of sockets by which another thread, or a signal handler, makes the selector return."""

    def __init__(self, network: Any) -> None:
        self.mask = 0
        self._reader, self._writer = network.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.descriptor: int = self._reader.fileno()

    @classmethod
    def make(cls, network: Any) -> Wakeup | None:
        """A new wake-up; ``None`` on a host without socket pairs, where nothing can wake the selector.

        Raises ``OSError`` where the host is short of descriptors or memory.
        """
        try:
            return cls(network) if hasattr(network, "socketpair") else None
        except OSError as error:
            if error.errno in SHORT:
                raise
            return None  # the host has the function but not the sockets

    def is_stale(self) -> bool:
        return False

    @property
    def writer(self) -> int:
        """The descriptor to write to."""
        number: int = self._writer.fileno()
        return number

    def wake(self) -> None:
        """Make the selector return. Never blocks."""
        try:
            self._writer.send(b"\0")
        except OSError:
            pass  # the buffer is full, so the selector returns anyway; or the loop was closed just now

    def ready(self, events: int, now: float) -> None:
        try:
            self._reader.recv(4096)
        except OSError:
            pass  # spurious, or the host is short of memory: the selector has returned all the same

    def failed(self, error: BaseException) -> None:
        raise error

    def close(self) -> None:
        """Close this process's copies."""
        self._reader.close()
        self._writer.close()


def _file(descriptor: int) -> tuple[int, int] | None:
    """Device and inode of the open file of a descriptor; ``None`` if the descriptor is not open."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
