"""Unix sockets and their paths.

The path of a Unix socket outlives the socket: ``bind(2)`` creates it with a mode from the umask, fails where anything
exists, and nothing removes the path afterwards. Here a server takes over a path that no server listens on, refuses a
path that a server listens on, removes its own path at the end, and sets the path's mode and owner if asked to.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from contextlib import contextmanager

from ..rows.ancillary import LINUX, passing, refuse_passed
from .kinds import class_of, is_ours
from .tcp import TCPServer
from .udp import UDPServer

try:
    import fcntl
except ImportError:  # not on this host, so it has no Unix sockets either
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    _Base = TCPServer
else:
    _Base = object


PATIENCE = 2.0
"""Seconds to wait for a directory that another process has locked."""


class UnixMixIn(_Base):
    """What the servers of Unix stream and datagram sockets have in common: the path.

    An address that begins with NUL is abstract (Linux): it has no path, no mode and no owner, and it ends with the
    socket.
    """

    address_family: int = getattr(socket, "AF_UNIX", -1)

    socket_mode: int | None = None
    """The mode of the path, such as ``0o660``: a process that may write to the path may connect. ``None``: ``0o777``
    less the umask. There is no moment at which the path has a wider mode."""

    socket_owner: tuple[int, int] | None = None
    """``(uid, gid)`` of the path; -1 leaves one of them as it is. Needs ``socket_mode``."""

    def server_bind(self) -> None:
        """Bind the socket. A path that no server listens on any more is removed first. May be overridden.

        Raises ``OSError`` (``EADDRINUSE``, with the path as ``filename``) if a server listens on the path, or if the
        path is not a socket; ``ValueError`` for a path with a NUL in it.
        """
        address = self.server_address
        is_path = bool(address) and address[:1] not in ("\0", b"\0")
        if is_path and (b"\0" if isinstance(address, bytes) else "\0") in address:
            raise ValueError(f"{type(self).__name__}: {address!r} has a NUL, behind which bind(2) reads nothing")
        if self.socket_mode is not None and not is_path:
            raise ValueError(f"{type(self).__name__}: {address!r} is no path, so it can't have a socket_mode")
        if self.socket_mode is None and self.socket_owner is not None:
            raise ValueError(f"{type(self).__name__}: socket_owner needs a socket_mode: say who may connect")
        if is_path and isinstance(self.socket, socket.socket):  # and not a simulated one, in no file system
            bind_to(self, os.fsdecode(address), super().server_bind)
        else:
            super().server_bind()


class UnixStreamServer(UnixMixIn, TCPServer):
    """A server of Unix stream sockets, in the plain mode. An address that begins with NUL is abstract.

    Descriptors pass to and from handlers whose class declares `StreamHandler.max_descriptors`.
    """

    def server_activate(self) -> None:
        """Listen; refuse descriptors for a handler that takes none, from clients that are not accepted yet too."""
        if getattr(class_of(self._srv.handler), "max_descriptors", None) == 0:
            refuse_passed(self.socket)
        super().server_activate()

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection: ``(socket, client_address)``."""
        sock, client_address = super().get_request()
        return passing(sock, class_of(self._srv.handler)), client_address


class UnixDatagramServer(UnixMixIn, UDPServer):
    """A server of Unix datagram sockets, in the plain mode. An address that begins with NUL is abstract."""

    def server_activate(self) -> None:
        """Refuse descriptors, unless an overridden ``get_request()`` may take them."""
        if is_ours(self.get_request):
            refuse_passed(self.socket)
        super().server_activate()


class BoundPath:
    """A path that this process has made with ``bind(2)``.

    This process removes the path when it has closed the socket, unless another process still has the socket, from
    ``fork()`` or as a passed descriptor. In that case the path stays, and the next server that binds to it removes it
    (`clear`).
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._status = os.lstat(path)
        self._pid = os.getpid()

    def remove(self) -> bool:
        """Remove the path; the socket has been closed. False: another process has the socket, so the path stays."""
        if self._pid != os.getpid():
            return True
        try:
            with _alone_in(self._path):  # else another process may remove and bind it now, with the same inode number
                return self._remove_alone()
        except PermissionError:  # the directory can be written but not read, so no process can lock it
            return self._remove_alone()
        except OSError:
            return True  # the directory has gone, or another process keeps it locked

    def _remove_alone(self) -> bool:
        try:
            if os.path.samestat(self._status, os.lstat(self._path)):
                if self._is_held():
                    return False
                os.unlink(self._path)
        except OSError:
            pass  # the path has gone, or the directory may not be written any more
        return True

    def _is_held(self) -> bool:
        try:
            return _is_served(self._path)
        except OSError:
            return False  # this process may not connect, or the path is too long to connect to: take it as not held


def bind_to(server: UnixMixIn, path: str, bind: Callable[[], object]) -> None:
    """Bind to a path in the file system, and give it the mode and the owner that the server's class declares."""
    clear(path)
    if server.socket_mode is None:
        bind()
    else:
        _bind_shut(server.socket, bind)
    server._srv.bound_path = BoundPath(path)
    if server.socket_owner is not None:
        os.chown(path, *server.socket_owner, follow_symlinks=False)
    if server.socket_mode is not None:
        os.chmod(path, server.socket_mode)


def _bind_shut(sock: socket.socket, bind: Callable[[], object]) -> None:
    """Bind with a mode that lets no process connect yet."""
    if LINUX:  # bind(2) gives the path the mode of the socket, less the umask
        os.fchmod(sock.fileno(), 0)
        bind()
        return
    before = os.umask(0o777)  # for a moment the whole process has it; other hosts have no better way
    try:
        bind()
    finally:
        os.umask(before)


def clear(path: str) -> None:
    """Remove the socket at ``path`` if no server listens on it any more. Does nothing if the path does not exist.

    Raises ``OSError`` with the path as ``filename``: ``EADDRINUSE`` if a server listens on it or it is not a socket,
    else the error that has prevented the check.
    """
    if not os.path.lexists(path):
        return
    with _alone_in(path):
        _clear_alone(path)


@contextmanager
def _alone_in(path: str) -> Iterator[None]:
    """A context in which the directory of ``path`` is locked. Raises ``OSError`` if another process keeps it locked.

    Servers that start at the same time check and remove the path one after the other. Without the lock, one could
    remove the path that another has just bound, because it had checked the old one.
    """
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() >= deadline:
                raise _in_use(path, "another process keeps its directory locked; bind another path, or remove this one")
            time.sleep(0.001)
        try:
            yield
        finally:
            _lock(directory, fcntl.LOCK_UN)  # close() is not enough: a child forked meanwhile would keep the lock
    finally:
        os.close(directory)


def _lock(directory: int, operation: int) -> bool:
    """``flock(2)``. Returns whether the directory is locked, or the file system has no locks."""
    try:
        fcntl.flock(directory, operation)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: servers that start at the same time are not protected
    return True


def _clear_alone(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise _in_use(path, "it exists and is not a socket; bind another path, or remove this one")
        if _is_served(path):
            raise _in_use(path, "a server listens there already; stop the server that uses it, or bind another path")
        os.unlink(path)
    except FileNotFoundError:
        pass  # its server has just removed it


def _is_served(path: str) -> bool:
    # A datagram socket also detects a stream server (EPROTOTYPE), even before listen(2), and no server notices it.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        error = probe.connect_ex(path)
    if error in (0, errno.EPROTOTYPE):
        return True
    if error == errno.ECONNREFUSED:
        return False
    raise OSError(error, os.strerror(error), path)  # not known, so the path is not removed


def _in_use(path: str, why: str) -> OSError:
    return OSError(errno.EADDRINUSE, why, path)
