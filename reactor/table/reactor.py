"""`Reactor`: a loop with a table of rows. After each batch it settles the rows that were touched, then reaps.

Nothing is closed or freed in the middle of a batch: `Reactor.end` only marks a row. Rows are settled after the whole
batch, so all output that the batch has caused in a row is sent in one call. A row that has only a small answer to send
does so with others, when the events of the batch are dispatched at the latest (`Loop.unsent`).
"""

from __future__ import annotations

import socket
from _thread import allocate_lock, get_ident
from collections import deque

from ..handlers import Cancelled
from ..handlers.sources import Guard
from ..loop import selecting
from ..loop.loop import Loop
from .bounds import Budget
from .preparing import prepare
from .request import Stage
from .table import RequestTable, log_unfinished
from .work import OutsideWork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from selectors import BaseSelector
    from typing import Any, Protocol

    from ..handlers import Cause
    from ..loop.loop import Clock, Policy
    from ..loop.timers import Timer
    from .request import Request
    from .steps import Steps

    class RequestSource(Protocol):
        """A socket that many requests share: one that listens, or one of datagrams."""

        owner: Any
        """The server that takes requests from the socket; ``None`` if none does."""

        @property
        def open(self) -> bool:
            """Whether requests are wanted."""

        retry: Timer | None
        """The timer after which rows try to send again, when no event tells that they can."""

        def finish(self) -> None:
            """Take no further request; input for requests that are open still comes."""

        def close(self) -> None:
            """Take no more input."""

        def release(self) -> None:
            """The socket is about to be closed."""

        def look_again(self) -> None:
            """There may be room for requests again."""


LOOK = 0.05
"""Seconds after which a drain looks again for connections on which nothing is under way."""

Guard.lock = allocate_lock()  # rows in several threads may wait for one event


class Reactor(Loop):
    """One loop and its table of partially finished requests.

    ``selector``: any ``selectors.BaseSelector``; one of `reactor.selecting` when not given. The reactor owns it.
    ``clock``: anything with ``monotonic()`` and ``time()``, such as the module ``time``. ``network``: anything with
    ``socket()`` and the like, such as the module ``socket``.

    ``policy`` decides what is worked on next: it is given the selector's list of ready ``(key, events)``, where
    ``key.data`` is a row (`Request`), a server's listener or a `Watch`, and returns those to work on now, in that
    order. What it leaves out is ready again next time.

    >>> from reactor import Reactor
    >>> with Reactor() as loop:  # closed at the end
    ...     timer = loop.call_later(0.01, print, "due")
    ...     loop.run()           # returns when nothing can happen any more, or after stop()
    due
    """

    max_children = 40
    """Children that may run at once for `Forked`; more work waits in the table."""

    max_threads = 32
    """Threads that may run at once for `Threaded`; more work waits in the table."""

    max_held = 256 << 20
    """Bytes of input and output that all rows together may hold. Beyond that, the row that holds most ends with
    `LimitPassed`, then the next."""

    def __init__(
        self,
        selector: BaseSelector | None = None,
        clock: Clock | None = None,
        policy: Policy | None = None,
        *,
        network: Any = socket,
        outer: Reactor | None = None,
    ) -> None:
        if outer is None:
            prepare()
        super().__init__(selector, clock, policy, network=network, outer=outer)
        self.table: RequestTable = RequestTable(self.interest, None if outer is None else outer.table)
        self.budget: Budget = Budget(self) if outer is None else outer.budget
        self.work = OutsideWork(self)
        self._steps: Steps | None = None
        self.sources: dict[int, RequestSource] = {}
        """The shared sockets, by descriptor."""
        self.listening: set[RequestSource] = set()
        """The shared sockets whose arrivals are wanted. Other threads may ask whether there are any."""
        self.paused: dict[RequestSource, None] = {}
        """The shared sockets whose arrivals wait until a row ends."""
        self.pipe: Any = None
        """What relays move their bytes through, made when it is first needed: see `rows.relaying`."""
        self.threaded = False
        """Whether other threads may write to the rows: threads that drive rows, and `Threaded` work (see `share`)."""
        self.awaits_ends = True
        """Whether the code that runs the loop may wait for the end of a row. ``serve_forever`` does not while a server
        takes requests."""
        self._cut: dict[Request, str] = {} if outer is None else outer._cut
        self._unsettled: deque[Any] = deque()
        self._resting: dict[Any, None] = {}  # the rows whose handlers have had their turn in this batch, in order
        self._rested: dict[Any, None] = {}  # the rows whose handlers had their turn in the last batch, in order
        self._ended: dict[int, Request] = {}

    @property
    def steps(self) -> Steps:
        """The costly steps of filters."""
        if self._steps is None:
            from .steps import Steps  # here, because few servers have such filters

            self._steps = Steps(self)
        return self._steps

    @property
    def busy(self) -> bool:
        """Whether anything can still happen."""
        return bool(self.listening or self.table or self._unsettled or super().busy)

    @property
    def unfinished(self) -> bool:
        """Whether rows are to be settled or reaped, or answers to be sent, even if no event comes."""
        return bool(self._unsettled or self._ended or self.unsent)  # super() would double the cost

    def stats(self) -> dict[str, Any]:
        """`RequestTable.stats`, and ``held``: the bytes that open rows hold."""
        return {**self.table.stats(), "held": self.budget.held}

    def drain(self, seconds: float, server: Any = None) -> list[dict[str, Any]]:
        """Take no further request, give the open requests ``seconds`` to finish, and cancel the others.

        For one ``server``, or for all. Call it when the loop does not run (after `stop`, or `BaseServer.shutdown`). It
        runs the loop until the last row has ended, the time is over, or `stop` is called. A connection that is between
        requests is ended at once where its handler allows it (`StreamHandler.ends_when_idle`): those of blocking
        handlers with a framing, and of HTTP. Packets of open exchanges are still taken. Logs and returns the records of
        requests that did not finish (`Request.record`). Requests that threads and children drive go on until
        ``server_close()``.
        """
        self.require_rest("drain()")
        ports = [port for port in self.sources.values() if server is None or port.owner is server]
        for port in ports:
            port.finish()

        def rows() -> list[Request]:
            return [row for row in self.table if server is None or row.server is server]

        timer = self.call_later(seconds, self.stop)
        self.end_idle(server)
        try:
            self.run_while(lambda: bool(rows()))
        finally:
            timer.cancel()
            self._look.cancel()
        for port in ports:
            port.close()
        unfinished = {**self._cut, **{row: row.stage.value for row in rows() if not row.lingering}}
        self._cut.clear()
        self.cancel(row for row in rows() if self.may_cancel(row))
        return log_unfinished([{**row.record(), "stage": stage} for row, stage in unfinished.items()], seconds)

    def cut(self) -> None:
        """Inside the loop that drains: the time is over. `stop`, and have `drain` tell of the rows that end by it."""
        for row in self.table:
            self.note_cut(row)
        self.stop()

    def note_cut(self, row: Request) -> None:
        """The time of a drain is over, and the request ends by it: have `drain` tell of it. From any thread."""
        if not row.lingering:
            self._cut[row] = row.stage.value

    def end_idle(self, server: Any = None) -> None:
        """From now on end each connection when it is between messages, if its handler allows it: see `drain`."""
        for row in list(self.table):
            if server is None or row.server is server:
                if row.reactor is self:
                    row.end_if_idle()
                elif row.is_between_messages():
                    row.reactor.call_soon(row.end_if_idle)  # in the thread that drives it
        self._look = self.call_later(LOOK, self.end_idle, server)

    def close(self) -> None:
        """Cancel all rows and close the selector; not while the loop runs. A second call does nothing.

        In a child that the program has forked, it closes the child's copies of the descriptors, and nothing else.
        """
        if self.is_copy and not self.is_child:
            self.descriptors.close_copies(None)
            return
        self.require_rest("close()")
        for row in self.table:
            if row.reactor is not self:
                row.reactor.stop()  # the thread that drives it cancels it
        self.cancel(row for row in self.table if self.may_cancel(row))
        self.descriptors.discard(self.work)
        if self.pipe is not None:
            self.descriptors.discard(self.pipe)
            self.pipe.close()
        for port in list(self.sources.values()):
            port.release()
        super().close()

    def may_cancel(self, row: Request) -> bool:
        """Whether the thread of this loop may `cancel` the row: no other thread drives it, or is about to."""
        return row.reactor is self and (self._outer is not None or row.driven_by.mode != "thread")

    def cancel(self, rows: Iterable[Request], cause: Cause | None = None) -> None:
        """End ``rows`` for ``cause``, by default `Cancelled`; output is sent as far as the kernel takes it now."""
        self.time, self.thread = self.clock.monotonic(), get_ident()
        rows = list(rows)
        for row in reversed(rows):  # the last first, so that no work that waits begins in between
            self.work.forget(row)
        for row in rows:
            if row in self.table:
                row.cancel(Cancelled() if cause is None else cause)
        self._reap()

    # What rows and servers ask of the reactor

    def adopt(self, row: Any) -> None:
        """Add a row to the table and let its handler begin; from now on this loop drives the row."""
        row.begin(self)
        if self.threaded:
            self._post(row)
        self.table.add(row)
        self.settle_soon(row)
        self.guard(row, row.start)

    def share(self) -> None:
        """From now on other threads may write to the rows of this loop."""
        if not self.threaded:
            self.threaded = True
            for row in self.table:
                if row.reactor is self and row.channel is not None and row.stage is not Stage.QUEUED:
                    self._post(row)

    def _post(self, row: Request) -> None:
        """Put a `Posted` in front of the machine of ``row``."""
        from .posted import Posted  # here, because few servers have threads

        handler = row.channel.handler
        rare = row.make_rare()
        if rare.posted is None:
            handler._machine = rare.posted = Posted(handler._machine, row)

    def drive(self, row: Any) -> None:
        """Drive one row, and the connections and calls it opens, until all have ended; `stop` cancels them."""
        with self.signals():
            self.adopt(row)
            self.drive_while(lambda: self.work.here is None)
            while self.work.here is not None and not self._stopping:
                work, self.work.here = self.work.here, None
                work()
                self.drive_while(lambda: self.work.here is None)
            self.cancel(self.table)

    def drive_while(self, going_on: Callable[[], bool]) -> None:
        """Step while there are rows, until `stop`, or until ``going_on()`` is false."""
        while self.table and not self._stopping and going_on():
            self.step(self._poll)

    def drive_until(self, row: Request, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Step until ``condition()``, for ``timeout`` seconds at most, or until ``row`` has ended: whether it is true.

        ``condition`` is asked first, and after each batch. With a ``timeout`` of 0 what can be done at once is done.
        Unlike `drive_while` it does not end for `stop`: what waits for it is code that can't be cancelled.
        """
        now = self.clock.monotonic
        end = None if timeout is None else now() + timeout
        while not condition():
            if row not in self.table:
                return False
            left = self._poll if end is None else max(0.0, end - now())
            settles = self.unfinished  # then the selector learns only in this step what a row waits for
            self.step(left)
            if left == 0 and not settles and not self.unfinished:
                return condition()
        return True

    def settle_soon(self, row: Request) -> None:
        """Settle ``row`` when the batch is done, once. May be called from another thread."""
        if not row.unsettled:
            row.unsettled = True
            self._unsettled.append(row)
            self.wake()

    def rest(self, row: Any) -> None:
        """Let the handler of ``row`` go on in the next batch: it has had its turn in this one."""
        if not self.rests(row):
            self._resting[row] = None
            self.settle_soon(row)

    def rests(self, row: Any) -> bool:
        """Whether the handler of ``row`` has had its turn, and goes on in the next batch."""
        return row in self._resting or row in self._rested

    def end(self, row: Request) -> None:
        """Release ``row`` at the end of the batch."""
        self._ended[row.serial] = row

    def inside(self) -> Reactor:
        """A new loop inside this one, for a request that is not driven by this one. Its rows are in this table too."""
        self.send_answers(self.time)  # the request may take long
        kind: Any = getattr(selecting, "PollSelector", selecting.DefaultSelector)  # has no descriptor of its own
        make = getattr(self.network, "selector", kind)  # a simulated network has its own
        inner = Reactor(make(), self.clock, network=self.network, outer=self)
        inner._goes_on = inner._awake = True
        if self.can_be_woken or self.is_copy:  # other threads may have to wake the inner loop too
            inner.make_wakeup()
        return inner

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is left of what this loop has driven, so that it may drive another request."""
        return not (self.busy or self.unfinished or self._stopping or self.sources or self.is_copy or self._rested)

    def make_room(self) -> None:
        """A request has ended: take arrivals again that waited for this."""
        paused, self.paused = self.paused, {}
        for port in paused:
            port.look_again()

    # How a batch ends

    def finish_batch(self, now: float) -> None:
        """Settle what the batch has touched, then reap what has ended."""
        if self._unsettled:
            self._settle(now)
        if self._ended:
            self._reap()

    def _settle(self, now: float) -> None:
        self._rested.clear()
        # Settling a row may touch another (output that drains lets the next row go on). A few rounds
        # at once save steps; the bound keeps two rows that touch each other from holding up the rest.
        for _ in range(4):
            for _ in range(len(self._unsettled)):
                row = self._unsettled.popleft()
                row.unsettled = False
                if row in self.table and row.serial not in self._ended:
                    self.guard(row, row.settle, now)
        self._rested, self._resting = self._resting, {}
        for row in self._rested:
            self.settle_soon(row)  # in the next batch

    def _reap(self) -> None:
        ended = self._ended
        while ended:  # one by one: a server's hook that raises leaves the others for the next step
            row = ended.pop(next(iter(ended)))
            if row in self.table:
                self.let_go(row)
                row.release()
        if self.paused:
            self.make_room()

    def let_go(self, row: Request) -> None:
        """Remove the row from the table, the timers, the work and the budget. A second call does nothing."""
        self.table.remove(row)
        self.timers.disarm(row)
        self.work.forget(row)
        self.budget.let_go(row)

    def become_copy(self) -> None:
        super().become_copy()
        self.table.become_copy()

    def close_copy(self, keep: object) -> None:
        """In a forked child: close the copies of what the request ``keep`` does not need."""
        super().close_copy(keep)
        Guard.lock = allocate_lock()  # a thread of the parent may have held the old one
        self.budget = Budget(self)  # and that of the old budget
        self.table.close_copy(keep)
