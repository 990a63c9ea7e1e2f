"""``python3 -m tests``: make a virtual environment, install what the tests need, run them all.

Needs Python with pip and nothing else. Arguments go to pytest; with any, only pytest runs. Where they name no path,
the tests run in several processes: see `tests.parts`.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests import ROOT


def main(arguments: list[str]) -> int:
    """Run the linters and the tests in ``.venv``; return the exit status of the first that fails."""
    everything = not arguments and os.environ.get("REACTOR_REAL_CLIENTS") == "1"
    extras = "test,hosts,gss,programs" if everything else "test"
    python = make_environment(ROOT / ".venv" / "{}.{}".format(*sys.version_info), extras)
    names_path = any((ROOT / argument.partition("::")[0]).exists() for argument in arguments)
    commands = [["-m", "pytest" if names_path else "tests.parts", *arguments]]
    if not arguments:
        commands = [["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-m", "mypy"], *commands]
    with meanwhile_made(python) if everything else nullcontext():
        for command in commands:
            print("+ python", *command, flush=True)
            status = subprocess.call([str(python), *command], cwd=ROOT)
            if status:
                return status
    return 0


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
