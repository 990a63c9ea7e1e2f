"""The output of a machine: whole, in order, and bounded by its water marks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Cancelled,
    DatagramHandler,
    DatagramMachine,
    Exactly,
    Flushed,
    LimitPassed,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    Until,
)
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
def test_past_the_high_water_mark_a_machine_takes_no_input_until_the_low_water_mark(turns):
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


# Past max_output


class Verbose(StreamHandler):
    """Sends pieces of ten bytes, as many as it is told, in one state; ``causes`` are those that it was told of."""

    max_output = 100

    def __init__(self):
        self.causes = []

    async def handle(self):
        while True:
            for number in range(int(await Until(b"\n"))):
                self.send(b"%09d\n" % number)

    def interrupted(self, cause):
        self.causes.append(cause)
        self.send(b"never sent")


def test_output_past_max_output_is_dropped_as_it_is_written_and_ends_the_request():
    held = []

    class Watched(Verbose):
        def send(self, data):
            super().send(data)
            held.append(self._machine.held_out)

    machine = StreamMachine(handler := Watched())
    machine.feed(b"10\n")
    assert (len(machine.read()), machine.finished) == (100, False)
    machine.feed(b"5000\n3\n")
    assert max(held) == 100
    assert machine.finished
    assert machine.reason is handler.causes[0]
    assert str(machine.reason) == "more output waits than the 100 bytes of Watched.max_output"
    assert machine.read() == b"".join(b"%09d\n" % number for number in range(10))


def test_output_past_max_output_of_another_request_ends_it_when_it_is_advanced_and_raises_nothing():
    driver = Driver()
    machine = StreamMachine(handler := Verbose(), driver)
    machine.advance()
    touches = driver.touches
    for _ in range(1000):
        handler.send(b"0123456789")
    assert machine.held_out == 100
    assert (machine.finished, machine.blocked, machine.wants_input) == (False, True, False)
    assert driver.touches == touches + 11  # no more is written, so nobody has to look
    machine.advance()
    assert (machine.finished, handler.causes) == (True, [machine.reason])


def test_output_past_max_output_in_finish_is_the_reason_of_the_request():
    class Last(Verbose):
        async def handle(self):
            await Until(b"\n")

        def finish(self):
            self.send(bytes(101))

    machine = StreamMachine(Last())
    machine.feed(b"\n")
    assert (machine.finished, type(machine.reason), machine.held_out) == (True, LimitPassed, 100)


def test_packets_past_max_output_are_dropped_whole():
    class Packets(DatagramHandler):
        max_output = 100

        async def handle(self):
            await Packet()
            for _ in range(1000):
                self.send(bytes(30))

    machine = DatagramMachine(Packets())
    machine.feed(b"go")
    assert (machine.finished, type(machine.reason), machine.held_out) == (True, LimitPassed, 90)
    assert [machine.read() for _ in range(4)] == [bytes(30)] * 3 + [None]


# Waiting for the output of another


def followers(count):
    """A machine with output, and so many others that wait for that to drain and then write to it."""

    class Follower(StreamHandler):
        done = False

        async def handle(self):
            await Flushed(hub, timeout=5)
            self.done = True
            hub.send(b"x" * 100)
            await Until(b"\n")

    hub = Verbose()
    source = StreamMachine(hub)
    source.feed(b"1\n")
    hub.max_output = 1 << 30
    drivers = [Driver() for _ in range(count)]
    machines = [StreamMachine(Follower(), driver) for driver in drivers]
    for machine in machines:
        machine.advance()
    return source, machines, drivers


def test_one_drain_satisfies_all_that_wait_for_it_though_the_first_of_them_writes_again():
    source, machines, drivers = followers(100)
    source.read()
    assert [driver.touches for driver in drivers] == [1] * 100
    for machine in machines:
        machine.advance()
    assert all(machine.handler.done for machine in machines)
    assert source.held_out == 100 * 100


@pytest.mark.parametrize("give_up", [StreamMachine.expire, StreamMachine.close, lambda one: one.lose(Cancelled())])
def test_a_request_that_waits_no_more_for_the_output_of_another_is_forgotten_there(give_up):
    source, machines, drivers = followers(3)
    touches = [driver.touches for driver in drivers]
    for machine in machines[:2]:
        give_up(machine)
    assert set(source.followers) == {machines[2]}
    source.read()
    assert [driver.touches for driver in drivers][2] == touches[2] + 1
