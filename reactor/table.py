"""The explicit table of partially finished requests: the one truth about what is open.

The selector is only a cache of it. What a row wants to hear of follows from the row (its wait,
its output, its water marks); `RequestTable.want` compares that with what is registered, and is
the only place that registers, modifies or unregisters.
"""

from __future__ import annotations

import select
from _thread import allocate_lock
from collections import deque
from itertools import count
from selectors import SelectSelector
from socket import SHUT_RDWR

from handlers import Cancelled, Cause, Failed, Flushed, LimitPassed, TimedOut

from .bounds import Pace
from .selecting import UrgentSelector
from .timers import NEVER, Timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from selectors import BaseSelector
    from typing import Any, Protocol

    from handlers import Machine

    from .loop import Reactor

    class Source(Protocol):
        """What the selector may report on: a row, a listener, a watched descriptor."""

        mask: int

        def fileno(self) -> int: ...
        def ready(self, events: int, now: float) -> None: ...
        def failed(self, error: Exception) -> None: ...


LOOP = "loop"
"""Who drives a row in select mode. In the others: ``"child 4711"``, ``"thread Thread-3"`` and `CALLER`."""

CHILD = "child "
"""What the driver of a row that a child drives begins with; the pid follows."""

CALLER = "caller"
"""Who drives a row in the plain mode: whoever called ``serve_forever()``."""


DRAIN_RATE = 500
"""Bytes per second that the peer of a request that has ended must take of what is left to send."""

CLOSED = 100
"""Rows that have ended and are still told of."""

NO_FORK = "this host can't fork; take the Select or the plain server class, and Threaded or neither for Forked"
NO_THREADS = "this host can't start a thread; take the Select, the Forking or the plain server class, and not Threaded"


class Request(Timed):
    """One row: a request that has been begun and is not finished.

    Times are seconds of the reactor's clock, sizes are bytes.
    """

    mask = 0  # what of its own is in the selector; a row of a connected socket has that
    turns = 256  # pieces of input that the handler takes before the other rows have their turn
    __slots__ = (
        "counted", "created", "driver", "error", "machine", "pace", "peer", "progress", "reactor", "serial", "server",
        "total_in", "total_out",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, server: Any, peer: Any, machine: Machine | None, driver: str) -> None:
        super().__init__()
        self.reactor = reactor
        self.server = server
        self.peer = peer
        self.machine = machine
        """What runs the handler; ``None`` where a blocking handler runs itself."""
        self.driver = driver
        self.error: BaseException | None = None
        """What a request that no machine runs has ended with; ``None`` where nothing went wrong."""
        self.serial = 0
        """Given by the table, counted from 1, never given again."""
        self.created = self.progress = reactor.time
        """When the request arrived, and when a byte last went in or out."""
        self.total_in = self.total_out = 0
        self.counted = 0
        """Bytes held, as the reactor's `Budget` knows it."""
        self.pace = None if machine is None else Pace.of(self, machine.handler)
        """What holds it to more times than those of its waits, if its handler declares any."""

    @property
    def handler(self) -> str:
        """The name of the handler's class."""
        kind = self.server.RequestHandlerClass if self.machine is None else type(self.machine.handler)
        return getattr(kind, "__name__", repr(kind))

    @property
    def state(self) -> str:
        """The name of the state that the wait's result goes to."""
        return "handle" if self.machine is None else self.machine.state_name

    @property
    def wait(self) -> str:
        """What the request waits for, as it would be written."""
        return "" if self.machine is None or self.machine.wait is None else repr(self.machine.wait)

    @property
    def held_in(self) -> int:
        """Bytes of input held."""
        return 0 if self.machine is None else self.machine.held_in

    @property
    def held_out(self) -> int:
        """Bytes of output held."""
        return 0 if self.machine is None else self.machine.held_out

    @property
    def reason(self) -> BaseException | None:
        """Why the request has ended: ``None`` where it has finished, or has not ended."""
        return self.error if self.machine is None else self.machine.reason or self.error

    @property
    def lingering(self) -> bool:
        """Whether the request has ended, all has been sent, and only the client has not ended yet."""
        return self.machine is not None and self.machine.finished and not self.machine.outbox

    def age(self) -> float:
        """Seconds since the request arrived."""
        return self.reactor.clock.monotonic() - self.created

    def idle(self) -> float:
        """Seconds since a byte last went in or out."""
        return self.reactor.clock.monotonic() - self.progress

    def obituary(self) -> dict[str, Any]:
        """What is told of a row that has ended, as plain data; ``reason`` is ``""`` for one that has finished."""
        now, reason = self.reactor.clock.monotonic(), self.reason
        return {
            "serial": self.serial,
            "peer": _address(self.peer),
            "handler": self.handler,
            "driver": self.driver,
            "reason": "" if reason is None else f"{type(reason).__name__}: {reason}",
            "total_in": self.total_in,
            "total_out": self.total_out,
            "age": now - self.created,
            "idle": now - self.progress,
        }

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data: strings, numbers, and ``None`` for no deadline.

        ``deadline`` is in seconds from now.
        """
        now = self.reactor.clock.monotonic()
        return {
            "serial": self.serial,
            "peer": _address(self.peer),
            "handler": self.handler,
            "state": self.state,
            "wait": self.wait,
            "held_in": self.held_in,
            "held_out": self.held_out,
            "total_in": self.total_in,
            "total_out": self.total_out,
            "age": now - self.created,
            "idle": now - self.progress,
            "deadline": None if self.deadline == NEVER else self.deadline - now,
            "driver": self.driver,
        }

    # What a handler asks of its row

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return self.reactor.clock.time()

    def touched(self) -> None:
        """Output, or an end, came from outside the row's own states: settle it with the batch."""
        self.reactor.settle_soon(self)

    # What the reactor asks of it

    def fileno(self) -> int:
        """The descriptor that is the row's own."""
        raise NotImplementedError

    def ready(self, events: int, now: float) -> None:
        """The selector reports ``events`` on it."""

    def settle(self, now: float) -> None:
        """Bring kernel, selector and timers into line with what the machine wants now."""

    def flush(self, now: float) -> None:
        """Hand the kernel as much output as it takes."""

    def go_on(self, now: float) -> None:
        """Send first, go on if that was all that was waited for, and take note of a wait that has begun."""
        machine = self.machine
        assert machine is not None
        if machine.outbox:
            self.flush(now)
        if machine.blocked:
            machine.advance()
        if machine.fresh:
            self.took_turn(now)
        if machine.inbox or machine.outbox or self.counted:
            self.weigh()

    def weigh(self) -> None:
        """Count what is held now in the reactor's budget."""
        held = self.held_in + self.held_out
        if held != self.counted:
            self.reactor.budget.count(self, held)

    def took_turn(self, now: float) -> None:
        """Take note of the wait that has just begun: its deadline, and its work outside, if any."""
        machine, reactor = self.machine, self.reactor
        assert machine is not None
        machine.fresh = False
        self.deadline = now + machine.patience if self.pace is None else self.pace.begin(self, machine, now)
        if self.deadline < self.armed:
            reactor.timers.arm(self)
        workers = reactor.workers
        if workers.jobs:
            workers.forget(self)
        if machine.wait is not None and machine.wait.outside:
            workers.begin(self, machine.wait)

    def expire(self, now: float) -> None:
        """The time of the wait is over; for a row that only drains, the peer's time to take the rest."""
        machine = self.machine
        assert machine is not None
        if self.lingering:
            self.reactor.end(self)
        elif machine.finished:
            self.drop((self.pace and self.pace.passed(self, machine, now)) or TimedOut(Flushed()))
        elif self.pace is None:
            machine.expire()
        else:
            self.pace.expire(self, machine, now)
        self.settle(now)

    def took_some(self, count: int, now: float) -> None:
        """The peer of a request that has ended takes ``count`` bytes more of the rest: so it has more time."""
        machine = self.machine
        assert machine is not None
        latest = now + machine.patience
        if self.pace is None:
            self.deadline = min(self.deadline + count / DRAIN_RATE, latest)
        else:
            self.deadline = self.pace.took_some(self, machine, count / DRAIN_RATE, latest)

    def drop(self, cause: Cause) -> None:
        """End the row for ``cause``, whatever its handler answers, and drop what was to be sent."""
        machine = self.machine
        assert machine is not None
        try:
            if machine.finished:
                machine.reason = machine.reason or cause
            else:
                machine.abandon(cause)
        finally:
            machine.drop_output()
            self.reactor.end(self)

    def check_output(self) -> None:
        """End the row if more output waits than its handler allows."""
        machine = self.machine
        assert machine is not None
        limit = machine.handler.max_output
        if machine.held_out > limit:
            what = f"more output waits than the {limit} bytes of {type(machine.handler).__name__}.max_output"
            self.drop(LimitPassed(None, what=what))

    def failed(self, error: Exception) -> None:
        """The handler raised ``error``; called while it is being handled."""
        self.end_for(error)
        if self.driver == LOOP:
            self.server._srv_failed(self)

    def end_for(self, error: Exception) -> None:
        """End the row if no state of its own has raised: what one asked for can't even be noted, or done."""
        machine = self.machine
        if machine is not None and machine.reason is not error:
            self.drop(Failed(machine.wait or Flushed(), error))

    def evict(self, cause: Cause) -> None:
        """End the row to make room for others."""
        try:
            self.drop(cause)
        except Exception as error:
            self.failed(error)

    def request(self) -> Any:
        """What ``socketserver`` calls the request: a connected socket, or ``(packet, socket)``."""

    def close_copy(self) -> None:
        """In a forked child that has nothing to do with the row: close its copy of the descriptor."""

    def released(self) -> None:
        """The loop has let go of the row: give back what it held."""
        if self.driver == LOOP:
            self.server.shutdown_request(self.request())


class BlockingRow(Request):
    """The row of a request that a blocking handler does by itself."""

    __slots__ = ("_request",)

    def __init__(self, reactor: Reactor, server: Any, request: Any, peer: Any) -> None:
        super().__init__(reactor, server, peer, None, CALLER)
        self._request = request

    def break_off(self) -> None:
        """End what the handler waits for, wherever it does."""
        if self.driver.startswith(CHILD):
            self.reactor.children.kill(int(self.driver[len(CHILD) :]))
            return
        self.error = Cancelled()
        try:
            self._request.shutdown(SHUT_RDWR)
        except (AttributeError, OSError):  # a packet has none; the client may have gone first
            pass

    def close_copy(self) -> None:
        close = getattr(self._request, "close", None)  # a packet has none
        if close is not None:
            close()


class RequestTable:
    """All open rows, in the order of their arrival, whoever drives them.

    Iterating is safe whatever happens to the table meanwhile: it walks over the rows of the moment.
    """

    def __init__(self, selector: BaseSelector, outer: RequestTable | None = None) -> None:
        self._rows: dict[int, Request] = {}
        self._selector = selector
        self._is_select = isinstance(selector, SelectSelector)
        self.has_urgent = isinstance(selector, UrgentSelector)
        """Whether the selector has a third event."""
        self._outer = outer  # the server's table, where this is the table of one request's own loop
        self._serials = count(1)
        self._lock = allocate_lock()  # rows of threads are struck out by these
        self.closed: deque[dict[str, Any]] = deque(maxlen=CLOSED)
        """The rows that ended last, the latest last: see `Request.obituary`."""
        self.ends: dict[str, int] = {}
        """How many rows have ended, by the class of the reason; ``""`` for those that have finished."""
        self.refused: dict[str, int] = {}
        """How many requests were closed unread, by what they were refused for."""
        self.total_in = self.total_out = 0
        """Bytes of the rows that have ended."""
        self._of_host: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Request]:
        return iter(list(self._rows.values()))

    def __contains__(self, row: object) -> bool:
        return isinstance(row, Request) and self._rows.get(row.serial) is row

    def add(self, row: Request) -> None:
        """Enter a row; one that has no serial yet is given the next."""
        if self._outer is not None:
            self._outer.add(row)
        elif not row.serial:
            row.serial = next(self._serials)
            self._count(row, 1)
        self._rows[row.serial] = row

    def remove(self, row: Request) -> None:
        """Strike a row out, and out of the selector. Does nothing if it is not in here."""
        if self._rows.pop(row.serial, None) is None:
            return
        if row.mask:
            self.want(row, 0)  # before it is closed: a copy in a child would keep it reporting
        if self._outer is None:
            self._record(row)
        else:
            self._outer.remove(row)

    def _record(self, row: Request) -> None:
        reason = row.reason
        if isinstance(reason, Cause):  # its frames, and what they hold, would wait with the row for the collector
            for error in (reason, getattr(reason, "error", None)):
                if error is not None:
                    error.__traceback__ = error.__context__ = None
        kind = "" if reason is None else type(reason).__name__
        with self._lock:
            self.closed.append(row.obituary())
            self.ends[kind] = self.ends.get(kind, 0) + 1
            self.total_in += row.total_in
            self.total_out += row.total_out
        self._count(row, -1)

    def _count(self, row: Request, change: int) -> None:
        host = _host(row.peer)
        if host:
            with self._lock:
                number = self._of_host[host] = self._of_host.get(host, 0) + change
                if not number:
                    del self._of_host[host]

    def count_of(self, peer: Any) -> int:
        """How many rows there are of the host that the address ``peer`` is of; 0 for a Unix socket's."""
        return self._of_host.get(_host(peer), 0)

    def idlest(self, server: Any) -> Request | None:
        """The row of ``server`` that has been idle longest, of those that a machine of this process runs."""
        rows = [row for row in self if row.server is server and row.machine and not row.lingering]
        return min(rows, key=lambda row: row.progress, default=None)

    def count_refused(self, what: str) -> None:
        """A request was closed unread, for ``what``."""
        self.refused[what] = self.refused.get(what, 0) + 1

    def stats(self) -> dict[str, Any]:
        """What there has been until now, as plain data.

        ``open`` rows, those that ``ended`` by the class of their reason (``""``: finished), requests ``refused``
        by the bound or hook, and the bytes in and out of all rows, but not of blocking handlers and children.
        """
        rows = list(self)
        return {
            "open": len(rows),
            "ended": dict(self.ends),
            "refused": dict(self.refused),
            "total_in": self.total_in + sum(row.total_in for row in rows),
            "total_out": self.total_out + sum(row.total_out for row in rows),
        }

    def want(self, source: Source, mask: int) -> None:
        """Have ``source`` told of the events in ``mask``; of none, and it is not in the selector at all."""
        held = source.mask
        if mask == held:
            return
        if not mask:
            self._selector.unregister(source.fileno())
        elif not held:
            if self._is_select:  # which refuses a number beyond its size only when it is called, and then all
                select.select([source.fileno()], [], [], 0)
            self._selector.register(source.fileno(), mask, source)
        else:
            try:
                self._selector.modify(source.fileno(), mask, source)
            except OSError:
                if (
                    source.fileno() not in self._selector.get_map()
                ):  # what those of ``selectors`` can't modify they forget
                    source.mask = 0
                raise
        source.mask = mask

    def as_dicts(self) -> list[dict[str, Any]]:
        """Every row as plain data: see `Request.as_dict`."""
        return [row.as_dict() for row in self]

    def __str__(self) -> str:
        """The table as lines of text, a heading first."""
        lines = [("row", "peer", "handler", "state", "waits for", "in", "out", "age", "idle", "due in", "driven by")]
        for row in self.as_dicts():
            due = "" if row["deadline"] is None else f"{row['deadline']:.1f}"
            lines.append((
                str(row["serial"]), row["peer"], row["handler"], row["state"], row["wait"],
                f"{row['held_in']}/{row['total_in']}", f"{row['held_out']}/{row['total_out']}",
                f"{row['age']:.1f}", f"{row['idle']:.1f}", due, row["driver"],
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _host(peer: Any) -> str:
    return str(peer[0]) if isinstance(peer, tuple) else ""


def _address(peer: Any) -> str:
    """An address as text: ``host:port``, a Unix path, or ``-`` where the peer has none.

    >>> _address(("::1", 7, 0, 0)), _address("/run/x"), _address("")
    ('[::1]:7', '/run/x', '-')
    """
    if isinstance(peer, tuple) and len(peer) >= 2:
        return f"[{peer[0]}]:{peer[1]}" if ":" in str(peer[0]) else f"{peer[0]}:{peer[1]}"
    if isinstance(peer, bytes):
        peer = "@" + peer[1:].decode(errors="replace") if peer[:1] == b"\0" else peer.decode(errors="replace")
    return str(peer or "-")
