"""How much of one batch a row may have: pieces of input, and bytes that other rows write to it."""

from functools import partial

from handlers import Flushed, StreamHandler, Until
from handlers.filter import Filter
from handlers.services import Echo
from tests.support.bench import Noting, bench, broken

TURNS = 256
"""Pieces of input that a row takes in one batch."""


class Members(StreamHandler):
    """Counts its lines, and sends each that is not empty to the member that came first."""

    room: list

    def setup(self):
        self.lines = 0
        self.room.append(self)

    async def handle(self):
        while True:
            line = await Until(b"\n")
            self.lines += 1
            if len(line) > 1:
                self.room[0].send(line)


def taken_in_each_step(here, handler, whole):
    """Step until the handler has taken so many lines: how many in each step."""
    steps = []
    while handler.lines < whole:
        before = handler.lines
        here.reactor.step(0)
        steps.append(handler.lines - before)
    return steps


def room_of(count, here):
    Members.room = []
    return [here.connect() for _ in range(count)]


def test_a_row_takes_256_pieces_in_each_batch(place):
    with bench(Members, place) as here:
        (client,) = room_of(1, here)
        client.sendall(b"\n" * 3_000)
        steps = taken_in_each_step(here, Members.room[0], 3_000)
        assert max(steps) == TURNS
        assert len([taken for taken in steps if taken]) == -(-3_000 // TURNS)
        assert here.reactor.timeout() != 0 or here.rest() is None


def test_a_row_that_others_write_to_takes_256_pieces_in_each_batch(place):
    with bench(Members, place) as here:
        flood, *friends = room_of(5, here)
        flood.sendall(b"\n" * 3_000)
        for friend in friends:
            friend.sendall(b"hello\n" * 600)
        assert max(taken_in_each_step(here, Members.room[0], 3_000)) == TURNS
        here.until(lambda: all(member.lines == 600 for member in Members.room[1:]))
        assert here.take(flood, 6 * 600 * 4) == b"hello\n" * 600 * 4


def test_a_row_that_has_had_its_turn_goes_on_though_nothing_else_happens(place):
    """The next step doesn't wait for an event: there will be none."""
    with bench(Members, place) as here:
        (client,) = room_of(1, here)
        client.sendall(b"\n" * (TURNS + 1))
        here.until(lambda: Members.room[0].lines == TURNS)
        assert here.reactor.timeout() == 0
        here.rest()
        assert Members.room[0].lines == TURNS + 1


def test_max_output_is_kept_within_a_state_and_the_row_ends_in_the_batch(place):
    held = []

    class Much(Noting):
        max_output = 1 << 20

        async def handle(self):
            await Until(b"\n")
            for _ in range(100):
                self.send(bytes(65_536))
                held.append(self._machine.held_out)
            await Flushed()

    with bench(Much, place) as here:
        client = here.connect()
        client.sendall(b"\n")
        here.until(lambda: held)
        assert max(held) == 1 << 20
        assert len(here.table) == 0
        assert str(broken(Much)) == f"more output waits than the {1 << 20} bytes of Much.max_output"
        assert here.errors == []
        assert len(here.last_words(client)) <= 1 << 20


def test_max_held_is_kept_within_a_batch(place):
    """One member tells all others much more than may be held: those that hold most lose it before the batch is done."""
    held = []

    class Loud(Members):
        def finish(self):
            self.room.remove(self)

        async def handle(self):
            await Until(b"\n")
            for _ in range(200):
                for member in self.room[1:]:
                    member.send(bytes(10_000))
                held.append(sum(member._machine.held_out for member in self.room))

    with bench(Loud, place) as here:
        here.reactor.max_held = 2_000_000
        Loud.room = []
        clients = [here.connect() for _ in range(10)]
        clients[0].sendall(b"\n")
        here.until(lambda: held)
        most = 10 * (65_536 + 10_000)  # what each may hold before it is counted
        assert max(held) <= 2_000_000 + most < 9 * 200 * 10_000
        here.rest()
        assert here.table.ends["LimitPassed"] > 0
        assert here.reactor.budget.held == sum(row.held_in + row.held_out for row in here.table)


class Fan(Filter):
    """Delivers for each byte ten pieces, one after the other, and notes in which step of the loop."""

    __slots__ = ("_left", "_steps")

    def __init__(self, inner, steps):
        super().__init__(inner)
        self._left, self._steps = 0, steps

    def received(self, data):
        self._left += 10 * len(data)
        self._left -= 1
        self._steps[-1] += 1
        self.deliver(b"a")
        if self._left:
            self.again()


def test_a_filter_that_has_more_to_deliver_has_one_turn_in_a_batch(place):
    for front in (0, 1, 2):  # filters in front of it
        steps = []
        with bench(Echo, place) as here:
            here.server.filters = (*(front * [Filter]), partial(Fan, steps=steps))
            client = here.connect()
            here.give(client, b"ab")
            while sum(steps) < 20:
                steps.append(0)
                here.reactor.step(0)
            assert max(steps) == 1
            assert here.take(client, 20) == b"a" * 20
