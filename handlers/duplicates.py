"""`NoDuplicates`: a mix-in for protocols whose clients send a request again until they have the answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable
    from typing import Any


class NoDuplicates:
    """In front of a `DatagramHandler`: each packet is a request, and is dropped if it comes again before the answer.

    A server counts such packets as ``"duplicate"`` in `RequestTable.refused`. In fork mode one is kept, and begins a
    request later, because the parent does not know whether the child has answered.
    """

    __slots__ = ()

    @staticmethod
    def key(packet: bytes) -> Hashable:
        """Equal packets of a peer belong together."""
        return hash(packet)

    @classmethod
    def answered(cls, server: Any, peer: Any, packet: bytes, answer: bytes, now: float) -> None:
        """In fork mode, called in the parent when a child has answered ``packet`` and its request has finished.

        So the handlers of later requests, which begin in children, may know of it. ``now`` is the time of day.
        """
