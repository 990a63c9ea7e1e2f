"""A trial runs in a process of its own; whatever becomes of it, the process that tries goes on."""

import os
import subprocess
import sys
import time

from tests.mutations.trials import Trial
from tests.support.outside import is_there
from tests.support.serving import PATIENCE, wait_until


def test_a_trial_tells_what_it_does():
    def run(tell):
        tell("begins", 0)
        tell("passes")

    with Trial(run) as trial:
        assert [trial.listen(PATIENCE) for _ in range(3)] == [["begins", 0], ["passes"], None]
    assert not is_there(trial.pid)


def test_a_trial_that_does_not_end_is_killed_with_what_it_has_started():
    def run(tell):
        started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
        tell(started.pid)
        time.sleep(1000)

    with Trial(run) as trial:
        (started,) = trial.listen(PATIENCE)
        assert trial.listen(0.01) == ("late",)
    wait_until(lambda: not is_there(trial.pid) and ended(started))


def ended(pid):
    """Whether the process has ended; its parent may not have reaped it."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_trial_that_ends_without_a_word_or_with_an_exception_is_told_of():
    for run in (lambda tell: os._exit(3), lambda tell: 1 / 0):
        with Trial(run) as trial:
            assert trial.listen(PATIENCE) is None


def test_a_child_that_a_mutation_lets_out_into_the_trial_says_nothing():
    def run(tell):
        if os.fork() == 0:
            tell("twice")
        os.wait()
        tell("once")

    with Trial(run) as trial:
        assert [trial.listen(PATIENCE) for _ in range(2)] == [["once"], None]
