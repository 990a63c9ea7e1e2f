"""Sockets that the user has wrapped with ``ssl``, in front of a state machine: the row does their handshake.

A wrapped listener does the handshake in ``accept()``, where one silent client stops all others. An ``SSLSocket`` is not
ready when the kernel says so: a record may have come in part, or have been read already.
"""

from __future__ import annotations

import socket
import sys
from functools import partial

from ..handlers import StreamHandler
from .kinds import class_of, is_kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..handlers.waits import MakeFilter
    from .service import Service


def is_tls(sock: Any) -> bool:
    """Whether ``sock`` is one of the module ``ssl``, which is not imported for that."""
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(sock, ssl.SSLSocket)


def filters_of_listener(service: Service) -> Sequence[MakeFilter]:
    """The filter that does what a wrapped listener would do in ``accept()``, for a state machine."""
    listener: Any = getattr(service.server, "socket", None)
    return _filters(listener) if is_tls(listener) and is_kind(service.handler, StreamHandler) else ()


def unwrapped(service: Service, request: Any) -> tuple[Any, Sequence[MakeFilter]]:
    """A connection without what ``ssl`` has wrapped it in, and the filters that do the same for a state machine.

    Any other is as it was, and so is one whose handshake has begun.
    """
    if not is_tls(request) or not is_kind(service.handler, StreamHandler) or request.version() is not None:
        return request, ()
    timeout = request.gettimeout()
    plain = socket.socket(request.family, request.type, request.proto, fileno=request.detach())
    plain.settimeout(timeout)
    return plain, _filters(request)


def require_plain(handler: Any, request: Any) -> None:
    """Raise `TypeError` for a connection that is wrapped, in front of a state machine: its handshake has begun."""
    if is_tls(request):
        raise TypeError(
            f"{class_of(handler).__name__} is driven by readiness, and an SSLSocket is not ready when the kernel says "
            f"so: put reactor.tls.TLSMixIn in front of the server class, or wrap the connection with "
            f"do_handshake_on_connect=False, or take a blocking handler and a Threading or Forking server class"
        )


def _filters(wrapped: Any) -> Sequence[MakeFilter]:
    from ..rows.filters.tls import TLS  # which needs ``ssl``

    return (partial(TLS, context=wrapped.context),)
