"""Clients that block, for the classes that `language` writes. The caller connects the socket: this package has none.

with CALCULATOR_1_client.over_stream(socket.create_connection((host, port))) as calculator:
    calculator.ADD(2, 3)
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial
from random import getrandbits
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

from ..causes import Cause
from ..machines import StreamMachine
from . import xdr
from .auth import AuthError, AuthStatus, AuthSys
from .message import CALL, HEADER, RPC_VERSION, read_reply, written, xid_of
from .program import Procedure, Version
from .record import RecordHandler, mark
from .tls import ALPN, PROBE, STARTTLS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

V = TypeVar("V", bound=Version)

STRAYS = 64
"""Datagrams that are no reply to an open call, after which a client sends its call again."""

IN_FLIGHT = 64
"""Calls that a `DatagramClient` sends before it has their replies: more could overflow the buffer of a socket."""

PROBING = Procedure(0, "probe", (), None)
"""The procedure of the probe for TLS."""


class OpenCall(Protocol):
    """A call whose reply is awaited."""

    def write(self) -> bytes:
        """The call, each time it is sent."""

    def read(self, reply: bytes) -> bytes:
        """The encoded result that the reply has. Raises what `read_reply` raises."""


class Flavour(Protocol):
    """What makes calls: a credential that is more than bytes in front of the arguments."""

    def call(self, head: bytes, arguments: bytes) -> OpenCall:
        """A call: ``head`` is what comes before its credential."""


class Plain:
    """A call whose credential proves nothing: AUTH_NONE, or AUTH_SYS."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def write(self) -> bytes:
        return self._data

    def read(self, reply: bytes) -> bytes:
        return read_reply(reply)


class Probe(Plain):
    """The probe for TLS; it is also its flavour."""

    def __init__(self) -> None:
        super().__init__(b"")

    def call(self, head: bytes, arguments: bytes) -> OpenCall:
        self._data = head + PROBE
        return self

    def read(self, reply: bytes) -> bytes:
        result = super().read(reply)
        if reply[12:28] != STARTTLS:
            raise AuthError(AuthStatus.REJECTEDVERF)
        return result


def open_call(
    version: type[Version], procedure: Procedure, arguments: bytes, credential: AuthSys | Flavour | None, xid: int
) -> OpenCall:
    """A call of the procedure, its arguments encoded."""
    if credential is None or isinstance(credential, AuthSys):
        return Plain(written(xid, version.program, version.version, procedure.number, credential, arguments))
    head = HEADER.pack(xid, CALL, RPC_VERSION, version.program, version.version, procedure.number)
    return credential.call(head, arguments)


class Client(Generic[V]):
    """What the clients of streams and of datagrams have in common. Not for several threads at once.

    ``credential`` is that of all calls, AUTH_NONE by default; `gss.client.establish` makes one of RPCSEC_GSS. Any
    `OSError`, and a `Cause` for a reply past a bound, closes the socket; a refused call (`RPCError`, `AuthError`) and a
    result that is no encoding (`xdr.Error`) do not.
    """

    def __init__(self, version: type[V], sock: Any, credential: AuthSys | Flavour | None = None) -> None:
        self.version = version
        self.socket = sock
        self.credential = credential
        self._xid = getrandbits(32)
        self._open: dict[int, tuple[Procedure, OpenCall]] = {}
        self._waiting: dict[int, OpenCall] = {}  # those whose reply has not come, the oldest first
        self._replies: dict[int, bytes] = {}
        self._by_name = {procedure.name: procedure for procedure in version.procedures.values()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    @property
    def remote(self) -> V:
        """An object with the methods of the version: each makes the call and returns the result of the server."""
        return cast("V", Remote(self))

    def call(self, name: str, *arguments: Any) -> Any:
        """Call the procedure of this name and return its result."""
        return self.result(self.begin(name, *arguments))

    def begin(self, name: str, *arguments: Any) -> int:
        """Send a call, and do not wait for its reply; returns its xid. Any number of calls may be open."""
        procedure = self._by_name[name]
        if len(arguments) != len(procedure.arguments):
            raise TypeError(f"{name} takes {len(procedure.arguments)} arguments, not {len(arguments)}")
        encoded = b"".join(map(xdr.pack, procedure.arguments, arguments))
        return self.start(procedure, encoded, self.credential)

    def start(self, procedure: Procedure, arguments: bytes, credential: AuthSys | Flavour | None) -> int:
        """Send a call of any procedure, its arguments encoded, with this credential; returns its xid."""
        xid = self._xid = self._xid + 1 & 0xFFFF_FFFF
        call = open_call(self.version, procedure, arguments, credential, xid)
        self._guard(self._send, call.write())
        self._open[xid] = procedure, call
        self._waiting[xid] = call
        return xid

    def result(self, xid: int) -> Any:
        """Wait for the reply to an open call and return the result."""
        procedure, call = self._open[xid]
        try:
            self._guard(self._await, xid)
        finally:
            del self._open[xid]
            self._waiting.pop(xid, None)
        result = call.read(self._replies.pop(xid))
        return xdr.unpack(procedure.result, result)

    def _keep(self, reply: bytes) -> bool:
        """Keep a reply, if it is the first one to an open call."""
        xid = xid_of(reply)
        if xid is None or self._waiting.pop(xid, None) is None:
            return False
        self._replies[xid] = reply
        return True

    def _guard(self, call: Any, *arguments: Any) -> None:
        try:
            call(*arguments)
        except (OSError, Cause):
            self.close()
            raise

    def _send(self, data: bytes) -> None:
        raise NotImplementedError

    def _await(self, xid: int) -> None:
        """Receive until the reply to this call is here."""
        raise NotImplementedError


class Remote:
    """The procedures of a version, as methods that call them. See `Client.remote`."""

    def __init__(self, client: Client[Any]) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name not in self._client._by_name:
            raise AttributeError(f"{self._client.version.__name__} has no procedure {name}")
        return partial(self._client.call, name)


class Records(RecordHandler):
    """Keeps the records that a server sends."""

    max_record = 16 << 20

    def setup(self) -> None:
        super().setup()
        self.records: deque[bytes] = deque()

    def record(self, record: bytes) -> None:
        self.records.append(record)


class StreamClient(Client[V]):
    """Calls over a connected stream socket. Its own timeout is the time that each piece of a reply may take."""

    def __init__(self, version: type[V], sock: Any, credential: AuthSys | Flavour | None = None) -> None:
        super().__init__(version, sock, credential)
        self._records = Records()
        self._machine = StreamMachine(self._records)
        self._machine.advance()

    def start_tls(self, context: Any, server_hostname: str | None = None) -> None:
        """Turn to TLS (RFC 9289): probe, and make the handshake with ``context``, an ``ssl.SSLContext`` for clients.

        Call it first: no call may be open. ``context`` is made to ask for the application protocol "sunrpc".
        Raises `AuthError` or `RPCError` if the server refuses the probe, and the connection stays as it was;
        `ConnectionError`, which closes it, if the server has sent more than the answer to the probe before the
        handshake, or has not agreed on the protocol and on TLS 1.3; and what the handshake raises.
        """
        if self._open:
            raise ValueError(f"{len(self._open)} calls are open: TLS can't begin before their replies are here")
        self.result(self.start(PROBING, b"", Probe()))
        self._guard(self._shake_hands, context, server_hostname)

    def _shake_hands(self, context: Any, server_hostname: str | None) -> None:
        if self._machine.held_in or self._records.begun:
            raise ConnectionAbortedError("the server has sent unprotected data behind its STARTTLS")
        context.set_alpn_protocols([ALPN])
        self.socket = context.wrap_socket(self.socket, server_hostname=server_hostname)
        agreed = self.socket.version(), self.socket.selected_alpn_protocol()
        if agreed != ("TLSv1.3", ALPN):
            raise ConnectionAbortedError(f"the server has agreed on {agreed[0]} and {agreed[1]!r}, not on {ALPN!r}")

    def _send(self, data: bytes) -> None:
        self.socket.sendall(mark(data))

    def _await(self, xid: int) -> None:
        while xid in self._waiting:
            received = self.socket.recv(65_536)
            if not received:
                raise ConnectionResetError("the server has closed the connection before the reply")
            self._machine.feed(received)
            while self._records.records:
                self._keep(self._records.records.popleft())
            if self._machine.reason is not None:
                raise self._machine.reason


class DatagramClient(Client[V]):
    """Calls over a connected datagram socket. After each of ``waits``, in seconds, calls without reply are sent again.

    After the last one the error is `TimeoutError`. The server may have made the call, even twice. A call that would be
    one of more than `IN_FLIGHT` waits for the reply to the oldest.
    """

    def __init__(
        self,
        version: type[V],
        sock: Any,
        credential: AuthSys | Flavour | None = None,
        waits: tuple[float, ...] = (1, 2, 4, 8),
    ) -> None:
        super().__init__(version, sock, credential)
        self.waits = waits

    def start(self, procedure: Procedure, arguments: bytes, credential: AuthSys | Flavour | None) -> int:
        if len(self._waiting) >= IN_FLIGHT:
            self._guard(self._await, next(iter(self._waiting)))
        return super().start(procedure, arguments, credential)

    def _send(self, data: bytes) -> None:
        self.socket.send(data)

    def _await(self, xid: int) -> None:
        for number, seconds in enumerate(self.waits):
            if number and xid in self._waiting:
                for call in self._waiting.values():  # what is lost together is sent again together
                    self._send(call.write())
            self.socket.settimeout(seconds)
            strays = 0
            with suppress(TimeoutError):
                while xid in self._waiting and strays < STRAYS:
                    strays += not self._keep(self.socket.recv(65_536))
        if xid in self._waiting:
            waits = ", ".join(f"{seconds:g}" for seconds in self.waits)
            raise TimeoutError(f"no reply to {len(self.waits)} datagrams in {waits} seconds, or before {STRAYS} strays")


class VersionClient:
    """The base of the clients that `language` writes, one for each version: a method for each procedure.

    It makes its calls with a `StreamClient` or a `DatagramClient`, which says what a call may raise.
    """

    version: ClassVar[type[Version]]

    def __init__(self, client: Client[Any]) -> None:
        self.client = client

    @classmethod
    def over_stream(cls, sock: Any, credential: AuthSys | Flavour | None = None) -> Self:
        """A client over a connected stream socket: see `StreamClient`."""
        return cls(StreamClient(cls.version, sock, credential))

    @classmethod
    def over_datagrams(
        cls, sock: Any, credential: AuthSys | Flavour | None = None, waits: tuple[float, ...] = (1, 2, 4, 8)
    ) -> Self:
        """A client over a connected datagram socket: see `DatagramClient`."""
        return cls(DatagramClient(cls.version, sock, credential, waits))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _call(self, number: int, *arguments: Any) -> Any:
        return self.client.call(self.version.procedures[number].name, *arguments)
