"""Calls that a handler makes inside a reactor, over a stream and over datagrams, and the typed blocking clients."""

import socket
import struct
from contextlib import contextmanager

import pytest

from handlers import Connected, DatagramHandler, Failed, Packet, StreamHandler, Until
from handlers.sunrpc import xdr
from handlers.sunrpc.auth import AuthError, AuthSys
from handlers.sunrpc.calling import DatagramCaller, StreamCaller
from handlers.sunrpc.message import RPCError
from handlers.sunrpc.record import RPCStreamHandler, mark
from reactor import Reactor, SelectTCPServer, SelectUDPServer
from tests.support.rpc import Calculator, Datagram, Stream, x
from tests.support.serving import MODES, PACKETS, STREAMS, ask, connect, peer, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
TRANSPORTS = {"stream": (Stream, STREAMS["tcp"], StreamCaller), "datagrams": (Datagram, PACKETS["udp"], DatagramCaller)}
every_transport = pytest.mark.parametrize("transport", TRANSPORTS)


class Front(StreamHandler):
    """Calls the server at ``address`` for each line."""

    address: tuple
    caller: type

    async def handle(self):
        self.connected = await Connected(self.address, self.caller())
        calls = x.CALCULATOR_1_calls(self.connected, AuthSys(1, "host", 501, 20, []))
        while True:
            number = int(await Until(b"\n"))
            later = [calls.LATER(20 - index) for index in range(20)]
            total = await calls.ADD(number, 1)
            assert [await reply for reply in later] == list(range(20, 0, -1))
            assert await calls.UID() == 501
            assert await calls.NOTHING() is None
            for wrong, error, said in ((0, RPCError, "SYSTEM_ERR"), (2, AuthError, "REJECTEDCRED")):
                with pytest.raises(error, match=said):
                    await calls.FAIL(wrong)
            with pytest.raises(xdr.Error):
                calls.ADD("two", 2)
            self.send(b"%d\n" % total)

    def finish(self):
        self.connected.close()


@contextmanager
def fronted(mode, transport):
    """A front server in a mode, and behind it a server of calculators."""
    handler, place, caller = TRANSPORTS[transport]
    with serving(handler, "select", place, handle_error=lambda *_: None) as server:
        front = type("Fronted", (Front,), {"address": server.server_address, "caller": caller})
        with serving(front, mode, STREAMS["tcp"]) as outer:
            yield server, outer


@every_mode
@every_transport
def test_a_handler_makes_many_calls_at_once(mode, transport):
    with fronted(mode, transport) as (_, outer):
        assert ask(outer, b"1\n2\n") == b"2\n3\n"


@every_transport
def test_many_handlers_make_calls_over_one_connection_and_the_loop_goes_on(transport):
    handler, _, kind = TRANSPORTS[transport]

    class Shared(StreamHandler):
        async def handle(self):
            if self.server.caller is None:
                self.server.caller = kind()
                await Connected(inner.server_address, self.server.caller)
            calls = x.CALCULATOR_1_calls(self.server.caller)
            milliseconds = int(await Until(b"\n"))
            self.send(b"%d\n" % await calls.LATER(milliseconds))

    with Reactor() as reactor:
        server_kind = SelectTCPServer if transport == "stream" else SelectUDPServer
        address = ("127.0.0.1", 0)
        with (
            server_kind(address, handler, reactor=reactor) as inner,
            SelectTCPServer(address, Shared, reactor=reactor) as server,
        ):
            server.caller = None
            clients = [connect(server) for _ in range(30)]
            clients[0].sendall(b"1\n")
            answers = {}
            while len(answers) < 30:
                reactor.step(5)
                for number, client in enumerate(clients):
                    client.setblocking(False)
                    try:
                        answers.setdefault(number, client.recv(10))
                    except BlockingIOError:
                        continue
                    if number == 0 and len(answers) == 1:
                        for other in range(1, 30):
                            clients[other].sendall(b"%d\n" % other)
            assert answers == {number: b"%d\n" % max(number, 1) for number in range(30)}
            for client in clients:
                client.close()


class Once(StreamHandler):
    """Makes one call, and sends the exception that it raises."""

    address: tuple
    caller = StreamCaller

    async def handle(self):
        await Until(b"\n")
        try:
            calls = x.CALCULATOR_1_calls(await Connected(self.address, self.caller()))
            self.send(b"%d" % await calls.ADD(2, 3))
        except (OSError, Failed, RPCError) as error:
            self.send(f"{type(error).__name__}: {error}".encode())


def once(address, **members):
    """What a handler sends that makes one call of the server at the address."""
    handler = type("Once", (Once,), {"address": address, **members})
    with serving(handler, "select", STREAMS["tcp"]) as server:
        return ask(server, b"\n").decode()


def test_a_connection_that_ends_ends_the_calls_that_are_open():
    class Ends(StreamHandler):
        async def handle(self):
            await Until(b"\2")

    with serving(Ends, "select", STREAMS["tcp"]) as server:
        said = once(server.server_address)
    assert said == "ConnectionResetError: the connection has ended before the reply"


def test_a_call_is_sent_again_and_fails_after_the_last_time():
    class Deaf(DatagramHandler):
        """Answers the third datagram of a call."""

        seen: list

        async def handle(self):
            packet = await Packet()
            self.seen.append(packet)
            if len(self.seen) == 3:
                self.send(packet[:4] + struct.pack(">6i", 1, 0, 0, 0, 0, 5))

    for number, expected in ((5, "5"), (2, "TimeoutError: no reply to ADD in 0.02 seconds")):
        Deaf.seen = []
        with serving(Deaf, "select", PACKETS["udp"]) as server:
            caller = type("Fast", (DatagramCaller,), {"waits": (0.01,) * number})
            assert once(server.server_address, caller=caller) == expected
        assert len(set(Deaf.seen)) == 1


def test_nobody_receives_at_the_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    assert once(address, caller=DatagramCaller).startswith("ConnectionRefusedError")
    assert once(address).startswith("Failed")


def test_replies_that_nobody_awaits_are_dropped():
    class Strays(StreamHandler):
        """Sends other records before the reply, and the reply twice."""

        async def handle(self):
            data = await Until(b"\0\0\0\3")
            reply = data[4:8] + struct.pack(">6i", 1, 0, 0, 0, 0, 5)
            for record in (b"", b"abc", b"othr" + reply[4:], data[4:8] + bytes(4), reply, reply):
                self.send(mark(record))
            await Until(b"\n")

    with serving(Strays, "select", STREAMS["tcp"]) as server:
        assert once(server.server_address) == "5"


def test_a_call_after_the_end_of_the_connection_is_an_error():
    class Twice(Once):
        async def handle(self):
            await Until(b"\n")
            caller = await Connected(self.address, StreamCaller())
            calls = x.CALCULATOR_1_calls(caller)
            dropped = calls.ADD(1, 1)
            del dropped  # its reply is dropped
            assert await calls.ADD(2, 3) == 5
            assert not caller._open
            caller.close()
            with pytest.raises(ConnectionError):
                await calls.ADD(2, 3)
            self.send(b"done")

    with serving(Stream, "select", STREAMS["tcp"]) as server:
        front = type("Front", (Twice,), {"address": server.server_address})
        with serving(front, "select", STREAMS["tcp"]) as outer:
            assert ask(outer, b"\n") == b"done"


class Relay(x.CALCULATOR_1):
    """A procedure, of states, that calls another server."""

    def ADD(self, first, second):  # noqa: N802
        return Connected(self.server.behind, StreamCaller()), lambda caller: self.add(caller, first, second)

    async def add(self, caller, first, second):
        total = await x.CALCULATOR_1_calls(caller).ADD(first, second)
        caller.close()
        return total


@every_mode
def test_a_procedure_calls_another_server(mode):
    kind = type("Relays", (RPCStreamHandler,), {"versions": (Relay,)})
    with (
        serving(Stream, "select", STREAMS["tcp"]) as behind,
        serving(kind, mode, STREAMS["tcp"], behind=behind.server_address) as server,
        x.CALCULATOR_1_client.over_stream(connect(server)) as client,
    ):
        assert [client.ADD(number, 1) for number in range(3)] == [1, 2, 3]


@every_transport
def test_the_typed_blocking_client(transport):
    handler, place, _ = TRANSPORTS[transport]
    credential = AuthSys(1, "host", 501, 20, [])
    with serving(handler, "select", place, handle_error=lambda *_: None) as server:
        sock = connect(server) if transport == "stream" else peer(server)
        kind = x.CALCULATOR_1_client
        with (kind.over_stream if transport == "stream" else kind.over_datagrams)(sock, credential) as client:
            assert client.NOTHING() is None
            assert client.ADD(2, -5) == -3
            assert client.REPEAT(x.text("ab", 3)) == x.text("ababab", 3)
            assert client.UID() == 501
            with pytest.raises(RPCError, match="SYSTEM_ERR"):
                client.FAIL(0)
        assert sock.fileno() == -1
    assert Calculator.procedures is x.CALCULATOR_1.procedures
