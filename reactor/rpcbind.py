"""Registration with rpcbind(8) under its public name; it is in `reactor.servers.rpcbind`."""

from .servers.rpcbind import RegistrationError, registered

__all__ = ["RegistrationError", "registered"]
