"""Hypothesis strategies for what a network does to the input of a handler, and the search for the smallest example.

A network cuts, delays, ends, loses and reorders. All strategies shrink to the simplest case: no cut, no pause, no loss,
and a short conversation. They draw schedules, which are plain data; see `reactor.testing.running.schedule`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, NoSuchExample

from ..running.report import fail
from ..running.schedule import END, RESET, Take
from ..running.spreading import thinned
from ..running.subject import pieces_of
from ..running.watching import Unfit
from .choices import Choice, binary, each, either, made, number, one_of, several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hypothesis.strategies import SearchStrategy

    from ..running.schedule import Schedule
    from ..running.subject import Subject
    from .choices import Draw

_T = TypeVar("_T")

SECONDS: SearchStrategy[float] = st.floats(0, 1_000)
"""Seconds that pass: fewer and more than the 300 that a wait may take by default."""

_TOKENS = b"\n", b"\r", b"\r\n", b"\0", b" ", b":", b"-1", b"0", b"99", b"9999999999", b"\xff", b"\xc3"
"""Bytes that parsers often handle wrongly: line ends, negative, zero and huge numbers, invalid UTF-8."""

_SECONDS = Choice(lambda: SECONDS, lambda below: below(4_001) / 4)

_INDEX = number(0, 99)

_MORE = number(0, 19)
"""Whether to draw more: false once in twenty draws, and shrinks to false."""


def chunkings(data: bytes) -> SearchStrategy[list[bytes]]:
    """Every way to cut ``data``: lists of nonempty bytes objects whose concatenation is ``data``.

    Shrinks to few and early cuts. Empty data has no chunks: ``[]``. Raises `TypeError` if ``data`` is not bytes.

    >>> from hypothesis import find, settings
    >>> fixed = settings(max_examples=2_000, database=None, derandomize=True)
    >>> found = lambda chunks: b"\\r" in [chunk[-1:] for chunk in chunks]
    >>> find(chunkings(b"one\\r\\n"), found, settings=fixed)
    [b'one\\r', b'\\n']
    """
    if not isinstance(data, bytes):
        raise TypeError(f"chunkings: data is bytes, not {data!r}")
    return made(lambda draw: _chunks(draw, data)).strategy


def _chunks(draw: Draw, data: bytes) -> list[bytes]:
    """The data in pieces. Unlike Hypothesis's own lists, the cuts are often many."""
    if not data:
        return []
    cuts: set[int] = set()
    while draw(_MORE) and len(cuts) < len(data) - 1:  # one draw before each cut, so shrinking can drop both
        cuts.add(draw(number(1, len(data) - 1)))
    return [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]


def schedules(
    data: bytes, *, whole: bool = False, takes: bool = True, seconds: SearchStrategy[float] | None = SECONDS,
    ends: bool = True, resets: bool = True,
) -> SearchStrategy[Schedule]:  # fmt: skip
    """Schedules in which ``data``, or with ``whole=False`` any beginning of it, comes to a stream handler.

    With ``takes``, the kernel takes parts of the output, or none, between the chunks. ``seconds`` draws how much time
    passes between them; ``None`` means none. With ``ends`` the stream may end after the last byte, with ``resets``
    the connection may be reset there. Shrinks to a short beginning in one chunk. Raises `TypeError` if ``data`` is not
    bytes.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"schedules: data is bytes, not {data!r}")
    return stream_schedules(data, whole, takes, _quick(seconds), ends, resets).strategy


def stream_schedules(
    data: bytes, whole: bool = False, takes: bool = True, seconds: Choice[float] | None = _SECONDS, ends: bool = True,
    resets: bool = True,
) -> Choice[Schedule]:  # fmt: skip
    """What `schedules` draws."""
    endings = [None, *([END] if ends else []), *([RESET] if resets else [])]

    def drawn(draw: Draw) -> Schedule:
        arriving = data if whole else data[: draw(_lengths(data))]
        schedule: Schedule = list(_chunks(draw, arriving))
        _interleave(draw, schedule, takes, seconds)
        ending = draw(one_of(endings))
        return schedule if ending is None else [*schedule, ending]

    return made(drawn)


def _quick(seconds: SearchStrategy[float] | None) -> Choice[float] | None:
    """What draws the seconds; quickly it draws the usual ones."""
    return None if seconds is None else Choice(lambda: seconds, _SECONDS.quick)


def deliveries(packets: Sequence[bytes], *, truncates: bool = True) -> SearchStrategy[list[bytes]]:
    """What arrives of ``packets`` over a network that loses, duplicates, reorders and truncates datagrams.

    With ``truncates=False`` it truncates none. Shrinks to all packets, once each, in order and whole. Raises
    `TypeError` if ``packets`` is not a list of bytes.

    >>> from hypothesis import find, settings
    >>> fixed = settings(max_examples=2_000, database=None, derandomize=True)
    >>> twice = lambda arrived: arrived.count(b"two") > 1
    >>> find(deliveries([b"one", b"two", b"three"]), twice, settings=fixed)
    [b'one', b'two', b'two', b'three']
    """
    whole = _packets(packets, "deliveries")
    return made(lambda draw: _delivered(draw, whole, truncates)).strategy


def _delivered(draw: Draw, packets: Sequence[bytes], truncates: bool = True) -> list[bytes]:
    arriving = list(packets)
    kinds = one_of(["double", "lose", "overtake", *(["truncate"] if truncates else [])])
    size = number(0, max(map(len, packets), default=0))
    for kind, place, where, left in draw(several(each(kinds, _INDEX, _INDEX, size), 4)):
        if not arriving:
            break
        place %= len(arriving)
        packet = arriving.pop(place)
        if kind == "overtake":
            arriving.insert(where % (len(arriving) + 1), packet)
        elif kind == "double":
            arriving[place:place] = [packet, packet]
        elif kind == "truncate":
            arriving.insert(place, packet[:left])
    return arriving


def packet_schedules(
    packets: Sequence[bytes], *, whole: bool = False, lossy: bool = True, takes: bool = True,
    seconds: SearchStrategy[float] | None = SECONDS,
) -> SearchStrategy[Schedule]:  # fmt: skip
    """Schedules in which ``packets``, or with ``whole=False`` the first few of them, come to a datagram handler.

    With ``lossy`` the network does what `deliveries` draws. ``takes`` and ``seconds`` are those of `schedules`.
    """
    given = _packets(packets, "packet_schedules")
    return datagram_schedules(given, whole, lossy, takes, _quick(seconds)).strategy


def datagram_schedules(
    packets: Sequence[bytes], whole: bool = False, lossy: bool = True, takes: bool = True,
    seconds: Choice[float] | None = _SECONDS,
) -> Choice[Schedule]:  # fmt: skip
    """What `packet_schedules` draws."""

    def drawn(draw: Draw) -> Schedule:
        arriving = packets if whole else packets[: draw(number(0, len(packets)))]
        schedule: Schedule = list(_delivered(draw, arriving) if lossy else arriving)
        _interleave(draw, schedule, takes, seconds)
        return schedule

    return made(drawn)


def mutations(data: bytes) -> SearchStrategy[bytes]:
    """Input from a faulty or hostile client that knows the conversation ``data``.

    It is a beginning of ``data``, then something else (a few bytes, parts of ``data``, bytes that parsers often handle
    wrongly), then an end of ``data``. Each part may be empty. The parts meet more often between two words than inside
    a word. Shrinks to few bytes. Raises `TypeError` if ``data`` is not bytes.
    """
    if not isinstance(data, bytes):
        raise TypeError(f"mutations: data is bytes, not {data!r}")
    return mutated(data).strategy


def mutated(data: bytes) -> Choice[bytes]:
    """What `mutations` draws."""
    place = either(one_of(word_ends(data)), number(0, len(data)))
    piece = each(place, place).map(lambda ends: data[min(ends) : max(ends)])
    middle = several(either(one_of(_TOKENS), binary(4), piece), 5)

    def joined(drawn: tuple[int, list[bytes], int]) -> bytes:
        start, middle, rest = drawn
        return b"".join([data[:start], *middle, data[rest:] if rest else b""])

    return each(place, middle, place).map(joined)


def slips(data: bytes, tokens: Sequence[bytes] = (b"", *_TOKENS)) -> Iterator[bytes]:
    """The simplest `mutations`: one word is replaced by a token, or one token is inserted between two words.

    >>> list(slips(b"7"))[:3], len(list(slips(b"GET /")))
    ([b'7', b'\\n7', b'\\r7'], 91)
    """
    chosen = word_ends(data)
    chosen = thinned(chosen, max(2, min(16, 4_096 // (len(data) + 1))))
    for start, end in [*((border, border) for border in chosen), *pairwise(chosen)]:
        for token in tokens:
            yield data[:start] + token + data[end:]


def _packets(given: Sequence[bytes], name: str) -> list[bytes]:
    if isinstance(given, bytes):
        raise TypeError(f"{name}: packets is a list of bytes, one for each, not {given!r}")
    return pieces_of(given, f"{name}: packets")


def _lengths(data: bytes) -> Choice[int]:
    """Lengths of a beginning of ``data``; most are its whole length, or end where a word ends."""
    return either(number(0, len(data)), one_of(word_ends(data)), one_of([len(data)]))


_RUN = re.compile(rb"[0-9]+|[A-Za-z]+|\s+|[^0-9A-Za-z\s]+")  # of bytes of one class


def word_ends(data: bytes) -> list[int]:
    """The places between two bytes of different classes, the first and the last place among them.

    >>> word_ends(b"one  12\\r\\n")
    [0, 3, 5, 7, 9]
    """
    return [*(run.start() for run in _RUN.finditer(data)), len(data)]


def _interleave(draw: Draw, schedule: Schedule, takes: bool, seconds: Choice[float] | None) -> None:
    """Insert takes and pauses between the steps."""
    kinds: list[Choice[Any]] = []
    if takes:
        kinds.append(number(0, 9).map(Take))
    if seconds is not None:
        kinds.append(seconds)
    if not kinds:
        return
    for place, step in draw(several(each(number(0, len(schedule)), either(*kinds)), 4)):
        schedule.insert(min(place, len(schedule)), step)


# The search

AGAIN = 4
"""How many times as many examples Hypothesis tries once it is known that some break the property."""

NOT_REPEATABLE = (
    "the same schedule gives different results: requests share state that the check cannot restore, "
    "or the handler uses a clock or random numbers of its own (self.now() is the clock that a test can set)"
)


def smallest(
    tried: Subject, drawn: Choice[_T] | SearchStrategy[_T], breaks: Callable[[_T], bool], examples: int | None,
    most: int | None = None,
) -> _T | None:  # fmt: skip
    """The smallest example that breaks a property; ``None`` if no example that was tried does."""
    profile = settings()
    count = profile.max_examples if examples is None else examples
    chosen = settings(
        profile, max_examples=count if most is None else min(most, count), database=None, deadline=None,
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    if not isinstance(drawn, Choice):
        return _found(tried, drawn, breaks, chosen)
    quick = drawn.some(chosen.max_examples, Random(0 if chosen.derandomize else None))
    broken = next(filter(breaks, quick), None)
    if broken is None:
        return None
    less = _found(tried, drawn.strategy, breaks, settings(chosen, max_examples=AGAIN * chosen.max_examples))
    if less is None and not breaks(broken):
        fail(tried, NOT_REPEATABLE)
    return broken if less is None else less


def _found(
    tried: Subject, strategy: SearchStrategy[_T], breaks: Callable[[_T], bool], chosen: settings
) -> _T | None:  # fmt: skip
    """The smallest example that breaks a property, as Hypothesis finds it."""
    unfit: list[Unfit] = []

    def breaks_or_is_unfit(example: _T) -> bool:
        """Whether to look no further: an exception that leaves ``find()`` would be reported as one of its own."""
        try:
            return bool(unfit) or breaks(example)
        except Unfit as error:
            unfit.append(error)
            return True

    try:
        found = find(strategy, breaks_or_is_unfit, settings=chosen)
    except NoSuchExample:
        return None
    except Flaky:
        if unfit:  # an example that was tried before now breaks the property, too
            raise unfit[0] from None
        fail(tried, NOT_REPEATABLE)
    if unfit:
        raise unfit[0]
    return found
