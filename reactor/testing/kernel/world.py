"""A simulated world: a reactor and its servers, their clients, a network with faults, and no real time.

The servers, the table and the loop are the real ones: a `Reactor` takes its selector, its clock and its network as
arguments, and a world supplies simulated ones. The seed of a world, or its list of faults, determines every event.
"""

from __future__ import annotations

import errno
import socket
import sys
from math import inf
from typing import TYPE_CHECKING, Any

from ...rows.stream import StreamRow
from ...servers.base import BaseServer
from ...table.reactor import Reactor
from .clients import Client, Correspondent
from .clock import Clock
from .faults import RATES, Listed, Plan, Seeded
from .invariants import INVARIANTS, Invariant, Violation
from .network import Network
from .sockets import UNIX, DatagramSocket, Socket
from .streams import StreamSocket
from .wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from selectors import SelectorKey

    from typing_extensions import Self

    from ...table.request import Request
    from ..peers.peer import Peer
    from .faults import Fault
    from .network import Selector
    from .wire import Address

HOST = "10.0.0.2"
"""The host of clients that are given no address."""

STEPS = 100_000
"""Steps of the loop after which a run fails, because the loop does not come to rest."""


class World:
    """A world for one reactor.

    - ``plan``: the faults: a seed, a list of `Fault`, a `Plan`, or ``None`` for no faults.
    - ``rates``: how often a seed injects each kind of fault, from 0 to 1; see `RATES`.
    - ``latency``: the least number of seconds that data takes to arrive.
    - ``capacity``: bytes that a stream holds in each direction.
    - ``descriptors``: sockets that the reactor's process may have open.
    - ``trace``: whether to record the system calls in `trace`, which takes time.
    - ``invariants``: the classes of `Invariant` to check after every step.

    Raises `TypeError` for anything else as a plan, and `ValueError` for a kind of fault that there is not.

    >>> from handlers import StreamHandler, Until
    >>> from reactor import SelectTCPServer
    >>> from reactor.testing.kernel.world import World
    >>> class Upper(StreamHandler):
    ...     async def handle(self):
    ...         while True:
    ...             self.send((await Until(b"\\n")).upper())
    >>> for seed in range(20):
    ...     with World(seed) as world:
    ...         server = world.serve(SelectTCPServer, ("10.0.0.1", 7), Upper)
    ...         client = world.connect(("10.0.0.1", 7)).send(b"one\\ntwo\\n").expect(b"ONE\\nTWO\\n").shutdown()
    ...         world.run()
    """

    def __init__(
        self, plan: int | Iterable[Fault] | Plan | None = None, *, rates: Mapping[str, float] = RATES,
        latency: float = 0.0, capacity: int = 65_536, descriptors: int = 1024, trace: bool = True,
        invariants: Iterable[type[Invariant]] = INVARIANTS,
    ) -> None:  # fmt: skip
        self.plan = _plan(plan, rates)
        self.clock = Clock()
        self.wire = Wire(self.clock, self.plan, latency, capacity)
        self.network = Network(self.wire, Plan(), descriptors)
        """The network as the reactor's process sees it. It has no faults before the first `run`."""
        self.outside = Network(self.wire, Plan(), limit=1 << 20)
        """The network as the clients see it. Their calls have no faults."""
        self.actors: list[Client | Correspondent] = []
        """All scripted clients and peers."""
        self.rows: list[Request] = []
        """The rows of the table after the last step."""
        self.streams: list[StreamRow] = []
        """The rows of `rows` that have a connected socket."""
        self.steps = 0
        """The number of steps that the loop has made."""
        self.loop: Reactor | None = None
        self._selector: Selector | None = None
        self._servers: list[Any] = []
        self._failures: list[BaseException | None] = []  # what handlers have raised
        self._invariants = [kind() for kind in invariants]
        self._checks = [rule.check for rule in self._invariants if type(rule).check is not Invariant.check]
        if trace:
            self.network.trace = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:  # after an exception nothing more is checked, and no real resource is left open
            self.close()

    @property
    def keys(self) -> Mapping[int, SelectorKey]:
        """The keys that are registered with the reactor's selector, by descriptor."""
        return self.selector().keys

    # The reactor's process

    def selector(self) -> Selector:
        """The selector of the reactor."""
        if self._selector is None:
            self._selector = self.network.selector()
        return self._selector

    def reactor(self, **options: Any) -> Reactor:
        """The reactor. The first call constructs it, with ``options``."""
        if self.loop is None:
            self.loop = Reactor(self.selector(), self.clock, network=self.network, **options)
        return self.loop

    def serve(self, server_class: Any, address: Address, handler: Any) -> Any:
        """Construct a server in this world; `close` closes it.

        An exception of a handler leaves through `run`, unless the server class defines ``handle_error()``. Construct a
        server with other arguments as usual, with ``reactor=world.reactor()``.
        """
        server = server_class(address, handler, reactor=self.reactor())
        if server_class.handle_error is BaseServer.handle_error:
            server.handle_error = self._fail
        self._servers.append(server)
        return server

    # The clients

    def connect(self, address: Address, source: Address | None = None, peer: Peer | None = None) -> Client:
        """A client that begins to connect to ``address`` now; ``source`` is its own address.

        ``peer`` speaks the protocol of the filters in front of the server's handlers, such as ``tls().peer()``.
        """
        sock = StreamSocket(self.outside, _family(address))
        sock.opaque = peer is not None
        self._open(sock, source)
        client = self._client(sock, f"client {len(self.actors) + 1}", peer)
        try:
            sock.connect(address)
        except BlockingIOError:
            pass  # the connection attempt has begun
        except OSError as error:
            client.error = error
        return client

    def correspond(self, address: Address, source: Address | None = None) -> Correspondent:
        """A client that sends datagrams to ``address``; ``source`` is its own address."""
        sock = DatagramSocket(self.outside, _family(address))
        self._open(sock, source)
        name = f"correspondent {len(self.actors) + 1}"
        actor = Correspondent(self.clock, name, self.network.offences, sock, address)
        self.actors.append(actor)
        return actor

    def listen(self, address: Address, script: Callable[[Client], object], backlog: int = 128) -> StreamSocket:
        """Accept connections at ``address``. Each is a `Client`, and ``script`` is called with it."""
        listener = StreamSocket(self.outside, _family(address))
        self._open(listener, address)
        listener.listen(backlog)

        def accept() -> None:
            while listener.events():
                sock, _ = listener.accept()
                sock.setblocking(False)
                script(self._client(sock, f"peer {len(self.actors) + 1}"))

        listener.watcher = accept
        return listener

    # Running it

    def run(self, until: Callable[[], object] | None = None, steps: int = STEPS) -> None:
        """Run until ``until()`` is true, or until nothing more can happen.

        Raises `Violation` if an invariant does not hold after a step of the loop, if a script still waits for data when
        nothing more can happen, or if the loop has not come to rest after ``steps`` steps.
        """
        loop, selector = self.reactor(), self.selector()
        selector.stalled = False
        selector.reported = []  # a test may have stepped the loop itself
        self.network.plan = self.plan
        last = self.steps + steps

        while not loop.stopping:
            self.check()
            self.steps += 1
            if self.steps > last:
                raise Violation(f"the loop does not come to rest in {steps} steps")
            if selector.stalled or (until is not None and until()):
                break
            loop.step(inf)
            self._raise_failure()
        if loop.stopping:
            loop.run_while(lambda: False)  # consumes the stop(), so that the next run is not stopped
        if selector.stalled and not (until is not None and until()):
            self._rest(until)

    def check(self) -> None:
        """Raise `Violation` if an invariant does not hold, or if a call was an offence."""
        if self.loop is not None:
            self._look(self.loop)
            for check in self._checks:
                check(self)
        if self.network.offences:
            raise Violation("; ".join(self.network.offences))

    def close(self) -> None:
        """Close the servers that `serve` has constructed, and the reactor.

        Raises `Violation` if a descriptor is left open, or if an action was added to a script and `run` was not called.
        """
        unread = [actor.name for actor in self.actors if actor.unread]
        if unread:
            raise Violation(f"never run: the scripts of {', '.join(unread)}; call World.run() before the end")
        for server in self._servers:
            server.server_close()
        if self.loop is not None:
            self.loop.close()
        self._raise_failure()
        self.network.unsent.clear()  # server_close() drops unsent output
        self.check()
        for invariant in self._invariants:
            invariant.at_the_end(self)

    @property
    def trace(self) -> list[str]:
        """The system calls of the reactor's process, a line for each, with its time and its result.

        Of the bytes of a connection with a `Peer`, which may be random, it has only their number.
        """
        return [_line(*entry) for entry in self.network.trace or ()]

    def _fail(self, request: object, client_address: object) -> None:
        self._failures.append(sys.exc_info()[1])

    def _raise_failure(self) -> None:
        if self._failures:
            failure = self._failures.pop(0)
            assert failure is not None
            raise failure

    def _rest(self, until: Callable[[], object] | None) -> None:
        waiting = [pending for actor in self.actors if (pending := actor.pending())]
        if until is not None:
            waiting.append("the condition of the run has not come about")
        if waiting:
            raise Violation("nothing more can happen: " + "; ".join(waiting))
        self._look(self.reactor())
        for invariant in self._invariants:
            invariant.at_rest(self)

    def _look(self, loop: Reactor) -> None:
        self.rows = rows = list(loop.table)
        self.streams = [row for row in rows if isinstance(row, StreamRow)]

    def _open(self, sock: Socket, source: Address | None) -> None:
        self.outside.allocate(sock)
        sock.setblocking(False)
        if source is None and sock.family != UNIX:
            source = (HOST, 0) if sock.family == socket.AF_INET else ("2001:db8::2", 0, 0, 0)
        if source is not None:
            sock.bind(source)

    def _client(self, sock: StreamSocket, name: str, peer: Peer | None = None) -> Client:
        client = Client(self.clock, name, self.network.offences, sock, peer)
        self.actors.append(client)
        return client


def _plan(plan: int | Iterable[Fault] | Plan | None, rates: Mapping[str, float]) -> Plan:
    if plan is None:
        return Plan()
    if isinstance(plan, Plan):
        return plan
    if isinstance(plan, int):
        return Seeded(plan, rates)
    if isinstance(plan, (str, bytes)) or not hasattr(plan, "__iter__"):
        raise TypeError(f"the plan of a World is a seed (an int), a list of Fault, or None, not {plan!r}")
    return Listed(plan)


def _family(address: Address) -> int:
    if not isinstance(address, tuple):
        return UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


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
