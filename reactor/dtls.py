"""DTLS under its public name; it is in `reactor.servers.dtls` and `reactor.rows.filters.dtls`."""

from .servers.dtls import DTLS, DTLSFailed, DTLSMixIn

__all__ = ["DTLS", "DTLSFailed", "DTLSMixIn"]
