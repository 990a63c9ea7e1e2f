"""What must be true of a simulated world after every step of its loop, whatever went wrong.

An invariant looks at the table, the selector and the kernel from outside, and holds each against the
others. Derive one of your own from `Invariant` and give it to `World`.
"""

from __future__ import annotations

from math import inf
from selectors import EVENT_READ, EVENT_WRITE
from typing import TYPE_CHECKING

from handlers import (
    Cancelled,
    Cause,
    DatagramMachine,
    Flushed,
    LimitPassed,
    Reset,
    StreamMachine,
    StreamWait,
    TimedOut,
)
from handlers.machines import ENDED, ENDING, OPEN

from ..packets import PacketRow
from ..request import DRAIN_RATE, Request
from ..stream import LINGERING, READ_SIZE, StreamRow
from .sockets import DatagramSocket, Socket
from .streams import CONNECTING, StreamSocket

if TYPE_CHECKING:
    from typing import Any

    from handlers import Machine, Wait

    from .world import World

    _Seen = tuple[object, int, float]
    """What a row was like the last time: its wait, its bytes in and out, its deadline."""


class Violation(AssertionError):
    """Something was not as it must be."""


class Invariant:
    """The base of what is checked; one instance sees one world.

    Each method raises `Violation` where something is wrong. `World.rows` are the rows of the table,
    `World.streams` those that have a connected socket.
    """

    def check(self, world: World) -> None:
        """A step of the loop is done."""

    def at_rest(self, world: World) -> None:
        """Nothing can happen any more."""

    def at_the_end(self, world: World) -> None:
        """Servers and reactor are closed."""


class Interest(Invariant):
    """The selector is told of every row just what its wait and its output imply, and of nothing that has ended.

    A row held back by its output, or by a wait for something else, is not in the selector at all.
    """

    def check(self, world: World) -> None:
        loop, keys = world.reactor(), world.selector().keys
        known = len(loop.watches)
        for row in world.streams:
            number = row.socket.fileno()
            if number < 0:
                raise Violation(f"{told(row)} is open, and its socket is closed")
            key = keys.get(number)
            held = 0
            if key is not None:
                held = key.events
                known += 1
            machine = row.machine
            wait = machine.wait
            wanted = EVENT_WRITE if machine.outbox else EVENT_READ if machine.output is LINGERING else 0
            if wait is not None and wait.reads and not machine.blocked and not machine.ended:
                wanted |= EVENT_READ
            if held != wanted and row.reactor is loop and loop.timeout() != 0:  # else it has not settled yet
                raise Violation(
                    f"{told(row)}: the selector should watch for {_EVENTS[wanted]}, and watches for {_EVENTS[held]}"
                )
        if len(world.rows) > len(world.streams):
            self._check_packets(world)
        for number in loop.ports:
            if number in keys:
                known += 1
        if len(keys) > known:
            raise Violation(f"the selector knows {len(keys)} descriptors, and only {known} of them are anybody's")

    def _check_packets(self, world: World) -> None:
        loop, keys = world.reactor(), world.selector().keys
        for row in world.rows:
            if isinstance(row, PacketRow) and row.machine.outbox and row.reactor is loop and loop.timeout() != 0:
                key, port = keys.get(row.socket.fileno()), loop.ports.get(row.socket.fileno())
                if (key is None or not key.events & EVENT_WRITE) and (port is None or port.retry is None):
                    raise Violation(f"{told(row)}: it has something to send, and the selector does not watch for room")

    def at_rest(self, world: World) -> None:
        for number, port in world.reactor().ports.items():
            sock = world.network.open[number]
            if port.open and not world.rows and sock.events(EVENT_READ) and number not in world.keys:
                raise Violation(f"something has arrived at {sock}, and nobody will ever take it")


class Streams(Invariant):
    """No byte of a stream is lost, made up or counted wrong, up to a reset.

    What a row has counted is what the kernel took and gave, and what was once offered to ``send()`` is
    sent before the stream ends, unless the row has a reason to end at once. When a handler has ended its
    output and all of it has been sent, so has its end.
    """

    def __init__(self) -> None:
        self._rows: dict[Socket, StreamRow] = {}
        self._latest = 0  # the serial of the last row seen

    def check(self, world: World) -> None:
        streams = world.streams
        for row in streams:
            sock: Any = row.socket
            if row.machine.ended and not sock.heard_end:
                raise Violation(f"{told(row)} takes the stream to have ended, and it has not")
            if row.total_in != sock.heard or row.total_out != len(sock.said):
                raise Violation(
                    f"{told(row)}: it counts {row.total_in} bytes in and {row.total_out} out, "
                    f"the kernel {sock.heard} and {len(sock.said)}"
                )
            if row.serial > self._latest:
                self._latest = row.serial
                self._rows[sock] = row
                if sock.remote != row.peer:
                    raise Violation(f"{told(row)} has the socket of {sock}")
                if sock.state == CONNECTING:
                    raise Violation(f"{told(row)} has begun, and its connection is not there yet")
            if row.machine.output is not OPEN:
                self._check_end(row, sock, world)
        for sock, left in world.network.unsent:
            ended = self._rows.get(sock)
            if ended is not None and not _may_drop(ended, world.reactor().time):
                raise Violation(f"{told(ended)}: the stream ended {left} bytes before its output")
        world.network.unsent.clear()

    def _check_end(self, row: StreamRow, sock: StreamSocket, world: World) -> None:
        machine = row.machine
        if machine.output is ENDED and not sock.said_end:
            raise Violation(f"{told(row)} takes its own stream to have ended, and it has not")
        if machine.output is ENDING and not machine.outbox and settled(row, world):
            raise Violation(f"{told(row)} has nothing more to send, and does not say so")


class Served(Invariant):
    """A connection that the selector reports is read or written before the selector is asked again.

    Unless the batch has changed what its row waits for; and a ``policy`` may leave rows for later.
    """

    def check(self, world: World) -> None:
        selector = world.selector()
        for key, _ in selector.reported:
            row = key.data
            if isinstance(row, StreamRow):
                sock: Any = row.socket
                if not sock.asked and selector.keys.get(key.fd) is key and world.reactor().policy is None:
                    raise Violation(f"{told(row)} was ready, and was passed over")


class Waits(Invariant):
    """No row waits for what it has: input, the end of it, output that has drained.

    Work outside is under way for just those rows that wait for it. A row that its output holds back
    goes on at the low-water mark, and not before. One that has finished and sent all is gone.
    """

    def __init__(self) -> None:
        self._blocked: dict[int, tuple[int, int]] = {}  # by serial, of rows held back: output held, and bytes out

    def check(self, world: World) -> None:
        outside = 0
        for row in world.rows:
            machine = row.machine
            if machine is None:
                continue
            wait = machine.wait
            if wait is None:
                wrong = "" if machine.outbox or _lingers(machine) else "has finished, and is not let go of"
            elif machine.blocked:
                self._blocked[row.serial] = machine.held_out, row.total_out
                wrong = "" if _held_back(machine) else "is held back, and nothing holds it"
            else:
                outside += wait.outside
                wrong = _overlooked(row, machine, wait) if wait.reads else ""
                if self._blocked and (before := self._blocked.pop(row.serial, None)) is not None:
                    held, sent = before
                    if row.total_out - sent < held - machine.handler.low_water:
                        raise Violation(f"{told(row)} goes on before {held} bytes of output have drained")
            if wrong and settled(row, world):
                raise Violation(f"{told(row)} {wrong}")
        jobs = world.reactor().workers.jobs
        if len(jobs) != outside:
            self._check_jobs(world)

    def _check_jobs(self, world: World) -> None:
        jobs = set(world.reactor().workers.jobs)
        for row in world.rows:
            waits = row.machine is not None and row.machine.wait is not None and row.machine.wait.outside
            if waits != (row.serial in jobs) and settled(row, world):
                raise Violation(f"{told(row)}: work outside is {'not ' if waits else ''}under way for it")
        gone = jobs - {row.serial for row in world.rows}
        if gone:
            raise Violation(f"work outside is under way for rows that have ended: {sorted(gone)}")


class Deadlines(Invariant):
    """No row outlives its deadline, and none waits longer than its wait may take, nor less.

    The loop wakes for the first deadline. A row that only drains has more time with all that its peer takes.
    When a byte goes in or out is noted.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}  # by serial

    def check(self, world: World) -> None:
        loop, seen = world.reactor(), self._seen
        now, due = loop.time, loop.timers.next()
        for row in world.rows:
            machine = row.machine
            if machine is None:
                continue
            deadline, wait, moved = row.deadline, machine.wait, row.total_in + row.total_out
            if deadline < now:
                raise Violation(f"{told(row)} is past its deadline by {now - deadline} seconds")
            if deadline < due and settled(row, world):
                raise Violation(f"{told(row)} has {deadline - now} seconds, and the loop wakes in {due - now}")
            before = seen.get(row.serial, _NOT_SEEN)
            if before[0] is not wait or before[1] != moved or before[2] != deadline:
                seen[row.serial] = wait, moved, deadline
                if row.reactor is loop and not machine.fresh:
                    self._check_change(row, machine, now, before)

    def _check_change(self, row: Request, machine: Machine, now: float, before: _Seen) -> None:
        wait, moved, deadline = before
        if _lingers(machine):
            return
        moved = row.total_in + row.total_out - moved
        if moved and row.progress != now:
            raise Violation(f"{told(row)} notes {row.progress} for when a byte last went, and it is {now}")
        drains = machine.finished and isinstance(row, StreamRow)
        if wait is machine.wait and row.deadline == deadline and not drains:
            return
        least = most = now + machine.patience
        if row.pace is not None:
            least = now
        elif wait is machine.wait and drains:
            least = min(most, deadline + moved / DRAIN_RATE)
        if not least - _ROUNDED <= row.deadline <= most:
            raise Violation(f"{told(row)} has {row.deadline - now} seconds, and should have {least - now}")

    def at_rest(self, world: World) -> None:
        for row in world.rows:
            if row.machine is not None and row.machine.patience < inf:
                raise Violation(f"{told(row)} would wait for ever, and may for {row.machine.patience} seconds")


class Memory(Invariant):
    """A row holds no more than its wait's limit and one read, and no more output than ``max_output``.

    What all rows together hold is counted right, and is no more than ``max_held``.
    """

    def __init__(self) -> None:
        self._limits: dict[int, int] = {}  # by serial: the largest of a wait so far; a timeout leaves its bytes held

    def check(self, world: World) -> None:
        counted = 0
        for row in world.rows:
            machine = row.machine
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
                raise Violation(f"{told(row)} holds {machine.held_out} bytes of output")
            if held != share and settled(row, world):
                raise Violation(f"{told(row)} holds {held} bytes, and {share} of them are counted")
        loop = world.reactor()
        budget, limit = loop.budget, loop.max_held
        if budget.held != counted or budget.held > limit:
            raise Violation(f"all rows hold {counted} of {limit} bytes, and {budget.held} are counted")

    def _check_input(self, row: Request, machine: Machine) -> None:
        limit, wait = self._limits.get(row.serial, 0), machine.wait
        if isinstance(machine, DatagramMachine):
            if machine.inbox and len(machine.inbox) > machine.max_packets:
                raise Violation(f"{told(row)} holds {len(machine.inbox)} datagrams")
            return
        if isinstance(wait, StreamWait) and wait.limit > limit:
            limit = self._limits[row.serial] = wait.limit
        if machine.held_in > limit + READ_SIZE:
            raise Violation(f"{told(row)} holds {machine.held_in} bytes of input")


class Peers(Invariant):
    """A datagram goes only to one who has sent one; whose a stream is, `Streams` sees."""

    def check(self, world: World) -> None:
        for number in world.reactor().ports:
            sock = world.network.open.get(number)
            if isinstance(sock, DatagramSocket) and not sock.said_to <= sock.heard_from:
                strangers = sorted(map(str, sock.said_to - sock.heard_from))
                raise Violation(f"datagrams were sent to {', '.join(strangers)}, who have not asked")


class Descriptors(Invariant):
    """No connection is open that is no row's, and no descriptor is left open when all is done."""

    def at_rest(self, world: World) -> None:
        used: set[Any] = {row.socket for row in world.streams}
        for sock in world.network.open.values():
            if isinstance(sock, StreamSocket) and sock.peer is not None and sock not in used:
                raise Violation(f"the connection of {sock} is open, and no row has it")

    def at_the_end(self, world: World) -> None:
        if world.network.open:
            raise Violation(f"left open: {', '.join(map(str, world.network.open.values()))}")


INVARIANTS: tuple[type[Invariant], ...] = Interest, Streams, Served, Deadlines, Memory, Peers, Descriptors, Waits
"""What `World` checks if it is not told otherwise."""

_NOT_SEEN: _Seen = None, 0, inf
_ROUNDED = 1e-6  # seconds
_EVENTS = "nothing", "reading", "writing", "reading and writing"


def told(row: Request) -> str:
    """A row in a few words."""
    held = f"{row.held_in} bytes in, {row.held_out} out"
    return f"row {row.serial} ({row.handler}.{row.state}, {row.wait or 'waits for nothing'}, {held})"


def settled(row: Request, world: World) -> bool:
    """Whether the loop has done with the row all that it can do now, and is not coming back to it at once."""
    loop = world.reactor()
    return row.reactor is loop and loop.timeout() != 0


def _lingers(machine: Machine) -> bool:
    """Whether the request has ended, has said all, and still waits for a client who goes on sending."""
    return isinstance(machine, StreamMachine) and machine.output is LINGERING and not machine.outbox


def _overlooked(row: Request, machine: Machine, wait: Wait) -> str:
    """What input the row has and waits for all the same; empty if it waits in earnest."""
    if machine.ended:
        return "waits for input, which has ended"
    if isinstance(row, PacketRow):
        return "waits for a datagram, and has one" if row.mail or machine.inbox else ""
    if machine.inbox and isinstance(machine, StreamMachine) and isinstance(wait, StreamWait):
        try:
            found = wait.find(machine.inbox, machine.start, machine.start, False) >= 0
        except Cause:
            found = True
        return "waits for what it holds" if found else ""
    return ""


def _held_back(machine: Machine) -> bool:
    """Whether anything holds the machine back: its own output, or that of another which it waits for."""
    wait = machine.wait
    if isinstance(wait, Flushed) and wait.of is not None and wait.of._machine.outbox:
        return True
    return machine.held_out > (0 if isinstance(wait, Flushed) and wait.of is None else machine.handler.low_water)


def _may_drop(row: StreamRow, now: float) -> bool:
    """Whether the row ended for something that excuses it from sending the rest."""
    machine = row.machine
    if isinstance(machine.reason, (Reset, TimedOut, LimitPassed, Cancelled)):
        return True
    return machine.finished and now - row.progress >= machine.patience  # its peer had time enough to take it
