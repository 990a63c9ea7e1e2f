"""`Chaos`: a filter that cuts reads and writes short, as a kernel may but rarely does. No byte is lost by it."""

from __future__ import annotations

from random import Random

from ...handlers.filter import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...handlers.channel import StreamChannel

FEW = 8
"""The most bytes that are moved at once where a read or a write is cut short."""

RATE = 0.6
"""The share of reads and writes that are cut short."""


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
