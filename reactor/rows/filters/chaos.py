"""Filters that do to a request what a kernel or a network may do, but rarely does.

`Chaos` cuts the reads and writes of a stream short; no byte is lost by it. `PacketChaos` drops datagrams, sends them
twice, and out of order.
"""

from __future__ import annotations

from random import Random

from ...handlers.filter import Filter
from ...handlers.packet_filter import PacketFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...handlers.channel import PacketChannel, StreamChannel

FEW = 8
"""The most bytes that are moved at once where a read or a write is cut short."""

RATE = 0.6
"""The share of reads and writes that are cut short."""

LOST, TWICE, LATE = 0.1, 0.2, 0.3
"""A packet is dropped if a number from 0 to 1 is below the first; passed twice below the second; late below the third:
one packet of ten each."""


class Chaos(Filter):
    """Hands on a few bytes at a time of what is received and of what is sent, now and then all.

    ``seed`` is a number, from which each connection has the same cuts, or a ``random.Random`` that connections share.

    >>> from functools import partial
    >>> from handlers import StreamMachine
    >>> from handlers.filter import chain
    >>> from handlers.services import Echo
    >>> channel = chain(StreamMachine(Echo()), [partial(Chaos, seed=4711)])
    >>> channel.advance()
    >>> channel.feed(b"nothing is lost")
    >>> pieces = []
    >>> while len(b"".join(pieces)) < 15:
    ...     pieces.append(channel.read())
    >>> b"".join(pieces), len(pieces) > 1
    (b'nothing is lost', True)

    For a server: ``filters = [partial(Chaos, seed=4711)]``. See `reactor.testing.chaotic` for calls that fail with
    ``EAGAIN``, which only a socket can.
    """

    __slots__ = ("_ended", "_random", "_rest")

    def __init__(self, inner: StreamChannel, seed: int | Random = 0) -> None:
        super().__init__(inner)
        self._random = seed if isinstance(seed, Random) else Random(seed)
        self._rest = bytearray()  # received, and not delivered yet
        self._ended = False  # whether the end of the input is to be delivered after that

    @property
    def pending(self) -> int:
        """Bytes received that have not been delivered yet."""
        return len(self._rest)

    @property
    def window(self) -> int:  # type: ignore[override]
        """Bytes of the next write."""
        return self._cut(Filter.window)

    def received(self, data: bytes) -> None:
        """Deliver some of it; the rest when others have had their turn."""
        self._rest += data
        size = self._cut(len(self._rest))
        self.deliver(self._rest[:size])
        del self._rest[:size]
        if self._rest:
            self.again()
        elif self._ended:
            self.deliver_end()

    def input_ended(self) -> None:
        """Deliver the end behind what has been received."""
        self._ended = True
        if not self._rest:
            self.deliver_end()

    def _cut(self, size: int) -> int:
        if self._random.random() < RATE:
            return min(size, self._random.randint(1, FEW))
        return size


class PacketChaos(PacketFilter):
    """Drops packets, passes some twice, and some behind the next one, in both directions, as UDP may (RFC 768).

    A packet that is received late and is not followed by another is never delivered. One that is sent late leaves at
    the end of the request, if no other is sent.

    ``seed`` is a number, from which each request has the same fate, or a ``random.Random`` that requests share: a
    client that repeats its question is answered in the end only with the latter, for each request draws from it anew.

    >>> from functools import partial
    >>> from random import Random
    >>> from handlers import DatagramMachine
    >>> from handlers.filter import chain
    >>> from handlers.services import EchoDatagram
    >>> dice, answers = Random(4711), []
    >>> for number in range(9):
    ...     channel = chain(DatagramMachine(EchoDatagram()), [partial(PacketChaos, seed=dice)])
    ...     _ = channel.feed(b"%d" % number)
    ...     answers += iter(channel.read, None)
    >>> answers
    [b'0', b'1', b'2', b'3', b'3', b'5', b'7', b'8']
    """

    __slots__ = ("_late_in", "_late_out", "_random")

    def __init__(self, inner: PacketChannel, seed: int | Random = 0) -> None:
        super().__init__(inner)
        # One of its own for each request: a child has a copy of what it draws from.
        self._random = Random(seed.getrandbits(64) if isinstance(seed, Random) else seed)
        self._late_in: list[bytes] = []
        self._late_out: list[bytes] = []

    @property
    def pending(self) -> int:
        """Bytes of the packet that is late."""
        return sum(map(len, self._late_in))

    def received(self, packet: bytes) -> None:
        """Deliver the packet, or another, or both, or none."""
        for passed in self._passed(packet, self._late_in):
            self.deliver(passed)

    def flow(self, packet: bytes) -> None:
        """Send the packet, or another, or both, or none."""
        for passed in self._passed(packet, self._late_out):
            self.put(passed)

    def farewell(self) -> None:
        """Send what is late."""
        for packet in self._late_out:
            self.put(packet)

    def _passed(self, packet: bytes, late: list[bytes]) -> list[bytes]:
        """What is passed on now that ``packet`` has come; ``late`` is what is kept behind the next one."""
        fate = self._random.random()
        if fate < LOST:
            return []
        if TWICE <= fate < LATE and not late:
            late.append(packet)
            return []
        passed = [packet, packet] if fate < TWICE else [packet]
        passed += late
        late.clear()
        return passed
