"""Sockets that the user has wrapped with ``ssl``, in front of state machines."""

import socket
import ssl
from contextlib import nullcontext

import pytest

from handlers import StreamRequestHandler, Until
from handlers.services import Echo
from tests.support.certificates import NAME, client_context, server_context
from tests.support.serving import PATIENCE, STREAMS, connect, made, running, server_class, serving, wait_until

REFUSED = "an SSLSocket is not ready when the kernel says so"


class Line(StreamRequestHandler):
    request = Until(b"\n")

    def handle(self):
        self.wfile.write(self.rfile.readline())


MODES_AND_HANDLERS = [("select", Echo), ("plain", Echo), ("thread", Echo), ("fork", Echo), ("select", Line)]
every_mode = pytest.mark.parametrize(("mode", "handler"), MODES_AND_HANDLERS)


class Wrapping:
    """Wraps what is accepted."""

    def get_request(self):
        request, client_address = super().get_request()
        return server_context().wrap_socket(request, server_side=True), client_address


class Shaking:
    """Wraps what is accepted, and does the handshake."""

    def get_request(self):
        request, client_address = super().get_request()
        request.settimeout(PATIENCE)
        context = server_context()
        context.sslsocket_class = AtOnce
        return context.wrap_socket(request, server_side=True), client_address


class AtOnce(ssl.SSLSocket):
    """A class that the context is told to take."""


class Certified(StreamRequestHandler):
    """A blocking handler that asks for the certificate of its client before anything else."""

    def handle(self):
        name = self.request.getpeercert()["subject"][-1][0][1].encode()
        self.wfile.write(name + b" " + self.rfile.readline())


@pytest.mark.parametrize("wrap", ["connection", "listener"])
@pytest.mark.parametrize("mode", ["plain", "thread", "fork"])
def test_the_handshake_before_a_blocking_handler_delays_no_other_client_and_is_done_when_the_handler_begins(mode, wrap):
    context = server_context(ask_client=True)

    class Wrapped:
        def get_request(self):
            request, client_address = super().get_request()
            return context.wrap_socket(request, server_side=True), client_address

    mixins = [Wrapped] if wrap == "connection" else []
    with made(server_class(mode, STREAMS["tcp"], *mixins), STREAMS["tcp"], Certified) as server:
        if wrap == "listener":
            server.socket = context.wrap_socket(server.socket, server_side=True)
        with running(server), silent_client(server, mode):
            assert echoed(server, client_context(named=True)) == b"alice hello\n"


@every_mode
def test_the_handshake_of_a_wrapped_connection_is_done_by_the_row_of_a_state_machine(mode, handler):
    with serving(handler, mode, STREAMS["tcp"], Wrapping) as server, silent_client(server, mode):
        assert echoed(server) == b"hello\n"


@every_mode
def test_the_handshake_of_a_wrapped_listener_is_done_by_the_row_of_a_state_machine(mode, handler):
    with made(server_class(mode, STREAMS["tcp"]), STREAMS["tcp"], handler) as server:
        server.socket = server_context().wrap_socket(server.socket, server_side=True)
        with running(server), silent_client(server, mode):
            assert echoed(server) == b"hello\n"


@every_mode
def test_a_connection_whose_handshake_was_done_elsewhere_is_refused_for_a_state_machine(mode, handler, caplog):
    """A socket class of the user's own does it at once."""
    with serving(handler, mode, STREAMS["tcp"], Shaking) as server:
        with pytest.raises((OSError, AssertionError)):
            assert echoed(server)
        wait_until(lambda: any(REFUSED in str(record.exc_info) for record in caplog.records))


def test_the_handshake_of_a_connection_that_get_request_makes_itself_is_done_at_once():
    """It asks another server whether the client may come, for example."""
    versions = []

    class Asking(Wrapping):
        def get_request(self):
            with connect(other) as plain:
                plain.settimeout(PATIENCE)
                with client_context().wrap_socket(plain, server_hostname=NAME) as client:
                    versions.append(client.version())
            return super().get_request()

    with (
        serving(Echo, "select", STREAMS["tcp"], Wrapping) as other,
        serving(Echo, "select", STREAMS["tcp"], Asking) as server,
    ):
        assert echoed(server) == b"hello\n"
        assert versions[0] == "TLSv1.3"


def silent_client(server, mode):
    """A client that says nothing; none in the plain mode, which serves one client after the other."""
    return nullcontext() if mode == "plain" else connect(server)


def echoed(server, context=None):
    with connect(server) as plain:
        plain.settimeout(PATIENCE)
        with (context or client_context()).wrap_socket(plain, server_hostname=NAME) as client:
            client.sendall(b"hello\n")
            answer = client.recv(80)
            client.shutdown(socket.SHUT_RDWR)  # of TCP: a child that was forked meanwhile has a copy of the socket
            return answer
