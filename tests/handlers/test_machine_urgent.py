"""Urgent data in a machine: its place in the stream, and what `urgent` may return or raise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import Cancelled, Delay, Exactly, StreamMachine, Until
from tests.support.strategies import Logged, cuts
from tests.support.urgent import Lines, Resting

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")


def halves(text):
    """The lines of ``text``, and what is left."""
    *whole, rest = text.split(b"\n")
    return [line + b"\n" for line in whole], rest


streams = st.lists(
    st.tuples(st.text("ab\n", max_size=9).map(str.encode), st.binary(min_size=1, max_size=1)), max_size=5
)
"""Pairs of bytes and the urgent byte behind them."""


@pytest.mark.slow
@given(streams, st.data())
def test_urgent_data_keeps_its_place_however_the_stream_is_cut(stream, data):
    machine, model, unfinished = StreamMachine(Lines()), ["setup"], b""
    for ordinary, one in stream:
        for piece in data.draw(cuts(ordinary)):
            machine.feed(piece)
        machine.urgent(one)
        whole, unfinished = halves(unfinished + ordinary)
        model += [*whole, (one, len(unfinished))]
    machine.advance()
    assert machine.handler.log == model
    assert machine.held_in == len(unfinished)


def test_bytes_before_the_urgent_data_are_held_until_the_handler_has_it():
    machine = StreamMachine(Lines())
    machine.feed(b"a")
    machine.urgent(b"!", before=b"b\nc\n")
    assert machine.handler.log == ["setup", (b"!", 5), b"ab\n", b"c\n"]


def test_the_handler_may_drop_the_bytes_held():
    class Forgetful(Lines):
        def urgent(self, data):
            self.log.append(self.take_held())

    machine = StreamMachine(Forgetful())
    machine.feed(b"one\ntw")
    machine.urgent(b"!", before=b"o\nthr")
    machine.urgent(b"!")
    machine.feed(b"four\n")
    assert machine.handler.log == ["setup", b"one\n", b"two\nthr", b"", b"four\n"]


def test_the_handler_may_put_urgent_data_into_the_stream():
    class Inline(Lines):
        def urgent(self, data):
            self.put_back(self.take_held() + data)

    machine = StreamMachine(Inline())
    machine.feed(b"one\ntw")
    machine.urgent(b"o", before=b"-")
    machine.urgent(b"-")
    machine.feed(b"three\n")
    assert machine.handler.log == ["setup", b"one\n", b"tw-o-three\n"]


def test_bytes_put_back_come_first():
    class Doubling(Lines):
        def urgent(self, data):
            self.put_back(data)

    machine = StreamMachine(Doubling())
    machine.feed(b"one")
    machine.urgent(b"\n", before=b"\n")
    assert machine.handler.log == ["setup", b"\n", b"one\n"]


def test_the_wait_goes_on_and_so_does_its_timeout():
    machine = StreamMachine(Lines())
    machine.advance()
    wait, machine.fresh = machine.wait, False
    machine.urgent(b"!")
    assert machine.wait is wait
    assert not machine.fresh


class Stepping(Logged):
    """Urgent data begins another state; the coroutine that it ends cleans up."""

    step = Exactly(2)

    def handle(self):
        self.talk = self.talking()
        return self.talk

    async def talking(self):
        try:
            self.log.append(await Until(b"\n"))
        finally:
            self.log.append("tidied")

    def urgent(self, data):
        return self.step, self.log.append


def test_a_step_that_urgent_returns_replaces_the_wait():
    machine = StreamMachine(Stepping())
    machine.feed(b"a")
    machine.fresh = False
    machine.urgent(b"!")
    assert (machine.wait, machine.fresh) == (Exactly(2), True)
    machine.feed(b"b\n")
    assert machine.handler.log == ["setup", "tidied", b"ab", "finish"]
    assert (machine.finished, machine.reason) == (True, None)


def test_the_new_wait_may_be_satisfied_by_the_bytes_held():
    machine = StreamMachine(Stepping())
    machine.urgent(b"!", before=b"ab\n")
    assert machine.handler.log == ["setup", "tidied", b"ab", "finish"]


def test_the_new_wait_may_be_satisfied_by_bytes_that_the_old_wait_has_searched():
    machine = StreamMachine(Stepping())
    machine.handler.step = Until(b"a")
    machine.feed(b"abc")
    machine.urgent(b"!")
    assert machine.handler.log == ["setup", "tidied", b"a", "finish"]


@pytest.mark.parametrize("kind", [Lines, Stepping])
def test_a_cause_that_urgent_raises_ends_the_wait(kind):
    class Ending(kind):
        def urgent(self, data):
            raise Cancelled("by the peer")

    machine = StreamMachine(Ending())
    machine.urgent(b"!")
    assert machine.finished
    assert str(machine.reason) == "by the peer"
    assert (Cancelled, None) in machine.handler.log


def test_a_coroutine_may_go_on_after_the_cause():
    machine = StreamMachine(Resting())
    machine.feed(b"one\ntwo\n")
    machine.urgent(b"!")
    assert machine.read() == b"<! after 4>Cancelled('woken')one\n"
    assert machine.wait == Delay(60)


@pytest.mark.parametrize("odd", [b"ab", (Until(b"\n"),)])
def test_a_result_of_urgent_that_is_not_a_step_ends_the_request(odd):
    class Odd(Lines):
        def urgent(self, data):
            return odd

    machine = StreamMachine(Odd())
    with pytest.raises(TypeError, match=r"Odd\.urgent returned"):
        machine.urgent(b"!")
    assert machine.finished
    assert machine.handler.log == ["setup", "finish"]


@pytest.mark.parametrize("error", [StopIteration, ZeroDivisionError])
def test_an_exception_in_urgent_ends_the_request(error):
    class Raising(Lines):
        def urgent(self, data):
            raise error

    machine = StreamMachine(Raising())
    with pytest.raises(error):
        machine.urgent(b"!")
    assert isinstance(machine.reason, error)
    assert machine.handler.log == ["setup", "finish"]


def test_a_request_that_has_ended_gets_no_urgent_data():
    machine = StreamMachine(Lines())
    machine.end()
    machine.urgent(b"!", before=b"a\n")
    machine.handler.put_back(b"b\n")
    assert machine.handler.log == ["setup", "finish"]
    assert (machine.held_in, machine.handler.take_held()) == (0, b"")
