"""`Attempts`: how often a peer may fail to authenticate, and how many are checked at once.

The memory is fixed: a peer's failures are kept in cells that a keyed hash of its host selects. Children of fork mode
share them with the parent, because they are in an anonymous map that all have.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_bytes

from ..waits import Cause, Delay, Failed, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self

    from ..handler import Handler

try:
    from mmap import mmap
except ImportError:  # a host without: it has no fork either
    mmap = None  # type: ignore[assignment, misc]

POLL = 0.05
"""Seconds after which a request that waits for its turn looks again."""

_LEASE = 30.0  # seconds after which a place is free again if it was not given back: a child may be killed

TOO_MANY = "too many others are checked at the moment"


class Refused(Cause):
    """The peer has not been authenticated: ``why`` it was refused. The request ends if it does not catch this.

    ``temporary``: whether the same credentials may be taken later. What is told to the peer must not say more than
    that: not, for example, that the name is known.
    """

    def __init__(self, why: str, temporary: bool = False) -> None:
        super().__init__(f"not authenticated: {why}")
        self.why = why
        self.temporary = temporary


class Attempts:
    """Bounds the attempts of each peer: ``failures`` in ``period`` seconds; and ``at_once`` of all that are checked.

    A peer is a host, or an IPv6 network of 64 bits; at a Unix socket, a user. An attempt counts as a failure until it
    has succeeded, so many at once are bounded too. Past the bound `Refused` is raised, whatever the credentials are.
    As the time passes, each ``period / failures`` seconds one more is allowed.

    Past ``at_once``, checks wait for their turn, ``patience`` seconds at most.

    An object is made before the server forks, as on the class of a handler, and is for all its requests.
    """

    def __init__(
        self, failures: int = 10, period: float = 60.0, at_once: int = 4, patience: float = 10.0, cells: int = 8192
    ) -> None:
        self._interval = period / failures
        self._burst = period
        self.patience = patience
        self._secret = token_bytes(16)
        # For each cell the time at which all its failures are forgotten, and for each place the time at which it is
        # free again; in seconds since 1970, as the row tells time.
        size = 8 * (cells + at_once)
        shared = memoryview(bytearray(size) if mmap is None else mmap(-1, size)).cast("d")
        self._cells, self._places = shared[:cells], shared[cells:]
        self._taken: dict[int, float] = {}  # the places that are taken in this process

    def attempt(self, handler: Handler) -> Attempt:
        """A context in which the peer of ``handler`` tries to authenticate; its `Attempt.succeeded` ends well."""
        return Attempt(self, peer_of(handler), handler.now())

    async def check(self, handler: Handler, wait: Wait) -> Any:
        """The result of ``wait``, such as a `Threaded`, when it is the turn of this request.

        Raises `Refused` if that has not come in time.
        """
        until = handler.now() + self.patience
        while (place := self.enter(handler.now())) is None:
            if handler.now() >= until:
                raise Refused(TOO_MANY, temporary=True)
            await Delay(POLL)
        try:
            return await wait
        finally:
            self.leave(place)

    def enter(self, now: float) -> int | None:
        """Take a place among those that are checked at once, for 30 s at most; ``None`` if none is free.

        Two processes that take one at the very same time may both get the last.
        """
        for place in range(len(self._places)):
            if not now < self._places[place] < now + 2 * _LEASE:
                until = now + _LEASE
                if self._taken.get(place, 0.0) <= now:
                    self._taken.pop(place, None)
                if self._taken.setdefault(place, until) is until:  # not taken by another thread
                    self._places[place] = until
                    return place
        return None

    def leave(self, place: int) -> None:
        """Give a place back."""
        self._places[place] = 0.0
        self._taken.pop(place, None)

    def charge(self, peer: str, now: float) -> bool:
        """Count a failure of ``peer``; ``False`` if it has had too many, and this one does not count."""
        cells = self._cells_of(peer)
        over = [min(max(self._cells[cell], now), now + self._burst) for cell in cells]  # the clock may have been set
        if min(over) + self._interval > now + self._burst + 1e-6:  # one of them is not shared, most likely
            return False
        for cell, time in zip(cells, over, strict=True):
            self._cells[cell] = time + self._interval
        return True

    def pay_back(self, peer: str) -> None:
        """The failure that was counted for ``peer`` was none."""
        for cell in self._cells_of(peer):
            self._cells[cell] -= self._interval

    def _cells_of(self, peer: str) -> tuple[int, int]:
        digest = hashlib.blake2b(peer.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=8).digest()
        half = len(self._cells) // 2
        return int.from_bytes(digest[:4], "big") % half, half + int.from_bytes(digest[4:], "big") % half


class Attempt:
    """One attempt of a peer: see `Attempts.attempt`."""

    def __init__(self, attempts: Attempts, peer: str, now: float) -> None:
        self._attempts = attempts
        self._peer = peer
        self._now = now

    def __enter__(self) -> Self:
        if not self._attempts.charge(self._peer, self._now):
            raise Refused("this peer has failed too often", temporary=True)
        return self

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        """It stays a failure unless it has succeeded, or could not be checked: for that the peer can do nothing."""
        is_of_peer = isinstance(error, (Cause, GeneratorExit)) and not isinstance(error, Failed)
        if error is not None and (not is_of_peer or getattr(error, "temporary", False)):
            self.succeeded()

    def succeeded(self) -> None:
        """It is no failure."""
        self._attempts.pay_back(self._peer)


def peer_of(handler: Any) -> str:
    """Whose attempts count together.

    >>> from handlers import StreamHandler, StreamMachine, World
    >>> for address in ("192.0.2.7", 4711), ("2001:db8::1:2:3:4", 7, 0, 0), ("::ffff:192.0.2.7", 7, 0, 0):
    ...     handler = StreamHandler()
    ...     _ = StreamMachine(handler, World(address))
    ...     peer_of(handler)
    '192.0.2.7'
    '2001:db8::/64'
    '192.0.2.7'
    """
    credentials = getattr(handler, "credentials", None)
    if credentials is not None:
        return f"uid={credentials[1]}"
    peer = handler.peer
    host = str(peer[0]) if isinstance(peer, tuple) and peer else str(peer)
    return network_of(host)


def network_of(host: str) -> str:
    """The host; of IPv6 its network of 64 bits, for a subscriber has at least as much."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped or ip_network((address, 64), strict=False))
