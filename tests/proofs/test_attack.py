"""Short runs of the attack, and that it finds a server which does not hold."""

import os
import resource

import pytest

from handlers import Exactly
from tests.proofs import attack
from tests.proofs.victim import Victim

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks into servers through Linux's /proc"),
]


class Wrong(Victim):
    """Turns nothing round."""

    async def do_say(self, size):
        self.send(await Exactly(int(size)))


class Keeping(Victim):
    """Keeps a descriptor of each request."""

    kept: list = []

    def setup(self):
        self.kept.append(os.dup(0))


@pytest.fixture(autouse=True)
def _limits(monkeypatch):
    """The attack raises the limit of its descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(attack, "failures", [])
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def run(monkeypatch, modes, victim=attack.VICTIM):
    """The exit status and the failures of a short attack."""
    monkeypatch.setattr(attack, "ATTACKED", modes)
    monkeypatch.setattr(attack, "VICTIM", victim)
    return attack.main([f"--seconds={2 * len(modes)}", "--clients=20"]), attack.failures


def test_servers_hold(monkeypatch):
    assert run(monkeypatch, attack.ATTACKED) == (0, [])


def test_wrong_bytes_are_found(monkeypatch):
    status, failures = run(monkeypatch, ["select"], f"{__name__}:Wrong")
    assert status == 1
    assert all("wrong ones" in failure for failure in failures), failures


def test_what_a_server_keeps_is_found(monkeypatch):
    status, [failure] = run(monkeypatch, ["select"], f"{__name__}:Keeping")
    assert status == 1
    assert failure.startswith("select: the server holds more than before: [")
