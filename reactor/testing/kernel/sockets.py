"""The base of all simulated sockets.

They behave like Linux's, down to which error comes first: tests run the same exchanges on simulated and on real sockets
and compare them. The process's plan injects the faults of a call, the wire's plan those of data on its way.
"""

from __future__ import annotations

import errno
import socket
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any, Protocol

from .faults import AGAIN, INTERRUPTED, failure
from .wire import is_abstract

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from .faults import Plan
    from .wire import Address, Bound, Wire

UNIX: int = getattr(socket, "AF_UNIX", -1)
BOTH = EVENT_READ | EVENT_WRITE
_DONTWAIT = int(getattr(socket, "MSG_DONTWAIT", 0))


class Kernel(Protocol):
    """The part of a `Network` that its sockets use."""

    wire: Wire
    plan: Plan
    trace: list[tuple[float, Socket | None, str, object]] | None
    changed: bool
    offences: list[str]
    unsent: list[tuple[Socket, int]]

    @property
    def site(self) -> str:
        """The name of the host that the process runs on; empty: on none of them."""

    def own_address(self, family: int, remote: Any) -> str:
        """The address of this host from which packets to ``remote`` are sent."""

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

    @property
    def site(self) -> str:
        """The name of its host; empty: on none of them."""
        return self.network.site

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

    def bind_for(self, remote: Address) -> None:
        """Bind the socket, unless it is bound, to the address from which packets to ``remote`` are sent."""
        if self.local is None:
            self.bind((self.network.own_address(self.family, remote), 0))

    def vanish(self) -> None:
        """Its host has crashed: the kernel forgets the socket, and its peer learns nothing."""
        self.number = -1
        self.watcher = None
        if self._bound and self.local is not None:
            self.network.wire.release(self, self.local)

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


def unreachable(found: Bound | None, kind: int, address: Address) -> int:
    """The ``errno`` for a Unix address without a socket of type ``kind`` that takes data; ``found`` is bound there."""
    if not address:
        return errno.EINVAL
    if found is None and not is_abstract(address):
        return errno.ENOENT
    return errno.EPROTOTYPE if found is not None and found.number >= 0 and found.type != kind else errno.ECONNREFUSED
