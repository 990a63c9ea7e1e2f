"""`bears_two_at_once`: two requests of one server that are open at once, and what they share."""

from types import SimpleNamespace

import pytest

from handlers import DatagramHandler, Event, Happened, Packet, StreamHandler, Until, World
from reactor.testing import bears_two_at_once, check
from reactor.testing.running.report import CheckFailed
from tests.support.pasted import assert_red_then_green

TALK = b"NAME ann\nhello\nQUIT\n"


class Named(StreamHandler):
    """The server knows it by its name."""

    name = b""

    async def handle(self):
        self.enter(await Until(b"\n", limit=80))
        while await Until(b"\n", limit=80) != b"QUIT\n":
            self.send(b"%d\n" % len(self.server.people))

    def enter(self, name):
        if self.server.people.setdefault(name, self) is self:
            self.name = name

    def finish(self):
        if self.name:
            del self.server.people[self.name]


class Steals(Named):
    """Both have the name, and the second that ends does not find it."""

    def enter(self, name):
        self.server.people[name], self.name = self, name


class Replaces(Named):
    """The second one has the name from now on, and the first one is closed."""

    def enter(self, name):
        before, self.server.people[name], self.name = self.server.people.get(name), self, name
        if before is not None:
            before.name = b""
            before.close()


class TellsWhoHasLeft(Named):
    """Who has left is told at its place in a list, which others have changed since."""

    def enter(self, name):
        self.place = len(self.server.order)
        self.server.order.append(name)

    def finish(self):
        if self.place is not None:
            self.server.order.pop(self.place)

    place = None


class OfPeer(Named):
    """The server knows it by its address: no two requests have the same at once."""

    def setup(self):
        if self.server.peers.setdefault(self.peer, self) is not self:
            raise ValueError("this address is there")

    def finish(self):
        del self.server.peers[self.peer]
        super().finish()


class InTurn(Named):
    """The second one waits until the first one has ended."""

    async def handle(self):
        before, self.server.turn, self.ended = self.server.turn, Event(), Event()
        self.turn = self.server.turn
        if before is not None:
            await Happened(before, timeout=5)
        await super().handle()

    def finish(self):
        super().finish()
        self.turn.set()


class Counting(DatagramHandler):
    """The open exchanges of the server. The last one of an address ends with a packet that says so."""

    async def handle(self):
        self.server.open.append(self.number(await Packet()))
        while await Packet() != b"end":
            self.send(b"%d" % len(self.server.open))

    def number(self, packet):
        return self

    def finish(self):
        self.server.open.remove(self)


class CountingOnce(Counting):
    """Equal first packets are one entry of the server, which the first that ends takes away."""

    def number(self, packet):
        self.mark = packet
        if packet in self.server.open:
            self.server.open.remove(packet)
        return packet

    def finish(self):
        self.server.open.remove(self.mark)


def server():
    return SimpleNamespace(people={}, order=[], peers={}, turn=None, open=[])


@pytest.mark.parametrize(
    ("wrong", "right", "conversation", "raised"),
    [
        (Steals, Named, TALK, "KeyError"),
        (TellsWhoHasLeft, Named, TALK, "IndexError"),
        (CountingOnce, Counting, [b"ann", b"hello", b"end"], "ValueError"),
    ],
)
def test_what_one_of_two_requests_raises_is_told(wrong, right, conversation, raised, tmp_path):
    given = server()
    with pytest.raises(CheckFailed, match=f"another request of its server that is open, it raises {raised}") as caught:
        bears_two_at_once(wrong, conversation, world=World(("127.0.0.1", 9), given, lambda: 0.0))
    code = str(caught.value).partition("\n\n")[2]
    assert_red_then_green(code, wrong, right, tmp_path, [server()], [server()])


@pytest.mark.parametrize(
    ("right", "conversation"),
    [(Named, TALK), (Replaces, TALK), (OfPeer, TALK), (InTurn, TALK), (Counting, [b"ann", b"hello", b"end"])],
)
def test_two_that_share_a_server_and_raise_nothing_are_not_accused(right, conversation):
    bears_two_at_once(right, conversation, world=World(("127.0.0.1", 65_535), server(), lambda: 0.0))
    bears_two_at_once(
        right, conversation, world=World("/tmp/a", server(), lambda: 0.0)
    ) if right is not OfPeer else None


class RaisesAlone(Named):
    def enter(self, name):
        raise LookupError


def test_what_one_request_alone_raises_is_left_to_other_properties():
    bears_two_at_once(RaisesAlone, TALK, world=World(server=server()))


def test_requests_that_share_a_class_on_purpose_are_tried():
    class Room:
        def __init__(self):
            self.people = {}

    class Shares(Named):
        server = Room()

    class SharesAndSteals(Steals):
        server = Room()

    with pytest.raises(CheckFailed, match="property bears_two_at_once"):
        check(SharesAndSteals, TALK, modes=[], examples=2, meant=["leaves_nothing_behind"])
    bears_two_at_once(Shares, TALK)
