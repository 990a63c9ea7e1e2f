"""`check` passes handlers that wait for the first of several waits, for events and for one of several delimiters."""

import pytest

from handlers import Delay, Event, FirstOf, Happened, Queue, StreamHandler, Taken, UntilAny
from reactor.testing import check

LINE = UntilAny(b"\r\n", b"\n", limit=100)


class Fresh(StreamHandler):
    """Makes its waits anew for each line."""

    async def handle(self):
        while True:
            line = UntilAny(b"\r\n", b"\n", limit=100)
            wait, text = await FirstOf(line, Taken(Queue(5)), Delay(30))
            if wait is not line:
                return
            self.send(text.upper())


class States(StreamHandler):
    """The same as states, with waits that are made once."""

    first = FirstOf(LINE, Happened(Event()), Delay(30))

    def handle(self):
        return self.first, self.line

    def line(self, answer):
        wait, text = answer
        if wait is not LINE:
            return None
        self.send(text.upper())
        return self.handle()


@pytest.mark.parametrize("kind", [Fresh, pytest.param(States, marks=pytest.mark.slow)])
def test_they_pass(kind):
    check(kind, b"one\r\ntwo\nthree\n", examples=3)
