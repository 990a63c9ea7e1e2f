"""`Pair`: a handler with one fault, and its twin without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Pair:
    """``broken`` has the fault, ``right`` is the same handler without it; both take the ``conversation``."""

    name: str
    kind: int
    broken: type
    right: type
    conversation: list[bytes]
    options: dict[str, Any] = field(default_factory=dict)
