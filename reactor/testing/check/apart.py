"""Two requests at once: what another request has said, and when it says it, changes nothing.

A `Meeting` is a request whose input comes in two halves, and another one that comes between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .evidence import alike, answers_of, places, unlike
from .pristine import pristine
from .run import Run, played

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .report import Answers
    from .tried import Tried

SPOTS = 16
"""The most places of a conversation at which another request comes. Of more, they are evenly spread."""


class Evidence(NamedTuple):
    """The statements that show a fault, and the two answers."""

    code: str
    answers: Answers | None


class Meeting(NamedTuple):
    """The input of a request in two halves, and what another request sends between them."""

    before: list[bytes]
    other: list[bytes]
    after: list[bytes]


def meeting(tried: Tried) -> Evidence | None:
    """What shows that a request depends on another one between its halves; ``None`` if none does.

    The other request is a stranger, which sends the first half and leaves the second half to this one, or it sends
    the whole conversation between the halves.
    """
    met = next((met for met in _meetings(tried) if _evidence(tried, met) is not None), None)
    if met is None:
        return None
    for place in places(sum(map(len, met.after))) if not tried.packets else ():
        less = met._replace(after=[data[:place] for data in met.after])
        if (found := _evidence(tried, less)) is not None:
            return found
    return _evidence(tried, met)


def _meetings(tried: Tried) -> Iterator[Meeting]:
    whole = tried.pieces
    halves = [(tried.first(place), tried.rest(place)) for place in tried.borders(SPOTS)]
    yield from (Meeting([], first, rest) for first, rest in halves)
    if tried.world.server is None:  # to begin the other request would take from the server what this one has put there
        yield from (Meeting(first, other, rest) for first, rest in halves for other in (first, whole))


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
            with run.limit:
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
