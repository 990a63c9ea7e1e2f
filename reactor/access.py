"""`AccessMixIn` under its public name; it is in `reactor.servers.access`."""

from .servers.access import AccessMixIn

__all__ = ["AccessMixIn"]
