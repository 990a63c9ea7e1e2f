"""The deadlines of a stream row: one for each wait, and one for the output that is left."""

from contextlib import contextmanager

from handlers import Exactly, TimedOut, Until
from tests.support.bench import PATTERN, SMALL, Lines, Noting, bench, broken
from tests.support.loops import Clock


def test_dripping_bytes_do_not_move_the_deadline_of_a_wait(place):
    class Dripped(Noting):
        timeout = 10
        heard = []

        async def handle(self):
            try:
                await Until(b"\n")
            except TimedOut as cause:
                self.causes.append(cause)
            self.heard.append(await Exactly(3))
            self.heard.append(await Exactly(2, timeout=20))

    clock = Clock()
    with bench(Dripped, place, clock=clock) as here:
        client = here.connect()
        row = here.row
        assert row.deadline == 1010
        for second in (4, 8):
            clock.seconds = 1000.0 + second
            client.sendall(b"x")
            here.rest()
            assert row.deadline == 1010
            assert row.idle() == 0
        clock.seconds = 1009.99
        here.reactor.step(0)
        assert Dripped.made[0].causes == []
        clock.seconds = 1010.0
        here.reactor.step(0)
        (cause,) = Dripped.made[0].causes
        assert cause.wait == Until(b"\n")
        assert (row.held_in, row.deadline) == (2, 1020)
        client.sendall(b"yz")
        here.rest()
        assert Dripped.heard == [b"xxy"]
        assert row.deadline == 1030
        client.sendall(b"!")
        here.rest()
        assert Dripped.heard == [b"xxy", b"z!"]


def test_every_message_has_its_own_deadline(place):
    class Timed(Lines):
        timeout = 10

    clock = Clock()
    with bench(Timed, place, clock=clock) as here:
        client = here.connect()
        for _ in range(10):
            clock.seconds += 9
            client.sendall(b"line\n")
            assert here.take(client, 5) == b"line\n"
            assert here.row.deadline == clock.seconds + 10
        clock.seconds += 10
        assert here.last_words(client) == b""
        client.close()  # until then the last line may be unacknowledged
        here.rest()
        assert len(here.table) == 0


def test_a_timeout_that_is_not_caught_ends_the_row_after_its_output_is_sent(place):
    class Polite(Noting):
        timeout = 10

        def handle(self):
            return Until(b"\n"), self.handle

        def interrupted(self, cause):
            self.causes.append(cause)
            self.send(b"goodbye")

    clock = Clock()
    with bench(Polite, place, clock=clock) as here:
        client = here.connect()
        row = here.row
        client.sendall(b"half a li")
        here.rest()
        clock.seconds += 10
        assert here.last_words(client) == b"goodbye"
        assert row.channel.reason is broken(Polite)
        assert isinstance(row.channel.reason, TimedOut)


def test_input_that_comes_in_the_batch_of_the_deadline_is_in_time(place):
    class Timed(Lines):
        timeout = 10

    clock = Clock()
    with bench(Timed, place, clock=clock) as here:
        client = here.connect()
        client.sendall(b"line\n")
        clock.seconds += 10
        here.reactor.step()
        assert here.take(client, 5) == b"line\n"
        assert len(here.table) == 1


class Crowd(Lines):
    """Sends each line to every member; ``close`` closes all others."""

    timeout = 10
    members: list

    def setup(self):
        self.members.append(self)

    def line(self, data):
        for member in self.members:
            if data != b"close\n":
                member.send(data)
            elif member is not self:
                member.close()
        return self.handle()

    def finish(self):
        self.send(b"bye\n")


@contextmanager
def two_members(place):
    """A `Bench` with two members, the deadline of the second, of which an event is dealt with last, has come."""
    Crowd.members, clock = [], Clock()
    with bench(Crowd, place, clock=clock) as here:
        here.reactor.policy = lambda events: sorted(events, key=lambda event: getattr(event[0].data, "serial", 0))
        here.connect()
        clock.seconds += 5
        here.connect()
        first, second = here.clients
        first.sendall(b"one\n")
        here.rest()
        here.take(second, 4)
        clock.seconds += 10
        yield here, first, second


def test_a_wait_that_begins_in_the_batch_of_the_old_deadline_has_its_whole_time(place):
    with two_members(place) as (here, first, second):
        first.sendall(b"two\n")  # goes to the second first, and its row is settled at the end of the batch
        second.sendall(b"three\n")
        here.reactor.step()
        assert here.take(second, 10) == b"two\nthree\n"
        assert here.row.deadline == here.clock.seconds + 10
        assert len(here.table) == 2


def test_the_last_output_of_a_request_that_is_closed_in_the_batch_of_its_deadline_is_sent(place):
    with two_members(place) as (here, first, second):
        first.sendall(b"close\n")
        here.reactor.step()
        assert here.last_words(second) == b"bye\n"
        assert here.table.ends == {"Cancelled": 1}


def test_the_reason_is_the_first_cause_even_if_the_last_output_times_out_too(place):
    class Verbose(Noting):
        timeout = 10

        def handle(self):
            return Until(b"\n"), self.handle

        def interrupted(self, cause):
            self.causes.append(cause)
            self.send(PATTERN)

    clock = Clock()
    with bench(Verbose, place, sndbuf=SMALL, clock=clock) as here:
        here.connect(SMALL)
        row = here.row
        for _ in range(2):
            clock.seconds += 10
            here.rest()
        assert len(here.table) == 0
        assert row.channel.reason is broken(Verbose)
        assert row.channel.reason.wait == Until(b"\n")


def test_a_draining_row_ends_when_its_peer_does_not_read(place):
    class Farewell(Noting):
        timeout = 10

        def handle(self):
            self.send(PATTERN)

    clock = Clock()
    with bench(Farewell, place, sndbuf=SMALL, clock=clock) as here:
        client = here.connect(SMALL)
        row = here.row
        assert row.channel.finished
        clock.seconds += 9
        here.take(client, 1_000_000)  # it reads after all, which gives it more time for the rest
        here.rest()
        assert 0 < row.held_out < len(PATTERN) - 1_000_000
        clock.seconds += 9
        here.reactor.step(0)
        assert len(here.table) == 1
        clock.seconds += 1
        here.reactor.step(0)
        assert len(here.table) == 0
        assert isinstance(row.channel.reason, TimedOut)
        assert row.held_out == 0
        (handler,) = Farewell.made
        assert (handler.finished, handler.causes) == (1, [])
        assert len(here.last_words(client)) < len(PATTERN) - 1_000_000
