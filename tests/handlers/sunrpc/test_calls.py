"""Calls that end at once and calls that wait: the same handler, with a row of its own or inside its connection's."""

# ruff: noqa: N802 - the names of procedures are those of the file

import asyncio
import socket
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramHandler, DatagramMachine, Delay, LimitPassed, Packet, StreamMachine
from handlers.sunrpc import program, xdr
from handlers.sunrpc.calling import StreamCaller
from handlers.sunrpc.program import Procedure, Version
from handlers.sunrpc.record import mark
from reactor import Reactor, SelectUDPServer
from tests.support.bench import bench
from tests.support.loops import until
from tests.support.rpc import (
    PROGRAM,
    Datagram,
    Stream,
    auth_sys,
    call,
    datagram,
    finish_calls,
    records,
    run,
    streamed,
    words,
    world,
    x,
)

SUM = words(1, 1, 0, 0, 0, 0, 5)
SYSTEM_ERR = words(1, 1, 0, 0, 0, 5)


def serving(version, base=Stream):
    """A handler class that serves only this version."""
    return type("Serving", (base,), {"versions": (version,)})


def test_a_call_that_ends_at_once_has_no_row_and_one_that_waits_has():
    outside = world()
    machine = StreamMachine(Stream(), outside)
    machine.feed(mark(call(1, 1, words(2, 3))) + mark(call(2, 3, words(5))) + mark(call(3, 99)))
    assert [handler.called.xid for handler, _, _ in outside.calls] == [2]
    assert records(machine.read()) == [SUM, words(3, 1, 0, 0, 0, 3)]


def test_calls_in_one_segment_are_answered_with_one_send():
    with bench(Stream) as here:
        client = here.connect()
        client.sendall(b"".join(mark(call(xid, 1, words(xid, 1))) for xid in range(100)))
        here.reactor.step(0)
        assert len(client.recv(100_000)) == 100 * 32


class Unmade(x.CALCULATOR_1):
    def __init__(self):
        raise ArithmeticError("on purpose")

    def ADD(self, first, second):
        return first + second


def test_a_version_that_can_not_be_made_is_answered_and_reported():
    outside = world()
    machine = StreamMachine(serving(Unmade)(), outside)
    machine.feed(mark(call(1, 1, words(2, 3))) + mark(call(2, 99)))
    assert records(machine.read()) == [words(2, 1, 0, 0, 0, 3)]
    [(handler, packet, answer)] = outside.calls
    made = DatagramMachine(handler, world())
    with pytest.raises(ArithmeticError):
        made.feed(packet)
    answer(made.read())
    assert records(machine.read()) == [SYSTEM_ERR]
    machine = DatagramMachine(serving(Unmade, Datagram)(), world())
    with pytest.raises(ArithmeticError):
        machine.feed(call(1, 1, words(2, 3)))
    assert machine.read() == SYSTEM_ERR


def test_the_error_of_a_call_inside_a_reactor_says_why_its_connection_has_ended():
    class Short(StreamCaller):
        max_record = 100

    caller = Short()
    machine = StreamMachine(caller, world())
    machine.advance()
    machine.feed(mark(bytes(101)))
    with pytest.raises(ConnectionResetError) as error:
        x.CALCULATOR_1_calls(caller).FILL(1)
    assert isinstance(error.value.__cause__, LimitPassed)


class Upper(DatagramHandler):
    async def handle(self):
        self.send((await Packet()).upper())


class Asking(x.CALCULATOR_1):
    """What a call asks of its row after a wait."""

    def setup(self):
        self.seen = []

    async def LATER(self, _):
        await Delay(0)
        self.principal = "ada"
        self.call(Upper(), b"inside", self.seen.append)
        await Delay(0.01)
        self.seen += [row.principal for row in self.server.reactor.table if row.peer == self.peer]
        if self.seen[-1] == "ada":
            raise ArithmeticError("on purpose")
        return 0

    def finish(self):
        self.seen.append(type(self.reason))
        self.server.seen = self.seen


def test_a_datagram_call_that_has_waited_asks_its_row():
    class Server(SelectUDPServer):
        seen = None

        def handle_error(self, request, client_address):
            """The reason of the request has the error."""

    with (
        closing(Reactor()) as loop,
        Server(("127.0.0.1", 0), serving(Asking, Datagram), reactor=loop) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        client.sendto(call(1, 3, words(5)), server.server_address)
        until(loop, lambda: server.seen)
        assert server.seen == [b"INSIDE", "ada", ArithmeticError]


class Failing(x.CALCULATOR_1):
    ended: list

    def setup(self):
        if self.called.procedure == 1:
            raise ArithmeticError("of setup")

    def finish(self):
        self.ended.append(self.called.xid)

    def ADD(self, first, second):
        return first + second

    async def LATER(self, number):
        if number:
            await Delay(0)
        return number


@pytest.mark.parametrize("base", [Stream, Datagram])
def test_an_exception_in_setup_is_answered_and_raised(base):
    Failing.ended = []
    kind, request = serving(Failing, base), call(1, 1, words(2, 3))
    if base is Stream:
        outside = world()
        StreamMachine(kind(), outside).feed(mark(request))
        [(handler, request, _)] = outside.calls
        machine = DatagramMachine(handler, world())
    else:
        machine = DatagramMachine(kind(), world())
    with pytest.raises(ArithmeticError, match="of setup"):
        run(machine, request)
    assert machine.read() == SYSTEM_ERR
    assert Failing.ended == []


@pytest.mark.parametrize("ask", [lambda data, kind: streamed(mark(data), kind)[1], datagram])
@pytest.mark.parametrize("number", [0, 5])
def test_finish_is_called_once(ask, number):
    Failing.ended = []
    kind = serving(Failing, Datagram if ask is datagram else Stream)
    assert ask(call(7, 3, words(number)), kind) == [words(7, 1, 0, 0, 0, 0, number)]
    assert Failing.ended == [7]


@pytest.mark.parametrize("ask", [lambda data, kind: streamed(mark(data), kind)[1], datagram])
def test_a_coroutine_that_awaits_no_wait_is_an_exception(ask):
    class Sleeping(x.CALCULATOR_1):
        async def LATER(self, number):
            await asyncio.sleep(number)

    kind = serving(Sleeping, Datagram if ask is datagram else Stream)
    with pytest.raises(TypeError, match=r"Sleeping.LATER awaited asyncio.tasks.\w+, which is no wait"):
        ask(call(1, 3, words(0)), kind)


class Named(x.CALCULATOR_1):
    seen: list

    def setup(self):
        self.seen.append(self.principal)
        self.principal = f"caller {self.called.xid}"

    async def LATER(self, number):
        if number:
            await Delay(0)
        self.seen.append((self.principal, self.peer, self.now()))
        return number


def test_the_principal_of_a_call_is_its_own():
    Named.seen = []
    outside = world()
    machine = StreamMachine(serving(Named)(), outside)
    for xid, number in ((1, 0), (2, 5), (3, 0)):
        machine.feed(mark(call(xid, 3, words(number))))
        finish_calls(machine, outside)
    about = ("127.0.0.1", 1), 1000.0
    assert Named.seen == [value for xid in (1, 2, 3) for value in (None, (f"caller {xid}", *about))]
    assert outside.principal is None


class Keeping(x.CALCULATOR_1):
    def ADD(self, first, second):
        self.server.append(self)
        self.send(words(0))
        with pytest.raises(RuntimeError, match="by returning None"):
            self.close()
        return first + second


def test_a_handler_whose_call_has_ended_sends_nothing():
    outside = world()
    outside.server = kept = []
    machine = StreamMachine(serving(Keeping)(), outside)
    machine.feed(mark(call(1, 1, words(2, 3))))
    assert records(machine.read()) == [words(0), SUM]
    [handler] = kept
    handler.send(b"late")
    handler.close()
    assert handler.reason is None
    assert machine.read() == b""


def test_a_call_inside_a_call_is_one_of_the_connection():
    class Inner(x.CALCULATOR_1):
        async def handle(self):
            self.send(await Packet())

    class Outer(x.CALCULATOR_1):
        def FORGET(self, number):
            self.call(Inner(), words(number), self.server.append)
            return

    outside = world()
    outside.server = answers = []
    machine = StreamMachine(serving(Outer)(), outside)
    machine.feed(mark(call(1, 6, words(9))))
    finish_calls(machine, outside)
    assert answers == [words(9)]


class ByHand(Version):
    program, version = PROGRAM, 1
    procedures = {
        1: Procedure(1, "double", (xdr.Int,), xdr.Int),
        2: Procedure(2, "missing", (), None),
        3: Procedure(3, "swap", (str, bool), xdr.Int),
    }

    def double(self, number):
        return 2 * number

    def swap(self, text, flag):
        return len(text) if flag else -len(text)


def test_a_class_written_by_hand_serves_its_own_methods():
    kind = serving(ByHand)
    data = mark(call(1, 1, words(4))) + mark(call(2, 2)) + mark(call(3, 3, words(2) + b"ab\0\0" + words(0)))
    assert streamed(data, kind)[1] == [
        words(1, 1, 0, 0, 0, 0, 8), words(2, 1, 0, 0, 0, 3), words(3, 1, 0, 0, 0, 0, -2),
    ]  # fmt: skip


def test_a_version_that_defines_nothing_serves_nothing_but_procedure_0():
    for number in range(10):
        [reply] = streamed(mark(call(1, number)), serving(x.CALCULATOR_1))[1]
        assert reply == words(1, 1, 0, 0, 0, 3 if number else 0)


@given(st.integers(24, 90), st.integers(0, 255), st.binary(max_size=8), st.integers(0, 90))
def test_a_call_is_judged_the_same_whether_its_credential_was_seen_before(place, byte, tail, cut):
    plain = call(1, 7, credential=auth_sys(501, range(3)))
    changed = bytearray(plain[: 100 - cut] + tail)
    if place < len(changed):
        changed[place] = byte
    program._accepted.clear()
    first = datagram(bytes(changed), Never)
    assert datagram(plain, Never) == [words(1, 1, 0, 0, 0, 0, 501)]
    for _ in range(2):
        assert datagram(bytes(changed), Never) == first
    assert datagram(plain, Never) == [words(1, 1, 0, 0, 0, 0, 501)]


Never = type("Never", (Datagram,), {"max_replies": 0})


def test_the_credentials_that_are_known_are_bounded():
    program._accepted.clear()
    for uid in range(program.MAX_ACCEPTED + 10):
        assert datagram(call(1, 7, credential=auth_sys(uid)), Never) == [words(1, 1, 0, 0, 0, 0, uid)]
    assert 0 < len(program._accepted) <= program.MAX_ACCEPTED
