"""The property of what belongs to the whole process: a request leaves it as it was."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..inputs.tried import Tried
from ..running.evidence import spread
from ..running.remaining import ended
from ..running.report import fail, held_in_time
from ..running.snippets import literal
from ..running.subject import Subject
from ..running.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...handlers import World
    from ..running.schedule import Schedule, Step

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
    if not _changed(tried, whole):
        return
    least = next((part for part in _parts(tried, pieces) if _changed(tried, part)), whole)
    names = _changed(tried, least)
    fault = f"it changes {', '.join(names)}, which belongs to the whole process: other requests find it changed"
    call = tried.call("changed", tried.text, literal(least))
    fail(tried, fault, "leaves_the_process_as_it_was", f"assert {call} == []")


def changed(kind: Any, schedule: Iterable[Step], world: World | None = None) -> list[str]:
    """What a request of the handler class ``kind`` changes of what belongs to the whole process, as source text.

    The request takes the bytes of the ``schedule``, and ends. A change counts even if the request takes it back later,
    for others are served meanwhile. What is changed is restored.

    >>> import os
    >>> from handlers import StreamHandler, Until
    >>> class Changes(StreamHandler):
    ...     async def handle(self):
    ...         os.environ["NAME"] = (await Until(b"\\n", limit=80)).decode().strip()
    >>> changed(Changes, [b"ann\\n"]), "NAME" in os.environ
    (['os.environ'], False)
    """
    return _changed(Subject(kind, world), [*schedule])


def _changed(subject: Subject, schedule: Sequence[Step]) -> list[str]:
    """The same for a subject. A packet that one exchange leaves begins another."""
    subject.restore()
    before, found = Surroundings(), dict[str, None]()
    starts = spread(0, len(schedule) - 1, SPOTS) if subject.packets and schedule else [0]
    try:
        for start in starts:
            ended(subject, schedule[start:], look=lambda: found.update(dict.fromkeys(before.changed())))
    finally:
        before.restore()
    subject.restore()
    return list(found)


def _pieces(tried: Tried) -> list[bytes]:
    """The conversation, cut between words; or its packets."""
    if tried.packets:
        return tried.pieces
    cuts = [0, *tried.borders(SPOTS), tried.length]
    return [tried.pieces[0][start:end] for start, end in pairwise(cuts)]


def _parts(tried: Tried, pieces: list[bytes]) -> Iterator[list[bytes]]:
    """The parts of the conversation, short ones first; of a stream in one piece, and cut."""
    for count in range(1, len(pieces) + 1):
        for start in range(len(pieces) - count + 1):
            part = pieces[start : start + count]
            yield from [part] if tried.packets or count == 1 else [[b"".join(part)], part]
