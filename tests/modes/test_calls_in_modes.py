"""Calls in all four modes, over streams and datagrams, with real clients: the same answers, and nothing stays."""

import socket

import pytest

from handlers import (
    Connected,
    DatagramHandler,
    Delay,
    Exactly,
    Flushed,
    Forked,
    Packet,
    StreamHandler,
    Threaded,
    ToEnd,
    Until,
)
from reactor.rows.filters.tap import Tap
from tests.support.resources import resources
from tests.support.serving import (
    MODES,
    PACKETS,
    STREAMS,
    ask,
    connect,
    journal_error,
    peer,
    receive_lines,
    reset,
    rest,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
every_stream = pytest.mark.parametrize("place", ["tcp", "tcp6", "unix"])
every_packet = pytest.mark.parametrize("place", ["udp", "udp6", "unix"])
TCP, UDP = STREAMS["tcp"], PACKETS["udp"]


class Job(DatagramHandler):
    """Does what its packet says, after the wait that the packet names, and answers with one line."""

    async def handle(self):
        what, argument = (await Packet()).split()
        if what == b"delay":
            await Delay(float(argument))
        elif what == b"forked":
            argument = b"%d" % await Forked(int, argument)
        elif what == b"threaded":
            argument = b"%d" % await Threaded(int, argument)
        elif what == b"connected":
            asking = Asking(argument)
            await Connected(self.server.upstream, asking)
            while asking.answer is None:
                await Delay(0.001)
            argument = asking.answer
        elif what == b"nested":
            argument = await self.nested(argument)
        elif what == b"pieces":
            for number in range(int(argument)):
                self.send(b"piece %d\n" % number)
                await Flushed()
        elif what == b"raise":
            raise ArithmeticError(argument.decode())
        self.send(b"%b %b\n" % (what, argument))

    async def nested(self, argument):
        answers = []
        self.call(Job(), b"delay " + argument, answers.append)
        while not answers:
            await Delay(0.001)
        return answers[0].split()[1]


class Asking(StreamHandler):
    answer = None

    def __init__(self, question):
        self.question = question

    async def handle(self):
        self.send(self.question)
        self.send_eof()
        self.answer = await ToEnd()


class Calling(StreamHandler):
    """Each line is a call."""

    def handle(self):
        return Until(b"\n", limit=100), self.line

    def line(self, data):
        self.call(Job(), data, self.send)
        return self.handle()


class CallingDatagram(DatagramHandler):
    """Each packet is a call; an exchange is what begins with the same byte."""

    timeout = 0.5

    @staticmethod
    def key(packet):
        return packet[:1]

    def handle(self):
        return Packet(), self.took

    def took(self, packet):
        self.call(Job(), packet[1:], self.send)
        return self.handle()


@every_mode
@every_stream
def test_the_answers_of_calls_come_in_the_order_in_which_the_calls_end(mode, place):
    with serving(Calling, mode, STREAMS[place]) as server, connect(server) as client:
        client.sendall(b"delay 0.2\ndelay 0\ndelay 0.1\n")
        assert receive_lines(client, 3) == [b"delay 0\n", b"delay 0.1\n", b"delay 0.2\n"]


@every_mode
def test_calls_wait_for_children_threads_connections_and_calls(mode, upstream):
    lines = [b"forked 7\n", b"threaded 8\n", b"connected nine\n", b"nested 0.01\n"]
    with serving(Calling, mode, TCP, upstream=upstream) as server:
        assert sorted(ask(server, *lines).splitlines(keepends=True)) == sorted(lines)


@every_mode
def test_a_call_sends_again_when_all_that_it_has_sent_has_left(mode):
    with serving(Calling, mode, TCP) as server:
        lines = ask(server, b"pieces 300\n").splitlines()
    assert lines == [*(b"piece %d" % number for number in range(300)), b"pieces 300"]


@every_mode
def test_open_calls_answer_a_client_after_its_half_close(mode):
    with serving(Calling, mode, TCP) as server:
        assert ask(server, b"delay 0.1\ndelay 0.05\n") == b"delay 0.05\ndelay 0.1\n"
        wait_until(lambda: not server.reactor.table)


@every_mode
def test_an_exception_in_a_call_is_handled_and_the_others_answer(mode, journal):
    with serving(Calling, mode, TCP, handle_error=journal_error, journal=journal) as server:
        assert ask(server, b"raise one\n", b"delay 0.05\n", b"raise two\n") == b"delay 0.05\n"
    assert sorted(journal.lines()) == ["handle_error ArithmeticError one", "handle_error ArithmeticError two"]


@every_mode
def test_an_exception_in_the_answer_ends_the_request(mode, journal):
    class Bad(Calling):
        def line(self, data):
            self.call(Job(), data, self.bad)
            return self.handle()

        def bad(self, answer):
            raise ArithmeticError(answer.decode().strip())

    with (
        serving(Bad, mode, TCP, handle_error=journal_error, journal=journal) as server,
        connect(server) as client,
    ):
        client.sendall(b"delay 0.01\ndelay 5\n")
        assert rest(client) == b""
        wait_until(lambda: not server.reactor.table)
    assert journal.lines() == ["handle_error ArithmeticError delay 0.01"]


@every_mode
def test_more_calls_than_the_bound_are_all_answered_a_few_at_a_time(mode):
    class Few(Calling):
        max_calls = 3
        open = most = 0

        def line(self, data):
            self.open += 1
            self.most = max(self.most, self.open)
            self.call(Job(), data, self.ended)
            return self.handle()

        def ended(self, answer):
            self.open -= 1
            self.send(b"%d\n" % self.most)

    with serving(Few, mode, TCP) as server:
        answers = ask(server, b"delay 0.01\n" * 40).split()
    assert len(answers) == 40
    assert int(answers[-1]) <= 3


@every_mode
def test_calls_go_through_filters(mode):
    seen = []
    with serving(Calling, mode, TCP, filters=[lambda inner: Tap(inner, lambda *what: seen.append(what))]) as server:
        assert ask(server, b"delay 0.02\ndelay 0\n") == b"delay 0\ndelay 0.02\n"
    if mode != "fork":  # there, the child sees
        assert seen


@every_mode
@every_packet
def test_packets_are_calls_of_the_exchange_that_their_key_names(mode, place):
    with serving(CallingDatagram, mode, PACKETS[place]) as server, peer(server) as client:
        for packet in b"adelay 0.1", b"adelay 0":
            client.send(packet)
        assert [client.recv(100) for _ in range(2)] == [b"delay 0\n", b"delay 0.1\n"]


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_two_exchanges_of_one_peer_are_open_at_once(mode):
    with serving(CallingDatagram, mode, UDP) as server, peer(server) as client:
        for packet in b"adelay 0.3", b"bdelay 0.1", b"bdelay 0", b"adelay 0.2":
            client.send(packet)
        assert sorted(client.recv(100) for _ in range(4)) == [b"delay %b\n" % s for s in (b"0", b"0.1", b"0.2", b"0.3")]


@pytest.mark.parametrize("mode", ["select", "plain", "thread"])
def test_calls_are_rows_that_go_with_their_connection(mode):
    with serving(Calling, mode, TCP) as server:
        with connect(server) as client:
            client.sendall(b"delay 60\ndelay 70\n")
            table = server.reactor.table
            wait_until(lambda: len(table) == 3)
            parent, *calls = table
            for call in calls:
                assert call.handler == "Job"
                assert call.wait in ("Delay(60.0)", "Delay(70.0)")
                assert 0 < call.as_dict()["deadline"] <= 70
                assert (call.stage.value, str(call.driven_by)) == ("serving", str(parent.driven_by))
                assert call.peer == parent.peer
            reset(client)
        wait_until(lambda: not table)
        assert table.ends["Cancelled"] == 2


@every_mode
@pytest.mark.parametrize("how", ["reset", "timeout", "finish"])
def test_open_calls_end_with_their_connection(mode, how):
    class Ending(Calling):
        timeout = 0.1 if how == "timeout" else 60

        def line(self, data):
            if data == b"end\n":
                return None
            return super().line(data)

    with serving(Ending, mode, TCP) as server, connect(server) as client:
        client.sendall(b"delay 60\n" * 3)
        wait_until(lambda: server.reactor.table)
        if how == "finish":
            client.sendall(b"end\n")
        if how == "reset":
            reset(client)
        else:
            assert rest(client) == b""
        wait_until(lambda: not server.reactor.table)


@pytest.mark.parametrize("mode", ["select", "fork", "thread"])
def test_a_server_that_closes_ends_its_calls(mode):
    with serving(Calling, mode, TCP) as server, connect(server) as client:
        client.sendall(b"delay 0\ndelay 60\n")
        assert receive_lines(client, 1) == [b"delay 0\n"]
        server.shutdown()
        server.server_close()
        assert client.recv(100) == b""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["select", "thread"])
def test_a_drain_lets_calls_finish_and_cuts_the_others(mode):
    with serving(Calling, mode, TCP) as server, connect(server) as quick, connect(server) as slow:
        quick.sendall(b"delay 0.1\n")
        quick.shutdown(socket.SHUT_WR)
        slow.sendall(b"delay 60\n")
        slow.shutdown(socket.SHUT_WR)
        wait_until(lambda: len(server.reactor.table) == 4)
        unfinished = server.drain(1)
        assert rest(quick) == b"delay 0.1\n"
        assert rest(slow) == b""
        assert sorted(row["handler"] for row in unfinished) == ["Calling", "Job"]


@every_mode
def test_calls_leave_nothing_behind(mode, upstream):
    before = resources()
    with serving(Calling, mode, TCP, upstream=upstream) as server:
        for _ in range(3):
            ask(server, b"forked 7\nthreaded 8\nconnected nine\nnested 0\ndelay 0\n")
        wait_until(lambda: not server.reactor.table)
    wait_until(lambda: resources() == before, f"the end of all but {before}")


@every_mode
def test_a_call_may_be_made_where_the_wait_is_not_for_input(mode):
    class Ahead(StreamHandler):
        async def handle(self):
            answers = []
            for number in range(3):
                self.call(Job(), b"delay 0.0%d" % (3 - number), answers.append)
            await Exactly(1)
            while len(answers) < 3:
                await Delay(0.001)
            self.send(b"".join(answers))

    with serving(Ahead, mode, TCP) as server, connect(server) as client:
        client.sendall(b"x")
        assert rest(client) == b"delay 0.01\ndelay 0.02\ndelay 0.03\n"
