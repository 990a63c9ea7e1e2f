"""`TLS`: a filter that encrypts the connection (RFC 8446, RFC 5246), over ``ssl.MemoryBIO``.

Wire bytes come by `TLS.received` and go by ``put()``; plain bytes go by ``deliver()`` and come by `TLS.flow`. The
filter does not use ``ssl.SSLSocket``, which can't take bytes that were read before (STARTTLS, a PROXY header) and may
block.

The handshake is a stage of the row with a deadline of its own, so a silent client delays no other row. Its costly steps
are queued (`Filter.queue_step`), so a thousand handshakes at once delay other rows by a few milliseconds.
"""

from __future__ import annotations

import ssl

from ...handlers.causes import Cause
from ...handlers.filter import Filter
from ...handlers.wire import grown
from .bindings import end_point, end_point_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ...handlers.channel import StreamChannel

RECORD = 16_384
"""Bytes of plain text that one record holds at most (RFC 8446, section 5.1)."""

HEADER = 5
"""Bytes of the header of a record."""

LONGEST = RECORD + 2_048
"""Bytes of the longest record without its header (RFC 5246, section 6.2.3; TLS 1.3 allows fewer)."""

TOGETHER = 8
"""Records that ``ssl`` is given at once, at most."""

TURN = 8
"""How often ``ssl`` is given records before the other rows have their turn: at least 64 KiB, or 64 small records.

A record that brings no data may cost much more than its bytes: one with a new key takes about 20 µs."""

LENIENT: int = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
"""The option of a context with which a truncated message would pass for a complete one."""

NAMES = {"TLSv1.2": "tls1.2", "TLSv1.3": "tls1.3"}
"""What `Handler.secured` is, by what ``ssl`` calls the version."""


class TLSFailed(Cause):
    """The handshake failed or a record is wrong: ``error`` is the ``ssl.SSLError``."""

    def __init__(self, error: ssl.SSLError) -> None:
        super().__init__(f"TLS failed: {error.reason or error}")
        self.error = error.with_traceback(None)  # its frames would lead back to the filter, and keep it


class Truncated(Cause):
    """The connection has ended without a close_notify: the input may be incomplete (RFC 8446, section 6.1).

    Between messages nothing is: many clients of HTTP end a connection that way (RFC 9112, section 9.8).
    """

    is_end = True

    def __init__(self, what: str, nothing_lost: bool = False) -> None:
        super().__init__(f"the connection has ended without a close_notify, {what}")
        self.nothing_lost = nothing_lost


class TLS(Filter):
    """One end of one TLS connection.

    ``context`` is an ``ssl.SSLContext``. By default this is the server's end. A client's end has ``server_side`` false
    and the name that the certificate must have as ``server_hostname``; ``session`` is one to resume. The handshake may
    take ``timeout`` seconds.

    When it is done, `Handler.secured` is ``"tls1.2"`` or ``"tls1.3"``, and `Handler.principal` the subject of the
    peer's verified certificate, if the context asks for one, as in RFC 4514 (``"CN=alice,O=Example"``).
    `Handler.peer_certificate` is that certificate, `Handler.alpn` the application protocol that was agreed on; `object`
    has the rest. The request ends with `TLSFailed` where the handshake or a record is wrong, and with `Truncated` where
    the connection ends without a close_notify. A context that was made to ignore that (``OP_IGNORE_UNEXPECTED_EOF``)
    is made strict, because a truncated message would pass for a complete one.

    For a server: ``filters = [partial(TLS, context=context)]``, or `TLSMixIn`. For a connection that a handler makes:
    ``Connected(address, handler, filters=[partial(TLS, context=context, server_side=False, server_hostname="…")])``.
    """

    __slots__ = ("_in", "_make", "_open", "_out", "_part", "_shut", "_timeout", "object")

    name = "TLS"
    facts: Mapping[str, object] = {"secured": "tls1.3"}

    def __init__(
        self, inner: StreamChannel, context: ssl.SSLContext, server_side: bool = True,
        server_hostname: str | None = None, session: ssl.SSLSession | None = None, timeout: float = 30.0,
    ) -> None:  # fmt: skip
        super().__init__(inner)
        if _options_of(context) & LENIENT:
            context.options &= ~LENIENT
        self._make = (context, server_side, server_hostname, session)
        self._timeout = timeout
        self._in: ssl.MemoryBIO  # these two are made with the object
        self._out: ssl.MemoryBIO
        self.object: ssl.SSLObject | None = None
        """The connection as ``ssl`` has it: ``getpeercert()``, ``selected_alpn_protocol()``, ``cipher()``, ``session``.

        ``None`` before the first byte of the handshake."""
        self._open = False
        self._part: bytes | bytearray = b""  # wire bytes that have come and that ``ssl`` has not been given
        self._shut = False  # whether the peer has sent its close_notify

    @property
    def label(self) -> str:
        """``"tls"``; when the handshake is done its version, and the application protocol: ``"tls1.3 h2"``."""
        if not self._open or self.object is None:
            return "tls"
        return " ".join(filter(None, (self._version(), self.object.selected_alpn_protocol())))

    def begin(self) -> None:
        """Wait for the handshake; a client begins it."""
        self.open_until("the TLS handshake", self._timeout)
        if not self._make[1]:
            self.queue_step()

    def received(self, data: bytes) -> bytes | None:
        """Take the next wire bytes, and deliver the plain bytes of the records that are complete."""
        if self._open and not self._part and _is_one_message(data) and not self._shut:
            return self._unseal_one(data)
        if self._shut:
            return None
        held = self._part = grown(self._part, data)
        end = _end_of_records(held, 0)
        if end and self._open:
            self._unseal(held, end)
        elif end:
            self.queue_step()
        return None

    @property
    def pending(self) -> int:
        """Bytes of records that have come in part, or that wait for a turn."""
        return len(self._part)

    def step(self) -> None:
        """Go on with the handshake, as far as the records that have come allow."""
        if self.object is None:  # not before: the object takes 40 KiB, and a silent client needs none
            context, server_side, server_hostname, session = self._make
            self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
            self.object = context.wrap_bio(self._in, self._out, server_side, server_hostname, session)
        end = _end_of_records(self._part, 0)
        self._in.write(self._part[:end])
        self._part = self._part[end:]
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            self._emit()
            if _end_of_records(self._part, 0):
                self.queue_step()
            return
        except ssl.SSLError as error:
            self._break_off(error)
            return
        self._open = True
        self._emit()
        self._tell()
        self.open()
        self._unseal(self._part, _end_of_records(self._part, 0))

    def channel_binding(self, kind: str) -> bytes | None:
        """``tls-unique`` with TLS 1.2 (``ssl`` has none with TLS 1.3), and ``tls-server-end-point`` (RFC 5929).

        A server has ``tls-server-end-point`` only if its certificate was loaded by `load_certificate`.
        """
        stream = self.object
        if stream is None:
            return None
        if kind == "tls-unique" and stream.version() == "TLSv1.2":
            return stream.get_channel_binding(kind)
        if kind == "tls-server-end-point":
            return end_point_of(stream.context) if self._make[1] else end_point(stream.getpeercert(True))
        return None

    def flow(self, data: bytes) -> bytes:
        """Encrypt the output: put it into records."""
        write: Callable[[bytes | memoryview], object] = self.object.write  # type: ignore[union-attr]
        if len(data) <= RECORD:
            write(data)
        else:
            with memoryview(data) as view:
                for start in range(0, len(view), RECORD):
                    write(view[start : start + RECORD])
        return self._out.read()

    def input_ended(self) -> None:
        """The connection has ended: without a close_notify before, that is `Truncated`."""
        if self._shut:
            return
        if self._open and self._link.is_between_messages:
            self.fail(Truncated("between messages", nothing_lost=True))
        elif self._open:
            self.fail(Truncated("and the request may not have all of its input"))
        else:
            self.fail(Truncated("in the TLS handshake"))

    def farewell(self) -> None:
        """Say close_notify. The other direction stays open: half-close, as in TCP.

        Not if the handler has raised: what it has sent may not be all, and must not pass for that.
        """
        assert self.object is not None
        if not isinstance(self.reason, (Cause, type(None))):
            return
        try:
            self.object.unwrap()
        except ssl.SSLError:
            pass  # the close_notify is written; ``unwrap()`` also wants that of the peer
        self._emit()

    def _unseal_one(self, data: bytes) -> bytes | None:
        """The hot path of `_unseal`, for one record that is complete, where ``ssl`` has nothing else to read."""
        self._in.write(data)
        try:
            plain = self.object.read(RECORD)  # type: ignore[union-attr]
        except ssl.SSLError as error:
            self._read_up(error.with_traceback(None))
            return None
        if not plain or self._out.pending:
            self._read_up(None if plain else ssl.SSLZeroReturnError())
        return plain or None

    def _unseal(self, data: bytes | bytearray, end: int) -> None:
        """Deliver the plain bytes of the records that ``ssl`` has, and of the complete records in ``data``.

        ``end``: where the first portion of complete records in ``data`` ends (`_end_of_records`), or 0. ``ssl`` gets
        one portion at a time, so that its memory BIO stays small.
        """
        stream, source = self.object, self._in
        assert stream is not None
        pieces: list[bytes] = []
        error: ssl.SSLError | None = None
        start, turns, view = 0, TURN, memoryview(data)
        try:
            while source.pending or end > start:
                if end > start:
                    if not turns:
                        self.again()
                        break
                    turns -= 1
                    source.write(view[start:end])
                    start = end
                    end = start if start == len(data) else _end_of_records(data, start)
                try:
                    while source.pending:
                        piece = stream.read(RECORD)
                        if not piece:
                            raise ssl.SSLZeroReturnError
                        pieces.append(piece)
                except ssl.SSLWantReadError:
                    pass  # the last record was not application data, but a new key or a session ticket
        except ssl.SSLError as raised:
            error = raised.with_traceback(None)  # this frame would be in it, in a cycle that keeps the connection
        self._part = data[start:] if start < len(data) else b""
        if pieces:
            self.deliver(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        self._read_up(error)

    def _read_up(self, error: ssl.SSLError | None) -> None:
        """The records that ``ssl`` has are read; ``error`` is what the last read has raised."""
        if isinstance(error, ssl.SSLZeroReturnError):
            self._shut, self._part = True, b""  # what comes behind a close_notify is ignored (RFC 8446, section 6.1)
            self.deliver_end()
        elif error is not None and not isinstance(error, ssl.SSLWantReadError):  # that: a new key or a session ticket
            self._break_off(error)
            return
        if self._out.pending:  # the answer to a new key
            self._emit()

    def _emit(self) -> None:
        self.put(self._out.read())

    def _break_off(self, error: ssl.SSLError) -> None:
        self._emit()  # the alert that tells the peer the reason
        self.fail(TLSFailed(error))

    def _tell(self) -> None:
        """Set `secured`, `alpn`, `peer_certificate` and `principal` on the row."""
        assert self.object is not None
        self.driver.secured = self._version()
        protocol = self.object.selected_alpn_protocol()
        if protocol is not None:
            self.driver.alpn = protocol
        certificate = self.object.getpeercert()
        if certificate and self._make[0].verify_mode != ssl.CERT_NONE:
            self.driver.peer_certificate = certificate
            self.driver.principal = subject_of(certificate)

    def _version(self) -> str:
        assert self.object is not None
        version = self.object.version() or ""
        return NAMES.get(version, version.lower())


_options: Callable[[ssl.SSLContext], int] = vars(ssl.SSLContext.__base__)["options"].__get__


def _options_of(context: ssl.SSLContext) -> int:
    """``context.options``, of which ``ssl`` makes an enumeration: that takes longer than all else for a connection."""
    return _options(context) if type(context) is ssl.SSLContext else context.options


def _is_one_message(data: bytes) -> bool:
    """Whether ``data`` is one record that has come whole and looks like data of the application (RFC 8446, 5.2)."""
    return data[:3] == b"\x17\x03\x03" and int.from_bytes(data[3:HEADER], "big") == len(data) - HEADER


def _end_of_records(data: bytes | bytearray, start: int) -> int:
    """Where the last of a few records ends that begin at ``start`` and have come whole; ``start`` if none has.

    ``ssl`` is given whole records, for one that has come in part costs an exception. They are about 16 KiB, because a
    memory BIO keeps the size that it once had, and at most `TOGETHER`. What can't be a record is for ``ssl`` to refuse.
    """
    end, size, count = start, len(data), 0
    while end + HEADER <= size and end - start < RECORD and count < TOGETHER:
        length = (data[end + 3] << 8) + data[end + 4]
        if not 20 <= data[end] <= 23 or data[end + 1] != 3 or length > LONGEST:
            return size
        if end + HEADER + length > size:
            break
        end += HEADER + length
        count += 1
    return end


_SHORT = {
    "commonName": "CN", "countryName": "C", "domainComponent": "DC", "localityName": "L", "organizationName": "O",
    "organizationalUnitName": "OU", "stateOrProvinceName": "ST", "streetAddress": "STREET", "userId": "UID",
}  # fmt: skip
"""The short names of RFC 4514, section 3."""


def subject_of(certificate: dict[str, Any]) -> str:
    """The subject of ``certificate``, a dictionary that ``getpeercert()`` has returned, as text (RFC 4514).

    >>> subject_of({"subject": ((("organizationName", "Example, Inc."),), (("commonName", "alice"),))})
    'CN=alice,O=Example\\\\, Inc.'
    """
    names = [
        "+".join(f"{_SHORT.get(name, name)}={_escaped(value)}" for name, value in relative)
        for relative in reversed(certificate.get("subject", ()))
    ]
    return ",".join(names)


def _escaped(value: str) -> str:
    """``value`` with the special characters of RFC 4514 escaped (section 2.4)."""
    text = "".join(f"\\{char}" if char in '"+,;<>\\' else "\\00" if char == "\0" else char for char in value)
    if text[:1] in (" ", "#"):
        text = f"\\{text}"
    if text.endswith(" ") and len(text) > 1:
        text = f"{text[:-1]}\\ "
    return text
