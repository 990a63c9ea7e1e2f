"""``python3 -m tests.proofs.check_figures [PART]``: the processor time that `check` takes for right handlers.

The handlers are those of `tests.support.right`, of the package and of the examples, and the right ones of all pairs
in `tests.support.pairs`; PART is a part of their names.
Printed are seconds of user and system time with that of children, what `check` accuses one of, and at the end the
median and the maximum.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from statistics import median
from typing import Any

from reactor.testing import check
from reactor.testing.running.report import CheckFailed
from tests.support.pairs import by_kind, fresh, kept, lapses, misread, nested, shipped, thirty, unseen
from tests.support.right import Right, binary, lines, shown, timed

PAIRS = (
    *thirty.PAIRS, *by_kind.PAIRS, *shipped.PAIRS, *unseen.UNSEEN, *unseen.MISSED, *fresh.FRESH,
    *misread.PAIRS, *lapses.PAIRS, *nested.PAIRS, *kept.PAIRS,
)  # fmt: skip
TWINS = {pair.right: Right(pair.right, pair.conversation, getattr(pair, "options", {})) for pair in PAIRS}.values()


def spent() -> float:
    """Seconds of processor time of this process and of its children until now."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(part: str = "") -> None:
    costs: list[float] = []
    for right in (*lines.CORPUS, *binary.CORPUS, *timed.CORPUS, *shown.CORPUS, *TWINS):
        kind: Any = right.kind
        name = (kind.func if isinstance(kind, partial) else kind).__name__
        if part in name:
            begun, said = spent(), ""
            try:
                check(kind, right.conversation, **right.options)
            except CheckFailed as failed:
                said = f"  ACCUSED: {failed.args[0].splitlines()[0]}"
            costs.append(spent() - begun)
            print(f"{costs[-1]:6.2f} s  {name}{said}", flush=True)
    print(f"{len(costs)} handlers: median {median(costs):.2f} s, at most {max(costs):.2f} s of processor time")


if __name__ == "__main__":
    main(*sys.argv[1:])
