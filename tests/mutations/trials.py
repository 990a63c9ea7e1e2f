"""Tries mutations in one run of pytest: each in a forked process that runs schedules and tests until one fails.

The process that forks has collected the tests once and has imported all that they need. What a process says it writes
to a pipe, a line of JSON at a time: the step that it begins, and what it has found.
"""

from __future__ import annotations

import ctypes
import gc
import json
import linecache
import logging
import os
import select
import signal
import sys
import tempfile
from contextlib import suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import pytest

from tests.mutations import planting

PATIENCE = 10.0
"""Seconds for each step, and five times what the step takes without the mutation: so a mutation that makes a loop
endless is found."""

PR_SET_CHILD_SUBREAPER = 36
"""See ``prctl(2)``: orphans below this process become its children, and can be found and killed."""


class Finding(NamedTuple):
    """What has found a mutation: a seed or a test, and its error."""

    finder: str
    error: str


class Seeds(NamedTuple):
    """A step: the schedules of `tests.proofs.soak` with the first ``count`` seeds."""

    count: int
    calm: bool = False

    def __str__(self):
        return f"{self.count} seeds"

    def run(self, following):
        """Run them; returns the `Finding` if one fails."""
        from tests.proofs import soak

        logger = logging.getLogger("reactor")
        level = logger.level
        logger.setLevel(logging.ERROR)  # warnings about a host short of descriptors are expected here
        try:
            for seed in range(self.count):
                soak.run(seed, self.calm)
        except soak.Failure as failure:
            return Finding(f"seed {failure.schedule.seed}", str(failure).partition(" fails: ")[2])
        finally:
            logger.setLevel(level)
        return None


class Test(NamedTuple):
    """A step: one test."""

    item: pytest.Item
    reports: list

    def __str__(self):
        return self.item.nodeid

    def run(self, following):
        """Run the test; returns the `Finding` if it fails. The fixtures that ``following`` shares stay set up."""
        self.reports.clear()
        after = following.item if isinstance(following, Test) else None
        self.item.config.hook.pytest_runtest_protocol(item=self.item, nextitem=after)
        for report in self.reports:
            if report.failed:
                return Finding(str(self), told(report.longrepr))
        return None


def told(failure):
    """A line about the failure of a test, as pytest represents it."""
    crash = getattr(failure, "reprcrash", None)
    if crash is None:
        return str(failure).strip().rpartition("\n")[2]
    code = linecache.getline(crash.path, crash.lineno).strip()
    return code if crash.message == "AssertionError" else crash.message.partition("\n")[0]


class Trials:
    """A plugin of pytest: instead of running the tests, it gives them to ``work``, which tries mutations with them."""

    def __init__(self, work):
        self._work = work
        self._reports = []
        self._functions = {}
        self.tests = {}
        """A step for each test, by the name that pytest has for it."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self, session):
        from hypothesis import Phase, settings  # not before pytest has prepared it

        # The first failure will do, and it is not kept.
        settings.register_profile("mutations", settings.get_profile("steady"), database=None,
                                  phases=[Phase.explicit, Phase.generate], report_multiple_bugs=False)  # fmt: skip
        settings.load_profile("mutations")

    def pytest_runtest_logreport(self, report):
        self._reports.append(report)

    def pytest_runtestloop(self, session):
        if not session.testsfailed:
            self.tests = {item.nodeid: Test(item, self._reports) for item in session.items}
            self._functions = planting.functions_by_path()
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            gc.collect()
            gc.freeze()
            self._work(self)
        return True

    def attempt(self, mutant, steps, known=None, seconds=inf):
        """The `Finding` of the first of the steps that fails with the mutant planted (``None``: nothing is planted).

        A step that does not end counts, too, and so does a process that ends without a word. ``known`` has the seconds
        that steps take without the mutation, by their names; it is asked, and what it does not have is measured. No
        step begins after ``seconds``. Raises `planting.NotInPlaceError`.
        """
        try:
            return self._attempt(mutant, steps, {} if known is None else known, monotonic() + seconds)
        finally:
            end_orphans()

    def _attempt(self, mutant, steps, known, end=inf):
        with Trial(lambda tell: self._run(mutant, steps, tell)) as trial:
            begun, step, limit = monotonic(), None, PATIENCE
            while (said := trial.listen(begun + limit - monotonic())) is not None:
                kind, *values = said
                if kind == "passes" or (kind == "begins" and monotonic() > end):
                    return None
                if kind == "begins":
                    step = steps[values[0]]
                    begun, limit = monotonic(), PATIENCE + 5 * known.get(str(step), 0.0)
                elif kind == "late":
                    if str(step) in known or mutant is None:
                        return Finding(str(step), f"does not end within {limit:.0f} s")
                    known[str(step)] = self._seconds_of(step)
                    limit = PATIENCE + 5 * known[str(step)]
                elif kind == "not in place":
                    raise planting.NotInPlaceError(*values)
                else:
                    return Finding(*values)
            return Finding(str(step), "the process ends")

    def _seconds_of(self, step):
        begun = monotonic()
        self._attempt(None, [step], {str(step): 20.0})
        return monotonic() - begun

    def _run(self, mutant, steps, tell):
        """In the forked process: plant the mutant, and run the steps until one fails."""
        with tempfile.NamedTemporaryFile(prefix="reactor-mutant-") as file:
            if mutant is not None:
                os.environ.update(planting.environment(mutant, file.name))
                try:
                    planting.plant(mutant, self._functions)
                except planting.NotInPlaceError as error:
                    tell("not in place", str(error))
                    return
            for number, step in enumerate(steps):
                tell("begins", number)
                finding = step.run(steps[number + 1] if number + 1 < len(steps) else None)
                if finding is not None:
                    tell("found", *finding)
                    return
            tell("passes")


class Trial:
    """A forked process that calls ``run`` with a function that tells this process something."""

    def __init__(self, run):
        sys.stdout.flush()
        sys.stderr.flush()
        self._pipe, writer = os.pipe()
        self._held = b""
        self.pid = os.fork()
        if self.pid == 0:
            _live(run, writer)
        os.close(writer)
        self._descriptor = os.pidfd_open(self.pid)

    def listen(self, seconds):
        """What the process tells next; ``("late",)`` if it tells nothing for so long; ``None`` if it has ended."""
        while b"\n" not in self._held:
            ready, _, _ = select.select([self._pipe, self._descriptor], [], [], max(0.0, seconds))
            if not ready:
                return ("late",)
            if self._pipe in ready and (data := os.read(self._pipe, 1 << 16)):
                self._held += data
            else:
                return None
        line, _, self._held = self._held.partition(b"\n")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """End the process, and all that it has started."""
        kill(self.pid, *descendants(self.pid))
        os.waitpid(self.pid, 0)
        os.close(self._pipe)
        os.close(self._descriptor)


def _live(run, writer):
    """In the forked process: call ``run``, and end."""
    pid = os.getpid()
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it to themselves

        def tell(*values):
            if os.getpid() != pid:  # a mutation has let a child of the source out into the trial
                os._exit(1)
            os.write(writer, json.dumps(values).encode() + b"\n")

        run(tell)
    finally:
        os._exit(0)


def kill(*pids):
    """Kill the processes; some may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descendants(pid):
    """The processes below the process ``pid``."""
    found, left = [], [pid]
    while left:
        pid = left.pop()
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                left += [int(child) for child in (task / "children").read_text().split()]
        found.append(pid)
    return found[1:]


def end_orphans():
    """End what trials that have ended have left."""
    with suppress(ChildProcessError):
        while True:
            kill(*descendants(os.getpid()))
            os.wait()


def try_mutations(work, modules):
    """Run pytest with these test modules, and ``work`` instead of the tests; returns pytest's exit status."""
    modules = {*modules, "tests/proofs/test_soak.py"}  # it imports what schedules need
    # Without --assert=plain pytest compiles modules of the project itself.
    common = [
        "--assert=plain",
        "-qq",
        "-s",
        "--no-summary",
        "-m",
        "not slow",
        "--hypothesis-seed=0",
        "-p",
        "no:faulthandler",
    ]
    return pytest.main([*common, *sorted(modules)], plugins=[Trials(work)])
