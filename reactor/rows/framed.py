"""`FramedRow`: the row of a connection whose blocking handler has a framing."""

from __future__ import annotations

from ..handlers.blocking.buffered import FramedStream
from .stream import StreamRow, stream_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class FramedRow(StreamRow):
    """A row that also holds what the framing has taken of a request that is not whole yet."""

    __slots__ = ()

    @property
    def held_in(self) -> int:
        """Bytes of input held, with those of the request that have come."""
        if self.channel is None:
            return 0
        handler: Any = self.channel.handler  # the class when the request has ended
        held: int = self.channel.held_in
        return held if isinstance(handler, type) else held + handler.held

    def go_on(self, now: float) -> None:
        super().go_on(now)
        if not self.counted:  # else it has been weighed
            self.weigh()

    def ready(self, events: int, now: float) -> None:
        super().ready(events, now)
        if self.channel.handler.held:  # the hot path does not count it
            self.weigh()


def row_of(handler: type) -> Any:
    """What makes the row for the class that runs a blocking handler: `FramedRow` if that has a framing."""
    return FramedRow if issubclass(handler, FramedStream) else stream_row
