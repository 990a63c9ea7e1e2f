"""`TLSPeer`: the other end of TLS, over ``ssl.MemoryBIO``; and a certificate, with contexts that use it, for tests.

The certificate has a key of Ed25519 and the contexts send no session tickets, so the number of bytes of a handshake is
the same in each run; signatures of ECDSA and session tickets vary in length.
"""

from __future__ import annotations

import ssl
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from ...rows.filters.tls import RECORD, TLS
from .peer import Peer, Through

NAME = "service.test"
"""The name in the certificate."""

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBOTCB7KADAgECAgEBMAUGAytlcDAXMRUwEwYDVQQDDAxzZXJ2aWNlLnRlc3Qw
IBcNMDAwMTAxMDAwMDAwWhgPMjEwMDAxMDEwMDAwMDBaMBcxFTATBgNVBAMMDHNl
cnZpY2UudGVzdDAqMAUGAytlcAMhANxwxDfvqNjYTGNLvuxim1t6sQKbbCsjAbYj
8awfsYXno1swWTAPBgNVHRMBAf8EBTADAQH/MBcGA1UdEQQQMA6CDHNlcnZpY2Uu
dGVzdDAOBgNVHQ8BAf8EBAMCAoQwHQYDVR0OBBYEFEl6OYm3Wfqivd+hEP3BoyIP
pwrDMAUGAytlcANBAJGWEqnme755LdAzj8j5i9BQLjVu5okT3ZedUrYgQyUpDNyT
z/Nm4L0LL4jPr3R9gJFlRxmEZ71GNYQcC3+vrQw=
-----END CERTIFICATE-----
"""
"""A self-signed certificate, valid from 2000 to 2099."""

KEY = """\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIPDX2SROoPFDlSG5ZTE1wBOahBVUHHnKrqlaDC4Fc/gF
-----END PRIVATE KEY-----
"""
"""The private key of `CERTIFICATE`. It is public, so it protects nothing."""


@lru_cache(maxsize=8)
def server_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A server's context with the certificate for tests; for one ``version`` of TLS, or for all."""
    context = _of_version(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), version)
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    with TemporaryDirectory() as directory:
        chain = Path(directory, "service.pem")
        chain.write_text(KEY + CERTIFICATE)
        context.load_cert_chain(chain)
    return context


@lru_cache(maxsize=8)
def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client's context, which trusts only the certificate for tests; for one ``version`` of TLS, or for all."""
    context = _of_version(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), version)
    context.load_verify_locations(cadata=CERTIFICATE)
    return context


def _of_version(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> ssl.SSLContext:
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


class TLSPeer(Peer):
    """One end of a TLS connection, by default the client's, with any ``context``.

    `received` and `received_end` raise ``ssl.SSLError``, the second if no close_notify has come.

    >>> client, server = TLSPeer(client_context(), NAME), TLSPeer(server_context(), server_side=True)
    >>> while not (client.is_open and server.is_open):
    ...     _ = server.received(client.send(b"")) + client.received(server.send(b""))
    >>> server.received(client.send(b"hello"))
    b'hello'
    """

    has_end = True

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None, server_side: bool = False) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_side, server_hostname)
        self._is_open = self._has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done."""
        return self._is_open

    def send(self, plain: bytes) -> bytes:
        """The records for ``plain``, and those of the handshake."""
        if not self._is_open:
            self._shake_hands()
        for start in range(0, len(plain), RECORD):
            self._object.write(plain[start : start + RECORD])
        return self._out.read()

    def received(self, wire: bytes) -> bytes:
        """The plain text of the records that are complete."""
        self._in.write(wire)
        if not self._is_open:
            self._shake_hands()
        plain = b""
        while self._is_open and not self._has_ended and (piece := self._read()):
            plain += piece
        return plain

    def end(self) -> bytes:
        """The close_notify. The other end may still send."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the close_notify of the other end has not come yet
        return self._out.read()

    def received_end(self) -> None:
        """Raise ``ssl.SSLEOFError`` if no close_notify has come."""
        if not self._has_ended:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection has ended without a close_notify")

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self._is_open = True

    def _read(self) -> bytes:
        """The plain text of the next record; empty if the record is incomplete, or after a close_notify."""
        try:
            piece = self._object.read(RECORD)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError:
            piece = b""
        self._has_ended = not piece
        return piece


def tls(version: ssl.TLSVersion | None = None) -> Through:
    """The filter `TLS` with the certificate for tests, and a client that trusts it; for one ``version``, or for all.

    >>> tls().peer().send(b"")[:3]  # a handshake record begins with its type and a version (RFC 8446, section 5.1)
    b'\\x16\\x03\\x01'
    """
    return Through(partial(TLS, context=server_context(version)), partial(TLSPeer, client_context(version), NAME))
