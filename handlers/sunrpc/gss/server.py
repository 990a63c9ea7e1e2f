"""`GSS`: RPCSEC_GSS in front of a handler that serves programs (RFC 2203, section 5)."""

from __future__ import annotations

from typing import ClassVar

from .. import xdr
from ..auth import AUTH_NONE, AuthError, AuthStatus
from ..message import (
    GARBAGE_ARGS,
    HEADER,
    MSG_DENIED,
    SUCCESS,
    SYSTEM_ERR,
    Refused,
    accepted,
    denied,
    read_auth,
    succeeded,
)
from ..program import Serving, Version
from .acceptor import Acceptor, Held, failed
from .mechanism import GSSError
from .wire import (
    OPAQUE,
    RPCSEC_GSS,
    WORD,
    Caller,
    Credential,
    GSSProcedure,
    InitResult,
    opaque_auth,
    protect,
    read_credential,
    unprotect,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_CALL_2, _FLAVOUR, _NONE = bytes(7) + b"\2", WORD.pack(RPCSEC_GSS), bytes(16)
"""``msg_type`` CALL and version 2 of RPC; the flavour; credential and verifier of AUTH_NONE."""


class Protection:
    """What belongs to one call with RPCSEC_GSS: who makes it, and how its reply is protected."""

    __slots__ = ("_held", "_number", "caller", "handle", "plain")

    def __init__(self, held: Held, credential: Credential) -> None:
        self._held = held
        self._number = credential.number
        self.caller = Caller(held.principal or "", credential.service)
        """The caller."""
        self.handle = credential.handle
        """The handle of the context."""
        self.plain = b""
        """The call without protection: what it would be with AUTH_NONE."""

    def open(self, data: bytes, start: int) -> None:
        """Take the protected arguments of the call. Raises `GSSError` and `xdr.Error`."""
        with self._held.turn:
            arguments = unprotect(self._held.context, self.caller.service, self._number, data, start)
        self.plain = data[: HEADER.size] + _NONE + arguments

    def seal(self, reply: bytes) -> bytes:
        """The reply with its verifier, and its results protected (RFC 2203, section 5.3.3.2).

        A reply without a context that still works is CTXPROBLEM, results that can't be wrapped are SYSTEM_ERR
        (section 5.3.3.4).
        """
        head, status, result = reply[:12], reply[20:24], reply[24:]
        if reply[8:12] == WORD.pack(MSG_DENIED):
            return reply
        context, service, number = self._held.context, self.caller.service, self._number
        with self._held.turn:
            try:
                verifier = opaque_auth(RPCSEC_GSS, context.get_mic(WORD.pack(number)))
            except GSSError:
                return denied(int.from_bytes(reply[:4], "big"), AuthStatus.RPCSEC_GSS_CTXPROBLEM)
            if status == WORD.pack(SUCCESS):
                try:
                    result = protect(context, service, number, result)
                except GSSError:
                    status, result = WORD.pack(SYSTEM_ERR), b""
        return b"".join((head, verifier, status, result))

    def before(self, answer: Callable[[bytes], object]) -> Callable[[bytes], object]:
        """What is called with a reply instead of ``answer``, which is then called with the protected one."""
        return lambda reply: answer(self.seal(reply))


class GSS(Serving):
    """A base class in front of `RPCStreamHandler` or `RPCDatagramHandler`: it also takes calls with RPCSEC_GSS.

    Such a call reaches its version as if it had been made with AUTH_NONE, but for `Version.credential`, which is a
    `Caller`, and the `principal`. A call whose sequence number is below the window of its context, or was seen, is
    dropped without a reply. To demand the flavour, or a service, override `Version.authorize` and call `wire.demand`.
    """

    __slots__ = ()
    gss: ClassVar[Acceptor]
    """The contexts."""

    def begin(self, data: bytes) -> Version:
        if data[4:12] != _CALL_2 or data[24:28] != _FLAVOUR:
            return super().begin(data)
        now = self.now()  # type: ignore[attr-defined]
        protection = take(self.gss, data, now)
        try:
            version = super().begin(protection.plain)
        except Refused as refused:
            raise Refused(refused.reply and protection.seal(refused.reply)) from None
        version.protection = protection
        return version


def take(acceptor: Acceptor, data: bytes, now: float) -> Protection:
    """The protection of the call ``data``, whose flavour is RPCSEC_GSS. Raises `Refused` for anything but DATA."""
    xid = int.from_bytes(data[:4], "big")
    try:
        _, body, end = read_auth(xid, data, HEADER.size, AuthStatus.BADCRED)
        flavour, verifier, start = read_auth(xid, data, end, AuthStatus.BADVERF)
        credential = read_credential(body)
        if credential.procedure is not GSSProcedure.DATA and data[20 : HEADER.size] != bytes(4):
            raise AuthError(AuthStatus.FAILED)  # these calls are of procedure 0
        if credential.procedure in (GSSProcedure.INIT, GSSProcedure.CONTINUE_INIT):
            if flavour != AUTH_NONE or verifier:
                raise AuthError(AuthStatus.BADVERF)
            raise Refused(_create(acceptor, credential, data, start, now))
        if flavour != RPCSEC_GSS:
            raise AuthError(AuthStatus.BADVERF)
        held = acceptor.find(credential.handle, now)
        if not held.verify(credential.number, data[:end], verifier):
            raise Refused(None)
    except AuthError as error:
        raise Refused(denied(xid, error.status)) from None
    acceptor.use(credential, now)
    protection = Protection(held, credential)
    try:
        protection.open(data, start)
    except (GSSError, xdr.Error):
        raise Refused(protection.seal(accepted(xid, GARBAGE_ARGS))) from None
    if credential.procedure is GSSProcedure.DESTROY:
        acceptor.drop(credential.handle)
        raise Refused(protection.seal(succeeded(xid, b"")))
    return protection


def _create(acceptor: Acceptor, credential: Credential, data: bytes, start: int, now: float) -> bytes:
    """The reply to a call that creates a context, or goes on with that (RFC 2203, section 5.2.3)."""
    xid = int.from_bytes(data[:4], "big")
    is_first = credential.procedure is GSSProcedure.INIT
    if is_first and credential.handle:
        raise AuthError(AuthStatus.BADCRED)
    try:
        token, end = OPAQUE.unpack_from(data, start)
    except xdr.Error:
        end = -1
    if end != len(data):
        return accepted(xid, GARBAGE_ARGS)
    result, held = acceptor.create(token, now) if is_first else acceptor.go_on(credential.handle, token, now)
    verifier = opaque_auth(AUTH_NONE, b"")
    if held is not None:
        try:
            with held.turn:
                verifier = opaque_auth(RPCSEC_GSS, held.context.get_mic(WORD.pack(result.window)))
        except GSSError as error:
            acceptor.drop(result.handle)
            result = failed(error)
    reply = succeeded(xid, xdr.pack(InitResult, result))
    return reply[:12] + verifier + reply[20:]
