"""What the kernel tells and takes beside the data: the address that was called, what the network
reports, who the peer is, descriptors that are passed.

It costs a dearer system call (``recvmsg``), so each is asked for only where somebody needs it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections import deque

from handlers import LimitPassed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

LINUX = sys.platform == "linux"
IP, IPV6 = socket.IPPROTO_IP, getattr(socket, "IPPROTO_IPV6", -1)
INET6 = getattr(socket, "AF_INET6", -1)
UNIX = getattr(socket, "AF_UNIX", -1)
DONTWAIT: int = getattr(socket, "MSG_DONTWAIT", 0)
"""Flag that makes one call non-blocking and leaves the socket as the handlers expect it."""

# The names that Python's module has not, or not always, and Linux's numbers of them.
IP_PKTINFO: int = getattr(socket, "IP_PKTINFO", 8 if LINUX else -1)
IPV6_PKTINFO: int = getattr(socket, "IPV6_PKTINFO", -1)
IPV6_RECVPKTINFO: int = getattr(socket, "IPV6_RECVPKTINFO", -1)
RECVERR = ((IP, 11), (IPV6, 25))
_BY_ICMP = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6: what the host itself refuses, it refuses in the call

SPACE = 512
"""Bytes that all that is told of one packet may take."""

_WILDCARDS = ("0.0.0.0", "::", "::ffff:0.0.0.0")
_CREDENTIALS = struct.Struct("iII")
_INT = struct.calcsize("i")
_MAX_PASSED = 253  # descriptors in one message (SCM_MAX_FD)
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


# Which of our addresses was called (``ip(7)``, ``ipv6(7)``; RFC 3542, section 6)


class CalledSocket:
    """A datagram socket that is bound to a wildcard, as one of its addresses: what `sendto` sends leaves from there.

    Who asked at one address takes no answer from another. Anything else is the socket's.
    """

    __slots__ = ("_ancillary", "_socket", "local")

    def __init__(self, sock: socket.socket, local: bytes) -> None:
        self._socket = sock
        self.local = local
        """The address, 4 or 16 bytes."""
        if len(local) == 4:
            self._ancillary = ((IP, IP_PKTINFO, struct.pack("=I4s4x", 0, local)),)
        else:
            self._ancillary = ((IPV6, IPV6_PKTINFO, struct.pack("=16sI", local, 0)),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """As ``socket.sendto``."""
        flags = flags_and_address[0] if len(flags_and_address) > 1 else 0
        return self._socket.sendmsg([data], self._ancillary, flags, flags_and_address[-1])


def tell_calls(sock: Any) -> bool:
    """Have it told of each packet which address it came to, if the socket has many, or is not bound yet. Whether it is.

    Of packets that have come before it is told no more.
    """
    option = {socket.AF_INET: (IP, IP_PKTINFO), INET6: (IPV6, IPV6_RECVPKTINFO)}.get(sock.family)
    if option is None or not hasattr(sock, "recvmsg"):
        return False
    has_many = sock.getsockname()[0] in _WILDCARDS
    return _set(sock, *option, has_many) and has_many


def called(sock: Any, ancillary: Iterable[tuple[int, int, bytes]], reported: bool = False) -> Any:
    """The socket to answer by: ``sock``, as the address that the packet came to if that can be answered from."""
    for level, kind, data in ancillary:
        if (level, kind) == (IP, IP_PKTINFO):  # for a broadcast, the first of two is the interface's own
            return CalledSocket(sock, data[8:12] if reported else data[4:8])
        if (level, kind) == (IPV6, IPV6_PKTINFO) and data[0] != 0xFF:  # that would be a multicast
            return CalledSocket(sock, data[:16])
    return sock


# What the network reports (ICMP; ``ip(7)``, IP_RECVERR)


def tell_errors(sock: Any) -> bool:
    """Have the network's reports on packets that were sent kept for `reports`. Whether they will be.

    While there is one, a call on the socket fails with it, whomever that call is about.
    """
    if not LINUX or sock.family not in (socket.AF_INET, INET6) or not hasattr(sock, "recvmsg"):
        return False
    options = RECVERR if sock.family == INET6 else RECVERR[:1]
    told = [_set(sock, level, option) for level, option in options]
    return any(told)


def reports(sock: socket.socket, limit: int) -> Iterator[tuple[OSError, Any, Any]]:
    """At most ``limit`` reports: what is wrong, by which socket (see `called`) it was sent, and to whom."""
    for _ in range(limit):
        try:
            _, ancillary, _, peer = sock.recvmsg(0, SPACE, socket.MSG_ERRQUEUE | DONTWAIT)
        except OSError:
            return
        for level, kind, data in ancillary:
            if (level, kind) in RECVERR:
                number, origin = struct.unpack_from("=IB", data)
                if origin in _BY_ICMP:
                    yield OSError(number, os.strerror(number)), called(sock, ancillary, reported=True), peer


def _set(sock: Any, level: int, option: int, value: bool = True) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False  # the host has the name, not the thing
    return True


# Who the peer is (``unix(7)``, SO_PEERCRED)


def credentials(sock: Any) -> tuple[int, int, int] | None:
    """``(pid, uid, gid)`` of the peer when it connected; ``None`` where the host, or such a socket, has none."""
    option = getattr(socket, "SO_PEERCRED", None) if LINUX else None  # on others, it is in another order
    if option is None or getattr(sock, "family", None) != UNIX:
        return None
    try:
        told = sock.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    except OSError:
        return None  # it is closed, or the host has the name, not the thing
    pid, uid, gid = _CREDENTIALS.unpack(told)
    return pid, uid, gid


# Descriptors that are passed (``unix(7)``, SCM_RIGHTS)


class PassingSocket(socket.socket):
    """A Unix stream socket by which descriptors pass, at most ``limit`` waiting in each direction.

    It takes the place of ``sock``. Those that nobody has claimed are closed with it.
    """

    __slots__ = ("_limit", "_name", "_passing", "_sent", "descriptors")

    def __init__(self, sock: socket.socket, limit: int, name: str) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.settimeout(timeout)
        self._limit = limit
        self._name = name
        self._sent = 0
        self._passing: deque[tuple[int, tuple[int, ...]]] = deque()  # each with the byte that it leaves with
        self.descriptors: list[int] = []
        """Those that have come, and that nobody has claimed."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``; the descriptors don't outlive an ``exec()``.

        Raises `LimitPassed` where more of them come than may be held, and ``OSError`` where the host has no room.
        """
        room = min(self._limit - len(self.descriptors), _MAX_PASSED)
        space = socket.CMSG_LEN(room * _INT) if room else 0
        data, ancillary, told, _ = self.recvmsg(size, space, flags | _CLOEXEC)
        came: list[int] = []
        for level, kind, passed in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                came += struct.unpack(f"{len(passed) // _INT}i", passed)
        self.descriptors += came
        if not _CLOEXEC:
            for descriptor in came:
                os.set_inheritable(descriptor, False)
        if told & socket.MSG_CTRUNC:
            if len(came) < room:
                raise OSError(errno.EMFILE, "the host has no room for all descriptors that have come")
            raise self._too_many("come")
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``; descriptors leave with their byte, and their copies here are closed."""
        with memoryview(data) as view:
            position, passed = self._passing[0] if self._passing else (self._sent + len(view), ())
            if position > self._sent:
                with view[: position - self._sent] as part:
                    count = super().send(part, flags)
            else:
                following = self._passing[1][0] - position if len(self._passing) > 1 else len(view)
                with view[:following] as part:
                    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(passed)}i", *passed))
                    count = self.sendmsg([part], [rights], flags)
                self._let_go(self._passing.popleft()[1])
        self._sent += count
        return count

    def pass_on(self, held_out: int, passed: Iterable[int]) -> None:
        """Have descriptors leave with the byte that comes after ``held_out`` bytes.

        Raises `LimitPassed`, and ``ValueError`` for more than one message takes (``unix(7)``).
        """
        passed = tuple(passed)
        if len(passed) > _MAX_PASSED:
            raise ValueError(f"{len(passed)} descriptors are more than the {_MAX_PASSED} that pass at once")
        self._passing.append((self._sent + held_out, passed))
        if sum(len(passed) for _, passed in self._passing) > self._limit:
            raise self._too_many("wait to be sent")

    def close(self) -> None:
        """Close it, and the descriptors that are still here."""
        self._let_go(self.descriptors)
        self.descriptors.clear()
        while self._passing:
            self._let_go(self._passing.popleft()[1])
        super().close()

    @staticmethod
    def _let_go(descriptors: Iterable[int]) -> None:
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError:  # noqa: PERF203  # somebody has closed it who should not have
                pass

    def _too_many(self, what: str) -> LimitPassed:
        return LimitPassed(None, what=f"more descriptors {what} than the {self._limit} of {self._name}.max_descriptors")


def passing(sock: Any, handler: Any) -> Any:
    """The connected socket for a row of ``handler``: one by which descriptors pass if its class wants that."""
    limit = getattr(handler, "max_descriptors", 0)
    if not limit or sock.family != UNIX or not isinstance(sock, socket.socket) or not hasattr(socket, "SCM_RIGHTS"):
        return sock
    kind = handler if isinstance(handler, type) else type(handler)
    return PassingSocket(sock, limit, kind.__name__)
