"""`send_files`: sends output with files in it. The kernel copies the files, where it can."""

from __future__ import annotations

import errno
import os
import socket

from ..handlers.files import FilePart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handlers.files import Files

CHUNK = 262_144
"""Bytes that a connection is sent at most before the other rows have their turn."""

PIECE = 65_536
"""Bytes of a file that are read at once where the kernel does not copy it."""

MORE = getattr(socket, "MSG_MORE", 0)
"""Flag of bytes with a file behind them: the kernel may put the beginning of the file into the same segment."""

CAN_NOT = {errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOVERFLOW, errno.EOPNOTSUPP}
"""Errors of ``sendfile(2)`` for a file or a socket that it can't do."""


def send_files(sock: Any, outbox: Files) -> int:
    """Send from ``outbox`` what the kernel takes, at most `CHUNK` bytes. Returns the number of bytes sent.

    Raises what ``send(2)`` raises, and `Failed` for a file that is too short or can't be read, if nothing was sent.
    """
    sent = 0
    parts = list(outbox.parts)
    for part in parts:
        try:
            count = send_part(sock, part, CHUNK - sent, part is not parts[-1])
        except Exception:
            if sent:
                return sent  # the next call finds it again
            raise
        sent += count
        if count < len(part) or sent >= CHUNK:
            break
    return sent


def send_part(sock: Any, part: bytearray | FilePart, limit: int, more: bool) -> int:
    """Send the beginning of ``part``, at most ``limit`` bytes of a file; ``more``: a part follows."""
    count: int
    if not isinstance(part, FilePart):
        if type(sock) is socket.socket and more:
            return sock.send(part, MORE)
        count = sock.send(part)  # another class of sockets may take no flags
        return count
    if type(sock) is socket.socket and hasattr(os, "sendfile"):
        try:
            count = os.sendfile(sock.fileno(), part.file.fileno(), part.offset, min(part.left, limit))
        except (OSError, AttributeError, ValueError) as error:  # a file without a descriptor, for example
            if isinstance(error, OSError) and error.errno is not None and error.errno not in CAN_NOT:
                raise
        else:
            if not count:
                raise part.too_short()
            return count
    count = sock.send(part.read(min(PIECE, limit)))
    return count
