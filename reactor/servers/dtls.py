"""`DTLSMixIn`: DTLS in front of every handler of a datagram server, in every mode.

It is not a name of `reactor`, because it needs pyOpenSSL: ``from reactor.dtls import DTLSMixIn``. The filter is in
`rows.filters.dtls`; `associations` takes the packets and sorts them by peer.
"""

from __future__ import annotations

from functools import partial
from socket import SOCK_DGRAM

from ..rows.filters.dtls import DTLS, MTU, SSL, DTLSFailed, prepare
from .associations import Associations
from .intake import register_intake

__all__ = ["DTLS", "DTLSFailed", "DTLSMixIn"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from .udp import UDPServer

    _Base = UDPServer
else:
    _Base = object


class DTLSMixIn(_Base):
    """Puts DTLS (RFC 6347) in front of the handler and of ``filters``. A base class before any datagram server class.

    ``context`` is an ``OpenSSL.SSL.Context``, made with ``DTLS_SERVER_METHOD`` and not used before, with a certificate
    whose key is ECDSA or RSA. It is an argument or an attribute; a context that is assigned later is for handshakes
    that begin after that. Raises `TypeError` without a context, and ``ValueError`` for one that can't serve DTLS.

    The association with a peer is a row of the table, and counts as one request; it outlives the requests in it, which
    are rows too. ``filters`` are made once for each association. They get plain packets, and so does
    `DatagramHandler.key`. Until a peer has returned a cookie, nothing about it is stored, and it is sent no more bytes
    than it has sent. Other packets of unknown peers are dropped and counted as ``"no association"`` in
    `RequestTable.refused`.

    In fork mode and thread mode, a child or a thread drives one association with all its requests; in the plain mode
    other peers wait until the association has ended.

    >>> from OpenSSL import SSL
    >>> from reactor import SelectUDPServer
    >>> from reactor.dtls import DTLSMixIn
    >>> from handlers.services import EchoDatagram
    >>> class SecureServer(DTLSMixIn, SelectUDPServer):
    ...     pass
    >>> context = SSL.Context(SSL.DTLS_SERVER_METHOD)  # and context.use_certificate_chain_file("cert.pem"), …
    >>> SecureServer(("127.0.0.1", 0), EchoDatagram, context=context)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: the context has no certificate with a key that DTLS can use: load one with ...
    """

    context: SSL.Context
    handshake_timeout = 30.0
    """Seconds that a handshake may take."""
    association_timeout: float = 300.0
    """Seconds after which an association ends if its peer has sent no packet and it has no open request."""
    mtu = MTU
    """Bytes of the largest datagram of a handshake."""

    def __init__(self, *arguments: Any, context: SSL.Context | None = None, **options: Any) -> None:
        if context is not None:
            self.context = context
        name = type(self).__name__
        if self.socket_type != SOCK_DGRAM:
            raise TypeError(f"{name} has stream sockets, and DTLS is for datagrams: take reactor.tls.TLSMixIn")
        if not isinstance(getattr(self, "context", None), SSL.Context):
            raise TypeError(
                f"{name} has no certificate: give it context=, an OpenSSL.SSL.Context(DTLS_SERVER_METHOD) that has "
                f"loaded one with use_certificate_chain_file() and use_privatekey_file()"
            )
        prepare(self.context)
        super().__init__(*arguments, **options)

    def connection_filters(self) -> Sequence[Any]:
        """DTLS, then the filters of the server class behind this mix-in."""
        make = partial(
            DTLS, context=self.context, mtu=self.mtu, timeout=self.handshake_timeout,
            clock=lambda: self.reactor.clock.monotonic(),
        )  # fmt: skip
        return (make, *super().connection_filters())


register_intake(DTLSMixIn, Associations)
