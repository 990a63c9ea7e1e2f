"""``python3 -m tests``: make a virtual environment, install what the tests need, run them all.

Needs Python with pip and nothing else. Arguments go to pytest; with any, only pytest runs.
"""

import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import ROOT


def main(arguments: list[str]) -> int:
    """Run the linters and the tests in ``.venv``; return the exit status of the first that fails."""
    everything = not arguments and os.environ.get("REACTOR_REAL_CLIENTS") == "1"
    extras = "test,hosts,gss,programs" if everything else "test"
    python = make_environment(ROOT / ".venv" / "{}.{}".format(*sys.version_info), extras)
    commands = [["-m", "pytest", *arguments]]
    if not arguments:
        commands = [["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-m", "mypy"], *commands]
    if not everything:
        return run_each(python, commands)
    # Two processes, side by side: a process that has collected fewer tests also forks faster.
    with meanwhile_made(python), meanwhile_run(python, "-m", "pytest", "-m", "slow") as finish_slow:
        status = run_each(python, [*commands[:-1], ["-m", "pytest", "-m", "not slow"]])
        return finish_slow() or status


def run_each(python: Path, commands: list[list[str]]) -> int:
    """Run the commands one after the other; return the exit status of the first that fails."""
    for command in commands:
        print("+ python", *command, flush=True)
        status = subprocess.call([str(python), *command], cwd=ROOT)
        if status:
            return status
    return 0


@contextmanager
def meanwhile_run(python: Path, *command: str) -> Iterator[Callable[[], int]]:
    """Run a command beside others; yields a function that waits for it, prints what it said, returns its status."""
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen([str(python), *command], cwd=ROOT, stdout=said, stderr=said) as process,
    ):

        def finish() -> int:
            status = process.wait()
            said.seek(0)
            print("+ python", *command, f"\n{said.read()}", flush=True)
            return status

        try:
            yield finish
        finally:
            process.send_signal(signal.SIGINT)  # a test that is cut off ends its own processes


@contextmanager
def meanwhile_made(python: Path) -> Iterator[None]:
    """Make the component for WASI, which takes longest, while the tests run; its test waits for it."""
    component = ROOT / ".venv" / "everywhere" / "meanwhile.cwasm"
    component.parent.mkdir(parents=True, exist_ok=True)
    component.unlink(missing_ok=True)
    os.environ["REACTOR_COMPONENT"] = str(component)
    with subprocess.Popen([str(python), "examples/wasi/make.py", str(component)], cwd=ROOT):
        yield


def make_environment(place: Path, extras: str) -> Path:
    """The Python of a virtual environment in which the project and its test dependencies are installed."""
    python = place / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        venv.create(place, with_pip=False)  # no ensurepip needed: the pip that runs this installs into it
    subprocess.check_call(
        [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--editable", f"{ROOT}[{extras}]"]
    )
    return python


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
