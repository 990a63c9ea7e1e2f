"""The property of pieces that come many times, in one request and in many requests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from .counting import held
from .pristine import pristine
from .remaining import remains
from .report import fail, held_in_time
from .run import Run, played
from .schedule import END
from .snippets import literal
from .tried import Tried

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from .schedule import Schedule

KEPT = 65_536
"""Bytes that a handler may keep in its own buffers by default (64 KiB)."""

MANY = 1_100
"""Requests after which each may not have left something behind. A bound of 1,024 entries is not accused."""

FEW = 8
"""Requests that are tried first."""

SPOTS = 6
"""The most pieces that are repeated."""

COSTLY = 3_000
"""Lines of Python: a request that costs more is not made many times."""

BUDGET = 200_000
"""Lines of Python after which no further piece is repeated."""

_LINE = re.compile(rb"[^\n]*\n")
_NAME = re.compile(rb"[A-Za-z]+|[0-9]+")
_BATCH = 64


class Repeated(NamedTuple):
    """A piece of a conversation that comes again and again."""

    start: bytes
    """What comes before it."""
    before: bytes
    """The piece up to its number."""
    after: bytes | None
    """The rest of the piece; ``None`` if it has no number and is always the same."""

    def batch(self, first: int) -> bytes:
        """The piece 64 times, numbered from ``first`` on."""
        if self.after is None:
            return self.before * _BATCH
        return b"".join(b"%b%d%b" % (self.before, first + place, self.after) for place in range(_BATCH))

    def code(self, name: str, batches: int) -> str:
        """The statements that feed the machine ``name``."""
        start = f"{name}.feed({literal(self.start)})\n" if self.start else ""
        if self.after is None:
            return f"{start}for _ in range({_BATCH * batches}):\n    {name}.feed({literal(self.before)})"
        form = literal(self.before.replace(b"%", b"%%") + b"%d" + self.after.replace(b"%", b"%%"))
        return f"{start}for number in range({_BATCH * batches}):\n    {name}.feed({form} % number)"


@held_in_time
def stays_in_bounds_when_repeated(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, kept: int = KEPT
) -> None:
    """However often a piece of the conversation comes, a request holds little of it, and leaves nothing when it ends.

    Header lines, elements of an array, calls that are remembered, sessions that nobody ends: each is small, and a
    client sends as many as it likes. The property repeats each line, and pairs of lines, of the conversation in one
    request, as they are and with a number in place of a word. What the request holds (see `held`) is bounded as in
    `stays_in_bounds`. It also makes many requests one after another. Each may leave no item in the state that the class
    shares, and no descriptor. A cache is right if it has a bound of at most 1,024 items.

    >>> from handlers.services import Echo
    >>> stays_in_bounds_when_repeated(Echo, b"one\\r\\ntwo\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    if not tried.packets:
        spent = 0
        for repeated in _pieces(tried.pieces[0]):
            with pristine(tried.kind):
                spent += _refuse_growth(tried, repeated, kept)
            if spent > BUDGET:
                break
    if not tried.before:
        _refuse_remains(tried)


def _pieces(data: bytes) -> Iterator[Repeated]:
    """Each line, and each pair of lines, with and without numbers in it."""
    ends = [match.end() for match in _LINE.finditer(data)]
    spans = [*zip([0, *ends], ends, strict=False), *zip([0, *ends], ends[1:], strict=False)]
    for start, end in dict.fromkeys([*spans[:: len(spans) // SPOTS + 1], (0, len(data))]):
        piece = data[start:end]
        for before in dict.fromkeys([data[:start], _announced(data[:start])]):
            yield Repeated(before, piece, None)
            for match in list(_NAME.finditer(piece))[:2]:
                yield Repeated(before, piece[: match.start()], piece[match.end() :])


def _announced(start: bytes) -> bytes:
    """``start`` with the number of elements in its last line raised, as in ``*2`` of an array."""
    *before, last = start.splitlines(keepends=True) or [b""]
    return b"".join([*before, re.sub(rb"^(\D*)\d+(\s*)$", rb"\g<1>99999\2", last)])


def _refuse_growth(tried: Tried, repeated: Repeated, kept: int) -> int:
    """Fail if a request holds more and more; otherwise the lines of Python that this has cost."""
    run = Run(tried)
    limit, brought, sizes = 0, 0, [0]
    with run.limit:
        if repeated.start:
            run.step(repeated.start)
        while not (run.over or run.finished):
            batch = repeated.batch(_BATCH * (len(sizes) - 1))
            run.step(batch)
            run.drain()
            brought += len(batch)
            limit = max(limit, getattr(run.wait, "limit", 0))
            sizes.append(held(run.machine))
            bound = kept + limit + len(batch)
            if sizes[-1] > bound:
                begun = "".join(f"{run.name}.feed({literal(message)})\n" for message in tried.before)
                fed = repeated.code(run.name, len(sizes) - 1)
                code = f"{_construct(tried)}\n{begun}{fed}\nassert held(machine) <= {bound}"
                fault = f"it holds {sizes[-1]} bytes, and more with each {literal(repeated.batch(0)[:40])} that comes"
                fail(tried, fault, "bounds_when_repeated", code, remedy=f"kept={2 * sizes[-1]} (bytes)")
            half = len(sizes) // 2
            if len(sizes) > 2 and sizes[-1] - sizes[half] <= brought * (len(sizes) - half) // (32 * len(sizes)):
                break
        run.close()
    return run.limit.lines


def _construct(tried: Tried) -> str:
    asked = played(tried, tried.pieces).asked
    return f"machine = {tried.construct(asked)}"


def _refuse_remains(tried: Tried) -> None:
    """Fail if each of many requests leaves something behind."""
    whole = played(tried, tried.pieces)
    if whole.error is not None or whole.endless or whole.limit.lines > COSTLY:
        return
    for schedule, number in _requests(tried):
        few = remains(tried.given, schedule, FEW, number, tried.world)
        if few.descriptors >= FEW:
            _fail_of(tried, schedule, FEW, number, "descriptors")
        if few.items >= FEW and remains(tried.given, schedule, MANY, number, tried.world).items >= MANY:
            _fail_of(tried, schedule, MANY, number, "items")


def _requests(tried: Tried) -> Iterator[tuple[Schedule, tuple[int, int] | None]]:
    """Requests that end with the stream, that are broken off, and that differ in a word or a number."""
    endings: list[Schedule] = [[]] if tried.packets else [[], [END]]
    for place in [tried.length, *tried.borders(SPOTS)]:
        for ending in endings:
            yield [*tried.first(place), *ending], None
    names = list(_NAME.finditer(tried.pieces[0])) if tried.pieces else []
    for match in names[:: len(names) // SPOTS + 1]:
        yield [*tried.pieces, *endings[-1]], match.span()


def _fail_of(tried: Tried, schedule: Schedule, times: int, number: tuple[int, int] | None, noun: str) -> NoReturn:
    steps = ", ".join("END" if step is END else literal(step) for step in schedule)
    call = tried.call("remains", tried.text, f"[{steps}]", str(times), *([str(number)] if number else []))
    fault = f"each request that has ended leaves {noun} behind: release them in finish(), or in `finally`"
    fail(tried, fault, "bounds_when_repeated", f"assert {call}.{noun} < {times}")
