"""The output of a machine: whole, in order, and bounded by its water marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import Cancelled, DatagramMachine, Exactly, Packet, Some, StreamMachine
from tests.support.strategies import Driver, Echo, Logged, Packets, States, spellings

spelling = pytest.mark.parametrize("spelling", spellings)
ending = pytest.mark.parametrize("end", [StreamMachine.close, lambda machine: machine.abandon(Cancelled())])


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(0, 5), max_size=40))
def test_output_is_whole_and_in_order_however_it_is_read(sent, counts):
    machine = StreamMachine(States(Some()))
    machine.advance()
    for data in sent:
        machine.handler.send(data)
    assert machine.held_out == sum(map(len, sent))
    read = b"".join(machine.read(count) for count in counts)
    assert read + machine.read() == b"".join(sent)
    assert machine.held_out == 0


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=6), st.integers(0, 6))))
def test_past_the_high_water_mark_it_takes_no_input_until_the_low_water_mark(turns):
    """Bytes are fed, a number is how many bytes the peer reads; the model is a plain queue."""
    machine = StreamMachine(Echo())
    fed = read = b""
    held_in = held_out = 0
    full = False
    machine.advance()
    for turn in turns:
        if isinstance(turn, bytes):
            machine.feed(turn)
            fed, held_in = fed + turn, held_in + len(turn)
        else:
            read += machine.read(turn)
            held_out = max(0, held_out - turn)
        full = full and held_out > Echo.low_water
        while held_in and not full:
            held_in, held_out = held_in - 1, held_out + 1
            full = held_out > Echo.high_water
        assert (machine.held_in, machine.held_out) == (held_in, held_out)
        assert machine.blocked == full == (not machine.wants_input)
    assert read + b"".join(iter(machine.read, b"")) == fed


def test_the_water_marks_have_defaults():
    assert (Logged.high_water, Logged.low_water, Logged.max_output) == (64 << 10, 16 << 10, 16 << 20)


def test_the_end_of_the_stream_waits_for_input_that_waits_for_output():
    machine = StreamMachine(Echo())
    machine.feed(b"0123456789")
    machine.end()
    assert not machine.finished
    assert machine.read() + machine.read() == b"0123456789"
    assert (machine.finished, machine.reason) == (True, None)


def test_send_takes_a_copy():
    machine = StreamMachine(States(Some()))
    data = bytearray(b"abc")
    for kind in bytearray, memoryview, bytes:
        machine.handler.send(kind(data))
    data[:] = b"xyz"
    assert machine.read() == b"abcabcabc"


@pytest.mark.parametrize("kind", [lambda: StreamMachine(States(Some())), lambda: DatagramMachine(Packets(Packet()))])
@pytest.mark.parametrize("before", [b"", b"a"])
@pytest.mark.parametrize("data", [3, None, "text"], ids=repr)
def test_send_refuses_what_is_not_bytes(kind, before, data):
    machine = kind()
    machine.advance()
    if before:
        machine.handler.send(before)
    with pytest.raises(TypeError):
        machine.handler.send(data)
    assert not machine.finished


def test_after_send_eof_input_goes_on_and_output_is_dropped():
    machine = StreamMachine(Echo(), driver := Driver())
    machine.feed(b"ab")
    assert (machine.output, driver.touches) == ("open", 0)
    machine.handler.send_eof()
    assert (machine.output, driver.touches) == ("ending", 1)
    machine.feed(b"cd")
    machine.handler.send(b"dropped")
    assert (machine.finished, machine.held_in, machine.read()) == (False, 0, b"ab")
    machine.output = "ended"  # the driver calls it when the half-close has been sent
    machine.handler.send_eof()
    assert machine.output == "ended"


def test_send_eof_within_a_state_does_not_touch_the_driver():
    class Once(Echo):
        def echo(self, data):
            self.send(data)
            self.send_eof()
            return Exactly(1), self.echo

    machine = StreamMachine(Once(), driver := Driver())
    machine.feed(b"ab")
    assert (machine.read(), machine.output, driver.touches) == (b"a", "ending", 0)


def test_output_is_dropped_when_the_driver_says_that_it_can_not_be_sent():
    machine = StreamMachine(Echo())
    machine.feed(b"ab")
    machine.drop_output()
    assert (machine.held_out, machine.read()) == (0, b"")
