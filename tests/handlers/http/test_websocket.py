"""`WebSocketHandler`: with wsproto as the client, in memory; with the client of `websockets`, over sockets."""

import subprocess
import sys
import tracemalloc
from contextlib import ExitStack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Ping, Pong, Request, TextMessage

from handlers import EndOfStream
from handlers.http.websocket import Closed, WebSocketHandler
from reactor.testing import check
from tests import ROOT
from tests.support.http_handlers import answers_to, machine_of, statuses
from tests.support.serving import PATIENCE, serving
from tests.support.strategies import cuts

HANDSHAKE = Request(host="here.example", target="/", subprotocols=["other", "echo"])


class Echo(WebSocketHandler):
    protocols = ("echo",)
    max_message = 100_000

    async def converse(self, socket, request):
        while (message := await socket.receive()) != "enough":
            await socket.send(message)


class Client:
    """A client of a machine: what it says, and what it has been told."""

    def __init__(self, handler=Echo):
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self.machine = machine_of(handler)
        self.machine.advance()
        self.told = []
        self.say(HANDSHAKE)
        accepted = self.told.pop(0)
        assert isinstance(accepted, AcceptConnection)
        assert (accepted.subprotocol, accepted.extensions) == ("echo", [])

    def say(self, *events):
        self.feed(b"".join(map(self.protocol.send, events)))

    def feed(self, *pieces):
        for piece in pieces:
            self.machine.feed(piece)
            while data := self.machine.read():
                self.protocol.receive_data(data)
        self.told += self.protocol.events()


@pytest.mark.slow
@given(st.lists(st.text(max_size=20), min_size=1, max_size=4), st.data())
@settings(max_examples=40)
def test_a_message_in_any_frames_is_echoed_wherever_the_stream_is_cut(parts, data):
    client = Client()
    frames = [TextMessage(data=part, message_finished=False) for part in parts]
    frames += [Ping(payload=b"between"), TextMessage(data=""), BytesMessage(data=b"\xff")]
    client.feed(*data.draw(cuts(b"".join(map(client.protocol.send, frames)))))
    assert [event for event in client.told if isinstance(event, Pong)] == [Pong(payload=b"between")]
    assert [bytes(event.data) if isinstance(event.data, bytearray) else event.data
            for event in client.told if isinstance(event, Message)] == ["".join(parts), b"\xff"]  # fmt: skip
    client.say(CloseConnection(code=1000, reason="done"))
    assert client.told[-1] == CloseConnection(code=1000, reason="done")
    assert client.machine.finished
    assert client.machine.reason is None


def test_the_server_closes_and_waits_for_the_close_of_the_client():
    client = Client()
    client.say(TextMessage(data="enough"), TextMessage(data="more"))
    assert client.told == [CloseConnection(code=1000, reason="")]
    assert not client.machine.finished
    client.say(client.told[0].response())
    assert (client.machine.finished, client.machine.reason) == (True, None)


@pytest.mark.parametrize(("data", "code"), [
    (b"\x81\x05hello", 1002),  # not masked
    (b"\xf1\x80mask", 1002),  # reserved bits
    (b"\x83\x80mask", 1002),  # no such opcode
    (b"\x80\x80mask", 1002),  # a continuation of nothing
    (b"\x09\x80mask", 1002),  # a Ping in fragments
    (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
    (b"\x82\xff\0\0\0\0\0\x01\x86\xa1\0\0\0\0" + bytes(100_001), 1009),
    (b"\x01\x80mask\x81\x80mask", 1002),  # a message inside of another
])  # fmt: skip
def test_a_client_that_breaks_the_protocol_is_told_so(data, code):
    client = Client()
    client.feed(data)
    assert [event.code for event in client.told if isinstance(event, CloseConnection)] == [code]
    assert isinstance(client.machine.reason, Closed)
    assert client.machine.reason.code == code


def test_fragments_are_counted_together():
    client = Client()
    for _ in range(3):
        client.say(BytesMessage(data=bytes(40_000), message_finished=False))
    assert [event.code for event in client.told] == [1009]


@pytest.mark.parametrize("part", ["", "ab"])
def test_a_message_in_many_fragments_takes_no_more_memory_than_its_content(part):
    client = Client()
    frames = client.protocol.send(TextMessage(data=part, message_finished=False))
    frames += b"".join(client.protocol.send(TextMessage(data=part, message_finished=False)) for _ in range(3_000))
    client.feed(frames[: len(frames) // 2])
    tracemalloc.start()
    try:
        client.feed(frames[len(frames) // 2 :])
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 8_192 + 3 * 1_500 * len(part)
    client.say(TextMessage(data="!"))
    assert [event.data for event in client.told if isinstance(event, Message)] == [part * 3_001 + "!"]


def test_a_silent_client_is_asked_and_then_given_up():
    client = Client()
    client.machine.expire()
    client.feed(b"")
    assert client.told == [Ping()]
    client.say(Pong())
    client.machine.expire()
    assert not client.machine.finished
    client.machine.expire()
    client.feed(b"")
    assert [type(event) for event in client.told] == [Ping, Ping, CloseConnection]
    assert client.machine.reason.code == 1001


def test_a_stream_that_ends_without_a_close_frame_is_a_cause():
    client = Client()
    client.machine.end()
    assert isinstance(client.machine.reason, EndOfStream)


GOOD = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def test_the_handshake_of_the_rfc():
    assert answers_to(GOOD, range(len(GOOD)), Echo) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(("old", "new", "status"), [
    (b"Upgrade: WebSocket\r\n", b"", 426), (b", Upgrade", b"", 426), (b": 13", b": 8", 426), (b"GET", b"POST", 400),
    (b"dGhl", b"", 400), (b"dGhl", b"&", 400), (b"HTTP/1.1", b"HTTP/1.0", 400), (b"Host: a\r\n", b"", 400),
    (b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nContent-Length: 1\r\n", 400),
])  # fmt: skip
def test_what_is_no_handshake_is_refused(old, new, status):
    assert statuses(answers_to(GOOD.replace(old, new, 1) + b"x", handler=Echo))[:1] == [status]


@pytest.mark.parametrize("mode", ["select", "thread"])
def test_the_client_of_websockets(mode):
    with serving(Echo, mode) as server, ExitStack() as stack:
        url = "ws://{}:{}/".format(*server.server_address)
        clients = [stack.enter_context(connect(url, subprotocols=["echo"])) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(str(number))
        assert [client.recv(PATIENCE) for client in clients] == [str(number) for number in range(20)]
        client = clients[0]
        assert client.subprotocol == "echo"
        for message in ("", "h\xe4llo", b"", b"x" * 200, bytes(100_000)):
            client.send(message)
            assert client.recv(PATIENCE) == message
        client.send(["a", "", "bc"])  # a frame each
        assert client.recv(PATIENCE) == "abc"
        assert client.ping().wait(PATIENCE)
        client.send(bytes(100_001))
        with pytest.raises(ConnectionClosed):
            client.recv(PATIENCE)
        assert client.close_code == 1009


def test_a_page_of_another_origin_may_be_refused():
    class Guarded(Echo):
        async def respond(self, request, response):
            if request.get("Origin") not in (None, "https://good.example"):
                response.reply(403)
            else:
                await super().respond(request, response)

    with serving(Guarded, "select") as server:
        url = "ws://{}:{}/".format(*server.server_address)
        with pytest.raises(InvalidStatus), connect(url, origin="https://evil.example"):
            pass
        with connect(url, origin="https://good.example") as client:
            client.send("a")
            assert client.recv(PATIENCE) == "a"


def test_without_wsproto_the_error_names_what_to_install():
    script = (
        "import sys; sys.modules['wsproto'] = None\n"
        "from handlers.http.websocket import WebSocketHandler\n"
        "class Echo(WebSocketHandler): pass\n"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert result.stderr.endswith("ImportError: Echo needs wsproto: pip install 'select-reactor[http]'\n")


@pytest.mark.slow
def test_a_handler_passes_check():
    frames = b"\x81\x85\0\0\0\0hello" + b"\x88\x82\0\0\0\0\x03\xe8"
    check(Echo, GOOD + frames, answers_to(GOOD, handler=Echo) + b"\x81\x05hello" + b"\x88\x02\x03\xe8", examples=2)
