"""What `check` is given as conversation: bytes, messages, files, several of these, or rules that make them.

A conversation is a list of messages. `check` tries it as a whole, and then each message with those before it: the
messages before it arrive whole, so that the handler is deep in its protocol when the message comes cut or damaged.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...rows.filters.tap import RECEIVED
from ..running import recorded
from ..running.evidence import thinned
from ..running.report import CheckFailed
from ..running.snippets import brief
from ..running.subject import Message, pieces_of
from .stateful import Drawn, drawn, is_grammar, verb_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .tried import Tried

MOST = 8
"""About the most messages of a conversation that are tried deep. Of more, `deep` chooses some."""

FEW = 10
"""The most schedules that a property draws for a message that is tried deep."""

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


class Try(NamedTuple):
    """A property to try, with its name."""

    name: str
    holds: Callable[[], None]
    is_deep: bool = False


DEEP = (
    "takes_plain_numbers_only", "takes_exact_ends_only", "takes_one_length_only", "same_for_any_chunking",
    "stays_in_bounds_when_repeated", "ends_at_any_byte", "bears_any_bomb", "bears_any_nesting", "survives_any_input",
    "same_for_any_chunking_of_faults", "same_at_its_limits", "stays_in_bounds", "works_linearly",
)  # fmt: skip
"""The properties that are tried on a message with those before it, those that cost most last. The others try each wait
of the conversation."""

BUDGET = 5_000_000
"""Lines of Python after which nothing more is tried deep: some five seconds, where a function tells of each line."""


def tries_of(told: Told, holding: list[partial[None]], deep: list[Message]) -> list[Try]:
    """All to try of a conversation: each property in ``holding`` on all of it, then on all messages that are deep.

    Of a grammar the messages come before the same properties on all of it: what they find is shorter.
    """
    whole = [Try(holds.func.__name__, partial(_tried, told.name, holds)) for holds in holding]
    named = {holds.func.__name__: holds for holds in holding}
    tries = list[Try]()
    for holds, message in product([named[name] for name in DEEP if name in named], deep):
        place = f"message {len(message.before) + 1}, {brief(message.last)}"
        name = f"{told.name}, {place}" if told.name else place
        tries.append(Try(holds.func.__name__, partial(_tried_deep, name, holds, message), is_deep=True))
    if not is_grammar(told.messages):
        return [*whole, *tries]
    return [*(one for one in whole if one.name not in DEEP), *tries, *(one for one in whole if one.name in DEEP)]


def _tried(name: str, holds: Callable[[], None]) -> None:
    try:
        holds()
    except CheckFailed as failed:
        raise _in_conversation(failed, name) if name else failed from None


def _tried_deep(name: str, holds: partial[None], message: Message) -> None:
    """Try a property on a message. If it fails, it is told with the fewest messages before it that were found."""
    failed = _failure(holds, message)
    if failed is None:
        return
    before = message.before
    for place in range(len(before), 0, -1):  # the latest beginning, or the most of them, may be left out at once
        if (shorter := _failure(holds, message._replace(before=before[place:]))) is not None:
            failed, before = shorter, before[place:]
            break
    for place in reversed(range(len(before))):
        less = before[:place] + before[place + 1 :]
        if (shorter := _failure(holds, message._replace(before=less))) is not None:
            failed, before = shorter, less
    raise _in_conversation(failed, name)


def _failure(holds: partial[None], message: Message) -> CheckFailed | None:
    """The failure of a property that is tried on this message instead of the conversation."""
    kind, _ = holds.args
    options = {key: min(value or FEW, FEW) if key == "examples" else value for key, value in holds.keywords.items()}
    try:
        holds.func(kind, message, **options)
    except CheckFailed as failed:
        return failed
    return None


def _in_conversation(failed: CheckFailed, name: str) -> CheckFailed:
    """The failure, whose report also says in which conversation it was found."""
    first, newline, rest = str(failed).partition("\n")
    return CheckFailed(f"{first}\n  conversation: {name}{newline}{rest}")
