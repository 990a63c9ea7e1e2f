"""The certificate of the command: ``--tls``, ``--tls-key`` and ``--tls-client-ca``, read again at SIGHUP."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from ..servers.tls import TLSMixIn, load_certificate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

__all__ = ["Certificates", "TLSMixIn", "Unusable"]


class Unusable(Exception):
    """A file that has no usable certificate or key; the text names the option, the file and what is wrong."""


class Certificates(NamedTuple):
    """The files: a certificate with its chain, its key (``None``: in the same file), and the CAs of clients, if any."""

    chain: str
    key: str | None
    client_ca: str | None

    def context(self) -> ssl.SSLContext:
        """What the files say now, for TLS 1.2 and 1.3. With a CA, clients need its certificate. Raises `Unusable`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        named = f"--tls {self.chain}" + ("" if self.key is None else f" --tls-key {self.key}")
        try:
            load_certificate(context, self.chain, self.key, _refuse)
        except (OSError, ValueError) as error:
            raise Unusable(f"{named}: {_said(error)}; give PEM files with a certificate and its key") from None
        if self.client_ca is not None:
            try:
                context.load_verify_locations(self.client_ca)
            except OSError as error:
                text = f"--tls-client-ca {self.client_ca}: {_said(error)}; give a PEM file with CA certificates"
                raise Unusable(text) from None
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def renew(self, servers: Sequence[Any]) -> None:
        """Have the next handshakes of ``servers`` use what the files say now. Raises `Unusable` instead."""
        context = self.context()
        for server in servers:
            server.context = context


def _refuse() -> NoReturn:
    """A prompt for a password would stop a service that nobody watches."""
    raise ValueError("the key is encrypted")


def _said(error: Exception) -> str:
    """What is wrong, without the numbers and the places in OpenSSL's source."""
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no PEM lines").replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)
