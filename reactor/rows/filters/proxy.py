"""`Proxy`: a filter that takes the header in which a proxy names the client (the PROXY protocol, versions 1 and 2).

The specification is HAProxy's ``proxy-protocol.txt``, of 2020. The header is the first thing on the connection, also
before a TLS handshake. Only peers in trusted networks may send one; see `Proxy`. `parse` reads a header from bytes.
"""

from __future__ import annotations

import socket
from functools import lru_cache
from struct import Struct, error
from typing import Any, NamedTuple

from ...handlers.causes import Cause
from ...handlers.filter import Filter
from ..networks import Networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers.channel import StreamChannel

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""The first bytes of a header of version 2."""

MAX_LINE = 107
"""Bytes of the longest header of version 1, with its CRLF (section 2.1)."""

MAX_HEADER = 4096
"""Bytes of the longest header of version 2 that is taken; HAProxy sends some hundreds."""

ALPN, AUTHORITY, CRC32C, UNIQUE_ID, TLS = 0x01, 0x02, 0x03, 0x05, 0x20
"""Types of the values behind the addresses (section 2.2)."""

TLS_VERSION, TLS_COMMON_NAME, TLS_CIPHER = 0x21, 0x22, 0x23
"""Types of the values inside the value of type `TLS` (section 2.2.6)."""


class ClientTLS(NamedTuple):
    """The TLS between the client and the proxy, as the proxy describes it (section 2.2.6)."""

    version: str
    """Such as ``"TLSv1.3"``."""

    cipher: str
    """Such as ``"ECDHE-RSA-AES128-GCM-SHA256"``; ``""`` where the proxy does not say."""

    common_name: str | None
    """The common name of the client's certificate; ``None`` without one. It proves nothing unless `is_verified`."""

    is_verified: bool
    """Whether the client has given a certificate, now or when its session began, and the proxy has verified it."""


class Header(NamedTuple):
    """The contents of a PROXY header: `Handler.proxy_header`."""

    source: Any
    """The client's address as in `Handler.peer`; ``None`` if the header is ``LOCAL`` or names no client."""

    values: dict[int, bytes]
    """The further values (TLVs) by type."""

    size: int
    """Bytes of the header."""

    is_local: bool = False
    """Whether the command is ``LOCAL``: the proxy has connected on its own behalf, as in a health check."""

    @property
    def unique_id(self) -> bytes | None:
        """The proxy's identifier of the connection, at most 128 bytes; ``None`` where it gives none."""
        return self.values.get(UNIQUE_ID)

    @property
    def authority(self) -> str | None:
        """The host name that the client has asked for: the server name of TLS (SNI). ``None`` where there is none."""
        return _text(self.values.get(AUTHORITY))

    @property
    def alpn(self) -> str | None:
        """The application protocol that the client and the proxy have agreed on; ``None`` where there is none."""
        return _text(self.values.get(ALPN))

    @property
    def tls(self) -> ClientTLS | None:
        """The TLS between the client and the proxy; ``None`` where there is none, or where the proxy does not say."""
        value = self.values.get(TLS)
        if value is None or not value[:1] or not value[0] & 0x01:
            return None
        flags, unverified = _CLIENT_TLS.unpack_from(value)
        inner = dict(_values(value[_CLIENT_TLS.size :]))
        version, cipher = (_text(inner.get(kind)) or "" for kind in (TLS_VERSION, TLS_CIPHER))
        return ClientTLS(version, cipher, _text(inner.get(TLS_COMMON_NAME)), bool(flags & 0x06) and not unverified)

    def as_dict(self) -> dict[str, Any]:
        """The header as plain data, without the fields that it does not have. Bytes that are not UTF-8 are escaped."""
        tls = self.tls
        told = {
            "local": self.is_local or None,
            "unique_id": _text(self.unique_id),
            "authority": self.authority,
            "alpn": self.alpn,
            "tls": None if tls is None else tls._asdict(),
        }
        return {name: value for name, value in told.items() if value is not None}


SILENCE = Header(None, {}, 0, is_local=True)
"""The header of a connection on which a trusted proxy has sent nothing yet; if it ends now, it was a health check."""


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


class Malformed(Cause):
    """A trusted proxy has sent bytes that are not a PROXY header."""

    def __init__(self, what: str) -> None:
        super().__init__(f"no PROXY header: {what}")


class Proxy(Filter):
    """Takes the PROXY header of a connection that comes from a ``trusted`` network, and sets `Handler.peer`.

    On a connection from any other network the filter expects no header, because a client could name any address.
    Unix sockets have no networks; they are trusted if ``trusted`` has ``"unix"``. The header may take ``timeout``
    seconds. Access, ``verify_request()`` and ``max_per_peer`` are applied again to the peer that the header names. The
    rest of the header is `Handler.proxy_header`. `Handler.credentials` are ``None`` then, unless it is ``LOCAL``: the
    user at the other end of a Unix socket is the proxy's.

    There are three kinds of health checks. The connection ends or is reset before a byte has come: the request does not
    begin. The header is ``LOCAL``. Or the header names no client, or the proxy itself, and no byte follows (version 1
    has no ``LOCAL``). In the last two, the request begins with the proxy as its peer. Health checks are counted
    separately (`RequestTable.ends`). When the proxy ends or resets one, that is not logged and is not a reason
    (`Cause.is_end`).

    For a server: ``filters = [partial(Proxy, trusted=["10.0.0.0/8"])]``, in front of TLS.
    """

    __slots__ = ("_head", "_is_proxied", "_timeout", "_trusted", "header")

    name = "PROXY"

    def __init__(self, inner: StreamChannel, trusted: Iterable[str], timeout: float = 5.0) -> None:
        super().__init__(inner)
        self._trusted = tuple(trusted)
        self._timeout = timeout
        self._head = b""
        self._is_proxied = True
        self.header: Header | None = None
        """The header, once it is complete."""

    @property
    def label(self) -> str:
        """``"proxy"`` if the peer is trusted, so that there must be a header."""
        return "proxy" if self._is_proxied else ""

    def begin(self) -> None:
        """Wait for the header if the peer is trusted, else leave the chain."""
        if self._is_trusted():
            self.driver.proxy_header = SILENCE
            self.open_until("the PROXY header", self._timeout)
        else:
            self._is_proxied = False
            self.leave()

    def _is_trusted(self) -> bool:
        peer = self.driver.peer
        if not isinstance(peer, tuple):
            return "unix" in self._trusted
        return peer[0] in _networks(self._trusted)

    def received(self, data: bytes) -> None:
        """Take the next bytes of the header."""
        self._head += data
        self.driver.proxy_header = None  # a byte has come: not `SILENCE` any more
        header = self.header = self.driver.proxy_header = parse(self._head)
        if header is not None:
            if not header.is_local:
                self.driver.credentials = None  # of a Unix socket: they are those of the proxy, not of its client
            if header.source not in (None, self.driver.peer):
                self.driver.peer = header.source
            self.leave(self._head[header.size :])

    @property
    def pending(self) -> int:
        """Bytes of an incomplete header."""
        return len(self._head)


@lru_cache(maxsize=16)
def _networks(trusted: tuple[str, ...]) -> Networks:
    """The networks of ``trusted``; cached, because each connection asks."""
    return Networks(text for text in trusted if text != "unix")


def parse(data: bytes) -> Header | None:
    r"""The header that ``data`` begins with; ``None`` if more must come. Raises `Malformed`.

    >>> parse(b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\nGET ")
    Header(source=('192.0.2.1', 56324), values={}, size=45, is_local=False)
    >>> parse(b"PROXY TC")
    """
    if data.startswith(SIGNATURE):
        return _parse_binary(data)
    if data.startswith(b"PROXY "):
        return _parse_line(data)
    if SIGNATURE.startswith(data) or b"PROXY ".startswith(data):
        return None
    raise Malformed(f"the input begins with {data[:12]!r}")


_SOURCES = {"TCP4": socket.AF_INET, "TCP6": socket.AF_INET6}


def _parse_line(data: bytes) -> Header | None:
    """A header of version 1 (section 2.1)."""
    line, found, _ = data[:MAX_LINE].partition(b"\r\n")
    if not found:
        if len(data) >= MAX_LINE:
            raise Malformed(f"its line is longer than {MAX_LINE} bytes")
        return None
    size = len(line) + 2
    _, family, *fields = line.decode("latin-1").split(" ")
    if family == "UNKNOWN":
        return Header(None, {}, size)
    if family not in _SOURCES or len(fields) != 4:
        raise Malformed(repr(line))
    port, to_port = fields[2:]
    try:
        source, _ = (socket.inet_pton(_SOURCES[family], address) for address in fields[:2])
    except (OSError, ValueError):
        raise Malformed(f"{line!r} has an address that is none of {family}") from None
    if not all(number.isascii() and number.isdigit() and int(number) <= 65_535 for number in (port, to_port)):
        raise Malformed(f"{line!r} has a port that is none")
    return Header(_address(_SOURCES[family], source, int(port)), {}, size)


_START = Struct("!12sBBH")
_BLOCKS = {0x1: (socket.AF_INET, Struct("!4s4sHH")), 0x2: (socket.AF_INET6, Struct("!16s16sHH"))}
_UNIX = Struct("!108s108s")
_VALUE = Struct("!BH")
_CLIENT_TLS = Struct("!BI")


def _parse_binary(data: bytes) -> Header | None:
    """A header of version 2 (section 2.2)."""
    if len(data) < _START.size:
        return None
    _, kind, family, length = _START.unpack_from(data)
    size = _START.size + length
    if kind not in (0x20, 0x21):
        raise Malformed(f"version and command are {kind:#x}, not 0x20 or 0x21")
    if size > MAX_HEADER:
        raise Malformed(f"it has {size} bytes, and {MAX_HEADER} are taken")
    if len(data) < size:
        return None
    body = data[_START.size : size]
    if kind == 0x20 or family == 0x00:  # LOCAL: the proxy itself, a health check; or it does not know
        return Header(None, {}, size, is_local=kind == 0x20)
    try:
        source, taken = _source(family, body)
        values = dict(_values(body[taken:]))
        header = Header(source, values, size)
        _ = header.tls  # raises if it is malformed
    except error:
        raise Malformed("its length is too small for what it must hold") from None
    if CRC32C in values:
        _check(data[:size], _START.size + taken, values[CRC32C])
    return header


def _source(family: int, body: bytes) -> tuple[Any, int]:
    """The address of the client, and the size of the block of addresses."""
    if family == 0x31:
        path, _ = _UNIX.unpack_from(body)
        return path.partition(b"\0")[0].decode("utf-8", "surrogateescape"), _UNIX.size
    if family & 0xF != 0x1 or family >> 4 not in _BLOCKS:
        raise Malformed(f"family and protocol are {family:#x}, which are none of a stream")
    kind, block = _BLOCKS[family >> 4]
    source, _, port, _ = block.unpack_from(body)
    return _address(kind, source, port), block.size


def _address(family: int, packed: bytes, port: int) -> Any:
    """As ``accept()`` gives it."""
    host = socket.inet_ntop(family, packed)
    return (host, port) if family == socket.AF_INET else (host, port, 0, 0)


def _values(data: bytes) -> Iterable[tuple[int, bytes]]:
    """The values behind the addresses: type and bytes of each. Raises ``struct.error``, or `Malformed`."""
    start = 0
    while start < len(data):
        kind, length = _VALUE.unpack_from(data, start)
        start += _VALUE.size + length
        if start > len(data):
            raise Malformed(f"the value of the type {kind:#x} is longer than the header")
        yield kind, data[start - length : start]


def _check(header: bytes, start: int, told: bytes) -> None:
    """Raise `Malformed` if the checksum is wrong. It covers the header with zeros in place of the checksum."""
    while True:  # ends: `_values` has found a checksum
        kind, length = _VALUE.unpack_from(header, start)
        start += _VALUE.size
        if kind == CRC32C:
            break
        start += length
    blank = header[:start] + bytes(length) + header[start + length :]
    if told != crc32c(blank).to_bytes(4, "big"):
        raise Malformed("its checksum is wrong")


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of ``data`` (RFC 3720, appendix B.4); for headers, so it need not be fast.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
