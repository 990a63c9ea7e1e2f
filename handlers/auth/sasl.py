"""SASL (RFC 4422): mechanisms as generators without input or output, and `SASL`, which runs the one that a peer names.

A protocol frames them: it says which there are, and sends a challenge and receives the response in its own way.

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

from ..handler import StreamHandler
from ..waits import Threaded, Wait
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
        """A mechanism: how names are told and proved."""

        name: str
        """Its registered name, in capitals."""

        def is_offered(self, handler: SASL) -> bool:
            """Whether it can be used on this connection now."""

        def exchange(self, handler: SASL) -> Exchange:
            """The server's side of one exchange. It yields challenges, and is sent the responses; and waits, and is
            sent their results. It returns the name of the peer, or raises `Refused`.

            It begins with an empty challenge, for which an initial response stands (RFC 4422, section 4.3.a).
            """


class Plain:
    """PLAIN (RFC 4616): a name and a password in clear text, so only where `Handler.secured` says what protects it."""

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
            raise Refused("nobody may act for another")
        return name


class External:
    """EXTERNAL (RFC 4422, appendix A): the name that the connection itself has proved.

    It is the subject of the peer's TLS certificate, or the user at the other end of a Unix socket, as ``uid=N``.
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
            raise Refused("nobody may act for another")
        return name

    def _found(self, handler: SASL) -> str:
        if handler.secured and handler.principal is not None:
            return str(handler.principal)
        credentials = handler.credentials
        return "" if credentials is None else f"uid={credentials[1]}"


class SASL(StreamHandler):
    """What a protocol with SASL is derived from: the table of mechanisms, and `authenticate`."""

    store: Store
    """The credentials. Every class needs it."""

    mechanisms: Sequence[Mechanism] = (Plain(), External())
    """The table. `offered` has those of them that can be used on a connection."""

    attempts = Attempts()
    """What bounds the attempts; an attribute of the class, so that it is for all requests."""

    max_attempts = 3
    """Attempts that one connection may make."""

    dummy = DUMMY
    """The hash that is verified for an unknown name; of the same cost as those of the store."""

    authenticated = False
    """Whether `authenticate` has succeeded."""

    _tried = 0

    def offered(self) -> list[str]:
        """The names of the mechanisms that can be used on this connection now, in the order of the table."""
        return [mechanism.name for mechanism in self.mechanisms if mechanism.is_offered(self)]

    async def authenticate(
        self, name: str, ask: Callable[[bytes], Awaitable[bytes]], initial: bytes | None = None
    ) -> str:
        """Let the mechanism ``name`` find out who the peer is; returns the name, which is the `principal` then.

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
    """The response in a line of base64, as SMTP (RFC 4954), IMAP and POP3 write it. ``=`` alone is an empty one.

    Raises `Refused` for ``*``, which cancels the exchange, and for what is not base64.

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
