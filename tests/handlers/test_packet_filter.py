"""Filters of packets in front of the machine for datagrams, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Cause,
    DatagramHandler,
    DatagramMachine,
    Delay,
    Flushed,
    LimitPassed,
    Packet,
    PacketFilter,
    Reset,
    StreamHandler,
    StreamMachine,
    World,
)
from handlers.filter import Filter, chain
from tests.handlers.packet_filters import Halves, Knock, Xor, xor

packets = st.lists(st.binary(max_size=20), max_size=8)


class Mirror(DatagramHandler):
    """Sends each packet back as it came and in reverse, until ``end`` comes."""

    async def handle(self):
        while (packet := await Packet()) != b"end":
            self.send(packet)
            self.send(packet[::-1])
            await Flushed()


class Swallow(PacketFilter):
    def flow(self, packet):
        """Send nothing."""


class Once(PacketFilter):
    """Takes the first packet for itself, and leaves."""

    def begin(self):
        self.open_until("the first packet")

    def received(self, packet):
        self.put(b"got " + packet)
        self.leave()


class Driver(World):
    """Drives a channel as a row does: what waits for the packet before comes later."""

    def __init__(self, handler, filters=()):
        super().__init__()
        self.channel = chain(DatagramMachine(handler, self), filters)
        self.waiting = []
        self.sent = []

    def feed(self, *packets):
        self.waiting += packets
        for _ in range(100):
            while self.waiting and self.channel.wants_input:
                self.channel.feed(self.waiting.pop(0))
            while self.channel.outbox:
                self.sent.append(self.channel.outbox[0])
                self.channel.sent()
            if self.channel.blocked:
                self.channel.advance()
        return self.sent

    def start(self):
        self.channel.advance()
        return self


def said(handler, filters, fed):
    driver = Driver(handler, filters).start()
    driver.feed(*fed)
    return driver.sent, driver.channel.finished


encoders = {
    Xor: lambda packets: [xor(packet, 0x55) for packet in packets],
    Halves: lambda packets: [
        half for packet in packets for half in (packet[: len(packet) // 2], packet[len(packet) // 2 :])
    ],
    PacketFilter: lambda packets: packets,
}
"""What the peer sends for these packets."""

put = {**encoders, Xor: lambda packets: [xor(packet, 0x33) for packet in packets]}
"""What the filter puts for these packets."""


@given(packets, st.integers(0, 5), st.booleans())
def test_filters_that_pass_everything_on_change_nothing(sent, depth, is_ended):
    fed = [*sent, b"end"] if is_ended else sent
    assert said(Mirror(), [PacketFilter] * depth, fed) == said(Mirror(), [], fed)


@given(packets, st.lists(st.sampled_from(list(encoders)), max_size=4))
def test_filters_that_encode_are_transparent(sent, filters):
    expected, finished = said(Mirror(), [], [*sent, b"end"])
    fed = [*sent, b"end"]
    for kind in reversed(filters):
        fed, expected = encoders[kind](fed), put[kind](expected)
    assert said(Mirror(), filters, fed) == (expected, finished)


@given(packets)
def test_what_is_read_is_what_is_sent(sent):
    driver = Driver(Mirror(), [Halves, Xor]).start()
    read = []
    for packet in encoders[Halves](encoders[Xor](sent)):
        driver.channel.feed(packet)
        read += iter(driver.channel.read, None)
    assert read == said(Mirror(), [Halves, Xor], encoders[Halves](encoders[Xor](sent)))[0]


def test_while_a_filter_opens_its_name_and_its_wait_are_shown_and_packets_are_held():
    driver = Driver(Mirror(), [Xor, Knock]).start()
    channel = driver.channel
    assert (channel.opening, channel.state_name, channel.patience, channel.begun) == (True, "door", 7, False)
    assert repr(channel.wait) == "Opening('a knock', timeout=7)"
    early, knock, end = encoders[Xor]([b"early", b"knock", b"end"])
    assert driver.feed(early) == []
    assert (channel.held_in, channel.opening) == (5, True)
    driver.feed(knock, end)
    assert driver.sent == put[Xor]([b"come in", b"early", b"ylrae", b"bye"])
    assert (channel.finished, channel.reason, channel.complete, channel.held_in) == (True, None, True, 0)


def test_a_filter_that_does_not_open_in_time_ends_the_request_unbegun():
    driver = Driver(Mirror(), [Knock]).start()
    driver.channel.expire()
    assert str(driver.channel.reason) == "timed out in Opening('a knock', timeout=7)"
    assert (driver.channel.begun, driver.feed(b"knock")) == (False, [])


def test_packets_that_are_held_are_bounded():
    driver = Driver(Mirror(), [type("Small", (Knock,), {"limit": 10})]).start()
    driver.feed(*[b"12345"] * 2)
    assert driver.channel.held_in == 10
    driver.feed(b"")  # which weighs one byte
    assert isinstance(driver.channel.reason, LimitPassed)
    assert driver.channel.finished
    assert driver.channel.held_in == 0


def test_packets_are_not_taken_while_the_request_wants_none():
    class Slow(DatagramHandler):
        async def handle(self):
            await Delay(9)
            self.send(await Packet())

    driver = Driver(Slow(), [PacketFilter, Xor]).start()
    driver.feed(b"one", b"two")
    assert driver.waiting == [b"one", b"two"]
    driver.channel.expire()
    assert driver.feed() == [xor(b"one", 0x55 ^ 0x33)]
    assert driver.waiting == [b"two"]


def test_output_that_a_filter_swallows_counts_as_sent():
    driver = Driver(Mirror(), [Swallow]).start()
    driver.feed(b"one", b"two", b"end")
    assert (driver.sent, driver.channel.finished, driver.channel.held_out) == ([], True, 0)


def test_output_is_counted_once():
    channel = Driver(Mirror(), [Halves, PacketFilter]).start().channel
    channel.feed(b"12")
    channel.feed(b"34")
    assert channel.held_out == 8
    channel.sent()
    assert channel.held_out == 6
    channel.drop_output()
    assert channel.held_out == 0


def test_a_filter_leaves():
    driver = Driver(Mirror(), [Once]).start()
    link = driver.channel
    assert driver.feed(b"me", b"ab", b"end") == [b"got me", b"ab", b"ba"]
    assert driver.channel is not link
    assert (link.finished, link.complete, link.wants_input, link.held_in) == (True, True, False, 0)


def test_what_a_filter_raises_ends_the_request():
    class Broken(PacketFilter):
        def received(self, packet):
            raise Reset(OSError("gone")) if packet == b"cause" else ValueError("nonsense")

    driver = Driver(Mirror(), [Broken]).start()
    driver.feed(b"cause")
    assert isinstance(driver.channel.reason, Cause)
    driver = Driver(Mirror(), [PacketFilter, Broken]).start()
    with pytest.raises(ValueError, match="nonsense"):
        driver.feed(b"error")
    assert isinstance(driver.channel.reason, ValueError)


def test_a_costly_step_is_done():
    class Costly(PacketFilter):
        def received(self, packet):
            self.packet = packet
            self.queue_step()

        def step(self):
            self.deliver(self.packet.upper())

    assert Driver(Mirror(), [Costly]).start().feed(b"ab") == [b"AB", b"BA"]


def test_filters_of_the_other_kind_are_refused():
    with pytest.raises(
        TypeError, match="Filter is a filter of streams, and can't be in front of Mirror: take a Packet"
    ):
        chain(DatagramMachine(Mirror()), [Filter])
    with pytest.raises(TypeError, match=r"Xor is a filter of packets, and can't be in front of Stream.*: take a F"):
        chain(StreamMachine(StreamHandler()), [Xor])
