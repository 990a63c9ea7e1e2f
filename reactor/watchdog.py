"""Finds out what blocks a loop, while it does: a selector around the selector, and a timer signal.

A state that computes, reads a file or asks the resolver holds everybody up, and nothing in a log says so.
The timer runs only between one ``select()`` and the next, so an idle loop stays idle; there is no thread.
"""

from __future__ import annotations

import logging
import signal
import time
import traceback
from selectors import BaseSelector, DefaultSelector
from typing import TYPE_CHECKING, Any

from handlers import Machine

from .loop import Reactor
from .request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from selectors import SelectorKey
    from types import FrameType


class Watchdog(BaseSelector):
    """A selector whose reactor is watched: ``Reactor(Watchdog(seconds=0.25))``, in the main thread.

    Whatever the loop calls that goes on for longer than ``seconds`` is reported once, by twice that time, as a
    warning of the logger ``reactor``: handler, state, row (as `Request.as_dict` in the record's ``row``) and
    the traceback of where it is now. One long call of C, which no signal can interrupt, is reported when it is
    over. ``selector`` is the one that does the work; `close` closes it and gives the signal back.

    Uses ``SIGALRM`` and ``ITIMER_REAL`` (POSIX ``setitimer``), so nobody else can meanwhile. Raises
    ``ValueError`` in a thread that is not the main one, `RuntimeError` on a host without such timers.
    """

    def __init__(self, selector: BaseSelector | None = None, seconds: float = 0.25) -> None:
        if not seconds > 0:
            raise ValueError(f"Watchdog: seconds is more than 0, not {seconds!r}")
        if not hasattr(signal, "setitimer"):
            raise RuntimeError("this host has no timer signals, which Watchdog needs: take the selector without it")
        self._selector = DefaultSelector() if selector is None else selector
        self._seconds = seconds
        self._seen: FrameType | None = None  # what was at work when the timer last went off
        self._reported: FrameType | None = None
        self._bitten = 0.0  # when that was, or else when the loop began to work
        self.blocked = 0
        """How often something has blocked the loop."""
        self._before: Any = signal.signal(signal.SIGALRM, self._bite)
        if hasattr(self._selector, "fileno"):
            self.fileno = self._selector.fileno

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        return self._selector.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> SelectorKey:
        return self._selector.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        return self._selector.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, SelectorKey]:
        return self._selector.get_map()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Wait; what comes behind this and before the next call is timed."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._seen = self._reported = None
        events = self._selector.select(timeout)
        self._bitten = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)
        return events

    def close(self) -> None:
        """Close the selector, and give the signal back to whoever had it."""
        self._selector.close()
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            self._before = self._seen = self._reported = None

    def _bite(self, number: int, frame: FrameType | None) -> None:
        called, row = _at_work(frame)
        now, before = time.monotonic(), self._bitten
        self._bitten = now
        # What is so late has been held up by one long call of C, which is over only now.
        is_long = called is self._seen or now - before > 2 * self._seconds
        if called is not None and is_long and called is not self._reported:
            self._reported = called
            self.blocked += 1
            _report(self._seconds, row, frame)
        self._seen = called


def _at_work(frame: FrameType | None) -> tuple[FrameType | None, Request | None]:
    """What the innermost loop has called, and the row whose state that is, if it is one's."""
    called, row = None, None
    while frame is not None and frame.f_code is not Reactor.step.__code__:
        machine = frame.f_locals.get("self")
        if row is None and isinstance(machine, Machine) and isinstance(machine.driver, Request):
            row = machine.driver
        called, frame = frame, frame.f_back
    if frame is None or not frame.f_locals["self"].working_here:  # between two steps, or in a blocking mode's wait
        return None, None
    return called, row


def _report(seconds: float, row: Request | None, frame: FrameType | None) -> None:
    who = "a call" if row is None else f"{row.handler}.{row.state} (row {row.serial})"
    logging.getLogger(__package__).warning(
        "%s has blocked the loop for more than %g s:\n%s",
        who, seconds, "".join(traceback.format_stack(frame)), extra={"row": row and row.as_dict()},
    )  # fmt: skip
