"""Who may come: a mix-in that lets in, or keeps out, the networks that it names.

Import it where it is wanted, ``from reactor.access import AccessMixIn``: it needs ``ipaddress``, which most
servers don't.
"""

from __future__ import annotations

from ..rows.networks import Networks
from .base import BaseServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class AccessMixIn(BaseServer):
    """Takes requests of the networks in ``allow``, less those in ``deny``; before any server class, in every mode.

    Networks are written ``"192.0.2.0/24"``, ``"2001:db8::/32"``, or as a single address. A client of IPv4
    on an IPv6 socket is one of IPv4, and so is a network that is written ``"::ffff:192.0.2.0/120"``.
    A refused client's connection is closed before a byte of it is read.
    Unix sockets have no networks: there the path's mode and owner decide, and everybody is let in here.

    Raises ``ValueError`` when the server is made, for what is no network.

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
    """The networks that may come; by default all."""

    deny: Iterable[str] = ()
    """Those of them that may not."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        networks = Networks(self.allow), Networks(self.deny)
        super().__init__(*arguments, **keywords)
        self._srv.networks = networks

    def may_come(self, host: str) -> bool:
        """Whether the address ``host`` is let in. Raises ``ValueError`` for what is no address."""
        allow, deny = self._srv.networks
        return host in allow and host not in deny

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether the client's network may come. May be extended."""
        if isinstance(client_address, tuple) and not self.may_come(client_address[0]):
            return False
        return super().verify_request(request, client_address)
