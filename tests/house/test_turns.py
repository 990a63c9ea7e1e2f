"""What is tried in turns is tried by each run without a turn, and once in as many submissions as there are turns."""

import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.mutations.named import MUTATIONS
from tests.support.turns import is_in_turn


def test_each_is_in_one_turn_and_the_turns_are_about_as_long():
    turns = [{one.name for one in MUTATIONS if is_in_turn(one.name, f"{number}/3")} for number in range(3)]
    assert set.union(*turns) == {one.name for one in MUTATIONS}
    assert sum(map(len, turns)) == len(MUTATIONS)
    assert min(map(len, turns)) > len(MUTATIONS) / 5


def test_without_a_turn_all_are_tried():
    assert all(is_in_turn(one.name, "0/1") for one in MUTATIONS)


def collected(turn):
    """The tests that a turn has pytest run of one module."""
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "tests/testing/check/test_misread.py"]
    environment = {**os.environ, "REACTOR_TURN": turn}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.slow
def test_a_turn_leaves_out_tests_that_are_in_another():
    every, turns = collected("0/1"), [collected(f"{number}/2") for number in range(2)]
    assert set(every) == set.union(*map(set, turns))
    common = set.intersection(*map(set, turns))
    assert 0 < len(common) < min(map(len, turns)) < len(every)
