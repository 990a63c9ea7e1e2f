"""What RPCSEC_GSS sends (RFC 2203, section 5): the credential, the results of context creation, protected data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from .. import xdr
from ..auth import AuthError, AuthStatus, AuthSys
from .mechanism import Context

RPCSEC_GSS = 6
"""The flavour (RFC 2203, section 3)."""
VERSION = 1
"""RPCSEC_GSS_VERS_1"""
MAXSEQ = 0x8000_0000
"""The sequence number at which a context must be replaced (RFC 2203, section 5.3.3.1)."""

_HEAD, WORD = Struct(">5I"), Struct(">I")
_AUTH = Struct(">II")
OPAQUE: xdr.Codec[bytes] = xdr.codec(bytes)


class GSSProcedure(IntEnum):
    """What a call with this flavour is for: ``rpc_gss_proc_t``."""

    DATA = 0
    INIT = 1
    CONTINUE_INIT = 2
    DESTROY = 3


class Service(IntEnum):
    """How the arguments and the results are protected: ``rpc_gss_service_t``. The header of a call always is."""

    NONE = 1
    INTEGRITY = 2
    PRIVACY = 3


class Caller(NamedTuple):
    """What `Version.credential` is for a call with RPCSEC_GSS: proved, unlike `AuthSys`."""

    principal: str
    """The name of the user, such as ``"alice@EXAMPLE.ORG"``."""
    service: Service
    """How the call is protected, and its reply."""


def demand(credential: Caller | AuthSys | None, service: Service = Service.NONE) -> Caller:
    """The credential, if it is one of RPCSEC_GSS and its service is this one or better. For `Version.authorize`.

    Raises `AuthError` with TOOWEAK otherwise.
    """
    if isinstance(credential, Caller) and credential.service >= service:
        return credential
    raise AuthError(AuthStatus.TOOWEAK)


class Credential(NamedTuple):
    """The body of the credential: ``rpc_gss_cred_vers_1_t``."""

    procedure: GSSProcedure
    number: int
    service: Service
    handle: bytes

    def encoded(self) -> bytes:
        """The credential as ``opaque_auth``, with its flavour."""
        handle = self.handle
        body = _HEAD.pack(VERSION, self.procedure, self.number, self.service, len(handle)) + handle
        return opaque_auth(RPCSEC_GSS, body + bytes(-len(handle) & 3))


def read_credential(body: bytes) -> Credential:
    """The credential that the body is. Raises `AuthError`: REJECTEDCRED for another version, BADCRED if malformed.

    In context creation, number and service mean nothing (RFC 2203, section 5.2.2).
    """
    if len(body) >= WORD.size and WORD.unpack_from(body)[0] != VERSION:
        raise AuthError(AuthStatus.REJECTEDCRED)
    if len(body) < _HEAD.size:
        raise AuthError(AuthStatus.BADCRED)
    _, procedure, number, service, length = _HEAD.unpack_from(body)
    end = _HEAD.size + length
    if len(body) != end + (-length & 3) or any(body[end:]) or procedure > GSSProcedure.DESTROY:
        raise AuthError(AuthStatus.BADCRED)
    if procedure in (GSSProcedure.INIT, GSSProcedure.CONTINUE_INIT):
        service = Service.NONE
    elif not Service.NONE <= service <= Service.PRIVACY:
        raise AuthError(AuthStatus.BADCRED)
    return Credential(GSSProcedure(procedure), number, Service(service), body[_HEAD.size : end])


def opaque_auth(flavour: int, body: bytes) -> bytes:
    """An ``opaque_auth`` (RFC 5531, section 8.2)."""
    return _AUTH.pack(flavour, len(body)) + body + bytes(-len(body) & 3)


@dataclass
class InitResult:
    """The result of context creation: ``rpc_gss_init_res`` (RFC 2203, section 5.2.3)."""

    handle: bytes
    major: xdr.UInt
    minor: xdr.UInt
    window: xdr.UInt
    token: bytes


def protect(context: Context, service: Service, number: int, data: bytes) -> bytes:
    """The arguments or results, protected (RFC 2203, section 5.3.2). Raises `GSSError`."""
    if service is Service.NONE:
        return data
    body = WORD.pack(number) + data
    if service is Service.INTEGRITY:
        return xdr.pack(bytes, body) + xdr.pack(bytes, context.get_mic(body))
    return xdr.pack(bytes, context.wrap(body))


def unprotect(context: Context, service: Service, number: int, data: bytes, start: int) -> bytes:
    """The arguments or results that ``data[start:]`` protects.

    Raises `GSSError`, and `xdr.Error` if the data is malformed or belongs to a call with another number.
    """
    if service is Service.NONE:
        return data[start:]
    body, end = OPAQUE.unpack_from(data, start)
    if service is Service.INTEGRITY:
        mic, end = OPAQUE.unpack_from(data, end)
        context.verify_mic(body, mic)
    else:
        body = context.unwrap(body)
    if end != len(data) or body[:4] != WORD.pack(number):
        raise xdr.Error("protected data of another call")
    return body[4:]
