"""Where the urgent (out-of-band) byte of a stream is, and which connections are asked.

The kernel is told to leave the byte where it was sent (``SO_OOBINLINE``): taken out, it loses its
place, and is lost itself when the next one comes first. A read ends before it, and ``SIOCATMARK``
tells that it has (``sockatmark(3)``).
"""

from __future__ import annotations

import socket
import sys

from handlers import StreamHandler

try:
    from fcntl import ioctl
except ImportError:  # not on this host
    ioctl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIOCATMARK = 0x8905 if sys.platform == "linux" else 0x4004_7307
"""The request that asks whether the next byte is the urgent one: Linux's number, and that of BSD and macOS."""

_NO = bytes(4)


def hears_urgent(kind: type[StreamHandler], sock: Any) -> bool:
    """Whether handlers of a class take urgent data and the socket, which keeps it in the stream then, tells its place.

    It is asked of sockets that are not connected yet, too: until it is told to leave them, the kernel drops all
    urgent bytes that come but the last. A connection inherits that from the socket that listens.
    """
    if kind.urgent is StreamHandler.urgent or ioctl is None or not isinstance(sock, socket.socket):
        return False
    try:
        ioctl(sock.fileno(), SIOCATMARK, _NO)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    except (AttributeError, OSError, ValueError):  # there is no such thing here, or the socket is closed
        return False
    return True


def at_mark(sock: socket.socket) -> bool:
    """Whether the next byte is the urgent one, or will be when it comes."""
    try:
        return ioctl(sock.fileno(), SIOCATMARK, _NO) != _NO
    except (OSError, ValueError):  # closed; who reads finds out
        return False
