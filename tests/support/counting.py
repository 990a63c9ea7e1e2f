"""Counts of calls, which are the same on every run and every machine, where times are not."""

import gc
import sys
from contextlib import contextmanager


class Calls:
    """How many functions of Python, and of C, were called in this thread."""

    def __init__(self):
        self.python = self.c = 0

    def count(self, frame, event, _):
        if event == "call":
            self.python += 1
        elif event == "c_call":
            self.c += 1


@contextmanager
def counted_calls():
    """Count the calls of this thread; yields the `Calls`. The garbage collector rests meanwhile."""
    calls = Calls()
    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(calls.count)
    try:
        yield calls
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
