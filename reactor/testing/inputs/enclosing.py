"""Lengths in a message that count a part of it: where they are, and what they become when the part grows."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


TAIL = 2
"""Bytes that may be behind all that a length counts."""

BINARY = re.compile(rb"[^\t\n\r -~]")
"""A byte that a text has not."""

ORDERS = "big", "little"
"""The orders of the bytes of a length."""
REACH = 1_024
"""Bytes before a part in which a length of it is sought."""

_DIGITS = re.compile(rb"(?<![0-9A-Za-z])([0-9A-Fa-f]{1,6})(?::|\r?\n| |(?![0-9A-Za-z]))")


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


def enclosing_all(before: bytes, end: int, growth: int, whole: int, order: str) -> bytes:
    """What comes before a part that grows, with each length in it that counts the part and maybe more made greater.

    ``whole``: the bytes of the message. So a field of a table of a frame has two such lengths.

    >>> enclosing_all(b"\\0\\x07\\0\\4\\1", 7, 3, 9, "big")
    b'\\x00\\n\\x00\\x07\\x01'
    """
    at, corrected = 0, bytearray(before)
    while at < len(before):
        for size in (4, 3, 2):
            length = int.from_bytes(before[at : at + size], order)  # type: ignore[arg-type]
            behind = at + size
            if behind <= len(before) and end <= behind + length <= whole and length + growth < 1 << 8 * size:
                corrected[at:behind] = (length + growth).to_bytes(size, order)  # type: ignore[arg-type]
                at = behind
                break
        else:
            at += 1
    return bytes(corrected)


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
    for order, size, at in product(ORDERS, (4, 3, 2), range(max(0, len(before) - REACH), len(before))):
        length = int.from_bytes(before[at : at + size], order)  # type: ignore[arg-type]
        if at + size <= len(before) and is_whole(at, size, length) and 0 <= length + growth < 1 << 8 * size:
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
