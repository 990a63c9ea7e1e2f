"""What more workers and threads give: the messages of one second with one and with two, and what a message costs each.

``python3 -m tests.benchmarks.workers [PYTHON]`` prints the tables for that Python, whatever peers it has: for one that
is free-threaded (PEP 703), too. The case ``workers`` of ``python3 -m tests.benchmarks`` prints those of workers.

The load takes processor time too. On a host of two processors it takes it from the second worker, so the rate of lines
that are only sent back does not show what the workers could do. The processor time that they spend on a message does:
it is the same for any number of workers where these share nothing that one of them has to wait for. The rate of lines
that are work for a handler shows it too, for then the load takes little.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.benchmarks.measuring import PATIENCE, Load, Program
from tests.benchmarks.messages import LINES
from tests.benchmarks.report import time_of
from tests.benchmarks.tools import compiled
from tests.support.tables import table

COUNTS = 1, 2
WORKERS, THREADS = "--workers", "--threads"
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
    """``python3 -m reactor serve`` with so many workers, or threads. They run on all processors."""

    def __init__(self, python: str, handler: str, option: str, count: int) -> None:
        handler = f"tests.benchmarks.peers.ours:{handler}"
        command = [python, "-m", "reactor", "serve", handler, "--bind", "tcp://127.0.0.1:0", option, str(count)]
        super().__init__(["sh", "-c", 'exec "$@" 2>&1', "sh", *command])  # it says its address on standard error
        found = re.search(r":(\d+)\b", self.line())
        assert found, "the command says where it serves"
        self.port = int(found[1])
        pid = self.process.pid
        self._threads = Path(f"/proc/{pid}/task")
        self._children = self._threads / str(pid) / "children"
        self.places = self._wait(self._of_workers if option == WORKERS else self._of_threads, count)

    def _of_workers(self) -> list[Path]:
        return [Path(f"/proc/{pid}/task/{pid}") for pid in self._children.read_text().split()]

    def _of_threads(self) -> list[Path]:
        return [place for place in self._threads.iterdir() if place.name != str(self.process.pid)]

    def _wait(self, find: Callable[[], list[Path]], count: int) -> list[Path]:
        """Where the kernel tells of the threads that serve, when there are so many."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = find()
            if len(found) == count:
                return found
            time.sleep(0.01)
        raise RuntimeError(f"{count} workers or threads did not begin")

    def spent(self) -> list[float]:
        """Seconds of processor time that each has spent."""
        return [int((place / "schedstat").read_text().split()[0]) / 1e9 for place in self.places]

    def close(self) -> None:
        """Have it end: its workers, then itself."""
        self.process.send_signal(signal.SIGTERM)
        super().close()


def measure(
    python: str, load: Path, folder: Path, rounds: int, part: float, handler: str, messages: int,
    option: str = WORKERS,
) -> dict[int, list[Round]]:  # fmt: skip
    """The rounds, by the number of workers or threads."""
    measured: dict[int, list[Round]] = {count: [] for count in COUNTS}
    with ExitStack() as stack:
        pairs = {}
        for count in COUNTS:
            workers = stack.enter_context(closing(Workers(python, handler, option, count)))
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


def rows(
    title: str, message: str, measured: dict[int, list[Round]], option: str = WORKERS
) -> Iterator[tuple[object, ...]]:
    """A table of what was measured: medians, and as multiples of those with one worker or thread."""
    yield (
        f"{option}, {message}, {CONNECTIONS} connections; {title}", "a second", "÷ 1",
        "processor time of a message", "÷ 1", "the busiest one's part",
    )  # fmt: skip
    medians = {count: Round(*map(median, zip(*rounds, strict=True))) for count, rounds in measured.items()}
    one = medians[1]
    for count, (rate, cost, most) in medians.items():
        yield (
            count, f"{rate:,.0f}", f"{rate / one.rate:.2f}", time_of(cost), f"{cost / one.cost:.2f}", f"{most:.0%}",
        )  # fmt: skip


def main(python: str = sys.executable) -> None:
    """Print the tables for workers and for threads of this Python."""
    told = "import platform, sysconfig; print(platform.python_version(), sysconfig.get_config_var('Py_GIL_DISABLED'))"
    version, is_free = subprocess.check_output([python, "-c", told], text=True).split()
    title = f"CPython {version}{', free-threaded' if is_free == '1' else ''}"
    with tempfile.TemporaryDirectory() as place:
        load = compiled(Path(place), "load")
        for option in (WORKERS, THREADS):
            for message, handler in HANDLERS.items():
                table(*rows(title, message, measure(python, load, Path(place), 5, 1, *handler, option), option))


if __name__ == "__main__":
    main(*sys.argv[1:])
