"""`Descriptors`: the objects that hold descriptors, so that a forked child can close the copies it must not keep.

An object that opens descriptors registers here, once. A child that the loop forks for one request
(`children.Children.fork`) keeps what that request needs and has every holder close its other copies.
"""

from __future__ import annotations

import io
import os
import socket
import stat
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, BinaryIO, Protocol

    class Holder(Protocol):
        """An object that holds descriptors."""

        def close_copy(self, keep: object) -> None:
            """In a forked child: close the copies that the request ``keep`` does not need (``None``: all)."""


class Descriptors:
    """The holders of one loop, and of the loops inside it. May be changed from any thread."""

    def __init__(self) -> None:
        self._holders: dict[Holder, None] = {}

    def add(self, holder: Holder) -> None:
        """Register ``holder``: its ``close_copy()`` is called in every forked child."""
        self._holders[holder] = None

    def discard(self, holder: Holder) -> None:
        """Forget the holder, which has closed what it held."""
        self._holders.pop(holder, None)

    def close_copies(self, keep: object) -> None:
        """In a forked child: close what the request ``keep`` does not need."""
        for holder in list(self._holders):
            holder.close_copy(keep)


def copy_of(file: Any) -> BinaryIO | None:
    """A file object of its own for the regular file that ``file`` is open for; ``None`` if there can be none."""
    if type(file) not in (io.BufferedReader, io.FileIO) or file.closed:  # a derived class may read otherwise
        return None
    try:
        return os.fdopen(os.dup(file.fileno()), "rb") if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except OSError:  # no descriptor is left, or the file has none
        return None


@cache
def ended_input() -> int:
    """A descriptor that is always readable and has no byte: the reading end of a pipe that nobody writes to.

    The process has one, made when it is asked for first, for all who tell a selector that input has ended.
    """
    reader, writer = os.pipe()
    os.close(writer)
    return reader


def listing() -> str | None:
    """The directory that lists the descriptors of this process, on Linux and elsewhere; ``None`` without one."""
    return next(filter(os.path.isdir, ("/proc/self/fd", "/dev/fd")), None)


_LINGER = 8
"""Bytes of ``struct linger``: an int that says whether, and one that says how long (``socket(7)``)."""


def close_passed(descriptors: Iterable[int]) -> None:
    """Close descriptors that have been passed. Never blocks for a socket, whatever SO_LINGER its sender has set.

    The option is turned off, for a sender that still has the socket too: who passes a socket gives it out of hand. A
    file of a FUSE or NFS file system may still block in close(2).
    """
    for descriptor in descriptors:
        try:
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                _dont_linger(descriptor)
            os.close(descriptor)
        except OSError:  # noqa: PERF203  # other code has closed it
            pass


def _dont_linger(descriptor: int) -> None:
    sock = socket.socket(fileno=descriptor)
    try:
        option = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        if any(option[: _LINGER // 2]):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(_LINGER))
    except OSError:
        pass  # this kind of socket has no such option
    finally:
        sock.detach()
