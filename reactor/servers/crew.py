"""`Crew`: threads that do one piece of work after another: starting a thread costs more than a short request.

Each piece of work has an empty context (``contextvars``), as in a new thread. What it leaves in a ``threading.local``
stays for the next piece of work.
"""

from __future__ import annotations

from _thread import allocate_lock
from contextvars import Context
from functools import partial
from os import getpid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 0.5
"""Seconds after which a thread without work ends, so that it does not keep a process that wants to exit for long."""


class Hand:
    """One thread: its work, and the lock that it waits for when it has none."""

    __slots__ = ("bell", "work")

    def __init__(self, work: Callable[[], object]) -> None:
        self.work: Callable[[], object] | None = work
        self.bell = allocate_lock()
        self.bell.acquire()


class Crew:
    """The threads of one server. ``start(function)`` starts a thread that calls the function."""

    def __init__(self, start: Callable[[Callable[[], object]], object]) -> None:
        self._start = start
        self._lock = allocate_lock()
        self._idle: list[Hand] = []
        self._dismissed = False
        self._pid = getpid()

    def do(self, work: Callable[[], object]) -> None:
        """Have a thread call ``work()``; what that raises ends the thread. Raises `RuntimeError` if none can start."""
        if self._pid != getpid():  # a child of fork(2) has none of the threads
            self._lock, self._idle, self._pid = allocate_lock(), [], getpid()
        with self._lock:
            hand = self._idle.pop() if self._idle else None
        if hand is None:
            self._start(partial(self._run, Hand(work)))
        else:
            hand.work = work
            hand.bell.release()

    def dismiss(self) -> None:
        """End the threads that have no work, and the others when they have done theirs."""
        with self._lock:
            idle, self._idle, self._dismissed = self._idle, [], True
        for hand in idle:
            hand.bell.release()

    def _run(self, hand: Hand) -> None:
        while hand.work is not None:
            Context().run(hand.work)
            hand.work = None
            if self._pid != getpid():  # the work has forked: the child has no crew
                return
            with self._lock:
                if self._dismissed:
                    return
                self._idle.append(hand)
            if not hand.bell.acquire(timeout=IDLE):
                with self._lock:
                    if hand in self._idle:
                        self._idle.remove(hand)
                        return
                hand.bell.acquire()  # it has just been given work
