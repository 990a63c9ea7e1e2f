"""Simulated stream sockets: TCP and Unix, from the connection to its reset.

A stream is two sockets. Each holds the bytes that have arrived and were not read; bytes on their way are events of the
clock. Everything that one end sends, including its end of stream and its resets, arrives in order.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from .faults import ABORTED, BROKEN, BROKEN_ERRORS, INTERRUPTED, SHORT_READ, SHORT_WRITE, TORN, failure
from .flight import Flight
from .sockets import BOTH, UNIX, Socket, unreachable

if TYPE_CHECKING:
    from .sockets import Kernel
    from .wire import Address

_RETRIES = 6  # of a connection attempt that is not answered, after 1, 2, 4, ... seconds (``tcp_syn_retries``)
_TRIES_TO_FIND = 2  # of a host that is down: then its neighbours say that it can't be reached (arp(7))
_TORN_APART = 0.01  # seconds

NEW, LISTENING, CONNECTING, OPEN, OVER = "new", "listening", "connecting", "open", "over"
"""The states of a stream socket. It is over after a reset, or when both ends of the stream have arrived."""


class StreamSocket(Socket):
    """A TCP or a Unix stream socket."""

    type: int = socket.SOCK_STREAM
    __slots__ = (
        "_backlog", "_closed", "_end_arrived", "_flight", "_input_ended", "_is_forgotten", "_limit", "_output_ended",
        "_resets", "_result_due", "inbox", "peer", "read_end", "sent", "sent_end", "state", "total_in", "untaken",
    )  # fmt: skip

    def __init__(self, network: Kernel, family: int) -> None:
        super().__init__(network, family)
        self.state = NEW
        self.peer: StreamSocket | None = None
        """The other end."""
        self.inbox = bytearray()
        """The bytes that have arrived and were not read."""
        self.sent = bytearray()
        """All bytes that ``send()`` has taken."""
        self.sent_end = False
        """Whether ``shutdown()`` was called."""
        self.total_in = 0
        """The number of bytes that ``recv()`` has returned."""
        self.read_end = False
        """Whether ``recv()`` has returned the end of the stream."""
        self.untaken = b""
        """The bytes that the last ``send()`` was given and did not take."""
        self._input_ended = False  # nothing more arrives: the peer has ended its stream, or the connection is over
        self._end_arrived = False  # the peer has ended its stream: from now on recv() raises no error (TCP)
        self._output_ended = False  # nothing more can be sent
        self._closed = False  # the process has closed the socket
        self._result_due = False  # connect() was called, and no further call has returned the result
        self._resets = False  # close() resets the connection (SO_LINGER)
        self._backlog: deque[StreamSocket] = deque()
        self._limit = 0  # connections that fit into the accept queue
        self._is_forgotten = False  # the kernel knows the connection no more: what arrives is answered with a reset
        self._flight = Flight(network.wire, self)

    # The calls of a process

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        super().setsockopt(level, option, value)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._resets = struct.unpack("ii", value) == (1, 0)

    def listen(self, backlog: int = 128) -> None:
        """As ``socket.listen``. The accept queue holds ``backlog + 1`` connections, as Linux's does."""
        self._check_open()
        if self.state not in (NEW, LISTENING) or (self.family == UNIX and self.local is None):
            raise self._failed("listen", errno.EINVAL)
        if self.local is None:
            self.bind(("", 0))
        self.state = LISTENING
        self._limit = backlog + 1

    def accept(self) -> tuple[StreamSocket, Any]:
        """As ``socket.accept``."""
        self._begin("accept")
        if self.state != LISTENING:
            raise self._failed("accept", errno.EINVAL)
        if not self._backlog:
            raise self._blocks("accept")
        self._could("accept")
        if self.family != UNIX and self.network.plan.draw(ABORTED):  # a Unix socket does not tell of it
            self._backlog.popleft().abort()
            raise self._failed("accept", errno.ECONNABORTED)
        try:
            self.network.exhaust()
        except OSError as error:
            self.note("accept", error.errno)
            raise
        sock = self._backlog.popleft()
        self.network.allocate(sock)
        self.note("accept", sock)
        return sock, sock.remote

    def connect(self, address: Address) -> None:
        """As ``socket.connect``. For TCP the first call raises ``BlockingIOError`` (``EINPROGRESS``).

        A further call returns the result. A socket cannot be connected twice.
        """
        self._check_open()
        if self.family == UNIX:
            self._connect_unix(address)
            return
        if self.state != NEW:
            self._connect_again()
            return
        self.remote = self.network.wire.whole(self.family, address)
        self.bind_for(self.remote)
        self.state = CONNECTING
        self._result_due = True
        self._flight.plan(self._attempt, 0)
        if self.timeout != 0:
            self.network.offences.append(f"connect() blocks: {self} is not in non-blocking mode")
        interrupted = self.network.plan.draw(INTERRUPTED)  # the attempt goes on (POSIX, connect())
        raise self._failed("connect", errno.EINTR if interrupted else errno.EINPROGRESS)

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``."""
        untaken, self.untaken = self.untaken, b""
        if untaken and untaken[: len(data)] != data[: len(untaken)]:
            self.network.offences.append(f"send() to {self} is not given the bytes that it did not take before")
        try:
            size = self._send(data, flags)
        except (BlockingIOError, InterruptedError):
            self.untaken = bytes(data)
            raise
        if size < len(data):
            self.untaken = bytes(data[size:])
        return size

    def recv(self, limit: int, flags: int = 0) -> bytes:
        """As ``socket.recv``."""
        if limit < 1:
            return self._recv_nothing(limit)
        self._begin("recv")
        self._break()
        inbox = self.inbox
        if not inbox:
            return self._recv_end(flags)
        self._could("recv", flags)
        size = min(limit, len(inbox))
        if size > 1:
            size = self.network.plan.draw(SHORT_READ, size - 1) or size
        peer = self.peer
        assert peer is not None
        was_full = not peer.is_writable()
        data = bytes(inbox[:size])
        del inbox[:size]
        self.note("recv", data)
        if not peer.sent.startswith(data, self.total_in):
            self.network.offences.append(f"recv() of {self} returns bytes that were not sent")
        self.total_in += size
        if was_full:
            peer.changed()
        return data

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``; ``how`` can only be ``SHUT_WR``."""
        if how != socket.SHUT_WR:
            raise NotImplementedError("a simulated stream can be shut down for writing only (SHUT_WR)")
        self._check_open()
        if self.state not in (OPEN, LISTENING, CONNECTING) and self.family != UNIX:
            raise self._failed("shutdown", errno.ENOTCONN)
        self.note("shutdown", None)
        if self.state == CONNECTING:  # Linux gives the attempt up, and tells of a reset
            self.state, self.error, self._result_due = NEW, errno.ECONNRESET, False
            self.changed()
            return
        if self.state == LISTENING:
            return  # a listener sends nothing
        self.sent_end = True
        self._result_due = False
        if not self._output_ended:
            self._send_end()

    def getpeername(self) -> Address:
        """As ``socket.getpeername``."""
        self._check_open()
        if self.state != OPEN or self.remote is None:
            raise failure(errno.ENOTCONN)
        return self.remote

    def events(self, wanted: int = BOTH) -> int:
        state = self.state
        if state == OPEN:
            if self.error or (self._input_ended and self._output_ended):
                return wanted
            events = EVENT_READ & wanted if self.inbox or self._input_ended else 0
            return (
                events | EVENT_WRITE if wanted & EVENT_WRITE and (self._output_ended or self.is_writable()) else events
            )
        if state == LISTENING:
            return EVENT_READ & wanted if self._backlog else 0
        return 0 if state == CONNECTING else wanted

    def release(self, number: int) -> None:
        super().release(number)
        self._closed = True
        for pending in self._backlog:
            pending.abort()
        if self.state != OPEN:
            self.state = OVER
        elif self.inbox or self._resets or self.family == UNIX:
            self._note_unsent()
            self.abort()
        elif not self._output_ended:
            self._send_end()
        self.inbox.clear()

    def vanish(self) -> None:
        super().vanish()
        for pending in self._backlog:
            pending.vanish()
        self._is_forgotten = self._closed = True
        self._flight.drop()
        if self.state != OPEN:
            self.state = OVER

    def is_writable(self) -> bool:
        """Whether a third of the buffer is free. Linux reports no less, though ``send()`` takes any number of bytes."""
        return self._room() * 3 >= self.network.wire.capacity

    # Events

    def abort(self) -> None:
        """End the connection at once. The peer sees a reset, except that of a Unix socket that has read all bytes."""
        self.state = OVER
        peer = self.peer
        if peer is None:
            return
        if self.family == UNIX:
            peer.arrive_close(errno.ECONNRESET if self.inbox or not self._closed else 0)
        else:
            self._flight.deliver(peer.arrive_reset)

    def arrive(self, data: bytes, sender: StreamSocket) -> None:
        """Bytes arrive."""
        sender._flight.received(len(data))
        if self._is_forgotten:
            self._flight.deliver(sender.arrive_reset)
        elif self.state == OVER:
            return
        elif self._closed:
            self.abort()
        else:
            self.inbox += data
            self.changed()

    def arrive_end(self) -> None:
        """The end of the peer's stream arrives."""
        peer = self.peer
        if self._is_forgotten and peer is not None:
            self._flight.deliver(peer.arrive_reset)
            return
        if self.state == OPEN and peer is not None:
            self._input_ended = True
            self._end_arrived = self.family != UNIX
            if peer._end_arrived:  # both ends of the stream have arrived
                self.state = peer.state = OVER
            self.changed()

    def arrive_reset(self, number: int = 0) -> None:
        """A reset arrives, or the connection breaks in another way, with the ``errno`` ``number``."""
        if self.state == OPEN:
            self.state = OVER
            self.error = number or (errno.EPIPE if self._end_arrived and not self._output_ended else errno.ECONNRESET)
            self._input_ended = self._output_ended = True
            self.changed()

    def give_up(self, number: int) -> None:
        """The kernel gives the connection up, with the ``errno`` ``number``. It does not tell the peer."""
        self.arrive_reset(number)
        self._is_forgotten = True

    def arrive_close(self, number: int) -> None:
        """The peer of a Unix socket has closed."""
        self._input_ended = self._output_ended = True
        self.error = number
        self.changed()

    # Parts of the calls

    def _send(self, data: Any, flags: int) -> int:
        self._begin("send")
        self._break()
        if self.error and self.family != UNIX:
            number, self.error = self.error, 0
            raise self._failed("send", number)
        if self.state == CONNECTING:
            raise self._blocks("send", flags)
        if self.state in (NEW, LISTENING):
            raise self._failed("send", errno.ENOTCONN if self.family == UNIX else errno.EPIPE)
        if self._output_ended:
            raise self._failed("send", errno.EPIPE)
        if not data:
            return 0
        room = self._room()
        if room <= 0:
            raise self._blocks("send", flags)
        self._could("send", flags)
        size = min(room, len(data))
        if size > 1:
            size = self.network.plan.draw(SHORT_WRITE, size - 1) or size
        taken = bytes(data[:size])
        self.sent += taken
        self._flight.size += size
        self.note("send", taken)
        self._transmit(taken)
        return size

    def _transmit(self, data: bytes) -> None:
        peer = self.peer
        assert peer is not None
        if self.family == UNIX:
            peer.arrive(data, self)
            return
        first = self.network.wire.plan.draw(TORN, len(data) - 1) if len(data) > 1 else 0
        if first:
            self._flight.deliver(peer.arrive, data[:first], self)
            self._flight.pause(_TORN_APART)
            data = data[first:]
        self._flight.deliver(peer.arrive, data, self)

    def _recv_nothing(self, limit: int) -> bytes:
        """``recv(0)``, for which Python makes no system call. Raises `ValueError` for a negative limit."""
        if limit < 0:
            raise ValueError("negative buffersize in recv")
        return b""

    def _recv_end(self, flags: int) -> bytes:
        if self.error and not self._end_arrived:
            number, self.error = self.error, 0
            raise self._failed("recv", number)
        if self.state in (NEW, LISTENING):
            raise self._failed("recv", errno.EINVAL if self.family == UNIX else errno.ENOTCONN)
        if not self._input_ended:
            raise self._blocks("recv", flags)
        self._could("recv", flags)
        self.read_end = True
        self.note("recv", b"")
        return b""

    def _room(self) -> int:
        peer = self.peer
        assert peer is not None
        return self.network.wire.capacity - self._flight.size - len(peer.inbox)

    def _send_end(self) -> None:
        """Send the end of the stream."""
        self._note_unsent()
        self._output_ended = True
        peer = self.peer
        if peer is None:
            return  # there was no connection
        if self.family == UNIX:
            peer.arrive_end()
        else:
            self._flight.deliver(peer.arrive_end)

    def _note_unsent(self) -> None:
        if self.untaken and not self.error and not self._output_ended:
            self.network.unsent.append((self, len(self.untaken)))

    def _break(self) -> None:
        """A chance for the connection to break."""
        if self.state == OPEN and self.family != UNIX:
            amount = self.network.plan.draw(BROKEN, len(BROKEN_ERRORS))
            peer = self.peer
            if amount and peer is not None:
                self.arrive_reset(getattr(errno, BROKEN_ERRORS[amount - 1]))
                peer.arrive_reset()

    def _connect_unix(self, address: Address) -> None:
        listener = self.network.wire.find(self, address)
        if not isinstance(listener, StreamSocket) or listener.state != LISTENING:
            raise self._failed("connect", unreachable(listener, self.type, address))
        if len(listener._backlog) >= listener._limit:
            raise self._blocks("connect")
        if self.state != NEW:
            raise self._failed("connect", errno.EISCONN if self.state == OPEN else errno.EINVAL)
        self.remote = address
        self._establish(listener)

    def _connect_again(self) -> None:
        """Raise the result of an earlier call; nothing if the connection is there."""
        if self.state == CONNECTING:
            raise self._failed("connect", errno.EALREADY)
        if not self._result_due:
            raise self._failed("connect", errno.EISCONN)
        if self.state == OVER:
            number, self.error = self.error, 0
            if self.peer is None:
                self.state, self._input_ended, self._output_ended = NEW, False, False
                self._result_due = False
            raise self._failed("connect", number or errno.ECONNABORTED)
        self._result_due = False

    def _attempt(self, attempt: int) -> None:
        """One attempt to connect. A host that is not reached does not answer it, nor a full accept queue."""
        if self.state != CONNECTING:
            return
        wire = self.network.wire
        assert self.remote is not None
        if wire.links.carries(self.local, self.remote) and wire.links.carries(self.remote, self.local):
            listener = wire.find(self, self.remote)
            if not isinstance(listener, StreamSocket) or listener.state != LISTENING or wire.refuses():
                self._fail(errno.ECONNREFUSED)
                return
            if len(listener._backlog) < listener._limit:
                self._establish(listener)
                return
        if attempt == _TRIES_TO_FIND and wire.links.is_down(self.remote):
            self._fail(errno.EHOSTUNREACH)
        elif attempt > _RETRIES:
            self._fail(errno.ETIMEDOUT)
        else:
            wire.clock.at(wire.clock.now + 2**attempt, self._attempt, attempt + 1)

    def _establish(self, listener: StreamSocket) -> None:
        end = StreamSocket(listener.network, self.family)
        end.local, end.remote = self.remote, self.local or ""
        self.peer, end.peer = end, self
        end.opaque = self.opaque
        self.state = end.state = OPEN
        listener._backlog.append(end)
        listener.changed()
        self.changed()

    def _fail(self, number: int) -> None:
        self.state = OVER
        self.error = number
        self._input_ended = self._output_ended = True
        self.changed()
