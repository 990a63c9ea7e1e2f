"""A real server on loopback and one client of it: the output that a handler gives in each mode.

The client is a watch on the server's own loop, so no thread runs beside a server that forks, and nothing sleeps. In
sync mode the request occupies the caller's thread, so the client has a loop and a thread of its own.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Any, NamedTuple

import reactor

from ... import Reactor
from .errors import server_lacks, told
from .run import Run, played
from .schedule import END
from .spreading import one_by_one
from .subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...handlers import World

MODES = "sync", "select", "fork", "thread"
"""The modes. A request is driven by the caller, the loop, a child or a thread."""

SECONDS = 10.0
"""Seconds of real time after which a server counts as one that does not answer."""

MOMENT = 0.5
"""Seconds of real time in which a handler that has raised must be heard of, when its client has the output."""

_PREFIXES = {"sync": "", "select": "Select", "fork": "Forking", "thread": "Threading"}


def modes_here() -> tuple[str, ...]:
    """The modes that this host has: all, or all but ``"fork"``."""
    return tuple(mode for mode in MODES if mode != "fork" or hasattr(os, "fork"))


def modes_of(modes: Iterable[str] | None) -> tuple[str, ...]:
    """``modes``, by default all that the host has, as a tuple. Raises `ValueError` for a mode that it does not have."""
    if isinstance(modes, str):
        raise TypeError(f"modes is a list of modes, such as [{modes!r}]")
    here = modes_here()
    chosen = here if modes is None else tuple(modes)
    for mode in chosen:
        if mode not in here:
            raise ValueError(f"there is no mode {mode!r} here; there are {', '.join(map(repr, here))}")
    return chosen


def server_class(mode: str, packets: bool) -> Any:
    """The class of UDP servers, or of TCP servers, for ``mode``."""
    modes_of([mode])
    return getattr(reactor, f"{_PREFIXES[mode]}{'UDP' if packets else 'TCP'}Server")


def ask(mode: str, kind: Any, conversation: bytes | Iterable[bytes], world: World | None = None) -> Any:
    """Serve the handler class ``kind`` in ``mode`` on loopback, send it ``conversation``, and return its output.

    The output of a stream handler is all that it sends until the connection ends. The client sends no more than the
    handler takes without a network, then ends its side of the stream. From a handler that sends without end, it takes
    as much as `play` does. The output of a datagram handler is a list of packets. The client sends a packet when the
    packets before it have been dealt with. ``world`` gives the time of day; the server and the peer are real.

    Raises `TimeoutError` if it takes over 10 seconds, `ValueError` for a mode that the host does not have.

    >>> from handlers.services import Echo
    >>> ask("select", Echo, b"hello")
    b'hello'
    """
    subject = Subject(kind, world)
    with _Exchange(mode, subject) as exchange:
        return _answer(exchange, subject, conversation)


def ask_for_fault(mode: str, subject: Subject, conversation: bytes | Iterable[bytes], expected: Any) -> tuple[Any, str]:
    """The output as `ask` has it, ``None`` if it takes too long; if it is not ``expected``, what the handler raised."""
    with _Exchange(mode, subject) as exchange:
        try:
            answer = _answer(exchange, subject, conversation)
        except TimeoutError:
            answer = None
        return answer, "" if answer == expected else exchange.fault()


def _answer(exchange: _Exchange, subject: Subject, conversation: bytes | Iterable[bytes]) -> Any:
    if subject.packets:
        rounds = _rounds(subject, subject.conversation(conversation))
        subject.restore()
        return exchange.answer(_PacketClient(exchange, rounds))
    [data] = subject.conversation(conversation)
    run = foretell(subject, data)
    sent = data if subject.blocking else data[: run.fed]
    subject.restore()
    size = len(run.output)
    client = _StreamClient(exchange, sent, size if run.endless else None, size if run.needs_client else 0)
    return exchange.answer(client)


def foretell(subject: Subject, data: bytes) -> Run:
    """The run of ``data`` without a network, `one_by_one`, so `Run.fed` is what the handler takes, or a little more."""
    return played(subject, [*one_by_one(data), END])


class _Round(NamedTuple):
    """A packet of the client, and what must be true when it has been dealt with."""

    packet: bytes
    answers: int
    """Packets of output so far."""
    exchanges: int
    """Exchanges that have begun so far."""
    ends: bool
    """Whether the packet ends its exchange."""


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
    """A clock with the time of day of a world, and with real seconds for deadlines."""

    def __init__(self, world: World) -> None:
        self.time = world.now
        self.monotonic = time.monotonic


class _Faults:
    """What handlers raise, in words. A child sends the words to its parent."""

    def __init__(self) -> None:
        self.text = ""
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def add(self, text: str) -> None:
        """Note a fault; no more than the buffer has room for."""
        with suppress(OSError):
            self._writer.send(text.encode(errors="replace") + b"\0")

    def look(self) -> bool:
        """Whether there is a fault; the first one is in `text`."""
        if not self.text:
            with suppress(OSError):
                self.text = self._reader.recv(65_536).decode(errors="replace").partition("\0")[0]
        return bool(self.text)

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class _Observed:
    """A mix-in for the server: it counts requests, notes errors, and closes the client's socket in a child.

    What it lacks, it takes from the server of the handler's world.
    """

    begun = 0
    client: _Client | None = None
    pid = 0
    subject: Subject
    faults: _Faults

    def __getattr__(self, name: str) -> Any:
        given = self.subject.world.server
        if given is None or name == "_srv" or name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(given, name)

    def __setattr__(self, name: str, value: Any) -> None:
        given = self.subject.world.server
        is_own = self.client is None or name in vars(self) or hasattr(type(self), name)
        if is_own or not hasattr(given, name):
            super().__setattr__(name, value)
        else:
            setattr(given, name, value)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        self.begun += 1
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.client is not None and os.getpid() != self.pid:
            self.client.socket.close()  # else the child's copy keeps the connection open
        super().finish_request(request, client_address)  # type: ignore[misc]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Note what was raised, and write nothing."""
        error: Any = sys.exc_info()[1]
        remedy = server_lacks(error, self) if self.subject.world.server is None else ""
        self.faults.add(told(error, self.subject.kind) + remedy)


class _Exchange:
    """A server, its loop, and the loop of its client."""

    def __init__(self, mode: str, subject: Subject) -> None:
        base = server_class(mode, subject.packets)
        self.subject = subject
        self._time = subject.in_its_time()
        self.loop = Reactor(clock=_Clock(subject.world))
        self.client_loop = Reactor() if mode == "sync" else self.loop
        self.faults = _Faults()
        members = {"pid": os.getpid(), "subject": subject, "faults": self.faults}
        self.server: Any = type(base.__name__, (_Observed, base), members)(
            ("127.0.0.1", 0), subject.given, reactor=self.loop
        )

    def __enter__(self) -> _Exchange:
        self._time.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._time.__exit__(None, None, None)
        self.server.server_close()
        self.faults.close()
        self.loop.close()
        self.client_loop.close()

    def answer(self, client: _Client) -> Any:
        """Run the loops until ``client`` is done; its output. Raises `TimeoutError`."""
        self.server.client = client
        client.begin()
        late = self.client_loop.call_later(SECONDS, self._give_up, client)
        if self.client_loop is self.loop:
            self.loop.run_while(lambda: not client.done)
        else:
            thread = threading.Thread(target=self._run_client, args=(client,))
            thread.start()
            self.loop.run_while(thread.is_alive, 0.02)
            thread.join()
        late.cancel()
        if client.late:
            raise TimeoutError(f"no complete output in {SECONDS:g} seconds; so far {client.received!r}")
        return client.received

    def _run_client(self, client: _Client) -> None:
        """Run the loop of ``client`` until it is done. An exchange of datagrams may still wait for a packet then."""
        self.client_loop.run_while(lambda: not client.done)
        if client.late or self.subject.packets:
            self.loop.stop()

    def fault(self) -> str:
        """What the handler raised, in words. A child or a thread may tell of it a moment after the output."""
        moment = self.loop.clock.monotonic() + MOMENT
        self.loop.run_while(lambda: not self.faults.look() and self.loop.clock.monotonic() < moment, 0.02)
        return self.faults.text

    def _give_up(self, client: _Client) -> None:
        client.late = True
        client.finish()
        for pid in getattr(self.server, "active_children", None) or ():
            self.loop.children.kill(pid)


class _Client:
    """The base of both clients. Only its own loop calls it."""

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
    """Sends ``data``, ends its side of the stream, and receives all output, or ``enough`` bytes of it.

    It ends the stream only when it has the bytes ``awaited``: the end would break off the wait of a `WhileConnected`.
    """

    def __init__(self, exchange: _Exchange, data: bytes, enough: int | None, awaited: int) -> None:
        super().__init__(exchange, socket.SOCK_STREAM)
        self._awaited = awaited
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
        except OSError:  # the connection was reset: the output is what was received before
            self.finish()

    def _send(self) -> None:
        if self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
        else:
            if len(self.received) >= self._awaited:
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
        elif self._awaited and len(self.received) >= self._awaited:
            self._awaited = 0
            self.watch.modify(EVENT_READ | EVENT_WRITE)  # `_send` ends the stream


class _PacketClient(_Client):
    """Sends each packet when the packets before it have been dealt with, as their `_Round` says."""

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
            return False  # `ready` looks again when a packet arrives
        if server.begun >= due.exchanges and not (due.ends and len(self.exchange.loop.table)):
            return True
        self.exchange.client_loop.call_later(0.002, self._go_on)
        return False
