"""The channel binding ``tls-server-end-point`` (RFC 5929, section 4): a hash of the server's certificate.

``ssl`` does not tell a server its own certificate, so `load_certificate` remembers the binding for the context.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path
from weakref import WeakKeyDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

_HASHES = {
    "2a864886f70d010104": "sha256",  # md5WithRSAEncryption and sha1WithRSAEncryption count as SHA-256
    "2a864886f70d010105": "sha256",
    "2a864886f70d01010b": "sha256",
    "2a864886f70d01010c": "sha384",
    "2a864886f70d01010d": "sha512",
    "2a8648ce3d0401": "sha256",  # ecdsa-with-SHA1
    "2a8648ce3d040302": "sha256",
    "2a8648ce3d040303": "sha384",
    "2a8648ce3d040304": "sha512",
}
"""The hash, by the signature algorithm of the certificate: an object identifier in DER (RFC 8017, RFC 5758)."""

_CERTIFICATE = re.compile(b"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)  # RFC 7468

_of_context: WeakKeyDictionary[ssl.SSLContext, bytes | None] = WeakKeyDictionary()


def load_certificate(
    context: ssl.SSLContext, certfile: str | PathLike[str], keyfile: str | PathLike[str] | None = None,
    password: Callable[[], str | bytes] | str | bytes | None = None,
) -> None:  # fmt: skip
    """``context.load_cert_chain(certfile, keyfile, password)``, so that its connections have this channel binding.

    For a context with one certificate. Raises what ``load_cert_chain`` raises.
    """
    context.load_cert_chain(certfile, keyfile, password)
    first = _CERTIFICATE.search(Path(certfile).read_bytes())
    _of_context[context] = None if first is None else end_point(ssl.PEM_cert_to_DER_cert(first[0].decode()))


def end_point_of(context: ssl.SSLContext) -> bytes | None:
    """The binding of connections in which a server has used ``context``; ``None`` if it is not known."""
    return _of_context.get(context)


def end_point(certificate: bytes | None) -> bytes | None:
    """The binding for a server with this certificate (DER).

    ``None`` where RFC 5929 does not define it: for a signature without one hash, such as Ed25519 or RSASSA-PSS.
    """
    if not certificate:
        return None
    body, _ = _content(certificate, 0)  # Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, … } (RFC 5280)
    _, after = _content(body, 0)
    algorithm, _ = _content(body, after)
    identifier, _ = _content(algorithm, 0)
    name = _HASHES.get(identifier.hex())
    return None if name is None else hashlib.new(name, certificate).digest()


def _content(data: bytes, place: int) -> tuple[bytes, int]:
    """What is in the element of DER that begins at ``place``, and where it ends."""
    length, start = data[place + 1], place + 2
    if length & 0x80:
        size = length & 0x7F
        length, start = int.from_bytes(data[start : start + size], "big"), start + size
    return data[start : start + length], start + length
