"""Fixtures of several rooms. What else the rooms share is in `tests.support`."""

import gc
import os
import shutil
import signal
import tempfile
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings

from tests.support import forks
from tests.support.resources import descriptors, named
from tests.support.serving import Journal, wait_until
from tests.support.turns import is_in_turn

# The speed of the machine is no property of the code.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
settings.register_profile("quick", settings.get_profile("steady"), max_examples=20)  # --hypothesis-profile quick

forks.make_cheap()

# Who starts the tests in the background of a shell makes them deaf to SIGINT, which tests send to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Have temporary files in a directory that goes with this run; pytest would keep those of its last three."""
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="reactor-")  # short: sockets have their paths in it
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def pytest_collection_modifyitems(config, items):
    """Leave out those that are not in turn."""
    out = {item for item in items if item.get_closest_marker("in_turn") and not is_in_turn(item.nodeid)}
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=list(out))


@pytest.fixture
def journal():
    """A journal in which the processes and threads of one test write."""
    with Journal() as journal:
        yield journal


@pytest.fixture(scope="module")
def no_garbage():
    """What other modules have left to the garbage collector holds no descriptor that would be closed meanwhile."""
    gc.collect()


@pytest.fixture
def nothing_left(no_garbage):
    """No test leaves a descriptor, a child or a zombie behind."""
    before = descriptors()
    yield
    left = []
    try:
        while True:  # so that one test does not fail for what another has left
            left.append(os.waitid(os.P_ALL, 0, os.WEXITED))
    except ChildProcessError:
        pass
    assert left == []
    with suppress(AssertionError):  # what follows says which descriptors they are
        wait_until(lambda: descriptors() == before)  # a thread that has ended its work may still close what it had
    assert named(descriptors() ^ before) == {}
