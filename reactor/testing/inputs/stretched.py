"""Conversations with one piece that may be of any length: a word, a number, or what a length before it counts.

The limits of a handler need not be given: a piece is stretched until the handler answers in another way.
"""

from __future__ import annotations

import re
from itertools import islice, pairwise, product
from typing import TYPE_CHECKING, Literal

from ..running.run import Run, played
from ..running.snippets import literal
from ..running.spreading import one_by_one, thinned
from .borders import inner_firsts_of
from .enclosing import BINARY, enclosing
from .records import records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..running.schedule import Schedule
    from .tried import Tried

MOST = (1 << 16) + 64
"""Bytes up to which a piece is stretched: some more than 64 KiB, which often are the most that is allowed."""

SHORT = 64
"""Bytes up to which a word is stretched that the rest of its line does not follow."""

COSTLY = 20_000
"""Lines of Python that a run may cost; a handler that costs more is not tried with longer pieces."""

TAIL = 2
"""Bytes that may be behind a piece, such as an end or a checksum."""

HEAD = 8
"""Bytes that may be in a head between the length of a piece and the piece: reserved ones, or a flag."""

SMALLEST = 3
"""Bytes of the shortest piece whose length is taken for one although it is not that of all that follows."""

SPOTS = 4
"""The most words, the most numbers and the most binary lengths that are stretched."""

INNER = 2
"""The most messages that others follow, and the most pieces of each."""

LETTERS = 200
"""Letters that stand nowhere else in a conversation: more than one length in a byte may not count."""

_LINE_END = re.compile(rb"\r?\n")
_NUMBER = re.compile(rb"(?<![0-9A-Za-z])[0-9]+(?![0-9A-Za-z])")
_WORD = re.compile(rb"[A-Za-z]+")
_COUNT = re.compile(rb"(?<![0-9A-Za-z])([0-9A-Fa-f]{1,4})(:|\r\n|\n| |\+?\}\r\n)")
_SIZES: tuple[tuple[int, Literal["big", "little"]], ...] = (
    (4, "big"),
    (2, "big"),
    (1, "big"),
    (4, "little"),
    (2, "little"),
)
_BYTE_BY_BYTE = 300  # bytes up to which an input is also tried byte by byte


class Stretched:
    """A conversation with one piece of any length: ``build(length)`` is the packet, or stream, that has this piece.

    The piece consists of ``letter``. Of a binary answer any byte may be a length, so all such answers count as one.
    """

    def __init__(
        self, tried: Tried, place: int, build: Callable[[int], bytes], most: int = MOST, *, letter: bytes = b"a",
        is_text: bool = True,
    ) -> None:  # fmt: skip
        self.tried = tried
        self._place = place
        self._build = build
        self._is_text = is_text
        self.letter = letter
        self.most = min(most, MOST)
        self.is_of_records = len(letter) > 1

    def schedule(self, length: int) -> Schedule:
        """All of it, the piece being ``length`` bytes long."""
        pieces = self.tried.pieces
        return self.tried.whole([*pieces[: self._place], self._build(length), *pieces[self._place + 1 :]])

    def told(self, length: int) -> str:
        """The piece in words."""
        return f"{length} times more {literal(self.letter)}" if self.is_of_records else f"a piece of {length} bytes"

    def begun(self, length: int) -> bytes:
        """All of it up to the piece, of which ``length`` bytes are to come."""
        return self._build(length).partition(self.letter * length)[0]

    def run(self, length: int) -> Run:
        """What the handler makes of it."""
        return played(self.tried, self.schedule(length), name="whole")

    def kind_of(self, run: Run) -> tuple[object, ...]:
        """How the handler has answered; the filler and numbers are left out, for they depend on the length."""
        text = b"\0".join(run.output) if run.subject.packets else run.output
        count = len(run.output) if run.subject.packets else bool(text)
        answer = re.sub(rb"[aA0-9]+", b"", text) if self._is_text else count
        return answer, run.finished, type(run.reason), type(run.error)

    def filled(self) -> Stretched | None:
        """The same piece, which consists of what it is in the conversation, as often as it says; `None` if it is empty.

        As many letters are put into its place first, so its length is right.
        """
        many, whole = self._build(LETTERS), self.tried.pieces[self._place]
        before, _, after = many.partition(self.letter * LETTERS)
        size = len(whole) - len(before) - len(after)
        size = next((size + more for more in range(3) if len(self._build(size + more)) == len(whole)), 0)
        content = whole[len(whole) - len(after) - size : len(whole) - len(after)]
        if size < 1 or not whole.endswith(after):
            return None

        def build(count: int) -> bytes:
            before, _, after = self._build(size * count).partition(self.letter * size * count)
            return before + content * count + after

        return Stretched(self.tried, self._place, build, self.most // size, letter=content, is_text=self._is_text)

    def cuts(self, length: int) -> Iterator[Schedule]:
        """The input with one cut near the end of the piece, and a short one byte by byte."""
        data, *end = self.schedule(length)
        assert isinstance(data, bytes)
        stop = data.find(self.letter * length) + length
        for place in range(max(1, stop - 2), min(len(data), stop + 4)):
            yield [data[:place], data[place:], *end]
        if len(data) <= _BYTE_BY_BYTE:
            yield [*one_by_one(data), *end]

    def changes(self) -> list[int]:
        """Lengths about the first at which the handler answers in another way; without one, the greatest tried."""
        low, first = 1, self.run(1)
        kind = self.kind_of(first)
        while low < self.most:
            high = min(2 * low, self.most)
            run = self.run(high)
            if self.kind_of(run) != kind:
                break
            if run.cost > COSTLY:
                return [high]
            low = high
        else:
            return [self.most - 1, self.most]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.kind_of(self.run(middle)) == kind else (low, middle)
        return [length for length in (low - 1, low, high, high + 1) if 0 < length <= self.most]


def every_stretched(tried: Tried) -> Iterator[Stretched]:
    """The words, the numbers, the pieces whose length is written before them, and the records at the end."""
    for place, piece in enumerate(tried.pieces):
        for match in thinned(list(_WORD.finditer(piece)), SPOTS):
            yield Stretched(tried, place, _word(piece, *match.span()))
            yield Stretched(tried, place, _broken(piece, *match.span()), SHORT)
        for match in thinned(list(_NUMBER.finditer(piece)), SPOTS):
            yield Stretched(tried, place, _word(piece, *match.span(), b"1"), letter=b"1")
        yield from _measured(tried, place, piece)
    yield from _inner(tried)
    for record in records(tried):
        letter = record.data
        yield Stretched(tried, record.place, record.build, MOST // len(letter), letter=letter, is_text=False)


def measured(tried: Tried) -> Iterator[Stretched]:
    """The pieces whose length is written before them."""
    for place, piece in enumerate(tried.pieces):
        yield from _measured(tried, place, piece)
    yield from _inner(tried)


def filled(tried: Tried) -> Iterator[Stretched]:
    """The pieces whose length is written before them, with what they are made of again and again, not with letters."""
    for piece in measured(tried):
        if (found := piece.filled()) is not None:
            yield found


def _inner(tried: Tried) -> Iterator[Stretched]:
    """Those of the longest binary messages of a stream that others follow."""
    data = tried.pieces[0]
    spans = [span for span in pairwise([0, *inner_firsts_of(tried)]) if BINARY.search(data[slice(*span)])]
    for start, end in sorted(spans, key=lambda span: span[0] - span[1])[:INNER]:
        for build, most in islice(_binary(data[start:end]), INNER):
            yield Stretched(tried, 0, _among(data[:start], build, data[end:]), most, is_text=False)


def _among(before: bytes, build: Callable[[int], bytes], after: bytes) -> Callable[[int], bytes]:
    return lambda length: before + build(length) + after


def _measured(tried: Tried, place: int, piece: bytes) -> Iterator[Stretched]:
    yield from [Stretched(tried, place, build) for build in _counted(piece)][:SPOTS]
    yield from [Stretched(tried, place, build, most, is_text=False) for build, most in _binary(piece)][:SPOTS]
    yield from [Stretched(tried, place, build, most, is_text=False) for build, most in islice(_headed(piece), 1)]


def _word(piece: bytes, start: int, end: int, letter: bytes = b"a") -> Callable[[int], bytes]:
    return lambda length: piece[:start] + letter * length + piece[end:]


def _broken(piece: bytes, start: int, end: int) -> Callable[[int], bytes]:
    """A word that the rest of its line does not follow: a regular expression tries each way to divide it."""
    stop = _LINE_END.search(piece, end)
    rest = piece[stop.start() :] if stop is not None else b""
    return lambda length: piece[:start] + b"a" * length + b"!" + rest


def _counted(piece: bytes) -> Iterator[Callable[[int], bytes]]:
    """Pieces with their length in digits before them."""
    for match in _COUNT.finditer(piece):
        for base, form in (10, b"%d"), (16, b"%x"):
            try:
                count = int(match[1], base)
            except ValueError:
                continue
            if 0 < count <= len(piece) - match.end():
                yield _with_length(piece, match.start(), match[2], match.end() + count, form)
                break


def _with_length(piece: bytes, start: int, sign: bytes, end: int, form: bytes) -> Callable[[int], bytes]:
    return lambda length: piece[:start] + form % length + sign + b"a" * length + piece[end:]


def _binary(piece: bytes) -> Iterator[tuple[Callable[[int], bytes], int]]:
    """Pieces with their length in one, two or four bytes before them, up to the end of the conversation.

    Where three bytes or more follow, an end of one or two bytes may be behind them; or the length may count itself and
    one byte before it, which says what the piece is.
    """
    for (size, order), start in product(_SIZES, range(len(piece))):
        count, rest = int.from_bytes(piece[start : start + size], order), len(piece) - start - size
        if 0 < count == rest:
            yield _with_bytes(piece, start, size, len(piece), order), (1 << 8 * size) - 1
        elif rest >= SMALLEST and rest - TAIL <= count < rest:
            yield _with_bytes(piece, start, size, start + size + count, order), (1 << 8 * size) - 1
        elif rest >= SMALLEST and count in (rest + size, rest + size + 1):
            more = count - rest
            yield _with_bytes(piece, start, size, len(piece), order, more), (1 << 8 * size) - 1 - more


def _headed(piece: bytes) -> Iterator[tuple[Callable[[int], bytes], int]]:
    """Pieces up to the end of the conversation with their length in four or two bytes in a head, not at its end."""
    for size, start in product((4, 2), range(len(piece))):
        count, rest = int.from_bytes(piece[start : start + size], "big"), len(piece) - start - size
        if count >= SMALLEST and TAIL < rest - count <= HEAD:
            yield _with_head(piece, start, size, len(piece) - count), (1 << 8 * size) - 1


def _with_head(piece: bytes, start: int, size: int, begin: int) -> Callable[[int], bytes]:
    before, head = piece[:start], piece[start + size : begin]
    return lambda length: before + length.to_bytes(size, "big") + head + b"a" * length


def _with_bytes(
    piece: bytes, start: int, size: int, end: int, order: Literal["big", "little"], more: int = 0
) -> Callable[[int], bytes]:
    """A piece of any length up to ``end``; its own length says ``more``. Lengths of the whole are corrected."""

    def build(length: int) -> bytes:
        growth = length - (end - start - size)
        before = next(enclosing(piece[:start], len(piece), growth))
        return before + (length + more).to_bytes(size, order) + b"a" * length + piece[end:]

    return build
