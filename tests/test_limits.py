"""What nobody can do to the others, or to the host: work, time and memory have bounds, and a reason says which."""

import pytest

from handlers import StreamHandler, StreamMachine, Until
from reactor import SelectTCPServer
from reactor.testing import World

ADDRESS = ("10.0.0.1", 7)
LINE = Until(b"\n")


# Work


class States(StreamHandler):
    """Notes whose line each is."""

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.server.journal.append(self.peer[1])
        return LINE, self.line


class Conversation(StreamHandler):
    async def handle(self):
        while True:
            await LINE
            self.server.journal.append(self.peer[1])


@pytest.mark.parametrize("kind", [States, Conversation])
def test_who_sends_60_000_messages_at_once_keeps_nobody_waiting_for_all_of_them(kind):
    flood = 60_000
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, kind)
        server.journal = []
        world.connect(ADDRESS, ("10.0.0.2", 1)).send(b"\n" * flood).shutdown().expect_end()
        world.connect(ADDRESS, ("10.0.0.2", 2)).send(b"\n").shutdown().expect_end()
        world.run()
    assert server.journal.count(1) == flood
    assert server.journal.index(2) <= 2_000


def test_a_machine_that_one_feeds_by_hand_does_all_at_once():
    class Count(StreamHandler):
        lines = 0

        def handle(self):
            return LINE, self.line

        def line(self, data):
            self.lines += 1
            return LINE, self.line

    machine = StreamMachine(handler := Count())
    machine.feed(b"\n" * 10_000)
    assert handler.lines == 10_000
