"""`Loop`: one step selects, dispatches events, expires timers and finishes the batch. It knows no row.

A subclass says what is to be done at the end of a batch (`Loop.finish_batch`). Selector, clock and network are
arguments; the module has no global loop. A batch is fixed: all events that ``select()`` has returned are dispatched
before it is called again, and nothing is closed in between. What has a small answer to send sends it together with
others (`Loop.unsent`).
"""

from __future__ import annotations

import os
import socket
import time
from _thread import allocate_lock, get_ident
from _weakref import ref
from collections import deque
from selectors import EVENT_READ

from . import selecting
from .descriptors import Descriptors
from .interest import Interest
from .signals import Signals
from .timers import LONGEST, NEVER, Timer, Timers, nothing
from .watches import Wakeup, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from selectors import BaseSelector, SelectorKey
    from typing import Any, Protocol

    from typing_extensions import Self

    from .children import Children

    class Clock(Protocol):
        """What a loop asks of its clock; the module ``time`` is one."""

        def monotonic(self) -> float: ...
        def time(self) -> float: ...

    Policy = Callable[[list[tuple[SelectorKey, int]]], Iterable[tuple[SelectorKey, int]]]


LOOK = 0.1
"""Seconds after which a thread that waits for the loop's asks whether the loop still runs."""

LATE = 0.01
"""If a deadline has passed for this many seconds, the process was stopped (SIGSTOP) or the loop was not run."""

TOGETHER = 16
"""Answers that are sent together at most. A send(2) costs less right after another one: the kernel's code is still in
the caches, and a process that has several of the clients is woken once. More gain little, and each waits for all."""

PROMPT = 0.002
"""Seconds from the beginning of a batch after which an answer waits for no other one: the handlers take long."""


class Loop:
    """Waits for descriptors and for time, and calls what is ready or due.

    ``selector``: any ``selectors.BaseSelector``; one of `selecting` when not given. The loop owns it.
    ``clock``: anything with ``monotonic()`` and ``time()``, such as the module ``time``. ``network``: anything with
    ``socket()`` and the like, such as the module ``socket``. ``outer``: the loop inside of which this one runs.

    ``policy`` decides what is worked on next: it is given the selector's list of ready ``(key, events)`` and returns
    those to work on now, in that order. What it leaves out is ready again next time.
    """

    _children: Children | None = None

    def __init__(
        self,
        selector: BaseSelector | None = None,
        clock: Clock | None = None,
        policy: Policy | None = None,
        *,
        network: Any = socket,
        outer: Loop | None = None,
    ) -> None:
        self._selector = selecting.DefaultSelector() if selector is None else selector
        self.clock: Clock = time if clock is None else clock
        self.network = network
        """Makes sockets: the module ``socket``, or a simulated network."""
        self.policy = policy
        self.time = self.clock.monotonic()
        """When the current batch of events began, by the loop's clock."""
        self.batches = 0
        """Batches of events so far."""
        self._outer = outer
        self.interest = Interest(self._selector)
        self.timers = Timers()
        self.watches: set[Watch] = set()
        self.descriptors: Descriptors = Descriptors() if outer is None else outer.descriptors
        self.inner: Loop | None = None
        """The loop that runs inside a batch of this one, in the same thread, if there is one."""
        self.is_copy = False
        """Whether this is a forked child's copy of its parent's loop, which never runs again."""
        self.running = False
        """Whether `run` has been called and has not returned."""
        self._ready: list[tuple[SelectorKey, int]] | None = None  # what the batch works off
        self.unsent: deque[Any] = deque()
        """What has an answer to send in this batch: ``send(now)`` is called together with that of others, at the latest
        when the events are dispatched."""
        self._soon: deque[Timer] = deque()
        self._wakeup: Wakeup | None = None
        self._poll: float | None = None  # seconds that select() may take while there is no wake-up; None: no bound
        self._working = 0  # the thread that is in the middle of a batch; 0 while there is none
        self._goes_on = False  # whether another step follows in any case: `run_while` or the like is under way
        self._awake = False  # whether the next step, or the rest of this one, sees what other threads ask for
        self.thread = get_ident()
        """The thread that drives the loop, or was the last to do so."""
        self._stopping = False
        self._awaited = NEVER  # when something was due next, as the step began to wait for it
        self._interrupted = False  # whether KeyboardInterrupt is to be raised when the batch is done
        self.descriptors.add(self)
        _loops.add(ref(self, _loops.discard))

    @property
    def children(self) -> Children:
        """The children that this loop forks. Made when it is asked for first, because most loops fork none."""
        if self._children is None:
            from .children import Children

            made: Children = vars(self).setdefault("_children", Children(self))  # one, even if two threads ask
            return made
        return self._children

    @property
    def may_have_children(self) -> bool:
        """Whether `children` was asked for."""
        return self._children is not None

    @property
    def is_child(self) -> bool:
        """Whether this loop has forked this process; ``False`` in a child that another part of it has forked."""
        return self._children is not None and self._children.is_child

    # What a subclass adds

    @property
    def busy(self) -> bool:
        """Whether anything is watched, due or to be called; ``run`` returns when nothing is."""
        return bool(self.watches or self._soon or self.timers.next() < NEVER)

    @property
    def unfinished(self) -> bool:
        """Whether the next step has something to do even if no event comes."""
        return bool(self.unsent)

    def finish_batch(self, now: float) -> None:
        """Called at the end of each batch."""

    # Running it

    def run(self) -> None:
        """Serve until `stop`, or until nothing can happen any more: nothing open, watched or due."""
        self.run_while(lambda: self.busy)

    def run_while(self, going_on: Callable[[], bool], interval: float | None = None) -> None:
        """Serve until `stop`, or until ``going_on()`` is false; it is asked before each step (every ``interval`` s)."""
        if self.running or self.working_here:
            raise RuntimeError("the loop runs already: a state returns what it waits for, and the loop goes on")
        self.make_wakeup()
        self.running = self._goes_on = True
        self.thread = get_ident()
        try:
            with self.signals():
                while not self._stopping and going_on():
                    self.step(interval)
        finally:
            self._stopping = self.running = self._goes_on = self._awake = False

    def require_rest(self, what: str) -> None:
        """Raise `RuntimeError` if the loop runs: ``what`` is for when it has been stopped."""
        if self.running or self.working_here:
            raise RuntimeError(f"{what} while the loop runs: stop() it, or shutdown() its server, and wait for its end")

    @property
    def is_elsewhere(self) -> bool:
        """Whether another thread runs the loop."""
        return self.running and self.thread != get_ident()

    def signals(self) -> Signals:
        """A context in which signals reach this loop: see `Signals`."""
        return Signals(self, self._wakeup)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called and `run` has not yet returned for it; `step` does not look at it."""
        return self._stopping

    def stop(self) -> None:
        """End `run` after the batch of events it is in; called before, make the next one return at once.

        May be called from a handler, a signal handler or another thread. Rows stay open, and another `run`
        goes on with them. A program that calls `step` in a loop of its own asks `stopping`: the next step does not
        wait, later ones do.
        """
        self._stopping = True
        self._soon.append(Timer(0.0, nothing, ()))  # so that the next step does not wait
        inner = self.inner
        if inner is not None:
            inner.stop()
        self.wake()

    def step(self, timeout: float | None = None) -> None:
        """Wait for one batch of events, at most ``timeout`` seconds (``None``: as long as needed), and work it off.

        With 0 it never blocks. With nothing to wait for it returns at once.
        """
        self._awake = False  # before it looks at what there is to do: what comes later wakes the selector
        patience = self._patience(timeout)
        events = self._selector.select(patience)
        self._awake = True
        self._working = self.thread = get_ident()
        try:
            self.time = now = self.clock.monotonic()
            self.batches += 1
            self._dispatch(events, now)
            due = self.timers.next()
            if due <= now:
                if patience != 0 and now - self._awaited > LATE:
                    # A process that was stopped (SIGSTOP) for longer than select() was to wait returns from it without
                    # having looked (PEP 475): input that has come is taken before a wait is declared over.
                    self._dispatch(self._selector.select(0), now)
                self._expire(now)
            for _ in range(len(self._soon)):
                if not self.is_copy:
                    self._soon.popleft().expire(now)
            if self.is_copy:
                raise RuntimeError("a handler has forked this process, and has returned in it: end it with os._exit()")
            if self.unsent:  # of what was called
                self.send_answers(now)
            self.finish_batch(now)
        finally:
            self._working = 0
            self._awake = self._goes_on
        if self._interrupted:
            self.interrupt()

    def timeout(self) -> float | None:
        """Seconds until `step` has something to do even if no event comes; ``None``: never."""
        if self._soon or self.unfinished:
            return 0
        due = self.timers.next()
        return None if due == NEVER else max(0.0, due - self.clock.monotonic())

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
        """Close what the loop has opened; not while it runs. A second call does nothing."""
        self.require_rest("close()")
        if self._children is not None:
            self._children.close()
        for watch in list(self.watches):
            watch.cancel()
        if self._wakeup is not None:
            self.interest.want(self._wakeup, 0)
            self._wakeup.close()
            self._wakeup = None
        self.descriptors.discard(self)
        self._soon = deque(maxlen=0)  # a thread may still have something to be called: that is dropped
        self._selector.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What is to be called, and when

    def call_soon(self, call: Callable[..., object], *arguments: Any) -> Timer:
        """Call it in the next step. May be called from another thread or a signal handler."""
        timer = Timer(0.0, call, arguments)
        self._soon.append(timer)
        self.wake()
        return timer

    def call_there(self, call: Callable[[], object]) -> None:
        """Make the call in the thread that runs the loop, wait for its end, and raise what it raises.

        Where no thread runs the loop, or it ends before it has made the call, the call is made here.
        """
        made = allocate_lock()
        raised: list[BaseException] = []

        def there() -> None:
            try:
                call()
            except BaseException as error:
                raised.append(error)
            finally:
                made.release()

        made.acquire()
        timer = self.call_soon(there)
        while self.running:
            if made.acquire(timeout=LOOK):
                break
        else:
            timer.cancel()
            if not made.acquire(blocking=False):
                call()
        if raised:
            raise raised[0]

    def call_later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """Call it ``seconds`` from now. Returns a `Timer`, which has ``cancel()``."""
        return self.call_at(self.clock.monotonic() + seconds, call, *arguments)

    def call_at(self, when: float, call: Callable[..., object], *arguments: Any) -> Timer:
        """Call it at ``when``, seconds of the loop's clock (``clock.monotonic()``)."""
        timer = Timer(when, call, arguments, self.timers)
        self.timers.arm(timer)
        return timer

    def watch(self, descriptor: Any, events: int, call: Callable[[int], object]) -> Watch:
        """Call ``call(events)`` whenever the descriptor (a number, or an object with ``fileno()``) is ready.

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

    # Threads and signals

    @property
    def working_here(self) -> bool:
        """Whether the calling thread is this loop's, in the middle of a batch."""
        return self._working == get_ident()

    def interrupt(self) -> None:
        """Raise `KeyboardInterrupt`: at once if no batch is under way, else when the batch is done.

        A second one is raised at once: the batch may be what the user wants to interrupt.
        """
        if not self._working or self._interrupted:
            self._interrupted = False
            raise KeyboardInterrupt
        self._interrupted = True

    def blocking(self, call: Callable[..., object], *arguments: object) -> object:
        """Call what may block in the middle of a batch: a signal may interrupt it, as it may the selector."""
        if self._working != get_ident():
            return call(*arguments)
        self._working = 0
        try:
            if self._interrupted:
                self.interrupt()
            return call(*arguments)
        finally:
            self._working = get_ident()

    def make_wakeup(self) -> None:
        """Make the descriptor by which another thread can wake the selector, where the host has one."""
        if self._wakeup is None:
            try:
                self._wakeup = Wakeup.make(self.network)
            except OSError:  # the host is short of descriptors
                if self._outer is None:
                    raise
                self._poll = 0.1  # the request has come and can be served; only a wake-up may be late
            if self._wakeup is not None:
                self.interest.want(self._wakeup, EVENT_READ)

    @property
    def can_be_woken(self) -> bool:
        """Whether another thread can wake the selector."""
        return self._wakeup is not None

    def wake(self) -> None:
        """Make the selector return, unless the loop will look at what there is to do before it waits again."""
        wakeup = self._wakeup
        if wakeup is not None and not self._awake:
            wakeup.wake()

    def close_copy(self, keep: object) -> None:
        """In a forked child: an epoll set is shared with the parent, so its copy is closed, and nothing else done."""
        self.become_copy()
        self._selector.close()
        if self._wakeup is not None:
            self._wakeup.close()
            self._wakeup = None
        self._interrupted = False

    def become_copy(self) -> None:
        """In any forked child: from here on the loop changes nothing that it shares with the parent."""
        self.is_copy = self.interest.is_copy = True
        if self._ready is not None:
            self._ready.clear()  # the rest of the batch is the parent's
        if self._children is not None:
            self._children.become_copy()

    # How a step is done

    def _patience(self, timeout: float | None) -> float | None:
        if self._soon or self.unfinished:
            return 0
        self._awaited = due = self.timers.next()
        if due == NEVER:
            if timeout is None:
                return None if self.busy else 0
            return timeout if timeout == NEVER else min(timeout, LONGEST)
        left = due - self.clock.monotonic()
        if timeout is not None and timeout < left:
            left = timeout
        return 0.0 if left < 0 else left if left < LONGEST else LONGEST  # noqa: FURB136 - a call costs more

    def _dispatch(self, events: list[tuple[SelectorKey, int]], now: float) -> None:
        unsent, monotonic = self.unsent, self.clock.monotonic
        ready = self._ready = events if self.policy is None else [*self.policy(events)]
        try:
            for key, mask in ready:
                source = key.data
                try:  # as `guard`, without its call for each event: this is the hot path
                    source.ready(mask, now)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:
                    source.failed(error)
                if unsent and (len(unsent) >= TOGETHER or monotonic() - now >= PROMPT):
                    self.send_answers(now)
        finally:  # also if the program ends for an exception
            self._ready = None
            if unsent:
                self.send_answers(now)

    def may_wait(self, answers: int, now: float) -> bool:
        """Whether so many answers may wait for others of the batch that began at ``now``: as in `_dispatch`."""
        return answers < TOGETHER and self.clock.monotonic() - now < PROMPT

    def send_answers(self, now: float) -> None:
        """Send what is `unsent`. In a child that a handler has forked, that is the parent's."""
        unsent = self.unsent
        if self.is_copy:
            unsent.clear()
        while unsent:
            source = unsent.popleft()
            try:  # as `guard`
                source.send(now)
            except (KeyboardInterrupt, SystemExit):
                unsent.appendleft(source)  # what is left of it, and of the others, is sent in the next step
                raise
            except BaseException as error:
                source.failed(error)

    def guard(self, source: Any, call: Callable[..., object], *arguments: object) -> None:
        """Make the call. ``source.failed()`` gets what it raises, except KeyboardInterrupt and SystemExit."""
        try:
            call(*arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            source.failed(error)

    def _expire(self, now: float) -> None:
        due = deque(self.timers.due(now))
        try:
            while due and not self.is_copy:
                timed = due.popleft()
                self.guard(timed, timed.expire, now)
        finally:
            for timed in due:  # a caller's function has raised: the others are called in the next step
                timed.deadline = now
                self.timers.arm(timed)


_loops: set[ref[Loop]] = set()
"""All loops of this process. In a child that any part of the program forks, they become copies."""


def _mark_copies() -> None:
    for loop in [known() for known in list(_loops)]:
        if loop is not None:
            loop.become_copy()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_copies)
