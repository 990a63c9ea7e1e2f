"""What a handler raised, in words: the exception, where it was raised, and the remedy where there is one."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from ...handlers.saying import safe_str
from .own import is_ours

if TYPE_CHECKING:
    from types import TracebackType

_SERVER = "the handler uses attributes of its server: give check() a server that has them (server=...)"


def told(error: BaseException, kind: type) -> str:
    """``error``, with the place in the code of the handler class ``kind`` that raised it, or that called what did."""
    message = safe_str(error).partition("\n")[0]
    text = type(error).__name__ + (f": {message}" if message else "")
    place = _place(error.__traceback__, {base.__module__ for base in kind.__mro__})
    return f"{text}, raised in {place}" if place else text


def server_lacks(error: BaseException, server: object) -> str:
    """The remedy if ``error`` says that ``server``, which nobody has given, lacks an attribute; else empty."""
    lacks = isinstance(error, AttributeError) and error.name is not None and error.obj is server
    return f"; {_SERVER}" if lacks else ""


def _place(step: TracebackType | None, homes: set[str]) -> str:
    """The innermost frame of the modules ``homes``, else of any module that is not of this package."""
    found, is_home = "", False
    for frame, line in traceback.walk_tb(step):
        module = frame.f_globals.get("__name__", "")
        ours = is_ours(module)
        if not ours and (module in homes or not is_home):
            found, is_home = f"{frame.f_code.co_name} ({frame.f_code.co_filename}, line {line})", module in homes
    return found
