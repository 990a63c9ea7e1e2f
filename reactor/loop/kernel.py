"""What the kernel's errors mean: which are normal, and which say that the host has run out of something.

And calls on a socket that are short for what the module ``socket`` does at length.
"""

from __future__ import annotations

import _socket
import errno
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Result = TypeVar("Result")

_NOT = (1).to_bytes(4, sys.byteorder) + bytes(4)
"""``struct linger`` of a socket that does not linger."""

AGAIN = (BlockingIOError, InterruptedError)
"""The call would have blocked, or was interrupted: nothing has happened, and a later call may succeed."""

SHORT = {getattr(errno, name) for name in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") if hasattr(errno, name)}
"""The host has run out of descriptors or memory for the moment."""

NONE_LEFT = SHORT | {errno.EAGAIN}
"""The errors of ``fork(2)`` and ``pthread_create(3)`` after which a later attempt may succeed."""

PAUSE = 0.1
"""Seconds until the next attempt after the host could not make a child or a thread."""


_PLAIN = socket.socket  # now: gevent and eventlet may put another class in its place later
_accept: Callable[[Any], tuple[int, Any]] | None = vars(_socket.socket).get("_accept")  # undocumented
_family: Callable[[Any], int] = vars(_socket.socket)["family"].__get__
_type: Callable[[Any], int] = vars(_socket.socket)["type"].__get__


INET = socket.AF_INET, getattr(socket, "AF_INET6", -1)
"""The address families of IP."""

DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
"""The flag that makes one call non-blocking: the socket stays as blocking handlers expect it."""

_UNIX = getattr(socket, "AF_UNIX", -1)
_PEERCRED: int | None = getattr(socket, "SO_PEERCRED", None) if sys.platform == "linux" else None
"""The credentials of a peer: three numbers of four bytes on Linux, another structure elsewhere."""


def family(sock: Any) -> Any:
    """The address family of ``sock`` as a number; ``None`` if it has none.

    ``socket.socket.family`` makes an enumeration of it each time, which takes as long as a system call.
    """
    return _family(sock) if isinstance(sock, _socket.socket) else getattr(sock, "family", None)


def credentials(sock: Any) -> tuple[int, int, int] | None:
    """``(pid, uid, gid)`` of the peer when it connected; ``None`` for another kind of socket, or host than Linux.

    (``unix(7)``, SO_PEERCRED.)
    """
    if family(sock) != _UNIX or _PEERCRED is None:
        return None
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, _PEERCRED, 12)
    except OSError:
        return None  # the socket is closed, or the host knows the name of the option, but not the option
    return tuple(int.from_bytes(told[place : place + 4], sys.byteorder, signed=not place) for place in (0, 4, 8))  # type: ignore[return-value]


def is_tcp(sock: Any) -> bool:
    """Whether ``sock`` is a TCP socket."""
    if isinstance(sock, _socket.socket):
        return _family(sock) in INET and _type(sock) == socket.SOCK_STREAM
    return isinstance(sock, socket.socket) and sock.family in INET and sock.type == socket.SOCK_STREAM


def accept(sock: Any) -> tuple[Any, Any]:
    """``sock.accept()``, without the enumerations that it makes of the family and the type for each connection."""
    if type(sock) is not _PLAIN or not isinstance(sock, _socket.socket) or _accept is None:
        connection, address = sock.accept()
        return connection, address
    descriptor, address = _accept(sock)
    return _PLAIN(_family(sock), _type(sock), sock.proto, descriptor), address


def is_final(error: BaseException) -> bool:
    """Whether ``error`` says that this process starts no thread, or forks no child, any more: its interpreter ends.

    CPython 3.12.0 to 3.12.2 say so of a process whose main thread has ended (cpython#113964).
    """
    return "at interpreter shutdown" in str(error)


class NoneLeft(OSError):
    """The host can't make a child or a thread now; ``errno`` says what it has run out of."""


def shut_down(sock: Any, is_cut: bool) -> None:
    """Tell the peer that no more output comes; the caller closes the socket next. If output ``is_cut``, that resets it.

    Raises ``OSError`` if the peer has gone first.
    """
    if is_cut and family(sock) in INET:
        reset_on_close(sock)
    else:
        sock.shutdown(socket.SHUT_WR)


def reset_on_close(sock: Any) -> None:
    """Have close(2) reset a TCP connection (``SO_LINGER`` of ``socket(7)``): a FIN would say that the peer has all."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOT)
    except OSError:
        pass  # the peer has gone first, or the host has no such option


def close(sock: socket.socket) -> None:
    """Close the socket and ignore what ``close(2)`` reports: the descriptor is released all the same."""
    try:
        sock.close()
    except OSError:
        pass


def at_once(sock: Any, call: Callable[..., Result], *arguments: Any) -> Result:
    """Make a call on the socket that does not wait, although the user may have set a timeout on it.

    With a timeout, Python itself waits for the socket, whatever the flags of the call.
    """
    timeout = sock.gettimeout()
    if not timeout:
        return call(*arguments)
    sock.settimeout(0)
    try:
        return call(*arguments)
    finally:
        sock.settimeout(timeout)
