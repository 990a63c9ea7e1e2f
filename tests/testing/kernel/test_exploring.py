"""`explore`: what it finds is as small as can be, and is printed as a test that fails in the same way."""

import pytest

from handlers import StreamHandler, Until
from reactor import SelectTCPServer
from reactor.testing import Crash, Fault, Violation, World, explore
from tests.support.worlds import Hasty, Upper

PORT = 7


def conversing(kind, said, answered):
    """A scenario: each client says something to the last host, and hears the answer, or the beginning of it."""

    def conversing(world, hosts, clients):
        for _ in range(hosts):
            host = world.host(lambda host: host.serve(SelectTCPServer, (host.address, PORT), kind))
        for _ in range(clients):
            client = world.connect((host.address, PORT)).wait(1).send(said).shutdown()
        world.run()
        assert answered.startswith(client.received)

    return conversing


def found(scenario, **options):
    with pytest.raises(Violation) as violation:
        explore(scenario, **options)
    return str(violation.value)


def test_one_fault_is_left_with_one_client_and_one_host():
    report = found(conversing(Hasty, b"one\n", b"<one\n>"), examples=500)
    assert report.startswith("conversing fails with 1 fault, 1 client and 1 host: AssertionError")
    assert "Fault(kind='short read'" in report or "Fault(kind='torn'" in report


def test_a_right_program_is_not_accused():
    explore(conversing(Upper, b"one\n", b"ONE\n"), examples=100)


def test_a_scenario_that_fails_by_itself_needs_no_fault():
    report = found(conversing(Upper, b"one\n", b"one\n"), examples=20)
    assert report.startswith("conversing fails with 0 faults, 1 client and 1 host")
    assert "with World([]) as world:" in report


def test_a_fault_that_needs_two_hosts_and_two_clients_is_found_so():
    def crowded(world, hosts, clients):
        world.host(lambda host: None)
        assert (hosts, clients) != (2, 2)

    assert found(crowded, examples=50).startswith("crowded fails with 0 faults, 2 clients and 2 hosts")


def test_the_printed_test_fails_in_the_same_way():
    def restarts(world, hosts, clients):
        host = world.host(lambda host: None)
        world.run()
        assert host.boots == 1, f"boot {host.boots}"

    report = found(restarts, faults=(), examples=200)
    assert report.startswith("restarts fails with 1 fault, 1 client and 1 host: AssertionError: boot 2")
    names = {"restarts": restarts}
    exec(report.partition("\n\n")[2], names)
    with pytest.raises(AssertionError, match="boot 2"):
        names["test_restarts_fails"]()


def test_the_printed_test_imports_a_scenario_that_can_be_imported():
    report = found(broken_scenario, examples=10)
    assert f"from {__name__} import broken_scenario" in report


def broken_scenario(world, hosts, clients):
    raise LookupError


def test_a_scenario_that_keeps_state_between_runs_is_told_of():
    runs = []

    def forgetful(world, hosts, clients):
        world.host(lambda host: None)
        runs.append(1)
        assert len(runs) != 30

    assert "does not do the same each time" in found(forgetful, examples=50)


def test_events_happen_to_places_that_there_are():
    """A scenario may have more hosts than it is told to, or none."""
    for extra in range(3):
        seen = set()

        def crowd(world, hosts, clients, extra=extra, seen=seen):
            for _ in range(extra):
                world.host(lambda host: None)
            world.run()
            seen.update(host.number for host in world.hosts if host.boots > 1)

        explore(crowd, hosts=(1, 1), clients=(1, 1), faults=(), examples=60)
        assert seen == set(range(extra))


class Forgetful(StreamHandler):
    """Counts on the host, which forgets."""

    async def handle(self):
        self.send(await Until(b"\n"))


def test_a_world_may_be_given_faults_and_events_together():
    with World([Fault("torn", 0), Crash(0, at=2.0)]) as world:
        host = world.host(lambda host: host.serve(SelectTCPServer, (host.address, PORT), Forgetful))
        client = world.connect((host.address, PORT)).send(b"one\n").expect(b"one\n").expect_end()
        world.run()
        assert (client.done, host.boots) == (True, 2)
        assert world.plan.injected == [Fault("torn", 0)]
