"""The messages of RPC (RFC 5531, section 9): a call is read, a reply is written.

>>> call = read_call(bytes.fromhex("00000001 00000000 00000002 000186a0 00000002 00000000" + 16 * "00"))
>>> call.program, call.version, call.procedure, call.credential
(100000, 2, 0, None)
>>> succeeded(call.xid, b"").hex(" ", 4)
'00000001 00000001 00000000 00000000 00000000 00000000'
"""

from __future__ import annotations

from struct import Struct
from struct import error as StructError  # noqa: N812
from typing import NamedTuple

from . import xdr
from .auth import AUTH_NONE, AUTH_SYS, MAX_BODY, AuthError, AuthStatus, AuthSys, read_credential

CALL, REPLY = 0, 1
"""``msg_type``"""
MSG_ACCEPTED, MSG_DENIED = 0, 1
"""``reply_stat``"""
SUCCESS, PROG_UNAVAIL, PROG_MISMATCH, PROC_UNAVAIL, GARBAGE_ARGS, SYSTEM_ERR = range(6)
ACCEPT_STAT = "SUCCESS", "PROG_UNAVAIL", "PROG_MISMATCH", "PROC_UNAVAIL", "GARBAGE_ARGS", "SYSTEM_ERR"
"""``accept_stat``, and its names"""
RPC_MISMATCH, AUTH_ERROR = 0, 1
"""``reject_stat``"""
RPC_VERSION = 2
"""The version of the protocol."""

HEADER = Struct(">6I")
"""The fixed part of a call: xid, ``msg_type``, version of RPC, program, version, procedure."""

_ONE, _TWO, _FIVE, _EIGHT = Struct(">I"), Struct(">II"), Struct(">5I"), Struct(">8I")


class Call(NamedTuple):
    """A call. ``data[start:]`` are its arguments."""

    xid: int
    program: int
    version: int
    procedure: int
    credential: AuthSys | None
    data: bytes
    start: int


class RPCError(Exception):
    """The server has refused a call, or has failed in it, for another reason than authentication."""

    def __init__(self, status: str, lowest: int | None = None, highest: int | None = None) -> None:
        super().__init__(status if lowest is None else f"{status}: versions {lowest} to {highest}")
        self.status = status
        """The name that the status has in RFC 5531, section 9, such as ``"PROC_UNAVAIL"``."""
        self.lowest = lowest
        """Of PROG_MISMATCH and RPC_MISMATCH: the lowest version that there is."""
        self.highest = highest
        """And the highest."""


class Refused(Exception):
    """The call is not made; ``reply`` is the answer, ``None`` if none may be sent."""

    def __init__(self, reply: bytes | None) -> None:
        super().__init__(reply)
        self.reply = reply


def read_call(data: bytes) -> Call:
    """The call that the data is. Raises `Refused` for anything else.

    Data that is no call is not answered: a reply above all (two servers could answer each other for ever), and what is
    too short to say that it is a call. A call that is cut off in its header is answered with GARBAGE_ARGS, a credential
    or verifier that is malformed, or longer than 400 bytes, with AUTH_ERROR.
    """
    size = len(data)
    if size < 8:
        raise Refused(None)
    if size < HEADER.size:
        xid, kind = _TWO.unpack_from(data)
        rpc_version = int.from_bytes(data[8:12], "big") if size >= 12 else RPC_VERSION
        program = version = procedure = 0
    else:
        xid, kind, rpc_version, program, version, procedure = HEADER.unpack_from(data)
    if kind != CALL:
        raise Refused(None)
    if rpc_version != RPC_VERSION:
        raise Refused(mismatched(xid))
    try:
        flavour, body, end = read_auth(xid, data, HEADER.size, AuthStatus.BADCRED)
        verifier_flavour, _, start = read_auth(xid, data, end, AuthStatus.BADVERF)
        credential = read_credential(flavour, body, verifier_flavour)
    except AuthError as error:
        raise Refused(denied(xid, error.status)) from None
    return Call(xid, program, version, procedure, credential, data, start)


def read_auth(xid: int, data: bytes, start: int, status: AuthStatus) -> tuple[int, bytes, int]:
    """The flavour and the body of the ``opaque_auth`` at ``start``, and where what follows begins.

    Raises `AuthError` with ``status`` if it is malformed, `Refused` with GARBAGE_ARGS if it is cut off.
    """
    if len(data) < start + 8:
        raise Refused(accepted(xid, GARBAGE_ARGS))
    flavour, length = _TWO.unpack_from(data, start)
    if length > MAX_BODY:
        raise AuthError(status)
    start += 8
    end = start + length
    after = end + (-length & 3)
    if len(data) < after:
        raise Refused(accepted(xid, GARBAGE_ARGS))
    if any(data[end:after]):  # as in all XDR here
        raise AuthError(status)
    return flavour, data[start:end], after


def succeeded(xid: int, result: bytes) -> bytes:
    """The reply that has the encoded result."""
    return HEADER.pack(xid, REPLY, MSG_ACCEPTED, 0, 0, SUCCESS) + result


def accepted(xid: int, status: int) -> bytes:
    """The reply to a call that was accepted and has failed, but for PROG_MISMATCH."""
    return HEADER.pack(xid, REPLY, MSG_ACCEPTED, 0, 0, status)


def other_version(xid: int, lowest: int, highest: int) -> bytes:
    """PROG_MISMATCH, with the lowest and the highest version of the program."""
    return _EIGHT.pack(xid, REPLY, MSG_ACCEPTED, 0, 0, PROG_MISMATCH, lowest, highest)


def mismatched(xid: int) -> bytes:
    """RPC_MISMATCH, with the lowest and the highest version of RPC."""
    return HEADER.pack(xid, REPLY, MSG_DENIED, RPC_MISMATCH, RPC_VERSION, RPC_VERSION)


def denied(xid: int, status: AuthStatus) -> bytes:
    """AUTH_ERROR with the status."""
    return _FIVE.pack(xid, REPLY, MSG_DENIED, AUTH_ERROR, status)


def written(
    xid: int, program: int, version: int, procedure: int, credential: AuthSys | None, arguments: bytes
) -> bytes:
    """A call, with AUTH_NONE if there is no credential."""
    body = b"" if credential is None else xdr.pack(AuthSys, credential)
    flavour = AUTH_NONE if credential is None else AUTH_SYS
    header = HEADER.pack(xid, CALL, RPC_VERSION, program, version, procedure)
    return b"".join((header, _TWO.pack(flavour, len(body)), body, _TWO.pack(AUTH_NONE, 0), arguments))


def xid_of(data: bytes) -> int | None:
    """The xid of a reply; ``None`` if the data is none."""
    if len(data) < 12:
        return None
    xid, kind = _TWO.unpack_from(data)
    return xid if kind == REPLY else None


def read_reply(data: bytes) -> bytes:
    """The encoded result that a reply has. Raises `RPCError` or `AuthError`, and `xdr.Error` for a malformed reply."""
    try:
        (stat,) = _ONE.unpack_from(data, 8)
        if stat == MSG_DENIED:
            raise _denial(data)
        (length,) = _ONE.unpack_from(data, 16)
        start = 20 + (length + 3 & ~3)
        (status,) = _ONE.unpack_from(data, start)
        if stat != MSG_ACCEPTED or length > MAX_BODY or status > SYSTEM_ERR:
            raise xdr.Error("a malformed reply")
        if status == SUCCESS:
            return data[start + 4 :]
        raise RPCError(ACCEPT_STAT[status], *(_TWO.unpack_from(data, start + 4) if status == PROG_MISMATCH else ()))
    except StructError:
        raise xdr.Error("a reply that is cut off") from None


def _denial(data: bytes) -> Exception:
    """Why the call was denied."""
    reason, status = _TWO.unpack_from(data, 12)
    if reason == RPC_MISMATCH:
        return RPCError("RPC_MISMATCH", *_TWO.unpack_from(data, 16))
    known = reason == AUTH_ERROR and status in iter(AuthStatus)
    return AuthError(AuthStatus(status)) if known else xdr.Error("a malformed reply")
