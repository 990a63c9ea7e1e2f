"""Forked children: how they begin, and how their end is heard. Fork hygiene lives here.

A child gets copies of everything, the selector's kernel object included. It closes its copies and
unregisters nothing. The parent hears of its end by a descriptor, and reaps by the pid it knows:
nobody else's child is ever waited for. Imported when a reactor is made: see ``workers``.
"""

from __future__ import annotations

import os
import signal
import socket
from _thread import allocate_lock
from selectors import EVENT_READ, EVENT_WRITE

from handlers import Reset

from . import signals
from .request import NO_FORK
from .sources import AGAIN, SHORT

PIPE_BUF = 512
"""Bytes that a pipe takes in one piece, wherever there is one (POSIX, ``<limits.h>``)."""

_AGAIN = 0.05  # seconds until a packet is sent again where the host was short of memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop import Reactor
    from .packets import PacketRow
    from .request import Request
    from .server import BaseServer
    from .sources import Watch


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
        """Take what it has said, if that is new."""
        try:
            piece = os.read(self.pipe, PIPE_BUF)
        except BlockingIOError:
            return False
        self.words += piece
        return bool(piece)

    def close(self) -> None:
        """Close the descriptors."""
        for descriptor in {self.descriptor, self.pipe}:
            os.close(descriptor)


class Children:
    """The children that one reactor has forked and not yet reaped."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._running: dict[int, Child] = {}
        self.lines: set[Hangup | Mailbox] = set()
        """What leads to them, besides the pipes for their last words."""
        self._words: int | None = None  # in a child: where its last words go
        self._forking = allocate_lock()
        self._over = False

    def __len__(self) -> int:
        return len(self._running)

    def pids(self) -> list[int]:
        """Those of the children that have not been reaped."""
        with self._forking:  # another thread may be about to learn of one
            return list(self._running)

    def fork(self, on_exit: Callable[[int | None, bytes], object], keep: Request | None = None) -> int:
        """Fork. Returns 0 in the child, where the reactor is let go of, and in the parent the child's pid.

        The child keeps its copies of the descriptors of the row ``keep``, and of no other.

        ``on_exit`` is called in the parent's loop with the exit status as ``waitpid`` gives it
        (``None`` if somebody else has taken it) and what the child has told (see `tell`). Raises
        `RuntimeError` where there is no fork, and after `kill_all`.
        """
        if not hasattr(os, "fork"):
            raise RuntimeError(NO_FORK)
        if self._reactor.is_copy:  # a child of a child: its parent ends soon, and then it is nobody's to reap
            pid = os.fork()
            if pid == 0:
                self._silence()
            return pid
        # The child alone holds the writing end, so its end is the end of this pipe.
        reader, writer = os.pipe()
        with self._forking:  # which the child has, too, and lets go of
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
                self._reactor.call_soon(self._listen, child)  # soon, because this may be another thread
                return pid
        os.close(reader)
        signals.forked()
        self._reactor.forked(keep)
        self._words = writer
        return 0

    def _listen(self, child: Child) -> None:
        if child.pid in self._running:
            descriptor, pid = child.descriptor, child.pid
            try:
                child.watch = self._reactor.watch(descriptor, EVENT_READ, lambda events: self._is_ending(pid))
            except (OSError, ValueError):  # the selector takes no more, or no number so high
                self._is_ending(pid)

    def reap(self, pid: int, blocking: bool = False) -> bool:
        """Reap the child ``pid`` if it has ended (with ``blocking``: when it has). Whether it is gone."""
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
        if self._running.pop(pid, None) is None:  # another thread, which closes the server, has been quicker
            return True
        child.listen()
        self._forget(child)
        child.on_exit(status, child.words)
        return True

    def tell(self, row: Request) -> None:
        """In a child, at its end: leave word for the parent of what has become of its request. See `heed`."""
        if self._words is not None:
            reason = row.reason
            kind, text = ("", "") if reason is None else (type(reason).__name__, str(reason))
            told = f"{row.total_in} {row.total_out} {kind} {text}"
            os.write(self._words, told.encode(errors="backslashreplace")[:PIPE_BUF])

    def _silence(self) -> None:
        """In a child of a child: the pipe is not its own."""
        if self._words is not None:
            os.close(self._words)
            self._words = None

    def _is_ending(self, pid: int) -> None:
        child = self._running.get(pid)
        if child is not None and child.descriptor == child.pipe and child.listen():
            return  # its end is still to be heard
        if not self.reap(pid):  # it has closed its end of the pipe and lives, or can't be watched: look now and then
            watch = self._running[pid].watch
            if watch is not None:
                watch.modify(0)
            self._reactor.call_later(0.05, self._is_ending, pid)

    def kill(self, pid: int) -> None:
        """Kill a child; it is reaped when it is gone."""
        child = self._running.get(pid)
        if child is not None and not child.killed:
            child.killed = True
            try:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still this child's
            except ProcessLookupError:
                pass  # somebody else has reaped it just now, or the process ignores SIGCHLD

    def kill_all(self) -> None:
        """Kill those that there are, and fork no more."""
        self._over = True
        for pid in self.pids():
            self.kill(pid)

    def close(self) -> None:
        """Stop listening for ends. Those that were killed are waited for; the others go on."""
        for child in list(self._running.values()):
            if child.killed:
                self.reap(child.pid, blocking=True)
            else:
                self._forget(child)
        self._running.clear()

    def forked(self, keep: Request | None) -> None:
        """In a child: its siblings are the parent's children, not its own, and what leads to them neither."""
        self._forking = allocate_lock()  # a thread that is not here may have held the other
        for child in self._running.values():
            child.close()
        self._running.clear()
        for line in list(self.lines):
            line.forked(keep)
        self._silence()

    def _forget(self, child: Child) -> None:
        if child.watch is not None:
            child.watch.cancel()
        child.close()


def _exit_descriptor(pid: int, pipe: int) -> int:
    # A pidfd where the kernel has it: what a grandchild keeps open can't delay it.
    if hasattr(os, "pidfd_open"):
        try:
            return os.pidfd_open(pid)
        except OSError:
            pass  # the kernel, or the sandbox, is without it
    return pipe


def heed(row: Request, status: int | None, words: bytes) -> None:
    """Note what a child that has ended says of its request, or else its exit status, in the parent's ``row``.

    The reason is an exception whose class has the name of the child's, with its text, derived from
    ``ChildProcessError``.
    """
    if words:
        total_in, total_out, kind, text = words.decode(errors="replace").split(" ", 3)
        row.total_in, row.total_out = int(total_in), int(total_out)
        if kind:
            row.error = type(kind, (ChildProcessError,), {})(text)
    if status and row.error is None:
        row.error = died(status)


def died(status: int) -> ChildProcessError:
    """What to say of a child with the exit status ``status``, as ``waitpid`` gives it, that is not 0."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return ChildProcessError(f"the child exited with status {code}")
    try:
        return ChildProcessError(f"the child was killed by {signal.Signals(-code).name}")
    except ValueError:
        return ChildProcessError(f"the child was killed by signal {-code}")


class Hangup:
    """A pipe with nothing in it, until the server closes: then its children cancel what they are at.

    They have both ends, for if the parent just vanishes, they go on.
    """

    def __init__(self, server: BaseServer) -> None:
        self._server = server
        self._lines = server.reactor.children.lines
        self._reader, self._writer = os.pipe()
        self._lines.add(self)

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._reader

    def ring(self) -> None:
        """Tell all children. Nobody reads it, so that every one sees it."""
        os.write(self._writer, b"x")

    def forked(self, keep: Request | None) -> None:
        """In a child: close the copies, if it is not one of the server's."""
        if keep is None or keep.server is not self._server:
            self.close()

    def close(self) -> None:
        """Close both ends."""
        self._lines.discard(self)
        os.close(self._reader)
        os.close(self._writer)


class Mailbox:
    """The packets of one peer on their way from the server's socket to the child that serves it.

    Each process could read the socket, but only one gets each packet; so the parent reads, and sorts. A byte goes
    before each: 0, or the errno by which the peer can't be reached.
    """

    def __init__(self, reactor: Reactor, row: PacketRow) -> None:
        self._reactor = reactor
        self._row = row
        self._size: int = 1 + row.server.max_packet_size
        self._told = False  # whether the child knows that the peer can't be reached
        self._watch: Watch | None = None
        self._parent, self.child = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._parent.setblocking(False)
        self.child.setblocking(False)
        self._lines = reactor.children.lines
        self._lines.add(self)

    def open(self) -> None:
        """In the parent: send on what comes from now on. The child has its copy of what came before."""
        self._row.leftover().clear()
        self._row.wake = self._post

    def collect(self) -> None:
        """In the child: deliver what has come."""
        while (message := self._receive(self.child)) is not None:
            if message[0]:
                self._row.lose(OSError(message[0], os.strerror(message[0])))
            else:
                self._row.deliver(message[1:])

    def give_back(self) -> None:
        """In the child, at its end: what came too late for this exchange belongs to the next."""
        try:
            for packet in self._row.leftover():
                self.child.send(b"\0" + packet)
        except OSError:
            pass  # there is no room for more, as in any full socket; or no memory

    def close(self) -> None:
        """In the parent, when the child has ended: take back what it gave back, and what it had not collected."""
        unread: list[bytes] = []
        for end in self._parent, self.child:
            while (message := self._receive(end)) is not None:
                if not message[0]:
                    unread.append(message[1:])
        self._row.mail.extendleft(reversed(unread))
        self._row.wake = None
        self._unwatch()
        self._close()

    def forked(self, keep: Request | None) -> None:
        """In a child: close the copy of the parent's end; both, if the child is another's."""
        self._parent.close()
        if keep is not self._row:
            self._close()

    def _close(self) -> None:
        self._lines.discard(self)
        self._parent.close()
        self.child.close()

    def _receive(self, end: socket.socket) -> bytes | None:
        try:
            return end.recv(self._size)
        except AGAIN:
            return None

    def _post(self, events: int = 0) -> None:
        mail, lost = self._row.mail, self._row.error
        try:
            while mail:
                self._parent.send(b"\0" + mail[0])
                mail.popleft()
            if isinstance(lost, Reset) and not self._told:
                self._parent.send(bytes([lost.error.errno or 0]))
                self._told = True
        except AGAIN:
            if self._watch is None:
                self._watch = self._reactor.watch(self._parent, EVENT_WRITE, self._post)
        except OSError as error:
            if error.errno not in SHORT:
                raise
            self._unwatch()  # there is room, so that would spin
            self._reactor.call_later(_AGAIN, self._post_again)
        else:
            self._unwatch()

    def _post_again(self) -> None:
        if self._row.wake is not None:  # else the child has ended in the meantime
            self._post()

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
