"""One process of a simulated world: what the kernel holds for it, its reactor with its servers, and the invariants."""

from __future__ import annotations

import errno
import sys
from math import inf
from typing import TYPE_CHECKING, Any

from ...rows.stream import StreamRow
from ...servers.base import BaseServer
from ...table.reactor import Reactor
from . import naming  # noqa: F401  # registers the simulated lookup of names
from .faults import Plan
from .invariants import INVARIANTS, Invariant, Violation
from .network import Network
from .sockets import Socket

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from selectors import SelectorKey

    from ...table.request import Request
    from .network import Selector
    from .wire import Address, Wire


class Process:
    """A reactor, its servers, and the simulated kernel as they see it."""

    network: Network
    """The network as the process sees it. It has no faults before the first `World.run`."""

    rows: list[Request]
    """The rows of the table after the last step."""

    streams: list[StreamRow]
    """The rows of `rows` that have a connected socket."""

    loop: Reactor | None
    """The reactor, once it is constructed."""

    def __init__(
        self, wire: Wire, *, site: str = "", addresses: Sequence[str] = (), descriptors: int = 1024,
        trace: bool = True, invariants: Iterable[type[Invariant]] = INVARIANTS,
    ) -> None:  # fmt: skip
        self.wire = wire
        self.site = site
        self.addresses = tuple(addresses)
        self._descriptors = descriptors
        self._trace: list[tuple[float, Socket | None, str, object]] | None = [] if trace else None
        self._kinds = tuple(invariants)
        self.exec()

    def exec(self) -> None:
        """Begin anew: with no socket open, no reactor and no server."""
        self.network = Network(self.wire, Plan(), self._descriptors, self.site, self.addresses)
        self.network.trace = self._trace
        self.rows = []
        self.streams = []
        self.loop = None
        self._selector: Selector | None = None
        self._servers: list[Any] = []
        self._failures: list[BaseException | None] = []  # what handlers have raised
        self._invariants = [kind() for kind in self._kinds]
        self._checks = [rule.check for rule in self._invariants if type(rule).check is not Invariant.check]

    @property
    def keys(self) -> Mapping[int, SelectorKey]:
        """The keys that are registered with the reactor's selector, by descriptor."""
        return self.selector().keys

    @property
    def trace(self) -> list[str]:
        """The system calls of the process, a line for each, with its time and its result.

        Of the bytes of a connection with a `Peer`, which may be random, it has only their number.
        """
        return [_line(*entry) for entry in self._trace or ()]

    def selector(self) -> Selector:
        """The selector of the reactor."""
        if self._selector is None:
            self._selector = self.network.selector()
        return self._selector

    def reactor(self, **options: Any) -> Reactor:
        """The reactor. The first call constructs it, with ``options``."""
        if self.loop is None:
            self.loop = Reactor(self.selector(), self.wire.clock, network=self.network, **options)
        return self.loop

    def serve(self, server_class: Any, address: Address, handler: Any) -> Any:
        """Construct a server in this world; the world closes it.

        An exception of a handler leaves through `World.run`, unless the server class defines ``handle_error()``.
        Construct a server with other arguments as usual, with ``reactor=world.reactor()``.
        """
        server = server_class(address, handler, reactor=self.reactor())
        if server_class.handle_error is BaseServer.handle_error:
            server.handle_error = self._fail
        self._servers.append(server)
        return server

    # What a world asks of it

    def begin_run(self, plan: Plan) -> None:
        """From now on the calls of the process suffer the faults of the plan."""
        selector = self.selector()
        selector.stalled = False
        selector.reported = []  # a test may have stepped the loop itself
        self.network.plan = plan

    def is_ready(self) -> bool:
        """Whether the reactor has something to do now."""
        return self.loop is not None and (self.loop.timeout() == 0 or self.selector().is_ready())

    def due(self) -> float:
        """When the reactor has something to do although no event comes; ``inf``: never."""
        return inf if self.loop is None else self.loop.timers.next()

    def step(self, timeout: float) -> None:
        """Let the reactor make one step. Raises what a handler has raised."""
        self.reactor().step(timeout)
        self.raise_failure()

    def check(self) -> None:
        """Raise `Violation` if an invariant does not hold, or if a call was an offence."""
        if self.loop is not None:
            self.look()
            for check in self._checks:
                check(self)
        if self.network.offences:
            raise Violation("; ".join(self.network.offences))

    def check_at_rest(self) -> None:
        """Raise `Violation` if an invariant does not hold when nothing more can happen."""
        self.reactor()
        self.look()
        for invariant in self._invariants:
            invariant.at_rest(self)

    def end(self) -> None:
        """Close the servers that `serve` has constructed, and the reactor, and check what is left open."""
        for server in self._servers:
            server.server_close()
        if self.loop is not None:
            self.loop.close()
        self.raise_failure()
        self.network.unsent.clear()  # server_close() drops unsent output
        self.check()
        for invariant in self._invariants:
            invariant.at_the_end(self)

    def look(self) -> None:
        """Note the rows of the table."""
        if self.loop is not None:
            self.rows = rows = list(self.loop.table)
            self.streams = [row for row in rows if isinstance(row, StreamRow)]

    def raise_failure(self) -> None:
        """Raise the first exception that a handler has raised and that was not raised yet."""
        if self._failures:
            failure = self._failures.pop(0)
            assert failure is not None
            raise failure

    def _fail(self, request: object, client_address: object) -> None:
        self._failures.append(sys.exc_info()[1])


def _line(now: float, sock: Socket | None, call: str, result: object) -> str:
    """One line of a trace.

    >>> _line(1.5, None, "interrupted", [])
    '1.500000 interrupted'
    """
    if sock is None:
        assert isinstance(result, list)
        text = " ".join(f"{sock}:{'-rwb'[events]}" for sock, events in result)
        return f"{now:.6f} {call} {text}".rstrip()
    if result is None:
        text = ""
    elif isinstance(result, int):
        text = errno.errorcode.get(result, str(result))
    elif isinstance(result, tuple):
        text = " ".join(map(repr, result))
    elif isinstance(result, bytes) and sock.opaque:
        text = f"{len(result)} bytes"
    else:
        text = str(result) if isinstance(result, Socket) else repr(result)
    return f"{now:.6f} {sock} {call} {text}".rstrip()
