"""`Peer`, the other end of a filter, and `Through`, a filter with its peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Peer:
    """The other end of the protocol that a filter speaks. Derive from it, and override the methods that differ.

    A peer does no input and output: `send` and `end` return bytes for the filter, and `received` is given bytes that
    the filter has sent, cut anywhere. This class passes all bytes on unchanged.

    For a filter of packets, `send` and `received` each take one packet and return one packet, and a new peer is made
    for each exchange. The other methods are for streams only.

    >>> class Rot13Peer(Peer):
    ...     table = bytes.maketrans(b"abcdefghijklmnopqrstuvwxyz", b"nopqrstuvwxyzabcdefghijklm")
    ...
    ...     def send(self, plain):
    ...         return plain.translate(self.table)
    ...
    ...     def received(self, wire):
    ...         return wire.translate(self.table)
    >>> Rot13Peer().send(b"hello"), Rot13Peer().received(b"uryyb")
    (b'uryyb', b'hello')
    """

    has_end = False
    """Whether the protocol has an end of its own, such as the close_notify of TLS.

    If so, a connection that ends before `end` was called is truncated, and its request must end with a cause."""

    @property
    def is_open(self) -> bool:
        """Whether plain text may be sent. Until then, `send` is called only with ``b""``, and `end` is not called."""
        return True

    def send(self, plain: bytes) -> bytes:
        """The wire bytes for ``plain``, and all others that the protocol has to send, such as those of a handshake.

        Called with ``b""`` at the beginning and after each call of `received`.
        """
        return plain

    def received(self, wire: bytes) -> bytes:
        """The plain text in the next wire bytes. Raises an exception if they are wrong."""
        return wire

    def end(self) -> bytes:
        """The last wire bytes, such as a close_notify: no more plain text is sent, and nothing is truncated."""
        return b""

    def received_end(self) -> None:
        """No more wire bytes come. Raises an exception if the protocol has not ended before."""


class Through(NamedTuple):
    """A filter and its peer, as two callables that make them.

    >>> from handlers.filter import Filter
    >>> Through(Filter, Peer).peer().send(b"hello")
    b'hello'

    A filter of your own, and its peer:

    >>> from handlers.services import Echo
    >>> from reactor.testing import check
    >>> class Inverted(Filter):
    ...     def received(self, data):
    ...         self.deliver(bytes(byte ^ 255 for byte in data))
    ...
    ...     def flow(self, data):
    ...         self.put(bytes(byte ^ 255 for byte in data))
    >>> class InvertedPeer(Peer):
    ...     def send(self, plain):
    ...         return bytes(byte ^ 255 for byte in plain)
    ...
    ...     received = send
    >>> check(Echo, b"hi", through=Through(Inverted, InvertedPeer), modes=[], examples=5)
    """

    filter: Callable[[Any], Any]
    """Makes the filter; called with the inner channel, as the ``filters`` of a server are."""

    peer: Callable[[], Peer] = Peer
    """Makes a peer; called without arguments (use ``functools.partial`` for a class that takes some)."""


class Peers(Peer):
    """The peers of a chain of filters, as one peer. The first is the peer of the filter next to the wire."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = peers
        self.has_end = any(peer.has_end for peer in peers)

    @property
    def is_open(self) -> bool:
        return all(peer.is_open for peer in self._peers)

    def send(self, plain: bytes) -> bytes:
        opening = next((place for place, peer in enumerate(self._peers) if not peer.is_open), len(self._peers))
        for peer in reversed(self._peers[: opening + 1]):  # peers behind one that is not open send nothing yet
            plain = peer.send(plain)
        return plain

    def received(self, wire: bytes) -> bytes:
        for peer in self._peers:
            wire = peer.received(wire)
        return wire

    def end(self) -> bytes:
        last = b""
        for peer in reversed(self._peers):
            last = (peer.send(last) if last else b"") + peer.end()
        return last

    def received_end(self) -> None:
        for peer in self._peers:
            peer.received_end()
