"""`SharedSocket`: a socket that many requests share, which is a listening socket or a datagram socket.

Arrivals are taken while there is room for requests. A `PacketRow` whose packet the kernel has not taken waits here
until the socket is writable, or until it is time to try again.
"""

from __future__ import annotations

import socket
from selectors import EVENT_READ, EVENT_WRITE

from ..loop.selecting import EVENT_EXCLUSIVE
from ..loop.timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..loop.timers import Timer
    from ..table.reactor import Reactor
    from .packets import PacketRow

RETRY, RARELY = 0.01, 1.0
"""Seconds until a packet is sent again, at least and at most, where no event tells when it can be sent."""

PATIENT = 8
"""A row that could not send for ``t`` seconds tries again after ``t / PATIENT`` seconds."""

LOOK_AGAIN = 0.1
"""Seconds until the selector is asked again to watch a socket that it did not take."""


def shared(reactor: Reactor, sock: Any, owner: Any = None) -> SharedSocket:
    """The one `SharedSocket` of ``sock`` in the loop of ``reactor``, made if there is none.

    ``sock``: a socket, or a server, with ``fileno()``. ``owner``: the server that takes requests from it.
    """
    descriptor: int = sock.fileno()
    source: Any = reactor.sources.get(descriptor)
    if source is None or source.is_stale():
        reactor.listening.discard(source)
        source = reactor.sources[descriptor] = SharedSocket(reactor, sock, owner)
    found: SharedSocket = source
    return found


class SharedSocket:
    """Arrivals and postponed output of one shared socket in one loop."""

    def __init__(self, reactor: Reactor, sock: Any, owner: Any) -> None:
        self.mask = 0
        self.descriptor: int = sock.fileno()
        self.owner = owner
        """The server that takes requests here; ``None`` where rows only send."""
        self.exclusive = False
        """Whether other processes take arrivals from the socket too, so that each is to wake one of them only."""
        self._reactor = reactor
        self._socket = sock
        self._arrivals: Callable[[], object] | None = None
        self._finish: Callable[[], object] | None = None
        self._reading = False
        self._senders: dict[int, tuple[float, PacketRow]] = {}  # by serial, with the time to try again
        self.retry: Timer | None = None
        """The timer after which rows try to send again, when no event tells that they can."""

    @property
    def open(self) -> bool:
        """Whether arrivals are wanted; they may be paused nevertheless."""
        return self in self._reactor.listening

    def is_stale(self) -> bool:
        """Whether the socket was closed without `release`, so that its number may be that of another descriptor."""
        return bool(self._socket.fileno() != self.descriptor)

    # Arrivals

    def listen(self, arrivals: Callable[[], object], finish: Callable[[], object] | None = None) -> None:
        """Call ``arrivals()`` whenever something has arrived, and ``finish()`` when no further request is wanted."""
        self._arrivals = arrivals
        self._finish = finish
        self._reactor.listening.add(self)
        self.resume()

    def pause(self) -> None:
        """Leave arrivals in the kernel until `resume`."""
        self._reading = False
        self._want()

    def pause_until_room(self) -> None:
        """Leave arrivals in the kernel until a row has ended."""
        self._reactor.paused[self] = None
        self.pause()

    def resume(self) -> None:
        """Take arrivals again, if they are still wanted."""
        self._reading = self.open
        self._want()

    def look_again(self) -> None:
        """`resume`, now or as soon as the selector takes the socket."""
        try:
            self.resume()
        except (OSError, ValueError):  # the selector takes no more descriptors, or no number so high
            self._reactor.call_later(LOOK_AGAIN, self.look_again)

    def finish(self) -> None:
        """Take no further request; input for requests that are open still comes, where the socket has such."""
        self.close()
        if self._finish is not None:
            self._finish()

    def close(self) -> None:
        """Take no more arrivals; rows that wait to send still do. The socket stays its owner's."""
        self._reactor.listening.discard(self)
        self._reading = False
        self._reactor.paused.pop(self, None)
        self._want()

    def release(self) -> None:
        """The socket is about to be closed: `close`, and let go of it."""
        self._senders.clear()
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        self.close()
        if self._reactor.sources.get(self.descriptor) is self:
            del self._reactor.sources[self.descriptor]

    # Output that the kernel did not take

    def send_later(self, row: PacketRow) -> None:
        """Settle ``row`` again when the socket can be written."""
        due = NEVER
        if row.socket.family == getattr(socket, "AF_UNIX", None):
            # The queue of the peer's socket is full, and this socket is writable all the same: no event helps. A row
            # whose peer has read lately tries again soon.
            now = self._reactor.time
            due = now + min(max((now - row.progress) / PATIENT, RETRY), RARELY)
            self._retry_at(due)
        self._senders[row.serial] = due, row
        self._want()

    def retry_later(self) -> None:
        """No event will tell when a packet can be sent: have the waiting rows try again after `RETRY` seconds."""
        self._retry_at(self._reactor.time + RETRY)

    def _retry_at(self, due: float) -> None:
        if self.retry is not None:
            if self.retry.deadline <= due:
                return
            self.retry.cancel()
        self.retry = self._reactor.call_at(due, self._settle_senders)

    def _settle_senders(self) -> None:
        """Settle the waiting rows whose time to try again has come."""
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        now = self._reactor.time
        senders, self._senders = self._senders, {}
        for serial, (due, row) in senders.items():
            if now < due < NEVER:
                self._senders[serial] = due, row
            else:
                self._reactor.settle_soon(row)
        if self._senders:
            self._retry_at(min(due for due, _ in self._senders.values()))
        self._want()

    def forget(self, row: PacketRow) -> None:
        """The row has ended: it sends no more."""
        if self._senders.pop(row.serial, None) is not None:
            self._want()

    # What the loop asks of a source: see `loop.interest.Source`

    def ready(self, events: int, now: float) -> None:
        if events & EVENT_WRITE:
            self._settle_senders()
        if events & EVENT_READ and self._reading and self._arrivals is not None:
            self._arrivals()

    def failed(self, error: BaseException) -> None:
        """Raise ``error``, which a hook of the server has raised: it leaves the loop."""
        raise error

    def _want(self) -> None:
        writing = self._senders and self.retry is None
        reading = EVENT_READ | (self._reactor.interest.events & EVENT_EXCLUSIVE if self.exclusive else 0)
        self._reactor.interest.want(self, (reading if self._reading else 0) | (EVENT_WRITE if writing else 0))
