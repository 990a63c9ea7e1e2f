"""Credentials of the peers of Unix sockets."""

import os
import socket
import subprocess
import sys

import pytest

from handlers import BaseRequestHandler, Connected, Some, StreamHandler, StreamMachine, World
from handlers.services import Echo
from reactor.loop.kernel import credentials
from tests.support.serving import MODES, PATIENCE, STREAMS, ask, connect, rest, serving, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")  # as all these tests are
every_mode = pytest.mark.parametrize("mode", MODES)
UNIX = STREAMS["unix"]


class Whoami(StreamHandler):
    async def handle(self):
        self.send(repr(self.credentials).encode())
        await Some()


@every_mode
@pytest.mark.parametrize("place", STREAMS)
def test_a_handler_knows_the_credentials_of_its_peer(mode, place):
    is_unix = STREAMS[place].family == socket.AF_UNIX
    expected = repr((os.getpid(), os.getuid(), os.getgid()) if is_unix else None).encode()
    with serving(Whoami, mode, STREAMS[place]) as server:
        assert ask(server, b"x") == expected


class Blocked(BaseRequestHandler):
    def handle(self):
        self.request.recv(1)


@pytest.mark.parametrize(("handler", "mode"), [(Whoami, "select")] + [
    (handler, mode) for handler in (Whoami, Blocked) for mode in MODES if mode != "select"
])  # fmt: skip
def test_the_table_has_the_credentials_in_every_mode(mode, handler):
    own = os.getpid(), os.getuid(), os.getgid()
    with serving(handler, mode, UNIX) as server, connect(server) as client:
        [row] = wait_until(lambda: list(server.reactor.table))
        assert row.credentials == own
        client.close()
        wait_until(lambda: not server.reactor.table)
        assert row.credentials == own


@pytest.mark.skipif(sys.platform != "linux", reason="abstract addresses are Linux's")
def test_the_table_tells_the_address_of_a_peer(tmp_path):
    with serving(Whoami, "select", UNIX) as server:
        for name, told in ("", "-"), (f"{tmp_path}/client", f"{tmp_path}/client"), ("\0abstract", "@abstract"):
            with socket.socket(socket.AF_UNIX) as client:
                if name:
                    client.bind(name)
                client.connect(server.server_address)
                wait_until(lambda: server.reactor.table)
                assert [row.as_dict()["peer"] for row in server.reactor.table] == [told]
            wait_until(lambda: not server.reactor.table)


class Finds(StreamHandler):
    """Answers with the credentials of the upstream server."""

    async def handle(self):
        await Connected(self.server.upstream, other := Whoami())
        self.send(repr(other.credentials).encode())


@every_mode
def test_a_handler_knows_the_credentials_of_a_server_that_it_connected_to(mode):
    own = os.getpid(), os.getuid(), os.getgid()
    with (
        serving(Echo, "select", UNIX) as upstream,
        serving(Finds, mode, UNIX, upstream=upstream.server_address) as server,
    ):
        assert ask(server) == repr(own).encode()


def test_verify_request_may_refuse_a_peer_by_its_credentials():
    def verify_request(server, request, client_address):
        pid, uid, _ = credentials(request)
        return (pid, uid) != (os.getpid(), os.getuid())

    with serving(Echo, "select", UNIX, verify_request=verify_request) as server, connect(server) as client:
        assert rest(client) == b""


def test_credentials_are_none_when_the_peer_has_gone():
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with theirs:
        assert credentials(ours) == (os.getpid(), os.getuid(), os.getgid())
        ours.close()
        assert credentials(ours) is None


def test_the_group_is_that_of_the_peer():
    group = 12_345 if os.getuid() == 0 else os.getgid()  # others may not have another, and their own is not 0
    with serving(Whoami, "select", UNIX) as server:
        ask = f"""
import socket
client = socket.socket(socket.AF_UNIX)
client.connect({server.server_address!r})
print(client.recv(99).decode())
"""
        command = [sys.executable, "-I", "-S", "-c", ask]
        with subprocess.Popen(command, group=group, stdout=subprocess.PIPE, text=True) as client:
            assert client.communicate(timeout=PATIENCE)[0] == f"({client.pid}, {os.getuid()}, {group})\n"


def test_a_world_has_the_credentials_of_the_peer():
    machine = StreamMachine(Whoami(), World(credentials=(1, 2, 3)))
    machine.feed(b"x")
    assert machine.read() == b"(1, 2, 3)"
