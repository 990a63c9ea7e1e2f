"""The lingering close: to close a TCP socket whose peer still sends resets the connection, and what the peer has not
acknowledged by then is lost (RFC 1122, 4.2.2.13; RFC 9112, 9.6). So the close waits until all has been acknowledged.
"""

from __future__ import annotations

import select
import socket
import sys
from selectors import EVENT_READ
from time import monotonic

from ..loop.kernel import AGAIN, DONTWAIT, is_tcp
from .urgent import at_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..loop.loop import Loop

try:
    from fcntl import ioctl
    from termios import FIONREAD, TIOCOUTQ
except ImportError:  # this host has no ioctl(2)
    ioctl = None  # type: ignore[assignment]

LINGER = 2.0
"""Seconds that a connection whose request has ended waits at most for a peer that goes on sending, or that does not
acknowledge anything more of the output."""

LOOK = 0.05
"""Seconds between two looks at what the peer has acknowledged: no event tells of that."""

PROGRESS = 1_000
"""Bytes that the peer must acknowledge in `LINGER` seconds to be waited for longer."""

_NONE = bytes(4)


def unacknowledged(sock: Any) -> int:
    """Bytes of output, the FIN counted as one, that the peer of a TCP connection has not acknowledged.

    (``SIOCOUTQ`` of ``tcp(7)``.) 0 for other sockets, whose close loses nothing, and where the host can't tell.
    """
    if ioctl is None or not is_tcp(sock):
        return 0
    count = bytearray(4)  # writable: with bytes, ioctl() makes an error first, which takes longer than the system call
    try:
        ioctl(sock, TIOCOUTQ, count)
    except (OSError, ValueError):  # it is closed, or the host has this for terminals only
        return 0
    return 0 if count == _NONE else int.from_bytes(count, sys.byteorder)


def is_done_with(sock: Any) -> bool:
    """Whether a TCP connection has no input that was not read, and the peer has acknowledged all output.

    ``False`` where the host can't tell, or the connection is lost. (``SIOCINQ`` and ``SIOCOUTQ`` of ``tcp(7)``: a
    recv(2) in vain takes twice as long, because of its exception.)
    """
    if ioctl is None or not is_tcp(sock):
        return False
    count = bytearray(4)
    try:
        ioctl(sock, FIONREAD, count)
        if count == _NONE:
            ioctl(sock, TIOCOUTQ, count)
    except (OSError, ValueError):
        return False
    return count == _NONE and not at_mark(sock)  # behind an urgent byte there may be more


def unacknowledged_data(sock: Any) -> int:
    """As `unacknowledged`, without the FIN of a socket whose output has been shut down.

    The FIN takes the last number of the sequence (RFC 9293, section 3.4). A peer acknowledges it late, often only with
    its own; to close before that loses nothing, because the peer has all data.
    """
    return max(unacknowledged(sock) - 1, 0)


class Acknowledgement:
    """Looks after the output of one connection that is to be closed, until the peer has acknowledged it."""

    __slots__ = ("_left", "_until")

    def __init__(self, left: int, now: float) -> None:
        self._left = left
        self._until = now + LINGER

    def is_due(self, sock: object, now: float) -> bool:
        """Whether the peer has still to acknowledge something, and is worth waiting for."""
        left = unacknowledged_data(sock)
        if self._left - left >= PROGRESS:
            self._left, self._until = left, now + LINGER
        return left > 0 and now < self._until


def linger(sock: object, left: int) -> None:
    """Wait until the peer has acknowledged all output, has ended the stream, or does not go on for `LINGER` seconds.

    For a blocking handler's connection whose output has been shut down; ``left`` bytes are its `unacknowledged_data`.
    What the peer still sends is dropped.
    """
    assert isinstance(sock, socket.socket)
    _wait(sock, Acknowledgement(left, monotonic()), monotonic)


def _wait(sock: socket.socket, awaited: Acknowledgement, now: Callable[[], float]) -> None:
    if not DONTWAIT or not hasattr(select, "poll"):
        return
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    while awaited.is_due(sock, now()):
        if poll.poll(LOOK * 1000) and _has_ended(sock):
            return


class Lingering:
    """As `linger`, but the loop waits, so that the thread of a server in plain mode goes on with the next connection.

    ``ended()`` is called once, and closes the socket. Raises ``OSError`` or ``ValueError`` where the selector does not
    take the socket.
    """

    def __init__(self, loop: Loop, sock: socket.socket, left: int, ended: Callable[[Lingering], object]) -> None:
        self._loop = loop
        self._socket = sock
        self._ended = ended
        self._awaited = Acknowledgement(left, loop.clock.monotonic())
        self._watch = loop.watch(sock, EVENT_READ, self._ready)
        self._timer = loop.call_later(LOOK, self._look)

    def _ready(self, events: int) -> None:
        if _has_ended(self._socket):
            self._end()

    def _look(self) -> None:
        if self._awaited.is_due(self._socket, self._loop.clock.monotonic()):
            self._timer = self._loop.call_later(LOOK, self._look)
        else:
            self._end()

    def finish(self) -> None:
        """Wait for the end in the caller: the loop does not go on."""
        try:
            _wait(self._socket, self._awaited, self._loop.clock.monotonic)
        finally:
            self._end()

    def _end(self) -> None:
        self._watch.cancel()
        self._timer.cancel()
        self._ended(self)


def _has_ended(sock: socket.socket) -> bool:
    """Drop the input that has come; whether the peer has ended the stream, or has reset the connection."""
    try:
        return not socket.socket.recv(sock, 65_536, DONTWAIT)
    except AGAIN:
        return False
    except OSError:
        return True
