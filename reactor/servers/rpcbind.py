"""`registered`: servers of RPC are registered with the rpcbind(8) of this host while they serve (RFC 1833).

The protocol is in `handlers.sunrpc.registering`. For a host that has no rpcbind, `handlers.sunrpc.rpcbind` is one.
"""

from __future__ import annotations

import logging
import os
import socket
from contextlib import closing, contextmanager

from ..handlers.causes import Cause
from ..handlers.sunrpc import xdr
from ..handlers.sunrpc.auth import AuthError
from ..handlers.sunrpc.message import RPCError
from ..handlers.sunrpc.registering import Registrar, RegistrationError
from ..handlers.sunrpc.registry import Registration, join_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from .base import BaseServer

__all__ = ["RegistrationError", "connect", "registered", "registrations"]

PATH, PORT = "/run/rpcbind.sock", 111
"""Where an rpcbind is asked: at the Unix socket if there is one, else at the port of the loopback address."""
PATIENCE = 5.0
"""Seconds that rpcbind may take for each answer."""


@contextmanager
def registered(*servers: BaseServer) -> Iterator[None]:
    """Register what the servers serve; remove it at the end, also that of an exception, such as KeyboardInterrupt.

    A server is one of TCP or UDP whose handler class has `versions`, each of which is registered for the address that
    the server is bound to. It takes the place of an earlier registration: a server that was killed may have left that.
    Raises `RegistrationError` if there is no rpcbind, or if it refuses; then nothing of this stays registered.

        with Server(("0.0.0.0", 0), Handler) as server, registered(server):
            server.serve_forever()
    """
    wanted = [each for server in servers for each in registrations(server)]
    process = os.getpid()
    made: list[Registration] = []
    try:
        with asking() as registrar:
            for each in wanted:
                registrar.register(each)
                made.append(each)
        yield
    finally:
        if made and os.getpid() == process:
            _remove(made)


def _remove(made: list[Registration]) -> None:
    try:
        with asking() as registrar:
            for each in made:
                registrar.unregister(each)
    except RegistrationError as error:  # it may have ended, with all that was registered
        logging.getLogger("reactor").warning("%d registrations were not removed: %s", len(made), error)


@contextmanager
def asking() -> Iterator[Registrar]:
    """The rpcbind of this host. Raises `RegistrationError` if there is none, and for whatever goes wrong with it."""
    try:
        with closing(connect()) as sock:
            yield Registrar(sock)
    except (OSError, Cause, RPCError, AuthError, xdr.Error) as error:
        raise RegistrationError(f"rpcbind does not answer as it should: {error}") from error


def connect() -> socket.socket:
    """A connection to the rpcbind of this host. Raises `RegistrationError` if there is none."""
    places: list[tuple[int, Any]] = [(socket.AF_INET, ("127.0.0.1", PORT))]
    if hasattr(socket, "AF_UNIX"):
        places.insert(0, (socket.AF_UNIX, PATH))
    for family, address in places:
        sock = socket.socket(family)
        sock.settimeout(PATIENCE)
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            reason = error
        else:
            return sock
    raise RegistrationError(
        f"no rpcbind answers at {PATH} or port {PORT} of 127.0.0.1 ({reason}): start rpcbind(8), "
        "or serve handlers.sunrpc.rpcbind.Rpcbind there"
    )


def registrations(server: Any) -> list[Registration]:
    """What the server serves, and at which universal address. Raises `RegistrationError` if it can't be registered."""
    versions = getattr(server.RequestHandlerClass, "versions", ())
    if not versions or server.socket.family not in (socket.AF_INET, socket.AF_INET6):
        raise RegistrationError(f"{server.RequestHandlerClass!r} is no server of RPC over TCP or UDP")
    host, port = server.socket.getsockname()[:2]
    address, owner = join_address(host, port), str(os.geteuid()) if hasattr(os, "geteuid") else ""
    netid = "tcp" if server.socket.type == socket.SOCK_STREAM else "udp"
    places = [(netid, address)]
    if server.socket.family == socket.AF_INET6:
        places = [(f"{netid}6", address)]
        if host == "::" and not server.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            places.append((netid, join_address("0.0.0.0", port)))
    return [Registration(each.program, each.version, *place, owner) for each in versions for place in places]
