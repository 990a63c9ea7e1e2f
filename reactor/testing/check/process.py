"""The property of what belongs to the whole process: a request leaves it as it was."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..inputs.tried import Tried
from ..running.remaining import changes_of
from ..running.report import fail, held_in_time
from ..running.snippets import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ...handlers import World
    from ..running.schedule import Schedule

SPOTS = 16
"""The most places of a conversation at which the property looks. Of more, they are evenly spread."""


@held_in_time
def leaves_the_process_as_it_was(
    kind: Any, conversation: bytes | Iterable[bytes], *, world: World | None = None
) -> None:
    """A request changes nothing that belongs to the whole process, such as decimal's context or the environment.

    In a loop all requests have the same context of decimal, environment, working directory, umask, locale, default
    timeout of sockets, limit of recursion, and settings of signals and of the collection of garbage: what one request
    sets, the next one finds. The property looks at them between two words of the conversation, or two packets, and when
    the request has ended. Flags of a context say only what has happened, and may change. What a request needs in
    another way it keeps to itself, such as a `decimal.Context` of its own.

    >>> from handlers.services import Echo
    >>> leaves_the_process_as_it_was(Echo, b"one\\r\\n")
    """
    tried = Tried(kind, conversation, world)
    if tried.before:  # the whole conversation is tried too
        return
    pieces = _pieces(tried)
    whole: Schedule = tried.whole(pieces)
    if not changes_of(tried, whole):
        return
    least = next((part for part in _parts(tried, pieces) if changes_of(tried, part)), whole)
    names = changes_of(tried, least)
    fault = f"it changes {', '.join(names)}, which belongs to the whole process: other requests find it changed"
    call = tried.call("changed", tried.text, literal(least))
    fail(tried, fault, "leaves_the_process_as_it_was", f"assert {call} == []")


def _pieces(tried: Tried) -> list[bytes]:
    """The conversation, cut between words; or its packets."""
    if tried.packets:
        return tried.pieces
    cuts = [0, *tried.word_ends(SPOTS), tried.length]
    return [tried.pieces[0][start:end] for start, end in pairwise(cuts)]


def _parts(tried: Tried, pieces: list[bytes]) -> Iterator[list[bytes]]:
    """The parts of the conversation, short ones first; of a stream in one piece, and cut."""
    for count in range(1, len(pieces) + 1):
        for start in range(len(pieces) - count + 1):
            part = pieces[start : start + count]
            yield from [part] if tried.packets or count == 1 else [[b"".join(part)], part]
