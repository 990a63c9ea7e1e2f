"""`has_a_key_for_any_packet`: a server calls `DatagramHandler.key` with every packet that comes."""

from functools import partial

import pytest

from handlers import DatagramHandler, DatagramRequestHandler, Packet
from handlers.duplicates import NoDuplicates
from reactor.testing import has_a_key_for_any_packet
from reactor.testing.running.report import CheckFailed
from tests.support.pasted import assert_red_then_green

QUESTIONS = [b"\0\1name.example", b"\0\2other.example"]


class Answers(DatagramHandler):
    async def handle(self):
        self.send(await Packet())


class FirstTwo(Answers):
    @staticmethod
    def key(packet):
        return packet[:2]


class Decodes(Answers):
    """A byte that is no UTF-8 raises."""

    @staticmethod
    def key(packet):
        return packet[2:].decode()


class Lists(Answers):
    """A list can't be hashed, and an empty packet has no such key."""

    @staticmethod
    def key(packet):
        return [packet[0]] if packet[2:] else None


class Searches(Answers):
    """It looks for a byte that may be missing."""

    @staticmethod
    def key(packet):
        at = 0
        while packet and packet[at % len(packet)] != ord("e"):
            at += 1
        return at


class OfInstance(Answers):
    """It is a method of an instance, and the server has none when it asks."""

    def key(self, packet):
        return packet[:2]


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (Decodes, r"its key of the packet b'.*' raises UnicodeDecodeError: "),
        (Lists, r"its key of the packet b'\\x00\\x01n' raises TypeError: unhashable type: 'list'"),
        (Searches, r"its key of the packet b'.*' does not return"),
        (OfInstance, r"its key of the packet b'' raises TypeError: .* missing 1 required positional argument"),
    ],
)
def test_a_key_that_some_packet_has_not_is_told(kind, told, tmp_path):
    with pytest.raises(CheckFailed, match=told) as caught:
        has_a_key_for_any_packet(kind, QUESTIONS)
    assert_red_then_green(str(caught.value).partition("\n\n")[2], kind, FirstTwo, tmp_path)


class Dropping(NoDuplicates, Answers):
    pass


class SizedKey(FirstTwo):
    """A handler with an argument, whose key is ``None`` where a packet has no number."""

    def __init__(self, size):
        self.size = size

    @classmethod
    def key(cls, packet):
        return (cls, int.from_bytes(packet[:2], "big")) if len(packet) >= 2 else None


class Blocking(DatagramRequestHandler):
    request = Packet()
    key = None  # no method of the server's

    def handle(self):
        self.wfile.write(self.rfile.read())


@pytest.mark.parametrize("kind", [Answers, Dropping, partial(SizedKey, 9), Blocking])
def test_a_right_handler_is_not_accused(kind):
    has_a_key_for_any_packet(kind, QUESTIONS)
    has_a_key_for_any_packet(kind, [])
