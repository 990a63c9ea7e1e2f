"""The portmapper and rpcbind (RFC 1833): which address a program has, for hosts that have no rpcbind(8).

`Portmapper` is version 2 alone, `Rpcbind` versions 2, 3 and 4. It is served on TCP and UDP port 111; and on the Unix
socket ``/run/rpcbind.sock``, over which libtirpc registers the C programs of this host. What is served is what real
clients ask for:

- SET and UNSET are for local callers only: those whose address is a loopback address, or that have connected to a Unix
  socket. Any of these may remove what another has registered. The program itself keeps its own registrations.
- GETPORT and GETADDR answer with another version of the program if that version has no address, as rpcbind(8) does it;
  GETVERSADDR and GETADDRLIST do not. The netid of the argument is the transport that is meant. (The RFC takes that over
  which the call came; clients ask for the one they use.) For a wildcard address the answer has the host of ``r_addr``,
  which is where the client has reached this host, or else the address that the server is bound to.
- CALLIT, BCAST and INDIRECT would make calls for others in the name of this host. They are not served, unless a derived
  class defines them. GETSTAT is not served. Nor are UADDR2TADDR and TADDR2UADDR, whose addresses are bytes of a C
  structure of this host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from . import xdr
from .program import Procedure, Version
from .registry import (
    NETIDS,
    TCP,
    TRANSPORTS,
    UDP,
    Ports,
    Registration,
    Registry,
    join_address,
    merged,
    split_address,
)

PROGRAM, PORT = 100_000, 111
"""The program number and the port of the portmapper."""

__all__ = [
    "PORT", "PROGRAM", "RPCB", "RPCB3", "RPCB4", "TCP", "UDP", "Entry", "Mapping", "Mappings", "Portmapper",
    "Portmapper2", "Rpcbind", "is_local",
]  # fmt: skip


# Version 2


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


@dataclass
class RemoteCall:
    """A call that the portmapper is to make: ``struct call_args`` and ``struct rpcb_rmtcallargs``."""

    program: xdr.UInt
    version: xdr.UInt
    procedure: xdr.UInt
    arguments: bytes


@dataclass
class RemotePort:
    """The port of the program, and the result of the call: ``struct call_result``."""

    port: xdr.UInt
    result: bytes


class Portmapper2(Version):
    """version PMAP_VERS = 2 of program PMAP_PROG"""

    program, version = PROGRAM, 2
    procedures: ClassVar[dict[int, Procedure]] = {
        1: Procedure(1, "PMAPPROC_SET", (Mapping,), bool),
        2: Procedure(2, "PMAPPROC_UNSET", (Mapping,), bool),
        3: Procedure(3, "PMAPPROC_GETPORT", (Mapping,), xdr.UInt),
        4: Procedure(4, "PMAPPROC_DUMP", (), Mappings | None),
        5: Procedure(5, "PMAPPROC_CALLIT", (RemoteCall,), RemotePort),
    }


def own(*versions: int) -> Registry:
    """A registry that has these versions of the program itself."""
    address = join_address("0.0.0.0", PORT)
    return Registry(*(Registration(PROGRAM, number, netid, address, "superuser")
                      for number in versions for netid in NETIDS.values()))  # fmt: skip


class Portmapper(Portmapper2):
    """Version 2 of the portmapper. Derive a class for each: it has mappings of its own, and lists itself.

    In fork mode, a change ends with the process of the call: use another mode.

    >>> class Ports(Portmapper):
    ...     pass
    >>> Ports.mappings[100_003, 3, TCP] = 2049
    >>> Ports().PMAPPROC_GETPORT(Mapping(100_003, 3, TCP, 0))
    2049
    """

    registry: ClassVar[Registry] = own(2)
    """The addresses."""
    mappings: ClassVar[Ports] = Ports(registry)
    """The port of each program, version and protocol, in the registry."""
    max_mappings = 1000
    """Registrations that there may be."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.registry = Registry(*cls.registry)
        cls.mappings = Ports(cls.registry)

    @classmethod
    def change(cls, peer: Any, registration: Registration, add: bool) -> bool:
        """What SET and UNSET do for a caller at this address. ``False``: it may not, or there is nothing to do."""
        if registration.program == PROGRAM or not is_local(peer):
            return False
        if not add:
            return cls.registry.unset(*registration[:3])
        try:
            split_address(registration.netid, registration.address)
        except ValueError:
            return False
        return cls.registry.set(registration, cls.max_mappings)

    def PMAPPROC_SET(self, mapping: Mapping, /) -> bool:  # noqa: N802
        """Add a mapping. ``False``: there is another one already, or the caller may not."""
        netid, address = NETIDS.get(mapping.protocol, ""), join_address("0.0.0.0", mapping.port)
        return self.change(self.peer, Registration(mapping.program, mapping.version, netid, address), True)

    def PMAPPROC_UNSET(self, mapping: Mapping, /) -> bool:  # noqa: N802
        """Remove the mappings of a version of a program, for all protocols. ``False``: there are none, or as above."""
        netids = NETIDS.values()
        gone = [self.change(self.peer, Registration(mapping.program, mapping.version, netid, ""), False)
                for netid in netids]  # fmt: skip
        return any(gone)

    def PMAPPROC_GETPORT(self, mapping: Mapping, /) -> int:  # noqa: N802
        """The port, perhaps of another version; 0 if the program has none."""
        found = self.registry.find(mapping.program, mapping.version, NETIDS.get(mapping.protocol, ""))
        return 0 if found is None else split_address(found.netid, found.address)[1]

    def PMAPPROC_DUMP(self) -> Mappings | None:  # noqa: N802
        """All mappings."""
        listed = None
        for (program, version, protocol), port in reversed(list(self.mappings.items())):
            listed = Mappings(Mapping(program, version, protocol, port), listed)
        return listed


# Versions 3 and 4


@dataclass
class RPCB:
    """A program's address: ``struct rpcb``."""

    program: xdr.UInt
    version: xdr.UInt
    netid: str
    address: str
    owner: str


@dataclass
class RPCBList:
    """A list of addresses: ``struct rp__list``."""

    rpcb: RPCB
    following: RPCBList | None


@dataclass
class RemoteAddress:
    """The address of the program, and the result of the call: ``struct rpcb_rmtcallres``."""

    address: str
    result: bytes


@dataclass
class Entry:
    """An address, and what netconfig(5) says of its transport: ``struct rpcb_entry``."""

    address: str
    netid: str
    semantics: xdr.UInt
    family: str
    protocol: str


@dataclass
class Entries:
    """A list of such: ``struct rpcb_entry_list``."""

    entry: Entry
    following: Entries | None


class RPCB3(Version):
    """version RPCBVERS = 3 of program RPCBPROG"""

    program, version = PROGRAM, 3
    procedures: ClassVar[dict[int, Procedure]] = {
        1: Procedure(1, "RPCBPROC_SET", (RPCB,), bool),
        2: Procedure(2, "RPCBPROC_UNSET", (RPCB,), bool),
        3: Procedure(3, "RPCBPROC_GETADDR", (RPCB,), str),
        4: Procedure(4, "RPCBPROC_DUMP", (), RPCBList | None),
        5: Procedure(5, "RPCBPROC_CALLIT", (RemoteCall,), RemoteAddress),
        6: Procedure(6, "RPCBPROC_GETTIME", (), xdr.UInt),
    }


class RPCB4(Version):
    """version RPCBVERS4 = 4 of program RPCBPROG"""

    program, version = PROGRAM, 4
    procedures: ClassVar[dict[int, Procedure]] = RPCB3.procedures | {
        5: Procedure(5, "RPCBPROC_BCAST", (RemoteCall,), RemoteAddress),
        9: Procedure(9, "RPCBPROC_GETVERSADDR", (RPCB,), str),
        10: Procedure(10, "RPCBPROC_INDIRECT", (RemoteCall,), RemoteAddress),
        11: Procedure(11, "RPCBPROC_GETADDRLIST", (RPCB,), Entries | None),
    }


class Addresses(Version):
    """The procedures of versions 3 and 4."""

    ports: ClassVar[type[Portmapper]]
    """Version 2, whose registry this is."""

    def RPCBPROC_SET(self, rpcb: RPCB, /) -> bool:  # noqa: N802
        """Add an address. ``False``: there is another one already, or the caller may not."""
        made = Registration(rpcb.program, rpcb.version, rpcb.netid, rpcb.address)
        return self.ports.change(self.peer, made, True)

    def RPCBPROC_UNSET(self, rpcb: RPCB, /) -> bool:  # noqa: N802
        """Remove the address for a netid, or all if that is empty. ``False``: there is none, or as above."""
        return self.ports.change(self.peer, Registration(rpcb.program, rpcb.version, rpcb.netid, ""), False)

    def RPCBPROC_GETADDR(self, rpcb: RPCB, /) -> str:  # noqa: N802
        """The universal address, perhaps of another version; empty if the program has none."""
        return self._merged(self.ports.registry.find(rpcb.program, rpcb.version, rpcb.netid), rpcb)

    def RPCBPROC_GETVERSADDR(self, rpcb: RPCB, /) -> str:  # noqa: N802
        """The universal address of exactly this version; empty if it has none."""
        return self._merged(self.ports.registry.get(rpcb.program, rpcb.version, rpcb.netid), rpcb)

    def RPCBPROC_GETADDRLIST(self, rpcb: RPCB, /) -> Entries | None:  # noqa: N802
        """The addresses of a version for all transports."""
        listed = None
        for each in reversed(list(self.ports.registry)):
            if each[:2] == (rpcb.program, rpcb.version):
                semantics, family, protocol, _ = TRANSPORTS[each.netid]
                entry = Entry(self._merged(each, rpcb), each.netid, semantics, family, protocol)
                listed = Entries(entry, listed)
        return listed

    def RPCBPROC_DUMP(self) -> RPCBList | None:  # noqa: N802
        """All addresses, as they were registered."""
        listed = None
        for each in reversed(list(self.ports.registry)):
            listed = RPCBList(RPCB(*each), listed)
        return listed

    def RPCBPROC_GETTIME(self) -> int:  # noqa: N802
        """The time of this host: seconds since 1970-01-01 00:00 UTC."""
        return int(self.now()) & 0xFFFF_FFFF

    def _merged(self, found: Registration | None, asked: RPCB) -> str:
        if found is None:
            return ""
        bound = getattr(self.server, "server_address", None)
        return merged(found, asked.address, bound[0] if isinstance(bound, tuple) else "")


class Rpcbind(Portmapper):
    """Versions 2, 3 and 4. Derive a class for each, and serve its `versions`.

    >>> class Ports(Rpcbind):
    ...     pass
    >>> [version.version for version in Ports.versions]
    [2, 3, 4]
    """

    registry = own(4, 3, 2)
    versions: ClassVar[tuple[type[Version], ...]]
    """The classes to serve."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        others = [type(f"{cls.__name__}{kind.version}", (Addresses, kind), {"ports": cls}) for kind in (RPCB3, RPCB4)]
        cls.versions = (cls, *others)


def is_local(peer: Any) -> bool:
    """Whether the address is one that only this host has: a loopback address, or that of a Unix socket.

    >>> [is_local(peer) for peer in (("127.0.0.1", 9), ("::ffff:127.1.2.3", 9, 0, 0), "", ("192.0.2.1", 9), None)]
    [True, True, True, False, False]
    """
    if isinstance(peer, tuple):
        host = str(peer[0]).removeprefix("::ffff:")
        return host == "::1" or host.startswith("127.")
    return isinstance(peer, (str, bytes))
