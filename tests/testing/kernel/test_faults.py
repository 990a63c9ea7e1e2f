"""Faults: what each does, which plans are valid, and the fewest with which a test still fails."""

import pytest
from hypothesis import find, given, settings

from handlers import DatagramHandler, Flushed, Packet, StreamHandler, ToEnd
from handlers.services import Echo
from reactor import SelectTCPServer, SelectUDPServer
from reactor.testing import Fault, Violation, World, fewest, plans
from reactor.testing.kernel import faults
from reactor.testing.kernel.clock import EPOCH
from reactor.testing.kernel.faults import RATES, Listed, Seeded
from tests.support.worlds import ADDRESS, Hasty, echoed

# Fewer faults


def fails(plan):
    """Whether the bug of `Hasty` is found."""
    try:
        with World(plan) as world:
            world.serve(SelectTCPServer, ADDRESS, Hasty)
            world.connect(ADDRESS).send(b"one line\n").expect(b"<one line\n>").shutdown()
            world.run()
    except Violation:
        return True
    return False


def test_without_faults_the_bug_is_not_found():
    assert not fails(None)
    assert not fails([])


def test_the_faults_of_a_failing_seed_are_reduced_to_one():
    seed = next(seed for seed in range(100) if fails(seed))
    plan = Seeded(seed)
    assert fails(plan)
    [fault] = fewest(plan.injected, fails)
    assert fault.kind in ("short read", "torn")


@pytest.mark.slow
def test_hypothesis_shrinks_a_plan_to_one_fault():
    assert find(plans(), fails) == [Fault("short read", 0, 1)]


@settings(max_examples=50)
@given(plans())
def test_the_repr_of_a_plan_is_the_code_that_makes_it(plan):
    assert eval(repr(plan), {"Fault": Fault}) == plan


# Each fault


SEEN = [
    (Fault("short read", 0, 2), r"recv b'he'"),
    (Fault("short write", 0, 3), r"send b'hel'"),
    (Fault("again", 0), r"accept EAGAIN"),
    (Fault("again", 1), r"recv EAGAIN"),
    (Fault("interrupted", 0), r"accept EINTR"),
    (Fault("interrupted", 1), r"recv EINTR"),
    (Fault("spurious", 0), "select 10.0.0.2:49152:r 10.0.0.1:7:r"),
    (Fault("torn", 0, 4), r"recv b'hell'"),
    (Fault("delayed", 1, 150), r"0.150000 10.0.0.2:49152 recv b'hello'"),
    (Fault("exhausted", 0, 1), r"accept EMFILE"),
    (Fault("exhausted", 0, 2), r"accept ENFILE"),
]


@pytest.mark.parametrize(("fault", "line"), SEEN)
def test_each_fault_of_a_stream_is_in_the_trace_and_loses_nothing(fault, line):
    world, client = echoed([fault])
    assert world.plan.injected == [fault]
    assert [told for told in world.trace if line in told]
    assert client.received == b"hello"


def test_an_interrupted_select_reports_nothing():
    world, _ = echoed([Fault("interrupted", 0)], latency=0.01)
    assert world.trace[0].endswith("interrupted")


def test_time_jumps():
    world, _ = echoed([Fault("jump", 0, 35)])
    assert world.clock.now > 3.5


@pytest.mark.parametrize(("amount", "hours"), [(1, 1), (24, -24)])
def test_the_time_of_day_is_set(amount, hours):
    """A loop whose deadlines used the time of day would end a wait too early, or never."""
    with World([Fault("set", 0, amount)]) as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS)
        world.run()
        assert client.ended
        assert world.clock.now == pytest.approx(300, abs=1)
        assert world.clock.time() - world.clock.now == EPOCH + 3600 * hours


@pytest.mark.parametrize(("amount", "name"), list(enumerate(faults.BROKEN_ERRORS, 1)))
def test_a_connection_breaks(amount, name):
    with World([Fault("broken", 0, amount)]) as world:
        world.serve(SelectTCPServer, ADDRESS, ToTheEnd)
        client = world.connect(ADDRESS).wait(1).send(b"hello").shutdown()
        world.run()
        assert isinstance(client.error, ConnectionResetError)
        assert [line for line in world.trace if line.endswith(name)]


class ToTheEnd(StreamHandler):
    """Answers with the number of bytes at the end of the stream."""

    async def handle(self):
        self.send(b"ready\n")
        await Flushed()
        self.send(b"%d" % len(await ToEnd()))


def test_a_client_is_gone_before_it_is_accepted():
    with World([Fault("aborted", 0)]) as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        first = world.connect(ADDRESS)
        second = world.connect(ADDRESS).send(b"x").expect(b"x").shutdown()
        world.run()
        assert isinstance(first.error, ConnectionResetError)
        assert second.done


def test_connections_overtake_each_other():
    with World([Fault("delayed", 0, 100)]) as world:
        server = world.serve(SelectTCPServer, ADDRESS, Echo)
        first, second = world.connect(ADDRESS), world.connect(ADDRESS)
        world.run(until=lambda: len(server.reactor.table) == 2)
        assert [row.peer for row in server.reactor.table] == [second.socket.local, first.socket.local]


ON_THE_WAY = [
    (Fault("lost", 0), [b"two", b"three"]),
    (Fault("repeated", 1), [b"one", b"two", b"two", b"three"]),
    (Fault("overtaken", 0, 100), [b"two", b"three", b"one"]),
    (Fault("truncated", 2, 2), [b"one", b"two", b"th"]),
    (Fault("full", 0), [b"one", b"two", b"three"]),  # a packet without room is sent later
]


@pytest.mark.parametrize(("fault", "heard"), ON_THE_WAY)
def test_each_fault_of_datagrams_is_in_the_trace(fault, heard):
    class Silent(DatagramHandler):
        async def handle(self):
            world.heard.append(await Packet())
            if fault.kind == "full":
                self.send(world.heard[-1])

    with World([fault]) as world:
        world.heard = []
        world.serve(SelectUDPServer, ADDRESS, Silent)
        actor = world.correspond(ADDRESS)
        for packet in (b"one", b"two", b"three"):
            actor.send(packet).wait(0.02)
        world.run()
        assert (actor.received if fault.kind == "full" else world.heard) == heard


def test_no_fault_before_the_world_runs():
    with World([Fault("exhausted", nth) for nth in range(10)]) as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)


def test_an_amount_that_is_too_large_is_reduced():
    plan = Listed([Fault("short read", 1, 99)])
    assert [plan.draw("short read", 5) for _ in range(3)] == [0, 5, 0]
    assert plan.injected == [Fault("short read", 1, 5)]


def test_a_rate_of_0_injects_nothing_and_a_rate_of_1_lets_something_pass():
    never, always = Seeded(1, {}), [Seeded(seed, dict.fromkeys(RATES, 1.0)) for seed in range(5)]
    assert not any(never.draw(kind) for kind in RATES for _ in range(1000))
    for plan in always:
        taken = sum(plan.draw("again") for _ in range(1000))
        assert taken < 960  # even then some calls succeed


# Plans that are refused


@pytest.mark.parametrize("plan", ["abc", b"abc", 1.5])
def test_a_plan_that_is_neither_a_seed_nor_a_list_of_faults_is_refused(plan):
    with pytest.raises(TypeError, match="the plan of a World is a seed"):
        World(plan)


def test_an_unknown_kind_of_fault_is_named_with_those_that_exist():
    for make in (
        lambda: World(1, rates={"short_read": 0.5}),
        lambda: World([Fault("short_read", 0)]),
        lambda: plans(kinds=["short_read"]),
    ):
        with pytest.raises(ValueError, match=r"no fault 'short_read' here; there are 'short read', .* 'set'"):
            make()


@pytest.mark.parametrize("rate", [-0.1, 1.5, "often"])
def test_a_rate_outside_0_to_1_is_refused(rate):
    with pytest.raises(ValueError, match="the rate of 'again' is a number from 0 to 1"):
        World(1, rates={"again": rate})


@pytest.mark.parametrize("fault", [Fault("again", -1), Fault("again", 0, 0)])
def test_a_fault_that_can_not_occur_is_refused(fault):
    with pytest.raises(ValueError, match="nth counts from 0, and the amount of a fault is at least 1"):
        World([fault])


def test_a_plan_with_something_that_is_not_a_fault_is_refused():
    with pytest.raises(TypeError, match="a list of faults contains Fault"):
        World(["again"])
