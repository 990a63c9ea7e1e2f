"""Short runs of the soak, and what it prints."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactor import UDPServer, UnixDatagramServer, UnixStreamServer
from reactor.testing import plans
from reactor.testing.kernel.faults import RATES
from tests.proofs import soak
from tests.support import scenarios
from tests.support.worlds import UNIX, Hasty


def test_three_hundred_schedules_lose_nothing():
    done = [soak.run(seed) for seed in range(300)]
    assert sum(schedule.lost for schedule in done) == 0
    assert sum(schedule.carried for schedule in done) > 300 * 25
    assert sum(len(schedule.world.plan.injected) for schedule in done) > 300 * 25
    assert {fault.kind for schedule in done for fault in schedule.world.plan.injected} == set(RATES)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.integers(0, 10_000), plans(most=30))
def test_no_list_of_faults_makes_a_schedule_fail(seed, plan):
    soak.run(seed, plan=plan)


@pytest.mark.slow
@pytest.mark.parametrize("behind", scenarios.BEHIND, ids=["tls1.3", "tls1.2", "proxy and tls1.3"])
def test_schedules_with_encryption_lose_nothing_and_are_the_same_each_time(behind, monkeypatch):
    """The random numbers of a handshake change no event: only its bytes, of which a trace has the number."""
    monkeypatch.setattr(scenarios, "BEHIND", [behind])
    monkeypatch.setattr(soak, "SCENARIOS", [scenarios.encrypted])
    done = [soak.run(seed, trace=True) for seed in range(60)]
    assert sum(schedule.carried for schedule in done) > 60 * 5
    errors = {type(client.error).__name__ for schedule in done for client in schedule.world.actors}
    assert errors >= {"NoneType", "SSLEOFError", "ConnectionResetError"}
    assert [soak.run(seed, trace=True).world.trace for seed in range(20)] == [one.world.trace for one in done[:20]]


def test_without_faults_every_encrypted_stream_ends_in_order(monkeypatch):
    monkeypatch.setattr(soak, "SCENARIOS", [scenarios.encrypted])
    for seed in range(60):
        for client in soak.run(seed, calm=True).world.actors:
            assert client.ended
            assert client.error is None


PLAIN = {
    "tcp": scenarios.one_kind(scenarios.Burst, scenarios.digits, scenarios.OncePlainServer),
    "unix": scenarios.one_kind(
        scenarios.Slow, scenarios.sentence, type("OncePlain", (scenarios.Once, UnixStreamServer), {}), UNIX
    ),
    "udp": scenarios.exchanges(scenarios.Pair, UDPServer),
    "unix datagrams": scenarios.exchanges(scenarios.EchoDatagram, UnixDatagramServer, UNIX, scenarios.UNIX_PEERS),
}


@pytest.mark.slow
@pytest.mark.parametrize("scenario", PLAIN)
def test_schedules_of_the_plain_mode_lose_nothing(scenario, monkeypatch):
    """In the plain mode each request has an inner loop, with the same faults."""
    monkeypatch.setattr(soak, "SCENARIOS", [PLAIN[scenario]])
    faults = [len(soak.run(seed).world.plan.injected) for seed in range(100)]
    assert sum(faults) > 100


def test_the_soak_prints_what_it_did(capsys):
    assert soak.main(["60", "--first", "1000"]) == 0
    told = capsys.readouterr().out
    assert re.match(r"60 schedules, [\d,]{3,} faults injected, lost bytes: 0 of [\d,]{4,};", told)


def test_the_soak_prints_the_fewest_faults_with_which_a_schedule_fails(capsys, monkeypatch):
    monkeypatch.setattr(soak, "SCENARIOS", [scenarios.one_kind(Hasty, scenarios.sentence)])
    monkeypatch.setattr(soak, "spoken", lambda handler, heard, ended: b"<" + heard + b">")
    assert soak.main(["30"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^seed \d+ fails: AssertionError: client \d was told", told)
    assert re.search(r"^the fewest of its \d+ faults with which it does so: \[.*\]$", told, re.MULTILINE)
