"""`Attempts`: limits how often a peer may fail to authenticate, and how many checks of credentials run at once.

The memory is fixed: a keyed hash of the peer's host selects two of the cells that count failures. The cells are in
shared memory (an anonymous ``mmap``), so the children of fork mode and their parent count together.
"""

from __future__ import annotations

import hashlib
from functools import update_wrapper
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_bytes

from ..causes import Cause, Failed
from ..elsewhere import Threaded
from ..wait import Wait
from ..waits import Delay, function_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Self

    from ..handler import Handler

try:
    from mmap import mmap
except ImportError:  # this host has no mmap, and no fork either
    mmap = None  # type: ignore[assignment, misc]

POLL = 0.05
"""Seconds between two looks for a free place, while a check waits for its turn."""

_LEASE = 30.0  # seconds after which a place is free even if it was not given back: a child may have been killed

TOO_MANY = "too many checks are running"


class Refused(Cause):
    """The peer has not been authenticated; ``why`` is the reason. The request ends unless its handler catches this.

    ``temporary``: whether the same credentials may be accepted later. Tell the peer nothing else: ``why`` may reveal,
    for example, whether the name is known.
    """

    def __init__(self, why: str, temporary: bool = False) -> None:
        super().__init__(f"not authenticated: {why}")
        self.why = why
        self.temporary = temporary


class Attempts:
    """Allows each peer ``failures`` in ``period`` seconds, and runs at most ``at_once`` checks of all peers at a time.

    A peer is an IPv4 host, an IPv6 network of 64 bits, or the user of a Unix socket. An attempt counts as a failure
    until it has succeeded, so simultaneous attempts count too. Beyond the limit `Refused` is raised, even if the
    credentials are right. Every ``period / failures`` seconds one more failure is allowed.

    Checks beyond ``at_once`` wait for their turn, ``patience`` seconds at most.

    Make the object before the server forks, such as an attribute of the handler's class: it is for all requests.
    """

    def __init__(
        self, failures: int = 10, period: float = 60.0, at_once: int = 4, patience: float = 10.0, cells: int = 8192
    ) -> None:
        self._interval = period / failures
        self._burst = period
        self.patience = patience
        self._secret = token_bytes(16)
        # A cell is the time at which all its failures are forgotten. A place, which one running check takes, is the
        # time at which it is free again. Both are in seconds since 1970, as `Handler.now` is.
        size = 8 * (cells + at_once)
        shared = memoryview(bytearray(size) if mmap is None else mmap(-1, size)).cast("d")
        self._cells, self._places = shared[:cells], shared[cells:]
        self._taken: dict[int, float] = {}  # the places that are taken in this process

    def attempt(self, handler: Handler) -> Attempt:
        """A context manager for one attempt of the handler's peer: a failure, unless `Attempt.succeeded` is called."""
        return Attempt(self, peer_of(handler), handler.now())

    async def check(self, handler: Handler, wait: Wait) -> Any:
        """Wait for a free place, then for ``wait`` (such as a `Threaded`), and return its result.

        Raises `Refused` if no place is free within ``patience`` seconds. A thread can't be stopped, so one that has
        begun keeps its place until it has ended, even if the peer has gone.
        """
        until = handler.now() + self.patience
        while (place := self.enter(handler.now())) is None:
            if handler.now() >= until:
                raise Refused(TOO_MANY, temporary=True)
            await Delay(POLL)
        check: InThread | None = None
        if isinstance(wait, Threaded):
            check = InThread(self, place, wait.function)
            wait = type(wait)(check, *wait.arguments, timeout=wait.timeout)
        try:
            return await wait
        finally:
            if check is None or check.claim():
                self.leave(place)

    def enter(self, now: float) -> int | None:
        """Take a place for one check, for 30 s at most; ``None`` if none is free.

        If two processes call this at the same moment, both may get the same place.
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
        """Count a failure of ``peer``. ``False`` if it has had too many: then this one is not counted."""
        cells = self._cells_of(peer)
        over = [min(max(self._cells[cell], now), now + self._burst) for cell in cells]  # the clock may have been set
        if min(over) + self._interval > now + self._burst + 1e-6:  # other peers may share one of the two cells
            return False
        for cell, time in zip(cells, over, strict=True):
            self._cells[cell] = time + self._interval
        return True

    def pay_back(self, peer: str) -> None:
        """Take back one failure that was counted for ``peer``."""
        for cell in self._cells_of(peer):
            self._cells[cell] -= self._interval

    def _cells_of(self, peer: str) -> tuple[int, int]:
        digest = hashlib.blake2b(peer.encode("utf-8", "surrogateescape"), key=self._secret, digest_size=8).digest()
        half = len(self._cells) // 2
        return int.from_bytes(digest[:4], "big") % half, half + int.from_bytes(digest[4:], "big") % half


class InThread:
    """A check that a thread makes, as the function of a `Threaded`: it gives its place back when it has ended."""

    def __init__(self, attempts: Attempts, place: int, function: Callable[..., object]) -> None:
        self.__qualname__ = function_name(function)  # for the table
        update_wrapper(self, function)
        self._attempts = attempts
        self._place = place
        self._function = function
        self._claims = [True]

    def claim(self) -> bool:
        """Whether the caller is the first: the thread, which begins, or the request, which waits no more."""
        try:
            self._claims.pop()
        except IndexError:
            return False
        return True

    def __call__(self, *arguments: object) -> object:
        if not self.claim():
            return None  # nobody waits for the result
        try:
            return self._function(*arguments)
        finally:
            self._attempts.leave(self._place)


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
        """The attempt stays a failure if the peer has caused ``error``. If the check itself failed, it does not."""
        is_of_peer = isinstance(error, (Cause, GeneratorExit)) and not isinstance(error, Failed)
        if error is not None and (not is_of_peer or getattr(error, "temporary", False)):
            self.succeeded()

    def succeeded(self) -> None:
        """The attempt does not count as a failure."""
        self._attempts.pay_back(self._peer)


def peer_of(handler: Any) -> str:
    """The name under which the attempts of the handler's peer are counted.

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
    """``host``, or its network of 64 bits for an IPv6 address: one subscriber has at least such a network."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped or ip_network((address, 64), strict=False))
