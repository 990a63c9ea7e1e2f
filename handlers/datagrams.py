"""`DatagramMachine`: the machine for the packets of one exchange; `Packets`: those that wait to be sent.

It takes one datagram by each `feed` and gives one by each `read`. What it does with waits and states is in `machine`.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from .machine import ANYWHERE, Machine
from .sources import NOTHING
from .states import is_same_place, place_of
from .wait import Wait
from .waits import Packet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .handler import DatagramHandler, Driver


class Packets(deque[bytes]):
    """Packets to be sent, in order, and the sum of their sizes in bytes (`weight`).

    An empty packet counts as one byte, so that a queue of empty packets is bounded too.
    """

    __slots__ = ("weight",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = 0

    def put(self, packet: bytes) -> None:
        """Append a packet."""
        self.weight += len(packet) or 1
        self.append(packet)

    def take(self) -> bytes:
        """Remove and return the first packet."""
        packet = self.popleft()
        self.weight -= len(packet) or 1
        return packet

    def drop_last(self) -> None:
        """Remove the last packet."""
        self.weight -= len(self.pop()) or 1


class DatagramMachine(Machine):
    """Runs a `DatagramHandler` over the packets of one exchange; `feed` and `read` each take or give one datagram."""

    __slots__ = ()
    accepts = (Packet, *ANYWHERE)
    _weigh = staticmethod(attrgetter("weight"))
    max_packets = 64
    """Packets held for a request that does not wait for one; more are dropped, as the buffer of a socket does."""

    handler: DatagramHandler
    inbox: deque[bytes] | None
    outbox: Packets | None

    def __init__(self, handler: DatagramHandler, driver: Driver | None = None) -> None:
        super().__init__(handler, driver)
        self.inbox = deque()

    @property
    def held_in(self) -> int:
        """Bytes of input held for the request."""
        return sum(map(len, self.inbox or ()))

    def feed(self, packet: bytes) -> bool:
        """Take the next packet and let the request go on. ``False``: the packet was dropped."""
        if self.inbox is None or len(self.inbox) >= self.max_packets:
            return False
        self.inbox.append(packet)
        self._run()
        return True

    def read(self) -> bytes | None:
        """Return the next packet of the output and drop it; go on. ``None`` if there is none."""
        packet = self.outbox[0] if self.outbox else None
        self.sent()
        if self.blocked:
            self.advance()
        return packet

    def sent(self) -> None:
        """Drop the first packet of the outbox: the kernel has taken it."""
        if self.outbox:
            self.outbox.take()
            if not self.outbox:
                self.outbox = None
                self._drained()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.state is None or self.excess is not None:
            return
        if self.outbox is None:
            self.outbox = Packets()
        self.outbox.put(b"".join((data,)))
        if self.outbox.weight > self.handler.max_output and self._overflows():
            self.outbox.drop_last()
        elif not self.running:
            self.driver.touched()

    def take(self, wait: Wait) -> object:
        if not isinstance(wait, Packet):
            return super().take(wait)
        return self.inbox.popleft() if self.inbox else NOTHING

    def is_at_opening(self) -> bool:
        """Whether the request waits for a packet at the place where its messages begin."""
        wait = self.wait
        return wait is not None and wait.reads and is_same_place(place_of(self.state), self.first_place)

    def begin_over(self, place: object, state: Any) -> None:
        """Go on in the middle of the first turn of the request, of which ``state`` runs; it began without a machine.

        ``place``: where messages begin (`states.place_of`); ``None`` if ``setup()`` has not succeeded, so that
        ``finish()`` is not to be called, or has been called.
        """
        self.first_place, self.first_wait = place, self.wait
        self.state, self.running = state or self.state, True

    def take_over(self, state: Any, step: Any, error: BaseException | None, place: object, finishing: bool) -> None:
        """The first turn is over: take the step that the state has returned, or the exception that it has raised.

        ``place``: as in `begin_over`, but now. ``finishing``: whether it was ``finish()`` that has raised it.
        """
        self.state, self.running = state or self.state, False
        if self.first_place is None:
            self.first_place = place
        if error is None:
            self._run(lambda _: self._took(state, step))
        elif finishing:
            self._run(_raise, error)
        else:
            self._run(lambda _: self._step(_raise, error))


def _raise(error: BaseException) -> None:
    raise error
