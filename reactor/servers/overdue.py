"""`Overdue`: ends what blocking handlers wait for when the time of a drain is over, in the plain mode.

There, the thread that would end them is the one that runs them: another thread has to do it.
"""

from __future__ import annotations

from _thread import allocate_lock

from ..table.reactor import LOOK
from ..table.request import CALLER, QUEUED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread
    from typing import Protocol

    from ..table.request import Request
    from .service import Service

    class Lock(Protocol):
        """A lock of `_thread`, reentrant or not."""

        def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
            """Take the lock. Returns false if the time is over."""

        def release(self) -> None:
            """Let go of the lock."""


LONGEST = 86_400.0
"""Seconds that one call waits for a lock at most: `_thread.TIMEOUT_MAX` differs from host to host."""


class Overdue:
    """The requests of one server that still run when the time of its drain is over.

    As a context, for the thread that drives them: another thread ends them meanwhile, where the host has threads.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._ended: set[Request] = set()
        self._over = allocate_lock()
        self._thread: Thread | None = None

    def wait_for(self, lock: Lock) -> None:
        """Wait until ``lock`` is free; from `drain_until` on, end what the blocking handlers wait for."""
        service = self._service
        while not lock.acquire(timeout=self._patience()):
            if self._left() <= 0:
                for row in service.reactor.table:
                    if row not in self._ended and self._is_blocking(row):
                        self._end(row)
        lock.release()

    def __enter__(self) -> None:
        self._over.acquire()
        if not (self._service.mode.in_turn and any(map(self._is_blocking, self._service.reactor.table))):
            return
        from threading import Thread  # here, because most drains need none

        thread = Thread(target=self.wait_for, args=(self._over,), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the host has no threads, or none left
        self._thread = thread

    def __exit__(self, *error: object) -> None:
        self._over.release()
        if self._thread is not None:
            self._thread.join()

    def _left(self) -> float:
        return self._service.drain_until - self._service.reactor.clock.monotonic()

    def _patience(self) -> float:
        left = self._left()
        return min(left, LONGEST) if left > 0 else LOOK  # others may begin behind those that have been ended

    def _is_blocking(self, row: Request) -> bool:
        """Whether a blocking handler of the server blocks the thread that serves, or will."""
        return row.server is self._service.server and row.driven_by is CALLER and (row.channel is None or row.has_face)

    def _end(self, row: Request) -> None:
        """End what the handler of the row waits for, if it runs."""
        reactor = self._service.reactor
        if row.stage is QUEUED or row.lingering or (row.has_face and row.reactor is reactor):
            return  # it has not begun, or has no loop of its own yet; or its handler has ended
        self._ended.add(row)
        reactor.note_cut(row)
        row.break_off()
