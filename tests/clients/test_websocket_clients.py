"""The client of `websockets` at `examples/websocket.py`."""

from contextlib import ExitStack

from websockets.sync.client import connect

from examples.websocket import Echo, Server
from tests.support.running import running_server
from tests.support.serving import wait_until

PATIENCE = 30
PONG = b"\x8a\x80mask"


def serving():
    return running_server(Server(("127.0.0.1", 0), Echo))


def client_of(server):
    return connect("ws://{}:{}/".format(*server.server_address), max_size=None, open_timeout=PATIENCE)


def test_messages_of_every_size_and_kind_are_echoed():
    with serving() as server:
        with client_of(server) as client:
            for message in ("", "h\xe4llo", b"", b"x", "y" * 200, b"z" * 70_000, bytes(3_000_000)):
                client.send(message)
                assert client.recv(PATIENCE) == message
            client.send(["a", "", "bc"])  # a frame each
            assert client.recv(PATIENCE) == "abc"
            assert client.ping().wait(PATIENCE)
        assert client.close_code == 1000
        wait_until(lambda: server.reactor.table.closed)
        assert server.reactor.table.closed[0]["reason"] == ""


def test_fifty_clients_at_once():
    with serving() as server, ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(50)]
        for number, client in enumerate(clients):
            client.send(str(number))
        assert [client.recv(PATIENCE) for client in clients] == [str(number) for number in range(50)]


def test_a_client_that_answers_pings_is_not_given_up(monkeypatch):
    monkeypatch.setattr(Echo, "silence", 0.02)
    with serving() as server, client_of(server) as client:
        row = next(iter(server.reactor.table))
        taken = row.total_in
        wait_until(lambda: row.total_in >= taken + 5 * len(PONG))
        client.send("still here")
        assert client.recv(PATIENCE) == "still here"
