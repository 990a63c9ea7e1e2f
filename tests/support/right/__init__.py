"""Right handlers, small and different from each other: `check` may accuse none of them."""

from typing import Any, NamedTuple


class Right(NamedTuple):
    """A right handler, a conversation, and what its user writes in the call of `check`.

    Some handlers share state, are slow on purpose, or answer by the time: the options declare it.
    """

    kind: Any
    conversation: Any
    options: dict[str, Any] = {}
