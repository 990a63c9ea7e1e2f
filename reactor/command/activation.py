"""``--bind systemd:``: the sockets that systemd, or a manager that speaks its protocol, has passed.

A socket that listens is served until the end of the process; with ``Accept=yes`` the manager passes one connection, and
the process ends with it, as under inetd(8).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from .. import TCPServer
from ..rows.ancillary import passing
from ..servers.activation import UNIX, ActivationError, InheritedMixIn, inherited_sockets
from ..servers.kinds import class_of
from ..servers.tcp import is_listening, set_options
from .errors import Wrong, say
from .places import INHERITED, Place, url_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


def with_inherited(places: Sequence[Place]) -> list[Place]:
    """``places``, with the sockets that were passed in place of ``systemd:``. Raises `Wrong` if one does not fit."""
    asking = [place for place in places if place.scheme in INHERITED]
    if not asking:
        return list(places)
    try:
        left = inherited_sockets()
    except ActivationError as error:
        raise Wrong(f"{asking[0].url}: {error}") from None
    found = [place for place in places if place.scheme not in INHERITED]
    names = ", ".join(sorted({name for name, _ in left}))
    for place in sorted(asking, key=lambda place: not place.address):  # what no name asks for is left for systemd:
        taken = [(name, sock) for name, sock in left if place.address in ("", name)]
        if not taken:
            raise Wrong(
                f"{place.url}: no socket of this name is left; the names that were passed are {names} "
                f"(LISTEN_FDNAMES, which is FileDescriptorName= of the socket unit)"
            )
        found += [_place_of(sock, place) for _, sock in taken]
        left = [pair for pair in left if pair not in taken]
    if left:
        raise Wrong(f"a socket named {left[0][0]} was passed (LISTEN_FDNAMES), and nothing takes it; --bind systemd:")
    return found


def _place_of(sock: socket.socket, asking: Place) -> Place:
    """The place that a socket is. Raises `Wrong` for a socket without TLS where the URL asks for it."""
    packets, is_unix = sock.type == socket.SOCK_DGRAM, sock.family == UNIX
    scheme = "udp" if packets else "tcp"
    if is_unix:
        scheme = "unix+dgram" if packets else "unix"
    elif sock.family != socket.AF_INET:
        scheme += "6"
    url = url_of(scheme, sock.getsockname())
    if asking.scheme == "systemd+tls":
        if not scheme.startswith("tcp"):
            raise Wrong(f"{asking.url}: {url} can't have TLS, which is for TCP; --bind systemd:{asking.address}")
        scheme, url = scheme.replace("tcp", "tls"), url.replace("tcp", "tls", 1)
    return Place(url, scheme, sock, packets)


class ConnectionMixIn(TCPServer):
    """In place of an address, the server takes one connection, and serves that. Its own socket is not used."""

    def __init__(self, server_address: Any, RequestHandlerClass: Any, **options: Any) -> None:
        self.address_family = server_address.family
        super().__init__(server_address, RequestHandlerClass, **options)

    def server_bind(self) -> None:
        """Nothing to do: the connection has its address."""

    def server_activate(self) -> None:
        """Nothing to listen to; the connection gets the options that it would have from its listener."""
        set_options(self, self.server_address)

    def start_serving(self) -> None:
        """Take the connection when the loop runs."""
        self.reactor.call_soon(self._srv.take)

    def get_request(self) -> tuple[Any, Any]:
        """The connection, as ``accept()`` would have returned it. Raises ``BlockingIOError`` when it has been taken."""
        connection = self.server_address
        if not isinstance(connection, socket.socket):
            raise BlockingIOError("the connection has been taken")
        self.server_address = connection.getsockname()
        try:
            peer = connection.getpeername()
        except OSError:
            say("python3 -m reactor serve: the socket that was passed neither listens nor is connected any more\n")
            raise
        connection.setblocking(True)
        return passing(connection, class_of(self._srv.handler)), peer


def inherited_mixin(sock: socket.socket) -> type[TCPServer]:
    """The mix-in with which a server serves a socket that was passed.

    A stream socket that does not listen is a connection, even if its client has left and it is not connected any more.
    """
    return InheritedMixIn if sock.type == socket.SOCK_DGRAM or is_listening(sock) else ConnectionMixIn


def is_over(servers: Sequence[TCPServer]) -> bool:
    """Whether no server listens, and the connections of all of them have ended."""
    taken = all(isinstance(server, ConnectionMixIn) and server._srv.take_attempts for server in servers)
    return taken and not any(server.reactor.table for server in servers)
