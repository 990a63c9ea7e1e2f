"""Socket activation: sockets that a manager such as systemd has bound and passes to this process.

The protocol is that of ``sd_listen_fds(3)``: the descriptors begin at `FIRST`; ``LISTEN_FDS`` has their number,
``LISTEN_PID`` the process that they are for, and ``LISTEN_FDNAMES`` their names, separated by colons.

The manager keeps the sockets, so clients wait in the kernel while the service restarts, and the service needs no
permission to bind them. Their addresses and Unix paths are the manager's: nothing is unlinked at the end.

It is not a name of `reactor`, because most servers bind their own sockets. A program of one socket is:

    from reactor.activation import InheritedMixIn, inherited_sockets

    class Server(InheritedMixIn, SelectTCPServer):
        pass

    [(name, sock)] = inherited_sockets()
    Server(sock, Echo).serve_forever()
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import ExitStack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from .tcp import TCPServer

    _Base = TCPServer
else:
    _Base = object

FIRST = 3
"""The first descriptor that is passed (``SD_LISTEN_FDS_START``)."""

UNNAMED = "unknown"
"""The name of each descriptor where ``LISTEN_FDNAMES`` is not set."""

VARIABLES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES")
REMEDY = "start this process by a systemd socket unit, or with systemd-socket-activate(1)"
UNIX = getattr(socket, "AF_UNIX", -1)
FAMILIES = (socket.AF_INET, getattr(socket, "AF_INET6", -1), UNIX)
KINDS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)


class ActivationError(Exception):
    """No usable socket was passed. The text names the variable or the descriptor, and says what to do."""


def inherited_sockets(environment: MutableMapping[str, str] | None = None) -> list[tuple[str, socket.socket]]:
    """The sockets that were passed to this process, each with its name, in the order of their descriptors.

    A name is that of ``LISTEN_FDNAMES`` (``FileDescriptorName=`` of the socket unit), or `UNNAMED`; several sockets
    may have one name. A program that this process executes gets neither the sockets (``FD_CLOEXEC``) nor the
    variables, which are removed from ``environment`` (default: ``os.environ``), so a second call finds none.

    Raises `ActivationError` if no socket was passed. A program that binds its own sockets then looks first whether
    ``"LISTEN_FDS" in os.environ``.
    """
    passed = os.environ if environment is None else environment
    count, pid, _, names = (passed.pop(variable, None) for variable in VARIABLES)
    if count is None:
        raise ActivationError(f"LISTEN_FDS is not set, so no socket was passed: {REMEDY}")
    if not (count.isascii() and count.isdigit() and 0 < len(count) < 10 and int(count)):
        raise ActivationError(f"LISTEN_FDS is {count!r}, which is no number of descriptors from 1: {REMEDY}")
    if pid != str(os.getpid()):
        text = "not set" if pid is None else repr(pid)
        raise ActivationError(
            f"LISTEN_PID is {text}, and this is process {os.getpid()}, so the sockets are for another process: "
            f"have the manager start this one itself, or let its shell script end in exec"
        )
    listed = None if names is None else names.split(":")
    if listed is not None and len(listed) != int(count):
        raise ActivationError(
            f"LISTEN_FDNAMES has {len(listed)} names, and LISTEN_FDS is {count}: give a name for each descriptor, "
            f"or unset LISTEN_FDNAMES"
        )
    with ExitStack() as opened:
        found = [
            (UNNAMED if listed is None else listed[place], opened.enter_context(_open(FIRST + place, count)))
            for place in range(int(count))
        ]
        opened.pop_all()
    return found


def _open(descriptor: int, count: str) -> socket.socket:
    """The socket of a descriptor that was passed. Raises `ActivationError`."""
    try:
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        os.set_inheritable(descriptor, False)
    except OSError as error:
        raise ActivationError(
            f"LISTEN_FDS is {count}, but descriptor {descriptor}: {error.strerror}; keep the descriptors open that "
            f"the manager passes, from {FIRST} on"
        ) from None
    if not is_socket:
        raise ActivationError(
            f"LISTEN_FDS is {count}, but descriptor {descriptor} is no socket; take ListenFIFO=, ListenSpecial= and "
            f"the like out of the socket unit"
        )
    sock = socket.socket(fileno=descriptor)
    problem = _problem(sock)
    if problem:
        sock.close()
        raise ActivationError(f"LISTEN_FDS is {count}, but descriptor {descriptor} is {problem}")
    return sock


def _problem(sock: socket.socket) -> str:
    """Why no server can serve on the socket; empty if one can."""
    if sock.family not in FAMILIES or sock.type not in KINDS:
        return (
            f"{_kind_of(sock)}; pass stream or datagram sockets of IPv4, IPv6 or Unix (ListenStream=, ListenDatagram=)"
        )
    address = sock.getsockname()
    has_name = bool(address[1] if isinstance(address, tuple) else address)
    return "" if has_name or is_connection(sock) else "a socket without an address; have the manager bind it"


def _kind_of(sock: socket.socket) -> str:
    return f"of {getattr(sock.family, 'name', sock.family)} and {getattr(sock.type, 'name', sock.type)}"


def is_connection(sock: socket.socket) -> bool:
    """Whether it is a stream socket that is connected."""
    if sock.type != socket.SOCK_STREAM:
        return False
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class InheritedMixIn(_Base):
    """In place of an address, the server takes a socket that is bound. A base class before any server class.

    The socket may be one of `inherited_sockets`, or any other. A stream socket that listens keeps the length of its
    accept queue. The server closes the socket; other processes that have it may go on. Raises `TypeError` for a socket
    of another kind than the server class has, or one that is connected.

    >>> import socket
    >>> from reactor import SelectTCPServer
    >>> from handlers.services import Echo
    >>> class Server(InheritedMixIn, SelectTCPServer):
    ...     pass
    >>> with Server(socket.create_server(("127.0.0.1", 0)), Echo) as server:
    ...     server.server_address[0]
    '127.0.0.1'
    """

    def __init__(self, server_address: Any, RequestHandlerClass: Any, *arguments: Any, **options: Any) -> None:
        _require_fit(type(self), server_address)
        self.address_family = server_address.family
        super().__init__(server_address, RequestHandlerClass, *arguments, **options)

    def server_bind(self) -> None:
        """Take the socket in place of the server's own; it is bound already."""
        unbound, self.socket = self.socket, self.server_address
        unbound.close()
        self.server_address = self.socket.getsockname()


def _require_fit(server: type[TCPServer], sock: Any) -> None:
    """Raise `TypeError` if a server of this class can't serve on the socket."""
    if not isinstance(sock, socket.socket):
        raise TypeError(f"{server.__name__} takes a socket that is bound, not {sock!r}; see inherited_sockets()")
    wanted = "Datagram" if sock.type == socket.SOCK_DGRAM else "Stream"
    base = f"Unix{wanted}Server" if sock.family == UNIX else "UDPServer" if wanted == "Datagram" else "TCPServer"
    if server.socket_type != sock.type or (server.address_family == UNIX) != (sock.family == UNIX):
        raise TypeError(f"the socket is {_kind_of(sock)}, for which {server.__name__} is the wrong base: take {base}")
    if is_connection(sock):
        raise TypeError("the socket is connected, and a server needs one that listens: take Accept=yes out of the unit")
