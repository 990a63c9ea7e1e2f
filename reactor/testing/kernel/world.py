"""A simulated world: a reactor and its servers, their clients, a network with faults, and no real time.

The servers, the table and the loop are the real ones: a `Reactor` takes its selector, its clock and its network as
arguments, and a world supplies simulated ones. The seed of a world, or its list of faults, determines every event.
"""

from __future__ import annotations

import socket
from math import inf
from typing import TYPE_CHECKING, Any

from .clients import Client, Correspondent
from .clock import Clock
from .datagrams import DatagramSocket
from .events import EVENTS
from .faults import RATES, Listed, Plan, Seeded
from .hosts import Host
from .invariants import INVARIANTS, Invariant, Violation
from .network import Network
from .process import Process
from .sockets import UNIX, Socket
from .streams import StreamSocket
from .wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from typing_extensions import Self

    from ..peers.peer import Peer
    from .events import Event, Place
    from .faults import Fault
    from .links import Link
    from .wire import Address

HOST = "10.0.0.2"
"""The host of clients that are given no address."""

STEPS = 100_000
"""Steps of the loop after which a run fails, because the loop does not come to rest."""


class World(Process):
    """A world for one reactor, or for the reactors of several hosts (`host`).

    - ``plan``: the faults: a seed, a list of `Fault`, `Crash`, `Cut` and `Slow`, a `Plan`, or ``None`` for no faults.
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
        self, plan: int | Iterable[Fault | Event] | Plan | None = None, *, rates: Mapping[str, float] = RATES,
        latency: float = 0.0, capacity: int = 65_536, descriptors: int = 1024, trace: bool = True,
        invariants: Iterable[type[Invariant]] = INVARIANTS,
    ) -> None:  # fmt: skip
        self.plan, events = _plan(plan, rates)
        self.clock = Clock()
        self._options: dict[str, Any] = {
            "descriptors": descriptors, "trace": trace, "invariants": tuple(invariants),
        }  # fmt: skip
        super().__init__(Wire(self.clock, self.plan, latency, capacity), **self._options)
        self.outside = Network(self.wire, Plan(), limit=1 << 20)
        """The network as the clients see it. Their calls have no faults."""
        self.actors: list[Client | Correspondent] = []
        """All scripted clients and peers."""
        self.hosts: list[Host] = []
        """The hosts, in the order of their construction."""
        self.names = self.wire.zone
        """What the name server at 10.0.0.53 answers to `reactor.names.resolve`: one address or several, by host name.

        Names are in lower case. ``None``: it does not answer questions for this name. A name that is not there does not
        exist (NXDOMAIN).
        """
        self.steps = 0
        """The number of steps that the loop has made."""
        for event in events:
            event.plan(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:  # after an exception nothing more is checked, and no real resource is left open
            self.close()

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

    # The hosts, and the links between them

    def host(self, boot: Callable[[Host], object], *addresses: str) -> Host:
        """A new host, on which ``boot(host)`` starts what it runs: now, and anew when it restarts after a crash.

        Its address is 10.0.1.1 for the first host, 10.0.1.2 for the next, if none is given. Raises `ValueError` if
        another host has an address.

        >>> from handlers.services import Echo
        >>> from reactor import SelectTCPServer
        >>> from reactor.testing.kernel.world import World
        >>> with World() as world:
        ...     host = world.host(lambda host: host.serve(SelectTCPServer, (host.address, 7), Echo))
        ...     client = world.connect((host.address, 7)).send(b"before").expect(b"before").wait(5).send(b"after")
        ...     world.at(1, host.crash)
        ...     world.at(2, host.restart)
        ...     world.run()
        >>> client.error
        ConnectionResetError(104, 'Connection reset by peer')
        """
        number = len(self.hosts)
        host = Host(self.wire, number, boot, addresses or (f"10.0.1.{number + 1}",), **self._options)
        self.hosts.append(host)
        return host

    def place(self, place: Place) -> Any:
        """The host with that number; a `Host` or an IP address as it is. Raises `ValueError` if there is none."""
        if not isinstance(place, int):
            return place
        if not 0 <= place < len(self.hosts):
            raise ValueError(f"there is no host {place}; there are {len(self.hosts)}")
        return self.hosts[place]

    def cut(self, place: Place, other: Place, *, one_way: bool = False) -> None:
        """Partition the network: no packet gets from one place to the other, nor back unless it is ``one_way``.

        A place is a `Host`, the number of one, or an IP address. Nobody is told: TCP sends again what is not
        acknowledged, and gives up after a quarter of an hour, or while it connects after two minutes (``ETIMEDOUT``).
        """
        for link in self._links(place, other, one_way):
            link.cuts += 1

    def heal(self, place: Place, other: Place, *, one_way: bool = False) -> None:
        """End one `cut`."""
        for link in self._links(place, other, one_way):
            link.cuts = max(0, link.cuts - 1)

    def slow(self, place: Place, other: Place, seconds: float, *, one_way: bool = False) -> None:
        """Set how much longer packets take. A datagram may overtake those that were sent when they took longer."""
        for link in self._links(place, other, one_way):
            link.delay = seconds

    def lose(self, place: Place, other: Place, share: float, *, one_way: bool = False) -> None:
        """Set the share of packets that are lost, from 0 to 1. TCP sends them again, which takes time.

        Raises `ValueError` for any other share.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"the share of packets that are lost is a number from 0 to 1, not {share!r}")
        for link in self._links(place, other, one_way):
            link.loss = share

    def at(self, seconds: float, call: Callable[[], object]) -> None:
        """Call ``call()`` so many seconds after the world began, between two steps of a reactor."""
        self.clock.at(seconds, self.clock.between, call)

    # Running it

    def run(self, until: Callable[[], object] | None = None, steps: int = STEPS) -> None:
        """Run until ``until()`` is true, until nothing more can happen, or until a reactor is stopped.

        Raises `Violation` if an invariant does not hold after a step of the loop, if a script still waits for data when
        nothing more can happen, or if the loop has not come to rest after ``steps`` steps.
        """
        if self.hosts:
            self.clock.pass_to(self.clock.now)  # what happens to them now happens before their first step
        else:
            self.reactor()
        for process in self._processes():
            process.begin_run(self.plan)
        last, at_rest = self.steps + steps, False
        while not self._is_stopped():
            for process in self._processes():
                process.check()
            self.steps += 1
            if self.steps > last:
                raise Violation(f"the loop does not come to rest in {steps} steps")
            if at_rest or (until is not None and until()):
                break
            at_rest = not self._step()
        if at_rest and not (until is not None and until()):
            self._rest(until)

    def close(self) -> None:
        """Close the servers that `serve` has constructed, and the reactors.

        Raises `Violation` if a descriptor is left open, or if an action was added to a script and `run` was not called.
        """
        unread = [actor.name for actor in self.actors if actor.unread]
        if unread:
            raise Violation(f"never run: the scripts of {', '.join(unread)}; call World.run() before the end")
        for process in (*self.hosts, self):
            process.end()

    def _processes(self) -> list[Process]:
        """Its own and those of the hosts that are up."""
        return [self, *(host for host in self.hosts if host.is_up)]

    def _is_stopped(self) -> bool:
        """Whether a reactor was stopped. Consumes that, so that the next run is not stopped."""
        loops = [process.loop for process in self._processes() if process.loop is not None and process.loop.stopping]
        for loop in loops:
            loop.run_while(lambda: False)
        return bool(loops)

    def _step(self) -> bool:
        """Let each reactor that has something to do make one step, or time pass; whether anything can happen still."""
        if not self.hosts:
            self._let_step(self, inf)
            return not self.selector().stalled
        processes = self._processes()
        busy = [process for process in processes if process.is_ready()]
        for process in busy:
            self._let_step(process, 0)
        if busy:
            return True
        when = min(self.clock.next(), *(process.due() for process in processes))
        if when < inf:
            self.clock.pass_to(when)
        return when < inf

    def _let_step(self, process: Process, timeout: float) -> None:
        """Let a process make one step, unless its host has crashed; then call what waits for the end of the step."""
        if isinstance(process, Host) and not process.is_up:
            return
        clock = self.clock
        if process.network.plan is not self.plan:
            process.begin_run(self.plan)
        clock.stepping = True
        try:
            process.step(timeout)
        finally:
            clock.stepping = False
        changes, clock.changes = clock.changes, []
        for change in changes:
            change()

    def _rest(self, until: Callable[[], object] | None) -> None:
        waiting = [pending for actor in self.actors if (pending := actor.pending())]
        if until is not None:
            waiting.append("the condition of the run has not come about")
        if waiting:
            raise Violation("nothing more can happen: " + "; ".join(waiting))
        for process in self._processes():
            process.check_at_rest()

    def _links(self, place: Place, other: Place, one_way: bool) -> Iterator[Link]:
        for here in self._addresses(place):
            for there in self._addresses(other):
                yield self.wire.links.link(here, there)
                if not one_way:
                    yield self.wire.links.link(there, here)

    def _addresses(self, place: Place) -> tuple[str, ...]:
        found: Host | str = self.place(place)
        return (found,) if isinstance(found, str) else found.addresses

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


def _plan(plan: int | Iterable[Fault | Event] | Plan | None, rates: Mapping[str, float]) -> tuple[Plan, list[Event]]:
    """The plan for the faults of calls and packets, and the events of hosts and links."""
    if plan is None:
        return Plan(), []
    if isinstance(plan, Plan):
        return plan, []
    if isinstance(plan, int):
        return Seeded(plan, rates), []
    if isinstance(plan, (str, bytes)) or not hasattr(plan, "__iter__"):
        raise TypeError(f"the plan of a World is a seed (an int), a list of Fault, or None, not {plan!r}")
    plan = list(plan)
    events = [event for event in plan if isinstance(event, EVENTS)]
    return Listed([fault for fault in plan if not isinstance(fault, EVENTS)]), events


def _family(address: Address) -> int:
    if not isinstance(address, tuple):
        return UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
