"""`Joined`: one table and one set of counts over all worker processes."""

from __future__ import annotations

from typing import NamedTuple

from ..table.table import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any


class Joined(NamedTuple):
    """The rows and the counts of all workers at one time. ``str()`` of it is a table for people."""

    stats: dict[str, Any]
    """`Reactor.stats`, added up over the workers that run and those that have ended in order. What a worker that has
    crashed had counted is lost."""

    rows: list[dict[str, Any]]
    """Every open row (`Request.as_dict`), with ``worker`` and ``pid``, the number and the process of its worker."""

    silent: list[tuple[int, int]]
    """The workers, as number and pid, that did not answer in time: their rows and counts are missing."""

    oldest: float
    """The age of the oldest open row, in seconds."""

    def __str__(self) -> str:
        missing = [f"worker {number} (pid {pid}) does not answer" for number, pid in self.silent]
        return "\n".join([text_of(self.rows, of_workers=True), *missing])


def add_up(counts: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The sum of counts, those in dictionaries too.

    >>> add_up([{"open": 1, "ended": {"": 2}}, {"open": 3, "ended": {"": 1, "Reset": 1}}])
    {'open': 4, 'ended': {'': 3, 'Reset': 1}}
    """
    total: dict[str, Any] = {}
    for each in counts:
        for name, value in each.items():
            before = total.get(name)
            if isinstance(value, dict):
                total[name] = add_up([before or {}, value])
            else:
                total[name] = value + (before or 0)
    return total
