"""The reactor: timers → select → dispatch → settle → reap, and nothing else.

Selector and clock are arguments; there is no loop of the module's own. Handlers mark, the loop
reaps: nothing is closed or freed in the middle of a batch of events. What a batch has touched is
settled when the batch is done, so the output of one read, to whichever rows, leaves at once.
"""

from __future__ import annotations

import socket
import time
from _thread import get_ident
from collections import deque
from functools import cache
from selectors import EVENT_READ

from . import selecting
from .bounds import Budget
from .sources import Port, Posted, Wakeup, Watch
from .table import RequestTable, log_unfinished
from .timers import LONGEST, NEVER, Timer, Timers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from selectors import BaseSelector, SelectorKey
    from typing import Any, Protocol

    from .request import Request
    from .signals import Signals

    class Clock(Protocol):
        """What a reactor asks of its clock; the module ``time`` is one."""

        def monotonic(self) -> float: ...
        def time(self) -> float: ...


class Reactor:
    """One loop and its table.

    ``selector``: any ``selectors.BaseSelector``; that of `reactor.selecting` when not given. The reactor
    owns it. ``clock``: anything with ``monotonic()`` and ``time()``, such as the module ``time``.
    ``network``: what has ``socket()`` and the like, such as the module ``socket``.

    ``policy`` decides what is worked on next: it is given the selector's list of ready
    ``(key, events)``, where ``key.data`` is a row (`Request`), a server's listener or a `Watch`,
    and returns those to work on now, in that order. What it leaves out is ready again next time.

    >>> from reactor import Reactor
    >>> with Reactor() as loop:  # closed at the end
    ...     timer = loop.call_later(0.01, print, "due")
    ...     loop.run()           # returns when nothing can happen any more, or after stop()
    due
    """

    max_children = 40
    """Children that may run at once for `Forked`; more wait in the table."""

    max_threads = 32
    """Threads that may run at once for `Threaded`; more wait in the table."""

    max_held = 256 << 20
    """Bytes of input and output that all rows together may hold: past that, the row that holds most ends with
    `LimitPassed`, then the next."""

    def __init__(
        self,
        selector: BaseSelector | None = None,
        clock: Clock | None = None,
        policy: Callable[[list[tuple[SelectorKey, int]]], Iterable[tuple[SelectorKey, int]]] | None = None,
        *,
        network: Any = socket,
        outer: Reactor | None = None,
    ) -> None:
        self._selector = selecting.DefaultSelector() if selector is None else selector
        self.clock: Clock = time if clock is None else clock
        self.network = network
        """Where sockets come from."""
        self.policy = policy
        self.time = self.clock.monotonic()
        """When the current batch of events began, by the reactor's clock."""
        self._outer = outer
        self.table: RequestTable = RequestTable(self._selector, None if outer is None else outer.table)
        self.budget: Budget = Budget(self) if outer is None else outer.budget
        self.timers = Timers()
        self.watches: set[Watch] = set()
        self.ports: dict[int, Port] = {}
        self.paused: dict[Port, None] = {}
        """Ports whose arrivals wait until a row ends."""
        prepare()
        from .children import Children
        from .workers import Workers

        self.children = Children(self)
        self.workers = Workers(self)
        self.loops: set[Reactor] = set() if outer is None else outer.loops
        """This one, and those of the requests that callers and threads drive."""
        self.loops.add(self)
        self._soon: deque[Timer] = deque()
        self._unsettled: deque[Request] = deque()
        self._ended: dict[int, Request] = {}
        self.inner: Reactor | None = None
        """The loop of the request that this loop's own caller is driving, if it is."""
        self.threaded = False
        """Whether this is one of several loops in threads of their own, whose rows may write to each other."""
        self.is_copy = False
        """Whether this is a child's copy of its parent's loop, which runs no more."""
        self.running = False  # whether run() has not returned
        self._wakeup: Wakeup | None = None
        self._unheard: float | None = None  # seconds until it looks for what nobody can wake it for
        self._working = 0  # the thread that is in the middle of a batch; 0 while none is
        self._stopping = False
        self._interrupted = False  # whether a Ctrl-C is to be raised when the batch is done

    # Running it

    def run(self) -> None:
        """Serve until `stop`, or until nothing can happen any more: nothing open, watched or due."""
        self.run_while(lambda: self.busy)

    def run_while(self, going_on: Callable[[], bool], interval: float | None = None) -> None:
        """Serve until `stop`, or until ``going_on()``, asked before each step (all ``interval`` seconds), says no."""
        if self.running or self.working_here:
            raise RuntimeError("the loop runs already: a state returns what it waits for, and the loop goes on")
        self.make_wakeup()
        self.running = True
        try:
            with self.signals():
                while not self._stopping and going_on():
                    self.step(interval)
        finally:
            self._stopping = self.running = False

    def require_rest(self, what: str) -> None:
        """Raise `RuntimeError` if the loop runs: ``what`` is for when it has been stopped."""
        if self.running or self.working_here:
            raise RuntimeError(f"{what} while the loop runs: stop() it, or shutdown() its server, and wait for its end")

    def signals(self) -> Signals:
        """A context in which signals reach this loop: see `Signals`."""
        from .signals import Signals  # imported long since, by prepare()

        return Signals(self, self._wakeup)

    @property
    def busy(self) -> bool:
        """Whether anything can still happen."""
        return bool(
            self.table or self.watches or self._soon or self._unsettled
            or self.timers.next() < NEVER or any(port.open for port in self.ports.values())
        )  # fmt: skip

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called, and `run` is still to heed it; `step` does not."""
        return self._stopping

    def stop(self) -> None:
        """End `run` after the batch of events it is in; called before, make the next one return at once.

        May be called from a handler, a signal handler or another thread. Rows stay open, and another `run`
        goes on with them. A loop of yours that calls `step` asks `stopping`: the next step won't wait, later ones do.
        """
        self._stopping = True
        self._soon.append(Timer(0.0, bool, ()))  # nothing, which the next step does not wait for
        inner = self.inner
        if inner is not None:
            inner.stop()
        self._wake()

    def step(self, timeout: float | None = None) -> None:
        """Wait for one batch of events, at most ``timeout`` seconds (``None``: as long as needed), and do it.

        With 0 it never blocks. With nothing to wait for it returns at once.
        """
        events = self._selector.select(self._patience(timeout))
        self._working = get_ident()
        try:
            self.time = now = self.clock.monotonic()
            for key, mask in events if self.policy is None else self.policy(events):
                source = key.data
                try:
                    source.ready(mask, now)
                except Exception as error:
                    source.failed(error)
            if self.timers.next() <= now:
                self._expire(now)
            for _ in range(len(self._soon)):
                self._soon.popleft().expire(now)
            if self._unsettled:
                self._settle(now)
            if self._ended:
                self._reap()
        finally:
            self._working = 0
        if self._interrupted:
            self.interrupt()

    def timeout(self) -> float | None:
        """Seconds until `step` has something to do even if no event comes; ``None``: never."""
        if self._soon or self._unsettled or self._ended:
            return 0
        due = self.timers.next()
        return None if due == NEVER else max(0.0, due - self.clock.monotonic())

    def stats(self) -> dict[str, Any]:
        """What there has been until now: see `RequestTable.stats`; and ``held``, the bytes that open rows hold."""
        return {**self.table.stats(), "held": self.budget.held}

    def drain(self, seconds: float, server: Any = None) -> list[dict[str, Any]]:
        """Take nothing more, give what is open ``seconds`` to finish, and cancel the rest.

        Of all servers, or of one. Called when the loop does not run (after `stop`, or `BaseServer.shutdown`); runs
        it until the last row has ended, the time is over, or `stop`. Packets of exchanges that are open still come.
        Returns, and logs, those that did not finish: see `Request.obituary`. What threads and children have not
        finished goes on until ``server_close()``.
        """
        self.require_rest("drain()")
        ports = [port for port in self.ports.values() if server is None or port.owner is server]
        for port in ports:
            port.finish()

        def rows() -> list[Request]:
            return [row for row in self.table if server is None or row.server is server]

        timer = self.call_later(seconds, self.stop)
        try:
            self.run_while(lambda: bool(rows()))
        finally:
            timer.cancel()
        for port in ports:
            port.close()
        unfinished = [row for row in rows() if not row.lingering]
        self.cancel(row for row in rows() if row.reactor is self)
        return log_unfinished(unfinished, seconds)

    def fileno(self) -> int:
        """The selector's descriptor, readable when `step` has events: to embed this loop in another.

        The other loop calls ``step(0)`` then, and no later than `timeout` says.
        Raises `TypeError` for a selector that has none (``select`` and ``poll``).
        """
        if not hasattr(self._selector, "fileno"):
            name = type(self._selector).__name__
            raise TypeError(f"{name} has no descriptor; take EpollSelector, KqueueSelector or regular calls of step(0)")
        self.make_wakeup()  # what another thread asks for must make it readable too
        return int(self._selector.fileno())

    def close(self) -> None:
        """Cancel all rows, and give back the selector; not while the loop runs. A second call does nothing."""
        self.require_rest("close()")
        self.cancel(self.table)
        self.loops.discard(self)
        self.children.close()
        for watch in list(self.watches):
            watch.cancel()
        for port in list(self.ports.values()):
            port.release()
        if self._wakeup is not None:
            self.table.want(self._wakeup, 0)
            self._wakeup.close()
            self._wakeup = None
        self._selector.close()

    def __enter__(self) -> Reactor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def cancel(self, rows: Iterable[Request]) -> None:
        """End ``rows`` with the cause `Cancelled`; what they still say is sent if the kernel takes it."""
        self.time = self.clock.monotonic()
        rows = list(rows)
        for row in reversed(rows):  # the last first, so that no work in line begins where other work is given up
            self.workers.forget(row)
        for row in rows:
            if row in self.table:
                row.cancel(self)
        self._reap()

    # What is to be done, and when

    def call_soon(self, call: Callable[..., object], *arguments: Any) -> Timer:
        """Call it in the next step. May be called from another thread or a signal handler."""
        timer = Timer(0.0, call, arguments)
        self._soon.append(timer)
        self._wake()
        return timer

    def call_later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """Call it ``seconds`` from now. Returns a `Timer`, which has ``cancel()``."""
        return self.call_at(self.clock.monotonic() + seconds, call, *arguments)

    def call_at(self, when: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """Call it at ``when``, seconds of the reactor's clock (``clock.monotonic()``)."""
        timer = Timer(when, call, arguments, self.timers)
        self.timers.arm(timer)
        return timer

    def watch(self, descriptor: Any, events: int, call: Callable[[int], object]) -> Watch:
        """Call ``call(events)`` whenever the descriptor (a number, or what has ``fileno()``) is ready.

        ``events`` are ``selectors.EVENT_READ`` and ``EVENT_WRITE``. Raises what the selector raises
        for a descriptor that it can't watch. What ``call`` raises leaves through `run`.
        """
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        watch = Watch(self, number, call)
        self.watches.add(watch)
        try:
            watch.modify(events)
        except BaseException:
            self.watches.discard(watch)
            raise
        return watch

    def port(self, owner: Any) -> Port:
        """The port, in this loop, of a socket that many requests share; ``owner`` is it or its server."""
        port = self.ports.get(owner.fileno())
        if port is None or port.owner.fileno() != port.fileno():  # none, or one that was closed behind our back
            port = self.ports[owner.fileno()] = Port(self, owner)
        return port

    @property
    def working_here(self) -> bool:
        """Whether the thread that asks is this loop's, in the middle of a batch."""
        return self._working == get_ident()

    def interrupt(self) -> None:
        """Raise `KeyboardInterrupt`, at once if nothing can be left half done, else when the batch is.

        A second one is raised at once: what is half done may be why there is a second.
        """
        if not self._working or self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt
        self._interrupted = True

    # What rows and modes ask of it

    def adopt(self, row: Any) -> None:
        """Enter a row and let its handler begin; from here on this loop drives it."""
        row.begin(self)
        if self.threaded:
            row.machine.handler._machine = Posted(row.machine, self)
        self.table.add(row)
        self.settle_soon(row)
        self.guard(row, row.start)

    def drive(self, row: Any) -> None:
        """Drive one row, and the connections it opens, until all have ended; `stop` cancels them."""
        with self.signals():
            self.adopt(row)
            while self.table and not self._stopping:
                self.step(self._unheard)
            self.cancel(self.table)

    def blocking(self, call: Callable[..., object], *arguments: object) -> None:
        """Call what may block in the middle of a batch: a signal may interrupt it, as it may the selector."""
        if not self.working_here:
            call(*arguments)
            return
        self._working = 0
        try:
            if self._interrupted:
                self.interrupt()
            call(*arguments)
        finally:
            self._working = get_ident()

    def settle_soon(self, row: Request) -> None:
        """Settle ``row`` when the batch is done. May be called from another thread."""
        self._unsettled.append(row)
        self._wake()

    def end(self, row: Request) -> None:
        """Let go of ``row`` when the batch is done."""
        self._ended[row.serial] = row

    def make_wakeup(self) -> None:
        """Make the descriptor by which another thread can wake the selector, where the host has one."""
        if self._wakeup is None:
            try:
                self._wakeup = Wakeup.make(self.network)
            except OSError:  # the host is short of descriptors
                if self._outer is None:
                    raise
                self._unheard = 0.1  # the request is here, and can be served: only who would wake it waits so long
            if self._wakeup is not None:
                self.table.want(self._wakeup, EVENT_READ)

    def forked(self, keep: Request | None) -> None:
        """In a child: let go of what is the parent's, but for what the row ``keep`` needs.

        An epoll set is shared with the parent, so nothing is unregistered; only copies are closed.
        """
        for loop in self.loops:
            loop.is_copy = True
            loop._selector.close()
            loop.budget = Budget(loop)  # the lock of the old one may be a thread's of the parent
            loop.table.forked(keep)
            for port in loop.ports.values():
                port.close_copy(keep)
            if loop._wakeup is not None:
                loop._wakeup.close()
                loop._wakeup = None
            loop._interrupted = False
            loop.children.forked(keep)
            loop.workers.forked()

    def inside(self) -> Reactor:
        """A new loop for one request that somebody else drives. Its rows stand in this table too."""
        kind: Any = getattr(selecting, "PollSelector", selecting.DefaultSelector)  # no descriptor of its own
        make = getattr(self.network, "selector", kind)  # a simulated network's sockets are for its own only
        inner = Reactor(make(), self.clock, network=self.network, outer=self)
        if self._wakeup is not None or self.is_copy:  # who can wake this loop must be able to wake that one
            inner.make_wakeup()
        return inner

    # How a step is done

    def _wake(self) -> None:
        # In the batch of this very thread nobody waits. Else somebody may: the selector, or a loop around this one.
        wakeup = self._wakeup
        if wakeup is not None and not self.working_here:
            wakeup.wake()

    def _patience(self, timeout: float | None) -> float | None:
        due = self.timeout()
        if due is None or (timeout is not None and timeout < due):
            due = timeout
        if due is None:
            return None if self.busy else 0
        return due if due == NEVER else min(due, LONGEST)

    def guard(self, source: Any, call: Callable[..., object], *arguments: object) -> None:
        """A handler that raises ends its own row; everybody else goes on."""
        try:
            call(*arguments)
        except Exception as error:
            source.failed(error)

    def _expire(self, now: float) -> None:
        due = deque(self.timers.due(now))
        try:
            while due:
                timed = due.popleft()
                self.guard(timed, timed.expire, now)
        finally:
            for timed in due:  # a call of somebody's has raised: the others come next time
                timed.deadline = now
                self.timers.arm(timed)

    def _settle(self, now: float) -> None:
        # Settling a row may touch another (output that drains lets the next row go on). A few
        # rounds at once save steps; a bound keeps two rows from playing ball for ever.
        for _ in range(4):
            for _ in range(len(self._unsettled)):
                row = self._unsettled.popleft()
                if row in self.table:
                    self.guard(row, row.settle, now)

    def _reap(self) -> None:
        ended = self._ended
        while ended:  # one by one: a server's hook that raises leaves the others for the next step
            row = ended.pop(next(iter(ended)))
            if row in self.table:
                self.table.remove(row)
                self.timers.disarm(row)
                self.workers.forget(row)
                self.budget.let_go(row)
                row.released()
        if self.paused:
            self.make_room()

    def make_room(self) -> None:
        """A request has ended: look again at the arrivals that had to wait for that."""
        paused, self.paused = self.paused, {}
        for port in paused:
            port.look_again()


@cache
def prepare() -> None:
    """Import what may be needed while serving, so that nothing is imported first in the middle of it.

    Called whenever a reactor or a server is made; not with the package, whose import stays light.
    """
    "\u00f6".encode("idna")  # imports the codec, for host names that are not ASCII
    import logging  # noqa: F401
    import traceback

    from . import children, signals, workers  # noqa: F401

    try:
        raise LookupError("nobody sees this one")
    except LookupError:
        traceback.format_exc()  # for handle_error(): the first traceback imports more
