"""Right handlers, small and different from each other: `check` may accuse none of them.

Some share state, are slow, or answer by the time; what they declare for that is in `Right.options`.
"""

from typing import Any, NamedTuple


class Right(NamedTuple):
    """A right handler, a conversation, and what its user writes in the call of `check`."""

    kind: Any
    conversation: Any
    options: dict[str, Any] = {}
