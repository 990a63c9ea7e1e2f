"""`check` on handlers that wait for what another request does, for a moment, or for as long as the client is there."""

from types import SimpleNamespace

import pytest

from handlers import (
    Delay,
    Event,
    FirstOf,
    Happened,
    Queue,
    StreamHandler,
    Taken,
    Threaded,
    TimedOut,
    Until,
    WhileConnected,
)
from reactor.testing import check


class Pops(StreamHandler):
    """A queue: what is put into it, and what is taken out of it, for which it waits a moment."""

    async def handle(self):
        while True:
            word = (await Until(b"\n", limit=80)).rstrip()
            if word == b"pop":
                self.send(await self.popped() + b"\n")
            elif len(self.server.queue) < 8:
                self.server.queue.put(word)
            else:
                self.send(b"full\n")

    async def popped(self):
        _, item = await FirstOf(Taken(self.server.queue), Delay(0.01))
        return item or b"none"


class PopsInTime(Pops):
    async def popped(self):
        try:
            return await Taken(self.server.queue, timeout=0.01)
        except TimedOut:
            return b"none"


class Happens(StreamHandler):
    """Answers a line when something has happened, which never does, or a moment later."""

    async def handle(self):
        event = Event()
        while True:
            line = await Until(b"\n", limit=80)
            await FirstOf(Happened(event), Delay(0.01))
            self.send(line)


class Works(StreamHandler):
    """Has its work done while the client is there."""

    async def handle(self):
        while True:
            self.send(b"%d\n" % await WhileConnected(Threaded(len, await Until(b"\n", limit=80))))


@pytest.mark.parametrize("kind", [Pops, PopsInTime])
def test_time_passes_where_nothing_else_comes(kind):
    check(kind, b"a\npop\npop\n", b"a\nnone\n", server=SimpleNamespace(queue=Queue(8)), examples=5)


def test_what_never_happens_is_waited_for_as_by_a_real_server():
    check(Happens, b"one\ntwo\n", b"one\ntwo\n", examples=5)


def test_a_client_of_a_handler_that_works_while_it_is_there_stays():
    check(Works, b"one\nthree\n", b"4\n6\n", examples=5)
