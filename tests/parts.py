"""``python3 -m tests.parts [--at-once NUMBER] [ARGUMENTS]``: all tests, in several processes of pytest.

A test that forks costs time in proportion to the memory of its process: in one that has collected and run all modules,
ten times as much as in a small one. So each part, a few modules of one directory, has a process of its own, which ends
with it. One more runs at a time than there are processors, for each waits now and then, or NUMBER. The arguments go to
pytest. What a part says is printed when it ends, and its failures once more at the end of all.

With the variable ``REACTOR_OTHERS=PYTHON:PYTHON``, these other Pythons run the fast tests too, but those in
`SAME_EVERYWHERE`. Their parts are in the same queue, behind the others.

With the variable ``REACTOR_TURN=K/N``, an N-th of the tests runs that are marked with ``in_turn``: see
`tests.support.turns`.

With the variable ``REACTOR_UNSTEADY=NUMBER``, up to so many tests that fail are run again, alone. One that passes then
has failed for the load of the others: it is named as unsteady, for somebody has to find out why, and is no failure.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tests import ROOT
from tests.support.resources import children_of

SIZE = 10
"""Modules in a part, at most."""

MOST = 120
"""Seconds of a part, at most, if it has several modules."""

LONGEST = 1_200.0
"""Seconds after which a part hangs, such as a test that waits for a child which has forked while another thread had a
lock of OpenSSL: then its children are killed, the test fails, and the others run."""

AGAIN = 10.0
"""Seconds after which that is done again."""

USUAL = 4
DEAR = {
    "handlers/http/test_files": 30, "handlers/http/test_framing": 30, "handlers/http/test_handler": 30,
    "handlers/http/test_websocket": 30, "handlers/sunrpc/test_gss": 40, "handlers/sunrpc/test_rpc": 30,
    "handlers/sunrpc/test_rpcgen": 40, "handlers/test_fuzz": 60, "handlers/test_telnet": 30,
    "hosts/test_everywhere": 90, "hosts/test_kernel": 60, "house/test_beside_user_handlers": 40,
    "clients/test_programs": 60, "clients/test_slow": 40, "command/test_workers": 30,
    "modes/test_files_behind_tls": 40, "modes/test_framings": 40, "modes/test_http": 40, "modes/test_modes": 20,
    "modes/test_bursts": 20, "modes/test_tls_handshakes": 60, "mutations/test_named": 300,
    "reactor": 60, "proofs/test_attack": 60, "proofs/test_http_figures": 60, "proofs/test_instructions": 60,
    "testing/check/test_calls": 50, "testing/check/test_check": 50, "testing/check/test_kept": 30,
    "testing/check/test_kinds": 60, "testing/inputs/test_learned": 90, "testing/check/test_misread": 30,
    "testing/check/test_report": 40, "testing/check/test_right": 110, "testing/check/test_shipped": 40,
    "testing/check/test_thirty": 40, "testing/check/test_unseen": 50,
    "testing/kernel/test_planted_faults": 60, "testing/probe/test_probe": 60, "testing/pytest/test_plugin": 60,
}  # fmt: skip
"""What takes much more than `USUAL` seconds of a processor, with its slow tests: about how many."""

DEAR_ROOMS, OF_DEAR_ROOM = ("testing/check/", "testing/costs/", "testing/inputs/", "testing/running/"), 12
"""Rooms whose other modules take more than `USUAL`, too."""

SAME_EVERYWHERE = (
    "tests/benchmarks/",
    "tests/clients/",
    "tests/house/test_grids.py",
    "tests/house/test_layers.py",
    "tests/house/test_parts.py",
    "tests/house/test_purity.py",
    "tests/house/test_readme.py",
    "tests/house/test_room_heads.py",
    "tests/house/test_rooms.py",
    "tests/house/test_testing_rooms.py",
    "tests/mutations/",
    "tests/proofs/",
)
"""What finds the same on every Python.

These tests read files of the project, run programs that are not Python, or play schedules in the simulated kernel; and
that a schedule is the same on every Python is for `tests.testing.kernel.test_determinism` to show.
"""

NOTHING_COLLECTED = 5  # pytest's exit status, if the arguments deselect all tests of a part


class Part(NamedTuple):
    """What one process of pytest runs: modules of tests, or a package whose docstrings have examples."""

    python: str
    arguments: list[str]
    paths: list[str]


def parts() -> list[list[str]]:
    """The paths of each part. What takes longest comes first, so that nothing runs for long when the rest has ended."""
    modules = sorted((ROOT / "tests").rglob("test_*.py"))
    found = [["handlers"], ["reactor"]]
    for _, group in groupby(modules, key=lambda module: module.parent):
        found += cut([str(module.relative_to(ROOT)) for module in group])
    return sorted(found, key=seconds, reverse=True)


def cut(paths: list[str]) -> list[list[str]]:
    """The modules of one directory in parts: each goes, the dearest first, to the first part that has room for it."""
    found: list[list[str]] = []
    for path in sorted(paths, key=lambda path: seconds([path]), reverse=True):
        room = next((part for part in found if len(part) < SIZE and seconds([*part, path]) <= MOST), None)
        if room is None:
            found.append([path])
        else:
            room.append(path)
    return found


def seconds(part: list[str]) -> int:
    """About what a part takes of a processor."""
    names = [path.removeprefix("tests/").removesuffix(".py") for path in part]
    return sum(DEAR.get(name, OF_DEAR_ROOM if name.startswith(DEAR_ROOMS) else USUAL) for name in names)


def parts_of_others(others: list[str]) -> list[Part]:
    """What the other Pythons run. A fast test takes little, so their modules are not cut by what they take."""
    modules = [path for part in parts() for path in part if not path.startswith(SAME_EVERYWHERE)]
    groups = [list(group) for _, group in groupby(sorted(modules), key=lambda path: Path(path).parent)]
    pieces = [group[start : start + SIZE] for group in groups for start in range(0, len(group), SIZE)]
    return [Part(python, ["-m", "not slow"], piece) for python in others for piece in pieces]


class Runs:
    """The processes that run now."""

    def __init__(self, longest: float = LONGEST) -> None:
        self.longest = longest
        self._processes: set[subprocess.Popen[str]] = set()
        self._is_cut = False

    def run(self, part: Part) -> tuple[int, str]:
        """Run pytest on a part; returns its exit status and what it said."""
        if self._is_cut:
            return 0, ""
        command = [part.python, "-m", "pytest", *part.arguments, *part.paths]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "errors": "replace"}
        with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:  # type: ignore[call-overload]
            self._processes.add(process)
            said = self._wait(process)
            self._processes.discard(process)
        return process.returncode, said

    def _wait(self, process: subprocess.Popen[str]) -> str:
        """What the process has said when it has ended. If it hangs, its children are killed, now and then."""
        patience = self.longest
        while (said := said_in(process, patience)) is None:
            patience = AGAIN
            for child in children_of(process.pid):
                print(f"{process.args} takes over {self.longest} seconds: its child {child} is killed", flush=True)
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
        return said

    def cut(self) -> None:
        """Interrupt those that run; begin no more."""
        self._is_cut = True
        for process in list(self._processes):
            process.send_signal(signal.SIGINT)  # a test that is cut off ends its own processes


def said_in(process: subprocess.Popen[str], seconds: float) -> str | None:
    """What the process has said when it has ended; ``None`` if it has not in so many seconds."""
    try:
        return process.communicate(timeout=seconds)[0]
    except subprocess.TimeoutExpired:
        return None


def run_all(queue: list[Part], at_once: int) -> int:
    """Run all parts; returns 0 if no test has failed."""
    runs = Runs()
    failures: list[tuple[Part, str]] = []
    with ThreadPoolExecutor(at_once) as pool:
        futures = {pool.submit(runs.run, part): part for part in queue}
        try:
            for future in as_completed(futures):
                status, said = future.result()
                if status not in (0, NOTHING_COLLECTED):
                    told = failed(said) or [f"exit status {status}: {said[-2_000:]}"]
                    failures += [(futures[future], failure) for failure in told]
                print(said, flush=True)
        except BaseException:
            runs.cut()
            raise
    if 0 < len(failures) <= int(os.environ.get("REACTOR_UNSTEADY", "0")):
        failures = [(part, failure) for part, failure in failures if fails_again(runs, part, failure)]
    print(f"{len(failures)} failed", *[failure for _, failure in failures], sep="\n")
    return 1 if failures else 0


def fails_again(runs: Runs, part: Part, failure: str) -> bool:
    """Whether the test of a failure in this part fails once more, when it runs alone."""
    status, said = runs.run(part._replace(paths=[name_in(failure)]))
    print(said, flush=True)
    if status == 0:
        print(f"unsteady: {failure}", flush=True)
    return status != 0


def failed(said: str) -> list[str]:
    """The failures that pytest lists at its end. A test and its fixture that both fail are one failure."""
    lines = [line for line in said.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    return list({name_in(line): line for line in lines}.values())


def name_in(failure: str) -> str:
    """The name of the test that has failed."""
    return failure.partition(" ")[2].partition(" - ")[0]


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that no process of pytest stays
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile the same modules each
    at_once = (os.cpu_count() or 1) + 1
    if arguments[:1] == ["--at-once"]:
        at_once, arguments = int(arguments[1]), arguments[2:]
    others = list(filter(None, os.environ.pop("REACTOR_OTHERS", "").split(os.pathsep)))
    queue = [Part(sys.executable, arguments, paths) for paths in parts()]
    return run_all(queue + parts_of_others(others), at_once)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
