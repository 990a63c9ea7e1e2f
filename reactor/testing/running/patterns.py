"""Counts what regular expressions go over: a search that begins anew at each read costs more and more."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import lru_cache, partial
from importlib import import_module
from types import FunctionType
from typing import TYPE_CHECKING, Any

from .counting import METER
from .own import own_bases, own_spaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ANCHORED = "match", "fullmatch"
_METHODS = "search", "match", "fullmatch", "finditer", "findall", "split", "sub", "subn"


class CountedPattern:
    """A compiled regular expression whose methods add what they go over to `METER`.

    A search that finds nothing goes over all. A match that fails goes over what the longest beginning of the pattern
    matches that matches at all. What the pattern goes over again, because it tries another way, is not counted: nothing
    tells of it. (A check ends a state that does so for seconds.)
    """

    def __init__(self, plain: re.Pattern[Any]) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        if name in _METHODS:
            return lambda *given, **named: _called(self._plain, name, getattr(self._plain, name), given, named)
        return getattr(self._plain, name)


class _Functions:
    """The module ``re``, with functions that do the same."""

    def __getattr__(self, name: str) -> Any:
        return _counted(getattr(re, name))


@contextmanager
def counted_patterns(kind: type) -> Iterator[None]:
    """Within the ``with`` block, the modules and classes of ``kind`` have counted patterns and a counted ``re``."""
    before: list[tuple[Callable[[str, Any], object], str, Any]] = []
    for space in own_spaces(kind):
        before += [(space.__setitem__, name, value) for name, value in space.items() if is_countable(value)]
    for base in own_bases(kind):
        patterns = ((name, value) for name, value in vars(base).items() if isinstance(value, re.Pattern))
        before += [(partial(setattr, base), name, value) for name, value in patterns]
    try:
        for put, name, value in before:
            put(name, _counted(value))
        yield
    finally:
        for put, name, value in before:
            put(name, value)


def is_countable(value: Any) -> bool:
    """Whether it is ``re``, a function of it, or a compiled regular expression; or a container of such expressions."""
    return bool(patterns_of(value)) or value is re or (isinstance(value, FunctionType) and value.__module__ == "re")


def patterns_of(value: Any) -> list[re.Pattern[Any]]:
    """The regular expression, or those of a container."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else [value]
    return [item for item in items if isinstance(item, re.Pattern)]


def _counted(value: Any) -> Any:
    if value is re:
        return _Functions()
    if type(value) is dict:  # of another class only its own code may make one
        return {name: _counted(item) for name, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map(_counted, value))
    if isinstance(value, re.Pattern):
        return CountedPattern(value)
    name = getattr(value, "__name__", "")
    is_function = name in (*_METHODS, "compile") and is_countable(value)
    if not is_function:
        return value

    def function(pattern: Any, *given: Any, **named: Any) -> Any:
        plain = pattern._plain if isinstance(pattern, CountedPattern) else pattern
        if name == "compile":
            return CountedPattern(re.compile(plain, *given, **named))
        return _called(re.compile(plain), name, lambda *rest, **more: value(plain, *rest, **more), given, named)

    return function


def _called(plain: re.Pattern[Any], name: str, call: Any, given: Any, named: Any) -> Any:
    """The result of a method; what it has gone over is counted."""
    result = call(*given, **named)
    place = 1 if name in ("sub", "subn") else 0
    text = given[place] if len(given) > place else named.get("string", b"")
    start = given[1] if len(given) > 1 and name in ("search", *_ANCHORED) and isinstance(given[1], int) else 0
    if isinstance(result, re.Match):
        METER.touched += result.end() - start
    elif name in _ANCHORED:
        METER.touched += _reached(plain, text, start)
    else:
        METER.touched += max(0, len(text) - start)
    return result


def _reached(plain: re.Pattern[Any], text: Any, start: int) -> int:
    """How far a match goes that fails at last."""
    matches = (part.match(text, start) for part in [plain, *_beginnings(plain)])
    longest = next((match.end() for match in matches if match is not None), start)
    return longest - start + 1


@lru_cache(maxsize=256)
def _beginnings(plain: re.Pattern[Any]) -> list[re.Pattern[Any]]:
    """The beginnings of a pattern that are patterns, longest first."""
    names = ("re._parser", "re._compiler") if sys.version_info >= (3, 11) else ("sre_parse", "sre_compile")
    parser: Any = import_module(names[0])
    compiler: Any = import_module(names[1])
    try:
        parsed = parser.parse(plain.pattern, plain.flags)
        return [compiler.compile(parsed[:size], plain.flags) for size in range(len(parsed) - 1, 0, -1)]
    except Exception:  # neither module is public
        return []
