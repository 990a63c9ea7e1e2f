"""Pieces of which a handler holds more and more: parts of a message that is not over yet.

A message may have as many of them as a number before them allows: a length, or a count. Which number that is, a
protocol does not tell. So one number after another, or one byte, is made greater, until the handler takes many pieces.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ..running.counting import held
from ..running.run import Run
from ..running.tracing import tracing_stays
from .borders import borders_of, pieces_again
from .enclosing import BINARY, enclosing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..running.schedule import Schedule
    from .borders import Border
    from .tried import Tried

MOST, FEWEST = 2_560, 1_024
"""Pieces that come: the most of short ones, and the fewest of long ones. What takes fewer bytes has its own bound."""

SIZE = 32_768
"""Bytes of all pieces, if that are so many pieces."""

SHARE = 4
"""A handler holds more of a piece than the bytes of this part of it."""

SOME = 32
"""Pieces that are tried first: few beginnings let so many come."""

RUNS = 200
"""The most beginnings that are tried."""

KINDS = 2
"""The most pieces that are told."""

HEAD = 12
"""Bytes at the beginning of a message, and before a piece, each of which may be a part of a number."""

GREATER = 0x0F, 0x1F, 0x7F, 0xFF
"""What such a byte becomes. As the first byte of a length, the great ones are too much for some handlers."""

NEAR, NUMBERS = 64, 4
"""Bytes before a piece in which a number in digits may stand, and the most numbers that are tried."""

WAYS = 2
"""The most ways to correct the length of the part that such a number stands in."""

LARGE = b"60000"
"""What such a number becomes: less than 64 KiB, which often are the most that is allowed."""

_NUMBER = re.compile(rb"(?<![0-9A-Za-z])[0-9]+(?![0-9A-Za-z])")


class Holding(NamedTuple):
    """A beginning of a conversation, and a piece that comes behind it again and again."""

    begun: bytes
    piece: bytes
    times: int
    """Times that the handler takes it, and holds more each time."""
    is_changed: bool
    """Whether a number in the beginning is greater than in the conversation."""

    def schedule(self, count: int) -> Schedule:
        """The beginning, and so many pieces."""
        return [*filter(None, [self.begun]), *[self.piece] * count]


def holding(tried: Tried) -> Iterator[Holding]:
    """The first few pieces of a stream of which the handler holds more and more, each of another message."""
    return islice(_every(tried), KINDS)


def _every(tried: Tried) -> Iterator[Holding]:
    """Of each message the shortest one."""
    runs, borders, done = 0, borders_of(tried), set[int]()
    for start, begin, end in _spans(tried, borders):
        data = tried.pieces[0]
        piece = data[begin:end]
        if start in done or not _is_held(tried, data[:begin], piece, 1):
            continue
        done.add(start)
        count = max(FEWEST, min(MOST, SIZE // len(piece)))
        for begun in _beginnings(data, start, begin, [border.at for border in borders]):
            if (runs := runs + 1) > RUNS:
                return
            if all(_is_held(tried, begun, piece, times) for times in (SOME, count)):
                yield Holding(begun, piece, count, begun != data[:begin])
                break


def _spans(tried: Tried, borders: list[Border]) -> list[tuple[int, int, int]]:
    """Where a message begins, and where a piece of it that may come again begins and ends: first the short ones."""
    found: list[tuple[int, int, int]] = []
    firsts = [0, *(border.at for border in borders if border.is_first)]
    for begin, end in pieces_again(tried):
        start = max(first for first in firsts if first <= begin)
        if not any(begin < first < end for first in firsts):
            found.append((start, begin, end))
    return sorted(found, key=lambda span: (span[1] == span[0], span[2] - span[1], -span[1]))


def _is_held(tried: Tried, begun: bytes, piece: bytes, count: int) -> bool:
    """Whether the handler takes so many pieces, goes on, and then holds more for each."""
    with tracing_stays():
        run = Run(tried)
        if begun:
            run.step(begun)
            run.drain()
        before = _kept(run)
        run.step(piece * count)
        is_open = not run.over and not run.finished and run.fed == len(begun) + len(piece) * count
        more = _kept(run) - before
        run.close()
    return is_open and more * SHARE >= len(piece) * count


def _kept(run: Run) -> int:
    """The bytes that the handler itself holds."""
    return held(run.machine) - int(run.machine.held_in)


def _lengthened(before: bytes, end: int, growth: int) -> Iterator[bytes]:
    """What comes before a number, with the length of the part that it stands in; also if it is one of one byte."""
    yield from islice(enclosing(before, end, growth), WAYS)
    for at, byte in enumerate(before):
        if byte == end - at - 1 and 0 < byte + growth < 256:
            yield before[:at] + bytes([byte + growth]) + before[at + 1 :]


def _beginnings(data: bytes, start: int, begin: int, borders: list[int]) -> Iterator[bytes]:
    """The beginning of the conversation up to a piece, as it is; and with one number in it that is greater."""
    yield data[:begin]
    for match in list(_NUMBER.finditer(data, max(start, begin - NEAR), begin))[: -NUMBERS - 1 : -1]:
        end = next(at for at in [*borders, begin] if at >= match.end())  # of the part that it stands in
        for before in _lengthened(data[start : match.start()], end - start, len(LARGE) - len(match[0])):
            yield data[:start] + before + LARGE + data[match.end() : begin]
    if not BINARY.search(data, start, begin):
        return
    places = dict.fromkeys([*range(start, min(begin, start + HEAD)), *range(max(start, begin - HEAD), begin)])
    for greater in GREATER:
        for at in places:
            if data[at] < greater:
                yield data[:at] + bytes([greater]) + data[at + 1 : begin]
