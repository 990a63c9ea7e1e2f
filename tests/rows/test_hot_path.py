"""The hot path of a stream row: what it must not pass over."""

from handlers import Flushed, Some, StreamHandler, TimedOut, Until
from handlers.filter import Filter
from handlers.services import Echo
from reactor.loop.selecting import DefaultSelector
from tests.support.bench import Noting, bench
from tests.support.loops import Clock


class Hasty(StreamHandler):
    """Gives the first line 100 s, and each later one 1 s."""

    def handle(self):
        return Until(b"\n", timeout=100), self.line

    def line(self, data):
        self.send(data)
        return Until(b"\n", timeout=1), self.line


def test_a_wait_that_ends_earlier_than_the_one_before_ends_in_time(place):
    clock = Clock()
    with bench(Hasty, place, clock=clock) as here:
        client = here.connect()
        row = here.row
        client.sendall(b"one\n")
        assert here.take(client, 4) == b"one\n"
        assert row.deadline == clock.seconds + 1
        clock.seconds += 1
        here.reactor.step(0)
        here.rest()
        assert isinstance(row.channel.reason, TimedOut)


class Frames(Filter):
    """Delivers frames of ten bytes, whole."""

    __slots__ = ("_part",)

    def __init__(self, inner):
        super().__init__(inner)
        self._part = b""

    @property
    def pending(self):
        return len(self._part)

    def received(self, data):
        self._part += data
        end = len(self._part) // 10 * 10
        self.deliver(self._part[:end])
        self._part = self._part[end:]


def test_what_a_filter_holds_counts_until_it_is_delivered_and_no_longer(place):
    """Each read brings a piece that the request takes whole; what counts too long would end other rows."""
    with bench(Echo, place) as here:
        here.server.filters = (Frames,)
        client = here.connect()
        for size, held in [(7, 7), (3, 0), (15, 5), (15, 0)]:
            here.give(client, bytes(size))
            here.rest()
            assert here.row.held_in == held
            assert here.reactor.stats()["held"] == held


class Relay(Noting):
    """Sends the other connection what it receives, and reads on when that has drained."""

    async def handle(self):
        while True:
            data = await Some()
            (other,) = (handler for handler in self.made if handler is not self)
            other.send(data)
            await Flushed(other)


class CountingSelector(DefaultSelector):
    """A selector that counts the changes of what it watches for."""

    changes = 0

    def modify(self, fileobj, events, data=None):
        self.changes += 1
        return super().modify(fileobj, events, data)


def test_a_relay_goes_on_reading_without_a_change_of_the_selector_while_the_other_side_takes_all(place):
    kind = type("Relay", (Relay,), {})
    with bench(kind, place, selector=CountingSelector) as here:
        one, other = here.connect(), here.connect()
        for number in range(5):
            one.sendall(b"%d" % number)
            assert here.take(other, 1) == b"%d" % number
            other.sendall(b"back")
            assert here.take(one, 4) == b"back"
        assert here.selector.changes == 0
