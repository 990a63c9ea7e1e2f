"""The links of clients to the device, and its lock (VXI-11, section B.4)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from time import monotonic
from typing import Any

from examples.vxi11.scope import QUERY_ERROR, Scope
from examples.vxi11.vxi11 import REASON_CHR, REASON_END, REASON_REQCNT
from examples.vxi11.vxi11 import Device_ErrorCode as Error
from handlers import Delay

MAX_LINKS = 200
"""Links that there may be."""
MAX_MESSAGE = 1 << 20
"""Bytes that a message to the device may have."""
MAX_PIECE = 1 << 18
"""Bytes of an answer that one device_read may return."""
TICK = 0.01
"""Seconds between two looks at what a call waits for."""
LONGEST = 3600.0
"""Seconds that a call may wait, whatever the client allows."""


class Link:
    """A link: the message that the client is writing, and the answer that it reads. Each link has its own."""

    def __init__(self, number: int, owner: Any) -> None:
        self.number = number
        self.owner = owner
        """The address of the connection that has made the link."""
        self.message = bytearray()
        self.answer = b""
        self.position = 0
        self.aborts = 0
        """Calls of device_abort; a call that waits ends when this changes."""
        self.is_open = True

    @property
    def available(self) -> bool:
        """Whether there is something to read."""
        return self.position < len(self.answer)

    def clear(self) -> None:
        """Forget the message and the answer."""
        self.message.clear()
        self.answer, self.position = b"", 0

    def take(self, size: int, last: int | None) -> tuple[int, bytes]:
        """At most so many bytes of the answer, up to the byte ``last``; and the reasons why there are no more."""
        end = min(self.position + min(size, MAX_PIECE), len(self.answer))
        reason = 0
        if last is not None and (found := self.answer.find(last, self.position, end)) >= 0:
            end, reason = found + 1, REASON_CHR
        data = self.answer[self.position : end]
        self.position = end
        if len(data) == size:
            reason |= REASON_REQCNT
        if end == len(self.answer):
            reason |= REASON_END
            self.clear()
        return reason, data


class Device:
    """The instrument, its links, and the link that has locked it."""

    def __init__(self) -> None:
        self.scope = Scope()
        self.links: dict[int, Link] = {}
        self.holder: Link | None = None
        """The link that has the lock."""
        self._numbers = count(1)

    def open(self, owner: Any) -> Link | None:
        """A new link; ``None`` if there are as many as there may be."""
        if len(self.links) >= MAX_LINKS:
            return None
        link = Link(next(self._numbers) & 0x7FFF_FFFF, owner)
        self.links[link.number] = link
        return link

    def close(self, link: Link) -> None:
        """Remove the link. It gives the lock back, and its calls end."""
        self.links.pop(link.number, None)
        link.is_open = False
        self.unlock(link)

    def leave(self, owner: Any) -> None:
        """The connection has ended, and so do its links."""
        for link in [link for link in self.links.values() if link.owner == owner]:
            self.close(link)

    def unlock(self, link: Link) -> bool:
        """Give the lock back. Returns whether the link had it."""
        if self.holder is not link:
            return False
        self.holder = None
        return True

    def may_use(self, link: Link) -> bool:
        """Whether no other link has the lock."""
        return self.holder in (None, link)

    def write(self, link: Link, data: bytes, is_last: bool) -> Error:
        """Take a piece of a message, and do what it says when it is complete."""
        if len(link.message) + len(data) > MAX_MESSAGE:
            link.clear()
            return Error.OUT_OF_RESOURCES
        link.message += data
        if is_last:
            message = bytes(link.message)
            if link.available:
                self.scope.fail(QUERY_ERROR, -410, "Query INTERRUPTED")
            link.clear()
            link.answer = self.scope.run(message)
        return Error.NO_ERROR


async def wait_until(condition: Callable[[], bool], link: Link, milliseconds: int) -> Error:
    """Wait until the condition of the link is true. Returns NO_ERROR then.

    IO_TIMEOUT after so many milliseconds, ABORTED at device_abort, and INVALID_LINK when the link has gone.
    """
    deadline, aborts = monotonic() + min(milliseconds / 1000, LONGEST), link.aborts
    while link.is_open and link.aborts == aborts:
        if condition():
            return Error.NO_ERROR
        left = deadline - monotonic()
        if left <= 0:
            return Error.IO_TIMEOUT
        await Delay(min(left, TICK))
    return Error.ABORTED if link.is_open else Error.INVALID_LINK
