"""`TLSMixIn`: TLS in front of every handler of a stream server, in every mode.

It is not a name of `reactor`, because it needs ``ssl``, which most servers don't: ``from reactor.tls import TLSMixIn``.
"""

from __future__ import annotations

import ssl
from functools import partial

from ..rows.filters.bindings import load_certificate
from ..rows.filters.tls import TLS, TLSFailed, Truncated

__all__ = ["TLS", "TLSFailed", "TLSMixIn", "Truncated", "load_certificate"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..handlers.waits import MakeFilter
    from .tcp import TCPServer

    _Base = TCPServer
else:
    _Base = object


class TLSMixIn(_Base):
    """TLS on every connection, in front of the handler and of the other ``filters``; before any stream server class.

    ``context`` is the ``ssl.SSLContext``, an argument or an attribute. A context that is assigned later is used by the
    handshakes that begin after that, so certificates can be renewed without a restart. Raises `TypeError` without a
    context.

    The handler sees plain text. `Handler.secured` is the version of TLS, `Handler.principal` the subject of the peer's
    certificate.

    >>> import ssl
    >>> from reactor import SelectTCPServer
    >>> from reactor.tls import TLSMixIn
    >>> from handlers.services import Echo
    >>> class SecureServer(TLSMixIn, SelectTCPServer):
    ...     pass
    >>> context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # and context.load_cert_chain("cert.pem", "key.pem")
    >>> with SecureServer(("127.0.0.1", 0), Echo, context=context) as server:
    ...     len(server.connection_filters())
    1
    """

    context: ssl.SSLContext
    handshake_timeout = 30.0
    """Seconds that a handshake may take."""

    def __init__(self, *arguments: Any, context: ssl.SSLContext | None = None, **options: Any) -> None:
        if context is not None:
            self.context = context
        if not isinstance(getattr(self, "context", None), ssl.SSLContext):
            raise TypeError(
                f"{type(self).__name__} has no certificate: give it context=, an ssl.SSLContext(PROTOCOL_TLS_SERVER) "
                f"that has loaded one with load_cert_chain()"
            )
        super().__init__(*arguments, **options)

    def connection_filters(self) -> Sequence[MakeFilter]:
        """TLS, then the filters of the server class behind this mix-in."""
        return (partial(TLS, context=self.context, timeout=self.handshake_timeout), *super().connection_filters())
