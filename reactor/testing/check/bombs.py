"""The property of compressed input: a few bytes may become very many."""

from __future__ import annotations

import gzip
import re
import zlib
from typing import TYPE_CHECKING, Any

from ..inputs.tried import Tried
from ..running.memory import memory
from ..running.report import fail, held_in_time
from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World

SIZE = 1 << 24
"""Bytes that a bomb becomes (16 MiB)."""

ROOM = 1 << 22
"""Bytes of memory that a request may use for it (4 MiB)."""

_MAGIC = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_ANY_FORMAT = 47  # zlib.decompressobj: the header says which


@held_in_time
def bears_any_bomb(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """What a client has compressed takes little more memory than a client that compresses nothing.

    ``zlib.decompress(data)`` makes 16 MiB of 16 KiB. A right handler gives `zlib.decompressobj` a ``max_length``. The
    property looks for data in the formats of zlib and gzip in the conversation, and puts such a bomb there. A length
    before it, in digits or in one, two or four bytes, becomes that of the bomb. See `memory`.

    >>> from handlers.services import Echo
    >>> bears_any_bomb(Echo, zlib.compress(b"one"))
    """
    tried = Tried(kind, conversation, world)
    for bomb in _bombs(tried.pieces):
        pieces = [*tried.before, *bomb]
        used = memory(tried.given, pieces, tried.world)
        if used > ROOM:
            call = tried.call("memory", tried.text, literal(pieces))
            size = sum(map(len, pieces))
            fault = f"{size} bytes, some of which are compressed, make it use {used >> 20} MiB of memory"
            fail(tried, fault, "any_bomb", f"assert {call} <= {ROOM}")


def _bombs(pieces: list[bytes]) -> Iterator[list[bytes]]:
    """The conversation with a bomb at each place at which something is compressed."""
    for place, piece in enumerate(pieces):
        for match in _MAGIC.finditer(piece):
            tool = zlib.decompressobj(_ANY_FORMAT)
            try:
                tool.decompress(piece[match.start() :], SIZE)
            except zlib.error:
                continue
            if tool.eof:
                zeros = bytes(SIZE)
                bomb = zlib.compress(zeros) if match[0].startswith(b"\x78") else gzip.compress(zeros, mtime=0)
                end = len(piece) - len(tool.unused_data)
                for before in _lengthened(piece[: match.start()], end - match.start(), len(bomb)):
                    yield [*pieces[:place], before + bomb + piece[end:], *pieces[place + 1 :]]


def _lengthened(before: bytes, length: int, longer: int) -> Iterator[bytes]:
    """``before`` with a length in it that has become another one; as it is, if it has none."""
    found = list(re.finditer(rb"(?<![0-9])%d(?![0-9])" % length, before))
    if found:
        yield before[: found[-1].start()] + b"%d" % longer + before[found[-1].end() :]
    sizes = [size for size in (4, 2, 1) if before[-size:] == length.to_bytes(size, "big") and longer < 1 << 8 * size]
    yield from (before[:-size] + longer.to_bytes(size, "big") for size in sizes)
    if not found and not sizes:
        yield before
