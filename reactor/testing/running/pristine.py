"""Restores the state that requests share: so each run starts like the first one, and a property can detect the sharing.

This is the state that the functions of a handler class can reach, also by properties and by functions of its modules:
attributes of its classes, default arguments, variables of enclosing functions and of the module, and the contents of
containers among these.
"""

from __future__ import annotations

import builtins
import dis
from collections import deque
from contextlib import contextmanager
from functools import lru_cache, partial
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from ...handlers.sources import Source
from .own import own_bases
from .surroundings import Surroundings, of_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ABSENT: Any = object()
_SEQUENCES = (list, bytearray, deque)
_CACHED = type(lru_cache(int))


@contextmanager
def pristine(kind: type) -> Iterator[None]:
    """Restore, after the ``with`` block, the state that requests of the handler class ``kind`` share.

    That is also what belongs to the whole process.
    """
    before, around = _Snapshot(kind), Surroundings()
    try:
        yield
    finally:
        around.restore()
        for restore in before.undo:
            restore()


def shared_items(kind: type) -> int:
    """The items in the containers that requests of the handler class ``kind`` share."""
    return _Snapshot(kind).items


_is_shared_on_purpose = False


@contextmanager
def shared_on_purpose(is_meant: bool) -> Iterator[None]:
    """Within the ``with`` block, if it ``is_meant``, a `restorer` restores also what requests of a class share."""
    global _is_shared_on_purpose
    before, _is_shared_on_purpose = _is_shared_on_purpose, is_meant
    try:
        yield
    finally:
        _is_shared_on_purpose = before


def restorer(server: object, kind: type) -> Callable[[], None]:
    """A function that puts what requests share on purpose into the state that it has now.

    That is ``server``, and in `shared_on_purpose` also what requests of the handler class ``kind`` share; and what
    belongs to the whole process.
    """
    before = _Snapshot(type(server), kind)
    before.contents(getattr(server, "__dict__", ()))
    undo = [of_runs().restore, *before.undo, *(_Snapshot(kind).undo if _is_shared_on_purpose else [])]

    def restore() -> None:
        for call in undo:
            call()

    return restore


class _Snapshot:
    """The shared state, as calls that restore it. Objects keep their identity, since others may refer to them."""

    def __init__(self, kind: type, user: type | None = None) -> None:
        """Of ``kind``; objects of classes of the modules of ``user`` count as parts of the state too."""
        self.undo: list[Callable[[], object]] = []
        self.items = 0
        """The items of the lists, dictionaries and sets among it."""
        self._seen: set[int] = set()
        self._homes = homes_of(kind, user)
        for base in () if kind is None else own_bases(kind):
            self._class(base)

    def _class(self, base: type) -> None:
        if id(base) in self._seen:
            return
        self._seen.add(id(base))
        before = {name: value for name, value in vars(base).items() if _is_data(name, value)}
        self.undo.append(lambda: _restore_class(base, before))
        for value in before.values():
            self.contents(value)
        for value in list(vars(base).values()):
            self._forget(value)
            self._other_class(value)
            for function in _functions_of(value):
                self._function(function)

    def _other_class(self, value: Any) -> None:
        """A class of the handler's modules, which it may make objects of."""
        if isinstance(value, type) and value.__module__ in self._homes:
            self._class(value)

    def _forget(self, value: Any) -> None:
        """Empty the cache of a function, now and then: what it has may have been changed by who got it."""
        if isinstance(value, _CACHED):
            value.cache_clear()
            self.undo.append(value.cache_clear)

    def _function(self, function: FunctionType) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.contents(value)
        for cell in function.__closure__ or ():
            self._cell(cell)
        space = function.__globals__
        for name in _globals(function.__code__):
            value = space.get(name, _ABSENT)
            if value is _ABSENT and hasattr(builtins, name):
                continue
            if value is _ABSENT or _is_data(name, value):
                self.undo.append(partial(_put, space, name, value))
                self.contents(value)
            elif isinstance(value, FunctionType) and value.__module__ in self._homes:
                self._function(value)
            self._forget(value)
            self._other_class(value)

    def _cell(self, cell: CellType) -> None:
        try:
            value = cell.cell_contents
        except ValueError:  # the cell is empty
            return
        if _is_data("", value):
            self.undo.append(lambda: setattr(cell, "cell_contents", value))
            self.contents(value)

    def contents(self, value: Any) -> None:
        """The contents of a container, of a queue or an event, or of an object of a class of the handler's modules."""
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        if isinstance(value, _SEQUENCES):
            items = value.copy()
            self.undo.append(lambda: (value.clear(), value.extend(items)))
            inner: Any = () if isinstance(value, bytearray) else items
        elif isinstance(value, (dict, set)):
            kept = value.copy()
            self.undo.append(lambda: (value.clear(), value.update(kept)))
            inner = kept.values() if isinstance(kept, dict) else ()
        elif isinstance(value, tuple):
            inner = value
        elif (type(value).__module__ in self._homes or isinstance(value, Source)) and hasattr(value, "__dict__"):
            inner = (vars(value),)
        else:
            return
        self.items += len(value) if isinstance(value, (*_SEQUENCES, dict, set)) else 0
        for item in inner:
            self.contents(item)


def homes_of(*kinds: type | None) -> set[str]:
    """The modules of the classes, and of those of their base classes that are part of the handler under test."""
    return {base.__module__ for kind in kinds if kind is not None for base in own_bases(kind)}


def _functions_of(value: object) -> Iterator[FunctionType]:
    """The functions of an attribute of a class: of a method, or of a property."""
    found = [value, *(getattr(value, name, None) for name in ("__func__", "fget", "fset", "fdel", "func"))]
    return (function for function in found if isinstance(function, FunctionType))


@lru_cache(maxsize=1_024)
def _globals(code: CodeType) -> frozenset[str]:
    """The global variables that a function with this code names, also in the functions and classes inside it."""
    names, codes = set[str](), [code]
    while codes:
        code = codes.pop()
        codes.extend(const for const in code.co_consts if isinstance(const, CodeType))
        names |= {step.argval for step in dis.get_instructions(code) if step.opname.endswith(("_GLOBAL", "_NAME"))}
    return frozenset(names)


def _is_data(name: str, value: object) -> bool:
    return not name.startswith("__") and not callable(value) and not hasattr(value, "__get__")


def _restore_class(base: type, before: dict[str, Any]) -> None:
    for name in [name for name, value in vars(base).items() if _is_data(name, value)]:
        if name not in before:
            delattr(base, name)
    for name, value in before.items():
        if vars(base).get(name, _ABSENT) is not value:
            setattr(base, name, value)


def _put(space: dict[str, Any], name: str, value: Any) -> None:
    if value is _ABSENT:
        space.pop(name, None)
    else:
        space[name] = value
