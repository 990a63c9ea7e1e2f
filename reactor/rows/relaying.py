"""Relays in the kernel: what a row waits to pass on (`Relayed`) is moved from socket to socket by ``splice(2)``.

The machines need not see a piece if neither side holds anything, or has a filter, that it would have to pass. The bytes
go from one socket into a pipe, and on into the other. Each loop has one pipe, which is empty between two pieces: what
the other socket does not take is read back and becomes output of its row, as if the machine had written it. So all
bounds of output hold, and a relay that is idle, or slow, has no pipe of its own.

Over loopback (Linux 6.18) a splice costs two thirds of a copy for 64 KiB, and no more than a copy for 1 KB.
"""

from __future__ import annotations

import errno
import os
import socket

from ..handlers import Failed, Relayed, Reset, StreamMachine
from ..handlers.channel import OPEN
from ..loop.kernel import AGAIN
from ..loop.log import WARNING, log
from .driven import SERVING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.reactor import Reactor
    from .stream import StreamRow

MOST = 65_536
"""Bytes that a relay moves at most before the other rows have their turn, and so the most that a slow side is owed.

A pipe must have room for as many. A user who has many pipes gets smaller ones (``pipe(7)``)."""

SIZE = 262_144
"""Size of the pipe. A segment of the network takes a whole page of it, however few bytes it has."""

PAUSE = 5.0
"""Seconds until a pipe is asked for again after the host had none."""

CAN_NOT = {errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}
"""Errors of ``splice(2)`` for a socket, or on a host, that can't do it."""


def begin_relay(row: StreamRow) -> None:
    """From the next piece on, `relay` is tried first, if the host and the socket of ``row`` can do it.

    A simulated socket is of another class, and so is one that takes descriptors.
    """
    if type(row.socket) is socket.socket and hasattr(os, "splice") and row.channel.__class__ is StreamMachine:
        rare = row.make_rare()
        rare.relay = rare.relay or relay


def relay(row: StreamRow, now: float) -> bool:
    """Move a piece of what has come. ``False``: nothing was read, and the row must read."""
    if row.channel.wait.__class__ is not Relayed:  # it has gone on to another wait
        row.make_rare().relay = None
        return False
    other = _other_side(row)
    pipe = None if other is None else _pipe(row.reactor, now)
    if other is None or pipe is None:
        return False
    try:
        left = _move(pipe, row, other, now)
    except BaseException as error:  # a signal handler raised: nobody knows what was moved
        pipe.close()
        other.lose(Failed(row.channel.wait, error))
        raise
    if left:
        row.channel.advance()  # it waits until the rest has drained, or is told that the other side has gone
        row.touched()
    return left is not None


def _never(row: StreamRow, now: float) -> bool:
    """Stands for `relay` in a row with a socket that can't do it."""
    return False


def _move(pipe: Pipe, row: StreamRow, other: StreamRow, now: float) -> int | None:
    """Move a piece. Returns how many bytes of it the other side has not taken, ``None`` if nothing was read."""
    try:
        taken = pipe.fill(row.socket)
    except AGAIN:
        taken = 0
    except OSError as error:
        if error.errno not in CAN_NOT:
            row.lose(Reset(error))
            return 0
        row.make_rare().relay = _never
        taken = 0
    if not taken:  # also at the end of the stream, and in front of an urgent byte: recv(2) tells, and passes over it
        return None
    row.progress = now
    row.total_in += taken
    sent = _pour(pipe, row, other, taken)
    if sent:
        other.progress = now
        other.total_out += sent
    if sent < taken:
        other.channel.write(pipe.rest(taken - sent))
    return taken - sent


def _pour(pipe: Pipe, row: StreamRow, other: StreamRow, count: int) -> int:
    """Move ``count`` bytes on to the other side. Returns how many it has taken; if it is lost, the rest is dropped."""
    try:
        return pipe.pour(other.socket, count)
    except AGAIN:
        return 0
    except OSError as error:
        if error.errno in CAN_NOT:
            row.make_rare().relay = _never
        else:
            pipe.close()
            other.lose(Reset(error))
        return 0


def _other_side(row: StreamRow) -> StreamRow | None:
    """The row to which a piece that comes now may be moved; ``None`` if the machine of ``row`` must take it."""
    machine = row.channel
    wait: Any = machine.wait
    if machine.__class__ is not StreamMachine or row.stage is not SERVING:
        return None
    if not machine.wants_input or machine.inbox:
        return None
    target: Any = wait.to._machine
    if target.__class__ is not StreamMachine or target.outbox or target.state is None or target.output is not OPEN:
        return None
    other: Any = target.driver
    is_driven_here = getattr(other, "channel", None) is target and other.reactor is row.reactor
    if not is_driven_here or other.stage is not SERVING or type(other.socket) is not socket.socket:
        return None
    return other if target.excess is None and target.handler.max_output >= MOST else None


def _pipe(reactor: Reactor, now: float) -> Pipe | None:
    """The pipe of the loop, which is empty; ``None`` if the host has none for now."""
    pipe: Pipe | None = reactor.pipe
    if pipe is None:
        pipe = reactor.pipe = Pipe()
        reactor.descriptors.add(pipe)
    return pipe if pipe.is_open or pipe.open(now) else None


class Pipe:
    """A pipe that is opened when it is first used, and again after `close`."""

    def __init__(self) -> None:
        self._reader = self._writer = -1
        self._due = 0.0  # when a pipe is asked for again
        self._told = False

    @property
    def is_open(self) -> bool:
        """Whether there is a pipe."""
        return self._reader >= 0

    def open(self, now: float) -> bool:
        """Ask for a pipe, unless there was none a short time ago. Returns whether there is one. Logs once if not."""
        if now < self._due:
            return False
        try:
            self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            size = _widened(self._writer)
            if size >= MOST:
                return True
            why = f"a new one holds {size} bytes"
            self.close()
        except OSError as error:
            why = str(error)
        self._due = now + PAUSE
        if not self._told:
            self._told = True
            log(WARNING, "relays copy their bytes, for the host has no pipe for them: %s", why)
        return False

    def fill(self, sock: socket.socket) -> int:
        """Take from ``sock`` what has come, at most `MOST` bytes, and return how many. The pipe is empty before."""
        return os.splice(sock.fileno(), self._writer, MOST, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)

    def pour(self, sock: socket.socket, count: int) -> int:
        """Have ``sock`` take ``count`` bytes; return how many it has taken."""
        return os.splice(self._reader, sock.fileno(), count, flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE)

    def rest(self, count: int) -> bytes:
        """Take back the ``count`` bytes that are left; nothing if the pipe was closed with them in it."""
        if not self.is_open:
            return b""
        rest = os.read(self._reader, count)
        while len(rest) < count:
            rest += os.read(self._reader, count - len(rest))
        return rest

    def close(self) -> None:
        """Close the pipe, with what is in it."""
        reader, writer, self._reader, self._writer = self._reader, self._writer, -1, -1
        if reader >= 0:
            os.close(reader)
            os.close(writer)

    def close_copy(self, keep: object) -> None:
        """In a forked child: the pipe is the parent's."""
        self.close()


def _widened(pipe: int) -> int:
    """Have the pipe hold `SIZE` bytes; return how many it holds."""
    from fcntl import F_GETPIPE_SZ, F_SETPIPE_SZ, fcntl  # here, because not all hosts have it

    try:
        return fcntl(pipe, F_SETPIPE_SZ, SIZE)
    except OSError:  # the user has too many pages in pipes
        return fcntl(pipe, F_GETPIPE_SZ)
