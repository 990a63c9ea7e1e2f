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
from functools import partial
from selectors import EVENT_READ

from ..handlers.blocking.framing import Answered, Outcome
from ..loop.children import died
from ..loop.kernel import NONE_LEFT, NoneLeft, is_final
from ..servers.hooks import call_hook
from ..servers.words import apply_exit_report, exit_report
from ..table.work import does
from .workers import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..loop.watches import Watch
    from ..table.request import Request
    from ..table.work import Work

CHUNK = 65_536
"""Bytes that a handler hands to its row at a time."""

LONGEST = 1_000_000
"""Seconds; what is longer is no bound, because poll(2) counts milliseconds in an ``int``."""

KEPT, CLOSED = b"K", b"C"
"""The first byte of what a child tells at its end: whether the connection goes on. Its exit report follows."""


def most_held(handler: Any) -> int:
    """Bytes of output that a row may hold before its blocking handler waits."""
    return int(min(handler.high_water, handler.max_output // 2))


def patience(handler: Any, timeout: float | None) -> float | None:
    """Seconds that a blocking handler waits for its client: the ``timeout`` of its connection, or of its class."""
    seconds = handler.timeout if timeout is None else timeout
    return None if seconds is None or seconds > LONGEST else seconds


def _gone() -> OSError:
    return ConnectionAbortedError(errno.ECONNABORTED, "the connection has ended")


class Drain:
    """Follows the output of a row: calls ``call`` when all of it has been taken, or dropped.

    It is a follower of the row's machine (`Machine.follow`), and its own driver.
    """

    def __init__(self, row: Request, call: Any) -> None:
        self.driver = self
        self.drained: Any = None
        self._machine: Any = row.channel.handler._machine
        self._call = call

    def follow(self) -> bool:
        """Whether more output waits than the row should hold; if so, ``call`` will be called."""
        machine = self._machine
        if machine.finished or machine.held_out <= most_held(machine.handler):
            return False
        machine.follow(self, machine.wait)
        return True

    def touched(self) -> None:
        """The machine tells that its output has drained."""
        self._call()


@does(Answered)
def answering(row: Request, wait: Answered) -> Work:
    """What does the work of ``wait``."""
    made: Work = _PLACES[wait.place](row, wait)
    return made


class AnswerHere:
    """The handler runs in the thread that drives the loop of this one row, between two steps of it."""

    def __init__(self, row: Request, wait: Answered) -> None:
        self._row = row
        self._wait = wait

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
        with row.owner.hand.at(row):
            outcome = self._wait.run(self._send)
        row.reactor.work.finish(row, self, outcome)

    def _send(self, octets: memoryview, timeout: float | None) -> None:
        row, handler = self._row, self._wait.handler
        seconds, most = patience(handler, timeout), most_held(handler)
        for start in range(0, len(octets), CHUNK):
            if handler._machine.finished:
                raise _gone()
            handler.send(octets[start : start + CHUNK])
            if not row.reactor.drive_until(row, lambda: bool(handler._machine.held_out <= most), seconds):
                raise _gone() if handler._machine.finished else TimeoutError("timed out")


class Outlet:
    """The output of a handler that runs in a thread: passes it to the row, in the thread of the loop."""

    def __init__(self, row: Request) -> None:
        self._row = row
        self._handler: Any = row.channel.handler
        self._changed = threading.Condition()
        self._pieces: list[bytes] = []
        self._under_way = 0
        self._is_shut = False
        self._drain = Drain(row, self._drained)

    def send(self, octets: memoryview, timeout: float | None) -> None:
        """In the thread of the handler: send all of ``octets``. Raises ``OSError``."""
        seconds = patience(self._handler, timeout)
        for start in range(0, len(octets), CHUNK):
            piece = bytes(octets[start : start + CHUNK])
            with self._changed:
                if not self._changed.wait_for(self._may_send, seconds):
                    raise TimeoutError("timed out")
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
        if not self._drain.follow():
            self._drained()

    def _drained(self) -> None:
        with self._changed:
            self._under_way = sum(map(len, self._pieces))
            self._changed.notify()

    def shut(self) -> None:
        """The row waits no more: what the handler sends from now on raises ``OSError``."""
        with self._changed:
            self._is_shut = True
            self._changed.notify()


class AnswerInThread(Job):
    """The handler runs in a thread."""

    def __init__(self, row: Request, wait: Answered) -> None:
        service: Any = row.owner
        super().__init__(row, wait, row.reactor.work.pool(*service.mode.pool("thread")))
        self._service = service
        self._outlet = Outlet(row)
        self._begun = False

    def begin(self) -> None:
        self._begun = True
        self.row.reactor.make_wakeup()
        try:
            self._service.mode.start_thread(self._work)
        except RuntimeError as error:
            if self._pool.has_begun and not is_final(error):
                self._begun = False
                raise NoneLeft(errno.EAGAIN, str(error)) from error
            raise

    def cancel(self) -> None:
        self._outlet.shut()
        if not self._begun:
            self._pool.leave(self)

    def _work(self) -> None:
        wait: Any = self.wait
        with self._service.hand.at(self.row):
            try:
                outcome = wait.run(self._outlet.send)
            except BaseException as error:  # SystemExit, which ends a thread and nothing else
                outcome = Outcome(False, error if isinstance(error, Exception) else None)
        self.row.reactor.call_soon(self.done, outcome)


class AnswerInChild(Job):
    """The handler runs in a child, which sends its output through a pipe, and at its end how it has ended."""

    def __init__(self, row: Request, wait: Answered) -> None:
        service: Any = row.owner
        super().__init__(row, wait, row.reactor.work.pool(*service.mode.pool("fork"), one_by_one=True))
        self._service = service
        self._pid = 0
        self._pipe = -1
        self._is_cancelled = False
        self._watch: Watch | None = None
        self._drain = Drain(row, self._drained)

    def begin(self) -> None:
        reactor = self.row.reactor
        reader, writer = os.pipe()
        try:
            self._pid = reactor.children.fork(self._exited, keep=self.row)
        except BaseException as error:
            os.close(reader)
            os.close(writer)
            if isinstance(error, OSError) and error.errno in NONE_LEFT - {errno.EMFILE, errno.ENFILE}:
                raise NoneLeft(*error.args) from error
            raise
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
        self._service.mode.child_began(self._pid)

    def cancel(self) -> None:
        self._is_cancelled = True
        self._pool.leave(self)
        self._close()
        if self._pid:
            self.row.reactor.children.kill(self._pid)

    def close_copy(self) -> None:
        if self._watch is not None:
            os.close(self._pipe)

    # In the parent

    def _receive(self) -> bool:
        """Pass on what the pipe has, once. Returns whether more may come."""
        try:
            piece = os.read(self._pipe, CHUNK)
        except BlockingIOError:
            return False
        if not piece:
            self._close()
            return False
        self.row.channel.handler.send(piece)
        if self._watch is not None and self._drain.follow():
            self._watch.modify(0)
        return True

    def _drained(self) -> None:
        if self._watch is not None:
            self._watch.modify(EVENT_READ)

    def _exited(self, status: int | None, words: bytes) -> None:
        self._service.mode.child_ended(self._pid)
        self._pid = 0
        if self._is_cancelled:
            return
        while self._watch is not None and self._receive():
            pass  # the last bytes may still be in the pipe, which holds 64 KiB at most
        self._close()
        row = self.row
        if not words:
            self.done(Outcome(False, died(status or 0)))
            return
        moved = row.total_in, row.total_out
        apply_exit_report(row, 0, words[1:])
        row.total_in, row.total_out = moved  # the child has done no input or output
        if row.error is None:
            self.done(Outcome(words[:1] == KEPT))
            return
        self._pool.leave(self)  # the child has called handle_error()
        row.reactor.work.forget(row)
        row.reactor.settle_soon(row)
        row.channel.discard(row.error)

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
            os.close(self._pipe)

    # In the child

    def _be_child(self, pipe: int) -> None:
        """Answer the request, and exit."""
        row, status = self.row, 1
        server, wait = row.server, self.wait
        try:
            os.set_blocking(pipe, False)
            with self._service.hand.at(row):
                outcome = wait.run(partial(_write, pipe, wait.handler))
                if outcome.error is not None:
                    try:
                        raise outcome.error
                    except Exception as error:
                        row.error = error
                        call_hook(server, "handle_error", row.request, row.peer)
            os.close(pipe)
            row.reactor.children.tell((KEPT if outcome.goes_on else CLOSED) + exit_report(row))
            status = 0
        finally:
            os._exit(status)


def _write(pipe: int, handler: Any, octets: memoryview, timeout: float | None) -> None:
    """In the child: write all octets to the parent, which reads no more while the client takes nothing."""
    seconds = patience(handler, timeout)
    poller = select.poll()
    poller.register(pipe, select.POLLOUT)
    while octets:
        if not poller.poll(None if seconds is None else seconds * 1000):
            raise TimeoutError("timed out")
        with suppress(BlockingIOError):
            octets = octets[os.write(pipe, octets) :]


_PLACES: dict[str, Any] = {"here": AnswerHere, "thread": AnswerInThread, "fork": AnswerInChild}
