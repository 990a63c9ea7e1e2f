"""The work of the waits `Forked`, in a child, and `Threaded`, in a thread.

A job gives its result to its row in the loop. Past the bound of its pool, jobs wait in the order in which they were
started; their rows stay in the table.
"""

from __future__ import annotations

import errno
import os
import pickle
import threading
from selectors import EVENT_READ

from ..handlers import Cause, Failed, Forked, Threaded
from ..handlers.saying import safe_str
from ..loop.children import NO_FORK, died
from ..loop.kernel import NONE_LEFT, NoneLeft, is_final
from ..table import posted  # noqa: F401 - `Threaded` work may write to a request
from ..table.work import Pool, Returned, does
from .threading import NO_THREADS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handlers import Elsewhere, Outside
    from ..loop.watches import Watch
    from ..table.request import Request

MAX_RESULT = 64 << 20
"""Bytes of pickled result that a `Forked` child may send back (64 MiB)."""


class Job:
    """One piece of work, in a child or a thread, for one row."""

    def __init__(self, row: Request, wait: Outside, pool: Pool) -> None:
        self.row = row
        self.wait = wait
        self._pool = pool

    def start(self) -> None:
        """Enter the pool, which calls `begin` when it is the turn of this job."""
        self._pool.enter(self)

    def begin(self) -> None:
        """Start the child or the thread. An exception is the reason for which the work has failed."""
        raise NotImplementedError

    def cancel(self) -> None:
        """The row does not wait for the result any more."""
        raise NotImplementedError

    def close_copy(self) -> None:
        """In a forked child of another job or request: close the copies of this job's descriptors."""

    def done(self, result: object) -> None:
        """Give the row the result, which may be a `Failed`."""
        self._pool.leave(self)
        self.row.reactor.work.finish(self.row, self, result)

    def returned(self, result: object) -> None:
        """Give the row what the function has returned, which may be any object."""
        self.done(Returned(result) if isinstance(result, Cause) else result)

    def failed(self, error: BaseException) -> None:
        """Give the row a `Failed` with ``error``."""
        self.done(Failed(self.wait, error))


class ChildJob(Job):
    """A job that is done in a child, which is killed when the row does not wait for it any more."""

    keep: Request | None = None
    """The row whose descriptors the child keeps its copies of."""

    def __init__(self, row: Request, wait: Outside, pool: Pool | None = None) -> None:
        super().__init__(row, wait, pool or row.reactor.work.children())
        self._pool.one_by_one = True  # a fork takes long
        self._pid = 0

    def _fork(self, number: int) -> list[tuple[int, int]]:
        """Fork, with so many pipes. `_pid` is 0 in the child. Raises `NoneLeft` if the job must wait."""
        if not hasattr(os, "fork"):
            raise RuntimeError(NO_FORK)
        pipes: list[tuple[int, int]] = []
        try:
            pipes.extend(os.pipe() for _ in range(number))
        except BaseException:
            close_pipes(pipes)
            raise
        try:
            self._pid = self.row.reactor.children.fork(self._exited, keep=self.keep)
        except BaseException as error:
            close_pipes(pipes)
            if isinstance(error, OSError) and error.errno in NONE_LEFT - {errno.EMFILE, errno.ENFILE}:
                raise NoneLeft(*error.args) from error
            raise
        return pipes

    def cancel(self) -> None:
        self._pool.leave(self)
        self._close()
        if self._pid:
            self.row.reactor.children.kill(self._pid)

    def _exited(self, status: int | None, words: bytes) -> None:
        """The child has ended: see `Children.fork`."""
        raise NotImplementedError

    def _close(self) -> None:
        """Close this process's ends of the pipes."""
        raise NotImplementedError


def close_pipes(pipes: list[tuple[int, int]]) -> None:
    """Close both ends of the pipes."""
    for reader, writer in pipes:
        os.close(reader)
        os.close(writer)


class PipedJob(ChildJob):
    """A job in a child that sends bytes back through a pipe."""

    def __init__(self, row: Request, wait: Outside, pool: Pool | None = None) -> None:
        super().__init__(row, wait, pool)
        self._pipe = -1
        self._watch: Watch | None = None

    def begin(self) -> None:
        reactor = self.row.reactor
        [(reader, writer)] = self._fork(1)
        if self._pid == 0:
            os.close(reader)
            self._be_child(writer)
        os.close(writer)
        os.set_blocking(reader, False)
        self._pipe = reader
        try:
            self._watch = reactor.watch(reader, EVENT_READ, lambda events: self._receive())
        except BaseException:  # the selector takes no more descriptors, or none with so high a number
            os.close(reader)
            reactor.children.kill(self._pid)
            raise

    def close_copy(self) -> None:
        if self._watch is not None:
            os.close(self._pipe)

    def _be_child(self, pipe: int) -> None:
        """In the child: do the work, write to the pipe, and exit."""
        raise NotImplementedError

    def _receive(self) -> bool:
        """Read from the pipe once. Returns whether more may come."""
        raise NotImplementedError

    def _take_rest(self) -> None:
        """The child has ended: its last bytes may still be in the pipe."""
        while self._watch is not None and self._receive():
            pass
        self._close()

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            os.close(self._pipe)


@does(Forked)
class ForkedJob(PipedJob):
    """The function runs in a child, which sends its result back through a pipe."""

    wait: Forked

    def __init__(self, row: Request, wait: Forked) -> None:
        super().__init__(row, wait)
        self._received = bytearray()

    def _be_child(self, pipe: int) -> None:
        _work(self.wait, pipe)

    def _receive(self) -> bool:
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
        self._take_rest()
        if len(self._received) > MAX_RESULT:
            self.failed(RuntimeError(f"the result is over {MAX_RESULT} bytes"))
        elif status:
            self.failed(died(status))
        elif not self._received:
            self.failed(ChildProcessError("the child exited with status 0 and sent no result"))
        else:
            self._unpickle()

    def _unpickle(self) -> None:
        try:
            succeeded, result = pickle.loads(self._received)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self.failed(error)
        else:
            if succeeded:
                self.returned(result)
            else:
                self.failed(result)


@does(Threaded)
class ThreadedJob(Job):
    """The function runs in a thread. A thread can't be stopped, so a cancelled job counts in its pool until it ends."""

    wait: Any

    def __init__(self, row: Request, wait: Outside, pool: Pool | None = None) -> None:
        super().__init__(row, wait, pool or row.reactor.work.threads())
        self._begun = False

    def begin(self) -> None:
        self._begun = True
        self.row.reactor.make_wakeup()
        try:
            self._start()
        except RuntimeError as error:
            if self._pool.has_begun and not is_final(error):  # the host has threads, but not one more at the moment
                self._begun = False
                raise NoneLeft(errno.EAGAIN, str(error)) from error
            raise RuntimeError(f"{NO_THREADS} ({error})") from None

    def cancel(self) -> None:
        if not self._begun:
            self._pool.leave(self)

    def _start(self) -> None:
        self.row.reactor.share()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        try:
            result: Any = self.wait.function(*self.wait.arguments)
        except BaseException as error:
            self.row.reactor.call_soon(self.done, Failed(self.wait, error))
        else:
            self.row.reactor.call_soon(self.returned, result)


def _work(wait: Elsewhere, pipe: int) -> None:
    """In the child: call the function and send its result, or its exception, through the pipe. Never returns."""
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
        pickle.loads(answer)  # an exception with its own constructor may be pickled, and then fail to be unpickled
        return answer
    except BaseException:
        return pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {safe_str(error)}")))
