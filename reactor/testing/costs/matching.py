"""The property of regular expressions that try ever more ways: a short line may take them seconds.

Nothing counts the steps of a match in C, so this property measures the processor time of the thread, which a busy
machine does not change much. It compares two lengths only where a run has taken very long.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..inputs.pieces import replaced
from ..inputs.strategies import word_ends
from ..inputs.tried import Tried
from ..running.own import own_bases, own_spaces
from ..running.patterns import is_countable, patterns_of
from ..running.report import fail, held_in_time
from ..running.snippets import literal
from ..running.spreading import thinned
from ..running.timing import Cost, cost_of, plain_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

SPOTS = 8
"""The most places of a line at which letters are repeated, and the most letters."""

LINES = 4
"""The most lines, or packets, of the conversation that are tried."""

SLOW = 0.3
"""Seconds of processor time after which a run is slow, though its line has at most `FEW` letters more."""

FIRST = 22
"""Letters with which an exponential search takes a few hundredths of a second."""

PADDED = 16
"""The most lines that get blanks at their end, or between words, of those that are not alike."""

GAPS = 3
"""The most places between two words of a line that get blanks."""

FEW = 34
"""Letters: two more make an exponential search four times as long, and any other hardly longer."""

VERY_SLOW = 1.0
"""Seconds of processor time after which a run with up to `MANY` letters is slow."""

MANY = 450, 900, 2_000, 16_000, 64_000
"""Letters, the first of which lines of 512 and of 1,024 bytes have room for: of twice as many a linear search takes
twice the time, a quadratic one four times, a cubic one eight times."""

STEEP = 3.0
"""The factor of the times from which on a search counts as one that tries ever more ways."""

COSTLY = 5_000
"""Lines of Python: a run that costs more is tried with no more letters, for its time is not that of one match."""

BUDGET = 200_000
"""Lines of Python after which no further line is tried."""

LONGEST = 10.0
"""Seconds of processor time after which no further line is tried."""

_LINE = re.compile(rb"[^\r\n]+")
_WORD = re.compile(rb"[0-9A-Za-z]+")
_GAP = re.compile(rb"(?<=[!-~]) +(?=[!-~])")


@held_in_time
def matches_in_time(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    r"""No line makes a regular expression try ever more ways to match it (CVE-2020-8492, and many others).

    ``(?:.*,)*x`` matches commas in as many ways as there are subsets of them, ``\s+$`` begins anew at each blank. The
    property repeats a letter at the places of a line where a word begins or ends, and lets something follow that does
    not match; and so it does with blanks at the end of many lines, and between their words. It measures processor time:
    a line is accused that takes 0.3 seconds with up to 34 letters, or 1 second with more, and at least 3 times as long
    as one with 2 letters less, or with half of the letters. It tries only handlers whose modules have regular
    expressions.

    >>> from handlers.services import Echo
    >>> matches_in_time(Echo, b"one\r\n")
    """
    tried = Tried(kind, conversation, world)
    patterns = _patterns(tried.kind)
    if not patterns:
        return
    _refuse_slow(tried, _padded(tried))
    _refuse_slow(tried, _lines(tried, b"".join(patterns)))


def _refuse_slow(tried: Tried, builds: Iterator[Callable[[int], Schedule]]) -> None:
    """Fail if one of these lines takes far longer with more letters."""
    spent, taken = 0, 0.0
    for build in builds:
        for cost in _lengthened(tried, build):
            spent, taken = spent + cost.lines, taken + cost.seconds
        if spent > BUDGET or taken > LONGEST:
            break


def _lengthened(tried: Tried, build: Callable[[int], Schedule]) -> Iterator[Cost]:
    """What a line costs with ever more letters. Fails if it takes far longer with some of them."""
    count = FIRST
    yield (cost := cost_of(tried, build(count)))
    while SLOW / 16 < cost.seconds < SLOW and count < FEW:
        count += 2
        yield (cost := cost_of(tried, build(count)))
    if cost.seconds > SLOW:
        _refuse(tried, build, count, count - 2, cost)
        return
    for count in MANY:
        yield (cost := cost_of(tried, build(count)))
        while SLOW < cost.seconds < VERY_SLOW and count < MANY[-1]:
            count = min(count * 3 // 2, MANY[-1])
            yield (cost := cost_of(tried, build(count)))
        if cost.seconds > VERY_SLOW:
            _refuse(tried, build, count, count // 2, cost)
        if cost.seconds > SLOW or cost.lines > COSTLY:
            return


def _refuse(tried: Tried, build: Callable[[int], Schedule], count: int, fewer: int, cost: Cost) -> None:
    """Fail if the longer line takes far longer than the shorter one, each time."""
    schedule = build(count)
    long = min(cost.seconds, cost_of(tried, schedule).seconds)
    short = min(cost_of(tried, build(fewer)).seconds for _ in range(3))
    if long > STEEP * short:
        data = [step for step in schedule if isinstance(step, bytes)]
        fault = (
            f"{len(b''.join(data))} bytes take it {long:.1f} seconds of processor time, and {count - fewer} less take "
            f"{short:.1f}: a regular expression that can match a part of its input in many ways tries all of them"
        )
        call = tried.call("seconds", tried.text, literal([*tried.before, *data]))
        fail(tried, fault, "in_time", f"assert {call} < {plain_seconds(tried, schedule) / 2:.2f}")


def _padded(tried: Tried) -> Iterator[Callable[[int], Schedule]]:
    """The conversation with blanks behind the words of a line, and between two: several parts may match them."""
    lines = [(place, match) for place, piece in enumerate(tried.pieces) for match in _LINE.finditer(piece)]
    distinct = {_WORD.sub(b"a", match[0]): (place, match) for place, match in reversed(lines)}
    for place, match in thinned(list(reversed(distinct.values())), PADDED):
        gaps = [match.start() + gap.end() for gap in _GAP.finditer(match[0])]
        for at in [match.start() + len(match[0].rstrip()), *thinned(gaps, GAPS)]:
            yield _built(tried, place, at, at, b" ")


def _lines(tried: Tried, patterns: bytes) -> Iterator[Callable[[int], Schedule]]:
    """The conversation with letters in a line, as many as asked for, and something else behind them."""
    marks = dict.fromkeys(bytes([byte]) for byte in b"a0 " + b"".join(tried.pieces) + patterns)
    letters = [mark for mark in marks if mark in b"a0 " or not (mark.isalnum() or mark in b"\r\n\\")]
    for place, piece in enumerate(tried.pieces):
        ends = [0, *(match.end() for match in re.finditer(rb"\n", piece)), len(piece)]
        spans = [(begin, end) for begin, end in pairwise(ends) if begin < end]
        for begin, end in thinned(spans, LINES):
            line = piece[begin:end]
            places = [at for at in word_ends(line) if at < len(line.rstrip(b"\r\n"))]
            for at in [*thinned(places, SPOTS), len(line.rstrip(b"\r\n"))]:
                for letter in letters[: 2 * SPOTS]:
                    yield _built(tried, place, begin + at, end, letter)


def _built(tried: Tried, place: int, at: int, end: int, letter: bytes) -> Callable[[int], Schedule]:
    stop = at + len(tried.pieces[place][at:end].rstrip(b"\r\n"))
    return lambda count: tried.whole(replaced(tried.pieces, place, at, stop, letter * count + b"!"))


def _patterns(kind: type) -> list[bytes]:
    """The sources of the regular expressions that a handler class, and the modules of its functions, have.

    Empty if the modules have none and no ``re`` either.
    """
    spaces = [*map(vars, own_bases(kind)), *own_spaces(kind)]
    values = [value for space in spaces for value in space.values() if is_countable(value)]
    compiled = [found.pattern for value in values for found in patterns_of(value)]
    sources = [source.encode() if isinstance(source, str) else source for source in compiled]
    return sources or ([b","] if values else [])
