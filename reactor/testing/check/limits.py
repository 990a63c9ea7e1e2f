"""The property of what is as long as may be, and one byte longer or shorter.

The limits need not be given: a piece of the conversation is stretched until the handler answers in another way.
"""

from __future__ import annotations

import re
from itertools import islice, product
from typing import TYPE_CHECKING, Any

from ...handlers import Cause, EndOfStream, Exactly, LimitPassed, Until
from .evidence import alike, answers_of, differing, fault_of, thinned
from .records import records
from .regions import enclosing
from .report import fail, held_in_time
from .run import Run, played
from .snippets import literal
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...handlers import World
    from .schedule import Schedule

MOST = 1 << 16
"""Bytes up to which a piece is stretched."""

SHORT = 64
"""Bytes up to which a word is stretched that the rest of its line does not follow."""

COSTLY = 20_000
"""Lines of Python that a run may cost; a handler that costs more is not tried with longer pieces."""

GAP = 8
"""The most lengths between those that are taken and those that are refused, none of which a wait may refuse."""

TAIL = 2
"""Bytes that may be behind a piece, such as an end or a checksum."""

HEAD = 8
"""Bytes that may be in a head between the length of a piece and the piece: reserved ones, or a flag."""

SMALLEST = 3
"""Bytes of the shortest piece whose length is taken for one although it is not that of all that follows."""

SPOTS = 4
"""The most words, the most numbers and the most binary lengths that are stretched."""

_LINE_END = re.compile(rb"\r?\n")
_NUMBER = re.compile(rb"(?<![0-9A-Za-z])[0-9]+(?![0-9A-Za-z])")
_WORD = re.compile(rb"[A-Za-z]+")
_COUNT = re.compile(rb"(?<![0-9A-Za-z])([0-9A-Fa-f]{1,4})(:|\r\n|\n| )")
_BYTE_BY_BYTE = 300  # bytes up to which an input is also tried byte by byte


class Stretched:
    """A conversation with one piece of any length: ``build(length)`` is the packet, or stream, that has this piece.

    The piece consists of ``letter``. Of a binary answer any byte may be a length, so all such answers count as one.
    """

    def __init__(
        self, tried: Tried, place: int, build: Callable[[int], bytes], most: int = MOST, *, letter: bytes = b"a",
        is_text: bool = True,
    ) -> None:  # fmt: skip
        self._tried = tried
        self._place = place
        self._build = build
        self._is_text = is_text
        self._letter = letter
        self.most = min(most, MOST)

    def schedule(self, length: int) -> Schedule:
        """All of it, the piece being ``length`` bytes long."""
        pieces = self._tried.pieces
        return self._tried.whole([*pieces[: self._place], self._build(length), *pieces[self._place + 1 :]])

    def told(self, length: int) -> str:
        """The piece in words."""
        is_one = len(self._letter) == 1
        return f"a piece of {length} bytes" if is_one else f"{length} times more {literal(self._letter)}"

    def begun(self, length: int) -> bytes:
        """All of it up to the piece, of which ``length`` bytes are to come."""
        return self._build(length).partition(self._letter * length)[0]

    def run(self, length: int) -> Run:
        """What the handler makes of it."""
        return played(self._tried, self.schedule(length), name="whole")

    def _kind(self, run: Run) -> tuple[object, ...]:
        """How the handler has answered; the filler and numbers are left out, for they depend on the length."""
        text = b"\0".join(run.output) if run.subject.packets else run.output
        count = len(run.output) if run.subject.packets else bool(text)
        answer = re.sub(rb"[aA0-9]+", b"", text) if self._is_text else count
        return answer, run.finished, type(run.reason), type(run.error)

    def cuts(self, length: int) -> Iterator[Schedule]:
        """The input with one cut near the end of the piece, and a short one byte by byte."""
        data, *end = self.schedule(length)
        assert isinstance(data, bytes)
        stop = data.find(self._letter * length) + length
        for place in range(max(1, stop - 2), min(len(data), stop + 4)):
            yield [data[:place], data[place:], *end]
        if len(data) <= _BYTE_BY_BYTE:
            yield [*(data[place : place + 1] for place in range(len(data))), *end]

    def changes(self) -> list[int]:
        """Lengths about the first at which the handler answers in another way; without one, the greatest tried."""
        low, first = 1, self.run(1)
        kind = self._kind(first)
        while low < self.most:
            high = min(2 * low, self.most)
            run = self.run(high)
            if self._kind(run) != kind:
                break
            if run.cost > COSTLY:
                return [high]
            low = high
        else:
            return [self.most - 1, self.most]
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._kind(self.run(middle)) == kind else (low, middle)
        return [length for length in (low - 1, low, high, high + 1) if 0 < length <= self.most]

    def is_gap(self, length: int, run: Run) -> bool:
        """Whether a wait refuses it, between shorter pieces that are taken and longer ones that the handler refuses.

        The handler must have waited for so many bytes, and a few more for the end of the piece. It refuses longer ones
        with an answer, or with a cause of its own.
        """
        wait = run.reason.wait if isinstance(run.reason, LimitPassed) else None
        if not isinstance(wait, Exactly) or not 1 < length <= wait.n <= length + GAP <= self.most:
            return False
        shorter, longer = (self.run(other) for other in (length - 1, length + GAP))
        if any(isinstance(other.reason, LimitPassed) for other in (shorter, longer)):
            return False
        is_refused = isinstance(longer.reason, Cause) and not isinstance(longer.reason, EndOfStream)
        return len(shorter.output) > len(run.output) and (is_refused or len(longer.output) > len(run.output))

    def is_short(self, length: int, run: Run) -> bool:
        """Whether the limit of an `Until` refuses it because it counts the delimiter.

        The handler would take it, and the delimiter's length less one more bytes, and refuses longer ones itself.
        """
        wait = run.reason.wait if isinstance(run.reason, LimitPassed) else None
        if not isinstance(wait, Until) or length + GAP > self.most:
            return False
        shorter, least = self.run(length - 1), length + len(wait.delimiter)
        same, last, longer = (self._in_room(other) for other in (length, least - 1, least))
        if same is None or last is None or longer is None or not (shorter.output and longer.output):
            return False
        return self._kind(shorter) == self._kind(same) == self._kind(last) != self._kind(longer)

    def _in_room(self, length: int) -> Run | None:
        """What the handler makes of it if the limit of the wait that it comes for is greater; ``None`` without one."""
        data, *end = self.schedule(length)
        assert isinstance(data, bytes)
        place, run = data.find(self._letter * length), Run(self._tried)
        run.step(data[:place])
        wait: Any = run.machine.wait
        if run.over or not isinstance(wait, Until):
            run.close()
            return None
        limit, wait.limit = wait.limit, wait.limit + len(wait.delimiter) + 2 * GAP
        try:
            for step in [data[place:], *end]:
                run.step(step)
            return run.finish()
        finally:
            wait.limit = limit
            run.close()


@held_in_time
def same_at_its_limits(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """A piece as long as the handler takes, and one byte longer or shorter, raises nothing and may be cut anywhere.

    The property stretches a word, a number, a piece whose length is written before it (``5:hello``, ``5\\r\\nhello``),
    or one whose length is in one, two or four bytes before it, up to 64 KiB; such a length may count itself, and an end
    may be behind the piece, or the rest of a head before it. It also repeats a record at the end of a binary message.
    Where the handler begins to answer in another way, it tries the lengths about this limit, whole and cut about the
    end of the piece. A limit that counts the delimiter in one place and not in the other is off by one, and so is a
    field for a length that is one too small: a length between those that are taken and those that the handler refuses
    is refused by a wait; or the limit of an `Until` refuses what the handler, which refuses longer ones itself, takes.
    It also stretches a word that the rest of its line does not follow, up to 64 bytes.

    >>> from handlers import LimitPassed, StreamHandler, Until
    >>> class Upper(StreamHandler):
    ...     async def handle(self):
    ...         self.send((await Until(b"\\\\n", limit=80)).upper())
    >>> same_at_its_limits(Upper, b"one\\\\n")
    """
    tried = Tried(kind, conversation, world)
    for stretched in _stretched(tried):
        for length in stretched.changes():
            run = stretched.run(length)
            if run.error is not None:
                fail(tried, f"for {stretched.told(length)} {fault_of(run, '')}", "at_its_limits", run.code())
            if stretched.is_gap(length, run):
                fault = (
                    f"a piece of {length - 1} bytes is taken, one of {length + GAP} is refused by the handler, and one "
                    f"of {length} by the limit of its wait, which is too small"
                )
                code = f"{run.code()}\nassert not isinstance({run.name}.reason, LimitPassed)"
                fail(tried, fault, "at_its_limits", code)
            if not tried.packets and stretched.is_short(length, run):
                fault = (
                    f"the limit of a wait refuses a piece of {length} bytes, which the handler would take, for it "
                    "refuses longer ones itself: the limit counts the delimiter too"
                )
                code = f"{run.code()}\nassert not isinstance({run.name}.reason, LimitPassed)"
                fail(tried, fault, "at_its_limits", code)
            for cut in () if tried.packets else stretched.cuts(length):
                other = played(tried, cut)
                if not alike(run, other):
                    fault = f"for {stretched.told(length)} the output depends on how the input is cut"
                    fail(tried, fault, "at_its_limits", differing(other, run), answers=answers_of(other, run))


def _stretched(tried: Tried) -> Iterator[Stretched]:
    for place, piece in enumerate(tried.pieces):
        for match in thinned(list(_WORD.finditer(piece)), SPOTS):
            yield Stretched(tried, place, _word(piece, *match.span()))
            yield Stretched(tried, place, _broken(piece, *match.span()), SHORT)
        for match in thinned(list(_NUMBER.finditer(piece)), SPOTS):
            yield Stretched(tried, place, _word(piece, *match.span(), b"1"), letter=b"1")
        yield from _measured(tried, place, piece)
    for record in records(tried):
        letter = record.data
        yield Stretched(tried, record.place, record.build, MOST // len(letter), letter=letter, is_text=False)


def measured(tried: Tried) -> Iterator[Stretched]:
    """The pieces whose length is written before them."""
    for place, piece in enumerate(tried.pieces):
        yield from _measured(tried, place, piece)


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
    for size, start in product((4, 2, 1), range(len(piece))):
        count, rest = int.from_bytes(piece[start : start + size], "big"), len(piece) - start - size
        if 0 < count == rest:
            yield _with_bytes(piece, start, size, len(piece)), (1 << 8 * size) - 1
        elif rest >= SMALLEST and rest - TAIL <= count < rest:
            yield _with_bytes(piece, start, size, start + size + count), (1 << 8 * size) - 1
        elif rest >= SMALLEST and count in (rest + size, rest + size + 1):
            yield _with_bytes(piece, start, size, len(piece), count - rest), (1 << 8 * size) - 1 - (count - rest)


def _headed(piece: bytes) -> Iterator[tuple[Callable[[int], bytes], int]]:
    """Pieces up to the end of the conversation with their length in four or two bytes in a head, not at its end."""
    for size, start in product((4, 2), range(len(piece))):
        count, rest = int.from_bytes(piece[start : start + size], "big"), len(piece) - start - size
        if count >= SMALLEST and TAIL < rest - count <= HEAD:
            yield _with_head(piece, start, size, len(piece) - count), (1 << 8 * size) - 1


def _with_head(piece: bytes, start: int, size: int, begin: int) -> Callable[[int], bytes]:
    before, head = piece[:start], piece[start + size : begin]
    return lambda length: before + length.to_bytes(size, "big") + head + b"a" * length


def _with_bytes(piece: bytes, start: int, size: int, end: int, more: int = 0) -> Callable[[int], bytes]:
    """A piece of any length up to ``end``; its own length says ``more``. Lengths of the whole are corrected."""

    def build(length: int) -> bytes:
        growth = length - (end - start - size)
        before = next(enclosing(piece[:start], len(piece), growth))
        return before + (length + more).to_bytes(size, "big") + b"a" * length + piece[end:]

    return build
