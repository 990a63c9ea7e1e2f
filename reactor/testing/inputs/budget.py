"""How much a costly property may try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

COSTLY = 300_000
"""Lines of Python after which a costly property tries no further example."""

SEARCH = 5_000_000
"""Lines of Python of the search for the smallest example: some seconds."""

FEW = 25
"""The most examples that a costly property tries."""


class Budget:
    """Tries examples of one kind until they have cost too many lines of Python; each example once.

    Once a faulty one is found, there are `SEARCH` lines for it, and for the search for the smallest.
    """

    def __init__(self, lines: int, attempt: Callable[..., tuple[bool, int]]) -> None:
        self._left = lines
        self._attempt = attempt
        self._known: dict[Any, bool] = {}

    def is_faulty(self, example: Any) -> bool:
        """Whether the example is faulty; ``False`` if the lines are spent."""
        if example not in self._known:
            if self._left <= 0:
                return False
            is_first = not any(self._known.values())
            self._known[example], lines = self._attempt(*example)
            if is_first and self._known[example]:
                self._left = SEARCH
            self._left -= lines
        return self._known[example]
