"""What a check watches while a handler runs: the time for which it blocks, and coroutines that it does not await.

A state blocks if it sleeps, or waits for a file, a lock or another process. In a loop no other row is served meanwhile.
A check runs a handler thousands of times, so a state that sleeps for 2 ms would make the check last for minutes:
`time_limit` ends it. Only the time in which the thread has given up the processor by itself counts, so a slow or busy
machine ends no check. A state that does not return at all is interrupted by a timer of the process (``SIGALRM``). This
needs the main thread of a POSIX system.
"""

from __future__ import annotations

import gc
import signal
import threading
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from math import inf
from operator import is_
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any, NamedTuple

from ...handlers import StreamMachine
from ...handlers.blocking.buffered import BufferedPacket, BufferedStream
from ...handlers.states import is_of_coroutine, name_of
from .counting import EndlessLoop
from .tracing import line_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

    from ...handlers import Cause, Machine
    from .counting import line_limit

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

SECONDS = 2.0
"""Seconds of real time for which the states of a handler may block, in all runs of one check together."""

COMPUTING = 5.0
"""Seconds of processor time after which a state that is still in the same call does not return."""

UNCOUNTED = 2.0
"""Seconds of processor time after which a state whose lines nobody counts is ended, as an endless loop."""

LOOKS = 0.5
"""Seconds of real time between two looks at a state that may not return."""

OUTSIDE = 20.0
"""Seconds of real time that the functions of `Forked` and `Threaded` may take, in all runs of one check together."""

_REMEDY = (
    "In a loop nobody else is served meanwhile: wait with Delay(seconds), or have Threaded(function) or "
    "Forked(function) do it"
)
_OF_THREAD = getattr(resource, "RUSAGE_THREAD", None)  # only Linux counts for a thread
_SHORTEST = 0.001  # seconds; where nobody counts how often a thread waited, less may be another process's turn
_BRIEF = 0.0001  # seconds; to ask the kernel about the thread costs more than most states that are over sooner
_FRESH = 0.001  # seconds for which what the kernel has told of the thread serves states that begin


class Unfit(BaseException):
    """Ends a check: the handler blocks too long, or drops a coroutine. Not an ``Exception``: no handler catches it."""


class _Thread(NamedTuple):
    """What the kernel told of the thread."""

    when: float
    """When, by ``perf_counter()``."""
    used: float
    """The processor time of the thread then."""
    waits: int
    """How often it had given up the processor then."""


class _Step(NamedTuple):
    """A state that runs. Where one begins, which is often, this is a plain tuple, which costs less."""

    what: str | tuple[Machine, Any, Any, int]
    """What runs; or the machine, what it has called, its state then, and where the coroutine of the state was."""
    begun: float
    """When, by ``perf_counter()``."""
    thread: _Thread
    """The thread then, or up to `_FRESH` seconds before."""
    is_counted: bool
    """Whether an endless loop ends because its lines are counted."""
    looks: int
    """The looks of the timer before."""

    @property
    def state(self) -> str:
        """What runs, for a message."""
        return self.what if isinstance(self.what, str) else _named(*self.what)

    def blocked(self) -> float:
        """Seconds for which it has blocked so far."""
        return perf_counter() - self.begun - self.computed()

    def has_waited(self) -> bool:
        """Whether the thread has given up the processor by itself; a busy machine takes it away."""
        return self.blocked() > _SHORTEST if _OF_THREAD is None else _waits() > self.thread.waits

    def computed(self) -> float:
        """Seconds of processor time that it has used so far."""
        return thread_time() - self.thread.used


class _TimeSpent:
    """The time that one check has spent, by what it was spent in. ``deadline`` is the time that it has, in seconds."""

    def __init__(self, deadline: float) -> None:
        self._states: Counter[str] = Counter()
        self._functions: Counter[str] = Counter()
        self._due = perf_counter() + deadline
        self._deadline = deadline
        self._step: tuple[Any, ...] | None = None  # the arguments of a `_Step`
        self._thread = _Thread(-inf, 0.0, 0)
        self._looked: tuple[object, ...] | None = None
        self._used = 0.0  # the processor time of the thread at the last look
        self._looks: int | None = None
        self._is_over = False
        self.trying = ""
        """The property that is tried."""
        self.unawaited: list[str] = []
        """What Python warns of: each says which coroutine was never awaited."""

    def expect_looks(self) -> None:
        """A timer looks from now on, but not while the process is stopped (SIGSTOP), or the machine sleeps."""
        self._looks = 0

    def seconds_of(self, step: _Step) -> float:
        """Seconds for which it has blocked so far, without those in which no timer ran."""
        seconds = max(0.0, step.blocked())
        return seconds if self._looks is None else min(seconds, LOOKS * (1 + self._looks - step.looks))

    def _blocked(self, state: str, seconds: float) -> None:
        self._states[state] += seconds  # type: ignore[assignment]
        total = sum(self._states.values())
        if self._is_over:
            return
        if total > SECONDS:
            [(worst, _)] = self._states.most_common(1)
            raise Unfit(
                f"{worst} blocks: the handler has blocked for {total:.1f} seconds of real time in the states that were "
                f"tried. {_REMEDY}"
            )

    def begin(self, what: Any, is_counted: bool) -> tuple[Any, ...]:
        """A state begins to run. Returns what `end` is to be given."""
        now = perf_counter()
        if now > self._due:
            raise Unfit(self._late())
        if now - self._thread.when > _FRESH:
            self._thread = _Thread(now, thread_time(), _waits())
        self._step = begun = what, now, self._thread, is_counted, self._looks or 0
        return begun

    def end(self, begun: tuple[Any, ...]) -> None:
        """It has returned, or raised."""
        self._step = None
        if perf_counter() - begun[1] < _BRIEF:
            return
        step = _Step(*begun)
        seconds = self.seconds_of(step) if step.has_waited() else 0.0
        if seconds:
            self._blocked(step.state, seconds)

    def look(self, _: int, frame: FrameType | None) -> None:
        """Raise `Unfit` in the state that runs, if it does not return; `EndlessLoop`, if nobody counts its lines."""
        self._looks = (self._looks or 0) + 1
        if self._step is None or frame is None or _is_collecting(frame):
            return
        step = _Step(*self._step)
        if not step.is_counted and step.computed() > UNCOUNTED:
            raise EndlessLoop(f"over {UNCOUNTED:g} seconds of processor time")
        seen = frame, frame.f_lasti, self._step
        is_same = self._looked is not None and all(map(is_, self._looked, seen))
        rests = is_same and thread_time() - self._used < LOOKS / 20 and step.has_waited()
        self._used = thread_time()
        fault = ""
        if perf_counter() > self._due:
            fault = self._late()
        elif rests and self.seconds_of(step) > SECONDS:
            fault = f"{step.state} blocks: it has not returned for {SECONDS:g} seconds of real time. {_REMEDY}"
        elif is_same and step.computed() > COMPUTING:
            fault = (
                f"{step.state} does not return: one call ({frame.f_code.co_filename}, line {frame.f_lineno}) has taken "
                f"most of {COMPUTING:g} seconds of processor time. A regular expression that can match a part of its "
                f"input in many ways tries all of them"
            )
        self._looked = seen
        if fault:
            self._is_over = True
            raise Unfit(fault)

    def _late(self) -> str:
        trying = f": it was trying {self.trying}" if self.trying else ""
        return f"the check is not done after the {self._deadline:g} seconds of its deadline{trying}"

    def refuse_unawaited(self) -> None:
        """Raise `Unfit` if a coroutine of the handler was never awaited."""
        if self.unawaited:
            raise Unfit(f"{self.unawaited[0]}, so it never ran: await it, or return it as the next step")

    def worked(self, wait: str, seconds: float) -> None:
        self._functions[wait] += seconds  # type: ignore[assignment]
        total = sum(self._functions.values())
        if total > OUTSIDE:
            [(worst, _)] = self._functions.most_common(1)
            raise Unfit(
                f"the function of {worst} takes too long to try the handler often: {total:.0f} seconds of real time so "
                f"far; give it a function that answers at once"
            )


def _is_collecting(frame: FrameType | None) -> bool:
    """Whether a callback of the garbage collector runs, Hypothesis has one: Python drops what is raised in it."""
    callbacks = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None:
        if frame.f_code in callbacks:
            return True
        frame = frame.f_back
    return False


_spent: _TimeSpent | None = None


@contextmanager
def time_limit(deadline: float = inf) -> Iterator[None]:
    """Within the ``with`` block, runs raise `Unfit` for what they watch. The times of inner blocks add up.

    They raise it also if the block takes more than ``deadline`` seconds of real time.
    """
    global _spent
    if _spent is not None:
        yield
        return
    _spent = spent = _TimeSpent(deadline)
    try:
        with _warnings_into(spent.unawaited), _looks(spent):
            yield
            spent.refuse_unawaited()
    finally:
        _spent = None


def trying(what: str) -> None:
    """``what`` is tried from now on: the message of a check that is late says so."""
    if _spent is not None:
        _spent.trying = what


@contextmanager
def _looks(spent: _TimeSpent) -> Iterator[None]:
    """Within the ``with`` block, a timer looks now and then whether a state does not return."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return
    begun = perf_counter()
    due, interval = signal.setitimer(signal.ITIMER_REAL, 0)  # first, so that no signal of the caller comes to ``look``
    before = signal.signal(signal.SIGALRM, spent.look)
    signal.setitimer(signal.ITIMER_REAL, LOOKS, LOOKS)
    spent.expect_looks()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if due:  # of the caller, such as a test runner
            signal.setitimer(signal.ITIMER_REAL, max(due - (perf_counter() - begun), LOOKS / 100), interval)


@contextmanager
def _warnings_into(unawaited: list[str]) -> Iterator[None]:
    """Within the ``with`` block, Python's warnings of coroutines that were never awaited go into the list."""
    with warnings.catch_warnings():
        warnings.filterwarnings("always", "coroutine .* was never awaited", RuntimeWarning)
        show = warnings.showwarning

        def show_or_keep(message: Any, category: type[Warning], *details: Any, **named: Any) -> None:
            if issubclass(category, RuntimeWarning) and "was never awaited" in str(message):
                unawaited.append(str(message).partition("\n")[0])
            else:
                show(message, category, *details, **named)

        warnings.showwarning = show_or_keep
        yield


@contextmanager
def working(wait: object) -> Iterator[None]:
    """A function of ``wait`` runs."""
    begun = perf_counter()
    yield
    if _spent is not None:
        _spent.worked(repr(wait), perf_counter() - begun)


@contextmanager
def watched(what: str) -> Iterator[None]:
    """Within the ``with`` block, what runs counts as one state."""
    spent = _spent
    if spent is None:
        yield
        return
    begun = spent.begin(what, is_counted=False)
    try:
        yield
    finally:
        spent.end(begun)


@lru_cache(maxsize=16)
def timed(machine: Any) -> type[Machine]:
    """A subclass of ``machine`` that measures how long the states of its handler block, and has their lines counted."""

    class Timed(machine):  # type: ignore[misc]
        __slots__ = ()

        if issubclass(machine, StreamMachine):
            feed = machine._feed_slowly

        def _step(self, call: Any, argument: object, reason: Cause | None = None) -> None:
            spent, state = _spent, self.state
            if spent is None:
                with _counted(self):
                    machine._step(self, call, argument, reason)
                return
            frame = state.__self__.cr_frame if is_of_coroutine(state) else None
            begun = spent.begin((self, call, state, -1 if frame is None else frame.f_lasti), is_counted=True)
            try:
                with _counted(self):
                    machine._step(self, call, argument, reason)
                spent.refuse_unawaited()
            finally:
                spent.end(begun)

        def _end(self, reason: BaseException | None) -> None:
            with _counted(self):
                super()._end(reason)

        def _tell_urgent(self, data: bytes) -> None:
            with _counted(self):
                super()._tell_urgent(data)  # of a `StreamMachine`

    Timed.__name__ = machine.__name__  # which messages mention
    return Timed


def _named(machine: Machine, call: Any, state: Any, at: int) -> str:
    """What the machine runs or has run, as messages name it: a coroutine by the line that it had reached."""
    kind = machine.handler if isinstance(machine.handler, type) else type(machine.handler)
    name = getattr(call, "__name__", "")
    if issubclass(kind, (BufferedStream, BufferedPacket)) or state == machine._open:
        name = "handle"
    elif name not in ("interrupted", "urgent"):
        name = name_of(state)
        if is_of_coroutine(state):  # it may have gone on since
            code = state.__self__.cr_code
            name = f"{state.__self__.__name__}:{line_of(code, at) or code.co_firstlineno}"
    return f"{kind.__name__}.{name}"


_UNCOUNTED = nullcontext()


def _counted(machine: Machine) -> AbstractContextManager[object]:
    """Within the ``with`` block the handler of the machine runs: its lines count, if its driver counts any."""
    limit: line_limit | None = getattr(machine.driver, "limit", None)
    return _UNCOUNTED if limit is None else limit


def _waits() -> int:
    """How often this thread has given up the processor by itself (``ru_nvcsw`` of getrusage(2))."""
    return 0 if _OF_THREAD is None else resource.getrusage(_OF_THREAD).ru_nvcsw
