"""What RPCSEC_GSS needs of a mechanism of GSS-API (RFC 2743). `library` has those of the host."""

from __future__ import annotations

from typing import Protocol

CONTINUE_NEEDED = 1
"""GSS_S_CONTINUE_NEEDED, a major status (RFC 2744, section 3.9.1)."""
NO_CONTEXT = 8 << 16
"""GSS_S_NO_CONTEXT."""
FAILURE = 13 << 16
"""GSS_S_FAILURE."""


class GSSError(Exception):
    """The mechanism has failed: a token, a MIC or wrapped data is wrong, or the context has expired.

    ``token`` is what is to be sent to the peer, if it is not empty.
    """

    def __init__(self, what: str, major: int = FAILURE, minor: int = 0, token: bytes = b"") -> None:
        super().__init__(what)
        self.major = major
        """The major status, as the C binding has it (RFC 2744, section 3.9.1)."""
        self.minor = minor
        """The status of the mechanism."""
        self.token = token


class Context(Protocol):
    """A security context, of either side. All methods raise `GSSError`."""

    @property
    def complete(self) -> bool:
        """Whether no token of the peer is awaited any more. Then the methods may be used."""

    @property
    def principal(self) -> str:
        """The name of the peer, once the context is complete."""

    @property
    def lifetime(self) -> float:
        """Seconds for which the context is still valid."""

    def get_mic(self, data: bytes) -> bytes:
        """The message integrity code of the data."""

    def verify_mic(self, data: bytes, mic: bytes) -> None:
        """Return if ``mic`` is that of the data."""

    def wrap(self, data: bytes) -> bytes:
        """The data, encrypted and protected from change."""

    def unwrap(self, data: bytes) -> bytes:
        """The data that was wrapped, which must have been encrypted."""


class Mechanism(Protocol):
    """The server's side: it accepts contexts."""

    def accept(self, token: bytes, context: Context | None) -> tuple[Context, bytes]:
        """Take a token of the peer, the first for a new context or the next one of ``context``.

        Returns the context, and the token for the peer, or ``b""``. Raises `GSSError`.
        """


class Initiation(Context, Protocol):
    """The client's side: a context that begins with a token."""

    def step(self, token: bytes) -> bytes:
        """Take a token of the peer, ``b""`` at first, and return the token for it, or ``b""``. Raises `GSSError`."""
