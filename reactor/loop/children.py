"""`Children`: forks child processes for a loop, and reaps them.

A child has copies of all descriptors of its parent, including the selector's. It closes these copies (`descriptors`)
and unregisters nothing. A descriptor (a pidfd where the kernel has one) tells the parent's loop that a child has ended.
The parent reaps by pid, only children that it has forked here: never one of another part of the program.
"""

from __future__ import annotations

import os
import select
import signal
from _thread import allocate_lock
from _weakref import proxy
from selectors import EVENT_READ
from time import monotonic

from . import signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Loop
    from .watches import Watch

MAX_WORDS = 4_095
"""Bytes of the last words of a child. With `CLOSED` they fit into an empty pipe, which holds at least one page
(``pipe(7)``), so writing them does not block."""

CLOSED = b"\0"
"""The first byte that a child writes: it has closed its copies of descriptors."""

POLL = 0.05
"""Seconds between two calls of waitpid(2) for a child whose end no descriptor tells."""

NO_FORK = "this host can't fork; take the Select or the plain server class, and Threaded or neither for Forked"


class Child:
    """A running child, the descriptor that becomes readable when it ends, and the pipe for its last words."""

    def __init__(self, pid: int, pipe: int, on_exit: Callable[[int | None, bytes], object]) -> None:
        self.pid = pid
        self.pipe = pipe
        self.descriptor = _exit_descriptor(pid, pipe)
        self.on_exit = on_exit
        self.words = b""
        self.watch: Watch | None = None
        self.killed = False

    def listen(self) -> bool:
        """Read what the child has written. Returns whether it was anything."""
        try:
            piece = os.read(self.pipe, MAX_WORDS + 1)
        except BlockingIOError:
            return False
        self.words += piece
        return bool(piece)

    def wait(self, end: float) -> None:
        """Wait until the child has closed its copies or has ended, or until ``time.monotonic()`` is ``end``."""
        while not self.words and (left := end - monotonic()) > 0:
            poller = select.poll()
            poller.register(self.pipe, select.POLLIN)
            if poller.poll(left * 1000) and not self.listen():
                return  # it has ended

    def kill(self) -> None:
        """Send SIGKILL, once."""
        if not self.killed:
            self.killed = True
            self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send the signal. Does nothing if the child has ended."""
        try:
            if self.descriptor != self.pipe:  # a pidfd names this child even if its pid was reused
                signal.pidfd_send_signal(self.descriptor, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it has ended, and the kernel has reaped it because the process ignores SIGCHLD

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in {self.descriptor, self.pipe}:
            os.close(descriptor)


class Children:
    """The children that one loop has forked and not yet reaped."""

    def __init__(self, loop: Loop) -> None:
        self._loop: Loop = proxy(loop)  # the loop refers to this object: without a cycle it is freed at once
        self._running: dict[int, Child] = {}
        self._words = -1  # in a child: the descriptor of the pipe for its last words
        self._forking = allocate_lock()
        self._over = False
        loop.descriptors.add(self)

    def __len__(self) -> int:
        return len(self._running)

    @property
    def is_child(self) -> bool:
        """Whether `fork` has made this process; ``False`` in a child that another part of the program has forked."""
        return self._words >= 0

    def pids(self) -> list[int]:
        """The pids of the children that have not been reaped."""
        with self._forking:  # another thread may have forked a child and not yet noted its pid
            return list(self._running)

    def fork(self, on_exit: Callable[[int | None, bytes], object], keep: object = None) -> int:
        """Fork. Returns 0 in the child, which has closed its copies of the loop's descriptors, else the child's pid.

        The child keeps its copies of what the request ``keep`` needs. ``on_exit`` is called in the parent's loop with
        the exit status as ``waitpid`` gives it (``None`` if another part of the program has reaped the child) and the
        child's last words (see `tell`). Raises ``OSError`` as ``fork(2)`` does, and `RuntimeError` where there is no
        fork, and after `kill_all`.
        """
        if not hasattr(os, "fork"):
            raise RuntimeError(NO_FORK)
        if self._loop.is_copy:  # a child's child: its parent ends soon, and nobody here could reap it
            return os.fork()
        # The child alone holds the writing end, so the child's end is the end of this pipe.
        reader, writer = os.pipe()
        with self._forking:  # the child has a copy of the lock, and leaves it too
            try:
                if self._over:
                    raise RuntimeError("this process ends, and forks no more")
                pid = os.fork()
            except BaseException:
                os.close(reader)
                os.close(writer)
                raise
            if pid:
                os.close(writer)
                os.set_blocking(reader, False)
                child = self._running[pid] = Child(pid, reader, on_exit)
                self._loop.call_soon(self._watch, child)  # soon, because this may be another thread
                return pid
        os.close(reader)
        signals.forked()
        self._loop.descriptors.close_copies(keep)
        self._words, self._pipe = writer, os.fstat(writer)
        try:
            os.write(writer, CLOSED)
        except OSError:
            pass  # the parent has ended
        return 0

    def wait_for_copies(self, seconds: float) -> None:
        """Wait until no child has copies of the loop's descriptors any more but those that it keeps, or has ended."""
        end = monotonic() + seconds
        for pid in self.pids():
            child = self._running.get(pid)
            if child is not None:
                child.wait(end)

    def _watch(self, child: Child) -> None:
        if child.pid in self._running:
            pid = child.pid
            try:
                child.watch = self._loop.watch(child.descriptor, EVENT_READ, lambda events: self._is_ending(pid))
            except (OSError, ValueError):  # the selector takes no more descriptors, or no number so high
                self._is_ending(pid)

    def reap(self, pid: int, blocking: bool = False) -> bool:
        """Reap the child ``pid`` if it has ended (``blocking``: when it has). Whether it has been reaped."""
        child = self._running.get(pid)
        if child is None:
            return True
        status: int | None
        try:
            reaped, status = os.waitpid(pid, 0 if blocking else os.WNOHANG)
        except ChildProcessError:
            reaped, status = pid, None
        if not reaped:
            return False
        if self._running.pop(pid, None) is None:  # another thread, which closes the server, has reaped it
            return True
        child.listen()
        self._forget(child)
        child.on_exit(status, child.words[len(CLOSED) :])
        return True

    def tell(self, words: bytes) -> None:
        """In a child, at its end: leave ``words`` for the parent, at most `MAX_WORDS` bytes."""
        if self._has_pipe():
            os.write(self._words, words[:MAX_WORDS])

    def become_copy(self) -> None:
        """In any forked child: the last words are those of its parent."""
        if self._has_pipe():
            os.close(self._words)
        self._words = -1

    def _has_pipe(self) -> bool:
        """Whether the pipe for the last words is open: a daemon may have closed it, and opened another file since."""
        try:
            return self._words >= 0 and os.path.samestat(os.fstat(self._words), self._pipe)
        except OSError:
            return False

    def _is_ending(self, pid: int) -> None:
        child = self._running.get(pid)
        watch = None if child is None else child.watch
        if child is not None and watch is not None and child.descriptor == child.pipe and child.listen():
            return  # the last words have come; the end of the pipe is still to come
        if not self.reap(pid):  # the child has closed the pipe and lives, or can't be watched: poll
            if watch is not None:
                watch.modify(0)
            self._loop.call_later(POLL, self._is_ending, pid)

    def kill(self, pid: int) -> None:
        """Kill a child; it is reaped when it has ended."""
        child = self._running.get(pid)
        if child is not None:
            child.kill()

    def send_signal(self, number: int) -> None:
        """Send the signal to all children that have not ended."""
        for pid in self.pids():
            child = self._running.get(pid)
            if child is not None:
                child.send_signal(number)

    def kill_all(self) -> None:
        """Kill all children, and fork no more."""
        self._over = True
        for pid in self.pids():
            self.kill(pid)

    def close(self) -> None:
        """Watch the children no more. Those that were killed are waited for; the others go on."""
        for child in list(self._running.values()):
            if child.killed:
                self.reap(child.pid, blocking=True)
            else:
                self._forget(child)
        self._running.clear()
        self._loop.descriptors.discard(self)

    def close_copy(self, keep: object) -> None:
        """In a forked child: its siblings are the parent's children, not its own."""
        self._forking = allocate_lock()  # another thread of the parent may have held the old one
        for child in self._running.values():
            child.close()
        self._running.clear()

    def _forget(self, child: Child) -> None:
        if child.watch is not None:
            child.watch.cancel()
        child.close()


def _exit_descriptor(pid: int, pipe: int) -> int:
    # A pidfd tells the end even while a grandchild holds the pipe open.
    if hasattr(os, "pidfd_open"):
        try:
            return os.pidfd_open(pid)
        except OSError:
            pass  # the kernel, or the sandbox, is without it
    return pipe


def died(status: int) -> ChildProcessError:
    """The error that says how a child with the exit status ``status`` (of ``waitpid``, not 0) has ended."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return ChildProcessError(f"the child exited with status {code}")
    try:
        return ChildProcessError(f"the child was killed by {signal.Signals(-code).name}")
    except ValueError:
        return ChildProcessError(f"the child was killed by signal {-code}")
