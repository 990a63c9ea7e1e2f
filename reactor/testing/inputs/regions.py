"""What a message may have in itself again: a region with its length in front, a value of bencoding, a few bytes.

A *region* is a length of four bytes and what it is the length of. One that has another one in it is *wrapped*: the
inner one is replaced by the outer one, again and again, with the lengths that belong to that.
"""

from __future__ import annotations

import re
from functools import reduce
from itertools import product
from operator import xor
from typing import TYPE_CHECKING, NamedTuple

from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = 4
"""Bytes of the length of a region."""

WIDEST = 4
"""The most bytes that come again and again: a field's kind and number, a head with a count of one."""

LONGEST = 1 << 20
"""Bytes of the longest message that is made."""

TAIL = 2
"""Bytes that may be behind all that a length counts."""

BINARY = re.compile(rb"[^\t\n\r -~]")
"""A byte that a text has not."""

_ORDERS = "big", "little"
_SUMMED = re.compile(rb"[$!]([^$!*#\r\n]*)([*#])([0-9A-Fa-f]{2})")
_DIGITS = re.compile(rb"(?<![0-9A-Za-z])([0-9A-Fa-f]{1,6})(?::|\r?\n| |(?![0-9A-Za-z]))")
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
    for order, counted in product(_ORDERS, (0, SIZE)):
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


def enclosing(before: bytes, end: int, growth: int) -> Iterator[bytes]:
    """What comes before a part that grows: with a length in it that is that of the whole, made greater; as it is.

    The length may count as many bytes before it, which say what it is the length of. The last ones count words of two
    or four bytes, and maybe one less.

    >>> [next(enclosing(before, 8, 2)) for before in (b"\\0\\7\\0\\6", b"\\1\\1\\0\\x08")]
    [b'\\x00\\x07\\x00\\x08', b'\\x01\\x01\\x00\\n']
    >>> list(enclosing(b"\\1\\1\\0\\3", 8, 2))
    [b'\\x01\\x01\\x00\\x03', b'\\x01\\x01\\x00\\x04']
    """
    yield from dict.fromkeys(_enclosing(before, end, growth))


def _enclosing(before: bytes, end: int, growth: int) -> Iterator[bytes]:
    yield from _lengthened(before, growth, lambda at, size, length: length in (end, end - at, end - at - size))
    yield from _lengthened(before, growth, lambda at, size, length: length == end - at + size)
    yield before
    for unit in (2, 4) if growth else ():
        if growth % unit == 0:
            yield from _lengthened(before, growth // unit, _Words(end, unit).is_one)


def enclosing_but_tail(before: bytes, end: int, growth: int) -> Iterator[bytes]:
    """As `enclosing`, with a length of all but the last one or two bytes, such as a mark of the end or a sum.

    >>> list(enclosing_but_tail(b"\\0\\3\\x91", 7, 4))
    [b'\\x00\\x07\\x91']
    """
    yield from _lengthened(before, growth, lambda at, size, length: 1 <= end - at - size - length <= TAIL)


class _Words(NamedTuple):
    """Where a part ends, and the bytes of a word."""

    end: int
    unit: int

    def is_one(self, at: int, size: int, length: int) -> bool:
        """Whether a length, which is at this place, counts the words of the whole, or one less."""
        behind = self.end - at
        wholes = self.end, behind, behind - size, behind + size
        return size == 2 and (length * self.unit in wholes or (length + 1) * self.unit in wholes)


def _lengthened(before: bytes, growth: int, is_whole: Callable[[int, int, int], bool]) -> Iterator[bytes]:
    """The bytes with each length in them that ``is_whole`` made greater."""
    for order, size, at in product(_ORDERS, (4, 3, 2), range(len(before))):
        length = int.from_bytes(before[at : at + size], order)  # type: ignore[arg-type]
        if at + size <= len(before) and is_whole(at, size, length) and length + growth < 1 << 8 * size:
            yield before[:at] + (length + growth).to_bytes(size, order) + before[at + size :]  # type: ignore[arg-type]


class Counting(NamedTuple):
    """A length in digits, and where it stands."""

    at: int
    digits: bytes
    base: int

    def corrected(self, before: bytes, growth: int) -> bytes:
        """What comes before a part that grows, with the length that belongs to that; zeros in front stay there."""
        width = len(self.digits) if self.digits.startswith(b"0") else 0
        form = b"%0*d" if self.base == 10 else b"%0*X" if self.digits.isupper() else b"%0*x"
        length = max(0, int(self.digits, self.base) + growth)
        return before[: self.at] + form % (width, length) + before[self.at + len(self.digits) :]


def counting(piece: bytes, start: int, end: int) -> Iterator[Counting]:
    """The lengths in digits before a part, each of which counts the part, and all between, and maybe more.

    >>> [found.corrected(b"12:one ", 5) for found in counting(b"12:one two three,", 7, 10)]
    [b'17:one ']
    """
    for match in _DIGITS.finditer(piece, 0, start):
        for base in (10, 16) if match[1].isdigit() else (16,):
            if end <= match.end() + int(match[1], base) <= len(piece):
                yield Counting(match.start(), match[1], base)
                break


def summed(piece: bytes, start: int, end: int) -> bool:
    """Whether a part is in a text whose sum is behind it: ``$text#hh``, or with an exclusive or ``$text*hh``.

    >>> summed(b"$m0,4#fd", 2, 3), summed(b"$m0,4#00", 2, 3)
    (True, False)
    """
    about = (found for found in _SUMMED.finditer(piece) if found.start() < start and end <= found.end(1))
    return any(found[3].lower() == _sum_of(found) for found in about)


def summed_anew(piece: bytes) -> bytes:
    """The piece with the right sum behind each such text.

    >>> summed_anew(b"$m+0,4#fd")
    b'$m+0,4#28'
    """
    return _SUMMED.sub(lambda found: b"%b%b%b" % (found[0][: -1 - len(found[3])], found[2], _sum_of(found)), piece)


def _sum_of(found: re.Match[bytes]) -> bytes:
    return b"%02x" % (sum(found[1]) & 0xFF if found[2] == b"#" else reduce(xor, found[1], 0))


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
