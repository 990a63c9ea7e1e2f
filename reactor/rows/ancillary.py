"""What the kernel passes besides the data: the address that a packet was sent to, ICMP errors, and descriptors.

Most of this needs recvmsg(2), which costs more than recv(2), so recvmsg(2) is called only where it is needed.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections import deque

from ..handlers import LimitPassed
from ..loop.descriptors import close_passed
from ..loop.kernel import DONTWAIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

LINUX = sys.platform == "linux"
IP, IPV6 = socket.IPPROTO_IP, getattr(socket, "IPPROTO_IPV6", -1)
INET6 = getattr(socket, "AF_INET6", -1)
UNIX = getattr(socket, "AF_UNIX", -1)

# Names that Python's module ``socket`` lacks, always or in some versions, and their numbers on Linux.
IP_PKTINFO: int = getattr(socket, "IP_PKTINFO", 8 if LINUX else -1)
IPV6_PKTINFO: int = getattr(socket, "IPV6_PKTINFO", -1)
IPV6_RECVPKTINFO: int = getattr(socket, "IPV6_RECVPKTINFO", -1)
RECVERR = ((IP, 11), (IPV6, 25))
_BY_ICMP = (2, 3)  # SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6; an error of this host itself is also that of the call

SPACE = 512
"""Bytes of ancillary data that one packet may have."""

_QUOTE = 1_280  # bytes that an ICMP error quotes at most (RFC 1812, section 4.3.2.3: 576; RFC 4443, section 2.4: 1280)

WILDCARDS = ("0.0.0.0", "::", "::ffff:0.0.0.0")
_INT = struct.calcsize("i")
_MAX_PASSED = 253  # descriptors in one message (SCM_MAX_FD)
_PASSED_SPACE = socket.CMSG_LEN(_MAX_PASSED * _INT) if hasattr(socket, "CMSG_LEN") else 0
SO_PASSRIGHTS = 83
"""The socket option of Linux 6.16 and later: whether descriptors may be passed to a Unix socket (``unix(7)``)."""
_CLOEXEC: int = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


# The address that a packet was sent to (``ip(7)``, ``ipv6(7)``; RFC 3542, section 6)


class CalledSocket:
    """A datagram socket that is bound to a wildcard address, and the address ``local`` to which ``peer`` has sent.

    What `sendto` sends to the peer leaves from ``local``, because the peer takes no answer from another address. For
    any other receiver the kernel chooses the source: from ``local`` there may be no route. All else is the socket's.
    """

    __slots__ = ("_ancillary", "_peer", "_socket", "local")

    def __init__(self, sock: socket.socket, local: bytes, peer: Any) -> None:
        self._socket = sock
        self._peer = peer
        self.local = local
        """The address that the peer has sent to, 4 or 16 bytes."""
        if len(local) == 4:
            self._ancillary = ((IP, IP_PKTINFO, struct.pack("=I4s4x", 0, local)),)
        else:
            self._ancillary = ((IPV6, IPV6_PKTINFO, struct.pack("=16sI", local, 0)),)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def sendto(self, data: Any, *flags_and_address: Any) -> int:
        """As ``socket.sendto``."""
        address = flags_and_address[-1] if flags_and_address else None
        if not self._is_peer(address):
            return self._socket.sendto(data, *flags_and_address)
        flags = flags_and_address[0] if len(flags_and_address) > 1 else 0
        return self._socket.sendmsg([data], self._ancillary, flags, address)

    def _is_peer(self, address: Any) -> bool:
        # An address of IPv6 may be written without its flow information and scope.
        return isinstance(address, tuple) and len(address) > 1 and self._peer[: len(address)] == address


def tell_calls(sock: Any) -> bool:
    """Have the kernel say of each packet to which address it was sent, if the socket has several. Whether it will.

    To be called before the socket is bound, and after: the kernel says nothing about packets that came before the call.
    """
    option = {socket.AF_INET: (IP, IP_PKTINFO), INET6: (IPV6, IPV6_RECVPKTINFO)}.get(sock.family)
    if option is None or not hasattr(sock, "recvmsg"):
        return False
    has_many = sock.getsockname()[0] in WILDCARDS
    return _set(sock, *option, has_many) and has_many


def is_local(address: tuple[Any, ...]) -> bool:
    """Whether this host has the address of an IP socket: one can be bound to it."""
    family = INET6 if ":" in str(address[0]) else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address[0], 0, *address[2:]))
    except (OSError, TypeError):
        return False
    return True


def called(sock: Any, ancillary: Iterable[tuple[int, int, bytes]], peer: Any, reported: bool = False) -> Any:
    """The socket by which to answer ``peer``: ``sock``, as a `CalledSocket` if the kernel said what the peer called.

    Not for a multicast address, which can't be a source. ``reported``: the ancillary data is that of an ICMP error.
    """
    for level, kind, data in ancillary:
        if (level, kind) == (IP, IP_PKTINFO):  # of a broadcast, the first of two addresses is that of the interface
            return CalledSocket(sock, data[8:12] if reported else data[4:8], peer)
        if (level, kind) == (IPV6, IPV6_PKTINFO) and data[0] != 0xFF:
            return CalledSocket(sock, data[:16], peer)
    return sock


def make_room_for_unread(sock: Any) -> None:
    """Double the send buffer of a Unix datagram socket, unless SO_SNDBUF has been set.

    Answers that peers do not read are charged to the socket that sent them (``unix(7)``, SO_SNDBUF). When its buffer is
    full, nobody is answered until one of those peers reads or closes its socket; the server can't take them back.
    """
    if sock.family != UNIX:
        return
    with socket.socket(UNIX, socket.SOCK_DGRAM) as new:
        usual = new.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == usual:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, usual)  # the kernel takes it twice (``socket(7)``)


# ICMP errors (``ip(7)``, IP_RECVERR)


def tell_errors(sock: Any) -> bool:
    """Have the kernel keep the ICMP errors about packets that were sent, for `reports`. Whether it will.

    While it keeps one, a call on the socket may fail with it, whatever peer that call is about.
    """
    if not LINUX or sock.family not in (socket.AF_INET, INET6) or not hasattr(sock, "recvmsg"):
        return False
    options = RECVERR if sock.family == INET6 else RECVERR[:1]
    told = [_set(sock, level, option) for level, option in options]
    return any(told)


def reports(sock: socket.socket, limit: int) -> Iterator[tuple[OSError, Any, Any, bytes]]:
    """At most ``limit`` ICMP errors: the error, the socket that has sent the packet (see `called`), its receiver, and
    the beginning of the packet, as quoted by the host or router that reports the error.

    Anybody can forge an ICMP error, but nobody can quote a packet without having seen it: compare the quotation with
    what was sent (RFC 8085, section 5.2). It is empty where the router quotes no more than the UDP header (RFC 792).
    """
    for _ in range(limit):
        try:
            quoted, ancillary, _, peer = sock.recvmsg(_QUOTE, SPACE, socket.MSG_ERRQUEUE | DONTWAIT)
        except OSError:
            return
        for level, kind, data in ancillary:
            if (level, kind) in RECVERR:
                number, origin = struct.unpack_from("=IB", data)
                if origin in _BY_ICMP:
                    by = called(sock, ancillary, peer, reported=True)
                    yield OSError(number, os.strerror(number)), by, peer, quoted


def _set(sock: Any, level: int, option: int, value: bool = True) -> bool:
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False  # the host knows the name of the option, but not the option
    return True


# Descriptors that are passed (``unix(7)``, SCM_RIGHTS)


class PassingSocket(socket.socket):
    """A Unix stream socket that passes descriptors. At most ``limit`` wait to be sent, and as many to be claimed.

    It takes over the descriptor of ``sock``. `close` closes the descriptors that wait, too. ``name`` is that of the
    handler's class, for error messages.
    """

    __slots__ = ("_limit", "_name", "_passing", "_sent", "descriptors")

    def __init__(self, sock: socket.socket, limit: int, name: str) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.settimeout(timeout)
        self._limit = limit
        self._name = name
        self._sent = 0
        self._passing: deque[tuple[int, tuple[int, ...]]] = deque()  # after how many bytes, which descriptors
        self.descriptors: list[int] = []
        """The descriptors that have come and were not claimed yet."""

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``; descriptors that come with the data are added to `descriptors`, and close on exec(2).

        Raises `LimitPassed` if more of them come than may wait, and ``OSError`` if the host has no room for them.
        """
        data, came, is_cut = _receive(self, size, flags)
        room = self._limit - len(self.descriptors)
        self.descriptors += came[:room]
        close_passed(came[room:])
        if is_cut:
            raise OSError(errno.EMFILE, "the host has no room for all descriptors that have come")
        if len(came) > room:
            raise self._too_many("come")
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """As ``socket.send``. Descriptors are sent with the byte that they belong to; then the copies are closed."""
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
                close_passed(self._passing.popleft()[1])
        self._sent += count
        return count

    def pass_on(self, held_out: int, passed: Iterable[int]) -> None:
        """Send descriptors together with the byte that follows the next ``held_out`` bytes.

        Raises `LimitPassed` if too many wait to be sent, and ``ValueError`` for more than fit in one message
        (SCM_MAX_FD, ``unix(7)``).
        """
        passed = tuple(passed)
        if len(passed) > _MAX_PASSED:
            raise ValueError(f"{len(passed)} descriptors are more than the {_MAX_PASSED} that pass at once")
        self._passing.append((self._sent + held_out, passed))
        if sum(len(passed) for _, passed in self._passing) > self._limit:
            raise self._too_many("wait to be sent")

    def close(self) -> None:
        """Close the socket, and the descriptors that wait to be sent or claimed."""
        close_passed(self.descriptors)
        self.descriptors.clear()
        while self._passing:
            close_passed(self._passing.popleft()[1])
        super().close()

    def _too_many(self, what: str) -> LimitPassed:
        return LimitPassed(None, what=f"more descriptors {what} than the {self._limit} of {self._name}.max_descriptors")


class DroppingSocket(socket.socket):
    """A Unix stream socket that closes the descriptors that come, where the kernel can't refuse them (`refuse_passed`).

    It takes over the descriptor of ``sock``. recv(2) would have the kernel close them, which may block.
    """

    __slots__ = ()

    def __init__(self, sock: socket.socket) -> None:
        timeout = sock.gettimeout()
        super().__init__(sock.family, sock.type, sock.proto, sock.detach())
        self.settimeout(timeout)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """As ``socket.recv``."""
        data, came, _ = _receive(self, size, flags)
        close_passed(came)
        return data


def passing(sock: Any, handler: Any) -> Any:
    """The connected socket for a row of ``handler``: a `PassingSocket` if its class declares ``max_descriptors``.

    A blocking handler, whose class does not have that, gets the socket as it is.
    """
    limit = getattr(handler, "max_descriptors", None)
    if limit is None or sock.family != UNIX or not isinstance(sock, socket.socket) or not hasattr(sock, "recvmsg"):
        return sock
    if not limit:
        return sock if refuse_passed(sock) else DroppingSocket(sock)
    kind = handler if isinstance(handler, type) else type(handler)
    return PassingSocket(sock, limit, kind.__name__)


def refuse_passed(sock: Any) -> bool:
    """Have the kernel refuse descriptors that are passed to ``sock``, or to what it will accept: sendmsg(2) of the
    sender fails with EPERM. Whether it does (SO_PASSRIGHTS, Linux 6.16 and later).
    """
    return LINUX and isinstance(sock, socket.socket) and _set(sock, socket.SOL_SOCKET, SO_PASSRIGHTS, False)


def _receive(sock: socket.socket, size: int, flags: int) -> tuple[bytes, list[int], bool]:
    """The data, all descriptors that come with it, and whether the host had no room for some.

    There is space for as many as can come, because the kernel closes what does not fit, and that may block.
    """
    data, ancillary, told, _ = sock.recvmsg(size, _PASSED_SPACE, flags | _CLOEXEC)
    came: list[int] = []
    for level, kind, passed in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            came += struct.unpack(f"{len(passed) // _INT}i", passed)
    if not _CLOEXEC:
        for descriptor in came:
            os.set_inheritable(descriptor, False)
    return data, came, bool(told & socket.MSG_CTRUNC)
