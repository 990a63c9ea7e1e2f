"""Work outside the loop that rows wait for: `Forked` in a child, `Threaded` in a thread, `Connected`.

A job hands its result to its row through the loop. What is over the bound waits its turn in the
order of asking, its row in the table all the while. `Reactor` imports this module when one is
made, not with the package: ``pickle`` and ``threading`` would weigh on every import.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections import deque
from selectors import EVENT_READ

from handlers import Cause, Connected, Failed, Forked

from .children import died
from .connecting import Connecting
from .request import NO_FORK, NO_THREADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from handlers import Elsewhere

    from .loop import Reactor
    from .request import Request
    from .sources import Watch

MAX_RESULT = 64 << 20
"""Bytes of pickled result that a `Forked` child may send back (64 MiB)."""


class Crew:
    """Jobs of one kind: at most ``limit`` at work, the others in line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._working: set[Job] = set()
        self._line: deque[Job] = deque()
        self._beginning = False

    def enter(self, job: Job) -> None:
        """Begin the job now, or when it is its turn."""
        self._line.append(job)
        self._go_on()

    def leave(self, job: Job) -> None:
        """The job is done, or is not wanted any more."""
        if job in self._line:
            self._line.remove(job)
        self._working.discard(job)
        self._go_on()

    def _go_on(self) -> None:
        if self._beginning:
            return  # a job that could not even begin has left: the loop below goes on
        self._beginning = True
        try:
            while self._line and len(self._working) < self._limit:
                job = self._line.popleft()
                self._working.add(job)
                try:
                    job.begin()
                except Exception as error:  # whatever it is, a row waits to hear of it
                    job.failed(error)
        finally:
            self._beginning = False


class Workers:
    """What a reactor has at work elsewhere."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._forked = Crew(reactor.max_children)
        self._threaded = Crew(reactor.max_threads)
        self.jobs: dict[int, Job | Connecting] = {}
        """The job of each row that waits for one, by the row's serial."""

    def begin(self, row: Request, wait: Any) -> None:
        """Begin the work that ``row`` has come to wait for."""
        job = self.jobs[row.serial] = self._job(row, wait)
        job.start()

    def finish(self, row: Request, job: Job | Connecting, result: object) -> None:
        """Hand a job's result, or the `Cause` of its failure, to its row. May be called from another thread."""
        self._reactor.call_soon(self._done, row, job, result)

    def forget(self, row: Request) -> None:
        """The row no longer waits for its work, if it had any."""
        job = self.jobs.pop(row.serial, None)
        if job is not None:
            job.cancel()

    def forked(self) -> None:
        """In a child: none of it is its own."""
        for job in self.jobs.values():
            job.close_copy()
        self.jobs.clear()

    def _done(self, row: Request, job: Job | Connecting, result: object) -> None:
        machine = row.machine
        if self.jobs.get(row.serial) is job and machine is not None:
            del self.jobs[row.serial]
            self._reactor.settle_soon(row)
            self._reactor.guard(row, machine.interrupt if isinstance(result, Cause) else machine.resume, result)

    def _job(self, row: Request, wait: Any) -> Job | Connecting:
        if isinstance(wait, Connected):
            return Connecting(row, wait)
        if isinstance(wait, Forked):
            return ForkedJob(row, wait, self._forked)
        return ThreadedJob(row, wait, self._threaded)


class Job:
    """One function at work for one row."""

    def __init__(self, row: Request, wait: Elsewhere, crew: Crew) -> None:
        self.row = row
        self.wait = wait
        self._crew = crew

    def start(self) -> None:
        """Ask for a place."""
        self._crew.enter(self)

    def begin(self) -> None:
        """Do the work. What it raises is why the work failed."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The row doesn't wait for the result any more."""
        raise NotImplementedError

    def close_copy(self) -> None:
        """In a forked child that has nothing to do with it: close copies of its descriptors."""

    def done(self, result: object) -> None:
        """Hand over the result, or the `Failed` that came instead."""
        self._crew.leave(self)
        self.row.reactor.workers.finish(self.row, self, result)

    def failed(self, error: BaseException) -> None:
        """Hand over that the work failed, and why."""
        self.done(Failed(self.wait, error))


class ForkedJob(Job):
    """The function runs in a child, which sends its result back through a pipe."""

    def __init__(self, row: Request, wait: Elsewhere, crew: Crew) -> None:
        super().__init__(row, wait, crew)
        self._pid = 0
        self._pipe = -1
        self._watch: Watch | None = None
        self._received = bytearray()

    def begin(self) -> None:
        reactor = self.row.reactor
        if not hasattr(os, "fork"):
            raise RuntimeError(NO_FORK)
        reader, writer = os.pipe()
        try:
            self._pid = reactor.children.fork(self._exited)
        except BaseException:
            os.close(reader)
            os.close(writer)
            raise
        if self._pid == 0:
            os.close(reader)
            _work(self.wait, writer)
        os.close(writer)
        os.set_blocking(reader, False)
        self._pipe = reader
        try:
            self._watch = reactor.watch(reader, EVENT_READ, lambda events: self._receive())
        except BaseException:  # the selector takes no more, or no number so high
            os.close(reader)
            reactor.children.kill(self._pid)
            raise

    def cancel(self) -> None:
        self._crew.leave(self)
        self._close()
        if self._pid:
            self.row.reactor.children.kill(self._pid)

    def close_copy(self) -> None:
        if self._watch is not None:
            os.close(self._pipe)

    def _receive(self) -> bool:
        """Take what the pipe holds; whether more may come."""
        try:
            piece = os.read(self._pipe, 1 << 20)
        except BlockingIOError:
            return False
        self._received += piece
        if piece and len(self._received) <= MAX_RESULT:
            return True
        self._close()
        return False

    def _exited(self, status: int | None, words: bytes) -> None:
        self._pid = 0
        while self._watch is not None and self._receive():
            pass  # what the pipe still holds
        self._close()
        if len(self._received) > MAX_RESULT:
            self.failed(RuntimeError(f"the result is over {MAX_RESULT} bytes"))
        elif status:
            self.failed(died(status))
        else:
            self._unpickle()

    def _unpickle(self) -> None:
        try:
            succeeded, result = pickle.loads(self._received)
        except Exception as error:
            self.failed(error)
        else:
            if succeeded:
                self.done(result)
            else:
                self.failed(result)

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            os.close(self._pipe)


class ThreadedJob(Job):
    """The function runs in a thread. It can't be stopped, so a job that is given up keeps its place."""

    def __init__(self, row: Request, wait: Elsewhere, crew: Crew) -> None:
        super().__init__(row, wait, crew)
        self._begun = False

    def begin(self) -> None:
        self._begun = True
        self.row.reactor.make_wakeup()
        try:
            threading.Thread(target=self._work, daemon=True).start()
        except RuntimeError as error:
            raise RuntimeError(f"{NO_THREADS} ({error})") from None

    def cancel(self) -> None:
        if not self._begun:
            self._crew.leave(self)

    def _work(self) -> None:
        result: Any
        try:
            result = self.wait.function(*self.wait.arguments)
        except BaseException as error:
            result = Failed(self.wait, error)
        self.row.reactor.call_soon(self.done, result)


def _work(wait: Elsewhere, pipe: int) -> None:
    """In the child: do the work and send back what came of it. Never returns."""
    status = 1
    try:
        try:
            answer = pickle.dumps((True, wait.function(*wait.arguments)))
        except BaseException as error:
            answer = _pickled_error(error)
        with open(pipe, "wb") as stream:
            stream.write(answer)
        status = 0
    finally:
        os._exit(status)


def _pickled_error(error: BaseException) -> bytes:
    try:
        answer = pickle.dumps((False, error))
        pickle.loads(answer)  # an exception with a constructor of its own may pickle and not come back
        return answer
    except Exception:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
