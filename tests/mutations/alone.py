"""Tries one mutation in a new process, which the loader has it planted in from the start: see `planting`.

``python3 -m tests.mutations.alone FILE`` is that process: the file names the steps, and the finding is written to it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import ROOT
from tests.mutations import planting, trials


def attempt(tried, mutant, steps, known, seconds=inf):
    """What ``tried`` (`trials.Trials`) finds in this process, or what is found in a new one if that can't be."""
    try:
        return tried.attempt(mutant, steps, known, seconds)
    except planting.NotInPlaceError:
        return attempt_alone(mutant, steps)


def attempt_alone(mutant, steps):
    """The same in a new process."""
    seeds = [step for step in steps if isinstance(step, trials.Seeds)]
    names = [str(step) for step in steps if isinstance(step, trials.Test)]
    with TemporaryDirectory(prefix="reactor-") as directory:
        file = Path(directory, "steps")
        file.write_text(json.dumps([seeds, names]))
        variables = {**os.environ, **planting.environment(mutant, Path(directory, "mutant"))}
        command = [sys.executable, "-m", "tests.mutations.alone", str(file)]
        ended = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
        if ended.returncode:
            return trials.Finding("the import", (ended.stdout + ended.stderr).strip().rpartition("\n")[2])
        finding = json.loads(file.read_text())
        return finding and trials.Finding(*finding)


def main(name):
    """The command."""
    file = Path(name)
    seeds, names = json.loads(file.read_text())

    def work(tried):
        steps = [*(trials.Seeds(*values) for values in seeds), *(tried.tests[name] for name in names)]
        file.write_text(json.dumps(tried.attempt(None, steps)))

    return trials.try_mutations(work, {name.partition("::")[0] for name in names})


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
