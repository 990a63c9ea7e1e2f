"""The property of what is nested deeper than Python's recursion limit."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from .report import fail, held_in_time
from .run import played
from .schedule import END
from .snippets import literal
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World

SPOTS = 2
"""The most places of a conversation at which each kind of opening is repeated."""

DEEPEST = 12_000
"""Levels that are more than functions in C may recurse (``C_RECURSION_LIMIT`` of CPython 3.12 and 3.13)."""

_FORMS = (
    (re.compile(rb"\[[^\[\]{}]*\]"), b"[", b"]"),
    (re.compile(rb"\([^()]*\)"), b"(", b")"),
    (re.compile(rb"\{[^{}]*\}"), b'{"a":', b"}"),
    (re.compile(rb"<(\w+)[^<]*</\1>"), b"<a>", b"</a>"),
    (re.compile(rb"\*[1-9]\d*\r\n"), b"*1\r\n", b""),  # an array of RESP
    (re.compile(rb"l[^e]*e"), b"l", b"e"),  # a list of bencoding
)
"""Where something is nested, what opens it and what closes it."""


class Nest(NamedTuple):
    """A place of the conversation, and what opens and closes there again and again."""

    piece: int
    start: int
    end: int
    opening: bytes
    closing: bytes


@held_in_time
def bears_any_nesting(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """What is nested deeper than Python can recurse raises no `RecursionError`.

    A parser that calls itself for each level, and ``json.loads`` before Python 3.14, raise it for a message of a few
    kilobytes, and it is no ``ValueError``. The property looks for ``[...]``, ``(...)``, ``{...}``, ``<a>...</a>``, the
    arrays of RESP (``*1`` and CR LF) and the lists of bencoding in the conversation. There it opens more levels than
    `sys.getrecursionlimit` has, and closes all or none of them. A right handler counts the levels, or answers.

    >>> from handlers.services import Echo
    >>> bears_any_nesting(Echo, b"[1]")
    """
    tried = Tried(kind, conversation, world)
    for nest in _nests(tried.pieces):
        for depth in _depths(nest):
            for closing in nest.closing, b"":
                _refuse_recursion(tried, nest, depth, closing)


def _depths(nest: Nest) -> list[int]:
    """Deeper than functions of Python, and for what ``json`` reads deeper than those in C, may recurse."""
    return [sys.getrecursionlimit() * 4 // 3, *([DEEPEST] if nest.opening in (b"[", b'{"a":') else [])]


def _refuse_recursion(tried: Tried, nest: Nest, depth: int, closing: bytes) -> None:
    """Fail if the handler raises `RecursionError` for this depth."""
    data, pieces = tried.pieces[nest.piece], tried.pieces
    before, inner, after = data[: nest.start], data[nest.start : nest.end], data[nest.end :]
    whole = before + nest.opening * depth + inner + closing * depth + after
    run = played(tried, [*pieces[: nest.piece], whole, *pieces[nest.piece + 1 :], *([] if tried.packets else [END])])
    if isinstance(run.error, RecursionError):
        levels = f"{literal(nest.opening)} * {depth}"
        parts = [literal(before), levels, literal(inner), *([f"{literal(closing)} * {depth}"] if closing else [])]
        feeds = [f"machine.feed({literal(piece)})" for piece in [*tried.before, *pieces[: nest.piece]]]
        feeds.append(f"machine.feed({' + '.join([*parts, literal(after)])})  # RecursionError")
        fault = (
            f"it raises RecursionError for a message that is nested deeply ({levels}): bound the depth, or catch "
            "RecursionError where the message is parsed"
        )
        fail(tried, fault, "any_nesting", "\n".join([f"machine = {tried.construct(run.asked)}", *feeds]))


def _nests(pieces: list[bytes]) -> Iterator[Nest]:
    for place, piece in enumerate(pieces):
        for pattern, opening, closing in _FORMS:
            for match in list(pattern.finditer(piece))[:SPOTS]:
                yield Nest(place, *match.span(), opening, closing)
