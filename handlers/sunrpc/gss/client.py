"""The contexts of a client (RFC 2203, sections 5.2 and 5.3): `establish` makes one, which is then a credential.

with StreamClient(CALCULATOR_1, socket.create_connection((host, port))) as client:
    client.credential = establish(client, Initiator("calc@host.example"), Service.PRIVACY)
    client.remote.ADD(2, 3)
    client.credential.destroy(client)
"""

from __future__ import annotations

from typing import Any

from .. import xdr
from ..auth import AUTH_NONE, AuthError, AuthStatus
from ..message import MSG_ACCEPTED, Refused, read_auth, read_reply
from ..program import Procedure
from .mechanism import CONTINUE_NEEDED, GSSError, Initiation
from .wire import (
    MAXSEQ,
    RPCSEC_GSS,
    WORD,
    Credential,
    GSSProcedure,
    InitResult,
    Service,
    opaque_auth,
    protect,
    unprotect,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import TypeAlias

    from ..client import Client

    Steps: TypeAlias = "Generator[tuple[bytes, Creation], InitResult | None, SecurityContext]"

CREATION = Procedure(0, "create a context", (bytes,), InitResult)
DESTRUCTION = Procedure(0, "destroy a context", (), None)

ROUNDS = 16
"""Calls that the creation of a context may take."""


def establish(client: Client[Any], initiation: Initiation, service: Service = Service.PRIVACY) -> SecurityContext:
    """Create a context with the server of the client, and return the credential for calls with it.

    Raises `GSSError` if the mechanism or the server refuses it, or the server has not proved who it is; and what
    `Client.call` raises.
    """
    steps, result = _steps(initiation, service), None
    try:
        while True:
            token, creation = steps.send(result)
            result = client.result(client.start(CREATION, xdr.pack(bytes, token), creation))
    except StopIteration as ended:
        context: SecurityContext = ended.value
        return context


def _steps(initiation: Initiation, service: Service) -> Steps:
    """The calls that create a context: yields the argument and the flavour of each, and is sent its result."""
    # In creation the service means nothing (RFC 2203, section 5.2.2), but libtirpc's server uses it for all calls.
    token, credential = initiation.step(b""), Credential(GSSProcedure.INIT, 0, service, b"")
    for _ in range(ROUNDS):
        creation = Creation(credential)
        result = yield token, creation
        assert result is not None
        if result.major not in (0, CONTINUE_NEEDED):
            raise GSSError("the server refuses the context", result.major, result.minor)
        if not initiation.complete:
            token = initiation.step(result.token)
        if result.major != CONTINUE_NEEDED:
            if not initiation.complete:
                raise GSSError("the server takes the context for complete, and it is not")
            initiation.verify_mic(WORD.pack(result.window), creation.verifier)
            return SecurityContext(initiation, service, result.handle, result.window)
        credential = Credential(GSSProcedure.CONTINUE_INIT, 0, service, result.handle)
    raise GSSError(f"the server wants more than {ROUNDS} tokens")


class Creation:
    """A call that creates a context, and its flavour."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._data = b""
        self.verifier = b""
        """The body of the verifier of the reply."""

    def call(self, head: bytes, arguments: bytes) -> Creation:
        self._data = head + self._credential.encoded() + opaque_auth(AUTH_NONE, b"") + arguments
        return self

    def write(self) -> bytes:
        return self._data

    def read(self, reply: bytes) -> bytes:
        result = read_reply(reply)
        _, self.verifier = read_verifier(reply)
        return result


class SecurityContext:
    """A context of a client: the credential of its calls.

    The server forgets contexts. Then calls fail with `AuthError`, CREDPROBLEM or CTXPROBLEM: establish another one.
    """

    def __init__(self, initiation: Initiation, service: Service, handle: bytes, window: int) -> None:
        self.initiation = initiation
        self.service = service
        """How calls and replies are protected."""
        self.handle = handle
        self.window = window
        """Calls that may be open at the same time: those that are further behind may be dropped by the server."""
        self._number = 0

    def call(self, head: bytes, arguments: bytes) -> Protected:
        """A call with this context."""
        return Protected(self, GSSProcedure.DATA, head, arguments)

    def destroy(self, client: Client[Any]) -> None:
        """Tell the server that the context is used no more (RFC 2203, section 5.4)."""
        client.result(client.start(DESTRUCTION, b"", Destruction(self)))

    def next(self) -> int:
        """A sequence number that was not used before."""
        if self._number + 1 >= MAXSEQ:
            raise GSSError("all sequence numbers of the context were used")
        self._number += 1
        return self._number


class Destruction:
    """The flavour of the call that destroys a context."""

    def __init__(self, context: SecurityContext) -> None:
        self._context = context

    def call(self, head: bytes, arguments: bytes) -> Protected:
        return Protected(self._context, GSSProcedure.DESTROY, head, arguments)


class Protected:
    """A call with a context. It has another sequence number each time it is sent (RFC 2203, section 5.3.3.1)."""

    def __init__(self, context: SecurityContext, procedure: GSSProcedure, head: bytes, arguments: bytes) -> None:
        self._context = context
        self._procedure = procedure
        self._service = context.service
        self._head = head
        self._arguments = arguments
        self._numbers: list[int] = []

    def write(self) -> bytes:
        context = self._context
        number = context.next()
        self._numbers.append(number)
        credential = Credential(self._procedure, number, self._service, context.handle)
        header = self._head + credential.encoded()
        verifier = opaque_auth(RPCSEC_GSS, context.initiation.get_mic(header))
        return b"".join((header, verifier, protect(context.initiation, self._service, number, self._arguments)))

    def read(self, reply: bytes) -> bytes:
        """The result. The verifier says which of the numbers the reply is for; none proves a denial."""
        if reply[8:12] != WORD.pack(MSG_ACCEPTED):
            return read_reply(reply)
        flavour, mic = read_verifier(reply)
        number = next((number for number in self._numbers if flavour == RPCSEC_GSS and self._is_of(number, mic)), None)
        if number is None:
            raise AuthError(AuthStatus.INVALIDRESP)
        result = read_reply(reply)
        if self._procedure is GSSProcedure.DESTROY:
            return b""  # some servers protect this one too, some do not
        return unprotect(self._context.initiation, self._service, number, result, 0)

    def _is_of(self, number: int, mic: bytes) -> bool:
        try:
            self._context.initiation.verify_mic(WORD.pack(number), mic)
        except GSSError:
            return False
        return True


def read_verifier(reply: bytes) -> tuple[int, bytes]:
    """The flavour and the body of the verifier of an accepted reply. Raises `AuthError` and `xdr.Error`."""
    try:
        return read_auth(0, reply, 12, AuthStatus.INVALIDRESP)[:2]
    except Refused:
        raise xdr.Error("a reply that is cut off") from None
