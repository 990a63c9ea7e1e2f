"""One connection to the server that is probed: it does its steps, and holds what has come."""

from __future__ import annotations

import errno
import socket
import ssl
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any, NamedTuple

from ...loop.kernel import reset_on_close

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ... import Reactor
    from ...loop.timers import Timer
    from ...loop.watches import Watch

MOST = 16 * 2**20
"""Bytes of an answer that are held, at most."""

UNDER_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN}
LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Target(NamedTuple):
    """Where the server is: the family and the address of its socket, and for TLS a context and the server's name."""

    url: str
    family: int
    address: Any
    context: ssl.SSLContext | None = None
    name: str = ""


class Pause(NamedTuple):
    """Wait so many seconds."""

    seconds: float


class Answered(NamedTuple):
    """Wait until ``is_whole(received)``, or for the end of the stream; at most the seconds of the patience."""

    is_whole: Callable[[bytes], bool]


class Quiet(NamedTuple):
    """Wait until nothing has come for so many seconds, or for the end of the stream."""

    seconds: float


class Ended(NamedTuple):
    """Wait for the end of the stream; at most the seconds of the patience."""


class HalfClose(NamedTuple):
    """Send FIN: there is no more input for the server. Not with TLS, where that is no half-close."""


class ResetIt(NamedTuple):
    """Reset the connection."""


Step = bytes | Pause | Answered | Quiet | Ended | HalfClose | ResetIt


class Exchange:
    """A connection that does ``steps``, one after the other, and then calls ``done(exchange)``."""

    def __init__(
        self, reactor: Reactor, target: Target, steps: Sequence[Step], patience: float, done: Callable[[Exchange], None]
    ) -> None:
        self.steps = list(steps)
        self.received = b""
        self.reached: list[int] = []
        """How many bytes had come when each step began."""
        self.error = ""
        """Why the connection could not be made or was lost; empty if neither."""
        self.ended = False
        """Whether the server has ended its stream."""
        self._reactor = reactor
        self._steps: Iterator[Step] = iter(self.steps)
        self._step: Step | None = None
        self._patience = patience
        self._done = done
        self._outbox = b""
        self._timer: Timer | None = None
        self._is_connecting = True
        self._socket: socket.socket = socket.socket(target.family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        self._watch: Watch | None = None
        self._target = target
        self._connect()

    def _connect(self) -> None:
        number = self._socket.connect_ex(self._target.address)
        if number not in (0, *UNDER_WAY):
            self.error = f"connect: {errno.errorcode.get(number, number)}"
            self._reactor.call_soon(self._finish)
            return
        if self._socket.family != getattr(socket, "AF_UNIX", -1):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch = self._reactor.watch(self._socket, EVENT_READ | EVENT_WRITE, self._ready)
        self._timer = self._reactor.call_later(self._patience, self._lose, "connect: no answer")

    # Readiness

    def _ready(self, events: int) -> None:
        try:
            if self._is_connecting:
                self._open()
            self._read()
            self._write()
        except LATER:
            self._want()
        except OSError as error:  # ssl.SSLError too
            known = "" if isinstance(error, ssl.SSLError) else errno.errorcode.get(error.errno or 0, "")
            self._lose(f"{'connect: ' if self._is_connecting else ''}{known or error}")

    def _open(self) -> None:
        """The connection is open: go on with its handshake, and begin the steps when that is done."""
        number = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise OSError(number, "connect")
        target = self._target
        if target.context is not None and not isinstance(self._socket, ssl.SSLSocket):  # its descriptor stays the same
            self._socket = target.context.wrap_socket(
                self._socket, do_handshake_on_connect=False, server_hostname=target.name
            )
        if isinstance(self._socket, ssl.SSLSocket):
            self._socket.do_handshake()
        self._is_connecting = False
        self._next()

    def _read(self) -> None:
        while not self.ended and self._watch is not None and len(self.received) < MOST:
            try:
                data = self._socket.recv(65_536)
            except LATER:
                break
            self.received += data
            self.ended = not data
            self._look()

    def _write(self) -> None:
        while self._outbox:
            sent = self._socket.send(self._outbox)
            self._outbox = self._outbox[sent:]
            if not self._outbox:
                self._next()
        self._want()

    def _want(self) -> None:
        if self._watch is not None:
            writes = EVENT_WRITE if self._outbox or self._is_connecting else 0
            reads = 0 if self.ended or len(self.received) >= MOST else EVENT_READ  # else the loop would spin
            self._watch.modify(reads | writes)

    # Steps

    def _next(self) -> None:
        """Begin the next step."""
        self._forget_timer()
        self.reached.append(len(self.received))
        self._step = step = next(self._steps, None)
        if step is None:
            self._finish()
        elif isinstance(step, bytes):
            self._outbox = step
            if step:
                self._want()
            else:
                self._next()
        elif isinstance(step, HalfClose):
            self._socket.shutdown(socket.SHUT_WR)
            self._next()
        elif isinstance(step, ResetIt):
            reset_on_close(self._socket)
            self._next()
        elif isinstance(step, (Pause, Quiet)):
            self._timer = self._reactor.call_later(step.seconds, self._next)
        else:
            self._timer = self._reactor.call_later(self._patience, self._next)
        if isinstance(step, (Answered, Ended, Quiet)):
            self._look()

    def _look(self) -> None:
        """Input has come, or its end: the step may be over."""
        step = self._step
        if isinstance(step, Quiet):
            self._forget_timer()
            self._timer = self._reactor.call_later(0.0 if self.ended else step.seconds, self._next)
        elif isinstance(step, (Ended, Answered)) and self._is_over(step):
            self._next()

    def _is_over(self, step: Ended | Answered) -> bool:
        return self.ended or (isinstance(step, Answered) and step.is_whole(self.received))

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The end

    def _lose(self, why: str) -> None:
        self.error = why
        self._finish()

    def _finish(self) -> None:
        self._forget_timer()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._socket.close()
        self._outbox = b""
        self._done(self)
