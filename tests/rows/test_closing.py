"""The end of a connection: the last output arrives whatever the client still sends, and the row ends soon."""

import socket
from threading import Thread

import pytest

from handlers import StreamHandler, Until
from reactor import SelectTCPServer
from reactor.rows.stream import LINGER
from reactor.testing import World
from tests.support.serving import MODES, STREAMS, connect, serving, wait_until

ADDRESS = ("10.0.0.1", 7)
every_mode = pytest.mark.parametrize("mode", MODES)

WORDS = bytes(range(251)) * 12_000
"""Three megabytes: more than the buffers of a connection hold."""


class Hasty(StreamHandler):
    """Answers the first line at length and finishes, whatever else comes."""

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
        pass  # the server has closed the connection


@every_mode
@pytest.mark.parametrize("place", ["tcp", "unix"])
@pytest.mark.parametrize(("question", "answer"), [(b"line\n", WORDS), (b"no line at all", b"too long")])
def test_the_reply_arrives_although_the_client_sends_more_than_is_read(mode, place, question, answer):
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
    """Run a client with ``script``; returns the entry of its row in ``table.closed``, and the client."""
    with World() as world:
        server = world.serve(SelectTCPServer, ADDRESS, handler)
        client = world.connect(ADDRESS)
        script(client)
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
        return row, client


def test_a_client_that_sends_for_ever_holds_the_row_for_two_seconds():
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


def test_the_row_of_a_client_that_sends_nothing_more_ends_at_once():
    row, _ = ended(Hasty, lambda client: client.send(b"line\n").expect(WORDS).wait(60))
    assert row["reason"] == ""
    assert row["age"] < 0.1


def test_a_drain_does_not_wait_for_a_row_that_only_lingers():
    with serving(Hasty, "select") as server, connect(server) as client:
        client.sendall(b"far too long for a line")
        assert client.recv(100) == b"too long"
        server.shutdown()
        assert len(server.reactor.table) == 1
        assert server.drain(0.01) == []
        assert client.recv(100) == b""
