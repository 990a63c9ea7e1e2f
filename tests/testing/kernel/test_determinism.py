"""The same seed gives the same run, event for event, in every process and on every Python.

A run may depend neither on hashes, nor on addresses in memory, nor on the time, nor on how a version of Python orders
or prints things. So traces are compared as bytes.
"""

import hashlib
import os
import ssl
import subprocess
import sys
from pathlib import Path
from selectors import EVENT_READ

import pytest

from reactor.testing.kernel.clock import Clock
from reactor.testing.kernel.faults import RATES, Plan, Seeded
from reactor.testing.kernel.network import Network
from reactor.testing.kernel.process import _line
from reactor.testing.kernel.wire import Wire
from tests import ROOT
from tests.proofs import soak
from tests.support import planted
from tests.support.scenarios import SCENARIOS, encrypted

SEEDS = 12 * len(SCENARIOS)
"""A dozen runs of each scenario."""


def pythons():
    """Every other Python from 3.10 on that pyenv has, or one parameter that says that there is none."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    found = [path for path in sorted(versions.glob("3.*/bin/python3")) if int(path.parts[-3].split(".")[1]) >= 10]
    others = [str(path) for path in found if path.resolve() != Path(sys.executable).resolve()]
    none = pytest.mark.skip(reason=f"no other Python from 3.10 on in {versions} (PYENV_ROOT names another folder)")
    return others or [pytest.param("", marks=none)]


def digest(python, seeds, **environment):
    """The digest of the traces of these seeds in a process of that Python."""
    script = f"from tests.proofs import soak; print(soak.digest({seeds!r}))"
    return told_by(python, script, **environment)


def told_by(python, script, **environment):
    """What the script prints in a process of that Python."""
    run = subprocess.run(
        [python, "-B", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("python", pythons())
def test_a_trace_is_the_same_on_every_python(python):
    seeds = range(SEEDS)
    if told_by(python, "import ssl; print(ssl.OPENSSL_VERSION)") != ssl.OPENSSL_VERSION:  # their handshakes differ
        seeds = [seed for seed in seeds if SCENARIOS[seed % len(SCENARIOS)] is not encrypted]
    assert digest(python, seeds) == soak.digest(seeds)


@pytest.mark.slow
@pytest.mark.parametrize("python", pythons())
def test_hosts_do_the_same_on_every_python(python):
    assert told_by(python, "from tests.support import planted; print(planted.digest())") == planted.digest()


@pytest.mark.slow
@pytest.mark.parametrize("hashes", ["0", "1", "4711"])
def test_a_trace_does_not_depend_on_hashes(hashes):
    assert digest(sys.executable, range(39), PYTHONHASHSEED=hashes) == soak.digest(range(39))


def test_a_seed_determines_the_trace():
    traces = [soak.run(seed, trace=True).world.trace for seed in range(39)]
    assert traces == [soak.run(seed, trace=True).world.trace for seed in range(39)]
    assert len({"\n".join(trace) for trace in traces}) == 39
    assert all(isinstance(line, str) and line for trace in traces for line in trace)


@pytest.mark.parametrize("seed", range(39, 78))
def test_the_faults_of_a_seed_give_the_same_trace_as_a_list(seed):
    world = soak.run(seed, trace=True).world
    again = soak.run(seed, plan=world.plan.injected, trace=True).world
    assert again.trace == world.trace
    assert again.plan.injected == world.plan.injected


def test_tracing_does_not_change_the_run():
    for seed in range(39):
        assert soak.run(seed).world.plan.injected == soak.run(seed, trace=True).world.plan.injected


# Fixed digests: a seed must find in a later version what it finds now


def test_the_random_faults_of_a_seed_never_change():
    plan = Seeded(2024)
    for turn in range(20_000):
        plan.draw(list(RATES)[turn % len(RATES)], 1 + turn % 7)
    assert told(map(tuple, plan.injected)) == "da706faa1232a6aef7d9eb8a6dc4e0ea73c098401d13e4c9b26016e5a56f3cef"


def test_the_trace_of_the_simulated_kernel_never_changes():
    """Independent of the loop: two processes talk without one."""
    lines = []
    for seed in range(30):
        wire = Wire(Clock(), Seeded(seed), latency=0.001, capacity=50)
        ours, theirs = Network(wire, Plan()), Network(wire, Plan())
        sockets = theirs.socket(), ours.socket()
        ours.plan, theirs.plan = Seeded(seed + 1), Seeded(seed + 2)
        ours.trace = theirs.trace = []
        talk(theirs.selector(), *sockets)
        lines += [_line(*entry) for entry in ours.trace]
    assert len(lines) > 1000
    assert told(lines) == "9d5786336216ccf36509bfdf0044ebd04bd5cdb4ab2ef8f41fcf6715f8ec7314"


def talk(selector, listener, client):
    """One side sends a sentence, the other sends its input back; a call that fails is repeated."""
    listener.bind(("10.0.0.1", 7))
    listener.listen()
    for sock in (listener, client):
        sock.setblocking(False)
    tried(client.connect, ("10.0.0.1", 7))
    unsent, unheard, ends = b"a sentence of some length, and another. " * 3, b"", []
    selector.register(listener, EVENT_READ)
    for _ in range(150):
        selector.select(0.01)
        if unsent:
            unsent = unsent[tried(client.send, unsent) or 0 :]
        tried(client.recv, 20)
        if not ends and (accepted := tried(listener.accept)):
            ends.append(accepted[0])
            ends[0].setblocking(False)
            selector.register(ends[0], EVENT_READ)
        for end in ends:
            unheard += tried(end.recv, 30) or b""
            unheard = unheard[(unheard and tried(end.send, unheard)) or 0 :]


def tried(call, *arguments):
    """The result of the call; ``None`` if it fails."""
    try:
        return call(*arguments)
    except OSError:
        return None


def told(lines):
    return hashlib.sha256("\n".join(map(str, lines)).encode()).hexdigest()
