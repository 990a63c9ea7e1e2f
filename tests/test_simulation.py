"""The simulated world: what it is for, what goes wrong in it, and that it sees what is not as it must be."""

import errno
import re
import socket
import subprocess
import sys
from math import inf
from pathlib import Path
from selectors import EVENT_READ, EVENT_WRITE

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from handlers import Connected, DatagramHandler, Failed, Flushed, Packet, Some, StreamHandler, ToEnd, Until
from handlers.machines import ENDED, ENDING
from handlers.services import Echo, EchoDatagram
from reactor import (
    SelectTCPServer,
    SelectUDPServer,
    SelectUnixDatagramServer,
    SelectUnixStreamServer,
    TCPServer,
    UDPServer,
    UnixDatagramServer,
    UnixStreamServer,
    testing,
)
from reactor.testing import INVARIANTS, Fault, Invariant, Violation, World, faults, fewest, leaks, plans
from reactor.testing.faults import RATES, Listed, Seeded
from reactor.testing.invariants import Waits
from reactor.testing.network import EPOCH, Stalled
from tests import scenarios, soak, strategies  # noqa: F401  # no example has a deadline

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = ("10.0.0.1", 7)
UNIX = "/run/service"


class Upper(StreamHandler):
    """Each line comes back in capitals."""

    async def handle(self):
        while True:
            self.send((await Until(b"\n")).upper())


class Hasty(StreamHandler):
    """The bug that everybody writes once: takes what one read gives for a line."""

    async def handle(self):
        while True:
            self.send(b"<" + await Some() + b">")


def echoed(plan, text=b"hello", **options):
    """A world in which a client has said something to Echo and heard it again."""
    with World(plan, **options) as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(text).expect(text).shutdown().expect_end()
        world.run()
        assert client.done
        return world, client


# What it is for


def test_the_servers_are_those_that_serve_in_earnest():
    with World(4711) as world:
        loop = world.reactor()
        with SelectTCPServer(ADDRESS, Upper, reactor=loop) as server:
            assert type(server) is SelectTCPServer
            client = world.connect(server.server_address).send(b"one\ntwo\n").expect(b"ONE\nTWO\n").shutdown()
            world.run()
    assert client.received == b"ONE\nTWO\n"


class SelectTCP6Server(SelectTCPServer):
    """TCP over IPv6."""

    address_family = socket.AF_INET6


class SelectUDP6Server(SelectUDPServer):
    """UDP over IPv6."""

    address_family = socket.AF_INET6


ADDRESS6 = ("2001:db8::1", 7, 0, 0)
STREAMS = [(SelectTCPServer, ADDRESS), (SelectTCP6Server, ADDRESS6), (SelectUnixStreamServer, UNIX)]
DATAGRAMS = [
    (SelectUDPServer, ADDRESS, None),
    (SelectUDP6Server, ADDRESS6, None),
    (SelectUnixDatagramServer, UNIX, "/run/me"),
]


@pytest.mark.parametrize(("server_class", "address"), STREAMS)
def test_streams_of_every_family(server_class, address):
    with World() as world:
        world.serve(server_class, address, Echo)
        client = world.connect(address).send(b"hello").expect(b"hello").shutdown().expect_end()
        world.run()
        assert (client.received, client.ended) == (b"hello", True)


@pytest.mark.parametrize(("server_class", "address", "source"), DATAGRAMS)
def test_datagrams_of_every_family(server_class, address, source):
    with World() as world:
        world.serve(server_class, address, EchoDatagram)
        actor = world.correspond(address, source).send(b"one").send(b"two")
        world.run()
        assert actor.received == [b"one", b"two"]


def test_time_is_free():
    """A client that says nothing is waited for as long as its handler says, and that takes no time at all."""

    class Patient(Echo):
        timeout = 1_000_000.0

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Patient)
        client = world.connect(ADDRESS)
        world.run()
        assert client.ended
        assert world.clock.now == pytest.approx(1_000_000, abs=1)
        assert world.clock.time() == EPOCH + world.clock.now
        assert world.steps < 10


def test_a_run_can_end_before_the_world_does():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"a").wait(5).send(b"b")
        world.run(until=lambda: client.received)
        assert (client.received, world.clock.now < 1) == (b"a", True)
        world.run(until=lambda: len(client.received) > 1)
        assert (client.received, world.clock.now >= 5) == (b"ab", True)


def test_the_loop_can_be_stopped_from_inside():
    class Last(Echo):
        def echo(self, data):
            self.server.reactor.stop()
            return super().echo(data)

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Last)
        client = world.connect(ADDRESS).send(b"x")
        world.run()
        assert len(world.reactor().table) == 1
        world.run(until=lambda: client.received)


def test_a_handler_may_be_a_client():
    class Asker(StreamHandler):
        async def handle(self):
            await Connected(("10.9.9.9", 80), Asked(self))
            await ToEnd()

    class Asked(StreamHandler):
        def __init__(self, asker):
            self.asker = asker

        async def handle(self):
            self.send(b"?")
            self.asker.send(await Until(b"\n"))
            self.asker.close()

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Asker)
        world.listen(("10.9.9.9", 80), lambda end: end.expect(b"?").wait(3).send(b"forty-two\n"))
        client = world.connect(ADDRESS).expect(b"forty-two\n").expect_end()
        world.run(until=lambda: len(world.reactor().table) == 2)
        world.run()
        assert client.done


@pytest.mark.parametrize("connect", [[], [Fault("refused", 1)], [Fault("exhausted", 1, 3)]])
def test_a_connection_that_a_handler_can_not_have(connect):
    seen = []

    class Asker(StreamHandler):
        async def handle(self):
            try:
                await Connected(("10.9.9.9", 80), Echo())
            except Failed as failed:
                seen.append(failed.error.errno)

    with World(connect) as world:
        world.serve(SelectTCPServer, ADDRESS, Asker)
        if connect:
            world.listen(("10.9.9.9", 80), lambda end: None)
        world.connect(ADDRESS)
        world.run()
    assert seen == [errno.ENOBUFS if connect and connect[0].kind == "exhausted" else errno.ECONNREFUSED]


def test_it_needs_no_test_library():
    script = "import reactor, sys; assert 'reactor.testing' not in sys.modules; from reactor.testing import World; "
    script += "assert not {'hypothesis', 'pytest'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


def test_the_package_has_what_it_says_and_nothing_else():
    assert sorted(testing.__all__) == sorted(set(testing.__all__))
    for name in testing.__all__:
        value = getattr(testing, name)
        assert not isinstance(value, type(testing)), f"{name} is a module"
        assert name.isupper() or value.__doc__, f"{name} has no docstring"
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        testing.nonsense  # noqa: B018
    public = {name for names in testing._ROOMS.values() for name in names}
    assert public == set(testing.__all__)


# Many schedules


def test_schedules_without_end():
    done = [soak.run(seed) for seed in range(300)]
    assert sum(schedule.lost for schedule in done) == 0
    assert sum(schedule.carried for schedule in done) > 300 * 25
    assert sum(len(schedule.world.plan.injected) for schedule in done) > 300 * 25
    assert {fault.kind for schedule in done for fault in schedule.world.plan.injected} == set(RATES)


@settings(max_examples=150)
@given(st.integers(0, 10_000), plans(most=30))
def test_no_list_of_faults_does_harm(seed, plan):
    soak.run(seed, plan=plan)


PLAIN = {
    "tcp": scenarios.one_kind(scenarios.Burst, scenarios.digits, scenarios.OncePlainServer),
    "unix": scenarios.one_kind(
        scenarios.Slow, scenarios.sentence, type("OncePlain", (scenarios.Once, UnixStreamServer), {}), UNIX
    ),
    "udp": scenarios.exchanges(scenarios.Pair, UDPServer),
    "unix datagrams": scenarios.exchanges(scenarios.EchoDatagram, UnixDatagramServer, UNIX, scenarios.UNIX_PEERS),
}


@pytest.mark.parametrize("scenario", PLAIN)
def test_loops_inside_loops(scenario, monkeypatch):
    """In the plain mode each request has a loop of its own, which the same faults befall."""
    monkeypatch.setattr(soak, "SCENARIOS", [PLAIN[scenario]])
    faults = [len(soak.run(seed).world.plan.injected) for seed in range(100)]
    assert sum(faults) > 100


def test_the_soak_says_what_it_did(capsys):
    assert soak.main(["30", "--first", "1000"]) == 0
    told = capsys.readouterr().out
    assert re.match(r"30 schedules, [\d,]{3,} faults injected, lost bytes: 0 of [\d,]{4,};", told)


def test_the_soak_says_what_it_takes_to_fail(capsys, monkeypatch):
    monkeypatch.setattr(soak, "SCENARIOS", [scenarios.one_kind(Hasty, scenarios.sentence)])
    monkeypatch.setattr(soak, "spoken", lambda handler, heard, ended: b"<" + heard + b">")
    assert soak.main(["30"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^seed \d+ fails: AssertionError: client \d was told", told)
    assert re.search(r"^the fewest of its \d+ faults with which it does so: \[.*\]$", told, re.MULTILINE)


# Fewer faults


def fails(plan):
    """Whether the hasty handler is found out."""
    try:
        with World(plan) as world:
            world.serve(SelectTCPServer, ADDRESS, Hasty)
            world.connect(ADDRESS).send(b"one line\n").expect(b"<one line\n>").shutdown()
            world.run()
    except Violation:
        return True
    return False


def test_without_faults_the_bug_is_not_seen():
    assert not fails(None)
    assert not fails([])


def test_a_seed_that_fails_is_made_smaller():
    seed = next(seed for seed in range(100) if fails(seed))
    plan = Seeded(seed)
    assert fails(plan)
    [fault] = fewest(plan.injected, fails)
    assert fault.kind in ("short read", "torn")


def test_hypothesis_makes_it_smaller_too():
    assert find(plans(), fails) == [Fault("short read", 0, 1)]


@settings(max_examples=50)
@given(plans())
def test_a_plan_is_written_as_it_is_made(plan):
    assert eval(repr(plan), {"Fault": Fault}) == plan


# What goes wrong

SEEN = [
    (Fault("short read", 0, 2), r"recv b'he'"),
    (Fault("short write", 0, 3), r"send b'hel'"),
    (Fault("again", 0), r"accept EAGAIN"),
    (Fault("again", 1), r"recv EAGAIN"),
    (Fault("interrupted", 1), r"accept EINTR"),
    (Fault("spurious", 0), "select 10.0.0.2:49152:r 10.0.0.1:7:r"),
    (Fault("torn", 0, 4), r"recv b'hell'"),
    (Fault("delayed", 1, 150), r"0.150000 10.0.0.2:49152 recv b'hello'"),
    (Fault("exhausted", 0, 1), r"accept EMFILE"),
    (Fault("exhausted", 0, 2), r"accept ENFILE"),
]


@pytest.mark.parametrize(("fault", "line"), SEEN)
def test_what_goes_wrong_and_does_no_harm(fault, line):
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
    """A loop that kept its deadlines by it would now end a wait too early, or never."""
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
    """Answers with the number of bytes that came, when they have come."""

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
    (Fault("full", 0), [b"one", b"two", b"three"]),  # what there is no room for is sent later
]


@pytest.mark.parametrize(("fault", "heard"), ON_THE_WAY)
def test_what_goes_wrong_with_datagrams(fault, heard):
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


def test_an_amount_too_large_is_cut_to_fit():
    plan = Listed([Fault("short read", 1, 99)])
    assert [plan.draw("short read", 5) for _ in range(3)] == [0, 5, 0]
    assert plan.injected == [Fault("short read", 1, 5)]


def test_what_never_happens_and_what_always_does():
    never, always = Seeded(1, {}), [Seeded(seed, dict.fromkeys(RATES, 1.0)) for seed in range(5)]
    assert not any(never.draw(kind) for kind in RATES for _ in range(1000))
    for plan in always:
        taken = sum(plan.draw("again") for _ in range(1000))
        assert taken < 960  # even then something gets through


# Clients


def test_a_slow_reader_holds_its_row_back():
    with World(capacity=1000) as world:
        server = world.serve(SelectTCPServer, ADDRESS, Burst)
        client = world.connect(ADDRESS).read_slowly(1000, 1.0).send(b"x").shutdown()
        world.run(until=lambda: client.received)
        [row] = server.reactor.table
        assert row.held_out + len(client.received) >= 100_000 - 3000
        world.run()
        assert client.received == b"y" * 100_000
        assert world.clock.now > 90


class Burst(StreamHandler):
    """A lot in answer to a little."""

    async def handle(self):
        await Some()
        self.send(b"y" * 100_000)


def test_a_client_that_never_reads_does_not_stay_for_ever():
    with World(capacity=1000) as world:
        world.serve(SelectTCPServer, ADDRESS, Burst)
        client = world.connect(ADDRESS).read_slowly(0, 0).send(b"x")
        world.run()
        assert client.received == b""
        assert 300 < world.clock.now < 700


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_goes_at_once(how):
    ends = []

    class Told(Echo):
        def interrupted(self, cause):
            ends.append(type(cause).__name__)

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Told)
        client = world.connect(ADDRESS).read_slowly(0, 0).send(b"hello").wait(1)
        getattr(client, how)()  # with an answer unread, closing resets too
        world.run()
    assert ends == ["Reset"]


def test_nobody_listens():
    with World() as world:
        world.reactor()
        tcp, unix = world.connect(ADDRESS).send(b"x").expect(b"x"), world.connect(UNIX)
        world.run()
        assert isinstance(tcp.error, ConnectionRefusedError)
        assert isinstance(unix.error, FileNotFoundError)


def test_a_full_backlog_makes_clients_wait():
    class Narrow(SelectTCPServer):
        request_queue_size = 1
        max_requests = 1

    class Short(Echo):
        timeout = 10.0

    with World() as world:
        world.serve(Narrow, ADDRESS, Short)
        clients = [world.connect(ADDRESS).expect_end() for _ in range(4)]
        world.run()
        assert all(client.ended for client in clients)
        assert world.clock.now > 40


def test_what_a_script_has_no_word_for():
    said = []
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        world.connect(ADDRESS).wait(2).do(lambda: said.append(world.clock.now)).shutdown()
        world.run()
    assert said == [pytest.approx(2, abs=0.01)]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (lambda client: client.send(b"hi").expect(b"ho"), "client 1 expects b'ho', but b'hi' has come"),
        (
            lambda client: client.send(b"hi").expect(b"hi there"),
            "client 1 expects b'hi there', but only b'hi' has come",
        ),
        (lambda client: client.send(b"hi").shutdown().expect(b"hi there"), "the stream ended after b'hi'"),
        (lambda client: client.send(b"hi").expect_end(), "the end of the stream, which has not come"),
    ],
)
def test_what_is_not_as_a_script_expects(script, told):
    class Endless(Echo):
        timeout = inf

    world = World()
    world.serve(SelectTCPServer, ADDRESS, Endless)
    script(world.connect(ADDRESS))
    with pytest.raises(Violation, match=told):
        world.run()


# What a run does not let pass


def test_what_a_handler_raises_leaves_through_the_run():
    class Wrong(StreamHandler):
        async def handle(self):
            await Some()
            raise KeyError("oh")

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Wrong)
        world.connect(ADDRESS).send(b"x")
        with pytest.raises(KeyError, match="oh"):
            world.run()


def test_a_server_that_deals_with_errors_itself_does_so():
    class Wrong(StreamHandler):
        async def handle(self):
            raise KeyError("oh")

    class Calm(SelectTCPServer):
        def handle_error(self, request, client_address):
            dealt_with.append(client_address)

    dealt_with = []
    with World() as world:
        world.serve(Calm, ADDRESS, Wrong)
        client = world.connect(ADDRESS).expect_end()
        world.run()
    assert dealt_with == [client.socket.local]


def test_a_loop_that_never_rests():
    with World() as world:
        loop = world.reactor()

        def again():
            loop.call_soon(again)

        again()
        with pytest.raises(Violation, match="does not come to rest"):
            world.run(steps=1000)


def test_what_a_run_goes_on_until_must_come_about():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        with pytest.raises(Violation, match="has not come about"):
            world.run(until=lambda: False)
        world.run(until=lambda: world.selector().stalled)


def test_a_loop_that_would_wait_for_ever():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        with pytest.raises(Stalled):
            world.reactor().run()


def open_row(world, handler=Echo):
    """A row of the world, in the middle of its wait."""
    server = world.serve(SelectTCPServer, ADDRESS, handler)
    world.connect(ADDRESS).send(b"x")
    world.run(until=lambda: any(row.total_out for row in server.reactor.table))
    world.check()
    [row] = server.reactor.table
    return row


def meddle_interest(world, row):
    world.reactor().table.want(row, EVENT_READ | EVENT_WRITE)


def meddle_backpressure(world, row):
    world.reactor().table.want(row, 0)


def meddle_stranger(world, row):
    sock = world.network.socket()
    world.selector().register(sock, EVENT_READ, row)


def meddle_counts(world, row):
    row.total_in += 1


def meddle_end(world, row):
    row.machine.ended = True


def meddle_deadline(world, row):
    row.deadline = world.reactor().time - 1


def meddle_memory(world, row):
    row.machine.inbox = bytes(200_000)


def meddle_descriptor(world, row):
    row.socket.close()


def meddle_own_end(world, row):
    row.machine.output = ENDED


def meddle_unsaid_end(world, row):
    row.machine.output = ENDING


def meddle_held(world, row):
    row.machine.inbox = b"held"
    row.weigh()


def meddle_blocked(world, row):
    row.machine.blocked = True
    world.reactor().table.want(row, 0)


def meddle_finished(world, row):
    row.machine.state = row.machine.wait = None
    world.reactor().table.want(row, 0)


def meddle_budget(world, row):
    world.reactor().budget.held += 1


def meddle_share(world, row):
    world.reactor().budget.count(row, 7)


def meddle_work(world, row):
    world.reactor().workers.jobs[row.serial] = None


def meddle_work_of_nobody(world, row):
    world.reactor().workers.jobs[4711] = None


def meddle_alarm(world, row):
    row.deadline -= 200


def meddle_time(world, row):
    row.machine.wait = Some()
    row.deadline = world.reactor().time + 100
    world.reactor().timers.arm(row)


def meddle_progress(world, row):
    row.total_in = row.socket.heard = 2
    row.progress = 0.0


def meddle_turn(world, row):
    world.selector().reported = [(world.keys[row.fileno()], EVENT_READ)]
    row.socket.asked = False


@pytest.mark.parametrize(
    ("meddle", "told"),
    [
        (meddle_interest, "should watch for reading, and watches for reading and writing"),
        (meddle_backpressure, "should watch for reading, and watches for nothing"),
        (meddle_stranger, "only 2 of them are anybody's"),
        (meddle_counts, "it counts 2 bytes in and 1 out, the kernel 1 and 1"),
        (meddle_end, "should watch for nothing|takes the stream to have ended"),
        (meddle_deadline, "past its deadline by 1"),
        (meddle_memory, "holds 200000 bytes of input"),
        (meddle_descriptor, "is open, and its socket is closed"),
        (meddle_own_end, "takes its own stream to have ended, and it has not"),
        (meddle_unsaid_end, "has nothing more to send, and does not say so"),
        (meddle_held, "waits for what it holds"),
        (meddle_blocked, "is held back, and nothing holds it"),
        (meddle_finished, "has finished, and is not let go of"),
        (meddle_budget, "all rows hold 0 of 268435456 bytes, and 1 are counted"),
        (meddle_share, "holds 0 bytes, and 7 of them are counted"),
        (meddle_work, "work outside is under way for it"),
        (meddle_work_of_nobody, r"work outside is under way for rows that have ended: \[4711\]"),
        (meddle_alarm, r"has 100.* seconds, and the loop wakes in \d"),
        (meddle_time, "has 100.* seconds, and should have 300"),
        (meddle_progress, "notes 0.0 for when a byte last went, and it is "),
        (meddle_turn, "was ready, and was passed over"),
    ],
)
def test_what_is_not_as_it_must_be(meddle, told):
    world = World()
    row = open_row(world)
    meddle(world, row)
    with pytest.raises(Violation, match=told):
        world.check()


def test_output_that_has_not_drained():
    """A row that its output holds back goes on at the low-water mark, and not at the high one."""

    class Full(Echo):
        high_water, low_water = 100, 10

    world = World(capacity=100, invariants=[Waits])
    server = world.serve(SelectTCPServer, ADDRESS, Full)
    client = world.connect(ADDRESS).read_slowly(0, 0).send(bytes(300))
    world.run(until=lambda: any(row.machine.blocked for row in server.reactor.table))
    world.check()
    [row] = server.reactor.table
    row.machine.blocked = False
    with pytest.raises(Violation, match="goes on before 200 bytes of output have drained"):
        world.check()
    assert client.received == b""


def test_a_policy_may_leave_rows_for_later():
    with World() as world:
        world.reactor(policy=lambda events: events[:1])
        world.serve(SelectTCPServer, ADDRESS, Echo)
        clients = [world.connect(ADDRESS).send(b"hi").expect(b"hi").shutdown().expect_end() for _ in range(5)]
        world.run()
        assert all(client.done for client in clients)


def test_an_invariant_of_ones_own():
    class Few(Invariant):
        """At most two are served at a time."""

        def check(self, world):
            if len(world.rows) > 2:
                raise Violation(f"{len(world.rows)} are served")

        def at_rest(self, world):
            looked.append(("at rest", len(world.rows)))

        def at_the_end(self, world):
            looked.append(("at the end", len(world.rows)))

    looked = []

    def served(count, invariants):
        with World(invariants=invariants) as world:
            world.serve(SelectTCPServer, ADDRESS, Echo)
            for _ in range(count):
                world.connect(ADDRESS)
            world.run()

    served(3, INVARIANTS)
    served(2, [*INVARIANTS, Few])
    assert looked == [("at rest", 0), ("at the end", 0)]
    with pytest.raises(Violation, match="3 are served"):
        served(3, [Few])


def test_a_reply_to_a_stranger():
    with World() as world:
        server = world.serve(SelectUDPServer, ADDRESS, EchoDatagram)
        world.correspond(ADDRESS).send(b"x")
        world.run()
        server.socket.sendto(b"y", ("10.0.0.66", 66))
        with pytest.raises(Violation, match=r"sent to .*66.*, who have not asked"):
            world.check()
        server.socket.said_to.clear()


def test_what_is_left_open():
    world = World()
    world.reactor()
    world.network.socket()
    with pytest.raises(Violation, match="left open: unnamed"):
        world.close()


def test_a_connection_without_a_row():
    class Forgetful(SelectTCPServer):
        def get_request(self):
            forgotten.append(super().get_request())
            raise BlockingIOError

    forgotten = []

    world = World()
    world.serve(Forgetful, ADDRESS, Echo)
    world.connect(ADDRESS)
    with pytest.raises(Violation, match="no row has it"):
        world.run()


def test_a_call_that_blocks():
    class Blocking(Echo):
        def setup(self):
            row = self._machine.driver
            row.socket.setblocking(True)

    world = World([Fault("spurious", 0, 2)])
    world.serve(SelectTCPServer, ADDRESS, Blocking)
    world.connect(ADDRESS).wait(1)
    with pytest.raises(Violation, match=r"recv\(\) blocks"):
        world.run()


# What the world has found


def test_a_plain_server_in_a_simulated_world():
    """A loop inside a loop takes its selector from where its sockets come from."""
    with World(3) as world:
        world.serve(TCPServer, ADDRESS, Upper)
        client = world.connect(ADDRESS).send(b"one\n").expect(b"ONE\n").shutdown().expect_end()
        world.run()
        assert client.done


def test_a_plain_datagram_server_in_a_simulated_world():
    with World(3) as world:
        world.serve(UDPServer, ADDRESS, EchoDatagram)
        actors = [world.correspond(ADDRESS).send(b"one").wait(0.1).send(b"two") for _ in range(3)]
        world.run()
        assert all(set(actor.received) <= {b"one", b"two"} for actor in actors)
        assert any(actor.received for actor in actors)


def test_nothing_of_the_host_is_used():
    """No descriptor, no thread, no child; and hours take no time."""
    with World(7) as world:
        before = leaks.held()
        world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"x").wait(200).send(b"y").wait(200).send(b"z")
        world.run(until=lambda: world.clock.now > 300)
        assert len(world.rows) == 1
        opened = [name for key, name in leaks.held().items() if key not in before]
        assert [name.partition(" ")[0] for name in opened] == ["row"]
        world.run()
        assert client.done


def test_handle_request_waits_although_its_server_listens_already():
    """Its socket does not block, for the loop's sake; that is no timeout of the user's."""
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, Echo)
        client = world.connect(ADDRESS).send(b"x").shutdown().expect_end()
        server.handle_request()
        assert client.received == b"x"


def test_handle_request_gives_up_by_the_clock_of_its_reactor():
    class Impatient(SelectTCPServer):
        timeout = 2

        def handle_timeout(self):
            gave_up.append(world.clock.now)

    gave_up = []
    with World() as world:
        server = world.serve(Impatient, ADDRESS, Echo)
        server.stop_serving()
        server.handle_request()
    assert gave_up == [pytest.approx(2, abs=0.1)]


def test_ports_that_wait_for_room_are_served_in_their_order():
    """The order must not be that of a set: that is another in every process."""

    class Single(SelectTCPServer):
        max_requests = 1

    class Short(Echo):
        timeout = 10.0

    with World() as world:
        addresses = [("10.0.0.1", port) for port in range(1, 40)]
        for address in addresses:
            world.serve(Single, address, Short)
        world.connect(addresses[0])
        world.run(until=lambda: len(world.reactor().table) == 1)
        for address in addresses:
            world.connect(address)
        ports = world.reactor().ports
        world.run(until=lambda: not any(port.mask for port in ports.values()))
        world.run(until=lambda: any(port.mask for port in ports.values()))
        resumed = [number for number in world.keys if number in ports]
        assert len(resumed) == len(addresses)
        assert resumed == sorted(resumed)
