"""What belongs to the whole process, so that all its requests share it: what it is now, and how it becomes so again."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OF_CONTEXT = "prec", "rounding", "Emin", "Emax", "capitals", "clamp"
_SIGNALS = "INT", "TERM", "HUP", "PIPE", "CHLD", "ALRM", "USR1", "USR2"


class _Part(NamedTuple):
    """One thing that belongs to the process."""

    name: str
    """The source text of what tells it."""
    get: Callable[[], Any]
    put: Callable[[Any], object]
    at_each_run: bool = True
    """Whether a look costs next to nothing, and nothing but the handler changes it while a run is played."""


class Surroundings:
    """What belongs to the process now.

    >>> before = Surroundings()
    >>> before.changed()
    []
    >>> socket.setdefaulttimeout(5)
    >>> before.changed()
    ['socket.getdefaulttimeout()']
    >>> before.restore()
    >>> before.changed()
    []
    """

    def __init__(self, parts: tuple[_Part, ...] | None = None) -> None:
        self._kept = [(part, part.get()) for part in (_PARTS if parts is None else parts)]

    def changed(self) -> list[str]:
        """The names of what is another one now."""
        return [part.name for part, value in self._kept if part.get() != value]

    def restore(self) -> None:
        """Put back what is another one now."""
        for part, value in self._kept:
            if part.get() != value:
                part.put(value)


def of_runs() -> Surroundings:
    """Those that are restored before each run."""
    return Surroundings(_OF_RUNS)


class _Context:
    """A context of decimal, and its settings. Its flags say what has happened, and do not count."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.copy = context.copy()
        text = str(context)  # takes less time than to ask for each
        self._told = text.partition(", flags=")[0], text.rpartition(", traps=")[2]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Context) and self._told == other._told

    __hash__ = None  # type: ignore[assignment]

    def restore(self) -> None:
        """Put it back, with its settings."""
        for name in _OF_CONTEXT:
            setattr(self.context, name, getattr(self.copy, name))
        self.context.traps = dict(self.copy.traps)
        sys.modules["decimal"].setcontext(self.context)


def _context() -> _Context | None:
    decimal = sys.modules.get("decimal")
    return None if decimal is None else _Context(decimal.getcontext())


def _put_context(kept: _Context | None) -> None:
    decimal: Any = sys.modules["decimal"]
    if kept is None:  # the module was imported later
        decimal.setcontext(decimal.DefaultContext)
    else:
        kept.restore()


def _locale() -> Any:
    locale = sys.modules.get("locale")
    return None if locale is None else locale.setlocale(locale.LC_ALL)


def _put_locale(name: str | None) -> None:
    locale: Any = sys.modules["locale"]
    locale.setlocale(locale.LC_ALL, name or "C")


def _environment() -> dict[Any, Any]:
    return dict(getattr(os.environ, "_data", os.environ))  # without decoding each variable


def _put_environment(kept: dict[Any, Any]) -> None:
    decoded = {
        name if isinstance(name, str) else os.fsdecode(name): value if isinstance(value, str) else os.fsdecode(value)
        for name, value in kept.items()
    }
    for name in [name for name in os.environ if name not in decoded]:
        del os.environ[name]
    os.environ.update(decoded)


def _directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it is removed
        return None


def _put_directory(path: str | None) -> None:
    if path is not None:
        with suppress(OSError):
            os.chdir(path)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _signals() -> dict[Any, Any]:
    numbers = (getattr(signal, f"SIG{name}", None) for name in _SIGNALS)
    return {number: signal.getsignal(number) for number in numbers if number is not None}


def _put_signals(kept: dict[Any, Any]) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number, handler in kept.items():
        if handler is not None and signal.getsignal(number) is not handler:  # ``None``: not set from Python
            signal.signal(number, handler)


_PARTS = (
    _Part("decimal.getcontext()", _context, _put_context),
    _Part("os.environ", _environment, _put_environment),
    _Part("os.getcwd()", _directory, _put_directory),
    _Part("locale.setlocale(locale.LC_ALL)", _locale, _put_locale),
    _Part("socket.getdefaulttimeout()", socket.getdefaulttimeout, socket.setdefaulttimeout),
    # Other threads may create files meanwhile, Hypothesis raises the limit, and runs collect no garbage.
    _Part("os.umask()", _umask, os.umask, at_each_run=False),
    _Part("sys.getrecursionlimit()", sys.getrecursionlimit, sys.setrecursionlimit, at_each_run=False),
    _Part("gc.isenabled()", gc.isenabled, lambda on: gc.enable() if on else gc.disable(), at_each_run=False),
    _Part("gc.get_threshold()", gc.get_threshold, lambda kept: gc.set_threshold(*kept), at_each_run=False),
    _Part("signal.getsignal()", _signals, _put_signals, at_each_run=False),
)
_OF_RUNS = tuple(part for part in _PARTS if part.at_each_run)


@contextmanager
def no_collection() -> Iterator[None]:
    """Within the ``with`` block nobody collects garbage: how long that takes depends on what is in the process."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
