"""Certificates for tests, in ``keys/``: of a CA, a server and a client, with keys that protect nothing.

They were made once by ``openssl req -x509 -newkey ed25519 -nodes -days 36500`` with the key usage keyCertSign, and, for
each name, ``openssl req`` and ``openssl x509 -req`` with the extensions that Python 3.13 asks for (RFC 5280, 4.2).
"""

import os
import select
import ssl
from pathlib import Path
from threading import Lock

KEYS = Path(__file__).parent / "keys"
NAME = "service.test"
"""The name in the server's certificate."""

NO_FORK = Lock()
"""Held while a client of a test makes its handshake, and by this process while it forks."""

os.register_at_fork(before=NO_FORK.acquire, after_in_parent=NO_FORK.release, after_in_child=NO_FORK.release)


class ClientContext(ssl.SSLContext):
    """A context of a client in the process of a server that forks.

    The server forks when the connection has come: just when the client begins its handshake. OpenSSL takes locks then
    that are common to the process. The child would have a lock that is held, and no thread that ever gives it back.
    """

    def wrap_socket(self, sock, **options):
        timeout = sock.gettimeout()
        sock.setblocking(False)
        with NO_FORK:
            client = super().wrap_socket(sock, do_handshake_on_connect=False, **options)
        try:
            shake_hands(client, timeout)
        except BaseException:
            client.close()
            raise
        client.settimeout(timeout)
        return client


def shake_hands(client, timeout):
    """Make the handshake of a non-blocking client; each part may take ``timeout`` seconds (``None``: any time)."""
    while True:
        poll = select.poll()
        try:
            with NO_FORK:
                client.do_handshake()
            return
        except ssl.SSLWantReadError:
            poll.register(client, select.POLLIN)
        except ssl.SSLWantWriteError:
            poll.register(client, select.POLLOUT)
        if not poll.poll(None if timeout is None else timeout * 1000):
            raise TimeoutError("the handshake takes too long")


def server_context(ask_client=False):
    """A server's context, which asks for a client's certificate if told so."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(KEYS / f"{NAME}.pem")
    if ask_client:
        context.load_verify_locations(KEYS / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(version=None, named=False):
    """A client's context, of one version or of any, with alice's certificate if ``named``."""
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags = ssl.create_default_context().verify_flags
    context.load_verify_locations(KEYS / "ca.pem")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if named:
        context.load_cert_chain(KEYS / "alice.pem")
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # some builds of Python set it: they see no end
    return context
