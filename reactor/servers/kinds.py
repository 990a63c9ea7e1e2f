"""Questions about what the user has given to a server: the kind of handler, overridden hooks, the socket class."""

from __future__ import annotations

import _socket
import socket
from functools import lru_cache

from ..handlers import Handler
from ..handlers.saying import safe_repr
from ..handlers.states import bare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HOOKS = {"get_request", "verify_request", "process_request", "finish_request", "shutdown_request", "close_request"}
"""The hooks of a server that are called for each request."""

_ROOT = __package__.rpartition(".")[0]
_DEFAULTS = {
    f"{_ROOT}.{name}" for name in ("servers.base", "servers.tcp", "servers.udp", "servers.unix", "modes.select")
}
OF_INSTANCE = HOOKS | {"process_request_thread", "connection_filters"}
"""The hooks that a program may have assigned to one server instead of its class."""


def has_default_hooks(server: Any) -> bool:
    """Whether all `HOOKS` are the package's own, which do nothing that is to be seen from outside."""
    return all(getattr(server, name).__module__ in _DEFAULTS for name in HOOKS)


@lru_cache(maxsize=64)
def are_default(*functions: Any) -> bool:
    """Whether all functions, which are hooks of a server class of the plain or the thread mode, are the package's own.

    ``None`` stands for a hook that the class does not have.
    """
    defaults = _DEFAULTS | {f"{_ROOT}.modes.threading"}
    return all(function is None or getattr(function, "__module__", "") in defaults for function in functions)


def is_kind(handler: Any, kind: type) -> bool:
    """Whether ``handler`` is a class derived from ``kind``, a `functools.partial` of one, or declared to make one.

    Any other callable, which ``socketserver`` takes too, is of no kind.
    """
    made = class_of(handler)
    return isinstance(made, type) and issubclass(made, kind)


def class_of(handler: Any) -> Any:
    """The class of what ``handler`` makes; ``handler`` itself if that is not known.

    ``handler`` is a class, a `functools.partial` of one, or any callable that is declared to return one: a function
    or a method with an annotation (``-> Echo``), or an object whose ``__call__`` has one.
    """
    handler = bare(handler)
    return handler if isinstance(handler, type) else _declared(handler) or handler


def _declared(maker: Any) -> type | None:
    """The class that ``maker`` is declared to return; ``None`` if it declares none, or none that can be found."""
    function = maker if hasattr(maker, "__annotations__") else type(maker).__call__
    declared = getattr(function, "__annotations__", {}).get("return")
    if isinstance(declared, str):  # a name, dotted or not, in the function's module (PEP 563)
        first, *inner = declared.strip("'\"").split(".")
        declared = getattr(function, "__globals__", {}).get(first)
        for name in inner:
            declared = getattr(declared, name, None)
    return declared if isinstance(declared, type) else None


def require_class(handler: Any) -> None:
    """Raise `TypeError` if ``handler`` is an instance of a handler class, and not something that makes handlers."""
    kind = type(handler)
    if hasattr(handler, "handle") and not callable(handler):
        raise TypeError(
            f"the handler is an instance of {kind.__name__}, and each request needs a handler of its own: give the "
            f"class {kind.__name__}, or functools.partial({kind.__name__}, ...) where it takes arguments"
        )


def refuse_made(made: object, maker: Any) -> None:
    """Raise `TypeError` if ``made``, which the function ``maker`` has made for a request, is a state machine."""
    if isinstance(made, Handler):
        kind = type(made).__name__
        raise TypeError(
            f"{safe_repr(maker)} has made {kind}, a state machine, which the server can't drive because it looks at "
            f"the handler class before the first request: give the class {kind}, or functools.partial({kind}, ...), "
            f"or declare what the function returns (-> {kind})"
        )


def is_face(request: Any) -> bool:
    """Whether a blocking handler that is behind filters has ``request`` for its connection."""
    from ..handlers.blocking.face import Face  # here, because most servers have no such handler

    return isinstance(request, Face)


def takes_at_once(server: Any) -> bool:
    """Whether ``get_request()`` returns at once if nothing has arrived.

    An overridden ``get_request()`` may wait. So may a socket class with which gevent or eventlet has replaced
    ``socket.socket``: it waits in a loop of its own, even if its descriptor is non-blocking.
    """
    sock = getattr(server, "socket", None)
    return is_ours(server.get_request) and (not isinstance(sock, socket.socket) or isinstance(sock, _socket.socket))


def is_ours(method: Any) -> bool:
    """Whether a server's method is this package's own, and no subclass has overridden it."""
    return _is_of_package(getattr(method, "__module__", ""))


@lru_cache(maxsize=64)
def _is_of_package(module: str) -> bool:
    return module.partition(".")[0] == __package__.partition(".")[0]
