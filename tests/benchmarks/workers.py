"""What more workers give: the messages of one second with one worker and with two, and what a message costs each.

The load takes processor time too. On a host of two processors it takes it from the second worker, so the rate of lines
that are only sent back does not show what the workers could do. The processor time that they spend on a message does:
it is the same for any number of workers where these share nothing that one of them has to wait for. The rate of lines
that are work for a handler shows it too, for then the load takes little.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.measuring import PATIENCE, Load, Program
from tests.benchmarks.messages import LINES
from tests.benchmarks.report import time_of

COUNTS = 1, 2
CONNECTIONS = 100
HANDLERS = {"64-byte line": ("LinesStates", 20_000), "64-byte line, hashed": ("LinesHashed", 4_000)}
"""What a message is: the handler in `tests.benchmarks.peers.ours`, and the messages of a round."""


class Round(NamedTuple):
    """What was measured in one round."""

    rate: float
    """Messages a second."""
    cost: float
    """Seconds of processor time that all workers together have spent on a message."""
    most: float
    """The part of it that the busiest worker has spent."""


class Workers(Program):
    """``python3 -m reactor serve --workers N`` with a handler of lines. The processes run on all processors."""

    def __init__(self, python: str, handler: str, count: int) -> None:
        handler = f"tests.benchmarks.peers.ours:{handler}"
        command = [python, "-m", "reactor", "serve", handler, "--bind", "tcp://127.0.0.1:0", "--workers", str(count)]
        super().__init__(["sh", "-c", 'exec "$@" 2>&1', "sh", *command])  # it says its address on standard error
        found = re.search(r":(\d+)\b", self.line())
        assert found, "the command says where it serves"
        self.port = int(found[1])
        self.children = self._wait(count)

    def _wait(self, count: int) -> list[int]:
        """The pids of the workers, when there are so many."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if len(found) == count:
                return list(map(int, found))
            time.sleep(0.01)
        raise RuntimeError(f"{count} workers did not begin")

    def spent(self) -> list[float]:
        """Seconds of processor time that each worker has spent."""
        return [time.clock_gettime(~pid << 3 | 2) for pid in self.children]

    def close(self) -> None:
        """Have it end: its workers, then itself."""
        self.process.send_signal(signal.SIGTERM)
        super().close()


def measure(
    python: str, load: Path, folder: Path, rounds: int, part: float, handler: str, messages: int
) -> dict[int, list[Round]]:
    """The rounds, by the number of workers."""
    measured: dict[int, list[Round]] = {count: [] for count in COUNTS}
    with ExitStack() as stack:
        pairs = {}
        for count in COUNTS:
            workers = stack.enter_context(closing(Workers(python, handler, count)))
            one = Load(load, folder, workers.port, LINES, "stream", CONNECTIONS, 1)
            pairs[count] = workers, stack.enter_context(closing(one))
        for number in range(rounds + 1):
            for count, (workers, one) in pairs.items():
                before, begun = workers.spent(), time.monotonic()
                done = one.go(int(messages * part))
                seconds = time.monotonic() - begun
                spent = [after - at_first for after, at_first in zip(workers.spent(), before, strict=True)]
                if number:  # the first warms up
                    measured[count].append(Round(done / seconds, sum(spent) / done, max(spent) / sum(spent)))
    return measured


def rows(title: str, message: str, measured: dict[int, list[Round]]) -> Iterator[tuple[object, ...]]:
    """A table of what was measured: medians, and as multiples of those with one worker."""
    yield (
        f"workers, {message}, {CONNECTIONS} connections; {title}", "a second", "÷ 1 worker",
        "processor time of a message", "÷ 1 worker", "the busiest worker's part",
    )  # fmt: skip
    medians = {count: Round(*map(median, zip(*rounds, strict=True))) for count, rounds in measured.items()}
    one = medians[1]
    for count, (rate, cost, most) in medians.items():
        yield (
            count, f"{rate:,.0f}", f"{rate / one.rate:.2f}", time_of(cost), f"{cost / one.cost:.2f}", f"{most:.0%}",
        )  # fmt: skip
