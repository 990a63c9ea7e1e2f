"""`Signals`: while it is active, each signal ends ``select()``, and SIGINT raises `KeyboardInterrupt` between batches.

Python calls signal handlers between any two of its instructions. A handler that is called just before ``select()``
can't end it: only a byte on a watched descriptor does, and ``signal.set_wakeup_fd()`` has Python write it. And a
`KeyboardInterrupt` that is raised in the middle of a batch would leave a row half done.

``_signal`` has the functions of the module ``signal`` without its enumerations, which take long to make.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Any

    from .loop import Loop
    from .watches import Wakeup
else:
    import _signal as signal

_descriptors: set[int] = set()  # the descriptors of loops that were given to set_wakeup_fd()


class Signals:
    """A context in which signals reach ``loop``. In a thread that is not the main one it does nothing.

    The program's own choices stay: SIGINT is handled here only if Python's default handler would be called, and the
    wake-up descriptor is set only if there is none, or one of another loop.
    """

    def __init__(self, loop: Loop, wakeup: Wakeup | None) -> None:
        self._loop = loop
        self._wakeup = wakeup
        self._descriptor: int | None = None  # the wake-up descriptor to restore; None: it was not changed
        self._handler: Any = None  # the handler of SIGINT to restore; None: it was not changed

    def __enter__(self) -> None:
        try:
            if self._wakeup is not None and hasattr(signal, "set_wakeup_fd"):
                self._take_descriptor(self._wakeup)
            handler = signal.getsignal(signal.SIGINT)
            if handler is signal.default_int_handler or _is_ours(handler):
                self._handler = signal.signal(signal.SIGINT, self._interrupt)
        except ValueError:
            pass  # this is not the main thread, where Python handles no signals

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
        self._loop.interrupt()


def forked() -> None:
    """In a forked child: signals don't reach the loop of the parent, of which this process has a copy."""
    if _is_ours(signal.getsignal(signal.SIGINT)):
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if _descriptors:
        signal.set_wakeup_fd(-1)
        _descriptors.clear()


def _is_ours(handler: Any) -> bool:
    return isinstance(getattr(handler, "__self__", None), Signals)
