"""`Pair`: a handler with one fault, the same handler without it, and a conversation in which both work."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from handlers import Cause, Handler


@dataclass(frozen=True)
class Pair:
    """``kind`` is the number of the kind of fault; ``options`` are those of `reactor.testing.check`, for both."""

    name: str
    kind: int
    broken: type[Handler]
    right: type[Handler]
    conversation: list[bytes]
    options: dict[str, Any] = field(default_factory=dict)


class Malformed(Cause):
    """What the peer has sent is not of the protocol."""
