"""`examples/websocket.py`: the echo, however the stream is cut, and what a client must not do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from examples.websocket import Echo, Server
from handlers import EndOfStream, StreamMachine
from reactor.testing import World
from tests.support.examples import read_until, running
from tests.support.strategies import cuts

HANDSHAKE = Request(host="here.example", target="/")


class Client:
    """A client of a machine: what it has said, and what it has been told."""

    def __init__(self):
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.machine = StreamMachine(Echo())
        self.machine.advance()
        self.told = []

    def say(self, *events):
        """The bytes of the events."""
        return b"".join(map(self.protocol.send, events))

    def hear(self):
        """Take what the server has said."""
        while data := self.machine.read():
            self.protocol.receive_data(data)
        self.told += self.protocol.events()

    def open(self):
        self.machine.feed(self.say(HANDSHAKE))
        self.hear()
        assert isinstance(self.told.pop(0), AcceptConnection)
        return self


def message(told):
    """The text or the bytes of the messages that were told."""
    data = [event.data for event in told if isinstance(event, (TextMessage, BytesMessage))]
    return "".join(data) if isinstance(data[0], str) else b"".join(map(bytes, data))


texts = st.lists(st.text(max_size=20), min_size=1, max_size=4)


@pytest.mark.slow
@given(texts, st.data())
@settings(max_examples=40)
def test_a_message_in_any_frames_is_echoed_wherever_the_stream_is_cut(parts, data):
    client = Client().open()
    frames = [TextMessage(data=part, message_finished=part is parts[-1]) for part in parts[:-1]]
    frames += [Ping(payload=b"between"), TextMessage(data=parts[-1])]
    for piece in data.draw(cuts(client.say(*frames))):
        client.machine.feed(piece)
    client.hear()
    assert message(client.told) == "".join(parts)
    assert [event.payload for event in client.told if isinstance(event, Pong)] == [b"between"]
    assert [event.message_finished for event in client.told if isinstance(event, TextMessage)][-1]


def test_a_large_message_is_not_held():
    client = Client().open()
    frame = client.say(BytesMessage(data=bytes(5_000_000)))
    most = 0
    for place in range(0, len(frame), 65_536):
        client.machine.feed(frame[place : place + 65_536])
        most = max(most, client.machine.held_in + client.machine.held_out)
        client.hear()
    assert message(client.told) == bytes(5_000_000)
    assert most < 100_000


def test_a_silent_client_is_asked_and_then_closed():
    client = Client().open()
    assert client.machine.patience == 20
    client.machine.expire()
    client.hear()
    assert client.told == [Ping(payload=b"")]
    client.machine.feed(client.say(client.told.pop().response()))
    client.machine.expire()
    client.machine.expire()
    client.hear()
    assert [type(event) for event in client.told] == [Ping, CloseConnection]
    assert client.told[1].code == 1001
    assert client.machine.finished


def test_a_close_is_answered():
    client = Client().open()
    client.machine.feed(client.say(CloseConnection(code=1000, reason="bye")))
    client.hear()
    assert client.told == [CloseConnection(code=1000, reason="bye")]
    assert (client.machine.finished, client.machine.reason) == (True, None)


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"\x81\x01a", 1002), (b"\x83\x80\0\0\0\0", 1002), (b"\xc1\x80\0\0\0\0", 1002), (b"\x81\x81\0\0\0\0\xff", 1007),
     (b"\x80\x80\0\0\0\0", 1002), (b"\x89\xfe\x00\xff\0\0\0\0", 1002)],
)  # fmt: skip
def test_a_wrong_frame_is_a_close_with_its_code(frame, code):
    client = Client().open()
    client.machine.feed(frame)
    client.hear()
    assert [event.code for event in client.told] == [code]
    assert client.machine.finished


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 9_999]
)
def test_what_is_no_handshake_is_refused(request_):
    machine = StreamMachine(Echo())
    machine.feed(request_)
    assert machine.read().startswith(b"HTTP/1.1 4")
    assert machine.finished


def test_a_client_that_drips_its_handshake_is_ended_by_the_time_of_the_handshake():
    address = ("10.0.0.1", 7080)
    with World() as world:
        server = world.serve(Server, address, Echo)
        client = world.connect(address)
        for byte in Client().say(HANDSHAKE):
            client.wait(1).send(bytes([byte]))
        world.run(lambda: server.reactor.table.closed)
        [row] = server.reactor.table.closed
    assert row["reason"].startswith("TimedOut: timed out in Until")
    assert client.received.startswith(b"HTTP/1.1 408 ")
    assert row["total_in"] < 40


def test_a_client_that_leaves_without_a_close_is_a_cause():
    client = Client().open()
    client.machine.end()
    assert isinstance(client.machine.reason, EndOfStream)


def test_it_runs_as_a_program():
    with running("websocket", installed=True) as example, example.connect() as client:
        client.sendall(WSConnection(ConnectionType.CLIENT).send(HANDSHAKE))
        assert read_until(client, b"\r\n\r\n").startswith(b"HTTP/1.1 101")
