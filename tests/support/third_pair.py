"""`Pair`: a handler with one fault and the same handler without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pair:
    """Two handlers, and a conversation that both get right."""

    name: str
    kind: int
    broken: Any
    right: Any
    conversation: list[bytes]
    options: dict[str, Any] = field(default_factory=dict)
