"""Work outside the loop that a row waits for: `Forked`, `Threaded`, `Connected`, and what a program adds.

A class that does such work is registered for the class of the wait (`does`):

    @does(Resolved)
    class Resolving:
        def __init__(self, row, wait): ...
        def start(self): ...        # in the end: row.reactor.work.finish(row, self, result_or_cause)
        def cancel(self): ...
        def close_copy(self): ...

The row stays in the table while it waits. A `Pool` bounds how much work of one kind is under way at once.
"""

from __future__ import annotations

from _weakref import proxy
from collections import deque

from ..handlers import Cause
from ..loop.kernel import PAUSE, NoneLeft
from ..loop.log import WARNING, log
from .ends import forget_frames
from .preparing import prepare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeVar

    from ..handlers import Wait
    from ..loop.timers import Timer
    from .reactor import Reactor
    from .request import Request

    class Work(Protocol):
        """One piece of work for one row."""

        def start(self) -> None:
            """Begin the work. An exception means that the work has failed."""

        def cancel(self) -> None:
            """The row does not wait for the result any more."""

        def close_copy(self) -> None:
            """In a forked child that does not do the work: close the copies of its descriptors."""

    class PooledWork(Work, Protocol):
        """Work that may have to wait for a place in a `Pool`."""

        def begin(self) -> None:
            """Begin now. Raises `NoneLeft` if the job must wait; any other exception means that the work has failed."""

        def failed(self, error: BaseException) -> None:
            """The work has failed with ``error``: tell the row."""

    Maker = TypeVar("Maker", bound=Callable[..., Work])

_makers: dict[type[Wait], Callable[[Request, Any], Work]] = {}


def does(kind: type[Wait]) -> Callable[[Maker], Maker]:
    """Register a class whose objects do the work of waits of the class ``kind``; it is called with row and wait."""

    def register(maker: Maker) -> Maker:
        _makers[kind] = maker
        return maker

    return register


def make_work(row: Request, wait: Wait) -> Work:
    """An object of the class that is registered for the wait. Raises `RuntimeError` if there is none."""
    maker = _maker_of(wait)
    if maker is None:
        prepare()  # the program may have imported the wait while it was serving
        maker = _maker_of(wait)
    if maker is None:
        raise RuntimeError(f"nothing does the work of {wait!r}: register a class with reactor.table.work.does")
    return maker(row, wait)


def _maker_of(wait: Wait) -> Callable[[Request, Any], Work] | None:
    return next((_makers[kind] for kind in type(wait).__mro__ if kind in _makers), None)


class Returned:
    """A ``result`` of work that may itself be a `Cause`: the work has not failed."""

    __slots__ = ("result",)

    def __init__(self, result: object) -> None:
        self.result = result


class OutsideWork:
    """The work that the rows of one reactor wait for."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor: Reactor = proxy(reactor)  # the reactor refers to this object: no cycle
        self._pools: dict[str, Pool] = {}
        self.jobs: dict[int, list[tuple[Work, Wait]]] = {}
        """The work of each row that waits for some, with its wait, by the row's serial."""
        self.here: Callable[[], None] | None = None
        """Work that `Reactor.drive` does itself, between two steps of the loop."""
        reactor.descriptors.add(self)

    def begin(self, row: Request, wait: Wait) -> None:
        """Begin the work that ``row`` waits for. Raises `RuntimeError` if no class is registered for the wait."""
        for part in wait.parts:
            if part.outside:
                work = make_work(row, part)
                self.jobs.setdefault(row.serial, []).append((work, part))
                work.start()

    def finish(self, row: Request, work: Work, result: object) -> None:
        """Hand the result of the work, or the `Cause` of its failure, to its row. May be called from any thread.

        A result that is a cause is handed over as `Returned`.
        """
        self._reactor.call_soon(self._finish, row, work, result)

    def forget(self, row: Request) -> None:
        """The row no longer waits for its work, if it had any."""
        for work, _ in self.jobs.pop(row.serial, ()):
            work.cancel()

    def pool(self, kind: str, limit: int, bound: str) -> Pool:
        """The pool for one kind of work, after its limit is set to ``limit``; ``bound`` tells what declares that."""
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = Pool(self._reactor, bound)
        pool.limit = limit
        return pool

    def children(self) -> Pool:
        """The pool of the children of the reactor."""
        return self.pool("children", self._reactor.max_children, "Reactor.max_children")

    def threads(self) -> Pool:
        """The pool of the threads of the reactor."""
        return self.pool("threads", self._reactor.max_threads, "Reactor.max_threads")

    def close_copy(self, keep: object) -> None:
        """In a forked child: none of the work is its own."""
        for jobs in self.jobs.values():
            for work, _ in jobs:
                work.close_copy()
        self.jobs.clear()

    def _finish(self, row: Request, work: Work, result: object) -> None:
        channel, jobs = row.channel, self.jobs.get(row.serial, [])
        for place, (job, part) in enumerate(jobs):
            if job is work and channel is not None and not channel.fresh:
                del jobs[place]
                if not jobs:
                    del self.jobs[row.serial]
                self._reactor.settle_soon(row)
                if isinstance(result, Cause):
                    self._reactor.guard(row, channel.interrupt, result)
                else:
                    result = result.result if isinstance(result, Returned) else result
                    self._reactor.guard(row, channel.resume, channel.wait.answer(part, result))
                return
        # The row has ended, or waits for something else since this batch; `forget` will cancel the work.
        forget_frames(getattr(result, "error", None))  # nobody else will


class Pool:
    """Jobs of one kind: at most ``limit`` are under way; the others wait in order.

    They also wait while the host can't make another child or thread. That jobs wait is logged once for each reason.
    """

    def __init__(self, reactor: Reactor, bound: str) -> None:
        self.limit = 0
        self.one_by_one = False
        """Whether one job begins in a batch, because that takes long, as fork(2) does."""
        self.has_begun = False
        """Whether any job has begun, ever."""
        self._reactor = reactor
        self._bound = bound
        self._told: set[bool] = set()  # whether it was logged that the pool is full (True), and the host (False)
        self._working: set[PooledWork] = set()
        self._waiting: deque[PooledWork] = deque()
        self._beginning = False
        self._rests = False  # whether one job has begun in this batch, and no other may
        self._retry: Timer | None = None

    def enter(self, job: PooledWork) -> None:
        """Begin the job now, or when it is its turn."""
        self._waiting.append(job)
        self._go_on()

    def leave(self, job: PooledWork) -> None:
        """The job is done, or is not wanted any more."""
        if job in self._waiting:
            self._waiting.remove(job)
        self._working.discard(job)
        self._go_on()

    def _rested(self) -> None:
        self._rests = False
        self._go_on()

    def _try_again(self) -> None:
        self._retry = None
        self._go_on()

    def _go_on(self) -> None:
        if self._beginning:
            return  # called by a job that could not begin and has left: the outer call goes on
        self._beginning = True
        try:
            while self._waiting and len(self._working) < self.limit and not self._rests:
                if self.one_by_one:
                    self._rests = True
                    self._reactor.call_soon(self._rested)
                job = self._waiting.popleft()
                self._working.add(job)
                try:
                    job.begin()
                    self.has_begun = True
                except NoneLeft as error:
                    self._working.discard(job)
                    self._waiting.appendleft(job)
                    if self._retry is None:
                        self._retry = self._reactor.call_later(PAUSE, self._try_again)
                    self._tell(False, f"the host has none left for now: {error}")
                    return
                except Exception as error:  # of any class: the row waits for the result
                    job.failed(error)
        finally:
            self._beginning = False
        if self._waiting and len(self._working) >= self.limit:
            self._tell(True, f"all {self.limit} are busy; raise {self._bound}, or have a handler do less at a time")

    def _tell(self, is_full: bool, why: str) -> None:
        if is_full not in self._told:
            self._told.add(is_full)
            log(WARNING, "work waits for one of %s: %s", self._bound, why)
