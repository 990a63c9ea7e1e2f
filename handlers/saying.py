"""``str()`` and ``repr()`` for objects of users, whose ``__str__`` and ``__repr__`` may raise."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def safe_str(thing: object) -> str:
    """``str(thing)``; for an object whose ``__str__`` raises, the name of its class."""
    return thing if type(thing) is str else _said(str, thing)


def safe_repr(thing: object) -> str:
    """``repr(thing)``; for an object whose ``__repr__`` raises, the name of its class."""
    return _said(repr, thing)


def safe_name(maker: object) -> str:
    """The name of a class or a function; for a callable that has none, its `safe_repr`."""
    return getattr(maker, "__name__", None) or safe_repr(maker)


def _said(say: Callable[[object], str], thing: object) -> str:
    try:
        return say(thing)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        return f"<{type(thing).__name__}>"
