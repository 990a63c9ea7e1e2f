"""A real server on loopback and its one client, in each mode: what a handler answers where it is really served.

No thread runs beside a server that forks, and nothing sleeps: the client is watched by the
server's own loop. In sync mode, where the caller is busy with the request, it has a loop of its own.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any, NamedTuple

import reactor
from reactor import Reactor

from .schedule import END, Run, played
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from handlers import World

MODES = "sync", "select", "fork", "thread"
"""Who drives a request: the caller, the loop, a child, a thread."""

SECONDS = 10.0
"""Seconds of real time after which a server is held not to answer."""

_PREFIXES = {"sync": "", "select": "Select", "fork": "Forking", "thread": "Threading"}


def modes_here() -> tuple[str, ...]:
    """The modes that this host has."""
    return tuple(mode for mode in MODES if mode != "fork" or hasattr(os, "fork"))


def modes_of(modes: Iterable[str] | None) -> tuple[str, ...]:
    """Those ``modes``, by default all that the host has. Raises `ValueError` for one that it has not."""
    if isinstance(modes, str):
        raise TypeError(f"modes is a list of modes, such as [{modes!r}]")
    here = modes_here()
    chosen = here if modes is None else tuple(modes)
    for mode in chosen:
        if mode not in here:
            raise ValueError(f"there is no mode {mode!r} here; there are {', '.join(map(repr, here))}")
    return chosen


def server_class(mode: str, packets: bool) -> Any:
    """The class of the servers that serve in ``mode``, of datagrams or of streams."""
    modes_of([mode])
    return getattr(reactor, f"{_PREFIXES[mode]}{'UDP' if packets else 'TCP'}Server")


def ask(mode: str, kind: Any, conversation: bytes | Iterable[bytes], world: World | None = None) -> Any:
    """Serve the handler class ``kind`` in ``mode`` on loopback, say ``conversation`` to it, return its answer.

    For a stream all that it sends until it ends the connection; the client sends no more than a
    state machine takes without a network, then ends its side. For datagrams a list; each packet is sent
    when those before it have been answered. A handler that sends without end is left after as
    much as `play` gives. Handlers see the time of ``world``; server and peer are real.

    Raises `TimeoutError` if it takes over 10 seconds.

    >>> from handlers.services import Echo
    >>> ask("select", Echo, b"hello")
    b'hello'
    """
    subject = Subject(kind, world)
    with _Exchange(mode, subject) as exchange:
        if subject.packets:
            return exchange.answer(_PacketClient(exchange, _rounds(subject, subject.conversation(conversation))))
        [data] = subject.conversation(conversation)
        run = foretell(subject, data)
        sent = data if subject.blocking else data[: run.fed]
        return exchange.answer(_StreamClient(exchange, sent, len(run.output) if run.endless else None))


def foretell(subject: Subject, data: bytes) -> Run:
    """The run of ``data`` without a network, one byte at a time, so that `Run.fed` tells what is taken."""
    return played(subject, [*(data[place : place + 1] for place in range(len(data))), END])


class _Round(NamedTuple):
    """A packet; the answers and exchanges there have been when it is dealt with; whether it ends the exchange."""

    packet: bytes
    answers: int
    exchanges: int
    ends: bool


def _rounds(subject: Subject, packets: list[bytes]) -> list[_Round]:
    run, exchanges = Run(subject), 0
    rounds: list[_Round] = []
    for packet in packets:
        exchanges += not rounds or run.finished
        run.step(packet)
        rounds.append(_Round(packet, len(run.finish().output), exchanges, run.finished))
    run.close()
    return rounds


class _Clock:
    """The time of day of a world, over real seconds."""

    def __init__(self, world: World) -> None:
        self.time = world.now
        self.monotonic = time.monotonic


class _Served:
    """What a server here does besides: counts, says nothing of errors, and keeps a child off its client's socket."""

    begun = 0
    client: _Client | None = None
    pid = 0

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.begun += 1
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.client is not None and os.getpid() != self.pid:
            self.client.socket.close()  # a copy in the child would keep the connection open
        super().finish_request(request, client_address)  # type: ignore[misc]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The answer shows what is wrong."""


class _Exchange:
    """A server, its loop, and the loop of its client."""

    def __init__(self, mode: str, subject: Subject) -> None:
        base = server_class(mode, subject.packets)
        self.loop = Reactor(clock=_Clock(subject.world))
        self.client_loop = Reactor() if mode == "sync" else self.loop
        self.server: Any = type(base.__name__, (_Served, base), {"pid": os.getpid()})(
            ("127.0.0.1", 0), subject.kind, reactor=self.loop
        )

    def __enter__(self) -> _Exchange:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.server_close()
        self.loop.close()
        self.client_loop.close()

    def answer(self, client: _Client) -> Any:
        """Run both until the client has its answer."""
        self.server.client = client
        client.begin()
        late = self.client_loop.call_later(SECONDS, self._give_up, client)
        if self.client_loop is self.loop:
            self.loop.run_while(lambda: not client.done)
        else:
            thread = threading.Thread(target=self.client_loop.run_while, args=(lambda: not client.done,))
            thread.start()
            self.loop.run_while(lambda: not client.done, 0.02)
            thread.join()
        late.cancel()
        if client.late:
            raise TimeoutError(f"no answer, or no end of it, in {SECONDS:g} seconds; so far {client.received!r}")
        return client.received

    def _give_up(self, client: _Client) -> None:
        client.late = True
        client.finish()
        for pid in getattr(self.server, "active_children", None) or ():
            self.loop.children.kill(pid)
        self.loop.stop()


class _Client:
    """What both clients have in common. It ends in its own loop."""

    def __init__(self, exchange: _Exchange, kind: socket.SocketKind) -> None:
        self.done = self.late = False
        self.received: Any = None
        self.exchange = exchange
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.connect(exchange.server.server_address)
        self.socket.setblocking(False)

    def begin(self) -> None:
        self.watch = self.exchange.client_loop.watch(self.socket, EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        if not self.done:
            self.watch.cancel()
            self.socket.close()
            self.done = True


class _StreamClient(_Client):
    """Sends all of ``data``, ends its side, and takes the answer: to its end, or ``enough`` bytes of it."""

    def __init__(self, exchange: _Exchange, data: bytes, enough: int | None) -> None:
        super().__init__(exchange, socket.SOCK_STREAM)
        self.received = b""
        self._unsent = memoryview(data)
        self._enough = enough

    def begin(self) -> None:
        super().begin()
        self.watch.modify(EVENT_READ | EVENT_WRITE)

    def ready(self, events: int) -> None:
        try:
            if events & EVENT_WRITE:
                self._send()
            if events & EVENT_READ:
                self._receive()
        except ConnectionError:  # the connection is gone; what has come so far is the answer
            self.finish()

    def _send(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        else:
            self.socket.shutdown(socket.SHUT_WR)
            self.watch.modify(EVENT_READ)

    def _receive(self) -> None:
        data = self.socket.recv(65_536)
        self.received += data
        if self._enough is not None and len(self.received) >= self._enough:
            self.received = self.received[: self._enough]
            self.finish()
        elif not data:
            self.finish()


class _PacketClient(_Client):
    """Sends each packet when those before it have been dealt with; a `_Round` says what that means."""

    def __init__(self, exchange: _Exchange, rounds: list[_Round]) -> None:
        super().__init__(exchange, socket.SOCK_DGRAM)
        self.received = []
        self._rounds = rounds
        self._due: _Round | None = None

    def begin(self) -> None:
        super().begin()
        self._go_on()

    def ready(self, events: int) -> None:
        self.received.append(self.socket.recv(65_536))
        self._go_on()

    def _go_on(self) -> None:
        while not self.done and self._dealt_with():
            if self._rounds:
                self._due = self._rounds.pop(0)
                self.socket.send(self._due.packet)
            else:
                self.finish()

    def _dealt_with(self) -> bool:
        due, server = self._due, self.exchange.server
        if due is None:
            return True
        if len(self.received) < due.answers:
            return False  # until one comes
        if server.begun >= due.exchanges and not (due.ends and len(self.exchange.loop.table)):
            return True
        self.exchange.client_loop.call_later(0.002, self._go_on)
        return False
