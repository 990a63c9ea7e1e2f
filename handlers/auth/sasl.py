"""SASL (RFC 4422): `SASL`, the base class of a protocol with SASL, and the mechanisms `Plain` and `External`.

The protocol tells the peer which mechanisms are `offered`, and encodes challenges and responses in its own way. A
mechanism is a generator of challenges and waits; it does no input or output.

    class Mail(SASL):
        store = users
        mechanisms = (Plain(), Scram())

        async def login(self, name, initial):                  # the command AUTH of SMTP, for example
            try:
                await self.authenticate(name, self.ask, initial)
            except Refused: ...

        async def ask(self, challenge):                         # one round
            self.send(b"334 " + b64encode(challenge) + b"\\r\\n")
            return decoded(await Until(b"\\r\\n", limit=4096))
"""

from __future__ import annotations

from base64 import b64decode

from ..elsewhere import Threaded
from ..handler import StreamHandler
from ..wait import Wait
from .attempts import Attempts, Refused
from .prepare import saslprep
from .store import DUMMY, verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from typing import Any, Protocol, TypeAlias

    from .store import Store

    Exchange: TypeAlias = Generator[bytes | Wait, Any, str]

    class Mechanism(Protocol):
        """A mechanism: one way to name oneself and to prove it."""

        name: str
        """The registered name of the mechanism, in capitals."""

        def is_offered(self, handler: SASL) -> bool:
            """Whether it can be used on this connection now."""

        def exchange(self, handler: SASL) -> Exchange:
            """The server's side of one exchange, as a generator. It returns the name of the peer, or raises `Refused`.

            It yields a challenge (``bytes``) and is sent the response, or yields a wait and is sent the result. The
            first challenge is empty; a peer may have sent the response with its command (RFC 4422, section 4.3.a).
            """


class Plain:
    """PLAIN (RFC 4616): a name and a password in clear text. Offered only on an encrypted connection (`secured`)."""

    name = "PLAIN"

    def is_offered(self, handler: SASL) -> bool:
        return bool(handler.secured)

    def exchange(self, handler: SASL) -> Exchange:
        message = yield b""
        try:
            authorize, name, password = message.decode().split("\0")
            name, password = saslprep(name), saslprep(password)
        except ValueError:  # UnicodeDecodeError is one
            raise Refused("the message of PLAIN is malformed") from None
        is_right = yield Threaded(verify, handler.store, name, password, handler.dummy)
        if not is_right:
            raise Refused("the name or the password is wrong")
        if authorize not in ("", name):
            raise Refused("the authorization identity is not the peer's own name")
        return name


class External:
    """EXTERNAL (RFC 4422, appendix A): the name that was authenticated below the protocol.

    The name is the subject of the peer's TLS certificate, or ``uid=N`` for the user at the other end of a Unix socket.
    """

    name = "EXTERNAL"

    def is_offered(self, handler: SASL) -> bool:
        return bool(self._found(handler))

    def exchange(self, handler: SASL) -> Exchange:
        authorize = yield b""
        name = self._found(handler)
        if not name:
            raise Refused("the connection has proved no name")
        if authorize not in (b"", name.encode()):
            raise Refused("the authorization identity is not the peer's own name")
        return name

    def _found(self, handler: SASL) -> str:
        if handler.secured and handler.principal is not None:
            return str(handler.principal)
        credentials = handler.credentials
        return "" if credentials is None else f"uid={credentials[1]}"


class SASL(StreamHandler):
    """The base class of a protocol with SASL: it has the table of mechanisms, and `authenticate`."""

    store: Store
    """The credentials. Every class needs it."""

    mechanisms: Sequence[Mechanism] = (Plain(), External())
    """The mechanisms of the protocol. `offered` has those that can be used on a connection."""

    attempts = Attempts()
    """The limits of attempts; one object for all requests."""

    max_attempts = 3
    """Attempts that one connection may make."""

    dummy = DUMMY
    """The hash that is verified for an unknown name. It must have the same cost as the hashes of the store."""

    authenticated = False
    """Whether `authenticate` has succeeded."""

    _tried = 0

    def offered(self) -> list[str]:
        """The names of the mechanisms that can be used on this connection now, in the order of the table."""
        return [mechanism.name for mechanism in self.mechanisms if mechanism.is_offered(self)]

    async def authenticate(
        self, name: str, ask: Callable[[bytes], Awaitable[bytes]], initial: bytes | None = None
    ) -> str:
        """Authenticate the peer by the mechanism ``name``; set `principal` to the peer's name and return it.

        ``ask(challenge)`` sends a challenge and returns the response. ``initial`` is the response that came with the
        command, if any. Raises `Refused`, after which the peer may try again if `may_try`.
        """
        found = [mechanism for mechanism in self.mechanisms if mechanism.name == name.upper()]
        if not found or not found[0].is_offered(self):
            raise Refused("this mechanism is not offered here")
        if self.authenticated:
            raise Refused("the peer is authenticated already")
        if not self.may_try:
            raise Refused("too many attempts on this connection")
        self._tried += 1
        with self.attempts.attempt(self) as attempt:
            principal = await self._exchange(found[0].exchange(self), ask, initial)
            attempt.succeeded()
        self.principal = principal
        self.authenticated = True
        return principal

    @property
    def may_try(self) -> bool:
        """Whether this connection may make one more attempt."""
        return self._tried < self.max_attempts

    async def _exchange(
        self, exchange: Exchange, ask: Callable[[bytes], Awaitable[bytes]], initial: bytes | None
    ) -> str:
        try:
            asked = next(exchange)
            if initial is not None:
                asked = exchange.send(initial)
            while True:
                if isinstance(asked, Wait):
                    asked = exchange.send(await self.attempts.check(self, asked))
                else:
                    asked = exchange.send(await ask(asked))
        except StopIteration as done:
            return str(done.value)
        finally:
            exchange.close()


def decoded(line: bytes) -> bytes:
    """The response in a line of base64, as in SMTP (RFC 4954), IMAP and POP3. A line ``=`` is an empty response.

    Raises `Refused` for ``*``, which cancels the exchange, and for a line that is not base64.

    >>> decoded(b"AGFkYQBzZXNhbWU=\\r\\n"), decoded(b"="), decoded(b"\\r\\n")
    (b'\\x00ada\\x00sesame', b'', b'')
    """
    text = line.rstrip(b"\r\n")
    if text == b"*":
        raise Refused("the peer has cancelled the exchange")
    if text == b"=":
        return b""
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise Refused("the response is not base64") from None
