"""Waits without a limit or without a timeout, and waits with both."""

import math
from functools import cached_property

import handlers
from handlers import Delay, Exactly, Flushed, Forked, Packet, Some, StreamHandler, StreamRequestHandler, ToEnd, Until
from tests.testing.reading.specimens.marks import (
    HUGE,
    INFINITE,
    LINE,
    LONG_LINE,
    NO_LIMIT,
    NO_TIME_OUT,
    SLOW_LINE,
    right,
    wrong,
)

# Bounds of waits


@wrong(f"waits for ToEnd(limit=1 << 40) {NO_LIMIT}", f"waits for Some(HUGE) {NO_LIMIT}")
class NoLimit(StreamHandler):
    def handle(self):
        return ToEnd(limit=1 << 40), self.rest  # here

    def rest(self, data):
        return Some(HUGE), self.handle  # here


@wrong(f"waits for Until(b'\\n', math.inf) {NO_LIMIT}", f"waits for Exactly(5, None) {NO_LIMIT}")
class NoNumber(StreamHandler):
    async def handle(self):
        await Until(b"\n", math.inf)  # here
        await Exactly(5, None)  # here


@wrong(f"waits for LONG_LINE, {LONG_LINE!r}, {NO_LIMIT}", f"waits for self.line, {LONG_LINE!r}, {NO_LIMIT}")
class NoLimitKeptElsewhere(StreamHandler):
    line = LONG_LINE

    async def handle(self):
        await LONG_LINE  # here
        await self.line  # here


@wrong(f"waits for handlers.Until(delimiter, limit=most) {NO_LIMIT}")
class NoLimitInLocalNames(StreamHandler):
    async def handle(self):
        most = 2 * HUGE
        delimiter = b"\n"
        await handlers.Until(delimiter, limit=most)  # here


@right
class Limited(StreamHandler):
    most = 1000

    def __init__(self):
        self.length = HUGE

    def handle(self):
        limit = HUGE
        limit = 100
        return Until(b"\n", limit), self.line

    def line(self, data):
        self.length = int(data)
        return Exactly(5, self.length), self.rest

    def rest(self, data, *given, **named):
        return Until(b"\n", *given, **named), lambda data: (Until(b"\n", min(HUGE, self.most)), self.rest)


@wrong(f"waits for self.request, {LONG_LINE!r}, {NO_LIMIT}")
class BlockingWithoutLimit(StreamRequestHandler):
    request = LONG_LINE  # here

    def handle(self):
        self.wfile.write(self.rfile.readline())


# Timeouts


@wrong(f"waits for Until(b';', limit=9) {NO_TIME_OUT}")
class NoTimeOut(StreamHandler):
    timeout = None

    def handle(self):
        return Until(b";", limit=9), self.handle  # here

    def other(self, data):
        return Until(b";", limit=9, timeout=3), self.handle


@wrong(f"waits for Some() {NO_TIME_OUT}", f"waits for LINE, {LINE!r}, {NO_TIME_OUT}")
class InfiniteTimeOut(StreamHandler):
    timeout = math.inf

    async def handle(self):
        await Some()  # here
        await LINE  # here
        await Some(timeout=5)


@wrong(
    f"waits for Some(timeout=float('inf')) {NO_TIME_OUT}",
    f"waits for Exactly(3, timeout=INFINITE) {NO_TIME_OUT}",
    f"waits for Until(b'\\n', 80, INFINITE) {NO_TIME_OUT}",
    f"waits for Flushed(None, math.inf) {NO_TIME_OUT}",
    f"waits for Packet(INFINITE) {NO_TIME_OUT}",
)
class ForEver(StreamHandler):
    async def handle(self):
        await Some(timeout=float("inf"))  # here
        await Exactly(3, timeout=INFINITE)  # here
        await Until(b"\n", 80, INFINITE)  # here
        await Flushed(None, math.inf)  # here
        await Packet(INFINITE)  # here


@wrong(f"waits for SLOW_LINE, {SLOW_LINE!r}, {NO_TIME_OUT}", f"waits for self.line, {SLOW_LINE!r}, {NO_TIME_OUT}")
class NoTimeOutKeptElsewhere(StreamHandler):
    line = SLOW_LINE

    def handle(self):
        return SLOW_LINE, self.rest  # here

    def rest(self, data):
        return self.line, self.handle  # here


@wrong(f"waits for Until(b'\\n', timeout=math.inf) {NO_TIME_OUT}")
class NoTimeOutInAProperty(StreamHandler):
    @cached_property
    def line(self):
        return Until(b"\n", timeout=math.inf)  # here

    async def handle(self):
        await self.line


@right
class TimeOut(StreamHandler):
    timeout = None

    def setup(self):
        self.timeout = 5

    async def handle(self, seconds=None):
        await Some()
        await Forked(print, math.inf, timeout=seconds)
        await Delay(math.inf)


@right
class PatientButNotForEver(StreamHandler):
    timeout = None
    idle_timeout = 60

    def handle(self):
        return LINE, self.line

    def line(self, data):
        return SLOW_LINE, self.line
