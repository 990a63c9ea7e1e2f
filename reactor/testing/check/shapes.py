"""What a message may have in itself again: a region with its length in front, a value of bencoding, a few bytes.

A *region* is a length of two or four bytes and what it is the length of. One that has another one in it is *wrapped*:
the inner one is replaced by the outer one, again and again, with the lengths that belong to that.
"""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from ..inputs.enclosing import BINARY, ORDERS
from ..running.snippets import literal
from ..running.spreading import thinned

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZES = 4, 2
"""Bytes of the length of a region."""

WIDEST = 4
"""The most bytes that come again and again: a field's kind and number, a head with a count of one."""

LONGEST = 1 << 20
"""Bytes of the longest message that is made."""

REGIONS = 256
"""The most regions of one size and order that are compared with each other. Of more, they are evenly spread."""

DEEPEST = 1_000
"""The most levels of bencoding in a conversation."""

REACH = 4_096
"""Bytes of a message in which data with a head and a length are sought."""

NAME = 32
"""The most bytes of a name in front of the kind of a value."""

_SIMPLE = re.compile(rb"i-?[0-9]+e")
_TEXT = re.compile(rb"([0-9]{1,7}):")


class Wrapped(NamedTuple):
    """A region that may have a like one in it: both lengths count themselves, or none does."""

    begin: int
    """Where its length is."""
    end: int
    before: bytes
    """What the outer one has between its length and the inner one."""
    inner: bytes
    """The contents of the inner one."""
    after: bytes
    least: int
    """The length of the inner one."""
    order: str
    size: int
    """The bytes of a length."""

    @property
    def width(self) -> int:
        """The bytes of a level."""
        return self.size + len(self.before) + len(self.after)

    def fits(self, depth: int) -> bool:
        """Whether the lengths of so many levels have room for them, and the whole is not too long."""
        return self.least + self.width * depth < min(LONGEST, 1 << 8 * self.size)

    def growth(self, depth: int) -> int:
        """The bytes that `deep` has more."""
        return self.size + self.width * depth + len(self.inner) - (self.end - self.begin)

    def deep(self, depth: int) -> bytes:
        """The inner one in so many outer ones."""
        lengths = [(self.least + self.width * level).to_bytes(self.size, self.order) for level in range(depth, -1, -1)]  # type: ignore[arg-type]
        return self.before.join(lengths) + self.inner + self.after * depth

    def code(self, depth: int) -> str:
        """The expression for it."""
        length = f"({self.least} + {self.width} * level).to_bytes({self.size}, {self.order!r})"
        lengths = f"{literal(self.before)}.join({length} for level in range({depth}, -1, -1))"
        return f"{lengths} + {literal(self.inner)}{f' + {literal(self.after)} * {depth}' if self.after else ''}"


def grouped(piece: bytes) -> Iterator[Wrapped]:
    """The regions with a head before them that have one with the same head in them."""
    for begin, first, size in product(range(len(piece)), range(1, 5), (4, 3, 2)):
        inside = begin + first + size
        head, inner_head = piece[begin : begin + first], piece[inside : inside + first]
        outer = int.from_bytes(piece[begin + first : inside], "big")
        inner = int.from_bytes(piece[inside + first : inside + first + size], "big")
        if head == inner_head and 0 < inner == outer - first - size:
            for end in begin + outer, inside + outer:  # the length counts the head, and itself, too; or not
                if inside + first + size < end <= len(piece):
                    yield Wrapped(begin + first, end, head, piece[inside:end], b"", outer, "big", size)


def headed(piece: bytes, most: int) -> list[Wrapped]:
    """The data with a length, and a head before that: a byte or two, or a byte and a name with its length before it.

    >>> [(found.before, found.inner) for found in headed(b"\\3hatA\\0\\0\\0\\2hi", 9)]
    [(b'A', b'hi'), (b'tA', b'hi'), (b'\\x03hatA', b'hi')]
    """
    if not BINARY.search(piece):
        return []
    found = [
        Wrapped(at, end := at + size + length, piece[at - width : at], piece[at + size : end], b"", length, order, size)
        for size, order, at in product(SIZES, ORDERS, range(1, min(len(piece) - 2, REACH)))
        if 0 < (length := int.from_bytes(piece[at : at + size], order)) <= len(piece) - at - size  # type: ignore[arg-type]
        and not (size == 2 and order == "big" and piece[:at].endswith(b"\0\0"))  # they are the end of four bytes
        for width in _heads(piece, at)
    ]
    return thinned(found, most)


def _heads(piece: bytes, at: int) -> list[int]:
    """The bytes that a head may have which ends here."""
    names = [name + 2 for name in range(1, min(NAME, at - 1)) if piece[at - name - 2] == name]
    return [*range(1, min(at, 2) + 1), *names]


def wrapped(piece: bytes, depth: int, most: int) -> list[Wrapped]:
    """The regions that have a like one in them, for each size of a length the smallest first; at most so many.

    >>> [(found.size, found.before, found.inner) for found in wrapped(b"a\\0\\0\\0\\7b\\0\\0\\0\\2hi", 9, 4)]
    [(4, b'b', b'hi'), (2, b'b\\x00\\x00', b'hi')]
    """
    return [one for size in SIZES for one in _wrapped(piece, depth, size)[:most]]


def _wrapped(piece: bytes, depth: int, size: int) -> list[Wrapped]:
    found: list[Wrapped] = []
    for order, counted in product(ORDERS, (0, size)):
        regions = [
            (at, end, length)
            for at in range(len(piece) - size)
            if counted < (length := int.from_bytes(piece[at : at + size], order)) <= len(piece)  # type: ignore[arg-type]
            and (end := at + size - counted + length) <= len(piece)
        ]
        few = thinned(regions, REGIONS)
        for (begin, end, _), (inside, stop, length) in product(few, few):
            if begin + size <= inside and stop <= end and stop - inside < end - begin:
                before, after = piece[begin + size : inside], piece[stop:end]
                one = Wrapped(begin, end, before, piece[inside + size : stop], after, length, order, size)
                if one.fits(depth):
                    found.append(one)

    def rank(one: Wrapped) -> tuple[bool, int, int]:
        is_last = one.after == b"" and one.end == len(piece)  # two bytes are the length of much by chance
        return size == 2 and not is_last, one.end - one.begin, one.width

    return sorted(found, key=rank)


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
    while at < len(piece) and depth < DEEPEST:
        if piece[at : at + 1] in (b"l", b"d"):
            depth, at = depth + 1, at + 1
        elif piece[at : at + 1] == b"e" and depth:
            depth, at = depth - 1, at + 1
        elif found := _SIMPLE.match(piece, at):
            at = found.end()
        elif found := _TEXT.match(piece, at):
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
