"""`Pair`: a handler with one fault, its mended twin, and a conversation that both answer."""

from typing import Any, NamedTuple


class Pair(NamedTuple):
    """``kind`` is the number of the kind of the fault; ``options`` are keyword arguments of `check` for both twins."""

    name: str
    kind: int
    broken: Any
    right: Any
    conversation: list[bytes]
    options: dict[str, Any]
