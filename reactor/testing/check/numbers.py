"""The property of numbers: each byte, and each two and four, of what is not text may have any value, and each number in
digits the value at which the handler begins to answer in another way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..inputs.borders import borders_of, firsts_of
from ..inputs.enclosing import counting
from ..inputs.pieces import replaced, spots
from ..inputs.stretched import Stretched
from ..inputs.tried import Tried
from ..running.evidence import fault_of
from ..running.report import fail, held_in_time
from ..running.run import played
from ..running.snippets import literal
from ..running.spreading import spread_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

SPOTS = 24
"""The most places of a piece at which numbers are written. Of more, they are evenly spread."""

BUDGET = 400_000
"""Lines of Python after which no further number is tried."""

POINTER = 0xC000
"""The bits of two bytes that are an offset, if DNS has them in place of a label (RFC 1035, section 4.1.4)."""

POINTERS = 50_000
"""Lines of Python after which no further offset is tried."""

DIGITS = 24
"""The most numbers in digits that are tried. Of more, they are evenly spread."""

_DIGITS = re.compile(rb"(?<![0-9A-Za-z.$*{])[0-9]{1,9}(?![0-9A-Za-z.])")  # but for lengths, as of RESP

_TEXT = frozenset(b"\t\n\r\x1b") | frozenset(range(0x20, 0x7F))


@held_in_time
def bears_any_number(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """Whatever number stands where the conversation has a binary one, the handler raises nothing and returns.

    Faults are where a number no longer fits: a length of 0 at which a search stands still, a count whose double has no
    room in a byte, one that is negative in 32 bits. The property writes 0, the powers of two, and their neighbours into
    each byte, and each two and four bytes, that are not text; before these the offset of the number itself, for an
    offset that is followed leads to itself then. A wait that such a number makes must be bounded, too.

    For a number in digits it seeks where the handler begins to answer in another way, up to 65,600: at such a bound a
    check may let pass one too many, such as the index 16 of 16 items. A length in digits that counts the number alone
    is made right.

    >>> from handlers.services import Echo
    >>> bears_any_number(Echo, b"\\0\\5hello")
    """
    tried = Tried(kind, conversation, world)
    for schedules, budget in (_pointing(tried), POINTERS), (_numbered(tried), BUDGET):
        spent = 0
        for schedule in schedules:
            spent += _refuse(tried, schedule)
            if spent > budget:
                break
    firsts = [] if tried.packets else firsts_of(tried)
    for place, start, end in spots(tried.pieces, _DIGITS, DIGITS):
        _refuse_bound(tried, place, start, end, firsts)


def _refuse_bound(tried: Tried, place: int, start: int, end: int, firsts: list[int]) -> None:
    """Fail if the handler raises for a number about the first one that it answers in another way than smaller ones.

    ``firsts``: where messages of a stream begin; those behind the number are left out.
    """
    stop = next((at for at in firsts if at >= end), len(tried.pieces[place]))
    numbered = Stretched(tried, place, _counted_anew(tried.pieces[place][:stop], start, end))
    for number in numbered.changes():
        run = numbered.run(number)
        if run.error is not None:
            plain = literal(tried.pieces[place][start:end])
            fail(
                tried,
                f"for the number {number}, in the place of {plain}, {fault_of(run, '')}",
                "any_number",
                run.code(),
            )


def _counted_anew(piece: bytes, start: int, end: int) -> Callable[[int], bytes]:
    """The piece with any number there, and with the right length in digits of it, if there is one."""
    lengths = [found for found in counting(piece, start, end) if int(found.digits, found.base) == end - start]

    def build(number: int) -> bytes:
        digits, before = b"%d" % number, piece[:start]
        for length in lengths[-1:]:
            before = length.corrected(before, len(digits) - (end - start))
        return before + digits + piece[end:]

    return build


def _refuse(tried: Tried, schedule: Schedule) -> int:
    """Fail if the handler raises, or waits without a bound; otherwise the lines of Python that this has cost."""
    run = played(tried, schedule)
    if run.error is not None:
        fail(tried, fault_of(run, ""), "any_number", run.code())
    if run.unbounded is not None:
        calls, lack, bound = run.unbounded
        fail(tried, lack, "any_number", f"{run.code(calls)}\nassert {bound}")
    return run.cost


def _numbered(tried: Tried) -> Iterator[Schedule]:
    """The conversation with each number; the least first."""
    for place, piece in enumerate(tried.pieces):
        for size in 1, 2, 4:
            spots = _spots(piece, size)
            yield from (_written(tried, place, at, size, number) for number in _values(size) for at in spots)


def _pointing(tried: Tried) -> Iterator[Schedule]:
    """The conversation with its own offset in each place: from the beginning of the packet or of the part it is in."""
    starts = sorted({0, *(border.at for border in borders_of(tried))})
    for place, piece in enumerate(tried.pieces):
        for size in 2, 1:
            for at in _spots(piece, size):
                begun = max(start for start in starts if start <= at)
                for offset in dict.fromkeys([at - begun, *(at - before for before in (0, 2, 4) if before <= at)]):
                    numbers = [offset | POINTER, offset] if size == 2 and offset < POINTER else [offset]
                    for number in numbers:
                        if number < 1 << 8 * size:
                            yield _written(tried, place, at, size, number)


def _spots(piece: bytes, size: int) -> list[int]:
    """Where numbers are written in a piece."""
    return spread_over([at for at in range(len(piece) - size + 1) if _is_binary(piece[at : at + size])], SPOTS)


def _written(tried: Tried, place: int, at: int, size: int, number: int) -> Schedule:
    """The conversation with a number in one of its pieces."""
    return tried.whole(replaced(tried.pieces, place, at, at + size, number.to_bytes(size, "big")))


def _is_binary(data: bytes) -> bool:
    return data[0] not in _TEXT


def _values(size: int) -> list[int]:
    """The numbers that are written: of four bytes only those that two have no room for."""
    powers = [1 << bit for bit in range(8 * size + 1)] if size < 4 else [1 << 31, 1 << 32]
    near = {power + step for power in powers for step in (-1, 0, 1)}
    return sorted(number for number in near if 0 <= number < 1 << 8 * size)
