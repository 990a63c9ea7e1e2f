"""`DTLS`: a filter that encrypts the packets of one peer (RFC 6347), over the memory BIOs of pyOpenSSL.

The server's end only. A peer proves its address by returning a cookie that was sent to that address. `Door` answers the
ClientHellos of peers that have not proved it: it stores nothing about such a peer, and sends it no more bytes than have
come from it. Behind the door, a `DTLS` is made for each association. Its handshake is a stage of the row, with a
deadline of its own, with a timer for retransmissions, and with its costly steps queued (`PacketFilter.queue_step`).

A memory BIO does not keep the bounds of packets. So each packet is read before the next is written, and what is to be
sent is cut into `datagrams` at the beginnings of records.
"""

from __future__ import annotations

import errno
import hmac
import os
from time import monotonic
from weakref import WeakSet

from ...handlers import EndOfStream, Reset
from ...handlers.causes import Cause
from ...handlers.datagrams import Packets
from ...handlers.packet_filter import PacketFilter
from .tls import subject_of

try:
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from OpenSSL import SSL as SSL
except ImportError as error:
    raise ImportError(f"reactor.dtls needs pyOpenSSL: pip install 'pyopenssl>=26.4' ({error})") from error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ...handlers.channel import PacketChannel


RECORD = 16_384
"""Bytes of plain text that one record holds at most (RFC 6347, section 4.1)."""

HEADER = 13
"""Bytes of the header of a record: type, version, epoch and sequence number, length (RFC 6347, section 4.1)."""

MTU = 1_232
"""Bytes of the datagrams of a handshake, if not told otherwise: what each IPv6 network takes (RFC 8200, section 5),
less the headers of IPv6 and UDP."""

LIFETIME = 60.0
"""Seconds for which a cookie is valid."""

WAITING = 65_536
"""Bytes of packets that may wait for a step of the handshake; further packets are dropped, as the network may do."""

NAMES = {"DTLSv1": "dtls1.0", "DTLSv1.2": "dtls1.2"}
"""What `Handler.secured` is, by what OpenSSL calls the version."""

UNUSABLE = Ed25519PublicKey, Ed448PublicKey
"""Classes of keys for which OpenSSL has no cipher in DTLS 1.2."""

_secret = os.urandom(32)  # the key of the cookies; forked children have the same
_prepared: WeakSet[SSL.Context] = WeakSet()  # the contexts for which `prepare` has been called


class DTLSFailed(Cause):
    """The handshake failed or a record is wrong: ``error`` is the ``OpenSSL.SSL.Error``."""

    def __init__(self, error: SSL.Error) -> None:
        reasons = [entry[-1] for entry in error.args[0]] if error.args and isinstance(error.args[0], list) else []
        super().__init__(f"DTLS failed: {', '.join(reasons) or repr(error)}")
        self.error = error.with_traceback(None)  # its frames would lead back to the filter, and keep it


class Cookie:
    """Makes and checks the cookies of one peer (RFC 6347, section 4.2.1).

    A cookie is the time in microseconds (8 bytes), and a MAC of this time and the peer's address (16 bytes).
    """

    __slots__ = ("_clock", "_peer", "issued")

    def __init__(self, peer: Any, clock: Callable[[], float]) -> None:
        self._peer = repr(peer).encode()
        self._clock = clock
        self.issued = 0
        """The time, in microseconds, at which the last valid cookie was made; 0 if none has come."""

    def make(self) -> bytes:
        """A cookie with the time of now."""
        return self._signed(self._now())

    def is_right(self, cookie: bytes) -> bool:
        """Whether ``cookie`` was made for this peer in the last `LIFETIME` seconds. Sets `issued` if so."""
        issued = int.from_bytes(cookie[:8], "big")
        if not hmac.compare_digest(cookie, self._signed(issued)) or self._now() - issued > LIFETIME * 1e6:
            return False
        self.issued = issued
        return True

    def _now(self) -> int:
        return 1 + int(self._clock() * 1e6)

    def _signed(self, moment: int) -> bytes:
        moment_bytes = moment.to_bytes(8, "big")
        return moment_bytes + hmac.digest(_secret, moment_bytes + self._peer, "sha256")[:16]


def prepare(context: SSL.Context) -> None:
    """Set the options and the cookie callbacks of ``context``. Does nothing for a context that is prepared.

    Raises ``ValueError`` for a context that can't serve DTLS, or that has made a connection before.
    """
    if context in _prepared:
        return
    try:
        context.set_options(SSL.OP_NO_QUERY_MTU | SSL.OP_NO_RENEGOTIATION)
    except ValueError:
        raise ValueError("the context has made a connection already: give a new one") from None
    context.set_session_id(b"reactor")  # else a client with a certificate could not resume its session
    context.set_cookie_generate_callback(lambda connection: connection.get_app_data().make())
    context.set_cookie_verify_callback(lambda connection, cookie: connection.get_app_data().is_right(cookie))
    connection = SSL.Connection(context)
    if not connection.get_protocol_version_name().startswith("DTLS"):
        raise ValueError("the context is for TLS: make it with DTLS_SERVER_METHOD")
    certificate = connection.get_certificate(as_cryptography=True)
    if certificate is None or isinstance(certificate.public_key(), UNUSABLE):
        raise ValueError(
            "the context has no certificate with a key that DTLS can use: load one with use_certificate_chain_file() "
            "and use_privatekey_file(), with an ECDSA or RSA key (OpenSSL has no DTLS with Ed25519 or Ed448)"
        )
    _prepared.add(context)


def connect(context: SSL.Context, cookie: Cookie | None, mtu: int) -> SSL.Connection:
    """Make the server's end of a connection over memory BIOs. Raises as `prepare`."""
    prepare(context)
    connection = SSL.Connection(context)
    connection.set_app_data(cookie)
    connection.set_accept_state()
    connection.set_ciphertext_mtu(mtu)
    return connection


def is_hello(packet: bytes) -> bool:
    """Whether ``packet`` begins with a ClientHello that is not encrypted, so that it may begin an association."""
    return packet[:2] == b"\x16\xfe" and packet[3:5] == b"\0\0" and packet[HEADER : HEADER + 1] == b"\x01"


def datagrams(records: bytes, mtu: int) -> list[bytes]:
    """Cut ``records`` into datagrams of complete records. A datagram of more than ``mtu`` bytes has only one record.

    >>> records = b"".join(bytes(11) + len(body).to_bytes(2, "big") + body for body in (b"one", b"two!"))
    >>> [[len(datagram) for datagram in datagrams(records, mtu)] for mtu in (33, 32, 5)]
    [[33], [16, 17], [16, 17]]
    """
    cut, start, end = [], 0, 0
    while end < len(records):
        after = end + HEADER + int.from_bytes(records[end + 11 : end + HEADER], "big")
        if after - start > mtu and end > start:
            cut.append(records[start:end])
            start = end
        end = after
    if end > start:
        cut.append(records[start:end])
    return cut


def drain(connection: SSL.Connection) -> bytes:
    """Read all records that ``connection`` has to send."""
    pieces = []
    try:
        while True:
            pieces.append(connection.bio_read(65_536))
    except SSL.WantReadError:
        return b"".join(pieces)


class Door:
    """Answers ClientHellos without a valid cookie. One connection serves all peers; nothing is stored about a peer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._connection: SSL.Connection | None = None

    def look(self, context: SSL.Context, hello: bytes, peer: Any) -> tuple[int, bytes]:
        """Check the cookie in the packet ``hello``. Returns the time at which it was made, and the answer to send.

        The time is 0 for a missing or invalid cookie. The answer is empty if there is nothing to send. Raises as
        `prepare`.
        """
        connection = self._connection
        if connection is None or connection.get_context() is not context:
            connection = self._connection = connect(context, None, MTU)
        cookie = Cookie(peer, self._clock)
        connection.set_app_data(cookie)
        first = hello[: HEADER + int.from_bytes(hello[11:HEADER], "big")]
        if len(first) > HEADER + RECORD:
            return 0, b""  # OpenSSL would read the rest of it together with the next peer's packet
        connection.bio_write(first)
        try:
            connection.DTLSv1_listen()
        except SSL.WantReadError:
            answer = drain(connection)
            return 0, answer if len(answer) <= len(hello) else b""
        except SSL.Error:
            issued = 0  # OpenSSL does not take it for a ClientHello
        else:
            issued = cookie.issued
        self._connection = None  # it is not to be used again: it is in the middle of this peer's handshake
        return issued, b""


class DTLS(PacketFilter):
    """The server's end of the association with one peer; `servers.dtls.DTLSMixIn` makes it.

    ``context`` is an ``OpenSSL.SSL.Context`` for DTLS. The handshake may take ``timeout`` seconds, and its datagrams
    have at most ``mtu`` bytes. When it is done, `Handler.secured` is ``"dtls1.2"``, and `Handler.principal` the subject
    of the peer's verified certificate, if the context asks for one, as in RFC 4514 (``"CN=alice,O=Example"``).

    Each packet of the request becomes one record in one datagram, whatever ``mtu`` is: the MTU of the path bounds it. A
    packet has from 1 to 16,384 bytes; a longer one ends the association with `Reset` (``EMSGSIZE``), as with UDP. A
    record that is forged, replayed or garbled is dropped. Before the keys are agreed, a forged alert or message can't
    be told from a true one, so it may end the handshake. The peer's close_notify becomes `EndOfStream`.
    """

    __slots__ = (
        "_clock", "_connection", "_context", "_deadline", "_is_open", "_listens", "_mtu", "_timeout", "_waiting",
    )  # fmt: skip

    name = "DTLS"

    def __init__(
        self, inner: PacketChannel, context: SSL.Context, mtu: int = MTU, timeout: float = 30.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:  # fmt: skip
        super().__init__(inner)
        self._context = context
        self._mtu = mtu
        self._timeout = timeout
        self._clock = clock
        self._connection: SSL.Connection | None = None
        self._waiting = Packets()
        self._listens = True  # whether this connection has not been given the ClientHello with a valid cookie
        self._is_open = False

    @property
    def label(self) -> str:
        """``"dtls"``; when the handshake is done its version: ``"dtls1.2"``."""
        return str(self.driver.secured) if self._is_open else "dtls"

    def begin(self) -> None:
        """Wait for the handshake."""
        self._deadline = self._clock() + self._timeout
        self._wait()

    def received(self, packet: bytes) -> None:
        """Take the next packet, and deliver the plain packets in its records."""
        if not packet:
            return
        if self._is_open:
            self._read(packet)
        elif self._waiting.weight + len(packet) <= WAITING:
            self._waiting.put(packet)
            self.queue_step()

    @property
    def pending(self) -> int:
        """Bytes of packets that wait for a step of the handshake."""
        return self._waiting.weight

    def step(self) -> None:
        """Go on with the handshake, with all packets that wait."""
        if self._connection is None:  # not before, because it takes tens of KiB
            self._connection = connect(self._context, Cookie(self.driver.peer, self._clock), self._mtu)
        while self._waiting:
            packet = self._waiting.take()
            if self._is_open:
                self._read(packet)
            else:
                self._shake(self._connection, packet)

    def expired(self) -> None:
        """Send the last flight again, until the time of the handshake is over."""
        connection = self._connection
        if self._clock() >= self._deadline:
            super().expired()
            return
        try:
            if connection is not None and connection.DTLSv1_handle_timeout():
                self._emit(connection)
        except SSL.Error as error:  # OpenSSL has sent this flight too often
            self._break_off(DTLSFailed(error))
        else:
            self._wait()

    def flow(self, packet: bytes) -> None:
        """Send the packet as one record."""
        connection = self._connection
        assert connection is not None
        if not packet:
            raise ValueError("DTLS can't carry an empty packet: send at least one byte")
        if len(packet) > RECORD:
            self.fail(Reset(OSError(errno.EMSGSIZE, f"a packet of {len(packet)} bytes; DTLS takes {RECORD} at most")))
            return
        connection.send(packet)
        self._emit(connection)

    def farewell(self) -> None:
        """Send close_notify."""
        connection = self._connection
        assert connection is not None
        try:
            connection.shutdown()
        except SSL.Error:
            pass  # the peer has broken the association off
        self._emit(connection)

    def _shake(self, connection: SSL.Connection, packet: bytes) -> None:
        connection.bio_write(packet)
        try:
            if self._listens:
                connection.DTLSv1_listen()
                self._listens = False
            connection.do_handshake()
        except SSL.WantReadError:
            self._emit(connection)
            self._wait()
        except SSL.Error as error:
            self._break_off(DTLSFailed(error))
        else:
            self._is_open = True
            self._emit(connection)
            self._tell(connection)
            self.open()
            self._deliver_all(connection)

    def _wait(self) -> None:
        """Wait for the peer's next flight, until it is time to send our last flight again."""
        left = max(0.0, self._deadline - self._clock())
        again = None if self._connection is None else self._connection.DTLSv1_get_timeout()
        self.open_until("the DTLS handshake", left if again is None else min(left, again))

    def _read(self, packet: bytes) -> None:
        connection = self._connection
        assert connection is not None
        connection.bio_write(packet)
        self._deliver_all(connection)

    def _deliver_all(self, connection: SSL.Connection) -> None:
        """Deliver the plain packets in the records that OpenSSL has."""
        try:
            while True:
                self.deliver(connection.recv(RECORD))
        except SSL.WantReadError:
            self._emit(connection)  # OpenSSL repeats our last flight if the peer has sent its own again
        except SSL.ZeroReturnError:
            self.farewell()
            self._break_off(EndOfStream(b""))
        except SSL.Error as error:
            self._break_off(DTLSFailed(error))

    def _break_off(self, cause: Cause) -> None:
        """End the association for ``cause``. The alert that tells the peer the reason is still sent."""
        assert self._connection is not None
        self._emit(self._connection)
        self._waiting = Packets()
        self.fail(cause)

    def _emit(self, connection: SSL.Connection) -> None:
        for datagram in datagrams(drain(connection), self._mtu):
            self.put(datagram)

    def _tell(self, connection: SSL.Connection) -> None:
        """Set `secured` and `principal` on the row."""
        version = connection.get_protocol_version_name()
        self.driver.secured = NAMES.get(version, version.lower())
        certificate = connection.get_peer_certificate(as_cryptography=True)
        if certificate is not None and self._context.get_verify_mode() & SSL.VERIFY_PEER:
            names = [[(one.rfc4514_attribute_name, one.value) for one in rdn] for rdn in certificate.subject.rdns]
            self.driver.principal = subject_of({"subject": names})
