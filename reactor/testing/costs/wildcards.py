"""Signs of a text that may be wildcards, such as ``*``: what a few of them together cost.

A pattern that is matched by a function that calls itself, once with less of the pattern and once with less of the text,
is tried in as many ways as the signs can share the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from ..inputs.enclosing import BINARY
from ..inputs.pieces import replaced
from ..running.counting import EndlessLoop
from ..running.report import fail
from ..running.run import played
from ..running.snippets import literal
from ..running.spreading import thinned

if TYPE_CHECKING:
    from ..inputs.tried import Tried
    from ..running.schedule import Schedule

PLACES = 12
"""The most signs of the conversation that come again; of more, they are evenly spread."""

COUNTS = 2, 4, 8, 16
"""How often a sign comes."""

COSTLY = 30_000
"""Lines of Python: a run that costs less is not too much, however fast that has grown."""

STEEP = 8
"""The factor for twice as many signs from which on they are tried in too many ways: a cubic search has no more."""

_SIGN = re.compile(rb"[!-/:-@[-`{-~](?![!-/:-@[-`{-~])")
_BEHIND = b"!"


def refuse_many_ways(tried: Tried) -> None:
    """Fail if a few signs in a row, with another one behind them, cost far more than half of them."""
    for place, at in _signs(tried.pieces):
        before = 0
        for count in COUNTS:
            run = played(tried, _schedule(tried, place, at, count))
            is_endless = isinstance(run.error, EndlessLoop)
            if before and (is_endless or run.cost > COSTLY) and run.cost > STEEP * before:
                _fail(tried, place, at, count)
            if is_endless or run.cost > COSTLY:
                break
            before = run.cost


def _signs(pieces: list[bytes]) -> list[tuple[int, int]]:
    """Where texts have signs, each of which counts once in a piece."""
    texts = [(place, piece) for place, piece in enumerate(pieces) if not BINARY.search(piece)]
    found = {(place, match[0]): (place, match.start()) for place, piece in texts for match in _SIGN.finditer(piece)}
    return thinned(list(found.values()), PLACES)


def _schedule(tried: Tried, place: int, at: int, count: int) -> Schedule:
    """The conversation with so many of the sign, and another one behind them."""
    sign = tried.pieces[place][at : at + 1]
    return tried.whole(replaced(tried.pieces, place, at, at + 1, sign * count + _BEHIND))


def _fail(tried: Tried, place: int, at: int, count: int) -> NoReturn:
    sign = tried.pieces[place][at : at + 1]
    short, long = (
        tried.call("work", tried.text, literal([*tried.before, *_schedule(tried, place, at, number)]))
        for number in (count // 2, count)
    )
    fault = (
        f"{count} times {literal(sign)} in a row cost it more than {STEEP} times what half of them cost: it tries ever "
        "more ways to share the text among them"
    )
    fail(tried, fault, "works_linearly", f"short = {short}\nlong = {long}\nassert long <= {STEEP} * short")
