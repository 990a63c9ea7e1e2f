"""Exceptions and objects of handlers that can't be told of: one row ends, with a reason."""

from dataclasses import dataclass
from functools import partial

import pytest

from handlers import Cause, Delay, Flushed, Forked, StreamHandler, Threaded, Until
from tests.support.bench import bench
from tests.support.serving import STREAMS, clients_of, connect, rest, serving

TCP = STREAMS["tcp"]


class BadStr(Exception):
    def __str__(self):
        raise ValueError("no text")


class Cancelling(Exception):
    def __str__(self):
        raise GeneratorExit


class Denied(Cause):
    def __init__(self, error):
        super().__init__("denied")
        self.error = error


@dataclass(frozen=True)
class Frozen(Cause):
    code: int = 3


class Unreadable(Cause):
    @property
    def error(self):
        raise LookupError("not kept")


class Unspeakable:
    def __repr__(self):
        raise ValueError("no words")


def fail(error, *_):
    raise error


async def raises(handler, error):
    raise error


async def fails_in_a_child(handler, error):
    await Forked(fail, error, Unspeakable())


async def fails_in_a_thread(handler, error):
    await Threaded(partial(fail, error), Unspeakable())


class Unnamed(StreamHandler):
    """Its text would need what comes in the course of the request."""

    deaf = None

    def __repr__(self):
        raise ValueError("no name yet")

    async def handle(self):
        while True:
            line = await Until(b"\n")
            if line == b"deaf\n":
                type(self).deaf = self
                self.send(bytes(1 << 24))
                await Delay(30)
            if line == b"fail\n":
                await Flushed(self.deaf, timeout=0.01)
            self.send(line)


class Telling(StreamHandler):
    fails = staticmethod(raises)
    error = BadStr()

    async def handle(self):
        while True:
            line = await Until(b"\n")
            if line == b"fail\n":
                await type(self).fails(self, self.error)
            self.send(line)


TOLD = {
    (raises, "BadStr: <BadStr>"): BadStr(),
    (raises, "Cancelling: <Cancelling>"): Cancelling(),
    (raises, "Denied: denied"): Denied("in words"),
    (raises, "Denied"): Denied(Frozen()),
    (raises, "Frozen: "): Frozen(),
    (raises, "Unreadable: "): Unreadable(),
    (fails_in_a_child, "Failed: Forked(fail): BadStr: <BadStr>"): BadStr(),
    (fails_in_a_child, "Failed: Forked(fail): RuntimeError: Frozen: "): Frozen(),
    (fails_in_a_thread, "Failed: Threaded("): BadStr(),
}


@pytest.mark.parametrize(("how", "reason"), TOLD)
def test_an_exception_that_can_not_be_told_of_ends_one_row(how, reason):
    with bench(type("Told", (Telling,), {"fails": how, "error": TOLD[how, reason]})) as here:
        bad, good = here.connect(), here.connect()
        bad.sendall(b"fail\n")
        here.until(lambda: here.table.closed)
        assert here.table.closed[0]["reason"].startswith(reason)
        good.sendall(b"good\n")
        assert here.take(good, 5) == b"good\n"


def test_a_handler_that_can_not_be_printed_is_waited_for():
    with bench(Unnamed) as here:
        deaf, waits, good = here.connect(), here.connect(), here.connect()
        deaf.sendall(b"deaf\n")
        here.until(lambda: Unnamed.deaf)
        waits.sendall(b"fail\n")
        here.until(lambda: here.table.closed)
        assert here.table.closed[0]["reason"] == "TimedOut: timed out in Flushed(<Unnamed>, timeout=0.01)"
        good.sendall(b"good\n")
        assert here.take(good, 5) == b"good\n"


def test_threads_are_not_lost_to_exceptions_that_can_not_be_told_of():
    class Works(StreamHandler):
        async def handle(self):
            if await Until(b"\n") == b"fail\n":
                await Threaded(fail, BadStr())
            self.send(b"%d" % await Threaded(len, b"abc"))

    with serving(Works, "select", TCP, request_queue_size=64) as server:
        server.reactor.max_threads = 4
        with clients_of(server, 8) as clients:
            for client in clients:
                client.sendall(b"fail\n")
                assert rest(client) == b""
        with connect(server) as client:
            client.sendall(b"count\n")
            assert rest(client) == b"3"
