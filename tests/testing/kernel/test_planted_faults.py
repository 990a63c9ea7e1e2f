"""Faults of programs on several hosts: a schedule shows each, `explore` finds it, and its mending holds."""

import pytest

from reactor.testing import Violation, World, explore
from reactor.testing.kernel.network import Stalled
from tests.support.planted import FAULTS

ONE = {"hosts": (1, 1), "clients": (1, 1), "faults": ()}
"""These scenarios have their own number of hosts. Only silent_backend and half_close have scripted clients."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_schedule_shows_the_fault_and_its_mending_holds(name):
    make, plan = FAULTS[name]
    with pytest.raises((AssertionError, Stalled)), World(plan) as world:
        make(False)(world, 1, 1)
    with World(plan) as world:
        make(True)(world, 1, 1)
    with World() as world:
        make(False)(world, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_found_and_no_mended_program_is_accused(name):
    make, _ = FAULTS[name]
    with pytest.raises(Violation, match=rf"{name} fails with [12] faults?, 1 client and 1 host") as found:
        explore(make(False), examples=600, **ONE)
    assert found.value.__cause__ is not None
    explore(make(True), examples=60, **ONE)
