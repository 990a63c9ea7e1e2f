"""Names of hosts under their public name; they are in `reactor.rows.names`."""

from .rows.names import hosts, name_servers, resolve

__all__ = ["hosts", "name_servers", "resolve"]
