"""The options of TCP sockets: no delay, keep-alive, and the user timeout."""

import errno
import socket
from contextlib import closing
from types import SimpleNamespace

from handlers import Connected, StreamHandler, StreamRequestHandler, ToEnd
from handlers.services import Echo
from reactor import Reactor
from tests.support.errnos import failing
from tests.support.serving import ask, connect, serving, wait_until


def test_accepted_connections_of_state_machines_have_the_tcp_options():
    with serving(Echo, "select") as server, connect(server):
        [row] = wait_until(lambda: list(server.reactor.table))
        assert options(row.socket) == (1, 1, server.keepalive, 1000 * server.user_timeout)


class Opening(StreamHandler):
    async def handle(self):
        await Connected(self.server.server_address, Echo())
        await ToEnd()


def test_connections_that_a_handler_opens_have_the_tcp_options():
    with serving(Opening, "select", max_requests=1) as server, connect(server):
        rows = wait_until(lambda: len(server.reactor.table) == 2 and list(server.reactor.table))
        assert [options(row.socket) for row in rows] == 2 * [(1, 1, 60, 120_000)]


class Blocking(StreamRequestHandler):
    def handle(self):
        self.wfile.write(repr(options(self.request)).encode())


def test_connections_of_blocking_handlers_have_only_the_options_that_the_class_sets():
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


def test_a_host_without_the_options_of_tcp_serves_without_them():
    class Bare(socket.socket):
        def setsockopt(self, level, *option):
            if level == socket.IPPROTO_TCP or option[0] == socket.SO_KEEPALIVE:
                failing(errno.ENOPROTOOPT)()
            super().setsockopt(level, *option)

    network = SimpleNamespace(socket=Bare, socketpair=socket.socketpair)
    with closing(Reactor(network=network)) as reactor, serving(Echo, "select", reactor=reactor) as server:
        assert ask(server, b"hello") == b"hello"
