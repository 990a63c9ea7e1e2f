"""`PacketLink` runs a filter of packets. It stands between its driver (the row, or the link in front) and its inner
channel.

A link keeps three promises for every filter:

- It takes no more packets than the inner channel wants. While the filter is opening it takes all, and holds packets up
  to the filter's ``limit``.
- A packet of the inner channel counts as sent when the driver has taken all packets that the filter has made of it.
  Until then it stays in the outbox of the inner channel and the next packet waits, so `Flushed`, the water marks and
  ``max_output`` are right although they know no filter.
- The code of the filter runs only in calls of the driver, never in the state of another request.
"""

from __future__ import annotations

from operator import attrgetter

from .base_link import FAILED, GONE, LEAVING, NEW, OPENING, SERVING, BaseLink
from .datagrams import Packets
from .handler import StreamHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .channel import PacketChannel
    from .handler import Driver
    from .packet_filter import PacketFilter


class PacketLink(BaseLink):
    """A `PacketChannel`, and a `Driver` for its inner channel. Made by `PacketFilter`."""

    __slots__ = ("_said_farewell", "_under_way")
    passes, remedy = "packets", "take a Filter"
    refuses = StreamHandler
    _no_input, _no_output, _weigh = Packets, Packets, staticmethod(attrgetter("weight"))

    inner: PacketChannel
    driver: Driver
    _held: Packets
    _wire: Packets

    def __init__(self, author: PacketFilter, inner: PacketChannel) -> None:
        super().__init__(author, inner)
        # Packets in `_wire` up to the last that was made of the first packet of the inner channel's outbox; 0: none.
        self._under_way = 0
        self._said_farewell = False

    # What the filter says: see the verbs of `PacketFilter`

    def deliver(self, packet: bytes | bytearray | memoryview) -> None:
        if not self.finished:
            self._held.put(bytes(packet))
            if self._held.weight > self._filter.limit:
                self._give()
                self._check_limit()

    def put(self, packet: bytes | bytearray | memoryview) -> None:
        self._wire.put(bytes(packet))

    def leave(self) -> None:
        if self._stage in (NEW, OPENING):
            self.open()
        if self._is_open():
            self._stage = LEAVING

    # What the driver asks: see `handlers.channel`

    @property
    def wants_input(self) -> bool:
        """Whether the filter needs packets to open, or the inner channel wants one and none is held for it."""
        if self._stage is GONE:
            return self.inner.wants_input
        if self.finished or self._wire.weight > self.handler.high_water:
            return False
        return self._can_deliver()

    @property
    def outbox(self) -> Any:
        return self.inner.outbox if self._stage is GONE else self._wire

    @property
    def held_out(self) -> int:
        """Bytes of output held by this link and its inner channel; a packet that is under way counts once."""
        under_way = len(self.inner.outbox[0]) or 1 if self._under_way else 0
        return self._wire.weight + self.inner.held_out - under_way

    @property
    def complete(self) -> bool:
        """Whether the outbox is all that is left to send: `PacketFilter.farewell` has been called, or it has failed."""
        if self._stage is GONE:
            return self.inner.complete
        return self._said_farewell or self._stage is FAILED

    def advance(self) -> None:
        """Go on as far as input and output allow; the first call starts the filter."""
        self._due = False
        self._begin()
        if self._is_open() and self.inner.blocked:
            self._let(self.inner.advance)
        self._settle()

    def feed(self, packet: bytes) -> bool:
        """Take the next packet of the wire; ``False`` if the request has ended."""
        self._begin()
        if self.finished:
            return False
        if self._stage is GONE:
            self._let(self.inner.feed, packet)
        elif self._stage is LEAVING:
            self._held.put(packet)
        else:
            self._ask(self._filter.received, packet)
        self._settle()
        return True

    def sent(self) -> None:
        """The driver has taken the first packet of the outbox."""
        if self._stage is GONE:
            self.inner.sent()
        elif self._wire:
            self._wire.take()
            if self._under_way:
                self._under_way -= 1
                if not self._under_way:
                    self._let(self.inner.sent)
            self._settle()

    def read(self) -> bytes | None:
        """Return the next packet of the wire and drop it, as if the kernel had taken it; ``None`` if there is none."""
        while self._due and not self.outbox:
            self.advance()
        packet: bytes | None = self.outbox[0] if self.outbox else None
        self.sent()
        if self.blocked:
            self.advance()
        return packet

    # How it works

    def _begin(self) -> None:
        if self._stage is NEW and not self.finished:
            self._begin_filter()

    def _stop(self) -> None:
        super()._stop()
        self._under_way = 0

    def _drop_wire(self) -> None:
        super()._drop_wire()
        self._under_way = 0

    def _give(self) -> None:
        while self._held and self._can_give():
            self._let(self.inner.feed, self._held.take())

    def _move_on(self) -> None:
        """Give the filter the next packet of the output; when the last packet has left, call `farewell`, once."""
        inner = self.inner
        while self._stage is SERVING and inner.outbox and not self._under_way:
            self._ask(self._filter.flow, inner.outbox[0])
            if self._stage is FAILED:
                return
            self._under_way = len(self._wire)
            if not self._under_way:  # the filter has put nothing
                self._let(inner.sent)
                self.touched()
        is_last = inner.finished and inner.complete and not inner.outbox
        if is_last and self._stage is SERVING and not self._said_farewell:
            self._said_farewell = True
            self._ask(self._filter.farewell)
