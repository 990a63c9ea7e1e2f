"""``python3 -m tests.proofs.instructions [--record]``: the instructions that a message takes, counted by callgrind.

Instructions repeat where times do not. They depend on the build of Python, however: on its version, its compiler, its
options. So they are recorded for each minor version of CPython (``instructions.json``), with those of one turn of a
fixed loop in pure Python (`counted.reference`), counted in the same run. What is compared is the smaller of two
growths: that of the instructions, and that of their multiple of the reference. On the build of the record the two are
the same; another build of that version changes them in opposite ways (Debian's 3.11.2 beside a 3.11.7 that was compiled
by hand: a line takes 3 % fewer instructions, the reference 11 % fewer). ``--record`` records those of this Python; do
it after each change that is meant to cost more, or less.

What the kernel does is not counted. Needs valgrind with its headers, and gcc.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests import ROOT
from tests.benchmarks.alone import LISTENER
from tests.proofs.counted import MESSAGES, TIMES, WORKS

RECORD = Path(__file__).with_suffix(".json")
VERSION = "{}.{}".format(*sys.version_info)
REFERENCE, IMPORT = "reference", "an import, and a server that listens"

IMPORTED = """
import ctypes
library = ctypes.CDLL({library!r})
library.begin()
library.toggle()
{code}
library.toggle()
library.write_down({name!r}.encode())
"""


def written(folder: Path) -> Iterator[tuple[str, int]]:
    """What callgrind has written down: the names, and the instructions of each."""
    for file in folder.glob("out.*"):
        text = file.read_text()
        name = re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE)
        number = re.search(r"^summary: (\d+)", text, re.MULTILINE)
        if name and number:
            yield name[1], int(number[1])


def count() -> dict[str, float]:
    """The instructions of each work for one message, of one turn of the reference, and of one import."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        library = folder / "counter.so"
        source = Path(__file__).with_name("counter.c")
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
        imported = IMPORTED.format(library=str(library), code=LISTENER, name=IMPORT)
        compiling = f"{LISTENER}; import tests.proofs.counted"
        subprocess.run([sys.executable, "-c", compiling], cwd=ROOT, check=True)
        for number, arguments in enumerate((["-m", "tests.proofs.counted", str(library)], ["-S", "-c", imported])):
            environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            environment["PYTHONHASHSEED"] = "0"
            callgrind = [
                "valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no",
                f"--callgrind-out-file={folder}/out.{number}",
            ]  # fmt: skip
            subprocess.run([*callgrind, sys.executable, *arguments], cwd=ROOT, env=environment, check=True)
        found = dict(written(folder))
    counts = {name: (found[f"2 {name}"] - found[f"1 {name}"]) / (MESSAGES * TIMES) for name in WORKS}
    return {**counts, IMPORT: float(found[IMPORT])}


def recorded() -> dict[str, float] | None:
    """The counts that are recorded for this version of Python, if there are any."""
    found: dict[str, float] | None = json.loads(RECORD.read_text()).get(VERSION, {}).get("instructions")
    return found


def growths(now: dict[str, float], before: dict[str, float]) -> dict[str, float]:
    """What each count has grown to, as a multiple of that before, whichever way it has grown less."""
    reference = now[REFERENCE] / before[REFERENCE]
    grown = {name: number / before[name] for name, number in now.items() if name in before and name != REFERENCE}
    return {name: min(ratio, ratio / reference) for name, ratio in grown.items()}


def record(counts: dict[str, float]) -> None:
    """Record the counts of this Python."""
    records = json.loads(RECORD.read_text())
    build = f"{platform.python_version()}, {platform.python_compiler()}, {platform.machine()}"
    records[VERSION] = {"build": build, "instructions": {name: round(number) for name, number in counts.items()}}
    RECORD.write_text(json.dumps(dict(sorted(records.items())), indent=4) + "\n")


def main(arguments: list[str]) -> int:
    now, before = count(), recorded()
    grown = growths(now, before) if before else {}
    for name, number in now.items():
        change = f"{grown[name] - 1:+.1%}" if name in grown else ""
        print(f"{name:40}{number:14,.0f}{number / now[REFERENCE]:12,.2f}  {change}")
    if arguments == ["--record"]:
        record(now)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
