"""What tells of each line of Python that runs: ``sys.monitoring``, before Python 3.12 a trace function.

Under a trace function all code is several times as slow, and from Python 3.12 on it costs as much as hundreds of lines
to set one. ``sys.monitoring`` is told once of each line that is left out, and costs nothing there from then on; where
many blocks are traced one after another, it stays on between them (`tracing_stays`).
"""

from __future__ import annotations

import sys
from _thread import get_ident
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import CodeType, FrameType

    Tell = Callable[..., object]

_monitoring: Any = getattr(sys, "monitoring", None)


class TraceFunction:
    """Has ``tell(frame, "line", None)`` called for each line that the thread runs, but those of the files in ``but``.

    It is called for other events, too; all that it returns is ``None``.
    """

    def __init__(self, tell: Tell, but: frozenset[str]) -> None:
        def called(frame: FrameType, event: str, argument: object) -> Any:
            return None if frame.f_code.co_filename in but else tell

        self._called = called

    def begin(self, caller: FrameType) -> None:
        """Begin in the function that calls, too."""
        self._before = sys.gettrace()
        self._caller, self._callers = caller, caller.f_trace
        caller.f_trace = self._called(caller, "call", None)
        sys.settrace(self._called)

    def end(self) -> None:
        sys.settrace(self._before)
        self._caller.f_trace = self._callers
        del self._caller


class Monitoring:
    """Has ``tell()`` called for each line that the thread runs, but those of the files in ``but``."""

    def __init__(self, tell: Tell, but: frozenset[str]) -> None:
        off = _monitoring.DISABLE
        thread = 0

        def here() -> None:
            nonlocal thread
            thread = get_ident()

        def line(code: CodeType, number: int) -> Any:
            if code.co_filename in but:
                return off
            if get_ident() != thread:  # all threads are monitored
                return None
            try:
                return tell()
            except BaseException:
                _tool.call(None, None)  # as Python does with a trace function that raises
                raise

        def jump(code: CodeType, start: int, end: int) -> Any:
            if end > start or code.co_filename in but or line_of(code, start) != line_of(code, end):
                return off
            if get_ident() != thread:
                return None
            try:
                return tell()  # a loop in one line
            except BaseException as error:
                _tool.call(None, None)
                _tool.raise_soon(code, error)

        self._but, self._here, self._line, self._jump = but, here, line, jump

    def begin(self, caller: FrameType) -> None:
        self._here()
        _tool.begin(self._but)
        self._before = _tool.call(self._line, self._jump)

    def end(self) -> None:
        _tool.call(*self._before)
        _tool.end()


class _Tool:
    """This module's number among the tools of ``sys.monitoring``."""

    def __init__(self) -> None:
        self._users = 0
        self._number = -1
        self._but = frozenset[str]()

    def begin(self, but: frozenset[str] | None = None) -> None:
        self._users += 1
        if self._users == 1:
            numbers = 4, 3, 5, 2, 1, 0  # the last four are those of optimizers, profilers, coverage and debuggers
            free = [number for number in numbers if _monitoring.get_tool(number) is None]
            if not free:
                raise RuntimeError("line_limit: all six tools of sys.monitoring are in use; end one of them")
            self._number = free[0]
            _monitoring.use_tool_id(self._number, "reactor.testing")
            self.tell(True)
        if but is not None and but != self._but:
            self._but = but
            _monitoring.restart_events()  # other lines are left out

    def tell(self, tells: bool) -> None:
        """Begin, or cease, to tell of lines, if anybody uses it."""
        if self._users:
            events = _monitoring.events.LINE | _monitoring.events.JUMP
            _monitoring.set_events(self._number, events if tells else 0)

    def call(self, line: Any, jump: Any) -> tuple[Any, Any]:
        """From now on call these; returns those that were called before."""
        return (
            _monitoring.register_callback(self._number, _monitoring.events.LINE, line),
            _monitoring.register_callback(self._number, _monitoring.events.JUMP, jump),
        )

    def raise_soon(self, code: CodeType, error: BaseException) -> None:
        """Raise the error at the next instruction of the code.

        No ``with`` and no ``except`` around a jump sees what is raised there, in CPython 3.12 and 3.13 at least.
        """
        event = _monitoring.events.INSTRUCTION

        def instruction(code: CodeType, offset: int) -> None:
            _monitoring.set_local_events(self._number, code, 0)
            _monitoring.register_callback(self._number, event, None)
            raise error

        _monitoring.register_callback(self._number, event, instruction)
        _monitoring.set_local_events(self._number, code, event)

    def end(self) -> None:
        self._users -= 1
        if not self._users:
            _monitoring.set_events(self._number, 0)
            _monitoring.free_tool_id(self._number)


_tool = _Tool()
Tracing: type[TraceFunction] | type[Monitoring] = TraceFunction if _monitoring is None else Monitoring


@contextmanager
def tracing_stays() -> Iterator[None]:
    """Within the ``with`` block, `Tracing` begins and ends at little cost."""
    if _monitoring is None:
        yield
        return
    _tool.begin()
    try:
        yield
    finally:
        _tool.end()


@contextmanager
def untold() -> Iterator[None]:
    """Within the ``with`` block, code runs as fast as if nobody had used `tracing_stays`."""
    if _monitoring is None:
        yield
        return
    _tool.tell(False)
    try:
        yield
    finally:
        _tool.tell(True)


def line_of(code: CodeType, offset: int) -> int | None:
    """The line of the instruction at that offset; ``None`` if there is none."""
    return next((line for start, end, line in code.co_lines() if start <= offset < end), None)
