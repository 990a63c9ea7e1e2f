"""Stand-ins for the row of a machine that no reactor drives: one answers the handler, one keeps the deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ...handlers import Delay
from ...table.bounds import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...handlers import Cause, DatagramHandler, Handler, Machine, Wait, World
    from ...handlers.channel import StreamChannel
    from .counting import line_limit


SOON = 5.0
"""Seconds for which a run waits for what another request would have to do, as the client of a real server does."""


def passes(wait: Wait, patience: float) -> bool:
    """Whether time passes at this wait by itself: a delay, or one that no input satisfies and that is soon over."""
    return type(wait) is Delay or (not wait.reads and patience <= SOON)


class Expiring(Protocol):
    """The part of a machine that a deadline acts on."""

    @property
    def handler(self) -> Handler:
        """The handler; its class may declare ``request_timeout``, ``idle_timeout`` and ``min_rate``."""

    @property
    def wait(self) -> Wait | None:
        """The current wait."""

    @property
    def finished(self) -> bool:
        """Whether the request has ended."""

    def expire(self) -> None:
        """The wait has timed out."""

    def abandon(self, cause: Cause) -> None:
        """The request has timed out."""


class RecordingDriver:
    """The driver of a machine in a run: answers from a `handlers.World` and records the questions."""

    socket: Any = None
    limit: line_limit | None = None
    """Counts the lines of Python that the states of the handler run; ``None``: nobody does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._peer = world.peer
        self._credentials = world.credentials
        self.principal: Any = world.principal
        self.secured: Any = world.secured
        self.peer_certificate: Any = world.peer_certificate
        self.alpn: Any = world.alpn
        self.proxy_header: Any = world.proxy_header
        self.left = world.left
        self.calls: list[tuple[DatagramHandler, bytes, Callable[[bytes], object]]] = []
        """The calls that the handler has made, and that are not begun."""
        self.asked: set[str] = set()
        """The questions so far: ``"peer"``, ``"server"``, ``"credentials"``, ``"now"``, ``"plain"``."""

    @property
    def peer(self) -> Any:
        """The address of the client."""
        self.asked.add("peer")
        return self._peer

    @peer.setter
    def peer(self, address: Any) -> None:
        self._peer = address

    @property
    def server(self) -> Any:
        """The server, ``None`` if the world has none."""
        if self._world.server is not None:
            self.asked.add("server")
        return self._world.server

    @property
    def credentials(self) -> tuple[int, int, int] | None:
        """The process, user and group of the client, ``None`` if the world has none."""
        if self._credentials is not None:
            self.asked.add("credentials")
        return self._credentials

    @credentials.setter
    def credentials(self, told: tuple[int, int, int] | None) -> None:
        self._credentials = told

    @property
    def plain(self) -> bool:
        """True: a run is one of the plain text, whatever filter the handler puts in front of itself."""
        self.asked.add("plain")
        return True

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that have come with the input."""
        return self._world.descriptors

    def pass_on(self, descriptors: Sequence[int]) -> None:
        """The handler sends descriptors: the world keeps them in `World.passed`."""
        self._world.pass_on(descriptors)

    def channel_binding(self, kind: str) -> bytes | None:
        """The handler asks for the binding of the channel: the world has none."""
        return self._world.channel_binding(kind)

    def queue_step(self, step: Callable[[], object]) -> bool:
        """A filter has a costly step to do: nobody else waits."""
        return self._world.queue_step(step)

    def call(self, handler: DatagramHandler, packet: bytes, answer: Callable[[bytes], object]) -> None:
        """The handler makes a call: the run makes it (`make_calls`)."""
        self.calls.append((handler, packet, answer))

    def replace(self, channel: StreamChannel, by: StreamChannel) -> None:
        """A filter comes or goes: the world keeps the outermost channel."""
        self._world.replace(channel, by)

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        self.asked.add("now")
        return self._world.now()

    @property
    def turns(self) -> int:
        """See `handlers.handler.Driver`."""
        return self._world.turns

    def touched(self) -> None:
        """Does nothing: the run looks at the machine after each of its calls."""

    def rest(self) -> None:
        """See `handlers.handler.Driver`."""
        self._world.rest()


class Unbounded(NamedTuple):
    """A wait that has no bound."""

    calls: int
    """The number of calls after which it began."""
    lack: str
    """What it lacks, in words."""
    bound: str
    """The expression that is false because of it."""


class PacedRow:
    """The attributes of a row that the reactor's `Pace` uses, so a run keeps deadlines as the reactor does.

    Times are seconds since the run began.
    """

    def __init__(self, handler: Handler, now: float) -> None:
        self.progress = now
        self.deadline = now
        self.total_in = self.total_out = 0
        self.reactor = self.timers = self
        self._pace = Pace.of(handler, now)

    def arm(self, row: PacedRow) -> None:
        """Does nothing: the run compares the deadline with its clock."""

    def received(self, count: int, now: float) -> None:
        """The handler has taken ``count`` bytes."""
        self.total_in += count
        self.progress = now

    def sent(self, count: int, now: float) -> None:
        """The kernel has taken ``count`` bytes."""
        self.total_out += count
        self.progress = now

    def begin(self, machine: Machine, now: float) -> None:
        """A wait has begun."""
        pace = self._pace
        self.deadline = now + machine.patience if pace is None else pace.begin(self, machine, now)  # type: ignore[arg-type]

    def look(self, machine: Machine, now: float) -> None:
        """No wait has begun, but bytes may have moved."""
        if self._pace is not None:
            self.deadline = self._pace.look(self, machine, now)  # type: ignore[arg-type]

    def expire(self, machine: Expiring, now: float) -> None:
        """The deadline has come."""
        if self._pace is None:
            machine.expire()
        else:
            self._pace.expire(self, machine, now)  # type: ignore[arg-type]
