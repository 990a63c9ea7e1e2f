"""`play`: what a handler gets of a schedule, and when."""

from hypothesis import given
from hypothesis import strategies as st

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    EndOfStream,
    Exactly,
    Failed,
    Forked,
    Packet,
    Reset,
    Some,
    StreamHandler,
    TimedOut,
    World,
    services,
)
from reactor.testing.running.run import play
from reactor.testing.running.schedule import END, RESET, Take
from tests.support.pairs import broken


class Slow(StreamHandler):
    async def handle(self):
        while True:
            data = await Some()
            await Delay(2)
            self.send(data)


def test_input_waits_until_the_handler_wants_it():
    run = play(Slow, [b"one", b"two", 1.0, Take(9)])
    assert (run.output, run.fed, run.finished) == (b"onetwo", 6, False)
    assert run.code().splitlines() == [
        "machine = StreamMachine(Slow())",
        "machine.feed(b'one')",
        "machine.expire()",
        "machine.feed(b'two')",
        "machine.expire()",
    ]


def test_time_that_passes_ends_a_wait_only_when_it_is_over():
    class Patient(StreamHandler):
        timeout = 10

        def handle(self):
            return Exactly(4), self.handle

    assert not play(Patient, [b"ab", 6.0, b"c", 3.0]).finished
    run = play(Patient, [b"ab", 6.0, b"c", 5.0])
    assert isinstance(run.reason, TimedOut)


def test_the_end_and_a_reset_come_after_the_bytes_before_them():
    assert isinstance(play(broken.Mended, [b"one\ntw", END]).reason, EndOfStream)
    run = play(broken.Mended, [b"one\n", RESET])
    assert isinstance(run.reason, Reset)
    assert run.output == b""  # no peer is left to send to


@given(st.lists(st.integers(0, 5).map(Take), max_size=6))
def test_the_output_does_not_depend_on_how_it_is_taken(takes):
    assert play(services.Echo, [b"hello", *takes, b", world"]).output == b"hello, world"


def test_output_past_the_high_water_mark_stops_the_input_until_it_is_taken():
    class Narrow(services.Echo):
        high_water, low_water = 4, 2

    run = play(Narrow, [b"123456", b"78", Take(3), Take(1), END])
    assert (run.output, run.finished) == (b"12345678", True)
    assert "machine.read(3)" in run.code()


def test_outside_work_is_done_at_once_and_connections_fail():
    class Outside(StreamHandler):
        async def handle(self):
            self.send(b"%d " % await Forked(pow, 2, 10))
            try:
                await Forked(divmod, 1, 0)
            except Failed as failed:
                self.send(b"%r " % type(failed.error))
            await Connected(("127.0.0.1", 9), services.Echo())

    run = play(Outside, [])
    assert run.output == b"1024 <class 'ZeroDivisionError'> "
    assert isinstance(run.reason, Failed)
    assert isinstance(run.reason.error, OSError)


def test_each_packet_begins_an_exchange_unless_one_is_open():
    class Pair(DatagramHandler):
        async def handle(self):
            self.send(await Packet() + await Packet())

    assert play(Pair, [b"a", b"b", b"c"]).output == [b"ab"]
    assert play(services.EchoDatagram, [b"a", b"", b"c"]).output == [b"a", b"", b"c"]


def test_a_handler_that_never_stops_sending_is_stopped():
    run = play(services.CharGen, [b"ignored", END])
    assert run.endless
    assert len(run.output) > 100_000
    assert run.fed == 0


def test_the_world_is_the_argument_and_is_printed_if_it_was_used():
    run = play(services.Daytime, [], World(now=lambda: 383_276_263.0))
    assert run.output == b"Tuesday, February 23, 1982 01:37:43-UTC\r\n"
    assert run.code().startswith("machine = StreamMachine(Daytime(), World(now=lambda: 383276263.0))\n")


def test_a_handler_gets_the_credentials_and_descriptors_of_its_world():
    class Knows(StreamHandler):
        max_descriptors = 1

        def handle(self):
            self.send(b"%d" % self.credentials[1])
            self.send_descriptors(b"!", self.descriptors)

    world = World(credentials=(1, 2, 3), descriptors=[0])
    run = play(Knows, [], world)
    assert (run.error, run.output, world.passed) == (None, b"2!", [0])
    assert run.code().startswith("machine = StreamMachine(Knows(), World(credentials=(1, 2, 3)))\n")


def test_an_exchange_that_ends_before_it_takes_its_packet_ends_the_run():
    class Deaf(DatagramHandler):
        def handle(self):
            return None

    assert play(Deaf, [b"one"]).fed == 0
