"""``python3.N -m tests.benchmarks.environment``: make the environment of this Python with the peers; print its Python.

The versions of the peers are those of the extra ``benchmarks`` in ``setup.cfg``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.__main__ import make_environment


def environment_of(python: str) -> str:
    """The Python of the environment that is made for this interpreter."""
    command = [python, "-m", "tests.benchmarks.environment"]
    return subprocess.check_output(command, cwd=ROOT, text=True).splitlines()[-1]


def newest_other() -> list[str]:
    """The newest other Python of the machine, from 3.10 on, as a list of one or none."""
    found = {}
    for folder in ("/usr/bin", "/usr/local/bin", *map(str, Path.home().glob(".pyenv/versions/3.*/bin"))):
        for place in Path(folder).glob("python3.[0-9][0-9]"):
            found[int(place.name.partition(".")[2])] = str(place)
    newest = max(found, default=0)
    return [found[newest]] if newest > sys.version_info.minor else []


if __name__ == "__main__":
    place = ROOT / ".venv" / "benchmarks-{}.{}".format(*sys.version_info)
    print(make_environment(place, "benchmarks"))
