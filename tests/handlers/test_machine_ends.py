"""How a request ends: closed from outside, or because its handler raises."""

import runpy

import pytest

from handlers import Cancelled, Exactly, Some, StreamHandler, StreamMachine
from handlers.services import Discard
from tests import ROOT
from tests.support.strategies import Driver, Logged, Netstrings, converse, netstrings, spellings, still

spelling = pytest.mark.parametrize("spelling", spellings)
in_every_spelling = pytest.mark.parametrize("kind", netstrings)
ending = pytest.mark.parametrize("end", [StreamMachine.close, lambda machine: machine.abandon(Cancelled())])


# How it ends when a handler raises


class Failing(Logged):
    """Raises ``error`` in the given places."""

    def __init__(self, error, *places):
        super().__init__()
        self.error, self.places = error, places

    def reach(self, place):
        if place in self.places:
            raise self.error

    def setup(self):
        super().setup()
        self.reach("setup")

    def handle(self):
        self.reach("handle")
        return Exactly(1), self.state

    def state(self, _):
        self.reach("state")
        return self.coroutine()

    async def coroutine(self):
        await Exactly(1)
        self.reach("coroutine")
        await Exactly(1)

    def interrupted(self, cause):
        super().interrupted(cause)
        self.reach("interrupted")

    def finish(self):
        super().finish()
        self.reach("finish")


places = ["setup", "handle", "state", "coroutine", "interrupted", "finish"]


@pytest.mark.parametrize("error", [ZeroDivisionError("boom"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("place", places)
def test_an_exception_of_a_handler_is_raised_and_ends_the_request_once(place, error):
    driver = Driver()
    machine = StreamMachine(Failing(error, place), driver)
    with pytest.raises(type(error)) as caught:
        converse(machine, [b"a", b"b"])
    assert machine.reason is caught.value is error
    assert driver.touches > 0
    assert machine.handler.log.count("finish") == (place != "setup")
    assert still(machine)


@pytest.mark.parametrize("place", places[1:-1])
def test_when_finish_raises_too_both_exceptions_are_kept(place):
    class Twice(Failing):
        def finish(self):
            Logged.finish(self)
            raise OSError("and then this")

    driver = Driver()
    machine = StreamMachine(Twice(ZeroDivisionError("boom"), place), driver)
    with pytest.raises(OSError, match="and then this") as caught:
        converse(machine, [b"a", b"b"])
    assert isinstance(caught.value.__context__, ZeroDivisionError)
    assert machine.reason is caught.value
    assert driver.touches > 0
    assert still(machine)


@ending
def test_when_finish_raises_as_the_driver_ends_the_request_the_driver_gets_the_exception(end):
    driver = Driver()
    machine = StreamMachine(Failing(ZeroDivisionError("boom"), "finish"), driver)
    machine.advance()
    with pytest.raises(ZeroDivisionError) as caught:
        end(machine)
    assert machine.reason is caught.value
    assert driver.touches > 0
    assert still(machine)


@pytest.mark.parametrize("place", places[:-1])
def test_stop_iteration_of_a_state_is_an_error_like_any_other(place):
    """If it left ``feed()`` as it is, it would silently end a generator that feeds the machine."""
    machine = StreamMachine(Failing(StopIteration(3), place))
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        converse(machine, [b"a", b"b"])
    assert isinstance(caught.value.__cause__, StopIteration)
    assert machine.reason is caught.value
    assert still(machine)


def test_stop_iteration_is_reported_with_the_place():
    machine = StreamMachine(Failing(StopIteration(), "state"))
    with pytest.raises(RuntimeError, match=r"^Failing\.state raised StopIteration"):
        machine.feed(b"a")


# Ends


@in_every_spelling
def test_a_request_that_is_closed_from_outside_keeps_its_output(kind):
    machine = StreamMachine(kind(), driver := Driver())
    machine.feed(b"1:a,3:")
    assert driver.touches == 0  # what the request itself sends, the caller of feed() sees
    machine.handler.send(b"from another row")
    assert driver.touches == 1
    machine.handler.close()
    assert driver.touches == 2
    assert isinstance(machine.reason, Cancelled)
    assert machine.handler.log == ["setup", "finish"]
    assert machine.read() == b"1:a,from another row"
    assert still(machine)


def test_a_request_closed_before_it_began_never_begins():
    machine = StreamMachine(Netstrings())
    machine.close()
    assert machine.handler.log == []
    assert still(machine)


@ending
def test_output_of_a_coroutines_cleanup_and_of_finish_is_sent(end):
    class Polite(Logged):
        async def handle(self):
            try:
                await Exactly(1)
            finally:
                self.send(b"good")

        def finish(self):
            super().finish()
            self.send(b"bye")

    machine = StreamMachine(Polite())
    machine.advance()
    end(machine)
    assert machine.handler.log[-1] == "finish"
    assert machine.read() == b"goodbye"


class Closing(Failing):
    """Closes itself in the places where `Failing` raises."""

    def reach(self, place):
        if place in self.places:
            self.close()


@pytest.mark.parametrize("place", [place for place in places if place != "finish"])
def test_a_request_can_not_close_itself(place):
    machine = StreamMachine(Closing(None, place))
    with pytest.raises(RuntimeError, match="by returning None, not by close"):
        converse(machine, [b"a", b"b"])
    assert machine.handler.log.count("finish") == (place != "setup")
    assert still(machine)


@ending
def test_closing_a_request_that_is_being_ended_has_no_effect(end):
    machine = StreamMachine(Closing(None, "finish"))
    machine.advance()
    end(machine)
    assert machine.handler.log.count("finish") == 1
    assert still(machine)


class Paired(StreamHandler):
    """Closes its partner when it ends."""

    partner: "Paired"
    finished = 0

    def handle(self):  # type: ignore[no-untyped-def]
        return Some(), lambda data: None

    def finish(self) -> None:
        self.finished += 1
        if self.finished > 1:
            raise AssertionError("finish() is called once")
        self.partner.close()


@pytest.mark.parametrize("end", [lambda machine: machine.feed(b"x"), StreamMachine.end, StreamMachine.close])
def test_two_requests_that_close_each_other_end_once(end) -> None:  # type: ignore[no-untyped-def]
    one, other = Paired(), Paired()
    one.partner, other.partner = other, one
    machines = StreamMachine(one), StreamMachine(other)
    for machine in machines:
        machine.advance()
    end(machines[0])
    assert [machine.finished for machine in machines] == [True, True]
    assert (one.finished, other.finished) == (1, 1)


def test_a_service_behind_a_mix_in_does_not_return_to_the_mix_in() -> None:
    password = runpy.run_path(str(ROOT / "examples" / "auth.py"))["Password"]
    machine = StreamMachine(type("SecretDiscard", (password, Discard), {})())
    machine.feed(b"sesame\nthrown away")
    assert machine.read() == b"Password: "
