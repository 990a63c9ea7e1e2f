"""`Registrar`: registers programs with a running rpcbind(8), in the highest of versions 4, 3 and 2 that it has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .client import StreamClient
from .message import RPCError
from .program import Version
from .registry import NETIDS, Registration, split_address
from .rpcbind import RPCB, RPCB3, RPCB4, Mapping, Portmapper2

PROTOCOLS = {netid: protocol for protocol, netid in NETIDS.items()}
"""The protocols of version 2 by their netids."""


class RegistrationError(Exception):
    """A program can't be registered. The text says why."""


class Registrar:
    """Asks an rpcbind over a connected stream socket, which the caller makes and closes.

    Its methods raise what `StreamClient` does, and `RegistrationError`.
    """

    def __init__(self, sock: Any) -> None:
        kinds: tuple[type[Version], ...] = (RPCB4, RPCB3, Portmapper2)
        self._clients = [StreamClient(kind, sock) for kind in kinds]

    @property
    def version(self) -> int:
        """The version in which it asks: 4, until the rpcbind says that it has not got that."""
        return self._clients[0].version.version

    def register(self, wanted: Registration) -> None:
        """Register the address, in the place of another one, which a server that was killed may have left."""
        if self._change("SET", wanted) or self._has(wanted):
            return
        self._remove(wanted)
        if not self._change("SET", wanted):
            raise RegistrationError(
                f"rpcbind refuses version {wanted.version} of program {wanted.program} for {wanted.netid}: the server "
                "of another user is registered, or only root may register (rpcbind -i lets all local users)"
            )

    def unregister(self, made: Registration) -> None:
        """Remove the registration, unless it has another address by now, which is that of another server."""
        if self._has(made):
            self._remove(made)

    def _remove(self, registration: Registration) -> None:
        """Call UNSET; in version 2 it removes the other protocol too, which is registered again."""
        others = []
        if self.version == 2:
            gone = as_mapping(registration)
            same = (each.mapping for each in linked(self._ask("DUMP")) if each.mapping.program == gone.program)
            others = [each for each in same if each.version == gone.version and each.protocol != gone.protocol]
        self._change("UNSET", registration)
        for other in others:
            self._clients[0].call("PMAPPROC_SET", other)

    def _change(self, procedure: str, registration: Registration) -> bool:
        return bool(self._ask(procedure, registration))

    def _ask(self, procedure: str, *about: Registration) -> Any:
        """Call the procedure of the highest version that there is."""
        client = self._clients[0]
        try:
            if self.version == 2:
                return client.call(f"PMAPPROC_{procedure}", *map(as_mapping, about))
            return client.call(f"RPCBPROC_{procedure}", *(RPCB(*each) for each in about))
        except RPCError as error:
            if error.status != "PROG_MISMATCH" or self.version == 2:
                raise
        del self._clients[0]
        return self._ask(procedure, *about)

    def _has(self, registration: Registration) -> bool:
        """Whether exactly this is registered; in version 2, whether the port is."""
        listed = self._ask("DUMP")
        if self.version == 2:
            return as_mapping(registration) in (each.mapping for each in linked(listed))
        registered = (
            (each.rpcb.program, each.rpcb.version, each.rpcb.netid, each.rpcb.address) for each in linked(listed)
        )
        return registration[:4] in registered


def linked(listed: Any) -> Iterator[Any]:
    """The items of a linked list."""
    while listed is not None:
        yield listed
        listed = listed.following


def as_mapping(registration: Registration) -> Mapping:
    """The registration for version 2. Raises `RegistrationError` for a transport that this has not got."""
    protocol = PROTOCOLS.get(registration.netid)
    if protocol is None:
        raise RegistrationError(f"this rpcbind has version 2 alone, which can't register {registration.netid}")
    _, port = split_address(registration.netid, registration.address)
    return Mapping(registration.program, registration.version, protocol, port)
