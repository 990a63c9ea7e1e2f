"""The property of work: it grows as the input does, and no faster."""

from __future__ import annotations

import re
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn

from ..inputs.borders import parts_again, pieces_again
from ..inputs.budget import COSTLY, FEW, Budget
from ..inputs.choices import each, one_of
from ..inputs.holding import holding
from ..inputs.records import records
from ..inputs.strategies import smallest
from ..inputs.stretched import filled, measured
from ..inputs.tried import Tried
from ..running.counting import EndlessLoop
from ..running.evidence import fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.snippets import literal
from ..running.working import worked
from .again import refuse_steep_messages
from .copies import DOUBLED, LINEAR, refuse_copies
from .lists import kept_in_lists, refuse_steep_lists
from .many import refuse_steep_elements
from .wildcards import refuse_many_ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..inputs.holding import Holding
    from ..running.schedule import Schedule

SHORT = 128
"""Bytes of the shortest flood whose work is compared."""

BOUNDED = 20
"""Times as many bytes: a request that does not take such a flood (2,560 bytes) to its end has a bound of its own.

Work that this bound ends harms nobody, however steep it is: 2 KiB, gone over with each byte, are a few milliseconds.
"""

NUMBERED = 400, 1_600, 6_400
"""Messages, each with another number, of which a handler keeps something in a list."""

AGAIN = 32
"""The fewest times that a piece comes whose work is compared; the most are 64 times as many.

Pieces that are joined anew each time cost the more the longer they are, and short ones up to a bound of 4 KiB little.
"""

FEWER = 8
"""The same of elements each of which comes with a read of its own."""

LISTS = 4
"""The most elements of lists that come again."""

_ELEMENT = re.compile(rb"(?<![^\n])([1-9]\d{0,3})(\r?\n)")

_ARRAY = re.compile(rb"\*([1-9]\d*)\r\n(?:\$\d+\r\n[^\r]*\r\n)*(\$\d+\r\n[^\r]*\r\n)")
"""An array of RESP: the number of its elements, and the last one."""


@held_in_time
def works_linearly(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, examples: int | None = None
) -> None:
    """Four times as many bytes cost about four times the work, byte by byte and in one piece.

    `work` counts it. The input is a beginning of the conversation, then a flood of one of its bytes, or of the whole
    conversation again and again; or a piece is made longer, with its length before it, or comes again and again. So
    does the first part of a message that comes in parts, and a record at the end of a binary message, as it is and each
    with another number. A sign of a text comes up to 16 times in a row, as wildcards may. A flood that the handler does
    not take to the end, because it has a bound of its own of 2 KiB, may cost more. A handler that keeps something of
    each message in a list gets very many messages, each with another number. A piece of which the handler holds more
    each time comes up to 2,560 times, if need be behind a number that is made greater.

    What the handler copies counts alone, too: `copied`. Of a piece that it holds, of an element of a list in a line,
    and of a text with its length before it, each of which comes again and again, four times as many may not make it
    copy more than six times as many bytes, unless that is less than a mebibyte.

    Of functions in C that go over items no count tells, so processor time is measured. Lists of elements that are alike
    get very many different ones: four times as many must not take nine times as long; and so has a binary message very
    many bytes, numbers or fields more at its end, and the length that it then has. A message of which the handler
    keeps something comes up to 65,536 times in one request, each time with another number: the last must not cost more
    than three times as much as those at a sixteenth of the way, if that is at least 5 microseconds more for each, and
    grows all the while. Four requests one after another have to show it.
    """
    tried = Tried(kind, conversation, world)
    _refuse_floods(tried, examples)
    for numbered in kept_in_lists(tried):
        if _is_steep(tried, (numbered.schedule(count) for count in NUMBERED))[0]:
            _fail_steeply(tried, [numbered.code(tried, count) for count in NUMBERED[-2:]])
    held = list(holding(tried))
    for schedules in chain(_grown(tried), map(_continued, held)):
        if len(schedules) > 2 and _is_steep(tried, schedules)[0]:
            _fail_steeply(tried, [literal([*tried.before, *schedule]) for schedule in schedules[-3:-1]])
    refuse_copies(tried, held)
    refuse_many_ways(tried)
    refuse_steep_lists(tried)  # from here on time is measured, which a test that is printed does less surely
    refuse_steep_elements(tried)
    refuse_steep_messages(tried)


def _refuse_floods(tried: Tried, examples: int | None) -> None:
    """Fail if a flood behind a beginning of the conversation costs too much."""

    def flood(start: int, filler: bytes, at_once: bool, times: int) -> tuple[Schedule, str]:
        """The schedule of a flood, and its source text."""
        count = times * max(1, SHORT // len(filler or b"a"))
        one = [filler] if tried.packets else [filler[place : place + 1] for place in range(len(filler))]
        flow = [filler * count] if at_once else one * count
        first = tried.first(start)
        begun = [*tried.before, *first]
        end, ending = ([], "") if tried.packets else ([END], " + [END]")
        return [*first, *flow, *end], (f"{literal(begun)} + {literal(flow)}" if begun else literal(flow)) + ending

    def raised(drawn: tuple[int, bytes, bool]) -> Run | None:
        runs = (played(tried, flood(*drawn, times)[0]) for times in (1, 4, 16))
        return next((run for run in runs if run.error is not None), None)

    def steep(start: int, filler: bytes, at_once: bool) -> tuple[bool, int]:
        drawn = start, filler, at_once

        def floods(*factors: int) -> list[Schedule]:
            return [flood(*drawn, times)[0] for times in factors]

        is_steep, lines = _is_steep(tried, floods(1, 4))
        is_costly = lines > COSTLY  # then a flood that is twice as long shows it, too
        if is_steep and not is_costly:
            is_steep, more = _is_steep(tried, floods(1, 4, 16))
            lines += more
        if is_steep and not tried.packets:
            run = played(tried, flood(start, filler, True, BOUNDED)[0][:-1])
            is_steep = not run.finished or run.error is not None
        if is_steep:
            is_steep, more = _stays_steep(tried, *(floods(4, 8) if is_costly else floods(16, 32)))
            lines += more
        # What raises must do it without counting objects too.
        return raised(drawn) is not None if is_steep is None else is_steep, lines

    floods = each(tried.lengths, one_of(tried.fillers), one_of([False, True]))
    found: tuple[int, bytes, bool] | None = smallest(tried, floods, Budget(COSTLY, steep).is_faulty, examples, FEW)
    if found is not None:
        if (run := raised(found)) is not None:
            fail(tried, fault_of(run, ""), "works_linearly", run.code())
        _fail_steeply(tried, [flood(*found, times)[1] for times in (1, 4)])


def _grown(tried: Tried) -> Iterator[list[Schedule]]:
    """Schedules of which each is four times as long as the one before, for pieces that can be longer or come again."""
    for piece in measured(tried):
        yield [piece.schedule(SHORT * times) for times in (1, 4, 16) if SHORT * times <= piece.most]
    for piece in filled(tried):
        counts = [SHORT * times // len(piece.letter) for times in (1, 4, 16, 64, 256)]  # few may be allowed
        yield [piece.schedule(count) for count in counts if 0 < count <= piece.most]
    for record in records(tried):
        for build in record.build, record.numbered:
            yield [tried.whole([*tried.pieces[: record.place], build(AGAIN * times)]) for times in (1, 4, 16, 64)]
    firsts = dict(reversed(pieces_again(tried))).items()  # of those that begin in one place, the first
    for begin, end in [*firsts, *parts_again(tried)]:
        again = tried.pieces[0][begin:end]
        yield [tried.whole([*tried.first(begin), again * AGAIN * times]) for times in (1, 4, 16, 64)]
    for place, message in enumerate(tried.pieces):
        for found in _ARRAY.finditer(message):
            yield [_counted(tried, place, found, FEWER * times) for times in (1, 4, 16)]
        for at, element in islice(_listed(message), LISTS):
            before: Schedule = [*tried.pieces[:place], message[:at]]
            after: Schedule = [message[at:], *tried.pieces[place + 1 :], END]
            yield [[*before, *[element] * (FEWER * times), *after] for times in (1, 4, 16)]


def _listed(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Elements, each with its length in the line before it (``3``, LF, ``set``, LF), that others follow; and where."""
    ends = {found.start(): found.end() + int(found[1]) + len(found[2]) for found in _ELEMENT.finditer(message)}
    for at, end in ends.items():
        if message[:end].endswith(b"\n") and end in ends:
            yield at, message[at:end]


def _continued(held: Holding) -> list[Schedule]:
    """Schedules of a piece of which the handler holds more each time."""
    return [held.schedule(held.times // part) for part in (16, 4, 1)]


def _counted(tried: Tried, place: int, match: re.Match[bytes], more: int) -> Schedule:
    """The conversation with an array that has so many elements more, which come one by one."""
    piece, array = tried.pieces[place], b"*%d" % (int(match[1]) + more)
    begun = piece[: match.start()] + array + piece[match.end(1) : match.end()]
    after = [piece[match.end() :], *tried.pieces[place + 1 :]]
    return [*tried.pieces[:place], begun, *[match[2]] * more, *filter(None, after), END]


def _is_steep(tried: Tried, schedules: Iterable[Schedule]) -> tuple[bool | None, int]:
    """Whether work grows too much each time, and the lines of Python that it took to see that.

    Work that begins only after some hundred bytes grows so once. ``None`` if the handler raises.
    """
    before, grown, lines = None, False, 0
    for schedule in schedules:
        run, cost = worked(tried, schedule)
        lines += run.cost
        if run.error is not None:  # more lines than any input may cost are too many, if they have grown until then
            return (True if grown and isinstance(run.error, EndlessLoop) else None), lines
        if before is not None and cost <= LINEAR * before:
            return False, lines
        grown, before = before is not None, cost
    return True, lines


def _stays_steep(tried: Tried, long: Schedule, longer: Schedule) -> tuple[bool, int]:
    """Whether work grows too much once more, and the lines of Python that it took to see that.

    Also if the handler raises, or does not take twice as much to the end. Work that grows as the input does, but begins
    only after some hundred bytes, grows too much twice.
    """
    (run, before), (more, cost) = worked(tried, long), worked(tried, longer)
    lines = run.cost + more.cost
    if run.error is not None or more.error is not None or cost > DOUBLED * before:
        return True, lines
    return played(tried, [step for step in longer if step is not END]).finished, lines


def _fail_steeply(tried: Tried, schedules: list[str]) -> NoReturn:
    """Fail because of two schedules, the second of which is four times as long."""
    short, long = (tried.call("work", tried.text, schedule) for schedule in schedules)
    code = f"short = {short}\nlong = {long}\nassert long <= {LINEAR} * short"
    fail(tried, "four times as many bytes cost far more than four times the work", "works_linearly", code)
