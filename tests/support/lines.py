"""`at_each_line`: interrupts code at each of its lines in turn, where a signal may come."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from types import CodeType, FrameType
from typing import Any


class Interruption:
    """Interrupts code once, at the line with this number of those that are counted."""

    def __init__(self, line: int, counts: Callable[[CodeType], bool]) -> None:
        self._line, self._counts = line, counts
        self.lines = 0
        """The lines of code so far that are counted."""

    @contextmanager
    def by(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """A context that makes the call before the line."""

        def trace(frame: FrameType, event: str, argument: object) -> Any:
            if not self._counts(frame.f_code):
                return None
            if event == "line":
                self.lines += 1
                if self.lines == self._line:
                    interrupt()
            return trace

        sys.settrace(trace)
        try:
            yield
        finally:
            sys.settrace(None)


def at_each_line(counts: Callable[[CodeType], bool]) -> Iterator[Interruption]:
    """Interruptions, the first at the first line of the functions that count, until the code has no more lines."""
    for line in count(1):
        interruption = Interruption(line, counts)
        yield interruption
        if interruption.lines < line:
            return
