"""Filters that pass everything on, and tell of it: what passes, in which direction, and when.

`Tap` is for streams, `PacketTap` for datagrams.
"""

from __future__ import annotations

from ...handlers.filter import Filter
from ...handlers.packet_filter import PacketFilter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...handlers.channel import PacketChannel, StreamChannel

RECEIVED, INPUT_ENDED, SENT, OUTPUT_ENDED = "received", "input ended", "sent", "output ended"
"""What a `Tap` tells of. A `PacketTap` does not tell of `INPUT_ENDED`: packets have no end."""


class _Telling:
    """What both taps do to tell."""

    __slots__ = ()
    driver: Any
    _tell: Callable[[Any, float, str, bytes], object]

    def _say(self, what: str, data: bytes = b"") -> None:
        self._tell(self, self.driver.now(), what, data)


class Tap(_Telling, Filter):
    """Calls ``tell(tap, now, what, data)`` for each piece of input and output, before it is passed on.

    ``tap`` is this filter, one for each connection: ``tap.driver`` knows the peer. ``now`` is in seconds since
    1970-01-01 00:00 UTC. ``what`` is `RECEIVED` or `SENT`, with the ``data``, or `INPUT_ENDED` or `OUTPUT_ENDED`, with
    ``b""``. `SENT` is what the request has sent, in the pieces in which it is handed on; whether the kernel has taken
    it is not told. `OUTPUT_ENDED` is told of a request that has ended, or has called ``send_eof()``, not of one whose
    connection is lost.

    What ``tell`` raises ends the request. In the modes that have children or threads, it is called there.

    >>> import time
    >>> from functools import partial
    >>> from handlers import StreamMachine, World
    >>> from handlers.filter import chain
    >>> from handlers.services import Echo
    >>> def tell(tap, now, what, data):
    ...     print(what, data)
    >>> channel = chain(StreamMachine(Echo(), World(now=time.time)), [partial(Tap, tell=tell)])
    >>> channel.advance()
    >>> _ = channel.feed(b"hello")
    received b'hello'
    sent b'hello'
    >>> channel.read()
    b'hello'
    >>> channel.end()
    input ended b''
    output ended b''

    For a server: ``filters = [partial(Tap, tell=tell)]``. Behind a filter that encrypts, a tap sees plain text.
    """

    __slots__ = ("_tell",)

    transparent = True

    def __init__(self, inner: StreamChannel, tell: Callable[[Tap, float, str, bytes], object]) -> None:
        super().__init__(inner)
        self._tell = tell

    def received(self, data: bytes) -> None:
        """Tell of it, and deliver it."""
        self._say(RECEIVED, data)
        self.deliver(data)

    def input_ended(self) -> None:
        """Tell of it, and deliver it."""
        self._say(INPUT_ENDED)
        self.deliver_end()

    def flow(self, data: bytes) -> None:
        """Tell of it, and put it on the wire."""
        self._say(SENT, data)
        self.put(data)

    def farewell(self) -> None:
        """Tell that no more is sent."""
        self._say(OUTPUT_ENDED)


class PacketTap(_Telling, PacketFilter):
    """Calls ``tell(tap, now, what, packet)`` for each packet of a request, before it is passed on.

    ``tap`` is this filter, one for each request: ``tap.driver`` knows the peer. ``now`` is in seconds since 1970-01-01
    00:00 UTC. ``what`` is `RECEIVED` or `SENT`, or with ``b""`` `OUTPUT_ENDED`, when the request has ended. Whether the
    kernel has taken what was sent is not told. What ``tell`` raises ends the request. In the modes that have children
    or threads, it is called there.

    >>> import time
    >>> from functools import partial
    >>> from handlers import DatagramMachine, World
    >>> from handlers.filter import chain
    >>> from handlers.services import EchoDatagram
    >>> def tell(tap, now, what, packet):
    ...     print(what, packet)
    >>> channel = chain(DatagramMachine(EchoDatagram(), World(now=time.time)), [partial(PacketTap, tell=tell)])
    >>> channel.feed(b"hello")
    received b'hello'
    sent b'hello'
    True
    >>> channel.read()
    output ended b''
    b'hello'

    For a server: ``filters = [partial(PacketTap, tell=tell)]``.
    """

    __slots__ = ("_tell",)

    def __init__(self, inner: PacketChannel, tell: Callable[[PacketTap, float, str, bytes], object]) -> None:
        super().__init__(inner)
        self._tell = tell

    def received(self, packet: bytes) -> None:
        """Tell of it, and deliver it."""
        self._say(RECEIVED, packet)
        self.deliver(packet)

    def flow(self, packet: bytes) -> None:
        """Tell of it, and send it."""
        self._say(SENT, packet)
        self.put(packet)

    def farewell(self) -> None:
        """Tell that no more is sent."""
        self._say(OUTPUT_ENDED)
