"""What the selector reports on, besides rows: shared sockets, watched descriptors, the wake-up.

Each has a ``mask`` (what is registered now, which only the table changes) and ``ready()``.
"""

from __future__ import annotations

import errno
import socket
from _thread import get_ident
from selectors import EVENT_READ, EVENT_WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from handlers import Machine

    from .loop import Reactor
    from .packets import PacketRow
    from .request import Request
    from .timers import Timer


AGAIN = (BlockingIOError, InterruptedError)
"""What says that a call would have blocked, or was interrupted: nothing has happened, try later."""


SHORT = {getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") if hasattr(errno, name)}
"""What the host has run out of; it can only come back with time."""


def close(sock: socket.socket) -> None:
    """Close it, whatever the host has to say to that: the descriptor is gone all the same (close(2))."""
    try:
        sock.close()
    except OSError:
        pass


_RETRY = 0.01  # seconds until a packet is sent again of which no event tells that it can be


class Watch:
    """A descriptor that the reactor watches for somebody; `cancel` ends it."""

    def __init__(self, reactor: Reactor, descriptor: int, call: Callable[[int], object]) -> None:
        self.mask = 0
        self._reactor = reactor
        self._descriptor = descriptor
        self._call = call

    def fileno(self) -> int:
        return self._descriptor

    def ready(self, events: int, now: float) -> None:
        if self.mask:
            self._call(events)

    def failed(self, error: Exception) -> None:
        """Nobody stands between a watch and its owner: the loop's caller gets the error."""
        raise error

    def modify(self, events: int) -> None:
        """Watch for other ``events`` (0: for none, until the next `modify`). After `cancel`, does nothing."""
        if self in self._reactor.watches:
            self._reactor.table.want(self, events)

    def cancel(self) -> None:
        """Watch no more. Call it before the descriptor is closed; a second call does nothing."""
        self._reactor.table.want(self, 0)
        self._reactor.watches.discard(self)


class Port:
    """A socket that many requests share: one that listens, or one of datagrams."""

    def __init__(self, reactor: Reactor, owner: Any) -> None:
        self.mask = 0
        self.open = False
        """Whether arrivals are wanted at all; a port that is open may still be paused."""
        self._reactor = reactor
        self.owner = owner
        """A server, or a socket."""
        self._descriptor: int = owner.fileno()
        self._arrivals: Callable[[], None] | None = None
        self._reading = False
        self._senders: dict[int, PacketRow] = {}
        self.retry: Timer | None = None
        """What will have the rows try to send again, where no event tells that they can."""

    def fileno(self) -> int:
        return self._descriptor

    def listen(self, arrivals: Callable[[], None]) -> None:
        """Call ``arrivals()`` whenever something has arrived."""
        self._arrivals = arrivals
        self.open = True
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
        """Take arrivals again, if the port has not been closed meanwhile."""
        self._reading = self.open
        self._want()

    def look_again(self) -> None:
        """`resume`, now or as soon as the selector takes it."""
        try:
            self.resume()
        except (OSError, ValueError):  # the selector takes no more, or no number so high
            self._reactor.call_later(0.1, self.look_again)

    def finish(self) -> None:
        """Take no further request; what arrives for one that is open still comes, where the port has such."""
        self.close()
        if hasattr(self.owner, "_srv_enough"):  # a server
            self.owner._srv_enough()

    def close(self) -> None:
        """Take no more arrivals; rows that wait to send still do. The socket stays its owner's."""
        self.open = self._reading = False
        self._reactor.paused.pop(self, None)
        self._want()

    def release(self) -> None:
        """The socket is about to be closed: `close`, and let go of it."""
        self._senders.clear()
        if self.retry is not None:
            self.retry.cancel()
            self.retry = None
        self.close()
        self._reactor.ports.pop(self._descriptor, None)

    def close_copy(self, keep: Request | None) -> None:
        """In a forked child: close what the row ``keep`` does not need."""
        if hasattr(self.owner, "_srv_forked"):  # a server
            self.owner._srv_forked(keep)

    def send_later(self, row: PacketRow) -> None:
        """Settle ``row`` again when the socket can be written."""
        self._senders[row.serial] = row
        if row.socket.family == getattr(socket, "AF_UNIX", None):
            self.hold()  # what is full is the peer's queue: the socket itself can be written
        self._want()

    def hold(self) -> None:
        """No event will tell when a packet can be sent: have the rows that wait for that try again after a while."""
        if self.retry is None:
            self.retry = self._reactor.call_later(_RETRY, self._again)

    def _again(self) -> None:
        self.retry = None
        self._settle_senders()

    def _settle_senders(self) -> None:
        rows, self._senders = self._senders, {}
        for row in rows.values():
            self._reactor.settle_soon(row)
        self._want()

    def forget(self, row: PacketRow) -> None:
        """The row has ended: it sends no more."""
        if self._senders.pop(row.serial, None) is not None:
            self._want()

    def ready(self, events: int, now: float) -> None:
        if events & EVENT_WRITE:
            self._settle_senders()
        if events & EVENT_READ and self._reading and self._arrivals is not None:
            self._arrivals()

    def failed(self, error: Exception) -> None:
        """What a server's own hooks raise leaves through the loop, as it always did."""
        raise error

    def _want(self) -> None:
        writing = self._senders and self.retry is None
        self._reactor.table.want(self, (EVENT_READ if self._reading else 0) | (EVENT_WRITE if writing else 0))


class Posted:
    """A machine in a thread of its own, as handlers in other threads see it: their writes are posted to it."""

    def __init__(self, machine: Machine, reactor: Reactor) -> None:
        self._machine: Any = machine
        self._reactor = reactor
        self._thread = get_ident()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._machine, name)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._here(self._machine.write, self._steady(data))

    def write_descriptors(self, data: bytes | bytearray | memoryview, descriptors: tuple[int, ...]) -> None:
        self._here(self._machine.write_descriptors, self._steady(data), descriptors)

    def write_eof(self) -> None:
        self._here(self._machine.write_eof)

    def close(self) -> None:
        self._here(self._machine.close)

    def _steady(self, data: bytes | bytearray | memoryview) -> bytes | bytearray | memoryview:
        """``data`` as it is now: who writes may change it before it is sent in another thread."""
        return data if get_ident() == self._thread else bytes(data)

    def _here(self, call: Any, *arguments: object) -> None:
        if get_ident() == self._thread:
            call(*arguments)
        else:
            self._reactor.call_soon(call, *arguments)


class Wakeup:
    """A descriptor that another thread, or a signal handler, makes readable to wake the selector."""

    def __init__(self, network: Any) -> None:
        self.mask = 0
        self._reader, self._writer = network.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    @classmethod
    def make(cls, network: Any) -> Wakeup | None:
        """A new one; ``None`` where the host has no such thing, and then nothing wakes the selector."""
        try:
            return cls(network) if hasattr(network, "socketpair") else None
        except OSError as error:
            if error.errno in SHORT:
                raise
            return None  # the host has the name, not the thing

    def fileno(self) -> int:
        number: int = self._reader.fileno()
        return number

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
            pass  # so many wakes are pending that one more makes no difference, or the loop was closed just now

    def ready(self, events: int, now: float) -> None:
        try:
            self._reader.recv(4096)
        except OSError:
            pass  # spurious, or the host is short of memory: who was to be woken is awake

    def failed(self, error: Exception) -> None:
        raise error

    def close(self) -> None:
        """Close this process's copies."""
        self._reader.close()
        self._writer.close()
