"""Where the command serves: the URLs of ``--bind``."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

DEFAULT_URL = "tcp://127.0.0.1:7007"
SCHEMES = {
    "tcp": "TCPServer", "tcp6": "TCPServer", "tls": "TCPServer", "tls6": "TCPServer",
    "udp": "UDPServer", "udp6": "UDPServer", "unix": "UnixStreamServer", "unix+dgram": "UnixDatagramServer",
}  # fmt: skip
INHERITED = ("systemd", "systemd+tls")
"""The schemes of sockets that were passed (see `activation`)."""

BEGINNINGS = ", ".join([*(f"{scheme}://" for scheme in SCHEMES), *(f"{scheme}:" for scheme in INHERITED)])


class Place(NamedTuple):
    """Where to serve: a URL, and the address that ``bind()`` takes for it.

    For an inherited socket the address is the socket; before it is taken, the name by which it is asked for.
    """

    url: str
    scheme: str
    address: Any
    packets: bool  # whether it needs a datagram socket


def parse_url(url: str) -> Place:
    """The place that ``url`` names. Raises ``argparse.ArgumentTypeError`` with what is wrong."""
    scheme, _, name = url.partition(":")
    if scheme in INHERITED and not name.startswith("/"):
        return Place(url, scheme, name, packets=False)
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise argparse.ArgumentTypeError(f"{url!r}: a URL begins with {BEGINNINGS}")
    parse = unix_address if scheme.startswith("unix") else host_and_port
    try:
        return Place(url, scheme, parse(scheme, rest), scheme in ("udp", "udp6", "unix+dgram"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{url!r}: {error}") from None


def unix_address(scheme: str, rest: str) -> str:
    """The address of a Unix socket. Raises ``ValueError``."""
    if rest.startswith("/") and not rest.endswith("/"):
        if "\0" in rest:
            raise ValueError("a path has no NUL; write the path of the socket")
        return rest
    if rest.startswith("@") and rest != "@" and sys.platform == "linux":
        return "\0" + rest[1:]
    raise ValueError(f"write {scheme}:///absolute/path, or on Linux {scheme}://@name for an abstract name")


def host_and_port(scheme: str, rest: str) -> tuple[str, int] | tuple[str, int, int, int]:
    """The address of a TCP or UDP socket, of a link-local one with its interface. Raises ``ValueError``."""
    host, _, port = rest.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"write {scheme}://HOST:PORT, the port from 0 to 65535; 127.0.0.1 is this machine alone")
    if ":" in host and (bare == host or not scheme.endswith("6")):
        raise ValueError(f"for an IPv6 address write {scheme.rstrip('6')}6://[::1]:{port}")
    if scheme.endswith("6") and is_ipv4(bare):
        raise ValueError(f"for an IPv4 address write {scheme.rstrip('6')}://{bare}:{port}")
    return in_its_zone(bare, int(port)) if ":" in bare else (bare, int(port))


def is_ipv4(host: str) -> bool:
    """Whether it is an IPv4 address, and no name."""
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True


def in_its_zone(host: str, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """The address of an IPv6 host, which may have a zone (RFC 4007, section 11). Raises ``ValueError``.

    The zone has a place of its own in the address: Python drops it from the host.
    """
    import ipaddress  # here, because most addresses need it not

    bare, percent, zone = host.partition("%")
    if not percent:
        if ipaddress.IPv6Address(bare).is_link_local:
            raise ValueError(f"a link-local address needs its interface: [{host}%eth0]")
        return host, port
    try:
        return bare, port, 0, socket.if_nametoindex(zone)
    except OSError:
        raise ValueError(f"this host has no interface {zone!r}") from None


def on_sockets(places: Sequence[Place], sockets: Iterable[socket.socket | None]) -> list[Place]:
    """The places with these sockets in place of their addresses, without those for which there is none."""
    return [place._replace(address=sock) for place, sock in zip(places, sockets, strict=True) if sock is not None]


def url_of(scheme: str, address: Any) -> str:
    """The URL of a socket that is bound to ``address``, as ``getsockname()`` returns it."""
    if not isinstance(address, tuple):
        path = os.fsdecode(address)
        return f"{scheme}://{path.replace(chr(0), '@', 1)}"
    host, port = address[:2]
    if address[3:] and address[3]:
        host = f"{host}%{socket.if_indextoname(address[3])}"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
