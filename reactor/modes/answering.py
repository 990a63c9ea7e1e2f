"""The work of `Answered`: a blocking handler answers one whole request in a thread, in a child, or in the caller.

The row stays in the loop, which does all input and output. What the handler writes goes to the row; past its
``high_water`` the handler waits until the client has taken it. When the handler has returned, the row goes on.
"""

from __future__ import annotations

import errno
import os
import select
import threading
from contextlib import suppress
from selectors import EVENT_READ

from ..handlers import Flushed, TimedOut
from ..handlers.blocking.framing import Answered, Outcome, as_exception
from ..loop.children import died
from ..servers.hooks import call_hook
from ..servers.words import answer_report, apply_answer_report, was_cut
from ..table.ends import forget_frames
from ..table.work import does
from .jobs import PipedJob, ThreadedJob

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..handlers.blocking.whole import Send
    from ..loop.timers import Timer
    from ..table.request import Request
    from ..table.work import Work

CHUNK = 65_536
"""Bytes that a handler hands to its row at a time, at most."""

LONGEST = 1_000_000
"""Seconds; what is longer is no bound, because poll(2) counts milliseconds in an ``int``."""


def most_held(handler: Any) -> int:
    """Bytes of output that a row may hold before its blocking handler waits."""
    return int(min(handler.high_water, handler.max_output // 2))


def chunk_of(handler: Any) -> int:
    """Bytes that a handler hands to its row at a time: with those that the row holds, not more than ``max_output``."""
    return int(max(1, min(CHUNK, handler.max_output // 2)))


def patience(handler: Any, timeout: float | None) -> float | None:
    """Seconds that a blocking handler waits for its client: the ``timeout`` of its connection, or of its class."""
    seconds = handler.timeout if timeout is None else timeout
    return None if seconds is None or seconds > LONGEST else seconds


def _gone() -> OSError:
    return ConnectionAbortedError(errno.ECONNABORTED, "the connection has ended")


def _cut(row: Request) -> OSError:
    """The error for a handler whose client takes no output. The row ends: what follows would stand in a gap."""
    row.reactor.call_soon(row.lose, TimedOut(Flushed()))
    return TimeoutError("timed out")


class Follower:
    """Follows the output of a row: `_drained` is called when all of it has been taken, or dropped.

    To the row's machine it is a machine that waits (`Machine.follow`), and the driver of that.
    """

    drained: Any = None
    """Set by the machine that is followed, as for a machine that waits; not used here."""

    @property
    def driver(self) -> Follower:
        """What the machine tells that its output has drained."""
        return self

    def touched(self) -> None:
        """The machine tells it."""
        self._drained()

    def _drained(self) -> None:
        raise NotImplementedError

    def _follow(self, handler: Any) -> bool:
        """Whether more output waits than the row of ``handler`` should hold; if so, `_drained` will be called."""
        machine = handler._machine
        if machine.finished or machine.held_out <= most_held(handler):
            return False
        machine.follow(self, machine.wait)
        return True


@does(Answered)
def answering(row: Request, wait: Answered) -> Work:
    """What does the work of ``wait``."""
    made: Work = _PLACES[wait.place](row, wait)
    return made


class AnswerHere:
    """The handler runs in the thread that drives the loop of this one row, between two steps of it.

    While it runs no step is taken, so it takes steps itself to send its output.
    """

    def __init__(self, row: Request, wait: Answered) -> None:
        self._row = row
        self._wait = wait
        self._left = 0.0  # when the loop took its last step
        self._is_cut = False  # whether a piece of output was not sent, or not all of it

    def start(self) -> None:
        """Have `Reactor.drive` run the handler."""
        self._row.reactor.work.here = self._run

    def cancel(self) -> None:
        """The row waits no more. A handler that runs finds out with its next call."""
        self._row.reactor.work.here = None

    def close_copy(self) -> None:
        """It has no descriptor."""

    def _run(self) -> None:
        row: Any = self._row
        self._left = row.reactor.clock.monotonic()
        try:
            with row.owner.hand.at(row):
                outcome = self._wait.run(self._send)
            self._excuse()
        except BaseException as error:  # SystemExit, which leaves the loop: the request has ended for it
            row.channel.discard(error)
            raise
        row.reactor.work.finish(row, self, outcome)
        if row not in row.reactor.table:
            forget_frames(outcome.error)  # the loop takes no further step

    def _send(self, octets: memoryview, timeout: float | None) -> None:
        row, handler = self._row, self._wait.handler
        seconds, most, size = patience(handler, timeout), most_held(handler), chunk_of(handler)
        self._excuse()
        for start in range(0, len(octets), size):
            if handler._machine.finished or self._is_cut:
                raise _gone()
            handler.send(octets[start : start + size])
            row.reactor.finish_batch(row.reactor.clock.monotonic())  # what the kernel takes leaves
            row.reactor.drive_until(row, lambda: not handler._machine.outbox, 0)  # through filters in further batches
            if not row.reactor.drive_until(row, lambda: bool(handler._machine.held_out <= most), seconds):
                self._is_cut = True
                raise _gone() if handler._machine.finished else _cut(row)
        self._left = row.reactor.clock.monotonic()

    def _excuse(self) -> None:
        """The time in which the handler has computed is not that of the client, to which no step was taken."""
        row: Any = self._row
        if row.pace is not None:
            row.pace.excuse(self._left, row.reactor.clock.monotonic())


class Outlet(Follower):
    """The output of a handler that runs in a thread: passes it to the row, in the thread of the loop."""

    def __init__(self, row: Request) -> None:
        self._row = row
        self._handler: Any = row.channel.handler
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._under_way = 0
        self._is_shut = False

    def send(self, octets: memoryview, timeout: float | None) -> None:
        """In the thread of the handler: send all of ``octets``. Raises ``OSError``."""
        seconds, size = patience(self._handler, timeout), chunk_of(self._handler)
        for start in range(0, len(octets), size):
            piece = bytes(octets[start : start + size])
            with self._changed:
                if not self._changed.wait_for(self._may_send, seconds):
                    raise _cut(self._row)
                if self._is_shut:
                    raise _gone()
                self._under_way += len(piece)
                self._pieces.append(piece)
                is_first = len(self._pieces) == 1
            if is_first:
                self._row.reactor.call_soon(self._pass_on)

    def _may_send(self) -> bool:
        return self._is_shut or self._under_way <= most_held(self._handler)

    def _pass_on(self) -> None:
        with self._changed:
            pieces, self._pieces = self._pieces, []
        for piece in pieces:
            self._handler.send(piece)
        if not self._follow(self._handler):
            self._drained()

    def _drained(self) -> None:
        with self._changed:
            self._under_way = self._handler._machine.held_out + sum(map(len, self._pieces))
            self._changed.notify()

    def shut(self) -> None:
        """The row waits no more: what the handler sends from now on raises ``OSError``."""
        with self._changed:
            self._is_shut = True
            self._changed.notify()


class AnswerInThread(ThreadedJob):
    """The handler runs in a thread."""

    def __init__(self, row: Request, wait: Answered) -> None:
        service: Any = row.owner
        super().__init__(row, wait, service.mode.pool("thread"))
        self._service = service
        self._outlet = Outlet(row)

    def cancel(self) -> None:
        self._outlet.shut()
        super().cancel()

    def _start(self) -> None:
        self._service.mode.in_thread(self._work)

    def _work(self) -> None:
        with self._service.hand.at(self.row):
            try:
                outcome = self.wait.run(self._outlet.send)
            except BaseException as error:  # SystemExit, which ends no more than the request
                outcome = Outcome(False, as_exception(error))
        self.row.reactor.call_soon(self.done, outcome)


class AnswerInChild(PipedJob, Follower):
    """The handler runs in a child, which sends its output through a pipe, and at its end how it has ended.

    A child costs more than most requests. So it also answers those behind the first that the row holds whole by then:
    the row reads nothing while the child works.
    """

    wait: Answered

    def __init__(self, row: Request, wait: Answered) -> None:
        service: Any = row.owner
        super().__init__(row, wait, service.mode.pool("fork"))
        self.keep = row
        self._service = service
        self._is_cancelled = self._is_paused = False
        self._end: tuple[int | None, bytes] | None = None  # how the child has ended
        self._timer: Timer | None = None  # until when the client must take what the child has left

    def begin(self) -> None:
        super().begin()
        self._service.mode.child_began(self._pid)

    def cancel(self) -> None:
        self._is_cancelled = True
        self._stop_timer()
        super().cancel()

    # In the parent

    def _receive(self) -> bool:
        handler = self.row.channel.handler
        try:
            piece = os.read(self._pipe, chunk_of(handler))
        except BlockingIOError:
            return False
        if not piece:
            self._close()
            return False
        handler.send(piece)
        if self._watch is not None and self._follow(handler):
            self._watch.modify(0)
            self._is_paused = True
        return not self._is_paused

    def _drained(self) -> None:
        self._is_paused = False
        self._stop_timer()
        if self._end is not None:
            self.row.reactor.call_soon(self._take_rest)
        elif self._watch is not None:
            self._watch.modify(EVENT_READ)

    def _exited(self, status: int | None, words: bytes) -> None:
        self._service.mode.child_ended(self._pid)
        self._pid = 0
        if was_cut(words) and not self._is_cancelled:
            apply_answer_report(self.row, words)
            self.row.reactor.call_soon(self.row.lose, TimedOut(Flushed()))  # as in `_cut`
            return
        self._end = status, words
        self._take_rest()

    def _take_rest(self) -> None:
        """The child has ended: pass on what the pipe still has, as the client takes it, then tell the row."""
        while self._watch is not None and not self._is_paused and self._receive():
            pass
        if not self._is_paused and not self._is_cancelled and self._end is not None:
            self._close()
            self._finish(*self._end)
        elif self._is_paused:
            seconds = patience(self.wait.handler, None)
            if seconds is not None:
                self._timer = self.row.reactor.call_later(seconds, self.row.lose, TimedOut(Flushed()))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self, status: int | None, words: bytes) -> None:
        row = self.row
        if not words:
            self.done(Outcome(False, died(status or 0)))
            return
        goes_on, taken = apply_answer_report(row, words)
        if row.error is None:
            if taken:
                handler: Any = row.channel.handler
                handler.put_back(handler.take_held()[taken:])
            self.done(Outcome(goes_on))
            return
        self._pool.leave(self)  # the child has called handle_error()
        row.reactor.work.forget(row)
        row.reactor.settle_soon(row)
        row.reactor.guard(row, row.channel.discard, row.error)

    # In the child

    def _be_child(self, pipe: int) -> None:
        """Answer the request, and exit."""
        row, status = self.row, 1
        server, wait = row.server, self.wait
        try:
            os.set_blocking(pipe, False)
            with self._service.hand.at(row):
                outflow = Outflow(pipe, wait.handler)
                outcome, taken = self._answer_held(outflow.send)
                if outcome.error is not None and not outflow.is_cut:  # else the parent logs the cause
                    try:
                        raise outcome.error
                    except Exception as error:
                        row.error = error
                        call_hook(server, "handle_error", row.request, row.peer)
            os.close(pipe)
            row.reactor.children.tell(answer_report(row, outcome.goes_on, taken, outflow.is_cut))
            status = 0
        finally:
            os._exit(status)

    def _answer_held(self, send: Send) -> tuple[Outcome, int]:
        """Answer the request, and those that the row holds whole. Returns how many bytes of these were taken."""
        handler = self.wait.handler
        outcome, held, taken = self.wait.run(send), handler.take_held(), 0
        is_for_each = handler.request_timeout is not None or handler.min_rate  # a limit that the parent keeps
        while outcome.goes_on and taken < len(held) and not is_for_each:
            found = handler.whole_in(held[taken:])
            if found is None:
                break
            request, size = found
            outcome, taken = Answered(handler, request, "fork").run(send), taken + size
        return outcome, taken


class Outflow:
    """In the child: the output of the handler, to the parent, which reads no more while the client takes nothing."""

    def __init__(self, pipe: int, handler: Any) -> None:
        self._pipe = pipe
        self._handler = handler
        self.is_cut = False
        """Whether a piece could not be written, or not all of it: the row ends, for what follows would be in a gap."""

    def send(self, octets: memoryview, timeout: float | None) -> None:
        """Write all octets. Raises ``OSError``, from then on each time."""
        if self.is_cut:
            raise _gone()
        seconds = patience(self._handler, timeout)
        poller = select.poll()
        poller.register(self._pipe, select.POLLOUT)
        self.is_cut = True
        while octets:
            if not poller.poll(None if seconds is None else seconds * 1000):
                raise TimeoutError("timed out")
            with suppress(BlockingIOError):
                octets = octets[os.write(self._pipe, octets) :]
        self.is_cut = False


_PLACES: dict[str, Any] = {"here": AnswerHere, "thread": AnswerInThread, "fork": AnswerInChild}
