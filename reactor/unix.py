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

from .ancillary import LINUX, credentials, passing
from .packets import UDPServer
from .stream import TCPServer

try:
    import fcntl
except ImportError:  # not on this host, so it has no Unix sockets either
    pass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .request import Request

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

    _srv_made: tuple[str, os.stat_result, int] | None = None  # the path, what it was, and the process that made it

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
            self._srv_bind_to(os.fsdecode(address))
        else:
            super().server_bind()

    def _srv_bind_to(self, path: str) -> None:
        clear(path)
        if self.socket_mode is None:
            super().server_bind()
        else:
            self._srv_bind_shut()
        self._srv_made = os.path.abspath(path), os.lstat(path), os.getpid()
        if self.socket_owner is not None:
            os.chown(path, *self.socket_owner, follow_symlinks=False)
        if self.socket_mode is not None:
            os.chmod(path, self.socket_mode)

    def _srv_bind_shut(self) -> None:
        """Bind to a path to which nobody can connect yet."""
        if LINUX:  # takes the mode of the socket, less the umask
            os.fchmod(self.socket.fileno(), 0)
            super().server_bind()
            return
        before = os.umask(0o777)  # the whole process's for a moment, but nothing else is asked elsewhere
        try:
            super().server_bind()
        finally:
            os.umask(before)

    def _srv_close_socket(self) -> None:
        made, self._srv_made = self._srv_made, None
        if made is not None and made[2] == os.getpid() and self.socket.fileno() >= 0:
            path, status, _ = made
            try:  # before the socket is closed: until then the inode can't be another's
                if os.path.samestat(status, os.lstat(path)):
                    os.unlink(path)
            except OSError:
                pass  # it has gone, or its directory is not ours any more
        super()._srv_close_socket()


class UnixStreamServer(UnixMixIn, TCPServer):
    """A server of Unix stream sockets, in the plain mode. An address that begins with NUL is abstract.

    Descriptors pass to and from handlers whose class declares `StreamHandler.max_descriptors`.
    """

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection: ``(socket, client_address)``."""
        sock, client_address = super().get_request()
        return passing(sock, self._srv_handler), client_address

    def _srv_row(self, request: Any, client_address: Any) -> Request:
        row = super()._srv_row(request, client_address)
        row.credentials = credentials(request)
        return row


class UnixDatagramServer(UnixMixIn, UDPServer):
    """A server of Unix datagram sockets, in the plain mode. An address that begins with NUL is abstract."""


def clear(path: str) -> None:
    """Remove the socket at ``path`` if nobody serves there any more. Does nothing where there is nothing.

    Raises ``OSError``, its ``filename`` the path: ``EADDRINUSE`` where somebody serves, or where it is no socket,
    and what keeps us from finding out.
    """
    if not os.path.lexists(path):
        return
    # Of several that come at once, one removes it, and none takes what that one binds for what it has found.
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _lock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.monotonic() >= deadline:
                raise _in_use(path, "somebody keeps its directory locked; bind another path, or remove it yourself")
            time.sleep(0.001)
        try:
            _clear_alone(path)
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
