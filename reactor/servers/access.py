"""`AccessMixIn`: a server takes requests only of the networks that it allows.

It is not a name of `reactor`, because it needs ``ipaddress``, which most servers don't:
``from reactor.access import AccessMixIn``.
"""

from __future__ import annotations

from ..rows.networks import Networks
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
        networks = Networks(self.allow), Networks(self.deny)
        super().__init__(*arguments, **keywords)
        self._srv.networks = networks

    def may_come(self, host: str) -> bool:
        """Whether the address ``host`` is let in. Raises ``ValueError`` for what is no address."""
        allow, deny = self._srv.networks
        return host in allow and host not in deny

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the client's network is allowed. May be extended."""
        if isinstance(client_address, tuple) and not self.may_come(client_address[0]):
            return False
        return super().verify_request(request, client_address)
