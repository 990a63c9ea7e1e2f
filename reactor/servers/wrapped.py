"""Connections that the user has wrapped with ``ssl``, by the listener or in ``get_request()``.

``wrap_socket()`` does the handshake at once, so a silent client would delay all later clients. Here the handshake is
put off until the connection has a row. For a blocking handler, the thread or child that runs the handler does it. For a
state machine, the filter `TLS` does it and the ``SSLSocket`` is not used, because readiness of its descriptor does not
mean that it can be read: only a part of a record may have come, or ``ssl`` may hold data already.
"""

from __future__ import annotations

import socket
import sys
from _thread import _local
from functools import partial

from .kinds import class_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ..handlers.waits import MakeFilter

HANDSHAKE = 30.0
"""Seconds that a handshake may take in front of a blocking handler."""

_here = _local()  # ``defers``: whether this thread is in `without_handshake`


def is_tls(sock: Any) -> bool:
    """Whether ``sock`` is an ``ssl.SSLSocket``. Does not import ``ssl``."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(sock, ssl.SSLSocket)


def without_handshake(get_request: Callable[[], tuple[Any, Any]]) -> tuple[Any, Any]:
    """Call ``get_request()``; a socket that it wraps with ``ssl`` as the server's end does no handshake yet."""
    ssl = sys.modules.get("ssl")
    if ssl is None:
        return get_request()
    _make_deferrable(ssl)
    _here.defers = True
    try:
        return get_request()
    finally:
        _here.defers = False


def _make_deferrable(ssl: Any) -> None:
    """Have ``wrap_socket()`` return sockets whose handshake can be put off (``SSLContext.sslsocket_class``)."""
    kind = ssl.SSLContext.sslsocket_class
    if hasattr(kind, "defers_handshake"):
        return

    class SSLSocket(kind):  # type: ignore[misc, valid-type]
        """An ``ssl.SSLSocket`` that does no handshake in `without_handshake`, if it is the server's end."""

        defers_handshake = True

        def do_handshake(self, block: bool = False) -> None:
            if not self.server_side or not getattr(_here, "defers", False):
                super().do_handshake(block)

    ssl.SSLContext.sslsocket_class = SSLSocket


def unwrapped(request: Any) -> tuple[Any, Sequence[MakeFilter]]:
    """The plain socket of a connection that was wrapped with ``ssl``, and the filters that do TLS instead.

    A connection that is not wrapped, or whose handshake is done, is returned as it is, without filters.
    """
    if not is_tls(request) or request.version() is not None:
        return request, ()
    from ..rows.filters.tls import TLS  # here, because it imports ``ssl``

    timeout = request.gettimeout()
    plain = socket.socket(request.family, request.type, request.proto, fileno=request.detach())
    plain.settimeout(timeout)
    return plain, (partial(TLS, context=request.context),)


def require_plain(handler: Any, request: Any) -> None:
    """Raise `TypeError` for a connection that is wrapped and whose handshake is done: a loop can't drive it."""
    if is_tls(request):
        raise TypeError(
            f"{class_of(handler).__name__} is driven by readiness, and an SSLSocket is not ready when the kernel says "
            f"so: put reactor.tls.TLSMixIn in front of the server class, or leave the handshake to it, or take a "
            f"blocking handler and a Threading or Forking server class"
        )


def shake_hands(request: Any) -> None:
    """Do the handshake of a connection that ``ssl`` has wrapped, in front of a blocking handler; raises ``OSError``."""
    if is_tls(request) and request.version() is None:
        timeout = request.gettimeout()
        request.settimeout(HANDSHAKE if timeout is None else timeout)
        request.do_handshake()
        request.settimeout(timeout)
