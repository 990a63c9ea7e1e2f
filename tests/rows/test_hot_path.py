"""The hot path of a stream row: what it must not pass over."""

from handlers import StreamHandler, TimedOut, Until
from tests.support.bench import bench
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
