"""A socket that a hook has wrapped with ``ssl``: blocking handlers are served on it, others are refused."""

import ssl

import pytest

from handlers import StreamRequestHandler, Until
from handlers.services import Echo
from tests.support.serving import STREAMS, bounded, connect, made, rest, server_class, serving

REFUSED = "an SSLSocket is not ready when the kernel says so"


class Line(StreamRequestHandler):
    request = Until(b"\n")

    def handle(self):
        self.wfile.write(self.rfile.readline())


class Wrapping:
    """Wraps what is accepted, without the handshake, which needs a certificate."""

    def get_request(self):
        request, client_address = super().get_request()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        return context.wrap_socket(request, server_side=True, do_handshake_on_connect=False), client_address


@pytest.mark.parametrize(
    ("mode", "handler"), [("select", Echo), ("plain", Echo), ("thread", Echo), ("fork", Echo), ("select", Line)]
)
def test_a_wrapped_connection_in_front_of_a_state_machine_is_refused(mode, handler, caplog):
    with serving(handler, mode, STREAMS["tcp"], Wrapping) as server, connect(server) as client:
        assert rest(client) == b""
        assert any(REFUSED in str(record.exc_info) for record in caplog.records)


def test_a_wrapped_listener_in_front_of_a_state_machine_is_refused_before_it_serves():
    with made(server_class("select", STREAMS["tcp"]), STREAMS["tcp"], Echo) as server:
        server.socket = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_socket(server.socket, server_side=True)
        with pytest.raises(TypeError, match=REFUSED):
            bounded(server.serve_forever)
