"""The simulated kernel as one process sees it: a `Network` in place of ``socket``, a `Selector` of ``selectors``.

All sockets are in memory. Time passes only in `Selector.select`.
"""

from __future__ import annotations

import errno
import socket
from heapq import heappop, heappush
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import TYPE_CHECKING, Any

from .datagrams import DatagramSocket
from .faults import (
    EXHAUSTED,
    EXHAUSTED_ERRORS,
    INTERRUPTED,
    JUMP,
    ORDER,
    SET,
    SPURIOUS,
    Plan,
    failure,
)
from .streams import StreamSocket
from .wire import LOOPBACK, NAME_SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .sockets import Socket
    from .wire import Wire

FIRST_DESCRIPTOR = 1_000_000
"""The first descriptor. It is so large that no descriptor is by accident one of the host's."""

TICK = 0.000_02
"""Seconds that a call of ``select`` takes. So time passes even if the loop never waits."""

PATIENCE = 10_000
"""Calls that would block, with no ``select`` between them, after which the process counts as one that spins."""


QUESTIONS, ANSWER_WITHIN = 2, 5.0
"""How often the name server is asked, and for how many seconds the resolver waits each time (``resolv.conf(5)``)."""


class Stalled(BaseException):
    """Nothing more can happen, and the process would wait, or repeat a call, for ever.

    It is not an ``Exception``, so the loop does not treat it as an exception of a handler.
    """


class Network:
    """The network as one process sees it: a `Reactor` takes it in place of the module ``socket``.

    It has no ``socketpair``, because in a world without threads nothing wakes the selector. It is the `Kernel` of its
    sockets.
    """

    def __init__(
        self, wire: Wire, plan: Plan, limit: int = 1024, site: str = "", addresses: Sequence[str] = ()
    ) -> None:
        self.wire = wire
        self.site = site
        """The name of the host that the process runs on; empty: on none of them."""
        self.addresses = addresses
        """The addresses of that host."""
        self.plan = plan
        """The faults of this process's calls."""
        self.limit = limit
        """Descriptors that the process may have open (``RLIMIT_NOFILE``)."""
        self.open: dict[int, Socket] = {}
        """The open sockets, by descriptor."""
        self.selectors: list[Selector] = []
        self.changed = True
        """Whether a socket may have become ready since a selector last looked."""
        self.trace: list[tuple[float, Socket | None, str, object]] | None = None
        """The system calls so far, each with its time, its socket and its result; ``None``: none are recorded."""
        self.offences: list[str] = []
        """Descriptions of calls that no correct program makes."""
        self.unsent: list[tuple[Socket, int]] = []
        """Sockets that were closed or shut down before ``send()`` had taken all bytes, and how many it had not."""
        self._free: list[int] = []
        self.blocked_calls = 0
        """Calls that would have blocked, since the last ``select``."""

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> Socket:  # noqa: A002
        """A new socket. Like a real one it is in blocking mode, but a call that would block is an offence."""
        self.exhaust()
        kind = DatagramSocket if type == socket.SOCK_DGRAM else StreamSocket
        sock = kind(self, family)
        self.allocate(sock)
        return sock

    def selector(self) -> Selector:
        """A new selector for the sockets of this process."""
        return Selector(self)

    def close(self, descriptor: int) -> None:
        """Close a detached descriptor, as ``socket.close`` does."""
        if descriptor not in self.open:
            raise failure(errno.EBADF)
        self.open[descriptor].release(descriptor)

    def own_address(self, family: int, remote: Any) -> str:
        """The address of this host from which packets to ``remote`` are sent."""
        local = LOOPBACK[family]
        if remote[0] in LOOPBACK.values():
            return local
        return next((host for host in self.addresses if (":" in host) == (":" in local)), local)

    def crash(self) -> None:
        """The host crashes: its kernel forgets all sockets, and no packet tells their peers."""
        for sock in list(self.open.values()):
            sock.vanish()
        self.open.clear()
        for selector in self.selectors:
            selector.close()

    def getaddrinfo(
        self, host: str | bytes | None, port: int | None, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0  # noqa: A002
    ) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:  # fmt: skip
        """As ``socket.getaddrinfo``, for numeric addresses, `Wire.names` and `Wire.zone`. Raises ``gaierror``.

        The whole process waits meanwhile.
        """
        found: list[str] = []
        for seconds in self.lookup(host, found):
            self.wire.clock.pass_to(self.wire.clock.now + seconds)
        return [address_info(name, port or 0, type, proto) for name in found]

    def lookup(self, host: str | bytes | None, found: list[str]) -> Iterator[float]:
        """Look a host name up: ``/etc/hosts``, then the name server, which is asked twice (``resolv.conf(5)``).

        Yields the seconds until the lookup goes on; in the end the addresses are in ``found``. Raises ``gaierror``:
        ``EAI_NONAME`` for a name that there is not, ``EAI_AGAIN`` if no answer comes.
        """
        wire = self.wire
        name = (host.decode() if isinstance(host, bytes) else host or "localhost").lower().rstrip(".")
        name = wire.names.get(name, name)
        if ":" in name or name.replace(".", "").isdigit():
            found.append(name)
            return
        here, there = (self.own_address(socket.AF_INET, (NAME_SERVER,)), 0), (NAME_SERVER, 53)
        for _ in range(QUESTIONS):
            answer = wire.zone.get(name, ())
            if answer is None or not wire.links.carries(here, there) or not wire.links.carries(there, here):
                yield ANSWER_WITHIN
                continue
            yield wire.delay(here, there) + wire.delay(there, here)
            if not answer:
                raise socket.gaierror(socket.EAI_NONAME, f"{name} is not a name of this world")
            found += [answer] if isinstance(answer, str) else answer
            return
        raise socket.gaierror(socket.EAI_AGAIN, "the name server does not answer")

    def would_block(self) -> None:
        """A call would block. Raises `Stalled` after too many such calls with no ``select`` between them."""
        self.blocked_calls += 1
        if self.blocked_calls > PATIENCE:
            raise Stalled(f"{PATIENCE} calls would have blocked, and the process never waited in select()")

    def exhaust(self) -> None:
        """A chance for a new socket to fail. Raises ``OSError`` for that fault, or if the limit is reached."""
        amount = self.plan.draw(EXHAUSTED, len(EXHAUSTED_ERRORS))
        if amount:
            raise failure(getattr(errno, EXHAUSTED_ERRORS[amount - 1]))
        if len(self.open) >= self.limit:
            raise failure(errno.EMFILE)

    def allocate(self, sock: Socket) -> None:
        """Give the socket the lowest free descriptor."""
        sock.number = heappop(self._free) if self._free else FIRST_DESCRIPTOR + len(self.open)
        self.open[sock.number] = sock

    def free(self, number: int) -> None:
        """The descriptor is closed and may be reused."""
        for selector in self.selectors:
            if number in selector.keys:
                self.offences.append(f"{self.open[number]} is closed, but still registered with the selector")
        del self.open[number]
        heappush(self._free, number)


class Selector(BaseSelector):
    """A selector for a `Reactor`: level-triggered, as ``EpollSelector`` is."""

    def __init__(self, network: Network) -> None:
        self.keys: dict[int, SelectorKey] = {}
        """What is registered, by descriptor."""
        self.stalled = False
        """Whether the last `select` would have waited for ever."""
        self.reported: list[tuple[SelectorKey, int]] = []
        """The events that the last `select` returned."""
        self._sockets: dict[int, Socket] = {}
        self._network = network
        network.selectors.append(self)

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As ``selectors.BaseSelector.register``."""
        number = _number(fileobj)
        if number in self.keys:
            raise KeyError(f"{fileobj!r} is already registered")
        if not events or events & ~(EVENT_READ | EVENT_WRITE):
            raise ValueError(f"invalid events: {events!r}")
        if number not in self._network.open:
            raise failure(errno.EBADF)
        self._sockets[number] = self._network.open[number]
        key = self.keys[number] = SelectorKey(fileobj, number, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """As ``selectors.BaseSelector.unregister``."""
        number = _number(fileobj)
        key = self.keys.pop(number)
        del self._sockets[number]
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """As ``selectors.BaseSelector.modify``."""
        number = _number(fileobj)
        if not events or events & ~(EVENT_READ | EVENT_WRITE):
            raise ValueError(f"invalid events: {events!r}")
        key = self.keys[number] = SelectorKey(self.keys[number].fileobj, number, events, data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """The events that are ready. If none are, virtual time passes until one is, or for ``timeout`` seconds.

        If it would wait for ever it sets `stalled` and returns no event. Raises `Stalled` if that happens again.
        """
        network = self._network
        clock, draw = network.wire.clock, network.plan.draw
        network.blocked_calls = 0
        clock.pass_to(clock.now + TICK)
        ready = self._ready()
        if not ready and (timeout is None or timeout > 0):
            if draw(INTERRUPTED):
                return self._report("interrupted", [])
            ready = self._wait(inf if timeout is None else clock.now + timeout)
        idle = len(self.keys) - len(ready)
        if idle and (amount := draw(SPURIOUS, idle)):
            ready.append(self._idle(ready, amount))
        if len(ready) > 1 and (first := draw(ORDER, len(ready) - 1)):
            ready = ready[first:] + ready[:first]
        clock.now += draw(JUMP, 50) / 10
        hours = draw(SET, 48)
        if hours:
            clock.epoch += 3600 * (hours if hours % 2 else -hours)
        return self._report("select", ready)

    def is_ready(self) -> bool:
        """Whether `select` would return an event at once."""
        return bool(self._ready())

    def close(self) -> None:
        """Unregister everything."""
        self.keys.clear()
        self._sockets.clear()

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """What is registered, by descriptor."""
        return self.keys

    def _wait(self, end: float) -> list[tuple[SelectorKey, int]]:
        network, clock = self._network, self._network.wire.clock
        while (due := clock.next()) <= end and due < inf:
            clock.pass_to(due)
            if clock.changes:
                return self._ready()
            if network.changed and (ready := self._ready()):
                return ready
        if end < inf:
            clock.pass_to(end)
            return self._ready()
        if self.stalled:
            raise Stalled("select() waits for ever: no event is ready, due or on its way")
        self.stalled = True
        return []

    def _ready(self) -> list[tuple[SelectorKey, int]]:
        self._network.changed = False
        ready = []
        sockets, still_open = self._sockets, self._network.open
        for number, key in self.keys.items():
            sock = sockets[number]
            events = sock.events(key.events)
            if events and still_open.get(number) is sock:  # else the descriptor was closed
                ready.append((key, events))
        if ready:
            self.stalled = False
        return ready

    def _idle(self, ready: list[tuple[SelectorKey, int]], place: int) -> tuple[SelectorKey, int]:
        """A spurious event: the ``place``-th of the registered descriptors that are not ready, counted from 1."""
        busy = {key.fd for key, _ in ready}
        key = [key for key in self.keys.values() if key.fd not in busy][place - 1]
        return key, key.events

    def _report(self, what: str, ready: list[tuple[SelectorKey, int]]) -> list[tuple[SelectorKey, int]]:
        network = self._network
        self.reported = ready
        for key, _ in ready:
            self._sockets[key.fd].asked = False
        if network.trace is not None:
            seen = [(self._sockets[key.fd], events) for key, events in ready]
            network.trace.append((network.wire.clock.now, None, what, seen))
        return ready


def _number(fileobj: Any) -> int:
    number: int = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if number < 0:
        raise ValueError(f"invalid file descriptor: {number}")
    return number


def address_info(name: str, port: int, kind: int, proto: int = 0) -> tuple[int, int, int, str, tuple[Any, ...]]:
    """One address as ``socket.getaddrinfo`` returns it."""
    if ":" in name:
        return (socket.AF_INET6, kind, proto, "", (name, port, 0, 0))
    return (socket.AF_INET, kind, proto, "", (name, port))
