"""Loops that a test steps, clocks that it sets, and selectors that record or do not sleep."""

import selectors
import sys
import threading
import time
from contextlib import contextmanager

from handlers import Delay, Some, StreamHandler
from reactor import Reactor, selecting
from tests.support.serving import PATIENCE

NAMES = ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector", "DefaultSelector")

SELECTORS = sorted(
    {getattr(module, name) for module in (selectors, selecting) for name in NAMES if hasattr(module, name)},
    key=lambda kind: (kind.__module__, kind.__name__),
)


def until(reactor, condition):
    """Step until the condition holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain; the table:\n{reactor.table}"
        reactor.step(0.05)


class Clock:
    """A clock that the test sets."""

    def __init__(self, seconds=1000.0):
        self.seconds = seconds

    def monotonic(self):
        return self.seconds

    def time(self):
        return 1e9 + self.seconds


def recording(kind):
    """A selector of this class that records its timeouts, and has an event for its first sleep."""

    class Recording(kind):
        def __init__(self):
            super().__init__()
            self.timeouts = []
            self.sleeps = threading.Event()

        def select(self, timeout=None):
            self.timeouts.append(timeout)
            if timeout is None or timeout > 0:
                self.sleeps.set()
            return super().select(timeout)

    return Recording()


class Eager(selecting.DefaultSelector):
    """Reports everything registered as ready, in every call."""

    def select(self, timeout=None):
        return [(key, key.events) for key in self.get_map().values()] or super().select(timeout)


class Leaping(selectors.DefaultSelector):
    """A selector that sets the clock to the end of the timeout instead of sleeping."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            assert timeout is not None, "the loop would sleep for ever"
            self.clock.seconds += timeout
        return events


def leaping():
    clock = Clock()
    return Reactor(Leaping(clock), clock)


class Guard:
    """Stops a `Reactor.run` that does not return by itself; ``failed`` tells whether it had to."""

    def __init__(self, reactor):
        self.reactor = reactor
        self.failed = False
        self.timer = reactor.call_later(PATIENCE, self.expire)

    def expire(self):
        self.failed = True
        self.reactor.stop()


def run(reactor):
    """Run a reactor that must stop by itself."""
    guard = Guard(reactor)
    reactor.run()
    guard.timer.cancel()
    assert not guard.failed, "run() did not end"


def in_thread(call, *arguments):
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


@contextmanager
def hasty_threads():
    """Switch between threads as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class Slowly(StreamHandler):
    """Answers in capitals, after a moment."""

    async def handle(self):
        data = await Some()
        await Delay(0.02)
        self.send(data.upper())
        await Some()
