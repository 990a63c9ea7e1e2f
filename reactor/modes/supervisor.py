"""`Supervisor`: keeps a number of worker processes running: replaces those that die, and all of them on request.

A worker is a child that calls one function, ``work(worker)``, which serves until the worker is told to end. What the
function imports is new in each worker, as far as the parent has not imported it. The parent serves nothing: it waits
for the end of a worker (`loop.children`) and for messages (`control`), so it lives on when handlers fail.

A worker that dies is replaced at once the first time, then after a time that doubles from death to death, up to
`LONGEST`, unless it has served for `STEADY` seconds: a handler that kills each worker must not become a loop of forks.
A rolling restart goes from one worker to the next. The new worker says that it accepts before the old one is told to
drain. If the new worker can't serve, the old ones stay.
"""

from __future__ import annotations

import logging
import mmap
import os
import signal
import socket
import sys
import traceback
from _thread import allocate_lock
from functools import partial
from time import monotonic

from ..loop.children import NO_FORK, died
from ..loop.timers import nothing
from ..servers.sharing import ABSENT
from .control import Control
from .joined import Joined, add_up
from .worker import Worker, be_worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    from ..loop.loop import Loop
    from ..loop.timers import Timer

FIRST, LONGEST = 0.1, 30.0
"""Seconds until a worker is replaced that has died early: the second time, and at most."""

STEADY = 10.0
"""Seconds that a worker has to serve, so that its death counts as the first one."""

MANY = 5
"""Early deaths, one after the other, after which the log names a remedy."""

MARGIN = 3.0
"""Seconds after the grace at which a worker that does not end is killed."""

ANSWER = 1.0
"""Seconds that workers may take to answer a question."""

TAKING = 2.0
"""Seconds that workers may take, at the end, to accept what the kernel has completed."""


class Process:
    """A worker process as its parent sees it."""

    def __init__(self, post: Post, place: int, sock: socket.socket) -> None:
        self.post = post
        self.place = place
        self.sock = sock
        self.pid = 0
        self.control: Control | None = None
        self.began = 0.0
        """When it said that it accepts, by the loop's clock; 0 before that."""
        self.problem = ""
        """Why it can't serve, in its own words."""
        self.is_told = False
        """Whether it was told to end."""
        self.timer: Timer | None = None
        """Kills it."""

    def __str__(self) -> str:
        return f"worker {self.post.number} (pid {self.pid})"

    def send(self, **message: Any) -> None:
        if self.control is not None:
            self.control.send(**message)


class Post:
    """One of the workers, by number: the process that serves, the one that is to follow, the one that drains."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.current: Process | None = None
        self.starting: Process | None = None
        self.draining: Process | None = None
        self.is_stale = False
        """Whether the current process is to be replaced."""
        self.deaths = 0
        """Early deaths, one after the other."""
        self.timer: Timer | None = None
        """Starts a process after some deaths."""

    @property
    def processes(self) -> list[Process]:
        return [process for process in (self.current, self.starting, self.draining) if process is not None]


class Supervisor:
    """Keeps ``count`` workers running, each of which calls ``work(worker)`` and exits.

    Its methods are called in the thread of ``loop``, except `snapshot`. Raises `RuntimeError` where there is no fork.
    """

    def __init__(self, loop: Loop, count: int, work: Callable[[Worker], object], grace: float) -> None:
        if not hasattr(os, "fork"):
            raise RuntimeError(NO_FORK)
        if count < 1:
            raise ValueError(f"workers: 1 or more, not {count!r}")
        self.loop = loop
        self._work = work
        self._grace = grace
        self.posts = [Post(number) for number in range(1, count + 1)]
        self._places = list(range(2 * count))  # at one time a post has two processes at most
        self._counts = memoryview(mmap.mmap(-1, 16 * count)).cast("q")
        for place in self._places:
            self._counts[place] = ABSENT
        self.unfinished: list[dict[str, Any]] = []
        """The records of requests that did not finish (`Request.record`)."""
        self.killed = 0
        """Workers that did not end in time, so that nobody knows their requests."""
        self.was_ready = False
        """Whether all workers have served at one time."""
        self.problem = ""
        """Why the first workers can't serve, in the words of one of them; then all end."""
        self.stopping = False
        """Whether all workers are told to end."""
        self._past: dict[str, Any] = {"open": 0}  # the counts of workers that have ended
        self._questions: set[Question] = set()
        self._taking: set[Process] = set()
        self._when_taken: Callable[[], object] | None = None
        self.on_change: Callable[[], object] = nothing
        """Called when workers have become ready or have ended."""

    def __iter__(self) -> Iterator[Process]:
        return (process for post in self.posts for process in post.processes)

    @property
    def is_over(self) -> bool:
        """Whether all workers have been told to end, and have ended."""
        return self.stopping and not any(self)

    @property
    def is_ready(self) -> bool:
        """Whether every worker serves."""
        return all(post.current is not None for post in self.posts)

    @property
    def is_restarting(self) -> bool:
        """Whether a rolling restart goes on: a worker is still to be replaced."""
        return any(post.is_stale or post.starting is not None for post in self.posts)

    # What is asked of it

    def start(self) -> None:
        """Start the workers."""
        for post in self.posts:
            self._start(post)

    def restart(self) -> None:
        """Replace every worker, one after the other; those that have died are tried again at once."""
        for post in self.posts:
            post.is_stale = post.current is not None
            post.deaths = 0
            if post.starting is not None:  # it may have imported the code of before
                self._kill(post.starting)
            elif post.current is None:
                self._start(post)
        self._roll()

    def stop(self, seconds: float, when_taken: Callable[[], object] | None = None) -> None:
        """Have all workers end, within ``seconds``. A second call does nothing.

        With ``when_taken`` no worker will serve the sockets any more, so they first accept what the kernel has
        completed; then, or after `TAKING` seconds, ``when_taken()`` is called once, to close the sockets.
        """
        if self.stopping:
            return
        self.stopping = True
        self._when_taken = when_taken
        if when_taken is not None:
            self._taking = {post.current for post in self.posts if post.current is not None}
            self.loop.call_later(min(TAKING, seconds), self._all_taken)
        for post in self.posts:
            if post.timer is not None:
                post.timer.cancel()
            if post.starting is not None:
                self.loop.children.kill(post.starting.pid)
        for process in list(self):
            self._drain(process, seconds, when_taken is not None)
        self._taken(None)

    def insist(self) -> None:
        """Have all workers end at once."""
        self.stopping = True
        for process in self:
            process.send(insist=True)
            self._kill_later(process, MARGIN)

    def close(self) -> None:
        """Have the workers that are left end at once, and wait for them; those that do not are killed."""
        if any(self):
            self.insist()
        deadline = monotonic() + MARGIN
        while any(self) and monotonic() < deadline:
            self.loop.step(MARGIN)
        for process in list(self):
            self.loop.children.kill(process.pid)
            self.loop.children.reap(process.pid, blocking=True)
        self._all_taken()

    def ask(self, then: Callable[[Joined], object], seconds: float = ANSWER, has_rows: bool = True) -> None:
        """Ask the workers for their rows and counts; ``then(joined)`` is called in the loop, after ``seconds`` at most.

        A worker that has not answered by then is named in `Joined.silent`. Without ``has_rows`` for the counts alone.
        """
        Question(self, then, seconds, has_rows)

    def snapshot(self, seconds: float = ANSWER) -> Joined:
        """`ask` from another thread than the loop's, and wait for the answer."""
        if self.loop.working_here:
            raise RuntimeError("snapshot() waits for this thread, which would have to answer: take ask() here")
        arrived: list[Joined] = []
        bell = allocate_lock()
        bell.acquire()

        def tell(joined: Joined) -> None:
            arrived.append(joined)
            bell.release()

        self.loop.call_soon(self.ask, tell, seconds)
        bell.acquire(timeout=seconds + MARGIN)
        if not arrived:
            raise RuntimeError("the workers are not supervised any more: serve_forever() has ended")
        return arrived[0]

    # Starting a worker

    def _start(self, post: Post) -> None:
        post.timer = None
        if self.stopping or post.starting is not None or (post.current is not None and not post.is_stale):
            return
        try:
            self._fork(post)
        except OSError as error:
            self._put_off(post, f"worker {post.number} can't be started: {error}")

    def _fork(self, post: Post) -> None:
        ours, theirs = socket.socketpair()
        process = Process(post, self._places[-1], ours)
        # Until the child has handlers of its own, those of the parent must not be called there.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            process.pid = self.loop.children.fork(partial(self._ended, process))
            if not process.pid:
                ours.close()
                self._be_worker(Worker(post.number, theirs, self._counts, process.place, self._grace), blocked)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._places.pop()
        process.control = Control(self.loop, ours, partial(self._heard, process), nothing)
        post.starting = process

    def _be_worker(self, worker: Worker, blocked: set[int]) -> NoReturn:
        status = 1
        try:
            be_worker(worker, blocked)
            self._work(worker)
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            _flush(sys.stdout)
            _flush(sys.stderr)
            os._exit(status)

    def _heard(self, process: Process, message: dict[str, Any]) -> None:
        if "ready" in message:
            self._is_ready(process)
        elif "wrong" in message:
            process.problem = message["wrong"]
        elif "terminated" in message:
            if process is process.post.current:
                process.post.is_stale = True
            self._roll()
        elif "taken" in message:
            self._taken(process)
        elif "bye" in message:
            counts = {**message["bye"], "open": 0, "held": 0}
            for question in list(self._questions):
                question.heard(process, counts, [], 0.0)
            self._past = add_up([self._past, counts])
            self.unfinished += message["unfinished"]
        elif "answer" in message:
            for question in list(self._questions):
                if message["answer"] == id(question):
                    question.heard(process, message["stats"], message["rows"], message["oldest"])

    def _is_ready(self, process: Process) -> None:
        post = process.post
        if process is not post.starting:
            return  # it was killed in this moment
        process.began = self.loop.clock.monotonic()
        old, post.current, post.starting = post.current, process, None
        if old is not None:
            post.draining, post.is_stale = old, False
            self._drain(old, self._grace, False)
        self.was_ready = self.was_ready or self.is_ready
        self.on_change()
        self._roll()

    def _roll(self) -> None:
        """Go on with the rolling restart, if there is one: replace the next worker."""
        if self.stopping or any(post.starting is not None for post in self.posts):
            return
        for post in self.posts:
            if post.is_stale and post.draining is None:
                self._start(post)
                return

    # The end of a worker

    def _drain(self, process: Process, seconds: float, is_last: bool) -> None:
        process.is_told = True
        process.send(drain=seconds, is_last=is_last)
        self._kill_later(process, seconds + MARGIN)

    def _kill_later(self, process: Process, seconds: float) -> None:
        if process.timer is not None:
            process.timer.cancel()
        process.timer = self.loop.call_later(seconds, self._kill, process)

    def _kill(self, process: Process) -> None:
        if process.began:
            logging.getLogger("reactor").warning("%s did not end in time, and is killed", process)
            self.killed += 1
        process.is_told = True
        self.loop.children.kill(process.pid)

    def _ended(self, process: Process, status: int | None, words: bytes) -> None:
        control, post = process.control, process.post
        if control is not None:
            control.read()  # what it said last
            control.close()
        if process.timer is not None:
            process.timer.cancel()
        self._counts[process.place] = ABSENT
        self._places.append(process.place)
        was_current = process is post.current
        was_starting = process is post.starting
        if was_current:
            post.current = None
        elif was_starting:
            post.starting = None
        else:
            post.draining = None
        self._taken(process)
        for question in list(self._questions):
            question.forget(process)
        if not self.stopping:
            if was_starting:
                self._has_failed(process, status)
            elif was_current:
                self._has_died(process, status)
            self._roll()
        self.on_change()

    def _has_failed(self, process: Process, status: int | None) -> None:
        """A process has ended before it served."""
        post = process.post
        if process.is_told:  # it was killed for a restart, which has come meanwhile
            self._start(post)
            return
        said = f"{process}: {process.problem or _ending(status) + ', before it served'}"
        if not self.was_ready and process.problem:
            self.problem = process.problem
            self.stop(0)
            return
        if post.current is None:
            self._put_off(post, said)
            return
        for each in self.posts:
            each.is_stale = False
        logging.getLogger("reactor").error("%s. The workers from before go on", said)

    def _has_died(self, process: Process, status: int | None) -> None:
        post = process.post
        if self.loop.clock.monotonic() - process.began >= STEADY:
            post.deaths = 0
        self._put_off(post, f"{process} {_ending(status)}")

    def _put_off(self, post: Post, said: str) -> None:
        """Replace a worker that has died, at once or after a while."""
        post.is_stale = False
        seconds = min(LONGEST, FIRST * 2 ** min(post.deaths - 1, 20)) if post.deaths else 0.0
        post.deaths += 1
        remedy = ""
        if post.deaths % MANY == 0:
            remedy = f". It has died {post.deaths} times: correct what the log says, then restart the workers (SIGHUP)"
        logging.getLogger("reactor").error("%s; it is replaced in %g s%s", said, seconds, remedy)
        if post.timer is not None:
            post.timer.cancel()
        post.timer = self.loop.call_later(seconds, self._start, post)

    def _taken(self, process: Process | None) -> None:
        """The process accepts no more, at the end of all; ``None``: look whether that is true of all."""
        if process is not None:
            self._taking.discard(process)
        if self.stopping and not self._taking:
            self._all_taken()

    def _all_taken(self) -> None:
        call, self._when_taken = self._when_taken, None
        if call is not None:
            call()


class Question:
    """One question to all workers that serve, and their answers."""

    def __init__(
        self, supervisor: Supervisor, then: Callable[[Joined], object], seconds: float, has_rows: bool
    ) -> None:
        self._oldest = 0.0
        self._supervisor = supervisor
        self._then = then
        self._silent = {process.pid: process for process in supervisor if process.began}
        self._stats: list[dict[str, Any]] = [supervisor._past]
        self._rows: list[dict[str, Any]] = []
        supervisor._questions.add(self)
        self._timer = supervisor.loop.call_later(seconds, self._finish)
        for process in list(self._silent.values()):
            process.send(ask=id(self), rows=has_rows)
        self._finish_if_all()

    def heard(self, process: Process, stats: dict[str, Any], rows: list[dict[str, Any]], oldest: float) -> None:
        """The process has answered, or has told its counts at its end."""
        if self._silent.pop(process.pid, None) is None:
            return
        self._stats.append(stats)
        self._oldest = max(self._oldest, oldest)
        self._rows += [{"worker": process.post.number, "pid": process.pid, **row} for row in rows]
        self._finish_if_all()

    def forget(self, process: Process) -> None:
        """The process has ended."""
        if self._silent.pop(process.pid, None) is not None:
            self._finish_if_all()

    def _finish_if_all(self) -> None:
        if not self._silent:
            self._timer.cancel()
            self._finish()

    def _finish(self) -> None:
        if self in self._supervisor._questions:
            self._supervisor._questions.discard(self)
            silent = sorted((process.post.number, pid) for pid, process in self._silent.items())
            rows = sorted(self._rows, key=lambda row: (row["worker"], row["pid"], row["serial"]))
            self._then(Joined(add_up(self._stats), rows, silent, self._oldest))


def _flush(stream: Any) -> None:
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        pass  # nobody reads it, or it was closed


def _ending(status: int | None) -> str:
    """How a process has ended, with the exit status of ``waitpid``."""
    if status is None:
        return "was reaped by another part of the program"
    if status == 0:
        return "has ended with status 0"
    return str(died(status)).removeprefix("the child ")
