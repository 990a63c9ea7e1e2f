"""Selectors, sockets and handlers for tests of urgent data."""

import selectors
import socket

import pytest

from handlers import Cancelled, Delay, StreamHandler, Until
from reactor import selecting
from tests.support.serving import STREAMS
from tests.support.strategies import Logged

NAMES = [name for name in ("SelectSelector", "PollSelector", "EpollSelector") if hasattr(selecting, name)]
URGENT = [getattr(selecting, name) for name in NAMES]
PLAIN = [getattr(selectors, name) for name in NAMES]
every_selector = pytest.mark.parametrize("kind", URGENT, ids=NAMES)
every_plain_one = pytest.mark.parametrize("kind", PLAIN, ids=NAMES)


def unix_has_it():
    """Whether Unix sockets have out-of-band data here (Linux 5.15 and later, if it was configured)."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            theirs.send(b"x", socket.MSG_OOB)
        except OSError:
            return False
    return True


PLACES = {"tcp": STREAMS["tcp"]} | ({"unix": STREAMS["unix"]} if unix_has_it() else {})
every_place = pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)


class Lines(Logged):
    """Keeps a log of lines, and of urgent data with the number of bytes held before it."""

    def handle(self):
        return Until(b"\n"), self.line

    def line(self, line):
        self.log.append(line)
        return self.handle()

    def urgent(self, data):
        self.log.append((data, self.held_in))


class Resting(StreamHandler):
    """Waits for a minute after each line; answers urgent data with the number of bytes held; ``!`` ends the wait."""

    async def handle(self):
        while True:
            line = await Until(b"\n")
            try:
                await Delay(60)
            except Cancelled as cause:
                self.send(b"%a" % cause)
            self.send(line)

    def urgent(self, data):
        self.send(b"<%b after %d>" % (data, self.held_in))
        if data == b"!":
            raise Cancelled("woken")
