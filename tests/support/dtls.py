"""DTLS for tests: contexts, and a client over a UDP socket that a test drives itself."""

import select
import socket
import time
from contextlib import contextmanager, suppress

from OpenSSL import SSL

from reactor.rows.filters.dtls import datagrams, drain
from tests.support.certificates import KEYS
from tests.support.serving import PATIENCE

SERVER = KEYS / "p256.pem"
"""The server's certificate: OpenSSL has no DTLS with the Ed25519 keys of the others."""


def dtls_context(ask_client=False):
    """A server's context, which asks for a client's certificate if told so."""
    context = SSL.Context(SSL.DTLS_SERVER_METHOD)
    context.use_certificate_chain_file(SERVER)
    context.use_privatekey_file(SERVER)
    if ask_client:
        context.load_verify_locations(KEYS / "ca.pem")
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def client_connection(mtu=1_232, cert=None, resumes=None):
    """A client's connection over memory BIOs; it resumes the session of the connection ``resumes``."""
    context = client_context(cert) if resumes is None else resumes.get_context()
    connection = SSL.Connection(context)
    connection.set_connect_state()
    connection.set_ciphertext_mtu(mtu)
    if resumes is not None:
        connection.set_session(resumes.get_session())
    return connection


def client_context(cert):
    """A client's context, perhaps with a certificate."""
    context = SSL.Context(SSL.DTLS_CLIENT_METHOD)
    context.set_options(SSL.OP_NO_QUERY_MTU)
    context.load_verify_locations(SERVER)
    context.set_verify(SSL.VERIFY_PEER)
    if cert is not None:
        context.use_certificate_chain_file(cert)
        context.use_privatekey_file(cert)
    return context


class Client:
    """A client of DTLS at a UDP socket."""

    def __init__(self, server, sock=None, **options):
        self.mtu = options.get("mtu", 1_232)
        self.connection = client_connection(**options)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if sock is None else sock
        self.sock.connect(server.server_address)
        self.came, self.gone = [], []  # datagrams

    def flush(self):
        """Send the records that the connection has."""
        for datagram in datagrams(drain(self.connection), self.mtu):
            self.gone.append(datagram)
            self.sock.send(datagram)

    def take(self, wait=PATIENCE):
        """Give the connection the next datagram that comes within ``wait`` seconds; whether one has come."""
        if not select.select([self.sock], [], [], wait)[0]:
            return False
        self.came.append(self.sock.recv(65_536))
        self.connection.bio_write(self.came[-1])
        return True

    def attempt(self, call, *arguments):
        """Make a call of the connection until it succeeds, for `PATIENCE` seconds at most, and send its records."""
        result = self.attempt_unsent(call, *arguments)
        self.flush()
        return result

    def attempt_unsent(self, call, *arguments):
        """As `attempt`; the records of the call itself are not sent."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                result = call(*arguments)
            except SSL.WantReadError:  # noqa: PERF203
                self.flush()
                self.take(self.connection.DTLSv1_get_timeout() or 1.0)
            else:
                return result
        raise AssertionError(f"{call} did not succeed in {PATIENCE} seconds")

    def shake_hands(self):
        self.attempt(self.connection.do_handshake)
        return self

    def send(self, packet):
        self.connection.send(packet)
        self.flush()

    def recv(self):
        """The next packet; ``None`` when the server has ended the association."""
        try:
            return self.attempt(self.connection.recv, 65_536)
        except SSL.ZeroReturnError:
            return None

    def ask(self, packet):
        self.send(packet)
        return self.recv()

    def bye(self):
        """Say close_notify."""
        with suppress(SSL.Error):
            self.connection.shutdown()
        self.flush()

    def close(self):
        self.sock.close()


@contextmanager
def client(server, **options):
    """A client that has shaken hands."""
    one = Client(server, **options)
    try:
        yield one.shake_hands()
        one.bye()
    finally:
        one.close()
