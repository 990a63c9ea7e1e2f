"""A simulated kernel: virtual time, and what one process sees of a network that is all in memory.

A `Network` fits where the module ``socket`` goes, a `Selector` where one of ``selectors`` goes and
a `Clock` where ``time`` goes. `Selector.select` is where time passes. Nothing depends on the host, on
the hash of anything or on real time.
"""

from __future__ import annotations

import errno
import os
import socket
from heapq import heappop, heappush
from math import inf
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, SelectorKey
from typing import TYPE_CHECKING, Any

from .faults import (
    DELAYED,
    EXHAUSTED,
    EXHAUSTED_ERRORS,
    INTERRUPTED,
    JUMP,
    ORDER,
    REFUSED,
    SET,
    SPURIOUS,
    Plan,
    failure,
)
from .sockets import DatagramSocket, Socket, is_abstract
from .streams import StreamSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Address: TypeAlias = tuple[Any, ...] | str | bytes

EPOCH = 1_000_000_000.0
"""The time of day at which every world begins: 2001-09-09 01:46:40 UTC."""

FIRST_DESCRIPTOR = 1_000_000
"""Descriptors are counted from here, so that none is by accident one of the host's."""

FIRST_PORT = 49_152
"""Ports that are nobody's choice are counted from here."""

TICK = 0.000_02
"""Seconds that a call of ``select`` takes, so that a loop that never rests does not stop the world."""

PATIENCE = 10_000
"""Calls that can't be done, without a ``select`` between them, that are too many."""


class Stalled(BaseException):
    """Nothing can happen any more, and the reactor's process would wait, or ask again, for ever.

    No ``Exception``, so that nobody takes it for what a handler has raised.
    """


class Clock:
    """Virtual time, in seconds, and what will happen in it. The clock of a `Reactor`."""

    def __init__(self) -> None:
        self.now = 0.0
        self.epoch = EPOCH
        """What the time of day was, or would have been, when the world began."""
        self._queue: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0  # of what was ever planned: what is due at one time happens in the order of planning

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return self.now

    def time(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return self.epoch + self.now

    def at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        """Have ``call(*arguments)`` happen at the time ``when``."""
        self._count += 1
        heappush(self._queue, (when, self._count, call, arguments))

    def next(self) -> float:
        """When something will happen, ``inf`` for never."""
        return self._queue[0][0] if self._queue else inf

    def pass_to(self, when: float) -> None:
        """Let time pass, and all happen that is due on the way."""
        queue = self._queue
        while queue and queue[0][0] <= when:
            due, _, call, arguments = heappop(queue)
            if due > self.now:
                self.now = due
            call(*arguments)
        if when > self.now:
            self.now = when


class Wire:
    """What the processes of a world share: the addresses in use, and the way between them."""

    def __init__(self, clock: Clock, plan: Plan, latency: float = 0.0, capacity: int = 65_536) -> None:
        self.clock = clock
        self.plan = plan
        """What goes wrong on the way."""
        self.latency = latency
        """Seconds that everything sent is on its way, at least."""
        self.capacity = capacity
        """Bytes that may be on their way to a socket or unread in it: its buffer and its peer's together."""
        self.names: dict[str, str] = {"localhost": "127.0.0.1"}
        """Hosts that are known by a name; there is no resolver."""
        self._bound: dict[tuple[Any, ...], Socket] = {}
        self._next_port = FIRST_PORT

    def bind(self, sock: Socket, address: Address) -> Address:
        """Give ``sock`` the address, returned; a free one if its port is 0 or its name empty. Raises ``OSError``."""
        if isinstance(address, tuple):
            address = self.whole(sock.family, address)
            address = (address[0], address[1] or self._port(), *address[2:])
        else:
            address = _name(address or b"\0%05x" % self._port())
        key = _key(sock.type, address)
        if key in self._bound or (isinstance(address, tuple) and self._overlaps(sock, *address[:2])):
            raise failure(errno.EADDRINUSE)
        self._bound[key] = sock
        return address

    def whole(self, family: int, address: Any) -> tuple[Any, ...]:
        """An address of the Internet as ``getsockname()`` has it: a number for a name, four parts for IPv6."""
        host, port, *rest = address
        host = self.names.get(host, host) or _any_host(family)
        return (host, port, *(rest or (0, 0))) if family == socket.AF_INET6 else (host, port)

    def _overlaps(self, sock: Socket, host: str, port: int) -> bool:
        """Whether another has the port on every address, or on any if every one is wanted."""
        every = _any_host(sock.family)
        if host != every:
            return (sock.type, every, port) in self._bound
        others = (other for key, other in self._bound.items() if (key[0], key[-1]) == (sock.type, port))
        return any(other.family == sock.family for other in others)

    def release(self, sock: Socket, address: Address) -> None:
        """The socket is closed. The name of a Unix socket stays, and refuses whoever comes."""
        if isinstance(address, tuple) or is_abstract(address):
            del self._bound[_key(sock.type, address)]

    def find(self, kind: int, family: int, address: Address) -> Socket | None:
        """Who is bound to the address, or to its port on every address."""
        if not isinstance(address, tuple):
            return self._bound.get(_key(kind, _name(address)))
        host, port = self.names.get(address[0], address[0]), address[1]
        return self._bound.get((kind, host, port)) or self._bound.get((kind, _any_host(family), port))

    def delay(self) -> float:
        """Seconds that what is sent now is on its way."""
        return self.latency + self.plan.draw(DELAYED, 200) / 1000

    def refuses(self) -> bool:
        """Whether a connection is refused, whoever listens."""
        return self.plan.draw(REFUSED) > 0

    def _port(self) -> int:
        self._next_port += 1
        return self._next_port - 1


class Network:
    """The network as one process sees it: what a `Reactor` takes for the module ``socket``.

    It has no ``socketpair``: in a world without threads nobody has to wake the selector.
    """

    def __init__(self, wire: Wire, plan: Plan, limit: int = 1024) -> None:
        self.wire = wire
        self.plan = plan
        """What goes wrong with this process's calls."""
        self.limit = limit
        """Descriptors that may be open at once (``RLIMIT_NOFILE``)."""
        self.open: dict[int, Socket] = {}
        """The open sockets by their descriptors."""
        self.selectors: list[Selector] = []
        self.changed = True
        """Whether a socket may have become ready since a selector last looked."""
        self.trace: list[tuple[float, Socket | None, str, object]] | None = None
        """What was called when, on what, and what came of it; ``None`` if nobody wants to know."""
        self.offences: list[str] = []
        """What no correct program does, as it was seen."""
        self.unsent: list[tuple[StreamSocket, int]] = []
        """Sockets whose output was ended before all was taken that ``send()`` had been offered, and what was left."""
        self._free: list[int] = []
        self.refusals = 0
        """Calls that could not be done, since a selector was last asked."""

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> Socket:  # noqa: A002
        """A new socket, blocking as the real ones are; a call on it that would block is an offence."""
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

    def getaddrinfo(
        self, host: str | bytes | None, port: int | None, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0  # noqa: A002
    ) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:  # fmt: skip
        """What ``socket.getaddrinfo`` gives for a numeric address, or for one of `Wire.names`."""
        name = host.decode() if isinstance(host, bytes) else host or "localhost"
        name = self.wire.names.get(name, name)
        if ":" in name:
            return [(socket.AF_INET6, type, proto, "", (name, port or 0, 0, 0))]
        if not name.replace(".", "").isdigit():
            raise socket.gaierror(socket.EAI_NONAME, f"{name} is not in this world")
        return [(socket.AF_INET, type, proto, "", (name, port or 0))]

    def refuse(self) -> None:
        """A call could not be done now. Raises `Stalled` if none ever will, for nobody lets time pass."""
        self.refusals += 1
        if self.refusals > PATIENCE:
            raise Stalled(f"{PATIENCE} calls could not be done, and the process never waited in select()")

    def exhaust(self) -> None:
        """A chance for the host to run out of what a new socket takes: raises ``OSError``."""
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
        """The descriptor is closed, and may be given again."""
        for selector in self.selectors:
            if number in selector.keys:
                self.offences.append(f"{self.open[number]} is closed, and is still in the selector")
        del self.open[number]
        heappush(self._free, number)


class Selector(BaseSelector):
    """What a `Reactor` takes for a selector: level-triggered, as ``EpollSelector`` is."""

    def __init__(self, network: Network) -> None:
        self.keys: dict[int, SelectorKey] = {}
        """What is registered, by descriptor."""
        self.stalled = False
        """Whether the last `select` found that it would wait for ever."""
        self.reported: list[tuple[SelectorKey, int]] = []
        """What the last `select` has reported."""
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
        """What is ready; where nothing is, virtual time passes until something is, or for ``timeout`` seconds.

        Raises `Stalled` when it would wait for ever, and had said so with `stalled` the last time.
        """
        network = self._network
        clock, draw = network.wire.clock, network.plan.draw
        network.refusals = 0
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

    def close(self) -> None:
        """Forget what is registered."""
        self.keys.clear()
        self._sockets.clear()

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """What is registered, by descriptor."""
        return self.keys

    def _wait(self, end: float) -> list[tuple[SelectorKey, int]]:
        network, clock = self._network, self._network.wire.clock
        while (due := clock.next()) <= end and due < inf:
            clock.pass_to(due)
            if network.changed and (ready := self._ready()):
                return ready
        if end < inf:
            clock.pass_to(end)
            return self._ready()
        if self.stalled:
            raise Stalled("select() waits for ever: nothing is ready, due or on its way")
        self.stalled = True
        return []

    def _ready(self) -> list[tuple[SelectorKey, int]]:
        self._network.changed = False
        ready = []
        sockets, still_open = self._sockets, self._network.open
        for number, key in self.keys.items():
            sock = sockets[number]
            events = sock.events(key.events)
            if events and still_open.get(number) is sock:  # else its number may be another's now
                ready.append((key, events))
        if ready:
            self.stalled = False
        return ready

    def _idle(self, ready: list[tuple[SelectorKey, int]], place: int) -> tuple[SelectorKey, int]:
        """The event that would be there if the descriptor at this place, of those that are not ready, were."""
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


def _key(kind: int, address: Address) -> tuple[Any, ...]:
    """What can be bound only once: a name in a directory by a socket of one kind or the other."""
    if isinstance(address, tuple):
        return (kind, *address[:2])
    return (kind, address) if is_abstract(address) else (address,)


def _name(address: str | bytes) -> str | bytes:
    """The name of a Unix socket as ``getsockname()`` has it: bytes if it is abstract."""
    name = os.fsencode(address)
    return name if is_abstract(name) else os.fsdecode(name)


def _any_host(family: int) -> str:
    return "0.0.0.0" if family == socket.AF_INET else "::"
