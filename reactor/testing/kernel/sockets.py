"""The base of all simulated sockets, and the datagram sockets.

They behave like Linux's, down to which error comes first: tests run the same exchanges on simulated and on real sockets
and compare them. The process's plan injects the faults of a call, the wire's plan those of data on its way.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any, Protocol

from .faults import AGAIN, FULL, INTERRUPTED, LOST, OVERTAKEN, REPEATED, TRUNCATED, failure
from .wire import is_abstract

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .faults import Plan
    from .wire import Address, Bound, Wire

UNIX: int = getattr(socket, "AF_UNIX", -1)
BOTH = EVENT_READ | EVENT_WRITE
_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
_LARGEST, _LARGEST_6 = 65_507, 65_527  # bytes: 65,535 without the headers that count (RFC 768, RFC 791, RFC 8200)


class Kernel(Protocol):
    """The part of a `Network` that its sockets use."""

    wire: Wire
    plan: Plan
    trace: list[tuple[float, Socket | None, str, object]] | None
    changed: bool
    offences: list[str]
    unsent: list[tuple[Socket, int]]

    def allocate(self, sock: Socket) -> None:
        """Give the socket the lowest free descriptor."""

    def free(self, number: int) -> None:
        """The descriptor is closed and may be reused."""

    def exhaust(self) -> None:
        """A chance for a new socket to fail: raises ``OSError``."""

    def would_block(self) -> None:
        """A call would block."""


class Socket:
    """The base of stream and datagram sockets."""

    type: int = 0
    proto = 0
    __slots__ = (
        "_bound", "asked", "error", "family", "local", "network", "number", "opaque", "remote", "timeout", "watcher",
    )  # fmt: skip

    def __init__(self, network: Kernel, family: int) -> None:
        self.network = network
        self.family = family
        self.number = -1
        """The descriptor; -1 if the socket is closed or not yet accepted."""
        self.local: Address | None = None
        self.remote: Address | None = None
        self.error = 0
        """The pending ``errno`` (``SO_ERROR``), which the next call raises; 0 if there is none."""
        self.timeout: float | None = None
        self.watcher: Callable[[], object] | None = None
        """Called when the socket may have become ready, for scripted clients, which have no selector."""
        self.asked = False
        """Whether a system call was made on it since a selector last reported it."""
        self.opaque = False
        """Whether a trace has only the number of its bytes."""
        self._bound = False

    def __str__(self) -> str:
        """The peer of a connection, or the local address, as a trace shows it."""
        address = self.local if self.remote is None else self.remote
        if isinstance(address, tuple):
            return "{}:{}".format(*address)
        return repr(address) if address else "unnamed"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, -1 when it is closed."""
        return self.number

    def setblocking(self, flag: bool) -> None:
        """As ``socket.setblocking``. Raises ``OSError`` on a closed socket."""
        self.settimeout(None if flag else 0.0)

    def settimeout(self, seconds: float | None) -> None:
        """As ``socket.settimeout``. With any timeout but 0 the socket is in blocking mode."""
        self._check_open()
        self.timeout = seconds

    def gettimeout(self) -> float | None:
        """As ``socket.gettimeout``."""
        return self.timeout

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Accepts every option. Only ``SO_LINGER`` of a stream socket has an effect."""
        self._check_open()

    def getsockopt(self, level: int, option: int, size: int = 0) -> int:
        """``SO_ERROR``, which it clears; 0 for any other option. Raises ``ENOPROTOOPT`` if ``size`` is not 0."""
        self._check_open()
        if size:
            raise failure(errno.ENOPROTOOPT)
        if (level, option) != (socket.SOL_SOCKET, socket.SO_ERROR):
            return 0
        number, self.error = self.error, 0
        return number

    def bind(self, address: Address) -> None:
        """As ``socket.bind``."""
        self._check_open()
        if self.local is not None:
            raise failure(errno.EINVAL)
        self.local = self.network.wire.bind(self, address)
        self._bound = True

    def getsockname(self) -> Address:
        """As ``socket.getsockname``."""
        self._check_open()
        if self.local is not None:
            return self.local
        return "" if self.family == UNIX else self.network.wire.whole(self.family, ("", 0))

    def detach(self) -> int:
        """As ``socket.detach``: return the descriptor, which stays open until `Network.close` closes it."""
        number, self.number = self.number, -1
        return number

    def close(self) -> None:
        """As ``socket.close``: a second call does nothing."""
        number, self.number = self.number, -1
        if number >= 0:
            self.release(number)

    def release(self, number: int) -> None:
        """The descriptor ``number`` of this socket is closed."""
        self.network.free(number)
        if self._bound and self.local is not None:
            self.network.wire.release(self, self.local)
        self.note("close", None)

    def events(self, wanted: int = BOTH) -> int:
        """The events of ``wanted`` that ``selectors.EpollSelector`` would report."""
        raise NotImplementedError

    def note(self, call: str, result: object) -> None:
        """Add a call and its result to the trace. A result of type ``int`` is an ``errno``."""
        network = self.network
        if network.trace is not None:
            network.trace.append((network.wire.clock.now, self, call, result))

    def changed(self) -> None:
        """The socket may have become ready."""
        self.network.changed = True
        if self.watcher is not None:
            self.watcher()

    def _check_open(self) -> None:
        if self.number < 0:
            raise failure(errno.EBADF)

    def _begin(self, call: str) -> None:
        """Begin a system call, which a signal may interrupt."""
        if self.number < 0:
            raise failure(errno.EBADF)
        self.asked = True
        if self.network.plan.draw(INTERRUPTED):
            raise self._failed(call, errno.EINTR)

    def _could(self, call: str, flags: int = 0) -> None:
        """The call can be done now: a chance for it to raise ``EAGAIN`` all the same."""
        if (self.timeout == 0 or int(flags) & _DONTWAIT) and self.network.plan.draw(AGAIN):
            raise self._failed(call, errno.EAGAIN)

    def _blocks(self, call: str, flags: int = 0) -> OSError:
        """The exception for a call that cannot be done now. On a blocking socket it is an offence."""
        self.network.would_block()
        if self.timeout != 0 and not int(flags) & _DONTWAIT:
            self.network.offences.append(f"{call}() blocks: {self} is not in non-blocking mode")
        return self._failed(call, errno.EAGAIN)

    def _failed(self, call: str, number: int) -> OSError:
        self.note(call, number)
        return failure(number)


class DatagramSocket(Socket):
    """A UDP or a Unix datagram socket."""

    type = socket.SOCK_DGRAM
    __slots__ = ("_held", "inbox", "received_from", "sent_to")

    def __init__(self, network: Kernel, family: int) -> None:
        super().__init__(network, family)
        self.inbox: deque[tuple[bytes, Address | None]] = deque()
        """The datagrams that have arrived and were not read, each with its sender."""
        self.received_from: set[Address | None] = set()
        """The senders of all datagrams that ``recvfrom()`` has returned."""
        self.sent_to: set[Address | None] = set()
        """The addresses of all calls of ``sendto()``."""
        self._held = 0

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """As ``socket.sendto``."""
        *rest, address = flags_and_address
        flags = rest[0] if rest else 0
        plan, wire = self.network.plan, self.network.wire
        self._begin("sendto")
        self.sent_to.add(address)
        if self.family != UNIX:
            self._prepare(len(data), address)
        self._could("sendto", flags)
        if plan.draw(FULL):
            raise self._failed("sendto", errno.ENOBUFS)
        target = wire.find(self.type, self.family, address)
        packet = bytes(data)
        if self.family == UNIX:
            self._sendto_unix(packet, target, address, flags)
        self.note("sendto", (packet, address))
        if self.family != UNIX and isinstance(target, DatagramSocket):
            self._transmit(packet, target)
        return len(packet)

    def recvfrom(self, limit: int, flags: int = 0) -> tuple[bytes, Any]:
        """As ``socket.recvfrom``."""
        if limit < 0:
            raise ValueError("negative buffersize in recvfrom")
        self._begin("recvfrom")
        if not self.inbox:
            raise self._blocks("recvfrom", flags)
        self._could("recvfrom", flags)
        packet, address = self.inbox.popleft()
        self._held -= len(packet)
        self.received_from.add(address)
        self.note("recvfrom", (packet, address))
        return packet[:limit], address

    def events(self, wanted: int = BOTH) -> int:
        return wanted if self.inbox else EVENT_WRITE & wanted

    def arrive(self, packet: bytes, sender: Address | None) -> None:
        """A datagram arrives. It is dropped if the socket is closed or has no room."""
        if self.number >= 0 and self._has_room(packet):
            self.inbox.append((packet, sender))
            self._held += len(packet)
            self.changed()

    def _has_room(self, packet: bytes) -> bool:
        return not self.inbox or self._held + len(packet) <= self.network.wire.capacity

    def _prepare(self, size: int, address: Address) -> None:
        """Bind the socket if it is not bound, and raise ``OSError`` if ``size`` bytes cannot be sent to ``address``."""
        if self.local is None:
            self.bind(("127.0.0.1" if self.family == socket.AF_INET else "::1", 0))
        if size > (_LARGEST if self.family == socket.AF_INET else _LARGEST_6):
            raise self._failed("sendto", errno.EMSGSIZE)
        if not address[1]:
            raise self._failed("sendto", errno.EINVAL)

    def _sendto_unix(self, packet: bytes, target: Bound | None, address: Address, flags: int) -> None:
        if not isinstance(target, DatagramSocket) or target.number < 0:
            raise self._failed("sendto", unreachable(target, self.type, address))
        if not target._has_room(packet):
            raise self._blocks("sendto", flags)
        target.arrive(packet, self.local)

    def _transmit(self, packet: bytes, target: DatagramSocket) -> None:
        wire = self.network.wire
        draw = wire.plan.draw
        if draw(LOST):
            return
        size = draw(TRUNCATED, len(packet) - 1) if len(packet) > 1 else 0
        if size:
            packet = packet[:size]
        for _ in range(2 if draw(REPEATED) else 1):
            delay = wire.delay() + draw(OVERTAKEN, 200) / 1000
            if delay:
                wire.clock.at(wire.clock.now + delay, target.arrive, packet, self.local)
            else:
                target.arrive(packet, self.local)


def unreachable(found: Bound | None, kind: int, address: Address) -> int:
    """The ``errno`` for a Unix address without a socket of type ``kind`` that takes data; ``found`` is bound there."""
    if not address:
        return errno.EINVAL
    if found is None and not is_abstract(address):
        return errno.ENOENT
    return errno.EPROTOTYPE if found is not None and found.number >= 0 and found.type != kind else errno.ECONNREFUSED
