"""`Watchdog` reports what blocks a loop while it blocks: it wraps the selector, and uses a timer signal.

A state that computes, reads a file or resolves a name delays all other rows, and no log shows it. The timer runs only
between the end of one ``select()`` and the beginning of the next, so it does not wake an idle loop. There is no thread.
"""

from __future__ import annotations

import logging
import signal
import time
import traceback
from selectors import BaseSelector
from typing import TYPE_CHECKING, Any

from ..handlers import Machine
from ..loop.loop import Loop
from ..loop.selecting import DefaultSelector, events_of
from ..table.request import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from selectors import SelectorKey
    from types import FrameType


class Watchdog(BaseSelector):
    """A selector that reports what blocks its reactor: ``Reactor(Watchdog(seconds=0.25))``, in the main thread.

    When the loop calls something that takes longer than ``seconds``, the watchdog logs one warning (logger ``reactor``)
    before twice that time has passed. The warning has the handler, the state and the current traceback; the record's
    ``row`` is `Request.as_dict` of the row. A long call of a C function, which no signal can interrupt, is reported
    when it returns. ``selector`` is the selector that is wrapped; by default that of `reactor.selecting`. `close`
    closes it and restores the signal handler.

    Until then ``SIGALRM`` and ``ITIMER_REAL`` (``setitimer(2)``) belong to the watchdog. Raises ``ValueError`` outside
    the main thread, and `RuntimeError` on a host without such timers.
    """

    def __init__(self, selector: BaseSelector | None = None, seconds: float = 0.25) -> None:
        if not seconds > 0:
            raise ValueError(f"Watchdog: seconds must be more than 0, not {seconds!r}")
        if not hasattr(signal, "setitimer"):
            raise RuntimeError("this host has no timer signals, which Watchdog needs: use a selector without Watchdog")
        self._selector = DefaultSelector() if selector is None else selector
        self._seconds = seconds
        self.events = events_of(self._selector)
        """The events that the wrapped selector can report."""
        self._seen: FrameType | None = None  # the call that was running when the timer last expired
        self._reported: FrameType | None = None  # the call that was reported last
        self._looked = 0.0  # when the timer last expired; at first, when select() returned
        self.blocked = 0
        """The number of calls that have blocked the loop."""
        self._before: Any = signal.signal(signal.SIGALRM, self._look)
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
        """Wait for events. The time from the return of this call to the next call is measured."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._seen = self._reported = None
        events = self._selector.select(timeout)
        self._looked = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, self._seconds, self._seconds)
        return events

    def close(self) -> None:
        """Close the wrapped selector, and restore the signal handler."""
        self._selector.close()
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)
            self._before = self._seen = self._reported = None

    def _look(self, number: int, frame: FrameType | None) -> None:
        called, row = _running(frame)
        now, before = time.monotonic(), self._looked
        self._looked = now
        # If the signal is handled so late, a call of a C function has delayed it, and has just returned.
        is_long = called is self._seen or now - before > 2 * self._seconds
        if called is not None and is_long and called is not self._reported:
            self._reported = called
            self.blocked += 1
            _report(self._seconds, row, frame)
        self._seen = called


def _running(frame: FrameType | None) -> tuple[FrameType | None, Request | None]:
    """The frame that the innermost loop has called, and the row whose state runs in it; ``None`` if there is none."""
    called, row = None, None
    while frame is not None and frame.f_code is not Loop.step.__code__:
        machine = frame.f_locals.get("self")
        if row is None and isinstance(machine, Machine) and isinstance(machine.driver, Request):
            row = machine.driver
        called, frame = frame, frame.f_back
    if frame is None or not frame.f_locals["self"].working_here:  # between two batches, or in a blocking handler
        return None, None
    table = frame.f_locals["self"].table
    if row is None and table.rowless is not None:
        row = table.rowless.make_row()
    return called, row


def _report(seconds: float, row: Request | None, frame: FrameType | None) -> None:
    what = "a call" if row is None else f"{row.handler}.{row.state} (row {row.serial})"
    logging.getLogger("reactor").warning(
        "%s has blocked the loop for more than %g s:\n%s",
        what, seconds, "".join(traceback.format_stack(frame)), extra={"row": row and row.as_dict()},
    )  # fmt: skip
