"""The rows of calls: what the table shows of them, their bounds, their ends, and that nothing of them stays."""

import gc
import logging
import weakref
from contextlib import closing, contextmanager

import pytest

from handlers import Cancelled, DatagramHandler, Delay, Flushed, Packet, StreamHandler, TimedOut, Until
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from tests.support.loops import until
from tests.support.serving import (
    PACKETS,
    PATIENCE,
    STREAMS,
    connect,
    made,
    peer,
    reset,
    server_class,
    serving,
    wait_until,
)


class Waiting(DatagramHandler):
    """Answers its packet when the gate is opened; says in ``log`` what else becomes of it."""

    def __init__(self, log=None):
        self.log = [] if log is None else log
        self.gate = False

    async def handle(self):
        packet = await Packet()
        while not self.gate:
            await Delay(0.001)
        self.send(packet)

    def interrupted(self, cause):
        self.log.append(type(cause))

    def finish(self):
        self.log.append("finish")


class Calling(StreamHandler):
    """Makes a call for each line; ``made`` are the handlers of all calls, the last one last."""

    max_calls = 4

    def __init__(self):
        self.made = []
        self.log = []

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, data):
        if data == b"end\n":
            return None
        self.made.append(Waiting(self.log))
        self.call(self.made[-1], data, self.answered)
        return self.handle()

    def answered(self, packet):
        self.send(packet)


@contextmanager
def calling(kind=Calling, **members):
    """A select server of ``kind`` that the test steps, and one connected client: the reactor, the client, the row."""
    with (
        closing(Reactor()) as reactor,
        made(server_class("select", STREAMS["tcp"], **members), STREAMS["tcp"], kind, reactor) as server,
        connect(server) as client,
    ):
        until(reactor, lambda: len(reactor.table))
        [row] = reactor.table
        yield reactor, client, row


def test_a_call_is_a_row_from_its_beginning_to_its_end():
    with calling() as (reactor, client, parent):
        client.sendall(b"one\n")
        until(reactor, lambda: len(reactor.table) == 2)
        _, call = reactor.table
        told = call.as_dict()
        assert (told["handler"], told["wait"], told["stage"], told["driven_by"]) == (
            "Waiting", "Delay(0.001)", "serving", "loop",
        )  # fmt: skip
        assert (told["peer"], told["total_in"]) == (parent.as_dict()["peer"], 4)
        assert told["deadline"] is not None
        assert "Waiting" in str(reactor.table)
        parent.channel.handler.made[0].gate = True
        until(reactor, lambda: len(reactor.table) == 1)
        assert client.recv(9) == b"one\n"
        [closed] = reactor.table.closed
        assert (closed["handler"], closed["reason"], closed["total_out"]) == ("Waiting", "", 4)


def test_one_read_makes_no_more_calls_than_the_bound():
    with calling() as (reactor, client, parent):
        handler = parent.channel.handler
        client.sendall(b"x\n" * 20)
        until(reactor, lambda: len(handler.made) == 4)
        for _ in range(5):
            reactor.step(0.01)
        assert (len(handler.made), len(reactor.table), parent.channel.wants_input) == (4, 5, False)
        assert parent.held_in == 2 * 16
        for number in range(20):
            handler.made[number].gate = True
            until(reactor, lambda number=number: handler.log.count("finish") == number + 1)
            assert len(reactor.table) <= 5
        until(reactor, lambda: len(handler.made) == 20 and len(reactor.table) == 1)
        assert handler.log == ["finish"] * 20


def test_at_the_bound_input_stays_in_the_kernel():
    with calling() as (reactor, client, parent):
        client.sendall(b"x\n" * 4)
        until(reactor, lambda: len(reactor.table) == 5)
        before = parent.total_in
        client.sendall(b"y\n")
        for _ in range(5):
            reactor.step(0.01)
        assert parent.total_in == before
        parent.channel.handler.made[2].gate = True
        until(reactor, lambda: parent.total_in == before + 2)


@pytest.mark.parametrize("how", ["finish", "reset", "timeout", "cancel", "lose", "drain", "close"])
def test_the_calls_of_a_request_are_told_once_that_it_has_ended(how):
    kind = type("Calling", (Calling,), {"timeout": 0.05 if how == "timeout" else None})
    with calling(kind) as (reactor, client, parent):
        handler = parent.channel.handler
        client.sendall(b"x\n" * 3)
        until(reactor, lambda: len(reactor.table) == 4)
        if how == "finish":
            client.sendall(b"end\n")
        elif how == "reset":
            reset(client)
        elif how == "cancel":
            reactor.cancel([parent])
        elif how == "lose":
            parent.lose(Cancelled())
        elif how == "drain":
            reactor.drain(0.01)
        elif how == "close":
            reactor.cancel(reactor.table)
        until(reactor, lambda: not reactor.table)
        assert handler.log == [Cancelled, "finish"] * 3
        assert reactor.table.ends["Cancelled"] >= 3


def test_no_answer_is_given_to_a_request_that_has_ended():
    class Last(DatagramHandler):
        async def handle(self):
            await Packet()
            await Delay(PATIENCE)

        def interrupted(self, cause):
            self.send(b"too late")

    class Parent(Calling):
        answers = []

        def line(self, data):
            if data == b"end\n":
                return None
            self.call(Last(), data, self.answers.append)
            return self.handle()

    with calling(Parent) as (reactor, client, _):
        client.sendall(b"x\nend\n")
        until(reactor, lambda: not reactor.table)
        assert Parent.answers == []


def test_an_answer_that_raises_ends_the_request_and_is_asked_no_more():
    class Twice(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            await Delay(0.001)
            self.send(packet)
            self.send(packet)

    errors, answers = [], []

    class Parent(Calling):
        def line(self, data):
            self.call(Twice(), data, self.answered)
            return self.handle()

        def answered(self, packet):
            answers.append(packet)
            raise ArithmeticError

    def handle_error(server, request, client_address):
        errors.append(request)

    with calling(Parent, handle_error=handle_error) as (reactor, client, parent):
        connection = parent.socket
        client.sendall(b"x\n")
        until(reactor, lambda: not reactor.table)
        assert (answers, errors) == ([b"x\n"], [connection])
        assert client.recv(9) == b""


@pytest.mark.parametrize("where", ["setup", "handle", "state", "finish"])
def test_an_exception_in_a_call_is_logged_with_its_row_and_its_request_goes_on(where, caplog):
    class Faulty(DatagramHandler):
        def setup(self):
            self.reach("setup")

        def handle(self):
            self.reach("handle")
            return Packet(), self.state

        def state(self, packet):
            self.reach("state")

        def finish(self):
            self.reach("finish")

        def reach(self, place):
            if place == where:
                raise ArithmeticError(place)

    class Parent(Calling):
        def line(self, data):
            self.call(Faulty(), data, self.send)
            self.send(data)
            return self.handle()

    caplog.set_level(logging.DEBUG, "reactor")
    with calling(Parent) as (reactor, client, parent):
        client.sendall(b"one\ntwo\n")
        until(reactor, lambda: reactor.table.ends.get("ArithmeticError") == 2)
        assert list(reactor.table) == [parent]
        assert client.recv(9) == b"one\ntwo\n"
        rows = [record.row for record in caplog.records if record.levelno >= logging.ERROR]
        assert [row["handler"] for row in rows] == ["Faulty", "Faulty"]
        assert parent.channel.calls == 0


def test_a_call_that_waits_too_long_ends_alone():
    class Slow(DatagramHandler):
        timeout = 0.01

        async def handle(self):
            await Packet()
            try:
                await Packet()
            except TimedOut:
                self.send(b"too slow")

    class Parent(Calling):
        def line(self, data):
            self.call(Slow(), data, self.send)
            return self.handle()

    with calling(Parent) as (reactor, client, parent):
        client.sendall(b"x\n")
        until(reactor, lambda: len(reactor.table.closed) == 1)
        assert client.recv(9) == b"too slow"
        assert list(reactor.table) == [parent]


def test_a_call_is_not_counted_as_a_request_of_its_host():
    with calling(max_per_peer=2) as (reactor, client, parent):
        client.sendall(b"x\n" * 4)
        until(reactor, lambda: len(reactor.table) == 5)
        assert reactor.table.count_of(parent.peer) == 1
        with connect(parent.server) as other:
            until(reactor, lambda: len(reactor.table) == 6)
            assert reactor.stats()["refused"] == {}
            other.close()
        parent.lose(Cancelled())
        until(reactor, lambda: not reactor.table)
        assert reactor.table.count_of(parent.peer) == 0


def test_room_for_another_connection_is_made_by_ending_a_connection_and_not_a_call():
    with calling(max_requests=3, at_limit="evict") as (reactor, client, parent):
        client.sendall(b"x\n" * 2)
        until(reactor, lambda: len(reactor.table) == 3)
        with connect(parent.server):
            until(reactor, lambda: parent not in reactor.table)
            until(reactor, lambda: len(reactor.table) == 1)
            assert next(iter(reactor.table)).handler == "Calling"
            assert client.recv(9) == b""


def test_an_ended_call_leaves_nothing_while_its_request_goes_on():
    with calling() as (reactor, client, parent):
        handler = parent.channel.handler
        client.sendall(b"x\n" * 3)
        until(reactor, lambda: len(reactor.table) == 4)
        kept = [weakref.ref(call) for call in handler.made]
        for call in handler.made:
            call.gate = True
        del call
        handler.made.clear()
        until(reactor, lambda: list(reactor.table) == [parent])
        reactor.step(0)
        gc.collect()  # a handler and its machine are a cycle
        assert [ref() for ref in kept] == [None] * 3
        assert (reactor.budget.held, parent.channel.calls) == (0, 0)


def test_a_nested_call_ends_with_the_outermost_request():
    class Outer(DatagramHandler):
        def __init__(self, log):
            self.log = log

        async def handle(self):
            self.call(Waiting(self.log), await Packet(), self.send)
            await Delay(PATIENCE)

        def interrupted(self, cause):
            self.log.append("outer")

    class Parent(Calling):
        def line(self, data):
            if data == b"end\n":
                return None
            self.call(Outer(self.log), data, self.send)
            return self.handle()

    with calling(Parent) as (reactor, client, parent):
        handler = parent.channel.handler
        client.sendall(b"x\n")
        until(reactor, lambda: len(reactor.table) == 3)
        client.sendall(b"end\n")
        until(reactor, lambda: not reactor.table)
        assert handler.log == ["outer", Cancelled, "finish"]


def test_output_that_a_client_does_not_take_lets_calls_wait_and_is_bounded():
    class Large(DatagramHandler):
        async def handle(self):
            await Packet()
            self.send(bytes(1 << 20))

    class Parent(Calling):
        max_output = 8 << 20

        def line(self, data):
            self.call(Large(), data, self.send)
            return self.handle()

    with calling(Parent) as (reactor, client, parent):
        client.sendall(b"x\n" * 100)
        for _ in range(50):
            reactor.step(0.001)
            assert parent.held_out <= 8 << 20
        until(reactor, lambda: parent not in reactor.table or not parent.channel.wants_input)


def test_calls_of_an_exchange_are_bounded_too():
    class Packets(DatagramHandler):
        max_calls = 2
        log = []

        def handle(self):
            return Packet(), self.took

        def took(self, packet):
            self.log.append(Waiting())
            self.call(self.log[-1], packet, self.send)
            return self.handle()

    with (
        closing(Reactor()) as reactor,
        made(SelectUDPServer, PACKETS["udp"], Packets, reactor) as server,
        peer(server) as client,
    ):
        for number in range(6):
            client.send(b"%d" % number)
        until(reactor, lambda: len(reactor.table) == 3)
        for _ in range(5):
            reactor.step(0.01)
        assert len(Packets.log) == 2
        for number in range(6):
            until(reactor, lambda number=number: len(Packets.log) > number)
            Packets.log[number].gate = True
            until(reactor, lambda number=number: len(reactor.table.closed) == number + 1)
            assert client.recv(9) == b"%d" % number


def test_a_call_may_wait_for_its_answers_to_leave():
    class Pieces(DatagramHandler):
        async def handle(self):
            await Packet()
            for number in range(1000):
                self.send(b"%d\n" % number)
                await Flushed()

    class Parent(Calling):
        def line(self, data):
            self.call(Pieces(), data, self.send)
            return self.handle()

    with serving(Parent, "select") as server, connect(server) as client:
        client.sendall(b"x\n")
        with client.makefile("rb") as lines:
            assert [int(next(lines)) for _ in range(1000)] == list(range(1000))
        wait_until(lambda: len(server.reactor.table) == 1)


@pytest.mark.slow
def test_a_call_waits_for_a_client_that_takes_its_answers_slowly():
    class Pieces(DatagramHandler):
        async def handle(self):
            await Packet()
            for number in range(2000):
                self.send(b"%9d\n" % number + bytes(9_990))
                await Flushed()

    class Parent(Calling):
        max_output = 1 << 20

        def line(self, data):
            self.call(Pieces(), data, self.send)
            return self.handle()

    with calling(Parent) as (reactor, client, parent):
        client.sendall(b"x\n")
        most, got = 0, b""
        until(reactor, lambda: parent.held_out > Parent.high_water)
        while len(got) < 20_000_000:
            for _ in range(5):
                reactor.step(0)
                most = max(most, *(row.held_out for row in reactor.table))
            got += client.recv(1 << 20)
        assert most < Parent.high_water + 20_000
        assert [int(got[at : at + 9]) for at in range(0, len(got), 10_000)] == list(range(2000))


def test_a_handler_that_has_a_request_can_not_be_called_again():
    class Parent(Calling):
        errors = []

        def line(self, data):
            call = Waiting()
            self.call(call, data, self.send)
            try:
                self.call(call, data, self.send)
            except ValueError as error:
                self.errors.append(error)
            return self.handle()

    with calling(Parent) as (reactor, client, parent):
        client.sendall(b"x\n")
        until(reactor, lambda: Parent.errors)
        assert parent.channel.calls == 1
        assert isinstance(parent.server, SelectTCPServer)
