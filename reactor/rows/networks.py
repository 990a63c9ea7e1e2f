"""Networks of IP addresses, as a user names them: ``"192.0.2.0/24"``, ``"2001:db8::/32"`` or a single address."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


class Networks:
    """A set of networks. Raises ``ValueError`` for a text that is none.

    An IPv4 address on an IPv6 socket is one of IPv4, and so is a network of such (RFC 4291, section 2.5.5.2).

    >>> "::ffff:192.0.2.7" in Networks(["192.0.2.0/24"]), "192.0.2.7" in Networks(["::/0"])
    (True, False)
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [_network(text) for text in networks]

    def __contains__(self, host: str) -> bool:
        """Whether one of them has the address ``host``. Raises ``ValueError`` for what is no address."""
        address = ip_address(host.partition("%")[0])  # without the zone of a link-local one
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)


def _network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text)
    first = network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None and network.prefixlen >= 96:
        return IPv4Network((first.ipv4_mapped, network.prefixlen - 96))
    return network
