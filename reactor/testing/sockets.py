"""The sockets of the simulated kernel: what all have in common, and those of datagrams.

They do what Linux's do, down to which error comes first: the tests hold the same exchanges on both
kinds against each other. What goes wrong in a call is the process's plan to say, what goes wrong on
the way the wire's.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any

from .faults import AGAIN, FULL, INTERRUPTED, LOST, OVERTAKEN, REPEATED, TRUNCATED, failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .network import Address, Network

UNIX: int = getattr(socket, "AF_UNIX", -1)
BOTH = EVENT_READ | EVENT_WRITE
_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0))
_LARGEST, _LARGEST_6 = 65_507, 65_527  # bytes: 65,535 without the headers that count (RFC 768, RFC 791, RFC 8200)


class Socket:
    """What stream and datagram sockets have in common."""

    type: int = 0
    proto = 0
    __slots__ = ("_bound", "asked", "error", "family", "local", "network", "number", "remote", "timeout", "watcher")

    def __init__(self, network: Network, family: int) -> None:
        self.network = network
        self.family = family
        self.number = -1
        """The descriptor; -1 when it is closed, or not accepted yet."""
        self.local: Address | None = None
        self.remote: Address | None = None
        self.error = 0
        """The ``errno`` that the next call raises (``SO_ERROR``)."""
        self.timeout: float | None = None
        self.watcher: Callable[[], object] | None = None
        """Called when something has changed here; for scripted clients, which have no selector."""
        self.asked = False
        """Whether it has been asked to take or give anything since a selector last reported it."""
        self._bound = False

    def __str__(self) -> str:
        """Whose it is, in a trace: the peer of a connection, or the address that it is bound to."""
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
        """As ``socket.settimeout``; what is not 0 may block."""
        self._check_open()
        self.timeout = seconds

    def gettimeout(self) -> float | None:
        """As ``socket.gettimeout``."""
        return self.timeout

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Accepted; what makes a difference here is only ``SO_LINGER`` of a stream."""
        self._check_open()

    def getsockopt(self, level: int, option: int, size: int = 0) -> int:
        """``SO_ERROR``, which it clears; 0 for any other option. One of more bytes than an ``int`` it has not."""
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
        """Let go of the descriptor, which stays open, and return it; `Network.close` closes it."""
        number, self.number = self.number, -1
        return number

    def close(self) -> None:
        """Close it. A second call does nothing."""
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
        """What ``selectors.EpollSelector`` would report of the events that are ``wanted``."""
        raise NotImplementedError

    def note(self, call: str, result: object) -> None:
        """Write down what a call has given: an ``int`` is an ``errno``."""
        network = self.network
        if network.trace is not None:
            network.trace.append((network.wire.clock.now, self, call, result))

    def changed(self) -> None:
        """Something may have become ready here."""
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
        """The call could be done now, but perhaps it is not after all."""
        if (self.timeout == 0 or int(flags) & _DONTWAIT) and self.network.plan.draw(AGAIN):
            raise self._failed(call, errno.EAGAIN)

    def _blocks(self, call: str, flags: int = 0) -> OSError:
        """What to raise where the call can't be done now."""
        self.network.refuse()
        if self.timeout != 0 and not int(flags) & _DONTWAIT:
            self.network.offences.append(f"{call}() blocks: {self} has not been made non-blocking")
        return self._failed(call, errno.EAGAIN)

    def _failed(self, call: str, number: int) -> OSError:
        self.note(call, number)
        return failure(number)


class DatagramSocket(Socket):
    """A UDP or a Unix datagram socket."""

    type = socket.SOCK_DGRAM
    __slots__ = ("_held", "heard_from", "inbox", "said_to")

    def __init__(self, network: Network, family: int) -> None:
        super().__init__(network, family)
        self.inbox: deque[tuple[bytes, Address | None]] = deque()
        """What has arrived and has not been read, each with its sender."""
        self.heard_from: set[Address | None] = set()
        """Whose datagrams ``recvfrom()`` has ever given."""
        self.said_to: set[Address | None] = set()
        """Whom ``sendto()`` has ever been told to send to."""
        self._held = 0

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """As ``socket.sendto``."""
        *rest, address = flags_and_address
        flags = rest[0] if rest else 0
        plan, wire = self.network.plan, self.network.wire
        self._begin("sendto")
        self.said_to.add(address)
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
        self.heard_from.add(address)
        self.note("recvfrom", (packet, address))
        return packet[:limit], address

    def events(self, wanted: int = BOTH) -> int:
        return wanted if self.inbox else EVENT_WRITE & wanted

    def hear(self, packet: bytes, sender: Address | None) -> None:
        """A datagram arrives; it is dropped where there is no room for it, or nobody."""
        if self.number >= 0 and self._has_room(packet):
            self.inbox.append((packet, sender))
            self._held += len(packet)
            self.changed()

    def _has_room(self, packet: bytes) -> bool:
        return not self.inbox or self._held + len(packet) <= self.network.wire.capacity

    def _prepare(self, size: int, address: Address) -> None:
        """Have an address of its own, and see that so much can be sent to that one."""
        if self.local is None:
            self.bind(("127.0.0.1" if self.family == socket.AF_INET else "::1", 0))
        if size > (_LARGEST if self.family == socket.AF_INET else _LARGEST_6):
            raise self._failed("sendto", errno.EMSGSIZE)
        if not address[1]:
            raise self._failed("sendto", errno.EINVAL)

    def _sendto_unix(self, packet: bytes, target: Socket | None, address: Address, flags: int) -> None:
        if not isinstance(target, DatagramSocket) or target.number < 0:
            raise self._failed("sendto", nobody(target, self.type, address))
        if not target._has_room(packet):
            raise self._blocks("sendto", flags)
        target.hear(packet, self.local)

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
                wire.clock.at(wire.clock.now + delay, target.hear, packet, self.local)
            else:
                target.hear(packet, self.local)


def nobody(found: Socket | None, kind: int, address: Address) -> int:
    """Why nobody is at the address of a Unix socket who takes what one of this ``kind`` sends: an ``errno``."""
    if not address:
        return errno.EINVAL
    if found is None and not is_abstract(address):
        return errno.ENOENT
    return errno.EPROTOTYPE if found is not None and found.number >= 0 and found.type != kind else errno.ECONNREFUSED


def is_abstract(address: Address) -> bool:
    """Whether it is a name of a Unix socket that is in no directory."""
    return address[:1] in ("\0", b"\0")
