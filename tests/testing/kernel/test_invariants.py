"""Violations: exceptions, endless loops, and broken invariants fail a run."""

from selectors import EVENT_READ, EVENT_WRITE

import pytest

from handlers import Some, StreamHandler
from handlers.machines import ENDED, ENDING
from handlers.services import Echo, EchoDatagram
from reactor import SelectTCPServer, SelectUDPServer
from reactor.testing import INVARIANTS, Fault, Invariant, Violation, World
from reactor.testing.kernel.invariants import Waits
from reactor.testing.kernel.network import Stalled
from tests.support.worlds import ADDRESS


def test_an_exception_of_a_handler_leaves_run():
    class Wrong(StreamHandler):
        async def handle(self):
            await Some()
            raise KeyError("oh")

    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Wrong)
        world.connect(ADDRESS).send(b"x")
        with pytest.raises(KeyError, match="oh"):
            world.run()


def test_a_server_with_its_own_handle_error_handles_exceptions():
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


def test_a_loop_that_never_rests_is_a_violation():
    with World() as world:
        loop = world.reactor()

        def again():
            loop.call_soon(again)

        again()
        with pytest.raises(Violation, match="does not come to rest"):
            world.run(steps=1000)


def test_a_condition_of_run_that_never_holds_is_a_violation():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        with pytest.raises(Violation, match="has not come about"):
            world.run(until=lambda: False)
        world.run(until=lambda: world.selector().stalled)


def test_a_loop_that_would_wait_for_ever_is_a_violation():
    with World() as world:
        world.serve(SelectTCPServer, ADDRESS, Echo)
        with pytest.raises(Stalled):
            world.reactor().run()


def open_row(world, handler=Echo):
    """A row of the world, during its wait."""
    server = world.serve(SelectTCPServer, ADDRESS, handler)
    world.connect(ADDRESS).send(b"x")
    world.run(until=lambda: any(row.total_out for row in server.reactor.table))
    world.check()
    [row] = server.reactor.table
    return row


def meddle_interest(world, row):
    world.reactor().interest.want(row, EVENT_READ | EVENT_WRITE)


def meddle_backpressure(world, row):
    world.reactor().interest.want(row, 0)


def meddle_stranger(world, row):
    sock = world.network.socket()
    world.selector().register(sock, EVENT_READ, row)


def meddle_counts(world, row):
    row.total_in += 1


def meddle_end(world, row):
    row.channel.ended = True


def meddle_deadline(world, row):
    row.deadline = world.reactor().time - 1


def meddle_memory(world, row):
    row.channel.inbox = bytes(200_000)


def meddle_descriptor(world, row):
    row.socket.close()


def meddle_own_end(world, row):
    row.channel.output = ENDED


def meddle_unsaid_end(world, row):
    row.channel.output = ENDING


def meddle_held(world, row):
    row.channel.inbox = b"held"
    row.weigh()


def meddle_blocked(world, row):
    row.channel.blocked = True
    world.reactor().interest.want(row, 0)


def meddle_finished(world, row):
    row.channel.state = row.channel.wait = None
    world.reactor().interest.want(row, 0)


def meddle_budget(world, row):
    world.reactor().budget.held += 1


def meddle_share(world, row):
    world.reactor().budget.count(row, 7)


def meddle_work(world, row):
    world.reactor().work.jobs[row.serial] = None


def meddle_work_of_nobody(world, row):
    world.reactor().work.jobs[4711] = None


def meddle_alarm(world, row):
    row.deadline -= 200


def meddle_time(world, row):
    row.channel.wait = Some()
    row.deadline = world.reactor().time + 100
    world.reactor().timers.arm(row)


def meddle_progress(world, row):
    row.total_in = row.socket.total_in = 2
    row.progress = 0.0


def meddle_turn(world, row):
    world.selector().reported = [(world.keys[row.descriptor], EVENT_READ)]
    row.socket.asked = False


@pytest.mark.parametrize(
    ("meddle", "told"),
    [
        (meddle_interest, "should watch for reading, but watches for reading and writing"),
        (meddle_backpressure, "should watch for reading, but watches for nothing"),
        (meddle_stranger, "only 2 are in use"),
        (meddle_counts, "counts 2 bytes in and 1 out, but the kernel 1 and 1"),
        (meddle_end, "should watch for nothing|assumes that its input has ended"),
        (meddle_deadline, "past its deadline by 1"),
        (meddle_memory, "holds 200000 bytes of input"),
        (meddle_descriptor, "is open, but its socket is closed"),
        (meddle_own_end, r"assumes that its own stream has ended, but shutdown\(\) was not called"),
        (meddle_unsaid_end, r"has nothing more to send, but did not call shutdown\(\)"),
        (meddle_held, "waits for what it holds"),
        (meddle_blocked, "is held back, but nothing holds it back"),
        (meddle_finished, "has finished, but is still in the table"),
        (meddle_budget, "all rows hold 0 of 268435456 bytes, but 1 are counted"),
        (meddle_share, "holds 0 bytes, but 7 are counted"),
        (meddle_work, "work outside is under way for it"),
        (meddle_work_of_nobody, r"work outside is under way for rows that have ended: \[4711\]"),
        (meddle_alarm, r"has 100.* seconds left, but the loop wakes in \d"),
        (meddle_time, "has 100.* seconds left, but should have 300"),
        (meddle_progress, "has the progress 0.0, but a byte has moved at "),
        (meddle_turn, "was ready, but was passed over"),
    ],
)
def test_each_invariant_finds_what_breaks_it(meddle, told):
    world = World()
    row = open_row(world)
    meddle(world, row)
    with pytest.raises(Violation, match=told):
        world.check()


def test_a_row_that_goes_on_above_its_low_water_mark_is_a_violation():
    """A row past its high-water mark goes on at the low-water mark, not before."""

    class Full(Echo):
        high_water, low_water = 100, 10

    world = World(capacity=100, invariants=[Waits])
    server = world.serve(SelectTCPServer, ADDRESS, Full)
    client = world.connect(ADDRESS).read_slowly(0, 0).send(bytes(300))
    world.run(until=lambda: any(row.channel.blocked for row in server.reactor.table))
    world.check()
    [row] = server.reactor.table
    row.channel.blocked = False
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


def test_a_user_may_add_an_invariant():
    class Few(Invariant):
        """At most two rows are open at a time."""

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


def test_a_reply_to_a_peer_that_sent_nothing_is_a_violation():
    with World() as world:
        server = world.serve(SelectUDPServer, ADDRESS, EchoDatagram)
        world.correspond(ADDRESS).send(b"x")
        world.run()
        server.socket.sendto(b"y", ("10.0.0.66", 66))
        with pytest.raises(Violation, match=r"sent to .*66.*, but none came from there"):
            world.check()
        server.socket.sent_to.clear()


def test_a_socket_left_open_is_a_violation():
    world = World()
    world.reactor()
    world.network.socket()
    with pytest.raises(Violation, match="left open: unnamed"):
        world.close()


def test_a_connection_without_a_row_is_a_violation():
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


def test_a_call_that_blocks_is_a_violation():
    class Blocking(Echo):
        def setup(self):
            row = self._machine.driver
            row.socket.setblocking(True)

    world = World([Fault("spurious", 0, 2)])
    world.serve(SelectTCPServer, ADDRESS, Blocking)
    world.connect(ADDRESS).wait(1)
    with pytest.raises(Violation, match=r"recv\(\) blocks"):
        world.run()
