"""Steps: what a state may return, what is refused, and what the driver hears of it."""

import asyncio
import functools
import types

import pytest

from handlers import (
    Connected,
    DatagramMachine,
    Delay,
    Exactly,
    Flushed,
    Forked,
    Packet,
    Some,
    StreamHandler,
    StreamMachine,
    Until,
    Wait,
    World,
)
from tests.support.strategies import Conversing, Logged, Netstrings, Packets, netstrings, somewhere, spellings, still

spelling = pytest.mark.parametrize("spelling", spellings)
in_every_spelling = pytest.mark.parametrize("kind", netstrings)


# Steps


def test_a_machine_does_nothing_until_it_is_driven():
    machine = StreamMachine(handler := Logged())
    assert (machine.finished, machine.reason, machine.fresh, machine.blocked) == (False, None, False, False)
    assert (machine.held_in, machine.held_out, machine.wants_input, machine.state_name) == (0, 0, False, "handle")
    assert machine.read() == b""
    assert handler.log == []
    machine = DatagramMachine(Packets(Packet()))
    assert (machine.read(), machine.held_in, machine.held_out, machine.wants_input) == (None, 0, 0, False)


def test_a_state_may_be_any_callable():
    class Calling(Logged):
        def handle(self):
            return Exactly(1), lambda one: (Exactly(1), self.log.append)

    machine = StreamMachine(Calling())
    machine.feed(b"ab")
    assert machine.handler.log == ["setup", b"b", "finish"]
    assert machine.reason is None


def test_the_state_has_a_name():
    machine = StreamMachine(Netstrings())
    seen = []
    for piece in b"3", b":", b"abc,":
        machine.feed(piece)
        seen.append((machine.state_name, machine.wait))
    first, second = ("length", Until(b":", limit=7)), ("payload", Exactly(4, limit=99))
    assert seen == [first, second, first]
    machine.end()
    assert machine.state_name == "finished"

    machine = StreamMachine(Conversing())
    machine.advance()
    assert machine.state_name == f"handle:{Conversing.handle.__code__.co_firstlineno + 2}"


class Curried(StreamHandler):
    def handle(self):
        return Until(b";"), functools.partial(functools.partial(self.word, 1), 2)

    def word(self, one, two, data):
        return Until(b";"), Answer()


class Answer:
    def __call__(self, data):
        return None


def test_the_name_of_a_state_that_is_not_a_method_has_no_address():
    machine = StreamMachine(Curried())
    machine.advance()
    assert machine.state_name == "word"
    machine.feed(b"a;")
    assert machine.state_name == "Answer"


@in_every_spelling
def test_the_driver_hears_of_each_wait_that_begins_and_of_the_end(kind):
    machine = StreamMachine(kind())
    machine.advance()
    for piece, fresh in (b"3", False), (b":", True), (b"ab", False), (b"c,", True):
        machine.fresh = False
        machine.feed(piece)
        assert machine.fresh == fresh
    machine.fresh = False
    machine.end()
    assert machine.fresh


@spelling
def test_a_result_from_outside_resumes_the_wait(spelling):
    handler = spelling(Forked(len, b"abc"), Some())
    machine = StreamMachine(handler)
    machine.feed(b"early")
    assert machine.wait.outside
    assert not machine.wants_input
    machine.resume(3)
    assert handler.seen == [3, b"early"]


def test_input_fed_from_within_a_state_is_taken_after_that_state():
    class Feeding(Logged):
        def handle(self):
            return Exactly(1), self.more

        def more(self, data):
            if data == b"a":
                self.server.feed(b"bc")
            self.log.append((data, self.server.held_in))
            return self.handle()

    machine = StreamMachine(Feeding(), world := World())
    world.server = machine
    machine.feed(b"a")
    assert machine.handler.log == ["setup", (b"a", 2), (b"b", 1), (b"c", 0)]


# What is refused


@types.coroutine
def bare(value):
    yield value


class Odd(Logged):
    """Returns ``odd``, which is not a step, from its first state or a later one, or awaits it."""

    def __init__(self, where, odd):
        super().__init__()
        self.odd = odd
        if where != "handle":
            self.handle = getattr(self, where)

    def handle(self):
        return self.odd

    def second(self):
        return Exactly(1), self.later

    def later(self, _):
        return self.odd

    async def awaiting(self):
        await Exactly(1)
        await self.odd

    async def returning(self):
        await Exactly(1)
        return self.odd

    async def helping(self):
        await self.awaiting()


def refused(where, odd):
    """The message of the error that the machine raises."""
    machine = StreamMachine(Odd(where, odd))
    with pytest.raises(TypeError) as caught:
        machine.feed(b"a")
    assert machine.reason is caught.value
    assert machine.handler.log == ["setup", "finish"]
    assert still(machine)
    return str(caught.value)


@pytest.mark.parametrize(("where", "name"), [("handle", "handle"), ("second", "later"), ("returning", "returning")])
@pytest.mark.parametrize(
    "odd",
    [
        5, True, b"bytes", "text", somewhere, Until(b"x"), (), (Exactly(1),), (Exactly(1), somewhere, None),
        (5, somewhere), (Exactly, somewhere), [Exactly(1), somewhere], (Exactly(1), None), (Exactly(1), b"bytes"),
        (Exactly(1), Exactly(1)),
    ],
    ids=repr,
)  # fmt: skip
def test_a_result_that_is_not_a_step_is_refused_by_name_with_the_remedy(where, name, odd):
    assert (message := refused(where, odd)).startswith(f"Odd.{name}")
    assert repr(odd) in message
    assert "a state returns (wait, next_state), a coroutine or None" in message


@pytest.mark.parametrize("value", [5, None, (Exactly(1), somewhere), Wait()], ids=repr)
@pytest.mark.parametrize("where", ["awaiting", "helping"])
def test_only_a_wait_can_be_awaited(where, value):
    message = refused(where, bare(value))
    assert message.startswith(f"Odd.{where}:")
    assert "a coroutine awaits waits: StreamWait, Flushed, Delay" in message


@pytest.mark.parametrize("seconds", [0, 1])
def test_awaitables_of_asyncio_are_refused(seconds):
    async def under_asyncio():
        return refused("awaiting", asyncio.sleep(seconds))

    message = asyncio.run(under_asyncio())
    assert message.startswith("Odd.awaiting:")
    assert "awaited asyncio.tasks.sleep, which is no wait" in message
    assert "await Delay(seconds)" in message
    assert "a coroutine awaits waits: StreamWait, Flushed" in message


class Seven:
    def __await__(self):
        yield 7


@pytest.mark.parametrize("where", ["awaiting", "helping"])
def test_an_awaitable_class_is_named(where):
    assert f"awaited {__name__}.Seven, which is no wait" in refused(where, Seven())


def test_a_generator_function_is_named_as_one():
    class Yields(StreamHandler):
        def handle(self):
            yield Exactly(1)

    with pytest.raises(TypeError, match=r"Yields\.handle is a generator function; declare it with async def"):
        StreamMachine(Yields()).advance()


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (Until(b"x"), "and the state to go to next is missing; a state returns"),
        ((Exactly(1), None), "and what should be the next state can't be called; a state returns"),
    ],
)
def test_what_is_missing_in_a_step_is_named(odd, words):
    assert words in refused("second", odd)


@pytest.mark.parametrize(("where", "odd"), [("second", (Packet(), somewhere)), ("awaiting", Packet())])
def test_packet_is_refused_in_a_stream_handler(where, odd):
    message = refused(where, odd)
    assert "waits for Packet(), which a StreamMachine has not: StreamWait, Flushed" in message


def test_a_handler_without_handle_is_refused():
    with pytest.raises(NotImplementedError, match="Logged must define handle"):
        StreamMachine(Logged()).advance()


# A handler without a request


@pytest.mark.parametrize(
    "use", [lambda handler: handler.send(b"x"), lambda handler: handler.close(), lambda handler: handler.peer]
)
def test_using_a_handler_without_a_request_is_an_error(use):
    with pytest.raises(RuntimeError, match="this handler has no request yet"):
        use(type("Nothing", (StreamHandler,), {})())


def test_a_users_subclass_of_a_wait_works_like_its_base():
    class Pause(Delay):
        """A name of the user's."""

    class Drained(Flushed):
        """Another."""

    class Two(StreamHandler):
        async def handle(self):
            self.send(b"one")
            await Drained()
            await Pause(5)
            self.send(b"two")

    machine = StreamMachine(Two())
    machine.advance()
    assert machine.read() == b"one"
    assert (machine.wait, machine.patience) == (Pause(5), 5)
    machine.expire()
    assert machine.read() == b"two"
    assert machine.finished


def test_flushed_may_be_satisfied_at_once_any_number_of_times():
    class Room(StreamHandler):
        async def handle(self):
            await Until(b"\n")
            for _ in range(5_000):
                await Flushed()
            self.send(b"done")

    machine = StreamMachine(Room())
    machine.feed(b"\n")
    assert machine.read() == b"done"


def test_a_handler_with_a_request_can_not_be_given_another():
    handler = StreamHandler()
    StreamMachine(handler)
    with pytest.raises(ValueError, match="this StreamHandler has a request already; make a new one"):
        Connected(("127.0.0.1", 7), handler)


# The world


def test_a_handler_asks_its_driver_for_the_world():
    server = object()
    machine = StreamMachine(Logged(), World(peer=("::1", 7, 0, 0), server=server, now=lambda: 86_400.5))
    handler = machine.handler
    assert (handler.now(), handler.peer, handler.server) == (86_400.5, ("::1", 7, 0, 0), server)


def test_without_a_world_peer_and_server_are_none_and_asking_for_the_time_is_an_error():
    handler = StreamMachine(Logged()).handler
    assert (handler.peer, handler.server) == (None, None)
    with pytest.raises(RuntimeError, match=r"no clock: give it World\(now=time\.time\)"):
        handler.now()
