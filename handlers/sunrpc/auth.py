"""Authentication flavours (RFC 5531, section 8): what a call says of its caller, and why it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from . import xdr

AUTH_NONE, AUTH_SYS = 0, 1
"""The flavours that are known here; their numbers are IANA's."""

MAX_BODY = 400
"""Bytes that the body of a credential or of a verifier may have (RFC 5531, section 8.2)."""


class AuthStatus(IntEnum):
    """Why a call is refused: ``auth_stat`` (RFC 5531, section 9; RFC 2203, section 4)."""

    BADCRED = 1
    REJECTEDCRED = 2
    BADVERF = 3
    REJECTEDVERF = 4
    TOOWEAK = 5
    INVALIDRESP = 6
    FAILED = 7
    RPCSEC_GSS_CREDPROBLEM = 13
    RPCSEC_GSS_CTXPROBLEM = 14


class AuthError(Exception):
    """The call is refused with AUTH_ERROR and this status. `Version.authorize` and procedures may raise it."""

    def __init__(self, status: AuthStatus) -> None:
        super().__init__(status.name)
        self.status = status


@dataclass
class AuthSys:
    """The credential of AUTH_SYS (RFC 5531, appendix A). Nothing proves that it is true."""

    stamp: xdr.UInt
    machine_name: Annotated[str, xdr.AtMost(255)]
    uid: xdr.UInt
    gid: xdr.UInt
    gids: Annotated[list[xdr.UInt], xdr.AtMost(16)]


def read_credential(flavour: int, body: bytes, verifier_flavour: int) -> AuthSys | None:
    """The credential; ``None`` for AUTH_NONE, whose body means nothing.

    Raises `AuthError`: BADCRED for a malformed credential and for an unknown flavour, BADVERF for a verifier of another
    flavour than AUTH_NONE, which is the one that both flavours have.
    """
    credential = None
    if flavour == AUTH_SYS:
        try:
            credential = xdr.unpack(AuthSys, body)
        except xdr.Error:
            raise AuthError(AuthStatus.BADCRED) from None
    elif flavour != AUTH_NONE:
        raise AuthError(AuthStatus.BADCRED)
    if verifier_flavour != AUTH_NONE:
        raise AuthError(AuthStatus.BADVERF)
    return credential
