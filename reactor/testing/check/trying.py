"""What is tried of a conversation, and in which order: all of it, and each message with those before it."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from ..inputs.stateful import is_grammar
from ..running.report import CheckFailed
from ..running.snippets import brief

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..inputs.learned import Told
    from ..inputs.tried import Message

FEW = 10
"""The most schedules that a property draws for a message that is tried deep."""

DEEP = (
    "takes_plain_numbers_only", "takes_exact_ends_only", "takes_one_length_only", "same_for_any_chunking",
    "stays_in_bounds_when_repeated", "ends_at_any_byte", "bears_any_bomb", "bears_any_nesting", "survives_any_input",
    "same_for_any_chunking_of_faults", "same_at_its_limits", "stays_in_bounds", "works_linearly",
)  # fmt: skip
"""The properties that are tried on a message with those before it, those that cost most last. The others try each wait
of the conversation."""

BUDGET = 5_000_000
"""Lines of Python after which nothing more is tried deep: some five seconds, where a function tells of each line."""

ENOUGH = 12.0
"""Seconds of processor time, of all that is tried, after which nothing more is tried deep."""


class Try(NamedTuple):
    """A property to try, with its name."""

    name: str
    holds: Callable[[], None]
    is_deep: bool = False


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
