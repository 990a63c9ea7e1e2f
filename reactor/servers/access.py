"""`AccessMixIn`: a server takes requests only of the networks that it allows.

It is not a name of `reactor`, because it needs ``ipaddress``, which most servers don't:
``from reactor.access import AccessMixIn``.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from .base import BaseServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class AccessMixIn(BaseServer):
    """Takes requests of the networks in ``allow`` that are not in ``deny``; before any server class, in every mode.

    Networks are written ``"192.0.2.0/24"``, ``"2001:db8::/32"``, or as a single address. An IPv4 client on an IPv6
    socket has its IPv4 address, and ``"::ffff:192.0.2.0/120"`` is a network of IPv4.
    The connection of a refused client is closed before a byte of it is read.
    Clients of Unix sockets are all let in: there the mode and the owner of the path decide.

    Raises ``ValueError`` when the server is made, for a text that is no network.

    >>> from reactor import SelectTCPServer
    >>> from handlers.services import Echo
    >>> class Inside(AccessMixIn, SelectTCPServer):
    ...     allow = ["127.0.0.0/8", "::1"]
    ...     deny = ["127.0.0.66"]
    >>> with Inside(("127.0.0.1", 0), Echo) as server:
    ...     [server.may_come(host) for host in ("127.0.0.1", "127.0.0.66", "192.0.2.1", "::ffff:127.0.0.9")]
    [True, False, False, True]
    """

    allow: Iterable[str] = ("0.0.0.0/0", "::/0")
    """The networks whose requests are taken; by default all."""

    deny: Iterable[str] = ()
    """Networks inside ``allow`` whose requests are refused all the same."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        networks = [_network(network) for network in self.allow], [_network(network) for network in self.deny]
        super().__init__(*arguments, **keywords)
        self._srv.networks = networks

    def may_come(self, host: str) -> bool:
        """Whether the address ``host`` is let in. Raises ``ValueError`` for what is no address."""
        address = ip_address(host.partition("%")[0])  # without the zone of a link-local one
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped

        def in_any(networks: list[IPv4Network | IPv6Network]) -> bool:
            return any(address in network for network in networks)

        allow, deny = self._srv.networks
        return in_any(allow) and not in_any(deny)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the client's network is allowed. May be extended."""
        if isinstance(client_address, tuple) and not self.may_come(client_address[0]):
            return False
        return super().verify_request(request, client_address)


def _network(text: str) -> IPv4Network | IPv6Network:
    """The network that is written so; one of addresses that stand for those of IPv4 is theirs (RFC 4291, 2.5.5.2)."""
    network = ip_network(text)
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None and network.prefixlen >= 96:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - 96))
    return network
