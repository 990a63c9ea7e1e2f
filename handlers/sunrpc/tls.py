"""RPC-with-TLS (RFC 9289): a connection turns to TLS in mid-stream, after a probe. `StartTLS` is the server's side.

The client's side is `handlers.sunrpc.client.StreamClient.start_tls`. DTLS is not offered: over datagrams, the probe is
answered with AUTH_BADCRED, as by a server that knows no TLS.
"""

from __future__ import annotations

from struct import Struct
from typing import Any

from ..causes import Cause
from ..waits import REFUSE, Filtered
from .auth import AuthStatus
from .message import CALL, HEADER, MSG_ACCEPTED, REPLY, RPC_VERSION, SUCCESS, Refused, denied
from .program import Version
from .record import RPCStreamHandler, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..channel import StreamChannel
    from ..filter import Filter

AUTH_TLS = 7
"""The flavour of the probe (RFC 9289, section 7.1)."""
PROBE = AUTH_TLS.to_bytes(4, "big") + bytes(12)
"""The credential of the probe, which has no body, and its verifier, AUTH_NONE (RFC 9289, section 4.1)."""
STARTTLS = bytes(4) + (8).to_bytes(4, "big") + b"STARTTLS"
"""The verifier of the reply: AUTH_NONE with these eight bytes."""
VERSION = "tls1.3"
"""The version, as `Handler.secured` has it: none before may be used (RFC 9289, section 5), and there is none after."""
ALPN = "sunrpc"
"""The application protocol (RFC 9289, section 8.2)."""

TWO, THREE = Struct(">II"), Struct(">III")
CALL_2 = TWO.pack(CALL, RPC_VERSION)


class WrongProtocol(Cause):
    """The handshake has agreed on another version than TLS 1.3, or on an application protocol that is not allowed."""

    def __init__(self, version: str, protocol: str | None) -> None:
        super().__init__(f"the handshake has agreed on {version} and {protocol!r}, not on {VERSION} and {ALPN!r}")
        self.version = version
        self.protocol = protocol


class StartTLS(RPCStreamHandler):
    """A base class in front of a class of `RPCStreamHandler`, or in its place: it offers TLS to those that ask for it.

    The client makes a call of procedure 0 with the flavour AUTH_TLS, a *probe*, and begins the handshake after the
    reply. What it sends between the two is not protected, and ends the connection with `TooEarly`. A probe is refused
    with AUTH_BADCRED if it is malformed, of another procedure, or sent inside TLS, and with AUTH_FAILED while other
    calls are open, whose replies would go out protected, although anybody could have made the calls.

    `make_tls` makes the filter, for example::

        class Calculators(StartTLS):
            versions = (Calculator,)

            def make_tls(self, inner):
                return reactor.tls.TLS(inner, context=self.server.context)

    The context should have ``set_alpn_protocols(["sunrpc"])``. A connection that has agreed on another protocol, or on
    a version before TLS 1.3 (RFC 9289, section 5), ends with `WrongProtocol`. With RPCSEC_GSS this class comes first:
    ``class Both(StartTLS, GSS)``.
    """

    __slots__ = ()

    demand_tls = False
    """Whether calls that are not protected by TLS are refused, with AUTH_TOOWEAK; only the probe is not."""
    protocols: tuple[str | None, ...] = (ALPN,)
    """Application protocols that the handshake may agree on; ``None`` among them also lets in clients without ALPN."""

    def make_tls(self, inner: StreamChannel) -> Filter:
        """Return the filter of TLS in front of the channel ``inner``. Every class of this kind defines this."""
        raise NotImplementedError(f"{type(self).__name__} must define make_tls()")

    def begin(self, data: bytes) -> Version:
        if self.demand_tls and not self.secured and data[4:12] == CALL_2:
            raise Refused(denied(int.from_bytes(data[:4], "big"), AuthStatus.TOOWEAK))
        return super().begin(data)

    def record(self, record: bytes) -> Any:
        if record[4:12] != CALL_2 or record[24:28] != PROBE[:4]:
            return super().record(record)
        program, version = TWO.unpack_from(record, 12)
        if version not in self._programs.get(program, ()):
            return super().record(record[: HEADER.size] + bytes(16))  # which says so
        status = self._refusal(record)
        xid = int.from_bytes(record[:4], "big")
        if status is None:
            self.send(mark(THREE.pack(xid, REPLY, MSG_ACCEPTED) + STARTTLS + SUCCESS.to_bytes(4, "big")))
            return Filtered(self.make_tls, held=REFUSE), self._protected
        self.send(mark(denied(xid, status)))
        return None

    def _refusal(self, probe: bytes) -> AuthStatus | None:
        """Why the probe is refused; ``None`` if it is not."""
        if self.secured or probe[20:] != bytes(4) + PROBE:
            return AuthStatus.BADCRED
        return AuthStatus.FAILED if self._machine.calls else None

    def _protected(self, _: None) -> Any:
        if self.secured != VERSION or self.alpn not in self.protocols:
            raise WrongProtocol(self.secured, self.alpn)
        return self.handle()
