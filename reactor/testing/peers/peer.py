"""`Peer`, the other end of a filter, and `Through`, a filter with its peer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Peer:
    """The other end of the protocol that a filter speaks. Derive, and define what differs.

    A peer does no input and output: `send` and `end` return the bytes to carry to the filter, and `received` is given
    the bytes that the filter has sent, cut anywhere. This class passes everything on, as the peer of a tap does.

    In front of datagrams `send` and `received` are given one packet and return one packet, and a new peer is made for
    each exchange. The rest is for streams.

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

    If it has one, a connection that ends before `end` was called is truncated, and must have a cause."""

    @property
    def is_open(self) -> bool:
        """Whether plain text may be sent. Until then, `send` is called only with ``b""``, and `end` is not called."""
        return True

    def send(self, plain: bytes) -> bytes:
        """The wire bytes for ``plain``, and those that the protocol itself has to send, such as a handshake.

        Called with ``b""`` at the beginning, and after each call of `received`.
        """
        return plain

    def received(self, wire: bytes) -> bytes:
        """The plain text in the next wire bytes. Raises an exception if they are wrong."""
        return wire

    def end(self) -> bytes:
        """No more plain text is sent: the last wire bytes. What has been sent before must count as whole."""
        return b""

    def received_end(self) -> None:
        """The wire has ended after what was `received`. Raises an exception if it ends too early."""


class Through(NamedTuple):
    """A filter, and what makes a peer that speaks its protocol.

    >>> from handlers.filter import Filter
    >>> Through(Filter, Peer).peer().send(b"hello")
    b'hello'
    """

    filter: Callable[[Any], Any]
    """What makes the filter in front of a channel, as in the ``filters`` of a server."""

    peer: Callable[[], Peer] = Peer
    """What makes a peer, without arguments. ``functools.partial`` adds some."""


class Peers(Peer):
    """The peers of several filters, as one. The first filter is next to the wire."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._peers = peers
        self.has_end = any(peer.has_end for peer in peers)

    @property
    def is_open(self) -> bool:
        return all(peer.is_open for peer in self._peers)

    def send(self, plain: bytes) -> bytes:
        opening = next((place for place, peer in enumerate(self._peers) if not peer.is_open), len(self._peers))
        for peer in reversed(self._peers[: opening + 1]):  # those behind it have nothing to send yet
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
