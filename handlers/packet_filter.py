"""Filters of datagrams: what stands between an exchange and its socket, and changes the packets, or looks at them.

They say the same as filters of streams (`handlers.filter`), packet by packet: one that has come becomes any number of
packets for the handler, and one that the handler sends any number of packets on the wire.
"""

from __future__ import annotations

from .filter import BaseFilter
from .packet_link import PacketLink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .channel import PacketChannel
    from .handler import Driver


class PacketFilter(BaseFilter):
    """A filter that passes each packet on. Derive, and define some of the methods from `begin` to `farewell`.

    They are called one at a time, and in them there are the verbs from `open_until` to `leave`. What a method raises
    ends the request with that exception as its reason, as with a handler; raising a `Cause` is the same as `fail`.

    An instance is made for each request, which is one exchange with one peer, with its inner channel as the argument
    (``functools.partial`` adds more). What has been delivered and the request has not taken is dropped when the request
    ends. `DatagramHandler.key` is given packets as they come from the wire, before any filter.

    >>> from handlers import DatagramHandler, DatagramMachine, Packet
    >>> from handlers.filter import chain
    >>> class Numbered(PacketFilter):
    ...     def received(self, packet):
    ...         self.deliver(packet[1:])
    ...
    ...     def flow(self, packet):
    ...         self.put(b"!" + packet)
    >>> class Hello(DatagramHandler):
    ...     async def handle(self):
    ...         self.send(b"hello " + await Packet())
    >>> channel = chain(DatagramMachine(Hello()), [Numbered])
    >>> channel.feed(b"?ada")
    True
    >>> channel.read()
    b'!hello ada'
    """

    __slots__ = ()
    _link: PacketLink

    limit = 131_072
    """Bytes of input that may be held: packets that the request does not want now, and `pending`.

    An empty packet counts as one byte. Past it the request ends with `LimitPassed`."""

    def __init__(self, inner: PacketChannel) -> None:
        self._link = PacketLink(self, inner)

    @property
    def channel(self) -> PacketChannel:
        """The channel that a row, or the filter in front of this one, drives."""
        return self._link

    @property
    def driver(self) -> Driver:
        """The row, or the filter in front of this one: for ``peer``, ``principal``, ``secured``, ``now()``, …"""
        return self._link.driver

    # Methods to define

    def received(self, packet: bytes) -> None:
        """Take the next packet of the wire. The default delivers it as it is."""
        self.deliver(packet)

    def flow(self, packet: bytes) -> None:
        """Take the next packet that the request has sent, and `put` what it is on the wire.

        It counts as sent when all that has been put has been taken; then comes the next call.
        """
        self.put(packet)

    def farewell(self) -> None:
        """Called once, if the filter has opened and the request has ended, after the last `flow`: `put` what is left.

        The default says nothing.
        """

    @property
    def pending(self) -> int:
        """Bytes that the filter itself has received and can't deliver yet, such as fragments of a message."""
        return 0

    # Verbs

    def deliver(self, packet: bytes | bytearray | memoryview) -> None:
        """Have the inner channel take ``packet``. It is held as long as that wants none, or the filter is not open."""
        self._link.deliver(packet)

    def put(self, packet: bytes | bytearray | memoryview) -> None:
        """Send ``packet``."""
        self._link.put(packet)

    def leave(self) -> None:
        """Go out of the chain: all packets that come later are for the inner channel as they are.

        The filter opens, if it has not, and goes when what it has put has been taken. No method of it is called any
        more.
        """
        self._link.leave()
