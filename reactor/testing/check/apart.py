"""The property of strangers: what another request has said, and when it says it, changes nothing.

A `Meeting` is a request whose input comes in two halves, and another one that comes between them.
"""

from __future__ import annotations

import re
from itertools import pairwise, product
from textwrap import indent
from typing import TYPE_CHECKING, Any, NamedTuple

from ..inputs.borders import firsts_of, pieces_again
from ..inputs.choices import each, either
from ..inputs.kindred import words_beside, words_of_constants
from ..inputs.strategies import NOT_REPEATABLE, smallest, word_ends
from ..inputs.tried import Tried
from ..running.evidence import alike, answers_of, differing, unlike
from ..running.pristine import pristine
from ..running.report import fail, held_in_time
from ..running.run import Run, played
from ..running.schedule import END
from ..running.spreading import places, thinned

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.report import Answers

SPOTS = 16
"""The most places of a conversation at which another request comes. Of more, they are evenly spread."""

AGAIN = 20
"""How often a stranger sends a piece, and how many are cut off: more than most limits of attempts and places allow."""

LESS = 8
"""The most packets that end early, the most messages alone, the most lines that are left out, or have not all words."""

_LINE = re.compile(rb"(?<![^\n])[^\n]*\n")
_WORD = re.compile(rb"[A-Za-z]{2,}")
_NAME = re.compile(rb"(?<![A-Za-z])([A-Za-z]+[-_]?)[0-9]{1,3}")
_TOKEN = re.compile(rb"[\w.-]+")
_LAST_WORD = re.compile(rb"(?<=[!-~]) [!-~]+(?=\r?\n)")


class Evidence(NamedTuple):
    """The statements that show a fault, and the two answers."""

    code: str
    answers: Answers | None


class Meeting(NamedTuple):
    """The input of a request in two halves, and what another request sends between them."""

    before: list[bytes]
    other: list[bytes]
    after: list[bytes]


@held_in_time
def leaves_nothing_behind(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None, examples: int | None = None
) -> None:
    """The output for a request does not depend on the input of another request that is still open.

    State in a class variable, a default argument or a global variable breaks this. Such state is restored before each
    run. The other request comes first, or between the halves of this one; or it sends the first half, such as the
    login, and this one only the second; or it sends all, and this one less, such as a line without its last word, or
    another word in the place of one. A chat room or a counter shares state on purpose: then
    ``check(..., meant=["leaves_nothing_behind"])`` restores it before each run, and tries all others.
    """
    tried = Tried(kind, conversation, world)
    with pristine(tried.kind):
        first = played(tried, tried.pieces, name="first")
    with pristine(tried.kind):
        again = played(tried, tried.pieces, name="again")
    if not alike(first, again):
        fail(
            tried, NOT_REPEATABLE, "leaves_nothing_behind", differing(again, first), answers=answers_of(again, first)
        )  # fmt: skip

    def runs(other: list[bytes], own: int) -> tuple[Run, Run, Run]:
        with pristine(tried.kind):
            alone = played(tried, tried.first(own))
        with pristine(tried.kind):
            before = played(tried, other, name="other", close=False)
            after = played(tried, tried.first(own))
            before.close()
        return alone, before, after

    def differs(drawn: tuple[list[bytes], int]) -> bool:
        alone, _, after = runs(*drawn)
        return not alike(alone, after)

    others = either(tried.lengths.map(tried.first), tried.damaged())
    found = smallest(tried, each(others, tried.lengths), differs, examples)
    if found is not None:
        alone, before, after = runs(*found)
        evidence: Evidence | None = Evidence(f"{before.code()}\n{unlike(after, alone)}", answers_of(after, alone))
    else:
        evidence = meeting(tried)
    if evidence is not None:
        fault = "the output depends on what another request has sent"
        fail(tried, fault, "leaves_nothing_behind", evidence.code, answers=evidence.answers)


def meeting(tried: Tried) -> Evidence | None:
    """What shows that a request depends on another one between its halves; ``None`` if none does.

    The other request is a stranger, which sends the first half and leaves the second half to this one, or one piece
    again and again before this one; or it sends the whole conversation between the halves. Or it sends it before this
    one, which says less. Or many others have come before, and were cut off.
    """
    met = next((met for met in _meetings(tried) if _evidence(tried, met) is not None), None)
    if met is None:
        return _crowd(tried)
    for place in places(sum(map(len, met.after))) if not tried.packets else ():
        less = met._replace(after=[data[:place] for data in met.after])
        if (found := _evidence(tried, less)) is not None:
            return found
    return _evidence(tried, met)


def _crowd(tried: Tried) -> Evidence | None:
    """The evidence, if a request depends on others whose connections were cut off before it."""
    if tried.packets or tried.world.server is not None:
        return None
    with pristine(tried.kind):
        alone = played(tried, tried.pieces)
    for place in [0, *tried.word_ends(SPOTS // 4)]:
        with pristine(tried.kind):
            for _ in range(AGAIN):
                other = played(tried, [*tried.first(place), END], name="other")
            run = played(tried, tried.pieces)
        if not alike(alone, run):
            crowd = f"for _ in range({AGAIN}):\n{indent(other.code(), '    ')}"
            return Evidence(f"{crowd}\n{unlike(run, alone)}", answers_of(run, alone))
    return None


def _meetings(tried: Tried) -> Iterator[Meeting]:
    whole = tried.pieces
    halves = [(tried.first(place), tried.rest(place)) for place in tried.word_ends(SPOTS)]
    yield from (Meeting([], whole, less) for less in _less(tried))
    yield from (Meeting([], first, rest) for first, rest in halves)
    # A server may well count failures, and to begin the other request would take from it what this one has put there.
    if tried.world.server is None:
        with pristine(tried.kind):
            again = [] if tried.packets else pieces_again(tried)
        for begin, end in again:
            data = tried.pieces[0]
            yield Meeting([], [data[:begin] + AGAIN * data[begin:end]], whole)
        yield from (Meeting(first, other, rest) for first, rest in halves for other in (first, whole))


def _less(tried: Tried) -> Iterator[list[bytes]]:
    """What says less than the conversation: beginnings of packets, or all lines but one; and each message alone.

    Or one line has not its last word, or one word of the first packet, or of a stream, is another one, such as one that
    stands beside it in a constant of the handler's module; or one name is another one of the conversation that is like
    it, such as ``SLOT-1`` for ``SLOT-2``. Or one message is left out.
    """
    fewer = list[bytes]()
    others = [
        data[: match.end() - 1] + (b"b" if match[0].endswith(b"a") else b"a") + data[match.end() :]
        for data in tried.pieces[:1]
        for match in _WORD.finditer(data)
    ]
    if tried.packets:
        whole, less = tried.pieces, [packet[:end] for packet in tried.pieces for end in word_ends(packet)[1:-1]]
    else:
        data = tried.pieces[0]
        with pristine(tried.kind):
            firsts = firsts_of(tried) or [0]
        spans = [match.span() for match in _LINE.finditer(data)]
        messages = list(pairwise([*firsts, len(data)]))
        whole = [data[begin:end] for begin, end in messages]
        less = [data[:begin] + data[end:] for begin, end in dict.fromkeys([*spans, *messages])]
        fewer = [data[: match.start()] + data[match.end() :] for match in _LAST_WORD.finditer(data)]
    for several in less, whole, fewer, others, list(_exchanged(tried.pieces)), list(_beside(tried)):
        yield from ([less] for less in thinned(list(dict.fromkeys(several)), LESS))


def _exchanged(pieces: list[bytes]) -> Iterator[bytes]:
    """The first packet, or the stream, with one name in the place of another one, which differs in its number only."""
    for data in pieces[:1]:
        found = list(_NAME.finditer(data))
        for one, other in product(found, found):
            if one[0] != other[0] and one[1] == other[1]:
                yield data[: one.start()] + other[0] + data[one.end() :]


def _beside(tried: Tried) -> Iterator[bytes]:
    """The first packet, or the stream, with a word in the place of another one that a constant has beside it."""
    constants = words_of_constants(tried.kind)
    for data in tried.pieces[:1]:
        for match in _TOKEN.finditer(data):
            for other in words_beside(match[0], constants):
                yield data[: match.start()] + other + data[match.end() :]


def _evidence(tried: Tried, met: Meeting) -> Evidence | None:
    """The evidence of a meeting, if the request depends on the other one."""
    with pristine(tried.kind):
        alone = played(tried, [*met.before, *met.after])
    with pristine(tried.kind):
        if not met.before:
            other = played(tried, met.other, name="other", close=False)
            run, half = played(tried, met.after), 0
        else:
            run = Run(tried)
            for piece in met.before:
                run.step(piece)
            half = run.calls
            other = played(tried, met.other, name="other", close=False)
            for piece in met.after:
                run.step(piece)
            run.finish()
            run.close()
        other.close()
    if alike(alone, run):
        return None
    begun = [run.code(half)] if half else []
    return Evidence("\n".join([*begun, other.code(), unlike(run, alone, half)]), answers_of(run, alone))
