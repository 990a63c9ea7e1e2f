"""Decorators that declare the findings of a specimen, and names that several specimens use."""

import math

from handlers import StreamHandler, Until

INFINITE = float("inf")
HUGE = 64 * 1024 * 1024
LINE = Until(b"\n", limit=80)
LONG_LINE = Until(b"\n", limit=1 << 40)
SLOW_LINE = Until(b"\n", limit=80, timeout=math.inf)
NO_LIMIT, NO_TIME_OUT = "without a limit of at most max_output", "without a timeout"
GROWS = "grows, but nothing cuts or measures it"
SWALLOWED = "catches the end of the stream and goes on, although no more input can come"
WHATEVER = "returns a step whatever the cause is, even if no more input can come"

FINDINGS = {}
"""The messages that the linter must give for each specimen, in the order of the lines that are marked ``# here``."""


def wrong(*messages):
    """Declare a specimen with these findings."""

    def keep(kind):
        FINDINGS[kind] = messages
        return kind

    return keep


def right(kind):
    """Declare a specimen without findings."""
    FINDINGS[kind] = ()
    return kind


class States(StreamHandler):
    """Takes lines; a subclass defines `take`."""

    def handle(self):
        return LINE, self.line

    def line(self, data):
        self.take(data)
        return self.handle()

    def take(self, data):
        pass
