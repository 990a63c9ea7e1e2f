"""Mutations are planted in the functions that exist, and in modules that are still to be imported."""

import subprocess
import sys

import pytest

from reactor.loop import kernel, timers
from tests import ROOT
from tests.mutations import planting


def mutant(module, old, new):
    """A mutant of the module."""
    path = "/".join(module.__name__.split(".")) + ".py"
    source = (ROOT / path).read_text()
    assert source.count(old) == 1
    return planting.Mutant(path, source.replace(old, new))


@pytest.fixture
def forked():
    """Calls a function in a forked child; returns the exit status."""
    import os

    def call(function):
        pid = os.fork()
        if pid == 0:
            try:
                os._exit(function())
            finally:
                os._exit(99)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    return call


def test_the_functions_that_exist_get_the_code_of_the_mutation(forked):
    one = mutant(timers, "if item.deadline < item.armed:", "if item.deadline > item.armed:")
    kept = timers.Timers.arm

    def plant():
        planting.plant(one, planting.functions_by_path())
        armed = timers.Timers()
        kept(armed, timers.Timer(1.0, print, ()))
        return len(armed)

    assert forked(plant) == 0
    armed = timers.Timers()
    kept(armed, timers.Timer(1.0, print, ()))
    assert len(armed) == 1


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        (timers, "SLOT = 1 / 4", "SLOT = 1 / 2"),
        (timers, '    __slots__ = ("_next", ', '    __slots__ = ("_more", "_next", '),
        (kernel, "AGAIN = (BlockingIOError, InterruptedError)", "AGAIN = (BlockingIOError,)"),
    ],
)
def test_what_runs_at_the_import_is_not_planted_in_place(module, old, new, forked):
    one = mutant(module, old, new)

    def plant():
        try:
            planting.plant(one, planting.functions_by_path())
        except planting.NotInPlaceError:
            return 7
        return 0

    assert forked(plant) == 7


def test_a_new_process_imports_the_mutation(tmp_path):
    one = mutant(kernel, "AGAIN = (BlockingIOError, InterruptedError)", "AGAIN = (BlockingIOError,)")
    variables = planting.environment(one, tmp_path / "mutant")
    told = subprocess.check_output(
        [sys.executable, "-c", "from reactor.loop import kernel; print(len(kernel.AGAIN))"], cwd=ROOT, env=variables
    )
    assert told == b"1\n"
    assert len(kernel.AGAIN) == 2
