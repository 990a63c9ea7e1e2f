"""The invariants of a simulated world: what must hold after every step of the loop, whatever faults there were.

An invariant compares the table, the selector and the simulated kernel with each other. To add one, derive a class from
`Invariant` and give it to `World`.
"""

from __future__ import annotations

from math import inf
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING, Protocol

from ...handlers import (
    Cancelled,
    Cause,
    DatagramMachine,
    Flushed,
    InputEnded,
    LimitPassed,
    Relayed,
    Reset,
    StreamMachine,
    StreamWait,
    TimedOut,
)
from ...handlers.channel import ENDED, ENDING, OPEN
from ...rows.connected import ConnectedRow
from ...rows.driven import DRAIN_RATE, ChannelRow
from ...rows.packets import PacketRow
from ...rows.stream import BULK_SIZE, READ_SIZE, StreamRow
from ...table.request import Request, Stage
from .datagrams import DatagramSocket
from .streams import CONNECTING, StreamSocket

if TYPE_CHECKING:
    from collections.abc import Mapping
    from selectors import SelectorKey
    from typing import Any

    from ...handlers import Machine, Wait
    from ...table.reactor import Reactor
    from .network import Network, Selector
    from .sockets import Socket

    _Seen = tuple[object, int, float]
    """What a row was like the last time: its wait, its bytes in and out, its deadline."""


class Violation(AssertionError):
    """An invariant does not hold, a script waits in vain, or a call was an offence."""


class Inspected(Protocol):
    """The part of a `World` that an invariant looks at."""

    network: Network
    rows: list[Request]
    streams: list[StreamRow]

    @property
    def keys(self) -> Mapping[int, SelectorKey]:
        """The keys that are registered with the reactor's selector, by descriptor."""

    def selector(self) -> Selector:
        """The selector of the reactor."""

    def reactor(self) -> Reactor:
        """The reactor."""


class Invariant:
    """The base of all invariants. A world has one instance of each class.

    Each method raises `Violation` if the invariant does not hold.
    """

    def check(self, world: Inspected) -> None:
        """Called after each step of the loop."""

    def at_rest(self, world: Inspected) -> None:
        """Called when nothing more can happen."""

    def at_the_end(self, world: Inspected) -> None:
        """Called when the servers and the reactor are closed."""


class Interest(Invariant):
    """The selector watches each row for the events that its wait and its output imply, and knows no row that has ended.

    A row that needs no event, because its output or a wait for something else holds it back, is not registered.
    """

    def check(self, world: Inspected) -> None:
        loop, keys = world.reactor(), world.selector().keys
        known = len(loop.watches)
        for row in world.streams:
            number = row.socket.fileno()
            if number < 0:
                raise Violation(f"{label(row)} is open, but its socket is closed")
            key = keys.get(number)
            held = 0
            if key is not None:
                held = key.events
                known += 1
            machine = row.channel
            wait = machine.wait
            wanted = EVENT_WRITE if machine.outbox else EVENT_READ if row.stage is Stage.LINGERING else 0
            if _is_filter(machine):
                reads = machine.wants_input  # it has reasons of its own
            else:
                reads = wait is not None and wait.reads and not machine.blocked and not machine.ended
            if reads:
                wanted |= EVENT_READ
            if held != wanted and row.reactor is loop and loop.timeout() != 0:  # else the row is not settled
                raise Violation(
                    f"{label(row)}: the selector should watch for {_EVENTS[wanted]}, but watches for {_EVENTS[held]}"
                )
        if len(world.rows) > len(world.streams):
            self._check_packets(world)
        connected = [row.socket.fileno() for row in world.rows if isinstance(row, ConnectedRow)]
        for number in (*loop.sources, *connected):
            if number in keys:
                known += 1
        if len(keys) > known:
            raise Violation(f"{len(keys)} descriptors are registered with the selector, but only {known} are in use")

    def _check_packets(self, world: Inspected) -> None:
        loop, keys = world.reactor(), world.selector().keys
        for row in world.rows:
            if isinstance(row, PacketRow) and row.channel.outbox and row.reactor is loop and loop.timeout() != 0:
                key, port = keys.get(row.socket.fileno()), loop.sources.get(row.socket.fileno())
                if (key is None or not key.events & EVENT_WRITE) and (port is None or port.retry is None):
                    raise Violation(f"{label(row)} has a packet to send, but the selector does not watch for writing")

    def at_rest(self, world: Inspected) -> None:
        for number, port in world.reactor().sources.items():
            sock = world.network.open[number]
            if port.open and not world.rows and sock.events(EVENT_READ) and number not in world.keys:
                raise Violation(f"a packet has arrived at {sock}, but the selector does not watch for reading")


class Streams(Invariant):
    """No byte of a stream is lost, invented or miscounted, up to a reset.

    A row counts as many bytes as the kernel took and returned. Bytes that were once given to ``send()`` are sent before
    the stream ends, unless the row has a reason to end at once. When a handler has ended its output and all bytes are
    sent, the end of the stream is sent too.
    """

    def __init__(self) -> None:
        self._rows: dict[Socket, StreamRow] = {}
        self._latest = 0  # the serial of the last row seen

    def check(self, world: Inspected) -> None:
        streams = world.streams
        for row in streams:
            sock: Any = row.socket
            if row.channel.ended and not sock.read_end:
                raise Violation(f"{label(row)} assumes that its input has ended, but recv() has not said so")
            if row.total_in != sock.total_in or row.total_out != len(sock.sent):
                raise Violation(
                    f"{label(row)} counts {row.total_in} bytes in and {row.total_out} out, "
                    f"but the kernel {sock.total_in} and {len(sock.sent)}"
                )
            if row.serial > self._latest:
                self._latest = row.serial
                self._rows[sock] = row
                is_moved = row.rare is not None and row.rare.is_moved  # a PROXY header has come with the connection
                if sock.remote != row.peer and not is_moved:
                    raise Violation(f"{label(row)} has the socket of {sock}")
                if sock.state == CONNECTING:
                    raise Violation(f"{label(row)} has begun, but its socket is not connected yet")
            if row.channel.output is not OPEN:
                self._check_end(row, sock, world)
        for sock, left in world.network.unsent:
            ended = self._rows.get(sock)
            if ended is not None and not _may_drop(ended, world.reactor().time):
                raise Violation(f"{label(ended)}: the stream ended, but {left} bytes of its output were not sent")
        world.network.unsent.clear()

    def _check_end(self, row: StreamRow, sock: StreamSocket, world: Inspected) -> None:
        machine = row.channel
        if machine.output is ENDED and not sock.sent_end:
            raise Violation(f"{label(row)} assumes that its own stream has ended, but shutdown() was not called")
        if machine.output is ENDING and not machine.outbox and settled(row, world):
            raise Violation(f"{label(row)} has nothing more to send, but did not call shutdown()")


class Served(Invariant):
    """A connection that the selector reports is read or written before the next ``select``.

    Two cases are excepted: another row of the batch has changed the wait, or a ``policy`` chooses the rows.
    """

    def check(self, world: Inspected) -> None:
        selector = world.selector()
        for key, _ in selector.reported:
            row = key.data
            if isinstance(row, StreamRow):
                sock: Any = row.socket
                if not sock.asked and selector.keys.get(key.fd) is key and world.reactor().policy is None:
                    raise Violation(f"{label(row)} was ready, but was passed over")


class Waits(Invariant):
    """No row waits for something that it has: input, the end of its input, or output that has drained.

    Work outside the loop is under way for exactly those rows that wait for it. A row that its output holds back goes on
    at the low-water mark, and not before. A row that has finished and sent all bytes is gone.
    """

    def __init__(self) -> None:
        self._blocked: dict[int, tuple[int, int]] = {}  # by serial, of rows held back: bytes of output, bytes sent

    def check(self, world: Inspected) -> None:
        outside = 0
        for row in world.rows:
            machine = row.channel
            if machine is None:
                continue
            wait = machine.wait
            if wait is None:
                wrong = "" if machine.outbox or _lingers(row) else "has finished, but is still in the table"
            elif _is_filter(machine) and machine.blocked:
                wrong = "" if machine.outbox else "has a filter that has something to do, and nothing holds it back"
            elif machine.blocked:
                if not wait.relays:  # what it waits for is not its own output
                    self._blocked[row.serial] = machine.held_out, row.total_out
                wrong = "" if _held_back(machine) else "is held back, but nothing holds it back"
            else:
                outside += wait.outside
                wrong = _overlooked(row, machine, wait) if wait.reads else ""
                if self._blocked and (before := self._blocked.pop(row.serial, None)) is not None:
                    held, sent = before
                    if row.total_out - sent < held - machine.handler.low_water:
                        raise Violation(f"{label(row)} goes on before {held} bytes of output have drained")
            if wrong and settled(row, world):
                raise Violation(f"{label(row)} {wrong}")
        jobs = world.reactor().work.jobs
        if len(jobs) != outside:
            self._check_jobs(world)

    def _check_jobs(self, world: Inspected) -> None:
        jobs = set(world.reactor().work.jobs)
        for row in world.rows:
            waits = row.channel is not None and row.channel.wait is not None and row.channel.wait.outside
            if waits != (row.serial in jobs) and settled(row, world):
                raise Violation(f"{label(row)}: work outside is {'not ' if waits else ''}under way for it")
        gone = jobs - {row.serial for row in world.rows}
        if gone:
            raise Violation(f"work outside is under way for rows that have ended: {sorted(gone)}")


class Deadlines(Invariant):
    """No row outlives its deadline, and the deadline is the one that its wait implies.

    The loop wakes for the first deadline. The deadline of a row that only drains moves with the bytes that its peer
    takes. ``progress`` is the time at which a byte last moved.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}  # by serial

    def check(self, world: Inspected) -> None:
        loop, seen = world.reactor(), self._seen
        now, due = loop.time, loop.timers.next()
        for row in world.rows:
            machine = row.channel
            if machine is None:
                continue
            deadline, wait, moved = row.deadline, machine.wait, row.total_in + row.total_out
            if deadline < now:
                raise Violation(f"{label(row)} is past its deadline by {now - deadline} seconds")
            if deadline < due and settled(row, world):
                raise Violation(f"{label(row)} has {deadline - now} seconds left, but the loop wakes in {due - now}")
            before = seen.get(row.serial, _NOT_SEEN)
            if before[0] is not wait or before[1] != moved or before[2] != deadline:
                seen[row.serial] = wait, moved, deadline
                if row.reactor is loop and not machine.fresh:
                    self._check_change(row, machine, now, before)

    def _check_change(self, row: Request, machine: Machine, now: float, before: _Seen) -> None:
        wait, moved, deadline = before
        if _lingers(row):
            return
        moved = row.total_in + row.total_out - moved
        if moved and row.progress != now:
            raise Violation(f"{label(row)} has the progress {row.progress}, but a byte has moved at {now}")
        drains = machine.finished and isinstance(row, StreamRow)
        if wait is machine.wait and row.deadline == deadline and not drains:
            return
        least = most = now + machine.patience
        if isinstance(row, ChannelRow) and row.pace is not None:
            least = now
        elif wait is machine.wait and wait is not None and wait.relays:  # bytes have passed: their time counts
            least = most = row.progress + machine.patience
        elif wait is machine.wait and drains:
            least = min(most, deadline + moved / DRAIN_RATE)
        if not least - _ROUNDED <= row.deadline <= most:
            raise Violation(f"{label(row)} has {row.deadline - now} seconds left, but should have {least - now}")

    def at_rest(self, world: Inspected) -> None:
        for row in world.rows:
            if row.channel is not None and row.channel.patience < inf:
                raise Violation(f"{label(row)} would wait for ever, but may only for {row.channel.patience} seconds")


class Memory(Invariant):
    """A row holds no more input than its wait's limit and one read, and no more output than ``max_output``.

    The bytes that all rows hold are counted correctly, and are no more than ``max_held``.
    """

    def __init__(self) -> None:
        self._limits: dict[int, int] = {}  # by serial: the largest limit so far, since a timeout keeps the bytes

    def check(self, world: Inspected) -> None:
        counted = 0
        for row in world.rows:
            machine = row.channel
            if machine is None:
                continue
            share = row.counted
            counted += share
            if not (share or machine.inbox or machine.outbox):
                continue
            held = row.held_in + row.held_out
            if held > READ_SIZE or isinstance(machine, DatagramMachine):
                self._check_input(row, machine)
            if held > machine.handler.max_output < machine.held_out and settled(row, world):
                raise Violation(f"{label(row)} holds {machine.held_out} bytes of output")
            if held != share and settled(row, world):
                raise Violation(f"{label(row)} holds {held} bytes, but {share} are counted")
        loop = world.reactor()
        budget, limit = loop.budget, loop.max_held
        if budget.held != counted or budget.held > limit:
            raise Violation(f"all rows hold {counted} of {limit} bytes, but {budget.held} are counted")

    def _check_input(self, row: Request, machine: Machine) -> None:
        limit, wait = self._limits.get(row.serial, 0), machine.wait
        if isinstance(machine, DatagramMachine):
            if machine.inbox and len(machine.inbox) > machine.max_packets:
                raise Violation(f"{label(row)} holds {len(machine.inbox)} datagrams")
            return
        if isinstance(wait, StreamWait) and wait.limit > limit:
            limit = self._limits[row.serial] = wait.limit
        if machine.held_in > limit + max(READ_SIZE, min(limit, BULK_SIZE)):
            raise Violation(f"{label(row)} holds {machine.held_in} bytes of input")


class Peers(Invariant):
    """A datagram is sent only to an address that has sent one. `Streams` checks the peers of streams."""

    def check(self, world: Inspected) -> None:
        for number in world.reactor().sources:
            sock = world.network.open.get(number)
            if isinstance(sock, DatagramSocket) and not sock.sent_to <= sock.received_from:
                strangers = sorted(map(str, sock.sent_to - sock.received_from))
                raise Violation(f"datagrams were sent to {', '.join(strangers)}, but none came from there")


class Descriptors(Invariant):
    """Every open connection has a row, and no descriptor is open when all is closed."""

    def at_rest(self, world: Inspected) -> None:
        used: set[Any] = {row.socket for row in world.streams}
        for sock in world.network.open.values():
            if isinstance(sock, StreamSocket) and sock.peer is not None and sock not in used:
                raise Violation(f"the connection of {sock} is open, but no row has it")

    def at_the_end(self, world: Inspected) -> None:
        if world.network.open:
            raise Violation(f"left open: {', '.join(map(str, world.network.open.values()))}")


INVARIANTS: tuple[type[Invariant], ...] = Interest, Streams, Served, Deadlines, Memory, Peers, Descriptors, Waits
"""The invariants that a `World` checks by default."""

_NOT_SEEN: _Seen = None, 0, inf
_ROUNDED = 1e-6  # seconds
_EVENTS = "nothing", "reading", "writing", "reading and writing"


def label(row: Request) -> str:
    """A row in a few words, for a message."""
    held = f"{row.held_in} bytes in, {row.held_out} out"
    return f"row {row.serial} ({row.handler}.{row.state}, {row.wait or 'waits for nothing'}, {held})"


def settled(row: Request, world: Inspected) -> bool:
    """Whether the loop has done everything that it can do now, so that the state of the row must be consistent."""
    loop = world.reactor()
    return row.reactor is loop and loop.timeout() != 0


def _lingers(row: Request) -> bool:
    """Whether the request has ended and sent all bytes, and lingers because its client goes on sending."""
    return row.stage is Stage.LINGERING


def _overlooked(row: Request, machine: Machine, wait: Wait) -> str:
    """The input that the row has although it waits for input, in words; empty if it has none."""
    if machine.ended:
        return "waits for input, but the input has ended"
    if isinstance(row, PacketRow):
        return "waits for a datagram, but has one" if row.exchange.pending or machine.inbox else ""
    if machine.inbox and isinstance(machine, StreamMachine) and isinstance(wait, StreamWait):
        try:
            found = wait.find(machine.inbox, machine.start, machine.start, False) >= 0
        except Cause:
            found = True
        return "waits for what it holds" if found else ""
    return ""


def _is_filter(channel: Any) -> bool:
    """Whether the row drives a filter, and not a machine."""
    return not isinstance(channel, (StreamMachine, DatagramMachine))


def _held_back(machine: Machine) -> bool:
    """Whether something holds the machine back: its own output, or the output of a machine that it waits for."""
    wait = machine.wait
    if isinstance(wait, Flushed) and wait.of is not None and wait.of._machine.outbox:
        return True
    if isinstance(wait, Relayed) and wait.to._machine.outbox:
        return True
    if wait is not None and any(isinstance(part, InputEnded) and machine.held_in >= part.limit for part in wait.parts):
        return True
    return machine.held_out > (0 if isinstance(wait, Flushed) and wait.of is None else machine.handler.low_water)


def _may_drop(row: StreamRow, now: float) -> bool:
    """Whether the reason for which the row ended allows it to drop the rest of its output."""
    machine = row.channel
    if machine.is_cut or isinstance(machine.reason, (Reset, TimedOut, LimitPassed, Cancelled)):
        return True
    return bool(machine.finished and now - row.progress >= machine.patience)  # its peer took too long
