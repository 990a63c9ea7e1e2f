"""What a message may have in itself again: a region with its length in front, a value of bencoding, a few bytes.

A *region* is a length of four bytes and what it is the length of. One that has another one in it is *wrapped*: the
inner one is replaced by the outer one, again and again, with the lengths that belong to that.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from ..inputs.enclosing import BINARY, ORDERS
from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 4
"""Bytes of the length of a region."""


WIDEST = 4
"""The most bytes that come again and again: a field's kind and number, a head with a count of one."""


LONGEST = 1 << 20
"""Bytes of the longest message that is made."""


_SIMPLE = re.compile(rb"i-?[0-9]+e")


_TEXT = re.compile(rb"([0-9]+):")


class Wrapped(NamedTuple):
    """A region that has a like one in it: both lengths count themselves, or none does."""

    begin: int
    end: int
    before: bytes
    """What the outer one has between its length and the inner one."""
    inner: bytes
    """The contents of the inner one."""
    after: bytes
    least: int
    """The length of the inner one."""
    order: str

    @property
    def width(self) -> int:
        """The bytes of a level."""
        return SIZE + len(self.before) + len(self.after)

    def deep(self, depth: int) -> bytes:
        """The inner one in so many outer ones."""
        lengths = [(self.least + self.width * level).to_bytes(SIZE, self.order) for level in range(depth, -1, -1)]  # type: ignore[arg-type]
        return self.before.join(lengths) + self.inner + self.after * depth

    def code(self, depth: int) -> str:
        """The expression for it."""
        length = f"({self.least} + {self.width} * level).to_bytes({SIZE}, {self.order!r})"
        lengths = f"{literal(self.before)}.join({length} for level in range({depth}, -1, -1))"
        return f"{lengths} + {literal(self.inner)}{f' + {literal(self.after)} * {depth}' if self.after else ''}"


def wrapped(piece: bytes, depth: int, most: int) -> list[Wrapped]:
    """The regions that have a like one in them, the smallest first; at most so many.

    >>> [(found.begin, found.before, found.inner) for found in wrapped(b"a\\0\\0\\0\\7b\\0\\0\\0\\2hi", 9, 4)]
    [(1, b'b', b'hi')]
    """
    found: list[Wrapped] = []
    for order, counted in product(ORDERS, (0, SIZE)):
        regions = [
            (at, end, length)
            for at in range(len(piece) - SIZE)
            if counted < (length := int.from_bytes(piece[at : at + SIZE], order)) <= len(piece)  # type: ignore[arg-type]
            and (end := at + SIZE - counted + length) <= len(piece)
        ]
        for (begin, end, _), (inside, stop, length) in product(regions, regions):
            if begin + SIZE <= inside and stop <= end and stop - inside < end - begin:
                before, after = piece[begin + SIZE : inside], piece[stop:end]
                one = Wrapped(begin, end, before, piece[inside + SIZE : stop], after, length, order)
                if one.width * depth <= LONGEST:
                    found.append(one)
    return sorted(found, key=lambda one: (one.end - one.begin, len(one.before) + len(one.after)))[:most]


def bencoded(piece: bytes) -> Iterator[tuple[int, int]]:
    """The spans of the lists and dictionaries of bencoding, the outer ones first. Empty ones are left out.

    >>> list(bencoded(b"d1:ali1eee"))
    [(0, 10), (4, 9)]
    """
    for at in range(len(piece)):
        if piece[at : at + 1] in (b"l", b"d") and (end := _end(piece, at)) is not None and end > at + 2:
            yield at, end


def _end(piece: bytes, at: int) -> int | None:
    """Where the value of bencoding ends that begins here; ``None`` if there is none."""
    depth = 0
    while at < len(piece):
        if piece[at : at + 1] in (b"l", b"d"):
            depth, at = depth + 1, at + 1
        elif piece[at : at + 1] == b"e" and depth:
            depth, at = depth - 1, at + 1
        elif found := _SIMPLE.match(piece, at):
            at = found.end()
        elif (found := _TEXT.match(piece, at)) and len(found[1]) < 8:
            at = found.end() + int(found[1])
        else:
            return None
        if not depth:
            return at if at <= len(piece) else None
    return None


def again(piece: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """Where a binary piece has a few bytes that may come again and again, and these; nothing for a text.

    >>> list(again(b"\\x91\\x01", 8))
    [(0, b'\\x91'), (0, b'\\x91\\x01'), (1, b'\\x01')]
    """
    if not BINARY.search(piece):
        return
    known = set[bytes]()
    for at in range(min(len(piece), most)):
        for width in range(1, min(WIDEST, len(piece) - at) + 1):
            few = piece[at : at + width]
            if few not in known:
                known.add(few)
                yield at, few
