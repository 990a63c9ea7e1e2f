"""Elements of BER in a conversation, and what they are when one is wrapped in itself (X.690, section 8.1).

An element is a tag of one byte, a definite length, and contents; those of a constructed one are elements.
"""

from __future__ import annotations

from itertools import pairwise
from textwrap import indent
from typing import TYPE_CHECKING, NamedTuple

from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONSTRUCTED = 0x20
_LONG_TAG = 0x1F
_LONG = 0x80
_MOST = 4
"""Bytes that a length may have behind its first one."""


class Form(NamedTuple):
    """How lengths of 128 and more are written: behind ``0x80`` and their number, at least so many bytes."""

    least: int

    def length(self, size: int) -> bytes:
        """The bytes that say ``size``."""
        if size < _LONG:
            return bytes([size])
        count = max(self.least, (size.bit_length() + 7) // 8)
        return bytes([_LONG | count]) + size.to_bytes(count, "big")

    def code(self) -> str:
        """The statements that define ``length``, which writes the length of its argument."""
        body = [
            "size = len(data)",
            f"count = max({self.least}, (size.bit_length() + 7) // 8)",
            "return bytes([size]) if size < 128 else bytes([0x80 | count]) + size.to_bytes(count, 'big')",
        ]
        return f"def length(data):\n{indent(chr(10).join(body), '    ')}"


FORMS = Form(2), Form(1)
"""Two bytes for any long length, and no more bytes than needed, as DER has it."""


class Element(NamedTuple):
    """A constructed element at its place in a piece of a conversation."""

    tag: bytes
    begin: int
    inside: int
    end: int

    def wrapped(self, contents: bytes, times: int, form: Form) -> bytes:
        """Its contents in so many elements with its tag, one in another."""
        for _ in range(times):
            contents = self.tag + form.length(len(contents)) + contents
        return contents

    def around(self, piece: bytes, inner: Element, instead: bytes, form: Form) -> bytes:
        """It, with something else in the place of an element in it."""
        contents = piece[self.inside : inner.begin] + instead + piece[inner.end : self.end]
        return self.tag + form.length(len(contents)) + contents


def deep_code(piece: bytes, element: Element, about: list[Element], times: int, form: Form) -> str:
    """The statements that make ``deep``: the outermost of the elements ``about`` one that is wrapped in itself."""
    lines = [form.code(), f"deep = {literal(piece[element.inside : element.end])}", f"for _ in range({times}):"]
    lines.append(f"    deep = {literal(element.tag)} + length(deep) + deep")
    for outer, inner in reversed(list(pairwise([*about, element]))):
        left, right = piece[outer.inside : inner.begin], piece[inner.end : outer.end]
        if left or right:
            lines.append(f"deep = {literal(left)} + deep + {literal(right)}")
        lines.append(f"deep = {literal(outer.tag)} + length(deep) + deep")
    return "\n".join(lines)


def constructed(pieces: list[bytes], most: int) -> list[tuple[int, Element, list[Element]]]:
    """The constructed elements of a conversation, each with the index of its piece and those that it is in.

    Of those with the same tags about them only the first, and at most so many: the deepest ones.

    >>> [(element.tag, len(about)) for _, element, about in constructed([b"\\x30\\4\\xa2\\2\\4\\0"], 6)]
    [(b'\\xa2', 1), (b'0', 0)]
    """
    found: dict[bytes, tuple[int, Element, list[Element]]] = {}
    for place, piece in enumerate(pieces):
        for path in _paths(piece):
            tags = b"".join(element.tag for element in path)
            found.setdefault(tags, (place, path[-1], path[:-1]))
    return [found[tags] for tags in sorted(found, key=len, reverse=True)[:most]]


def _paths(piece: bytes) -> Iterator[list[Element]]:
    """The constructed elements of a piece, each behind those that it is in."""
    at = 0
    while at < len(piece):
        end = _end(piece, at, len(piece)) if piece[at] & _CONSTRUCTED else None
        paths = None if end is None else _within(piece, at, end)
        if end is None or paths is None:
            at += 1
        else:
            yield from paths
            at = end


def _within(piece: bytes, begin: int, end: int) -> list[list[Element]] | None:
    """The paths to the constructed elements from one of them on; ``None`` if its contents are no elements."""
    element = Element(piece[begin : begin + 1], begin, _inside(piece, begin), end)
    paths, at = [[element]], element.inside
    if at == end:
        return None
    while at < end:
        stop = _end(piece, at, end)
        if stop is None:
            return None
        if piece[at] & _CONSTRUCTED:
            inner = _within(piece, at, stop)
            if inner is None:
                return None
            paths += [[element, *path] for path in inner]
        at = stop
    return paths


def _inside(piece: bytes, at: int) -> int:
    """Where the contents of the element begin."""
    first = piece[at + 1]
    return at + 2 + (first - _LONG if first > _LONG else 0)


def _end(piece: bytes, at: int, most: int) -> int | None:
    """Where the element ends; ``None`` if there is none that ends before ``most``."""
    if at + 2 > most or piece[at] & _LONG_TAG == _LONG_TAG:
        return None
    size, inside = piece[at + 1], _inside(piece, at)
    if size >= _LONG:
        if not 0 < inside - at - 2 <= _MOST:
            return None
        size = int.from_bytes(piece[at + 2 : inside], "big")
    end = inside + size
    return end if inside <= end <= most else None
