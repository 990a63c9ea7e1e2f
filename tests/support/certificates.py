"""Certificates for tests, in ``keys/``: of a CA, a server and a client, with keys that protect nothing.

They were made once by ``openssl req -x509 -newkey ed25519 -nodes -days 36500`` with the key usage keyCertSign, and, for
each name, ``openssl req`` and ``openssl x509 -req`` with the extensions that Python 3.13 asks for (RFC 5280, 4.2).
"""

import ssl
from pathlib import Path

KEYS = Path(__file__).parent / "keys"
NAME = "service.test"
"""The name in the server's certificate."""


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
    context = ssl.create_default_context(cafile=KEYS / "ca.pem")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if named:
        context.load_cert_chain(KEYS / "alice.pem")
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # some builds of Python set it: they see no end
    return context
