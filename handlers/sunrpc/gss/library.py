"""The mechanisms of the host's library of GSS-API, Kerberos 5 above all, by the package ``gssapi``, an extra.

``pip install 'select-reactor[gss]'``, which needs gcc and the headers of the library (Debian: ``libkrb5-dev``). Without
it `Library` and `Initiator` raise `ImportError`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from .mechanism import Context, GSSError

T = TypeVar("T")


def _gssapi() -> Any:
    """The package ``gssapi``. Raises `ImportError`, which says what to install."""
    try:
        import gssapi
    except ImportError as error:
        raise ImportError("RPCSEC_GSS needs gssapi: pip install 'select-reactor[gss]'", name="gssapi") from error
    return gssapi


def _translated(method: Callable[..., T]) -> Callable[..., T]:
    """The method, with the errors of the library as `GSSError`."""

    @wraps(method)
    def call(*arguments: Any, **options: Any) -> T:
        try:
            return method(*arguments, **options)
        except Exception as error:
            if not isinstance(error, _gssapi().exceptions.GSSError):
                raise
            token = getattr(error, "token", None) or b""
            raise GSSError(str(error), error.maj_code, error.min_code & 0xFFFF_FFFF, token) from None

    return call


class LibraryContext:
    """A context of the library, of either side: ``peer`` is the attribute that has the name of the peer."""

    def __init__(self, context: Any, peer: str) -> None:
        context.__DEFER_STEP_ERRORS__ = False  # step() raises an error at once, also if it has a token
        self._context = context
        self._peer = peer

    @property
    @_translated
    def complete(self) -> bool:
        return bool(self._context.complete)

    @property
    @_translated
    def principal(self) -> str:
        return str(getattr(self._context, self._peer))

    @property
    @_translated
    def lifetime(self) -> float:
        return float(self._context.lifetime)

    @_translated
    def step(self, token: bytes) -> bytes:
        """Take a token of the peer, ``b""`` at first, and return the one for it, or ``b""``."""
        return bytes(self._context.step(token or None) or b"")

    @_translated
    def get_mic(self, data: bytes) -> bytes:
        return bytes(self._context.get_signature(data))

    @_translated
    def verify_mic(self, data: bytes, mic: bytes) -> None:
        self._context.verify_signature(data, mic)

    @_translated
    def wrap(self, data: bytes) -> bytes:
        return _encrypted(self._context.wrap(data, True))

    @_translated
    def unwrap(self, data: bytes) -> bytes:
        return _encrypted(self._context.unwrap(data))


def _encrypted(result: Any) -> bytes:
    if not result.encrypted:
        raise GSSError("the data is not encrypted")
    return bytes(result.message)


class Library:
    """The mechanisms of the host's library, for an `acceptor.Acceptor`. Raises `GSSError` if there is no key.

    ``service`` is the name that clients ask for, ``"nfs@host.example"``; ``None``: any of those that have a key.
    ``keytab`` is where the keys are, such as ``"FILE:/etc/krb5.keytab"``; by default that of the host.

    The library keeps no record of the tokens that have come: one that comes again makes another context, with which
    only the client can make calls. So a call that creates a context may be sent again, as over datagrams it must be.
    """

    @_translated
    def __init__(self, service: str | None = None, keytab: str | None = None) -> None:
        gssapi = _gssapi()
        name = None if service is None else gssapi.Name(service, gssapi.NameType.hostbased_service)
        store = {"rcache": "none:", **({} if keytab is None else {"keytab": keytab})}
        self._credentials = gssapi.Credentials(name=name, usage="accept", store=store)

    def accept(self, token: bytes, context: Context | None) -> tuple[Context, bytes]:
        if not isinstance(context, LibraryContext):
            made = _gssapi().SecurityContext(creds=self._credentials, usage="accept")
            context = LibraryContext(made, "initiator_name")
        return context, context.step(token)


class Initiator(LibraryContext):
    """The client's side, for `client.establish`: a context with ``service``, such as ``"nfs@host.example"``.

    ``ccache`` is where the tickets of the user are, such as ``"FILE:/tmp/krb5cc_1000"``; by default those of the
    process. The server has to prove its name too. Raises `GSSError` if there is no ticket.
    """

    @_translated
    def __init__(self, service: str, ccache: str | None = None) -> None:
        gssapi = _gssapi()
        flag = gssapi.RequirementFlag
        credentials = None if ccache is None else gssapi.Credentials(usage="initiate", store={"ccache": ccache})
        context = gssapi.SecurityContext(
            name=gssapi.Name(service, gssapi.NameType.hostbased_service), creds=credentials, usage="initiate",
            flags=flag.mutual_authentication | flag.integrity | flag.confidentiality,
        )  # fmt: skip
        super().__init__(context, "target_name")
