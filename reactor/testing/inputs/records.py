"""Records at the end of a message: as many bytes as have to come together so that the handler takes more of them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..running.evidence import bytes_of
from ..running.run import Run, played
from .enclosing import BINARY, enclosing
from .pieces import replaced

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tried import Tried

LEAST, MOST = 4, 32
"""Bytes of a record."""

SHORT = 256
"""Bytes of the longest message whose records are looked for."""

WAYS = 4
"""The most ways to correct the length of the whole that are tried."""


class Record(NamedTuple):
    """The last bytes of a message, which may come again and again there."""

    place: int
    """The index of the message."""
    piece: bytes
    data: bytes
    way: int = 0
    """Which of the ways to correct the length of the whole."""

    @property
    def has_way(self) -> bool:
        """Whether there is this way: a length that counts words can't count a part of one."""
        return self.way < len(list(self._ways(1)))

    def _ways(self, count: int) -> Iterator[bytes]:
        """What comes before the last record, with the length of so many more."""
        return enclosing(self.piece[: -len(self.data)], len(self.piece), count * len(self.data))

    def build(self, count: int) -> bytes:
        """The message with so many more of them, and with the length that it then has; with -1, without the last."""
        before = next(islice(self._ways(count), self.way, None), self.piece[: -len(self.data)])
        if count < 0:
            return before
        return before + self.piece[-len(self.data) :] + self.data * count

    def numbered(self, count: int) -> bytes:
        """The same with another number in the first two bytes of each."""
        piece, more = self.build(count), len(self.data) * count
        first, rest = int.from_bytes(self.data[:2], "big"), self.data[2:]
        numbers = range(first + 1, first + 1 + count)
        return piece[:-more] + b"".join((number & 0xFFFF).to_bytes(2, "big") + rest for number in numbers)


def records(tried: Tried) -> Iterator[Record]:
    """The shortest record of each binary message: two are taken as one is, but not one and a part of one."""
    for place, piece in enumerate(tried.pieces):
        if len(piece) <= SHORT and BINARY.search(piece):
            plain = _run(tried, place, piece)
            if plain.output and plain.error is None:
                found = (one for one in _of(place, piece) if _is_taken(tried, one, plain))
                yield from islice(found, 1)


def _of(place: int, piece: bytes) -> Iterator[Record]:
    for size in range(LEAST, min(MOST, len(piece) - 1) + 1):
        record = Record(place, piece, piece[-size:])
        yield from (record._replace(way=way) for way in range(WAYS) if record._replace(way=way).has_way)


def _is_taken(tried: Tried, record: Record, plain: Run) -> bool:
    part = record._replace(data=record.data[:-1])
    return _is_like(tried, record, plain) and not (part.has_way and _is_like(tried, part, plain))


def _is_like(tried: Tried, record: Record, plain: Run) -> bool:
    """Whether the handler answers one more of them as it answers the message, or with as many bytes more."""
    run = _run(tried, record.place, record.build(1))
    if run.error is not None or (run.finished, type(run.reason)) != (plain.finished, type(plain.reason)):
        return False
    answer, right = bytes_of(run), bytes_of(plain)
    return answer == right or len(answer) == len(right) + len(record.data)


def _run(tried: Tried, place: int, piece: bytes) -> Run:
    """The run of the conversation with another message; a stream goes on."""
    return played(tried, replaced(tried.pieces, place, 0, len(tried.pieces[place]), piece))
