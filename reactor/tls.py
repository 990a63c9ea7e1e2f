"""TLS under its public name; it is in `reactor.servers.tls` and `reactor.rows.filters.tls`."""

from .servers.tls import TLS, TLSFailed, TLSMixIn, Truncated, load_certificate

__all__ = ["TLS", "TLSFailed", "TLSMixIn", "Truncated", "load_certificate"]
