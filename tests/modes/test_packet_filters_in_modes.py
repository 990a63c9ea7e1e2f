"""Filters in front of datagram servers, in all four modes: the handler and its client see nothing of them."""

import inspect
import ssl
from functools import partial
from random import Random

import pytest

from handlers import DatagramHandler, DatagramRequestHandler, Packet, PacketFilter, services
from handlers.filter import Filter
from handlers.services import (
    CharGenDatagram,
    DaytimeDatagram,
    DiscardDatagram,
    Echo,
    EchoDatagram,
    TimeDatagram,
)
from reactor import SelectTCPServer, SelectUDPServer, UDPServer
from reactor.rows.filters.chaos import Chaos, PacketChaos
from reactor.rows.filters.tap import OUTPUT_ENDED, RECEIVED, SENT, PacketTap
from reactor.tls import TLSMixIn
from tests.handlers.packet_filters import Halves, Knock, Xor, xor
from tests.support.serving import MODES, PACKETS, exchange, journal_error, peer, serving, stopped_clock, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
every_place = pytest.mark.parametrize("place", ["udp", "unix"])

ANSWERS = {
    EchoDatagram: b"question",
    DaytimeDatagram: b"Thursday, January 1, 1976 00:00:00-UTC\r\n",
    TimeDatagram: (2_398_291_200).to_bytes(4, "big"),
    CharGenDatagram: services._PATTERN[: 189_302_400_250_000 % 513],
}
"""The answer of each handler to ``question``, at the time of `stopped_clock`."""


class Pair(DatagramHandler):
    """Answers two packets with one."""

    async def handle(self):
        self.send(await Packet() + await Packet())


def asked(server, question, tries=200):
    """The answer to a question that is repeated until there is one."""
    with peer(server) as client:
        client.settimeout(0.05)
        for _ in range(tries):
            client.send(question)
            try:
                return client.recv(1 << 16)
            except TimeoutError:
                pass
    raise AssertionError("no answer")


def test_every_datagram_handler_is_covered():
    found = {
        kind
        for _, kind in inspect.getmembers(services, inspect.isclass)
        if issubclass(kind, DatagramHandler) and kind is not DatagramHandler
    }
    assert found == {*ANSWERS, DiscardDatagram}


@pytest.mark.slow
@every_mode
@every_place
@pytest.mark.parametrize("handler", ANSWERS)
def test_a_client_that_repeats_its_question_is_answered_through_chaos(mode, place, handler, journal):
    dice = Random(7)
    members = {"handle_error": journal_error, "journal": journal}
    members["filters"] = [
        partial(PacketChaos, seed=dice),
        partial(PacketTap, tell=lambda *told: None),
        partial(PacketChaos, seed=dice),
    ]
    with stopped_clock() as reactor, serving(handler, mode, PACKETS[place], reactor=reactor, **members) as server:
        for _ in range(5):
            assert asked(server, b"question") == ANSWERS[handler]
    assert journal.lines() == []


@every_mode
@every_place
@pytest.mark.parametrize("handler", [*ANSWERS, DiscardDatagram])
def test_a_tap_tells_of_each_packet(mode, place, handler, journal):
    def tell(tap, now, what, packet):
        tap.driver.server.journal.write(what, len(packet))

    members = {"filters": [partial(PacketTap, tell=tell)], "journal": journal}
    answer = ANSWERS.get(handler)
    with stopped_clock() as reactor, serving(handler, mode, PACKETS[place], reactor=reactor, **members) as server:
        with peer(server) as client:
            client.send(b"question")
            if answer is not None:
                assert client.recv(1 << 16) == answer
        told = [f"{RECEIVED} 8", *([] if answer is None else [f"{SENT} {len(answer)}"]), f"{OUTPUT_ENDED} 0"]
        assert journal.wait_for(len(told)) == told


@every_mode
@every_place
def test_a_filter_changes_what_is_on_the_wire(mode, place):
    with serving(EchoDatagram, mode, PACKETS[place], filters=[PacketFilter, Xor, PacketFilter]) as server:
        assert exchange(server, b"one", b"two") == [xor(packet, 0x55 ^ 0x33) for packet in (b"one", b"two")]
    with serving(DaytimeDatagram, mode, PACKETS[place], filters=[Xor]) as server:
        assert xor(exchange(server, b"?")[0], 0x33).endswith(b"-UTC\r\n")


@every_mode
@every_place
def test_one_packet_is_many_on_the_wire(mode, place):
    with (
        serving(Pair, mode, PACKETS[place], filters=[PacketFilter, Halves]) as server,
        peer(server) as client,
    ):
        for packet in b"a", b"bc", b"d", b"ef":
            client.send(packet)
        assert [client.recv(100), client.recv(100)] == [b"abc", b"def"]


@every_mode
@every_place
def test_packets_wait_until_a_filter_has_opened(mode, place):
    with serving(Pair, mode, PACKETS[place], filters=[Knock]) as server, peer(server) as client:
        for packet in b"early", b"knock", b"late":
            client.send(packet)
        assert [client.recv(100) for _ in range(3)] == [b"come in", b"earlylate", b"bye"]


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])
@every_place
def test_the_table_shows_the_filter_that_opens(mode, place):
    with serving(Pair, mode, PACKETS[place], filters=[Knock]) as server, peer(server) as client:
        client.send(b"early")
        wait_until(lambda: [row for row in server.reactor.table if row.held_in == 5 and row.stage.value == "opening"])
        [row] = server.reactor.table.as_dicts()
        assert (row["state"], row["wait"]) == ("door", "Opening('a knock', timeout=7)")
        assert 0 < row["deadline"] <= 7
        client.send(b"knock")
        assert client.recv(100) == b"come in"
        wait_until(lambda: [row for row in server.reactor.table if row.stage.value == "serving"])
        client.send(b"late")
        assert [client.recv(100), client.recv(100)] == [b"earlylate", b"bye"]
        wait_until(lambda: not server.reactor.table)


class Hasty(Knock):
    def begin(self):
        self.open_until("a knock", timeout=0.05)


@every_mode
@every_place
def test_a_filter_that_does_not_open_in_time_ends_the_request(mode, place, journal):
    members = {"filters": [Hasty], "handle_error": journal_error, "journal": journal}
    with serving(Pair, mode, PACKETS[place], **members) as server, peer(server) as client:
        client.send(b"early")
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        assert row["reason"].startswith("TimedOut: timed out in Opening('a knock', timeout=0.05)")
    assert journal.lines() == []


@every_mode
@every_place
def test_what_a_filter_raises_is_an_error_of_its_request(mode, place, journal):
    class Picky(PacketFilter):
        def received(self, packet):
            if packet == b"bad":
                raise ValueError("a bad packet")
            self.deliver(packet)

    members = {"filters": [Picky], "handle_error": journal_error, "journal": journal}
    with serving(EchoDatagram, mode, PACKETS[place], **members) as server, peer(server) as client:
        client.send(b"bad")
        assert journal.wait_for(1) == ["handle_error ValueError a bad packet"]
        assert exchange(server, b"good") == [b"good"]


@every_mode
def test_output_past_its_bound_ends_the_request(mode):
    class Flood(PacketFilter):
        def flow(self, packet):
            for _ in range(64):
                self.put(packet * 16_000)

    class Bounded(EchoDatagram):
        max_output = 10_000

    with serving(Bounded, mode, PACKETS["unix"], filters=[Flood]) as server, peer(server) as client:
        client.send(b"x")
        wait_until(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        assert row["reason"].startswith("LimitPassed")


# What is refused


@pytest.mark.parametrize("kind", [UDPServer, SelectUDPServer])
@pytest.mark.parametrize("make", [Chaos, partial(Chaos, seed=1)])
def test_a_stream_filter_in_front_of_a_datagram_server_is_refused(kind, make):
    filtered = type("Filtered", (kind,), {"filters": (make,)})
    remedy = (
        "Chaos is a filter of streams, but Filtered has datagram sockets: take a PacketFilter, or a server of streams"
    )
    with pytest.raises(TypeError, match=remedy):
        filtered(("127.0.0.1", 0), EchoDatagram)


def test_tls_in_front_of_a_datagram_server_is_refused():
    secure = type("Secure", (TLSMixIn, SelectUDPServer), {})
    with pytest.raises(TypeError, match="TLS is a filter of streams, but Secure has datagram sockets"):
        secure(("127.0.0.1", 0), EchoDatagram, context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_a_packet_filter_in_front_of_a_stream_server_is_refused():
    filtered = type("Filtered", (SelectTCPServer,), {"filters": (Xor,)})
    with pytest.raises(TypeError, match="Xor is a filter of packets, but Filtered has stream sockets: take a Filter"):
        filtered(("127.0.0.1", 0), Echo)


@every_mode
def test_a_filter_of_a_kind_that_is_not_known_before_is_refused_with_its_request(mode, journal):
    members = {"filters": [lambda inner: Filter(inner)], "handle_error": journal_error, "journal": journal}
    with serving(EchoDatagram, mode, PACKETS["udp"], **members) as server, peer(server) as client:
        client.send(b"x")
        expected = "Filter is a filter of streams, and can't be in front of EchoDatagram: take a PacketFilter"
        assert journal.wait_for(1) == [f"handle_error TypeError {expected}"]


@pytest.mark.parametrize("kind", [UDPServer, SelectUDPServer])
def test_a_blocking_handler_of_datagrams_behind_a_filter_is_refused(kind):
    filtered = type("Filtered", (kind,), {"filters": (Xor,)})
    with pytest.raises(TypeError, match=r"has the filter Xor, which a blocking handler .* serve a DatagramHandler"):
        filtered(("127.0.0.1", 0), DatagramRequestHandler)
