"""Where the waits of a handler begin in a conversation: so its messages and their parts are found, in any protocol.

Two borders at which the handler waits in the same place have a piece between them that may come again.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from ...handlers.states import is_same_place, place_of
from ..running.run import Run
from ..running.spreading import spread_over, thinned

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...handlers import Wait
    from .tried import Tried

MOST = 4_096
"""Bytes of a conversation up to which it is read byte by byte."""

PAIRS = 16
"""The most pieces that may come again; of more, they are evenly spread."""

SINGLE = 12
"""The most of these that end at the next place at which the handler waits for the same."""

PARTS = 2
"""The most first parts of messages that may come again."""


class Border(NamedTuple):
    """A place of the conversation at which a wait begins, with no byte held."""

    at: int
    """The bytes before it."""
    place: object
    """Where in the handler the request waits: equal for borders at which it waits in the same place of the source."""
    wait: Wait
    is_first: bool
    """Whether a message begins here."""


_FOUND: WeakKeyDictionary[Tried, list[Border]] = WeakKeyDictionary()
"""The borders of the conversations that are tried now, because most properties ask for them several times."""


def borders_of(tried: Tried) -> list[Border]:
    """The borders of a conversation, in order; none for datagrams, and for a long conversation."""
    if tried not in _FOUND:
        data = b"" if tried.packets else tried.pieces[0]
        _FOUND[tried] = [] if tried.packets or tried.blocking or len(data) > MOST else _borders(tried, data)
    return [*_FOUND[tried]]


def _borders(tried: Tried, data: bytes) -> list[Border]:
    found: list[Border] = []
    run = Run(tried)
    for at in range(len(data) + 1):
        if at:
            run.step(data[at - 1 : at])
        run.drain()
        machine: Any = run.machine
        if run.over or run.finished:
            break
        if machine.held_in == 0 and run.wait is not None and run.wait.reads:
            here = place_of(machine.state)
            place = next((other.place for other in found if is_same_place(other.place, here)), here)
            found.append(Border(at, place, run.wait, is_between(run)))
    run.close()
    return found


def firsts_of(tried: Tried) -> list[int]:
    """Where the handler waits for the next message, in order; one place may be the end of the conversation."""
    return [border.at for border in borders_of(tried) if border.is_first]


def inner_firsts_of(tried: Tried) -> list[int]:
    """As `firsts_of`, without the beginning and the end of the conversation."""
    return [at for at in firsts_of(tried) if 0 < at < len(tried.pieces[0])]


def messages_of(tried: Tried) -> list[bytes]:
    """Packets; of a stream what is between two places at which the handler waits for the next message."""
    if tried.packets:
        return tried.pieces
    data = tried.pieces[0]
    return [data[start:end] for start, end in pairwise([0, *inner_firsts_of(tried), len(data)])]


def is_between(run: Run) -> bool:
    """Whether the request waits where its messages begin."""
    machine: Any = run.machine
    return is_same_place(place_of(machine.state), machine.first_place)


def is_inside(run: Run) -> bool:
    """Whether the request is open, inside a message, as far as the reactor can tell."""
    return not (run.over or run.finished or is_between(run))


class Part(NamedTuple):
    """What satisfied one wait."""

    border: Border
    end: int


def parts_of(tried: Tried) -> list[Part]:
    """The parts of a conversation that satisfy one wait each; what follows the last border is none."""
    return [Part(one, other.at) for one, other in pairwise(borders_of(tried))]


def pieces_again(tried: Tried) -> list[tuple[int, int]]:
    """The spans of the pieces of a stream that may come again: at both ends the handler waits in the same place.

    Such a piece may end at the next such place, or at the one after it, which is between two of these.
    """
    alike = _followed(borders_of(tried), lambda border: (id(border.place), repr(border.wait)))
    short = [(one.at, others[0].at) for one, others in alike if others]
    long = [(one.at, others[1].at) for one, others in alike if len(others) > 1]
    data = tried.pieces[0] if short else b""
    spans = spread_over(_distinct(data, short), SINGLE)
    return sorted(spans + spread_over(_distinct(data, long), PAIRS - len(spans)))


def _distinct(data: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without those whose bytes are those of an earlier one."""
    return list({(data[start:end]): (start, end) for start, end in reversed(spans)}.values())[::-1]


def parts_again(tried: Tried) -> list[tuple[int, int]]:
    """The spans of the first parts of messages that come in parts.

    Behind such a part the handler waits for the same as before it, and in another place: for the next part.
    """
    alike = _followed(borders_of(tried), lambda border: repr(border.wait))
    spans = [(one.at, others[0].at) for one, others in alike if one.is_first and others and not others[0].is_first]
    return thinned(spans, PARTS)


def _followed(found: list[Border], key: Callable[[Border], object]) -> list[tuple[Border, list[Border]]]:
    """Each border with the next two that have the same key. Equal waits say the same, and are not always hashable."""
    followed: list[tuple[Border, list[Border]]] = []
    nexts: dict[object, list[Border]] = {}
    for one in reversed(found):
        others = nexts.get(key(one), [])
        followed.append((one, others))
        nexts[key(one)] = [one, *others[:1]]
    return followed[::-1]
