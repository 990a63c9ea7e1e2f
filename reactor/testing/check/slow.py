"""A slow client, whose message comes in many pieces."""

from __future__ import annotations

import re
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from ...handlers import Handler
from ..inputs.borders import firsts_of, is_between, pieces_again
from ..running.drip import DRIPS, SHARE, trickle
from ..running.forms import around, letters, same
from ..running.report import fail
from ..running.run import Run
from ..running.snippets import literal, names_in
from ..running.spreading import spread_over

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..inputs.tried import Tried
    from ..running.forms import Form

WAITS = 16
"""How many times the longest time of a wait a message may take whose pieces come late."""

SPOTS = 6
"""The most pieces inside messages that come again."""

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
    return not (run.over or run.finished or is_between(run)) and run.wait is not None and run.wait.reads


def _declared(run: Run) -> float:
    """The seconds of the wait; without end if neither the class nor the wait declares them."""
    timeout = (run.wait and run.wait.timeout) or run.subject.handler.timeout
    return inf if timeout == Handler.timeout else run.patience
