"""A few of many, evenly spread: places of a conversation, its pieces, and what was found in it."""

from __future__ import annotations

from typing import TypeVar

_T = TypeVar("_T")

PLACES = 256
"""Places in a conversation that are tried one by one. In a longer conversation they are evenly spread."""

SINGLE = 16_384
"""The most pieces in which a conversation comes byte by byte."""


def places(length: int) -> list[int]:
    """The places, from 0 to ``length``, at which to stop a conversation.

    >>> places(3), len(places(100_000))
    ([0, 1, 2, 3], 256)
    """
    return spread(0, length, PLACES)


def spread(first: int, last: int, most: int) -> list[int]:
    """The numbers from ``first`` to ``last``, or so many of them, evenly spread.

    >>> spread(1, 4, 10), spread(0, 100, 3), spread(1, 9, 1)
    ([1, 2, 3, 4], [0, 50, 100], [1])
    """
    if last - first < most:
        return list(range(first, last + 1))
    return [first + (last - first) * step // max(1, most - 1) for step in range(most)]


def spread_over(found: list[_T], most: int) -> list[_T]:
    """At most so many of what was found, evenly spread, the first and the last among them.

    >>> spread_over([1, 2, 3], 3), spread_over([1, 2, 3, 4], 3), spread_over([], 3)
    ([1, 2, 3], [1, 2, 4], [])
    """
    return [found[at] for at in spread(0, len(found) - 1, most)] if found else []


def thinned(found: list[_T], most: int) -> list[_T]:
    """At most so many of what was found, evenly spread, the first among them.

    >>> thinned([1, 2, 3], 3), thinned([1, 2, 3, 4], 3)
    ([1, 2, 3], [1, 3])
    """
    return found[:: -(-len(found) // most) or 1]


def one_by_one(data: bytes) -> list[bytes]:
    """The bytes of ``data``, each alone; if they are many, as few together as give at most `SINGLE` pieces.

    >>> one_by_one(b"abc"), len(one_by_one(bytes(SINGLE + 1)))
    ([b'a', b'b', b'c'], 8193)
    """
    size = -(-len(data) // SINGLE) or 1
    return [data[place : place + size] for place in range(0, len(data), size)]
