"""Unix sockets: the path, which outlives its server, and belongs to one that is alive, to nobody else.

``bind(2)`` leaves a path behind that nobody removes, takes its mode from the umask, and fails where
there is anything at all. Here one that was left behind is taken over, one that is served is not, and
who may connect can be said.
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
"""Seconds for which others may keep a directory locked in which a path is to be looked at."""


class UnixMixIn(_Base):
    """What servers of both kinds of Unix sockets have in common: where they are found.

    An address that begins with NUL is abstract (Linux): it has no path, no mode and no owner, and it
    goes with its socket.
    """

    address_family: int = getattr(socket, "AF_UNIX", -1)

    socket_mode: int | None = None
    """The mode of the path, such as ``0o660``: who may write to it may connect. ``None``: what the umask leaves
    of ``0o777``. It holds from the first moment that the path is there."""

    socket_owner: tuple[int, int] | None = None
    """``(uid, gid)`` to give the path to, -1 for one that stays as it is; only together with ``socket_mode``."""

    def server_bind(self) -> None:
        """Bind the socket; a path that nobody serves any more is removed first. May be overridden.

        Raises ``OSError`` (``EADDRINUSE``, the path its ``filename``) where somebody serves, or where there is
        something else than a socket.
        """
        address = self.server_address
        is_path = bool(address) and address[:1] not in ("\0", b"\0")
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
    """A path that was made for a socket.

    The process that has made it removes it, when it has closed the socket and nobody else has it: other processes may
    have the socket too, from ``fork()`` or by a passed descriptor. The path that they leave behind, when they end, is
    removed by the server that binds to it next (`clear`).
    """

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._status = os.lstat(path)
        self._pid = os.getpid()

    def remove(self) -> bool:
        """Remove the path of a socket that has been closed. False: another process has the socket, so it stays."""
        if self._pid != os.getpid():
            return True
        try:
            with _alone_in(self._path):  # else it may be removed and bound again by others, and have the same inode
                return self._remove_alone()
        except PermissionError:  # its directory may be written and not be read, so nobody can lock it
            return self._remove_alone()
        except OSError:
            return True  # its directory has gone, or others keep it locked

    def _remove_alone(self) -> bool:
        try:
            if os.path.samestat(self._status, os.lstat(self._path)):
                if self._is_held():
                    return False
                os.unlink(self._path)
        except OSError:
            pass  # it has gone, or its directory is not ours any more
        return True

    def _is_held(self) -> bool:
        try:
            return _is_served(self._path)
        except OSError:
            return False  # nobody may connect, or the path is too long to ask: then it is only ours


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
    """Bind to a path to which nobody can connect yet."""
    if LINUX:  # bind(2) gives the path the mode of the socket, less the umask
        os.fchmod(sock.fileno(), 0)
        bind()
        return
    before = os.umask(0o777)  # the whole process's for a moment; other hosts have no better way
    try:
        bind()
    finally:
        os.umask(before)


def clear(path: str) -> None:
    """Remove the socket at ``path`` if nobody serves there any more. Does nothing where there is nothing.

    Raises ``OSError``, its ``filename`` the path: ``EADDRINUSE`` where somebody serves, or where it is no socket,
    and what keeps us from finding out.
    """
    if not os.path.lexists(path):
        return
    with _alone_in(path):
        _clear_alone(path)


@contextmanager
def _alone_in(path: str) -> Iterator[None]:
    """A context in which the directory of ``path`` is locked. Raises ``OSError`` if others keep it locked.

    Of several that come at once, one removes the path, and none takes what that one binds for what it has found.
    """
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() >= deadline:
                raise _in_use(path, "somebody keeps its directory locked; bind another path, or remove it yourself")
            time.sleep(0.001)
        try:
            yield
        finally:
            _lock(directory, fcntl.LOCK_UN)  # a child of this very moment would keep it
    finally:
        os.close(directory)


def _lock(directory: int, operation: int) -> bool:
    """``flock(2)``. Whether it was done, or can't be done by anybody."""
    try:
        fcntl.flock(directory, operation)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks: who comes at the same moment takes the risk
    return True


def _clear_alone(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise _in_use(path, "there is something that is no socket; bind another path, or remove it yourself")
        if _is_served(path):
            raise _in_use(path, "a server is there already; stop what serves there, or bind another path")
        os.unlink(path)
    except FileNotFoundError:
        pass  # its server has just removed it itself


def _is_served(path: str) -> bool:
    # A datagram socket: that tells of stream servers too, even of one that doesn't listen yet, and none notices.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        error = probe.connect_ex(path)
    if error in (0, errno.EPROTOTYPE):
        return True
    if error == errno.ECONNREFUSED:
        return False
    raise OSError(error, os.strerror(error), path)  # who may not look may not remove


def _in_use(path: str, why: str) -> OSError:
    return OSError(errno.EADDRINUSE, why, path)
