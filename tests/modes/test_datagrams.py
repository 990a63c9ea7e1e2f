"""The same datagram handlers in all four modes, over every kind of datagram socket: the same answers."""

from typing import NamedTuple

import pytest

from handlers import Connected, DatagramHandler, Delay, Failed, Forked, Packet, StreamHandler, Threaded, ToEnd
from handlers.services import CharGenDatagram, DaytimeDatagram, DiscardDatagram, EchoDatagram, TimeDatagram
from tests.support.grids import grid
from tests.support.packets import Bare, Pair, Shout, Slow, Upload
from tests.support.resources import resources
from tests.support.serving import MODES, PACKETS, exchange, journal_error, peer, serving, stopped_clock, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
every_place = pytest.mark.parametrize("place", PACKETS)
UDP = PACKETS["udp"]


class Outside(DatagramHandler):
    """Has work done in a child and in a thread; some of it fails."""

    async def handle(self):
        number = int(await Packet())
        for kind in Forked, Threaded:
            self.send(b"%d" % await kind(pow, number, 3))
            try:
                await kind(divmod, number, 0)
            except Failed as failed:
                self.send(type(failed.error).__name__.encode())


class Relay(DatagramHandler):
    """Sends the packet to a stream service and answers with its answer."""

    async def handle(self):
        asking = Asking(await Packet())
        await Connected(self.server.upstream, asking)
        while asking.answer is None:
            await Delay(0.001)
        self.send(asking.answer)


class Asking(StreamHandler):
    answer = None

    def __init__(self, question):
        self.question = question

    async def handle(self):
        self.send(self.question)
        self.send_eof()
        self.answer = await ToEnd()


class Unasked(DatagramHandler):
    """Answers without taking the packet."""

    def handle(self):
        self.send(b"yes?")


class Case(NamedTuple):
    """The packets that a peer sends one after the other, and the answers to each."""

    handler: type
    turns: list[tuple[bytes, list[bytes]]]


LARGE = bytes(range(256)) * 250  # nearly the maximum of UDP

CASES = [
    Case(EchoDatagram, [(b"hello", [b"hello"]), (b"", [b""]), (LARGE, [LARGE])]),
    Case(DaytimeDatagram, [(b"", [b"Thursday, January 1, 1976 00:00:00-UTC\r\n"])] * 2),
    Case(TimeDatagram, [(b"?", [(2_398_291_200).to_bytes(4, "big")])] * 2),  # RFC 868's own example
    Case(Pair, [(b"a", []), (b"b", [b"ab"]), (b"", []), (b"", [b""]), (b"c", []), (LARGE, [b"c" + LARGE])]),
    Case(Upload, [(b"2", [b"go on"]), (b"ab", [b"2"]), (b"c", [b"3", b"abc"]), (b"0", [b"go on", b""])]),
    Case(Slow, [(b"a", [b"a"]), (b"b", [b"b"])]),
    Case(Outside, [(b"7", [b"343", b"ZeroDivisionError"] * 2)] * 2),
    Case(Relay, [(b"hello", [b"hello"]), (LARGE, [LARGE])]),
    Case(Shout, [(b"hello", [b"HELLO"]), (b"", [b""]), (b"x" * 8_192, [b"X" * 8_192])]),
    Case(Bare, [(b"hello", [b"HELLO"]), (b"", [b""])]),
    Case(Unasked, [(b"", [b"yes?"]), (b"hello", [b"yes?"]), (b"", [b"yes?"])]),
]


def assert_silent(client):
    """No other packet has come for ``client``, which had an answer or whose exchange has ended."""
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(65_536)


@grid(mode=MODES, place=PACKETS, case=CASES)
def test_a_handler_gives_the_same_answers(mode, place, case, journal, upstream):
    members = {"handle_error": journal_error, "journal": journal, "upstream": upstream}
    with (
        stopped_clock() as reactor,
        serving(case.handler, mode, PACKETS[place], reactor=reactor, **members) as server,
        peer(server) as client,
    ):
        for packet, answers in case.turns:
            client.send(packet)
            for answer in answers:
                assert client.recv(65_536) == answer
        wait_until(lambda: not server.reactor.table)
        assert_silent(client)
    assert journal.lines() == []


@every_mode
def test_chargen_answers_with_a_part_of_its_pattern(mode):
    lines = b"".join(bytes(0x20 + (first + n) % 95 for n in range(72)) + b"\r\n" for first in range(8))
    with serving(CharGenDatagram, mode, UDP) as server:
        for answer in exchange(server, b"", b"", b""):
            assert len(answer) <= 512
            assert lines.startswith(answer)


@every_mode
@every_place
def test_discard_takes_packets_and_sends_nothing(mode, place, journal):
    class Noted(DiscardDatagram):
        def finish(self):
            journal.write("discarded")

    with serving(Noted, mode, PACKETS[place]) as server, peer(server) as client:
        client.send(b"x")
        client.send(b"")
        journal.wait_for(2)
        assert_silent(client)


@pytest.mark.slow
@every_mode
def test_a_server_leaves_nothing_behind(mode, upstream):
    before = resources()
    for case in CASES:
        if case.handler in (DaytimeDatagram, TimeDatagram):
            continue  # these need a stopped clock
        with serving(case.handler, mode, UDP, upstream=upstream) as server, peer(server) as client:
            for packet, answers in case.turns:
                client.send(packet)
                assert [client.recv(65_536) for _ in answers] == answers
            wait_until(lambda: not server.reactor.table)
    wait_until(lambda: resources() == before, f"the end of all but {before}")
