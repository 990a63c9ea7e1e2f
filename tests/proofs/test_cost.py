"""Bounds of costs, as counts of calls, modules and bytes: those are the same whatever else the machine does.

What they come to in time is for `tests.benchmarks` to report.
"""

import json
import resource
import subprocess
import sys
from itertools import repeat
from types import SimpleNamespace

import pytest

from handlers.services import Echo
from reactor.testing import work
from tests import ROOT
from tests.benchmarks import memory
from tests.benchmarks.messages import LINE
from tests.benchmarks.peers.ours import LinesCoroutine as Coroutine
from tests.benchmarks.peers.ours import LinesOneWait as OneWait
from tests.benchmarks.peers.ours import LinesStates as States
from tests.support.bench import bench
from tests.support.counting import counted_calls

SPELLINGS = {States: (13, 8), OneWait: (11, 6), Coroutine: (15, 9), Echo: (13, 0)}
"""For each handler the most calls of Python for a message of one line, and for each further line of a message."""

CLIENTS = 20

STILL = SimpleNamespace(monotonic=repeat(1.0).__next__, time=repeat(1.0).__next__)
"""A clock by which no batch takes long, so that answers are sent together also on a machine that is busy."""


def calls(handler, lines):
    """Calls of Python for a message of so many lines, from the end of select() to the answer."""
    with bench(handler, clock=STILL) as here:
        clients = [here.connect() for _ in range(CLIENTS)]
        message = LINE * lines
        for _ in range(2):
            for client in clients:
                client.sendall(message)
            with counted_calls() as counted:
                here.reactor.step(0)
            assert [client.recv(len(message)) for client in clients] == [message] * CLIENTS
        return counted.python / CLIENTS


@pytest.mark.parametrize("handler", SPELLINGS)
def test_a_message_takes_few_calls(handler):
    first, further = SPELLINGS[handler]
    one, many = calls(handler, 1), calls(handler, 17)
    assert one <= first
    assert many - one <= 16 * further


@pytest.mark.slow
@pytest.mark.parametrize(
    ("held", "limit"), [(b"", 1_000), (b"x", 1_024)], ids=["between lines", "with a byte of a line"]
)
def test_an_idle_row_takes_under_a_kibibyte(held, limit):
    assert memory.allocated("ours: states, one wait", held) < limit


@pytest.mark.slow
def test_an_idle_row_takes_less_than_a_protocol_of_asyncio():
    assert memory.allocated("ours: states") < memory.allocated("asyncio Protocol")


def imported(statement):
    """The modules that an interpreter without installed packages has after the statement, and its bytes of memory."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); {statement}; names = list(sys.modules); import json; "
        "print(json.dumps(names)); print(open('/proc/self/statm').read().split()[1])"
    )
    names, pages = subprocess.check_output([sys.executable, "-I", "-S", "-c", script], text=True).splitlines()
    return set(json.loads(names)), int(pages) * resource.getpagesize()


@pytest.mark.slow
def test_the_import_is_light():
    imported("import reactor")  # compiles the modules
    (theirs, before), (ours, after) = imported("import selectors, socket"), imported("import reactor")
    assert len(ours - theirs) <= 10
    assert after - before < 2 << 20


@pytest.mark.slow
@pytest.mark.parametrize("handler", [States, Coroutine])
def test_one_byte_at_a_time_costs_the_same_per_byte_however_long_the_message(handler):
    def cost(size):
        return work(handler, [b"x"] * (size - 1) + [b"\n"])

    assert cost(8_192) <= 8.1 * cost(1_024)
