"""The errnos of each call, the expected outcome of each, and the manual pages that name them: a table for tests.

Errnos that only a mistake in the program gives (EBADF, EFAULT, EINVAL, ENOTSOCK) are left out.
"""

import os
from typing import NamedTuple

WHOLE = "whole"
"""The kernel has taken nothing, so no byte is missing."""

ENDS = "ends"
"""It ends that one connection or exchange, and the row has the reason."""

TOLD = "told"
"""The handler that asked for it gets the cause."""


class Fault(NamedTuple):
    """A call, its errnos, the expected outcome, and the manual pages.

    With ``one`` it befalls one connection or peer; without, whichever is next.
    """

    call: str
    errnos: str
    outcome: str
    source: str
    scene: str = "lines"
    one: bool = False


FAULTS = [
    Fault("accept", "EAGAIN EINTR ECONNABORTED EPERM EPROTO", WHOLE, "accept(2)"),
    Fault("accept", "EMFILE ENFILE ENOBUFS ENOMEM", WHOLE, "accept(2)"),
    Fault("accept", "ENETDOWN ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH ETIMEDOUT", WHOLE,
          "accept(2): errors of the new connection, to be treated like EAGAIN"),
    Fault("recv", "EAGAIN EINTR", WHOLE, "recv(2)"),
    Fault("recv", "ECONNRESET ETIMEDOUT ECONNREFUSED ENOTCONN EIO", ENDS, "recv(2), recv() of POSIX, tcp(7)",
          one=True),
    Fault("recv", "EHOSTUNREACH ENETUNREACH EHOSTDOWN ENETDOWN EPROTO", ENDS, "ip(7)", one=True),
    Fault("recv", "ENOMEM ENOBUFS", ENDS, "recv(2), recv() of POSIX", one=True),
    Fault("send", "EAGAIN EINTR", WHOLE, "send(2)"),
    Fault("send", "EPIPE ECONNRESET ETIMEDOUT EIO ENOTCONN", ENDS, "send(2), send() of POSIX, tcp(7)", one=True),
    Fault("send", "EHOSTUNREACH ENETUNREACH ENETDOWN EACCES EPERM", ENDS, "send() of POSIX, ip(7)", one=True),
    Fault("send", "ENOMEM ENOBUFS", ENDS, "send(2)", one=True),
    Fault("shutdown", "ENOTCONN ENOBUFS", WHOLE, "shutdown(2), shutdown() of POSIX"),
    Fault("shutdown", "ENOTCONN ENOBUFS", ENDS, "shutdown(2), shutdown() of POSIX", "parting", one=True),
    Fault("close", "EINTR EIO ENOSPC EDQUOT", WHOLE, "close(2)"),
    Fault("setblocking", "EBADF ENOTTY", ENDS, "ioctl(2)", one=True),
    Fault("register", "ENOMEM ENOSPC EPERM", ENDS, "epoll_ctl(2)", one=True),
    Fault("modify", "ENOMEM", ENDS, "epoll_ctl(2)", one=True),
    Fault("recvfrom", "EAGAIN EINTR ECONNREFUSED EHOSTUNREACH ENETUNREACH ENETDOWN ENOMEM ENOBUFS", WHOLE,
          "recv(2), recvfrom() of POSIX, udp(7)", "packets"),
    Fault("sendto", "EAGAIN EINTR ENOBUFS ENOMEM", WHOLE, "send(2)", "packets"),
    Fault("sendto", "ECONNREFUSED EHOSTUNREACH ENETUNREACH ENETDOWN EMSGSIZE EACCES EPERM EIO", ENDS,
          "send(2), sendto() of POSIX, udp(7), ip(7)", "packets", one=True),
    Fault("socket", "EACCES EAFNOSUPPORT EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT", TOLD, "socket(2)", "relay"),
    Fault("connect", "ECONNREFUSED ETIMEDOUT ENETUNREACH EHOSTUNREACH ENETDOWN ECONNRESET EADDRNOTAVAIL EADDRINUSE "
          "EACCES EPERM ENOBUFS EIO", TOLD, "connect(2), connect() of POSIX", "relay"),
    Fault("connect", "EAGAIN", WHOLE, "connect(2)", "relay"),
    Fault("getsockopt", "ENOBUFS ENOMEM", TOLD, "getsockopt() of POSIX", "relay"),
    Fault("getpeername", "ENOBUFS", TOLD, "getpeername(2)", "relay"),
    Fault("register", "ENOMEM ENOSPC", TOLD, "epoll_ctl(2)", "relay", one=True),
]  # fmt: skip


def failing(number):
    """A function that raises `OSError` with the errno."""

    def call(*arguments, **keywords):
        raise OSError(number, os.strerror(number))

    return call
