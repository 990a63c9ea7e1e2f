"""The lingering close: the last answer arrives whole, whatever the client sends that nobody reads."""

import socket
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress

import pytest

from handlers import StreamHandler, StreamRequestHandler, Until
from reactor import Reactor, SelectTCPServer
from reactor.loop import selecting
from reactor.rows import lingering
from reactor.servers import direct
from tests.support.loops import Eager, until
from tests.support.serving import MODES, connect, reset, rest, serving, wait_until

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what has been acknowledged (SIOCOUTQ)"),
]
SIZE = 300_000


class Machine(StreamHandler):
    async def handle(self):
        await Until(b"\n")
        self.send(b"a" * SIZE)


class Blocking(StreamRequestHandler):
    request = Until(b"\n", limit=65_536)

    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"a" * SIZE)


class Failing(Blocking):
    def handle(self):
        super().handle()
        raise ArithmeticError("after the answer")


class Bare(StreamRequestHandler):
    """A blocking handler without a framing, which serves its connection in the caller, a child or a thread."""

    def handle(self):
        self.rfile.read(2)
        self.wfile.write(b"a" * SIZE)


def slow_client(server):
    """A client whose window is small, so that the server's kernel has output when the server closes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    client.settimeout(10)
    client.connect(server.server_address)
    return client


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("handler", [Machine, Blocking, Failing])
@pytest.mark.parametrize("unread", [b"", b"x" * 100_000])
def test_the_last_answer_arrives_although_the_client_sends_more(mode, handler, unread):
    with serving(handler, mode, handle_error=lambda *_: None) as server, slow_client(server) as client:
        client.sendall(b"q\n" + unread)
        assert client.recv(1, socket.MSG_PEEK)
        wait_until(lambda: is_answered(server, client))
        client.send(b"x")
        assert len(rest(client)) == SIZE


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "select"])
def test_the_last_answer_of_a_handler_without_a_framing_arrives_although_the_client_sends_more(mode):
    with serving(Bare, mode) as server, slow_client(server) as client:
        client.sendall(b"q\n" + b"x" * 100_000)
        assert len(rest(client)) == SIZE


def is_answered(server, client):
    """Whether the server has sent all that it has to this client: the kernel has the rest."""
    return sum(row.total_out for row in server.reactor.table) in (0, SIZE)


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_has_everything_is_not_waited_for(mode):
    with serving(Machine, mode) as server, connect(server) as client:
        client.sendall(b"q\n")
        assert len(rest(client)) == SIZE
        wait_until(lambda: len(server.reactor.table) == 0)


def test_the_fin_of_an_output_that_has_arrived_is_not_waited_for():
    """A peer that has just answered a request acknowledges late: here what it has not acknowledged is the FIN."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as peer:
        sock, _ = listener.accept()
        with sock:
            for _ in range(20):  # until the peer's kernel takes this for a dialogue, and acknowledges with its answers
                sock.sendall(b"question")
                peer.recv(100)
                peer.sendall(b"answer")
                sock.recv(100)
            sock.sendall(b"the last one")
            wait_until(lambda: lingering.unacknowledged(sock) == 0)
            sock.shutdown(socket.SHUT_WR)
            assert lingering.unacknowledged_data(sock) == 0


def test_data_that_the_peer_has_no_room_for_is_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as peer:
        sock, _ = listener.accept()
        with sock:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    sock.send(bytes(65_536))
            sock.shutdown(socket.SHUT_WR)
            left = lingering.unacknowledged(sock)
            assert lingering.unacknowledged_data(sock) == left - 1 > 0
            while peer.recv(65_536):
                pass
            wait_until(lambda: lingering.unacknowledged_data(sock) == 0)  # the peer acknowledges the last of it late


def test_each_byte_that_the_peer_has_not_acknowledged_counts():
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        sock, _ = listener.accept()
        with sock:
            sock.setblocking(False)
            with suppress(BlockingIOError):
                while True:  # until the buffers of both ends are full
                    sock.send(bytes(65_536))
            looks = [-1, 0]
            while looks[-1] != looks[-2]:
                time.sleep(0.05)
                looks.append(lingering.unacknowledged(sock))
            sock.shutdown(socket.SHUT_WR)
            assert looks[-1] > 0
            assert (lingering.unacknowledged(sock), lingering.unacknowledged_data(sock)) == (looks[-1] + 1, looks[-1])


def test_what_the_peer_of_a_unix_socket_has_not_read_is_not_lost_by_a_close():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.send(b"word")
        assert (lingering.unacknowledged(ours), lingering.unacknowledged_data(ours)) == (0, 0)
        ours.close()
        assert theirs.recv(9) == b"word"


def test_a_client_that_resets_when_it_has_the_answer_is_no_error():
    class Listening(SelectTCPServer):
        def get_request(self):
            accepted, address = super().get_request()
            return Accepted(fileno=accepted.detach()), address

    class Accepted(socket.socket):
        def recv(self, *arguments):
            data = super().recv(*arguments)
            if data == b"q\n":
                client.sendall(b"bye")
            else:
                reset(client)  # after the row has looked for input, and before it ends its output
            return data

    class Answers(StreamHandler):
        async def handle(self):
            self.send(await Until(b"\n"))

    with (
        closing(Reactor()) as reactor,
        Listening(("127.0.0.1", 0), Answers, reactor=reactor) as server,
        connect(server) as client,
    ):
        client.sendall(b"q\n")
        until(reactor, lambda: reactor.table.closed)
        assert reactor.table.closed[-1]["reason"] == ""


@pytest.mark.parametrize("mode", MODES)
def test_a_client_that_resets_is_not_waited_for(mode):
    with serving(Blocking, mode, handle_error=lambda *_: None) as server:
        with slow_client(server) as client:
            client.sendall(b"q\n")
            assert client.recv(1)
        wait_until(lambda: len(server.reactor.table) == 0)


class Plain(StreamRequestHandler):
    """Answers with more than the window of a `slow_client`, and less than what the server's kernel takes at once."""

    def handle(self):
        self.wfile.write(self.rfile.readline() * 15_000)


ANSWER = b"q\n" * 15_000


def lingering_in(server):
    return [row.stage.value for row in server.reactor.table] == ["lingering"]


def asked(server, stack):
    """A slow client whose answer is in the server's kernel, and that reads nothing."""
    client = stack.enter_context(slow_client(server))
    client.sendall(b"q\n")
    wait_until(lambda: any(row.stage.value == "lingering" for row in server.reactor.table))
    return client


def test_a_client_that_reads_late_delays_no_other_in_plain_mode(monkeypatch):
    monkeypatch.setattr(lingering, "LINGER", 60)
    with serving(Plain, "plain") as server, ExitStack() as stack:
        late = asked(server, stack)
        assert lingering_in(server)
        for _ in range(3):
            with connect(server) as client:
                client.sendall(b"q\n")
                assert rest(client) == ANSWER
        assert "lingering" in [row.stage.value for row in server.reactor.table]
        assert rest(late) == ANSWER
        wait_until(lambda: len(server.reactor.table) == 0)
        assert server.reactor.table.stats()["ended"] == {"": 4}


def test_a_client_that_resets_while_it_lingers_in_the_loop_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(lingering, "LINGER", 60)
    with serving(Plain, "plain") as server, ExitStack() as stack:
        reset(asked(server, stack))
        wait_until(lambda: len(server.reactor.table) == 0)


def test_what_lingers_may_be_reported_although_nothing_has_come(monkeypatch):
    monkeypatch.setattr(lingering, "LINGER", 60)
    monkeypatch.setattr(selecting, "DefaultSelector", Eager)  # for the server's own loop: in no other one they linger
    with serving(Plain, "plain") as server, ExitStack() as stack:
        late = asked(server, stack)
        with connect(server) as client:
            client.sendall(b"q\n")
            assert rest(client) == ANSWER
        assert "lingering" in [row.stage.value for row in server.reactor.table]
        assert rest(late) == ANSWER
        wait_until(lambda: len(server.reactor.table) == 0)


def test_a_server_that_is_shut_down_waits_for_those_that_linger():
    with serving(Plain, "plain") as server, ExitStack() as stack:
        late, ends = asked(server, stack), threading.Thread(target=server.shutdown)
        ends.start()
        late.sendall(b"more")  # a close now would be a reset
        assert rest(late) == ANSWER
        ends.join(10)
        assert not ends.is_alive()
        assert len(server.reactor.table) == 0


def test_the_connections_that_linger_in_the_loop_are_bounded(monkeypatch):
    monkeypatch.setattr(lingering, "LINGER", 60)
    monkeypatch.setattr(direct, "MOST_LINGERING", 1)
    with serving(Plain, "plain") as server, ExitStack() as stack:
        late = asked(server, stack)
        with slow_client(server) as other:  # the thread of the server waits for this one
            other.sendall(b"q\n")
            wait_until(lambda: "serving" in [row.stage.value for row in server.reactor.table])
            assert [row.stage.value for row in server.reactor.table] == ["lingering", "serving"]
            assert rest(other) == ANSWER
        assert rest(late) == ANSWER
        wait_until(lambda: len(server.reactor.table) == 0)


def test_a_selector_that_is_full_makes_the_thread_wait(monkeypatch):
    def refuse(*_):
        raise OSError(28, "no room")

    monkeypatch.setattr(Reactor, "watch", refuse)
    with serving(Plain, "plain") as server, slow_client(server) as client:
        client.sendall(b"q\n")
        assert rest(client) == ANSWER
        wait_until(lambda: len(server.reactor.table) == 0)


def test_the_peer_is_waited_for_while_it_acknowledges_enough(monkeypatch):
    left = [5_000]
    monkeypatch.setattr(lingering, "unacknowledged_data", lambda sock: left[0])
    awaited = lingering.Acknowledgement(5_000, 10.0)
    assert (awaited.is_due(None, 11.9), awaited.is_due(None, 12.0)) == (True, False)
    left[0] = 4_001
    assert not awaited.is_due(None, 12.0)  # it has acknowledged too little
    left[0] = 4_000
    assert (awaited.is_due(None, 13.0), awaited.is_due(None, 14.9), awaited.is_due(None, 15.0)) == (True, True, False)
    left[0] = 0
    assert not lingering.Acknowledgement(5, 10.0).is_due(None, 10.1)  # all is acknowledged
