"""Tries the mutations that are made by rule: it takes hours, runs with low priority, and goes on where it stopped."""

from __future__ import annotations

import json
import os
from hashlib import sha256

from tests import ROOT
from tests.mutations import alone, ruled, trials
from tests.mutations.touched import Touched, directory

MODULES = ("tests/handlers/test_*.py", "tests/loop/test_*.py", "tests/table/test_*.py", "tests/rows/test_*.py",
           "tests/servers/test_*.py", "tests/modes/test_*.py", "tests/monitor/test_*.py", "tests/command/test_*.py",
           "tests/testing/kernel/test_*.py", "tests/proofs/test_cost.py", "tests/hosts/test_loading.py")  # fmt: skip
"""The tests that are tried: those of the hot modules' rooms, and of what is above them, and the bounds of costs."""

PROGRAMS = ("tests/hosts/test_loading.py", "tests/command/", "tests/modes/test_prefork.py")
"""Tests that start programs; they are tried for a line that no other test is known to run."""

SEEDS = 300
"""The schedules that are tried for each mutation."""

BUDGET = 30.0
"""Seconds of tests that are tried for each mutation at most, the fastest first."""


def try_ruled(count, after, again):
    """Try those of the first ``count`` that come after ``after`` others. Returns 0 if none has survived.

    ``again``: also those of which the result is known.
    """
    candidates = sum(1 for path in ruled.hot_modules() for _ in ruled.candidates(path))
    equivalent = ruled.equivalent()
    sample = ruled.choice(count)[after:]
    chosen = [mutation for mutation in sample if mutation.key not in equivalent]
    print(f"{candidates:,} candidates, {len(chosen)} of {len(sample)} chosen are not known as equivalent", flush=True)
    results = Results(again)
    os.nice(19)

    def work(tried):
        touched = Touched(directory(), [trials.Seeds(SEEDS), *tried.tests.values()])
        touched.complete(tried)
        for mutation in chosen:
            if mutation not in results:
                results.add(mutation, *_try(tried, mutation, touched))
            print(f"{mutation.key}\n    {results[mutation]}"[:400], flush=True)

    modules = {path.relative_to(ROOT).as_posix() for pattern in MODULES for path in ROOT.glob(pattern)}
    status = trials.try_mutations(work, modules.union(ruled.hot_modules()))  # these for the examples in docstrings
    left = [mutation for mutation in chosen if mutation in results and not results.is_found(mutation)]
    print(f"{len(chosen) - len(left)} of {len(chosen)} found; these have survived:")
    for mutation in left:
        print(f"{mutation.key}\n    {results[mutation]}")
    return 1 if left else status


def _try(tried, mutation, touched):
    """What finds the mutation: a pair of the finder, which is empty if nothing does, and the error."""
    running = touched.by(mutation.path, mutation.lines)
    steps = running or [step for name, step in tried.tests.items() if name.startswith(PROGRAMS)]
    total, budgeted = 0.0, []
    for step in steps:
        total += touched.seconds[str(step)]
        if total > BUDGET and budgeted:
            break
        budgeted.append(step)
    while budgeted:
        finding = alone.attempt(tried, mutation.mutant(), budgeted, touched.seconds, 4 * BUDGET)
        if finding is None:
            break
        if finding.finder not in touched.seconds:  # a seed, or the import: the same each time
            return finding
        place = [str(step) for step in budgeted].index(finding.finder)
        if _is_steady(tried, mutation, budgeted[place], touched.seconds):
            return finding
        budgeted = budgeted[place + 1 :]
    which = "tests that run this line" if running else "tests of programs, the only ones that may run this line,"
    return "", f"{len(budgeted)} of {len(steps)} {which} do not find it"


def _is_steady(tried, mutation, step, known):
    """Whether the step passes without the mutation, and fails with it once more."""
    if tried.attempt(None, [step], known) is not None:
        return False
    return alone.attempt(tried, mutation.mutant(), [step], known) is not None


class Results:
    """What has been found out, in a file; a result holds as long as the module does not change."""

    def __init__(self, again):
        self._path = directory() / "results"
        self._found = {}
        if self._path.exists() and not again:
            for line in self._path.read_text().splitlines():
                key, digest, *result = json.loads(line)
                self._found[key, digest] = result

    @staticmethod
    def _key(mutation):
        return mutation.key, sha256((ROOT / mutation.path).read_bytes()).hexdigest()[:16]

    def add(self, mutation, finder, error):
        """Keep what finds the mutation."""
        self._found[self._key(mutation)] = [finder, error]
        with self._path.open("a") as file:
            file.write(json.dumps([*self._key(mutation), finder, error]) + "\n")

    def __contains__(self, mutation):
        return self._key(mutation) in self._found

    def __getitem__(self, mutation):
        return ": ".join(filter(None, self._found[self._key(mutation)]))

    def is_found(self, mutation):
        """Whether anything finds the mutation."""
        return bool(self._found[self._key(mutation)][0])
