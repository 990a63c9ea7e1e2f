"""Messages that come again with what the server has given out in them: what was begun and ended is not kept."""

import pytest

from handlers import DatagramHandler, Packet, StreamHandler, Until
from reactor.testing import stays_in_bounds_when_repeated
from reactor.testing.running.report import CheckFailed
from tests.support.pasted import assert_red_then_green


class Words(StreamHandler):
    """``begin`` opens a session, ``end`` and its name closes it, of which the handler keeps the name."""

    def setup(self):
        self.last = 0
        self.open, self.closed = set(), set()

    async def handle(self):
        while True:
            words = (await Until(b"\n", limit=80)).split()
            self.send(self.answer(words) + b"\n")

    def answer(self, words):
        if words == [b"begin"] and len(self.open) < 8:
            self.last += 1
            name = b"%04x" % (self.last * 40_503 % 65_536)  # no client can count so
            self.open.add(name)
            return b"session " + name
        if len(words) == 2 and words[0] == b"end" and words[1] in self.open:
            self.open.discard(words[1])
            self.leave(words[1])
            return b"ended " + words[1]
        return b"no"

    def leave(self, name):
        self.closed.add(name)


class WordsRight(Words):
    def leave(self, name):
        pass


class Packets(DatagramHandler):
    """The same with a number of four bytes behind a letter."""

    timeout = 10

    def setup(self):
        self.last = 0
        self.open, self.closed = set(), set()

    async def handle(self):
        while True:
            packet = await Packet()
            number = packet[1:]
            if packet == b"b" and len(self.open) < 8:
                self.last += 1
                self.open.add(self.last.to_bytes(4, "big"))
                self.send(b"s" + self.last.to_bytes(4, "big"))
            elif packet[:1] == b"e" and number in self.open:
                self.open.discard(number)
                self.leave(number)
                self.send(b"e" + number)

    def leave(self, number):
        self.closed.add(number)


class PacketsRight(Packets):
    def leave(self, number):
        pass


CASES = [
    (Words, WordsRight, [b"begin\n", b"end 9e37\n", b"end 9e37\n"]),
    (Packets, PacketsRight, [b"b", b"e\0\0\0\1", b"e\0\0\0\1"]),
]


@pytest.mark.parametrize(("broken", "right", "conversation"), CASES)
def test_what_is_left_of_each_session_is_told_with_a_test(broken, right, conversation, tmp_path):
    with pytest.raises(CheckFailed, match="begins something and ends it") as caught:
        stays_in_bounds_when_repeated(broken, conversation)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], broken, right, tmp_path)


@pytest.mark.parametrize(("_", "right", "conversation"), CASES)
def test_a_handler_that_forgets_its_sessions_passes(_, right, conversation):
    stays_in_bounds_when_repeated(right, conversation)
