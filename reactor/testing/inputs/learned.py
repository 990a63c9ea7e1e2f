"""What `check` is given as conversation: bytes, messages, files, several of these, or rules that make them.

A conversation is a list of messages. `check` tries it as a whole, and then each message with those before it: the
messages before it arrive whole, so that the handler is deep in its protocol when the message comes cut or damaged.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...rows.filters.tap import RECEIVED
from ..running import recorded
from ..running.spreading import thinned
from ..running.subject import pieces_of
from .stateful import Drawn, drawn, is_grammar, verb_of
from .tried import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .tried import Tried

MOST = 8
"""About the most messages of a conversation that are tried deep. Of more, `deep` chooses some."""

_ROOMY = (list, tuple, os.PathLike, Mapping)


class Told(NamedTuple):
    """A conversation with the name that a report gives it (empty if it is the only one)."""

    name: str
    messages: Any
    """A list of bytes, or a grammar (see `is_grammar`)."""

    def drawn(self, tried: Tried) -> Drawn:
        """The conversation that is tried as a whole, and its messages that are tried deep."""
        if is_grammar(self.messages):
            return drawn(tried, self.messages)
        return Drawn(self.messages, [] if self.name == "" and tried.packets else deep(self.messages))


def conversations(given: Any, packets: bool) -> list[Told]:
    """The conversations that ``given`` means; ``packets`` for a datagram handler.

    Raises `TypeError` for what is none, ``OSError`` for a file that cannot be read, and ``ValueError`` for one that has
    another form, or no input.
    """
    if isinstance(given, Mapping):
        return _some([told for name, one in given.items() for told in _named(str(name), one, packets)], given)
    if isinstance(given, os.PathLike):
        path = Path(given)
        files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
        return _some([Told(str(file), _of_file(file, packets)) for file in files], given)
    if is_grammar(given) or isinstance(given, (bytes, str, bytearray, memoryview)) or not hasattr(given, "__iter__"):
        return [Told("", given if is_grammar(given) else pieces_of(given, "conversation"))]
    items = list(given)
    if items and all(isinstance(item, _ROOMY) or is_grammar(item) for item in items):
        named = (_named(f"conversation {number}", item, packets) for number, item in enumerate(items, 1))
        return [told for found in named for told in found]
    return [Told("", pieces_of(items, "conversation"))]


def _named(name: str, given: Any, packets: bool) -> Iterator[Told]:
    for inner, messages in conversations(given, packets):
        yield Told(f"{name} ({inner})" if inner else name, messages)


def _some(found: list[Told], given: Any) -> list[Told]:
    if not found:
        raise ValueError(f"conversation: there is none in {given}; filters=[partial(Recording, ...)] records some")
    return found


def _of_file(path: Path, packets: bool) -> list[bytes]:
    """The messages of the client in a recorded file: its turns, or for a datagram handler each line that it sent."""
    content = path.read_bytes()
    if content.startswith(recorded.HEAD.encode()):
        events = recorded.events(content, str(path))
        received = [event.data for event in events if event.what == RECEIVED]
        messages = received if packets else [turn.sent for turn in recorded.turns(events) if turn.sent]
    else:
        messages = [content] if content else []
    if not messages:
        raise ValueError(
            f"{path}: the client sends nothing in it; write lines such as 0.0 received b'GET\\r\\n' below the first "
            f"line {recorded.HEAD!r}, or the bytes that the client sends, without that line"
        )
    return messages


def deep(messages: list[bytes]) -> list[Message]:
    """Messages that are not the first, each with those before it: the last with each verb, then others.

    >>> [len(one.before) for one in deep([b"USER ada"] + [b"ADD 1"] * 20 + [b"QUIT"])]
    [1, 4, 7, 10, 13, 16, 19, 20, 21]
    """
    last = {verb_of(message): place for place, message in enumerate(messages)}
    ends = sorted(place for place in last.values() if place)
    ends = thinned(ends, MOST)
    others = [place for place in range(1, len(messages)) if place not in ends]
    chosen = thinned(others, MOST - len(ends) + 1) if len(ends) < MOST else []
    return [Message(messages[:place], messages[place]) for place in sorted([*ends, *chosen])]
