"""Requests of one datagram: those that end at once need no row, and nobody can tell."""

import errno
import os
import select
import socket
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers import DatagramHandler, DatagramMachine, Delay, Flushed, LimitPassed, Packet, PacketFilter, World
from handlers.services import EchoDatagram
from reactor import Reactor, SelectUDPServer
from reactor.loop.loop import PROMPT, TOGETHER
from tests.support.looking import looking, outcomes
from tests.support.loops import Clock


class Server(SelectUDPServer):
    max_packet_size = 1000

    def __init__(self, handler, reactor):
        self.errors = []
        super().__init__(("127.0.0.1", 0), handler, reactor=reactor)

    def handle_error(self, request, client_address):
        row = self.row_of(request)
        self.errors.append((sys.exc_info()[1], request[0], client_address, row.record()["reason"].partition(":")[0]))


def over(kind):
    """A `Server` whose socket is of this class."""

    class Over(Server):
        def server_bind(self):
            sock = self.socket
            self.socket = kind(sock.family, sock.type, sock.proto, sock.detach())
            super().server_bind()

    return Over


class Played:
    """A server of ``handler`` that the test steps, and a client."""

    def __init__(self, handler, server=Server, clock=None):
        self.reactor = Reactor(clock=clock)
        self.server = server(handler, self.reactor)
        self.client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.client.connect(self.server.server_address)
        self.client.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.server_close()
        self.reactor.close()

    def send(self, *packets):
        """Send the packets, make one step, and return the answers."""
        for packet in packets:
            self.client.send(packet)
        self.reactor.step(1)
        return self.answers()

    def answers(self):
        found = []
        try:
            while True:
                found.append(self.client.recv(70_000))
        except BlockingIOError:
            return found


class Every(DatagramHandler):
    """Does what its packet says; ``noted`` is what has happened."""

    noted: list

    def setup(self):
        self.noted.append("setup")

    async def handle(self):
        packet = await Packet()
        for letter in packet.decode():
            await self.do(letter)

    async def do(self, letter):
        if letter == "s":
            self.send(b"sent")
        elif letter == "p":
            self.send(b"<" + await Packet() + b">")
        elif letter == "d":
            await Delay(0)
        elif letter == "f":
            await Flushed()
        elif letter == "e":
            raise ArithmeticError("on purpose")
        elif letter == "l":
            raise LimitPassed(None, what="on purpose")
        elif letter == "t":
            assert len(self.server.reactor.table) == 1

    def interrupted(self, cause):
        self.noted.append(type(cause).__name__)

    def finish(self):
        self.noted.append(f"finish {type(self.reason).__name__}")
        self.send(b"finish")


def without_network(packets):
    """What the machine alone makes of the packets: the answers, and what is noted."""
    Every.noted = []
    machine, answers = None, []
    for packet in packets:
        if machine is None or machine.finished:
            world = World()
            world.server = type("Server", (), {"reactor": type("Reactor", (), {"table": [1]})})
            machine = DatagramMachine(Every(), world)
            machine.advance()
        try:
            machine.feed(packet)
            while not machine.finished and not isinstance(machine.wait, Packet):
                take(machine, answers)
                machine.expire() if isinstance(machine.wait, Delay) else machine.advance()
        except ArithmeticError:
            pass
        take(machine, answers)
    return answers, Every.noted


def take(machine, answers):
    """Add the output of the machine to the answers."""
    while machine.outbox:
        answers.append(machine.outbox[0])  # first: the handler goes on when this is read, and may raise
        machine.read()


@given(st.lists(st.text("spdfelt", max_size=5), min_size=1, max_size=3))
def test_a_server_does_what_the_machine_does(texts):
    packets = [text.encode() for text in texts]
    expected = without_network(packets)
    Every.noted = []
    with Played(Every) as played:
        answers = []
        for packet in packets:
            answers += played.send(packet)
            while any(row.wait and "Packet" not in row.wait for row in played.reactor.table):
                played.reactor.step(0)
            played.reactor.step(0)
            answers += played.answers()
        assert (answers, Every.noted) == expected


@pytest.mark.parametrize("first", [Delay(0), Flushed()])
def test_a_coroutine_may_wait_for_something_else_before_its_packet(first):
    class Late(DatagramHandler):
        async def handle(self):
            self.send(b"%r, " % await first)
            self.send(await Packet())

    with Played(Late) as played:
        answers = played.send(b"x")
        played.reactor.step(0)
        assert [*answers, *played.answers()] == [b"None, ", b"x"]


def test_many_datagrams_are_answered_in_one_step_and_counted():
    with Played(EchoDatagram) as played:
        packets = [b"%d" % number for number in range(40)]
        assert played.send(*packets) == packets
        stats = played.reactor.stats()
        assert stats["ended"] == {"": 40}
        assert (stats["open"], stats["total_in"], stats["total_out"]) == (0, 70, 70)
        records = played.reactor.table.closed
        assert [record["serial"] for record in records] == list(range(1, 41))
        host, port = played.client.getsockname()
        last = records[-1]
        told = last["peer"], last["handler"], last["driven_by"], last["total_in"], last["reason"]
        assert told == (f"{host}:{port}", "EchoDatagram", "loop", 2, "")


class Looking(socket.socket):
    """A socket that counts the attempts to take a packet."""

    attempts = 0

    def recvfrom(self, *arguments):
        self.attempts += 1
        return super().recvfrom(*arguments)


def test_where_packets_come_one_by_one_few_attempts_find_none_and_a_burst_is_taken_in_few_steps():
    with Played(EchoDatagram) as played:
        before = played.server.socket
        played.server.socket = Looking(fileno=before.detach())
        for number in range(90):
            assert played.send(b"%d" % number) == [b"%d" % number]
        assert 90 <= played.server.socket.attempts <= 100
        packets = [b"%d" % number for number in range(40)]
        answers = played.send(*packets)
        for _ in range(9):
            played.reactor.step(0)
            answers += played.answers()
        assert answers == packets
        assert played.send(*packets) == packets  # the next burst in one step


class Slower(DatagramHandler):
    async def handle(self):
        self.send(await Packet())
        await Delay(0)


def test_the_record_of_a_request_has_the_same_keys_with_and_without_a_row():
    records = []
    for handler in (EchoDatagram, Slower):
        with Played(handler) as played:
            played.send(b"x")
            while played.reactor.table:
                played.reactor.step(0)
            records.append(played.reactor.table.closed[-1])
    assert records[0] | {"handler": "", "age": 0, "idle": 0} == records[1] | {"handler": "", "age": 0, "idle": 0} | {
        "peer": records[0]["peer"]
    }


@pytest.mark.parametrize("place", ["setup", "handle", "state", "finish"])
def test_an_exception_is_reported_with_its_request(place):
    class Failing(DatagramHandler):
        ended = 0

        def setup(self):
            self.at("setup")

        def handle(self):
            self.at("handle")
            return Packet(), self.state

        def state(self, packet):
            self.send(b"before")
            self.at("state")

        def finish(self):
            type(self).ended += 1
            self.at("finish")

        def at(self, name):
            if name == place:
                raise ArithmeticError(name)

    with Played(Failing) as played:
        answers = played.send(b"x")
        [(error, packet, peer, reason)] = played.server.errors
        assert (str(error), packet, peer) == (place, b"x", played.client.getsockname())
        assert reason == "ArithmeticError"
        assert answers == ([b"before"] if place in ("state", "finish") else [])
        assert Failing.ended == (place != "setup")
        assert played.reactor.stats()["ended"] == {"ArithmeticError": 1}
        assert not played.reactor.table


def test_a_call_inside_the_first_turn_belongs_to_the_request():
    class Inner(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            await Delay(0)
            self.send(packet.upper())

    class Outer(DatagramHandler):
        async def handle(self):
            self.send(b"first")
            self.call(Inner(), await Packet(), self.send)
            self.send(b"second")
            await Delay(0.01)

    with Played(Outer) as played:
        answers = played.send(b"x")
        while played.reactor.table:
            played.reactor.step(1)
        assert answers + played.answers() == [b"first", b"second", b"X"]


@pytest.mark.parametrize(
    "look",
    [lambda table, row: len(table), lambda table, row: table.count_of(row.peer), lambda table, row: len([*table])],
)
def test_a_request_finds_itself_in_the_table_in_its_first_turn(look):
    class Looks(DatagramHandler):
        async def handle(self):
            await Packet()
            self.send(b"%d" % look(self.server.reactor.table, self))

    with Played(Looks) as played:
        assert played.send(b"x") == [b"1"]
        assert not played.reactor.table


class InStates(Every):
    def handle(self):
        return Packet(), self.answer

    def answer(self, packet):
        self.send(memoryview(packet))
        self.send(b"sent")


@pytest.mark.parametrize("kind", [Every, InStates])
def test_a_signal_handler_may_look_at_the_table_at_any_time(kind):
    def play(point):
        Every.noted = []
        with Played(kind) as played:
            with looking(played.reactor.table, point) as look:
                answers = played.send(b"ss")
            played.reactor.step(0)
            stats = played.reactor.stats()
            told = stats["ended"], stats["open"], stats["total_in"], stats["total_out"]
            return look.has_looked, (answers + played.answers(), Every.noted, told)

    found, points = outcomes(play)
    answers = [b"ss" if kind is InStates else b"sent", b"sent", b"finish"]
    told = {"": 1}, 0, 2, len(b"".join(answers))
    assert found == [(answers, ["setup", "finish NoneType"], told)]
    assert points > 20


@pytest.mark.parametrize("number", [10, 11])
def test_output_past_its_limit_ends_the_request(number):
    class Many(DatagramHandler):
        max_output = 10

        async def handle(self):
            await Packet()
            for _ in range(number):
                self.send(b"")

    with Played(Many) as played:
        answers = played.send(b"x")
        assert played.reactor.stats()["ended"] == ({"": 1} if number == 10 else {"LimitPassed": 1})
        assert answers == 10 * [b""]


def test_finish_is_told_that_the_output_has_passed_its_limit():
    reasons = []

    class Many(DatagramHandler):
        max_output = 10

        async def handle(self):
            self.send(await Packet())

        def finish(self):
            reasons.append(type(self.reason))
            self.send(b"bye")

    with Played(Many) as played:
        assert played.send(b"twelve bytes") == []
        assert played.send(b"ten bytes") == [b"ten bytes"]  # finish() has sent too much
        assert reasons == [LimitPassed, type(None)]
        assert played.reactor.stats()["ended"] == {"LimitPassed": 2}


def test_a_handler_that_is_kept_still_tells_and_sends_nothing():
    kept = []

    class Keeping(DatagramHandler):
        async def handle(self):
            self.send(await Packet())
            self.principal = "p"
            kept.append(self)
            with pytest.raises(RuntimeError, match="by returning None"):
                self.close()

    with Played(Keeping) as played:
        assert played.send(b"x") == [b"x"]
        [handler] = kept
        handler.send(b"y")
        handler.close()
        told = handler.peer, handler.server, handler.principal, handler.secured, handler.reason, handler.alpn
        assert told == (played.client.getsockname(), played.server, "p", None, None, None)
        assert handler.channel_binding("tls-unique") is None
        assert played.answers() == []
        assert played.reactor.table.closed[-1]["principal"] == "p"


def test_packets_that_the_kernel_does_not_take_are_sent_later():
    class Full(socket.socket):
        refused = 3

        def sendto(self, *arguments):
            if self.refused:
                self.refused -= 1
                raise BlockingIOError(errno.EAGAIN, "full")
            return super().sendto(*arguments)

    class Two(DatagramHandler):
        async def handle(self):
            self.send(await Packet())
            self.send(b"two")

    with Played(Two, over(Full)) as played:
        played.client.send(b"x")
        answers = []
        for _ in range(20):
            played.reactor.step(0.01)
            answers += played.answers()
        assert answers == [b"x", b"two"]
        played.reactor.step(0)
        assert played.reactor.stats()["ended"] == {"": 1}


class Partial(socket.socket):
    """A socket whose kernel takes some packets and not others: those with a bit of ``pattern`` set, in turn."""

    sends = 0
    pattern = ~0

    def sendto(self, *arguments):
        self.sends += 1
        if not self.pattern >> self.sends & 1:
            raise BlockingIOError(errno.EAGAIN, "full")
        return super().sendto(*arguments)


class Waited(DatagramHandler):
    """Answers each packet; notes how many answers were given and not sent before. ``w`` is a second wait."""

    waited: list
    given = 0

    async def handle(self):
        packet = await Packet()
        self.waited.append(self.given - self.server.socket.sends)
        type(self).given += 1
        self.send(packet)
        if packet == b"w":
            await Delay(0)


@pytest.fixture
def partly():
    """A server of `Waited`, and a client."""
    Waited.waited, Waited.given = [], 0
    with Played(Waited, over(Partial), Clock()) as played:
        yield played


def test_an_answer_waits_for_few_others(partly):
    packets = [b"%d" % number for number in range(TOGETHER + 5)]
    assert partly.send(*packets) == packets
    assert Waited.waited == [number % TOGETHER for number in range(len(packets))]


def test_an_answer_that_waits_is_sent_before_a_row_is_made(partly):
    assert partly.send(b"1", b"2", b"w", b"3") == [b"1", b"2", b"w"]
    assert Waited.waited == [0, 1, 2]
    for _ in range(4):
        partly.reactor.step(0.1)
    assert partly.answers() == [b"3"]


class Keyed(Waited):
    @classmethod
    def key(cls, packet):
        return b"any"


@given(st.integers(0, 0xFFFF), st.sampled_from([Waited, Keyed]))
def test_what_the_kernel_does_not_take_of_a_batch_is_sent_later_and_in_order(pattern, handler):
    handler.waited, handler.given = [], 0
    packets = [b"%d" % number for number in range(6)]
    with Played(handler, over(Partial)) as partly:
        partly.server.socket.pattern = pattern | ~0xFFFF
        answers = partly.send(*packets)
        for _ in range(20):
            partly.reactor.step(0 if len(answers) == len(packets) else 0.1)
            answers += partly.answers()
        assert answers == packets
        assert partly.reactor.stats()["ended"] == {"": 6}
        assert not partly.reactor.table


def test_where_the_kernel_takes_no_answer_no_more_rows_are_made_than_there_may_be(partly):
    partly.server.max_requests = 2
    partly.server.socket.pattern = 0
    partly.send(*[b"x"] * 3)
    others = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(8)]
    for other in others:
        other.sendto(b"y", partly.server.server_address)
        other.close()
    for _ in range(5):
        partly.reactor.step(0)
        assert len(partly.reactor.table) <= 2


@pytest.mark.parametrize("error", [SystemExit, ValueError])
def test_a_child_that_is_forked_in_a_batch_sends_no_answer_of_its_parent(error):
    class Forking(Waited):
        waited: list = []

        def send(self, packet):
            if packet == b"f":
                child = os.fork()
                if not child:
                    raise error
                os.waitpid(child, 0)
            super().send(packet)

    parent, packets = os.getpid(), [b"1", b"2", b"f", b"3"]
    with Played(Forking, over(Partial), Clock()) as played:
        try:
            assert played.send(*packets)[:3] == packets[:3]
        finally:
            if os.getpid() != parent:
                os._exit(0)


def test_an_interrupt_in_the_middle_of_the_answers_loses_one_at_most(partly):
    class Interrupted(Partial):
        def sendto(self, *arguments):
            if self.sends == 2:
                self.sends += 1
                raise KeyboardInterrupt
            return super().sendto(*arguments)

    partly.server.socket.__class__ = Interrupted
    packets = [b"%d" % number for number in range(6)]
    with pytest.raises(KeyboardInterrupt):
        partly.send(*packets)
    answers = partly.answers()
    assert partly.reactor.timeout() == 0
    partly.reactor.step(0)
    assert answers + partly.answers() == [b"0", b"1", b"3", b"4", b"5"]
    assert partly.reactor.stats()["ended"] == {"": 5}


def test_a_handler_that_closes_the_server_leaves_no_answer_unsent():
    class Closing(Waited):
        waited: list = []

        def send(self, packet):
            super().send(packet)
            if packet == b"3":
                self.server.server_close()

    with Played(Closing, over(Partial), Clock()) as played:
        assert played.send(b"1", b"2", b"3")[:2] == [b"1", b"2"]


def test_an_answer_of_a_handler_that_takes_long_waits_for_no_other():
    clock = Clock()

    class Slow(Waited):
        def send(self, packet):
            clock.seconds += PROMPT / 3
            super().send(packet)

    Slow.waited, Slow.given = [], 0
    with Played(Slow, over(Partial), clock) as played:
        assert played.send(*[b"x"] * 6) == [b"x"] * 6
        assert Slow.waited == [0, 1, 2, 0, 0, 0]


def test_packets_that_are_too_long_are_counted():
    with Played(EchoDatagram) as played:
        assert played.send(b"x" * 1001, b"x") == [b"x"]
        assert played.reactor.stats()["refused"] == {"truncated": 1}


def test_a_unix_peer_with_a_name_of_one_letter(tmp_path, monkeypatch):
    from reactor import SelectUnixDatagramServer

    monkeypatch.chdir(tmp_path)
    with (
        Reactor() as reactor,
        SelectUnixDatagramServer("server", EchoDatagram, reactor=reactor) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        client.bind("c")
        client.sendto(b"x", server.server_address)
        reactor.step(1)
        client.setblocking(False)
        assert client.recv(10) == b"x"


def test_a_packet_that_claims_to_come_from_the_server_is_dropped():
    with Played(EchoDatagram) as played:
        played.server.socket.sendto(b"x", played.server.server_address)
        assert played.send() == []
        assert played.reactor.stats()["refused"] == {"own address": 1}


def test_a_handler_that_can_not_be_made_is_reported_and_others_are_served():
    class Unmade(DatagramHandler):
        made = 0

        def __init__(self):
            type(self).made += 1
            if self.made == 1:
                raise ArithmeticError("not made")

        async def handle(self):
            self.send(await Packet())

    class Reporting(Server):
        def handle_error(self, request, client_address):
            self.errors.append(str(sys.exc_info()[1]))

    with Played(Unmade, Reporting) as played:
        assert played.send(b"one", b"two") == [b"two"]
        assert played.server.errors == ["not made"]
        assert played.reactor.stats()["ended"] == {"": 1, "ArithmeticError": 1}


def test_handle_request_takes_one_packet_and_leaves_the_others():
    with Played(EchoDatagram) as played:
        for packet in (b"one", b"two", b"three"):
            played.client.send(packet)
        played.server.handle_request()
        assert played.answers() == [b"one"]
        played.server.handle_request()
        assert played.answers() == [b"two"]


def test_an_error_of_the_socket_ends_no_loop_and_loses_no_packet():
    class Failing(socket.socket):
        failures = 2

        def recvfrom(self, *arguments):
            if self.failures:
                self.failures -= 1
                raise OSError(errno.ENOMEM, "no memory")
            return super().recvfrom(*arguments)

    with Played(EchoDatagram, over(Failing)) as played:
        played.client.send(b"x")
        for _ in range(20):
            played.reactor.step(0.05)
        assert played.answers() == [b"x"]


@pytest.mark.skipif(sys.platform != "linux", reason="IP_RECVERR is Linux's")
def test_an_error_of_what_the_program_sends_itself_does_not_keep_the_loop_awake():
    """The kernel keeps a record of the error, for which it reports the socket as ready until that has been read."""

    def has_record():
        return bool(poller.poll(0))

    with Played(EchoDatagram) as played:
        poller = select.poll()
        poller.register(played.server.socket, 0)  # for POLLERR alone
        with pytest.raises(OSError, match="too long"):
            played.server.socket.sendto(bytes(65_510), played.client.getsockname())
        assert has_record()
        for _ in range(3):
            played.reactor.step(0)
        assert not has_record()
        assert played.send(b"x") == [b"x"]


class Marking(PacketFilter):
    def received(self, packet):
        self.deliver(packet + b" filtered")


@pytest.mark.parametrize("change", [
    lambda server: server.stop_serving(),
    lambda server: setattr(server, "verify_request", lambda request, client_address: False),
    lambda server: setattr(server, "max_requests", 0),
    lambda server: setattr(server, "filters", [Marking]),
], ids=["stop_serving", "verify_request", "max_requests", "filters"])  # fmt: skip
@pytest.mark.parametrize("is_short", [True, False])
def test_what_a_handler_changes_holds_for_the_next_packet(change, is_short):
    class Changing(DatagramHandler):
        async def handle(self):
            packet = await Packet()
            if packet == b"change":
                change(self.server)
            self.send(packet)

    class Longer(Server):
        def verify_request(self, request, client_address):
            return True

    with Played(Changing, Server if is_short else Longer) as played:
        before = [b"%d" % number for number in range(20)]
        for packets in (before, [*before, b"change", *before]):  # of the first it learns how many come at once
            answers = played.send(*packets)
            for _ in range(6):
                played.reactor.step(0.01)
                answers += played.answers()
        later = [packet + b" filtered" for packet in before] if played.server.filters else []
        assert answers == [*before, b"change", *later]
