"""What is known of the users: `Store`, the interface, and `Credentials`, what is kept for a name.

A dictionary ``{name: Credentials}`` is a store. A password is kept as its scrypt hash (RFC 7914), which takes about
0.1 s and 32 MiB to compute, so that a stolen store can't be tried out quickly; so `verify` never runs in a loop.

>>> from handlers.auth import Credentials, hash_password
>>> store = {"ada": Credentials(password=hash_password("sesame", n=16))}
>>> verify(store, "ada", "sesame", dummy=dummy(n=16)), verify(store, "bob", "sesame", dummy=dummy(n=16))
(True, False)
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from hmac import compare_digest
from secrets import token_bytes

from .prepare import saslprep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Store(Protocol):
        """Where credentials are looked up. A dictionary is one."""

        def get(self, name: str, /) -> Credentials | None:
            """The credentials of ``name``, ``None`` for an unknown name.

            Called in a thread, so that it may block (a database), and in several threads at once.
            """


N, R, P = 1 << 15, 8, 1
"""The cost of a hash: ``128 * N * R`` bytes of memory, and time in proportion to ``N * R * P``."""

_MAX_MEMORY = 256 << 20  # what OpenSSL may use for a hash; the parameters come from the store, not from a peer


@dataclass(frozen=True)
class Credentials:
    """What is kept for a name; each scheme uses its own part, and refuses a name that has none."""

    password: str = field(default="", repr=False)
    """The hash of a password, as `hash_password` returns it: for SASL PLAIN and HTTP Basic."""

    scram: tuple[bytes, bytes, bytes, int] | None = field(default=None, repr=False)
    """For SCRAM-SHA-256: what `scram.scram_keys` returns."""

    key: bytes = field(default=b"", repr=False)
    """A key that both ends have, 16 bytes at least: for `challenge` and for MACs of packets."""


def _written(n: int, r: int, p: int, salt: bytes, digest: bytes) -> str:
    return f"scrypt${n}${r}${p}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def hash_password(password: str, n: int = N, r: int = R, p: int = P) -> str:
    """The hash of a password, as text: ``scrypt$n$r$p$salt$hash``. Raises `ValueError` for a password that can't be.

    All hashes of a store must have the same cost, which is to be the cost of the `dummy` too: else the time that an
    answer takes tells which names there are.
    """
    salt = token_bytes(16)
    return _written(n, r, p, salt, _scrypt(saslprep(password), n, r, p, salt))


def dummy(n: int = N, r: int = R, p: int = P) -> str:
    """A hash that no password has, and that takes as long as one of this cost."""
    return _written(n, r, p, token_bytes(16), token_bytes(32))


DUMMY = dummy()
"""What is verified for a name that is not known: the answer takes as long as for one that is."""


def verify(store: Store, name: str, password: str, dummy: str = DUMMY) -> bool:
    """Whether ``name`` is known and has this password. Takes as long for an unknown name. Blocks for about 0.1 s."""
    found = store.get(name)
    kept = found.password if found is not None else ""
    _, n, r, p, salt, expected = (kept or dummy).split("$")
    digest = _scrypt(password, int(n), int(r), int(p), b64decode(salt))
    return compare_digest(digest, b64decode(expected)) and bool(kept)


def key_of(store: Store, name: str) -> bytes:
    """The shared key of ``name``; for a name that has none a random one, so that it is used in the same way."""
    found, nobody = store.get(name), token_bytes(32)
    return nobody if found is None else found.key or nobody


def _scrypt(password: str, n: int, r: int, p: int, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=_MAX_MEMORY, dklen=32)
