"""``python -m tests.parts N OPTIONS``: the tests in N processes of pytest at one time, each with a part of them.

A process that has collected a part of the tests is small, so its thousands of forks are cheap; and where there are
several processors, all of them are used.
"""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import ROOT

PARTS = ["modes", "testing", "handlers", "servers", "hosts", "clients", "rows", "command", "proofs", "examples", "loop"]
"""Directories of tests; the slowest are first, so that the last to end are short. What is in none is one more part."""

NOTHING_COLLECTED = 5
"""The exit status of pytest when no test of a part is wanted."""


def run_parts(python: Path, options: list[str], processes: int) -> int:
    """Run all parts with the options; print what each says when it has ended. Returns an exit status of pytest."""
    parts = [f"tests/{part}" for part in PARTS]
    selections = [[part] for part in parts] + [[f"--ignore={part}" for part in parts]]
    running: list[subprocess.Popen[str]] = []

    def run(selection: list[str]) -> int:
        command = ["-m", "pytest", *options, *selection]
        with subprocess.Popen(
            [str(python), *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            running.append(process)
            said = process.communicate()[0]
        print("+ python", *command, f"\n{said}", flush=True)
        return process.returncode

    pool = ThreadPoolExecutor(processes)
    try:
        statuses = [*pool.map(run, selections)]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.send_signal(signal.SIGINT)  # a test that is cut off ends its own processes
        raise
    finally:
        pool.shutdown()
    wanted = [status for status in statuses if status != NOTHING_COLLECTED]
    for selection, status in zip(selections, statuses, strict=True):
        if status not in (0, NOTHING_COLLECTED):
            print(f"exit status {status}: {' '.join(selection)}", flush=True)
    return max(wanted, key=abs) if wanted else NOTHING_COLLECTED


if __name__ == "__main__":
    sys.exit(run_parts(Path(sys.executable), sys.argv[2:], int(sys.argv[1])))
