"""The peer of a filter that takes a header: it sends the header, then everything as it is."""

from __future__ import annotations

from functools import partial

from ...rows.filters.proxy import Proxy
from .peer import Peer, Through

PROXY_HEADER = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
"""A header of version 1 (the PROXY protocol, section 2.1)."""

TRUSTED = "127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32", "unix"
"""The networks of the clients of the simulated kernel, and of the clients of `check`."""


class HeaderPeer(Peer):
    """Sends ``header``, and passes on everything after it.

    >>> peer = HeaderPeer(b"PROXY UNKNOWN\\r\\n")
    >>> peer.send(b""), peer.send(b"hello")
    (b'PROXY UNKNOWN\\r\\n', b'hello')
    """

    def __init__(self, header: bytes) -> None:
        self._header = header

    def send(self, plain: bytes) -> bytes:
        """``plain``; in the first call the header and ``plain``."""
        header, self._header = self._header, b""
        return header + plain


def proxy(header: bytes = PROXY_HEADER) -> Through:
    """The filter `Proxy`, which trusts the networks `TRUSTED`, with a peer that sends ``header``.

    >>> proxy().peer().send(b"hello")
    b'PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\\r\\nhello'
    """
    return Through(partial(Proxy, trusted=TRUSTED), partial(HeaderPeer, header))
