"""The machine for datagrams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramHandler, DatagramMachine, Flushed, Forked, Packet, StreamMachine, Until
from tests.support.strategies import Driver, Echo, Packets, States, somewhere, spellings

spelling = pytest.mark.parametrize("spelling", spellings)


def test_packets_keep_their_boundaries():
    class Twice(DatagramHandler):
        async def handle(self):
            while packet := await Packet():
                self.send(packet)
                self.send(packet + packet)

    machine = DatagramMachine(Twice(), driver := Driver())
    assert machine.feed(b"a")
    assert machine.feed(b"bc")
    assert (machine.held_in, machine.held_out, machine.wants_input, driver.touches) == (0, 9, True, 0)
    machine.handler.send(b"from another row")
    assert driver.touches == 1
    assert machine.feed(b"")
    assert (machine.finished, machine.reason) == (True, None)
    assert not machine.feed(b"late")
    assert machine.held_in == 0
    machine.handler.send(b"too late")
    assert list(iter(machine.read, None)) == [b"a", b"aa", b"bc", b"bcbc", b"from another row"]
    assert driver.touches == 1


def test_packets_are_held_until_a_wait_takes_them_and_the_excess_is_dropped():
    machine = DatagramMachine(Packets(Forked(len), *[Packet()] * 99))
    taken = [machine.feed(b"%d" % number) for number in range(99)]
    assert taken == [True] * 64 + [False] * 35
    assert machine.held_in == len(b"".join(b"%d" % number for number in range(64)))
    machine.resume(None)
    assert machine.handler.seen == [None, *(b"%d" % number for number in range(64))]
    assert machine.feed(b"again")


@given(st.lists(st.one_of(st.binary(max_size=6), st.none()), max_size=40))
def test_packets_have_water_marks_too(turns):
    """Bytes are a packet that is fed, ``None`` is a packet that the peer takes."""

    class Packetwise(DatagramHandler):
        high_water, low_water = Echo.high_water, Echo.low_water

        def handle(self):
            return Packet(), self.echo

        def echo(self, packet):
            self.send(packet)
            return self.handle()

    machine = DatagramMachine(Packetwise())
    read = [machine.read() if turn is None else machine.feed(turn) and None for turn in turns]
    assert machine.held_out <= Echo.high_water + 6
    assert machine.blocked or not machine.held_in
    assert [packet for packet in read if packet is not None] + list(iter(machine.read, None)) == [
        packet for packet in turns if packet is not None
    ]


def test_flushed_waits_until_the_packets_have_been_sent():
    class Sending(Packets):
        def setup(self):
            self.send(b"a")
            self.send(b"b")

    machine = DatagramMachine(Sending(Flushed(), Packet()))
    machine.advance()
    follower = StreamMachine(States(Flushed(of=machine.handler)), driver := Driver())
    follower.advance()
    assert machine.read() == b"a"
    assert (machine.handler.seen, driver.touches) == ([], 0)
    assert machine.read() == b"b"
    assert (machine.handler.seen, driver.touches) == ([None], 1)
    assert machine.read() is None


def test_stream_waits_are_refused_in_a_datagram_handler():
    class Wrong(DatagramHandler):
        def handle(self):
            return Until(b"\n"), somewhere

    with pytest.raises(TypeError, match=r"^Wrong\.handle waits for Until.*a DatagramMachine has not: Packet, Flushed"):
        DatagramMachine(Wrong()).advance()
