"""The stream sockets of the simulated kernel: TCP and Unix, from the connection to its reset.

A stream is two sockets, each with what has arrived and has not been read; what is on its way to one
is in the clock. All that one end sends, its end and its resets too, arrives in order.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from .faults import ABORTED, BROKEN, BROKEN_ERRORS, INTERRUPTED, SHORT_READ, SHORT_WRITE, TORN, failure
from .sockets import BOTH, UNIX, Socket, nobody

if TYPE_CHECKING:
    from collections.abc import Callable

    from .network import Address, Network

_RETRIES = 6  # of a connection that finds the backlog full, after 1, 2, 4, … seconds
_TORN_APART = 0.01  # seconds

NEW, LISTENING, CONNECTING, OPEN, OVER = "new", "listening", "connecting", "open", "over"
"""What a stream socket can be. It is over when it was reset, or when both ends of the stream have been heard."""


class StreamSocket(Socket):
    """A TCP or a Unix stream socket."""

    type = socket.SOCK_STREAM
    __slots__ = (
        "_abrupt", "_backlog", "_begun", "_clear", "_ended", "_finished", "_flying", "_gone", "_limit",
        "_on_the_way", "_parted", "heard", "heard_end", "inbox", "peer", "rest", "said", "said_end", "state",
    )  # fmt: skip

    def __init__(self, network: Network, family: int) -> None:
        super().__init__(network, family)
        self.state = NEW
        self.peer: StreamSocket | None = None
        """The other end."""
        self.inbox = bytearray()
        """What has arrived and has not been read."""
        self.said = bytearray()
        """All that ``send()`` has ever taken."""
        self.said_end = False
        """Whether ``shutdown()`` has ended that."""
        self.heard = 0
        """Bytes that ``recv()`` has ever given."""
        self.heard_end = False
        """Whether it has also given the end of the stream."""
        self.rest = b""
        """What the last ``send()`` was offered and did not take."""
        self._ended = False  # nothing more comes: the peer's end was heard, or this side shut down
        self._finished = False  # the peer's end was heard: from here on ``recv`` knows no error (TCP)
        self._parted = False  # nothing more is sent
        self._gone = False  # the process has closed it
        self._begun = False  # connect() has begun, and no other call of it has said what came of that
        self._abrupt = False  # it wants closing to reset the connection (SO_LINGER)
        self._backlog: deque[StreamSocket] = deque()
        self._limit = 0
        self._flying = 0  # bytes on their way to the peer
        self._on_the_way = 0  # of whatever is on its way there
        self._clear = 0.0  # when the last of it arrives

    # The calls of a process

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        super().setsockopt(level, option, value)
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self._abrupt = struct.unpack("ii", value) == (1, 0)

    def listen(self, backlog: int = 128) -> None:
        """As ``socket.listen``: one connection more than ``backlog`` waits to be accepted."""
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
        if self.network.plan.draw(ABORTED):
            self._backlog.popleft().disappear()
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
        """As ``socket.connect``: for TCP it begins there and raises ``BlockingIOError`` (``EINPROGRESS``).

        Another call says what came of it. What was connected once can't be a second time.
        """
        self._check_open()
        if self.family == UNIX:
            self._connect_unix(address)
            return
        if self.state != NEW:
            self._connect_again()
            return
        if self.local is None:
            self.bind(("127.0.0.1" if self.family == socket.AF_INET else "::1", 0))
        self.state = CONNECTING
        self._begun = True
        self.remote = self.network.wire.whole(self.family, address)
        self._post(self._knock, 0)
        if self.timeout != 0:
            self.network.offences.append(f"connect() blocks: {self} has not been made non-blocking")
        interrupted = self.network.plan.draw(INTERRUPTED)  # it goes on all the same (POSIX, connect())
        raise self._failed("connect", errno.EINTR if interrupted else errno.EINPROGRESS)

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``."""
        rest, self.rest = self.rest, b""
        if rest and rest[: len(data)] != data[: len(rest)]:
            self.network.offences.append(f"send() to {self}: of what it was offered before, something has vanished")
        try:
            size = self._send(data, flags)
        except (BlockingIOError, InterruptedError):
            self.rest = bytes(data)
            raise
        if size < len(data):
            self.rest = bytes(data[size:])
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
        if not peer.said.startswith(data, self.heard):
            self.network.offences.append(f"recv() of {self} gives what was not sent")
        self.heard += size
        if was_full:
            peer.changed()
        return data

    def shutdown(self, how: int) -> None:
        """As ``socket.shutdown``; ``how`` can only be ``SHUT_WR``."""
        if how != socket.SHUT_WR:
            raise NotImplementedError("a simulated stream can be shut down for writing only (SHUT_WR)")
        self._check_open()
        if self.state not in (OPEN, LISTENING) and self.family != UNIX:
            raise self._failed("shutdown", errno.ENOTCONN)
        self.note("shutdown", None)
        if self.state == LISTENING:
            return  # it sends nothing as it is
        self.said_end = True
        self._begun = False
        if not self._parted:
            self._part()

    def getpeername(self) -> Address:
        """As ``socket.getpeername``."""
        self._check_open()
        if self.state != OPEN or self.remote is None:
            raise failure(errno.ENOTCONN)
        return self.remote

    def events(self, wanted: int = BOTH) -> int:
        state = self.state
        if state == OPEN:
            if self.error or (self._ended and self._parted):
                return wanted
            events = EVENT_READ & wanted if self.inbox or self._ended else 0
            return events | EVENT_WRITE if wanted & EVENT_WRITE and (self._parted or self.is_writable()) else events
        if state == LISTENING:
            return EVENT_READ & wanted if self._backlog else 0
        return 0 if state == CONNECTING else wanted

    def release(self, number: int) -> None:
        super().release(number)
        self._gone = True
        for pending in self._backlog:
            pending.disappear()
        if self.state != OPEN:
            self.state = OVER
        elif self.inbox or self._abrupt or self.family == UNIX:
            self._give_up_rest()
            self.disappear()
        elif not self._parted:
            self._part()
        self.inbox.clear()

    def is_writable(self) -> bool:
        """Whether a third of the room is free: less is not reported, though a ``send()`` may still take it."""
        return self._room() * 3 >= self.network.wire.capacity

    # What happens to it

    def disappear(self) -> None:
        """End the connection at once; with a reset, unless it is a Unix socket that has read all."""
        self.state = OVER
        peer = self.peer
        if peer is None:
            return
        if self.family == UNIX:
            peer.hang_up(errno.ECONNRESET if self.inbox or not self._gone else 0)
        else:
            self._post(peer.hear_reset)

    def hear(self, data: bytes, sender: StreamSocket) -> None:
        """Bytes arrive."""
        sender._flying -= len(data)
        if self.state == OVER:
            return
        if self._gone:
            self.disappear()
        else:
            self.inbox += data
            self.changed()

    def hear_end(self) -> None:
        """The end of the peer's stream arrives."""
        peer = self.peer
        if self.state == OPEN and peer is not None:
            self._ended = True
            self._finished = self.family != UNIX
            if peer._finished:  # each has heard the other's end
                self.state = peer.state = OVER
            self.changed()

    def hear_reset(self, number: int = 0) -> None:
        """A reset arrives, or the connection is found to be broken in another way (``number``)."""
        if self.state == OPEN:
            self.state = OVER
            self.error = number or (errno.EPIPE if self._finished and not self._parted else errno.ECONNRESET)
            self._ended = self._parted = True
            self.changed()

    def hang_up(self, number: int) -> None:
        """The peer of a Unix socket has closed."""
        self._ended = self._parted = True
        self.error = number
        self.changed()

    # How it works

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
        if self._parted:
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
        self.said += taken
        self._flying += size
        self.note("send", taken)
        self._transmit(taken)
        return size

    def _transmit(self, data: bytes) -> None:
        peer = self.peer
        assert peer is not None
        if self.family == UNIX:
            peer.hear(data, self)
            return
        first = self.network.wire.plan.draw(TORN, len(data) - 1) if len(data) > 1 else 0
        if first:
            self._post(peer.hear, data[:first], self)
            self._clear = max(self._clear, self.network.wire.clock.now) + _TORN_APART
            data = data[first:]
        self._post(peer.hear, data, self)

    def _recv_nothing(self, limit: int) -> bytes:
        """No system call: Python does not ask for no bytes."""
        if limit < 0:
            raise ValueError("negative buffersize in recv")
        return b""

    def _recv_end(self, flags: int) -> bytes:
        if self.state in (NEW, LISTENING):
            raise self._failed("recv", errno.EINVAL if self.family == UNIX else errno.ENOTCONN)
        if self.error and not self._finished:
            number, self.error = self.error, 0
            raise self._failed("recv", number)
        if not self._ended:
            raise self._blocks("recv", flags)
        self._could("recv", flags)
        self.heard_end = True
        self.note("recv", b"")
        return b""

    def _room(self) -> int:
        peer = self.peer
        assert peer is not None
        return self.network.wire.capacity - self._flying - len(peer.inbox)

    def _post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have something happen at the other end, when all has happened there that was sent before."""
        wire = self.network.wire
        when = max(wire.clock.now + wire.delay(), self._clear)
        if when <= wire.clock.now and not self._on_the_way:
            call(*arguments)
            return
        self._clear = when
        self._on_the_way += 1
        wire.clock.at(when, self._arrive, call, arguments)

    def _arrive(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._on_the_way -= 1
        call(*arguments)

    def _part(self) -> None:
        """Send the end of the stream."""
        self._give_up_rest()
        self._parted = True
        peer = self.peer
        if peer is None:
            return  # nobody is there to hear of it
        if self.family == UNIX:
            peer.hear_end()
        else:
            self._post(peer.hear_end)

    def _give_up_rest(self) -> None:
        if self.rest and not self.error and not self._parted:
            self.network.unsent.append((self, len(self.rest)))

    def _break(self) -> None:
        """A chance for the connection to break."""
        if self.state == OPEN and self.family != UNIX:
            amount = self.network.plan.draw(BROKEN, len(BROKEN_ERRORS))
            peer = self.peer
            if amount and peer is not None:
                self.hear_reset(getattr(errno, BROKEN_ERRORS[amount - 1]))
                peer.hear_reset()

    def _connect_unix(self, address: Address) -> None:
        listener = self.network.wire.find(self.type, self.family, address)
        if not isinstance(listener, StreamSocket) or listener.state != LISTENING:
            raise self._failed("connect", nobody(listener, self.type, address))
        if len(listener._backlog) >= listener._limit:
            raise self._blocks("connect")
        if self.state != NEW:
            raise self._failed("connect", errno.EISCONN if self.state == OPEN else errno.EINVAL)
        self.remote = address
        self._meet(listener)

    def _connect_again(self) -> None:
        """Say what has come of the connection."""
        if self.state == CONNECTING:
            raise self._failed("connect", errno.EALREADY)
        if not self._begun:
            raise self._failed("connect", errno.EISCONN)
        if self.state == OVER:
            number, self.error = self.error, 0
            if self.peer is None:
                self.state, self._ended, self._parted = NEW, False, False
            raise self._failed("connect", number or errno.ECONNABORTED)
        self._begun = False

    def _knock(self, attempt: int) -> None:
        """Ask for the connection; a listener whose backlog is full does not answer."""
        if self.state != CONNECTING:
            return
        wire = self.network.wire
        assert self.remote is not None
        listener = wire.find(self.type, self.family, self.remote)
        if not isinstance(listener, StreamSocket) or listener.state != LISTENING or wire.refuses():
            self._fail(errno.ECONNREFUSED)
        elif len(listener._backlog) < listener._limit:
            self._meet(listener)
        elif attempt == _RETRIES:
            self._fail(errno.ETIMEDOUT)
        else:
            wire.clock.at(wire.clock.now + 2**attempt, self._knock, attempt + 1)

    def _meet(self, listener: StreamSocket) -> None:
        end = StreamSocket(listener.network, self.family)
        end.local, end.remote = self.remote, self.local or ""
        self.peer, end.peer = end, self
        self.state = end.state = OPEN
        listener._backlog.append(end)
        listener.changed()
        self.changed()

    def _fail(self, number: int) -> None:
        self.state = OVER
        self.error = number
        self._ended = self._parted = True
        self.changed()
