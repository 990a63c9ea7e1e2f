"""The MAC of datagrams under its public name; it is in `reactor.rows.filters.mac`."""

from .rows.filters.mac import NotAuthentic, PacketMAC, ReplayWindows, Seal

__all__ = ["NotAuthentic", "PacketMAC", "ReplayWindows", "Seal"]
