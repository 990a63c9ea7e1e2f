"""Questions about what the user has given: which kind of handler it is, and whether a hook is overridden."""

from __future__ import annotations

from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def is_kind(handler: Any, kind: type) -> bool:
    """Whether ``handler``, a class or another callable, makes instances of the class ``kind``."""
    made = class_of(handler)
    return isinstance(made, type) and issubclass(made, kind)


def class_of(handler: Any) -> Any:
    """The class of the instances that ``handler`` makes: itself, or the class in a ``functools.partial``.

    Any other callable is returned as it is: the class of what it makes is not known.
    """
    while isinstance(handler, partial):
        handler = handler.func
    return handler


def is_ours(method: Any) -> bool:
    """Whether a server's method is this package's own, and no subclass has overridden it."""
    module: str = getattr(method, "__module__", "")
    return module.partition(".")[0] == __package__.partition(".")[0]
