"""The place of the urgent (out-of-band) byte in a stream, and for which connections the kernel is asked for it.

By default the kernel takes the byte out of the stream: its place is lost, and the byte too if a second one comes before
the first was read (RFC 6093, section 3). With ``SO_OOBINLINE`` it stays where it was sent. A read ends before the
byte, and ``SIOCATMARK`` says whether it is next (``sockatmark(3)``).
"""

from __future__ import annotations

import socket
import sys

from ..handlers import StreamHandler

try:
    from fcntl import ioctl
except ImportError:  # this host has no ioctl(2)
    ioctl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIOCATMARK = 0x8905 if sys.platform == "linux" else 0x4004_7307
"""The ``ioctl`` request that asks whether the next byte is the urgent one; Linux has a number of its own."""

_NO = bytes(4)


def hears_urgent(kind: type[StreamHandler], sock: Any) -> bool:
    """Have the kernel leave urgent data in the stream of ``sock``, for handlers of class ``kind``. Whether it will.

    It will if the class overrides ``urgent``, and if the socket can tell the place. To be called as early as possible,
    before the socket is connected or listens: of the urgent bytes that come before this call, the kernel keeps only
    the last. A connection inherits the setting from its listener.
    """
    if kind.urgent is StreamHandler.urgent or ioctl is None or not isinstance(sock, socket.socket):
        return False
    try:
        ioctl(sock.fileno(), SIOCATMARK, _NO)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    except (AttributeError, OSError, ValueError):  # the host, or this kind of socket, can't do it; or it is closed
        return False
    return True


def at_mark(sock: socket.socket) -> bool:
    """Whether the next byte of the stream is the urgent one, even if it has not come yet."""
    told = bytearray(4)  # writable: with bytes, ioctl() makes an error first
    try:
        ioctl(sock, SIOCATMARK, told)
        return told != _NO
    except (OSError, ValueError):  # it is closed: the read that follows fails
        return False
