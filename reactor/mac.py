"""The MAC of datagrams under its public name; it is in `reactor.rows.filters.mac`."""

from .rows.filters.mac import NotAuthentic, PacketMAC, Seal, Windows

__all__ = ["NotAuthentic", "PacketMAC", "Seal", "Windows"]
