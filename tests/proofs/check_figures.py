"""``python3 -m tests.proofs.check_figures [PART]``: the processor time that `check` takes for right handlers.

The handlers are those of `tests.support.right`, of the package and of the examples; PART is a part of their names.
Printed are the dearest ones, the median and the maximum, in seconds of user and system time with that of children.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from statistics import median
from typing import Any

from reactor.testing.check.properties import check
from tests.support.right import binary, lines, shown, timed

SHOWN = 8
"""How many of the dearest are printed."""


def spent() -> float:
    """Seconds of processor time of this process and of its children until now."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(part: str = "") -> None:
    seconds: list[tuple[float, str]] = []
    for right in (*lines.CORPUS, *binary.CORPUS, *timed.CORPUS, *shown.CORPUS):
        kind: Any = right.kind
        name = (kind.func if isinstance(kind, partial) else kind).__name__
        if part in name:
            begun = spent()
            check(kind, right.conversation, **right.options)
            seconds.append((spent() - begun, name))
    for cost, name in sorted(seconds, reverse=True)[:SHOWN]:
        print(f"{cost:6.2f} s  {name}")
    costs = [cost for cost, _ in seconds]
    print(f"{len(costs)} handlers: median {median(costs):.2f} s, at most {max(costs):.2f} s of processor time")


if __name__ == "__main__":
    main(*sys.argv[1:])
