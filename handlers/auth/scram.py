"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): both ends prove to know the password; neither sends it.

The cryptography is in ``scramp``, an extra: ``pip install select-reactor[sasl]``. Without it `Scram` and `scram_keys`
raise `ImportError`.

>>> from handlers.auth import Credentials
>>> credentials = Credentials(scram=scram_keys("sesame", iterations=4096))
"""

from __future__ import annotations

import hmac
from secrets import token_bytes

from ..elsewhere import Threaded
from .attempts import Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .sasl import SASL, Exchange
    from .store import Store

ITERATIONS = 100_000
"""Iterations of PBKDF2. The client computes them at each login, the server only in `scram_keys`."""

BINDINGS = ("tls-server-end-point", "tls-unique")
"""The types of channel bindings (RFC 5929) that a client may choose, if `Handler.channel_binding` has them."""


def _scramp() -> Any:
    """The module ``scramp``. Raises `ImportError`, which says what to install."""
    try:
        import scramp  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError("SCRAM needs scramp: pip install 'select-reactor[sasl]'", name="scramp") from error
    return scramp


def scram_keys(password: str, iterations: int = ITERATIONS) -> tuple[bytes, bytes, bytes, int]:
    """What a store has for a password (`Credentials.scram`): salt, stored key, server key and iterations.

    Blocks for as long as the iterations take. All names of a store should have the same number of iterations.
    """
    salt, stored, server, count = (
        _scramp()
        .ScramMechanism("SCRAM-SHA-256")
        .make_auth_info(password, iteration_count=iterations, salt=token_bytes(16))
    )
    return bytes(salt), bytes(stored), bytes(server), int(count)


class Scram:
    """SCRAM-SHA-256, without a channel binding.

    An unknown name gets a salt that is made from the name and ``secret``, so that it looks like a known name. All
    servers of one store need the same secret, also after a restart. ``iterations`` must be those of the store.
    """

    name = "SCRAM-SHA-256"

    def __init__(self, iterations: int = ITERATIONS, secret: bytes = b"") -> None:
        self._iterations = iterations
        self._secret = secret or token_bytes(32)
        self.library = _scramp()

    def is_offered(self, handler: SASL) -> bool:
        return True

    def exchange(self, handler: SASL) -> Exchange:
        side = _Side(self, handler, _text((yield b"")))
        try:
            refused = yield Threaded(side.begin)
            if refused is not None:
                raise refused
            side.server.set_client_final(_text((yield side.server.get_server_first().encode())))
            rest = yield side.server.get_server_final().encode()
        except self.library.ScramException as error:
            raise Refused(f"SCRAM: {error}") from None
        if rest:
            raise Refused("SCRAM: the client has sent a response after the last message")
        return side.user

    def keys_of(self, store: Store, name: str) -> tuple[bytes, bytes, bytes, int]:
        """What the store has for ``name``; for an unknown name, keys that no password has."""
        salt = hmac.digest(self._secret, name.encode(), "sha256")[:16]
        nobody = salt, token_bytes(32), token_bytes(32), self._iterations  # always made, to take as long
        found = store.get(name)
        return nobody if found is None else found.scram or nobody


class ScramPlus(Scram):
    """SCRAM-SHA-256-PLUS: bound to the TLS connection, so that a man in the middle can't relay the exchange.

    Offered with TLS 1.2 (``tls-unique``), and where the server's certificate was loaded by
    `reactor.tls.load_certificate` (``tls-server-end-point``): see `Handler.channel_binding`.
    """

    name = "SCRAM-SHA-256-PLUS"

    def is_offered(self, handler: SASL) -> bool:
        return any(handler.channel_binding(kind) for kind in BINDINGS)


class _Side:
    """The server's side of one exchange, which a client has begun with ``first``."""

    def __init__(self, mechanism: Scram, handler: SASL, first: str) -> None:
        self.user = ""
        self._error: Exception | None = None  # an exception of the store, which ``scramp`` would hide
        self._first = first
        self._mechanism = mechanism
        self._store = handler.store
        self.server: Any = mechanism.library.ScramMechanism(mechanism.name).make_server(
            self._find, channel_binding=_binding(handler, first)
        )

    def begin(self) -> Exception | None:
        """Look the name up; runs in a thread. Returns the `Refused` to raise, if any. Raises what the store raises."""
        try:
            self.server.set_client_first(self._first)
        except self._mechanism.library.ScramException as error:
            if self._error is not None:
                raise self._error from None
            return Refused(f"SCRAM: {error}")
        return None

    def _find(self, name: str) -> tuple[bytes, bytes, bytes, int]:
        self.user = name
        try:
            return self._mechanism.keys_of(self._store, name)
        except Exception as error:
            self._error = error
            raise


def _binding(handler: SASL, first: str) -> tuple[str, bytes] | None:
    """The type and the data of the channel binding that ``scramp`` must check; ``None`` where PLUS is not offered.

    The type is the one that the client has chosen, or else any that the connection has. ``scramp`` needs a binding even
    if the client has chosen none: it then refuses a client that supports bindings and believes that the server does not
    (flag "y"), because an attacker may have removed PLUS from the list of mechanisms (RFC 5802, section 6).
    """
    if "SCRAM-SHA-256-PLUS" not in handler.offered():
        return None
    named = first.partition(",")[0].removeprefix("p=") if first.startswith("p=") else ""
    for kind in (named,) if named else BINDINGS:
        data = handler.channel_binding(kind) if kind in BINDINGS else None
        if data:
            return kind, data
    raise Refused("SCRAM: the connection does not have this channel binding")


def _text(message: bytes) -> str:
    try:
        return message.decode()
    except UnicodeDecodeError:
        raise Refused("SCRAM: the message is not UTF-8") from None
