"""Calls of hooks that end a request: an exception of the hook is logged, and the request ends all the same.

`note_error` keeps the reason of a request that a hook or a handler ends by raising. `reraise` has the general way
report what the direct way has met.
"""

from __future__ import annotations

from ..loop.log import ERROR, log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..table.request import Request


def call_hook(server: Any, name: str, *arguments: object) -> bool:
    """Call the hook ``name`` of a server. Returns whether the hook returned; an exception of it is logged.

    ``KeyboardInterrupt`` and ``SystemExit`` are raised: they end the program.
    """
    try:
        getattr(server, name)(*arguments)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        log(ERROR, "%s.%s() has raised; the request ends", type(server).__name__, name, raised=True)
        return False
    return True


def end_request(server: Any, request: Any) -> None:
    """Call ``shutdown_request()``; if it raises, close the connection.

    In a child that a handler has forked, it does nothing: the connection is the parent's.
    """
    if not server._srv.is_copy and not call_hook(server, "shutdown_request", request):
        close = getattr(request, "close", None)  # the request of a datagram server has no close()
        if close is not None:
            close()


def note_error(row: Request | None, error: BaseException) -> None:
    """A hook or a handler has raised ``error``: it is the reason of the request, if that was not broken off before."""
    if row is not None and row.error is None:
        row.error = error


def reraise(error: BaseException) -> Any:
    """Raise what the constructor of a handler has raised, where the row of its request would be made."""
    raise error
