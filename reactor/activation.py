"""Socket activation under its public name; it is in `reactor.servers.activation`."""

from .servers.activation import ActivationError, InheritedMixIn, inherited_sockets

__all__ = ["ActivationError", "InheritedMixIn", "inherited_sockets"]
