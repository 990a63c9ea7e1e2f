"""A TLS client that this project did not write, gnutls-cli, turns a connection of an RPC server to TLS (RFC 9289)."""

import signal
import subprocess

import pytest

from handlers.sunrpc.record import mark
from handlers.sunrpc.tls import StartTLS
from reactor.tls import TLS
from tests.support.certificates import KEYS, NAME, server_context
from tests.support.programs import program, start
from tests.support.rpc import Calculator, auth, call, words
from tests.support.serving import MODES, bounded, serving

pytestmark = pytest.mark.filterwarnings("ignore:.*is multi-threaded:DeprecationWarning")
PROBE = call(77, 0, credential=auth(7, b""))


class Secure(StartTLS):
    versions = (Calculator,)
    demand_tls = True

    def make_tls(self, inner):
        return TLS(inner, context=self.server.context)


def read_until(file, end):
    """What comes from the file, up to ``end``."""
    received = b""
    while not received.endswith(end):
        byte = bounded(file.read, 1)
        assert byte, received
        received += byte
    return received


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_gnutls_begins_tls_after_the_probe(mode):
    context = server_context()
    context.set_alpn_protocols(["sunrpc"])
    with serving(Secure, mode, context=context) as server:
        command = [
            program("gnutls-cli"), "--starttls", "--alpn", "sunrpc", "--x509cafile", KEYS / "ca.pem",
            "--sni-hostname", NAME, "--verify-hostname", NAME, "--port", str(server.server_address[1]), "127.0.0.1",
        ]  # fmt: skip
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with start(command, **pipes, bufsize=0) as client:
            try:
                client.stdin.write(mark(call(1, 1, words(2, 3))))
                read_until(client.stdout, words(1, 1, 1, 1, 5))  # AUTH_TOOWEAK
                client.stdin.write(mark(PROBE))
                read_until(client.stdout, b"STARTTLS" + words(0))
                client.send_signal(signal.SIGALRM)
                read_until(client.stderr, b"*** Starting TLS handshake\n")  # before, it would send plain text
                client.stdin.write(mark(call(1, 1, words(2, 3))))
                said = read_until(client.stdout, words(1, 1, 0, 0, 0, 0, 5))
                assert b"- Application protocol: sunrpc\n" in said
            finally:
                client.kill()  # in fork mode the child has its pipe, so it would see no end of that
