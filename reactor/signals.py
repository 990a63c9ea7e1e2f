"""How signals reach a loop: any of them ends its ``select()``, and Ctrl-C comes between two batches.

Python calls signal handlers between two instructions. That is too late for a ``select()`` that is
about to begin, which only a byte on a descriptor ends; and it is anywhere, so `KeyboardInterrupt`
would leave a row half done. Imported when a reactor is made: see ``workers``.
"""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

    from .loop import Reactor
    from .sources import Wakeup

_descriptors: set[int] = set()  # those of loops that Python may be told to write to


class Signals:
    """A context in which signals reach ``reactor``. In a thread that is not the main one it does nothing.

    SIGINT is taken only where Python's own handler would be called, and the descriptor for wake-ups only
    where nobody but another reactor has set one: whoever has handlers of his own keeps them.
    """

    def __init__(self, reactor: Reactor, wakeup: Wakeup | None) -> None:
        self._reactor = reactor
        self._wakeup = wakeup
        self._descriptor: int | None = None  # what was set before
        self._handler: Any = None

    def __enter__(self) -> None:
        try:
            if self._wakeup is not None and hasattr(signal, "set_wakeup_fd"):
                self._take_descriptor(self._wakeup)
            handler = signal.getsignal(signal.SIGINT)
            if handler is signal.default_int_handler or _is_ours(handler):
                self._handler = signal.signal(signal.SIGINT, self._interrupt)
        except ValueError:
            pass  # this is not the main thread: its signals are not ours

    def __exit__(self, *error: object) -> None:
        if self._handler is not None and _is_ours(signal.getsignal(signal.SIGINT)):
            signal.signal(signal.SIGINT, self._handler)
        if self._descriptor is not None:
            _descriptors.discard(signal.set_wakeup_fd(self._descriptor))

    def _take_descriptor(self, wakeup: Wakeup) -> None:
        before = signal.set_wakeup_fd(wakeup.writer, warn_on_full_buffer=False)
        if before == -1 or before in _descriptors:
            self._descriptor = before
            _descriptors.add(wakeup.writer)
        else:
            signal.set_wakeup_fd(before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._reactor.interrupt()


def forked() -> None:
    """In a child: its parent's loop is not there to be told of signals."""
    if _is_ours(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _descriptors:
        signal.set_wakeup_fd(-1)
        _descriptors.clear()


def _is_ours(handler: Any) -> bool:
    return isinstance(getattr(handler, "__self__", None), Signals)
