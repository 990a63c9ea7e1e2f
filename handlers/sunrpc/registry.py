"""`Registry`: the addresses of programs, for `rpcbind`; and universal addresses (RFC 5665, section 5.2.3)."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from ipaddress import ip_address
from math import inf
from typing import NamedTuple

TCP, UDP = 6, 17
"""The protocols of version 2."""
NETIDS = {TCP: "tcp", UDP: "udp"}
"""Their netids."""
LONGEST_PATH = 108
"""Bytes of the path of a Unix socket (unix(7)). No other address is longer, with the zone of a link-local one."""


class Transport(NamedTuple):
    """What the netid of a transport stands for (netconfig(5)): ``semantics`` is 1 for datagrams and 3 for streams."""

    semantics: int
    family: str
    protocol: str
    ip: int
    """The version of IP, 0 for Unix sockets."""


TRANSPORTS = {
    "tcp": Transport(3, "inet", "tcp", 4),
    "udp": Transport(1, "inet", "udp", 4),
    "tcp6": Transport(3, "inet6", "tcp", 6),
    "udp6": Transport(1, "inet6", "udp", 6),
    "local": Transport(3, "loopback", "-", 0),
}
"""The transports that a program may have, by their netids."""


class Registration(NamedTuple):
    """A version of a program, and its universal address."""

    program: int
    version: int
    netid: str
    address: str
    owner: str = "unknown"


def join_address(host: str, port: int) -> str:
    """The universal address of a host and a port.

    >>> join_address("127.0.0.1", 2049), join_address("::1", 111)
    ('127.0.0.1.8.1', '::1.0.111')
    """
    return f"{host}.{port >> 8}.{port & 255}"


def split_address(netid: str, address: str) -> tuple[str, int]:
    """The host and the port of a universal address; of a Unix socket the path and -1. Raises `ValueError`.

    >>> split_address("tcp", "127.0.0.1.8.1"), split_address("udp6", "::1.0.111")
    (('127.0.0.1', 2049), ('::1', 111))
    """
    transport = TRANSPORTS.get(netid)
    if transport is None:
        raise ValueError(f"the netid {netid!r} is none of {', '.join(TRANSPORTS)}")
    if not transport.ip:
        if not address.startswith("/") or len(address.encode(errors="surrogateescape")) >= LONGEST_PATH:
            raise ValueError(f"{address!r} is no path of a Unix socket")
        return address, -1
    host, *octets = address.rsplit(".", 2)
    if not (
        len(address) < LONGEST_PATH
        and len(octets) == 2
        and all(text.isascii() and text.isdigit() and len(text) < 4 for text in octets)
    ):
        raise ValueError(f"{address!r} is no universal address")
    high, low = map(int, octets)
    if max(high, low) > 255 or ip_address(host).version != transport.ip:
        raise ValueError(f"{address!r} is no universal address of {netid}")
    return host, high << 8 | low


def merged(registration: Registration, *reached: str) -> str:
    """The address of a program for a caller: for a wildcard address, the first of ``reached`` that can stand there.

    Those are addresses at which the caller may have reached this host, as universal addresses or without a port.

    >>> merged(Registration(100_003, 3, "tcp", "0.0.0.0.8.1"), "nonsense", "192.0.2.7.0.111")
    '192.0.2.7.8.1'
    """
    netid, address = registration.netid, registration.address
    host, port = split_address(netid, address)
    if not TRANSPORTS[netid].ip or not ip_address(host).is_unspecified:
        return address
    for other in reached:
        for text in (other, join_address(other, 0)):
            try:
                found, _ = split_address(netid, text)
            except ValueError:
                continue
            if not ip_address(found).is_unspecified:
                return join_address(found, port)
    return address


class Registry:
    """Registrations, in the order in which they were made. Threads may use it at the same time."""

    def __init__(self, *registrations: Registration) -> None:
        self._made = {each[:3]: each for each in registrations}

    def __iter__(self) -> Iterator[Registration]:
        return iter(list(self._made.values()))

    def __len__(self) -> int:
        return len(self._made)

    def set(self, registration: Registration, most: float = inf) -> bool:
        """Add the registration. ``False``: it has another address already, or there are as many as there may be."""
        key = registration[:3]
        if key not in self._made and len(self._made) >= most:
            return False
        return self._made.setdefault(key, registration).address == registration.address

    def unset(self, program: int, version: int, netid: str = "") -> bool:
        """Remove the registration of a version for a netid, or for all. ``False``: there is none."""
        found = [each[:3] for each in self if each[:2] == (program, version) and netid in ("", each.netid)]
        for key in found:
            self._made.pop(key, None)
        return bool(found)

    def get(self, program: int, version: int, netid: str) -> Registration | None:
        """The registration of exactly this version."""
        return self._made.get((program, version, netid))

    def find(self, program: int, version: int, netid: str) -> Registration | None:
        """The registration of this version, or else of another one, as rpcbind(8) does it.

        The program itself tells the caller then which versions it has.
        """
        others = (each for each in self if (each.program, each.netid) == (program, netid))
        return self.get(program, version, netid) or next(others, None)


class Ports(MutableMapping[tuple[int, int, int], int]):
    """What version 2 knows of a registry: the port of each program, version and protocol."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getitem__(self, key: tuple[int, int, int]) -> int:
        program, version, protocol = key
        found = self._registry.get(program, version, NETIDS.get(protocol, ""))
        if found is None:
            raise KeyError(key)
        return split_address(found.netid, found.address)[1]

    def __setitem__(self, key: tuple[int, int, int], port: int) -> None:
        program, version, protocol = key
        self._registry.unset(program, version, NETIDS[protocol])
        self._registry.set(Registration(program, version, NETIDS[protocol], join_address("0.0.0.0", port)))

    def __delitem__(self, key: tuple[int, int, int]) -> None:
        program, version, protocol = key
        if not self._registry.unset(program, version, NETIDS[protocol]):
            raise KeyError(key)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        protocols = {netid: protocol for protocol, netid in NETIDS.items()}
        found = (each for each in self._registry if each.netid in protocols)
        return iter([(each.program, each.version, protocols[each.netid]) for each in found])

    def __len__(self) -> int:
        return len(list(iter(self)))
