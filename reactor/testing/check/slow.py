"""Slow clients: one message that comes in many pieces, and an opening of the conversation that never ends."""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import Handler, StreamMachine, Until
from ..inputs.borders import borders_of, firsts_of, is_inside, messages_of, parts_of, pieces_again
from ..running.drip import DRIPS, SHARE, dripped, trickle
from ..running.forms import around, letters, same
from ..running.report import fail
from ..running.run import Run, played
from ..running.snippets import literal, names_in
from ..running.spreading import spread_over, thinned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..inputs.tried import Tried
    from ..running.forms import Form

WAITS = 16
"""How many times the longest time of a wait a message may take whose pieces come late."""

SPOTS = 6
"""The most pieces inside messages that come again, and the most places before the opening is over."""

SHORTEST = 8
"""The most pieces that a client sends instead of opening the conversation: the shortest."""

_WORD = re.compile(rb"[A-Za-z]+")


class _Long(NamedTuple):
    """A message with a piece inside that comes again and again."""

    before: bytes
    """What comes before the message."""
    begun: bytes
    """The message up to this piece."""
    piece: Form


def refuse_long_messages(tried: Tried) -> None:
    """Fail if late pieces of a message that the handler counts, such as its fields, make it take too long.

    A handler that bounds how many pieces come multiplies its timeout with that number. One that takes any number of
    them, such as lines of a text, lets a message take any time on purpose: it is not meant. If it also holds them all,
    `stays_in_bounds_when_repeated` tells it to bound their number.
    """
    for long in _long_messages(tried):
        count, longest = _borne(tried, long)
        if SHARE * count > WAITS:
            pieces = [long.begun, *map(long.piece.write, range(count))]
            spent = trickle(tried.given, long.before, pieces, tried.world)
            if spent > WAITS * longest:
                fault = (
                    f"a message with {count} pieces such as {literal(pieces[1])} takes {spent:.0f} seconds if they "
                    f"come late: each has {longest:g} seconds of its own. Declare request_timeout, for all of a message"
                )
                more = f"[{long.piece.code} for {_variable(long.piece)} in range({count})]"
                sent = f"[{literal(long.begun)}, *{more}]"
                call = tried.call("trickle", tried.text, literal(long.before), sent)
                fail(tried, fault, "ends_if_it_drips", f"assert {call} < {spent!r}")


def _variable(piece: Form) -> str:
    """The name of the variable in the source text that counts the pieces."""
    return "number" if "number" in names_in(piece.code) else "_"


def _long_messages(tried: Tried) -> Iterator[_Long]:
    """The messages of the conversation with a piece that may come again, as it is, and with another word in it."""
    data = tried.pieces[0]
    messages = list(pairwise(firsts_of(tried)))
    spans = [
        (begin, start, stop)
        for start, stop in pieces_again(tried)
        for begin, end in messages
        if begin < start and stop < end
    ]
    for begin, start, stop in spread_over(spans, SPOTS):
        before, begun, piece = data[:begin], data[begin:start], data[start:stop]
        yield _Long(before, begun, same(piece))
        if word := _WORD.search(piece):
            yield _Long(before, begun, around(piece[: word.start()], letters(), piece[word.end() :]))


def _borne(tried: Tried, long: _Long) -> tuple[int, float]:
    """How many pieces the handler bears in one message until it ends the request, and the longest time of a wait.

    0 if nothing ends it, or the message is answered; also if the handler keeps the time itself, or has no timeout of
    its own.
    """
    run = Run(tried)
    run.step(long.before)
    run.drain()
    run.asked.discard("now")  # it may have asked for the time in an earlier message
    longest, count, keeps_time = _declared(run), 0, False
    run.step(long.begun)
    run.drain()
    answered = run.output
    while count < DRIPS and _goes_on(run) and run.output == answered:
        longest, keeps_time = max(longest, _declared(run)), "now" in run.asked  # its last answer may have a date
        run.step(long.piece.write(count))
        run.drain()
        count += not run.finished
    run.close()
    is_bound = run.finished and run.error is None and longest < inf and not keeps_time
    return (count if is_bound else 0), longest


def _goes_on(run: Run) -> bool:
    """Whether the request waits for the next piece of a message."""
    return is_inside(run) and run.wait is not None and run.wait.reads


def _declared(run: Run) -> float:
    """The seconds of the wait; without end if neither the class nor the wait declares them."""
    timeout = (run.wait and run.wait.timeout) or run.subject.handler.timeout
    return inf if timeout == Handler.timeout else run.patience


class _Opening(StreamMachine):
    """Notes whether the handler has called ``opened()``."""

    has_opened = False

    def end_opening(self) -> None:
        self.has_opened = True
        super().end_opening()


def refuse_endless_openings(tried: Tried) -> None:
    """Fail if a client that sends one piece now and then, and gets no answer, never has to open the conversation.

    If the handler declares ``request_timeout``, each piece comes before it is over, and renews it perhaps.
    """
    seconds = tried.handler.request_timeout
    for start, piece in _before_it_opens(tried):
        found = dripped(tried, [start], piece, grows=False, within=inf if seconds is None else seconds)
        has_bound = found.is_kept_open or seconds is not None
        if found.is_open and has_bound and not _has_opened(tried, [start, *[piece] * DRIPS]):
            fault = (
                f"a client that sends {literal(piece)} now and then, and stays in the opening, keeps the request open "
                f"for {found.seconds:.0f} seconds and more. Declare request_timeout, and count one_by_one only after "
                "opened()"
            )
            within = [] if seconds is None else [f"within={seconds!r}"]
            call = tried.call("drip", tried.text, literal(start), literal(piece), *within)
            fail(tried, fault, "ends_if_it_drips", f"assert {call} < {found.seconds!r}")


def _before_it_opens(tried: Tried) -> Iterator[tuple[bytes, bytes]]:
    """Beginnings of the conversation after which it is not open, and what a client may send there instead."""
    if not (borders := borders_of(tried)) or not _has_opened(tried, tried.pieces):
        return
    data = tried.pieces[0]
    parts = [data[part.border.at : part.end] for part in parts_of(tried)]
    pieces = sorted({*parts, *messages_of(tried)} - {b""}, key=lambda piece: (len(piece), piece))[:SHORTEST]
    opening = [border for border in borders if not _has_opened(tried, [data[: border.at]])]
    for border in thinned(opening, SPOTS):
        end = [border.wait.delimiter] if isinstance(border.wait, Until) else []
        yield from ((data[: border.at], piece) for piece in dict.fromkeys([*end, *pieces]))


def _has_opened(tried: Tried, pieces: list[bytes]) -> bool:
    """Whether the handler has called ``opened()`` when these pieces have come."""
    machine: Any = played(tried, [*pieces], machine=_Opening).machine
    return bool(machine.has_opened)
