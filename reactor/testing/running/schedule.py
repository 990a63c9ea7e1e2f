"""A schedule: the list of things that happen to a request, in their order, as plain data."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    Step: TypeAlias = "bytes | float | Take | Event"
    """Bytes that arrive, seconds that pass, output that the kernel takes, or an event."""
    Schedule: TypeAlias = "list[Step]"


class Take:
    """The kernel takes at most ``limit`` bytes of output; from a datagram handler, at most ``limit`` packets.

    ``Take(0)`` means that the kernel takes nothing now. Raises `ValueError` for a negative ``limit``.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        if not isinstance(limit, int) or limit < 0:
            raise ValueError(f"Take: limit is a number of bytes, or of packets, >= 0, not {limit!r}")
        self.limit = limit

    def __repr__(self) -> str:
        return f"Take({self.limit})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Take) and other.limit == self.limit

    def __hash__(self) -> int:
        return hash((Take, self.limit))


class Event(Enum):
    """An event of a connection that carries no bytes."""

    END = "the client ends its side of the stream"
    RESET = "the connection is reset"

    def __repr__(self) -> str:
        return self.name


END, RESET = Event.END, Event.RESET
