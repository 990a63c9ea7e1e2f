"""Client and server prove to each other that they have a shared key: the mix-ins `Challenge` and `Answer`.

`Challenge` goes in front of the server's handler, `Answer` in front of the client's.

    server:  AUTH1 <server's nonce>
    client:  <name> <client's nonce> <HMAC of the client>
    server:  OK <HMAC of the server>        or NO, and the end

Each is a line of ASCII that ends in LF; nonces (32 bytes) and HMACs (HMAC-SHA-256, RFC 2104) are in hexadecimal. Both
HMACs cover the sender's role, the name and both nonces, so an HMAC can't be reflected or replayed. This authenticates
the beginning of the connection only; use TLS to protect what comes later.
"""

from __future__ import annotations

import hmac
from secrets import token_bytes

from ..elsewhere import Threaded
from ..handler import StreamHandler
from ..waits import Until
from .attempts import Attempts, Refused
from .store import key_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .store import Store

VERSION = b"AUTH1"
NONCE = 32
"""Bytes."""

_LINE = 512  # bytes of a line at most


class Challenge(StreamHandler):
    """Authenticates a client by the key of its name (`Credentials.key`), and proves to the client to have the key too.

    One attempt for each connection. `principal` is the name.

    >>> from handlers import StreamMachine, World
    >>> from handlers.services import Echo
    >>> class Server(Challenge, Echo):
    ...     store = {}
    >>> machine = StreamMachine(Server(), World())
    >>> machine.advance()
    >>> machine.read()[:6]
    b'AUTH1 '
    """

    store: Store
    """The credentials. Every class needs it."""

    attempts = Attempts()
    """The limits of attempts; one object for all requests."""

    challenge_timeout: float = 20.0
    """Seconds that the client may take to answer."""

    async def handle(self) -> Any:
        nonce = token_bytes(NONCE)
        self.send(VERSION + b" " + nonce.hex().encode() + b"\n")
        line = await Until(b"\n", limit=_LINE, timeout=self.challenge_timeout)
        try:
            with self.attempts.attempt(self) as attempt:
                proof = await self._check(nonce, line)
                attempt.succeeded()
        except Refused:
            self.send(b"NO\n")
            raise
        self.send(b"OK " + proof.hex().encode() + b"\n")
        self.opened()
        return super().handle()

    async def _check(self, nonce: bytes, line: bytes) -> bytes:
        """Check the client's line, set `principal`, and return the server's proof. Raises `Refused`."""
        words = line.rstrip(b"\r\n").split(b" ")
        if len(words) != 3 or not words[0]:
            raise Refused("the answer to the challenge is malformed")
        try:
            name, theirs, proof = words[0].decode("ascii"), _unhex(words[1]), _unhex(words[2])
        except ValueError:
            raise Refused("the answer to the challenge is malformed") from None
        key = await self.attempts.check(self, Threaded(key_of, self.store, name))
        if not hmac.compare_digest(_prove(key, b"client", name, nonce, theirs), proof):
            raise Refused("the name or the key is wrong")
        self.principal = name
        return _prove(key, b"server", name, nonce, theirs)


class Answer(StreamHandler):
    """The client's end: proves to have the ``key`` of ``name``. The handler begins when the server has proved it too.

    `Connected` does not wait for that: its result comes as soon as the connection is made. `principal` is ``"server"``
    once the server has proved to have the key.
    """

    name: str
    """The name of this client in the server's store: printable ASCII without spaces."""

    key: bytes
    """The shared key."""

    challenge_timeout: float = 20.0
    """Seconds that the server may take for each of its lines."""

    async def handle(self) -> Any:
        words = (await Until(b"\n", limit=_LINE, timeout=self.challenge_timeout)).split()
        if len(words) != 2 or words[0] != VERSION:
            raise Refused("the server has sent no challenge")
        try:
            theirs = _unhex(words[1])
        except ValueError:
            raise Refused("the server's challenge is malformed") from None
        nonce = token_bytes(NONCE)
        proof = _prove(self.key, b"client", self.name, theirs, nonce)
        self.send(f"{self.name} {nonce.hex()} {proof.hex()}\n".encode("ascii"))
        reply = (await Until(b"\n", limit=_LINE, timeout=self.challenge_timeout)).rstrip(b"\r\n")
        expected = b"OK " + _prove(self.key, b"server", self.name, theirs, nonce).hex().encode()
        if reply == b"NO":
            raise Refused("the server refuses the name or the key")
        if not hmac.compare_digest(reply, expected):
            raise Refused("the server does not have the key")
        self.principal = "server"
        self.opened()
        return super().handle()


def _unhex(text: bytes) -> bytes:
    """32 bytes. Raises `ValueError`."""
    if len(text) != 2 * NONCE:
        raise ValueError("not 32 bytes in hexadecimal")
    return bytes.fromhex(text.decode("ascii"))


def _prove(key: bytes, role: bytes, name: str, server_nonce: bytes, client_nonce: bytes) -> bytes:
    return hmac.digest(key, VERSION + b" " + role + server_nonce + client_nonce + name.encode("ascii"), "sha256")
