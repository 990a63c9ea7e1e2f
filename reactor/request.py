"""One row of the table: a request that has begun and not finished, whoever drives it.

It knows what it waits for, what it holds, how long it may take, and in the end why it ended. How its
bytes come and go is for `stream` and `packets` to say; a blocking handler does that by itself.
"""

from __future__ import annotations

from socket import SHUT_RDWR
from sys import intern

from handlers import Cancelled, Failed, Flushed, LimitPassed, TimedOut

from .bounds import Pace
from .timers import NEVER, Timed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import Cause, Machine

    from .loop import Reactor

LOOP = "loop"
"""Who drives a row in select mode. In the others: ``"child 4711"``, ``"thread Thread-3"`` and `CALLER`."""

CHILD = "child "
"""What the driver of a row that a child drives begins with; the pid follows."""

CALLER = "caller"
"""Who drives a row in the plain mode: whoever called ``serve_forever()``."""

IN_LINE = "in line"
"""What stands for the driver of a row as long as all children or threads are at others: nobody drives it yet."""


DRAIN_RATE = 500
"""Bytes per second that the peer of a request that has ended must take of what is left to send."""

NO_FORK = "this host can't fork; take the Select or the plain server class, and Threaded or neither for Forked"
NO_THREADS = "this host can't start a thread; take the Select, the Forking or the plain server class, and not Threaded"


class Request(Timed):
    """One row: a request that has been begun and is not finished.

    Times are seconds of the reactor's clock, sizes are bytes.
    """

    mask = 0  # what of its own is in the selector; a row of a connected socket has that
    turns = 256  # pieces of input that the handler takes before the other rows have their turn
    __slots__ = (
        "counted", "created", "credentials", "driver", "error", "machine", "pace", "peer", "progress", "reactor",
        "serial", "server", "total_in", "total_out",
    )  # fmt: skip

    def __init__(self, reactor: Reactor, server: Any, peer: Any, machine: Machine | None, driver: str) -> None:
        super().__init__()
        self.reactor = reactor
        self.server = server
        self.peer = (intern(peer[0]), *peer[1:]) if isinstance(peer, tuple) and peer else peer  # hosts come often
        self.machine = machine
        """What runs the handler; ``None`` where a blocking handler runs itself."""
        self.credentials: tuple[int, int, int] | None = None
        """``(pid, uid, gid)`` of the peer of a Unix stream socket when it connected; ``None`` for any other."""
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
        self.pace: Pace | None = None
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
        """What the request waits for, as it would be written; ``""`` for one that has not begun."""
        if self.machine is None or self.machine.wait is None or self.driver == IN_LINE:
            return ""
        return repr(self.machine.wait)

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
        reason = self.reason
        return {**self._common(), "reason": "" if reason is None else f"{type(reason).__name__}: {reason}"}

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data: strings, numbers, and ``None`` for no deadline.

        ``deadline`` is in seconds from now.
        """
        left = self.deadline - self.reactor.clock.monotonic()
        return {
            **self._common(),
            "state": self.state,
            "wait": self.wait,
            "held_in": self.held_in,
            "held_out": self.held_out,
            "deadline": None if left == NEVER else left,
        }

    def _common(self) -> dict[str, Any]:
        """What is told of a row as long as it is in the table, and when it has ended."""
        now = self.reactor.clock.monotonic()
        return {
            "serial": self.serial,
            "peer": _address(self.peer),
            "handler": self.handler,
            "driver": self.driver,
            "total_in": self.total_in,
            "total_out": self.total_out,
            "age": now - self.created,
            "idle": now - self.progress,
        }

    # What a handler asks of its row

    def now(self) -> float:
        """Seconds since 1970-01-01 00:00 UTC."""
        return self.reactor.clock.time()

    def touched(self) -> None:
        """Output, or an end, came from outside the row's own states: settle it with the batch."""
        self.reactor.settle_soon(self)

    # What the reactor asks of it

    def begin(self, reactor: Reactor) -> None:
        """From here on ``reactor`` drives it."""
        self.reactor = reactor
        if self.machine is not None:
            self.pace = Pace.of(self.machine.handler, reactor.time)

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

    def cancel(self, reactor: Reactor) -> None:
        """End the row with `Cancelled`, and have ``reactor`` let go of it; what it still says is sent if it can be."""
        if self.driver == IN_LINE:
            self.server._srv_line.dismiss(self, Cancelled())
        elif self.machine is not None:
            reactor.guard(self, self.machine.abandon, Cancelled())
            reactor.guard(self, self.settle, reactor.time)
            reactor.end(self)

    def evict(self, cause: Cause) -> None:
        """End the row to make room for others."""
        if self.driver == IN_LINE:
            self.server._srv_line.dismiss(self, cause)
            return
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
