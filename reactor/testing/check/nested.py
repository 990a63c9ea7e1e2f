"""The property of what is nested deeper than Python's recursion limit."""

from __future__ import annotations

import re
import sys
from copy import copy
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ...handlers import Cancelled
from ..inputs.borders import firsts_of
from ..inputs.enclosing import BINARY, counting, enclosing, enclosing_all, enclosing_but_tail
from ..inputs.pieces import replaced
from ..inputs.tried import Tried
from ..running.counting import EndlessLoop
from ..running.driver import RecordingDriver
from ..running.evidence import fault_of
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.snippets import literal
from ..running.spreading import thinned
from .elements import FORMS, constructed, deep_code
from .shapes import again, bencoded, grouped, headed, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from .elements import Element, Form
    from .shapes import Wrapped

SPOTS = 2
"""The most places of a conversation at which each kind of opening is repeated."""

ELEMENTS = 6
"""The most constructed elements of BER, each with other tags about it, that are wrapped in themselves."""

GROUPS = 24
"""The most parts of a message with a head and a length that are wrapped in themselves."""

REGIONS = 6
"""The most regions of a message that are wrapped in those about them."""

WORDS = 12
"""The most words, and signs, of a text that are repeated before what follows them."""

STARTS = 48
"""Bytes of a binary message at which a few bytes are repeated."""

MESSAGES = 6
"""The most messages of a conversation that come again and again in one read."""

SHORT = 128
"""Bytes of the longest of them."""

BUDGET = 160_000
"""Lines of Python after which no further bytes are repeated."""

TWICE = 24
"""Levels of which nobody comes to the end who reads each twice, and so those in it four times, and so on."""

DEEPEST = 12_000
"""Levels that are more than functions in C may recurse (``C_RECURSION_LIMIT`` of CPython 3.12 and 3.13)."""

_FORMS = (
    (re.compile(rb"\[[^\[\]{}]*\]"), b"[", b"]"),
    (re.compile(rb"\([^()]*\)"), b"(", b")"),
    (re.compile(rb"\{[^{}]*\}"), b'{"a":', b"}"),
    (re.compile(rb"\{[^{}]*\}"), b"{", b"}"),
    (re.compile(rb"<(\w{1,64})[^<]*</\1>"), b"<a>", b"</a>"),
    (re.compile(rb"\*[1-9]\d*\r\n"), b"*1\r\n", b""),  # an array of RESP
    (re.compile(rb"l[^e]{0,99}e"), b"l", b"e"),  # a list of bencoding
)
"""Where something is nested, what opens it and what closes it."""

_TERM = re.compile(rb'(\["\w+", ?)\[[^\[\]]*\]\]')
"""What may have a like one in itself: a list with a word, and a list."""

_OPERATOR = re.compile(rb"(?<![0-9A-Za-z_])[A-Za-z]+ +(?=[!-~])|(?<![!-/:-@[-`{-~])[!~-](?=[(\"\w])")
"""What may stand before itself, as ``NOT`` and a blank, or ``!``, do: a word with a blank behind it, or a sign."""

_NEGATIONS = b"NOT", b"!", b"~", b"-"
"""What does so in many languages, and is tried however many other words there are."""

_BLANKS = re.compile(rb"\A[\[({] .* [\])}]\Z", re.DOTALL)
"""Brackets with blanks inside."""


class Nest(NamedTuple):
    """A place of the conversation, and what opens and closes there again and again."""

    piece: int
    start: int
    end: int
    opening: bytes
    closing: bytes


@held_in_time
def bears_any_nesting(kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None) -> None:
    """What is nested deeper than Python can recurse raises no `RecursionError`.

    A parser that calls itself for each level, and ``json.loads`` before Python 3.14, raise it for a message of a few
    kilobytes, and it is no ``ValueError``. The property looks for ``[...]``, ``(...)``, ``{...}``, ``<a>...</a>``, the
    arrays of RESP (``*1`` and CR LF) and the lists and dictionaries of bencoding in the conversation. There it opens
    more levels than `sys.getrecursionlimit` has, and closes all or none of them; with a blank between brackets too, if
    they have one inside. What ``json`` reads it opens two thirds as many times, too: what goes through the levels
    afterwards may need more. A length before them that counts them, in digits or binary, is made greater. It does the
    same where a binary length has a like one behind it, with the same bytes before it, such as that of a group of
    attributes in a group; with what has a byte or two, or a name, and a length before it; where a region with a length
    of two or four bytes has a like one in it, such as a document in a document; and with constructed elements of BER,
    whose lengths are definite. In a binary message it repeats up to four bytes in their place, such as the head of a
    field, and corrects the length of the whole, or of all but the last one or two bytes. In a text it repeats words and
    signs that stand before something, for they may be operators (``NOT NOT x``), and lists that begin with a word
    (``["not", x]``). A right handler counts the levels, or answers; and it reads none of them twice, for 24 levels
    would be read 16 million times. Messages that come in one read, more than Python can recurse, are no levels: a
    handler goes through them in a loop.

    >>> from handlers.services import Echo
    >>> bears_any_nesting(Echo, b"[1]")
    """
    tried = Tried(kind, conversation, world)
    for nest in [*_nests(tried.pieces), *_terms(tried.pieces)]:
        for depth in _depths(nest):
            for closing in nest.closing, b"":
                _refuse_recursion(tried, nest, depth, closing)
        _refuse_twice(tried, nest)
    spent = 0
    for nest in _operators(tried.pieces):
        spent += _refuse_recursion(tried, nest, _depth(), b"") if spent < BUDGET else 0
    for place, piece in enumerate(tried.pieces):
        for group in islice(grouped(piece), SPOTS):
            front = piece[: group.begin - len(group.before)]
            texts = enclosing(front, group.end, group.growth(_depth()))
            _refuse_deep_regions(tried, place, group, (text + group.before for text in texts))
        for group in headed(piece, GROUPS):
            front = piece[: group.begin - len(group.before)]
            text = enclosing_all(front, group.end, group.growth(_depth()), len(piece), group.order)
            _refuse_deep_regions(tried, place, group, [text + group.before])
        for region in wrapped(piece, _depth(), REGIONS):
            texts = enclosing(piece[: region.begin], len(piece), region.growth(_depth()))
            _refuse_deep_regions(tried, place, region, islice(texts, SPOTS))
        _refuse_again(tried, place)
    for place, element, about in constructed(tried.pieces, ELEMENTS):
        for form in FORMS:
            _refuse_deep_elements(tried, place, element, about, form)
    _refuse_many(tried)


def _depth() -> int:
    """Levels that are more than Python can recurse."""
    return sys.getrecursionlimit() + 8


def _with(tried: Tried, place: int, piece: bytes) -> Run:
    """The run of the conversation with another piece at this place."""
    return played(tried, tried.whole(replaced(tried.pieces, place, 0, len(tried.pieces[place]), piece)))


def _refuse_deep_regions(tried: Tried, place: int, region: Wrapped, texts: Iterable[bytes]) -> None:
    """Fail if the handler raises `RecursionError` for a region in a like one, and so on, behind one of the texts."""
    if not region.fits(_depth()):
        return
    pieces, after = tried.pieces, tried.pieces[place][region.end :]
    for before in texts:
        run = _with(tried, place, before + region.deep(_depth()) + after)
        if isinstance(run.error, RecursionError):
            parts = f"{literal(before)} + {region.code(_depth())} + {literal(after)}"
            _fail(tried, pieces[:place], parts, f"a length and {literal(region.before)}, {_depth()} times", run)


def _refuse_many(tried: Tried) -> None:
    """Fail if the handler raises `RecursionError` for a message that comes again and again in one read."""
    data = tried.pieces[0]
    spans = [(begin, end) for begin, end in pairwise(firsts_of(tried)) if end - begin <= SHORT]
    for begin, end in thinned(spans, MESSAGES):
        message = data[begin:end]
        run = played(tried, [*tried.first(begin), message * _depth()])
        if isinstance(run.error, RecursionError):
            fault = (
                f"it raises RecursionError for {_depth()} messages {literal(message)} in one read: go through them in "
                "a loop"
            )
            feeds = [literal(data) for data in [*tried.before, *tried.first(begin)]]
            feeds.append(f"{literal(message)} * {_depth()}")
            code = [f"machine = {tried.construct(run.asked)}", *(f"machine.feed({feed})" for feed in feeds)]
            fail(tried, fault, "any_nesting", "\n".join(code))


def _refuse_again(tried: Tried, place: int) -> None:
    """Fail if the handler raises `RecursionError` for a few bytes that come again and again."""
    pieces, piece, spent = tried.pieces, tried.pieces[place], 0
    for at, few in again(piece, STARTS):
        growth = len(few) * _depth()
        whole = next(enclosing(piece[:at], len(piece), growth))
        for before in dict.fromkeys([whole, *islice(enclosing_but_tail(piece[:at], len(piece), growth), 1)]):
            deep = before + few * _depth() + piece[at:]
            run = _with(tried, place, deep)
            if isinstance(run.error, RecursionError) and _raises(tried, [*pieces[:place], deep]):
                levels = f"{literal(few)} * {_depth()}"
                _fail(tried, pieces[:place], f"{literal(before)} + {levels} + {literal(piece[at:])}", levels, run)
            spent += run.cost
        if spent > BUDGET:
            break


def _raises(tried: Tried, pieces: list[bytes]) -> bool:
    """Whether a machine of which nobody counts the lines, which takes frames too, raises `RecursionError`."""
    machine: Any = tried.machine(tried.make(), RecordingDriver(copy(tried.world)))
    try:
        for piece in [*tried.before, *pieces]:
            machine.feed(piece)
        machine.abandon(Cancelled())
    except Exception as error:
        return isinstance(error, RecursionError)
    return False


def _refuse_deep_elements(tried: Tried, place: int, element: Element, about: list[Element], form: Form) -> None:
    """Fail if the handler raises `RecursionError` for an element of BER in a like one, and so on."""
    outermost, pieces = (about or [element])[0], tried.pieces
    piece, levels = pieces[place], _depth()
    deep = element.wrapped(piece[element.inside : element.end], levels, form)
    for outer, inner in reversed(list(pairwise([*about, element]))):
        deep = outer.around(piece, inner, deep, form)
    growth = len(deep) - (outermost.end - outermost.begin)
    for before in enclosing(piece[: outermost.begin], outermost.end, growth):
        run = _with(tried, place, before + deep + piece[outermost.end :])
        if isinstance(run.error, RecursionError):
            code = deep_code(piece, element, about, levels, form)
            parts = f"{literal(before)} + deep + {literal(piece[outermost.end :])}"
            _fail(tried, pieces[:place], parts, f"{literal(element.tag)} and a length, {levels} times", run, code)


def _depths(nest: Nest) -> list[int]:
    """Deeper than functions of Python may recurse. For what ``json`` reads, deeper than those in C, and not so deep.

    What ``json`` has read, a function that calls another one for each level may go through.
    """
    return [_depth(), *([DEEPEST, _depth() * 2 // 3] if nest.opening in (b"[", b'{"a":') else [])]


def _refuse_recursion(tried: Tried, nest: Nest, depth: int, closing: bytes) -> int:
    """Fail if the handler raises `RecursionError` for this depth; otherwise the lines of Python that this has cost."""
    spent = 0
    data, pieces = tried.pieces[nest.piece], tried.pieces
    inner, after = data[nest.start : nest.end], data[nest.end :]
    deep = nest.opening * depth + inner + closing * depth
    for before in _before(tried, nest, len(deep) - len(inner)):
        run = _with(tried, nest.piece, before + deep + after)
        if isinstance(run.error, RecursionError):
            levels = f"{literal(nest.opening)} * {depth}"
            parts = [literal(before), levels, literal(inner), *([f"{literal(closing)} * {depth}"] if closing else [])]
            _fail(tried, pieces[: nest.piece], " + ".join([*parts, literal(after)]), levels, run)
        spent += run.cost
    return spent


def _refuse_twice(tried: Tried, nest: Nest) -> None:
    """Fail if a few levels make the handler go on for ever."""
    data = tried.pieces[nest.piece]
    deep = nest.opening * TWICE + data[nest.start : nest.end] + nest.closing * TWICE
    for before in _before(tried, nest, (len(nest.opening) + len(nest.closing)) * TWICE):
        run = _with(tried, nest.piece, before + deep + data[nest.end :])
        if isinstance(run.error, EndlessLoop):
            fault = f"each level that is nested, such as {literal(nest.opening)}, makes it work twice as much, or more"
            fail(tried, f"{fault}: {fault_of(run, '')}", "any_nesting", run.code())


def _before(tried: Tried, nest: Nest, growth: int) -> list[bytes]:
    """What comes before a nest that grows: as it is, and with a length in digits, or a binary one, that counts it.

    A binary one counts up to the end of its message, or of all.
    """
    data = tried.pieces[nest.piece]
    before = data[: nest.start]
    told = [found.corrected(before, growth) for found in islice(counting(data, nest.start, nest.end), SPOTS)]
    ends = [*[end for end in firsts_of(tried) if end >= nest.end][:1], len(data)]
    texts = (text for end in ends for text in islice(enclosing(before, end, growth), SPOTS))
    return list(dict.fromkeys([before, *told, *texts]))


def _fail(tried: Tried, before: list[bytes], code: str, levels: str, run: Run, first: str = "") -> NoReturn:
    if tried.packets and played(tried, before).finished:  # the next packet begins another exchange
        before = []
    feeds = [f"machine.feed({literal(piece)})" for piece in [*tried.before, *before]]
    feeds.append(f"machine.feed({code})  # RecursionError")
    fault = (
        f"it raises RecursionError for a message that is nested deeply ({levels}): bound the depth, or catch "
        "RecursionError where the message is parsed"
    )
    fail(
        tried, fault, "any_nesting", "\n".join([*first.splitlines(), f"machine = {tried.construct(run.asked)}", *feeds])
    )


def _nests(pieces: list[bytes]) -> Iterator[Nest]:
    for place, piece in enumerate(pieces):
        for pattern, opening, closing in _FORMS:
            for match in list(pattern.finditer(piece))[:SPOTS]:
                yield Nest(place, *match.span(), opening, closing)
                if _BLANKS.search(match[0]):  # a bracket may be a word, which a blank ends
                    yield Nest(place, *match.span(), opening + b" ", b" " + closing)
        for start, end in islice(bencoded(piece), SPOTS):
            yield Nest(place, start, end, b"l", b"e")


def _terms(pieces: list[bytes]) -> Iterator[Nest]:
    """Lists of JSON that begin with a word, and have a list behind it: such as a term of a query that is in another."""
    for place, piece in enumerate(pieces):
        for match in list(_TERM.finditer(piece))[:SPOTS]:
            yield Nest(place, *match.span(), match[1], b"]")


def _operators(pieces: list[bytes]) -> list[Nest]:
    """Words and signs of texts that may be operators, each of them once."""
    texts = [(place, piece) for place, piece in enumerate(pieces) if not BINARY.search(piece)]
    found = [
        (match[0], Nest(place, match.start(), match.start(), match[0], b""))
        for place, piece in texts
        for match in _OPERATOR.finditer(piece)
    ]
    nests = list(dict(reversed(found)).values())[::-1]
    known = [nest for nest in nests if nest.opening.strip().upper() in _NEGATIONS]
    return [*known, *thinned([nest for nest in nests if nest not in known], WORDS)]
