"""dig at `examples/nameserver.py`, over UDP and TCP, and with what it asks of the upstream."""

import pytest

from tests.support.nameserver import naming, upstream
from tests.support.programs import program, run


def dig(address, *words):
    done = run([program("dig"), f"@{address[0]}", "-p", str(address[1]), "+tries=1", "+time=10", *words])
    assert done.returncode == 0, done.stdout
    return done.stdout.decode()


@pytest.mark.parametrize("over", ["+notcp", "+tcp"])
@pytest.mark.parametrize("how", ["+noedns", "+edns", "+dnssec", "+cookie"])
def test_dig_asks_for_names_of_the_zone_and_others(over, how):
    with upstream() as far, naming(far) as address:
        assert dig(address, over, how, "+short", "here.example", "A") == "127.0.0.1\n"
        assert dig(address, over, how, "+short", "here.example", "AAAA") == "::1\n"
        assert dig(address, over, how, "+short", "elsewhere.example") == "192.0.2.77\n"


def test_dig_asks_several_questions_on_one_connection():
    with upstream() as far, naming(far) as address:
        words = ["+tcp", "+keepopen", "+short", "here.example", "other.example", "six.example", "AAAA"]
        assert dig(address, *words).split() == ["127.0.0.1", "192.0.2.77", "2001:db8::6"]


def test_dig_gets_a_failure_without_an_upstream():
    with naming() as address:
        assert "status: SERVFAIL" in dig(address, "other.example")
