"""A simulated world: a reactor and its servers, their clients, a network with faults, and no real time.

The servers, the table and the loop are the ones that serve in earnest: a `Reactor` takes its
selector, its clock and its network as arguments, and a world supplies them. What happens in a world
follows from its seed, or from its list of faults, event for event.
"""

from __future__ import annotations

import errno
import socket
from functools import cache
from math import inf
from typing import TYPE_CHECKING, Any

from ..loop import Reactor
from ..server import BaseServer
from ..stream import StreamRow
from .clients import Client, Correspondent
from .faults import RATES, Listed, Plan, Seeded
from .invariants import INVARIANTS, Invariant, Violation
from .network import Clock, Network, Wire
from .sockets import UNIX, DatagramSocket, Socket
from .streams import StreamSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from selectors import SelectorKey

    from typing_extensions import Self

    from ..request import Request
    from .faults import Fault
    from .network import Address, Selector

HOST = "10.0.0.2"
"""Where clients are that have no address of their own."""

STEPS = 100_000
"""Steps of the loop in one run that are too many: it does not come to rest."""


class World:
    """A world for one reactor.

    ``plan`` says what goes wrong: a seed, a list of `Fault`, or ``None`` for nothing at all. ``rates``
    says how often, for a seed. ``latency`` is the seconds that anything sent is on its way at least,
    ``capacity`` the bytes that a stream holds between its two ends, ``descriptors`` the open sockets
    that the reactor's process may have. With ``trace=False`` no trace is kept, which is faster.

    >>> from handlers import StreamHandler, Until
    >>> from reactor import SelectTCPServer
    >>> from reactor.testing.world import World
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
        """The network as the reactor's process sees it. Its calls begin to fail with the first `run`."""
        self.outside = Network(self.wire, Plan(), limit=1 << 20)
        """The network as everybody else sees it: their calls do not fail for nothing."""
        self.actors: list[Client | Correspondent] = []
        """All clients and scripted peers."""
        self.rows: list[Request] = []
        """The rows of the table, as they were after the last step."""
        self.streams: list[StreamRow] = []
        """Those of them that have a connected socket."""
        self.steps = 0
        """Steps that the loop has made."""
        self.loop: Reactor | None = None
        self._selector: Selector | None = None
        self._servers: list[Any] = []
        self._invariants = [kind() for kind in invariants]
        self._checks = [rule.check for rule in self._invariants if type(rule).check is not Invariant.check]
        if trace:
            self.network.trace = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:  # else what is wrong has been said, and nothing here is real enough to be left open
            self.close()

    @property
    def keys(self) -> Mapping[int, SelectorKey]:
        """What is registered with the reactor's selector, by descriptor."""
        return self.selector().keys

    # What a reactor takes

    def selector(self) -> Selector:
        """The selector of this world's reactor."""
        if self._selector is None:
            self._selector = self.network.selector()
        return self._selector

    def reactor(self, **options: Any) -> Reactor:
        """The reactor of this world; the first call makes it, with whatever other ``options`` it takes."""
        if self.loop is None:
            self.loop = Reactor(self.selector(), self.clock, network=self.network, **options)
        return self.loop

    def serve(self, server_class: Any, address: Address, handler: Any) -> Any:
        """A server of this world; what its handlers raise leaves through `run`, unless it has a ``handle_error()``.

        Any other server is made as it always is, with ``reactor=world.reactor()``.
        """
        server = _strict(server_class)(address, handler, reactor=self.reactor())
        self._servers.append(server)
        return server

    # Everybody else

    def connect(self, address: Address, source: Address | None = None) -> Client:
        """A client, who begins to connect now; ``source`` is its own address."""
        sock = StreamSocket(self.outside, _family(address))
        self._open(sock, source)
        client = self._client(sock, f"client {len(self.actors) + 1}")
        try:
            sock.connect(address)
        except BlockingIOError:
            pass  # it has begun
        except OSError as error:
            client.error = error
        return client

    def correspond(self, address: Address, source: Address | None = None) -> Correspondent:
        """Somebody who sends datagrams to the address."""
        sock = DatagramSocket(self.outside, _family(address))
        self._open(sock, source)
        name = f"correspondent {len(self.actors) + 1}"
        actor = Correspondent(self.clock, name, self.network.offences, sock, address)
        self.actors.append(actor)
        return actor

    def listen(self, address: Address, script: Callable[[Client], object], backlog: int = 128) -> StreamSocket:
        """Accept connections at the address: each is a `Client` of its own, which ``script`` gets."""
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
        """Run until ``until()`` is true, or until nothing can happen any more.

        After each step of the loop everything is checked; what is not as it must be raises
        `Violation`. So do a script that still waits for something when nothing can happen any more,
        and a loop that has not come to rest after so many ``steps``.
        """
        loop, selector = self.reactor(), self.selector()
        selector.stalled = False
        selector.reported = []  # whoever made steps in between may have done as he liked
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
        if loop.stopping:
            loop.run_while(lambda: False)  # heeds the stop(), which is for this run and not for the next
        if selector.stalled and not (until is not None and until()):
            self._rest(until)

    def check(self) -> None:
        """Raise `Violation` if anything is not as it must be after a step."""
        if self.loop is not None:
            self._look(self.loop)
            for check in self._checks:
                check(self)
        if self.network.offences:
            raise Violation("; ".join(self.network.offences))

    def close(self) -> None:
        """Close the servers that `serve` has made, and the reactor; nothing may be left open then.

        A script that was never run, for `run` was not called after it was written, raises `Violation`.
        """
        unread = [actor.name for actor in self.actors if actor.unread]
        if unread:
            raise Violation(f"never run: the scripts of {', '.join(unread)}; call World.run() before the end")
        for server in self._servers:
            server.server_close()
        if self.loop is not None:
            self.loop.close()
        self.network.unsent.clear()  # who closes a server drops what it has not sent
        self.check()
        for invariant in self._invariants:
            invariant.at_the_end(self)

    @property
    def trace(self) -> list[str]:
        """What the reactor's process has asked of its kernel, and what it was answered, a line for each call."""
        return [_line(*entry) for entry in self.network.trace or ()]

    def _rest(self, until: Callable[[], object] | None) -> None:
        waiting = [pending for actor in self.actors if (pending := actor.pending())]
        if until is not None:
            waiting.append("what the run was to go on until has not come about")
        if waiting:
            raise Violation("nothing can happen any more: " + "; ".join(waiting))
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

    def _client(self, sock: StreamSocket, name: str) -> Client:
        client = Client(self.clock, name, self.network.offences, sock)
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
        raise TypeError(f"the plan of a World is a seed (a number), a list of Fault, or None, not {plan!r}")
    return Listed(plan)


def _family(address: Address) -> int:
    if not isinstance(address, tuple):
        return UNIX
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


@cache
def _strict(server_class: Any) -> Any:
    """The server class, with what a handler raises left to leave through the loop, if it has no use for that itself."""
    if server_class.handle_error is not BaseServer.handle_error:
        return server_class
    return type(server_class.__name__, (server_class,), {"handle_error": _raise, "__doc__": server_class.__doc__})


def _raise(server: object, request: object, client_address: object) -> None:
    raise  # handle_error() is called where an exception is being handled


def _line(now: float, sock: Socket | None, call: str, result: object) -> str:
    """One line of a trace.

    >>> _line(1.5, None, "interrupted", [])
    '1.500000 interrupted'
    """
    if sock is None:
        assert isinstance(result, list)
        told = " ".join(f"{sock}:{'-rwb'[events]}" for sock, events in result)
        return f"{now:.6f} {call} {told}".rstrip()
    if result is None:
        told = ""
    elif isinstance(result, int):
        told = errno.errorcode.get(result, str(result))
    elif isinstance(result, tuple):
        told = " ".join(map(repr, result))
    else:
        told = str(result) if isinstance(result, Socket) else repr(result)
    return f"{now:.6f} {sock} {call} {told}".rstrip()
