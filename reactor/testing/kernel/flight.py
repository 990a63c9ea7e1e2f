"""What one end of a TCP stream has sent: on its way, held up by a link that carries nothing, or not acknowledged.

Data that a link does not carry is sent again, as Linux does: after 0.2 seconds, then after twice as long each time, up
to two minutes. After a quarter of an hour without an acknowledgement the sender gives up. The other end learns nothing
of that: for it the connection stays open (RFC 9293, section 3.8.3; tcp(7), ``tcp_retries2``).
"""

from __future__ import annotations

import errno
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from .links import Address
    from .wire import Wire

FIRST, LONGEST = 0.2, 120.0
"""Seconds until data is sent again: for the first time, and at most (``TCP_RTO_MIN``, ``TCP_RTO_MAX``)."""

PATIENCE = 924.6
"""Seconds without an acknowledgement after which the sender gives up: 15 repetitions, the default of Linux."""


class Sender(Protocol):
    """The part of a stream socket that its flight uses."""

    local: Address
    remote: Address

    def changed(self) -> None:
        """The socket may have become ready."""

    def give_up(self, number: int) -> None:
        """The kernel gives the connection up, with the ``errno`` ``number``."""


class Flight:
    """What one end of a stream has sent, in the order in which it arrives."""

    __slots__ = ("_count", "_held", "_last", "_sends_again", "_sock", "_unacknowledged", "_wire", "size")

    def __init__(self, wire: Wire, sock: Sender) -> None:
        self._wire = wire
        self._sock = sock
        self.size = 0
        """Bytes that the send buffer holds because they have not arrived, or were not acknowledged."""
        self._count = 0  # events on their way
        self._last = 0.0  # when the last of them arrives
        self._held: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._unacknowledged = 0  # bytes that have arrived
        self._sends_again = False  # whether a repetition is planned

    def plan(self, event: Callable[..., object], *arguments: Any) -> None:
        """Make an event happen when a packet that is sent now arrives, after all events that were planned before."""
        wire = self._wire
        now = wire.clock.now
        when = max(now + wire.delay(self._sock.local, self._sock.remote), self._last)
        if when <= now and not self._count:
            event(*arguments)
            return
        self._last = when
        self._count += 1
        wire.clock.at(when, self._happen, event, arguments)

    def deliver(self, call: Callable[..., object], *arguments: Any) -> None:
        """Make an event happen at the other end, when the link carries it."""
        self.plan(self._arrive, call, arguments)

    def pause(self, seconds: float) -> None:
        """What is sent next arrives so many seconds after what was sent last."""
        self._last = max(self._last, self._wire.clock.now) + seconds

    def received(self, size: int) -> None:
        """So many bytes have arrived: the send buffer has room for others when the acknowledgement comes back."""
        if self._is_heard():
            self.size -= size
        else:
            self._unacknowledged += size

    def drop(self) -> None:
        """The host has crashed: nothing is sent again."""
        self._held.clear()
        self._unacknowledged = 0

    def _happen(self, event: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._count -= 1
        event(*arguments)

    def _arrive(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        links, sock = self._wire.links, self._sock
        if self._held or not links.carries(sock.local, sock.remote):
            self._held.append((call, arguments))
        else:
            call(*arguments)
        if not self._sends_again and (self._held or not self._is_heard()):
            self._sends_again = True
            self._plan_again(FIRST, self._wire.clock.now)

    def _is_heard(self) -> bool:
        """Whether acknowledgements come back."""
        return not self._wire.links.is_cut(self._sock.remote, self._sock.local)

    def _plan_again(self, wait: float, since: float) -> None:
        self._wire.clock.at(self._wire.clock.now + wait, self._send_again, wait, since)

    def _send_again(self, wait: float, since: float) -> None:
        sock, now = self._sock, self._wire.clock.now
        if self._wire.links.carries(sock.local, sock.remote):
            while self._held:
                call, arguments = self._held.popleft()
                call(*arguments)
        if not self._held and self._is_heard():
            self._sends_again = False
            self.size -= self._unacknowledged
            self._unacknowledged = 0
            sock.changed()
        elif now - since < PATIENCE:
            self._plan_again(min(2 * wait, LONGEST), since)
        else:
            self.drop()
            down = self._wire.links.is_down(sock.remote)
            sock.give_up(errno.EHOSTUNREACH if down else errno.ETIMEDOUT)
