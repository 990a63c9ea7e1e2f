"""The portmapper (RFC 1833, section 3): which port a program has, for hosts that have no rpcbind(8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from . import xdr
from .program import Procedure, Version

PROGRAM, PORT = 100_000, 111
"""The program number and the port of the portmapper."""
TCP, UDP = 6, 17
"""The protocols."""


@dataclass
class Mapping:
    """A program's port: ``struct mapping``."""

    program: xdr.UInt
    version: xdr.UInt
    protocol: xdr.UInt
    port: xdr.UInt


@dataclass
class Mappings:
    """A list of mappings: ``struct pmaplist``."""

    mapping: Mapping
    following: Mappings | None


class Portmapper2(Version):
    """version PMAP_VERS = 2 of program PMAP_PROG"""

    program, version = PROGRAM, 2
    procedures: ClassVar[dict[int, Procedure]] = {
        1: Procedure(1, "PMAPPROC_SET", (Mapping,), bool),
        2: Procedure(2, "PMAPPROC_UNSET", (Mapping,), bool),
        3: Procedure(3, "PMAPPROC_GETPORT", (Mapping,), xdr.UInt),
        4: Procedure(4, "PMAPPROC_DUMP", (), Mappings | None),
    }


class Portmapper(Portmapper2):
    """Version 2 of the portmapper. Derive a class for each: it has mappings of its own, and lists itself.

    Only local callers may change the mappings, by SET and UNSET: those whose address is a loopback address, or that
    have connected to a Unix socket. CALLIT is not served: it would make calls for others in the name of this host. In
    fork mode, a change ends with the process of the call: use another mode.

    >>> class Ports(Portmapper):
    ...     pass
    >>> Ports.mappings[100_003, 3, TCP] = 2049
    >>> Ports().PMAPPROC_GETPORT(Mapping(100_003, 3, TCP, 0))
    2049
    """

    mappings: ClassVar[dict[tuple[int, int, int], int]] = {(PROGRAM, 2, TCP): PORT, (PROGRAM, 2, UDP): PORT}
    """The port of each program, version and protocol."""
    max_mappings = 1000
    """Mappings that there may be."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.mappings = dict(cls.mappings)

    def PMAPPROC_SET(self, mapping: Mapping, /) -> bool:  # noqa: N802
        """Add a mapping. ``False``: there is one already, or the caller may not."""
        key = mapping.program, mapping.version, mapping.protocol
        if key in self.mappings or len(self.mappings) >= self.max_mappings or not self._may_change(mapping):
            return False
        self.mappings[key] = mapping.port
        return True

    def PMAPPROC_UNSET(self, mapping: Mapping, /) -> bool:  # noqa: N802
        """Remove the mappings of a version of a program, for all protocols. ``False``: there are none, or as above."""
        found = [key for key in list(self.mappings) if key[:2] == (mapping.program, mapping.version)]
        if not self._may_change(mapping):
            return False
        for key in found:
            self.mappings.pop(key, None)
        return bool(found)

    def PMAPPROC_GETPORT(self, mapping: Mapping, /) -> int:  # noqa: N802
        """The port; 0 if the program has none.

        For another version it is the port of one that there is, as rpcbind(8) does it: the program itself says then
        which versions it has.
        """
        port = self.mappings.get((mapping.program, mapping.version, mapping.protocol))
        if port is None:
            others = list(self.mappings.items())
            ports = [port for key, port in others if (key[0], key[2]) == (mapping.program, mapping.protocol)]
            port = ports[0] if ports else 0
        return port

    def PMAPPROC_DUMP(self) -> Mappings | None:  # noqa: N802
        """All mappings."""
        listed = None
        for (program, version, protocol), port in reversed(list(self.mappings.items())):
            listed = Mappings(Mapping(program, version, protocol, port), listed)
        return listed

    def _may_change(self, mapping: Mapping) -> bool:
        return mapping.program != PROGRAM and mapping.port < 65_536 and is_local(self.peer)


def is_local(peer: Any) -> bool:
    """Whether the address is one that only this host has: a loopback address, or that of a Unix socket.

    >>> [is_local(peer) for peer in (("127.0.0.1", 9), ("::ffff:127.1.2.3", 9, 0, 0), "", ("192.0.2.1", 9), None)]
    [True, True, True, False, False]
    """
    if isinstance(peer, tuple):
        host = str(peer[0]).removeprefix("::ffff:")
        return host == "::1" or host.startswith("127.")
    return isinstance(peer, (str, bytes))
