"""The end of a connection: the last words arrive, whatever the client still sends, and nobody holds a row by that."""

import socket
from threading import Thread

import pytest

from handlers import Connected, StreamHandler, StreamRequestHandler, ToEnd, Until
from handlers.services import Echo
from reactor import SelectTCPServer
from reactor.stream import LINGER
from reactor.testing import World
from tests.serving import MODES, STREAMS, connect, serving, wait_until

ADDRESS = ("10.0.0.1", 7)
every_mode = pytest.mark.parametrize("mode", MODES)
WORDS = bytes(range(251)) * 12_000
"""Three megabytes: more than is under way at once."""


class Hasty(StreamHandler):
    """Answers the first line at length and is done, whatever else comes."""

    def handle(self):
        return Until(b"\n", limit=10), self.line

    def line(self, data):
        self.send(WORDS)

    def interrupted(self, cause):
        self.send(b"too long")


def keep_sending(client, data=bytes(100_000)):
    try:
        while True:
            client.sendall(data)
    except OSError:
        pass  # nobody listens any more


@every_mode
@pytest.mark.parametrize("place", ["tcp", "unix"])
@pytest.mark.parametrize(("question", "answer"), [(b"line\n", WORDS), (b"no line at all", b"too long")])
def test_the_reply_arrives_though_the_client_sends_what_nobody_reads(mode, place, question, answer):
    with serving(Hasty, mode, STREAMS[place]) as server, connect(server) as client:
        client.sendall(question + bytes(200_000))
        sender = Thread(target=keep_sending, args=(client,))
        sender.start()
        received = bytearray()
        while len(received) < len(answer):
            data = client.recv(50_000)
            assert data, f"the stream ended after {len(received)} bytes"
            received += data
        assert received == answer
        client.shutdown(socket.SHUT_WR)
        sender.join()
        wait_until(lambda: not server.reactor.table)


def ended(handler, script):
    """The obituary of the row of a client who acts out ``script``, and he."""
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, handler)
        client = world.connect(ADDRESS)
        script(client)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        return row, client


def test_who_sends_for_ever_holds_the_row_for_two_seconds():
    def script(client):
        client.read_slowly(100_000, 0.05).send(b"line\n")
        for _ in range(100):
            client.send(b"more").wait(0.1)

    row, client = ended(Hasty, script)
    assert client.received == WORDS
    assert row["reason"] == ""
    seconds = len(WORDS) / 65_536 * 0.05  # the capacity of a connection
    assert row["age"] == pytest.approx(seconds + LINGER, abs=0.2)


@pytest.mark.parametrize("ending", ["close", "shutdown", "reset"])
def test_when_the_client_has_gone_too_the_row_ends_at_once(ending):
    def script(client):
        getattr(client.send(b"far too long a line\n").wait(0.5), ending)()

    row, _ = ended(Hasty, script)
    assert row["reason"].startswith("LimitPassed")
    assert row["age"] == pytest.approx(0.5, abs=0.1)


def test_who_has_nothing_more_to_say_is_let_go_at_once():
    row, _ = ended(Hasty, lambda client: client.send(b"line\n").expect(WORDS).wait(60))
    assert row["reason"] == ""
    assert row["age"] < 0.1


# What the kernel is asked for


def test_connections_of_state_machines_have_sane_tcp_options():
    with serving(Echo, "select") as server, connect(server):
        [row] = wait_until(lambda: list(server.reactor.table))
        assert options(row.socket) == (1, 1, server.keepalive, 1000 * server.user_timeout)


class Opening(StreamHandler):
    async def handle(self):
        await Connected(self.server.server_address, Echo())
        await ToEnd()


def test_an_opened_connection_has_them_too():
    with serving(Opening, "select", max_requests=1) as server, connect(server):
        rows = wait_until(lambda: len(server.reactor.table) == 2 and list(server.reactor.table))
        assert [options(row.socket) for row in rows] == 2 * [(1, 1, 60, 120_000)]


class Blocking(StreamRequestHandler):
    def handle(self):
        self.wfile.write(repr(options(self.request)).encode())


def test_blocking_handlers_have_the_options_that_they_set_themselves():
    with serving(Blocking, "thread") as server, connect(server) as client:
        assert client.makefile("rb").read().startswith(b"(False, False, ")


def options(sock):
    tcp = socket.IPPROTO_TCP
    return (
        bool(sock.getsockopt(tcp, socket.TCP_NODELAY)),
        bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)),
        sock.getsockopt(tcp, socket.TCP_KEEPIDLE),
        sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT),
    )


def test_who_has_all_but_does_not_go_has_been_finished_with_when_a_server_drains():
    with serving(Hasty, "select") as server, connect(server) as client:
        client.sendall(b"far too long for a line")
        assert client.recv(100) == b"too long"
        server.shutdown()
        assert len(server.reactor.table) == 1
        assert server.drain(0.01) == []
        assert client.recv(100) == b""
