"""What belongs to the handler under test, and not to this package: classes, functions, and the names of modules."""

from __future__ import annotations

from types import FunctionType
from typing import Any

_OURS = "handlers", "reactor"


def is_ours(module: object) -> bool:
    """Whether a module of this name is of this package."""
    return str(module).partition(".")[0] in _OURS


def own_bases(kind: type) -> list[type]:
    """The class and its base classes that are neither of this package nor built in."""
    return [base for base in kind.__mro__ if base.__module__ != "builtins" and not is_ours(base.__module__)]


def own_spaces(kind: type) -> list[dict[str, Any]]:
    """The names of each module that has a function of these classes, but of the modules of this package."""
    functions = [value for base in own_bases(kind) for value in vars(base).values() if isinstance(value, FunctionType)]
    spaces = {id(function.__globals__): function.__globals__ for function in functions}
    return [space for space in spaces.values() if not is_ours(space.get("__name__", ""))]
