"""The pieces of a conversation: the bytes of a stream in one, or packets. Its beginnings, and what replaces a part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..running.spreading import one_by_one, thinned

if TYPE_CHECKING:
    import re

    from ..running.schedule import Schedule


def beginning(pieces: list[bytes], length: int, packets: bool) -> list[bytes]:
    """The first ``length`` bytes of a stream, or the first ``length`` packets."""
    return pieces[:length] if packets else [data[:length] for data in pieces if length]


def singly(schedule: Schedule, packets: bool) -> Schedule:
    """The schedule with its bytes one at a time, of many two or more. Packets stay whole."""
    if packets:
        return schedule
    single: Schedule = []
    for step in schedule:
        single += one_by_one(step) if isinstance(step, bytes) else [step]
    return single


def extent(pieces: list[bytes], packets: bool) -> int:
    """The number of bytes, or of packets."""
    return len(pieces) if packets else sum(map(len, pieces))


def spots(pieces: list[bytes], pattern: re.Pattern[bytes], most: int) -> list[tuple[int, int, int]]:
    """Where the pieces have the pattern, at most so many places: the index of the piece, start and end."""
    matches = ((place, match) for place, piece in enumerate(pieces) for match in pattern.finditer(piece))
    return thinned([(place, *match.span()) for place, match in matches], most)


def replaced(pieces: list[bytes], place: int, start: int, end: int, instead: bytes) -> list[bytes]:
    """The pieces, with other bytes in one place of one piece."""
    piece = pieces[place]
    return [*pieces[:place], piece[:start] + instead + piece[end:], *pieces[place + 1 :]]


def fillers(pieces: list[bytes], packets: bool) -> list[bytes]:
    """The parts that a flood may repeat: each byte of the conversation, and all of it; or each of the packets."""
    if packets:
        return sorted(set(pieces), key=len) or [b"a"]
    singles = sorted({bytes([byte]) for data in pieces for byte in data})
    return list(dict.fromkeys([b"a", *singles, b"".join(pieces) or b"a"]))
