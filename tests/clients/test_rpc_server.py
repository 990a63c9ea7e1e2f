"""Our clients and a server that this project did not write: ``rpcgen`` makes it from the same .x file."""

import socket
import subprocess

import pytest

from handlers import Connected, StreamHandler
from handlers.sunrpc.auth import AuthError, AuthStatus, AuthSys
from handlers.sunrpc.calling import DatagramCaller, StreamCaller
from handlers.sunrpc.client import DatagramClient, StreamClient
from handlers.sunrpc.message import RPCError
from tests import ROOT
from tests.support import rpcgen
from tests.support.rpc import FILE, x
from tests.support.serving import STREAMS, ask, serving

PATIENCE = 10.0


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The path of the C server."""
    source = ROOT / "tests" / "support" / "rpc_server.c"
    return rpcgen.build_peer(FILE, source, "-m", tmp_path_factory.mktemp("server"))


@pytest.fixture(params=["tcp", "udp"])
def client(request, path):
    """A client of the running C server."""
    with subprocess.Popen([path, request.param], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = "127.0.0.1", int(process.stdout.readline())
            if request.param == "tcp":
                sock = socket.create_connection(address, PATIENCE)
                kind = StreamClient
            else:
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sock.connect(address)
                kind = DatagramClient
            with kind(x.CALCULATOR_1, sock) as client:
                yield client
        finally:
            process.kill()


def test_a_server_made_by_rpcgen(client):
    remote = client.remote
    assert remote.NOTHING() is None
    assert remote.ADD(2, -5) == -3
    assert remote.REPEAT(x.text("ab", 3)) == x.text("ababab", 3)
    assert remote.LATER(20) == 20
    size = 1_000_000 if isinstance(client, StreamClient) else 7000  # which C sends in many fragments
    assert remote.FILL(size) == bytes(size)
    with pytest.raises(AuthError) as weak:
        remote.UID()
    assert weak.value.status is AuthStatus.TOOWEAK
    client.credential = AuthSys(1, "host", 501, 20, list(range(16)))
    assert remote.UID() == 501
    for call, status in ((remote.FAIL, "SYSTEM_ERR"), (remote.UNDEFINED, "PROC_UNAVAIL")):
        with pytest.raises(RPCError, match=status):
            call(0)
    client.version = x.CALCULATOR_3
    with pytest.raises(RPCError, match="PROG_MISMATCH: versions 1 to 1"):
        remote.ADD(1, 2)
    client.version = x.OTHER_2
    with pytest.raises(RPCError, match="PROG_UNAVAIL"):
        remote.ADD(1, 2)


def test_many_calls_in_flight(client):
    xids = [client.begin("ADD", number, 1) for number in range(50)]
    assert [client.result(xid) for xid in reversed(xids)] == list(range(50, 0, -1))


def test_calls_inside_a_reactor(client):
    transport = StreamCaller if isinstance(client, StreamClient) else DatagramCaller

    class Caller(StreamHandler):
        async def handle(self):
            caller = await Connected(client.socket.getpeername(), transport())
            calls = x.CALCULATOR_1_calls(caller, AuthSys(1, "host", 501, 20, []))
            replies = [calls.ADD(number, 1) for number in range(50)]
            sums = [await reply for reply in reversed(replies)]
            assert sums == list(range(50, 0, -1))
            assert await calls.REPEAT(x.text("ab", 3)) == x.text("ababab", 3)
            assert await calls.UID() == 501
            with pytest.raises(RPCError, match="SYSTEM_ERR"):
                await calls.FAIL(0)
            caller.close()
            self.send(b"done")

    with serving(Caller, "select", STREAMS["tcp"]) as server:
        assert ask(server) == b"done"
