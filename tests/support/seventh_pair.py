"""`Pair`: a handler with one fault, the same handler without it, and a conversation with which both appear to work."""

from __future__ import annotations

from typing import Any, NamedTuple


class Pair(NamedTuple):
    name: str
    kind: int
    broken: Any
    right: Any
    conversation: list[bytes]
    options: dict[str, Any] = {}
