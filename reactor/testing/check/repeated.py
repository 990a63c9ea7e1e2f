"""The property of pieces that come many times, in one request and in many requests."""

from __future__ import annotations

import re
from copy import copy
from itertools import chain, pairwise, product
from textwrap import indent
from typing import TYPE_CHECKING, Any, NoReturn

from ...handlers import Cancelled
from ..inputs.borders import borders_of, parts_again, pieces_again
from ..inputs.enclosing import BINARY, enclosing
from ..inputs.tried import Tried
from ..running.counting import LINES, LINES_PER_BYTE, EndlessLoop, LinesRun, held, largest_number
from ..running.driver import RecordingDriver
from ..running.evidence import fault_of
from ..running.forms import around, binary, digits, following, instead, letters, same
from ..running.pristine import pristine
from ..running.remaining import remains
from ..running.report import Found, fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.snippets import literal
from ..running.spreading import spread_over, thinned
from ..running.watching import timed
from .bounds import KEPT, limit_of
from .counted import refuse_miscounts
from .numbered import BATCH, Repeated
from .tokens import refuse_growth_of_cycles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

MANY = 1_100
"""Requests after which each may not have left something behind. A bound of 1,024 entries is not accused."""

BOUND = 1_024
"""Handlers that have ended, of so many requests, that may still be in containers of the server."""

FEW = 8
"""Requests that are tried first."""

SPOTS = 6
"""The most pieces that are repeated."""

COSTLY = 3_000
"""Lines of Python: a request that costs more is not made many times."""

BUDGET = 300_000
"""Lines of Python after which no further piece is repeated."""

TRACED = 100
"""Batches of a piece for which lines are counted. If the request then still holds more and more, they are not."""

SELDOM = 8
"""Batches after which what a request holds is looked at when lines are not counted; then each eighth part more."""

LONGEST = 8_000
"""Batches after which a request may have a bound that is not reached: half a million of the smallest pieces."""

UNCOUNTED = 16_000_000
"""Lines of Python after which there are no more either: some seconds, where nobody counts them."""

NUMBER = 4_096
"""Bytes of a number that a handler may keep: as many as the largest keys have, and more."""

SHORT = 64
"""Bytes of a piece among which there may be a binary number."""

WIDE = 4
"""Digits of a number in a binary piece at least: fewer are used up soon."""

ANY_VALUES = b"\x01\x27", b"\x09\x13"
"""Two numbers of two bytes, which a packet has seldom."""

VARIED = 4
"""The most places of a packet at which numbers of two bytes are tried."""

MANY_PARTS = (1 << 24) - 1
"""What a number of parts is made at most: so many may not be held."""

_LINE = re.compile(rb"(?<![^\n])[^\n]*\n")
_NAME = re.compile(rb"[A-Za-z]+|[0-9]+")
_CONTINUED = b"\xff", b"\x80"  # bytes of a number whose highest bit says that another byte follows


@held_in_time
def stays_in_bounds_when_repeated(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, kept: int = KEPT
) -> None:
    """However often a piece of the conversation comes, a request holds little of it, and leaves nothing when it ends.

    Header lines, elements of an array, calls that are remembered, sessions that nobody ends: each is small, and a
    client sends as many as it likes. The property repeats each line, and pairs of lines, of the conversation in one
    request, as they are and with a number (in letters) in place of a word; what is between two places of the
    conversation where the handler waits for the same, such as frames, with other numbers in it; parts of a message,
    with the binary number that says how many there are made greater; and at each such place bytes of a binary number
    that goes on in the next byte. Of datagrams it repeats each packet of an exchange that stays open, with a number in
    it: also in two bytes that may have any value. Several messages come again together, and what the answer to the
    first one gives out, such as the number of a session, is in the others; or two of one length, which begin something
    and end it, with two bytes that both have, such as a port, each time others; or two messages of a text, with another
    word that both have, if the second one has another answer when it comes again. What the request holds (see `held`)
    is bounded as in `stays_in_bounds`. It also makes many requests one after another, whole and broken off, and of each
    packet alone. Each may leave no item in the state that the class shares, no descriptor, and not itself in a
    container of the server (``self.server``), where others find it and send to it; a later request may take it out. An
    exchange of datagrams may leave no item in a dictionary or a set of the server either: any packet may begin one. A
    cache is right if it has a bound of at most 1,024 items. A number of the server that is as before after each
    beginning of the conversation may not be another one after a conversation in which a message comes twice.

    >>> from handlers.services import Echo
    >>> stays_in_bounds_when_repeated(Echo, b"one\\r\\ntwo\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    streams = () if tried.packets else (_pieces(tried.pieces[0]), _again(tried), _promised(tried), _continued(tried))
    known = set[object]()
    for several in (_packets(tried.pieces), _varied(tried)) if tried.packets else streams:
        spent = 0
        for repeated in several:
            if repeated.key in known:
                continue
            known.add(repeated.key)
            with pristine(tried.kind):
                spent += _refuse_growth(tried, repeated, kept)
            if spent > BUDGET:
                break
    with pristine(tried.kind):
        refuse_growth_of_cycles(tried, kept)
    if not tried.before:
        _refuse_remains(tried)
        refuse_miscounts(tried)


def _pieces(data: bytes) -> Iterator[Repeated]:
    """Each line, and each pair of lines, with and without numbers in it."""
    ends = [match.end() for match in _LINE.finditer(data)]
    spans = [*zip([0, *ends], ends, strict=False), *zip([0, *ends], ends[1:], strict=False)]
    for start, end in dict.fromkeys([*thinned(spans, SPOTS), (0, len(data))]):
        piece = data[start:end]
        for before in dict.fromkeys([data[:start], _announced(data[:start])]):
            yield Repeated((before,), same(piece))
            yield from _with_numbers((before,), piece)


def _packets(packets: list[bytes]) -> Iterator[Repeated]:
    """Each packet with numbers in it; `stays_in_bounds` repeats it as it is."""
    for at, packet in spread_over(list(enumerate(packets)), SPOTS):
        start = tuple(packets[:at])
        yield from _with_numbers(start, packet)
        named = [name for size in (4, 2) for name in _numbers(packet, size)]
        yield from (_named(start, packet, name) for name in named[:2])


def _varied(tried: Tried) -> Iterator[Repeated]:
    """The packets with two bytes in one place that may have any value: if it has any, those that the answer has too."""
    known = set[tuple[int, int]]()
    for place, packet in enumerate(tried.pieces[:SPOTS]):
        start = tuple(tried.pieces[:place])
        for at in _places_of_numbers(tried, start, packet):
            if (len(packet), at) not in known:
                known.add((len(packet), at))
                yield Repeated(start, around(packet[:at], binary(2), packet[at + 2 :]))


def _places_of_numbers(tried: Tried, start: tuple[bytes, ...], packet: bytes) -> list[int]:
    """Where a packet may have any two bytes, and has a like answer."""
    told = len(played(tried, [*start]).output)

    def answer_to(piece: bytes) -> bytes:
        return b"".join(played(tried, [*start, piece]).output[told:])

    right = answer_to(packet)
    found: list[tuple[bool, int]] = []
    for at in range(min(len(packet), SHORT) - 1) if right else ():
        answers = []
        for value in ANY_VALUES:
            answers.append(answer_to(packet[:at] + value + packet[at + 2 :]))
            if len(answers[-1]) != len(right):
                break
        else:
            is_told = all(value in answer for value, answer in zip(ANY_VALUES, answers, strict=True))
            found.append((is_told, at))
    told_again = [at for is_told, at in found if is_told]
    return spread_over(told_again or [at for _, at in found], VARIED)


def _with_numbers(start: tuple[bytes, ...], piece: bytes) -> Iterator[Repeated]:
    """The piece with a number in the place of each of its first words."""
    yield from (_numbered(start, piece, match) for match in _words(piece)[:2])


def _words(piece: bytes) -> list[re.Match[bytes]]:
    """The words and numbers in a piece. A letter alone in a binary one is the kind of a message, if there are words."""
    words = list(_NAME.finditer(piece))
    longer = [match for match in words if len(match[0]) > 1] if BINARY.search(piece) else []
    return longer or words


def _numbered(start: tuple[bytes, ...], piece: bytes, match: re.Match[bytes]) -> Repeated:
    """The piece with a number in the place of a word, as long as the word if that has zeros in front.

    In a binary piece all numbers are of one length, too: that of the word, or `WIDE`. The length before them is right.
    """
    before, width = piece[: match.start()], len(match[0]) if _is_padded(match) else 0
    if BINARY.search(piece):
        width = max(len(match[0]), WIDE)
        before = next(enclosing(before, len(piece), width - len(match[0])))
    form = letters(width) if match[0].isalpha() else digits(width)
    return Repeated(start, around(before, form, piece[match.end() :]))


def _is_padded(match: re.Match[bytes]) -> bool:
    """Whether the word is a number with zeros in front, as in ``part-007``: it has as many digits each time."""
    return match[0].startswith(b"0") and match[0].isdigit() and len(match[0]) > 1


def _named(start: tuple[bytes, ...], piece: bytes, name: bytes) -> Repeated:
    """The piece with the following numbers wherever it has this one, in the order of bytes in which it is small."""
    order = "little" if name[0] else "big"
    first = int.from_bytes(name, order)  # type: ignore[arg-type]
    return Repeated(start, instead(piece, name, binary(len(name), following(first), order)))


def _again(tried: Tried) -> Iterator[Repeated]:
    """What may come again where the handler waits for the same, as it is and with other numbers in it."""
    spans = sorted(pieces_again(tried), key=lambda span: span[1] - span[0])  # short ones cost little
    spans += [span for span in parts_again(tried) if span not in spans]
    pieces = [((tried.pieces[0][:start],), tried.pieces[0][start:end]) for start, end in spans]
    yield from (Repeated(start, same(piece)) for start, piece in pieces)
    for start, piece in pieces:
        words = _words(piece)
        chosen = [*words[:1], *words[-1:], *list(filter(_is_padded, words))[:1]]
        yield from (_numbered(start, piece, match) for match in dict.fromkeys(chosen))
    for size in 4, 2:
        named = [(start, piece, name) for start, piece in pieces for name in _numbers(piece, size)]
        named.sort(key=lambda found: found[1].count(found[2]), reverse=True)  # what is told twice is what it is about
        yield from (_named(*found) for found in named)


def _promised(tried: Tried) -> Iterator[Repeated]:
    """The first part of each message that comes as often as a binary number before it says, which is made greater."""
    data, borders = tried.pieces[0], borders_of(tried)
    firsts = [number for number, border in enumerate(borders) if border.is_first]
    for first, end in pairwise([*firsts, len(borders)]):
        message = borders[first + 1 : end]
        for border in message:
            alike = [other.at for other in message if other.place == border.place]
            if len(alike) > 1:
                before = _raised(data[borders[first].at : border.at], len(alike))
                if before is not None:
                    yield Repeated((data[: borders[first].at] + before,), same(data[border.at : alike[1]]))
                break


def _raised(start: bytes, count: int) -> bytes | None:
    """The beginning of a message with a binary number in it that was ``count`` made greater; ``None`` without one."""
    for size, order in product((4, 2), ("big", "little")):
        at = start.find(count.to_bytes(size, order))  # type: ignore[arg-type]
        if at >= 0:
            more = min(MANY_PARTS, (1 << 8 * size) - 1).to_bytes(size, order)  # type: ignore[arg-type]
            return start[:at] + more + start[at + size :]
    return None


def _continued(tried: Tried) -> Iterator[Repeated]:
    """A number without end (LEB128, BER) at the first border of each place in the handler."""
    firsts = {border.place: border.at for border in reversed(borders_of(tried))}
    starts = [(tried.pieces[0][:at],) for at in sorted(firsts.values())]
    yield from (Repeated(start, same(byte)) for start in starts[: 2 * SPOTS] for byte in _CONTINUED)


def _numbers(piece: bytes, size: int) -> list[bytes]:
    """The bytes of a piece that may be a binary number, such as that of a stream or a channel."""
    names = dict.fromkeys(piece[at : at + size] for at in range(min(len(piece), SHORT) - size + 1))
    big = [name for name in names if name[0] == 0 < int.from_bytes(name, "big") < 65_536]
    return big + [name for name in names if name[-1] == 0 < name[0] and int.from_bytes(name, "little") < 65_536]


def _announced(start: bytes) -> bytes:
    """``start`` with the number of elements in its last line raised, as in ``*2`` of an array."""
    *before, last = start.splitlines(keepends=True) or [b""]
    return b"".join([*before, re.sub(rb"^(\D*)\d+(\s*)$", rb"\g<1>99999\2", last)])


def _refuse_growth(tried: Tried, repeated: Repeated, kept: int) -> int:
    """Fail if a request holds more and more; otherwise the lines of Python that this has cost."""
    run = Run(tried)
    growth = _Growth(tried, repeated, kept, run.name)
    for piece in repeated.start:
        if piece and not (tried.packets and run.finished):
            run.step(piece)
    while not (run.over or run.finished or run.unbounded) and growth.goes_on and growth.batches < TRACED:
        for piece in growth.batch():
            if not (run.over or run.finished):
                run.step(piece)
                run.drain()
        growth.look(run.machine)
    run.close()
    if run.error is not None:
        growth.refuse(run)
    uncounted = 0
    if growth.goes_on and growth.batches == TRACED:
        lines = 1 + run.cost // TRACED
        uncounted = lines * _refuse_long_growth(tried, repeated, kept, min(LONGEST, UNCOUNTED // lines))
        LinesRun.lines += uncounted
    return run.cost + uncounted


def _refuse_long_growth(tried: Tried, repeated: Repeated, kept: int, most: int) -> int:
    """The same for ``most`` batches, without counting lines: what costs so much is tried in time. The batches made."""
    kind: Any = tried.machine
    machine: Any = timed(kind)(tried.make(), RecordingDriver(copy(tried.world)))
    growth = _Growth(tried, repeated, kept, "machine")
    try:
        machine.advance()
        for piece in [*tried.before, *repeated.start]:
            machine.feed(piece)
        while not machine.finished and growth.goes_on and growth.batches < most:
            for piece in chain.from_iterable(growth.batch() for _ in range(max(SELDOM, growth.batches // SELDOM))):
                machine.drop_output()  # the client takes it
                machine.advance()
                machine.feed(piece)
            growth.look(machine)
        machine.abandon(Cancelled())
    except Found:
        raise
    except Exception:
        pass  # other properties tell of it
    return growth.batches


class _Growth:
    """What a request holds after each batch of a piece."""

    def __init__(self, tried: Tried, repeated: Repeated, kept: int, name: str) -> None:
        self._tried, self._repeated, self._kept, self._name = tried, repeated, kept, name
        self.batches = 0
        """The batches so far."""
        self._brought = self._limit = 0
        self._sizes = [0]

    @property
    def goes_on(self) -> bool:
        """Whether the last half of the batches has made the request hold more."""
        sizes, half = self._sizes, len(self._sizes) // 2
        least = self._brought * (len(sizes) - half) // (32 * len(sizes))
        return len(sizes) <= 2 or sizes[-1] - sizes[half] > least

    def batch(self) -> list[bytes]:
        """The next one: packets, or all its bytes at once."""
        pieces = self._repeated.batch(BATCH * self.batches)
        self.batches += 1
        self._brought += sum(map(len, pieces))
        return pieces if self._tried.packets else [b"".join(pieces)]

    def look(self, machine: Any) -> None:
        """Fail if the request holds too much."""
        self._limit = max(self._limit, limit_of(machine.wait))
        size, number = held(machine), largest_number(machine)
        self._sizes.append(size + number)
        bound = self._kept + self._limit + self._brought // self.batches
        if size <= bound and number <= NUMBER:
            return
        fed = self._repeated.code(self._name, self.batches, self._tried.packets)
        if size > bound:
            fault = f"it holds {size} bytes, and more with each {literal(self._told())} that comes"
            self._fail(fault, f"{fed}\nassert held({self._name}) <= {bound}", f"kept={2 * size} (bytes)")
        fault = f"a number that it holds has {number} bytes, and more with each {literal(self._told())}"
        self._fail(fault, f"{fed}\nassert largest_number({self._name}) <= {NUMBER}", "")

    def _told(self) -> bytes:
        """What the first ones are, shortened."""
        return (self._repeated.batch(0)[0] if self._tried.packets else b"".join(self._repeated.batch(0)))[:40]

    def refuse(self, run: Run) -> NoReturn:
        """Fail because of what the last batch has raised."""
        again = f"for each {literal(self._told())} that comes, it goes over more and more: "
        fault = f"{again if isinstance(run.error, EndlessLoop) else ''}{fault_of(run, '')}"
        allowed = LINES + LINES_PER_BYTE * self._brought
        code = self._repeated.code(self._name, self.batches, self._tried.packets)
        self._fail(fault, f"with line_limit({allowed}):\n{indent(code, '    ')}", "")

    def _fail(self, fault: str, code: str, remedy: str) -> NoReturn:
        tried = self._tried
        begun = "".join(f"{self._name}.feed({literal(message)})\n" for message in tried.before)
        fail(tried, fault, "bounds_when_repeated", f"{_construct(tried)}\n{begun}{code}", remedy=remedy)


def _construct(tried: Tried) -> str:
    asked = played(tried, tried.pieces).asked
    return f"machine = {tried.construct(asked)}"


def _refuse_remains(tried: Tried) -> None:
    """Fail if each of many requests leaves something behind."""
    whole = played(tried, tried.pieces)
    if whole.error is not None or whole.endless or whole.cost > COSTLY:
        return
    for schedule, number in _requests(tried):
        few = remains(tried.given, schedule, FEW, number, tried.world)
        if few.descriptors >= FEW:
            _fail_of(tried, schedule, FEW, number, "descriptors")
        if few.handlers >= FEW:
            many = remains(tried.given, schedule, MANY, number, tried.world, tried.pieces)
            if many.handlers > BOUND:
                _fail_of_handlers(tried, schedule, number)
        leaves_entries = tried.packets and few.entries >= FEW
        if leaves_entries or few.items >= FEW:
            many = remains(tried.given, schedule, MANY, number, tried.world)
            if leaves_entries and many.entries >= MANY:
                _fail_of_entries(tried, schedule, number)
            if few.items >= FEW and many.items >= MANY:
                _fail_of(tried, schedule, MANY, number, "items")


def _requests(tried: Tried) -> Iterator[tuple[Schedule, tuple[int, int] | None]]:
    """Requests that end with the stream, that are broken off, and that differ in a word or a number."""
    endings: list[Schedule] = [[]] if tried.packets else [[], [END]]
    for place in [tried.length, *tried.word_ends(SPOTS)]:
        for ending in endings:
            yield [*tried.first(place), *ending], None
    for match in thinned(list(_NAME.finditer(tried.pieces[0])), SPOTS) if tried.pieces else ():
        yield [*tried.pieces, *endings[-1]], match.span()
    if tried.packets:
        yield from _single(tried)
    if tried.world.server is not None:
        yield from _broken_off(tried)


def _single(tried: Tried) -> Iterator[tuple[Schedule, tuple[int, int] | None]]:
    """Each packet but the first one alone, as it is and with another binary number."""
    for packet in spread_over(tried.pieces[1:], SPOTS):
        yield [packet], None
        for name in [name for size in (4, 2) for name in _numbers(packet, size)][:2]:
            yield [packet], (packet.index(name), packet.index(name) + len(name))


def _broken_off(tried: Tried) -> Iterator[tuple[Schedule, tuple[int, int] | None]]:
    """Requests that end where a wait begins, and that differ in a word or a number before it."""
    ends = list(range(1, tried.length)) if tried.packets else [border.at for border in borders_of(tried) if border.at]
    for end in spread_over(ends, SPOTS // 2):
        first = tried.first(end)
        yield [*first], None
        for match in thinned(list(_NAME.finditer(first[0])), SPOTS):
            yield [*first], match.span()


def _fail_of_handlers(tried: Tried, schedule: Schedule, number: tuple[int, int] | None) -> NoReturn:
    call = _many(tried, schedule, number, f"last={literal(tried.pieces)}")
    fault = (
        "each request that has ended is still in a container of the server: take it out in finish(), or in `finally`"
    )
    fail(tried, fault, "bounds_when_repeated", f"assert {call}.handlers <= {BOUND}")


def _fail_of_entries(tried: Tried, schedule: Schedule, number: tuple[int, int] | None) -> NoReturn:
    fault = (
        "each exchange leaves an item in a dictionary or a set of the server, and any packet may begin one, from "
        "whatever address: bound how many, and drop the oldest"
    )
    call = _many(tried, schedule, number)
    fail(tried, fault, "bounds_when_repeated", f"assert {call}.entries < {MANY}")


def _many(tried: Tried, schedule: Schedule, number: tuple[int, int] | None, *more: str) -> str:
    """The source text of what many requests leave behind."""
    numbered = [f"number={number}"] if number else []
    return tried.call("remains", tried.text, literal(schedule), str(MANY), *numbered, *more)


def _fail_of(tried: Tried, schedule: Schedule, times: int, number: tuple[int, int] | None, noun: str) -> NoReturn:
    call = tried.call("remains", tried.text, literal(schedule), str(times), *([str(number)] if number else []))
    fault = f"each request that has ended leaves {noun} behind: release them in finish(), or in `finally`"
    fail(tried, fault, "bounds_when_repeated", f"assert {call}.{noun} < {times}")
