"""Lists of many different elements in a line or packet: what they cost grows as their number does, also in C.

``number in found`` goes over all that is found, and no line of Python runs meanwhile. So this counts processor time, as
`matching` does.
"""

from __future__ import annotations

import re
from array import array
from itertools import islice
from textwrap import indent
from typing import TYPE_CHECKING, NamedTuple

from ..inputs.borders import pieces_again
from ..inputs.enclosing import BINARY
from ..inputs.pieces import replaced
from ..running.forms import around, binary, digits, letters
from ..running.report import fail
from ..running.run import Run
from ..running.schedule import Take
from ..running.snippets import literal
from ..running.timing import cost_of, plain_seconds
from ..running.tracing import tracing_stays
from .matching import SLOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..inputs.tried import Tried
    from ..running.forms import Form
    from ..running.schedule import Schedule, Step

SIZE = 60_000
"""Bytes of a long list: less than the 64 KiB that a line may have at most by default."""

SPOTS = 4
"""The most lists of a conversation that are made longer."""

SHORT = 16
"""The part of a long list that is tried first."""

FOURFOLD = 9.0
"""The factor of the times from which on a handler is accused, for four times as many. Those of a square are 16."""

DOUBLED = 2.4
"""The least factor for twice as many, each of two times."""

RUNS = 3
"""The runs of which the fastest counts, of each length one after another: a busy machine slows all of them."""

COSTLY = 8_000
"""Lines of Python: a handler that runs more for the short list is not tried with the long one, nor is its time C's."""

LARGE = 65_536
"""Bytes of output that the client takes at once."""

SAMPLE = 24
"""Messages after which a list of the handler shows that it keeps them."""

PLACES = 8
"""The most places of a number in a binary message."""

_LINE = re.compile(rb"[^\r\n]+")
_WORD = re.compile(rb"[0-9]+|[A-Za-z]+")
_DIGITS = re.compile(rb"[0-9]+")
_SEPARATORS = b",", b";", b" "


class List(NamedTuple):
    """A list in a piece of a conversation: many elements come in the place of its last one."""

    piece: int
    start: int
    end: int
    separator: bytes
    element: Form

    def elements(self, count: int) -> bytes:
        """So many of them."""
        return self.separator.join(self.element.write(number) for number in range(1, count + 1))

    def schedule(self, tried: Tried, count: int) -> Schedule:
        """The conversation with so many elements."""
        return tried.whole(replaced(tried.pieces, self.piece, self.start, self.end, self.elements(count)))

    def code(self, tried: Tried) -> str:
        """The function that returns it."""
        piece, others = tried.pieces[self.piece], tried.pieces
        joined = f"{literal(self.separator)}.join({self.element.code} for number in range(1, count + 1))"
        before, after = [*tried.before, *others[: self.piece]], others[self.piece + 1 :]
        said = f"{literal(piece[: self.start])} + elements + {literal(piece[self.end :])}"
        told = ", ".join([*map(literal, before), said, *map(literal, after)])
        return f"def said(count):\n{indent(f'elements = {joined}', '    ')}\n    return [{told}]"


class Numbered(NamedTuple):
    """A message that comes again and again, each time with another number."""

    begun: list[bytes]
    message: Form

    def schedule(self, count: int) -> Schedule:
        """What comes before them, and so many of them; the client takes each answer."""
        steps: Schedule = [*self.begun]
        for number in range(count):
            steps += [self.message.write(number), Take(LARGE)]
        return steps

    def code(self, tried: Tried, count: int) -> str:
        """The expression for the schedule."""
        steps = f"[step for number in range({count}) for step in ({self.message.code}, Take({LARGE}))]"
        begun = [*tried.before, *self.begun]
        return f"{literal(begun)} + {steps}" if begun else steps


def kept_in_lists(tried: Tried) -> Iterator[Numbered]:
    """The messages of which the handler keeps something in a list, or in an array, that only it has."""
    kept = (
        found
        for found in _messages(tried)
        if _longest_list(tried, [*found[0], found[1]]) > _longest_list(tried, found[0])
    )
    for begun, piece in islice(kept, SPOTS):
        numbered = (Numbered(begun, message) for message in _numbered(piece))
        yield from islice((found for found in numbered if _longest_list(tried, found.schedule(SAMPLE)) >= SAMPLE), 1)


def _messages(tried: Tried) -> Iterator[tuple[list[bytes], bytes]]:
    """What comes before a message that may come again, and the message: first the short ones."""
    if tried.packets:
        distinct = {shape(piece): place for place, piece in reversed(list(enumerate(tried.pieces)))}
        yield from ((tried.pieces[:place], tried.pieces[place]) for place in reversed(distinct.values()))
        return
    for start, end in sorted(pieces_again(tried), key=lambda span: span[1] - span[0]):
        yield [*filter(None, [tried.pieces[0][:start]])], tried.pieces[0][start:end]


def _longest_list(tried: Tried, schedule: Iterable[Step]) -> int:
    """The length of the longest list, or array, that the handler has as an attribute in the end."""
    with tracing_stays():
        run = Run(tried)
        for step in schedule:
            run.step(step)
        values = getattr(run.machine.handler, "__dict__", {}).values()
        longest = max((len(value) for value in values if isinstance(value, (list, array))), default=0)
        run.close()
    return longest


def _numbered(piece: bytes) -> Iterator[Form]:
    """The message with any number in the place of its last one; if it is binary, also in that of its last bytes."""
    for match in list(_DIGITS.finditer(piece))[-1:]:
        yield around(piece[: match.start()], digits(), piece[match.end() :])
    if BINARY.search(piece):
        for at in range(len(piece) - 2, -1, -2)[:PLACES]:
            yield around(piece[:at], binary(2), piece[at + 2 :])


def refuse_steep_lists(tried: Tried) -> None:
    """Fail if a list of twice as many elements takes far more than twice the time, twice in a row."""
    for found in list(lists_of(tried.pieces))[:SPOTS]:
        count = SIZE // (len(found.element.write(10_000)) + len(found.separator))
        if cost_of(tried, found.schedule(tried, count // SHORT)).lines > COSTLY:
            continue
        if cost_of(tried, found.schedule(tried, count)).seconds > SLOW:
            _refuse(tried, found, count)


def _refuse(tried: Tried, found: List, count: int) -> None:
    """Fail if so many elements take far longer than half of them, and these than a quarter; the fastest runs count."""
    schedules = [found.schedule(tried, count // part) for part in (4, 2, 1)]
    runs = [[cost_of(tried, schedule).seconds for schedule in schedules] for _ in range(RUNS)]
    if (times := steep_of(runs)) is not None:
        half, whole = times
        fault = (
            f"{count} different elements in a list take it {whole:.1f} seconds of processor time, and half of them "
            f"{half:.2f}: it looks for each among all others, where a set or a dict would find it at once"
        )
        call = tried.call("seconds", tried.text, f"said({count})")
        spent = plain_seconds(tried, schedules[-1])
        fail(tried, fault, "works_linearly", f"{found.code(tried)}\nassert {call} < {spent / 2:.2f}")


def steep_of(runs: list[list[float]]) -> tuple[float, float] | None:
    """The seconds of half of the elements and of all, if far too many more than those of a quarter and of a half.

    Each run has the times of a quarter, a half and all; of each, the fastest counts. ``None`` if they are not.
    """
    quarter, half, whole = map(min, zip(*runs, strict=True))
    is_steep = whole > FOURFOLD * quarter and half > DOUBLED * quarter and whole > DOUBLED * half
    return (half, whole) if is_steep else None


def lists_of(pieces: list[bytes]) -> Iterator[List]:
    """Where elements that are alike follow one another: those between commas first, and those between blanks last.

    >>> [(found.start, found.end) for found in lists_of([b"1,2,3\\r\\nUID 4 5\\r\\n"])]
    [(4, 5), (13, 14)]
    """
    lines = [(place, match) for place, piece in enumerate(pieces) for match in _LINE.finditer(piece)]
    for separator in _SEPARATORS:
        for place, line in lines:
            at, before = line.start(), b""
            ends: list[tuple[int, bytes]] = []
            for element in line[0].split(separator):
                if before and shape(element) == shape(before):
                    ends.append((at, element))
                at, before = at + len(element) + len(separator), element
            for start, element in ends[-1:]:
                if word := _WORD.search(element):
                    form = letters() if word[0].isalpha() else digits()
                    many = around(element[: word.start()], form, element[word.end() :])
                    yield List(place, start, start + len(element), separator, many)


def shape(element: bytes) -> bytes:
    """What elements that are alike have in common."""
    return re.sub(rb"[0-9]+", b"0", re.sub(rb"[A-Za-z]+", b"a", element))
