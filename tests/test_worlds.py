"""A simulated world is refused what would let a test pass that has tried nothing."""

import pytest

from handlers.services import Echo
from reactor import SelectTCPServer
from reactor.testing import Fault, Violation, World, plans

ADDRESS = "10.0.0.1", 7


@pytest.mark.parametrize("plan", ["abc", b"abc", 1.5])
def test_a_plan_is_a_seed_or_a_list_of_faults(plan):
    with pytest.raises(TypeError, match="the plan of a World is a seed"):
        World(plan)


def test_a_kind_of_fault_that_there_is_not_is_named_with_those_that_there_are():
    for make in (
        lambda: World(1, rates={"short_read": 0.5}),
        lambda: World([Fault("short_read", 0)]),
        lambda: plans(kinds=["short_read"]),
    ):
        with pytest.raises(ValueError, match=r"no fault 'short_read' here; there are 'short read', .* 'set'"):
            make()


@pytest.mark.parametrize("rate", [-0.1, 1.5, "often"])
def test_a_rate_is_from_0_to_1(rate):
    with pytest.raises(ValueError, match="the rate of 'again' is a number from 0 to 1"):
        World(1, rates={"again": rate})


@pytest.mark.parametrize("fault", [Fault("again", -1), Fault("again", 0, 0)])
def test_a_fault_that_could_never_be_is_refused(fault):
    with pytest.raises(ValueError, match="nth counts from 0, and the amount of a fault is at least 1"):
        World([fault])


def test_what_is_no_fault_is_no_part_of_a_plan():
    with pytest.raises(TypeError, match="a list of faults has Fault"):
        World(["again"])


def test_a_script_that_was_never_run_is_a_violation():
    def unrun():
        with World(1) as world:
            world.serve(SelectTCPServer, ADDRESS, Echo)
            world.connect(ADDRESS).send(b"a").expect(b"WRONG")

    with pytest.raises(Violation, match=r"never run: the scripts of client 1; call World.run\(\)"):
        unrun()


def test_a_script_that_goes_on_after_the_last_run_is_a_violation_too():
    def half_run():
        with World(1) as world:
            world.serve(SelectTCPServer, ADDRESS, Echo)
            client = world.connect(ADDRESS).send(b"a").expect(b"a")
            world.run(until=lambda: client.done)
            client.send(b"b").expect(b"WRONG")

    with pytest.raises(Violation, match="never run: the scripts of client 1"):
        half_run()


def test_a_run_may_stop_before_a_script_is_done():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"a").expect(b"a").wait(60).send(b"b")
        world.run(until=lambda: client.received)
        assert client.received == b"a"
