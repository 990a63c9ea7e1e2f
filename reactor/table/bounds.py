"""Limits of rows: `Pace` limits the time of one row, `Budget` the memory of all rows.

The timeout of a wait is the row's deadline and needs no `Pace`. A row has one only if its handler's class declares
``request_timeout``, ``idle_timeout`` or ``min_rate``.
"""

from __future__ import annotations

from _thread import allocate_lock

from ..handlers import FirstOf, Flushed, InputEnded, LimitPassed, TimedOut
from ..loop.timers import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..handlers import Cause, Handler, Wait
    from .reactor import Reactor
    from .request import Request, Stage

SLACK = 8
"""A reactor that holds too many bytes ends rows until one eighth of its budget is free."""


class Pace:
    """Applies the time limits of one handler class to one row.

    For ``min_rate`` there is a debt in seconds: waiting for the peer adds the time of the wait, each byte subtracts
    ``1 / min_rate``. The next wait has so much less time.

    The row of a handler that answers one request after another (`Handler.one_by_one`) may be between requests: there
    neither ``request_timeout`` nor ``min_rate`` holds. A request begins with its first byte, or packet. It is over when
    the handler goes on to the next one, and no more than `Handler.high_water` of its output is left.
    """

    __slots__ = (
        "_begun", "_debt", "_due", "_excused", "_moved", "_number", "_since", "_takes", "_waiting", "_writes",
    )  # fmt: skip

    def __init__(self, begun: float) -> None:
        self._begun = begun  # when the request began; it may have been in the table before, queued. NEVER: it has not
        self._number = 0  # that of the request; 0: the connection is one request
        self._debt = 0.0
        self._due = NEVER  # when the wait is over
        self._moved = 0  # bytes that have been counted
        self._since = begun  # when the wait began
        self._excused = begun  # when the row last waited for something other than its peer
        self._waiting = False  # whether the row waits for its peer
        self._writes = False  # whether it does when it holds output
        self._takes = False  # whether it waits for its peer to take output

    @classmethod
    def of(cls, handler: Handler, begun: float) -> Pace | None:
        """The `Pace` of a row that began at ``begun``; ``None`` if the class of ``handler`` declares no such limit."""
        if handler.request_timeout is None and handler.idle_timeout is None and not handler.min_rate:
            return None
        return cls(begun)

    def begin(self, row: Request, channel: Any, now: float) -> float:
        """A wait has begun. Returns the row's deadline."""
        handler = channel.handler
        if not self._waiting:
            self._excused = now
        self._count(row, handler, now)
        self._waiting = channel.finished or _is_for_peer(channel.wait)
        self._writes = not self._waiting and channel.wait.writes
        self._takes = False
        if not (self._waiting or self._writes):
            self._debt = 0.0
        self._follow(channel, now)
        self._due = now + max(0.0, channel.patience - self._debt)
        return self._next(row, handler)

    def look(self, row: Request, channel: Any, now: float) -> float:
        """Bytes may have moved, and no wait has begun. Returns the row's deadline."""
        handler = channel.handler
        self._follow(channel, now)
        if handler.min_rate and not channel.finished:
            takes = channel.blocked if self._waiting else self._writes and bool(row.held_out)
            if takes or self._takes:
                self._count(row, handler, now)
                self._takes = takes
                patience = channel.patience if self._waiting or not takes else _seconds(handler.timeout)
                self._due = now + max(0.0, patience - self._debt)
        return self._next(row, handler)

    def excuse(self, since: float, now: float) -> None:
        """The loop has stood still from ``since`` to ``now``: that time is not the peer's."""
        self._since += now - since
        self._due += now - since
        self._excused = now

    def _count(self, row: Request, handler: Handler, now: float) -> None:
        """Count the time since the last count, and the bytes."""
        moved = row.total_in + row.total_out
        if self._begun == NEVER:
            self._debt = 0.0
        elif handler.min_rate and (self._waiting or self._takes):
            self._debt = max(0.0, self._debt + now - self._since - (moved - self._moved) / handler.min_rate)
        self._moved, self._since = moved, now

    def _follow(self, channel: Any, now: float) -> None:
        """Note where a request of the connection ends, and where the next one begins."""
        number = channel.handler.one_by_one
        if not number:
            return
        machine = channel.handler._machine
        is_at_opening = machine.is_at_opening()
        is_answered = is_at_opening and len(machine.outbox or b"") > channel.handler.high_water
        if number - is_answered > self._number:
            self._number, self._begun, self._debt = number - is_answered, NEVER, 0.0
        is_between = is_at_opening and not (channel.finished or channel.held_in)
        if self._begun == NEVER and (is_answered or not is_between):
            self._begun = self._since = now

    def took_some(self, row: Request, channel: Any, seconds: float, latest: float) -> float:
        """The peer of a request that has ended has taken some output. Returns the row's deadline.

        Without a ``min_rate``, this moves the deadline by ``seconds``, to ``latest`` at most.
        """
        handler, moved = channel.handler, row.total_in + row.total_out
        if handler.min_rate:
            seconds = (moved - self._moved) / handler.min_rate
        self._moved = moved
        self._due = min(self._due + seconds, latest)
        return self._next(row, handler)

    def expire(self, row: Request, channel: Any, now: float) -> None:
        """The row's deadline has come: end the request or its wait, or set a later deadline."""
        wait = channel.wait
        if wait is not None and wait.relays and row.progress > self._since:
            self.begin(row, channel, row.progress)
        else:
            self.look(row, channel, now)
        cause = self.passed(row, channel, now)
        if cause is not None:
            channel.abandon(cause)
        elif now >= self._due:
            channel.expire()
        else:  # bytes have come meanwhile
            row.deadline = self._next(row, channel.handler)
            row.reactor.timers.arm(row)

    def passed(self, row: Request, channel: Any, now: float) -> TimedOut | None:
        """The cause, if the row has passed one of its limits."""
        handler, wait = channel.handler, channel.wait or Flushed()
        name = type(handler).__name__
        if now >= self._end(handler):
            return TimedOut(wait, f"not finished after {handler.request_timeout:g} s ({name}.request_timeout)")
        if now >= self._idle(row, handler):
            return TimedOut(wait, f"no byte came or went for {handler.idle_timeout:g} s ({name}.idle_timeout)")
        if (self._debt or self._takes or (channel.finished and handler.min_rate)) and now >= self._due:
            return TimedOut(wait, f"slower than {handler.min_rate:g} bytes a second ({name}.min_rate)")
        return None

    def _next(self, row: Request, handler: Handler) -> float:
        return min(self._due, self._end(handler), self._idle(row, handler))

    def _end(self, handler: Handler) -> float:
        return NEVER if handler.request_timeout is None else self._begun + handler.request_timeout

    def _idle(self, row: Request, handler: Handler) -> float:
        if handler.idle_timeout is None or not (self._waiting or self._writes):
            return NEVER
        if self._writes and not row.held_out:  # look again
            return row.reactor.time + handler.idle_timeout
        return max(row.progress, self._excused) + handler.idle_timeout


def _seconds(timeout: float | None) -> float:
    return NEVER if timeout is None else timeout


def _is_for_peer(wait: Wait | None) -> bool:
    if wait is None or not wait.reads:
        return isinstance(wait, Flushed) and wait.of is None
    return not isinstance(wait, FirstOf) or any(part.reads and type(part) is not InputEnded for part in wait.parts)


class Budget:
    """Counts the bytes of input and output that all rows of a reactor hold. Inner loops, in any thread, share it.

    Beyond `Reactor.max_held` the row that holds most ends with `LimitPassed`, then the next, until there is room again.
    """

    def __init__(self, reactor: Reactor) -> None:
        self.held = 0
        """Bytes held by all rows, as they were when each was last settled."""
        self._reactor = reactor
        self._lock = allocate_lock()

    def count(self, row: Request, held: int, end: Callable[[Request, Cause], object] | None = None) -> None:
        """``row`` now holds ``held`` bytes. If all rows together hold too many, end rows until there is room.

        ``end`` ends a row of the same loop; by default this is `Request.lose`. While a state of any row runs, it must
        be `cut`.
        """
        with self._lock:
            self.held += held - row.counted
            row.counted = held
        if self.held > self._reactor.max_held and held:
            self._relieve(row.reactor, end)

    def post(self, row: Request, size: int) -> None:
        """Another thread has written ``size`` bytes to ``row``."""
        with self._lock:
            if row in self._reactor.table:  # else the row has ended
                self.held += size
                row.counted += size
        if self.held > self._reactor.max_held:
            self._relieve(None, None)

    def let_go(self, row: Request) -> None:
        """``row`` has been removed from the table: subtract its bytes."""
        if not row.counted and row.rare is None:  # then no other thread counts bytes for the row
            return
        with self._lock:
            self.held -= row.counted
            row.counted = 0

    def _relieve(self, here: Reactor | None, end: Callable[[Request, Cause], object] | None) -> None:
        """End rows until there is room: those of the loop ``here`` by ``end``, the others in their own threads."""
        limit = self._reactor.max_held
        for worst in sorted(self._reactor.table, key=_counted, reverse=True):
            held = worst.counted
            if not held or self.held <= limit - limit // SLACK:
                break
            self.count(worst, 0)  # now, for another thread may end the row later
            what = f"the reactor holds more than {limit} bytes (Reactor.max_held), this row the most: {held}"
            cause = LimitPassed(None, what=what)
            if worst.reactor is not here:
                if worst.rare is not None and worst.rare.posted is not None and worst.rare.posted.held:
                    worst.rare.posted.cut(cause)
                worst.reactor.call_soon(_lose, worst, worst.stage, cause)
            elif end is None:
                worst.lose(cause)
            else:
                end(worst, cause)


def cut(row: Request, cause: Cause) -> None:
    """Drop the output of a row of this thread now; end the row for ``cause`` later, when no state runs."""
    if row.channel is not None:
        row.channel.cut_output()
    row.reactor.call_soon(_lose, row, row.stage, cause)


def _lose(row: Request, stage: Stage, cause: Cause) -> None:
    if row.stage is stage and row in row.reactor.table:  # else it has left the queue, or ended, meanwhile
        row.lose(cause)


def _counted(row: Request) -> int:
    return row.counted
