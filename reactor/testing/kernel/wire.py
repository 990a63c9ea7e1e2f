"""The part of the network that all processes of a world share: the addresses in use, and the delay of data.

Each host has addresses of its own, its own ports on ``localhost`` and the wildcard address, and its own Unix paths.
Processes that are on no host share what is left.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from .faults import DELAYED, REFUSED, Plan, failure
from .links import Links

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from .clock import Clock

    Address: TypeAlias = tuple[Any, ...] | str | bytes

FIRST_PORT = 49_152
"""The first ephemeral port."""

NAME_SERVER = "10.0.0.53"
"""The address of the name server."""

ANY_HOST: Mapping[int, str] = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}
"""The wildcard addresses, by family."""

LOOPBACK: Mapping[int, str] = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
"""The addresses with which every host reaches itself."""


class Bound(Protocol):
    """The part of a bound socket that a wire uses."""

    type: int
    family: int
    number: int

    @property
    def site(self) -> str:
        """The name of its host; empty: on none of them."""


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
        """The host names in ``/etc/hosts``, and their addresses."""
        self.zone: dict[str, str | Sequence[str] | None] = {}
        """What the name server knows: addresses by host name; ``None`` if it does not answer questions for the name."""
        self.links = Links()
        """The links that are cut, slow or lossy, and the hosts that are down."""
        self.sites: dict[str, str] = {}
        """The addresses of hosts, and the name of the host that has each."""
        self._bound: dict[tuple[Any, ...], Bound] = {}
        self._next_port = FIRST_PORT

    def bind(self, sock: Bound, address: Address) -> Address:
        """Bind ``sock`` and return its address. Port 0 and the empty Unix name get a free one.

        Raises ``OSError``: ``EADDRINUSE`` if another socket has the address, ``EADDRNOTAVAIL`` if another host has it.
        """
        if isinstance(address, tuple):
            address = self.whole(sock.family, address)
            if address[0] != ANY_HOST[sock.family] and self._site(sock, address[0]) != sock.site:
                raise failure(errno.EADDRNOTAVAIL)
            address = (address[0], address[1] or self._port(), *address[2:])
        else:
            address = _name(address or b"\0%05x" % self._port())
        key = _key(sock.site, sock.type, address)
        if key in self._bound or (isinstance(address, tuple) and self._overlaps(sock, *address[:2])):
            raise failure(errno.EADDRINUSE)
        self._bound[key] = sock
        return address

    def whole(self, family: int, address: Any) -> tuple[Any, ...]:
        """An IP address as ``getsockname()`` returns it: the host as a number, and four parts for IPv6."""
        host, port, *rest = address
        host = self.names.get(host, host) or ANY_HOST[family]
        return (host, port, *(rest or (0, 0))) if family == socket.AF_INET6 else (host, port)

    def _overlaps(self, sock: Bound, host: str, port: int) -> bool:
        """Whether another socket has the port on the wildcard address, or, if ``host`` is that, on any address."""
        every, site = ANY_HOST[sock.family], sock.site
        if host != every:
            return (site, sock.type, every, port) in self._bound
        others = (other for key, other in self._bound.items() if (*key[:2], key[-1]) == (site, sock.type, port))
        return any(other.family == sock.family for other in others)

    def release(self, sock: Bound, address: Address) -> None:
        """The socket is closed. The path of a Unix socket stays bound, and connections to it are refused."""
        if isinstance(address, tuple) or is_abstract(address):
            del self._bound[_key(sock.site, sock.type, address)]

    def find(self, sock: Bound, address: Address) -> Bound | None:
        """The socket that gets what ``sock`` sends to the address: bound to it, or to its port on the wildcard address.

        ``None`` if there is none.
        """
        if not isinstance(address, tuple):
            return self._bound.get(_key(sock.site, sock.type, _name(address)))
        host: Any = self.names.get(address[0], address[0])
        port = address[1]
        place = (self._site(sock, host), sock.type)
        return self._bound.get((*place, host, port)) or self._bound.get((*place, ANY_HOST[sock.family], port))

    def _site(self, sock: Bound, host: str) -> str:
        """The name of the host that has the IP address ``host``, as ``sock`` sees it."""
        return sock.site if host in LOOPBACK.values() else self.sites.get(host, "")

    def delay(self, source: Address | None, target: Address | None) -> float:
        """Seconds that data which is sent now from ``source`` takes to arrive at ``target``."""
        return self.latency + self.links.delay(source, target) + self.plan.draw(DELAYED, 200) / 1000

    def refuses(self) -> bool:
        """Whether a fault refuses a connection although there is a listener."""
        return self.plan.draw(REFUSED) > 0

    def _port(self) -> int:
        self._next_port += 1
        return self._next_port - 1


def _key(site: str, kind: int, address: Address) -> tuple[Any, ...]:
    """The key under which an address can be bound only once on a host. Both types of Unix socket share the paths."""
    if isinstance(address, tuple):
        return (site, kind, *address[:2])
    return (site, kind, address) if is_abstract(address) else (site, address)


def _name(address: str | bytes) -> str | bytes:
    """The name of a Unix socket as ``getsockname()`` returns it: bytes if it is abstract (unix(7))."""
    name = os.fsencode(address)
    return name if is_abstract(name) else os.fsdecode(name)


def is_abstract(address: Address) -> bool:
    """Whether it is an abstract name of a Unix socket, which is not a path (unix(7))."""
    return address[:1] in ("\0", b"\0")
