"""Questions about what a user has given: a handler of which kind, a hook that is overridden or not."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_kind(handler: Any, kind: type) -> bool:
    """Whether ``handler`` makes handlers of that kind; ``socketserver`` takes any callable as a handler."""
    made = class_of(handler)
    return isinstance(made, type) and issubclass(made, kind)


def class_of(handler: Any) -> Any:
    """The class that ``handler`` makes instances of, if known: a class, or a ``functools.partial`` of one."""
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def is_ours(method: Any) -> bool:
    """Whether a server's method is this package's own, and no subclass has overridden it."""
    module: str = getattr(method, "__module__", "")
    return module.partition(".")[0] == __package__.partition(".")[0]
