"""``python3 -m tests.parts [--at-once NUMBER] [ARGUMENTS]``: all tests, in several processes of pytest.

A test that forks costs time in proportion to the memory of its process: in one that has collected and run all modules,
ten times as much as in a small one. So each part, a few modules of one directory, has a process of its own, which ends
with it. One more runs at a time than there are processors, for each waits now and then, or NUMBER. The arguments go to
pytest. What a part says is printed when it ends, and its failures once more at the end of all.

With the variable ``REACTOR_UNSTEADY=NUMBER``, up to so many tests that fail are run again, alone. One that passes then
has failed for the load of the others: it is named as unsteady, for somebody has to find out why, and is no failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import groupby
from pathlib import Path

from tests import ROOT

SIZE = 8
"""Modules in a part."""

DEAREST = (
    "tests/modes",
    "tests/proofs",
    "tests/testing/check",
    "tests/testing/probe",
    "tests/servers",
    "tests/hosts",
    "tests/clients",
)
"""What takes longest begins first, so that no part is still running when all others have ended."""

NOTHING_COLLECTED = 5  # pytest's exit status, if the arguments deselect all tests of a part


def parts() -> list[list[str]]:
    """The paths of each part: modules of tests, or a package whose docstrings have examples."""
    modules = sorted((ROOT / "tests").rglob("test_*.py"))
    found = [["handlers"], ["reactor"]]
    for _, group in groupby(modules, key=lambda module: module.parent):
        paths = [str(module.relative_to(ROOT)) for module in group]
        found += [paths[start : start + SIZE] for start in range(0, len(paths), SIZE)]
    return sorted(found, key=_rank)


def _rank(part: list[str]) -> int:
    directory = str(Path(part[0]).parent)
    return DEAREST.index(directory) if directory in DEAREST else len(DEAREST)


class Runs:
    """The processes that run now."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self._processes: set[subprocess.Popen[str]] = set()
        self._is_cut = False

    def run(self, part: list[str]) -> tuple[int, str]:
        """Run pytest on a part; returns its exit status and what it said."""
        if self._is_cut:
            return 0, ""
        command = [sys.executable, "-m", "pytest", *self._arguments, *part]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "errors": "replace"}
        with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
            self._processes.add(process)
            said, _ = process.communicate()
            self._processes.discard(process)
        return process.returncode, said

    def cut(self) -> None:
        """Interrupt those that run; begin no more."""
        self._is_cut = True
        for process in list(self._processes):
            process.send_signal(signal.SIGINT)  # a test that is cut off ends its own processes


def run_all(arguments: list[str], at_once: int) -> int:
    """Run all parts; returns 0 if no test has failed."""
    runs = Runs(arguments)
    failures: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(runs.run, part) for part in parts()]
        try:
            for future in as_completed(futures):
                status, said = future.result()
                if status not in (0, NOTHING_COLLECTED):
                    failures += failed(said) or [f"exit status {status}: {said[-2_000:]}"]
                print(said, flush=True)
        except BaseException:
            runs.cut()
            raise
    if 0 < len(failures) <= int(os.environ.get("REACTOR_UNSTEADY", "0")):
        failures = [failure for failure in failures if fails_again(runs, failure)]
    print(f"{len(failures)} failed", *failures, sep="\n")
    return 1 if failures else 0


def fails_again(runs: Runs, failure: str) -> bool:
    """Whether the test of a failure fails once more, when it runs alone."""
    test = failure.partition(" ")[2].partition(" - ")[0]
    status, said = runs.run([test])
    print(said, flush=True)
    if status == 0:
        print(f"unsteady: {failure}", flush=True)
    return status != 0


def failed(said: str) -> list[str]:
    """The failures that pytest lists at its end."""
    return [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that no process of pytest stays
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile the same modules each
    at_once = (os.cpu_count() or 1) + 1
    if arguments[:1] == ["--at-once"]:
        at_once, arguments = int(arguments[1]), arguments[2:]
    return run_all(arguments, at_once)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
