"""The part of the network that all processes of a world share: the addresses in use, and the delay of data."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from .faults import DELAYED, REFUSED, Plan, failure

if TYPE_CHECKING:
    from typing import TypeAlias

    from .clock import Clock

    Address: TypeAlias = tuple[Any, ...] | str | bytes

FIRST_PORT = 49_152
"""The first ephemeral port."""


class Bound(Protocol):
    """The part of a bound socket that a wire uses."""

    type: int
    family: int
    number: int


class Wire:
    """The addresses in use, and how data travels between them."""

    def __init__(self, clock: Clock, plan: Plan, latency: float = 0.0, capacity: int = 65_536) -> None:
        self.clock = clock
        self.plan = plan
        """The faults of data on its way."""
        self.latency = latency
        """The least number of seconds that data takes to arrive."""
        self.capacity = capacity
        """Bytes that may be on their way to a socket or unread in it: the peer's send buffer and its receive buffer."""
        self.names: dict[str, str] = {"localhost": "127.0.0.1"}
        """The host names that resolve, and their addresses."""
        self._bound: dict[tuple[Any, ...], Bound] = {}
        self._next_port = FIRST_PORT

    def bind(self, sock: Bound, address: Address) -> Address:
        """Bind ``sock`` and return its address. Port 0 and the empty Unix name get a free one.

        Raises ``OSError`` (``EADDRINUSE``) if another socket has the address.
        """
        if isinstance(address, tuple):
            address = self.whole(sock.family, address)
            address = (address[0], address[1] or self._port(), *address[2:])
        else:
            address = _name(address or b"\0%05x" % self._port())
        key = _key(sock.type, address)
        if key in self._bound or (isinstance(address, tuple) and self._overlaps(sock, *address[:2])):
            raise failure(errno.EADDRINUSE)
        self._bound[key] = sock
        return address

    def whole(self, family: int, address: Any) -> tuple[Any, ...]:
        """An IP address as ``getsockname()`` returns it: the host as a number, and four parts for IPv6."""
        host, port, *rest = address
        host = self.names.get(host, host) or _any_host(family)
        return (host, port, *(rest or (0, 0))) if family == socket.AF_INET6 else (host, port)

    def _overlaps(self, sock: Bound, host: str, port: int) -> bool:
        """Whether another socket has the port on the wildcard address, or, if ``host`` is that, on any address."""
        every = _any_host(sock.family)
        if host != every:
            return (sock.type, every, port) in self._bound
        others = (other for key, other in self._bound.items() if (key[0], key[-1]) == (sock.type, port))
        return any(other.family == sock.family for other in others)

    def release(self, sock: Bound, address: Address) -> None:
        """The socket is closed. The path of a Unix socket stays bound, and connections to it are refused."""
        if isinstance(address, tuple) or is_abstract(address):
            del self._bound[_key(sock.type, address)]

    def find(self, kind: int, family: int, address: Address) -> Bound | None:
        """The socket that is bound to the address, or to its port on the wildcard address, or ``None``."""
        if not isinstance(address, tuple):
            return self._bound.get(_key(kind, _name(address)))
        host, port = self.names.get(address[0], address[0]), address[1]
        return self._bound.get((kind, host, port)) or self._bound.get((kind, _any_host(family), port))

    def delay(self) -> float:
        """Seconds that data which is sent now takes to arrive."""
        return self.latency + self.plan.draw(DELAYED, 200) / 1000

    def refuses(self) -> bool:
        """Whether a fault refuses a connection although there is a listener."""
        return self.plan.draw(REFUSED) > 0

    def _port(self) -> int:
        self._next_port += 1
        return self._next_port - 1


def _key(kind: int, address: Address) -> tuple[Any, ...]:
    """The key under which an address can be bound only once. Both types of Unix socket share the paths."""
    if isinstance(address, tuple):
        return (kind, *address[:2])
    return (kind, address) if is_abstract(address) else (address,)


def _name(address: str | bytes) -> str | bytes:
    """The name of a Unix socket as ``getsockname()`` returns it: bytes if it is abstract (unix(7))."""
    name = os.fsencode(address)
    return name if is_abstract(name) else os.fsdecode(name)


def _any_host(family: int) -> str:
    return "0.0.0.0" if family == socket.AF_INET else "::"


def is_abstract(address: Address) -> bool:
    """Whether it is an abstract name of a Unix socket, which is not a path (unix(7))."""
    return address[:1] in ("\0", b"\0")
